import assert from "node:assert/strict";
import { test } from "node:test";

globalThis.matchMedia ??= () => ({});
const { drawRuns } = await import("../../bridge/console/lib/charts.js");

test("a line through each run; a lone value has some length, else a canvas draws nothing", () => {
  const drawn = [];
  const pen = { beginPath() {}, stroke: () => drawn.push("stroke"), moveTo: (...at) => drawn.push(["to", ...at]), lineTo: (...at) => drawn.push(["line", ...at]) };
  const double = (value) => 2 * value;
  drawRuns({ pen, line: "red" }, [[{ time: 1, value: 5 }, { time: 2, value: 6 }]], double, double);
  assert.deepEqual(drawn, [["to", 2, 10], ["line", 2, 10], ["line", 4, 12], "stroke"]);
  drawn.length = 0;
  drawRuns({ pen, line: "red" }, [[{ time: 1, value: 5 }]], double, double);
  const [, across, down] = drawn.at(-2);
  assert.ok(across > 2 && across < 2.1 && down === 10, String(drawn));
  assert.equal(pen.strokeStyle, "red");
});
