import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { ApiError } from "../../bridge/console/core/api.js";
import { EdgeApp } from "../../bridge/console/core/edge.js";
import { CALLS_FOR, EdgeStation } from "../../bridge/console/core/edge-station.js";
import { HubError } from "../../bridge/console/core/hub.js";
import { OwnCamera } from "../../bridge/console/core/own-camera.js";
import { MAX_SENDERS } from "../../bridge/console/core/senders.js";
import { Emitter } from "../../bridge/console/lib/emitter.js";
import { FakeClock, FakeConnection, FakeHub, FakeStorage, FakeStream, settle, token } from "./fakes.js";

let clock, hub, camera, station, made, lent, posted;

/** A camera that lends tracks which the test can look at. */
class FakeCamera extends Emitter {
  heard = true;
  problem = null;

  lend({ sound }) {
    lent.push(new FakeStream(...(sound ? ["audio"] : []), "video"));
    return lent.at(-1);
  }
}

beforeEach(() => {
  clock = new FakeClock();
  hub = new FakeHub();
  hub.answers = { "station-register": { stationId: "st-1" }, "join-room": { roomId: "r", peers: ["op"] } };
  camera = new FakeCamera();
  made = [];
  lent = [];
  posted = [];
  const makePeer = () => made[made.push(new FakeConnection()) - 1];
  const channel = { postMessage: (message) => posted.push(message) };
  station = new EdgeStation({ stationId: "st-1", hub, clock, ice: { get: async () => [] }, camera, devices: () => [{ deviceId: "camera" }], channel, makePeer });
});

async function registered() {
  hub.back("p-1");
  await settle();
}

const offer = (fragment = "theirs") => ({ type: "offer", sdp: `v=0\r\na=ice-ufrag:${fragment}\r\n` });

test("it registers at each connection, and reports at once, every five seconds, and when it is asked", async () => {
  await registered();
  assert.equal(station.registration, "registered");
  assert.deepEqual(hub.of("station-status-update"), [{ stationId: "st-1", devices: [{ deviceId: "camera" }] }]);
  clock.pass(10_000);
  assert.equal(hub.of("station-status-update").length, 3);
  hub.emit("cmd-report-status", { requesterId: "x" });
  assert.equal(hub.of("station-status-update").length, 4);
  hub.lose();
  assert.equal(station.registration, "waiting");
  clock.pass(60_000);
  assert.equal(hub.of("station-status-update").length, 4, "nobody hears it");
  await registered();
  assert.equal(hub.of("station-register").length, 2);
});

test("taken by somebody else it tries again; what will not change it does not", async () => {
  hub.answers["station-register"] = new HubError("STATION_ALREADY_REGISTERED: Station already registered");
  await registered();
  assert.equal(station.registration, "refused");
  clock.pass(10_000);
  await settle();
  assert.equal(hub.of("station-register").length, 2);
  hub.answers["station-register"] = new HubError("FORBIDDEN: no");
  clock.pass(10_000);
  await settle();
  clock.pass(100_000);
  assert.deepEqual([hub.of("station-register").length, station.refusal.code], [3, "FORBIDDEN"]);
});

test("it calls until somebody invites it, or nobody did for a minute", async () => {
  station.callCenter();
  assert.equal(station.calling, null, "not before it is in service");
  await registered();
  station.callCenter();
  station.callCenter();
  assert.equal(hub.of("station-call-center").length, 1);
  clock.pass(CALLS_FOR);
  assert.deepEqual([station.calling, station.unanswered], [null, true]);
  station.callCenter();
  hub.emit("station-cmd-join-room", { roomId: "r", inviterId: "op" });
  await settle();
  assert.deepEqual([station.calling, station.unanswered, station.call.state], [null, false, "connecting"]);
  assert.deepEqual(hub.of("join-room"), [{ roomId: "r" }]);
});

