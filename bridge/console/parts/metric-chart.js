/** The last ten minutes of one number, as a small chart. */
import { dark, drawRuns, sheetOf } from "../lib/charts.js";
import { eachFrame, fill, h, Part, setText } from "../lib/dom.js";
import { clock } from "../lib/format.js";
import { reading } from "../core/metrics.js";
import { WINDOW } from "../core/reports.js";

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
let ticking = null;

/** All charts are drawn anew: time passes, colours change. */
function redrawCharts() {
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
  /** All numbers of the window, oldest first: of `#runs`. */
  #points = [];
  #runs = [];

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
    this.#runs = this.app.history.runs(this.stationId, this.deviceId, this.metric);
    this.#points = this.#runs.flat();
    const numbers = this.#points.map(({ value }) => value);
    const low = Math.min(...numbers);
    const high = Math.max(...numbers);
    this.#describe(numbers, low, high);
    const sheet = sheetOf(this.canvas, HEIGHT);
    if (!sheet) return;
    const { pen, width } = sheet;
    const now = this.app.clock.now();
    const x = (time) => width - EDGE - ((now - time) / WINDOW) * (width - 2 * EDGE);
    const spread = high - low;
    const y = (value) => (spread ? HEIGHT - EDGE - ((value - low) / spread) * (HEIGHT - 2 * EDGE) : HEIGHT / 2);
    this.#grid(pen, sheet.grid, now, x);
    drawRuns(sheet, this.#runs, x, y);
    this.#mark(pen, sheet.mark, x, y);
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

  #mark(pen, colour, x, y) {
    const point = this.#points[this.#pickedAt()];
    if (!point) return;
    const [across, down] = [x(point.time), y(point.value)];
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
    const { t, texts, time } = this.app;
    const say = (value) => reading(texts.language, this.metric, value);
    const at = this.#pickedAt();
    const range = !numbers.length ? t("chart.empty") : low === high ? t("chart.same", { value: say(low) }) : t("chart.range", { low: say(low), high: say(high) });
    const picked = at < 0 ? "" : t("chart.reading", { value: say(this.#points[at].value), time: clock(texts.language, time.there(this.#points[at].time)) });
    setText(this.note, picked || range);
    this.note.toggleAttribute("data-picked", at >= 0);
    const last = Math.max(0, this.#points.length - 1);
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
    if (this.#picked === null) return -1;
    const away = ({ time }) => Math.abs(time - this.#picked);
    return this.#points.reduce((best, point, at, points) => (best < 0 || away(point) <= away(points[best]) ? at : best), -1);
  }

  #pick(time) {
    if (time === this.#picked) return;
    this.#picked = time;
    this.changed();
  }

  #step(by) {
    const last = this.#points.length - 1;
    if (last < 0) return;
    const from = this.#picked === null ? last : this.#pickedAt();
    this.#pick(this.#points[Math.min(last, Math.max(0, from + by))].time);
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
