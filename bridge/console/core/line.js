/** The one call that this page takes part in. */
import { Emitter } from "../lib/emitter.js";
import { browserClock } from "./hub.js";
import { openMedia } from "./media.js";
import { RoomCall } from "./room.js";

/** Emits `change` whenever the call does, or another takes its place. */
export class Line extends Emitter {
  /** @type {RoomCall | null} the call, or the one that ended last, until it is put away. */
  call = null;

  /**
   * @param {object} options
   * @param {import("./hub.js").HubSocket} options.hub
   * @param {import("./calls.js").Calls} options.calls
   * @param {import("./ice.js").IceServers} options.ice
   * @param {MediaDevices | undefined} options.devices
   * @param {(configuration: any) => RTCPeerConnection} [options.makePeer]
   */
  constructor({ hub, calls, ice, devices, clock = browserClock, makePeer = (configuration) => new RTCPeerConnection(configuration) }) {
    super();
    Object.assign(this, { hub, calls, ice, devices, clock, makePeer });
  }

  /** Whether somebody is being called or spoken with. */
  get busy() {
    return this.call !== null && !this.call.over;
  }

  /** Calls a station, whether or not it called first. A call that goes on is hung up. */
  start(stationId) {
    const before = this.call;
    this.call = null; // that it ends is no news: another one begins
    before?.hangUp();
    this.calls.accept(stationId);
    const { hub, clock, makePeer, devices } = this;
    const call = new RoomCall({ stationId, hub, clock, makePeer, iceServers: () => this.ice.get(), openMedia: () => openMedia(devices) });
    this.call = call;
    call.on("change", () => {
      if (this.call !== call) return;
      if (call.reason === "elsewhere") this.calls.elsewhere(stationId);
      this.emit("change");
    });
    this.emit("change");
    call.invite();
    return call;
  }

  /** A call that ended is looked at no more. */
  dismiss() {
    if (this.busy) return;
    this.call = null;
    this.emit("change");
  }

  /** Ends everything: somebody signs out. */
  clear() {
    this.call?.hangUp();
    this.call = null;
    this.emit("change");
  }
}
