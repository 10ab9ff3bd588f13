import assert from "node:assert/strict";
import { test } from "node:test";
import { ApiError } from "../../bridge/console/core/api.js";
import { askStatus } from "../../bridge/console/core/ask.js";
import { Commands } from "../../bridge/console/core/commands.js";
import { HubTime } from "../../bridge/console/core/hub-time.js";
import { HubError } from "../../bridge/console/core/hub.js";
import { Journal } from "../../bridge/console/core/journal.js";
import { Emitter } from "../../bridge/console/lib/emitter.js";
import { FakeClock, settle } from "./fakes.js";

function world() {
  const clock = new FakeClock();
  const [hub, fleet] = [new Emitter(), new Emitter()];
  fleet.stations = new Map();
  const journal = new Journal({ hub, fleet, time: new HubTime({ hub, clock }) });
  const kinds = (id = "st-1") => journal.of(id).map(({ kind }) => kind);
  return { clock, hub, fleet, journal, kinds };
}

test("what happens is written down, newest first, each station its own", () => {
  const { clock, hub, fleet, journal, kinds } = world();
  fleet.emit("presence", { id: "st-1" }, true);
  clock.pass(1000);
  hub.emit("station-incoming-call", { stationId: "st-1", timestamp: 1 });
  hub.emit("station-call-answered", { stationId: "st-1" });
  fleet.emit("presence", { id: "st-2" }, true);
  fleet.emit("presence", { id: "st-1" }, false);
  assert.deepEqual(kinds(), ["disconnected", "answered", "call", "connected"]);
  assert.deepEqual(kinds("st-2"), ["connected"]);
  assert.deepEqual(kinds("st-3"), []);
  assert.equal(journal.of("st-1")[3].time, clock.now() - 1000);
});

test("a presence that is told twice happened once", () => {
  const { fleet, kinds } = world();
  for (const online of [true, true, false, false]) fleet.emit("presence", { id: "st-1" }, online);
  assert.deepEqual(kinds(), ["disconnected", "connected"]);
});

test("what changed while the hub was out of reach is found in the next list, at the hub's time", () => {
  const { clock, fleet, journal } = world();
  const began = clock.now();
  const list = (...stations) => {
    fleet.stations = new Map(stations.map(([id, online, since]) => [id, { id, online, since }]));
    fleet.emit("loaded");
  };
  list(["st-1", true, began - 500], ["st-2", false, null]);
  assert.deepEqual(journal.of("st-1"), []);
  clock.pass(60_000);
  list(["st-1", false, began + 20_000], ["st-2", false, null], ["st-3", true, began]);
  assert.deepEqual(journal.of("st-1").map(({ kind, time }) => [kind, time]), [["disconnected", began + 20_000]]);
  assert.deepEqual([journal.of("st-2"), journal.of("st-3")], [[], []]);
});

test("a call that is told again after a reconnection began once; one that comes later is another", () => {
  const { hub, kinds } = world();
  for (const timestamp of [1, 1, 2]) hub.emit("station-incoming-call", { stationId: "st-1", timestamp });
  assert.deepEqual(kinds(), ["call", "call"]);
});

test("all is written down by the hub's clock, what came before that was known, too", () => {
  const { clock, hub, fleet, journal } = world();
  const times = () => journal.of("st-1").map(({ time }) => time - clock.now());
  hub.emit("station-incoming-call", { stationId: "st-1", timestamp: 1 });
  hub.emit("pong", { ts: clock.now() - 7_200_000 }, clock.now());
  fleet.emit("presence", { id: "st-1" }, true);
  assert.deepEqual(times(), [-7_200_000, -7_200_000]);
  hub.emit("pong", { ts: clock.now() }, clock.now()); // the page's clock was set meanwhile
  assert.deepEqual(times(), [-7_200_000, -7_200_000]);
});

test("it is bounded, for a station that flaps and for a fleet that does", () => {
  const { journal } = world();
  for (let n = 0; n < 1000; n++) journal.add("st-flaps", "call", { n });
  assert.equal(journal.of("st-flaps").length, 60);
  assert.equal(journal.of("st-flaps")[0].details.n, 999);
  for (let n = 0; n < 2000; n++) journal.add(`st-${n}`, "call");
  assert.deepEqual(journal.of("st-0"), []);
  assert.deepEqual(journal.of("st-flaps"), []);
  assert.equal(journal.of("st-1999").length, 1);
  journal.clear();
  assert.deepEqual(journal.of("st-1999"), []);
});

// ---- commands

