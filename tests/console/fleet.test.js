import assert from "node:assert/strict";
import { test } from "node:test";
import { Emitter } from "../../bridge/console/lib/emitter.js";
import { Fleet } from "../../bridge/console/core/fleet.js";
import { HubTime } from "../../bridge/console/core/hub-time.js";
import { worstOf } from "../../bridge/console/core/states.js";
import { FakeClock, settle } from "./fakes.js";

class FakeHub extends Emitter {
  state = "open";
  asked = [];
  refuses = false;

  constructor(clock) {
    super();
    this.clock = clock;
    this.ahead = 0;
  }

  welcome() {
    this.emit("welcome", {});
    this.emit("pong", { pong: true, ts: this.clock.now() - this.ahead }, this.clock.now());
  }

  async request(event, data) {
    this.asked.push([event, data]);
    if (this.refuses) throw new Error("RESOURCE_EXHAUSTED: Too many events");
  }
}

/** The hub's list; each request for it waits until the test answers it. */
class FakeApi {
  waiting = [];

  all(path, query) {
    assert.deepEqual([path, query], ["stations", { status: false }]);
    return new Promise((resolve, reject) => this.waiting.push({ resolve, reject }));
  }

  async answer(...items) {
    this.waiting.shift().resolve(items);
    await settle();
  }

  async fail() {
    this.waiting.shift().reject(new Error("no"));
    await settle();
  }
}

test("a name of blanks and marks alone is none", async () => {
  const { fleet } = await fleetOf(item("st-1", "online", { name: " \u202e\u200b " }), item("st-2", "online", { name: "夜 gate" }));
  assert.deepEqual([...fleet.stations.values()].map((station) => station.name), ["", "夜 gate"]);
});

const item = (stationId, state = "online", more = {}) => ({ stationId, name: "", location: "", tags: [], cameras: [], registered: true, presence: { state, since: 5, via: "mqtt" }, ...more });

async function fleetOf(...items) {
  const clock = new FakeClock();
  const hub = new FakeHub(clock);
  const api = new FakeApi();
  const time = new HubTime({ hub, clock });
  const fleet = new Fleet({ hub, api, time, clock });
  const changes = [];
  fleet.on("change", (ids) => changes.push(ids && [...ids].join(" ")));
  if (items.length) {
    hub.welcome();
    await api.answer(...items);
    changes.length = 0;
  }
  return { hub, api, clock, time, fleet, changes };
}

test("the list is read at each connection; counts tell how each is", async () => {
  const { hub, api, fleet } = await fleetOf(item("a", "online", { tags: ["x", "y"] }), item("b", "offline", { tags: ["x"] }));
  assert.deepEqual(fleet.counts(), { gone: 1, error: 0, offline: 0, warning: 0, online: 1 });
  assert.deepEqual(fleet.tags(), ["x", "y"]);
  hub.emit("batch-station-state-update", [{ stationId: "a", state: "error" }, { stationId: "b", state: "warning" }]);
  assert.deepEqual(fleet.counts(), { gone: 1, error: 1, offline: 0, warning: 0, online: 0 });
  hub.emit("welcome", {});
  await api.answer(item("a"), item("b"));
  assert.deepEqual(fleet.counts(), { gone: 0, error: 1, offline: 0, warning: 1, online: 0 });
});

test("a list that cannot be read is told, and read again at the next connection", async () => {
  const { hub, api, fleet } = await fleetOf();
  hub.emit("welcome", {});
  await api.fail();
  assert.deepEqual([fleet.loaded, fleet.error.message], [false, "no"]);
  hub.emit("welcome", {});
  await api.answer(item("a"));
  assert.deepEqual([fleet.loaded, fleet.error, fleet.stations.size], [true, null, 1]);
  fleet.load();
  fleet.load();
  assert.equal(api.waiting.length, 1);
  await api.fail();
  assert.deepEqual([fleet.loaded, fleet.error.message, fleet.stations.size], [true, "no", 1]);
});

