"""MQTT over WebSocket on a port of its own: the shell between a socket and a connection (MQTT 3.1.1 and 5, section 6).

It drives websockets' sans-IO `ServerProtocol` (RFC 6455) straight from one `asyncio.Protocol`. What the binary frames of one
read hold is handed on in one piece, and one `send` is one binary frame.

    handshake -> open -> closing -> lost
      open: data goes to the connection, and the connection's to the socket
      closing: a Close was sent by either side, or the client hung up; what was written before still leaves, nothing else is
        written, what comes is thrown away; a deadline ends it
"""

import asyncio
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from logging import WARNING, getLogger
from typing import Any, Final, cast

from websockets.frames import OP_BINARY, OP_CONT, OP_TEXT, CloseCode
from websockets.http11 import Request, Response
from websockets.protocol import OPEN, SEND_EOF
from websockets.server import ServerProtocol
from websockets.typing import Origin, Subprotocol

from hub.broker.wire import HIGH_WATER, LOW_WATER, Feed, Wire

__all__ = [
    "CLOSE_WITHIN",
    "HEAD_BYTES",
    "SUBPROTOCOLS",
    "TEXT_REFUSED",
    "Accept",
    "WebSocketProtocol",
    "WebSocketSettings",
    "binary_frame",
]

SUBPROTOCOLS: Final = ("mqtt", "mqttv3.1")
"""What a client must offer one of [MQTT-6.0.0-3], the best first."""
TEXT_REFUSED: Final = "MQTT needs binary frames"
"""Why a text frame ends a connection. [MQTT-6.0.0-1]"""
HEAD_BYTES: Final = 8 * 1024
"""Bytes of request line and headers."""
CLOSE_WITHIN: Final = 3.0
"""Seconds that a client has to take what was sent and to answer a Close; then the socket is cut."""
_SUBPROTOCOLS: Final = [Subprotocol(name) for name in SUBPROTOCOLS]
_SHORT: Final = [bytes((0x82, size)) for size in range(126)]
_CLOSING: Final = b"\x88\x02\x03\xe8"  # 1000, normal closure

# at DEBUG websockets logs every frame: passwords are in them
_frame_log = getLogger(f"{__name__}.frames")
_frame_log.setLevel(WARNING)

