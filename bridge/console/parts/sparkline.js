/** The last ten minutes of one of the hub's numbers, as a small picture with the number beside it. */
import { dark, drawRuns, sheetOf } from "../lib/charts.js";
import { eachFrame, fill, h, Part, setText } from "../lib/dom.js";
import { WINDOW } from "../core/reports.js";

const HEIGHT = 40;
const EDGE = 3;

export class Sparkline extends Part {
  /**
   * @param {import("../core/app.js").App} app
   * @param {object} options
   * @param {string} options.label
   * @param {import("../core/reports.js").Reports} options.reports
   * @param {string} options.series which of them.
   * @param {(value: number) => string} options.say a value in words.
   * @param {number | null} [options.top] the largest that there can be; null: as large as what is shown.
   */
  constructor(app, { label, reports, series, say, top = null }) {
    super();
    Object.assign(this, { app, label, reports, series, say, top });
    this.className = "sparkline card";
    this.redraw = eachFrame(() => this.isConnected && this.#draw());
  }

  make() {
    this.value = h("span", { class: "sparkline-value number" });
    this.note = h("span", { class: "sparkline-note small soft number" });
    this.canvas = h("canvas", { class: "sparkline-picture", role: "img" });
    fill(this, h("h3", {}, this.label), this.value, this.note, this.canvas);
  }

  shown() {
    const sizes = new ResizeObserver(this.redraw);
    sizes.observe(this.canvas);
    this.until(() => sizes.disconnect(), this.app.preferences.on("change", this.redraw));
    this.listen(dark, "change", this.redraw);
    this.#draw();
  }

  /**
   * Another value is there, or none is.
   * @param {string} [note] what belongs to the number.
   */
  update(note = "") {
    this.about = note;
    this.redraw();
  }

  #draw() {
    const { reports, canvas, say } = this;
    const now = this.app.clock.now();
    const runs = reports.runs(this.series, now);
    const values = runs.flat().map((point) => point.value);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const latest = runs.at(-1)?.at(-1);
    const current = latest && now - latest.time <= reports.gap ? say(latest.value) : "–";
    setText(this.value, current);
    setText(this.note, this.about ?? "");
    const { t } = this.app;
    const text = values.length ? t("spark.range", { label: this.label, low: say(low), high: say(high) }) : t("spark.empty", { label: this.label });
    if (canvas.getAttribute("aria-label") !== text) canvas.setAttribute("aria-label", text);
    canvas.title = text;
    this.#paint(runs, this.top ?? Math.max(high, 1), now);
  }

  #paint(runs, top, now) {
    const sheet = sheetOf(this.canvas, HEIGHT);
    if (!sheet) return;
    const { pen, width } = sheet;
    const x = (time) => width - EDGE - ((now - time) / WINDOW) * (width - 2 * EDGE);
    const y = (value) => HEIGHT - EDGE - (Math.min(value, top) / top) * (HEIGHT - 2 * EDGE);
    Object.assign(pen, { strokeStyle: sheet.grid, fillStyle: sheet.line, lineWidth: 1 });
    pen.beginPath();
    pen.moveTo(0, HEIGHT - 0.5);
    pen.lineTo(width, HEIGHT - 0.5);
    pen.stroke();
    for (const run of runs) this.#shade(pen, run, x, y);
    drawRuns(sheet, runs, x, y);
  }

  /** What is under a line. */
  #shade(pen, run, x, y) {
    pen.globalAlpha = 0.13;
    pen.beginPath();
    pen.moveTo(x(run[0].time), HEIGHT);
    for (const { time, value } of run) pen.lineTo(x(time), y(value));
    pen.lineTo(x(run.at(-1).time), HEIGHT);
    pen.fill();
    pen.globalAlpha = 1;
  }
}
customElements.define("hub-sparkline", Sparkline);
