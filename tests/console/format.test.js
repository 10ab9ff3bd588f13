import assert from "node:assert/strict";
import { test } from "node:test";
import { bytes, clock, duration, moment, number } from "../../bridge/console/lib/format.js";

test("a day begins with hour 00, in each language", () => {
  const midnight = new Date(2026, 0, 2, 0, 5, 6).getTime();
  for (const language of ["en", "zh"]) {
    assert.equal(clock(language, midnight), "00:05:06");
    assert.match(moment(language, midnight), /\b00:05:06$/);
  }
});

test("numbers, bytes and how long, in one unit", () => {
  assert.equal(number("en", 1234.56), "1,234.6");
  assert.deepEqual([0, 999, 1_234, 123_456, 5e13].map((value) => bytes("en", value)), ["0 B", "999 B", "1.2 kB", "123 kB", "50 TB"]);
  assert.deepEqual([-5, 59_999, 60_000, 7_200_000, 200_000_000].map((ms) => duration("en", ms)), ["0 sec", "59 sec", "1 min", "2 hr", "2 days"]);
});
