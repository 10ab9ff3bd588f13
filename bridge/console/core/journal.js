/** What happened at the stations since somebody signed in on this page. */
import { Emitter } from "../lib/emitter.js";

const MAX_ENTRIES = 60;
const MAX_STATIONS = 1_500;

/**
 * One thing that happened.
 * @typedef {object} Entry
 * @property {number} id counts them.
 * @property {number} time milliseconds, by the hub's clock.
 * @property {string} stationId
 * @property {string} kind `connected`, `disconnected`, `call`, `answered`, `command`, `stream`.
 * @property {any} details of commands and streams; may be told more of later.
 */

/** The journal: bounded, for each station and in all. Emits `change` (entry). */
export class Journal extends Emitter {
  /** @type {Map<string, Entry[]>} oldest first; the station that something happened at last is the last. */
  #stations = new Map();
  #online = new Map();
  #next = 1;

  /** @param {{hub: import("./hub.js").HubSocket, fleet: import("./fleet.js").Fleet, time: import("./hub-time.js").HubTime}} options */
  constructor({ hub, fleet, time }) {
    super();
    Object.assign(this, { fleet, time });
    time.on("change", (by) => this.#clockRead(by));
    fleet.on("presence", (station, online) => this.#presence(station.id, online));
    fleet.on("loaded", () => this.#loaded());
    hub.on("station-incoming-call", ({ stationId, timestamp }) => this.#called(stationId, timestamp));
    hub.on("station-call-answered", ({ stationId }) => this.add(stationId, "answered"));
  }

  /** Something happened. */
  add(stationId, kind, details = {}, time = this.time.now()) {
    const entry = { id: this.#next++, time, stationId, kind, details };
    const entries = this.#stations.get(stationId) ?? [];
    this.#stations.delete(stationId);
    this.#stations.set(stationId, entries);
    entries.push(entry);
    if (entries.length > MAX_ENTRIES) entries.shift();
    if (this.#stations.size > MAX_STATIONS) this.#stations.delete(this.#stations.keys().next().value);
    this.emit("change", entry);
    return entry;
  }

  /** More is known of it now. */
  tell(entry, details) {
    Object.assign(entry.details, details);
    this.emit("change", entry);
  }

  /** What happened at a station, newest first. */
  of(stationId) {
    return [...(this.#stations.get(stationId) ?? [])].sort((one, other) => other.time - one.time || other.id - one.id);
  }

  /** Forgets everything: somebody else signs in. */
  clear() {
    this.#stations.clear();
    this.#online.clear();
  }

  #presence(id, online) {
    if (this.#online.get(id) === online) return;
    this.#online.set(id, online);
    this.add(id, online ? "connected" : "disconnected");
  }

  /** A call that rings is told again after each connection: it began once. */
  #called(id, timestamp) {
    if (!this.of(id).some(({ kind, details }) => kind === "call" && details.timestamp === timestamp)) this.add(id, "call", { timestamp });
  }

  /** What happened before the hub's clock was known has the time of this page's. */
  #clockRead(by) {
    if (by !== null) return;
    for (const entry of [...this.#stations.values()].flat()) entry.time = this.time.there(entry.time);
  }

  /** A new list: what changed while the hub was out of reach happened when the hub says. */
  #loaded() {
    const known = this.#online;
    this.#online = new Map();
    for (const { id, online, since } of this.fleet.stations.values()) {
      this.#online.set(id, online);
      if (known.has(id) && known.get(id) !== online) this.add(id, online ? "connected" : "disconnected", {}, since ?? undefined);
    }
  }
}
