/** A browser as a station: it registers, reports how it is, calls, and does what the hub asks of a station. */
import { Emitter } from "../lib/emitter.js";
import { RoomCall } from "./room.js";
import { Senders } from "./senders.js";
import { Timers } from "./timers.js";

const STATUS_EVERY = 5_000;
/** Milliseconds until a refused registration is tried again: whoever holds the station may have gone. */
const AGAIN_AFTER = 10_000;
export const CALLS_FOR = 60_000;
export const IDENTIFIES_FOR = 6_000;
const MAX_COMMANDS = 200;
/** What will not become better by trying. */
const FINAL = new Set(["FORBIDDEN", "INVALID_ARGUMENT", "UNAUTHORIZED"]);

/**
 * The station. Emits `change`, and `identify` when somebody wants to know which one it is.
 *
 * `registration`: `waiting` for the hub, `registering`, `registered`, `refused` (`refusal`: why), `taken` by another page, of this browser or elsewhere.
 * `calling`: since when it calls and nobody came, null: it does not; `unanswered`: nobody came to the last call.
 */
export class EdgeStation extends Emitter {
  registration = "waiting";
  refusal = null;
  calling = null;
  unanswered = false;
  /** @type {RoomCall | null} */
  call = null;
  reported = null;
  #timers;
  #known = new Set();

  /**
   * @param {object} options
   * @param {string} options.stationId
   * @param {import("./hub.js").HubSocket} options.hub
   * @param {any} options.clock
   * @param {import("./ice.js").IceServers} options.ice
   * @param {import("./own-camera.js").OwnCamera} options.camera
   * @param {() => any[]} options.devices what it reports: the devices of a status.
   * @param {any} [options.channel] to other tabs, such as a BroadcastChannel.
   * @param {(configuration: any) => RTCPeerConnection} [options.makePeer]
   */
  constructor({ stationId, hub, clock, ice, camera, devices, channel = null, makePeer = (configuration) => new RTCPeerConnection(configuration) }) {
    super();
    Object.assign(this, { stationId, hub, clock, ice, camera, devices, channel, makePeer });
    this.#timers = new Timers(clock);
    this.senders = new Senders({ hub, clock, makePeer, iceServers: () => ice.get(), lend: () => camera.lend({ sound: false }) });
    this.senders.on("change", () => this.emit("change"));
    camera.on("track", (track) => this.#shows(track));
    camera.on("change", () => this.report());
    this.#listen();
  }

  #listen() {
    const { hub, channel } = this;
    hub.on("welcome", () => this.register());
    hub.on("state", (state) => state !== "open" && this.registration !== "taken" && this.#registered("waiting"));
    hub.on("station-cmd-join-room", ({ roomId }) => this.#invited(roomId));
    hub.on("station-cmd-start-stream", (request) => this.senders.start(request));
    hub.on("cmd-report-status", () => this.report());
    hub.on("station-command", (command) => this.#commanded(command));
    hub.on("station-replaced", ({ stationId }) => stationId === this.stationId && this.#takenOver());
    if (channel) channel.onmessage = ({ data }) => data === this.stationId && this.#takenOver();
  }

  // ---- being there

  /** Says which station this is. Never fails: `registration` tells. */
  async register() {
    this.#timers.clear("again");
    this.#registered("registering");
    try {
      await this.hub.request("station-register", { stationId: this.stationId });
    } catch (error) {
      if (this.hub.state !== "open") return;
      this.refusal = error;
      this.#registered("refused");
      if (!FINAL.has(error.code)) this.#timers.after("again", AGAIN_AFTER, () => this.register());
      return;
    }
    this.channel?.postMessage(this.stationId);
    this.#registered("registered");
    this.report();
    // whoever was calling when the hub went away still wants to speak with somebody
    if (this.calling !== null) this.#callCenter();
  }

  #registered(registration) {
    this.registration = registration;
    if (registration !== "refused") this.refusal = null;
    if (registration !== "registered") this.#timers.clear("status");
    this.emit("change");
  }

  /** The newest page is the station; two at once would answer each other's calls. */
  #takenOver() {
    if (this.registration === "taken") return;
    this.registration = "taken";
    this.clear();
    this.hub.close();
    this.emit("change");
  }

  /** This tab may be the station again. */
  takeBack() {
    if (this.registration === "taken") this.#registered("waiting");
  }

  /** Says how it is, now and every few seconds. */
  report() {
    if (this.registration !== "registered") return;
    // without a time of its own: the clock of a browser may be wrong, and then nobody would see it
    this.hub.send("station-status-update", { stationId: this.stationId, devices: this.devices() });
    this.reported = this.clock.now();
    this.#timers.after("status", STATUS_EVERY, () => this.report());
    this.emit("change");
  }

  // ---- calling

  /** Calls the centre. */
  callCenter() {
    if (this.registration !== "registered" || this.calling !== null || this.talking) return;
    this.calling = this.clock.now();
    this.unanswered = false;
    this.#timers.after("calling", CALLS_FOR, () => this.#stopCalling(true));
    this.emit("change");
    this.#callCenter();
  }

  async #callCenter() {
    try {
      await this.hub.request("station-call-center", { stationId: this.stationId });
    } catch (error) {
      if (this.hub.state !== "open") return; // it calls again when it is back
      this.#stopCalling(false);
      this.emit("failed", error);
    }
  }

  #stopCalling(unanswered) {
    this.#timers.clear("calling");
    this.calling = null;
    this.unanswered = unanswered;
    this.emit("change");
  }

