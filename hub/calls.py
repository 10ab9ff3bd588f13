"""Calls of stations that nobody has answered yet, as a pure state machine.

A call rings for `RINGS` seconds, or until somebody invites the station. Pure: the clock is injected.
"""

from typing import Final

from devices.clock import Clock

__all__ = ["MAX_CALLS", "RINGS", "Calls"]

RINGS: Final = 60.0
"""Seconds that a call stays open."""
MAX_CALLS: Final = 1_000
"""Calls that are open at a time, more than anybody could answer; the oldest is forgotten first."""


class Calls:
    """The calls that are open."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # in the order in which they end: all ring equally long
        self._open: dict[str, tuple[int, float]] = {}

    def called(self, station_id: str, timestamp: int) -> None:
        """A station calls; again, while its call is open, begins it anew.

        Args:
            timestamp: of the call, in milliseconds since 1970, as browsers are told.
        """
        self._open.pop(station_id, None)
        if len(self._open) >= MAX_CALLS:
            del self._open[next(iter(self._open))]
        self._open[station_id] = timestamp, self._clock.monotonic() + RINGS

    def over(self, station_id: str) -> bool:
        """Somebody answers a station, or it is gone. True when its call was open: told once of each call."""
        call = self._open.pop(station_id, None)
        return call is not None and call[1] > self._clock.monotonic()

    def open(self) -> list[tuple[str, int]]:
        """The calls that are open, oldest first, as (station id, timestamp)."""
        now = self._clock.monotonic()
        while self._open and self._open[oldest := next(iter(self._open))][1] <= now:
            del self._open[oldest]
        return [(station_id, timestamp) for station_id, (timestamp, _) in self._open.items()]
