/** One device of a station: what it is, how it is, and all that it measures. */
import { fill, h, Part, setText } from "../lib/dom.js";
import { reading } from "../core/metrics.js";
import { deviceState } from "../core/states.js";
import { MetricChart } from "./metric-chart.js";

const MAX_METRICS = 40;

export class DeviceCard extends Part {
  /** @type {Map<string, {row: HTMLElement, value: HTMLElement, chart: HTMLElement | null}>} */
  #metrics = new Map();

  /**
   * @param {import("../core/app.js").App} app
   * @param {string} stationId
   * @param {any} device as it is in a status.
   */
  constructor(app, stationId, device) {
    super();
    Object.assign(this, { app, stationId, device });
    this.className = "card device";
  }

  make() {
    this.heading = h("h3");
    this.state = h("span", { class: "state" });
    this.about = h("p", { class: "small soft device-about" });
    this.metrics = h("dl", { class: "metrics" });
    fill(this, h("div", { class: "device-head" }, this.heading, this.state), this.about, this.metrics);
    this.#draw();
  }

  /** What it reported now. */
  update(device) {
    if (device === this.device) return;
    this.device = device;
    if (this.heading) this.#draw();
  }

  #draw() {
    const { app, device } = this;
    setText(this.heading, device.name || device.deviceId);
    const state = deviceState(device);
    this.state.dataset.state = state;
    setText(this.state, app.t(`state.${state}`));
    setText(this.about, [device.deviceId, app.texts.word("device", device.type)].filter(Boolean).join(" · "));
    const entries = Object.entries(device.metrics ?? {}).slice(0, MAX_METRICS);
    for (const [name, { row }] of this.#metrics) {
      if (entries.some(([other]) => other === name)) continue;
      row.remove();
      this.#metrics.delete(name);
    }
    for (const [name, value] of entries) this.#show(name, value);
  }

  #show(name, value) {
    const { app } = this;
    const metric = this.#metrics.get(name) ?? this.#add(name);
    setText(metric.value, reading(app.texts.language, name, value));
    if (typeof value !== "number" || metric.chart) return;
    const { stationId, device } = this;
    metric.chart = new MetricChart(app, { stationId, deviceId: device.deviceId, metric: name, label: `${device.name || device.deviceId}, ${metric.label}` });
    metric.row.append(h("dd", { class: "metric-chart" }, metric.chart));
  }

  #add(name) {
    const label = this.app.texts.word("metric", name);
    const value = h("dd", { class: "metric-value number" });
    const row = h("div", { class: "metric" }, h("dt", {}, label), value);
    const metric = { row, value, label, chart: null };
    this.#metrics.set(name, metric);
    this.metrics.append(row);
    return metric;
  }
}
customElements.define("hub-device", DeviceCard);
