"""What the parts of the Engine.IO machine know of each other. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from devices.messages import MAX_MESSAGE
from hub.broker.deadlines import Due

__all__ = [
    "BAD_METHOD",
    "BAD_REQUEST",
    "FULL",
    "NOBODY",
    "ORIGIN",
    "POLLING",
    "TOO_LARGE",
    "UNKNOWN_SID",
    "UNKNOWN_TRANSPORT",
    "UNSUPPORTED_VERSION",
    "WEBSOCKET",
    "WS_INTERNAL",
    "WS_NORMAL",
    "WS_POLICY",
    "WS_PROTOCOL",
    "WS_TOO_BIG",
    "EngineError",
    "Handler",
    "Keeper",
    "Settings",
    "Timers",
    "Upgrading",
]

WS_NORMAL: Final = 1000  # [RFC 6455, 7.4.1]
WS_PROTOCOL: Final = 1002
WS_POLICY: Final = 1008
WS_TOO_BIG: Final = 1009
WS_INTERNAL: Final = 1011

POLLING: Final = "polling"
WEBSOCKET: Final = "websocket"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What all sessions share. Times are seconds, sizes bytes.

    Attributes:
        ping_interval: between two pings of the server.
        ping_timeout: for the client to say anything after a ping.
        connect_timeout: for the first namespace.
        upgrade_timeout: for the whole change from polling to a WebSocket.
        close_timeout: that a closed session is known for the poll which fetches what it sent last, and the client's own close.
        post_timeout: for the body of a POST to arrive.
        max_payload: of a POST, or a packet with its attachments.
        max_packets: in one POST.
        max_sessions: at once.
        max_strangers: sessions that belong to nobody yet (see `Session.vouch`); of more, the oldest ends.
        max_strangers_per_client: the same, of one network; behind a proxy that is not trusted all are of one.
    """

    ping_interval: float = 25.0
    ping_timeout: float = 20.0
    connect_timeout: float = 10.0
    upgrade_timeout: float = 10.0
    close_timeout: float = 10.0
    post_timeout: float = 20.0
    max_payload: int = MAX_MESSAGE
    max_packets: int = 1_000
    max_sessions: int = 20_000
    max_strangers: int = 4_000
    max_strangers_per_client: int = 2_000


class Timers(Protocol):
    """Calls what is due; `hub.broker.deadlines.Deadlines` is one."""

    def set(self, at: float, who: Due) -> Any:
        """`who.due` is called at `at`, seconds, and not from within this call. Gives what `cancel` takes."""

    def cancel(self, entry: Any) -> None:
        """Forgets a deadline; None, or one that has passed, is no matter."""


class Handler(Protocol):
    """What is spoken on a session."""

    def message(self, message: str | bytes) -> None:
        """A message came. Raises BadPacket, which closes the session."""

    def writable(self) -> None:
        """What had piled up is gone, or going."""

    def upgraded(self) -> None:
        """`Session.wire` is another one."""

    def closed(self) -> None:
        """The session is over; called once. It may come from within `Session.close`, but no other call of the handler's."""


class _Nobody:
    """The handler of a session that has none any more."""

    def message(self, message: str | bytes) -> None:
        """Nobody is there."""

    def writable(self) -> None:
        """Nobody is there."""

    def upgraded(self) -> None:
        """Nobody is there."""

    def closed(self) -> None:
        """Nobody is there."""


NOBODY: Final = _Nobody()


class Keeper(Protocol):
    """What a session needs of who keeps them all (see `bridge.socketio.engine.Engine`)."""

    settings: Settings
    timers: Timers
    now: Callable[[], float]

    def forget(self, sid: str, transport: str) -> None:
        """The session is gone: its id means nothing any more."""

    def strange(self, session: Any, *, strange: bool) -> None:
        """A `Session` belongs to nobody; or that has changed."""

    def moved(self) -> None:
        """A session went on over a WebSocket."""

    def ended(self, reason: str) -> None:
        """One more session ended, for that reason."""


class Upgrading(Protocol):
    """A WebSocket that a polling session may go on with (see `bridge.socketio.upgrade.Upgrade`)."""

    probed: bool

    def abandon(self) -> None:
        """The session is gone."""


class EngineError(Exception):
    """A request is refused, in Engine.IO's own way.

    Attributes:
        status: of the HTTP answer.
        code: of the reference server, for the client's library.
    """

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


UNKNOWN_TRANSPORT: Final = (400, 0, "Transport unknown")
UNKNOWN_SID: Final = (400, 1, "Session ID unknown")
BAD_METHOD: Final = (400, 2, "Bad handshake method")
BAD_REQUEST: Final = (400, 3, "Bad request")
ORIGIN: Final = (403, 4, "Forbidden")
UNSUPPORTED_VERSION: Final = (400, 5, "Unsupported protocol version")
TOO_LARGE: Final = (413, 3, "Payload too large")
FULL: Final = (503, 4, "Too many sessions")
