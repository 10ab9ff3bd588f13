/** What admins see of the hub: `monitor-update` of its door for admins, as it is and over the last minutes. */
import { Emitter } from "../lib/emitter.js";
import { browserClock, HubSocket } from "./hub.js";
import { Rate } from "./rate.js";
import { Reports } from "./reports.js";

/** Milliseconds between two updates. */
const EVERY = 2_000;
/** Milliseconds after which the connection ends when nobody looks any more: from one admin page to the next it stays. */
const CLOSE_AFTER = 1_500;

const bytes = (first, second) => (update) => first(update) + second(update);

/**
 * What is measured: `of` gives the value from an update, `count` a counter that is shown as a rate.
 * `unit`: `count`, `percent`, `bytes` (a second) or `rate`.
 */
export const MEASURES = Object.freeze([
  { id: "cpu", group: "machine", unit: "percent", of: ({ stats }) => stats.cpu.usage },
  { id: "memory", group: "machine", unit: "percent", of: ({ stats }) => stats.memory.percentage },
  { id: "disk", group: "machine", unit: "bytes", of: bytes(({ stats }) => stats.disk.readPerSec, ({ stats }) => stats.disk.writePerSec) },
  { id: "online", group: "fleet", unit: "count", of: ({ stations }) => stations.online },
  { id: "browsers", group: "fleet", unit: "count", of: ({ bridge }) => bridge.browsers },
  { id: "peers", group: "fleet", unit: "count", of: ({ bridge }) => bridge.peers },
  { id: "rooms", group: "fleet", unit: "count", of: ({ roomCount }) => roomCount },
  { id: "messages", group: "traffic", unit: "rate", count: ({ mqtt }) => mqtt.messages },
  { id: "statuses", group: "traffic", unit: "rate", count: ({ mqtt }) => mqtt.statuses },
  { id: "malformed", group: "traffic", unit: "rate", count: ({ mqtt }) => mqtt.malformed },
  { id: "events", group: "traffic", unit: "rate", count: ({ bridge }) => bridge.events },
  { id: "errors", group: "traffic", unit: "rate", count: ({ bridge }) => bridge.errors },
  { id: "clients", group: "broker", unit: "count", of: ({ broker }) => broker.connections },
  { id: "sessions", group: "broker", unit: "count", of: ({ broker }) => broker.sessions },
  { id: "retained", group: "broker", unit: "count", of: ({ broker }) => broker.retained },
  { id: "queued", group: "broker", unit: "count", of: ({ broker }) => broker.queued },
  { id: "received", group: "broker", unit: "bytes", count: ({ broker }) => broker.bytesReceived },
  { id: "sent", group: "broker", unit: "bytes", count: ({ broker }) => broker.bytesSent },
  { id: "dropped", group: "broker", unit: "rate", count: ({ broker }) => broker.dropped },
  { id: "refused", group: "broker", unit: "rate", count: ({ broker }) => broker.refused },
]);

/** What an older hub, or one without a broker of its own, does not tell, is not known: no number rather than no page. */
function ask(of, update) {
  try {
    return of(update);
  } catch {
    return NaN;
  }
}

/**
 * The monitor. Emits `change` after each update, and when the connection's state changed.
 *
 * `update`: the newest; null: none yet. `heard`: when it came, milliseconds. `reports`: a series for each measure's id.
 */
export class Monitor extends Emitter {
  update = null;
  heard = 0;
  reports = new Reports({ interval: EVERY });
  #holders = 0;
  #closing = null;
  #rates = new Map();

  /**
   * @param {object} options
   * @param {HubSocket} options.socket of the door `ws/admin`.
   * @param {() => object} options.greeting what its first frame says.
   */
  constructor({ socket, greeting, clock = browserClock }) {
    super();
    Object.assign(this, { socket, greeting, clock });
    for (const { id, count } of MEASURES) if (count) this.#rates.set(id, new Rate());
    socket.on("monitor-update", (update) => this.#took(update));
    socket.on("state", () => this.emit("change"));
  }

  /** Whether what it shows is of now. */
  get live() {
    return this.socket.state === "open" && this.update !== null;
  }

  /**
   * Somebody looks: it connects.
   * @returns {() => void} nobody looks any more.
   */
  hold() {
    this.#holders++;
    if (this.#closing !== null) this.clock.clearTimeout(this.#closing);
    this.#closing = null;
    this.wake();
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      if (--this.#holders === 0) this.#closing ??= this.clock.setTimeout(() => this.close(), CLOSE_AFTER);
    };
  }

  /** The hub is there: the door is tried now, if somebody looks. */
  wake() {
    if (this.#holders === 0) return;
    if (this.socket.state === "closed") this.socket.open(this.greeting);
    else this.socket.retry();
  }

  /** Ends the connection, whoever looks. */
  close() {
    if (this.#closing !== null) this.clock.clearTimeout(this.#closing);
    this.#closing = null;
    this.socket.close();
  }

  #took(update) {
    const before = this.update?.stats?.uptime;
    // another process: its counters began anew, even those that are past the old ones already
    if (typeof before === "number" && update?.stats?.uptime < before) for (const rate of this.#rates.values()) rate.reset();
    this.update = update;
    this.heard = this.clock.now();
    const place = this.reports.add(this.heard);
    for (const { id, of, count } of MEASURES) {
      this.reports.set(place, id, count ? this.#rates.get(id).next(update.timestamp, ask(count, update)) : ask(of, update));
    }
    this.emit("change");
  }
}
