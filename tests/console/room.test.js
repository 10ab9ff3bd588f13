import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { HubError } from "../../bridge/console/core/hub.js";
import { openMedia } from "../../bridge/console/core/media.js";
import { COMES_WITHIN, CONNECTS_WITHIN, RoomCall } from "../../bridge/console/core/room.js";
import { FakeClock, FakeConnection, FakeHub, FakeStream, settle } from "./fakes.js";

let clock, hub, made, stream, media;

beforeEach(() => {
  clock = new FakeClock();
  hub = new FakeHub();
  hub.answers = { "create-room": { roomId: "room" }, "join-room": { roomId: "room", peers: ["op"] } };
  made = [];
  stream = new FakeStream("audio", "video");
  media = async () => ({ stream, problem: null });
});

function room() {
  const makePeer = (configuration) => {
    const pc = new FakeConnection();
    pc.configuration = configuration;
    made.push(pc);
    return pc;
  };
  return new RoomCall({ stationId: "st-1", hub, clock, makePeer, iceServers: async () => [{ urls: ["stun:x"] }], openMedia: () => media() });
}

async function inviting() {
  const call = room();
  await call.invite();
  return call;
}

/** The station came and was offered to. */
async function connecting() {
  const call = await inviting();
  hub.emit("peer-joined", { peerId: "edge" });
  await settle();
  return call;
}

async function talking() {
  const call = await connecting();
  hub.emit("answer", { from: "edge", answer: { type: "answer", sdp: "v=0\r\na=ice-ufrag:theirs\r\n" } });
  await settle();
  made.at(-1).become("connected");
  return call;
}

const candidate = (line, fragment) => ({ candidate: line, ...(fragment ? { usernameFragment: fragment } : {}) });
const pass = async (ms, step = 500) => {
  for (let left = ms; left > 0; left -= step) {
    clock.pass(Math.min(step, left));
    await settle();
  }
};

test("who invites makes the room, waits, offers to who comes, and talks", async () => {
  const call = room();
  assert.equal(call.state, "preparing");
  await call.invite();
  assert.equal(call.state, "inviting");
  assert.deepEqual(hub.of("station-invite"), [{ stationId: "st-1", roomId: "room" }]);
  hub.emit("peer-joined", { peerId: "edge" });
  await settle();
  assert.equal(call.state, "connecting");
  assert.deepEqual(made[0].configuration, { iceServers: [{ urls: ["stun:x"] }] });
  assert.deepEqual(made[0].sends, ["audio", "video"]);
  assert.equal(hub.of("offer")[0].to, "edge");
  assert.equal(hub.of("offer")[0].offer.type, "offer");
  hub.emit("answer", { from: "edge", answer: { sdp: "v=0\r\na=ice-ufrag:theirs\r\n" } });
  await settle();
  made[0].shows("video");
  clock.pass(300);
  made[0].become("connected");
  assert.equal(call.state, "talking");
  assert.equal(call.startedAt, clock.now());
  assert.equal(call.others[0].tracks.length, 1);
  assert.equal(clock.waiting, 0, "no timer ends a call that goes on");
});

test("without a camera and a microphone it receives", async () => {
  media = async () => ({ stream: null, problem: "missing" });
  const call = await connecting();
  assert.deepEqual(made[0].sends, ["audio recvonly", "video recvonly"]);
  assert.equal(call.problem, "missing");
});

test("candidates wait for the description that they are of", async () => {
  await connecting();
  hub.emit("ice-candidate", { from: "edge", candidate: candidate("c1") });
  hub.emit("ice-candidate", { from: "edge", candidate: candidate("c2", "theirs") });
  hub.emit("ice-candidate", { from: "edge", candidate: candidate("of a stream", "other") });
  assert.deepEqual(made[0].candidates, []);
  hub.emit("answer", { from: "edge", answer: { sdp: "v=0\r\na=ice-ufrag:theirs\r\n" } });
  await settle();
  hub.emit("ice-candidate", { from: "edge", candidate: candidate("c3", "theirs") });
  hub.emit("ice-candidate", { from: "somebody", candidate: candidate("c4") });
  await settle();
  assert.deepEqual(made[0].candidates, ["c1", "c2", "c3"]);
  made[0].finds("mine");
  assert.deepEqual(hub.of("ice-candidate"), [{ to: "edge", candidate: { candidate: "mine" } }]);
});

