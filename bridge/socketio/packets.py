"""The packets of Socket.IO 5 (which Socket.IO v4 speaks), sans-IO and strict: what Engine.IO messages mean.

type [attachments -] [namespace ,] [ack id] [JSON]

0/admin,{"token":"..."}                             CONNECT
27["join-room",{"roomId":"x"}]                      EVENT that wants an ack
37[{"roomId":"x"}]                                  its ACK
51-["ping",{"_placeholder":true,"num":0}]           BINARY_EVENT; the attachment follows in a binary message
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import orjson

from bridge.connection import text_frame
from bridge.socketio.engine_packets import BadPacket
from hub.broker.websocket import binary_frame

__all__ = [
    "ACK",
    "CONNECT",
    "CONNECT_ERROR",
    "DISCONNECT",
    "EVENT",
    "MAIN",
    "MAX_ATTACHMENTS",
    "MAX_ID",
    "RESERVED_EVENTS",
    "Decoder",
    "Packet",
    "encode",
    "has_binary",
    "head",
]

CONNECT: Final = "0"
DISCONNECT: Final = "1"
EVENT: Final = "2"
ACK: Final = "3"
CONNECT_ERROR: Final = "4"
_BINARY: Final = {"5": EVENT, "6": ACK}
_TO_BINARY: Final = {EVENT: "5", ACK: "6"}

MAIN: Final = "/"
"""The namespace that packets do not name."""
MAX_ATTACHMENTS: Final = 10
"""Of one packet, as in the reference decoder."""
MAX_ID: Final = 15
"""Digits of an ack id: what JavaScript counts exactly."""
MAX_NAMESPACE: Final = 128
RESERVED_EVENTS: Final = frozenset(
    ("connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener")
)
"""Names that a client's library means something else by."""


class Packet(NamedTuple):
    """One whole packet.

    Attributes:
        type: never a binary one.
        id: digits, empty for none.
        data: of CONNECT an object; of EVENT [name, argument, ...]; of ACK the arguments; else None.
        binary: it came with attachments, which are bytes in `data`.
    """

    type: str
    namespace: str
    id: str
    data: Any
    binary: bool = False


