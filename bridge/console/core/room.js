/** One call in a room of the hub: who invites, who joins, who offers to whom, and how it ends. */
import { Emitter } from "../lib/emitter.js";
import { stopMedia } from "./media.js";
import { Peering } from "./peering.js";
import { Timers } from "./timers.js";

/** Milliseconds from the invitation, or from joining, until somebody is there. */
export const COMES_WITHIN = 30_000;
/** Milliseconds from an offer until picture and sound go through. */
export const CONNECTS_WITHIN = 20_000;
const MAX_PEERS = 6;
const MAX_EARLY = 64;
const FIELDS = { offer: "offer", answer: "answer", "ice-candidate": "candidate" };

/**
 * A call. Once it ended it stays so; another one is another call.
 *
 * States: `preparing` (camera and microphone), `inviting`, `connecting`, `talking`, `ended`. Emits `change`.
 *
 * `reason`, of an end: `hung-up` here; `left`: the others are gone; `nobody` came; `unconnected`: no way was found between the two; `lost`: a
 * way broke; `refused` by the hub, which `error` tells; `elsewhere`: somebody else answered that station meanwhile.
 * `signaling`: false where this call can hear of the hub no more: its pictures go on. `problem`: of the own camera, see core/media.js.
 */
export class RoomCall extends Emitter {
  state = "preparing";
  reason = null;
  error = null;
  signaling = true;
  startedAt = null;
  stream = null;
  problem = null;
  roomId = null;
  muted = false;
  hidden = false;
  /** @type {Map<string, Peering>} */
  peers = new Map();
  #members = new Set();
  #early = null;
  #timers;
  #ends = [];
  #ice = [];

  /**
   * @param {object} options
   * @param {string} options.stationId who is called; of a station: itself.
   * @param {import("./hub.js").HubSocket} options.hub
   * @param {any} options.clock
   * @param {(configuration: any) => RTCPeerConnection} options.makePeer
   * @param {() => Promise<any[]>} options.iceServers never fails.
   * @param {() => Promise<{stream: MediaStream | null, problem: string | null}>} options.openMedia never fails; the stream's tracks are this call's to stop.
   */
  constructor(options) {
    super();
    Object.assign(this, options);
    this.#timers = new Timers(this.clock);
    this.#listen();
  }

  get over() {
    return this.state === "ended";
  }

  /** Who can be seen and heard. */
  get others() {
    return [...this.peers.values()];
  }

  /** Whether a connection is interrupted just now. */
  get troubled() {
    return this.others.some((peer) => peer.troubled);
  }

