/** Timers by name: one of a name at a time, so that none is forgotten. */
export class Timers {
  #running = new Map();

  /** @param {any} clock */
  constructor(clock) {
    this.clock = clock;
  }

  /** Does something later, in place of what was planned under that name. */
  after(name, ms, work) {
    this.clear(name);
    const timer = this.clock.setTimeout(() => {
      this.#running.delete(name);
      work();
    }, ms);
    this.#running.set(name, timer);
  }

  /** Whether something is planned under a name. */
  has(name) {
    return this.#running.has(name);
  }

  clear(name) {
    if (!this.#running.has(name)) return;
    this.clock.clearTimeout(this.#running.get(name));
    this.#running.delete(name);
  }

  clearAll() {
    for (const name of [...this.#running.keys()]) this.clear(name);
  }
}
