"""What a simulation counts and times: a Recorder in each worker, its Snapshot of each second, and the Totals of all.

Memory stays bounded however long a run is and whatever a hub says: times are kept as counts of a histogram's buckets, sentences
of evidence are few and short, and the seconds of a long run are joined in pairs (see `simulator.measuring.series`).
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Final

from simulator.measuring.facts import FACTS, PERCENTILES, time_named
from simulator.measuring.histogram import Times, bucket
from simulator.measuring.series import Series, across

__all__ = ["Recorder", "Snapshot", "Totals"]

EVIDENCE: Final = 5
"""Sentences kept of each finding."""
HINTS: Final = 3
"""Sentences kept of what is said before them."""
SENTENCE: Final = 300
"""Characters kept of a sentence, and of the name of an error."""
ERROR_KINDS: Final = 200
"""Kinds of errors told apart; what comes after them is counted as `OTHER`."""
OTHER: Final = "other errors"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one worker measured since its last one.

    Attributes:
        second: of the run, from 0.
        times: of each time, how many fell into each bucket (see `histogram`), by the bucket's lowest microsecond.
        evidence: sentences that were not in a snapshot before.
        hints: what is said of a finding before its evidence.
    """

    second: int
    counts: dict[str, int] = field(default_factory=dict)
    times: dict[str, dict[int, int]] = field(default_factory=dict)
    gauges: dict[str, float] = field(default_factory=dict)
    evidence: dict[str, list[str]] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    hints: dict[str, list[str]] = field(default_factory=dict)


class Recorder:
    """Where everything of one worker is counted and timed.

    Attributes:
        measuring: while False (a stage that is not measured), `count`, `time` and `found` do nothing; errors and gauges do count.
    """

    __slots__ = ("_counts", "_errors", "_evidence", "_gauges", "_hints", "_kept", "_kinds", "_times", "measuring")

    def __init__(self) -> None:
        self.measuring = True
        self._kept: Counter[str] = Counter()
        self._kinds: set[str] = set()
        self._clear()

    def count(self, name: str, by: int = 1) -> None:
        """So many more."""
        if self.measuring:
            self._counts[name] += by

    def time(self, name: str, ms: float) -> None:
        """One duration, in milliseconds: from 1 us to 1 h, and what is beyond counts as that."""
        if self.measuring:
            self._times[name][bucket(ms)] += 1

    def gauge(self, name: str, value: float) -> None:
        """How it is now; the last value of a second counts."""
        self._gauges[name] = value

    def found(self, name: str, evidence: str, by: int = 1) -> None:
        """Counts a finding and keeps the sentence that shows it, of the first few."""
        if self.measuring:
            self._counts[name] += by
            if self._kept[name] < EVIDENCE:
                self._kept[name] += 1
                self._evidence.setdefault(name, []).append(evidence[:SENTENCE])

    def hint(self, name: str, sentence: str) -> None:
        """What is said of a finding before its evidence: what it amounts to, or may come from. The same is said once."""
        hints = self._hints.setdefault(name, [])
        if self.measuring and len(hints) < HINTS and (sentence := sentence[:SENTENCE]) not in hints:
            hints.append(sentence)

    def error(self, kind: str) -> None:
        """Something else went wrong."""
        kind = kind[:SENTENCE]
        if kind not in self._kinds:
            if len(self._kinds) >= ERROR_KINDS:
                kind = OTHER
            else:
                self._kinds.add(kind)
        self._errors[kind] = self._errors.get(kind, 0) + 1

    def take(self, second: int) -> Snapshot:
        """What came since the last take: small, and good for another process."""
        times = {name: dict(buckets) for name, buckets in self._times.items()}
        taken = Snapshot(second, dict(self._counts), times, self._gauges, self._evidence, self._errors, self._hints)
        self._clear()
        return taken

    def _clear(self) -> None:
        self._counts: defaultdict[str, int] = defaultdict(int)
        self._times: defaultdict[str, defaultdict[int, int]] = defaultdict(_buckets)
        self._gauges: dict[str, float] = {}
        self._evidence: dict[str, list[str]] = {}
        self._errors: dict[str, int] = {}
        self._hints: dict[str, list[str]] = {}


