/** A counter of the hub's, as a rate. */
export class Rate {
  #before = null;

  /**
   * Takes the next reading.
   * @param {number} time milliseconds, of the hub's clock.
   * @param {number} count what the counter says; one that fell began anew.
   * @returns {number} how much a second since the reading before; NaN: that cannot be said.
   */
  next(time, count) {
    const before = this.#before;
    if (typeof count !== "number" || !Number.isFinite(count)) {
      this.#before = null;
      return NaN;
    }
    this.#before = { time, count };
    if (before === null || count < before.count || time <= before.time) return NaN;
    return ((count - before.count) * 1000) / (time - before.time);
  }

  /** What counts began anew: the next reading is the first. */
  reset() {
    this.#before = null;
  }
}
