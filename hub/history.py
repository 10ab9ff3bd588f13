"""The last ten minutes of the numbers that devices report, of as many stations as memory is given for. Pure: time comes in.

Of each station one report in five seconds is kept, the newest, as a row of 32-bit floats: a chart needs no more than their seven
digits. The rows are a ring in which all five seconds have a place, whether anything came in them or not. The first number of a
row is when in its five seconds the report came, NaN where none did. Which number is which, the layout, is kept once for all
stations whose devices are alike.
"""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from math import isfinite, isnan, nan
from typing import Final, NamedTuple

from devices.messages import Device

__all__ = ["EVERY", "ROWS", "WINDOW", "History", "Recorded", "Series"]

WINDOW: Final = 600.0
"""Seconds that are kept."""
EVERY: Final = 5.0
"""Seconds of which one report is kept."""
ROWS: Final = int(WINDOW / EVERY)
"""Reports of one station that are kept."""
MAX_SERIES: Final = 96
"""Numbers of one station that are kept; a report may hold thousands."""
MAX_NAME: Final = 256
RING_BYTES: Final = 400
NAME_BYTES: Final = 150
"""What a ring, and a name in a layout, take beside their contents."""
EXPIRE_EVERY: Final = 60.0

_Key = tuple[str, str]


class Series(NamedTuple):
    """One number of one device; None where a report had none."""

    device_id: str
    metric: str
    values: list[float | None]


class Recorded(NamedTuple):
    """What is kept of a station, oldest first.

    Attributes:
        ages: seconds since each report came.
    """

    ages: list[float]
    series: list[Series]


@dataclass(slots=True)
class _Layout:
    """The columns of some stations' rows; `users`: how many."""

    columns: dict[_Key, int]
    bytes: int
    users: int = 0


class _Ring:
    """The rows of one station.

    `newest` is the number of the five seconds that the last row is of; `full` of those in which no new column found room.
    """

    __slots__ = ("cells", "full", "layout", "newest")

    def __init__(self, layout: _Layout, newest: int) -> None:
        self.layout, self.newest = layout, newest
        self.cells = array("f", (nan,)) * (ROWS * (1 + len(layout.columns)))
        self.full: int | None = None

    def rows(self, since: int) -> Iterable[tuple[int, int]]:
        """The five seconds that have a row, from `since` on, oldest first, and where in the cells it begins."""
        width = 1 + len(self.layout.columns)
        for number in range(max(since, self.newest - ROWS + 1), self.newest + 1):
            first = number % ROWS * width
            if not isnan(self.cells[first]):
                yield number, first


