/** One station on the wall. */
import { h } from "../lib/dom.js";
import { duration, moment, number } from "../lib/format.js";
import { stationAddress } from "../core/ids.js";
import { reading } from "../core/metrics.js";
import { DEVICE_STATES } from "../core/states.js";
import { devicesOf, salient } from "../core/summary.js";

/** Milliseconds after which it is told how old the last status is. */
const OLD = 15_000;
/** Milliseconds that the status of a station that comes into sight may take before it is told that there is none. */
const COMES_WITHIN = 2_000;
let made = 0;

/** A text that is written only when it is another: reading it back from the page would cost more than all else here. */
class Text {
  #node = document.createTextNode("");

  constructor(tag, props) {
    this.element = h(tag, props, this.#node);
    this.value = "";
  }

  set(value) {
    if (value === this.value) return;
    if (!value !== !this.value) this.element.hidden = !value;
    this.#node.data = this.value = value;
  }
}

/** The element of one station after another; an Item of parts/window.js. */
export class Tile {
  #state = null;
  #named = 0;
  #since = null;
  #status;

  /** @param {import("../core/app.js").App} app */
  constructor(app) {
    this.app = app;
    const about = `tile-${++made}`;
    const text = (tag, name, more = {}) => new Text(tag, { class: name, hidden: true, ...more });
    this.title = new Text("a", { class: "tile-link", "aria-describedby": about });
    this.id = text("span", "tile-id");
    this.place = text("span", "tile-place");
    this.state = new Text("span", { class: "state" });
    this.since = text("span", "tile-since small soft");
    this.kinds = Object.fromEntries(DEVICE_STATES.map((kind) => [kind, text("span", "tile-kind", { "data-state": kind })]));
    this.none = text("span", "soft");
    this.metrics = text("span", "tile-metrics number");
    this.age = text("span", "tile-age");
    this.link = this.title.element;
    this.element = h(
      "div",
      { class: "tile", role: "listitem" },
      h("div", { class: "tile-names" }, this.link, h("span", { class: "tile-where small soft" }, this.id.element, this.place.element)),
      h("div", { class: "tile-state", id: about }, this.state.element, " ", this.since.element),
      h("div", { class: "tile-devices small" }, DEVICE_STATES.map((kind) => [this.kinds[kind].element, " "]), this.none.element),
      h("div", { class: "tile-numbers small" }, this.metrics.element, " ", this.age.element),
    );
  }

  /** It is that of a station, as it is now. @param {import("../core/fleet.js").Station} station */
  show(station) {
    const { t } = this.app;
    if (station !== this.station) this.#name(station);
    this.station = station;
    if (station.state !== this.#state) {
      this.#state = this.element.dataset.state = this.state.element.dataset.state = station.state;
      this.state.set(t(`state.${station.state}`));
    }
    if (station.status !== this.#status) this.#report(station.status);
    this.tick(this.app.clock.now());
  }

  /** Time passed. */
  tick(now) {
    const { app, station } = this;
    const { language } = app.texts;
    const since = station.since === null ? "" : app.t(station.online ? "wall.up" : "wall.down", { time: duration(language, app.time.ago(station.since)) });
    this.since.set(since);
    if (station.since !== this.#since) {
      this.#since = station.since;
      this.since.element.title = since && moment(language, station.since);
    }
    if (station.status === null && now - this.#named > COMES_WITHIN) this.none.set(app.t("wall.no-status"));
    const age = station.heard === 0 || station.status === null ? 0 : now - station.heard;
    this.age.set(age > OLD ? app.t("wall.age", { time: duration(language, age) }) : "");
  }

  #name(station) {
    const { id, name, location } = station;
    this.title.set(name || id);
    this.id.set(name ? id : "");
    this.place.set(location);
    this.link.href = stationAddress(id);
    this.element.title = [name, id, location].filter(Boolean).join("\n");
    this.#status = undefined;
    this.#named = this.app.clock.now();
  }

  #report(status) {
    const { t, texts } = this.app;
    const count = devicesOf(status);
    let all = 0;
    for (const kind of DEVICE_STATES) {
      all += count[kind];
      this.kinds[kind].set(count[kind] ? t(`wall.devices.${kind}`, { n: number(texts.language, count[kind]) }) : "");
    }
    this.none.set(status === null || all ? "" : t("wall.no-devices"));
    this.metrics.set(salient(status).map(([metric, value]) => `${texts.word("metric", metric)} ${reading(texts.language, metric, value)}`).join(" · "));
    this.#status = status;
  }
}
