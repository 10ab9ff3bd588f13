/** The streams that are watched on this page. */
import { Emitter } from "../lib/emitter.js";
import { browserClock } from "./hub.js";
import { Stream } from "./stream.js";

/** The hub remembers so many cameras of a station that a browser asked for; more than a page can show at once. */
const MAX_STREAMS = 16;
/** A station that nobody looks at: a page that is built anew for another language is back at once. */
const LEFT_AFTER = 50;

/**
 * All streams. Those of a station end when nobody holds it any more.
 *
 * Emits `change` (stream) whenever one changes, `open` included.
 */
export class Streams extends Emitter {
  /** @type {Map<string, Stream>} */
  #streams = new Map();
  #holders = new Map();

  /**
   * @param {object} options
   * @param {import("./hub.js").HubSocket} options.hub
   * @param {import("./journal.js").Journal} options.journal
   * @param {import("./ice.js").IceServers} options.ice
   * @param {(configuration: any) => RTCPeerConnection} [options.makePeer]
   */
  constructor({ hub, journal, ice, clock = browserClock, makePeer = (configuration) => new RTCPeerConnection(configuration) }) {
    super();
    Object.assign(this, { hub, journal, clock, ice, makePeer });
    hub.on("station-stream-ready", (answer) => this.get(answer.stationId, answer.cameraId)?.answered(answer));
    hub.on("ice-candidate", ({ from, candidate }) => {
      for (const stream of this.#streams.values()) stream.candidate(from, candidate);
    });
    hub.on("state", (state) => {
      if (state !== "open") for (const stream of this.#streams.values()) stream.hubLost();
    });
  }

  /** The stream of a camera; undefined: nobody asked for one, or it was closed. */
  get(stationId, cameraId) {
    return this.#streams.get(keyOf(stationId, cameraId));
  }

  /** Of one station. */
  of(stationId) {
    return [...this.#streams.values()].filter((stream) => stream.stationId === stationId);
  }

  /** Whether there may be one more. */
  get room() {
    return this.#streams.size < MAX_STREAMS;
  }

  /** The stream of a camera, from now on; one that failed is tried again. */
  open(stationId, cameraId) {
    const key = keyOf(stationId, cameraId);
    const old = this.#streams.get(key);
    if (old && !old.over) return old;
    old?.close();
    const { hub, clock, ice, makePeer } = this;
    const stream = new Stream({ stationId, cameraId, hub, clock, ice, makePeer });
    this.#streams.set(key, stream);
    this.#write(stream);
    stream.on("change", () => {
      if (stream.state === "closed") this.#streams.delete(key);
      this.emit("change", stream);
    });
    this.emit("change", stream);
    stream.start();
    return stream;
  }

  /**
   * Somebody looks at a station.
   * @returns {() => void} not any more.
   */
  hold(stationId) {
    const holders = this.#holders;
    holders.set(stationId, (holders.get(stationId) ?? 0) + 1);
    return () => {
      holders.set(stationId, holders.get(stationId) - 1);
      this.clock.setTimeout(() => {
        if (holders.get(stationId)) return;
        holders.delete(stationId);
        for (const stream of this.of(stationId)) stream.close();
      }, LEFT_AFTER);
    };
  }

  /** Ends all: somebody signs out. */
  clear() {
    for (const stream of [...this.#streams.values()]) stream.close();
  }

  /** Writes into the journal how it goes. */
  #write(stream) {
    const entry = this.journal.add(stream.stationId, "stream", { cameraId: stream.cameraId, state: stream.state });
    stream.on("change", () => {
      if (entry.details.state === stream.state) return;
      this.journal.tell(entry, { state: stream.state, reason: stream.reason });
    });
  }
}

const keyOf = (stationId, cameraId) => `${stationId}\n${cameraId}`;
