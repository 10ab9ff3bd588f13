"""All Engine.IO sessions of a door: who may open one, and which it is that a request means. Pure."""

from collections.abc import Callable, Mapping

from bridge.door import Handshake
from bridge.errors import CLOSE_RESTART
from bridge.socketio.parts import (
    BAD_METHOD,
    BAD_REQUEST,
    FULL,
    POLLING,
    UNKNOWN_SID,
    UNKNOWN_TRANSPORT,
    UNSUPPORTED_VERSION,
    WEBSOCKET,
    WS_POLICY,
    EngineError,
    Handler,
    Settings,
    Timers,
)
from bridge.socketio.session import Session
from hub.throttle import network_of

__all__ = ["Counters", "Engine"]

VERSION = "4"
_KNOWN = (POLLING, WEBSOCKET)


class Counters:
    """What happened since the start.

    Attributes:
        opened: sessions, by the transport that they began on.
        upgraded: those that went from polling to a WebSocket.
        refused: for being too many.
        ended: sessions, by reason.
    """

    def __init__(self) -> None:
        self.opened = dict.fromkeys(_KNOWN, 0)
        self.upgraded = 0
        self.refused = 0
        self.ended: dict[str, int] = {}


class Engine:
    """Keeps the sessions.

    Args:
        handler: makes what is spoken on a new session.
        new_sid: gives ids that nobody can guess.
        now: seconds of the clock that `timers` goes by.

    Attributes:
        sessions: how many there are, by transport.
    """

    def __init__(
        self,
        handler: Callable[[Session], Handler],
        settings: Settings,
        timers: Timers,
        now: Callable[[], float],
        new_sid: Callable[[], str],
    ) -> None:
        self.settings, self.timers, self.now = settings, timers, now
        self.counters = Counters()
        self.sessions = dict.fromkeys(_KNOWN, 0)
        self._handler, self._new_sid = handler, new_sid
        self._by_sid: dict[str, Session] = {}
        # the oldest first
        self._strangers: dict[Session, None] = {}
        self._strangers_of: dict[str, dict[Session, None]] = {}
        self._stopped = False

    # ---- what a request means

    def session_of(self, query: Mapping[str, str], transport: str, *, opens: bool = True) -> Session | None:
        """The session that a request names; None: it opens one.

        Args:
            transport: that it came by.
            opens: whether its method is one that may open a session.

        Raises:
            EngineError: it is refused.
        """
        named = query.get("transport")
        if named not in _KNOWN:
            raise EngineError(*UNKNOWN_TRANSPORT)
        if query.get("EIO") != VERSION:
            raise EngineError(*UNSUPPORTED_VERSION)
        sid = query.get("sid")
        if sid is not None:
            session = self._by_sid.get(sid)
            if session is None:
                raise EngineError(*UNKNOWN_SID)
            if named != transport:
                raise EngineError(*BAD_REQUEST)
            return session
        if not opens:
            raise EngineError(*BAD_METHOD)
        if named != transport:
            raise EngineError(*BAD_REQUEST)
        return None

    def open(self, handshake: Handshake, transport: str) -> Session:
        """A new session.

        Raises:
            EngineError: there are too many.
        """
        settings = self.settings
        near = self._strangers_of.get(network_of(handshake.client), {})
        for strangers, most in ((near, settings.max_strangers_per_client), (self._strangers, settings.max_strangers)):
            if len(strangers) >= most:
                # who means it has asked for a namespace by now: that one, not the newcomer, is one too many
                next(iter(strangers)).fail("too many strangers", WS_POLICY)
        if self._stopped or len(self._by_sid) >= settings.max_sessions:
            self.counters.refused += 1
            raise EngineError(*FULL)
        session = Session(self._new_sid(), handshake, transport, self)
        self._by_sid[session.sid] = session
        self.sessions[transport] += 1
        self.counters.opened[transport] += 1
        self.strange(session, strange=True)
        session.start(self._handler(session))
        return session

    def stop(self) -> None:
        """Ends all sessions so that their clients come again; nobody is let in any more."""
        self._stopped = True
        for session in list(self._by_sid.values()):
            session.close(CLOSE_RESTART, "Service restart", "server stop")

    # ---- Keeper: what the sessions tell

    def forget(self, sid: str, transport: str) -> None:
        """See `Keeper.forget`."""
        if self._by_sid.pop(sid, None) is not None:
            self.sessions[transport] -= 1

    def strange(self, session: Session, *, strange: bool) -> None:
        """See `Keeper.strange`."""
        network = network_of(session.client)
        if strange:
            self._strangers[session] = None
            self._strangers_of.setdefault(network, {})[session] = None
            return
        del self._strangers[session]
        near = self._strangers_of[network]
        del near[session]
        if not near:
            del self._strangers_of[network]

    def moved(self) -> None:
        """See `Keeper.moved`."""
        self.sessions[POLLING] -= 1
        self.sessions[WEBSOCKET] += 1
        self.counters.upgraded += 1

    def ended(self, reason: str) -> None:
        """See `Keeper.ended`."""
        self.counters.ended[reason] = self.counters.ended.get(reason, 0) + 1
