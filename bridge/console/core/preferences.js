/** What somebody likes on this page, kept in this browser. */
import { Emitter } from "../lib/emitter.js";

const KEY = "stationhub.preferences";
const DEFAULTS = Object.freeze({ language: null, theme: "auto", view: "tiles", sort: "state", muted: false });

/** Those of all tabs of this browser. Emits `change` (name). What is kept and makes no sense counts as not set. */
export class Preferences extends Emitter {
  #values = { ...DEFAULTS };

  /** @param {any} storage such as `localStorage`. */
  constructor(storage) {
    super();
    this.storage = storage;
    this.stored();
  }

  get(name) {
    return this.#values[name];
  }

  set(name, value) {
    if (this.#values[name] === value) return;
    this.stored(); // else what another tab chose meanwhile would be undone
    this.#values[name] = value;
    this.storage.setItem(KEY, JSON.stringify(this.#values));
    this.emit("change", name);
  }

  /** Another tab changed what is kept. */
  stored() {
    const kept = this.#kept();
    for (const [name, usual] of Object.entries(DEFAULTS)) {
      if (typeof kept[name] !== typeof (usual ?? "") || kept[name] === this.#values[name]) continue;
      this.#values[name] = kept[name];
      this.emit("change", name);
    }
  }

  #kept() {
    try {
      return JSON.parse(this.storage.getItem(KEY)) ?? {};
    } catch {
      return {}; // somebody else's, or damaged: it is written anew at the next choice
    }
  }
}
