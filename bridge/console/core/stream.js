/** One stream of a camera: the browser offers, the station answers through the hub, and the pictures come from the station itself. */
import { Emitter } from "../lib/emitter.js";
import { Candidates } from "./candidates.js";
import { HubError } from "./hub.js";
import { Timers } from "./timers.js";

const ANSWERS_WITHIN = 10_000;
/** Milliseconds from the station's answer until the first picture. */
const SHOWS_WITHIN = 15_000;
/** Milliseconds that a broken connection has to come back by itself. */
const RECOVERS_WITHIN = 6_000;
const LOOKS_EVERY = 1_000;
/** Milliseconds without a new picture after which the stream counts as standing still. */
const STILL_AFTER = 4_000;
const STOPS_WITHIN = 2_000;

/**
 * A stream. Once it failed or was closed it stays so; another try is another stream.
 *
 * States: `requesting`, `connecting`, `playing`, `failed`, `closed`. Emits `change`.
 *
 * `reason`, of a failure: `{kind, text}`: `kind` is a key of the texts after `stream.failed.`, `text` the station's own words, if any;
 * or `{error}`: what the hub said. `tracks`: what there is to see and hear; or `url`: where. `numbers`: `{width, height, fps}`.
 * `troubled`: `interrupted`, `still` or null, while it plays.
 */
export class Stream extends Emitter {
  state = "requesting";
  reason = null;
  url = null;
  tracks = [];
  numbers = null;
  troubled = null;
  #pc = null;
  #peerId = null;
  #answered = false;
  #asked = false;
  #stops = false;
  #mine = [];
  #theirs = new Candidates();
  #timers;
  #frames = 0;
  #framesAt = 0;

  /**
   * @param {object} options
   * @param {string} options.stationId
   * @param {string} options.cameraId
   * @param {import("./hub.js").HubSocket} options.hub
   * @param {any} options.clock
   * @param {import("./ice.js").IceServers} options.ice
   * @param {(configuration: any) => RTCPeerConnection} options.makePeer
   */
  constructor(options) {
    super();
    Object.assign(this, options);
    this.#timers = new Timers(this.clock);
  }

  get over() {
    return this.state === "failed" || this.state === "closed";
  }

  /** Begins. Never fails: its state tells. */
  async start() {
    try {
      const iceServers = await this.ice.get();
      if (this.over) return;
      const offer = await this.#offer(iceServers);
      if (this.over) return;
      await this.#request(offer);
    } catch (error) {
      this.fail(error instanceof HubError ? { error } : { kind: "browser", text: String(error?.message ?? error) });
    }
  }

  async #offer(iceServers) {
    const pc = (this.#pc = this.makePeer({ iceServers }));
    pc.onicecandidate = ({ candidate }) => candidate && this.#send(candidate);
    pc.ontrack = ({ track }) => {
      this.tracks = [...this.tracks, track];
      this.emit("change");
    };
    pc.onconnectionstatechange = () => this.#connection(pc.connectionState);
    for (const kind of ["video", "audio"]) pc.addTransceiver(kind, { direction: "recvonly" });
    await pc.setLocalDescription(await pc.createOffer());
    return { type: "offer", sdp: pc.localDescription.sdp };
  }

  async #request(offer) {
    const { hub, stationId, cameraId } = this;
    this.#peerId = hub.welcome?.peerId;
    this.#timers.after("answer", ANSWERS_WITHIN, () => this.fail({ kind: "no-answer" }));
    const requested = hub.request("station-cmd-request-stream", { stationId, cameraId, offer });
    this.#asked = this.#stops = true;
    for (const candidate of this.#mine.splice(0)) this.#send(candidate);
    await requested;
  }

  /** The station answered. */
  async answered({ status, answer, url, error }) {
    if (this.over) return;
    const streams = answer && typeof answer.sdp === "string";
    if (!this.#answered) this.#stops = !error && streams;
    if (error || /^(error|failed|rejected|refused|unavailable|busy)$/i.test(status)) return this.fail({ kind: "station", text: words(error ?? status) });
    if (this.#answered) return;
    if (streams) return this.#take(answer);
    if (typeof url === "string" && url) return this.#open(url);
    this.fail({ kind: "station", text: words(status) });
  }

  async #take(answer) {
    this.#answered = true;
    this.#answers();
    try {
      await this.#pc.setRemoteDescription({ type: "answer", sdp: answer.sdp });
    } catch {
      return this.fail({ kind: "bad-answer" });
    }
    if (!this.over) this.#theirs.described(this.#pc, answer.sdp);
  }

  /** It is to be played from an address: one that a browser may open, and that is no script. */
  #open(text) {
    this.#answered = true;
    this.#closePeer();
    let url = null;
    try {
      url = new URL(text);
    } catch {
      // no address at all
    }
    if (url?.protocol !== "http:" && url?.protocol !== "https:") return this.fail({ kind: "address", text: words(text) });
    this.url = url.href;
    this.#answers();
  }

