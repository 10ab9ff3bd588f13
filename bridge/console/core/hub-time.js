/** What time it is at the hub. This page's clock may be wrong by hours: what happened when is told by the hub's, so that all of it is in order. */
import { Emitter } from "../lib/emitter.js";
import { browserClock } from "./hub.js";

/** The hub's clock, as this page knows it by its pings. Emits `change` (by how many milliseconds `ahead` is another now; null: it was not known). */
export class HubTime extends Emitter {
  /** How many milliseconds this page's clock is ahead of the hub's; null: not known yet. */
  ahead = null;
  #within = Infinity;

  /** @param {{hub: import("./hub.js").HubSocket, clock?: any}} options */
  constructor({ hub, clock = browserClock }) {
    super();
    this.clock = clock;
    hub.on("pong", ({ ts }, asked) => this.#read(ts, asked));
  }

  /** Now, by the hub's clock. */
  now() {
    return this.there(this.clock.now());
  }

  /** How many milliseconds ago it was so late by the hub's clock. */
  ago(time) {
    return this.now() - time;
  }

  /** A time of this page's clock, by the hub's. */
  there(time) {
    return time - (this.ahead ?? 0);
  }

  /** A time of the hub's clock, by this page's. */
  here(time) {
    return time + (this.ahead ?? 0);
  }

  #read(ts, asked) {
    if (!Number.isFinite(ts)) return;
    const now = this.clock.now();
    const within = Math.abs(now - asked) / 2;
    const ahead = (asked + now) / 2 - ts;
    const before = this.ahead;
    // a slow answer says less than a quick one did before, unless it contradicts that: a clock was set
    if (before !== null && within >= this.#within && Math.abs(ahead - before) <= within + this.#within) return;
    this.ahead = ahead;
    this.#within = within;
    this.emit("change", before === null ? null : ahead - before);
  }
}
