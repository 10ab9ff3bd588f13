import assert from "node:assert/strict";
import { test } from "node:test";
import { candidateFragment } from "../../bridge/console/core/candidates.js";
import { HubError } from "../../bridge/console/core/hub.js";
import { IceServers } from "../../bridge/console/core/ice.js";
import { Streams } from "../../bridge/console/core/streams.js";
import { Emitter } from "../../bridge/console/lib/emitter.js";
import { FakeClock, settle } from "./fakes.js";

/** An RTCPeerConnection that does what it is told. */
class FakePeer {
  kinds = [];
  remoteDescription = null;
  candidates = [];
  closed = 0;
  stats = [];

  constructor(configuration) {
    this.configuration = configuration;
  }

  addTransceiver(kind, { direction }) {
    this.kinds.push(`${kind} ${direction}`);
  }

  async createOffer() {
    return { type: "offer", sdp: "v=0\r\na=ice-ufrag:mine\r\n" };
  }

  async setLocalDescription(description) {
    this.localDescription = description;
  }

  async setRemoteDescription(description) {
    if (description.sdp.includes("bad")) throw new Error("bad");
    this.remoteDescription = description;
  }

  async addIceCandidate(candidate) {
    this.candidates.push(candidate);
    if (candidate.bad) throw new Error("bad");
  }

  getStats = async () => new Map(this.stats.map((one, at) => [at, one]));

  connect(state) {
    this.connectionState = state;
    this.onconnectionstatechange?.();
  }

  close() {
    this.closed++;
  }
}

class FakeHub extends Emitter {
  state = "open";
  welcome = { peerId: "p-1" };
  asked = [];
  sent = [];
  refusal = null;

  async request(event, data) {
    this.asked.push([event, data]);
    if (this.refusal) throw this.refusal;
  }

  send(event, data) {
    this.sent.push([event, data]);
  }

  lose() {
    this.state = "waiting";
    this.welcome = null;
    this.emit("state", "waiting");
  }

  back() {
    this.state = "open";
    this.welcome = { peerId: "p-2" };
    this.emit("state", "open");
  }
}

const ANSWER = { type: "answer", sdp: "v=0\r\na=ice-ufrag:theirs\r\n" };

async function world({ ice = async () => ({ iceServers: [{ urls: ["stun:s"] }], ttl: 3600 }) } = {}) {
  const clock = new FakeClock();
  const hub = new FakeHub();
  const peers = [];
  const log = [];
  const iceAsked = [];
  const journal = {
    add: (stationId, kind, details) => (log.push(details.state), { details }),
    tell: (entry, details) => (Object.assign(entry.details, details), log.push(details.state)),
  };
  const api = { get: (path) => (iceAsked.push(path), ice()) };
  const makePeer = (configuration) => (peers.push(new FakePeer(configuration)), peers.at(-1));
  const streams = new Streams({ hub, ice: new IceServers({ api, clock }), journal, clock, makePeer });
  const made = { clock, hub, peers, log, streams, iceAsked };
  made.open = async (cameraId = "cam") => {
    const stream = streams.open("st-1", cameraId);
    await settle();
    return stream;
  };
  made.ready = async (answer, cameraId = "cam") => {
    hub.emit("station-stream-ready", { stationId: "st-1", cameraId, requesterId: "p-1", status: "ready", ...answer });
    await settle();
  };
  made.play = async (cameraId = "cam") => {
    const stream = await made.open(cameraId);
    await made.ready({ answer: ANSWER }, cameraId);
    stream.showed();
    return stream;
  };
  return made;
}

