import assert from "node:assert/strict";
import { test } from "node:test";
import { Reports, WINDOW } from "../../bridge/console/core/reports.js";

const T = 1_800_000_000_000;

/** Reports of one number, at milliseconds from T. */
function taken(...values) {
  const reports = new Reports();
  for (const [ms, value] of values) reports.set(reports.add(T + ms), "n", value);
  return reports;
}
const values = (reports, now) => reports.runs("n", T + now).map((run) => run.map(({ value }) => value));

test("values of the window are there in order, older ones are not", () => {
  const reports = taken(...Array.from({ length: 20 }, (_, at) => [at * 1_000, at]));
  assert.deepEqual(values(reports, WINDOW + 9_000), [[9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]]);
  assert.deepEqual(values(reports, WINDOW + 60_000), []);
  assert.equal(reports.last, T + 19_000);
});

test("a line breaks after three and a half usual intervals, and where what came is no number", () => {
  const every = (ms, count) => Array.from({ length: count }, (_, at) => [at * ms, at]);
  const reports = taken(...every(2_000, 5), [15_000, 5], [22_001, 6]); // the first just in time
  assert.equal(reports.gap, 7_000);
  assert.deepEqual(values(reports, 23_000), [[0, 1, 2, 3, 4, 5], [6]]);
  for (const none of [null, "7", Infinity, undefined, {}]) assert.deepEqual(values(taken([0, 1], [1, none], [2, 3]), 3), [[1], [3]]);
  assert.equal(taken(...every(5_000, 30)).gap, 17_500);
  assert.equal(taken([0, 1], [1, 2]).gap, 4_000, "at least so long");
});

test("a clock that is set back begins a new line", () => {
  assert.deepEqual(values(taken([0, 1], [-3_600_000, 2]), -3_600_000), [[2]]);
});

test("where there is nothing there are no runs, and no last report", () => {
  assert.deepEqual(values(new Reports(), 0), []);
  assert.equal(new Reports().last, 0);
});
