"""Cameras against aiortc as the browser: real frames, hostile offers, limits, and nothing that stays."""

import asyncio
import gc
import logging
import random
import string
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import av
import psutil
import pytest

import devices.video.peer as peer_module
from devices.camera import MAX_MEMBERS, Cameras
from devices.messages import Command, Signal
from devices.video.picture import Drawing, text_rows
from devices.video.sdp import described_fragment
from devices.video.viewers import MAX_EARLY
from tests.e2e.waiting import GUARD, until
from tests.viewer import Viewer, viewer


class Hub:
    """What the station says to the hub."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.rooms: list[str] = []

    async def stream_response(self, requester_id: str, status: str, **fields: Any) -> None:
        self.said.put_nowait(
            {"to": requester_id, "status": status} | {k: v for k, v in fields.items() if v is not None}
        )

    async def signal(self, signal: Signal) -> None:
        self.said.put_nowait({"to": signal.peer, "answer": signal.answer, "offer": signal.offer})

    async def join_room(self, room_id: str) -> None:
        self.rooms.append(room_id)

    async def leave_room(self, room_id: str) -> None:
        self.rooms.remove(room_id)


@pytest.fixture
def hub() -> Hub:
    return Hub()


async def watch(cameras: Cameras, hub: Hub, who: Viewer, camera: str | None = "cam-1", name: str = "ann") -> None:
    """The viewer asks, and the station answers."""
    await cameras.start(name, camera, who.offer)
    said = hub.said.get_nowait()
    assert (said["to"], said["status"], said.get("camera_id")) == (name, "ready", camera)
    await who.accept(said["answer"])


def brightness(frame: Any) -> bytes:
    """The first plane."""
    return bytes(frame.planes[0])


async def test_a_viewer_sees_a_moving_picture(hub: Hub) -> None:
    async with Cameras("st-1", hub) as cameras, viewer() as ann:
        await watch(cameras, hub, ann)
        frames = await ann.frames(20)
        assert {(frame.width, frame.height) for frame in frames} == {(640, 360)}
        first, last = brightness(frames[5]), brightness(frames[-1])
        assert max(first) - min(first) > 150
        assert sum(abs(a - b) > 40 for a, b in zip(first, last, strict=True)) > 500


async def test_each_camera_has_its_own_picture(hub: Hub) -> None:
    """Two cameras, and two stations: what is written differs, what is drawn is the same twice."""
    one, two = Drawing("st-1", "gate"), Drawing("st-2", "gate")
    assert one.picture(1.0, "12:00:00.0") == Drawing("st-1", "gate").picture(1.0, "12:00:00.0")
    assert one.picture(1.0, "12:00:00.0") != one.picture(1.0, "12:00:00.1")
    assert one.picture(1.0, "12:00:00.0").planes[0] != two.picture(1.0, "12:00:00.0").planes[0]
    async with Cameras("st-1", hub) as cameras, viewer() as ann, viewer() as bob:
        await watch(cameras, hub, ann, "gate", "ann")
        await watch(cameras, hub, bob, "lane", "bob")
        titles = [brightness((await who.frames(10))[-1])[640 * 100 : 640 * 140] for who in (ann, bob)]
        assert sum(abs(a - b) > 80 for a, b in zip(*titles, strict=True)) > 200


def test_letters() -> None:
    """Every character of an id has a glyph of its own; any other is a box; long texts are cut."""
    letters = string.ascii_letters + string.digits + "._-: "
    assert len({tuple(text_rows(letter, 1)) for letter in letters}) == len(letters)
    assert text_rows("\N{SNOWMAN}", 1) == text_rows("\N{UMBRELLA}", 1)
    assert len(Drawing("x" * 64, "\ud800" * 256).picture(0.0, "").planes[0]) == 640 * 360


async def test_a_newer_request_replaces(hub: Hub) -> None:
    """The same requester and camera: the older connection is closed, whatever the limit."""
    async with Cameras("st-1", hub, max_viewers=1) as cameras, viewer() as old, viewer() as new:
        await watch(cameras, hub, old)
        await old.frames(1)
        await watch(cameras, hub, new)
        async with asyncio.timeout(GUARD):
            await old.lost.wait()
        await new.frames(3)
        assert cameras.viewers == 1


async def test_requests_at_once(hub: Hub) -> None:
    """Of several at the same moment the newest is answered; the others are neither answered nor kept."""
    async with Cameras("st-1", hub, max_viewers=1) as cameras, viewer() as ann:
        await asyncio.gather(*(cameras.start("ann", "cam-1", ann.offer) for _ in range(5)))
        said = [hub.said.get_nowait() for _ in range(hub.said.qsize())]
        assert [(s["to"], s["status"]) for s in said] == [("ann", "ready")]
        await ann.accept(said[0]["answer"])
        await ann.frames(2)
        assert cameras.viewers == 1


async def test_too_many(hub: Hub) -> None:
    """A station has a limit; a place is free again when somebody leaves."""
    async with Cameras("st-1", hub, max_viewers=2) as cameras, viewer() as ann, viewer() as bob, viewer() as eve:
        await watch(cameras, hub, ann, name="ann")
        await watch(cameras, hub, bob, name="bob")
        await ann.frames(1)
        await cameras.start("eve", "cam-1", eve.offer)
        told = {"status": "error", "error": "too many viewers", "camera_id": "cam-1"}
        assert hub.said.get_nowait() == {"to": "eve"} | told
        await ann.pc.close()
        await until(lambda: cameras.viewers == 1)
        await watch(cameras, hub, eve, name="eve")
        await eve.frames(1)


DATA = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"


@pytest.mark.parametrize(
    ("offer", "error"),
    [
        (None, "send an offer"),
        ([], "malformed offer"),
        ("v=0", "malformed offer"),
        ({"type": "offer"}, "malformed offer"),
        ({"type": "offer", "sdp": None}, "malformed offer"),
        ({"type": "answer", "sdp": "SDP"}, "malformed offer"),
        ({"type": "offer", "sdp": "SDP" + "a=x\r\n" * 20_000}, "malformed offer"),
        ({"type": "offer", "sdp": "SDP" * 9}, "malformed offer"),
        ({"type": "offer", "sdp": "SDP" + DATA}, "audio and video only"),
        ({"type": "offer", "sdp": "SDP" + "a=x\u2028" + DATA}, "audio and video only"),
        ({"type": "offer", "sdp": "INACTIVE"}, "does not ask for video"),
        ({"type": "offer", "sdp": "AUDIO"}, "does not ask for video"),
        ({"type": "offer", "sdp": "a=ice-ufrag:abcd\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n"}, "malformed session"),
        (
            {"type": "offer", "sdp": "a=ice-ufrag:abcd\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n"},
            "malformed offer",
        ),
    ],
)
async def test_bad_offers(hub: Hub, offer: Any, error: str) -> None:
    """Each is answered with an error that repeats nothing of it, and leaves nothing behind."""
    async with Cameras("st-1", hub) as cameras, viewer() as ann:
        sdp = ann.offer["sdp"]
        if isinstance(offer, dict) and isinstance(offer.get("sdp"), str):
            texts = {"SDP": sdp, "INACTIVE": sdp.replace("a=recvonly", "a=sendonly"), "AUDIO": sdp}
            for name, text in texts.items():
                offer = offer | {"sdp": offer["sdp"].replace(name, text)}
            if error == "does not ask for video" and "recvonly" in offer["sdp"]:
                offer["sdp"] = offer["sdp"].replace("a=recvonly", "a=inactive")
        await cameras.start("ann", "cam-1", offer)
        said = hub.said.get_nowait()
        assert said["status"] == "error"
        assert error in said["error"]
        assert cameras.viewers == 0


async def test_damaged_offers(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    """Lines lost, doubled, cut and mixed up: each is answered one way or the other, and all is closed at the end."""
    rng, before = random.Random(6), asyncio.all_tasks()
    async with viewer() as ann, viewer(call=True) as bob:
        lines = [(who.offer["sdp"]).splitlines() for who in (ann, bob)]
        async with Cameras("st-1", hub, max_viewers=50) as cameras:
            for number in range(120):
                damaged = list(rng.choice(lines))
                for _ in range(rng.randint(1, 6)):
                    at = rng.randrange(len(damaged))
                    match rng.randrange(4):
                        case 0:
                            del damaged[at]
                        case 1:
                            damaged.insert(at, rng.choice(damaged))
                        case 2:
                            damaged[at] = damaged[at][: rng.randrange(len(damaged[at]) + 1)]
                        case 3:
                            damaged[at] += rng.choice([" ", "9" * 40, "\x00", "\u2028", "-1", " a b c"])
                await cameras.start(f"peer-{number % 40}", "cam-1", {"type": "offer", "sdp": "\r\n".join(damaged)})
            assert {hub.said.get_nowait()["status"] for _ in range(hub.said.qsize())} == {"ready", "error"}
    await until(lambda: asyncio.all_tasks() <= before)
    gc.collect()  # a task that failed unseen is told of now
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def split(sdp: str) -> tuple[str, list[str]]:
    """A description without its candidates, and those."""
    lines = sdp.splitlines(keepends=True)
    inside = ("a=candidate:", "a=end-of-candidates")
    found = [line.strip().removeprefix("a=") for line in lines if line.startswith("a=candidate:")]
    return "".join(line for line in lines if not line.startswith(inside)), found


@pytest.mark.parametrize("early", [True, False])
async def test_candidates_find_their_connection(hub: Hub, early: bool) -> None:
    """Two streams of one browser: each candidate goes where its fragment says, before the offer came or after.

    The browser knows no candidate of the station, so that only those can connect them.
    """
    async with Cameras("st-1", hub) as cameras, viewer() as one, viewer() as two:
        signals, offers = [], []
        for who in (one, two):
            offer, candidates = split(who.offer["sdp"])
            fragment = described_fragment(who.offer)
            offers.append({"type": "offer", "sdp": offer})
            signals += [
                {"candidate": line, "sdpMid": "0", "sdpMLineIndex": 0, "usernameFragment": fragment}
                for line in candidates
            ]
        signals.reverse()
        if early:
            for candidate in signals:
                cameras.signalled(Signal(event="ice-candidate", peer="ann", candidate=candidate))
        for number, (who, offer_) in enumerate(zip((one, two), offers, strict=True)):
            await cameras.start("ann", f"cam-{number}", offer_)
            answer, _ = split(hub.said.get_nowait()["answer"]["sdp"])
            await who.accept({"type": "answer", "sdp": answer})
        if not early:
            for candidate in signals:
                cameras.signalled(Signal(event="ice-candidate", peer="eve", candidate=candidate))
                cameras.signalled(Signal(event="ice-candidate", peer="ann", candidate=candidate))
        await asyncio.gather(one.frames(2), two.frames(2))


@pytest.mark.parametrize(
    "candidate",
    [
        *(None, [], {}, {"candidate": ""}, {"candidate": None}, {"candidate": 7}, {"candidate": "x" * 10_000}),
        {"candidate": "candidate:1 1 udp 1 127.0.0.1 99999 typ host"},
        {"candidate": "candidate:1 1 udp 1 127.0.0.1 -1 typ host"},
        {"candidate": "candidate:1 1 udp 1 fe80::1%lo 9 typ host"},
        {"candidate": "candidate:1 1 udp 1 www.example.com 9 typ host"},
        {"candidate": "candidate:1 1 udp 1 nobody-has-this-name.local 9 typ host"},
        {"candidate": "candidate:1 1 tcp 1 127.0.0.1 9 typ host tcptype active"},
        {"candidate": "candidate:1 x udp 1 127.0.0.1 9 typ host"},
        {"candidate": "candidate:1 1 udp 1 127.0.0.1 9 typ other"},
        {"candidate": "candidate:1 1 udp 1 127.0.0.1 9 typ host", "usernameFragment": 7, "sdpMid": ["x"]},
    ],
)
async def test_bad_candidates(hub: Hub, candidate: Any) -> None:
    """They change nothing, however many there are."""
    async with Cameras("st-1", hub) as cameras, viewer() as ann:
        for _ in range(100):
            cameras.signalled(Signal(event="ice-candidate", peer="ann", candidate=candidate))
        await cameras.start("ann", "cam-1", ann.offer)
        for _ in range(100):
            cameras.signalled(Signal(event="ice-candidate", peer="ann", candidate=candidate))
        await ann.accept(hub.said.get_nowait()["answer"])
        await ann.frames(2)


async def test_candidates_that_wait_are_small(hub: Hub) -> None:
    """Anybody may send them, a megabyte each, and without ever an offer: little of each is kept, and of few."""
    line = "candidate:1 1 udp 1 127.0.0.1 9 typ host"
    async with Cameras("st-1", hub) as cameras:
        for number in range(200):
            for text, fragment in ((line, f"name{number}"), (line, "n" * 10_000), ("x" * 10_000, "name")):
                candidate = {"candidate": text, "usernameFragment": fragment, "more": "x" * 10_000}
                cameras.signalled(Signal(event="ice-candidate", peer="ann", candidate=candidate))
        early = cameras._viewers._early
        assert len(early) == MAX_EARLY
        assert max(len(fragment) + len(repr(candidate)) for _, _, fragment, candidate in early) < 400


async def test_members_of_a_room_are_few(hub: Hub) -> None:
    """However many invite the station into one."""
    async with Cameras("st-1", hub) as cameras:
        for number in range(2 * MAX_MEMBERS):
            await cameras.join("room-1", f"peer-{number}")
        assert len(cameras._rooms["room-1"]) == MAX_MEMBERS


def sockets() -> int:
    """How many UDP sockets this process has."""
    return len(psutil.Process().net_connections("udp"))


async def test_nothing_stays(hub: Hub) -> None:
    """Many viewers that come and go, some before they are connected: no task, socket or thread of theirs is left."""
    async with Cameras("st-1", hub) as cameras:
        tasks, udp = asyncio.all_tasks(), sockets()
        for number in range(12):
            async with viewer() as ann:
                await watch(cameras, hub, ann)
                assert sockets() > udp
                if number % 3:
                    await ann.frames(1)
                if number % 2:
                    await cameras.start("ann", "cam-1", ann.offer)
                    hub.said.get_nowait()
        cameras.signalled(Signal(event="peer-disconnected", peer="ann"))
        await until(lambda: cameras.viewers == 0)
        await until(lambda: asyncio.all_tasks() <= tasks and sockets() == udp)
    assert not [thread.name for thread in threading.enumerate() if "decoder" in thread.name or "camera" in thread.name]


async def test_who_never_connects_is_given_up(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_module, "LOOKS_EVERY", 0.05)
    monkeypatch.setattr(peer_module, "CONNECTS_WITHIN", 0.3)
    async with Cameras("st-1", hub) as cameras, viewer() as ann:
        await cameras.start("ann", "cam-1", {"type": "offer", "sdp": split(ann.offer["sdp"])[0]})
        assert cameras.viewers == 1
        await until(lambda: cameras.viewers == 0)


async def test_who_changes_its_mind(hub: Hub) -> None:
    """A request is taken back before there is a connection, by who made it alone."""
    async with Cameras("st-1", hub) as cameras, viewer() as ann:
        await cameras.start("ann", "cam-1", ann.offer)
        for who, params in (("eve", {"cameraId": "cam-1"}), ("ann", {"cameraId": "cam-2"}), ("ann", None), ("ann", [])):
            await cameras.carry_out(Command(type="stop-stream", requester_id=who, params=params))
        assert cameras.viewers == 1
        await cameras.carry_out(Command(type="stop-stream", requester_id="ann", params={"cameraId": "cam-1"}))
        assert cameras.viewers == 0


async def test_who_is_gone_without_a_word_is_given_up(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A browser that was killed says nothing; its reports stop coming."""
    monkeypatch.setattr(peer_module, "LOOKS_EVERY", 0.1)
    monkeypatch.setattr(peer_module, "SILENT_FOR", 3.0)
    async with Cameras("st-1", hub) as cameras, viewer() as ann:
        await watch(cameras, hub, ann)
        await ann.frames(60)  # four seconds: as long as it reports, it stays
        assert cameras.viewers == 1
        await ann.pc.getTransceivers()[0].receiver.transport.transport._connection.close()
        await until(lambda: cameras.viewers == 0)


