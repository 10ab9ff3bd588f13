import assert from "node:assert/strict";
import { test } from "node:test";
import { History } from "../../bridge/console/core/history.js";
import { HubTime } from "../../bridge/console/core/hub-time.js";
import { reading, unitOf } from "../../bridge/console/core/metrics.js";
import { WINDOW } from "../../bridge/console/core/reports.js";
import { Emitter } from "../../bridge/console/lib/emitter.js";
import { FakeClock } from "./fakes.js";

function world() {
  const clock = new FakeClock();
  const fleet = new Emitter();
  const asked = [];
  const api = { get: (path) => new Promise((resolve, reject) => asked.push({ path, resolve, reject })) };
  const hub = new Emitter();
  const history = new History({ fleet, api, time: new HubTime({ hub, clock }), clock });
  let reports = 0;
  const report = (metrics, { id = "st-1", deviceId = "d", heard = clock.now(), updatedAt = ++reports } = {}) => {
    const devices = [{ deviceId, metrics }];
    fleet.emit("status", { id, heard, status: { stationId: id, updatedAt, devices } });
  };
  const runs = (metric = "temp", id = "st-1", deviceId = "d") => history.runs(id, deviceId, metric).map((run) => run.map(({ value }) => value));
  /** The hub answers: reports of one number, so many seconds ago. */
  const recall = async (ages, values, { id = "st-1", metric = "temp", ahead = 0 } = {}) => {
    const done = history.recall(id);
    const now = clock.now() - ahead;
    asked.shift().resolve({ stationId: id, now, times: ages.map((age) => now - age * 1000), series: [{ deviceId: "d", metric, values }] });
    await done;
  };
  return { clock, hub, fleet, history, report, runs, asked, recall, values: (...of) => runs(...of).flat() };
}

test("numbers are kept with the time they came, the window's, oldest first", () => {
  const { clock, history, report, values } = world();
  const began = clock.now();
  report({ temp: 1 });
  clock.pass(1000);
  report({ temp: 2.5 });
  assert.deepEqual(history.runs("st-1", "d", "temp"), [[{ time: began, value: 1 }, { time: began + 1000, value: 2.5 }]]);
  clock.pass(WINDOW - 500);
  assert.deepEqual(values(), [2.5]);
  clock.pass(1000);
  assert.deepEqual(values(), []);
  assert.deepEqual(values("temp", "st-2"), []);
  assert.deepEqual(values("other"), []);
});

test("memory is bounded: a ring turns, and the newest stay", () => {
  const { clock, report, values } = world();
  for (let n = 0; n < 5000; n++) {
    report({ temp: n });
    clock.pass(500);
  }
  const kept = values();
  assert.ok(kept.length > 600 && kept.length <= 640, String(kept.length));
  assert.equal(kept.at(-1), 4999);
  assert.deepEqual(kept, Array.from(kept, (_, at) => kept[0] + at));
});

test("a ten minutes' window at one a second is kept whole", () => {
  const { clock, report, values } = world();
  for (let n = 0; n < 900; n++) {
    report({ temp: n });
    clock.pass(1000);
  }
  assert.equal(values().length, 600);
});

test("of too many stations the one that reported longest ago is forgotten", () => {
  const { history, report, values } = world();
  for (let n = 0; n < 400; n++) report({ temp: n }, { id: `st-${n}` });
  report({ temp: 0 }, { id: "st-0" });
  report({ temp: 400 }, { id: "st-400" });
  assert.equal(history.stations, 400);
  assert.deepEqual(values("temp", "st-1"), []);
  assert.equal(values("temp", "st-0").length, 2);
  history.clear();
  assert.equal(history.stations, 0);
});

test("a station with thousands of numbers takes no more room than one with many", () => {
  const { report, values } = world();
  report(Object.fromEntries(Array.from({ length: 5000 }, (_, n) => [`m${n}`, n])));
  assert.deepEqual(values("m0"), [0]);
  assert.deepEqual(values("m4999"), []);
});

test("a device that comes later finds room where others went", () => {
  const { report, values } = world();
  report(Object.fromEntries(Array.from({ length: 96 }, (_, n) => [`m${n}`, n])));
  for (let n = 0; n < 700; n++) report({ m0: n });
  report({ late: 7 });
  assert.equal(values("late").at(-1), 7);
  assert.equal(values("m0").at(-1), 699);
});

test("only numbers make lines; what is missing in a report, and a disconnection, break them", () => {
  const { clock, fleet, report, runs } = world();
  report({ temp: 1, text: "5", yes: true, none: null, huge: Infinity, more: { a: 1 } });
  for (const metric of ["text", "yes", "none", "huge", "more"]) assert.deepEqual(runs(metric), []);
  report({ load: 1 });
  report({ temp: 3 });
  assert.deepEqual(runs(), [[1], [3]]);
  fleet.emit("presence", { id: "st-1" }, false);
  fleet.emit("presence", { id: "st-1" }, true);
  fleet.emit("presence", { id: "never seen" }, false);
  clock.pass(1);
  report({ temp: 4 });
  assert.deepEqual(runs(), [[1], [3], [4]]);
});

test("a status that comes twice counts once, one from before the last not at all", () => {
  const { clock, history, report, values } = world();
  const heard = [];
  history.on("change", (id) => heard.push(id));
  report({ temp: 1 }, { updatedAt: 5 });
  report({ temp: 1 }, { updatedAt: 5 });
  report({ temp: 2 }, { heard: clock.now() - 1 });
  assert.deepEqual(values(), [1]);
  assert.deepEqual(heard, ["st-1"]);
});

