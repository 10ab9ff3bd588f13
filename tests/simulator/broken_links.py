"""Connections through the broken hub: what each side says is cut into messages, shown to the breaks, and passed on.

A link is a client's connection and the one to the hub that belongs to it. What no break takes goes on as the bytes that came.
"""

import asyncio
import socket
import struct
from collections import deque
from typing import Any, Final, Literal, Protocol, cast

__all__ = ["Breaker", "Link", "Place", "Way"]

Way = Literal["up", "down"]
"""From a client to the hub, or back."""
Place = Literal["station-login", "from-station", "to-station", "browser-login", "from-browser", "to-browser"]

RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER without lingering: closing sends RST."""


class Breaker(Protocol):
    """Who breaks, as a link sees it."""

    lag: float

    def wants(self, place: Place) -> bool:
        """Whether any break looks at what is said there."""

    def take(self, place: Place, link: Any, said: Any) -> bool:
        """Whether a break took a message: then it is not passed on as it came."""

    def closed(self, link: "Link") -> None:
        """A link is over."""


class _End(asyncio.Protocol):
    """One of the two connections of a link; `way` is that of what it reads."""

    def __init__(self, link: "Link", way: Way) -> None:
        self._link, self._way = link, way

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._link.opened(self._way, cast("asyncio.Transport", transport))  # uvloop's own is no subclass of it

    def data_received(self, data: bytes) -> None:
        self._link.received(self._way, data)

    def connection_lost(self, error: Exception | None) -> None:
        self._link.lost(self._way, reset=error is not None)

    def pause_writing(self) -> None:
        self._link.congested(self._way, True)

    def resume_writing(self) -> None:
        self._link.congested(self._way, False)


class Link:
    """One client and its connection to the hub.

    Attributes:
        name: a station's id, or `browser 3`.
        ready: logged in.
        frozen: half-open: what is read is thrown away, and no end is told to the other side.
    """

    def __init__(self, breaker: Breaker, hub: tuple[str, int], number: int) -> None:
        self.breaker, self._hub, self.name = breaker, hub, f"browser {number}"
        self._ends: dict[Way, asyncio.Transport] = {}
        self._rest: dict[Way, bytes] = {"up": b"", "down": b""}
        self._queues: dict[Way, deque[tuple[float, bytes | None]]] = {"up": deque(), "down": deque()}
        self.ready = self.frozen = self.over = False
        self._connecting: asyncio.Task[None] | None = None

    def client(self) -> asyncio.Protocol:
        """The protocol of the client's connection."""
        return _End(self, "up")

    def opened(self, way: Way, transport: asyncio.Transport) -> None:
        """One side is connected; what the client says before the hub is there waits."""
        if self.over:
            transport.abort()
            return
        self._ends[way] = transport
        if way == "up":
            self._connecting = asyncio.create_task(self._connect(), name="broken hub: connect")
        else:
            early, self._rest["up"] = self._rest["up"], b""
            self.received("up", early)

    async def _connect(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: _End(self, "down"), *self._hub)
        except OSError:
            self.cut(reset=True)

    def received(self, way: Way, data: bytes) -> None:
        """Bytes came from one side."""
        data = self._rest[way] + data
        if way == "up" and "down" not in self._ends and not self.frozen:
            self.keep(way, data)
        elif data and not self.frozen and not self.over:
            self.read(way, data)

    def read(self, way: Way, data: bytes) -> None:
        """All bytes of one side that were not passed on yet; `keep` what is no message yet."""
        self.send(way, data)

    def keep(self, way: Way, rest: bytes) -> None:
        """The beginning of a message."""
        self._rest[way] = rest

    def send(self, way: Way, data: bytes) -> None:
        """Passes on, after all that was passed on before."""
        if self.breaker.lag or self._queues[way]:
            self._queue(way, data)
        else:
            self._write(way, data)

    def later(self, seconds: float, way: Way, data: bytes) -> None:
        """Passes on when that time is over, whatever else goes on."""
        asyncio.get_running_loop().call_later(seconds, self._write, way, data)

    def cut(self, *, reset: bool) -> None:
        """Ends both connections: with RST, or with FIN once all is written."""
        if self.over:
            return
        self.over = True
        if self._connecting is not None and self._connecting is not asyncio.current_task():
            self._connecting.cancel()
        for transport in self._ends.values():
            if reset:
                connection: socket.socket = transport.get_extra_info("socket")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                transport.abort()
            else:
                transport.close()
        self.breaker.closed(self)

    def lost(self, way: Way, *, reset: bool) -> None:
        """One side ended: the other is told the same way, unless the link is half-open."""
        if self._rest[way] and not self.over:
            self.send(way, self._rest[way])
        if self.frozen:
            del self._ends[way]
            if not self._ends:
                self.cut(reset=True)
        elif reset or not (self.breaker.lag or self._queues[way]):
            self.cut(reset=reset)
        else:
            self._queue(way, None)

    def congested(self, way: Way, full: bool) -> None:
        """The side that is read on `way` takes no more, or takes more again."""
        other = self._ends.get("down" if way == "up" else "up")
        if other is not None and not other.is_closing():
            (other.pause_reading if full else other.resume_reading)()

    def _write(self, way: Way, data: bytes) -> None:
        target = self._ends.get("down" if way == "up" else "up")
        if target is not None and not target.is_closing() and not self.frozen:
            target.write(data)

    def _queue(self, way: Way, data: bytes | None) -> None:
        loop, queue = asyncio.get_running_loop(), self._queues[way]
        queue.append((loop.time() + self.breaker.lag, data))
        if len(queue) == 1:
            loop.call_later(self.breaker.lag, self._drain, way)

    def _drain(self, way: Way) -> None:
        loop, queue = asyncio.get_running_loop(), self._queues[way]
        while queue and queue[0][0] <= loop.time() + 0.001:
            if (data := queue.popleft()[1]) is None:
                self.cut(reset=False)
                return
            self._write(way, data)
        if queue:
            loop.call_later(queue[0][0] - loop.time(), self._drain, way)
