/** Numbers over the last minutes: a station's, or the hub's own. Pure: time comes in with each report. */

/** Milliseconds that are kept. */
export const WINDOW = 600_000;
/** Reports that are kept: at one a second, a little more than the window. */
const REPORTS = 640;
const FIRST_REPORTS = 40;
/** Numbers that are kept; a report may hold thousands. */
const MAX_SERIES = 96;
/** A line is broken where so many usual intervals passed without a report, and at least so many milliseconds. */
const GAP_INTERVALS = 3.5;
const MIN_GAP = 4_000;
const INTERVALS_LOOKED_AT = 24;

/** The milliseconds that usually lie between two of these times: the median. */
function usual(times) {
  const intervals = times.slice(1).map((time, at) => time - times[at]);
  intervals.sort((one, other) => one - other);
  return intervals[intervals.length >> 1] ?? 0;
}

/** A ring of reports: when each came, and for each series its number, NaN where it had none. Grows up to REPORTS, then the oldest give way. */
export class Reports {
  #size = FIRST_REPORTS;
  #start = 0;
  #length = 0;
  #times = new Float64Array(FIRST_REPORTS);
  /** @type {Map<string, Float64Array>} */
  #series = new Map();
  /** Of what was filled in: the time of the newest, and milliseconds without one after which a line is broken there. */
  #filled = { until: -Infinity, gap: 0 };

  /** @param {{interval?: number | null}} [options] `interval`: milliseconds between two reports; null: as they came lately. */
  constructor({ interval = null } = {}) {
    this.interval = interval;
  }

  /**
   * Another report, without numbers yet. One from before the last (the clock was set) makes the older ones void.
   * @param {number} time milliseconds.
   * @returns {number} its place.
   */
  add(time) {
    if (time < this.last) this.#clear();
    if (this.#length === this.#size && this.#size < REPORTS) this.#grow();
    const place = (this.#start + this.#length) % this.#size;
    if (this.#length === this.#size) this.#start = (this.#start + 1) % this.#size;
    else this.#length++;
    this.#times[place] = time;
    for (const values of this.#series.values()) values[place] = NaN;
    return place;
  }

  /** A number of the report at a place; what is no finite number is none. */
  set(place, key, value) {
    if (typeof value !== "number" || !Number.isFinite(value)) return;
    let values = this.#series.get(key);
    if (!values) {
      if (this.#series.size >= MAX_SERIES && !this.#makeRoom()) return;
      values = new Float64Array(this.#size).fill(NaN);
      this.#series.set(key, values);
    }
    values[place] = value;
  }

  /**
   * Takes what somebody else kept of the same reports, where this has none.
   * @param {number[]} times milliseconds, oldest first.
   * @param {Map<string, (number | null)[]>} series a value for each time.
   * @param {number} apart milliseconds: what is nearer to an own report than half of that is the same one.
   */
  fill(times, series, apart) {
    const own = Array.from({ length: this.#length }, (_, at) => this.#timeAt(at));
    const before = [...this.#series].map(([key, values]) => [key, own.map((_, at) => values[(this.#start + at) % this.#size])]);
    const near = (time) => own.some((mine) => Math.abs(mine - time) < apart / 2);
    const rows = [...times.map((time, at) => ({ time, at, from: series })), ...own.map((time, at) => ({ time, at, from: before }))]
      .filter(({ time, from }) => from === before || !near(time))
      .sort((one, other) => one.time - other.time);
    this.#clear();
    for (const { time, at, from } of rows) {
      const place = this.add(time);
      for (const [key, values] of from) this.set(place, key, values[at]);
    }
    const until = Math.max(this.#filled.until, times.at(-1) ?? -Infinity);
    this.#filled = { until, gap: GAP_INTERVALS * Math.max(apart, usual(times)) };
  }

  /** When the newest came; 0: there is none. */
  get last() {
    return this.#length ? this.#timeAt(this.#length - 1) : 0;
  }

  /** Milliseconds without a report after which a line is broken. */
  get gap() {
    return Math.max(MIN_GAP, GAP_INTERVALS * (this.interval ?? this.#usual()));
  }

  #usual() {
    const first = Math.max(0, this.#length - 1 - INTERVALS_LOOKED_AT);
    return usual(Array.from({ length: this.#length - first }, (_, at) => this.#timeAt(first + at)));
  }

  /**
   * One series in the window that ends now, as unbroken runs of points; a lone point is a run of one.
   * @param {string} key
   * @param {number} now milliseconds.
   * @returns {{time: number, value: number}[][]}
   */
  runs(key, now) {
    const values = this.#series.get(key);
    const runs = [];
    if (!values) return runs;
    const { gap } = this;
    const filled = { until: this.#filled.until, gap: Math.max(gap, this.#filled.gap) };
    let run = null;
    for (let at = 0; at < this.#length; at++) {
      const [time, value] = [this.#timeAt(at), values[(this.#start + at) % this.#size]];
      if (time < now - WINDOW) continue;
      if (Number.isNaN(value)) {
        run = null;
        continue;
      }
      const last = run?.at(-1).time;
      if (run === null || time - last > (last <= filled.until ? filled.gap : gap)) runs.push((run = []));
      run.push({ time, value });
    }
    return runs;
  }

  #clear() {
    this.#start = this.#length = 0;
    this.#series.clear();
  }

  #grow() {
    const size = Math.min(REPORTS, this.#size * 4);
    // start is 0: a ring that may grow has not turned yet
    const larger = (old) => {
      const values = new Float64Array(size).fill(NaN);
      values.set(old);
      return values;
    };
    this.#times = larger(this.#times);
    for (const [key, values] of this.#series) this.#series.set(key, larger(values));
    this.#size = size;
  }

  /** Forgets series that have no number any more: of devices that are gone. */
  #makeRoom() {
    for (const [key, values] of this.#series) if (values.every(Number.isNaN)) this.#series.delete(key);
    return this.#series.size < MAX_SERIES;
  }

  #timeAt(at) {
    return this.#times[(this.#start + at) % this.#size];
  }
}
