/** A list of the API that is too long for one page: what is asked for, and the page that is there. */
import { Emitter } from "../lib/emitter.js";
import { browserClock } from "./hub.js";

/** Milliseconds from the last letter of a search until the hub is asked. */
const SETTLES = 250;

/**
 * The list. Emits `change`.
 *
 * `query`: what is asked for; `items`, `total`: the page that is there, from the item `shown` on; `loaded`: whether there is one; `offset`: where
 * the page that is wanted begins; `loading`; `error`: why the last one is not there, null: it is.
 */
export class PagedList extends Emitter {
  #asked = 0;
  #timer = null;
  #closed = false;

  /**
   * @param {object} options
   * @param {any} options.api
   * @param {string} options.path
   * @param {Record<string, any>} [options.query] to begin with.
   * @param {number} [options.limit] of a page.
   */
  constructor({ api, path, query = {}, limit = 50, clock = browserClock }) {
    super();
    Object.assign(this, { api, path, limit, clock, query: { ...query }, items: [], total: 0, offset: 0, shown: 0, loaded: false, loading: false, error: null });
  }

  /**
   * Asks for something else, from its first page on. Answers to what was asked before are not heard any more.
   * @param {Record<string, any>} changes of the query.
   * @param {{soon?: boolean}} [options] `soon`: somebody is typing.
   */
  set(changes, { soon = false } = {}) {
    if (Object.entries(changes).every(([name, value]) => this.query[name] === value)) return;
    Object.assign(this.query, changes);
    this.offset = 0;
    this.#asked++;
    this.loading = true;
    this.emit("change");
    this.#stop();
    if (soon) this.#timer = this.clock.setTimeout(() => this.load(), SETTLES);
    else this.load();
  }

  /** Goes to the page that begins with an item. */
  goTo(offset) {
    this.offset = Math.max(0, offset);
    return this.load();
  }

  /** Asks again. Never fails: `error` tells. */
  async load() {
    if (this.#closed) return;
    this.#stop();
    const asked = ++this.#asked;
    this.loading = true;
    this.emit("change");
    let page = null;
    let error = null;
    try {
      page = await this.api.get(this.path, { ...this.query, limit: this.limit, offset: this.offset });
    } catch (failure) {
      error = failure;
    }
    if (asked !== this.#asked) return;
    const last = page && Math.floor(Math.max(0, page.total - 1) / this.limit) * this.limit;
    if (page && page.items.length === 0 && last < this.offset) return this.goTo(last); // what was on the last page is gone
    this.loading = false;
    this.error = error;
    if (page) Object.assign(this, { items: page.items, total: page.total, shown: this.offset, loaded: true });
    this.emit("change");
  }

  /** Asks for nothing any more, and does not wait for the last answer. */
  close() {
    this.#closed = true;
    this.#stop();
    this.#asked++;
  }

  #stop() {
    if (this.#timer !== null) this.clock.clearTimeout(this.#timer);
    this.#timer = null;
  }
}
