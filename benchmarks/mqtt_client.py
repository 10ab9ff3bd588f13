"""A small MQTT 3.1.1 client for load: raw sockets, packets encoded beforehand. It counts what arrives and acknowledges QoS 1."""

import asyncio
import json
import socket
import struct
from collections.abc import Callable
from time import monotonic
from typing import Final

from devices.topics import STATION_OFFLINE

__all__ = [
    "DISCONNECT",
    "PINGREQ",
    "STATUS",
    "Client",
    "LoadError",
    "connect",
    "connect_packet",
    "publish_packet",
    "subscribe_packet",
]

PINGREQ: Final = b"\xc0\x00"
DISCONNECT: Final = b"\xe0\x00"
BIND_ADDRESS_NO_PORT: Final = 24
"""Linux's IP_BIND_ADDRESS_NO_PORT: the port is chosen at connect, so every destination has all ports (named in Python 3.12)."""


class LoadError(Exception):
    """A broker did not do what a load needs of it."""


def _status() -> bytes:
    metrics = {"temp": 45, "battery": 80, "signal": 70, "load": 33}
    device = {"name": "Gate Camera", "type": "camera", "status": "online", "metrics": metrics}
    devices = [{"deviceId": f"cam_{number}"} | device for number in range(4)]
    summary = {"online": 4, "offline": 0, "warning": 0, "error": 0}
    status = {"stationId": "st-00000", "updatedAt": 1771000000000, "devices": devices, "summary": summary}
    return json.dumps(status, separators=(",", ":")).encode()


STATUS: Final = _status()
"""The payload of every status: four devices, about 680 bytes."""


def _length(size: int) -> bytes:
    out = bytearray()
    while True:
        size, digit = size >> 7, size & 127
        out.append(digit | 128 if size else digit)
        if not size:
            return bytes(out)


def _text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack(">H", len(raw)) + raw


def connect_packet(
    client_id: str,
    login: tuple[str, str] | None,
    *,
    keep_alive: int = 600,
    clean: bool = True,
    will: bool = False,
) -> bytes:
    """A CONNECT. `login`: user name and password; `will`: the station's goodbye; `keep_alive` in seconds."""
    flags = (0x02 if clean else 0) | (0x0C if will else 0) | (0xC0 if login else 0)
    body = _text("MQTT") + bytes([4, flags]) + struct.pack(">H", keep_alive) + _text(client_id)
    if will:
        goodbye = json.dumps({"stationId": client_id, "sessionId": "s"})
        body += _text(STATION_OFFLINE(client_id)) + _text(goodbye)
    if login:
        body += _text(login[0]) + _text(login[1])
    return b"\x10" + _length(len(body)) + body


def subscribe_packet(topic_filter: str, qos: int) -> bytes:
    """A SUBSCRIBE to one filter."""
    body = b"\x00\x01" + _text(topic_filter) + bytes([qos])
    return b"\x82" + _length(len(body)) + body


def publish_packet(topic: str, payload: bytes, packet_id: int | None = None) -> bytes:
    """A PUBLISH: QoS 1 with a packet id, else QoS 0."""
    body = _text(topic) + (struct.pack(">H", packet_id) if packet_id else b"") + payload
    return (b"\x32" if packet_id else b"\x30") + _length(len(body)) + body


def _nothing() -> None:
    pass


class Client(asyncio.Protocol):
    """One connection.

    Attributes:
        connack: the return code, -1 when the connection ended before it came.
        received, acked, pongs: PUBLISH, PUBACK and PINGRESP that arrived.
        on_message, on_ack: called for each PUBLISH and PUBACK.
        closed: set when the connection has ended.
        lateness: seconds that each PINGRESP took, when `ping` sent the PINGREQ.
    """

    __slots__ = (
        *("_buffer", "_first", "_pinged", "acked", "closed", "connack", "lateness", "on_ack", "on_message"),
        *("pongs", "received", "suback", "transport", "writable"),
    )

    def __init__(self, first: bytes, lateness: list[float] | None = None) -> None:
        self.connack: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.suback, self.writable, self.closed = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.writable.set()
        self.received = self.acked = self.pongs = 0
        self.on_ack: Callable[[], object] = _nothing
        self.on_message: Callable[[], object] = _nothing
        self.lateness = lateness
        self.transport: asyncio.Transport
        self._first, self._buffer, self._pinged = first, b"", 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # a TCP transport, whichever the loop's class
        self.transport.write(self._first)
        self._first = b""

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()
        self.writable.set()
        self.suback.set()
        if not self.connack.done():
            self.connack.set_result(-1)

    def send(self, packet: bytes) -> None:
        """Writes a packet. Raises LoadError when the broker has closed the connection."""
        if self.closed.is_set():
            raise LoadError("the broker closed a connection during the load")
        self.transport.write(packet)

    def ping(self) -> None:
        """Sends a PINGREQ; its answer's delay goes to `lateness`."""
        self._pinged = monotonic()
        self.transport.write(PINGREQ)

    async def subscribe(self, topic_filter: str, qos: int) -> None:
        """Subscribes and waits for the SUBACK. Raises LoadError when the connection ends instead."""
        self.suback.clear()
        self.send(subscribe_packet(topic_filter, qos))
        await self.suback.wait()
        if self.closed.is_set():
            raise LoadError("the broker closed a connection that subscribed")

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        start, end, acks = 0, len(data), bytearray()
        while end - start >= 2:
            size, shift, at = 0, 0, start + 1
            while at < end:
                byte = data[at]
                at += 1
                size |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
            else:
                break
            if at + size > end:
                break
            kind = data[start] >> 4
            if kind == 3:
                self.received += 1
                if data[start] & 6:
                    topic = data[at] << 8 | data[at + 1]
                    acks += b"\x40\x02" + data[at + 2 + topic : at + 4 + topic]
                self.on_message()
            elif kind == 4:
                self.acked += 1
                self.on_ack()
            else:
                self._answered(kind, data[at:])
            start = at + size
        self._buffer = data[start:]
        if acks and not self.transport.is_closing():
            self.transport.write(bytes(acks))

    def _answered(self, kind: int, body: bytes) -> None:
        if kind == 2 and not self.connack.done():
            self.connack.set_result(body[1])
        elif kind == 9:
            self.suback.set()
        elif kind == 13:
            self.pongs += 1
            if self.lateness is not None:
                self.lateness.append(monotonic() - self._pinged)


async def connect(
    host: str, port: int, first: bytes, *, source: str | None = None, lateness: list[float] | None = None
) -> Client:
    """A connection that has its CONNACK.

    Args:
        first: the CONNECT packet.
        source: the local address to come from; None: the system's choice.

    Raises:
        LoadError: the broker refused, or closed the connection.
    """
    loop = asyncio.get_running_loop()
    if source is None:
        _, client = await loop.create_connection(lambda: Client(first, lateness), host, port)
    else:
        raw = socket.socket()
        raw.setblocking(False)
        raw.setsockopt(socket.IPPROTO_IP, BIND_ADDRESS_NO_PORT, 1)
        raw.bind((source, 0))
        await loop.sock_connect(raw, (host, port))
        _, client = await loop.create_connection(lambda: Client(first, lateness), sock=raw)
    code = await client.connack
    if code != 0:
        client.transport.abort()
        raise LoadError(f"the broker refused a client: CONNACK {code}" if code > 0 else "no CONNACK: connection closed")
    return client
