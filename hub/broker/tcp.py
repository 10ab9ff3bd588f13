"""MQTT over TCP and TLS: the thinnest shell around a `Connection`."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from hub.broker.wire import HIGH_WATER, LOW_WATER, Feed, Wire

__all__ = ["TcpProtocol"]

LINGER: Final = 2.0
"""Seconds for what was sent to leave, and for the client to close its side."""


class TcpProtocol(asyncio.Protocol):
    """One TCP connection; the `Wire` of its own `Feed`.

    Args:
        accept: gives what is fed.
        transports: all there are; this one is in it until it is gone.
    """

    mark = HIGH_WATER
    __slots__ = (
        "_accept",
        "_linger",
        "_transport",
        "_transports",
        "buffered",
        "certificate",
        "client",
        "data_received",
        "feed",
        "resume_writing",
        "send",
        "ssl_object",
    )

    def __init__(self, accept: Callable[[Wire], Feed], transports: set[asyncio.Transport]) -> None:
        self._accept, self._transports = accept, transports
        self._linger: asyncio.TimerHandle | None = None
        self.data_received = _nothing  # type: ignore[method-assign]  # until there is a connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = stream = cast("asyncio.Transport", transport)
        self._transports.add(stream)
        stream.set_write_buffer_limits(HIGH_WATER, LOW_WATER)
        peer = stream.get_extra_info("peername")
        self.client = str(peer[0]) if isinstance(peer, tuple) else ""
        self.ssl_object = stream.get_extra_info("ssl_object")
        self.certificate: Mapping[str, Any] | None = self.ssl_object.getpeercert() if self.ssl_object else None
        # bound once: a layer of calls less for every read and every write
        self.send = stream.write
        self.buffered = stream.get_write_buffer_size
        self.feed = self._accept(cast("Wire", self))
        self.data_received = self.feed.receive  # type: ignore[method-assign]
        self.resume_writing = self.feed.drained  # type: ignore[method-assign]
        stream.set_protocol(self)

    def pause_writing(self) -> None:
        pass  # the connection looks at `buffered` itself

    def eof_received(self) -> None:
        self.feed.lost()
        self._close_within()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._linger is not None:
            self._linger.cancel()
        self._transports.discard(self._transport)
        self.feed.lost()
        # what a connection held is free at once, not when the garbage collector comes by
        del self.feed, self.resume_writing
        self.data_received = _nothing  # type: ignore[method-assign]

    def pause(self) -> None:
        """See `Wire.pause`."""
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        """See `Wire.resume`."""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        """See `Wire.close`."""
        transport = self._transport
        if transport.is_closing():
            return
        self._close_within()
        if transport.can_write_eof():
            # to close with data unread would reset the connection: the client might never see why
            transport.write_eof()
            transport.resume_reading()
        else:
            transport.close()

    def abort(self) -> None:
        """See `Wire.abort`."""
        self._transport.abort()

    def _close_within(self) -> None:
        if self._linger is None:
            self._linger = asyncio.get_running_loop().call_later(LINGER, self._transport.abort)


def _nothing(data: bytes) -> None:
    pass
