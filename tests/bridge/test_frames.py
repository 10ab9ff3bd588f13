"""`bridge.frames` beside websockets alone: whatever comes, and however it is cut, both hear and say the same."""

import struct
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from bridge.frames import FrameReader

LIMIT = 300
MASK = b"\x0f\x00\xf0\x80"
REQUEST = (
    b"GET / HTTP/1.1\r\nHost: hub\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: a2tra2tra2tra2tra2traw==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Side:
    """A server that keeps what it hears and says."""

    def __init__(self) -> None:
        self.protocol = ServerProtocol(max_size=LIMIT + 125)
        self.heard: list[Any] = []
        self.said: list[bytes] = []

    def hear(self, events: list[Any]) -> None:
        for event in events:
            if isinstance(event, Request):
                self.protocol.send_response(self.protocol.accept(event))
                self.heard.append("request")
            elif isinstance(event, Frame):
                self.heard.append((int(event.opcode), event.fin, bytes(event.data)))
            else:
                opcode, data = (1, event.encode()) if isinstance(event, str) else (2, event)
                self.heard.append((opcode, True, data))
        # the date of the handshake is no matter of the frames
        self.said += [data for data in self.protocol.data_to_send() if not data.startswith(b"HTTP/1.1 101")]


def compare(reads: list[bytes], close_at: int = -1) -> tuple[list[Any], bool]:
    """Feeds both, closing them before the read of that number; gives what was heard, and whether the connection is still open."""
    ours, theirs = Side(), Side()
    reader = FrameReader(ours.protocol, LIMIT)
    for number, data in enumerate(reads):
        if number == close_at and theirs.protocol.state is OPEN:
            for side in (ours, theirs):
                side.protocol.send_close(1000)
        ours.hear(list(reader.feed(data)))
        while reader.deferred:
            ours.hear(list(reader.feed(b"")))
        theirs.protocol.receive_data(data)
        theirs.hear(list(theirs.protocol.events_received()))
    assert b"".join(ours.said) == b"".join(theirs.said)
    assert ours.heard == theirs.heard
    assert ours.protocol.state is theirs.protocol.state
    assert str(ours.protocol.parser_exc) == str(theirs.protocol.parser_exc)
    return ours.heard, ours.protocol.state is OPEN


def mask(payload: bytes) -> bytes:
    """As it is on the wire."""
    return bytes(byte ^ MASK[at % 4] for at, byte in enumerate(payload))


def frame(first: int, payload: bytes, *, masked: bool = True, length: int | None = None) -> bytes:
    """A frame as bytes; `length` is said instead of the real one."""
    size, bit = len(payload) if length is None else length, 0x80 if masked else 0
    if size < 126:
        head = bytes((first, bit | size))
    elif size < 65536:
        head = struct.pack("!BBH", first, bit | 126, size)
    else:
        head = struct.pack("!BBQ", first, bit | 127, size)
    if not masked:
        return head + payload
    return head + MASK + mask(payload)


FRAMES_INSIDE = mask(frame(0x82, b"") * 35)
"""A payload that looks like plain frames on the wire: whoever loses his place in the stream takes it for such."""


PAYLOADS = st.one_of(
    st.binary(max_size=20),
    st.text(max_size=20).map(str.encode),
    st.sampled_from([125, 126, 127, LIMIT - 1, LIMIT, LIMIT + 1, LIMIT + 125, LIMIT + 126, 70_000]).map(
        lambda n: b"x" * n
    ),
    st.sampled_from([b"\x03\xe8", FRAMES_INSIDE]),
)
PLAIN = st.builds(frame, st.sampled_from([0x81, 0x82]), PAYLOADS)
CONTROL = st.builds(frame, st.sampled_from([0x89, 0x8A]), PAYLOADS)
FRAGMENTS = st.builds(frame, st.sampled_from([0x01, 0x02, 0x00, 0x80]), PAYLOADS)
ANY = st.builds(
    frame, st.integers(0, 255), PAYLOADS, masked=st.booleans(), length=st.none() | st.integers(0, 2**64 - 1)
)
STREAMS = st.lists(PLAIN | PLAIN | CONTROL | FRAGMENTS | st.just(frame(0x88, b"\x03\xe8")) | ANY, max_size=8).map(
    b"".join
)


def cut(stream: bytes, at: list[int]) -> list[bytes]:
    """The stream in pieces."""
    places = sorted({place % (len(stream) + 1) for place in at} | {0, len(stream)})
    return [stream[one:other] for one, other in pairwise(places)]


@settings(max_examples=400, deadline=None)
@given(STREAMS, st.lists(st.integers(0, 2000), max_size=12), st.integers(-1, 6))
@example(frame(0x81, b"a") * 2, [3], -1)
@example(frame(0x01, b"a") + frame(0x81, b"b"), [], -1)
@example(frame(0x01, b"a") + frame(0x80, b"b") + frame(0x81, b"c"), [9], -1)
@example(frame(0x81, b"a" * 200) + frame(0x89, b"p") + frame(0x81, b"b"), [1, 3, 5, 100, 207, 210], -1)
@example(frame(0x81, b"", length=2**64 - 1) + b"more", [], -1)
@example(frame(0x81, b"a") + frame(0x81, b"b"), [3, 6], 2)
@example(frame(0x81, b"", masked=False, length=200)[:2], [], -1)
@example(frame(0x83, b"", length=200)[:3], [], -1)
@example(frame(0x82, FRAMES_INSIDE), [1], -1)
@example(frame(0x82, FRAMES_INSIDE), [3], -1)
@example(frame(0x82, FRAMES_INSIDE), [7, 8, 14], -1)
def test_the_same_as_websockets(stream: bytes, at: list[int], close_at: int) -> None:
    """Masking, reserved bits, opcodes, lengths, fragments, closing: none is judged otherwise than by the library alone."""
    compare([REQUEST, *cut(stream, at)], close_at)


@given(
    STREAMS, st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=4), st.integers(0, 99)
)
def test_the_same_for_damaged_streams(stream: bytes, damage: list[tuple[int, int]], at: int) -> None:
    """The same with bytes changed anywhere."""
    damaged = bytearray(stream or b"\0")
    for place, byte in damage:
        damaged[place % len(damaged)] = byte
    compare([REQUEST, *cut(bytes(damaged), [at])])


