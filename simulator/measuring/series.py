"""How figures went over time: a point each second, and each 2, 4, 8... seconds once a run is longer than 3,600 points.

A rate is of one second, on average of the point's seconds. When points are joined, p50 becomes the mean of both, weighted by how
many were timed, p99 the worse of both (a spike is never averaged away), and a gauge the mean.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from simulator.measuring.facts import FACTS
from simulator.measuring.histogram import Times

__all__ = ["COUNTS", "GAUGES", "MOST_POINTS", "TIMES", "Series", "across"]

MOST_POINTS: Final = 3_600
PATIENCE: Final = 60
"""Seconds that may wait for a worker that is behind."""

TIMES: Final = ("ack", "answer", "status.delay", "status.age", "tester.lag", "signal")
"""Of these p50 and p99."""
COUNTS: Final = ("status.sent", "status.received", "ack.count", "errors")
GAUGES: Final = tuple(fact.name for fact in FACTS if fact.kind == "gauge")

_WORST: Final = frozenset(fact.name for fact in FACTS if fact.kind == "gauge" and fact.across == "max")


def across(name: str, values: Iterable[float]) -> float:
    """One gauge of all workers from that of each."""
    return max(values) if name in _WORST else sum(values)


@dataclass(slots=True)
class _Second:
    """What has come of a second so far."""

    given: set[int] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)
    times: dict[str, Times] = field(default_factory=dict)
    gauges: dict[str, dict[int, float]] = field(default_factory=dict)


@dataclass(slots=True)
class _Point:
    """Times are (how many, p50, p99), gauges (sum, of how many)."""

    seconds: int
    counts: dict[str, int]
    times: dict[str, tuple[int, float, float]]
    gauges: dict[str, tuple[float, int]]

    def join(self, other: "_Point") -> None:
        """Takes another one in."""
        self.seconds += other.seconds
        for name, count in other.counts.items():
            self.counts[name] = self.counts.get(name, 0) + count
        for name, (many, p50, p99) in other.times.items():
            mine, my_p50, my_p99 = self.times.get(name, (0, 0.0, 0.0))
            both = mine + many
            self.times[name] = both, (my_p50 * mine + p50 * many) / both, max(my_p99, p99)
        for name, (total, many) in other.gauges.items():
            my_total, mine = self.gauges.get(name, (0.0, 0))
            self.gauges[name] = my_total + total, mine + many


class Series:
    """The points of all workers together.

    Args:
        workers: a second is done when so many gave theirs.

    Attributes:
        step: seconds between two points.
    """

    def __init__(self, workers: int = 1) -> None:
        self._workers = workers
        self.step = 1
        self._points: dict[int, _Point] = {}
        self._open: dict[int, _Second] = {}
        self._done = -1
        self._gauges: dict[str, tuple[float, float, int]] = {}

    def add(
        self,
        worker: int,
        second: int,
        counts: Mapping[str, int],
        times: Mapping[str, Mapping[int, int]],
        gauges: Mapping[str, float],
    ) -> None:
        """What one worker measured in that second."""
        entry = self._open.setdefault(second, _Second())
        entry.given.add(worker)
        entry.counts.update({name: counts[name] for name in COUNTS if name in counts})
        for name in TIMES:
            if name in times:
                entry.times.setdefault(name, Times()).add(times[name])
        for name, value in gauges.items():
            entry.gauges.setdefault(name, {})[worker] = value
        if len(entry.given) >= self._workers or second <= self._done:
            self._finish(second)
        if len(self._open) > PATIENCE:
            self._finish(min(self._open))

    def columns(self) -> dict[str, list[float | None]]:
        """By name, and `t`: the second each point begins at. None: nothing was measured. Seconds that a worker owes are in it."""
        points = dict(self._points)
        for second, entry in self._open.items():
            slot, late = second // self.step, self._point(second, entry)
            if slot in points:
                late.join(points[slot])
            points[slot] = late
        slots = range(min(points), max(points) + 1) if points else range(0)
        ordered = [points.get(slot) for slot in slots]
        found: dict[str, list[float | None]] = {"t": [float(slot * self.step) for slot in slots]}
        for name in TIMES:
            for place, percentile in enumerate(("p50", "p99"), 1):
                found[f"{name}.{percentile}"] = [_time(point, name, place) for point in ordered]
        for name in COUNTS:
            found[name] = [None if point is None else _rate(point, name) for point in ordered]
        for name in GAUGES:
            found[name] = [None if point is None else _mean(point, name) for point in ordered]
        return found

    def gauge(self, name: str) -> tuple[float, float] | None:
        """The highest value of a gauge in all seconds, and the mean; None: there was none."""
        waiting = [across(name, entry.gauges[name].values()) for entry in self._open.values() if name in entry.gauges]
        most, total, many = self._gauges.get(name, (float("-inf"), 0.0, 0))
        many += len(waiting)
        return (max(most, *waiting) if waiting else most, (total + sum(waiting)) / many) if many else None

    def _finish(self, second: int) -> None:
        """Makes a second part of its point."""
        entry = self._open.pop(second)
        point = self._point(second, entry)
        self._done = max(self._done, second)
        for name, values in entry.gauges.items():
            value = across(name, values.values())
            most, total, many = self._gauges.get(name, (value, 0.0, 0))
            self._gauges[name] = max(most, value), total + value, many + 1
        while second // self.step >= MOST_POINTS:
            self._halve()
        slot = second // self.step
        if slot in self._points:
            self._points[slot].join(point)
        else:
            self._points[slot] = point

    def _point(self, second: int, entry: _Second) -> _Point:
        """What came of a second that was done already adds to it, and is no second more."""
        timed = {}
        for name, times in entry.times.items():
            p50, p99 = times.percentiles((50, 99))
            if p50 is not None and p99 is not None:
                timed[name] = times.count, p50, p99
        gauges = {name: (across(name, values.values()), 1) for name, values in entry.gauges.items()}
        return _Point(int(second > self._done), dict(entry.counts), timed, gauges)

    def _halve(self) -> None:
        """Joins pairs of points."""
        self.step *= 2
        before, self._points = self._points, {}
        for slot, point in before.items():
            if slot // 2 in self._points:
                self._points[slot // 2].join(point)
            else:
                self._points[slot // 2] = point


def _time(point: _Point | None, name: str, place: int) -> float | None:
    return None if point is None or name not in point.times else round(point.times[name][place], 4)


def _rate(point: _Point, name: str) -> float:
    return round(point.counts.get(name, 0) / max(point.seconds, 1), 3)


def _mean(point: _Point, name: str) -> float | None:
    total, many = point.gauges.get(name, (0.0, 0))
    return round(total / many, 3) if many else None