test("a stream: offered, answered, seen, closed", async () => {
  const { hub, peers, log, streams, open, ready } = await world();
  const stream = await open();
  const [pc] = peers;
  assert.deepEqual(pc.configuration, { iceServers: [{ urls: ["stun:s"] }] });
  assert.deepEqual(pc.kinds, ["video recvonly", "audio recvonly"]);
  assert.deepEqual(hub.asked, [["station-cmd-request-stream", { stationId: "st-1", cameraId: "cam", offer: { type: "offer", sdp: "v=0\r\na=ice-ufrag:mine\r\n" } }]]);
  assert.equal(stream.state, "requesting");
  await ready({ answer: ANSWER });
  assert.equal(stream.state, "connecting");
  assert.deepEqual(pc.remoteDescription, ANSWER);
  pc.ontrack({ track: { kind: "video" } });
  pc.connect("connected");
  assert.deepEqual(stream.tracks, [{ kind: "video" }]);
  stream.showed();
  assert.equal(stream.state, "playing");
  stream.close();
  assert.deepEqual([stream.state, pc.closed, stream.tracks], ["closed", 1, []]);
  assert.equal(streams.get("st-1", "cam"), undefined);
  assert.deepEqual(log, ["requesting", "connecting", "playing", "closed"]);
  assert.equal(hub.asked.length, 1); // the connection's end tells the station
});

test("asked for twice it is one stream; a failed one is tried anew", async () => {
  const { peers, streams, open, ready } = await world();
  const stream = await open();
  assert.equal(streams.open("st-1", "cam"), stream);
  await ready({ status: "error", error: "no such camera <b>" });
  assert.deepEqual([stream.state, stream.reason], ["failed", { kind: "station", text: "no such camera <b>" }]);
  assert.equal(streams.get("st-1", "cam"), stream);
  const again = streams.open("st-1", "cam");
  await settle();
  assert.notEqual(again, stream);
  assert.deepEqual([stream.state, again.state, peers.length, streams.get("st-1", "cam")], ["closed", "requesting", 2, again]);
});

test("candidates: sent after the request, taken after the answer, told apart by their fragment", async () => {
  const { hub, peers, open, ready } = await world();
  await open("one");
  await open("two");
  const candidate = (name) => ({ candidate: { toJSON: () => ({ candidate: name }) } });
  peers[0].onicecandidate(candidate("mine"));
  peers[0].onicecandidate({ candidate: null });
  assert.deepEqual(hub.sent, [["ice-candidate", { to: "station:st-1", candidate: { candidate: "mine" } }]]);
  const theirs = (usernameFragment, more = {}) => hub.emit("ice-candidate", { from: "station:st-1", candidate: { candidate: "c", usernameFragment, ...more } });
  theirs("a");
  theirs("b", { bad: true });
  hub.emit("ice-candidate", { from: "station:st-2", candidate: { candidate: "other", usernameFragment: "a" } });
  assert.deepEqual([peers[0].candidates, peers[1].candidates], [[], []]);
  await ready({ answer: { type: "answer", sdp: "a=ice-ufrag:a" } }, "one");
  await ready({ answer: { type: "answer", sdp: "a=ice-ufrag:b" } }, "two");
  theirs("a", { n: 2 });
  hub.emit("ice-candidate", { from: "a peer id", candidate: { candidate: "candidate:1 ufrag b x" } });
  assert.deepEqual(peers[0].candidates.map((one) => one.n ?? one.usernameFragment), ["a", 2]);
  assert.deepEqual(peers[1].candidates.map((one) => one.usernameFragment), ["b", undefined]);
});

test("candidates that are there before the request wait for it; they are bounded", async () => {
  const { hub, peers, streams } = await world();
  const stream = streams.open("st-1", "cam");
  await Promise.resolve();
  stream.candidate("station:st-1", { candidate: "early" });
  for (let n = 0; n < 1000; n++) stream.candidate("station:st-1", {});
  while (!peers.length) await Promise.resolve();
  peers[0].onicecandidate({ candidate: { toJSON: () => "first" } });
  assert.deepEqual(hub.sent, []);
  await settle();
  assert.deepEqual(hub.sent.map(([, data]) => data.candidate), ["first"]);
  assert.equal(hub.asked[0][0], "station-cmd-request-stream");
  stream.answered({ status: "ready", answer: ANSWER });
  await settle();
  assert.equal(peers[0].candidates.length, 64);
});