test("the list is read again when it is old and the hub is there", async () => {
  const { hub, api, fleet, clock } = await fleetOf(item("a"), item("b"));
  fleet.refresh(5_000);
  clock.pass(4_999);
  fleet.refresh(5_000);
  assert.equal(api.waiting.length, 0);
  clock.pass(1);
  hub.state = "waiting";
  fleet.refresh(5_000);
  assert.equal(api.waiting.length, 0);
  hub.state = "open";
  fleet.refresh(5_000);
  fleet.refresh(5_000);
  assert.equal(api.waiting.length, 1);
  await api.answer(item("b", "online", { name: "Renamed" }));
  assert.deepEqual([...fleet.stations.values()].map(({ id, name }) => [id, name]), [["b", "Renamed"]]);
});

test("presence that is pushed while the list is on its way is newer than the list", async () => {
  const { hub, api, fleet, clock } = await fleetOf(item("a"), item("b", "offline"));
  fleet.load();
  hub.emit("station-disconnected", { stationId: "a" });
  hub.emit("station-connected", { stationId: "new" });
  await api.answer(item("a"), item("b", "offline"));
  assert.equal(fleet.stations.get("a").state, "gone");
  assert.equal(fleet.stations.get("a").since, clock.now());
  assert.equal(fleet.stations.get("new").state, "online");
});

test("a list of a connection that was lost, or for somebody else, comes too late", async () => {
  const { hub, api, fleet } = await fleetOf();
  hub.emit("welcome", {});
  hub.emit("welcome", {});
  const [first, second] = api.waiting;
  second.resolve([item("b")]);
  await settle();
  first.resolve([item("a")]);
  await settle();
  assert.deepEqual([...fleet.stations.keys()], ["b"]);
  fleet.load();
  fleet.clear();
  api.waiting.at(-1).resolve([item("secret")]);
  await settle();
  assert.deepEqual([fleet.stations.size, fleet.loaded], [0, false]);
});

test("a station that is new here is shown, and asked about once; not after signing out", async () => {
  const { hub, api, clock, fleet, changes } = await fleetOf(item("a"));
  hub.emit("batch-station-status-update", [{ stationId: "n1", devices: [] }, { stationId: "n2", devices: [] }, { stationId: "a", devices: [] }]);
  hub.emit("station-connected", { stationId: "n1" });
  assert.deepEqual(changes, [null, "n1"]);
  clock.pass(5_000);
  assert.equal(api.waiting.length, 1);
  await api.answer(item("a"), item("n1", "online", { name: "New" }));
  assert.equal(fleet.stations.get("n1").name, "New");
  hub.emit("station-connected", { stationId: "n3" });
  fleet.clear();
  clock.pass(60_000);
  assert.equal(api.waiting.length, 0);
});

test("a status tells how the station is; how it is connected counts more", async () => {
  const { hub, fleet, clock } = await fleetOf(item("a"));
  const heard = [];
  fleet.on("status", (station) => heard.push(station.id));
  hub.emit("batch-station-status-update", [{ stationId: "a", updatedAt: clock.now(), devices: [{ status: "warning" }, { status: "offline" }] }]);
  const a = fleet.stations.get("a");
  assert.deepEqual([a.state, heard], ["offline", ["a"]]);
  clock.pass(1_000);
  hub.emit("station-disconnected", { stationId: "a" });
  assert.deepEqual([a.state, a.since, a.via], ["gone", clock.now(), null]);
  hub.emit("station-connected", { stationId: "a" });
  assert.equal(a.state, "offline");
  for (const [states, worst] of [[["online", "warning"], "warning"], [["error", "offline"], "error"], [[], "online"], [["?"], "online"]]) {
    assert.equal(worstOf({ devices: states.map((status) => ({ status })) }), worst);
  }
  assert.equal(worstOf({}), "online");
});

