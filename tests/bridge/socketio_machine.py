"""Engine.IO and Socket.IO without sockets: time is turned by hand, and clients are objects."""

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from bridge.door import Door, Handshake
from bridge.socketio.engine import Engine
from bridge.socketio.engine_packets import encode_payload
from bridge.socketio.namespaces import Application, Connection
from bridge.socketio.parts import POLLING, WEBSOCKET, EngineError, Handler, Settings
from bridge.socketio.session import Session
from bridge.socketio.upgrade import Upgrade
from hub.broker.deadlines import Deadlines

__all__ = ["FakeSocket", "Machine", "PollingClient", "WebSocketClient", "contents", "events", "shaken"]


def contents(frame: bytes) -> str | bytes:
    """What a WebSocket frame of a server holds: str for text."""
    packet = encode_payload([frame])
    if frame[0] == 0x81:
        return packet.decode()
    return frame[{126: 4, 127: 10}.get(frame[1], 2) :]


def shaken(query: Mapping[str, str] | None = None, *, client: str = "192.0.2.1", **headers: str) -> Handshake:
    """A handshake."""
    return Handshake(path="/socket.io/", query=dict(query or {}), headers=headers, client=client)


class FakeSocket:
    """The `Socket` that a door gets: keeps frames, knows how it was closed."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.buffered = 0
        self.trusted = False
        self.ended: tuple[int, str] | None = None

    def send_frame(self, frame: bytes) -> None:
        if self.ended is None:
            self.frames.append(frame)

    def trust(self) -> None:
        self.trusted = True

    def hold(self, seconds: float) -> None:
        raise NotImplementedError

    def send_text(self, text: bytes) -> None:
        raise NotImplementedError

    def close(self, code: int, reason: str = "") -> None:
        self.ended = self.ended or (int(code), reason)

    def pause(self) -> None:
        raise NotImplementedError

    def resume(self) -> None:
        raise NotImplementedError

    def abort(self) -> None:
        raise NotImplementedError


class WebSocketClient:
    """A client on a WebSocket; `door` is what its connection would feed."""

    def __init__(self, door: Door) -> None:
        self.door, self.socket = door, FakeSocket()
        door.opened(self.socket)

    def send(self, *messages: str | bytes) -> list[str | bytes]:
        """Sends messages, as far as the connection is open; gives what it got since the last time."""
        for message in messages:
            if self.socket.ended is None:
                self.door.received(message)
        return self.take()

    def take(self) -> list[str | bytes]:
        """What it got since the last time."""
        taken = [contents(frame) for frame in self.socket.frames]
        self.socket.frames.clear()
        return taken

    def hang_up(self) -> None:
        """Its connection breaks."""
        self.socket.ended = (1006, "")
        self.door.closed(1006)

    @property
    def code(self) -> int | None:
        """How it was closed; None: it is open."""
        return self.socket.ended and self.socket.ended[0]


class PollingClient:
    """A client that polls."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.answer: str | None = None
        self.opening = contents(session.opening())

    @property
    def sid(self) -> str:
        return self.session.sid

    def get(self) -> str | None:
        """Polls; gives the answer when it comes at once, else it is in `answer` when it comes."""
        self.answer = None

        def ready() -> None:
            self.answer = self.session.take().decode()
            self.session.poll_done()

        self.session.poll(ready)
        return self.answer

    def post(self, *packets: str) -> None:
        """Sends packets."""
        self.session.post_begins()
        self.session.post("\x1e".join(packets).encode())


class Machine:
    """An engine and its clock.

    Args:
        spoken: an application of Socket.IO, or what makes a handler of a session.
    """

    def __init__(
        self,
        application: Application | None = None,
        handler: Callable[[Session], Handler] | None = None,
        now: Callable[[], float] | None = None,
        **settings: Any,
    ) -> None:
        self.time = 1_000.0
        self.deadlines = Deadlines()
        self._now = now
        self._sids = iter(range(10_000))
        made = handler or (lambda session: Connection(session, application))  # type: ignore[arg-type]  # one of the two is given
        self.engine = Engine(made, Settings(**settings), self.deadlines, self.now, lambda: f"sid-{next(self._sids)}")

    def now(self) -> float:
        return self._now() if self._now else self.time

    def forward(self, seconds: float = 0.0) -> None:
        """Time passes, in steps; without `seconds` only what is due now happens."""
        if self._now is None:
            end = self.time + seconds
            while self.time < end - 1e-9:
                self.time = min(self.time + 0.5, end)
                self.deadlines.pass_until(self.time)
        self.deadlines.pass_until(self.now())

    def websocket(self, handshake: Handshake | None = None) -> WebSocketClient:
        """A client opens a session by WebSocket."""
        return WebSocketClient(self.engine.open(handshake or shaken(), WEBSOCKET))

    def polling(self, handshake: Handshake | None = None) -> PollingClient:
        """A client opens a session by polling."""
        return PollingClient(self.engine.open(handshake or shaken(), POLLING))

    def upgrade(self, sid: str) -> WebSocketClient:
        """A client opens a WebSocket for a session."""
        session = self.find(sid, WEBSOCKET)
        assert session is not None
        return WebSocketClient(Upgrade(session))

    def find(self, sid: str, transport: str = POLLING) -> Session:
        """The session of an id. Raises EngineError."""
        session = self.engine.session_of({"EIO": "4", "transport": transport, "sid": sid}, transport)
        assert session is not None
        return session

    def known(self, sid: str) -> bool:
        """Whether there is such a session."""
        try:
            return self.find(sid) is not None
        except EngineError:
            return False


def events(messages: list[str | bytes], prefix: str = "42") -> list[Any]:
    """The events among messages, as [name, argument, ...]."""
    return [
        orjson.loads(message[len(prefix) :])
        for message in messages
        if isinstance(message, str) and message.startswith(prefix + "[")
    ]
