"""Old field software as a sans-IO state machine, with the methods of `devices.session.StationSession`.

It reports every few seconds, answers `report-status`, and has a will (contract.md section 4). It knows no birth, no reply, no
room. Messages and time in, effects out.
"""

from collections.abc import Callable
from typing import Final

from devices import topics
from devices.clock import Clock
from devices.messages import Command, MessageError, Offline, decode, encode
from devices.session import REPORT_STATUS, Effect, Publish, Subscribe

__all__ = ["LegacySession"]


class LegacySession:
    """One old station.

    Args:
        status: the whole message.
        status_interval: seconds.

    Attributes:
        session_id: of the current or coming connection, for the will alone.
    """

    __slots__ = (
        "_clock",
        "_cmd",
        "_interval",
        "_new_session_id",
        "_next_status",
        "_sid",
        "_status",
        "_topic",
        "session_id",
    )

    duplicates: Final = 0
    """It does not know commands by their ids."""

    def __init__(
        self,
        station_id: str,
        clock: Clock,
        *,
        new_session_id: Callable[[], str],
        status: Callable[[], bytes],
        status_interval: float,
    ) -> None:
        self._sid, self._clock, self._new_session_id, self._status = station_id, clock, new_session_id, status
        self._cmd, self._topic = topics.STATION_CMD(station_id), topics.STATION_STATUS(station_id)
        self._interval = status_interval
        self._next_status: float | None = None
        self.session_id = ""

    def next_session(self) -> Publish:
        """A connection is about to be tried: gives its will."""
        self.session_id = self._new_session_id()
        will = Offline(station_id=self._sid, session_id=self.session_id)
        return Publish(topics.STATION_OFFLINE(self._sid), encode(will))

    def connected(self) -> list[Effect]:
        """The broker accepted the connection."""
        self._next_status = self._clock.monotonic() + self._interval
        return [Subscribe((self._cmd,)), *self.report()]

    def disconnected(self) -> None:
        """The connection is gone."""
        self._next_status = None

    def goodbye(self) -> list[Effect]:
        """It knows none: the broker is told to forget the will, and the hub learns by silence. So it is switched off instead."""
        return []

    def next_tick(self) -> float | None:
        """Monotonic seconds of the next status."""
        return self._next_status

    def tick(self) -> list[Effect]:
        """Time passed."""
        if self._next_status is None or self._next_status > self._clock.monotonic():
            return []
        self._next_status += self._interval
        return self.report()

    def report_every(self, seconds: float, *, within: float) -> None:
        """Another status interval; the next status comes within so many seconds."""
        if self._next_status is not None and seconds != self._interval:
            self._next_status = min(self._next_status, self._clock.monotonic() + within)
        self._interval = seconds

    def received(self, topic: str, payload: bytes, *, retained: bool = False) -> list[Effect]:
        """A message came; only a request for the status is understood."""
        try:
            if topic == self._cmd and not retained and decode(Command, payload).type == REPORT_STATUS:
                return self.report()
        except MessageError:
            pass
        return []

    def report(self) -> list[Effect]:
        """The status, now; nothing while not connected."""
        return [] if self._next_status is None else [Publish(self._topic, self._status(), qos=0)]
