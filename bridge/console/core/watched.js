/** Whose statuses the hub sends to this page: those of all that somebody on it looks at. */

import { isStationId } from "./ids.js";

/** Milliseconds from the first change until the hub hears of it: scrolling changes it at every frame. */
const AFTER = 200;
/** Milliseconds between two such requests: the hub answers each with the newest status of all that are watched. */
const EVERY = 500;
/** Milliseconds until the hub is told again, where it refused or did not answer. */
const AGAIN = 1_000;
/** How many ids the first frame of a connection may name: before the login it may have 16 KB. */
const GREETED = 200;

export class Watched {
  #watchers = new Map();
  #told = "";
  #toldAt = -Infinity;
  #timer = null;

  /** @param {{hub: import("./hub.js").HubSocket, clock: any}} options */
  constructor({ hub, clock }) {
    Object.assign(this, { hub, clock });
    hub.on("welcome", () => this.#plan(AFTER)); // what the greeting could not name
  }

  /** What somebody looks at from now on; nothing: no more. */
  set(who, ids) {
    const list = [...ids];
    if (list.length) this.#watchers.set(who, list);
    else this.#watchers.delete(who);
    this.#plan(AFTER);
  }

  /** As much of it as the first frame of a connection may say. */
  greeting() {
    const stations = this.#wanted().slice(0, GREETED);
    this.#told = JSON.stringify(stations);
    return stations;
  }

  #wanted() {
    // somebody typed an address: the hub would refuse all of them for one that is none
    return [...new Set([...this.#watchers.values()].flat())].filter(isStationId).sort();
  }

  #plan(ms) {
    const wait = Math.max(ms, this.#toldAt + EVERY - this.clock.now());
    this.#timer ??= this.clock.setTimeout(() => this.#tell(), wait);
  }

  #tell() {
    this.#timer = null;
    const stations = this.#wanted();
    const told = JSON.stringify(stations);
    if (told === this.#told || this.hub.state !== "open") return; // a connection to come says it in its greeting
    this.#told = told;
    this.#toldAt = this.clock.now();
    this.hub.request("station-watch", { stations, states: true }).catch(() => {
      if (this.#told !== told) return;
      this.#told = "";
      this.#plan(AGAIN);
    });
  }
}
