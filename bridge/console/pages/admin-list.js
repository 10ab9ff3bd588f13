/** A page with a list of the API: search, filters, order, pages, and what can be done to an item. */
import { eachFrame, fill, h, setText } from "../lib/dom.js";
import { number } from "../lib/format.js";
import { Table } from "../parts/table.js";
import { AdminPage } from "./admin-page.js";

export class AdminList extends AdminPage {
  constructor(app, name) {
    super(app, name);
    this.listing = this.models[name];
  }

  /**
   * Builds the page.
   * @param {{tools?: any, filters: any[], columns: any[], key: (item: any) => any, empty: string}} parts `empty`: said where nothing fits.
   */
  build({ tools = null, filters, columns, key, empty }) {
    const { t } = this.app;
    const { listing } = this;
    this.emptyText = empty;
    this.table = new Table(this.app, { label: t(`admin.page.${this.name}`), columns, key, onsort: (sort) => listing.set({ sort }) });
    this.told = h("p", { class: "told bad", role: "alert", hidden: true });
    this.again = h("button", { type: "button", onclick: () => listing.load() }, t("list.again"));
    this.empty = h("p", { class: "empty", hidden: true });
    this.range = h("span", { class: "small soft number", role: "status" });
    this.before = h("button", { type: "button", onclick: () => this.#turn(-1) }, t("list.before"));
    this.after = h("button", { type: "button", onclick: () => this.#turn(1) }, t("list.after"));
    const pager = h("nav", { class: "row pager", "aria-label": t("list.pages") }, this.range, h("span", { class: "grow" }), this.before, this.after);
    this.frame(tools, h("form", { class: "row filters", role: "search", onsubmit: (event) => event.preventDefault() }, filters), this.told, this.table, this.empty, pager);
  }

  /** An entry of the filters that is typed in. */
  typed(name, label, options = {}) {
    const oninput = () => this.listing.set({ [name]: input.value.trim() }, { soon: true });
    const value = this.listing.query[name] ?? "";
    const input = h("input", { type: "search", value, autocomplete: "off", spellcheck: false, maxLength: 128, ...options, oninput });
    return h("label", {}, label, input);
  }

  /** One that is chosen. @param {[string, string][]} options value and text. */
  chosen(name, label, options) {
    const now = String(this.listing.query[name] ?? "");
    const choices = options.map(([value, text]) => h("option", { value, selected: value === now }, text));
    const select = h("select", { onchange: () => this.listing.set({ [name]: select.value }) }, choices);
    return h("label", {}, label, select);
  }

  shown() {
    super.shown();
    const draw = eachFrame(() => this.isConnected && this.draw());
    this.until(this.listing.on("change", draw), this.app.hub.on("welcome", () => this.listing.load()));
    this.drawSoon = draw;
    this.draw();
    this.listing.load();
  }

  /** What a row is made of besides its item. */
  stamp(item) {
    return JSON.stringify(item);
  }

  draw() {
    const { t, texts } = this.app;
    const { items, total, shown, loaded, loading, error, query } = this.listing;
    this.table.update(items, { sort: query.sort, stamp: (item) => this.stamp(item) });
    this.table.hidden = items.length === 0;
    this.table.setAttribute("aria-busy", String(loading));
    this.told.hidden = error === null;
    if (error && this.shownError !== error) fill(this.told, this.explain(error).map(({ text }) => text).join(" "), " ", this.again);
    this.shownError = error;
    this.empty.hidden = items.length > 0 || error !== null;
    setText(this.empty, loaded && !loading ? this.emptyText : t("list.loading"));
    const say = (value) => number(texts.language, value);
    setText(this.range, items.length ? t("list.range", { first: say(shown + 1), last: say(shown + items.length), total: say(total) }) : "");
    this.#enable(this.before, shown > 0);
    this.#enable(this.after, shown + items.length < total);
  }

  // a button that has the focus is not disabled: the focus would be lost
  #enable(button, can) {
    button.setAttribute("aria-disabled", String(!can));
  }

  #turn(way) {
    const { listing } = this;
    const to = listing.offset + way * listing.limit;
    if (to < 0 || to >= listing.total || listing.loading) return;
    listing.goTo(to);
  }
}
