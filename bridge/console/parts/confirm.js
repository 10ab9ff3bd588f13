/** Asking before something is done that cannot be undone. */
import { h, setText } from "../lib/dom.js";
import { openDialog } from "./dialog.js";

/**
 * Asks in a dialog; Escape is no. Where the page is left meanwhile the question goes with it, and is never answered.
 * @param {import("../core/app.js").App} app
 * @param {object} question
 * @param {string} question.title
 * @param {string} question.text
 * @param {string} question.action
 * @param {string} [question.kind] class of the button that does it.
 * @param {(say: (text: string) => void, drop: (why: string) => void) => (() => void)[]} [question.follow] called while it is asked: `say` asks in
 *   other words, `drop` takes the question back and tells why; returns what ends the listening.
 * @returns {Promise<boolean>}
 */
export function confirm(app, { title, text, action, kind = "primary", follow = () => [] }) {
  return new Promise((resolve) => {
    const words = h("p", { id: "confirm-text" }, text);
    const no = h("button", { type: "button", onclick: () => dialog.close("no") }, app.t("form.cancel"));
    const yes = h("button", { type: "button", class: kind, onclick: () => dialog.close("yes") }, action);
    const onclose = () => {
      for (const end of ends) end();
      resolve(dialog.returnValue === "yes");
    };
    const page = document.getElementById("main").firstElementChild;
    const dialog = openDialog(page, { title, class: "confirm", describedBy: words.id, onclose }, words, h("div", { class: "row end" }, no, yes));
    const drop = (why) => {
      if (!dialog.open) return;
      dialog.close("void");
      app.notice(why);
    };
    const ends = follow((other) => setText(words, other), drop);
  });
}
