import assert from "node:assert/strict";
import { test } from "node:test";
import { Changes, Conflict } from "../../bridge/console/core/changes.js";

/** A form that shows a station; `hub` is what the hub has. */
function form() {
  const hub = { name: "North", tags: ["a"], cameras: [] };
  const written = [];
  const write = async (values) => (written.push(values), Object.assign(hub, values));
  return { hub, written, changes: new Changes({ item: structuredClone(hub), read: async () => structuredClone(hub), write }) };
}

test("only what the form changed is sent; nothing, where it changed nothing", async () => {
  const { hub, written, changes } = form();
  hub.name = "of somebody else";
  await changes.save({ name: "North", tags: ["a"], cameras: [] });
  await changes.save({ name: "North", tags: ["a", "b"], cameras: [], password: "x" });
  assert.deepEqual(written, [{ tags: ["a", "b"], password: "x" }]);
  assert.equal(hub.name, "of somebody else");
});

test("what somebody else changed meanwhile is not undone unsaid: once it is told, then it is saved", async () => {
  const { hub, written, changes } = form();
  const mine = { name: "Mine", tags: ["a"], cameras: [{ cameraId: "lane" }] };
  hub.cameras = [{ cameraId: "yard" }];
  await assert.rejects(changes.save(mine), (error) => error instanceof Conflict && error.names.join() === "cameras" && error.now.cameras[0].cameraId === "yard");
  assert.deepEqual(written, []);
  hub.name = "and again";
  await assert.rejects(changes.save(mine), (error) => error.names.join() === "name");
  await changes.save(mine);
  assert.deepEqual([hub.name, hub.cameras], ["Mine", mine.cameras]);
});

test("what both changed alike is no conflict", async () => {
  const { hub, written, changes } = form();
  hub.name = "South";
  await changes.save({ name: "South", tags: ["a"], cameras: [] });
  assert.equal(written.length, 1);
});
