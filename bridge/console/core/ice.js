/** Through which servers WebRTC finds its way; the hub says so, with credentials that expire. */
export class IceServers {
  #found = null;

  /** @param {{api: import("./api.js").Api, clock: any}} options */
  constructor({ api, clock }) {
    Object.assign(this, { api, clock });
  }

  /** The servers for a connection that begins now; none where the hub does not say: in one network it works without. */
  async get() {
    const now = this.clock.now();
    if (this.#found === null || this.#found.until <= now) {
      const answer = await this.api.get("config/ice").catch(() => null);
      if (answer === null) return [];
      this.#found = { servers: answer.iceServers, until: now + answer.ttl * 500 }; // credentials last as long as most calls
    }
    return this.#found.servers;
  }

  /** Somebody else signs in. */
  clear() {
    this.#found = null;
  }
}
