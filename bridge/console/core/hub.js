/** The native door (`/ws`): requests with acks, pushes, and a connection that comes back by itself. */
import { Emitter } from "../lib/emitter.js";
import { Backoff } from "./backoff.js";

const REFUSED = 4401;
const KICKED = 4403;
/** Milliseconds for a socket to open and be welcomed. */
const OPENS_WITHIN = 10_000;
/** A browser does not see the hub's pings: one event in so many milliseconds finds out that nobody is there any more. */
const PING_EVERY = 20_000;
const ACK_WITHIN = 10_000;
/** `WebSocket.OPEN`; there is no WebSocket where the models are tested. */
const OPEN = 1;

/** What the hub answered instead of an ack; `message` is `CODE: text`. */
export class HubError extends Error {
  constructor(message) {
    super(message);
    this.name = "HubError";
    const [, code, text] = /^([A-Z_]+): (.*)$/s.exec(message) ?? [null, "INTERNAL", message];
    Object.assign(this, { code, text });
  }
}

const LOST = "UNAVAILABLE: The connection was lost";

/**
 * A connection to one of the hub's native doors.
 *
 * States: `closed`, `connecting`, `open`, `waiting` (for the next try, at `retryAt`); `lostAt`: when the hub was heard last before it was
 * lost, null: it is there, or never was.
 *
 * Emits `state` (state); `welcome` (data) after each connection; `end` (reason) when it will not come back: `KICKED NEW_LOGIN`, `KICKED REVOKED`, or
 * what the hub refused it with; `pong` (answer, when it was asked) at once after a welcome and then every 20 s; and each push by its own name (data).
 */
export class HubSocket extends Emitter {
  #socket = null;
  #acks = new Map();
  #nextId = 1;
  #heardAt = 0;
  #timer = null;
  #pings = null;
  #backoff;
  #greeting = () => ({});

  /**
   * @param {object} options
   * @param {string} options.url of the door.
   * @param {(url: string) => any} [options.connect] makes a WebSocket.
   * @param {any} [options.clock] `now`, `setTimeout`, `clearTimeout`.
   * @param {Backoff} [options.backoff]
   */
  constructor({ url, connect = (to) => new WebSocket(to), clock = browserClock, backoff = new Backoff() }) {
    super();
    Object.assign(this, { url, connect, clock, state: "closed", retryAt: null, lostAt: null, welcome: null });
    this.#backoff = backoff;
  }

  /**
   * Connects, and stays connected until `close` or `end`.
   * @param {() => object} greeting what the first frame says: `{token, watch?, states?}`; asked at each connection.
   */
  open(greeting) {
    this.close();
    this.#greeting = greeting;
    this.#backoff.reset();
    this.#connect();
  }

  /** Ends it, for good. */
  close() {
    this.#stopTimers();
    this.#drop(1000);
    this.#set("closed");
  }

  /** Tries now, rather than at `retryAt`. */
  retry() {
    if (this.state !== "waiting") return;
    this.#stopTimers();
    this.#connect();
  }

  /**
   * Sends an event, and waits for its ack.
   * @param {string} event
   * @param {any} [data]
   * @param {number} [within] milliseconds.
   * @returns {Promise<any>}
   * @throws {HubError} the hub's own, or UNAVAILABLE where there is no connection or no answer.
   */
  request(event, data = {}, within = ACK_WITHIN) {
    if (!this.#writable) return Promise.reject(new HubError("UNAVAILABLE: Not connected to the hub"));
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const timer = this.clock.setTimeout(() => {
        this.#acks.delete(id);
        reject(new HubError("UNAVAILABLE: The hub did not answer in time"));
      }, within);
      this.#acks.set(id, { resolve, reject, timer });
      this.#socket.send(JSON.stringify({ id, event, data }));
    });
  }

  /** Sends an event that needs no ack; nothing where there is no connection. */
  send(event, data = {}) {
    if (this.#writable) this.#socket.send(JSON.stringify({ event, data }));
  }

  /** A socket that is closing takes no more, though it is still ours for a moment. */
  get #writable() {
    return this.state === "open" && !(this.#socket.readyState > OPEN);
  }

  #connect() {
    this.#set("connecting");
    const socket = (this.#socket = this.connect(this.url));
    this.#timer = this.clock.setTimeout(() => this.#lost(socket), OPENS_WITHIN);
    socket.onopen = () => socket.send(JSON.stringify({ event: "auth", data: this.#greeting() }));
    socket.onmessage = ({ data }) => this.#received(socket, data);
    socket.onclose = ({ code, reason }) => this.#closed(socket, code, reason);
  }

  #received(socket, text) {
    if (socket !== this.#socket) return;
    this.#heardAt = this.clock.now();
    const frame = JSON.parse(text);
    if (frame.event === "welcome") {
      this.#stopTimers();
      this.#backoff.reset();
      this.welcome = frame.data;
      this.#set("open");
      this.emit("welcome", frame.data);
      if (socket === this.#socket) this.#ping(socket);
    } else if (frame.event !== undefined) {
      this.emit(frame.event, frame.data);
    } else if (this.#acks.has(frame.id)) {
      const { resolve, reject, timer } = this.#acks.get(frame.id);
      this.#acks.delete(frame.id);
      this.clock.clearTimeout(timer);
      if (frame.error !== undefined) reject(new HubError(frame.error));
      else resolve(frame.ack);
    }
  }

  #ping(socket) {
    const asked = this.clock.now();
    this.request("ping").then(
      (answer) => {
        if (socket !== this.#socket) return;
        this.#pings = this.clock.setTimeout(() => this.#ping(socket), PING_EVERY);
        this.emit("pong", answer, asked);
      },
      () => this.#lost(socket),
    );
  }

  #closed(socket, code, reason) {
    if (socket !== this.#socket) return;
    if (code === REFUSED || code === KICKED) {
      this.#stopTimers();
      this.#drop();
      this.#set("closed");
      this.emit("end", code === KICKED ? `KICKED ${reason}` : reason);
    } else {
      this.#lost(socket);
    }
  }

  #lost(socket) {
    if (socket !== this.#socket) return;
    this.#stopTimers();
    if (this.welcome !== null) this.lostAt = this.#heardAt;
    this.#drop(4000);
    const wait = this.#backoff.next();
    this.retryAt = this.clock.now() + wait;
    this.#timer = this.clock.setTimeout(() => this.#connect(), wait);
    this.#set("waiting");
  }

  #drop(code) {
    const socket = this.#socket;
    this.#socket = null;
    this.welcome = null;
    if (socket && code !== undefined) socket.close(code);
    const waiting = [...this.#acks.values()];
    this.#acks.clear();
    for (const { reject, timer } of waiting) {
      this.clock.clearTimeout(timer);
      reject(new HubError(LOST));
    }
  }

  #stopTimers() {
    for (const timer of [this.#timer, this.#pings]) if (timer !== null) this.clock.clearTimeout(timer);
    this.#timer = this.#pings = null;
  }

  #set(state) {
    if (state !== "waiting") this.retryAt = null;
    if (state === "open" || state === "closed") this.lostAt = null;
    if (state === this.state) return;
    this.state = state;
    this.emit("state", state);
  }
}

export const browserClock = {
  now: () => Date.now(),
  setTimeout: (work, ms) => setTimeout(work, ms),
  clearTimeout: (timer) => clearTimeout(timer),
};
