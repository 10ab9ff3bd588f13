import assert from "node:assert/strict";
import { test } from "node:test";
import { HubTime } from "../../bridge/console/core/hub-time.js";
import { FakeClock, FakeHub } from "./fakes.js";

const HOURS = 7_200_000;

function world() {
  const [clock, hub] = [new FakeClock(), new FakeHub()];
  const time = new HubTime({ hub, clock });
  const changes = [];
  time.on("change", (by) => changes.push(by));
  /** The hub's clock is so many milliseconds behind, and its answer takes so long both ways together. */
  const pong = (behind, took = 0) => {
    const asked = clock.now();
    const ts = asked + took / 2 - behind;
    clock.time += took;
    hub.emit("pong", { pong: true, ts }, asked);
  };
  return { clock, hub, time, changes, pong };
}

test("until the hub answers, its time is this page's; then each is told by the other", () => {
  const { clock, time, changes, pong } = world();
  assert.deepEqual([time.ahead, time.now()], [null, clock.now()]);
  pong(HOURS);
  assert.deepEqual([time.ahead, time.now(), changes], [HOURS, clock.now() - HOURS, [null]]);
  assert.deepEqual([time.there(HOURS), time.here(0), time.ago(clock.now() - HOURS - 5)], [0, HOURS, 5]);
});

test("a slow answer moves nothing that a quick one told, a quicker one does, and a clock that is set is seen whichever it is", () => {
  const { time, changes, pong } = world();
  pong(100, 50);
  pong(900, 3_000);
  assert.equal(time.ahead, 100);
  pong(110, 10);
  assert.equal(time.ahead, 110);
  pong(HOURS, 3_000);
  assert.equal(time.ahead, HOURS);
  assert.deepEqual(changes, [null, 10, HOURS - 110]);
});

test("an answer without a time tells nothing", () => {
  const { clock, hub, time } = world();
  for (const ts of [undefined, null, "1", NaN]) hub.emit("pong", { ts }, clock.now());
  assert.equal(time.ahead, null);
});