test("the hub goes while it calls: back again, it calls again, no longer than its minute", async () => {
  await registered();
  station.callCenter();
  clock.pass(20_000);
  hub.lose();
  await registered();
  assert.equal(hub.of("station-call-center").length, 2);
  clock.pass(40_000);
  assert.equal(station.unanswered, true);
});

test("a call that the hub refuses is over, and told of", async () => {
  await registered();
  const failed = [];
  station.on("failed", ({ code }) => failed.push(code));
  hub.answers["station-call-center"] = new HubError("UNAVAILABLE: away");
  station.callCenter();
  await settle();
  assert.deepEqual([failed, station.calling, station.unanswered, clock.waiting], [["UNAVAILABLE"], null, false, 1]);
});

test("in a call, another invitation is entered and left; after it, one is taken", async () => {
  await registered();
  hub.emit("station-cmd-join-room", { roomId: "r" });
  await settle();
  hub.emit("station-cmd-join-room", { roomId: "other" });
  await settle();
  assert.deepEqual(hub.of("join-room"), [{ roomId: "r" }, { roomId: "other" }]);
  assert.deepEqual(hub.of("leave-room"), [{ roomId: "other" }]);
  hub.emit("station-cmd-join-room", { roomId: "r" });
  await settle();
  assert.equal(hub.of("leave-room").length, 1, "the same again is no other");
  station.call.hangUp();
  hub.emit("station-cmd-join-room", { roomId: "third" });
  await settle();
  assert.equal(station.call.roomId, "third");
  for (const roomId of [null, 7, undefined]) hub.emit("station-cmd-join-room", { roomId });
});

test("a stream is answered with the picture alone, and ends when it is stopped, or lost", async () => {
  await registered();
  hub.emit("station-cmd-start-stream", { requesterId: "op", cameraId: "camera", offer: offer() });
  await settle();
  assert.deepEqual(made[0].sends, ["video"]);
  const [response] = hub.of("station-cmd-stream-response");
  assert.deepEqual([response.requesterId, response.cameraId, response.status, response.answer.type], ["op", "camera", "ready", "answer"]);
  hub.emit("ice-candidate", { from: "op", candidate: { candidate: "c1", usernameFragment: "theirs" } });
  hub.emit("ice-candidate", { from: "other", candidate: { candidate: "c2", usernameFragment: "theirs" } });
  assert.deepEqual(made[0].candidates, ["c1"]);
  made[0].become("connected");
  clock.pass(60_000);
  assert.equal(station.senders.count, 1);
  hub.emit("station-command", { id: "1", type: "stop-stream", requesterId: "op", params: { cameraId: "camera" } });
  assert.equal(station.senders.count, 0);
  assert.ok(made[0].closed && lent[0].tracks[0].stopped);
});

test("one who asks again replaces his stream; one who never connects does not hold a place; one too many hears so", async () => {
  await registered();
  for (let number = 0; number < 3; number++) {
    hub.emit("station-cmd-start-stream", { requesterId: "op", cameraId: "camera", offer: offer() });
    await settle();
  }
  assert.equal(station.senders.count, 1);
  assert.deepEqual(made.map((pc) => pc.closed), [true, true, false]);
  for (let number = 0; number < MAX_SENDERS; number++) hub.emit("station-cmd-start-stream", { requesterId: `p-${number}`, cameraId: "camera", offer: offer() });
  await settle();
  assert.equal(station.senders.count, MAX_SENDERS);
  assert.match(hub.of("station-cmd-stream-response").find(({ status }) => status === "error").error, /busy/);
  clock.pass(20_000);
  assert.equal(station.senders.count, 0);
  assert.ok(made.every((pc) => pc.closed));
});

test("a browser that makes no connection says so, and lends nothing", async () => {
  await registered();
  station.senders.makePeer = () => {
    throw new Error("no WebRTC");
  };
  hub.emit("station-cmd-start-stream", { requesterId: "op", cameraId: "camera", offer: offer() });
  await settle();
  assert.equal(hub.of("station-cmd-stream-response")[0].status, "error");
  assert.deepEqual([station.senders.count, lent.length], [0, 0]);
});

