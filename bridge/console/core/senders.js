/** Streams of a station's camera that somebody asked for: it answers offers. */
import { Emitter } from "../lib/emitter.js";
import { stopMedia } from "./media.js";
import { Peering } from "./peering.js";

export const MAX_SENDERS = 8;
const CONNECTS_WITHIN = 20_000;

/** Emits `change` when there are more or fewer. */
export class Senders extends Emitter {
  #senders = new Map();

  /**
   * @param {object} options
   * @param {import("./hub.js").HubSocket} options.hub
   * @param {any} options.clock
   * @param {(configuration: any) => RTCPeerConnection} options.makePeer
   * @param {() => Promise<any[]>} options.iceServers never fails.
   * @param {() => MediaStream | null} options.lend a picture; its tracks are to be stopped here.
   */
  constructor(options) {
    super();
    Object.assign(this, options);
    this.hub.on("ice-candidate", ({ from, candidate }) => {
      for (const sender of this.#senders.values()) if (sender.requesterId === from) sender.candidate(candidate ?? {});
    });
  }

  get count() {
    return this.#senders.size;
  }

  /** Somebody asks for a stream; asked again, the first one ends. */
  async start({ requesterId, cameraId, offer }) {
    if (typeof offer?.sdp !== "string") return this.#respond(requesterId, cameraId, { status: "error", error: "an offer is missing" });
    const key = keyOf(requesterId, cameraId);
    this.#end(this.#senders.get(key));
    if (this.#senders.size >= MAX_SENDERS) return this.#respond(requesterId, cameraId, { status: "error", error: `busy: ${MAX_SENDERS} are watching already` });
    const sender = { key, requesterId, early: [], peer: null, stream: null, over: false };
    sender.candidate = (candidate) => (sender.peer ? sender.peer.candidate(candidate) : sender.early.length < 64 && sender.early.push(candidate));
    this.#senders.set(key, sender);
    this.emit("change");
    const iceServers = await this.iceServers();
    if (!sender.over) this.#answer(sender, { requesterId, cameraId, offer, iceServers });
  }

  #answer(sender, { requesterId, cameraId, offer, iceServers }) {
    const { clock, hub } = this;
    let pc = null;
    try {
      pc = this.makePeer({ iceServers });
    } catch {
      this.#respond(requesterId, cameraId, { status: "error", error: "this browser makes no connection" });
      return this.#end(sender);
    }
    const stream = (sender.stream = this.lend());
    const signal = (event, content) => {
      if (event === "answer") this.#respond(requesterId, cameraId, { status: "ready", answer: content });
      else if (event === "ice-candidate") hub.send(event, { to: requesterId, candidate: content });
    };
    const peer = (sender.peer = new Peering({ peerId: requesterId, clock, pc, own: stream?.getTracks() ?? [], stream, signal }));
    peer.on("connected", () => clock.clearTimeout(sender.timer));
    peer.on("over", (reason) => {
      if (reason === "bad") this.#respond(requesterId, cameraId, { status: "error", error: "the offer makes no sense" });
      this.#end(sender);
    });
    sender.timer = clock.setTimeout(() => this.#end(sender), CONNECTS_WITHIN);
    peer.takeOffer(offer);
    for (const candidate of sender.early.splice(0)) peer.candidate(candidate);
  }

  /** They watch no more. */
  stop(requesterId, cameraId) {
    this.#end(this.#senders.get(keyOf(requesterId, cameraId)));
  }

  /** The camera shows something else. */
  replace(track) {
    for (const { peer, stream } of this.#senders.values()) {
      if (!peer || !stream) continue;
      const other = track.clone();
      for (const old of stream.getVideoTracks()) {
        old.stop();
        stream.removeTrack(old);
      }
      stream.addTrack(other);
      peer.replace(other);
    }
  }

  /** Ends all. */
  clear() {
    for (const sender of [...this.#senders.values()]) this.#end(sender);
  }

  #respond(requesterId, cameraId, answer) {
    this.hub.send("station-cmd-stream-response", { requesterId, cameraId, ...answer });
  }

  #end(sender) {
    if (!sender || sender.over) return;
    sender.over = true;
    this.clock.clearTimeout(sender.timer);
    if (this.#senders.get(sender.key) === sender) this.#senders.delete(sender.key);
    sender.peer?.close();
    stopMedia(sender.stream);
    this.emit("change");
  }
}

const keyOf = (requesterId, cameraId) => `${requesterId}\n${cameraId}`;
