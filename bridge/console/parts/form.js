/** A form in a dialog: Enter sends it, once; what was entered stays there until the hub took it. */
import { h, setText } from "../lib/dom.js";
import { openDialog } from "./dialog.js";
import { makeField } from "./field.js";

let made = 0;

/**
 * What the form asks, and does.
 * @typedef {object} FormSpec
 * @property {string} title
 * @property {string[]} [text] what it is about, before the fields; a paragraph each.
 * @property {import("./field.js").FieldSpec[]} [fields]
 * @property {string} action text of the button that sends it.
 * @property {string} [kind] class of that button.
 * @property {(values: Record<string, any>) => Promise<any>} submit
 * @property {(result: any) => void} done after the form is closed; also if somebody closed it, or went to another page, while it was sent.
 * @property {(error: any) => {field?: string, text: string}[]} explain what went wrong, for people: at a field, or of the whole.
 */

/**
 * Opens a form.
 * @param {HTMLElement} page that it belongs to.
 * @param {import("../core/app.js").App} app
 * @param {FormSpec} spec
 */
export function openForm(page, app, spec) {
  return new Form(page, app, spec);
}

class Form {
  #busy = false;

  constructor(page, app, spec) {
    Object.assign(this, { page, app, spec });
    const id = `form-${++made}`;
    this.fields = (spec.fields ?? []).map((field) => makeField(app, field, id));
    this.told = h("p", { class: "told bad", role: "alert", hidden: true });
    this.send = h("button", { class: spec.kind ?? "primary" }, spec.action);
    const cancel = h("button", { type: "button", onclick: () => this.dialog.close() }, app.t("form.cancel"));
    const form = h(
      "form",
      { noValidate: true, onsubmit: (event) => this.#submit(event) },
      (spec.text ?? []).map((text) => h("p", {}, text)),
      this.fields.map((field) => field.element),
      this.told,
      h("div", { class: "row end" }, cancel, this.send),
    );
    this.dialog = openDialog(page, { title: spec.title }, form);
    const first = this.fields.find((field) => !field.spec.readOnly);
    if (first) first.focus();
    else cancel.focus();
  }

  async #submit(event) {
    event.preventDefault();
    if (this.#busy) return;
    const values = Object.fromEntries(this.fields.map((field) => [field.spec.name, field.read()]));
    this.told.hidden = true;
    const wrong = this.fields.filter((field) => !field.right(values));
    if (wrong.length) return wrong[0].focus();
    this.#setBusy(true);
    try {
      const result = await this.spec.submit(values);
      if (this.dialog.open) this.dialog.close();
      this.spec.done(result);
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#setBusy(false);
    }
  }

  #setBusy(busy) {
    this.#busy = busy;
    // not disabled: that would take the focus away
    this.send.setAttribute("aria-disabled", String(busy));
    setText(this.send, busy ? this.app.t("form.busy") : this.spec.action);
  }

  #failed(error) {
    const found = this.spec.explain(error);
    // a dialog that went with its page still counts as open
    if (!this.dialog.open || !this.dialog.isConnected) return this.app.notice(found.map(({ text }) => text).join(" "), "bad");
    const rest = [];
    let first = null;
    for (const { field: name, text } of found) {
      const field = this.fields.find((one) => one.spec.name === name);
      if (!field) rest.push(text);
      else field.fail(text);
      first ??= field ?? null;
    }
    this.told.hidden = rest.length === 0;
    setText(this.told, rest.join(" "));
    first?.focus();
  }
}