test("who joins only answers, those who are in the room", async () => {
  const call = room();
  await call.join("room");
  assert.equal(call.state, "connecting");
  hub.emit("offer", { from: "stranger", offer: { sdp: "v=0" } });
  hub.emit("offer", { from: "op", offer: { sdp: "v=0\r\na=ice-ufrag:theirs\r\n" } });
  await settle();
  assert.equal(made.length, 1);
  assert.equal(hub.of("offer").length, 0);
  assert.equal(hub.of("answer")[0].to, "op");
  assert.deepEqual(made[0].sends, ["audio", "video"]);
  made[0].become("connected");
  assert.equal(call.state, "talking");
});

test("an offer that comes before the answer to joining is not lost", async () => {
  let joined;
  hub.answers["join-room"] = () => new Promise((resolve) => (joined = resolve));
  const call = room();
  const joining = call.join("room");
  await settle();
  hub.emit("ice-candidate", { from: "op", candidate: candidate("c1") });
  hub.emit("offer", { from: "op", offer: { sdp: "v=0\r\na=ice-ufrag:theirs\r\n" } });
  hub.emit("ice-candidate", { from: "op", candidate: candidate("c2") });
  joined({ roomId: "room", peers: ["op"] });
  await joining;
  await settle();
  assert.equal(hub.of("answer").length, 1);
  assert.deepEqual(made[0].candidates, ["c2"], "the first was of nobody yet");
});

test("several in the room: a connection to each; one that leaves ends only its own", async () => {
  const call = await talking();
  hub.emit("peer-joined", { peerId: "third" });
  await settle();
  assert.equal(made.length, 2);
  assert.equal(hub.of("offer")[1].to, "third");
  hub.emit("peer-joined", { peerId: "third" });
  hub.emit("peer-left", { peerId: "third" });
  await settle();
  assert.deepEqual([made.length, made[1].closed, call.state], [2, true, "talking"]);
  for (let number = 0; number < 50; number++) hub.emit("peer-joined", { peerId: `p-${number}` });
  assert.ok(made.length <= 7);
});

for (const [why, begin, end, reason] of [
  ["nobody comes", inviting, () => clock.pass(COMES_WITHIN), "nobody"],
  ["no way is found", connecting, () => clock.pass(CONNECTS_WITHIN), "unconnected"],
  ["the station goes away before it came", inviting, () => hub.emit("station-disconnected", { stationId: "st-1" }), "nobody"],
  ["who came goes before it connects", connecting, () => hub.emit("peer-left", { peerId: "edge" }), "left"],
  ["the hub is lost before anybody is there", inviting, () => hub.lose(), "lost"],
  ["the hub is lost while it connects", connecting, () => hub.lose(), "lost"],
]) {
  test(`${why}: it ends, and leaves nothing behind`, async () => {
    const call = await begin();
    end();
    await settle();
    assert.deepEqual([call.state, call.reason], ["ended", reason]);
    assert.ok(stream.tracks.every((track) => track.stopped));
    assert.ok(made.every((pc) => pc.closed));
    assert.equal(clock.waiting, 0);
    hub.emit("peer-joined", { peerId: "late" });
    assert.ok(made.length <= 1);
  });
}

for (const event of ["create-room", "station-invite"]) {
  test(`the hub refuses ${event}: it says why`, async () => {
    hub.answers[event] = new HubError("STATION_OFFLINE: Station offline");
    const call = await inviting();
    assert.deepEqual([call.state, call.reason, call.error.code], ["ended", "refused", "STATION_OFFLINE"]);
    assert.ok(stream.tracks.every((track) => track.stopped));
  });
}

test("hung up, the room is left and everything stopped", async () => {
  const call = await talking();
  const [peer] = call.others;
  call.hangUp();
  assert.deepEqual([call.state, call.reason], ["ended", "hung-up"]);
  assert.deepEqual(hub.of("leave-room"), [{ roomId: "room" }]);
  assert.ok(made[0].closed && peer.over);
  assert.ok(stream.tracks.every((track) => track.stopped));
  call.hangUp();
  assert.equal(hub.of("leave-room").length, 1);
});

