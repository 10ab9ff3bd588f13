import assert from "node:assert/strict";
import { test } from "node:test";
import { Rate, Series } from "../../bridge/console/core/series.js";

const T = 1_800_000_000_000;
const values = (runs) => runs.map((run) => run.map(({ value }) => value));

test("values of the window are there in order, older ones are not", () => {
  const series = new Series({ window: 10_000 });
  for (let at = 0; at < 20; at++) series.add(T + at * 1_000, at);
  assert.deepEqual(values(series.runs(T + 19_000)), [[9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]]);
  assert.deepEqual(series.runs(T + 60_000), []);
  assert.equal(series.last, 19);
});

test("what is full forgets the oldest, and never grows", () => {
  const series = new Series({ capacity: 3 });
  for (let at = 0; at < 1_000; at++) series.add(T + at, at);
  assert.deepEqual(values(series.runs(T + 1_000)), [[997, 998, 999]]);
  assert.equal(series.values.length, 3);
});

test("a line breaks where nothing came, and where what came is no number", () => {
  const series = new Series({ gap: 7_000 });
  series.add(T, 1);
  series.add(T + 2_000, 2);
  series.add(T + 4_000, NaN);
  series.add(T + 6_000, 3);
  series.add(T + 13_000, 4); // just in time
  series.add(T + 20_001, 5);
  for (const [at, none] of [null, "7", Infinity, undefined, {}].entries()) series.add(T + 21_000 + at, none);
  assert.deepEqual(values(series.runs(T + 22_000)), [[1, 2], [3, 4], [5]]);
  assert.ok(Number.isNaN(series.last));
});

test("a clock that is set back begins a new line", () => {
  const series = new Series();
  series.add(T, 1);
  series.add(T - 3_600_000, 2);
  assert.deepEqual(values(series.runs(T - 3_600_000)), [[2]]);
});

test("an empty series has no last value and no runs", () => {
  const series = new Series();
  assert.ok(Number.isNaN(series.last));
  assert.deepEqual(series.runs(T), []);
});

test("a counter is a rate from its second reading on", () => {
  const rate = new Rate();
  assert.ok(Number.isNaN(rate.next(T, 1_000)));
  assert.equal(rate.next(T + 2_000, 1_050), 25);
  assert.equal(rate.next(T + 4_000, 1_050), 0);
});

test("a counter that fell began anew: no rate, and none below zero", () => {
  const rate = new Rate();
  rate.next(T, 1_000);
  assert.ok(Number.isNaN(rate.next(T + 2_000, 10)));
  assert.equal(rate.next(T + 4_000, 30), 10);
});

test("no time between two readings, or a clock set back, gives no rate", () => {
  const rate = new Rate();
  rate.next(T, 1);
  assert.ok(Number.isNaN(rate.next(T, 5)));
  assert.ok(Number.isNaN(rate.next(T - 1_000, 9)));
  assert.equal(rate.next(T, 10), 1);
});

test("what is no count gives no rate, nor does the reading after it", () => {
  const rate = new Rate();
  rate.next(T, 1);
  for (const none of [undefined, null, "3", NaN, Infinity]) assert.ok(Number.isNaN(rate.next(T + 1_000, none)));
  assert.ok(Number.isNaN(rate.next(T + 2_000, 5)));
  assert.equal(rate.next(T + 3_000, 6), 1);
});