  /** Whether somebody is spoken with. */
  get talking() {
    return this.call !== null && !this.call.over;
  }

  #invited(roomId) {
    if (typeof roomId !== "string") return;
    // one that the hub knows nothing of any more gives way: whoever spoke there may be calling again
    if (this.talking && this.call.signaling) return this.#decline(roomId);
    this.call?.hangUp();
    this.#stopCalling(false);
    const { hub, clock, makePeer, stationId, camera } = this;
    const openMedia = async () => ({ stream: camera.lend({ sound: true }), problem: camera.heard ? null : camera.problem });
    const call = new RoomCall({ stationId, hub, clock, makePeer, iceServers: () => this.ice.get(), openMedia });
    this.call = call;
    call.on("change", () => this.call === call && this.emit("change"));
    this.emit("change");
    call.join(roomId);
  }

  /** Whoever invites hears that it was here, and is gone: not only that nobody came. */
  async #decline(roomId) {
    if (roomId === this.call.roomId) return;
    await this.hub.request("join-room", { roomId }).catch(() => {});
    this.hub.send("leave-room", { roomId });
  }

  /** A call that ended is looked at no more. */
  dismiss() {
    if (this.talking) return;
    this.call = null;
    this.emit("change");
  }

  #shows(track) {
    if (!track) return;
    this.senders.replace(track);
    if (this.talking) this.call.replace(track.clone());
  }

  // ---- commands

  #commanded({ id, type, params, requesterId }) {
    if (typeof id !== "string") return;
    if (this.#known.has(id)) return this.#reply(id, { stage: "duplicate" });
    if (this.#known.size >= MAX_COMMANDS) this.#known.delete(this.#known.values().next().value);
    this.#known.add(id);
    try {
      this.#reply(id, { stage: "done", result: this.#carryOut(type, params, requesterId) });
    } catch (error) {
      this.#reply(id, { stage: "error", error: error.message });
    }
  }

  #carryOut(type, params, requesterId) {
    switch (type) {
      case "identify":
        this.emit("identify");
        return { identified: true };
      case "stop-stream":
        this.senders.stop(requesterId, params?.cameraId);
        return { stopped: true };
      default:
        throw new Error("unknown command");
    }
  }

  #reply(id, reply) {
    this.hub.send("station-command-reply", { id, ...reply });
  }

  /** Ends everything: somebody signs out. What another tab took stays with it. */
  clear() {
    this.call?.hangUp();
    this.call = null;
    this.senders.clear();
    this.#timers.clearAll();
    Object.assign(this, { calling: null, unanswered: false, reported: null });
    if (this.registration === "taken") this.emit("change");
    else this.#registered("waiting");
  }
}
