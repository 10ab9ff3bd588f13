/** One connection to one other peer: offers, answers and candidates in an order that a browser takes. */
import { Emitter } from "../lib/emitter.js";
import { Candidates } from "./candidates.js";
import { Timers } from "./timers.js";

/** Milliseconds that a broken connection has to come back by itself, or with a new offer. */
const RECOVERS_WITHIN = 8_000;
/** Milliseconds between two looks whether anything still comes from a peer that the hub says is gone. */
const LOOKS_EVERY = 1_000;
const SILENT_LOOKS = 3;
/** Milliseconds in which what was on its way when the other side hung up has come. */
const ARRIVES_WITHIN = 300;

/**
 * A connection to a peer. It takes either side: `offer()`, or `take` an offer of theirs.
 *
 * Emits `tracks`; `connected`; `trouble` (boolean): it is interrupted, or not any more; `over` (reason) once: `lost`, `bad`, `left`;
 * `orphaned`: the other side cannot be reached by the hub any more, but goes on sending.
 */
export class Peering extends Emitter {
  /** @type {MediaStreamTrack[]} of the other side. */
  tracks = [];
  connected = false;
  over = false;
  #pc;
  #candidates = new Candidates();
  #work = Promise.resolve();
  #timers;
  #transport = null;

  /**
   * @param {object} options
   * @param {string} options.peerId
   * @param {any} options.clock
   * @param {RTCPeerConnection} options.pc
   * @param {MediaStreamTrack[]} options.own tracks to send.
   * @param {MediaStream | null} options.stream that they are of.
   * @param {(event: "offer" | "answer" | "ice-candidate", content: any) => void} options.signal tells the other side.
   */
  constructor({ peerId, clock, pc, own, stream, signal }) {
    super();
    Object.assign(this, { peerId, clock, signal });
    Object.assign(this, { own, stream, offers: false, added: false, orphaned: null });
    this.#pc = pc;
    this.#timers = new Timers(clock);
    this.#listen(pc);
  }

  #listen(pc) {
    pc.onicecandidate = ({ candidate }) => candidate && this.signal("ice-candidate", candidate.toJSON());
    pc.ontrack = ({ track }) => {
      this.tracks = [...this.tracks, track];
      this.emit("tracks");
    };
    pc.onconnectionstatechange = () => this.#changed(pc.connectionState);
  }

  /** Offers what there is to send, and to receive picture and sound. */
  offer() {
    this.offers = true;
    for (const track of this.own) this.#pc.addTrack(track, this.stream);
    for (const kind of ["audio", "video"]) {
      if (!this.own.some((track) => track.kind === kind)) this.#pc.addTransceiver(kind, { direction: "recvonly" });
    }
    return this.#offer();
  }

  #offer(options) {
    return this.#do(async (pc) => {
      await pc.setLocalDescription(await pc.createOffer(options));
      this.signal("offer", { type: "offer", sdp: pc.localDescription.sdp });
    });
  }

  /** An offer of theirs; the first one, or another one for the same connection. */
  takeOffer(offer) {
    return this.#do(async (pc) => {
      await pc.setRemoteDescription({ type: "offer", sdp: offer.sdp });
      this.#candidates.described(pc, offer.sdp);
      if (!this.added) {
        this.added = true;
        for (const track of this.own) pc.addTrack(track, this.stream);
      }
      await pc.setLocalDescription(await pc.createAnswer());
      this.signal("answer", { type: "answer", sdp: pc.localDescription.sdp });
    });
  }

  /** Their answer. One that comes twice, or that nobody waits for, is passed over. */
  takeAnswer(answer) {
    return this.#do(async (pc) => {
      if (pc.signalingState !== "have-local-offer") return;
      await pc.setRemoteDescription({ type: "answer", sdp: answer.sdp });
      this.#candidates.described(pc, answer.sdp);
    });
  }

  /** A candidate of theirs; one that comes before the description that it is of waits for it. */
  candidate(candidate) {
    if (!this.over) this.#candidates.take(candidate);
  }

  /** Sends another track in place of that of its kind. */
  async replace(track) {
    const sender = this.#pc.getSenders?.().find((one) => one.track?.kind === track.kind);
    if (!this.over && sender) await sender.replaceTrack(track).catch(() => {});
  }

  /** The hub says that the other side is gone: it hung up, or only its way to the hub is broken. What it sends tells. */
  async orphan() {
    if (!this.connected) return this.#end("left");
    if (this.orphaned !== null) return;
    this.orphaned = false;
    await this.#wait(ARRIVES_WITHIN);
    let received = await this.#received();
    for (let silent = 0; !this.over; ) {
      await this.#wait(LOOKS_EVERY);
      const now = await this.#received();
      silent = now === received ? silent + 1 : 0;
      received = now;
      // one look tells of a peer that hung up; more are needed of one that is known to go on
      if (silent >= (this.orphaned ? SILENT_LOOKS : 1)) return this.#end("left");
      if (silent === 0 && !this.orphaned) {
        this.orphaned = true;
        this.emit("orphaned");
      }
    }
  }

  async #received() {
    const report = await this.#pc.getStats().catch(() => null);
    let bytes = 0;
    for (const stats of report?.values() ?? []) if (stats.type === "transport" || stats.type === "inbound-rtp") bytes += stats.bytesReceived ?? 0;
    return bytes;
  }

  #wait(ms) {
    return new Promise((resolve) => this.clock.setTimeout(resolve, ms));
  }

  /** One thing after another: an answer is not made while an offer is still being read. */
  #do(work) {
    const done = this.#work.then(async () => {
      if (!this.over) await work(this.#pc);
    });
    this.#work = done.catch(() => this.#end("bad"));
    return this.#work;
  }

  #changed(state) {
    if (this.over) return;
    if (state === "connected") {
      this.#timers.clear("lost");
      this.connected = true;
      this.#hear();
      this.emit("trouble", false);
      this.emit("connected");
    } else if (state === "closed") {
      this.#end("lost");
    } else if (state === "disconnected" || state === "failed") {
      this.emit("trouble", true);
      if (!this.#timers.has("lost")) this.#timers.after("lost", RECOVERS_WITHIN, () => this.#end("lost"));
      // who offered offers anew; nobody hears it while the hub is away, and then the time above runs out
      if (state === "failed" && this.offers) this.#offer({ iceRestart: true });
    }
  }

  /** Who hangs up says so on the connection itself, at once, whether or not there is a hub to say it by; a browser that dies says nothing. */
  #hear() {
    const transport = (this.#transport ??= this.#pc.getReceivers?.()[0]?.transport);
    if (transport) transport.onstatechange = () => transport.state === "closed" && this.#end("left");
  }

  #end(reason) {
    if (this.over) return;
    this.close();
    this.emit("over", reason);
  }

  /** Ends it. */
  close() {
    if (this.over) return;
    this.over = true;
    this.#timers.clear("lost");
    const pc = this.#pc;
    pc.onicecandidate = pc.ontrack = pc.onconnectionstatechange = null;
    if (this.#transport) this.#transport.onstatechange = null;
    pc.close();
    this.tracks = [];
  }
}
