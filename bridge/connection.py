"""The one asyncio protocol for every WebSocket on the HTTP port: given to uvicorn as its `ws=`, it hands messages to a door.

It drives websockets' sans-IO `ServerProtocol` (RFC 6455), by way of `bridge.frames`, and does what an ASGI server and framework
would do around it: origin check, the client behind a proxy, limits, reassembly, UTF-8, pings, back-pressure, closing. No task and
no queue per message: one read is parsed, answered and written back before `data_received` returns. What is sent at other times
leaves when the loop turns: a thousand pushes to fifty browsers are fifty writes.

    handshake -> open -> closing -> lost
      open: frames go to the door, and the door's to the socket
      closing: a Close was sent by either side, or the client hung up; the door was told; what was written before still leaves,
        nothing else is written, what comes is thrown away; a deadline ends it
"""

import asyncio
import struct
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from logging import WARNING, getLogger
from typing import Any, Final, cast

import structlog
from websockets.frames import DATA_OPCODES, OP_CONT, OP_PONG, OP_TEXT, CloseCode, Frame
from websockets.http11 import Request
from websockets.protocol import OPEN, SEND_EOF
from websockets.server import ServerProtocol

from bridge.door import Door, DoorFactory, HandshakeRefused
from bridge.frames import FrameReader, Received
from bridge.handshake import door_of, origin_allowed, read_handshake, refusal
from devices.messages import MAX_MESSAGE

__all__ = [
    "HIGH_WATER",
    "LOW_WATER",
    "PING_INTERVAL",
    "SLICE",
    "STRANGER_MESSAGE",
    "TURN",
    "Settings",
    "Unfinished",
    "WebSocketConnection",
    "protocol_class",
    "text_frame",
]

HIGH_WATER: Final = 64 * 1024
"""Unsent bytes above which nothing more is read from this client."""
LOW_WATER: Final = 16 * 1024
"""Unsent bytes at which reading goes on, and the door hears `writable`."""
PING_INTERVAL: Final = 25.0
"""Seconds between two pings, as told in `welcome`."""
TURN: Final = 256
"""Messages of one client, before the others have their turn."""
SLICE: Final = 16 * 1024
"""Bytes of it that are parsed in a turn."""
CLOSING_PAUSE: Final = 0.02
"""Seconds between two turns of a client that the connection is being closed with."""
STRANGER_MESSAGE: Final = 16 * 1024
"""Bytes of a message, until the door knows whose it is."""
SHUTDOWN_WITHIN: Final = 1.0
"""Seconds that a client has to answer the Close of a server that stops."""
_MAX_CONTROL: Final = 125  # [RFC 6455, 5.5]
_MAX_REASON: Final = _MAX_CONTROL - 2
_SHORT: Final = [bytes((0x81, size)) for size in range(126)]
_PING: Final = b"\x89\x00"

log = structlog.get_logger(__name__)
# at DEBUG websockets logs every frame and the request line: tokens are in both
_frame_log = getLogger(f"{__name__}.frames")
_frame_log.setLevel(WARNING)


