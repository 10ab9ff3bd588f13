"""Damaged packets never bring the broker down: the corpus, some seconds of `fuzz`, and proof that it finds what it should."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from devices.mqtt.codes import PacketType
from devices.mqtt.stream import PacketStream
from hub.broker import handlers, incoming
from hub.broker.connection import Connection
from hub.broker.deadlines import Deadlines
from hub.broker.delivery import Deliveries
from hub.broker.engine import Engine
from hub.broker.retained import Retained
from hub.broker.router import Router
from hub.broker.session import Session
from hub.broker.store import Store
from hub.broker.subscriptions import Subscriptions
from hub.broker.websocket import WebSocketProtocol, WebSocketSettings
from hub.broker.wire import Wire
from tests.hub.broker.fuzz import fails, play, quiet, run, told
from tests.hub.broker.fuzz_packets import Pool, damage, pick
from tests.hub.broker.fuzz_scripts import CORPUS, Fuzzer
from tests.hub.broker.fuzz_world import Op, Script

FILES = sorted(CORPUS.glob("*.fuzz"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_corpus_passes(path: Path) -> None:
    """Traces of every packet type, and all that ever found something."""
    script = Script.load(path.read_bytes())
    with quiet():
        assert not fails(script), told(script)


@pytest.mark.parametrize("version", [4, 5])
def test_the_corpus_has_every_packet_type(version: int) -> None:
    """In both versions, from the client's side; those of servers too."""
    found: set[int] = set()
    for path in FILES:
        if path.name.startswith(f"{version}-"):
            for kind, _, data in Script.load(path.read_bytes()).steps:
                if kind in (Op.TAME, Op.WILD):
                    found |= {_type(packet) for packet in PacketStream(version).feed(data)}
    assert found == set(PacketType) - ({PacketType.AUTH} if version == 4 else set())


def _type(packet: Any) -> int:
    return int(getattr(packet, "type", 0) or PacketType[type(packet).__name__.upper()])


def test_a_script_is_the_same_from_the_same_seed_and_from_its_file() -> None:
    """What is found can be told by a seed and a number, and kept in a file."""
    scripts = [Fuzzer(3).script(number) for number in (0, 1, 700)]
    assert scripts == [Fuzzer(3).script(number) for number in (0, 1, 700)]
    assert scripts != [Fuzzer(4).script(number) for number in (0, 1, 700)]
    assert scripts == [Script.load(script.dump()) for script in scripts]


def test_damaged_streams_do_no_harm() -> None:
    """Some seconds of it; `python -m tests.hub.broker.fuzz` goes on for as long as wanted."""
    total = run(1, streams=100_000, seconds=20.0)
    assert not total.found, "\n\n".join(f"{one.what}\n{one.story}\n{told(one.script)}" for one in total.found)
    assert total.memory < 20_000, "memory grows"


def test_the_streams_reach_what_they_are_for() -> None:
    """Enough of them live to subscribe, publish, be taken over, be slow; else nothing would be found for want of trying."""
    fuzzer, seen = Fuzzer(2), 0
    sums = dict.fromkeys(("connects", "messages_received", "messages_sent", "refused"), 0)
    ends: set[str] = set()
    with quiet():
        for number in range(300):
            world = play(fuzzer.script(number))
            seen += world.begun
            stats = world.engine.stats
            sums = {name: count + getattr(stats, name) for name, count in sums.items()}
            ends |= {*stats.disconnects, *stats.dropped}
    assert sums["connects"] > seen / 3
    assert min(sums["messages_received"], sums["messages_sent"]) > seen / 2
    assert {"said goodbye", "connection lost", "slow client", "queue full"} <= ends
    assert len(ends) > 25


