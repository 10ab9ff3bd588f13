/** Which calls were declined in this browser: they ring in no other tab of it either, and not again after a reload. */

const KEY = "stationhub.declined";
/** More than ring at a time; the oldest are over. */
const MAX_KEPT = 200;

/** Calls by station and timestamp, in storage that all tabs share. */
export class Declined {
  /** @param {any} storage such as `localStorage`. */
  constructor(storage) {
    this.storage = storage;
  }

  has(stationId, timestamp) {
    return this.#kept().some(([id, when]) => id === stationId && when === timestamp);
  }

  add(stationId, timestamp) {
    const others = this.#kept().filter(([id]) => id !== stationId);
    this.storage.setItem(KEY, JSON.stringify([...others, [stationId, timestamp]].slice(-MAX_KEPT)));
  }

  clear() {
    this.storage.removeItem(KEY);
  }

  #kept() {
    try {
      const kept = JSON.parse(this.storage.getItem(KEY));
      return Array.isArray(kept) ? kept.filter(Array.isArray) : [];
    } catch {
      return []; // damaged: it is written anew with the next one
    }
  }
}
