import assert from "node:assert/strict";
import { test } from "node:test";
import { Emitter } from "../../bridge/console/lib/emitter.js";
import { Listing } from "../../bridge/console/core/listing.js";
import { addressOf, byId, isEmpty, readFilter, select } from "../../bridge/console/core/select.js";
import { devicesOf, salient } from "../../bridge/console/core/summary.js";
import { FakeClock } from "./fakes.js";

const station = (id, more = {}) => ({ id, name: "", location: "", tags: [], state: "online", since: 0, ...more });
const ids = (stations) => stations.map(({ id }) => id).join(" ");
const filter = (more = {}) => ({ search: "", states: new Set(), tag: "", sort: "id", ...more });

test("ids are in the order that people count in; states worst first; the latest change first; equal ones by id", () => {
  const all = byId([station("st-10", { state: "warning", since: 5 }), station("st-2", { since: 9, name: "zoo" }), station("st-1", { state: "gone", name: "Airport" }), station("st-3", { state: "error" }), station("st-0", { state: "offline" })]);
  assert.equal(ids(select(all)), "st-0 st-1 st-2 st-3 st-10");
  assert.equal(ids(select(all, { sort: "state" })), "st-3 st-1 st-0 st-10 st-2");
  assert.equal(ids(select(all, { sort: "since" })), "st-2 st-10 st-0 st-1 st-3");
  assert.equal(ids(select(all, { sort: "name" })), "st-1 st-0 st-3 st-10 st-2");
  assert.equal(ids(select(all, { sort: "constructor" })), "st-0 st-1 st-2 st-3 st-10");
});

test("each word is looked for in id, name, location and tags, in any case; states and tag narrow further", () => {
  const all = [station("st-1", { name: "North gate", location: "Airport", tags: ["garage"] }), station("st-2", { name: "South gate", tags: ["garage"], state: "error" }), station("st-3")];
  assert.equal(ids(select(all, { search: " GATE  airport " })), "st-1");
  assert.equal(ids(select(all, { search: "gate st-2" })), "st-2");
  assert.equal(ids(select(all, { search: "gate nowhere" })), "");
  assert.equal(ids(select(all, { search: ".*" })), "");
  assert.equal(ids(select(all, { tag: "garage", states: new Set(["error", "gone"]) })), "st-2");
  assert.equal(ids(select(all, { tag: "gar" })), "");
});