  #answers() {
    this.#timers.clear("answer");
    this.#timers.after("picture", SHOWS_WITHIN, () => this.fail({ kind: "no-picture" }));
    this.#set("connecting");
  }

  /** A candidate of somebody who may be this stream's station. `from`: a peer id, or `station:ID`. */
  candidate(from, candidate) {
    if (this.over || this.url) return;
    if (!from.startsWith("station:") || from === `station:${this.stationId}`) this.#theirs.take(candidate);
  }

  #send(candidate) {
    if (!this.#asked) return void this.#mine.push(candidate);
    // after a reconnection the hub knows nothing of this stream
    if (this.hub.welcome?.peerId !== this.#peerId) return;
    this.hub.send("ice-candidate", { to: `station:${this.stationId}`, candidate: candidate.toJSON() });
  }

  /** The page shows its first picture. */
  showed() {
    if (this.state !== "connecting") return;
    this.#timers.clear("picture");
    this.#stops = false;
    this.#framesAt = this.clock.now();
    this.#set("playing");
    if (!this.url) this.#look();
  }

  /** How large a picture from an address is. */
  measured(width, height) {
    this.numbers = { width, height, fps: 0 };
    this.emit("change");
  }

  /** The hub is out of reach: an answer that has not come will not. */
  hubLost() {
    if (this.state === "requesting") this.fail({ error: new HubError("UNAVAILABLE: The connection was lost") });
  }

  #connection(state) {
    if (this.over) return;
    if (state === "failed" || state === "closed") return this.fail({ kind: "lost" });
    if (state === "disconnected") this.#timers.after("lost", RECOVERS_WITHIN, () => this.fail({ kind: "lost" }));
    else this.#timers.clear("lost");
    this.#trouble(state === "disconnected" ? "interrupted" : null);
  }

  async #look() {
    const report = await this.#pc.getStats().catch(() => null);
    if (this.state !== "playing") return;
    const now = this.clock.now();
    for (const stats of report?.values() ?? []) {
      if (stats.type !== "inbound-rtp" || stats.kind !== "video") continue;
      if ((stats.framesDecoded ?? 0) !== this.#frames) this.#framesAt = now;
      this.#frames = stats.framesDecoded ?? 0;
      this.numbers = { width: stats.frameWidth ?? 0, height: stats.frameHeight ?? 0, fps: stats.framesPerSecond ?? 0 };
    }
    if (this.troubled !== "interrupted") this.#trouble(now - this.#framesAt > STILL_AFTER ? "still" : null);
    this.emit("change");
    this.#timers.after("look", LOOKS_EVERY, () => this.#look());
  }

  /** It ends, for a reason. */
  fail(reason) {
    if (this.over) return;
    this.reason = { kind: "lost", text: "", ...reason };
    this.#end("failed");
  }

  /** Nobody watches any more. */
  close() {
    if (this.state === "closed") return;
    this.#end("closed");
  }

  #end(state) {
    this.#timers.clearAll();
    const { hub } = this;
    // the station may be about to answer, or try for long to connect; a connection that was there tells it by itself
    if (this.#stops && hub.state === "open" && hub.welcome?.peerId === this.#peerId) {
      const command = { stationId: this.stationId, type: "stop-stream", params: { cameraId: this.cameraId }, timeoutMs: STOPS_WITHIN };
      hub.request("station-command", command).catch(() => {}); // software that does not know it notices by itself
    }
    this.#stops = false;
    this.#closePeer();
    this.tracks = [];
    this.troubled = null;
    this.#set(state);
  }

  #closePeer() {
    if (!this.#pc) return;
    this.#pc.onicecandidate = this.#pc.ontrack = this.#pc.onconnectionstatechange = null;
    this.#pc.close();
  }

  #trouble(troubled) {
    if (this.troubled === troubled) return;
    this.troubled = troubled;
    this.emit("change");
  }

  #set(state) {
    this.state = state;
    this.emit("change");
  }
}

const words = (value) => (typeof value === "string" ? value : (JSON.stringify(value) ?? "")).slice(0, 500);
