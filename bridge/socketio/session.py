"""One Engine.IO session: over polling, over a WebSocket, or on its way from one to the other. Pure.

Packets and time come in, frames go out.

    open -> closing -> closed
      closing: over polling alone: the handler was told; what it sent last, and that it is over, waits for a poll

To `bridge.connection` a session that begins on a WebSocket is the `Door` itself, so that nothing stands between the two.
"""

from collections.abc import Callable
from typing import Any, Final

from bridge.door import HOLD_SECONDS, Door, Handshake, Wire
from bridge.errors import CLOSE_OVERLOAD
from bridge.socketio.engine_packets import (
    BINARY,
    CLOSE,
    CLOSE_FRAME,
    MESSAGE,
    NOOP,
    NOOP_FRAME,
    PING_FRAME,
    PONG,
    BadPacket,
    decode_binary,
    decode_payload,
    encode_payload,
    open_frame,
)
from bridge.socketio.outbox import Outbox
from bridge.socketio.parts import (
    BAD_REQUEST,
    NOBODY,
    POLLING,
    WEBSOCKET,
    WS_INTERNAL,
    WS_NORMAL,
    WS_PROTOCOL,
    WS_TOO_BIG,
    EngineError,
    Handler,
    Keeper,
    Upgrading,
)
from hub.limits import TokenBucket

__all__ = ["Session"]

TALK_RATE: Final = 10.0
TALK_BURST: Final = 50.0
"""Packets that are no events (pongs, acks that nobody asked for), a second and at once."""

_OPEN, _CLOSING, _CLOSED = "open", "closing", "closed"