function commanding(answers) {
  const { clock, journal } = world();
  const asked = [];
  const answer = async (method, path, body) => {
    asked.push([method, path, body]);
    const next = answers.shift();
    if (next instanceof Error) throw next;
    return next;
  };
  const api = { post: (path, body) => answer("POST", path, body), get: (path) => answer("GET", path) };
  return { clock, journal, asked, commands: new Commands({ api, journal, clock }) };
}

/** Time passes until a promise is settled. */
async function wait(clock, promise) {
  let over = false;
  const seen = promise.then((value) => (over = { value }), (error) => (over = { error }));
  for (let turn = 0; turn < 200 && !over; turn++) {
    await settle();
    clock.pass(1000);
  }
  await seen;
  if (over.error) throw over.error;
  return over.value;
}

test("a command is followed to its end, which the journal tells, too", async () => {
  const done = { id: "c", stage: "done", result: { open: true }, ms: 12, delivered: true, error: null };
  const { clock, journal, asked, commands } = commanding([{ id: "c", stage: "sent" }, { id: "c", stage: "sent" }, done]);
  assert.deepEqual(await wait(clock, commands.send("st-1", "open-gate", { deviceId: "g" }, 700)), done);
  assert.deepEqual(asked, [
    ["POST", "stations/st-1/commands?wait=false", { type: "open-gate", params: { deviceId: "g" }, timeoutMs: 700 }],
    ["GET", "stations/st-1/commands/c", undefined],
    ["GET", "stations/st-1/commands/c", undefined],
  ]);
  const [{ kind, details }] = journal.of("st-1");
  assert.deepEqual([kind, details.type, details.stage, details.result], ["command", "open-gate", "done", { open: true }]);
});

test("a refused command was not sent; a hub that is away for a while knows the outcome afterwards", async () => {
  const refused = new ApiError(409, "Station offline");
  const first = commanding([refused]);
  await assert.rejects(wait(first.clock, first.commands.send("st-1", "x")), refused);
  assert.equal(first.journal.of("st-1")[0].details.stage, "refused");
  const second = commanding([{ id: "c", stage: "sent" }, new ApiError(0, ""), new ApiError(503, ""), { id: "c", stage: "error", error: "jammed" }]);
  assert.equal((await wait(second.clock, second.commands.send("st-1", "x"))).error, "jammed");
});

test("whether a command was sent is not known where the hub went away meanwhile", async () => {
  const { clock, journal, commands } = commanding([new ApiError(0, "")]);
  assert.equal((await wait(clock, commands.send("st-1", "open-gate"))).stage, "unknown");
  assert.equal(journal.of("st-1")[0].details.stage, "unknown");
});

test("nobody waits for an outcome for ever", async () => {
  const { clock, journal, commands } = commanding(Array.from({ length: 100 }, () => ({ id: "c", stage: "sent" })));
  assert.equal((await wait(clock, commands.send("st-1", "x", null, 1000))).stage, "unknown");
  assert.equal(journal.of("st-1")[0].details.stage, "unknown");
});

// ---- asking for a status

function asking(request) {
  const clock = new FakeClock();
  const hub = new Emitter();
  hub.request = request;
  return { clock, hub };
}

test("the delay of an answer is measured, also of one that is there before the ack", async () => {
  let ack;
  const app = asking(() => new Promise((resolve) => (ack = resolve)));
  const answer = askStatus(app, "st-1");
  app.clock.pass(20);
  app.hub.emit("station-status-update", { stationId: "st-2" });
  app.clock.pass(23);
  app.hub.emit("station-status-update", { stationId: "st-1" });
  app.clock.pass(500);
  ack({ via: "mqtt" });
  assert.deepEqual(await answer, { via: "mqtt", ms: 43 });
  assert.equal(app.clock.waiting, 0);
});

test("a station that does not answer is told after ten seconds, a refusal at once", async () => {
  const silent = asking(async () => ({ via: "mqtt" }));
  const answer = askStatus(silent, "st-1");
  await settle();
  silent.clock.pass(10_000);
  await assert.rejects(answer, { code: "STATION_TIMEOUT" });
  const slow = asking(() => new Promise((_, reject) => slow.clock.setTimeout(() => reject(new HubError("UNAVAILABLE: no answer")), 10_001)));
  const late = askStatus(slow, "st-1");
  slow.clock.pass(10_000);
  await settle();
  slow.clock.pass(1);
  await assert.rejects(late, { code: "UNAVAILABLE" });
  const refused = asking(() => Promise.reject(new HubError("STATION_UNREACHABLE: Station unreachable")));
  await assert.rejects(askStatus(refused, "st-1"), { code: "STATION_UNREACHABLE" });
  assert.equal(refused.clock.waiting, 0);
});
