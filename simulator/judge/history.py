"""What stations did, as browsers may come to hear of it: periods of being there and of being gone, by turns. Pure.

A station's periods are numbered: 0 is the time before it ever came, in odd ones it was there, in even ones gone. News of a
period may reach a browser while the period lasts, and a little longer: as long as a hub may need to learn of what ended it.
"""

from collections import deque
from collections.abc import Callable
from itertools import pairwise
from typing import Final, NamedTuple

__all__ = ["History", "Period"]

KEPT: Final = 32
"""Periods of a station that are remembered: in the few seconds for which news may be late there are no more."""

RESTART: Final = "run"
"""The cause of what a restart of the hub or the broker cut off."""


class Period(NamedTuple):
    """One.

    Attributes:
        place: its number.
        began: monotonic seconds; minus infinity: before anybody looked.
        cause: why the station is gone; "" while it is there.
    """

    place: int
    began: float
    cause: str = ""

    @property
    def online(self) -> bool:
        """Whether the station was there."""
        return bool(self.place & 1)


_NEVER: Final = Period(0, float("-inf"), "never came")


class History:
    """The periods of all stations.

    Args:
        stations: how many.
        detect: seconds that a hub may take to see that a station is gone, by cause.
        settle: seconds that it may take to tell of what it sees.

    Attributes:
        current: the number of each station's current period.
        online: the stations that are there.
        excused: until then nothing counts (monotonic seconds); news may be as late as if all of before had happened then.
    """

    def __init__(self, stations: int, detect: Callable[[str], float], settle: float) -> None:
        self.current = [0] * stations
        self.online: set[int] = set()
        self.excused = float("-inf")
        self._detect, self._settle = detect, settle
        self._periods: list[tuple[Period, ...]] = [(_NEVER,)] * stations
        self._turns: deque[tuple[float, int]] = deque()

    def turn(self, number: int, now: float, cause: str = "") -> Period | None:
        """The station came (no cause) or went; None when it had done so before."""
        online = not cause
        if (number in self.online) is online:
            return None
        if online:
            self.online.add(number)
        else:
            self.online.discard(number)
        self.current[number] += 1
        period = Period(self.current[number], now, cause)
        self._periods[number] = (*self._periods[number][1 - KEPT :], period)
        self._forget(now)
        self._turns.append((now, number))
        return period

    def recent(self, now: float) -> set[int]:
        """The stations whose last periods a hub may not know of yet."""
        self._forget(now)
        return {number for _, number in self._turns}

    def last(self, number: int) -> Period:
        """The current period."""
        return self._periods[number][-1]

    def period(self, number: int, place: int) -> Period | None:
        """The period of that number; None when it has not come, or is forgotten."""
        periods = self._periods[number]
        position = place - periods[0].place
        return periods[position] if 0 <= position < len(periods) else None

    def takes(self, period: Period) -> float:
        """Seconds that a hub may take to see that the period began; one that restarts since must find out by silence."""
        if period.online:
            return 0.0
        takes = self._detect(period.cause)
        return max(takes, self._detect(RESTART)) if period.began <= self.excused else takes

    def answered(self, number: int, online: bool, now: float, *, late: bool = False) -> Period | None:
        """The period that the answer to who is online can be of, the earliest: a hub may not have seen yet that it ended."""
        periods = self._periods[number]
        if late and periods[0].place:
            return Period(int(online), float("-inf"))
        for at, (period, following) in enumerate(pairwise(periods)):
            if period.online is not online:
                continue
            ended = following.began
            if online:
                ended = max(ended, self.excused) + self.takes(following)
                if at + 2 < len(periods):  # at the latest, the next birth tells
                    ended = min(ended, periods[at + 2].began)
            if now <= max(ended, self.excused) + self._settle:
                return period
        return periods[-1] if periods[-1].online is online else None

    def told(self, number: int, after: int, online: bool, now: float, *, late: bool = False) -> Period | None:
        """The period that a browser's news can be of, the earliest of several; None: the news is false.

        Args:
            after: the last period that the browser has heard of: none is told twice.
            online: what the news says.
            now: when it came; of a browser that reads late, when it began to.
            late: the browser reads late: its news may be of a period that is forgotten here.
        """
        periods = self._periods[number]
        if late and (following := after + 1 + ((after + 1) & 1 != online)) < periods[0].place:
            return Period(following, float("-inf"))
        for position, period in enumerate(periods):
            if period.place <= after or period.online is not online:
                continue
            if position + 1 == len(periods):
                return period
            # An absence is ended by a birth, which a hub sees at once. A presence may end unseen, but a hub has told of it by
            # then: news of it is late only where its own birth was just now.
            seen = period.began if online else periods[position + 1].began
            if now <= max(seen, self.excused) + self._settle:
                return period
        return None

    def _forget(self, now: float) -> None:
        while self._turns and now > max(self._turns[0][0], self.excused) + self._settle:
            self._turns.popleft()
