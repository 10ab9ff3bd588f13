/** The calls since somebody signed in: what rings, what was missed, what became of the rest. */
import { eachFrame, fill, h, Part, setText } from "../lib/dom.js";
import { moment } from "../lib/format.js";
import { isMissed } from "../core/calls.js";
import { stationAddress } from "../core/ids.js";
import { callStation, nameOf } from "../parts/calling.js";

const FILTERS = ["all", "missed"];

export class CallsPage extends Part {
  #filter = "all";
  #rows = new Map();

  constructor(app) {
    super();
    this.app = app;
    this.className = "calls-page";
  }

  make() {
    const { app } = this;
    const { t, preferences } = app;
    this.filters = FILTERS.map((name) => h("button", { type: "button", onclick: () => this.#choose(name), "data-filter": name }, t(`calls.filter.${name}`)));
    this.mute = h("input", { type: "checkbox", onchange: () => preferences.set("muted", !this.mute.checked) });
    this.body = h("tbody");
    this.table = h(
      "table",
      { class: "calls-table" },
      h("caption", { class: "visually-hidden" }, t("nav.calls")),
      h("thead", {}, h("tr", {}, ["time", "station", "outcome", "action"].map((name) => h("th", { scope: "col" }, t(`calls.${name}`))))),
      this.body,
    );
    this.none = h("p", { class: "empty" });
    fill(
      this,
      h(
        "div",
        { class: "page-head" },
        h("h1", {}, t("nav.calls")),
        h("div", { class: "row", role: "group", "aria-label": t("calls.filter") }, this.filters),
        h("span", { class: "grow" }),
        h("label", { class: "calls-sound" }, this.mute, t("calls.sound")),
      ),
      this.table,
      this.none,
    );
  }

  shown() {
    const { app } = this;
    const draw = eachFrame(() => this.isConnected && this.#draw());
    this.until(
      app.calls.on("change", draw),
      app.fleet.on("change", draw),
      app.hub.on("state", draw),
      app.hub.on("welcome", draw),
      app.preferences.on("change", draw),
    );
    this.listen(document, "visibilitychange", draw);
    this.#draw();
  }

  #choose(filter) {
    this.#filter = filter;
    this.#draw();
  }

  #draw() {
    const { calls, preferences, t } = this.app;
    for (const button of this.filters) button.setAttribute("aria-pressed", String(button.dataset.filter === this.#filter));
    this.mute.checked = preferences.get("muted") !== true;
    const shown = calls.log.filter((call) => this.#filter === "all" || isMissed(call));
    this.table.hidden = shown.length === 0;
    this.none.hidden = shown.length > 0;
    setText(this.none, t(`calls.none.${this.#filter}`));
    this.#drawRows(shown);
    if (!document.hidden) calls.see();
  }

  #drawRows(calls) {
    const kept = new Map();
    for (const call of calls) {
      const row = this.#rows.get(call.id) ?? this.#makeRow(call);
      kept.set(call.id, row);
      row.update();
    }
    this.#rows = kept;
    const elements = [...kept.values()].map(({ element }) => element);
    // only what moved: a button that has the focus keeps it
    if (elements.length !== this.body.children.length || elements.some((element, at) => element !== this.body.children[at])) fill(this.body, elements);
  }

  #makeRow(call) {
    const { app } = this;
    const { t, texts } = app;
    const { stationId } = call;
    const name = h("a", { href: stationAddress(stationId) });
    const outcome = h("span", { class: "call-outcome" });
    const again = h("button", { type: "button", onclick: () => callStation(app, stationId) });
    const element = h("tr", {}, h("td", {}, h("span", { class: "number" }, moment(texts.language, call.time))), h("td", {}, name), h("td", {}, outcome), h("td", {}, again));
    const update = () => {
      const text = nameOf(app, stationId);
      const may = app.may("operator");
      setText(name, text);
      name.title = stationId;
      outcome.dataset.outcome = call.outcome;
      setText(outcome, t(`calls.outcome.${call.outcome}`));
      setText(again, t(call.outcome === "ringing" ? "call.accept" : "calls.back"));
      again.setAttribute("aria-label", t(call.outcome === "ringing" ? "call.accept-of" : "calls.back-of", { name: text }));
      again.disabled = !may || app.hub.state !== "open" || app.fleet.stations.get(stationId)?.online === false;
      again.title = may ? "" : t("call.needs-operator");
    };
    return { element, update };
  }
}
customElements.define("hub-calls", CallsPage);