  /** Makes a room and invites the station. Never fails: the state tells. */
  async invite() {
    if (!(await this.#prepare())) return;
    this.#set("inviting");
    try {
      const { roomId } = await this.hub.request("create-room");
      this.roomId = roomId;
      if (this.over) return this.#leave();
      await this.hub.request("station-invite", { stationId: this.stationId, roomId });
    } catch (error) {
      return this.end("refused", error);
    }
    // it may have come already
    if (this.state === "inviting") this.#after("nobody", COMES_WITHIN);
  }

  /** Joins a room that somebody else made. Never fails. */
  async join(roomId) {
    this.#early = [];
    if (!(await this.#prepare())) return;
    this.roomId = roomId;
    this.#set("connecting");
    this.#after("nobody", COMES_WITHIN);
    try {
      const { peers } = await this.hub.request("join-room", { roomId });
      if (this.over) return this.#leave();
      for (const peerId of peers) this.#members.add(peerId);
    } catch (error) {
      return this.end("refused", error);
    }
    const early = this.#early;
    this.#early = null;
    for (const signal of early) this.#signaled(...signal);
  }

  async #prepare() {
    const [{ stream, problem }, ice] = await Promise.all([this.openMedia(), this.iceServers()]);
    this.#ice = ice;
    if (this.over) {
      stopMedia(stream);
      return false;
    }
    Object.assign(this, { stream, problem });
    this.#showMuted();
    return true;
  }

  // ---- what the hub says

  #listen() {
    const { hub } = this;
    const on = (event, listener) => this.#ends.push(hub.on(event, listener));
    on("peer-joined", ({ peerId }) => this.#joined(peerId));
    on("peer-left", ({ peerId }) => this.#left(peerId));
    on("peer-disconnected", ({ peerId }) => this.#left(peerId));
    for (const [event, field] of Object.entries(FIELDS)) on(event, (data) => this.#signaled(event, data.from, data[field]));
    on("station-call-answered", ({ stationId, by }) => this.#answered(stationId, by));
    on("station-disconnected", ({ stationId }) => this.state === "inviting" && stationId === this.stationId && this.end("nobody"));
    on("state", (state) => state !== "open" && this.#cut());
  }

  /** Two accepted at one moment: the hub says who was first. */
  #answered(stationId, by) {
    const calling = this.#early === null && (this.state === "preparing" || this.state === "inviting");
    if (calling && stationId === this.stationId && by !== this.hub.welcome?.peerId) this.end("elsewhere");
  }

  /** Rooms are of a connection to the hub: that which begins next is not in this one. */
  #cut() {
    this.signaling = false;
    if (this.state === "talking") this.emit("change");
    else this.end("lost");
  }

  #joined(peerId) {
    if (this.state === "preparing" || this.over || !this.signaling) return;
    this.#members.add(peerId);
    if (this.peers.has(peerId) || this.peers.size >= MAX_PEERS) return;
    this.#peer(peerId)?.offer();
  }

  #left(peerId) {
    if (!this.#members.delete(peerId)) return;
    this.peers.get(peerId)?.orphan();
  }

  #signaled(event, from, content) {
    if (this.over) return;
    if (this.#early) return void (this.#early.length < MAX_EARLY && this.#early.push([event, from, content]));
    let peer = this.peers.get(from);
    if (event === "ice-candidate") return peer?.candidate(content ?? {});
    if (typeof content?.sdp !== "string") return;
    if (event === "answer") return void peer?.takeAnswer(content);
    // this page asks stations for streams too: not everybody who may signal is in the room
    if (!peer && (!this.#members.has(from) || this.peers.size >= MAX_PEERS)) return;
    peer ??= this.#peer(from);
    peer?.takeOffer(content);
  }

  // ---- those in the room

  #peer(peerId) {
    const { clock, stream } = this;
    const pc = this.#connection();
    if (pc === null) return null;
    const own = stream?.getTracks() ?? [];
    const peer = new Peering({ peerId, clock, pc, own, stream, signal: (event, content) => this.#signal(peer, event, content) });
    this.peers.set(peerId, peer);
    this.#timers.clear("nobody");
    peer.on("tracks", () => this.emit("change"));
    peer.on("connected", () => this.#connected());
    peer.on("trouble", (troubled) => {
      peer.troubled = troubled;
      this.emit("change");
    });
    peer.on("orphaned", () => {
      this.signaling = false;
      this.emit("change");
    });
    peer.on("over", (reason) => this.#gone(peer, reason));
    if (this.state !== "talking") {
      this.#after("unconnected", CONNECTS_WITHIN);
      this.#set("connecting");
    }
    return peer;
  }

  /** A browser without WebRTC, or one that does not take the hub's servers, makes none: the call is over. */
  #connection() {
    try {
      return this.makePeer({ iceServers: this.#ice });
    } catch {
      this.end("unconnected");
      return null;
    }
  }

  #signal(peer, event, content) {
    if (!this.signaling || peer.over) return;
    const data = { to: peer.peerId, [FIELDS[event]]: content };
    if (event === "ice-candidate") return this.hub.send(event, data);
    // the hub knows it no more: it left, or was never here
    this.hub.request(event, data).catch(() => !peer.connected && this.#gone(peer, "left"));
  }

  #connected() {
    this.#timers.clear("unconnected");
    if (this.state === "talking") return;
    this.startedAt = this.clock.now();
    this.#set("talking");
  }

  #gone(peer, reason) {
    if (this.peers.get(peer.peerId) !== peer) return;
    peer.close();
    this.peers.delete(peer.peerId);
    if (this.peers.size === 0 && !this.over) this.end(reason === "left" ? "left" : this.startedAt === null ? "unconnected" : "lost");
    else this.emit("change");
  }

  // ---- what people do

  /** The microphone is heard no more, or again. */
  mute(muted) {
    this.muted = muted;
    this.#showMuted();
    this.emit("change");
  }

  /** The camera is seen no more, or again. */
  hide(hidden) {
    this.hidden = hidden;
    this.#showMuted();
    this.emit("change");
  }

  #showMuted() {
    for (const track of this.stream?.getTracks() ?? []) track.enabled = track.kind === "audio" ? !this.muted : !this.hidden;
  }

  /** Whether there is an own track of a kind: `audio`, `video`. */
  has(kind) {
    return Boolean(this.stream?.getTracks().some((track) => track.kind === kind));
  }

  /** Another track of this browser, such as of another camera; this call's to stop. */
  replace(track) {
    const old = this.stream?.getTracks().find((one) => one.kind === track.kind);
    if (!old || this.over) return track.stop();
    this.stream.removeTrack(old);
    this.stream.addTrack(track);
    old.stop();
    this.#showMuted();
    for (const peer of this.peers.values()) peer.replace(track);
    this.emit("change");
  }

  /** Hangs up. */
  hangUp() {
    this.end("hung-up");
  }

  /** It ends. */
  end(reason, error = null) {
    if (this.over) return;
    Object.assign(this, { reason, error, endedAt: this.clock.now() });
    for (const end of this.#ends.splice(0)) end();
    this.#timers.clearAll();
    this.#leave();
    for (const peer of this.peers.values()) peer.close();
    this.peers.clear();
    stopMedia(this.stream);
    this.stream = null;
    this.#set("ended");
  }

  #leave() {
    if (this.roomId !== null && this.signaling) this.hub.send("leave-room", { roomId: this.roomId });
  }

  #after(reason, ms) {
    this.#timers.after(reason, ms, () => this.end(reason));
  }

  #set(state) {
    this.state = state;
    this.emit("change");
  }
}