test("a filter is an address, and back; what makes no sense in one is left out", () => {
  const given = { search: "gate & 1/2?#%", states: new Set(["warning", "gone"]), tag: "a+b, c" };
  const address = addressOf(given);
  assert.match(address, /^#\/\?q=[^#?]*&state=gone,warning&tag=[^#?]*$/);
  assert.deepEqual(readFilter(address), { ...given, states: new Set(["gone", "warning"]) });
  assert.equal(addressOf(readFilter("")), "#/");
  assert.equal(addressOf(readFilter("#/?state=constructor,error,,&x=1&tag=")), "#/?state=error");
  assert.equal(readFilter(`#/?q=${"x".repeat(5000)}%`).search.length, 200);
  assert.ok(isEmpty(readFilter("#/?q=%20")));
  assert.ok(!isEmpty(readFilter("#/?tag=x")));
});

test("devices are counted by how they are; a state that nobody knows counts as fine", () => {
  const devices = ["online", "error", "error", "warning", "offline", "sleepy", "constructor", undefined].map((status) => ({ status }));
  assert.deepEqual(devicesOf({ devices }), { online: 4, warning: 1, error: 2, offline: 1 });
  assert.deepEqual(devicesOf(null), { online: 0, warning: 0, error: 0, offline: 0 });
});

test("the numbers of the worst device come first, of one device the worst number, each metric once", () => {
  const devices = [
    { status: "online", metrics: { temp: 90, load: 20 } },
    { status: "error", metrics: { open: 1, temp: 71.3, battery: 12, name: "x", broken: null } },
  ];
  assert.deepEqual(salient({ devices }), [["battery", 12], ["temp", 71.3]]);
  assert.deepEqual(salient({ devices }, 9), [["battery", 12], ["temp", 71.3], ["open", 1], ["load", 20]]);
  assert.deepEqual(salient({ devices: [{ status: "online", metrics: { b: 1, a: 2, constructor: 3 } }] }, 3), [["b", 1], ["a", 2], ["constructor", 3]]);
  assert.deepEqual(salient({}), []);
});

class FakeFleet extends Emitter {
  loaded = true;
  stations = new Map();

  put(...stations) {
    for (const one of stations) this.stations.set(one.id, one);
    this.emit("change", null);
  }

  turn(id, state) {
    this.stations.get(id).state = state;
    this.emit("change", new Set([id]));
  }
}

function listing(sort = "state") {
  const fleet = new FakeFleet();
  const clock = new FakeClock();
  const list = new Listing({ fleet, clock, filter: filter({ sort }) });
  const orders = [];
  list.on("order", () => orders.push(ids(list.stations)));
  fleet.put(station("a"), station("b"), station("c"));
  return { fleet, clock, list, orders };
}

test("the first stations are there at once; later orders come at most once a second, with all that happened", () => {
  const { fleet, clock, orders } = listing();
  assert.deepEqual(orders, ["a b c"]);
  fleet.turn("c", "error");
  fleet.turn("b", "warning");
  fleet.put(station("d", { state: "gone" }));
  clock.pass(999);
  assert.equal(orders.length, 1);
  clock.pass(1);
  assert.deepEqual(orders.slice(1), ["c d b a"]);
  clock.pass(60_000);
  fleet.turn("a", "error");
  clock.pass(0);
  assert.equal(orders.at(-1), "a c d b");
});

test("until the list came there is none", () => {
  const { fleet, clock, orders } = listing();
  fleet.loaded = false;
  fleet.put(station("d"));
  clock.pass(1_000);
  fleet.loaded = true;
  fleet.put();
  assert.deepEqual(orders, ["a b c", "", "a b c d"]);
});

test("what cannot change the order does not sort again", () => {
  const { fleet, clock, orders, list } = listing("id");
  fleet.turn("c", "error");
  clock.pass(5_000);
  assert.deepEqual(orders, ["a b c"]);
  assert.equal(clock.waiting, 0);
  list.set({ states: new Set(["error"]) });
  assert.equal(orders.at(-1), "c");
  fleet.turn("a", "error");
  clock.pass(1_000);
  assert.equal(orders.at(-1), "a c");
});

test("nothing in sight moves while somebody is about to choose; what is asked for is done at once", () => {
  const { fleet, clock, orders, list } = listing();
  const waits = [];
  list.on("waiting", (waiting) => waits.push(waiting));
  list.hold(8_000);
  fleet.turn("c", "error");
  clock.pass(7_000);
  assert.deepEqual([orders.length, waits], [1, [true]]);
  list.hold(8_000);
  clock.pass(7_999);
  assert.equal(orders.length, 1);
  clock.pass(1);
  assert.deepEqual([orders.at(-1), waits], ["c a b", [true, false]]);
  list.hold(8_000);
  fleet.turn("b", "error");
  clock.pass(2_000);
  list.release();
  clock.pass(0);
  assert.equal(orders.at(-1), "b c a");
  list.hold(8_000);
  list.set({ sort: "id" });
  assert.equal(orders.at(-1), "a b c");
});

test("out of sight things move on hold, too", () => {
  const { fleet, clock, orders, list } = listing();
  list.sight = [0, 1];
  fleet.turn("a", "error");
  clock.pass(1_000);
  list.hold(8_000);
  fleet.turn("c", "error");
  clock.pass(1_000);
  assert.equal(orders.at(-1), "a c b");
});

test("a list that nobody looks at any more does nothing", () => {
  const { fleet, clock, orders, list } = listing();
  fleet.turn("c", "error");
  list.close();
  clock.pass(10_000);
  fleet.put(station("x"));
  assert.deepEqual(orders, ["a b c"]);
  assert.equal(clock.waiting, 0);
});
