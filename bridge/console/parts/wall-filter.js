/** What one looks for on the wall: counts of each state that filter as well, search, tag, order, view. */
import { fill, h, icon, Part, setText } from "../lib/dom.js";
import { number } from "../lib/format.js";
import { isEmpty, SORTS } from "../core/select.js";
import { STATES } from "../core/states.js";

const VIEWS = { tiles: "M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM13 13h7v7h-7z", rows: "M4 6h16M4 12h16M4 18h16" };
/** Milliseconds after the last change of a filter until a screen reader is told how many are left. */
const TOLD_AFTER = 700;

export class WallFilter extends Part {
  #tags = null;
  #telling = null;

  /**
   * @param {import("../core/app.js").App} app
   * @param {(change: object) => void} change takes what was chosen: some of `search`, `states`, `tag`, `sort`, `view`.
   */
  constructor(app, change) {
    super();
    Object.assign(this, { app, change });
    this.className = "wall-filter";
  }

  make() {
    const { t, preferences } = this.app;
    this.toggles = Object.fromEntries(STATES.map((state) => [state, this.#toggle(state)]));
    const searched = () => this.#chosen({ search: this.search.value });
    this.search = h("input", { type: "search", class: "wall-search", "aria-label": t("wall.search"), "aria-keyshortcuts": "/", placeholder: t("wall.search-hint"), maxLength: 200, autocomplete: "off", spellcheck: false, oninput: (event) => event.isComposing || searched(), oncompositionend: () => searched() });
    this.tag = h("select", { "aria-label": t("wall.tag"), hidden: true, onchange: () => this.#chosen({ tag: this.tag.value }) });
    this.sort = h("select", { "aria-label": t("wall.sort"), onchange: () => this.#chosen({ sort: this.sort.value }) }, SORTS.map((sort) => h("option", { value: sort, selected: sort === preferences.get("sort") }, t(`wall.sort.${sort}`))));
    this.views = Object.entries(VIEWS).map(([view, path]) => h("button", { type: "button", "aria-pressed": String(view === preferences.get("view")), "data-view": view, onclick: () => this.#view(view) }, icon(path), h("span", {}, t(`wall.view.${view}`))));
    this.clear = h("button", { type: "button", class: "plain", hidden: true, onclick: () => this.#clear() }, t("wall.clear"));
    this.count = h("span", { class: "soft small number wall-count" });
    this.told = h("span", { class: "visually-hidden", role: "status" });
    fill(
      this,
      h("div", { class: "wall-states", role: "group", "aria-label": t("wall.states") }, Object.values(this.toggles).map(({ button }) => button)),
      h("div", { class: "wall-tools" }, this.search, this.tag, this.sort, h("div", { class: "wall-views", role: "group", "aria-label": t("wall.view") }, this.views), this.clear, this.count, this.told),
    );
  }

  gone() {
    clearTimeout(this.#telling);
  }

  /** Shows what is filtered. */
  show(filter) {
    this.filter = filter;
    if (this.search.value.trim() !== filter.search.trim()) this.search.value = filter.search;
    for (const [state, { button }] of Object.entries(this.toggles)) button.ariaPressed = String(filter.states.has(state));
    this.#options();
    this.clear.hidden = isEmpty(filter);
  }

  /** Shows how many there are. */
  showCounts(counts, tags, shown) {
    const { language } = this.app.texts;
    let total = 0;
    for (const [state, { count }] of Object.entries(this.toggles)) {
      setText(count, number(language, counts[state]));
      total += counts[state];
    }
    if (this.#tags === null || tags.join("\n") !== this.#tags.join("\n")) {
      this.#tags = tags;
      this.#options();
    }
    setText(this.count, this.app.t("wall.shown", { shown: number(language, shown), total: number(language, total) }));
  }

  #toggle(state) {
    const count = h("b", { class: "number" }, "0");
    const button = h("button", { type: "button", class: "wall-toggle", "data-state": state, "aria-pressed": "false", onclick: () => this.#turn(state) }, h("span", { class: "state", "data-state": state }, this.app.t(`state.${state}`)), count);
    return { button, count };
  }

  #turn(state) {
    const states = new Set(this.filter.states);
    if (!states.delete(state)) states.add(state);
    this.#chosen({ states });
  }

  #clear() {
    this.#chosen({ search: "", states: new Set(), tag: "" });
    this.search.focus();
  }

  #view(view) {
    for (const button of this.views) button.ariaPressed = String(button.dataset.view === view);
    this.change({ view });
  }

  /** The tags there are; the chosen one even where no station has it (any more). */
  #options() {
    const chosen = this.filter?.tag ?? "";
    const tags = this.#tags ?? [];
    const all = chosen && !tags.includes(chosen) ? [chosen, ...tags] : tags;
    this.tag.hidden = all.length === 0;
    const key = all.join("\n");
    if (key !== this.tag.key) {
      this.tag.key = key;
      fill(this.tag, h("option", { value: "" }, this.app.t("wall.all-tags")), all.map((tag) => h("option", { value: tag }, tag)));
    }
    if (this.tag.value !== chosen) this.tag.value = chosen;
  }

  #chosen(change) {
    this.change(change);
    clearTimeout(this.#telling);
    this.#telling = setTimeout(() => setText(this.told, this.count.textContent), TOLD_AFTER);
  }
}
customElements.define("hub-wall-filter", WallFilter);
