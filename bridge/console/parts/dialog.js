/** A dialog over a page: Escape closes it, and the focus goes back to where it was. */
import { h } from "../lib/dom.js";

let made = 0;

/**
 * Opens a dialog. It goes with the page that it belongs to.
 * @param {HTMLElement} page
 * @param {{title: string, class?: string, describedBy?: string, onclose?: () => void}} options
 * @param {...any} children
 * @returns {HTMLDialogElement}
 */
export function openDialog(page, { title, class: kind = "", describedBy = null, onclose = () => {} }, ...children) {
  const heading = h("h2", { id: `dialog-title-${++made}` }, title);
  const dialog = h("dialog", { class: `form-dialog ${kind}`, "aria-labelledby": heading.id, "aria-describedby": describedBy }, heading, children);
  dialog.addEventListener("close", () => {
    dialog.remove();
    // what had the focus may be gone with what was changed
    if (document.activeElement === document.body || document.activeElement === null) page.closest("main")?.focus();
    onclose();
  });
  page.append(dialog);
  dialog.showModal();
  return dialog;
}