class History:
    """The numbers of all stations.

    Args:
        limit: bytes that they may take; of a station that there is no room for nothing is kept until another has gone.

    Attributes:
        bytes: that they take.
        refused: reports that there was no room for.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rings: dict[str, _Ring] = {}
        self._layouts: dict[tuple[_Key, ...], _Layout] = {}
        self._expires = 0.0
        self.bytes = 0
        self.refused = 0

    def __len__(self) -> int:
        return len(self._rings)

    def take(self, station_id: str, devices: Iterable[Device], at: float) -> None:
        """A station reported, at `at` monotonic seconds. What is no number is not kept."""
        ring = self._rings.get(station_id)
        columns = ring.layout.columns if ring is not None else {}
        row, strange = [nan] * (1 + len(columns)), dict[_Key, float]()
        for device in devices:
            device_id = device.device_id
            for metric, value in device.metrics.items():
                if type(value) is float or type(value) is int:  # a bool is none
                    column = columns.get((device_id, metric))
                    if column is not None:
                        row[column] = value
                    elif len(metric) <= MAX_NAME:
                        strange[device_id, metric] = value
        number = int(at // EVERY)
        if ring is None or (strange and (ring.full is None or number - ring.full >= ROWS)):
            ring = self._make_room(station_id, ring, strange, number)
            if ring is None:
                return
            columns = ring.layout.columns
            row += [nan] * (1 + len(columns) - len(row))
            for key, value in strange.items():
                if (column := columns.get(key)) is not None:
                    row[column] = value
        self._write(ring, row, at)

    def of(self, station_id: str, now: float) -> Recorded:
        """What is kept of a station; nothing: no report came."""
        ring = self._rings.get(station_id)
        if ring is None:
            return Recorded([], [])
        cells, rows = ring.cells, list(ring.rows(int(now // EVERY) - ROWS + 1))
        ages = [round(max(0.0, now - number * EVERY - cells[first]), 3) for number, first in rows]
        series = [
            Series(*key, [_shown(cells[first + column]) for _, first in rows])
            for key, column in ring.layout.columns.items()
        ]
        return Recorded(ages, [one for one in series if any(value is not None for value in one.values)])

    def forget(self, station_id: str) -> None:
        """The station was deleted."""
        ring = self._rings.pop(station_id, None)
        if ring is not None:
            self.bytes -= _ring_bytes(ring.layout)
            self._leave(ring.layout)

    def expire(self, now: float) -> None:
        """Forgets stations that have not reported for the whole window; looks once a minute."""
        if now < self._expires:
            return
        self._expires = now + EXPIRE_EVERY
        oldest = int(now // EVERY) - ROWS
        for station_id in [station_id for station_id, ring in self._rings.items() if ring.newest <= oldest]:
            self.forget(station_id)

    # ---- inside

    @staticmethod
    def _write(ring: _Ring, row: list[float], at: float) -> None:
        width = len(row)
        number = max(int(at // EVERY), ring.newest)  # earlier: the hub's clock was set between arrival and reading
        row[0] = max(0.0, at - number * EVERY)
        for skipped in range(max(ring.newest + 1, number - ROWS + 1), number):
            ring.cells[skipped % ROWS * width] = nan
        first = number % ROWS * width
        ring.cells[first : first + width] = array("f", row)
        ring.newest = number

    def _make_room(self, station_id: str, old: _Ring | None, strange: Iterable[_Key], number: int) -> _Ring | None:
        """The station's ring with columns for these numbers, too, as far as there is room; None: there is none at all."""
        kept = [] if old is None else self._alive(old, number)
        keys = tuple(islice((*kept, *strange), MAX_SERIES))
        if old is not None and keys == tuple(old.layout.columns):
            old.full = number
            return old
        if not keys:
            return None
        layout = self._layouts.get(keys) or _Layout({key: at for at, key in enumerate(keys, 1)}, _layout_bytes(keys))
        more = _ring_bytes(layout) + (0 if layout.users else layout.bytes)
        if self.bytes + more - (0 if old is None else _ring_bytes(old.layout)) > self._limit:
            if old is not None:
                old.full = number
            self.refused += 1
            return old
        ring = _Ring(layout, number)
        layout.users += 1
        self._layouts[keys] = layout
        self.bytes += more
        if old is not None:
            _copy(old, ring)
            self.forget(station_id)
            ring.full = number if len(keys) == MAX_SERIES else None
        self._rings[station_id] = ring
        return ring

    @staticmethod
    def _alive(ring: _Ring, number: int) -> list[_Key]:
        """The columns that stay: all, or where that is too many those that have a number yet."""
        columns = ring.layout.columns
        if len(columns) < MAX_SERIES:
            return list(columns)
        rows = list(ring.rows(number - ROWS + 1))
        return [key for key, at in columns.items() if any(not isnan(ring.cells[first + at]) for _, first in rows)]

    def _leave(self, layout: _Layout) -> None:
        layout.users -= 1
        if not layout.users:
            self.bytes -= layout.bytes
            del self._layouts[tuple(layout.columns)]


def _copy(old: _Ring, new: _Ring) -> None:
    width, columns = 1 + len(new.layout.columns), old.layout.columns
    moved = [(at, columns[key]) for key, at in new.layout.columns.items() if key in columns]
    for number, first in old.rows(old.newest - ROWS + 1):
        start = number % ROWS * width
        new.cells[start] = old.cells[first]
        for to, source in moved:
            new.cells[start + to] = old.cells[first + source]
    new.newest = old.newest


def _ring_bytes(layout: _Layout) -> int:
    return RING_BYTES + 4 * ROWS * (1 + len(layout.columns))


def _layout_bytes(keys: Iterable[_Key]) -> int:
    return sum(NAME_BYTES + len(device_id) + len(metric) for device_id, metric in keys)


def _shown(value: float) -> float | None:
    """As it was before it became a 32-bit float, as far as those have digits."""
    return float(f"{value:.7g}") if isfinite(value) else None