test("a status of any shape is taken", () => {
  const { fleet, values } = world();
  for (const status of [{}, { devices: null }, { devices: [null, {}, { metrics: null }, { deviceId: "d", metrics: { temp: 1 } }] }]) fleet.emit("status", { id: "st-1", heard: 0, status });
  assert.deepEqual(values(), []); // heard in 1970: not of the window
});

test("what the hub kept comes before what this page saw, by this page's clock", async () => {
  const { clock, history, report, runs, recall } = world();
  const changed = [];
  history.on("change", (id) => changed.push(id));
  report({ temp: 9 });
  clock.pass(1000);
  report({ temp: 10 });
  await recall([16, 11, 6, 1], [1, 2, null, 8], { ahead: 40_000 });
  assert.deepEqual(runs(), [[1, 2], [9, 10]]);
  const [[first]] = history.runs("st-1", "d", "temp");
  assert.deepEqual(first, { time: clock.now() - 16_000, value: 1 });
  assert.equal(changed.length, 3);
  clock.pass(1000);
  report({ temp: 11 });
  assert.deepEqual(runs(), [[1, 2], [9, 10, 11]]);
});

test("an answer that is long on its way tells when it was all the same: by the hub's clock, as the pings tell it", async () => {
  const { clock, hub, history, asked, report, runs } = world();
  hub.emit("pong", { ts: clock.now() - 7_200_000 }, clock.now());
  report({ temp: 9 });
  const began = clock.now();
  const late = history.recall("st-1");
  clock.pass(20_000);
  report({ temp: 10 });
  const now = began - 7_200_000;
  asked.shift().resolve({ stationId: "st-1", now, times: [now - 10_000, now - 5_000, now], series: [{ deviceId: "d", metric: "temp", values: [7, 8, 9] }] });
  await late;
  assert.deepEqual(history.runs("st-1", "d", "temp").flat().map(({ time, value }) => [time - began, value]), [[-10_000, 7], [-5_000, 8], [0, 9], [20_000, 10]]);
  assert.equal(runs().length, 2);
});

test("a line that is filled in is whole at the hub's pace, and broken where the hub heard nothing", async () => {
  const { clock, report, runs, recall } = world();
  for (let n = 0; n < 5; n++) {
    clock.pass(1000);
    report({ temp: n });
  }
  await recall([120, 115, 60, 50, 35, 20, 10], [1, 2, 3, 4, 5, 6, 7]);
  assert.deepEqual(runs(), [[1, 2], [3, 4, 5, 6, 7, 0, 1, 2, 3, 4]]);
});

test("what this page missed while it had no connection is filled in, once, and nothing else changes", async () => {
  const { clock, report, runs, recall } = world();
  report({ temp: 1 });
  clock.pass(30_000);
  report({ temp: 5 });
  for (let twice = 0; twice < 2; twice++) {
    await recall([30.5, 25, 20, 15, 10, 5, 0.5], [1, 2, 3, 4, 4.5, 4.7, 5]);
    assert.deepEqual(runs(), [[1, 2, 3, 4, 4.5, 4.7, 5]]);
  }
});

test("a station that this page has not heard of yet has its line, too, and more stations than memory allows are forgotten", async () => {
  const { report, history, values, recall } = world();
  await recall([10, 5], [1, 2]);
  assert.deepEqual(values(), [1, 2]);
  report({ temp: 3 });
  assert.deepEqual(values(), [1, 2, 3]);
  for (let n = 0; n < 400; n++) await recall([5], [n], { id: `other-${n}` });
  assert.equal(history.stations, 400);
  assert.deepEqual(values(), []);
});

test("a hub that kept nothing, does not answer or refuses changes nothing", async () => {
  const { history, report, values, recall, asked } = world();
  report({ temp: 1 });
  await recall([], []);
  const refused = history.recall("a/b");
  assert.equal(asked[0].path, "stations/a%2Fb/history");
  asked.shift().reject(new Error());
  await refused;
  assert.deepEqual(values(), [1]);
  assert.equal(history.stations, 1);
});

test("an answer for who was signed in before is nobody's", async () => {
  const { history, asked, values } = world();
  const late = history.recall("st-1");
  history.clear();
  asked.shift().resolve({ stationId: "st-1", now: 0, times: [0], series: [{ deviceId: "d", metric: "temp", values: [1] }] });
  await late;
  assert.equal(history.stations, 0);
  assert.deepEqual(values(), []);
});

test("values in words, whatever they are", () => {
  assert.equal(reading("en", "temp", 41.57), "41.6 °C");
  assert.equal(reading("en", "signal", -70), "-70 dBm");
  assert.equal(reading("en", "battery", 12), "12 %");
  assert.equal(reading("en", "open", 1), "1");
  assert.equal(reading("en", "x", 0.0123), "0.012");
  assert.equal(reading("en", "temp", "warm"), "warm");
  assert.equal(reading("en", "temp", null), "–");
  assert.equal(reading("en", "temp", false), "false");
  assert.equal(reading("en", "temp", { a: ["<b>"] }), '{"a":["<b>"]}');
  assert.equal(reading("en", "temp", "x".repeat(500)).length, 121);
  assert.equal(unitOf("constructor"), "");
});
