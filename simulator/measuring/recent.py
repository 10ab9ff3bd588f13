"""The last minute of a run, for those who look on: rates second by second, and how long things took just now."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from simulator.measuring.histogram import Times
from simulator.measuring.measures import Snapshot

__all__ = ["Recent"]

KEPT: Final = 60
"""Seconds."""
NOW: Final = 10
"""Seconds that percentiles are of."""
PATIENCE: Final = 5
"""Seconds that a worker may be behind the others before it is not waited for."""


@dataclass(slots=True)
class _Second:
    given: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    times: dict[str, list[dict[int, int]]] = field(default_factory=dict)
    """Of each worker's the buckets."""


class Recent:
    """What all workers measured in the last minute.

    Args:
        workers: a second counts when so many gave theirs.
    """

    def __init__(self, workers: int = 1) -> None:
        self._workers = workers
        self._seconds: dict[int, _Second] = {}
        self._newest = -1

    def add(self, snapshot: Snapshot) -> None:
        """One worker's second."""
        if snapshot.second <= self._newest - KEPT:
            return  # too late for anybody to see
        second = self._seconds.setdefault(snapshot.second, _Second())
        second.given += 1
        second.counts.update(snapshot.counts)
        second.counts["errors"] += sum(snapshot.errors.values())
        for name, buckets in snapshot.times.items():
            second.times.setdefault(name, []).append(buckets)
            second.counts[f"{name}.count"] += sum(buckets.values())
        whole = snapshot.second if second.given >= self._workers else snapshot.second - PATIENCE
        self._newest = max(self._newest, whole)
        for old in [each for each in self._seconds if each <= self._newest - KEPT]:
            del self._seconds[old]

    def rates(self, name: str) -> list[int]:
        """How many in each of the last 60 whole seconds, the newest last; fewer at the start. Of a time: `ack.count`."""
        first = max(0, self._newest - KEPT + 1)
        known = (self._seconds.get(second) for second in range(first, self._newest + 1))
        return [0 if second is None else second.counts[name] for second in known]

    def percentiles(self, name: str, percents: Iterable[float]) -> list[float | None]:
        """Milliseconds of the last 10 seconds; None where nothing was timed."""
        times = Times()
        for second in range(self._newest - NOW + 1, self._newest + 1):
            entry = self._seconds.get(second)
            for buckets in [] if entry is None else entry.times.get(name, []):
                times.add(buckets)
        return times.percentiles(percents)

    def timed(self) -> list[str]:
        """The names of what was timed in that minute."""
        return sorted({name for second in self._seconds.values() for name in second.times})
