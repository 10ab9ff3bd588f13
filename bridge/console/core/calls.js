/** Calls of stations: which ring now, and what became of the others. No sound and no picture: pages make those. */
import { Emitter } from "../lib/emitter.js";
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
 * @property {number} timestamp of the hub: tells a call that is told again after a reconnection.
 * @property {number} time when it was heard, by this page's clock, in milliseconds.
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
  #timers;
  #next = 1;

  /** @param {{hub: import("./hub.js").HubSocket, clock?: any}} options */
  constructor({ hub, clock = browserClock }) {
    super();
    this.clock = clock;
    this.#timers = new Timers(clock);
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
    this.#end(stationId, "declined");
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
    this.log = [];
    this.emit("change");
  }

  #called(stationId, timestamp) {
    const ringing = this.#ringing.get(stationId);
    if (ringing) {
      if (ringing.timestamp === timestamp) return;
      ringing.timestamp = timestamp;
      this.#startTimer(stationId);
      return this.emit("change");
    }
    if (this.log.some((call) => call.stationId === stationId && call.timestamp === timestamp)) return; // told again; it is over here
    this.#makeRoom();
    const call = { id: this.#next++, stationId, timestamp, time: this.clock.now(), outcome: "ringing", seen: false };
    this.#ringing.set(stationId, call);
    this.log.unshift(call);
    this.#startTimer(stationId);
    this.emit("ring", call);
    this.emit("change");
  }

  #answered(stationId) {
    if (this.#ringing.has(stationId)) return this.#end(stationId, "elsewhere");
    // declined here, and not in vain
    const declined = this.log.find((call) => call.stationId === stationId);
    if (declined?.outcome !== "declined" || this.clock.now() - declined.time > RINGS) return;
    declined.outcome = "elsewhere";
    this.emit("change");
  }

  #startTimer(stationId) {
    this.#timers.after(stationId, RINGS, () => this.#end(stationId, "missed"));
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
