/** The last ten minutes of one of the hub's numbers, as a small picture with the number beside it. */
import { eachFrame, fill, h, Part, setText } from "../lib/dom.js";
import { GAP, WINDOW } from "../core/series.js";

const HEIGHT = 40;
const EDGE = 3;
const dark = matchMedia("(prefers-color-scheme: dark)");

export class Sparkline extends Part {
  /**
   * @param {import("../core/app.js").App} app
   * @param {object} options
   * @param {string} options.label
   * @param {import("../core/series.js").Series} options.series
   * @param {(value: number) => string} options.say a value in words.
   * @param {number | null} [options.top] the largest that there can be; null: as large as what is shown.
   */
  constructor(app, { label, series, say, top = null }) {
    super();
    Object.assign(this, { app, label, series, say, top });
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
    const { series, canvas, say } = this;
    const now = this.app.clock.now();
    const runs = series.runs(now);
    const values = runs.flat().map((point) => point.value);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const latest = runs.at(-1)?.at(-1);
    const current = latest && now - latest.time <= GAP ? say(latest.value) : "–";
    setText(this.value, current);
    setText(this.note, this.about ?? "");
    const { t } = this.app;
    const text = values.length ? t("spark.range", { label: this.label, low: say(low), high: say(high) }) : t("spark.empty", { label: this.label });
    if (canvas.getAttribute("aria-label") !== text) canvas.setAttribute("aria-label", text);
    canvas.title = text;
    this.#paint(runs, this.top ?? Math.max(high, 1), now);
  }

  #paint(runs, top, now) {
    const { canvas } = this;
    const width = canvas.clientWidth;
    if (!width) return;
    const ratio = devicePixelRatio;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(HEIGHT * ratio);
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    // custom properties are not resolved for scripts; these are
    const { color, borderBottomColor: base } = getComputedStyle(canvas);
    const x = (time) => width - EDGE - ((now - time) / WINDOW) * (width - 2 * EDGE);
    const y = (value) => HEIGHT - EDGE - (Math.min(value, top) / top) * (HEIGHT - 2 * EDGE);
    pen.strokeStyle = base;
    pen.beginPath();
    pen.moveTo(0, HEIGHT - 0.5);
    pen.lineTo(width, HEIGHT - 0.5);
    pen.stroke();
    Object.assign(pen, { strokeStyle: color, fillStyle: color, lineWidth: 1.6, lineJoin: "round", lineCap: "round" });
    for (const run of runs) this.#run(pen, run, x, y);
  }

  #run(pen, run, x, y) {
    const trace = () => run.forEach(({ time, value }) => pen.lineTo(x(time), y(value)));
    pen.globalAlpha = 0.13;
    pen.beginPath();
    pen.moveTo(x(run[0].time), HEIGHT);
    trace();
    pen.lineTo(x(run.at(-1).time), HEIGHT);
    pen.fill();
    pen.globalAlpha = 1;
    pen.beginPath();
    pen.moveTo(x(run[0].time), y(run[0].value));
    trace(); // a lone value is a dot: a line to itself
    pen.stroke();
  }
}
customElements.define("hub-sparkline", Sparkline);
