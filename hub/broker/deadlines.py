"""Who is due when: a heap of deadlines, cancelled lazily. Pure: time comes in."""

import heapq
from typing import Any, Final, Protocol

__all__ = ["Deadlines", "Due"]

_AT: Final = 0
_WHO: Final = 2


class Due(Protocol):
    """What can be due."""

    def due(self, now: float) -> None:
        """Its time has come; `now` in seconds of the monotonic clock."""


class Deadlines:
    """Deadlines; setting, cancelling and passing one costs O(log n), waiting costs nothing."""

    def __init__(self) -> None:
        self._heap: list[list[Any]] = []
        self._count = 0
        self._cancelled = 0

    def __len__(self) -> int:
        return len(self._heap) - self._cancelled

    def set(self, at: float, who: Due) -> list[Any]:
        """`who.due` is called at `at`, seconds. Gives what `cancel` takes."""
        self._count += 1
        entry = [at, self._count, who]
        heapq.heappush(self._heap, entry)
        return entry

    def cancel(self, entry: list[Any] | None) -> None:
        """Forgets a deadline; None, or one that has passed, is no matter."""
        if entry is None or entry[_WHO] is None:
            return
        entry[_WHO] = None
        self._cancelled += 1
        # what is gone must not hold memory until its time would have come
        if self._cancelled > 64 and self._cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[_WHO] is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def pass_until(self, now: float) -> None:
        """Calls all that are due; those set meanwhile for the past too."""
        while self._heap and self._heap[0][_AT] <= now:
            entry = heapq.heappop(self._heap)
            who = entry[_WHO]
            if who is None:
                self._cancelled -= 1
                continue
            entry[_WHO] = None
            who.due(now)
