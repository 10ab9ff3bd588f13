/** The fleet: all stations, how each is now. */
import { eachFrame, fill, h, Part, setText } from "../lib/dom.js";
import { Listing } from "../core/listing.js";
import { addressOf, isEmpty, readFilter } from "../core/select.js";
import { Tile } from "../parts/tile.js";
import { WallFilter } from "../parts/wall-filter.js";
import { Window } from "../parts/window.js";

/** Milliseconds for which the order is kept after the last sign of somebody who is about to choose. */
const HOLD = 8_000;
const COUNT_EVERY = 250;
/** Milliseconds after which the list of stations is read again, by one who comes to the wall and by one who stays. */
const OLD_LIST = { coming: 5_000, staying: 60_000 };
const SHAPES = {
  tiles: (rems) => ({ columns: Math.max(1, Math.floor((rems + 0.75) / 17.75)), height: 8.25, gap: 0.75 }),
  rows: (rems) => ({ columns: 1, height: rems < 55 ? 5.25 : 2.75, gap: 0 }),
};
const ON_WALL = /^#?\/?(\?|$)/;
const EDITABLE = "input, select, textarea, [contenteditable]";
/** What one looked at when the wall was left, by app: where it was scrolled to, what had the focus, which filter. */
const left = new WeakMap();

export class WallPage extends Part {
  #changed = new Set();
  #ticking = null;
  #counting = null;
  #back = null;
  scrolled = 0;

  /** @param {import("../core/app.js").App} app */
  constructor(app) {
    super();
    this.app = app;
    this.className = "wall";
  }

