/** Calls of stations: which ring now, and what became of the others. No sound and no picture: pages make those. */
import { Emitter } from "../lib/emitter.js";
import { Declined } from "./declined.js";
import { browserClock } from "./hub.js";
import { Timers } from "./timers.js";

/** Milliseconds that a call rings; the hub keeps it open as long. */
export const RINGS = 60_000;
/** A broken station may call again and again under as many names as it likes. */
const MAX_RINGING = 200;
const MAX_LOG = 200;

/**
 * One call.
 * @typedef {object} Call
 * @property {number} id counts them.
 * @property {string} stationId
 * @property {number} timestamp as the hub tells it, by whatever clock the station has: tells a call that is told again after a reconnection.
 * @property {number} time when it began, by the hub's clock, in milliseconds.
 * @property {string} outcome `ringing`; `accepted` or `declined` here; `elsewhere`: somebody else answered; `missed`: nobody did; `left`: the station went away.
 * @property {boolean} seen whether somebody looked at it since it was missed.
 */

/** Whether nobody spoke with who called. */
export const isMissed = ({ outcome }) => outcome === "missed" || outcome === "left";

/**
 * All calls. Emits `change`; and `ring` (call) when one begins to ring, not when it is only told again.
 */
export class Calls extends Emitter {
  /** @type {Call[]} newest first; what rings is in it too. */
  log = [];
  /** @type {Map<string, Call>} by station, oldest first. */
  #ringing = new Map();
  /** @type {Call[] | null} told again after a welcome, until the hub's clock is known; null: what comes now begins now. */
  #retold = null;
  #timers;
  #next = 1;

  /**
   * @param {object} options
   * @param {import("./hub.js").HubSocket} options.hub
   * @param {import("./hub-time.js").HubTime} options.time
   * @param {any} options.storage such as `localStorage`.
   */
  constructor({ hub, time, storage, clock = browserClock }) {
    super();
    this.time = time;
    this.declined = new Declined(storage);
    this.#timers = new Timers(clock);
    hub.on("welcome", () => (this.#retold = []));
    hub.on("pong", () => this.#date());
    hub.on("station-incoming-call", ({ stationId, timestamp }) => this.#called(stationId, timestamp));
    hub.on("station-call-answered", ({ stationId }) => this.#answered(stationId));
    hub.on("station-disconnected", ({ stationId }) => this.#end(stationId, "left"));
  }

  /** What rings, the longest waiting first. */
  get ringing() {
    return [...this.#ringing.values()];
  }

  /** How many were missed since somebody looked. */
  get unseen() {
    return this.log.reduce((count, call) => count + (isMissed(call) && !call.seen ? 1 : 0), 0);
  }

  /** It is answered here. */
  accept(stationId) {
    this.#end(stationId, "accepted");
  }

  /** It does not ring here any more; others may still answer. */
  decline(stationId) {
    const call = this.#ringing.get(stationId);
    if (call) this.declined.add(stationId, call.timestamp);
    this.#end(stationId, "declined");
  }

  /** Another tab may have declined one. */
  stored() {
    for (const { stationId, timestamp } of this.ringing) if (this.declined.has(stationId, timestamp)) this.#end(stationId, "declined");
  }

  /** It was accepted here, but somebody else was faster. */
  elsewhere(stationId) {
    const call = this.log.find((one) => one.stationId === stationId);
    if (call?.outcome !== "accepted") return;
    call.outcome = "elsewhere";
    this.emit("change");
  }

  /** Somebody looks at the list. */
  see() {
    if (this.unseen === 0) return;
    for (const call of this.log) if (isMissed(call)) call.seen = true;
    this.emit("change");
  }

  /** Forgets everything: somebody else signs in. */
  clear() {
    this.#timers.clearAll();
    this.#ringing.clear();
    this.#retold = null;
    this.declined.clear();
    this.log = [];
    this.emit("change");
  }

  #called(stationId, timestamp) {
    const ringing = this.#ringing.get(stationId);
    if (ringing) {
      if (ringing.timestamp === timestamp) return;
      ringing.timestamp = timestamp;
      this.#startTimer(stationId, RINGS);
      return this.emit("change");
    }
    if (this.log.some((call) => call.stationId === stationId && call.timestamp === timestamp)) return; // told again; it is over here
    this.#makeRoom();
    const declined = this.declined.has(stationId, timestamp);
    const call = { id: this.#next++, stationId, timestamp, time: this.time.now(), outcome: declined ? "declined" : "ringing", seen: false };
    this.log.unshift(call);
    this.#retold?.push(call);
    if (declined) return this.emit("change");
    this.#ringing.set(stationId, call);
    this.#startTimer(stationId, RINGS);
    this.emit("ring", call);
    this.emit("change");
  }

  #answered(stationId) {
    if (this.#ringing.has(stationId)) return this.#end(stationId, "elsewhere");
    // declined here, and not in vain
    const declined = this.log.find((call) => call.stationId === stationId);
    if (declined?.outcome !== "declined" || this.time.ago(declined.time) > RINGS) return;
    declined.outcome = "elsewhere";
    this.emit("change");
  }

  /** Those that rang before this page was there began when they say, if that can be: the clock of a station may be wrong, too. */
  #date() {
    const retold = this.#retold ?? [];
    this.#retold = null;
    for (const call of retold) {
      const rung = this.time.ago(call.timestamp);
      call.time = rung >= 0 && rung < RINGS ? call.timestamp : this.time.now();
      if (call.outcome === "ringing") this.#startTimer(call.stationId, RINGS - this.time.ago(call.time));
    }
    if (retold.length) this.emit("change");
  }

  #startTimer(stationId, ms) {
    this.#timers.after(stationId, ms, () => this.#end(stationId, "missed"));
  }

  #end(stationId, outcome) {
    const call = this.#ringing.get(stationId);
    if (!call) return;
    this.#ringing.delete(stationId);
    this.#timers.clear(stationId);
    call.outcome = outcome;
    this.emit("change");
  }

  /** The log is bounded: what is over goes first. */
  #makeRoom() {
    if (this.#ringing.size >= MAX_RINGING) this.#end(this.#ringing.keys().next().value, "missed");
    if (this.log.length < MAX_LOG + MAX_RINGING) return;
    const over = this.log.findLastIndex((call) => call.outcome !== "ringing");
    if (over >= 0) this.log.splice(over, 1);
  }
}
