/** The stations of the wall in their order, which waits while somebody is about to choose one. */
import { Emitter } from "../lib/emitter.js";
import { browserClock } from "./hub.js";
import { byId, select } from "./select.js";

/** Milliseconds between two orders that nobody asked for. */
const SETTLE = 1_000;

/** What of a station may decide its place, and changes. */
function placeOf(station) {
  return `${station?.state} ${station?.since}`;
}

/**
 * The list. What its reader asks for is done at once. What the stations do changes its order at most once a second, and not within `hold`, unless
 * nothing that is in sight would move.
 *
 * Emits `order` when `stations` is another list, and `waiting` (boolean) when a new order waits for the end of a hold, or does no more.
 */
export class Listing extends Emitter {
  /** @type {import("./fleet.js").Station[]} */
  stations = [];
  /** The first station in sight, and the first after it that is not, as places in the list. */
  sight = [0, Infinity];
  waiting = false;
  #base = null;
  #placed = new Map();
  #placedAt = -Infinity;
  #held = 0;
  #timer = null;
  #end;

  /**
   * @param {object} options
   * @param {import("./fleet.js").Fleet} options.fleet
   * @param {import("./select.js").Filter & {sort: string}} options.filter
   */
  constructor({ fleet, filter, clock = browserClock }) {
    super();
    Object.assign(this, { fleet, filter, clock });
    this.#end = fleet.on("change", (ids) => this.#changed(ids));
    this.#place(this.#ordered());
  }

  /** Another filter or order. */
  set(change) {
    this.filter = { ...this.filter, ...change };
    this.#place(this.#ordered());
  }

  /** Nothing shall move for so many milliseconds. */
  hold(ms) {
    this.#held = this.clock.now() + ms;
  }

  /** It may again. */
  release() {
    this.#held = 0;
    if (this.waiting) this.#plan(0);
  }

  /** The order is what the stations say now, held or not. */
  refresh() {
    this.#place(this.#ordered());
  }

  /** Nobody looks any more. */
  close() {
    this.#end();
    this.#stop();
  }

  #changed(ids) {
    if (ids === null) this.#base = null;
    else if (!this.#moves(ids)) return;
    // the first stations move nothing
    if (!this.stations.length) this.#place(this.#ordered());
    else this.#plan(Math.max(0, this.#placedAt + SETTLE - this.clock.now()));
  }

  /** Whether one of these may have another place than before. */
  #moves(ids) {
    const { sort, states } = this.filter;
    if (sort !== "state" && sort !== "since" && !states.size) return false;
    for (const id of ids) if (placeOf(this.fleet.stations.get(id)) !== this.#placed.get(id)) return true;
    return false;
  }

  #ordered() {
    // until the list came, those that happened to say something are not the fleet
    if (!this.fleet.loaded) return [];
    this.#base ??= byId(this.fleet.stations.values());
    return select(this.#base, this.filter);
  }

  #plan(ms) {
    if (ms === 0 && this.#timer !== null) this.#stop();
    this.#timer ??= this.clock.setTimeout(() => this.#due(), ms);
  }

  #stop() {
    if (this.#timer !== null) this.clock.clearTimeout(this.#timer);
    this.#timer = null;
  }

  #due() {
    this.#timer = null;
    const left = this.#held - this.clock.now();
    const ordered = this.#ordered();
    if (left <= 0 || !this.#visibly(ordered)) return this.#place(ordered);
    this.#wait(true);
    this.#plan(left);
  }

  /** Whether something in sight would be elsewhere. */
  #visibly(ordered) {
    const [from, to] = this.sight;
    const ids = (stations) => stations.slice(from, to).map((station) => station.id).join("\n");
    return ids(ordered) !== ids(this.stations);
  }

  #place(ordered) {
    this.#stop();
    this.#placedAt = this.clock.now();
    this.#placed = new Map([...this.fleet.stations.values()].map((station) => [station.id, placeOf(station)]));
    this.stations = ordered;
    this.#wait(false);
    this.emit("order");
  }

  #wait(waiting) {
    if (waiting === this.waiting) return;
    this.waiting = waiting;
    this.emit("waiting", waiting);
  }
}
