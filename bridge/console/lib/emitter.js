/** Something that others listen to. */
export class Emitter {
  #listeners = new Map();

  /**
   * Listens from now on.
   * @param {string} event
   * @param {(...values: any[]) => void} listener
   * @returns {() => void} stops listening.
   */
  on(event, listener) {
    let listeners = this.#listeners.get(event);
    if (!listeners) this.#listeners.set(event, (listeners = new Set()));
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  /** Tells all who listen now; one that throws does not keep the others from hearing. */
  emit(event, ...values) {
    for (const listener of [...(this.#listeners.get(event) ?? [])]) {
      try {
        listener(...values);
      } catch (error) {
        console.error(error);
      }
    }
  }
}
