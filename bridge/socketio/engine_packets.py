"""The packets of Engine.IO 4, sans-IO: what a WebSocket message or a polling payload holds.

A packet is a type digit and a text; a message may also be binary. Over WebSocket each is a frame of its own. A polling payload is
one text, the packets separated by \\x1e, a binary message as `b` and its base64.

What is to be sent is a ready WebSocket frame until it leaves: framed once for all, and unpacked again for who polls.
"""

import binascii
from base64 import b64encode
from collections.abc import Sequence
from typing import Final

import orjson

from bridge.connection import text_frame

__all__ = [
    "BINARY",
    "CLOSE",
    "CLOSE_FRAME",
    "MESSAGE",
    "NOOP",
    "NOOP_FRAME",
    "OPEN",
    "PING",
    "PING_FRAME",
    "PONG",
    "PROBE_ANSWER_FRAME",
    "PROBE_PING",
    "UPGRADE",
    "BadPacket",
    "decode_binary",
    "decode_payload",
    "encode_payload",
    "open_frame",
]

OPEN: Final = "0"
CLOSE: Final = "1"
PING: Final = "2"
PONG: Final = "3"
MESSAGE: Final = "4"
UPGRADE: Final = "5"
NOOP: Final = "6"
BINARY: Final = "b"
PROBE_PING: Final = "2probe"
"""What a client sends first over the WebSocket that it wants to go on with."""

CLOSE_FRAME: Final = text_frame(b"1")
PING_FRAME: Final = text_frame(b"2")
PROBE_ANSWER_FRAME: Final = text_frame(b"3probe")
NOOP_FRAME: Final = text_frame(b"6")

_SEPARATOR: Final = "\x1e"
_TEXT: Final = 0x81
_HEADERS: Final = {126: 4, 127: 10}  # [RFC 6455, 5.2]: by the length that the second byte tells; else 2


class BadPacket(Exception):
    """What came is no packet, or not now: the connection is closed. `str()` repeats nothing of it.

    Attributes:
        too_big: only its size was wrong.
    """

    def __init__(self, why: str, *, too_big: bool = False) -> None:
        super().__init__(why)
        self.too_big = too_big


def decode_binary(packet: str) -> bytes:
    """The binary message in a text packet that begins with `b`.

    Raises:
        BadPacket: it is not base64.
    """
    try:
        return binascii.a2b_base64(packet[1:], strict_mode=True)
    except ValueError:
        raise BadPacket("not base64") from None


def decode_payload(body: bytes, most: int) -> list[str]:
    """The packets of a POST, as texts.

    Args:
        most: packets that there may be.

    Raises:
        BadPacket: it is not UTF-8, or holds more.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise BadPacket("not UTF-8") from None
    if text.count(_SEPARATOR) >= most:
        raise BadPacket("too many packets in a payload", too_big=True)
    return text.split(_SEPARATOR)


def encode_payload(frames: Sequence[bytes]) -> bytes:
    """The answer to a poll, from unmasked frames."""
    return b"\x1e".join(map(_packet, frames))


def _packet(frame: bytes) -> bytes:
    content = frame[_HEADERS.get(frame[1], 2) :]
    return content if frame[0] == _TEXT else b"b" + b64encode(content)


def open_frame(sid: str, upgrades: list[str], interval: float, timeout: float, max_payload: int) -> bytes:
    """The first packet that a client gets; times are seconds, the size is bytes."""
    opening = {
        "sid": sid,
        "upgrades": upgrades,
        "pingInterval": round(interval * 1000),
        "pingTimeout": round(timeout * 1000),
        "maxPayload": max_payload,
    }
    return text_frame(b"0" + orjson.dumps(opening))