test("why it fails", async () => {
  const cases = [
    [{ status: "error", error: "camera is broken" }, { kind: "station", text: "camera is broken" }],
    [{ status: "busy" }, { kind: "station", text: "busy" }],
    [{ status: "what" }, { kind: "station", text: "what" }],
    [{ status: "ready", answer: { sdp: 5 } }, { kind: "station", text: "ready" }],
    [{ status: "ready", answer: { type: "answer", sdp: "bad" } }, { kind: "bad-answer", text: "" }],
    [{ url: "rtsp://x/y" }, { kind: "address", text: "rtsp://x/y" }],
    [{ url: "javascript:alert(1)" }, { kind: "address", text: "javascript:alert(1)" }],
    [{ url: "no address" }, { kind: "address", text: "no address" }],
  ];
  for (const [answer, reason] of cases) {
    const { open, ready, peers, hub } = await world();
    const stream = await open();
    await ready(answer);
    assert.deepEqual([stream.state, stream.reason, stream.url, peers[0].closed > 0], ["failed", reason, null, true], JSON.stringify(answer));
    assert.ok(!hub.asked.some(([event]) => event === "station-command") || answer.answer, JSON.stringify(answer));
  }
});

test("an address is played from there, without a connection of its own", async () => {
  const { clock, open, ready, peers } = await world();
  const stream = await open();
  await ready({ url: "https://cam.example/live.mp4" });
  assert.deepEqual([stream.state, stream.url, peers[0].closed], ["connecting", "https://cam.example/live.mp4", 1]);
  stream.showed();
  stream.measured(640, 360);
  clock.pass(60_000);
  assert.deepEqual([stream.state, stream.numbers], ["playing", { width: 640, height: 360, fps: 0 }]);
});

test("no answer, no picture: failed, and the station is told not to try any more", async () => {
  const { clock, hub, open, ready } = await world();
  const silent = await open("silent");
  clock.pass(9_999);
  assert.equal(silent.state, "requesting");
  clock.pass(1);
  assert.deepEqual([silent.state, silent.reason.kind], ["failed", "no-answer"]);
  assert.deepEqual(hub.asked.at(-1), ["station-command", { stationId: "st-1", type: "stop-stream", params: { cameraId: "silent" }, timeoutMs: 2000 }]);
  const dark = await open("dark");
  await ready({ answer: ANSWER }, "dark");
  clock.pass(15_000);
  assert.deepEqual([dark.state, dark.reason.kind], ["failed", "no-picture"]);
  assert.equal(clock.waiting, 0);
});

test("what the hub refuses is the reason; a browser that cannot is, too", async () => {
  const { hub, open } = await world();
  hub.refusal = new HubError("STATION_OFFLINE: Station offline or not found");
  const stream = await open();
  assert.equal(stream.state, "failed");
  assert.equal(stream.reason.error, hub.refusal);
  const { streams } = await world();
  streams.makePeer = () => {
    throw new Error("no WebRTC here");
  };
  const other = streams.open("st-1", "cam");
  await settle();
  assert.deepEqual(other.reason, { kind: "browser", text: "no WebRTC here" });
});

test("a connection that breaks has six seconds to come back", async () => {
  const { clock, play, peers } = await world();
  const stream = await play();
  peers[0].connect("disconnected");
  assert.equal(stream.troubled, "interrupted");
  clock.pass(5_000);
  peers[0].connect("connected");
  clock.pass(5_500);
  assert.deepEqual([stream.state, stream.troubled], ["playing", null]);
  peers[0].connect("disconnected");
  clock.pass(6_000);
  assert.deepEqual([stream.state, stream.reason.kind], ["failed", "lost"]);
  for (const state of ["failed", "closed"]) {
    const more = await world();
    const other = await more.play();
    more.peers[0].connect(state);
    assert.deepEqual([other.state, other.reason.kind, more.peers[0].closed], ["failed", "lost", 1]);
  }
});

