/** What somebody likes on this page, kept in this browser. */
import { Emitter } from "../lib/emitter.js";

const KEY = "stationhub.preferences";
const DEFAULTS = Object.freeze({ language: null, theme: "auto", view: "tiles", sort: "state", muted: false });

/** Emits `change` (name). What is kept and makes no sense counts as not set. */
export class Preferences extends Emitter {
  #values = { ...DEFAULTS };

  /** @param {any} storage such as `localStorage`. */
  constructor(storage) {
    super();
    this.storage = storage;
    try {
      const kept = JSON.parse(storage.getItem(KEY)) ?? {};
      for (const name of Object.keys(DEFAULTS)) if (name in kept) this.#values[name] = kept[name];
    } catch {
      // somebody else's, or damaged: it is written anew at the next choice
    }
  }

  get(name) {
    return this.#values[name];
  }

  set(name, value) {
    if (this.#values[name] === value) return;
    this.#values[name] = value;
    this.storage.setItem(KEY, JSON.stringify(this.#values));
    this.emit("change", name);
  }
}