@dataclass(slots=True)
class Unfinished:
    """Bytes of messages that are not whole yet, of all connections together.

    Attributes:
        most: who would go beyond is closed with 1013; who sends no more than `STRANGER_MESSAGE` is never concerned.
    """

    used: int = 0
    most: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What all connections of a server share. Times are seconds, sizes bytes.

    Attributes:
        doors: the door of each path; a trailing slash makes no difference.
        origins: None: pages of any origin may connect. Else a browser's Origin must be listed or be the server's own (the same
            host and port as in Host); what sends no Origin is no browser, and is let in.
        trusted_proxies: addresses whose X-Forwarded-For is believed.
        max_message: a larger one closes the connection with 1009; so does one over `STRANGER_MESSAGE`, until the door knows the
            client (see `Wire.trust`).
        ping_interval: between two pings.
        ping_timeout: for the pong; then closed with 1011.
        unfinished: what all of them have sent of messages that are not whole yet.
        close_timeout: for the client's part of a close; then aborted.
    """

    doors: Mapping[str, DoorFactory]
    origins: frozenset[str] | None = None
    trusted_proxies: frozenset[str] = field(default_factory=frozenset)
    max_message: int = MAX_MESSAGE
    ping_interval: float = PING_INTERVAL
    ping_timeout: float = 20.0
    unfinished: Unfinished = field(default_factory=Unfinished)
    close_timeout: float = 10.0


def protocol_class(settings: Settings) -> type[asyncio.Protocol]:
    """The class to give to `uvicorn.Config(ws=...)`."""

    class Connection(WebSocketConnection):
        __slots__ = ()

        def __init__(self, config: Any, server_state: Any, app_state: Any) -> None:
            super().__init__(settings, server_state.connections)

    return Connection


def text_frame(payload: bytes) -> bytes:
    """One text message (UTF-8) as one unmasked frame, ready for any number of `Wire.send_frame`. [RFC 6455, 5.2]"""
    size = len(payload)
    if size < 126:
        return _SHORT[size] + payload
    return struct.pack("!BBH" if size < 65536 else "!BBQ", 0x81, 126 if size < 65536 else 127, size) + payload


class WebSocketConnection(asyncio.Protocol):
    """One client; to its door it is the `Socket`.

    Args:
        settings: shared by all.
        connections: the server's set of what it must shut down; this connection is in it while it lives.
    """

    __slots__ = (
        "_alive", "_at", "_blocked", "_client", "_closing", "_connections", "_corked", "_door", "_inbox", "_is_text", "_loop",
        "_max_message", "_message", "_out", "_out_size", "_path", "_paused", "_protocol", "_reader", "_resting", "_scheduled",
        "_settings", "_timer", "_transport", "_unfinished", "_unread",
    )  # fmt: skip

    def __init__(self, settings: Settings, connections: set[Any]) -> None:
        self._settings, self._connections = settings, connections
        self._protocol = ServerProtocol(logger=_frame_log)
        self._reader = FrameReader(self._protocol, 0)
        self._limit(min(STRANGER_MESSAGE, settings.max_message))
        self._loop: asyncio.AbstractEventLoop
        self._transport: asyncio.Transport
        self._timer: asyncio.TimerHandle | None = None
        self._door: Door | None = None
        self._path = self._client = ""
        self._inbox: deque[Received] = deque()
        self._unread, self._at, self._unfinished = b"", 0, 0
        self._message: bytearray | None = None
        self._is_text = False
        self._out: list[bytes] = []
        self._out_size = 0
        self._corked = self._scheduled = self._blocked = self._paused = self._resting = self._closing = False
        self._alive = True

    # Socket: what the door calls

    @property
    def buffered(self) -> int:
        """See `Wire.buffered`."""
        return self._transport.get_write_buffer_size() + self._out_size

    def send_frame(self, frame: bytes) -> None:
        """See `Wire.send_frame`; once the connection is closing, nothing happens."""
        if self._closing:
            return
        self._out.append(frame)
        self._out_size += len(frame)
        if self._out_size + self._transport.get_write_buffer_size() > HIGH_WATER:
            # so that the transport feels the pressure, and tells when it is gone
            self._flush()
        elif not self._corked and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def send_text(self, text: bytes) -> None:
        """See `Wire.send_text`."""
        self.send_frame(text_frame(text))

    def close(self, code: int, reason: str = "") -> None:
        """See `Wire.close`; a reason is cut at 123 bytes. `Door.closed` follows, never from within this call.

        Raises:
            ProtocolError: `code` may not be sent (RFC 6455, 7.4).
        """
        if self._closing:
            return
        self._inbox.clear()
        if self._protocol.state is OPEN:
            self._protocol.send_close(code, reason.encode(errors="replace")[:_MAX_REASON].decode(errors="ignore"))
            self._out.extend(self._protocol.data_to_send())
            if not self._corked:
                self._flush()
            self._begin_closing(self._settings.close_timeout)
        # else the client's Close is read already, and only has to be answered
        self._loop.call_soon(self._after_reading)

    def hold(self, seconds: float) -> None:
        """See `Wire.hold`."""
        if not self._closing:
            self._rest(seconds)

    def trust(self) -> None:
        """See `Wire.trust`."""
        self._limit(self._settings.max_message)

    def _limit(self, max_message: int) -> None:
        # a control frame between the fragments of a message that is just within the limit is not too much
        self._max_message = self._reader.max_message = max_message
        self._protocol.max_size = max_message + _MAX_CONTROL

    def pause(self) -> None:
        """See `Socket.pause`."""
        if not self._closing:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """See `Socket.resume`."""
        # a pong may have waited behind what is read only now
        self._paused, self._alive = False, True
        if self._unread or self._reader.deferred:
            self._rest(0.0)
        else:
            self._read_again()

    def abort(self) -> None:
        """See `Socket.abort`; `Door.closed` never comes from within this call."""
        self._closing = True
        self._out.clear()
        self._transport.abort()

    # asyncio.Protocol: what the transport and the server call

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self._loop = cast("asyncio.Transport", transport), asyncio.get_running_loop()
        # uvicorn does so only after the first data: until then its HTTP protocol would hear pause_writing
        self._transport.set_protocol(self)
        self._transport.set_write_buffer_limits(HIGH_WATER, LOW_WATER)
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        if self._protocol.parser_exc is not None:
            return  # failed: what still comes is thrown away [RFC 6455, 7.1.7]
        if len(data) > SLICE or self._unread:
            self._unread += data
            if self._resting or (self._blocked and not self._closing):
                return
            data = self._slice()
        self._take(data)

    def _slice(self) -> bytes:
        """The next part of what was read."""
        at, end = self._at, self._at + SLICE
        part = self._unread[at:end]
        self._at = end
        if end >= len(self._unread):
            self._unread, self._at = b"", 0
        return part

    def _take(self, data: bytes) -> None:
        self._inbox.extend(self._reader.feed(data))
        if self._unfinished or not self._inbox:
            self._count_unfinished(len(data))
        if self._door is None and not self._closing:
            self._handshake()
        elif not self._blocked and not self._resting:
            self._corked = True
            self._deliver()
            self._uncork()

    def pause_writing(self) -> None:
        self._blocked = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        # a pong may have waited behind what is read only now
        self._blocked, self._alive = False, True
        self._call(self._door.writable if self._door is not None and not self._closing else None)
        self._read_again()

    def eof_received(self) -> None:
        # no Close came: what was answered still leaves, then the transport, told nothing else, closes itself
        self._flush()
        self._protocol.receive_eof()
        self._begin_closing(self._settings.close_timeout)
        self._tell_closed()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._forget_unfinished()
        if self._timer is not None:
            self._timer.cancel()
        self._connections.discard(self)
        self._tell_closed()

    def shutdown(self) -> None:
        """Called by uvicorn when it stops: 1012, and little time to answer."""
        self.close(CloseCode.SERVICE_RESTART, "Service restart")
        self._set_timer(SHUTDOWN_WITHIN, self._give_up)

    def _count_unfinished(self, size: int) -> None:
        """Bytes of a message that is not whole yet are few, of all clients together."""
        if self._inbox or self._closing:
            self._forget_unfinished()
            return
        budget = self._settings.unfinished
        self._unfinished += size
        budget.used += size
        if self._unfinished > STRANGER_MESSAGE and budget.used > budget.most:
            self.close(CloseCode.TRY_AGAIN_LATER, "Too much is being sent at once")

    def _forget_unfinished(self) -> None:
        self._settings.unfinished.used -= self._unfinished
        self._unfinished = 0

    # opening

    def _handshake(self) -> None:
        if self._transport.is_closing():
            return
        request = self._inbox.popleft() if self._inbox else None
        if not isinstance(request, Request):
            cause = self._protocol.handshake_exc
            self._reject(400, f"Not a WebSocket handshake: {(cause and cause.__cause__) or 'incomplete'}")
            return
        handshake = read_handshake(request, self._transport.get_extra_info("peername"), self._settings.trusted_proxies)
        self._path, self._client = handshake.path, handshake.client
        factory = door_of(self._settings.doors, handshake.path)
        if factory is None:
            self._reject(404, f"Cannot GET {handshake.path}")
            return
        if not origin_allowed(handshake.headers, self._settings.origins):
            self._reject(403, "Origin not allowed")
            return
        try:
            response = self._protocol.accept(request)
        except UnicodeError:  # websockets quotes the header that it refuses, whatever is in it
            self._reject(400, "Not a WebSocket handshake: a header is not ASCII")
            return
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            self._reject(400, f"Not a WebSocket handshake: {self._protocol.handshake_exc}")
            return
        try:
            door = factory(handshake)
        except HandshakeRefused as refused:
            self._reject(refused.status, refused.message)
            return
        except Exception as error:
            self._log_failure(error)
            self._reject(500, "Internal server error")
            return
        self._door = door
        if door.subprotocol is not None:
            response.headers["Sec-WebSocket-Protocol"] = door.subprotocol
        self._protocol.send_response(response)
        self._out.extend(self._protocol.data_to_send())
        self._set_timer(self._settings.ping_interval, self._ping)
        self._call(partial(door.opened, self))

    def _reject(self, status: int, message: str) -> None:
        self._begin_closing(self._settings.close_timeout)
        self._transport.write(refusal(status, message))
        self._transport.close()

    # receiving

    def _call(self, method: Callable[[], None] | None) -> None:
        """Calls the door, then hands it what has been waiting; all that is written meanwhile is one write."""
        self._corked = True
        if method is not None:
            try:
                method()
            except Exception as error:
                self._crashed(error)
        self._deliver()
        self._uncork()

    def _deliver(self) -> None:
        """Hands what has arrived to the door, until the socket is full, the connection closes, or others have their turn."""
        inbox, door = self._inbox, self._door
        try:
            for _ in range(TURN):
                if not inbox or door is None or self._blocked or self._closing or self._resting:
                    break
                received = inbox.popleft()
                if isinstance(received, str | bytes):
                    door.received(received)
                elif isinstance(received, Frame):
                    if received.opcode in DATA_OPCODES:
                        self._reassemble(received, door)
                    elif received.opcode is OP_PONG:
                        self._alive = True
        except Exception as error:
            self._crashed(error)
        if self._closing:
            inbox.clear()
        if not inbox:
            self._after_reading()
        if self._protocol.parser_exc is not None:
            self._unread, self._at = b"", 0
        if (inbox or self._unread or self._reader.deferred) and (self._closing or not (self._blocked or self._paused)):
            # a client that is on its way out is only listened to for its Close
            self._rest(CLOSING_PAUSE if self._closing else 0.0)

    def _rest(self, seconds: float) -> None:
        if not self._resting:
            self._resting = True
            self._transport.pause_reading()
            self._loop.call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        """The others have had their turn."""
        if self not in self._connections:
            return
        self._resting, self._alive = False, True
        if self._closing or not (self._blocked or self._paused):
            if not self._inbox and (self._unread or self._reader.deferred):
                self._take(self._slice())
            else:
                self._call(None)
        self._read_again()

    def _read_again(self) -> None:
        if not (self._blocked or self._paused or self._resting or self._transport.is_closing()):
            self._transport.resume_reading()

    def _reassemble(self, frame: Frame, door: Door) -> None:
        if self._message is None or frame.opcode is not OP_CONT:
            self._message, self._is_text = bytearray(), frame.opcode is OP_TEXT
        message = self._message
        if len(message) + len(frame.data) > self._max_message:
            self._fail(CloseCode.MESSAGE_TOO_BIG, f"Message over {self._max_message} bytes")
            return
        message += frame.data
        if not frame.fin:
            return
        self._message = None
        try:
            whole = message.decode() if self._is_text else bytes(message)
        except UnicodeDecodeError:
            self._fail(CloseCode.INVALID_DATA, "Not UTF-8")
        else:
            door.received(whole)

    def _after_reading(self) -> None:
        """Sends what the protocol has to say after the door's answers: pongs, its Close. Ends what it says has ended."""
        protocol = self._protocol
        writes = protocol.data_to_send()
        if not self._closing:
            self._out.extend(writes)
        if protocol.state is OPEN:
            return
        self._flush()
        self._begin_closing(self._settings.close_timeout)
        self._tell_closed()
        if SEND_EOF not in writes:
            return
        if protocol.parser_exc is None and protocol.close_rcvd is not None:
            self._transport.close()
        elif self._transport.can_write_eof() and not self._transport.is_closing():
            # to close with data unread would reset the connection: the client would never see why
            self._transport.write_eof()

    # sending

    def _flush(self) -> None:
        if self._out:
            out = self._out[0] if len(self._out) == 1 else b"".join(self._out)
            self._out, self._out_size = [], 0
            self._transport.write(out)

    def _turn(self) -> None:
        """The loop has turned since something was sent outside of a read."""
        self._scheduled = False
        if not self._closing:
            self._flush()

    def _uncork(self) -> None:
        self._corked = False
        self._flush()

    # closing

    def _fail(self, code: int, reason: str) -> None:
        """Fails the connection: the rest of what the client sends is not looked at. [RFC 6455, 7.1.7]"""
        self._inbox.clear()
        if self._protocol.state is OPEN:
            self._protocol.fail(code, reason)

    def _crashed(self, error: Exception) -> None:
        self._log_failure(error)
        self._fail(CloseCode.INTERNAL_ERROR, "Internal error")

    def _log_failure(self, error: Exception) -> None:
        log.error("door failed", path=self._path, client=self._client, error=f"{type(error).__name__}: {error}")
        log.debug("where it failed", exc_info=error)

    def _begin_closing(self, within: float) -> None:
        if not self._closing:
            self._closing, self._message = True, None
            self._forget_unfinished()
            self._set_timer(within, self._give_up)
            if self._paused:
                # the client's part of the close comes behind what was left unread
                self.resume()

    def _tell_closed(self) -> None:
        door, sent = self._door, self._protocol.close_sent
        if door is None:
            return
        self._door = None
        try:
            door.closed(int(CloseCode.ABNORMAL_CLOSURE if sent is None else sent.code))
        except Exception as error:
            self._log_failure(error)

    # time

    def _set_timer(self, delay: float, callback: Callable[[], None]) -> None:
        """Sets the one timer: a ping, its pong, or the end of patience."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(delay, callback)

    def _ping(self) -> None:
        self._alive = False
        self.send_frame(_PING)
        self._set_timer(self._settings.ping_timeout, self._check_pong)

    def _check_pong(self) -> None:
        # nobody can tell while the door has stopped reading; one that does not read is no better for it
        if self._alive or (self._paused and not self._blocked):
            self._set_timer(max(0.0, self._settings.ping_interval - self._settings.ping_timeout), self._ping)
        else:
            self._fail(CloseCode.INTERNAL_ERROR, "No pong in time")
            self._after_reading()

    def _give_up(self) -> None:
        self._transport.abort()
