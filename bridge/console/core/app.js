/** The models of the console, wired together: no page knows how another thing of the hub is reached. */
import { Calls } from "./calls.js";
import { Client } from "./client.js";
import { Commands } from "./commands.js";
import { Fleet } from "./fleet.js";
import { History } from "./history.js";
import { IceServers } from "./ice.js";
import { Journal } from "./journal.js";
import { HubTime } from "./hub-time.js";
import { Line } from "./line.js";
import { Streams } from "./streams.js";

const RANK = { viewer: 0, operator: 1, admin: 2 };

/** Everything that a page of the console needs. */
export class App extends Client {
  /** @param {any} options as of Client, and `devices`: cameras and microphones, `navigator.mediaDevices`. */
  constructor({ devices, ...options }) {
    super(options);
    const { hub, api, clock } = this;
    const time = (this.time = new HubTime({ hub, clock }));
    this.fleet = new Fleet({ hub, api, time, clock });
    this.history = new History({ fleet: this.fleet, api, time, clock });
    this.journal = new Journal({ hub, fleet: this.fleet, time });
    const ice = new IceServers({ api, clock });
    this.streams = new Streams({ hub, clock, ice, journal: this.journal });
    this.commands = new Commands({ api, clock, journal: this.journal });
    this.calls = new Calls({ hub, time, clock, storage: options.storage });
    this.line = new Line({ hub, calls: this.calls, ice, devices, clock });
    this.models = [this.line, this.calls, this.streams, ice, this.history, this.journal, this.fleet];
  }

  stored() {
    super.stored();
    this.calls.stored();
  }

  greeting() {
    return this.fleet.greeting();
  }

  /** The least role that who is signed in has at the hub. */
  get role() {
    return this.hub.welcome?.role ?? this.session.claims?.role ?? "viewer";
  }

  /** Whether who is signed in may do what a role may. */
  may(role) {
    return (RANK[this.role] ?? -1) >= RANK[role];
  }
}