def _buckets() -> defaultdict[int, int]:
    return defaultdict(int)


class Totals:
    """All snapshots of all workers, added up.

    Args:
        workers: how many give snapshots; a second is complete when each gave its own.

    Attributes:
        counts, errors: how many of each.
        times: of each time its histogram.
        gauges: the latest, all workers together.
    """

    def __init__(self, workers: int = 1) -> None:
        self.counts: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.times: dict[str, Times] = {}
        self._evidence: dict[str, list[str]] = {}
        self._hints: dict[str, list[str]] = {}
        self._latest: dict[str, dict[int, float]] = {}
        self._series = Series(workers)

    def add(self, worker: int, snapshot: Snapshot) -> None:
        """One more snapshot; those of several workers come in any order."""
        self.counts.update(snapshot.counts)
        self.errors.update(snapshot.errors)
        for name, buckets in snapshot.times.items():
            if name not in self.times:
                self.times[name] = Times()
            self.times[name].add(buckets)
        for name, value in snapshot.gauges.items():
            self._latest.setdefault(name, {})[worker] = value
        for name, sentences in snapshot.evidence.items():
            kept = self._evidence.setdefault(name, [])
            kept.extend(sentences[: EVIDENCE - len(kept)])
        for name, sentences in snapshot.hints.items():
            hints = self._hints.setdefault(name, [])
            hints.extend([each for each in sentences if each not in hints][: HINTS - len(hints)])
        counts = dict(snapshot.counts)
        if snapshot.errors:
            counts["errors"] = sum(snapshot.errors.values())
        if "ack" in snapshot.times:
            counts["ack.count"] = sum(snapshot.times["ack"].values())
        self._series.add(worker, snapshot.second, counts, snapshot.times, snapshot.gauges)

    @property
    def evidence(self) -> dict[str, list[str]]:
        """Of each finding its hints and first sentences; of other errors how many there were of each kind."""
        found = {name: [*self._hints.get(name, ()), *sentences] for name, sentences in self._evidence.items()}
        if self.errors:
            found["errors"] = [f"{count:,} x {kind}" for kind, count in self.errors.most_common(EVIDENCE)]
        return found

    @property
    def step(self) -> int:
        """Seconds between two points of the series."""
        return self._series.step

    @property
    def gauges(self) -> dict[str, float]:
        """The latest value of each gauge, all workers together."""
        return {name: across(name, values.values()) for name, values in self._latest.items()}

    def facts(self) -> dict[str, float | int | None]:
        """All facts by name, in the order of the table. What never happened is 0; what was not timed or gauged is None."""
        found: dict[str, float | int | None] = {}
        for fact in FACTS:
            if fact.kind == "count":
                found[fact.name] = self.errors.total() if fact.name == "errors" else self.counts[fact.name]
            elif fact.kind == "gauge":
                seen = self._series.gauge(fact.name)
                found[fact.name] = None if seen is None else round(seen[fact.over == "mean"], 3)
            elif fact.name.endswith("*"):
                for name in sorted(name for name in self.times if time_named(name) is fact):
                    found.update(_summary(name, self.times[name]))
            else:
                found.update(_summary(fact.name, self.times.get(fact.name, Times())))
        for name in sorted(self.times):  # not of the table: shown rather than hidden
            if time_named(name) is None:
                found.update(_summary(name, self.times[name]))
        return found | {name: count for name, count in sorted(self.counts.items()) if name not in found}

    def series(self) -> dict[str, list[float | None]]:
        """By name one value for each point, and `t`, the second it begins at (see `simulator.measuring.series`)."""
        return self._series.columns()

    def histograms(self) -> dict[str, str]:
        """Each time as an HdrHistogram in microseconds, format V2, base64."""
        return {name: times.encode() for name, times in sorted(self.times.items())}


def _summary(name: str, times: Times) -> dict[str, float | int | None]:
    """The facts of a time."""
    percentiles = times.percentiles(PERCENTILES.values())
    mean = None if times.mean is None else round(times.mean, 4)
    named = {f"{name}.{key}": value for key, value in zip(PERCENTILES, percentiles, strict=True)}
    return {f"{name}.count": times.count, f"{name}.mean": mean, **named, f"{name}.max": times.longest}
