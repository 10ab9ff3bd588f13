/** What numbers the devices reported in the last minutes, of the stations that this page has seen lately. */
import { Emitter } from "../lib/emitter.js";
import { browserClock } from "./hub.js";

/** Milliseconds that are kept. */
export const WINDOW = 600_000;
/** Reports that are kept of a station: at one a second, a little more than the window. */
const REPORTS = 640;
const FIRST_REPORTS = 40;
/** More than a wall shows at once: else each would be forgotten before its next report. About 50 KB each. */
const MAX_STATIONS = 400;
/** Numbers that are kept of a station; a report may hold thousands. */
const MAX_SERIES = 96;
/** A line is broken where so many usual intervals passed without a report, and at least so many milliseconds. */
const GAP_INTERVALS = 3.5;
const MIN_GAP = 4_000;
const INTERVALS_LOOKED_AT = 24;

/** A ring of reports: when each came, and for each series its number, NaN where it had none. Grows up to REPORTS, then the oldest give way. */
class Reports {
  size = FIRST_REPORTS;
  start = 0;
  length = 0;
  newest = null;
  times = new Float64Array(FIRST_REPORTS);
  /** @type {Map<string, Float64Array>} */
  series = new Map();

  /** Another report, without numbers yet; gives its place. */
  add(time) {
    if (this.length === this.size && this.size < REPORTS) this.#grow();
    const place = (this.start + this.length) % this.size;
    if (this.length === this.size) this.start = (this.start + 1) % this.size;
    else this.length++;
    this.times[place] = time;
    for (const values of this.series.values()) values[place] = NaN;
    return place;
  }

  set(place, key, value) {
    let values = this.series.get(key);
    if (!values) {
      if (this.series.size >= MAX_SERIES && !this.#makeRoom()) return;
      values = new Float64Array(this.size).fill(NaN);
      this.series.set(key, values);
    }
    values[place] = value;
  }

  #grow() {
    const size = Math.min(REPORTS, this.size * 4);
    // start is 0: a ring that may grow has not turned yet
    const larger = (old) => {
      const values = new Float64Array(size).fill(NaN);
      values.set(old);
      return values;
    };
    this.times = larger(this.times);
    for (const [key, values] of this.series) this.series.set(key, larger(values));
    this.size = size;
  }

  /** Forgets series that have no number any more: of devices that are gone. */
  #makeRoom() {
    for (const [key, values] of this.series) if (values.every(Number.isNaN)) this.series.delete(key);
    return this.series.size < MAX_SERIES;
  }

  /** Milliseconds without a report after which a line is broken. */
  gap() {
    const intervals = [];
    for (let at = Math.max(1, this.length - INTERVALS_LOOKED_AT); at < this.length; at++) intervals.push(this.timeAt(at) - this.timeAt(at - 1));
    intervals.sort((one, other) => one - other);
    return Math.max(MIN_GAP, GAP_INTERVALS * (intervals[intervals.length >> 1] ?? 0));
  }

  /** When the newest came; 0: there is none. */
  get last() {
    return this.length ? this.timeAt(this.length - 1) : 0;
  }

  timeAt(at) {
    return this.times[(this.start + at) % this.size];
  }
}

const keyOf = (deviceId, metric) => `${deviceId}\n${metric}`;

/**
 * The history. Emits `change` (station id) after each report that it took.
 */
export class History extends Emitter {
  /** @type {Map<string, Reports>} the one that was changed or read last is the last. */
  #stations = new Map();

  /** @param {{fleet: import("./fleet.js").Fleet, clock?: any}} options */
  constructor({ fleet, clock = browserClock }) {
    super();
    this.clock = clock;
    fleet.on("status", (station) => this.#took(station));
    fleet.on("presence", (station, online) => online || this.#broke(station.id));
  }

  /** Forgets everything: somebody else signs in. */
  clear() {
    this.#stations.clear();
  }

  get stations() {
    return this.#stations.size;
  }

  /**
   * The numbers of one metric in the last ten minutes.
   * @returns {{times: number[], values: number[], gap: number}} NaN stands where a line is to be broken for sure; `gap`: milliseconds
   *   without a number after which it is, too.
   */
  read(stationId, deviceId, metric) {
    const reports = this.#stations.get(stationId);
    const values = reports?.series.get(keyOf(deviceId, metric));
    const read = { times: [], values: [], gap: MIN_GAP };
    if (!values) return read;
    const since = this.clock.now() - WINDOW;
    for (let at = 0; at < reports.length; at++) {
      const place = (reports.start + at) % reports.size;
      if (reports.times[place] < since) continue;
      read.times.push(reports.times[place]);
      read.values.push(values[place]);
    }
    read.gap = reports.gap();
    return read;
  }

  #took(station) {
    const { status, heard } = station;
    let reports = this.#stations.get(station.id);
    // the answer to a request comes in a batch, too; and the newest comes again when somebody begins to look
    if (reports && ((reports.newest !== null && reports.newest === status.updatedAt) || heard < reports.last)) return;
    reports ??= new Reports();
    this.#touch(station.id, reports);
    reports.newest = status.updatedAt ?? null;
    const place = reports.add(heard);
    for (const device of status.devices ?? []) {
      for (const [metric, value] of Object.entries(device?.metrics ?? {})) {
        if (typeof value === "number" && Number.isFinite(value)) reports.set(place, keyOf(device.deviceId, metric), value);
      }
    }
    this.emit("change", station.id);
  }

  #broke(id) {
    this.#stations.get(id)?.add(this.clock.now());
  }

  #touch(id, reports) {
    this.#stations.delete(id);
    this.#stations.set(id, reports);
    if (this.#stations.size > MAX_STATIONS) this.#stations.delete(this.#stations.keys().next().value);
  }
}