  make() {
    const { app } = this;
    const { t } = app;
    this.filter = new WallFilter(app, (change) => this.#choose(change));
    this.held = h("button", { type: "button", class: "wall-held", title: t("wall.held-hint"), hidden: true, onclick: () => this.listing.refresh() }, t("wall.held"));
    this.told = h("div", { class: "wall-told", role: "status" });
    this.list = new Window({ label: t("wall.list"), make: () => new Tile(app), shape: SHAPES[this.#view], ranged: (first, end) => this.#ranged(first, end) });
    this.list.dataset.view = this.#view;
    fill(this, h("div", { class: "wall-head" }, h("h1", {}, t("nav.fleet")), this.filter), this.told, this.list, this.held);
  }

  shown() {
    const { app, list } = this;
    this.#back = left.get(app) ?? null;
    if (this.#back && isEmpty(readFilter(location.hash))) history.replaceState(null, "", this.#back.address);
    this.listing = new Listing({ fleet: app.fleet, clock: app.clock, filter: { ...readFilter(location.hash), sort: app.preferences.get("sort") } });
    const draw = eachFrame(() => this.isConnected && this.#draw());
    this.until(
      this.listing.on("order", () => this.#ordered()),
      this.listing.on("waiting", (waiting) => (this.held.hidden = !waiting)),
      app.fleet.on("change", (ids) => {
        for (const id of ids ?? app.fleet.stations.keys()) if (list.items.has(id)) this.#changed.add(id);
        draw();
      }),
      () => app.fleet.watch(this, []),
      () => this.listing.close(),
    );
    this.listen(window, "hashchange", () => this.#moved());
    this.listen(document, "keydown", (event) => this.#key(event));
    for (const sign of ["pointermove", "pointerdown", "keydown", "focusin", "wheel"]) this.listen(list, sign, () => this.listing.hold(HOLD), { passive: true });
    this.listen(list, "pointerleave", () => list.contains(document.activeElement) || this.listing.release());
    this.listen(list.scroller, "scroll", () => (this.scrolled = list.scroller.scrollTop), { passive: true });
    this.#ticking = setInterval(() => this.#tick(), 1_000);
    this.filter.show(this.listing.filter);
    this.#ordered();
    this.#restore();
    app.fleet.refresh(OLD_LIST.coming);
  }

  gone() {
    clearInterval(this.#ticking);
    clearTimeout(this.#counting);
    this.#counting = null;
    const { app, list, scrolled } = this;
    const stays = ON_WALL.test(location.hash); // it is made anew, in another language
    if (app.session.signedIn) left.set(app, { address: addressOf(this.listing.filter), focus: stays ? null : list.active, scrolled });
    else left.delete(app);
  }

  get #view() {
    const view = this.app.preferences.get("view");
    return Object.hasOwn(SHAPES, view) ? view : "tiles";
  }

  #choose({ view, ...change }) {
    const { preferences } = this.app;
    if (view) {
      preferences.set("view", view);
      this.list.dataset.view = this.#view;
      this.list.reshape(SHAPES[this.#view]);
      return;
    }
    if (change.sort) preferences.set("sort", change.sort);
    this.listing.set(change);
    this.filter.show(this.listing.filter);
    // no entry of the history for each letter
    history.replaceState(null, "", addressOf(this.listing.filter));
    this.list.scroller.scrollTop = 0;
  }

  /** Somebody followed a link to the wall, or typed another filter into the address. */
  #moved() {
    const filter = readFilter(location.hash);
    if (!ON_WALL.test(location.hash) || addressOf(filter) === addressOf(this.listing.filter)) return;
    this.listing.set(filter);
    this.filter.show(this.listing.filter);
  }

  #ordered() {
    this.list.set(this.listing.stations);
    this.#draw();
  }

  #ranged(first, end) {
    if (!this.listing) return;
    this.listing.sight = [first, end];
    this.app.fleet.watch(this, this.list.items.keys());
  }

  #draw() {
    const { stations } = this.app.fleet;
    for (const id of this.#changed) {
      const station = stations.get(id);
      if (station) this.list.items.get(id)?.show(station);
    }
    this.#changed.clear();
    this.#tell();
    this.#counting ??= setTimeout(() => this.#count(), COUNT_EVERY);
    if (!this.counted) this.#count();
  }

  #count() {
    clearTimeout(this.#counting);
    this.#counting = null;
    const { fleet } = this.app;
    this.counted = fleet.loaded;
    this.filter.showCounts(fleet.counts(), fleet.tags(), this.listing.stations.length);
  }

  #tick() {
    const now = this.app.clock.now();
    for (const tile of this.list.items.values()) tile.tick(now);
    if (document.visibilityState === "visible") this.app.fleet.refresh(OLD_LIST.staying);
  }

  /** What there is instead of stations. */
  #tell() {
    const { fleet } = this.app;
    const what = !fleet.loaded ? (fleet.error ? "failed" : "loading") : fleet.error ? "old" : fleet.stations.size === 0 ? "none" : this.listing.stations.length === 0 ? "nothing" : "";
    this.list.hidden = what !== "" && what !== "old";
    if (what === this.told.dataset.what) return;
    this.told.dataset.what = what;
    fill(this.told, ...this.#words(what));
  }

  #words(what) {
    const { app } = this;
    const { t } = app;
    const again = () => h("button", { type: "button", onclick: () => this.#again() }, t("wall.again"));
    switch (what) {
      case "loading":
        return [h("p", { class: "empty" }, t("wall.loading"))];
      case "failed":
        return [h("div", { class: "empty" }, h("p", {}, t("wall.failed", { reason: app.explain(app.fleet.error) })), again())];
      case "old":
        return [h("p", { class: "told row" }, t("wall.old", { reason: app.explain(app.fleet.error) }), again())];
      case "none":
        return [h("div", { class: "empty wall-none" }, h("h2", {}, t("wall.none")), h("p", {}, t("wall.none-how")), h("pre", { class: "card" }, "hub token --station gate-1"), h("p", {}, t("wall.none-demo")), h("pre", { class: "card" }, "hub simulate --stations 20"))];
      case "nothing":
        return [h("div", { class: "empty" }, h("h2", {}, t("wall.nothing")), h("button", { type: "button", onclick: () => this.#choose({ search: "", states: new Set(), tag: "" }) }, t("wall.clear")))];
      default:
        return [];
    }
  }

  async #again() {
    await this.app.fleet.load();
    this.told.dataset.what = "?"; // the reason may be another
    this.#tell();
  }

  /** Back from a station: everything is where it was. */
  #restore() {
    const back = this.#back;
    if (!back) return;
    this.list.scroller.scrollTop = back.scrolled;
    this.list.draw();
    // the frame focuses the page when it is shown: after that
    requestAnimationFrame(() => this.isConnected && back.focus !== null && this.list.focusOn(back.focus));
  }

  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || event.isComposing || event.defaultPrevented) return;
    const { search } = this.filter;
    if (event.key === "/" && !event.target.closest(EDITABLE) && !document.querySelector("dialog[open]")) {
      event.preventDefault();
      search.focus();
      search.select();
    } else if (event.target === search && (event.key === "ArrowDown" || event.key === "Enter")) {
      event.preventDefault();
      this.list.focusAt(0);
    }
  }
}
customElements.define("hub-wall", WallPage);
