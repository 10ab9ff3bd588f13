"""Time for the models of a hub: what is to happen, in the order of its moments, and no clock."""

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

__all__ = ["Timed"]


class Timed:
    """Runs by `run`; `now` is the moment of what happens, in seconds."""

    def __init__(self) -> None:
        self.now, self._heap, self._order = 0.0, list[tuple[float, int, Callable[[], None]]](), count()

    def at(self, when: float, what: Callable[[], None]) -> None:
        heappush(self._heap, (when, next(self._order), what))

    def run(self, until: float) -> None:
        while self._heap[0][0] <= until:
            self.now, _, what = heappop(self._heap)
            what()
        self.now = until
