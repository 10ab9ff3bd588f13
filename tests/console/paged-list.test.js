import assert from "node:assert/strict";
import { test } from "node:test";
import { PagedList } from "../../bridge/console/core/paged-list.js";
import { FakeClock, settle } from "./fakes.js";

/** An API whose answers are given by hand: `asked`, and `answer(which, page)`. */
function world(options = {}) {
  const clock = new FakeClock();
  const asked = [];
  const api = { get: (path, query) => new Promise((resolve, reject) => asked.push({ path, query, resolve, reject })) };
  const list = new PagedList({ api, path: "users", query: { q: "", sort: "email" }, limit: 10, clock, ...options });
  const answer = async (which, items, total = items.length) => {
    asked[which].resolve({ items, total });
    await settle();
  };
  return { clock, asked, list, answer };
}

test("a page is asked for and there", async () => {
  const { asked, list, answer } = world();
  list.load();
  assert.equal(list.loading, true);
  assert.deepEqual(asked[0].query, { q: "", sort: "email", limit: 10, offset: 0 });
  await answer(0, ["a", "b"], 30);
  assert.deepEqual([list.items, list.total, list.loading, list.loaded], [["a", "b"], 30, false, true]);
});

test("typing asks once, when it rests", () => {
  const { clock, asked, list } = world();
  for (const q of ["a", "an", "ann"]) {
    list.set({ q }, { soon: true });
    clock.pass(200);
  }
  assert.equal(asked.length, 0);
  clock.pass(100);
  assert.deepEqual(asked.map(({ query }) => query.q), ["ann"]);
});

test("a late answer to an older query changes nothing", async () => {
  const { asked, list, answer } = world();
  list.set({ q: "a" });
  list.set({ q: "ann" });
  await answer(1, ["ann"]);
  await answer(0, ["adam", "ann"]);
  assert.deepEqual(list.items, ["ann"]);
  asked.length = 0;
  list.load();
  list.set({ q: "bob" }, { soon: true });
  await answer(0, ["ann"]); // asked before the letters, answered after them
  assert.equal(list.loading, true);
});

test("a late failure of an older query is not told", async () => {
  const { asked, list, answer } = world();
  list.set({ q: "a" });
  list.set({ q: "ann" });
  await answer(1, ["ann"]);
  asked[0].reject(new Error("too late"));
  await settle();
  assert.equal(list.error, null);
});

test("another query begins at its first page; the same asks nothing", async () => {
  const { asked, list, answer } = world();
  list.goTo(20);
  await answer(0, ["x"], 21);
  list.set({ q: "y" });
  assert.equal(asked[1].query.offset, 0);
  list.set({ q: "y" });
  assert.equal(asked.length, 2);
});

test("when the last of the last page is gone, the page before is shown; an empty list ends it", async () => {
  const { asked, list, answer } = world();
  list.goTo(20);
  await answer(0, [], 20);
  assert.equal(asked[1].query.offset, 10);
  await answer(1, [], 0);
  assert.equal(asked[2].query.offset, 0);
  await answer(2, [], 0);
  assert.equal(asked.length, 3);
  assert.deepEqual([list.items, list.loading], [[], false]);
});

test("a failure is told, what was there stays, and it can be asked again", async () => {
  const { asked, list, answer } = world();
  list.load();
  await answer(0, ["a"]);
  list.load();
  asked[1].reject(new Error("no"));
  await settle();
  assert.deepEqual([list.items, list.error.message, list.loading], [["a"], "no", false]);
  list.load();
  await answer(2, ["b"]);
  assert.deepEqual([list.items, list.error], [["b"], null]);
});

test("after close nothing is asked, and nothing heard", async () => {
  const { clock, asked, list, answer } = world();
  list.load();
  list.set({ q: "a" }, { soon: true });
  list.close();
  list.load();
  list.set({ q: "b" });
  clock.pass(1_000);
  await answer(0, ["a"]);
  assert.deepEqual([asked.length, list.items], [1, []]);
});
