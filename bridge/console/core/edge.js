/** The models of the edge page, wired together: a station of its own session, beside that of whoever looks at the console. */
import { ApiError } from "./api.js";
import { Backoff } from "./backoff.js";
import { Client } from "./client.js";
import { EdgeStation } from "./edge-station.js";
import { IceServers } from "./ice.js";
import { OwnCamera } from "./own-camera.js";
import { Session } from "./session.js";

const keyOf = (stationId) => `stationhub.edge.${stationId}`;

/** Everything that the edge page needs. */
export class EdgeApp extends Client {
  #again = null;
  #backoff = new Backoff();

  /**
   * @param {any} options as of Client, and:
   *   `stationId`: empty, not known yet; `devices`: cameras and microphones; `testPicture`: makes one; `channel`: to other tabs;
   *   `sense`: what is reported beside the camera, devices of a status; `move`: goes to the page of a station.
   */
  constructor({ stationId, devices, testPicture, channel, sense, move, ...options }) {
    super({ ...options, key: keyOf(stationId) });
    Object.assign(this, { stationId, storage: options.storage, move });
    const { hub, api, clock } = this;
    this.camera = new OwnCamera({ devices, testPicture });
    const ice = new IceServers({ api, clock });
    this.station = new EdgeStation({ stationId, hub, clock, ice, camera: this.camera, channel, devices: () => sense(this) });
    this.models = [this.station, ice];
    hub.on("welcome", () => this.#backoff.reset());
  }

  /** Connects; not while another tab is the station, whoever renews the session that they share. */
  start() {
    if (this.station.registration !== "taken") super.start();
  }

  /** This tab is the station again. */
  takeBack() {
    this.station.takeBack();
    this.start();
  }

  greeting() {
    return { watch: [] }; // nothing of the others
  }

  /**
   * Signs in. Raises ApiError.
   * @param {string} stationId whose page it is from then on.
   * @param {(session: Session) => any} how
   */
  async signIn(stationId, how) {
    // another station's session is another: its page begins with it
    const mine = stationId === this.stationId;
    if (mine) this.station.takeBack();
    await how(mine ? this.session : new Session({ api: this.api, storage: this.storage, clock: this.clock, key: keyOf(stationId) }));
    if (!mine) this.move(stationId);
  }

  /**
   * Signs in as a station by its device key. Raises ApiError.
   * @param {boolean} keep the key, so that the station is back by itself when its token has ended.
   */
  signInByKey(stationId, key, keep) {
    return this.signIn(stationId, async (session) => {
      await session.station(stationId, key);
      if (keep) this.storage.setItem(`${keyOf(stationId)}.key`, key);
    });
  }

  /** Leaves the station, and forgets its key. */
  leave() {
    this.storage.removeItem(`${this.session.key}.key`);
    this.#stopAgain();
    this.session.signOut();
  }

  /** A station that has its key signs in again: nobody stands in front of it to do so. */
  finish(reason) {
    const key = this.storage.getItem(`${this.session.key}.key`);
    if (!key || reason.startsWith("KICKED NEW_LOGIN")) return super.finish(reason);
    this.#signInAgain(key, reason);
  }

  wordsOf(reason) {
    return reason === "KICKED REVOKED" && this.session.claims?.stationId ? "edge.revoked" : super.wordsOf(reason);
  }

  async #signInAgain(key, reason) {
    try {
      await this.session.station(this.stationId, key);
    } catch (error) {
      if (!this.session.signedIn) return; // somebody left meanwhile
      if (!(error instanceof ApiError) || error.status === 0 || error.status >= 429) {
        this.#again = this.clock.setTimeout(() => this.#signInAgain(key, reason), this.#backoff.next());
        return;
      }
      this.storage.removeItem(`${this.session.key}.key`); // the station has another one now
      super.finish(reason);
    }
  }

  #stopAgain() {
    this.clock.clearTimeout(this.#again);
    this.#again = null;
  }
}
