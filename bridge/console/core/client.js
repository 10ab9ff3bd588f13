/** What every page of the hub has: a session, a connection, texts in a language, and what happens when a session ends. */
import { Emitter } from "../lib/emitter.js";
import { Texts } from "../lib/texts.js";
import { Api, ApiError } from "./api.js";
import { browserClock, HubError, HubSocket } from "./hub.js";
import { Preferences } from "./preferences.js";
import { Session } from "./session.js";

/** What the API says no with, as keys of the texts; of the rest it says itself what is wrong. */
const REFUSALS = { 0: "error.unreachable", 403: "error.FORBIDDEN", 429: "error.RESOURCE_EXHAUSTED", 503: "error.busy" };
const MISMATCH = "UNAUTHORIZED: session mismatch detected";

/**
 * Emits `notice` (text, kind) for what people should read in passing, and `session` when somebody signed in or out.
 */
export class Client extends Emitter {
  /** Why the last session ended, a key of the texts; null: it did not, or by hand. */
  ended = null;
  /** What is cleared when somebody else signs in, in this order. */
  models = [];

  /**
   * @param {object} options
   * @param {string} options.base address of the hub's folder, with a slash at its end.
   * @param {Storage} options.storage
   * @param {Record<string, Record<string, string>>} options.tables texts by language.
   * @param {readonly string[]} options.languages of the browser.
   * @param {string} [options.key] of the session in the storage.
   */
  constructor({ base, storage, tables, languages, key, clock = browserClock }) {
    super();
    this.base = base;
    this.clock = clock;
    this.preferences = new Preferences(storage);
    this.texts = new Texts(tables, [this.preferences.get("language"), ...languages].filter(Boolean));
    this.api = new Api({ base, token: () => this.session.token });
    this.session = new Session({ api: this.api, storage, clock, key });
    this.hub = new HubSocket({ url: this.socketUrl("ws"), clock });
    this.hub.on("end", (reason) => this.finish(reason));
    this.session.on("change", () => this.#sessionChanged());
    this.t = (key, values) => this.texts.get(key, values);
  }

  /** The address of a WebSocket of the hub. */
  socketUrl(path) {
    return this.base.replace(/^http/, "ws") + path;
  }

  /** What the first frame of a connection says beside the token. */
  greeting() {
    return {};
  }

  /** Connects, if somebody is signed in. */
  start() {
    if (this.session.signedIn) this.hub.open(() => ({ token: this.session.token, ...this.greeting() }));
  }

  /** Another tab changed what is kept in this browser. */
  stored() {
    this.session.stored();
    this.preferences.changed();
  }

  /** Says something in passing: `kind` is `info`, `good` or `bad`. */
  notice(text, kind = "info") {
    this.emit("notice", text, kind);
  }

  /** What went wrong, in the reader's language where the hub's code is known. */
  explain(error) {
    if (error instanceof HubError) return this.texts.word("error", error.code, error.text);
    if (!(error instanceof ApiError)) return error.message;
    // nobody has a role yet: a hub may take no guests, or no new accounts
    const key = error.status === 403 && !this.session.signedIn ? "signin.not-offered" : REFUSALS[error.status];
    return key ? this.t(key) : error.message;
  }

  /** The hub ended the session. */
  finish(reason) {
    this.ended = this.wordsOf(reason);
    this.session.signOut({ ended: true });
  }

  /** Why a session ended, as a key of the texts. */
  wordsOf(reason) {
    if (reason === "KICKED NEW_LOGIN" || reason === MISMATCH) return "ended.elsewhere";
    return reason === "KICKED REVOKED" ? "ended.revoked" : "ended.expired";
  }

  #sessionChanged() {
    for (const model of this.models) model.clear();
    this.hub.close();
    if (this.session.signedIn) this.ended = null;
    this.start();
    this.emit("session");
  }
}
