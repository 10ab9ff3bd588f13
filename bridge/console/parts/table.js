/** A table of things with an id: a row stays as long as its thing does, and so does the focus in it. */
import { fill, h, icon, Part } from "../lib/dom.js";

const UP = "M6 15l6-6 6 6";
const DOWN = "M6 9l6 6 6-6";

/**
 * One column: `id`, `title`, `cell` (item) gives what is in it; `sort`: what the hub calls its order; `class`.
 * @typedef {{id: string, title: string, cell: (item: any) => any, sort?: string, class?: string}} Column
 */
export class Table extends Part {
  #rows = new Map();

  /**
   * @param {import("../core/app.js").App} app
   * @param {object} options
   * @param {string} options.label
   * @param {Column[]} options.columns
   * @param {(item: any) => string | number} options.key
   * @param {(sort: string) => void} [options.onsort]
   */
  constructor(app, { label, columns, key, onsort }) {
    super();
    Object.assign(this, { app, label, columns, key, onsort });
    this.className = "table";
    this.tabIndex = -1;
  }

  make() {
    this.heads = new Map();
    // the roles: narrow windows show rows as blocks, and some browsers then see no table any more
    const heads = this.columns.map((column) => {
      const head = h("th", { scope: "col", role: "columnheader", class: column.class }, column.sort ? this.#sorter(column) : column.title);
      this.heads.set(column.id, head);
      return head;
    });
    this.body = h("tbody", { role: "rowgroup" });
    fill(this, h("table", { role: "table", "aria-label": this.label }, h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads)), this.body));
  }

  #sorter({ sort, title }) {
    return h("button", { type: "button", class: "plain sorter", onclick: () => this.onsort(this.sort === sort ? `-${sort}` : sort) }, title, h("span", { class: "sorter-mark" }));
  }

  /**
   * Shows items, in their order.
   * @param {any[]} items
   * @param {{sort?: string, stamp?: (item: any) => string}} [options] `sort`: the order they are in; `stamp`: a row is made anew when it changes.
   */
  update(items, { sort = "", stamp = (item) => JSON.stringify(item) } = {}) {
    this.#showSort(sort);
    const focused = this.#focused();
    const kept = new Map();
    for (const item of items) {
      const key = this.key(item);
      const is = stamp(item);
      const old = this.#rows.get(key);
      kept.set(key, old?.stamp === is ? old : { stamp: is, element: this.#row(item) });
    }
    this.#rows = kept;
    const elements = [...kept.values()].map((row) => row.element);
    const there = this.body.children;
    if (elements.length !== there.length || elements.some((element, at) => element !== there[at])) fill(this.body, elements);
    this.#refocus(focused);
  }

  #row(item) {
    return h(
      "tr",
      { role: "row", "data-key": this.key(item) },
      this.columns.map((column) => h("td", { role: "cell", class: column.class, "data-title": column.title }, column.cell(item))),
    );
  }

  #showSort(sort) {
    if (sort === this.sort) return;
    this.sort = sort;
    for (const column of this.columns) {
      if (!column.sort) continue;
      const way = sort === column.sort ? "ascending" : sort === `-${column.sort}` ? "descending" : null;
      const head = this.heads.get(column.id);
      if (way) head.setAttribute("aria-sort", way);
      else head.removeAttribute("aria-sort");
      fill(head.querySelector(".sorter-mark"), way && icon(way === "ascending" ? UP : DOWN));
    }
  }

  /** What of a row has the focus: the row's key and the place among what can have it. */
  #focused() {
    const { activeElement } = document;
    const row = activeElement?.closest?.("tr[data-key]");
    if (!row || !this.body.contains(row)) return null;
    return { element: activeElement, key: row.dataset.key, at: focusable(row).indexOf(activeElement) };
  }

  #refocus(focused) {
    if (!focused || document.activeElement === focused.element) return;
    if (focused.element.isConnected) return focused.element.focus();
    const row = [...this.body.children].find((element) => element.dataset.key === focused.key);
    (row ? focusable(row)[focused.at] ?? this : this).focus();
  }
}
customElements.define("hub-table", Table);

const focusable = (row) => [...row.querySelectorAll("a, button, summary")];