test("a status is as old as it says, whatever this page's clock is; one that is repeated does not become new", async () => {
  const { hub, api, fleet, clock, time } = await fleetOf();
  const skew = (hub.ahead = 3_600_000);
  const say = (stationId, age) => hub.emit("batch-station-status-update", [{ stationId, updatedAt: clock.now() - skew - age, devices: [] }]);
  hub.emit("welcome", {});
  say("b", 60_000); // the first batch comes before the hub's time does
  hub.emit("pong", { ts: clock.now() - skew }, clock.now());
  await api.answer(item("a"), item("b"));
  say("a", 0);
  const { a, b } = Object.fromEntries(fleet.stations);
  assert.deepEqual([clock.now() - a.heard, clock.now() - b.heard], [0, 60_000]);
  clock.pass(20_000);
  say("b", 80_000);
  assert.equal(clock.now() - b.heard, 80_000);
  say("b", 0);
  assert.equal(clock.now() - b.heard, 0);
  clock.pass(1_000);
  hub.emit("station-disconnected", { stationId: "a" });
  clock.pass(2_000);
  assert.equal(time.ago(a.since), 2_000);
  clock.time -= skew; // somebody sets it right
  hub.ahead = 0;
  hub.emit("pong", { ts: clock.now() }, clock.now());
  assert.deepEqual([clock.now() - a.heard, clock.now() - b.heard, time.ago(a.since)], [23_000, 3_000, 2_000]);
});

test("a station whose clock is behind is live all the same", async () => {
  const { hub, fleet, clock } = await fleetOf(item("a"), item("b"));
  for (let second = 0; second < 5; second++) {
    clock.pass(1_000);
    hub.emit("batch-station-status-update", [{ stationId: "a", updatedAt: clock.now() }, { stationId: "b", updatedAt: clock.now() - 50_000 }]);
  }
  assert.equal(clock.now() - fleet.stations.get("b").heard, 1_000);
});

test("what is watched is what all want together, sent once it is another, and with the next greeting", async () => {
  const { hub, fleet, clock } = await fleetOf(item("a"));
  const [wall, page] = [{}, {}];
  fleet.watch(wall, ["b", "a"]);
  fleet.watch(wall, ["c", "a"]);
  fleet.watch(page, ["c", "d"]);
  clock.pass(1_000);
  assert.deepEqual(hub.asked, [["station-watch", { stations: ["a", "c", "d"], states: true }]]);
  fleet.watch(wall, ["a", "c"]);
  clock.pass(1_000);
  assert.equal(hub.asked.length, 1);
  fleet.watch(wall, []);
  assert.deepEqual(fleet.greeting(), { watch: ["c", "d"], states: true });
  clock.pass(1_000);
  assert.equal(hub.asked.length, 1);
});

test("what is too much for a greeting is said after it", async () => {
  const { hub, fleet, clock } = await fleetOf(item("a"));
  const many = Array.from({ length: 300 }, (_, at) => `s-${at}`);
  hub.state = "connecting";
  fleet.watch({}, many);
  clock.pass(1_000);
  assert.equal(fleet.greeting().watch.length, 200);
  hub.state = "open";
  hub.emit("welcome", {});
  clock.pass(1_000);
  assert.deepEqual(hub.asked.at(-1)[1].stations, many.toSorted());
});

test("an address that no station can have is not asked for: the hub would refuse the rest with it", async () => {
  const { hub, clock, fleet } = await fleetOf(item("a"));
  fleet.watch({}, ["a", "no station", "", "é", "x".repeat(65)]);
  clock.pass(1_000);
  assert.deepEqual(hub.asked, [["station-watch", { stations: ["a"], states: true }]]);
  assert.deepEqual(fleet.greeting().watch, ["a"]);
});

test("a watch that the hub refuses is sent again", async () => {
  const { hub, fleet, clock } = await fleetOf(item("a"));
  hub.refuses = true;
  fleet.watch({}, ["a"]);
  clock.pass(1_000);
  await settle();
  hub.refuses = false;
  clock.pass(999);
  assert.equal(hub.asked.length, 1);
  clock.pass(1);
  assert.equal(hub.asked.length, 2);
});

test("statuses that nobody looks at any more are not kept for ever", async () => {
  const { hub, fleet, clock } = await fleetOf(item("a"));
  for (let batch = 0; batch < 30; batch++) {
    clock.pass(1_000);
    hub.emit("batch-station-status-update", Array.from({ length: 100 }, (_, at) => ({ stationId: `s-${batch}-${at}`, updatedAt: clock.now(), devices: [] })));
  }
  const kept = [...fleet.stations.values()].filter(({ status }) => status !== null);
  assert.equal(kept.length, 2_000);
  assert.equal(fleet.stations.get("s-0-0").status, null);
  assert.notEqual(fleet.stations.get("s-29-99").status, null);
});
