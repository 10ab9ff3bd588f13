/** Numbers over the last minutes, and counters as rates. Pure: time comes in with each value. */

/** Milliseconds that are kept. */
export const WINDOW = 600_000;
/** Values that are kept at most: one each two seconds, and some for what comes out of turn. */
const CAPACITY = 360;
/** Milliseconds without a value after which a line is broken: three updates that did not come. */
export const GAP = 7_000;

/** A ring of values, each with its time. The oldest give way. */
export class Series {
  #start = 0;
  #length = 0;

  /** @param {{window?: number, capacity?: number, gap?: number}} [options] `window`, `gap`: milliseconds. */
  constructor({ window = WINDOW, capacity = CAPACITY, gap = GAP } = {}) {
    Object.assign(this, { window, capacity, gap });
    this.times = new Float64Array(capacity);
    this.values = new Float64Array(capacity);
  }

  /**
   * Adds a value; what is no finite number breaks the line.
   * @param {number} time milliseconds. One before the last (the clock was set) makes the older values void.
   */
  add(time, value) {
    if (this.#length && time < this.times[this.#at(this.#length - 1)]) this.clear();
    if (this.#length === this.capacity) this.#start = (this.#start + 1) % this.capacity;
    else this.#length++;
    const at = this.#at(this.#length - 1);
    this.times[at] = time;
    this.values[at] = typeof value === "number" && Number.isFinite(value) ? value : NaN;
  }

  clear() {
    this.#start = this.#length = 0;
  }

  /** The newest value; NaN: there is none. */
  get last() {
    return this.#length ? this.values[this.#at(this.#length - 1)] : NaN;
  }

  /**
   * What is in the window that ends now, as unbroken runs of points; a lone point is a run of one.
   * @param {number} now milliseconds.
   * @returns {{time: number, value: number}[][]}
   */
  runs(now) {
    const runs = [];
    let run = null;
    for (let place = 0; place < this.#length; place++) {
      const [time, value] = [this.times[this.#at(place)], this.values[this.#at(place)]];
      if (time < now - this.window) continue;
      if (Number.isNaN(value)) {
        run = null;
        continue;
      }
      if (run === null || time - run.at(-1).time > this.gap) runs.push((run = []));
      run.push({ time, value });
    }
    return runs;
  }

  #at(place) {
    return (this.#start + place) % this.capacity;
  }
}

/** A counter of the hub's, as a rate. */
export class Rate {
  #before = null;

  /**
   * Takes the next reading.
   * @param {number} time milliseconds, of the hub's clock.
   * @param {number} count what the counter says; one that fell began anew.
   * @returns {number} how much a second since the reading before; NaN: that cannot be said.
   */
  next(time, count) {
    const before = this.#before;
    if (typeof count !== "number" || !Number.isFinite(count)) {
      this.#before = null;
      return NaN;
    }
    this.#before = { time, count };
    if (before === null || count < before.count || time <= before.time) return NaN;
    return ((count - before.count) * 1000) / (time - before.time);
  }

  /** What counts began anew: the next reading is the first. */
  reset() {
    this.#before = null;
  }
}