Accept = Callable[[Wire], Feed]
"""Makes the connection of a client whose transport is open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketSettings:
    """What all connections of a port share.

    Attributes:
        max_message: bytes of a WebSocket message; a larger one closes the connection with 1009. A client may put many MQTT
            packets into one message, so it should be more than the largest packet.
        origins: None: pages of any origin may connect. Else a browser's Origin must be listed; what sends no Origin is no
            browser, and is let in.
        open_within: seconds from the connection to a whole handshake.
    """

    max_message: int
    origins: frozenset[str] | None = None
    open_within: float = 10.0


def binary_frame(payload: bytes) -> bytes:
    """One binary message as one unmasked frame. [RFC 6455, 5.2]"""
    size = len(payload)
    if size < 126:
        return _SHORT[size] + payload
    return struct.pack("!BBH" if size < 65536 else "!BBQ", 0x82, 126 if size < 65536 else 127, size) + payload


class WebSocketProtocol(asyncio.Protocol):
    """One client; to its connection it is the `Wire`.

    `Feed.lost` comes when the WebSocket has ended on the client's side, at the latest with the transport; never from within
    `close` or `abort`.

    Args:
        accept: makes the connection, once the handshake is done.
        transports: of the whole port; this one's is in it while it lives, for whoever must end them all.
    """

    mark = HIGH_WATER
    __slots__ = (
        "_accept", "_blocked", "_closing", "_feed", "_head", "_pong", "_protocol", "_settings", "_timer", "_transport",
        "_transports", "certificate", "client",
    )  # fmt: skip

    def __init__(self, accept: Accept, settings: WebSocketSettings, transports: set[asyncio.Transport]) -> None:
        self._accept, self._settings, self._transports = accept, settings, transports
        self.client = ""
        self.certificate: Mapping[str, Any] | None = None
        self._protocol = ServerProtocol(
            subprotocols=_SUBPROTOCOLS,
            origins=None if settings.origins is None else [None, *(Origin(origin) for origin in settings.origins)],
            max_size=settings.max_message,
            logger=_frame_log,
        )
        self._transport: asyncio.Transport
        self._timer: asyncio.TimerHandle | None = None
        self._feed: Feed | None = None
        self._head = self._pong = b""
        self._blocked = self._closing = False

    # Wire: what the connection calls

    def send(self, data: bytes) -> None:
        """See `Wire.send`; once the WebSocket is closing, nothing happens."""
        if not self._closing:
            self._transport.write(binary_frame(data))

    def buffered(self) -> int:
        """See `Wire.buffered`."""
        return self._transport.get_write_buffer_size()

    def pause(self) -> None:
        """See `Wire.pause`."""
        if not self._closing:
            self._transport.pause_reading()

    def resume(self) -> None:
        """See `Wire.resume`."""
        if not self._closing:
            self._transport.resume_reading()

    def close(self) -> None:
        """See `Wire.close`: the closing handshake, with 1000."""
        if self._closing:
            return
        # else the client's Close is read already, and only has to be answered
        if self._protocol.state is OPEN:
            self._protocol.send_close(CloseCode.NORMAL_CLOSURE)
            self._protocol.data_to_send()  # pongs, which no longer matter, and the Close
            self._transport.write(_CLOSING)
            self._begin_closing()

    def abort(self) -> None:
        """See `Wire.abort`."""
        self._closing = True
        self._transport.abort()

    # asyncio.Protocol: what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transports.add(self._transport)
        self._transport.set_write_buffer_limits(HIGH_WATER, LOW_WATER)
        peer = transport.get_extra_info("peername")
        self.client = str(peer[0]) if isinstance(peer, tuple) else ""
        self.certificate = transport.get_extra_info("peercert") or None
        self._set_timer(self._settings.open_within)

    def data_received(self, data: bytes) -> None:
        if self._feed is not None:
            self._protocol.receive_data(data)
            self._take(self._protocol.events_received())
        elif not self._closing:
            self._read_head(data)

    def pause_writing(self) -> None:
        self._blocked = True

    def resume_writing(self) -> None:
        self._blocked = False
        if self._closing:
            return
        if self._pong:
            self._transport.write(self._pong)
            self._pong = b""
        if self._feed is not None:
            self._feed.drained()

    def eof_received(self) -> None:
        # what was sent still leaves, then the transport, told nothing else, closes itself
        self._begin_closing()
        self._tell_lost()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        self._transports.discard(self._transport)
        self._tell_lost()

    # opening

    def _read_head(self, data: bytes) -> None:
        head, protocol = self._head + data, self._protocol
        end = head.find(b"\r\n\r\n", max(0, len(self._head) - 3))
        if (len(head) if end < 0 else end) > HEAD_BYTES:
            self._reject(protocol.reject(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "Request head too large\n"))
            return
        if end < 0:
            self._head = head
            return
        self._head = b""
        protocol.receive_data(head[: end + 4])
        events = protocol.events_received()
        if not events:
            cause = protocol.handshake_exc and protocol.handshake_exc.__cause__
            self._reject(protocol.reject(HTTPStatus.BAD_REQUEST, f"Not a WebSocket handshake: {cause}\n"))
            return
        try:
            response = protocol.accept(cast("Request", events[0]))
        except UnicodeError:  # websockets quotes the header that it refuses, whatever is in it
            response = protocol.reject(HTTPStatus.BAD_REQUEST, "Not a WebSocket handshake\n")
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            self._reject(response)
            return
        self._open(response)
        early = head[end + 4 :]
        if early:
            self.data_received(early)

    def _open(self, response: Response) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._protocol.send_response(response)
        self._transport.write(b"".join(self._protocol.data_to_send()))
        self._feed = self._accept(self)

    def _reject(self, response: Response) -> None:
        self._begin_closing()
        self._transport.write(response.serialize())
        self._hang_up()

    # receiving

    def _take(self, frames: Sequence[Any]) -> None:
        """Hands on what the frames hold, sends what the protocol has to say, ends what it says has ended."""
        protocol, feed, pieces, is_text = self._protocol, self._feed, [], False
        for frame in frames:
            opcode = frame.opcode
            # packets may be cut anywhere: by frames, and by the fragments of a message [MQTT-6.0.0-2]
            if opcode is OP_BINARY or opcode is OP_CONT:
                pieces.append(frame.data)
            elif opcode is OP_TEXT:
                is_text = True
                break
        if pieces and feed is not None and not self._closing:
            feed.receive(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if is_text and protocol.state is OPEN:
            protocol.fail(CloseCode.UNSUPPORTED_DATA, TEXT_REFUSED)
        writes = protocol.data_to_send()
        if writes:
            self._answer(writes)

    def _answer(self, writes: list[bytes]) -> None:
        if self._protocol.state is OPEN:
            # a client that asks and does not read gets one pong when there is room [RFC 6455, 5.5.3]
            if self._blocked:
                self._pong = writes[-1]
            elif not self._closing:
                self._transport.write(b"".join(writes))
            return
        if not self._closing:
            self._begin_closing()
            self._transport.write(b"".join(writes))
        if SEND_EOF in writes:
            if self._protocol.close_rcvd is not None and self._protocol.parser_exc is None:
                self._transport.close()
            else:
                self._hang_up()
            self._tell_lost()

    # closing

    def _begin_closing(self) -> None:
        if not self._closing:
            self._closing = True
            self._set_timer(CLOSE_WITHIN)
            # the client's part of the close comes behind what a paused connection left unread
            self._transport.resume_reading()

    def _hang_up(self) -> None:
        """Ends our side. To close with data unread would reset the connection: the client would never see why."""
        if self._transport.is_closing():
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def _tell_lost(self) -> None:
        feed, self._feed = self._feed, None
        if feed is not None:
            feed.lost()

    def _set_timer(self, delay: float) -> None:
        """Sets the one timer: the end of patience."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(delay, self._transport.abort)
