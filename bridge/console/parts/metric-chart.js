/** The last ten minutes of one number, as a small chart. */
import { eachFrame, fill, h, Part, setText } from "../lib/dom.js";
import { clock } from "../lib/format.js";
import { WINDOW } from "../core/history.js";
import { reading } from "../core/metrics.js";

const HEIGHT = 56;
const EDGE = 4;
const GRID_EVERY = 120_000;
const STEPS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10, Home: -Infinity, End: Infinity };

// one loop and one pair of observers for all charts of a page
const shown = new Set();
const stale = new Set();
const drawSoon = eachFrame(() => {
  for (const chart of stale) if (chart.seen) chart.draw();
  stale.clear();
});
const watch = (entries, tell) => entries.forEach((entry) => tell(entry.target.closest("hub-chart"), entry));
const sizes = new ResizeObserver((entries) => watch(entries, (chart) => chart?.changed()));
const sights = new IntersectionObserver((entries) => watch(entries, (chart, { isIntersecting }) => chart?.sighted(isIntersecting)));
const dark = matchMedia("(prefers-color-scheme: dark)");
let ticking = null;

/** All charts are drawn anew: time passes, colours change. */
export function redrawCharts() {
  for (const chart of shown) chart.changed();
}

function enter(chart) {
  shown.add(chart);
  if (shown.size > 1) return;
  ticking = setInterval(redrawCharts, 1_000);
  dark.addEventListener("change", redrawCharts);
}

function leave(chart) {
  shown.delete(chart);
  stale.delete(chart);
  if (shown.size) return;
  clearInterval(ticking);
  dark.removeEventListener("change", redrawCharts);
}

export class MetricChart extends Part {
  seen = false;
  /** The time of the value that is read out; null: none is. */
  #picked = null;
  #read = { times: [], values: [], gap: 0 };

  /**
   * @param {import("../core/app.js").App} app
   * @param {{stationId: string, deviceId: string, metric: string, label: string}} of
   */
  constructor(app, { stationId, deviceId, metric, label }) {
    super();
    Object.assign(this, { app, stationId, deviceId, metric, label });
  }

  make() {
    this.canvas = h("canvas", {
      class: "chart",
      tabIndex: 0,
      role: "slider",
      "aria-readonly": "true",
      "aria-label": this.app.t("chart.label", { metric: this.label }),
      "aria-valuemin": "0",
      onpointermove: ({ offsetX }) => this.#pick(this.#timeAt(offsetX)),
      onpointerleave: () => this.#pick(null),
      onblur: () => this.#pick(null),
      onfocus: () => this.#step(0),
      onkeydown: (event) => this.#key(event),
    });
    this.note = h("p", { class: "chart-note small soft number" });
    fill(this, this.canvas, this.note);
  }

  shown() {
    enter(this);
    sizes.observe(this.canvas);
    sights.observe(this.canvas);
    this.until(
      this.app.history.on("change", (id) => id === this.stationId && this.changed()),
      this.app.preferences.on("change", () => this.changed()),
    );
    this.changed();
  }

  gone() {
    leave(this);
    sizes.unobserve(this.canvas);
    sights.unobserve(this.canvas);
  }

  /** It is to be drawn anew. */
  changed() {
    stale.add(this);
    drawSoon();
  }

  /** It came into sight, or went. */
  sighted(seen) {
    this.seen = seen;
    if (seen) this.changed();
  }