test("hung up while the camera is asked for, or while the room is made", async () => {
  let given;
  media = () => new Promise((resolve) => (given = resolve));
  const call = room();
  const asked = call.invite();
  await settle();
  call.hangUp();
  given({ stream, problem: null });
  await asked;
  assert.ok(stream.tracks.every((track) => track.stopped));
  assert.deepEqual(hub.asked, []);

  media = async () => ({ stream, problem: null });
  let roomed;
  hub.answers["create-room"] = () => new Promise((resolve) => (roomed = resolve));
  const other = room();
  const inviting = other.invite();
  await settle();
  other.hangUp();
  roomed({ roomId: "room" });
  await inviting;
  assert.deepEqual(hub.of("leave-room"), [{ roomId: "room" }]);
  assert.deepEqual(hub.of("station-invite"), []);
});

test("somebody else answers the station while the camera is asked for", async () => {
  media = () => new Promise(() => {});
  const call = room();
  call.invite();
  hub.emit("station-call-answered", { stationId: "st-2" });
  assert.equal(call.state, "preparing");
  hub.emit("station-call-answered", { stationId: "st-1", by: "p-9" });
  assert.equal(call.reason, "elsewhere");
});

test("two accept at one moment: its own invitation is no answer of somebody else, another's is", async () => {
  const call = await inviting();
  hub.emit("station-call-answered", { stationId: "st-1", by: "p-1" });
  assert.equal(call.state, "inviting");
  hub.emit("station-call-answered", { stationId: "st-1", by: "p-9" });
  assert.equal(call.reason, "elsewhere");
});

test("the hub goes while they talk: they go on, nothing more is said to the hub, and its end needs no hub", async () => {
  const call = await talking();
  hub.lose();
  assert.deepEqual([call.state, call.signaling], ["talking", false]);
  hub.back();
  const said = hub.sent.length + hub.asked.length;
  made[0].finds("mine");
  hub.emit("peer-joined", { peerId: "p-9" });
  assert.equal(hub.sent.length + hub.asked.length, said);
  call.hangUp();
  assert.equal(hub.of("leave-room").length, 0, "the room is not of this connection");
});

test("the hub says that the other is gone, and nothing comes any more: it ended", async () => {
  const call = await talking();
  made[0].received = 1_000;
  hub.emit("peer-left", { peerId: "edge" });
  hub.emit("peer-disconnected", { peerId: "edge" });
  await pass(2_000);
  assert.deepEqual([call.state, call.reason], ["ended", "left"]);
  assert.equal(clock.waiting, 0);
});

test("the hub says that the other is gone, but it is still seen: it goes on until that stops", async () => {
  const call = await talking();
  hub.emit("peer-left", { peerId: "edge" });
  for (let second = 0; second < 20; second++) {
    made[0].received += 5_000;
    await pass(1_000);
    assert.equal(call.state, "talking");
  }
  assert.equal(call.signaling, false);
  await pass(2_000);
  assert.equal(call.state, "talking", "a moment of silence is no end");
  made[0].received += 5_000;
  await pass(5_000);
  assert.deepEqual([call.state, call.reason], ["ended", "left"]);
});

test("interrupted, it may come back; failed, who offered offers anew; at last it is lost", async () => {
  const call = await talking();
  made[0].become("disconnected");
  assert.equal(call.troubled, true);
  clock.pass(5_000);
  made[0].become("connected");
  assert.equal(call.troubled, false);
  clock.pass(60_000);
  assert.equal(call.state, "talking");
  made[0].become("failed");
  await settle();
  assert.match(hub.of("offer").at(-1).offer.sdp, /restart/);
  assert.equal(hub.of("offer").length, 2);
  clock.pass(8_000);
  assert.deepEqual([call.state, call.reason], ["ended", "lost"]);
});

test("who hangs up is gone at once, with no hub to say it by; a connection that is closed here tells nothing more", async () => {
  for (const away of [false, true]) {
    const call = await talking();
    if (away) hub.lose();
    assert.equal(call.state, "talking");
    made.at(-1).hangsUp();
    assert.deepEqual([call.state, call.reason], ["ended", "left"]);
    hub.back();
  }
  const call = await talking();
  call.hangUp();
  made.at(-1).hangsUp();
  assert.equal(call.reason, "hung-up");
  assert.equal(clock.waiting, 0);
});