@settings(deadline=None)
@given(STREAMS, st.lists(st.integers(0, 400), max_size=4))
@example(frame(0x82, FRAMES_INSIDE), [len(REQUEST) + 8])
def test_the_same_whatever_comes_with_the_request(stream: bytes, at: list[int]) -> None:
    """Frames in one read with the handshake, and a handshake in pieces."""
    compare(cut(REQUEST + stream, at))


def test_plain_frames_never_reach_the_library() -> None:
    """The point of it: with every size of length field, and again after a fragmented message and a frame cut in two."""
    protocol = ServerProtocol(max_size=LIMIT + 125)
    reader, side = FrameReader(protocol, LIMIT), Side()
    side.protocol = protocol
    side.hear(list(reader.feed(REQUEST)))
    reader.feed(frame(0x01, b"a") + frame(0x80, b"b") + frame(0x89, b"p") + frame(0x81, b"cut")[:5])
    (whole,) = reader.feed(frame(0x81, b"cut")[5:])
    assert isinstance(whole, Frame)

    def reached(data: bytes) -> None:
        pytest.fail("the library was fed")

    protocol.receive_data = reached  # type: ignore[method-assign]
    assert reader.feed(frame(0x81, "é".encode()) + frame(0x82, b"\xff" * LIMIT)) == ["é", b"\xff" * LIMIT]
    assert reader.feed(frame(0x81, b"x")[:1]) == []
    assert reader.feed(frame(0x81, b"x")[1:] + frame(0x82, b"")) == ["x", b""]


def test_text_that_is_not_utf8_is_left_to_the_connection() -> None:
    """It comes as a frame, for the connection to refuse."""
    protocol = ServerProtocol()
    reader, side = FrameReader(protocol, LIMIT), Side()
    side.protocol = protocol
    side.hear(list(reader.feed(REQUEST)))
    assert reader.feed(frame(0x81, b"\xff")) == [Frame(Opcode.TEXT, b"\xff")]
