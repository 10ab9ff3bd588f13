/** Asking before something is done that cannot be undone. */
import { h } from "../lib/dom.js";
import { openDialog } from "./dialog.js";

/**
 * Asks in a dialog; Escape is no. Where the page is left meanwhile the question goes with it, and is never answered.
 * @param {import("../core/app.js").App} app
 * @param {{title: string, text: string, action: string, kind?: string}} question `kind`: class of the button that does it.
 * @returns {Promise<boolean>}
 */
export function confirm(app, { title, text, action, kind = "primary" }) {
  return new Promise((resolve) => {
    const words = h("p", { id: "confirm-text" }, text);
    const no = h("button", { type: "button", onclick: () => dialog.close("no") }, app.t("form.cancel"));
    const yes = h("button", { type: "button", class: kind, onclick: () => dialog.close("yes") }, action);
    const onclose = () => resolve(dialog.returnValue === "yes");
    const page = document.getElementById("main").firstElementChild;
    const dialog = openDialog(page, { title, class: "confirm", describedBy: words.id, onclose }, words, h("div", { class: "row end" }, no, yes));
  });
}