test("a new offer for the same connection is answered on it", async () => {
  const call = room();
  await call.join("room");
  for (const fragment of ["one", "two"]) {
    hub.emit("ice-candidate", { from: "op", candidate: candidate(`early ${fragment}`, fragment) });
    hub.emit("offer", { from: "op", offer: { sdp: `v=0\r\na=ice-ufrag:${fragment}\r\n` } });
    await settle();
  }
  assert.equal(made.length, 1);
  assert.equal(hub.of("answer").length, 2);
  assert.deepEqual(made[0].sends, ["audio", "video"], "not added twice");
  assert.deepEqual(made[0].candidates, ["early two"]);
});

for (const [what, event, content] of [
  ["an answer that is none", "answer", null],
  ["an answer without text", "answer", { sdp: 7 }],
  ["an offer that is none", "offer", "x"],
  ["a candidate that is none", "ice-candidate", null],
]) {
  test(`${what} changes nothing`, async () => {
    const call = await connecting();
    hub.emit(event, { from: "edge", [event === "ice-candidate" ? "candidate" : event]: content });
    await settle();
    assert.equal(call.state, "connecting");
  });
}

test("a browser that makes no connection ends the call", async () => {
  const call = room();
  call.makePeer = () => {
    throw new Error("no WebRTC");
  };
  await call.invite();
  hub.emit("peer-joined", { peerId: "edge" });
  assert.deepEqual([call.state, call.reason, clock.waiting], ["ended", "unconnected", 0]);
});

test("a description that a browser does not take ends it; answers twice do not", async () => {
  const call = await talking();
  hub.emit("answer", { from: "edge", answer: { sdp: "v=0\r\nagain" } });
  await settle();
  assert.equal(call.state, "talking");
  const other = await connecting();
  hub.emit("answer", { from: "edge", answer: { sdp: "bad" } });
  await settle();
  assert.deepEqual([other.state, other.reason], ["ended", "unconnected"]);
});

test("who is gone before the offer reached it: the hub says so", async () => {
  hub.answers.offer = new HubError("SIGNAL_PEER_NOT_FOUND: Peer not found");
  const call = await connecting();
  assert.deepEqual([call.state, call.reason], ["ended", "left"]);
});

test("a new offer that the hub cannot hand on any more does not end what still goes on", async () => {
  const call = await talking();
  hub.answers.offer = new HubError("SIGNAL_PEER_NOT_FOUND: Peer not found");
  made[0].become("failed");
  await settle();
  assert.equal(call.state, "talking");
  made[0].become("connected");
  clock.pass(60_000);
  assert.equal(call.state, "talking");
});

test("muted and hidden, tracks are silent and black; another camera's track is as the one before", async () => {
  const call = await talking();
  call.mute(true);
  call.hide(true);
  assert.deepEqual(stream.tracks.map(({ kind, enabled }) => [kind, enabled]), [["audio", false], ["video", false]]);
  const [, old] = stream.tracks;
  const other = old.clone();
  call.replace(other);
  assert.deepEqual([old.stopped, other.enabled, stream.tracks.includes(other)], [true, false, true]);
  call.hide(false);
  assert.equal(other.enabled, true);
  call.hangUp();
  assert.equal(other.stopped, true);
});

test("a browser gives camera and microphone, or the microphone, or nothing, and why", async () => {
  const failing = (names) => {
    const asked = [];
    return { asked, getUserMedia: async (constraints) => (asked.push(constraints), names.length ? Promise.reject(Object.assign(new Error(), { name: names.shift() })) : "stream") };
  };
  assert.deepEqual(await openMedia(undefined), { stream: null, problem: "insecure" });
  assert.deepEqual(await openMedia(failing([])), { stream: "stream", problem: null });
  const one = failing(["NotFoundError"]);
  assert.deepEqual(await openMedia(one), { stream: "stream", problem: "missing" });
  assert.deepEqual(one.asked, [{ video: true, audio: true }, { video: false, audio: true }]);
  assert.deepEqual(await openMedia(failing(["NotReadableError", "x"])), { stream: "stream", problem: "busy" });
  assert.deepEqual(await openMedia(failing(["NotAllowedError", "NotAllowedError", "NotAllowedError"])), { stream: null, problem: "denied" });
});
