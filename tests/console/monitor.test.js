import assert from "node:assert/strict";
import { test } from "node:test";
import { adminOf } from "../../bridge/console/core/admin.js";
import { App } from "../../bridge/console/core/app.js";
import { HubSocket } from "../../bridge/console/core/hub.js";
import { MEASURES, Monitor } from "../../bridge/console/core/monitor.js";
import { FakeClock, FakeSocket, FakeStorage, token } from "./fakes.js";

/** A `monitor-update` of a hub that has been up for some seconds. */
function update(clock, { uptime = 100, messages = 0, events = 0, ...more } = {}) {
  return {
    timestamp: clock.now(),
    rooms: [],
    roomCount: 3,
    onlineUsers: 2,
    stats: { cpu: { usage: 12.5, cores: 2 }, memory: { used: 1, total: 4, percentage: 25 }, disk: { readPerSec: 10, writePerSec: 5, activePercent: 0 }, uptime },
    stations: { known: 9, online: 7 },
    mqtt: { connected: true, messages, malformed: 0, statuses: 0 },
    bridge: { browsers: 2, peers: 3, events, errors: 0 },
    broker: { connections: 7, sessions: 8, retained: 9, queued: 0, bytesReceived: 0, bytesSent: 0, dropped: 0, refused: 0 },
    ...more,
  };
}

function world() {
  const clock = new FakeClock();
  const sockets = [];
  const connect = (url) => (sockets.push(new FakeSocket(url)), sockets.at(-1));
  const socket = new HubSocket({ url: "ws://hub/ws/admin", connect, clock });
  const monitor = new Monitor({ socket, greeting: () => ({ token: "t" }), clock });
  const last = (id) => {
    const point = monitor.reports.runs(id, clock.now()).at(-1)?.at(-1);
    return point?.time === monitor.heard ? point.value : NaN;
  };
  return { clock, sockets, socket, monitor, last };
}

test("it is connected while somebody looks, and some moments more", () => {
  const { clock, sockets, socket, monitor } = world();
  assert.equal(sockets.length, 0);
  const first = monitor.hold();
  sockets[0].welcome();
  assert.deepEqual(sockets[0].sent[0], { event: "auth", data: { token: "t" } });
  first();
  first(); // once is enough
  const second = monitor.hold();
  clock.pass(5_000);
  assert.equal(socket.state, "open");
  assert.equal(sockets.length, 1);
  second();
  clock.pass(5_000);
  assert.equal(socket.state, "closed");
  assert.equal(sockets[0].closed, 1000);
  monitor.hold();
  assert.equal(sockets.length, 2);
});

test("two that look: it stays until the last is gone", () => {
  const { clock, sockets, socket, monitor } = world();
  const ends = [monitor.hold(), monitor.hold()];
  sockets[0].welcome();
  ends[0]();
  clock.pass(10_000);
  assert.equal(socket.state, "open");
  ends[1]();
  clock.pass(10_000);
  assert.equal(socket.state, "closed");
});

test("values are as they come, counters are rates", () => {
  const { clock, sockets, monitor, last } = world();
  monitor.hold();
  sockets[0].welcome();
  assert.equal(monitor.live, false);
  sockets[0].push("monitor-update", update(clock, { messages: 1_000 }));
  assert.equal(monitor.live, true);
  assert.equal(last("cpu"), 12.5);
  assert.equal(last("disk"), 15);
  assert.equal(last("online"), 7);
  assert.equal(last("clients"), 7);
  assert.ok(Number.isNaN(last("messages")));
  clock.pass(2_000);
  sockets[0].push("monitor-update", update(clock, { messages: 1_300, uptime: 102 }));
  assert.equal(last("messages"), 150);
  assert.equal(last("events"), 0);
  assert.equal(monitor.heard, clock.now());
});

test("after a restart of the hub no rate is negative, nor made of two lives", () => {
  const { clock, sockets, monitor, last } = world();
  monitor.hold();
  sockets[0].welcome();
  sockets[0].push("monitor-update", update(clock, { messages: 1_000, events: 5 }));
  clock.pass(2_000);
  // events are past the old count already: only the uptime tells
  sockets[0].push("monitor-update", update(clock, { messages: 10, events: 900, uptime: 1 }));
  assert.ok(Number.isNaN(last("messages")));
  assert.ok(Number.isNaN(last("events")));
  clock.pass(2_000);
  sockets[0].push("monitor-update", update(clock, { messages: 20, events: 902, uptime: 3 }));
  assert.equal(last("messages"), 5);
  assert.equal(last("events"), 1);
});

test("what a hub does not tell leaves gaps, and breaks nothing", () => {
  const { clock, sockets, monitor, last } = world();
  monitor.hold();
  sockets[0].welcome();
  sockets[0].push("monitor-update", update(clock, { broker: null, bridge: undefined, stats: { cpu: { usage: "lots" } } }));
  for (const id of ["clients", "browsers", "events", "cpu", "memory"]) assert.ok(Number.isNaN(last(id)), id);
  assert.equal(last("online"), 7);
});

test("a lost connection is told, comes back, and what was before stays", () => {
  const { clock, sockets, monitor } = world();
  let changes = 0;
  monitor.on("change", () => changes++);
  monitor.hold();
  sockets[0].welcome();
  sockets[0].push("monitor-update", update(clock));
  const before = changes;
  sockets[0].drop();
  assert.ok(changes > before);
  assert.equal(monitor.live, false);
  clock.pass(20_000);
  assert.ok(sockets.length >= 2);
  sockets.at(-1).welcome();
  sockets.at(-1).push("monitor-update", update(clock));
  assert.equal(monitor.reports.runs("online", clock.now()).length, 2);
  assert.equal(monitor.live, true);
});

test("a door that was shut is tried again when the hub welcomes, if somebody looks", () => {
  const { sockets, monitor } = world();
  const end = monitor.hold();
  sockets[0].drop(4401, "FORBIDDEN: Admins only");
  monitor.wake();
  assert.equal(sockets.length, 2);
  sockets[1].drop(4401, "FORBIDDEN: Admins only");
  end();
  monitor.wake();
  assert.equal(sockets.length, 2);
});

test("the models are those of a session: of somebody else's nothing is left", () => {
  const clock = new FakeClock();
  const app = new App({ base: "http://hub/", storage: new FakeStorage(), tables: { en: {} }, languages: [], clock });
  app.hub.connect = (url) => new FakeSocket(url);
  app.session.use(token({ userId: "ann", sessionId: "1" }));
  const ann = adminOf(app);
  ann.monitor.socket.connect = (url) => new FakeSocket(url);
  ann.monitor.hold();
  assert.equal(adminOf(app), ann);
  assert.equal(ann.monitor.socket.url, "ws://hub/ws/admin");
  app.session.use(token({ userId: "bob", sessionId: "2" }));
  assert.equal(ann.monitor.socket.state, "closed");
  const bob = adminOf(app);
  assert.notEqual(bob, ann);
  assert.equal(adminOf(app), bob);
});
