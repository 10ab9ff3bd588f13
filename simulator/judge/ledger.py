"""What stations have sent, and what of it nobody is owed: overtaken before a flush, or struck by a fault. Pure."""

from typing import Final

__all__ = ["Ledger"]

RANGES: Final = 64
"""Ranges of excused statuses that are remembered of a station; older ones have been judged."""
CLOCKS: Final = 0.05
"""Seconds by which a time of sending may differ: it was rounded on the wire."""
NEVER: Final = float("-inf")


class Ledger:
    """The statuses of all stations.

    Args:
        follow: seconds in which a status that another follows may be overtaken on its way.

    Attributes:
        newest: the number of the last status that a station sent; 0: none.
        real: when it was sent.
    """

    def __init__(self, stations: int, follow: float) -> None:
        self.newest = [0] * stations
        self.real = [NEVER] * stations
        self._meant = [NEVER] * stations
        self._meant_before = [NEVER] * stations
        self._follow = follow
        self._free: dict[int, list[tuple[int, int]]] = {}

    def sent(self, number: int, seq: int, now: float, real: float) -> None:
        """Meant to be sent at `now`, and sent at `real`."""
        if real - self.real[number] < self._follow - CLOCKS:
            ranges = self._free.get(number)
            if ranges and ranges[-1][1] == seq - 2:
                ranges[-1] = (ranges[-1][0], seq - 1)
            else:
                self.free(number, seq - 1, seq - 1)
        self.newest[number] = seq
        self.real[number] = real
        self._meant_before[number] = self._meant[number]
        self._meant[number] = now

    def genuine(self, number: int, seq: int, meant: float) -> bool:
        """Whether the station can have sent this. Of the last two statuses it is known when they were meant to be sent."""
        newest = self.newest[number]
        if seq == newest:
            return -CLOCKS < meant - self._meant[number] < CLOCKS
        if seq == newest - 1:
            return -CLOCKS < meant - self._meant_before[number] < CLOCKS
        return 0 < seq < newest

    def free(self, number: int, first: int, last: int) -> None:
        """Nobody is owed these."""
        first = max(first, 1)
        if last < first:
            return
        ranges = self._free.get(number)
        if ranges is None:
            self._free[number] = [(first, last)]
            return
        while ranges and first <= ranges[-1][1] + 1:
            start, end = ranges[-1]
            if last < start - 1:  # older than the newest range: as seldom as a fault that is told of late
                break
            first, last = min(first, start), max(last, end)
            ranges.pop()
        ranges.append((first, last))
        if len(ranges) > 1 and first < ranges[-2][0]:
            ranges.sort()
        if len(ranges) > RANGES:
            del ranges[0]

    def owed(self, number: int, first: int, last: int) -> list[tuple[int, int]]:
        """What is owed of these, as ranges."""
        owed, begin = list[tuple[int, int]](), first
        for start, end in self._free.get(number, ()):
            if start > last:
                break
            if end < begin:
                continue
            if start > begin:
                owed.append((begin, start - 1))
            begin = end + 1
        if begin <= last:
            owed.append((begin, last))
        return owed
