/** Who is signed in on this page, kept so that it outlives the page. */
import { Emitter } from "../lib/emitter.js";
import { ApiError } from "./api.js";
import { browserClock } from "./hub.js";

const KEY = "stationhub.session";
/** The share of a token's life after which it is changed for a new one. */
const REFRESH_AT = 0.5;
const RETRY_REFRESH = 60_000;

/** What a token says of its owner, unchecked: `{userId, nickname, type, role, exp, iat}`; null: it is no token. */
export function claimsOf(token) {
  try {
    const part = token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
    const claims = JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(part), (letter) => letter.charCodeAt(0))));
    return typeof claims === "object" && claims !== null ? claims : null;
  } catch {
    return null;
  }
}

/** Longer than any token: the hub reads 16 KB before a login. */
const LONGEST = 8_192;

/** Why a text is no token that a person signs in with, as a key of the texts; null: it may be one, the hub decides. */
export function tokenProblem(text) {
  const claims = text.length > LONGEST ? null : claimsOf(text);
  if (claims === null) return "signin.no-token";
  return claims.type === "station" ? "signin.station-token" : null;
}

/**
 * The session. Emits `change` when somebody signed in or out, here or in another tab of this browser.
 *
 * All tabs share one token: the hub allows one session a user, and a second tab must not sign the first one out.
 */
export class Session extends Emitter {
  #timer = null;
  #attempt = 0;

  /**
   * @param {object} options
   * @param {any} options.api
   * @param {any} options.storage such as `localStorage`.
   * @param {string} [options.key] under which it is kept there: of a station's page, not that of whoever looks at the console.
   */
  constructor({ api, storage, clock = browserClock, key = KEY }) {
    super();
    Object.assign(this, { api, storage, clock, key });
    this.#renew(this.#kept());
  }

  get signedIn() {
    return this.token !== null;
  }

  /** Raises ApiError. */
  async signIn(email, password) {
    await this.#begin("auth/login", { email, password });
  }

  /** Raises ApiError. */
  async register(email, password, nickname) {
    await this.#begin("auth/register", { email, password, nickname });
  }

  /** Raises ApiError. */
  async guest(nickname) {
    await this.#begin("auth/guest", nickname ? { nickname } : {});
  }

  /** Signs in as a station, by its device key. Raises ApiError. */
  async station(stationId, key) {
    await this.#begin("auth/station", { stationId, key });
  }

  /** Signs in with a token that somebody has, such as of `hub token`. */
  use(token) {
    this.#attempt++;
    this.#keep({ token, given: true });
    this.emit("change");
  }

  /**
   * Forgets the token. A session that began on a page is ended at the hub too, as far as it is reached; a token that was given may
   * be in use elsewhere.
   * @param {{ended?: boolean}} [options] `ended`: the hub ended it already.
   */
  async signOut({ ended = false } = {}) {
    this.#attempt++;
    if (this.token === null) return;
    const ending = ended || this.given || this.#isStation ? null : this.api.post("auth/logout").catch(() => null);
    // who signed in meanwhile in another tab stays so
    if (this.#kept()?.token === this.token) this.storage.removeItem(this.key);
    this.#renew(null);
    this.emit("change");
    await ending;
  }

  /** Another tab changed what is kept. */
  stored() {
    const kept = this.#kept();
    if ((kept?.token ?? null) === this.token) return;
    const same = kept !== null && this.claims !== null && claimsOf(kept.token)?.sessionId === this.claims.sessionId;
    this.#renew(kept);
    if (!same) this.emit("change");
  }

  /** A station has as many sessions as it likes: the hub neither ends one, nor makes a token of another. */
  get #isStation() {
    return this.claims?.type === "station";
  }

  /** An answer that comes after another sign-in, or after a sign-out, is too late. */
  async #begin(path, body) {
    const attempt = ++this.#attempt;
    const { accessToken } = await this.api.post(path, body);
    if (attempt !== this.#attempt) return;
    this.#keep({ token: accessToken, given: false });
    this.emit("change");
  }

  #keep(kept) {
    this.storage.setItem(this.key, JSON.stringify(kept));
    this.#renew(kept);
  }

  #kept() {
    try {
      const kept = JSON.parse(this.storage.getItem(this.key));
      return typeof kept?.token === "string" ? kept : null;
    } catch {
      return null;
    }
  }

  #renew(kept) {
    this.token = kept?.token ?? null;
    this.given = kept?.given === true;
    this.claims = this.token === null ? null : claimsOf(this.token);
    this.#plan();
  }

  #plan(wait) {
    if (this.#timer !== null) this.clock.clearTimeout(this.#timer);
    this.#timer = null;
    const { exp } = this.claims ?? {};
    if (typeof exp !== "number" || this.#isStation) return;
    // a token is refreshed without another iat: what is left of it tells its age
    const left = exp * 1000 - this.clock.now();
    if (left <= 0) return;
    this.#timer = this.clock.setTimeout(() => this.#refresh(), Math.min(wait ?? left * REFRESH_AT, 2 ** 31 - 1));
  }

  async #refresh() {
    const { token } = this;
    try {
      const { accessToken } = await this.api.post("auth/refresh");
      if (token !== this.token) return;
      this.#keep({ token: accessToken, given: this.given });
    } catch (error) {
      // tokens of other issuers are not refreshed; a hub that is away is asked again
      if (token === this.token && error instanceof ApiError && (error.status === 0 || error.status >= 429)) this.#plan(RETRY_REFRESH);
    }
  }
}
