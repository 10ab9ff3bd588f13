/** What numbers the devices reported in the last minutes, of the stations that this page has seen lately. */
import { Emitter } from "../lib/emitter.js";
import { browserClock } from "./hub.js";
import { Reports } from "./reports.js";

/** More than a wall shows at once: else each would be forgotten before its next report. About 50 KB each. */
const MAX_STATIONS = 400;

const keyOf = (deviceId, metric) => `${deviceId}\n${metric}`;

/**
 * The history. Emits `change` (station id) after each report that it took.
 */
export class History extends Emitter {
  /** @type {Map<string, {reports: Reports, newest: any}>} the one that was changed last is the last; `newest`: which status was taken last. */
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