for (const nonsense of [null, undefined, "x", {}, { sdp: 7 }, { sdp: "bad" }]) {
  test(`an offer that is none is refused: ${JSON.stringify(nonsense)}`, async () => {
    await registered();
    hub.emit("station-cmd-start-stream", { requesterId: "op", cameraId: "camera", offer: nonsense });
    await settle();
    assert.equal(hub.of("station-cmd-stream-response")[0].status, "error");
    assert.equal(station.senders.count, 0);
  });
}

test("commands: identify is done, an unknown one refused, one that comes twice carried out once", async () => {
  await registered();
  let identified = 0;
  station.on("identify", () => identified++);
  for (const command of [{ id: "a", type: "identify" }, { id: "a", type: "identify" }, { id: "b", type: "open-gate" }, { type: "identify" }, { id: "c" }]) hub.emit("station-command", command);
  assert.equal(identified, 1);
  assert.deepEqual(hub.of("station-command-reply"), [
    { id: "a", stage: "done", result: { identified: true } },
    { id: "a", stage: "duplicate" },
    { id: "b", stage: "error", error: "unknown command" },
    { id: "c", stage: "error", error: "unknown command" },
  ]);
});

for (const [who, says] of [
  ["tab", (id) => station.channel.onmessage({ data: id })],
  ["machine", (id) => hub.emit("station-replaced", { stationId: id })],
]) {
  test(`another ${who} takes over: this one is silent until it is told to be the station again`, async () => {
    await registered();
    assert.deepEqual(posted, ["st-1"]);
    station.callCenter();
    says("st-2");
    assert.equal(station.registration, "registered");
    says("st-1");
    assert.deepEqual([station.registration, hub.state, station.calling, clock.waiting], ["taken", "closed", null, 0]);
    await registered();
    assert.equal(station.registration, "registered");
  });
}

test("another camera: streams and a call send its picture", async () => {
  await registered();
  hub.emit("station-cmd-start-stream", { requesterId: "op", cameraId: "camera", offer: offer() });
  hub.emit("station-cmd-join-room", { roomId: "r" });
  await settle();
  const replaced = lent.map((stream) => stream.getVideoTracks()[0]);
  camera.emit("track", new FakeStream("video").tracks[0]);
  assert.ok(replaced.every((track) => track.stopped));
  assert.ok(lent.every((stream) => stream.getVideoTracks().length === 1 && !stream.getVideoTracks()[0].stopped));
});

test("a camera that is not there, or goes, is a test picture; one that is plugged in is taken", async () => {
  const plugged = new FakeStream("audio", "video");
  let there = false;
  const devices = {
    addEventListener: (_, listener) => (devices.changed = listener),
    getUserMedia: async ({ video }) => {
      if (there) return plugged;
      if (video) throw Object.assign(new Error(), { name: "NotFoundError" });
      return new FakeStream("audio");
    },
    enumerateDevices: async () => (there ? [{ kind: "videoinput", deviceId: "c", label: "Cam" }, { kind: "audioinput", deviceId: "m" }] : []),
  };
  const own = new OwnCamera({ devices, testPicture: () => new FakeStream("video") });
  await own.open();
  assert.deepEqual([own.real, own.problem, own.heard, own.cameras], [false, "missing", true, []]);
  there = true;
  await devices.changed();
  assert.deepEqual([own.real, own.problem, own.cameras], [true, null, [{ id: "c", label: "Cam" }]]);
  assert.deepEqual(own.lend({ sound: false }).tracks.map(({ kind }) => kind), ["video"]);
  own.close();
  assert.ok(plugged.tracks.every((track) => track.stopped));
  const insecure = new OwnCamera({ devices: undefined, testPicture: () => new FakeStream("video") });
  await insecure.open();
  assert.deepEqual([insecure.real, insecure.problem], [false, "insecure"]);
});

// ---- the session of an edge page

