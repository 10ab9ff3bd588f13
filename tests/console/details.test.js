import assert from "node:assert/strict";
import { test } from "node:test";
import { detailLines } from "../../bridge/console/core/details.js";

const WORDS = { yes: "yes", no: "no", none: "–", more: (n) => `and ${n} more` };
const lines = (detail) => detailLines(detail, WORDS);

test("each field that says something is a line, in words", () => {
  assert.deepEqual(lines({ role: "admin", disabled: true, password: false, n: 3, tags: ["a", "b"], none: [], empty: "", nothing: null }), [
    { name: "role", to: "admin" },
    { name: "disabled", to: "yes" },
    { name: "password", to: "no" },
    { name: "n", to: "3" },
    { name: "tags", to: "a, b" },
  ]);
});

test("what it was and what it is", () => {
  assert.deepEqual(lines({ name: { from: "", to: "Gate" } }), [{ name: "name", from: "–", to: "Gate" }]);
});

test("whatever comes is a text of bounded length", () => {
  for (const odd of [null, undefined, [], "text", 7]) assert.deepEqual(lines(odd), []);
  const [{ to }] = lines({ x: "y".repeat(100_000) });
  assert.equal(to.length, 301);
  assert.ok(lines({ x: Array.from({ length: 5_000 }, (_, at) => `tag-${at}`) })[0].to.endsWith("and 4980 more"));
  assert.equal(lines({ x: { id: "cam-1", url: "", deep: { a: 1 } } })[0].to, 'cam-1 · {"a":1}');
});
