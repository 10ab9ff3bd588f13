/** All stations, as this page knows them: who is there, how each is, and the newest status of those that somebody looks at. */
import { Emitter } from "../lib/emitter.js";
import { browserClock } from "./hub.js";
import { STATES, worstOf } from "./states.js";
import { Watched } from "./watched.js";

const MAX_STATUSES = 2_000;
/** Milliseconds between two lists that are asked for because an unknown station appeared. */
const RELOAD_AFTER = 5_000;

/**
 * One station.
 * @typedef {object} Station
 * @property {string} id
 * @property {string} name
 * @property {string} location
 * @property {string[]} tags
 * @property {{cameraId: string, name: string, url: string}[]} cameras that somebody entered.
 * @property {boolean} registered
 * @property {boolean} online
 * @property {number | null} since milliseconds, by the hub's clock: of its being online, or not.
 * @property {"mqtt" | "websocket" | null} via which way it is there; null: that is not known yet.
 * @property {string} worst of its devices: `online`, `warning`, `offline`, `error`.
 * @property {string} state one of STATES.
 * @property {any} status the newest that came; null: none.
 * @property {number} heard when that was said, by this page's clock; milliseconds, 0: never.
 * @property {number} came when it came; the newest is sent again when somebody begins to look.
 */

/** A name, if there is anything to be seen of it: not blanks and marks of direction alone. */
function visible(name) {
  return /[^\s\p{C}\p{Z}]/u.test(name) ? name : "";
}

/** How a station is, from both. */
function stateOf(station) {
  return station.online ? station.worst : "gone";
}

/**
 * The fleet.
 *
 * Emits `change` (ids: Set, or null: any of them, the set of stations included); `status` (station) for each status; `presence` (station, online)
 * as it changes; `loaded` after each list.
 */
export class Fleet extends Emitter {
  /** @type {Map<string, Station>} */
  stations = new Map();
  loaded = false;
  #watched;
  #reloadTimer = null;
  #loading = null;
  #round = 0;
  #askedAt = -Infinity;
  /** Stations whose presence was pushed while a list was on its way: it may be older. */
  #pushed = new Set();

