/** What numbers the devices reported in the last minutes: of the stations that this page has seen lately, and what the hub kept of those that somebody looks at. */
import { Emitter } from "../lib/emitter.js";
import { browserClock } from "./hub.js";
import { stationPath } from "./ids.js";
import { Reports } from "./reports.js";

/** More than a wall shows at once: else each would be forgotten before its next report. About 50 KB each. */
const MAX_STATIONS = 400;

/** Milliseconds of which the hub keeps one report. */
const KEPT_EVERY = 5_000;

const keyOf = (deviceId, metric) => `${deviceId}\n${metric}`;

/**
 * The history. Emits `change` (station id) after each report that it took.
 */
export class History extends Emitter {
  /** @type {Map<string, {reports: Reports, newest: any}>} the one that was changed last is the last; `newest`: which status was taken last. */
  #stations = new Map();
  #round = 0;

  /** @param {{fleet: import("./fleet.js").Fleet, api: import("./api.js").Api, time: import("./hub-time.js").HubTime, clock?: any}} options */
  constructor({ fleet, api, time, clock = browserClock }) {
    super();
    Object.assign(this, { api, time, clock });
    fleet.on("status", (station) => this.#took(station));
    fleet.on("presence", (station, online) => online || this.#broke(station.id));
  }

  /** Forgets everything: somebody else signs in. */
  clear() {
    this.#round++;
    this.#stations.clear();
  }

  /** Asks the hub for what it kept of a station while nobody looked. Never fails: without it, lines begin now. */
  async recall(stationId) {
    const round = this.#round;
    const asked = this.clock.now();
    const kept = await this.api.get(`${stationPath(stationId)}/history`).catch(() => null);
    if (kept === null || round !== this.#round || !kept.times.length) return;
    // an answer that was long on its way says little of the hub's clock
    const ahead = this.time.ahead ?? (asked + this.clock.now()) / 2 - kept.now;
    const series = new Map(kept.series.map(({ deviceId, metric, values }) => [keyOf(deviceId, metric), values]));
    const known = this.#stations.get(stationId) ?? { reports: new Reports(), newest: null };
    known.reports.fill(kept.times.map((time) => time + ahead), series, KEPT_EVERY);
    this.#keep(stationId, known);
    this.emit("change", stationId);
  }

  get stations() {
    return this.#stations.size;
  }

  /**
   * The numbers of one metric, see Reports.
   * @returns {{time: number, value: number}[][]}
   */
  runs(stationId, deviceId, metric) {
    return this.#stations.get(stationId)?.reports.runs(keyOf(deviceId, metric), this.clock.now()) ?? [];
  }

  #took(station) {
    const { status, heard } = station;
    const known = this.#stations.get(station.id);
    // the answer to a request comes in a batch, too; and the newest comes again when somebody begins to look
    if (known && ((known.newest !== null && known.newest === status.updatedAt) || heard < known.reports.last)) return;
    const reports = known?.reports ?? new Reports();
    this.#keep(station.id, { reports, newest: status.updatedAt ?? null });
    const place = reports.add(heard);
    for (const device of status.devices ?? []) {
      for (const [metric, value] of Object.entries(device?.metrics ?? {})) reports.set(place, keyOf(device.deviceId, metric), value);
    }
    this.emit("change", station.id);
  }

  #broke(id) {
    this.#stations.get(id)?.reports.add(this.clock.now());
  }

  #keep(id, known) {
    this.#stations.delete(id);
    this.#stations.set(id, known);
    if (this.#stations.size > MAX_STATIONS) this.#stations.delete(this.#stations.keys().next().value);
  }
}
