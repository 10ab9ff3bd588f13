import assert from "node:assert/strict";
import { test } from "node:test";
import { Calls } from "../../bridge/console/core/calls.js";
import { HubTime } from "../../bridge/console/core/hub-time.js";
import { IceServers } from "../../bridge/console/core/ice.js";
import { Line } from "../../bridge/console/core/line.js";
import { FakeClock, FakeConnection, FakeHub, FakeStorage, settle } from "./fakes.js";

const clock = new FakeClock();

function lineOf() {
  const hub = new FakeHub();
  hub.answers["create-room"] = { roomId: "room" };
  const ice = { get: async () => [] };
  return { hub, line: new Line({ hub, calls: new Calls({ hub, clock, time: new HubTime({ hub, clock }), storage: new FakeStorage() }), ice, devices: undefined, clock, makePeer: () => new FakeConnection() }) };
}

test("another call takes the place of one that goes on: that it was hung up is no news", async () => {
  const { line } = lineOf();
  const first = line.start("st-1");
  await settle();
  const seen = [];
  line.on("change", () => seen.push(line.call?.reason ?? line.call?.stationId ?? null));
  line.start("st-2");
  assert.deepEqual([first.reason, line.call.stationId, line.busy], ["hung-up", "st-2", true]);
  assert.ok(!seen.includes("hung-up") && !seen.includes(null), String(seen));
});

test("a call that goes on is not put away; signing out ends it", async () => {
  const { line } = lineOf();
  const call = line.start("st-1");
  line.dismiss();
  assert.equal(line.call, call);
  line.clear();
  assert.deepEqual([call.reason, line.call, line.busy], ["hung-up", null, false]);
});

test("ICE servers: one question for all who ask at once; what comes after a sign-out is for nobody else", async () => {
  const answers = [];
  const ice = new IceServers({ api: { get: () => new Promise((resolve, reject) => answers.push({ resolve, reject })) }, clock });
  const asked = [ice.get(), ice.get()];
  assert.equal(answers.length, 1);
  ice.clear();
  const next = ice.get();
  answers[0].resolve({ iceServers: ["old"], ttl: 60 });
  answers[1].resolve({ iceServers: ["new"], ttl: 60 });
  assert.deepEqual(await Promise.all([...asked, next, ice.get()]), [["old"], ["old"], ["new"], ["new"]]);
  clock.pass(30_000);
  const failed = ice.get();
  answers[2].reject(new Error("away"));
  assert.deepEqual(await failed, []);
  ice.get();
  assert.equal(answers.length, 4, "a failure is not kept");
});