class Session(Door):
    """One session.

    Args:
        handshake: of the request that opened it.
        transport: that it begins on.

    Attributes:
        wire: where frames go now; a handler keeps it until `Handler.upgraded`.
        client: the address.
    """

    def __init__(self, sid: str, handshake: Handshake, transport: str, keeper: Keeper) -> None:
        self.sid, self.handshake, self.transport = sid, handshake, transport
        self.client = handshake.client
        self.settings, self.timers, self.now = keeper.settings, keeper.timers, keeper.now
        self.stranger = True
        self._keeper = keeper
        self._state = _OPEN
        self._outbox = Outbox()
        self.wire: Wire = self._outbox
        self._handler: Handler
        self._message: Callable[[str | bytes], None]
        self._timer: Any = None
        self._pinged = self._heard = False
        self._talk = TokenBucket(TALK_RATE, TALK_BURST)
        self._posted = False
        self._last = CLOSE_FRAME
        self.upgrade: Upgrading | None = None

    @property
    def is_open(self) -> bool:
        """Whether the handler may go on."""
        return self._state is _OPEN

    # ---- what the handler calls

    def send(self, frames: list[bytes]) -> None:
        """Sends frames in order; once the session is not open, nothing happens."""
        if self._state is _OPEN:
            for frame in frames:
                self.wire.send_frame(frame)

    def vouch(self, *, known: bool = True) -> None:
        """Says whether it belongs to somebody: what does not is counted, and limited."""
        if self.stranger is known and self._state is _OPEN:
            self.stranger = not known
            if known:
                self.wire.trust()
            self._keeper.strange(self, strange=not known)

    def close(self, code: int, reason: str, why: str = "server close") -> None:
        """Closes the session, once what was sent before is gone; `Handler.closed` comes before this returns.

        Args:
            code, reason: of the WebSocket; over polling nobody hears them. 1013: what waits is thrown away.
            why: for the counters.
        """
        if self._state is not _OPEN:
            return
        if code == CLOSE_OVERLOAD:
            self._outbox.drain()
        if self.transport is WEBSOCKET:
            self.wire.close(code, reason)
            self._end(why)
        else:
            self._linger(CLOSE_FRAME, why)

    # ---- life

    def start(self, handler: Handler) -> None:
        """Begins."""
        self._handler, self._message = handler, handler.message
        self._set_timer(self.settings.ping_interval)

    def opening(self) -> bytes:
        """The first frame for the client."""
        settings = self.settings
        upgrades = [WEBSOCKET] if self.transport is POLLING else []
        return open_frame(self.sid, upgrades, settings.ping_interval, settings.ping_timeout, settings.max_payload)

    def due(self, now: float) -> None:
        """A ping, the answer to it, or the end of patience."""
        self._timer = None
        settings = self.settings
        if self._state is _CLOSING:
            self._forget()
        elif not self._pinged:
            self._pinged, self._heard = True, False
            self.wire.send_frame(PING_FRAME)
            self._set_timer(settings.ping_timeout)
        elif self._heard:
            self._pinged = False
            self._set_timer(max(0.0, settings.ping_interval - settings.ping_timeout))
        else:
            self.fail("ping timeout", WS_INTERNAL)

    def fail(self, why: str, code: int = WS_PROTOCOL) -> None:
        """Ends the session at once; a poll that waits is told so.

        Args:
            why: for the counters.
        """
        if self._state is _CLOSED:
            return
        if self.transport is WEBSOCKET:
            self.wire.close(code)
        self._outbox.drain()
        self._end(why)

    def _linger(self, last: bytes, why: str) -> None:
        """Ends the session, but for the poll that is to hear of it; what is posted meanwhile is not looked at."""
        self._state, self._last = _CLOSING, last
        try:
            self._tell_closed(why)
        finally:
            self._set_timer(self.settings.close_timeout)
            self._outbox.release()

    def _end(self, why: str) -> None:
        """The end, known to the transport already."""
        was, self._state = self._state, _CLOSED
        try:
            if was is _OPEN:
                self._tell_closed(why)
        finally:
            if was is not _CLOSED:
                self._forget()

    def _tell_closed(self, why: str) -> None:
        if self.stranger:
            self._keeper.strange(self, strange=False)
        self._keeper.ended(why)
        self._handler.closed()

    def _forget(self) -> None:
        self._state = _CLOSED
        self.timers.cancel(self._timer)
        self._timer = None
        self._keeper.forget(self.sid, self.transport)
        upgrade, self.upgrade = self.upgrade, None
        if upgrade is not None:
            upgrade.abandon()
        self._outbox.release()
        # no cycle: what is gone is freed at once, not when the garbage collector comes by
        self._handler, self._message = NOBODY, NOBODY.message

    def _set_timer(self, delay: float) -> None:
        self.timers.cancel(self._timer)
        self._timer = self.timers.set(self.now() + delay, self)

    # ---- a WebSocket: what its connection calls (see `Door`)

    def opened(self, wire: Wire) -> None:
        self.wire = wire
        wire.send_frame(self.opening())

    def received(self, message: bytes | str) -> None:
        self._heard = True
        try:
            if isinstance(message, bytes):
                self._message(message)
            elif message[:1] == MESSAGE:
                self._message(message[1:])
            else:
                self._control(message)
        except BadPacket as bad:
            self.reject(bad)

    def writable(self) -> None:
        # a pong may have waited behind what was not read meanwhile
        self._heard = True
        if self._state is _OPEN:
            self._handler.writable()

    def closed(self, code: int) -> None:
        self._end("transport close")

    def reject(self, bad: BadPacket) -> None:
        """Ends the session for what the client sent."""
        self.fail("bad packet", WS_TOO_BIG if bad.too_big else WS_PROTOCOL)

    def idle_talk(self) -> None:
        """The client said what is no event; who says too much of it is not read from for a while."""
        if not self._talk.take(self.now()):
            self.wire.hold(HOLD_SECONDS)

    def _control(self, packet: str) -> None:
        """A packet that is no text message."""
        if packet[:1] == BINARY:
            self._message(decode_binary(packet))
            return
        self.idle_talk()
        if packet == CLOSE:
            if self.transport is WEBSOCKET:
                self.wire.close(WS_NORMAL)
                self._end("client close")
            else:
                self._linger(NOOP_FRAME, "client close")
        elif packet not in (PONG, NOOP):
            # a ping too: in this version it is the server that pings
            raise BadPacket("a packet that a client does not send")

    # ---- polling: what its requests call

    def poll(self, ready: Callable[[], None]) -> None:
        """A GET is here. Calls `ready` once, at once or later: then `take` what there is; `poll_done` follows in any case.

        Raises:
            EngineError: the session is not polled, or a GET is here already, which ends it.
        """
        self._must_poll()
        if self._outbox.polled:
            self.fail("overlapping requests")
            raise EngineError(*BAD_REQUEST)
        self._outbox.begin(ready)
        if self._outbox.buffered or self._state is _CLOSING or (self.upgrade is not None and self.upgrade.probed):
            self._outbox.release()

    def take(self) -> bytes:
        """The body of the answer to a GET."""
        frames = self._outbox.drain()
        if self._state is not _OPEN:
            frames.append(self._last)
            # a client that is put out still posts its own close, which is no error: it is known until the timeout
            if self._state is _CLOSING and self._last is NOOP_FRAME:
                self._end("")
        elif not frames:
            frames.append(NOOP_FRAME)
        else:
            self._handler.writable()
        return encode_payload(frames)

    def poll_done(self, *, lost: bool = False) -> None:
        """The GET is answered. `lost`: its client went away instead, and with it the session."""
        self._outbox.end()
        if lost and self.transport is POLLING:
            self._end("transport close")

    def post_begins(self) -> None:
        """The head of a POST is here; `post` or `post_failed` follows. Raises EngineError, as `poll` does."""
        self._must_poll()
        if self._posted:
            self.fail("overlapping requests")
            raise EngineError(*BAD_REQUEST)
        self._posted = True

    def post(self, body: bytes) -> None:
        """Its body is here.

        Raises:
            EngineError: the body was wrong, and the session has ended; or it had ended or moved to a WebSocket meanwhile.
        """
        self._posted = False
        self._must_poll()
        try:
            for packet in decode_payload(body, self.settings.max_packets):
                if self._state is _OPEN:
                    self._heard = True
                    if packet[:1] == MESSAGE:
                        self._message(packet[1:])
                    else:
                        self._control(packet)
        except BadPacket as bad:
            self.reject(bad)
            raise EngineError(*BAD_REQUEST) from None

    def post_failed(self, why: str) -> None:
        """The body never came, or is too large."""
        self._posted = False
        if self.transport is POLLING:
            self.fail(why)

    def _must_poll(self) -> None:
        if self.transport is not POLLING or self._state is _CLOSED:
            raise EngineError(*BAD_REQUEST)

    # ---- from polling to a WebSocket: what `Upgrading` calls

    def probed(self) -> None:
        """The WebSocket works: the poll that waits is to end, so that the client can change over."""
        self._outbox.release()

    def change_over(self, wire: Wire) -> None:
        """The client goes on over the WebSocket: what waits goes there, and all that follows."""
        self.upgrade = None
        waiting = self._outbox.drain()
        self._heard = True
        if self._state is not _OPEN:
            for frame in waiting:
                wire.send_frame(frame)
            wire.close(WS_NORMAL)
            self._end("")
            return
        self._keeper.moved()
        self.transport, self.wire = WEBSOCKET, wire
        if not self.stranger:
            wire.trust()
        self._outbox.release()
        for frame in waiting:
            wire.send_frame(frame)
        self._handler.upgraded()
