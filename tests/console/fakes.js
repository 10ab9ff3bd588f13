/** What the console's models are given in place of a browser. */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Emitter } from "../../bridge/console/lib/emitter.js";

export const CONSOLE = fileURLToPath(new URL("../../bridge/console/", import.meta.url));

/** A clock that is turned by hand: `now`, `setTimeout`, `clearTimeout` in milliseconds. */
export class FakeClock {
  #timers = new Map();
  #next = 1;

  constructor(now = 1_800_000_000_000) {
    this.time = now;
  }

  now = () => this.time;

  setTimeout = (work, ms) => {
    this.#timers.set(this.#next, { at: this.time + ms, work });
    return this.#next++;
  };

  clearTimeout = (timer) => this.#timers.delete(timer);

  /** Time passes; what is due is done, in order. */
  pass(ms) {
    const end = this.time + ms;
    for (;;) {
      const due = [...this.#timers].filter(([, { at }]) => at <= end).sort((one, other) => one[1].at - other[1].at || one[0] - other[0])[0];
      if (!due) break;
      this.#timers.delete(due[0]);
      this.time = Math.max(this.time, due[1].at);
      due[1].work();
    }
    this.time = end;
  }

  get waiting() {
    return this.#timers.size;
  }
}

/** A WebSocket whose other end is the test. */
export class FakeSocket {
  sent = [];
  closed = null;

  constructor(url) {
    this.url = url;
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close(code) {
    this.closed ??= code;
  }

  /** It opened, and the hub welcomes. */
  welcome(data = {}) {
    this.onopen();
    this.push("welcome", { peerId: "p-1", heartbeat: 25, role: "operator", ...data });
  }

  push(event, data) {
    this.onmessage({ data: JSON.stringify({ event, data }) });
  }

  /** The answer to the newest request of an event. */
  answer(event, ack) {
    this.onmessage({ data: JSON.stringify({ id: this.asked(event).id, ack }) });
  }

  refuse(event, error) {
    this.onmessage({ data: JSON.stringify({ id: this.asked(event).id, error }) });
  }

  asked(event) {
    return this.sent.findLast((frame) => frame.event === event);
  }

  drop(code = 1006, reason = "") {
    this.onclose({ code, reason });
  }
}

/** Storage as of a browser. */
export class FakeStorage {
  items = new Map();
  getItem = (key) => this.items.get(key) ?? null;
  setItem = (key, value) => void this.items.set(key, String(value));
  removeItem = (key) => void this.items.delete(key);
}

/** A token that says `claims`; nobody signed it. */
export function token(claims) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "HS256" })}.${part(claims)}.x`;
}

/** Lets promises that are settled be heard. */
export const settle = () => new Promise((resolve) => setImmediate(resolve));

/** The console's own modules, as [name, source without comments]. */
export function modules() {
  const names = readdirSync(CONSOLE, { recursive: true }).filter((name) => name.endsWith(".js"));
  return names.map((name) => [name, readFileSync(CONSOLE + name, "utf8").replace(/\/\*[\s\S]*?\*\/|(?<=^|\s)\/\/.*/gm, "")]);
}

/** A connection to the hub whose other end is the test: `asked` and `sent` are [event, data], newest last. */
export class FakeHub extends Emitter {
  state = "open";
  welcome = { peerId: "p-1" };
  asked = [];
  sent = [];
  /** What an event is answered with: a value, an Error, or a function of its data. */
  answers = {};

  async request(event, data) {
    this.asked.push([event, data]);
    const answer = typeof this.answers[event] === "function" ? this.answers[event](data) : this.answers[event];
    if (answer instanceof Error) throw answer;
    return answer;
  }

  send(event, data) {
    this.sent.push([event, data]);
  }

  close() {
    this.lose("closed");
  }

  lose(state = "waiting") {
    this.state = state;
    this.welcome = null;
    this.emit("state", state);
  }

  back(peerId = "p-2") {
    this.state = "open";
    this.welcome = { peerId };
    this.emit("state", "open");
    this.emit("welcome", this.welcome);
  }

  /** The data of all requests of an event. */
  of(event) {
    return [...this.asked, ...this.sent].filter(([name]) => name === event).map(([, data]) => data);
  }
}

/** A track of a camera or a microphone. */
export class FakeTrack {
  enabled = true;
  stopped = false;

  constructor(kind) {
    this.kind = kind;
  }

  stop() {
    this.stopped = true;
  }

  clone() {
    return new FakeTrack(this.kind);
  }
}

/** A stream of such tracks. */
export class FakeStream {
  constructor(...kinds) {
    this.tracks = kinds.map((kind) => new FakeTrack(kind));
  }

  getTracks = () => this.tracks;
  getVideoTracks = () => this.tracks.filter(({ kind }) => kind === "video");
  getAudioTracks = () => this.tracks.filter(({ kind }) => kind === "audio");
  addTrack = (track) => void this.tracks.push(track);
  removeTrack = (track) => (this.tracks = this.tracks.filter((one) => one !== track));
  clone = () => new FakeStream(...this.tracks.map(({ kind }) => kind));
}

/** An RTCPeerConnection that minds the order of things as a browser does, and does what it is told. */
export class FakeConnection {
  signalingState = "stable";
  connectionState = "new";
  remoteDescription = null;
  localDescription = null;
  sends = [];
  candidates = [];
  received = 0;
  closed = false;
  offers = 0;
  transport = { state: "connected", onstatechange: null };

  addTrack(track) {
    this.sends.push(track.kind);
    return {};
  }

  addTransceiver(kind, { direction }) {
    this.sends.push(`${kind} ${direction}`);
  }

  getSenders = () => [];
  getReceivers = () => [{ transport: this.transport }];

  async createOffer(options) {
    this.offers++;
    return { type: "offer", sdp: `v=0\r\na=ice-ufrag:mine${this.offers}\r\n${options?.iceRestart ? "restart" : ""}` };
  }

  async createAnswer() {
    if (this.signalingState !== "have-remote-offer") throw new Error("nothing to answer");
    return { type: "answer", sdp: "v=0\r\na=ice-ufrag:mine\r\n" };
  }

  async setLocalDescription(description) {
    this.localDescription = description;
    this.signalingState = description.type === "offer" ? "have-local-offer" : "stable";
  }

  async setRemoteDescription(description) {
    if (description.sdp.includes("bad")) throw new Error("bad");
    if (description.type === "answer" && this.signalingState !== "have-local-offer") throw new Error("unasked");
    this.remoteDescription = description;
    this.signalingState = description.type === "offer" ? "have-remote-offer" : "stable";
  }

  async addIceCandidate(candidate) {
    if (!this.remoteDescription) throw new Error("too early");
    this.candidates.push(candidate.candidate);
  }

  getStats = async () => new Map([["t", { type: "transport", bytesReceived: this.received }]]);

  /** The other side is there, or not. */
  become(state) {
    this.connectionState = state;
    this.onconnectionstatechange?.();
  }

  /** The other side hangs up. */
  hangsUp() {
    this.transport.state = "closed";
    this.transport.onstatechange?.();
  }

  finds(line) {
    this.onicecandidate?.({ candidate: { toJSON: () => ({ candidate: line }) } });
  }

  shows(kind) {
    this.ontrack?.({ track: new FakeTrack(kind) });
  }

  close() {
    this.closed = true;
  }
}
