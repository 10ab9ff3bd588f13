"""A load of acks over WebSocket, from this process over raw sockets: so many connections with so many requests in flight each.

LoadError
  NotServed    the handshake was answered with 404: the server has no such door
"""

import asyncio
import base64
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Final, TypeVar

import uvloop

from benchmarks.process import cpu_seconds

__all__ = ["REQUEST", "Client", "Figures", "LoadError", "NotServed", "Shape", "Target", "connect_all", "load", "masked"]

Figures = dict[str, float]
CONNECT_GUARD: Final = 30.0
"""Seconds in which every connection must be open."""
AT_ONCE: Final = 50
"""Connections that are opened at the same time."""
REQUEST: Final = b'{"id":1,"event":"ping","data":{}}'
"""A request of the native door."""
ACK: Final = b'"pong":true'
"""What every ack of a ping holds, once, and nothing else that a server says."""


class LoadError(Exception):
    """The server did not do what it should."""


class NotServed(LoadError):
    """There is no such door."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is loaded, and how it is spoken to.

    Attributes:
        pid: of the server, for its processor time.
        path: of the WebSocket, with the query.
        greeting: in what the server says once requests may come; b"": at once.
        hello: the first message, sent when the WebSocket is open; b"": none.
        request: the message that is answered with an ack.
    """

    port: int
    pid: int
    path: str
    request: bytes
    hello: bytes = b""
    greeting: bytes = b""


@dataclass(frozen=True, slots=True)
class Shape:
    """How many connections, and how many requests each keeps in flight."""

    connections: int
    in_flight: int


def masked(payload: bytes) -> bytes:
    """One text frame of a client; the mask is zeros."""
    size = len(payload)
    length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return b"\x81" + length + b"\0\0\0\0" + payload


class Client(asyncio.Protocol):
    """One connection: opens the WebSocket, says hello, and hands on what comes once it was greeted."""

    def __init__(self, target: Target) -> None:
        self.open: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport
        self._target = target
        self._rest = b""
        self._upgraded = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # a TCP transport, whichever the loop's class
        key = base64.b64encode(os.urandom(16)).decode()
        self.transport.write(
            f"GET {self._target.path} HTTP/1.1\r\nHost: localhost\r\n"
            f"Upgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.open.done():
            self.open.set_exception(LoadError("the server closed the connection before it was open"))

    def data_received(self, data: bytes) -> None:
        if self.open.done():
            self.loaded(data)
            return
        data = self._rest + data
        if not self._upgraded:
            head, end, rest = data.partition(b"\r\n\r\n")
            if not end:
                self._rest = data
                return
            if b" 101 " not in head[:16]:
                error = NotServed("there is no such door") if b" 404 " in head[:16] else LoadError("not upgraded")
                self.open.set_exception(error)
                self.transport.abort()
                return
            self._upgraded, data = True, rest
            if self._target.hello:
                self.transport.write(masked(self._target.hello))
        self._rest = data
        if self._target.greeting in data:
            self.open.set_result(None)

    def loaded(self, data: bytes) -> None:
        """What came after the greeting, as it was read."""


class _AckClient(Client):
    """Keeps requests on the way and counts their acks."""

    def __init__(self, target: Target, in_flight: int) -> None:
        super().__init__(target)
        self.acks = 0
        self.times: list[float] = []
        self._in_flight, self._sent_at = in_flight, 0.0
        self._frame, self._tail = masked(target.request), b""

    def start(self) -> None:
        """Sends the first requests."""
        self._sent_at = perf_counter()
        self.transport.write(self._frame * self._in_flight)

    def loaded(self, data: bytes) -> None:
        data = self._tail + data
        count = data.count(ACK)
        self._tail = data[1 - len(ACK) :]  # too short for a whole one
        self.acks += count
        if self._in_flight == 1 and count:
            now = perf_counter()
            self.times.append(now - self._sent_at)
            self._sent_at = now
        self.transport.write(self._frame * count)


_Client = TypeVar("_Client", bound=Client)


async def connect_all(make: Callable[[int], _Client], count: int, port: int) -> list[_Client]:
    """Opens connections, some at a time, and waits until each is greeted.

    Args:
        make: the client of each number.

    Raises:
        LoadError: one was refused, or not greeted in time.
    """
    loop = asyncio.get_running_loop()
    clients: list[_Client] = []
    try:
        async with asyncio.timeout(CONNECT_GUARD):
            for first in range(0, count, AT_ONCE):
                some = range(first, min(first + AT_ONCE, count))
                pairs = [await loop.create_connection(partial(make, number), "127.0.0.1", port) for number in some]
                clients += [client for _, client in pairs]
                await asyncio.gather(*(client.open for _, client in pairs))
    except TimeoutError:
        raise LoadError(f"not every client was greeted within {CONNECT_GUARD:.0f} s") from None
    return clients


async def _load(target: Target, shape: Shape, seconds: float) -> Figures:
    clients = await connect_all(lambda _: _AckClient(target, shape.in_flight), shape.connections, target.port)
    for client in clients:
        client.start()
    await asyncio.sleep(seconds / 4)  # warm
    for client in clients:
        client.times.clear()
    before, cpu, began = sum(client.acks for client in clients), cpu_seconds(target.pid), perf_counter()
    await asyncio.sleep(seconds)
    acks = sum(client.acks for client in clients) - before
    cpu, took = cpu_seconds(target.pid) - cpu, perf_counter() - began
    for client in clients:
        client.transport.abort()
    if not acks or not all(client.acks for client in clients):
        raise LoadError("a connection got no ack")
    figures = {"acks_per_s": round(acks / took), "cpu_us": round(cpu / acks * 1e6, 2)}
    if shape.in_flight == 1:
        times = sorted(time for client in clients for time in client.times)
        figures |= {f"p{percent}_us": round(times[len(times) * percent // 100] * 1e6) for percent in (50, 99)}
    return figures


def load(target: Target, shape: Shape, seconds: float) -> Figures:
    """Loads a server: acks a second, its CPU in us for each, and with one in flight the round trip's percentiles in us.

    Raises:
        LoadError: it did not do what it should; NotServed when it has no such door.
    """
    return uvloop.run(_load(target, shape, seconds))
