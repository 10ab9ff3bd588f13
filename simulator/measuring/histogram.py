"""Durations in the buckets of an HdrHistogram of 1 us to 1 h with 3 significant digits; only those that were hit are kept.

HdrHistogram's own format goes in and out (`Times.encode`), so that other tools read it. Recording and percentiles are done here:
the library's are loops over all 23,000 buckets, too slow to be asked each second.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from itertools import accumulate
from operator import mul
from typing import Final

from hdrh.histogram import HdrHistogram

__all__ = ["LONGEST", "Times", "bucket"]

LONGEST: Final = 3_600_000_000
"""Microseconds."""
DIGITS: Final = 3
EXACT_BITS: Final = 11
"""Below 2 ** 11 us each microsecond is a bucket; from there on buckets are as wide as keeps 11 bits."""
_LONGEST_BUCKET: Final = LONGEST >> (LONGEST.bit_length() - EXACT_BITS) << (LONGEST.bit_length() - EXACT_BITS)
PARTS: Final = 100_000
"""Percentiles are exact to a thousandth of a percent."""


def bucket(ms: float) -> int:
    """The bucket that a duration falls into, by its lowest microsecond. What is no number counts as the longest."""
    us = ms * 1000 + 0.5
    if us < 2048:
        return int(us) if us >= 1 else 1
    if us < LONGEST:
        whole = int(us)
        shift = whole.bit_length() - EXACT_BITS
        return whole >> shift << shift
    return _LONGEST_BUCKET


def highest(lowest: int) -> int:
    """The highest microsecond that falls into the bucket."""
    return lowest + (1 << max(0, lowest.bit_length() - EXACT_BITS)) - 1


class Times:
    """A histogram.

    Attributes:
        count: how many durations it holds.
    """

    __slots__ = ("_buckets", "_sorted", "count")

    def __init__(self) -> None:
        self.count = 0
        self._buckets: dict[int, int] = {}
        self._sorted: tuple[list[int], list[int]] | None = None

    def add(self, buckets: Mapping[int, int]) -> None:
        """Adds so many durations to each bucket: those of a snapshot."""
        mine, self._sorted = self._buckets, None
        for lowest, count in buckets.items():
            mine[lowest] = mine.get(lowest, 0) + count
        self.count += sum(buckets.values())

    def percentiles(self, percents: Iterable[float]) -> list[float | None]:
        """For each the milliseconds that so many percent stayed within; None where nothing was timed."""
        if not self.count:
            return [None for _ in percents]
        lowest, within = self._order()
        found: list[float | None] = []
        for percent in percents:
            wanted = -(-self.count * round(percent * (PARTS // 100)) // PARTS)  # rounded up: never flatters
            found.append(highest(lowest[bisect_left(within, max(1, wanted))]) / 1000)
        return found

    @property
    def longest(self) -> float | None:
        """Milliseconds, to 3 digits."""
        return highest(max(self._buckets)) / 1000 if self.count else None

    @property
    def mean(self) -> float | None:
        """Milliseconds; what a bucket holds counts as its middle."""
        if not self.count:
            return None
        lowest, within = self._order()
        whole: int = sum(map(mul, self._buckets, self._buckets.values()))
        before = _count_below(1 << EXACT_BITS, lowest, within)
        for bits in range(EXACT_BITS + 1, LONGEST.bit_length() + 1):  # all of so many bits are equally wide
            below = _count_below(1 << bits, lowest, within)
            whole += (below - before) << (bits - EXACT_BITS - 1)
            before = below
        return whole / self.count / 1000

    def _order(self) -> tuple[list[int], list[int]]:
        """The buckets hit, and how many durations are in each and those below it."""
        if self._sorted is None:
            lowest = sorted(self._buckets)
            self._sorted = lowest, list(accumulate(map(self._buckets.__getitem__, lowest)))
        return self._sorted

    def encode(self) -> str:
        """As an HdrHistogram in microseconds: its compressed format V2, in base64."""
        histogram = HdrHistogram(1, LONGEST, DIGITS)
        for lowest, count in self._buckets.items():
            histogram.record_value(lowest, count)
        encoded: bytes = histogram.encode()
        return encoded.decode()


def _count_below(us: int, lowest: list[int], within: list[int]) -> int:
    """How many durations are in buckets below."""
    place = bisect_left(lowest, us)
    return within[place - 1] if place else 0
