"""The way of a session from polling to a WebSocket. Pure.

The client opens a WebSocket with the session's id and sends `2probe`, gets `3probe`, ends its polling, sends `5`: from then on
the session is on this WebSocket. Until then it is polled, whatever becomes of the WebSocket.
"""

from typing import Any

from bridge.door import Door, Wire
from bridge.socketio.engine_packets import PROBE_ANSWER_FRAME, PROBE_PING, UPGRADE
from bridge.socketio.parts import POLLING, WS_POLICY
from bridge.socketio.session import Session

__all__ = ["Upgrade"]


class Upgrade(Door):
    """One WebSocket that names a session; closed at once when the session has, or had, another.

    Attributes:
        probed: the client tried it.
    """

    def __init__(self, session: Session) -> None:
        self.probed = False
        self._session = session
        self._wire: Wire
        self._timer: Any = None
        self._changed = False

    def opened(self, wire: Wire) -> None:
        self._wire = wire
        session = self._session
        if session.transport is not POLLING or session.upgrade is not None or not session.is_open:
            wire.close(WS_POLICY)
            return
        session.upgrade = self
        self._timer = session.timers.set(session.now() + session.settings.upgrade_timeout, self)

    def received(self, message: bytes | str) -> None:
        if self._changed:
            self._session.received(message)
        elif message == PROBE_PING:
            self.probed = True
            self._wire.send_frame(PROBE_ANSWER_FRAME)
            self._session.probed()
        elif message == UPGRADE:
            self._changed = True
            self._stop_waiting()
            self._session.change_over(self._wire)
        else:
            self._give_up()

    def writable(self) -> None:
        if self._changed:
            self._session.writable()

    def closed(self, code: int) -> None:
        if self._changed:
            self._session.closed(code)
        else:
            self._leave()

    def due(self, now: float) -> None:
        """The client took too long."""
        self._give_up()

    def abandon(self) -> None:
        """See `Upgrading.abandon`."""
        self._give_up()

    def _give_up(self) -> None:
        self._leave()
        self._wire.close(WS_POLICY)

    def _leave(self) -> None:
        self._stop_waiting()
        if self._session.upgrade is self:
            self._session.upgrade = None

    def _stop_waiting(self) -> None:
        self._session.timers.cancel(self._timer)
        self._timer = None
