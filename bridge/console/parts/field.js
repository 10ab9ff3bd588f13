/** One entry of a form, with its label, its hint, and what is wrong with it. */
import { h, setText } from "../lib/dom.js";

/**
 * What a field is.
 * @typedef {object} FieldSpec
 * @property {string} name
 * @property {string} label
 * @property {"text" | "email" | "password" | "url" | "select" | "checkbox" | "rows"} [kind]
 * @property {any} [value]
 * @property {string} [hint]
 * @property {string} [autocomplete]
 * @property {boolean} [required]
 * @property {boolean} [readOnly]
 * @property {number} [longest]
 * @property {[string, string][]} [options] of a select: value and text.
 * @property {FieldSpec[]} [columns] of rows.
 * @property {string} [add] of rows: text of the button that makes one more.
 * @property {string} [remove] of rows: text of the button that takes one away.
 * @property {(value: any, all: any) => string | null} [check] says what is wrong; null: nothing is.
 */

/** Makes a field. @param {import("../core/app.js").App} app @param {FieldSpec} spec @param {string} id of the form, so that ids differ. */
export function makeField(app, spec, id) {
  const kinds = { select: Choice, checkbox: Tick, rows: Rows };
  return new (kinds[spec.kind] ?? Entry)(app, spec, `${id}-${spec.name}`);
}

class Entry {
  constructor(app, spec, id) {
    Object.assign(this, { app, spec, id });
    this.hint = spec.hint ? h("p", { class: "small soft", id: `${id}-hint` }, spec.hint) : null;
    this.problem = h("p", { class: "problem small", id: `${id}-problem`, hidden: true });
    this.input = this.control();
    this.input.setAttribute("aria-describedby", [this.hint?.id, this.problem.id].filter(Boolean).join(" "));
    this.input.addEventListener("input", () => this.fail(null));
    this.element = this.layout();
  }

  control() {
    const { kind = "text", value = "", autocomplete = "off", required, readOnly, longest } = this.spec;
    return h("input", { id: this.id, name: this.spec.name, type: kind, value, autocomplete, readOnly, maxLength: longest, spellcheck: false, "aria-required": required ? "true" : null });
  }

  layout() {
    const mark = this.spec.required ? h("span", { class: "required", "aria-hidden": "true" }, " *") : null;
    return h("div", { class: "field" }, h("label", { htmlFor: this.id }, h("span", {}, this.spec.label, mark)), this.input, this.hint, this.problem);
  }

  read() {
    const { kind } = this.spec;
    return kind === "password" ? this.input.value : this.input.value.trim();
  }

  /** What is wrong with it, by its own rules; null: nothing is. */
  wrong(all) {
    const value = this.read();
    if (this.spec.required && value === "") return this.app.t("form.required");
    return this.spec.check?.(value, all) ?? null;
  }

  /** Checks it and tells. @returns {boolean} whether it is right. */
  right(all) {
    const text = this.wrong(all);
    this.fail(text);
    return text === null;
  }

  /** Shows what is wrong; null: nothing is. */
  fail(text) {
    this.problem.hidden = text === null;
    setText(this.problem, text ?? "");
    if (text === null) this.input.removeAttribute("aria-invalid");
    else this.input.setAttribute("aria-invalid", "true");
  }

  focus() {
    this.input.focus();
  }
}

class Choice extends Entry {
  control() {
    const { options, value } = this.spec;
    return h("select", { id: this.id, name: this.spec.name }, options.map(([is, text]) => h("option", { value: is, selected: is === value }, text)));
  }
}

class Tick extends Entry {
  control() {
    return h("input", { id: this.id, name: this.spec.name, type: "checkbox", checked: this.spec.value === true });
  }

  layout() {
    return h("div", { class: "field" }, h("label", { class: "tick", htmlFor: this.id }, this.input, this.spec.label), this.hint, this.problem);
  }

  read() {
    return this.input.checked;
  }
}

/** Several of the same, each of some entries. */
class Rows {
  #next = 0;
  rows = [];

  constructor(app, spec, id) {
    Object.assign(this, { app, spec, id });
    this.problem = h("p", { class: "problem small", id: `${id}-problem`, hidden: true });
    this.list = h("div", { class: "field-rows" });
    this.adder = h("button", { type: "button", onclick: () => this.#add({}).fields[0].focus() }, spec.add);
    const hint = spec.hint ? h("p", { class: "small soft" }, spec.hint) : null;
    this.element = h("fieldset", { class: "field", "aria-describedby": this.problem.id }, h("legend", {}, spec.label), hint, this.list, this.problem, this.adder);
    for (const value of spec.value ?? []) this.#add(value);
  }

  #add(value) {
    const at = this.#next++;
    const fields = this.spec.columns.map((column) => makeField(this.app, { ...column, value: value[column.name] ?? "" }, `${this.id}-${at}`));
    const remove = h("button", { type: "button", class: "plain", onclick: () => this.#remove(row) }, this.spec.remove);
    const row = { fields, element: h("div", { class: "field-row", role: "group", "aria-label": `${this.spec.label} ${at + 1}` }, fields.map((field) => field.element), remove) };
    this.rows.push(row);
    this.list.append(row.element);
    return row;
  }

  #remove(row) {
    this.rows = this.rows.filter((other) => other !== row);
    row.element.remove();
    this.fail(null);
    this.adder.focus();
  }

  read() {
    return this.rows.map(({ fields }) => Object.fromEntries(fields.map((field) => [field.spec.name, field.read()])));
  }

  right(all) {
    const right = this.rows.map(({ fields }) => fields.map((field) => field.right(all)).every(Boolean)).every(Boolean);
    const text = right ? this.spec.check?.(this.read(), all) ?? null : null;
    this.fail(text);
    return right && text === null;
  }

  fail(text) {
    this.problem.hidden = text === null;
    setText(this.problem, text ?? "");
  }

  focus() {
    const wrong = this.element.querySelector("[aria-invalid]");
    (wrong ?? this.rows[0]?.fields[0].input ?? this.adder).focus();
  }
}
