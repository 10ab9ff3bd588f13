"""Engine.IO on a port: the doors for WebSockets, the ASGI application for polling, and the event loop's timers for both."""

import asyncio
import secrets
from collections.abc import Callable
from typing import Final

import structlog
from starlette.types import Receive, Scope, Send

from bridge.door import Door, Handshake, HandshakeRefused
from bridge.socketio.engine import Counters, Engine
from bridge.socketio.parts import WEBSOCKET, EngineError, Handler, Settings
from bridge.socketio.polling import Polling
from bridge.socketio.session import Session
from bridge.socketio.upgrade import Upgrade
from hub.broker.deadlines import Due

__all__ = ["EngineServer"]

log = structlog.get_logger(__name__)

SID_BYTES: Final = 15
"""Random bytes in the id of a session."""


class _LoopTimers:
    """`Timers` of the running event loop."""

    def set(self, at: float, who: Due) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_at(at, _due, who)

    def cancel(self, entry: asyncio.TimerHandle | None) -> None:
        if entry is not None:
            entry.cancel()


def _due(who: Due) -> None:
    try:
        who.due(_now())
    except Exception as error:
        log.error("session failed", error=f"{type(error).__name__}: {error}")
        log.debug("where it failed", exc_info=error)


def _now() -> float:
    return asyncio.get_running_loop().time()


class EngineServer:
    """One path's sessions: an ASGI application for its polling, and doors for its WebSockets.

    Args:
        handler: makes what is spoken on a session.
        origins: see `bridge.connection.Settings.origins`; for polling. Doors are behind a check of their own.
    """

    def __init__(
        self,
        handler: Callable[[Session], Handler],
        *,
        origins: frozenset[str] | None = None,
        settings: Settings | None = None,
    ) -> None:
        self._engine = Engine(
            handler, settings or Settings(), _LoopTimers(), _now, lambda: secrets.token_urlsafe(SID_BYTES)
        )
        self._polling = Polling(self._engine, origins)

    def door(self, handshake: Handshake) -> Door:
        """The door of a WebSocket: of a new session, or for one that is polled.

        Raises:
            HandshakeRefused: it names no session, another version, or there are too many.
        """
        try:
            session = self._engine.session_of(handshake.query, WEBSOCKET)
            return Upgrade(session) if session is not None else self._engine.open(handshake, WEBSOCKET)
        except EngineError as refused:
            raise HandshakeRefused(refused.status, str(refused)) from None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: the requests of polling."""
        await self._polling(scope, receive, send)

    def stop(self) -> None:
        """Ends all sessions so that their clients come again; polls are answered. To be called before the HTTP server stops."""
        self._engine.stop()

    @property
    def sessions(self) -> dict[str, int]:
        """How many there are now, by transport: `polling` and `websocket`."""
        return self._engine.sessions

    @property
    def counters(self) -> Counters:
        """What happened since the start."""
        return self._engine.counters
