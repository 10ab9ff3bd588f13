import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Backoff } from "../../bridge/console/core/backoff.js";
import { HubSocket } from "../../bridge/console/core/hub.js";
import { FakeClock, FakeSocket, settle } from "./fakes.js";

let clock, sockets, hub, states;

beforeEach(() => {
  clock = new FakeClock();
  sockets = [];
  states = [];
  const connect = (url) => {
    sockets.push(new FakeSocket(url));
    return sockets.at(-1);
  };
  hub = new HubSocket({ url: "ws://hub/ws", connect, clock, backoff: new Backoff({ random: () => 1 }) });
  hub.on("state", (state) => states.push(state));
});

function open() {
  hub.open(() => ({ token: "t", watch: [] }));
  sockets.at(-1).welcome();
}

test("the token goes into the first frame, never into the address", () => {
  open();
  assert.equal(sockets[0].url, "ws://hub/ws");
  assert.deepEqual(sockets[0].sent.map(({ event }) => event), ["auth", "ping"]);
  assert.deepEqual(sockets[0].sent[0], { event: "auth", data: { token: "t", watch: [] } });
  assert.deepEqual(states, ["connecting", "open"]);
});

test("an ack, an error, and silence each end a request", async () => {
  open();
  const good = hub.request("check-room", { roomId: "x" });
  const bad = hub.request("join-room", { roomId: "x" });
  const never = hub.request("create-room", {}, 500);
  sockets[0].answer("check-room", { exists: true });
  sockets[0].refuse("join-room", "ROOM_NOT_FOUND: Room not found");
  assert.deepEqual(await good, { exists: true });
  await assert.rejects(bad, { code: "ROOM_NOT_FOUND", text: "Room not found" });
  clock.pass(500);
  await assert.rejects(never, { code: "UNAVAILABLE" });
});

test("a push is emitted by its name; one listener that throws does not keep the next from hearing", (context) => {
  context.mock.method(console, "error", () => {});
  open();
  const heard = [];
  hub.on("station-connected", () => {
    throw new Error("broken");
  });
  const off = hub.on("station-connected", ({ stationId }) => heard.push(stationId));
  sockets[0].push("station-connected", { stationId: "st-1" });
  off();
  sockets[0].push("station-connected", { stationId: "st-2" });
  assert.deepEqual(heard, ["st-1"]);
});

test("what waits for an ack fails with the connection, which comes back with growing pauses", async () => {
  open();
  const lost = hub.request("create-room");
  clock.pass(1_000);
  sockets[0].drop();
  await assert.rejects(lost, { code: "UNAVAILABLE" });
  assert.equal(hub.state, "waiting");
  assert.equal(hub.lostAt, clock.now() - 1_000, "when the hub was heard last");
  for (const wait of [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000]) {
    const before = sockets.length;
    assert.equal(hub.retryAt, clock.now() + wait);
    clock.pass(wait - 1);
    assert.equal(sockets.length, before);
    clock.pass(1);
    assert.equal(sockets.length, before + 1);
    sockets.at(-1).drop(1012);
  }
  clock.pass(15_000);
  sockets.at(-1).welcome();
  assert.equal(hub.lostAt, null);
  sockets.at(-1).drop();
  assert.equal(hub.retryAt, clock.now() + 500);
});

test("trying now does not wait, and only a connection that is waited for is tried", () => {
  open();
  hub.retry();
  assert.equal(sockets.length, 1);
  sockets[0].drop();
  hub.retry();
  assert.equal(sockets.length, 2);
  assert.equal(hub.state, "connecting");
});

for (const [code, reason, ended] of [
  [4403, "NEW_LOGIN", "KICKED NEW_LOGIN"],
  [4403, "REVOKED", "KICKED REVOKED"],
  [4401, "UNAUTHORIZED: Unauthorized", "UNAUTHORIZED: Unauthorized"],
]) {
  test(`closed with ${code} ${reason}, it does not come back`, () => {
    const ends = [];
    hub.on("end", (why) => ends.push(why));
    open();
    sockets[0].drop(code, reason);
    clock.pass(3_600_000);
    assert.deepEqual(ends, [ended]);
    assert.equal(sockets.length, 1);
    assert.equal(clock.waiting, 0);
  });
}

test("a hub that answers nothing any more is found out within half a minute", async () => {
  const pongs = [];
  hub.on("pong", (answer, asked) => pongs.push([answer.ts, clock.now() - asked]));
  open();
  for (const ts of [1, 2]) {
    clock.pass(9_000);
    sockets[0].answer("ping", { pong: true, ts });
    await settle();
    clock.pass(20_000);
  }
  assert.equal(hub.state, "open");
  assert.deepEqual(pongs, [[1, 9_000], [2, 9_000]]);
  clock.pass(10_000);
  await settle();
  assert.equal(hub.state, "waiting");
});

test("a socket that never opens is given up", () => {
  hub.open(() => ({}));
  clock.pass(10_000);
  assert.equal(hub.state, "waiting");
  sockets[0].drop(); // too late to count
  assert.equal(hub.retryAt, clock.now() + 500);
});

test("a socket that is closing already is not written to", async () => {
  open();
  sockets[0].readyState = 2;
  const before = sockets[0].sent.length;
  hub.send("station-status-update");
  await assert.rejects(hub.request("create-room"), { code: "UNAVAILABLE" });
  assert.equal(sockets[0].sent.length, before);
});

test("closed by hand, nothing is left to happen, and late frames are not heard", async () => {
  open();
  const asked = hub.request("create-room");
  hub.close();
  await assert.rejects(asked);
  sockets[0].push("station-connected", { stationId: "st-1" });
  sockets[0].drop();
  assert.equal(hub.state, "closed");
  assert.equal(clock.waiting, 0);
  await assert.rejects(hub.request("create-room"), { code: "UNAVAILABLE" });
});
