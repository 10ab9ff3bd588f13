import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Calls, RINGS } from "../../bridge/console/core/calls.js";
import { HubTime } from "../../bridge/console/core/hub-time.js";
import { FakeClock, FakeHub, FakeStorage } from "./fakes.js";

let clock, hub, storage, calls, rung, changes;

beforeEach(() => {
  clock = new FakeClock();
  hub = new FakeHub();
  storage = new FakeStorage();
  calls = tab();
  rung = [];
  changes = 0;
  calls.on("ring", (call) => rung.push(call.stationId));
  calls.on("change", () => changes++);
});

/** Another tab of the same browser. */
const tab = (to = hub) => new Calls({ hub: to, clock, storage, time: new HubTime({ hub: to, clock }) });
const called = (stationId, timestamp = clock.now()) => hub.emit("station-incoming-call", { stationId, timestamp });
const outcomes = () => calls.log.map(({ stationId, outcome }) => `${stationId} ${outcome}`);
const ringing = () => calls.ringing.map(({ stationId }) => stationId);

test("a call rings until nobody came for a minute, and then was missed", () => {
  called("st-1");
  clock.pass(RINGS - 1);
  assert.deepEqual(ringing(), ["st-1"]);
  assert.equal(calls.unseen, 0);
  clock.pass(1);
  assert.deepEqual(ringing(), []);
  assert.deepEqual(outcomes(), ["st-1 missed"]);
  assert.equal(calls.unseen, 1);
  assert.equal(clock.waiting, 0);
});

test("several ring at once, who waits longest first; each is one entry", () => {
  for (const id of ["st-1", "st-2", "st-3"]) {
    called(id);
    clock.pass(1_000);
  }
  called("st-1");
  assert.deepEqual(ringing(), ["st-1", "st-2", "st-3"]);
  assert.deepEqual(rung, ["st-1", "st-2", "st-3"]);
  assert.equal(calls.log.length, 3);
});

test("a station that calls again rings for another minute; the same call told again does not", () => {
  called("st-1", 1);
  clock.pass(50_000);
  called("st-1", 2);
  clock.pass(50_000);
  called("st-1", 2);
  assert.deepEqual(ringing(), ["st-1"]);
  clock.pass(10_000);
  assert.deepEqual(outcomes(), ["st-1 missed"]);
  assert.deepEqual(rung, ["st-1"]);
});

for (const [how, end, outcome] of [
  ["answered by somebody else", () => hub.emit("station-call-answered", { stationId: "st-1" }), "elsewhere"],
  ["the station went away", () => hub.emit("station-disconnected", { stationId: "st-1" }), "left"],
  ["declined here", () => calls.decline("st-1"), "declined"],
  ["accepted here", () => calls.accept("st-1"), "accepted"],
]) {
  test(`${how}, it rings no more, and the others go on`, () => {
    called("st-1");
    called("st-2");
    end();
    assert.deepEqual(ringing(), ["st-2"]);
    assert.deepEqual(outcomes(), ["st-2 ringing", `st-1 ${outcome}`]);
    assert.equal(calls.unseen, outcome === "left" ? 1 : 0);
    clock.pass(RINGS);
    assert.equal(calls.log[1].outcome, outcome, "what is over does not change");
  });
}

test("a call that is over here does not ring again when the hub tells it again; the next one does", () => {
  called("st-1", 5);
  calls.decline("st-1");
  called("st-1", 5);
  assert.deepEqual(ringing(), []);
  called("st-1", 6);
  assert.deepEqual(ringing(), ["st-1"]);
});

test("declined here and answered by somebody else: the list says so; an old one is let be", () => {
  called("st-1", 1);
  calls.decline("st-1");
  hub.emit("station-call-answered", { stationId: "st-1" });
  assert.deepEqual(outcomes(), ["st-1 elsewhere"]);
  called("st-2", 2);
  calls.decline("st-2");
  clock.pass(RINGS + 1);
  hub.emit("station-call-answered", { stationId: "st-2" });
  assert.equal(outcomes()[0], "st-2 declined");
});

test("accepted here, but somebody else was faster", () => {
  called("st-1");
  calls.accept("st-1");
  calls.elsewhere("st-1");
  assert.deepEqual(outcomes(), ["st-1 elsewhere"]);
});

test("what was missed is counted until somebody looks", () => {
  for (const id of ["st-1", "st-2"]) called(id);
  clock.pass(RINGS);
  assert.equal(calls.unseen, 2);
  calls.see();
  assert.equal(calls.unseen, 0);
  changes = 0;
  calls.see();
  assert.equal(changes, 0);
  called("st-3");
  hub.emit("station-disconnected", { stationId: "st-3" });
  assert.equal(calls.unseen, 1);
});