  /**
   * @param {object} options
   * @param {import("./hub.js").HubSocket} options.hub
   * @param {import("./api.js").Api} options.api
   * @param {import("./hub-time.js").HubTime} options.time
   */
  constructor({ hub, api, time, clock = browserClock }) {
    super();
    Object.assign(this, { hub, api, time, clock, error: null });
    this.#watched = new Watched({ hub, clock });
    hub.on("welcome", () => {
      this.#drop();
      this.load();
    });
    time.on("change", (by) => this.#clockRead(by));
    hub.on("station-connected", ({ stationId }) => this.#presence(stationId, true));
    hub.on("station-disconnected", ({ stationId }) => this.#presence(stationId, false));
    hub.on("batch-station-status-update", (statuses) => this.#statuses(statuses));
    hub.on("station-status-update", (status) => this.#statuses([status]));
    hub.on("batch-station-state-update", (states) => this.#states(states));
  }

  /** What the first frame of a connection says of what this page wants. */
  greeting() {
    return { watch: this.#watched.greeting(), states: true };
  }

  /** How many are in each state. */
  counts() {
    const counts = Object.fromEntries(STATES.map((state) => [state, 0]));
    for (const station of this.stations.values()) counts[station.state]++;
    return counts;
  }

  /** All tags that there are, sorted. */
  tags() {
    return [...new Set([...this.stations.values()].flatMap((station) => station.tags))].sort();
  }

  /**
   * Says which statuses somebody wants to see; the hub sends those of everybody together.
   * @param {any} who
   * @param {Iterable<string>} ids
   */
  watch(who, ids) {
    this.#watched.set(who, ids);
  }

  /** Asks for the list of all stations. Never fails: `error` tells, and it is asked again after the next connection. */
  load() {
    this.#loading ??= this.#load();
    return this.#loading;
  }

  /** Asks for the list again, if it was not asked for within so many milliseconds: nobody tells of stations that are entered, renamed or deleted. */
  refresh(ms) {
    if (this.hub.state === "open" && this.clock.now() - this.#askedAt >= ms) this.load();
  }

  /** Forgets everything: somebody else signs in. */
  clear() {
    this.stations.clear();
    this.loaded = false;
    this.error = null;
    this.#drop();
    if (this.#reloadTimer !== null) this.clock.clearTimeout(this.#reloadTimer);
    this.#reloadTimer = null;
    this.emit("change", null);
  }

  /** What is on its way comes too late: it was for who is gone, or from before the connection was lost. */
  #drop() {
    this.#round++;
    this.#loading = null;
  }

  async #load() {
    const round = ++this.#round;
    this.#askedAt = this.clock.now();
    this.#pushed.clear();
    const items = await this.api.all("stations", { status: false }).catch((error) => error);
    if (round !== this.#round) return;
    this.#loading = null;
    this.error = items instanceof Error ? items : null;
    if (this.error === null) this.#enterAll(items);
    this.emit("loaded");
    this.emit("change", null);
  }

  #enterAll(items) {
    const known = this.stations;
    this.stations = new Map();
    for (const item of items) this.#enter(item, known.get(item.stationId));
    for (const id of this.#pushed) {
      const { online, since } = known.get(id);
      const station = this.stations.get(id);
      if (station) Object.assign(station, { online, since }, { state: online ? station.worst : "gone" });
      else this.stations.set(id, known.get(id));
    }
    this.loaded = true;
  }

  #enter(item, old) {
    const { stationId: id, name, location, tags, cameras, registered, presence } = item;
    const { worst = "online", status = null, heard = 0, came = 0 } = old ?? {};
    const { state, since, via = null } = presence;
    const station = { id, name: visible(name), location, tags, cameras, registered, online: state === "online", since, via, worst, status, heard, came, state: "gone" };
    station.state = stateOf(station);
    this.stations.set(id, station);
    return station;
  }

  #presence(id, online) {
    const fresh = !this.stations.has(id);
    const station = this.#known(id);
    if (station.online !== online) Object.assign(station, { since: this.time.now(), via: null });
    station.online = online;
    station.state = stateOf(station);
    if (this.#loading !== null) this.#pushed.add(id);
    this.emit("presence", station, online);
    this.emit("change", fresh ? null : new Set([id]));
  }

  #statuses(statuses) {
    const now = this.clock.now();
    const before = this.stations.size;
    const changed = new Set();
    for (const status of statuses) {
      const station = this.#known(status.stationId);
      if (status.updatedAt !== station.status?.updatedAt) {
        // one that others saw before may be old; one that follows another that came a moment ago is not
        station.heard = Math.max(station.came, this.#saidAt(status, now));
        station.came = now;
      }
      station.status = status;
      station.worst = worstOf(status);
      station.state = stateOf(station);
      changed.add(station.id);
      this.emit("status", station);
    }
    this.#forget();
    this.emit("change", this.stations.size > before ? null : changed);
  }

  /** When a status was said, by this page's clock; now, as long as the hub's is not known. */
  #saidAt(status, now) {
    return this.time.ahead === null || typeof status.updatedAt !== "number" ? now : Math.min(now, this.time.here(status.updatedAt));
  }

  /** What came before the hub's time was known was said when it says; and where this page's clock was set, it was so by that one. */
  #clockRead(by) {
    for (const station of this.stations.values()) {
      if (station.status === null) continue;
      if (by === null) station.heard = this.#saidAt(station.status, station.came);
      else Object.assign(station, { heard: station.heard + by, came: station.came + by });
    }
  }

  #states(states) {
    const before = this.stations.size;
    const changed = new Set();
    for (const { stationId, state } of states) {
      const station = this.#known(stationId);
      if (station.worst === state) continue;
      station.worst = state;
      station.state = stateOf(station);
      changed.add(stationId);
    }
    if (this.stations.size > before) this.emit("change", null);
    else if (changed.size) this.emit("change", changed);
  }

  /** The station of an id; one that is new here is asked about. */
  #known(id) {
    const found = this.stations.get(id);
    if (found) return found;
    if (this.loaded) this.#reloadTimer ??= this.clock.setTimeout(() => this.#reload(), RELOAD_AFTER);
    const presence = { state: "offline", since: null };
    return this.#enter({ stationId: id, name: "", location: "", tags: [], cameras: [], registered: false, presence }, undefined);
  }

  #reload() {
    this.#reloadTimer = null;
    this.load();
  }

  /** Statuses that nobody looks at any more: of a page left open all day every station would have passed by. */
  #forget() {
    if (this.stations.size <= MAX_STATUSES) return;
    const kept = [...this.stations.values()].filter((station) => station.status !== null);
    if (kept.length <= MAX_STATUSES) return;
    kept.sort((one, other) => one.heard - other.heard);
    for (const station of kept.slice(0, kept.length - MAX_STATUSES)) station.status = null;
  }
}