def _broken(original: Callable[..., Any], how: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments, **named: how(original, *arguments, **named)


def _raises(original: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    result = original(*arguments, **named)
    raise KeyError("planted")
    return result


def _nothing(original: Callable[..., Any], *arguments: Any, **named: Any) -> None:
    """Leaves it undone."""


BUGS: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "an exception that is no MqttError": (Connection, "alias", _raises),
    "an exception with PUBREL": (Store, "released", _raises),
    "routes of sessions that ended": (Router, "remove", lambda original, *_: True),
    "acknowledgements that free nothing": (Deliveries, "acknowledged", lambda original, *_: True),
    "a queue that nobody empties": (Deliveries, "pump", _nothing),
    "retained messages kept in the tree": (
        Retained,
        "clear",
        lambda original, self, topic: self._messages.pop(topic, 0),
    ),
    "deadlines never cancelled": (Deadlines, "cancel", _nothing),
    "a queue without bound": (Session, "overflow", lambda original, self, *_: []),
    "bytes counted wrong": (
        Session,
        "dequeue",
        lambda original, self: self.queue.popleft() if self.queue[1:2] else original(self),
    ),
    "packet ids used twice": (Session, "next_packet_id", lambda original, self: 1),
    "sessions that never end": (Engine, "end", _nothing),
    "a connection that is never resumed": (Connection, "_unpause", _nothing),
    "members that stay in shared subscriptions": (
        Subscriptions,
        "leave",
        lambda original, self, session, name: session.subscriptions.pop(name),
    ),
    "deliveries stored for ever": (Store, "delivered", _nothing),
    "messages deleted while needed": (
        Store,
        "_release",
        lambda original, self, message: self.storage.delete_message(message.id),
    ),
    "a topic that is not checked": (
        incoming,
        "topic_name",
        lambda original, raw, *_: raw.decode(errors="replace") or "a",
    ),
    "a share name that is not checked": (handlers, "shared", lambda original, name: None),
}


@pytest.mark.parametrize("bug", BUGS)
def test_the_fuzzer_finds_bugs(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each planted bug is found within some thousand streams."""
    owner, name, how = BUGS[bug]
    monkeypatch.setattr(owner, name, _broken(getattr(owner, name), how))
    assert run(5, streams=6_000, enough=1).found


class _Socket(asyncio.Transport):
    """A transport without a socket."""

    def __init__(self) -> None:
        super().__init__()
        self.closing = False
        self.written = bytearray()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def is_closing(self) -> bool:
        return self.closing

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        pass

    def write(self, data: Any) -> None:
        self.written += data

    def close(self) -> None:
        self.closing = True

    abort = close


class _Feed:
    """What is behind the WebSocket."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.received = b""
        self.losses = 0

    def receive(self, data: bytes) -> None:
        assert not self.losses, "bytes after the end"
        self.received += data
        if data[:1] == b"\xe0":
            self.wire.close()
        self.wire.send(b"\xd0\x00")

    def drained(self) -> None:
        pass

    def lost(self) -> None:
        self.losses += 1


def _frame(rng: Random, opcode: int, data: bytes) -> bytes:
    key, size = rng.randbytes(4), len(data)
    head = bytes((opcode,)) + (bytes((128 | size,)) if size < 126 else bytes((254,)) + size.to_bytes(2, "big"))
    return head + key + bytes(byte ^ key[at & 3] for at, byte in enumerate(data))


async def test_damaged_frames_do_no_harm() -> None:
    """WebSocket streams, whole and damaged, cut anywhere: nothing is raised, nothing invented, the end is told once."""
    hello = (
        b"GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
    )
    rng = Random(9)
    pool = Pool(rng, 5)
    whole = 0
    for number in range(4_000):
        pieces = [pick(rng, pool.tame)[:1_000] for _ in range(rng.randrange(1, 5))]
        data = hello + b"".join(_frame(rng, 0x82, piece) for piece in pieces)
        damaged = number % 4 > 0
        if damaged:
            opcodes = (0x01, 0x02, 0x00, 0x80, 0x81, 0x88, 0x89, 0x8A, 0x83, 0xC2)
            data += _frame(rng, pick(rng, opcodes), rng.randbytes(rng.randrange(130))) + _frame(rng, 0x82, b"\xc0\x00")
            start = 0 if number % 16 == 1 else len(hello)
            data = data[:start] + damage(rng, data[start:], [*pool.wild, _frame(rng, 0x88, b"\x03\xe8"), data])
        feeds: list[_Feed] = []

        def accept(wire: Wire, feeds: list[_Feed] = feeds) -> _Feed:
            feeds.append(_Feed(wire))
            return feeds[-1]

        transports: set[asyncio.Transport] = set()
        protocol = WebSocketProtocol(accept, WebSocketSettings(max_message=2_000), transports)
        socket = _Socket()
        protocol.connection_made(socket)
        at = 0
        while at < len(data) and not socket.closing:
            size = pick(rng, (1, 7, 60, 400, 5_000))
            protocol.data_received(data[at : at + size])
            at += size
        if not damaged:
            whole += 1
            assert feeds[0].received == b"".join(pieces)
        if number % 3 == 0:
            protocol.eof_received()
        protocol.connection_lost(None)
        assert len(feeds) <= 1
        assert all(feed.losses == 1 for feed in feeds)
        assert not transports
    assert whole == 1_000