test("what nobody called changes nothing", () => {
  for (const event of ["station-call-answered", "station-disconnected"]) hub.emit(event, { stationId: "st-9" });
  calls.decline("st-9");
  calls.accept("st-9");
  assert.equal(changes, 0);
  assert.deepEqual(calls.log, []);
});

test("thousands of stations that call, and one that calls for ever, leave a bounded list", () => {
  for (let number = 0; number < 5_000; number++) called(`st-${number}`, number);
  assert.ok(calls.ringing.length <= 200);
  assert.ok(calls.log.length <= 400);
  assert.ok(clock.waiting <= 200);
  clock.pass(RINGS);
  for (let number = 0; number < 5_000; number++) {
    called("st-1", 10_000 + number);
    calls.decline("st-1");
  }
  assert.ok(calls.log.length <= 400);
  assert.equal(calls.log[0].stationId, "st-1");
});

test("somebody else signs in: nothing of the calls is left", () => {
  called("st-1");
  called("st-2");
  clock.pass(RINGS);
  called("st-3");
  calls.clear();
  assert.deepEqual([calls.log.length, calls.ringing.length, calls.unseen, clock.waiting], [0, 0, 0, 0]);
});

const HOURS = 7_200_000;

/** The page connects, and is told of the calls that ring; its clock is ahead of the hub's. */
function opens(told, ahead = 0) {
  const another = new FakeHub();
  const page = tab(another);
  another.emit("welcome", {});
  for (const [stationId, timestamp] of told) another.emit("station-incoming-call", { stationId, timestamp });
  another.emit("pong", { ts: clock.now() - ahead }, clock.now());
  return page;
}

test("what rang before the page was opened rings as long as it has left, by the hub's clock", () => {
  const now = clock.now();
  const page = opens([["st-1", now - HOURS - 50_000], ["st-2", now - HOURS - 20_000]], HOURS);
  assert.deepEqual(page.ringing.map(({ stationId, time }) => [stationId, page.time.ago(time)]), [["st-1", 50_000], ["st-2", 20_000]]);
  clock.pass(9_999);
  assert.equal(page.ringing.length, 2);
  clock.pass(1);
  assert.deepEqual(page.ringing.map(({ stationId }) => stationId), ["st-2"]);
  clock.pass(30_000);
  assert.deepEqual(page.log.map(({ outcome }) => outcome), ["missed", "missed"]);
  assert.equal(clock.waiting, 0);
});

test("what a station says with a clock that is wrong is not taken for how long it rang", () => {
  for (const wrong of [-HOURS, 1_000, HOURS, NaN]) {
    const page = opens([["st-1", clock.now() + wrong]]);
    assert.equal(page.time.ago(page.ringing[0].time), 0);
    clock.pass(RINGS - 1);
    assert.equal(page.ringing.length, 1, String(wrong));
    clock.pass(1);
    assert.equal(page.ringing.length, 0);
  }
});

test("what comes later begins when it comes, whatever the station's clock says", () => {
  hub.emit("welcome", {});
  hub.emit("pong", { ts: clock.now() }, clock.now());
  called("st-1", clock.now() - 50_000);
  clock.pass(RINGS - 1);
  assert.deepEqual(ringing(), ["st-1"]);
});

test("declined in this browser, it rings in no other tab and not after a reload; a later call does, and so for who signs in next", () => {
  const other = tab();
  called("st-1", 5);
  called("st-2", 6);
  calls.decline("st-1");
  other.stored();
  assert.deepEqual(other.ringing.map(({ stationId }) => stationId), ["st-2"]);
  const reloaded = opens([["st-1", 5], ["st-2", 6], ["st-1", 7]]);
  assert.deepEqual(reloaded.log.map(({ stationId, timestamp, outcome }) => `${stationId} ${timestamp} ${outcome}`), ["st-1 7 ringing", "st-2 6 ringing", "st-1 5 declined"]);
  reloaded.clear();
  assert.deepEqual(opens([["st-1", 5]]).ringing.map(({ stationId }) => stationId), ["st-1"]);
});

test("what is kept of declined calls is bounded, and damage to it is no harm", () => {
  for (let number = 0; number < 1_000; number++) {
    called(`st-${number}`, number);
    calls.decline(`st-${number}`);
  }
  assert.ok(storage.getItem("stationhub.declined").length < 10_000);
  for (const damage of ["{", "null", "[null, 5]", "{}"]) {
    storage.setItem("stationhub.declined", damage);
    called("st-x", damage.length);
    calls.decline("st-x");
    assert.equal(calls.declined.has("st-x", damage.length), true);
  }
});