function edge(posts) {
  const storage = new FakeStorage();
  const app = new EdgeApp({ base: "http://hub/", stationId: "st-1", storage, tables: { en: {} }, languages: [], clock, devices: undefined, testPicture: () => new FakeStream("video"), channel: null, sense: () => [], move: (id) => (app.moved = id) });
  const asked = [];
  app.api.post = async (path) => {
    asked.push(path);
    const answer = posts.shift();
    if (answer instanceof Error) throw answer;
    return answer;
  };
  app.hub.open = () => (app.opened = (app.opened ?? 0) + 1);
  return { app, storage, asked };
}

const own = () => ({ accessToken: token({ type: "station", stationId: "st-1", exp: clock.now() / 1000 + 86_400 }) });

test("an ended token is changed for another by the key that was kept, however long the hub is away", async () => {
  const { app, asked } = edge([own(), new ApiError(0, ""), new ApiError(503, ""), own()]);
  await app.signInByKey("st-1", "secret", true);
  app.hub.emit("end", "UNAUTHORIZED: Unauthorized");
  for (let second = 0; second < 20; second++) {
    await settle();
    clock.pass(1_000);
  }
  assert.deepEqual(asked, Array(4).fill("auth/station"));
  assert.equal(app.session.signedIn, true);
  assert.equal(app.opened, 2);
});

test("a key that is wrong by now is forgotten; one that was not kept is nowhere", async () => {
  const { app, storage } = edge([own(), new ApiError(401, "")]);
  await app.signInByKey("st-1", "secret", true);
  assert.ok([...storage.items.values()].includes("secret"));
  app.hub.emit("end", "KICKED REVOKED");
  await settle();
  assert.deepEqual([app.session.signedIn, app.ended, storage.items.size], [false, "edge.revoked", 0]);
  const other = edge([own()]);
  await other.app.signInByKey("st-1", "secret", false);
  assert.ok(![...other.storage.items.values()].some((kept) => kept.includes("secret")));
  other.app.hub.emit("end", "UNAUTHORIZED: Unauthorized");
  assert.equal(other.app.ended, "ended.expired");
});

test("what another tab took stays with it when that renews the session; signing in here, or asking for it, takes it back", async () => {
  const { app, storage } = edge([own(), own()]);
  await app.signInByKey("st-1", "secret", true);
  app.station.registration = "taken";
  const renewed = (sessionId) => storage.setItem(app.session.key, JSON.stringify({ token: token({ type: "station", stationId: "st-1", sessionId }) }));
  renewed("s-2");
  app.session.stored();
  assert.deepEqual([app.station.registration, app.opened], ["taken", 1]);
  app.takeBack();
  assert.deepEqual([app.station.registration, app.opened], ["waiting", 2]);
  app.station.registration = "taken";
  await app.signInByKey("st-1", "secret", true);
  assert.equal(app.opened, 3);
});

test("who leaves while the key is being used is not signed in again", async () => {
  const { app, storage } = edge([own(), new ApiError(0, ""), own()]);
  await app.signInByKey("st-1", "secret", true);
  app.hub.emit("end", "UNAUTHORIZED: Unauthorized");
  app.leave();
  for (let second = 0; second < 20; second++) {
    await settle();
    clock.pass(1_000);
  }
  assert.deepEqual([app.session.signedIn, storage.items.size], [false, 0]);
});

test("leaving forgets the key, and asks the hub for nothing; another station is another page with a session of its own", async () => {
  const { app, storage, asked } = edge([own(), own()]);
  await app.signInByKey("st-1", "secret", true);
  app.leave();
  assert.deepEqual([storage.items.size, asked], [0, ["auth/station"]]);
  await app.signInByKey("st-2", "secret", true);
  assert.equal(app.moved, "st-2");
  assert.equal(app.session.signedIn, false);
  assert.deepEqual([...storage.items.keys()].sort(), ["stationhub.edge.st-2", "stationhub.edge.st-2.key"]);
});
