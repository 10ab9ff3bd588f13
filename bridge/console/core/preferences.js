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
    this.#read([]);
  }

  get(name) {
    return this.#values[name];
  }

  set(name, value) {
    if (this.#values[name] === value) return;
    // what another tab chose meanwhile is not undone
    this.storage.setItem(KEY, JSON.stringify({ ...this.#values, ...this.#kept(), [name]: value }));
    this.#values[name] = value;
    this.changed();
    this.emit("change", name);
  }

  /** Another tab changed what is kept. Its language is that of the next page: this one is not built anew under somebody's hands. */
  changed() {
    this.#read(["language"]);
  }

  #read(but) {
    const kept = this.#kept();
    for (const [name, usual] of Object.entries(DEFAULTS)) {
      if (but.includes(name)) continue;
      if (typeof kept[name] !== typeof (usual ?? "") || kept[name] === this.#values[name]) continue;
      this.#values[name] = kept[name];
      this.emit("change", name);
    }
  }

  #kept() {
    try {
      const kept = JSON.parse(this.storage.getItem(KEY));
      return typeof kept === "object" && kept !== null ? kept : {};
    } catch {
      return {}; // somebody else's, or damaged: it is written anew at the next choice
    }
  }
}
