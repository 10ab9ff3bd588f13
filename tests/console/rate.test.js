import assert from "node:assert/strict";
import { test } from "node:test";
import { Rate } from "../../bridge/console/core/rate.js";

const T = 1_800_000_000_000;

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
