/** Asking before something is done that cannot be undone. */
import { h } from "../lib/dom.js";

/**
 * Asks in a dialog; Escape is no.
 * @param {import("../core/app.js").App} app
 * @param {{title: string, text: string, action: string, kind?: string}} question `kind`: class of the button that does it.
 * @returns {Promise<boolean>}
 */
export function confirm(app, { title, text, action, kind = "primary" }) {
  const before = document.activeElement;
  return new Promise((resolve) => {
    const heading = h("h2", { id: "confirm-title" }, title);
    const words = h("p", { id: "confirm-text" }, text);
    const no = h("button", { type: "button", onclick: () => dialog.close("no") }, app.t("confirm.cancel"));
    const yes = h("button", { type: "button", class: kind, onclick: () => dialog.close("yes") }, action);
    const dialog = h("dialog", { class: "confirm", "aria-labelledby": heading.id, "aria-describedby": words.id }, heading, words, h("div", { class: "row end" }, no, yes));
    dialog.addEventListener("close", () => {
      dialog.remove();
      before?.focus();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