# ---- sources


def film(path: Path, seconds: float = 1.0, fmt: str | None = None) -> Path:
    """A short film, of a size that must be made smaller."""
    with av.open(str(path), "w", format=fmt) as container:
        stream = container.add_stream("mpeg4" if fmt is None else "mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = 1000, 500, "yuv420p"
        for number in range(int(seconds * 25)):
            frame = av.VideoFrame(1000, 500, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([number * 8 % 256]) * plane.buffer_size)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def decoders() -> int:
    """How many sources are read."""
    return sum(thread.name == "camera source" for thread in threading.enumerate())


async def test_a_file_is_one_source_for_all(hub: Hub, tmp_path: Path) -> None:
    """It is made smaller, played again and again, and decoded once; the last viewer ends it."""
    sources = {"cam-1": str(film(tmp_path / "film.mp4"))}
    async with Cameras("st-1", hub, sources) as cameras, viewer() as ann, viewer() as bob:
        await watch(cameras, hub, ann, name="ann")
        await watch(cameras, hub, bob, name="bob")
        frames, others = await asyncio.gather(ann.frames(30), bob.frames(30))
        assert {(frame.width, frame.height) for frame in frames + others} == {(640, 320)}
        assert len({brightness(frame)[0] // 16 for frame in frames}) > 3
        assert decoders() == 1
        await ann.pc.close()
        await bob.pc.close()
        await until(lambda: decoders() == 0)


async def test_a_source_that_ends_ends_its_streams(hub: Hub, tmp_path: Path) -> None:
    """A network camera that stops: its viewers are closed, and the next one finds it gone."""
    content = film(tmp_path / "film.ts", 8.0, "mpegts").read_bytes()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for at in range(0, len(content), 10_000):
            writer.write(content[at : at + 10_000])
            await asyncio.sleep(0.05)  # live: as fast as it was taken
            if stop.is_set():
                break
        writer.close()

    stop = asyncio.Event()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with Cameras("st-1", hub, {"cam-1": f"tcp://127.0.0.1:{port}"}) as cameras, viewer() as ann, viewer() as bob:
        await watch(cameras, hub, ann)
        await ann.frames(1)
        stop.set()
        async with asyncio.timeout(GUARD):
            await ann.lost.wait()
        assert cameras.viewers == 0
        server.close()
        await server.wait_closed()
        await cameras.start("bob", "cam-1", bob.offer)
        said = hub.said.get_nowait()
        assert (said["status"], said["error"]) == ("error", "the camera's source cannot be reached")
    await until(lambda: decoders() == 0)


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("rtsp://ann:geheim@127.0.0.1:1/main", "cannot be reached"),
        ("/nowhere/geheim.mp4", "was not found"),
        ("DIRECTORY", "does not open"),
        ("TEXT", "does not open"),
        ("nothing://ann:geheim@127.0.0.1/", "does not open"),
    ],
)
async def test_a_source_that_does_not_open(
    hub: Hub, source: str, error: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: Any
) -> None:
    """The viewer is told so, and nobody is told the address or its password."""
    (tmp_path / "text.mp4").write_text("geheim, and no film")
    source = {"DIRECTORY": str(tmp_path), "TEXT": str(tmp_path / "text.mp4")}.get(source, source)
    async with Cameras("st-1", hub, {"cam-1": source}) as cameras, viewer() as ann:
        await cameras.start("ann", "cam-1", ann.offer)
        said = hub.said.get_nowait()
        assert said["status"] == "error"
        assert error in said["error"]
        assert cameras.viewers == 0
    out, err = capfd.readouterr()
    assert "geheim" not in out + err + caplog.text + said["error"]
    await until(lambda: decoders() == 0)


async def test_unknown_cameras(hub: Hub) -> None:
    """Named sources: another camera is unknown; who names none gets the first."""
    async with Cameras("st-1", hub, {"gate": "test"}) as cameras, viewer() as ann:
        await cameras.start("ann", "lane", ann.offer)
        assert hub.said.get_nowait()["error"] == "unknown camera"
        await watch(cameras, hub, ann, None)
        await ann.frames(1)
    async with Cameras("st-1", hub, {}) as cameras:
        await cameras.start("ann", None, ann.offer)
        assert hub.said.get_nowait()["error"] == "unknown camera"


# ---- calls


async def test_a_call(hub: Hub) -> None:
    """Only in a room that it was invited to; it sends and takes sound and picture, and leaves when nobody is there."""
    async with Cameras("st-1", hub) as cameras, viewer(call=True) as ann:
        offer = Signal(event="offer", peer="ann", room_id="room", offer=ann.offer)
        cameras.signalled(offer)
        await cameras.carry_out(Command(type="join-room", room_id="room", inviter_id="ann"))
        assert hub.rooms == ["room"]
        assert hub.said.empty()
        cameras.signalled(offer)
        await ann.accept((await hub.said.get())["answer"])
        await ann.frames(3)
        await ann.frames(3, "audio")
        cameras.signalled(Signal(event="peer-left", peer="eve", room_id="room"))
        cameras.signalled(Signal(event="peer-left", peer="ann", room_id="room"))
        await until(lambda: cameras.viewers == 0 and hub.rooms == [])


async def test_who_joins_later_is_offered(hub: Hub) -> None:
    """Who was in the room first makes the offer; an answer that is none, or a stranger's, ends or changes nothing else."""
    async with Cameras("st-1", hub) as cameras, viewer(offers=False) as bob:
        await cameras.carry_out(Command(type="join-room", room_id="room", inviter_id="ann"))
        for peer in ("bob", "eve"):
            cameras.signalled(Signal(event="peer-joined", peer=peer, room_id="room"))
        offers = {said["to"]: said["offer"] for said in (await hub.said.get(), await hub.said.get())}
        assert sorted(offers) == ["bob", "eve"]
        for peer, answer in (
            ("nobody", offers["bob"]),
            ("eve", offers["eve"]),
            ("eve", {"type": "answer", "sdp": "v=0"}),
        ):
            cameras.signalled(Signal(event="answer", peer=peer, room_id="room", answer=answer))
        await until(lambda: cameras.viewers == 1)
        answer = await bob.answer(offers["bob"])
        cameras.signalled(Signal(event="answer", peer="bob", room_id="room", answer=answer))
        await bob.frames(3)
        await bob.frames(3, "audio")
        for peer in ("ann", "bob"):
            cameras.signalled(Signal(event="peer-left", peer=peer, room_id="room"))
        await until(lambda: hub.rooms == ["room"] and cameras.viewers == 0)
        cameras.signalled(Signal(event="peer-left", peer="eve", room_id="room"))
        await until(lambda: hub.rooms == [])


async def test_a_forgotten_room_makes_place(hub: Hub) -> None:
    """Rooms in which nothing ever happened do not keep the station from being called."""
    async with Cameras("st-1", hub) as cameras:
        for number in range(10):
            await cameras.carry_out(Command(type="join-room", room_id=f"room-{number}", inviter_id="ann"))
        assert hub.rooms == [f"room-{number}" for number in range(6, 10)]


def test_without_the_extra() -> None:
    """The package is of use without it; cameras say in one line what to install."""
    script = """
import sys
sys.modules["aiortc"] = sys.modules["av"] = None
import devices, devices.camera
try:
    devices.camera.Cameras("st-1", None)
except devices.camera.VideoMissing as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "video needs more packages: pip install 'stationhub[video]'\n"