  draw() {
    this.#read = this.app.history.read(this.stationId, this.deviceId, this.metric);
    const numbers = this.#read.values.filter((value) => !Number.isNaN(value));
    const low = Math.min(...numbers);
    const high = Math.max(...numbers);
    this.#describe(numbers, low, high);
    const { canvas } = this;
    const width = canvas.clientWidth;
    if (!width) return;
    const ratio = devicePixelRatio;
    if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
    if (canvas.height !== Math.round(HEIGHT * ratio)) canvas.height = Math.round(HEIGHT * ratio);
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, HEIGHT);
    // custom properties are not resolved for scripts; these are
    const { color: line, borderBottomColor: grid, caretColor: mark } = getComputedStyle(canvas);
    const now = this.app.clock.now();
    const x = (time) => width - EDGE - ((now - time) / WINDOW) * (width - 2 * EDGE);
    const spread = high - low;
    const y = (value) => (spread ? HEIGHT - EDGE - ((value - low) / spread) * (HEIGHT - 2 * EDGE) : HEIGHT / 2);
    this.#grid(pen, grid, now, x);
    if (numbers.length) this.#line(pen, line, x, y);
    this.#mark(pen, mark, x, y);
  }

  #grid(pen, colour, now, x) {
    pen.strokeStyle = colour;
    pen.lineWidth = 1;
    pen.beginPath();
    for (let time = Math.ceil((now - WINDOW) / GRID_EVERY) * GRID_EVERY; time <= now; time += GRID_EVERY) {
      pen.moveTo(Math.round(x(time)) + 0.5, 0);
      pen.lineTo(Math.round(x(time)) + 0.5, HEIGHT);
    }
    pen.stroke();
  }

  #line(pen, colour, x, y) {
    const { times, values, gap } = this.#read;
    pen.strokeStyle = colour;
    pen.lineWidth = 1.6;
    pen.lineJoin = pen.lineCap = "round";
    pen.beginPath();
    let before = null;
    for (const [at, time] of times.entries()) {
      if (Number.isNaN(values[at])) {
        before = null;
        continue;
      }
      // a lone value is a dot: a line to itself
      if (before === null || time - before > gap) pen.moveTo(x(time), y(values[at]));
      pen.lineTo(x(time), y(values[at]));
      before = time;
    }
    pen.stroke();
  }

  #mark(pen, colour, x, y) {
    const at = this.#pickedAt();
    if (at < 0) return;
    const [across, down] = [x(this.#read.times[at]), y(this.#read.values[at])];
    pen.strokeStyle = pen.fillStyle = colour;
    pen.lineWidth = 1;
    pen.beginPath();
    pen.moveTo(across, 0);
    pen.lineTo(across, HEIGHT);
    pen.stroke();
    pen.beginPath();
    pen.arc(across, down, 3, 0, 2 * Math.PI);
    pen.fill();
  }

  #describe(numbers, low, high) {
    const { t, texts } = this.app;
    const say = (value) => reading(texts.language, this.metric, value);
    const at = this.#pickedAt();
    const range = !numbers.length ? t("chart.empty") : low === high ? t("chart.same", { value: say(low) }) : t("chart.range", { low: say(low), high: say(high) });
    const picked = at < 0 ? "" : t("chart.reading", { value: say(this.#read.values[at]), time: clock(texts.language, this.#read.times[at]) });
    setText(this.note, picked || range);
    this.note.toggleAttribute("data-picked", at >= 0);
    const last = Math.max(0, this.#read.times.length - 1);
    this.canvas.setAttribute("aria-valuemax", String(last));
    this.canvas.setAttribute("aria-valuenow", String(at < 0 ? last : at));
    this.canvas.setAttribute("aria-valuetext", picked || range);
  }

  // ---- reading a value

  #timeAt(across) {
    const width = this.canvas.clientWidth - 2 * EDGE;
    return this.app.clock.now() - WINDOW * (1 - (across - EDGE) / width);
  }

  /** The place of the number nearest to the picked time; -1: there is none. */
  #pickedAt() {
    const { times, values } = this.#read;
    if (this.#picked === null) return -1;
    let best = -1;
    for (const [at, time] of times.entries()) {
      if (!Number.isNaN(values[at]) && (best < 0 || Math.abs(time - this.#picked) <= Math.abs(times[best] - this.#picked))) best = at;
    }
    return best;
  }

  #pick(time) {
    if (time === this.#picked) return;
    this.#picked = time;
    this.changed();
  }

  #step(by) {
    const { times, values } = this.#read;
    const places = [...values.keys()].filter((at) => !Number.isNaN(values[at]));
    if (!places.length) return;
    const from = this.#picked === null ? places.length - 1 : places.indexOf(this.#pickedAt());
    this.#pick(times[places[Math.min(places.length - 1, Math.max(0, from + by))]]);
  }

  #key(event) {
    if (event.key === "Escape") return this.#pick(null);
    const by = STEPS[event.key];
    if (by === undefined) return;
    event.preventDefault();
    this.#step(by);
  }
}
customElements.define("hub-chart", MetricChart);