class Decoder:
    """Makes whole packets of the messages of one connection.

    Args:
        limit: bytes of a packet and its attachments together.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._packet: Packet | None = None
        self._missing = self._size = 0
        self._attachments: list[bytes] = []

    @property
    def waiting(self) -> bool:
        """Whether attachments have to come next."""
        return self._packet is not None

    def add(self, message: str | bytes) -> Packet | None:
        """Takes one message; gives the packet that it completes.

        Raises:
            BadPacket: it is none, or out of order. The decoder must not be used any more.
        """
        if isinstance(message, bytes):
            return self._attach(message)
        if self._packet is not None:
            raise BadPacket("text where an attachment is due")
        packet, missing = _decode(message)
        if not missing:
            return packet
        self._packet, self._missing, self._size = packet, missing, len(message)
        return None

    def _attach(self, attachment: bytes) -> Packet | None:
        if self._packet is None:
            raise BadPacket("an attachment without a packet")
        self._size += len(attachment)
        if self._size > self._limit:
            raise BadPacket("attachments too large", too_big=True)
        self._attachments.append(attachment)
        if len(self._attachments) < self._missing:
            return None
        packet, attachments = self._packet, self._attachments
        self._packet, self._attachments = None, []
        return packet._replace(data=_fill(packet.data, attachments), binary=True)


def _decode(text: str) -> tuple[Packet, int]:
    """The packet in a text, and how many attachments it waits for."""
    kind, at, missing = text[:1], 1, 0
    if kind in _BINARY:
        dash = text.find("-", 1, 4)
        missing = int(text[1:dash]) if dash > 1 and _is_digits(text[1:dash]) else 0
        if not 1 <= missing <= MAX_ATTACHMENTS:
            raise BadPacket("number of attachments")
        kind, at = _BINARY[kind], dash + 1
    namespace = MAIN
    if text[at : at + 1] == "/":
        comma = text.find(",", at)
        end = comma if comma >= 0 else len(text)
        namespace, at = text[at:end], end + 1
        if len(namespace) > MAX_NAMESPACE:
            raise BadPacket("namespace too long")
    start = at
    while text[at : at + 1] in _DIGITS:
        at += 1
        if at - start > MAX_ID:
            raise BadPacket("ack id too long")
    return Packet(kind, namespace, text[start:at], _data(kind, text[start:at], text[at:])), missing


_DIGITS: Final = frozenset("0123456789")


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _data(kind: str, ack_id: str, text: str) -> Any:
    """The payload of a packet, checked for its type."""
    data = _loads(text) if text else None
    if kind == CONNECT:
        good = not ack_id and (isinstance(data, dict) or not text)
    elif kind == DISCONNECT:
        good = not ack_id and not text
    elif kind == EVENT:
        good = isinstance(data, list) and data != [] and isinstance(data[0], str) and data[0] not in RESERVED_EVENTS
    elif kind == ACK:
        good = ack_id != "" and isinstance(data, list)
    else:
        raise BadPacket("unknown type")
    if not good:
        raise BadPacket("payload of another shape")
    return data


def _loads(text: str) -> Any:
    try:
        return orjson.loads(text)
    except ValueError:
        if "\\u" not in text:
            raise BadPacket("not JSON") from None
    try:
        # JavaScript writes half of a surrogate pair, of a text that was cut, as an escape: JSON, but not to orjson
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise BadPacket("not JSON") from None


def _refuse(constant: str) -> Any:
    raise ValueError


def _is_placeholder(value: Any) -> bool:
    return isinstance(value, dict) and value.get("_placeholder") is True


def _fill(data: Any, attachments: Sequence[bytes]) -> Any:
    """`data` with each placeholder replaced by its attachment; every attachment has one placeholder. Not recursive: the
    decoder takes JSON that is nested more deeply than Python's stack may grow."""
    unused = dict(enumerate(attachments))
    todo: list[Any] = [data]
    while todo:
        container = todo.pop()
        for key, value in list(_items(container)):
            if _is_placeholder(value):
                number = value.get("num")
                if type(number) is not int or number not in unused:
                    raise BadPacket("placeholder without an attachment")
                container[key] = unused.pop(number)
            elif isinstance(value, list | dict):
                todo.append(value)
    if unused:
        raise BadPacket("attachment without a placeholder")
    return data


def _items(container: Any) -> Iterable[tuple[Any, Any]]:
    return container.items() if isinstance(container, dict) else enumerate(container)


def has_binary(value: Any) -> bool:
    """Whether there are bytes anywhere in a value."""
    todo = [value]
    while todo:
        value = todo.pop()
        if isinstance(value, bytes):
            return True
        if isinstance(value, list | dict):
            todo.extend(part for _, part in _items(value))
    return False


def head(kind: str, namespace: str, ack_id: str = "") -> bytes:
    """What stands before the JSON of a packet without attachments, as an Engine.IO message."""
    return f"4{kind}{'' if namespace == MAIN else namespace + ','}{ack_id}".encode()


def encode(kind: str, namespace: str, ack_id: str = "", data: Any = None) -> list[bytes]:
    """A packet as WebSocket frames: itself, then the attachments for the bytes in `data`.

    Raises:
        TypeError: `data` holds what is neither JSON nor bytes.
    """
    if data is None:
        return [text_frame(head(kind, namespace, ack_id))]
    attachments: list[bytes] = []

    def detach(value: Any) -> Any:
        if not isinstance(value, bytes):
            raise TypeError
        attachments.append(value)
        return {"_placeholder": True, "num": len(attachments) - 1}

    payload = orjson.dumps(data, default=detach)
    if attachments:
        kind = f"{_TO_BINARY[kind]}{len(attachments)}-"
    return [text_frame(head(kind, namespace, ack_id) + payload), *map(binary_frame, attachments)]
