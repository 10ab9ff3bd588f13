"""An MQTT 3.1.1 client for tests that shows every flag and can misbehave: one connection, QoS 0 and 1."""

import asyncio
import struct
from collections.abc import Callable
from typing import NamedTuple, Self

__all__ = ["Client", "Received", "connect_packet", "eventually", "publish_packet"]

GUARD = 15.0
"""Seconds after which something that should happen did not: generous, never what is measured."""


async def eventually(condition: Callable[[], object], within: float = GUARD) -> None:
    """Waits until `condition()` holds. Raises TimeoutError."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - any condition, not an event
            await asyncio.sleep(0.005)


class Received(NamedTuple):
    """A PUBLISH that came."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    dup: bool = False


def _text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("!H", len(data)) + data


def _packet(first: int, body: bytes) -> bytes:
    length, size = b"", len(body)
    while True:
        size, digit = divmod(size, 128)
        length += bytes([digit | (0x80 if size else 0)])
        if not size:
            return bytes([first]) + length + body


def publish_packet(topic: str, payload: bytes, *, qos: int = 0, retain: bool = False, packet_id: int = 1) -> bytes:
    """The bytes of a PUBLISH."""
    number = struct.pack("!H", packet_id) if qos else b""
    return _packet(0x30 | qos << 1 | retain, _text(topic) + number + payload)


def connect_packet(
    client_id: str,
    username: str | None = None,
    password: str | None = None,
    *,
    will: tuple[str, bytes, int, bool] | None = None,
    clean: bool = True,
    keep_alive: int = 60,
    level: int = 4,
) -> bytes:
    """The bytes of a CONNECT; `will` is (topic, payload, qos, retain)."""
    flags = 2 * clean | (0x80 if username is not None else 0) | (0x40 if password is not None else 0)
    body = _text(client_id)
    if will is not None:
        flags |= 4 | will[2] << 3 | will[3] << 5
        body += (b"\0" if level == 5 else b"") + _text(will[0]) + _text(will[1])
    body += b"".join(_text(value) for value in (username, password) if value is not None)
    properties = b"\0" if level == 5 else b""
    return _packet(0x10, _text("MQTT") + bytes([level, flags]) + struct.pack("!H", keep_alive) + properties + body)


class Client:
    """A connection; use `Client.connect`.

    Attributes:
        received: every PUBLISH so far, in order.
        acked: how many PUBACKs came.
        closed: set when the broker closed the connection.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, acknowledge: bool = True) -> None:
        self.received: list[Received] = []
        self.acked = 0
        self.closed = asyncio.Event()
        self.code: int | None = None
        self._reader, self._writer, self._acknowledge = reader, writer, acknowledge
        self._subacks: asyncio.Queue[bytes] = asyncio.Queue()
        self._pongs = 0
        self._id = 0
        self._task = asyncio.create_task(self._read())

    @classmethod
    async def connect(cls, port: int, connect: bytes, *, acknowledge: bool = True) -> Self:
        """Connects to the loopback and waits for CONNACK, whose code is in `code` (None: closed without one)."""
        client = cls(*await asyncio.open_connection("127.0.0.1", port), acknowledge=acknowledge)
        client.send(connect)
        await eventually(lambda: client.code is not None or client.closed.is_set())
        return client

    def send(self, data: bytes) -> None:
        """Sends bytes."""
        self._writer.write(data)

    def publish(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> None:
        """Sends a PUBLISH."""
        self._id += 1
        self.send(publish_packet(topic, payload, qos=qos, retain=retain, packet_id=self._id))

    async def subscribe(self, topic_filter: str, qos: int = 0) -> int:
        """Subscribes; the code of the SUBACK."""
        self.send(_packet(0x82, b"\0\7" + _text(topic_filter) + bytes([qos])))
        return (await asyncio.wait_for(self._subacks.get(), GUARD))[2]

    async def ping(self, within: float = GUARD) -> None:
        """Waits for a PINGRESP: all that was sent before has been read."""
        pongs = self._pongs
        self.send(b"\xc0\0")
        await eventually(lambda: self._pongs > pongs, within)

    async def disconnect(self) -> None:
        """Says DISCONNECT and waits for the end."""
        self.send(b"\xe0\0")
        self._writer.close()
        await self._task

    async def close(self) -> None:
        """Ends the connection without DISCONNECT, after all that was sent."""
        self._writer.close()
        await self._task

    async def abort(self) -> None:
        """Drops the connection without a word."""
        self._writer.transport.abort()
        await self._task

    async def _read(self) -> None:
        try:
            while True:
                first = (await self._reader.readexactly(1))[0]
                size, shift = 0, 0
                while True:
                    digit = (await self._reader.readexactly(1))[0]
                    size |= (digit & 0x7F) << shift
                    shift += 7
                    if digit < 0x80:
                        break
                self._handle(first, await self._reader.readexactly(size))
        except (asyncio.IncompleteReadError, ConnectionError):
            self.closed.set()

    def _handle(self, first: int, body: bytes) -> None:
        kind = first >> 4
        if kind == 2:
            self.code = body[1]
        elif kind == 3:
            qos, end = first >> 1 & 3, 2 + int.from_bytes(body[:2], "big")
            start = end + 2 if qos else end
            self.received.append(Received(body[2:end].decode(), body[start:], qos, bool(first & 1), bool(first & 8)))
            if qos and self._acknowledge:
                self.send(b"\x40\2" + body[end:start])
        elif kind == 4:
            self.acked += 1
        elif kind == 9:
            self._subacks.put_nowait(body)
        elif kind == 13:
            self._pongs += 1
