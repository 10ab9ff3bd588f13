/** Through which servers WebRTC finds its way; the hub says so, with credentials that expire. */
export class IceServers {
  /** @type {{servers: Promise<any[]>, until: number} | null} */
  #found = null;

  /** @param {{api: import("./api.js").Api, clock: any}} options */
  constructor({ api, clock }) {
    Object.assign(this, { api, clock });
  }

  /**
   * The servers for a connection that begins now; none where the hub does not say: in one network it works without. Never fails.
   * @returns {Promise<any[]>}
   */
  get() {
    if (this.#found === null || this.#found.until <= this.clock.now()) this.#found = this.#ask();
    return this.#found.servers;
  }

  #ask() {
    const now = this.clock.now();
    const found = { servers: null, until: Infinity };
    found.servers = this.api.get("config/ice").then(
      ({ iceServers, ttl }) => {
        found.until = now + ttl * 500; // credentials last as long as most calls
        return iceServers;
      },
      () => {
        found.until = now;
        return [];
      },
    );
    return found;
  }

  /** Somebody else signs in. What is on its way is for whoever asked. */
  clear() {
    this.#found = null;
  }
}