test("its numbers are shown; without new pictures it stands still", async () => {
  const { clock, play, peers } = await world();
  const stream = await play();
  const [pc] = peers;
  const stats = { type: "inbound-rtp", kind: "video", frameWidth: 640, frameHeight: 360, framesPerSecond: 15, framesDecoded: 1 };
  pc.stats = [{ type: "transport" }, stats];
  await settle();
  const second = async () => (clock.pass(1000), await settle());
  await second();
  assert.deepEqual(stream.numbers, { width: 640, height: 360, fps: 15 });
  for (let n = 0; n < 6; n++) await second();
  assert.equal(stream.troubled, "still");
  stats.framesDecoded = 2;
  await second();
  assert.deepEqual([stream.state, stream.troubled], ["playing", null]);
  stream.close();
  assert.equal(clock.waiting, 0);
  await second();
  assert.equal(clock.waiting, 0);
});

test("the hub going away ends what is not answered, and nothing that plays", async () => {
  const { hub, clock, open, play, peers } = await world();
  const playing = await play("one");
  const waiting = await open("two");
  hub.lose();
  assert.deepEqual([playing.state, waiting.state, waiting.reason.error.code], ["playing", "failed", "UNAVAILABLE"]);
  hub.back();
  hub.sent = [];
  peers[0].onicecandidate({ candidate: { toJSON: () => "late" } });
  assert.deepEqual(hub.sent, []); // the hub knows nothing of the stream any more
  clock.pass(60_000);
  assert.equal(playing.state, "playing");
});

test("those of a station end when nobody looks at it any more, not while its page is built anew", async () => {
  const { clock, streams, play } = await world();
  const first = streams.hold("st-1");
  const stream = await play();
  first();
  const second = streams.hold("st-1");
  clock.pass(1000);
  assert.equal(stream.state, "playing");
  second();
  clock.pass(1000);
  assert.equal(stream.state, "closed");
});

test("signing out ends all; a stream that is closed while it begins asks for nothing", async () => {
  const { hub, streams, play, peers } = await world();
  await play("one");
  await play("two");
  const young = streams.open("st-1", "three");
  streams.clear();
  await settle();
  assert.deepEqual(streams.of("st-1"), []);
  assert.deepEqual([young.state, peers.length, peers.every((pc) => pc.closed === 1)], ["closed", 2, true]);
  assert.equal(hub.asked.filter(([, { cameraId }]) => cameraId === "three").length, 0);
});

test("one that is closed while the browser makes its offer asks for nothing", async () => {
  const { hub, peers, streams } = await world();
  const stream = streams.open("st-1", "cam");
  while (!peers.length) await Promise.resolve();
  stream.close();
  await settle();
  assert.deepEqual([hub.asked, peers[0].closed], [[], 1]);
});

test("ICE servers are asked for once in a while, and not needed", async () => {
  const { clock, iceAsked, open, streams } = await world();
  await open("one");
  await open("two");
  assert.equal(iceAsked.length, 1);
  clock.pass(3600_000);
  await open("three");
  assert.equal(iceAsked.length, 2);
  assert.ok(streams.room);
  const without = await world({ ice: () => Promise.reject(new Error("away")) });
  await without.open();
  assert.deepEqual(without.peers[0].configuration, { iceServers: [] });
});

test("a late answer, and one nobody asked for, change nothing", async () => {
  const { open, ready, play, hub } = await world();
  const stream = await play();
  await ready({ answer: ANSWER });
  await ready({ url: "https://elsewhere/" });
  assert.deepEqual([stream.state, stream.url], ["playing", null]);
  hub.emit("station-stream-ready", { stationId: "st-9", cameraId: "cam", status: "ready" });
  const closed = await open("other");
  closed.close();
  await ready({ answer: ANSWER }, "other");
  assert.equal(closed.state, "closed");
  await ready({ status: "error", error: "unplugged" });
  assert.deepEqual([stream.state, stream.reason.text], ["failed", "unplugged"]);
});

test("fragments", () => {
  assert.equal(candidateFragment({ candidate: "candidate:1 1 udp 1 1.2.3.4 5 typ host ufrag xyz network-id 1" }), "xyz");
  assert.equal(candidateFragment({ usernameFragment: "u", candidate: "c ufrag z" }), "u");
  assert.equal(candidateFragment(null), null);
});
