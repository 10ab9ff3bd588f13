/** Changing something that others may change at the same time. */

const differ = (one, other) => JSON.stringify(one) !== JSON.stringify(other);

/** Somebody else changed the same meanwhile: nothing was saved. `names` of the fields, `now`: the thing as it is. */
export class Conflict extends Error {
  constructor(names, now) {
    super(`changed meanwhile: ${names.join(", ")}`);
    Object.assign(this, { names, now });
  }
}

/** One form that changes one thing. What it leaves as it was shown is not sent: somebody else's change of that stays. */
export class Changes {
  #known;

  /**
   * @param {object} options
   * @param {any} options.item as the form shows it.
   * @param {() => Promise<any>} options.read gives it as it is.
   * @param {(changes: any) => Promise<any>} options.write
   */
  constructor({ item, read, write }) {
    Object.assign(this, { item, read, write });
    this.#known = item;
  }

  /**
   * Saves what is another value than the form showed.
   * @returns {Promise<any>} the thing as it is then.
   * @throws {Conflict} once for each change of somebody else that this would undo; saved again, it does.
   */
  async save(values) {
    const changes = Object.fromEntries(Object.entries(values).filter(([name, value]) => differ(value, this.item[name])));
    if (Object.keys(changes).length === 0) return this.item;
    const now = await this.read();
    const known = this.#known;
    this.#known = now;
    const names = Object.keys(changes).filter((name) => name in now && differ(now[name], known[name]) && differ(now[name], changes[name]));
    if (names.length) throw new Conflict(names, now);
    return this.write(changes);
  }
}
