"""Did every status reach every browser that watches, once, in order, and soon? Pure: times in, findings out.

Statuses of a station are numbered from 1, whatever its connections do. What a hub may do (contract.md sections 3 and 4):
    batches hold the newest of each station: one that another followed within two flushes may never be seen (`superseded`);
    who begins to watch gets what is kept, however old: neither a duplicate nor a loss, nor a delay;
    who reads slowly skips to the newest;
    what was on its way when a fault struck may be lost (`forgive`, `excuse`).
Any other gap is looked at again after `settle` seconds: what came late was reordered, what did not was lost. The answer to
station-request-status is no part of a batch, and not told here.
"""

from array import array
from collections import deque
from collections.abc import Iterable
from typing import Final, NamedTuple

from simulator.judge.ledger import Ledger
from simulator.judge.slowness import Slowness
from simulator.judge.wording import PLAIN, Wording
from simulator.measuring.measures import Recorder

__all__ = ["StatusJudge"]

SAMPLES: Final = 2_000
"""Pairs of browser and station that are looked at each second."""
SILENT: Final = 3
"""Statuses that a browser must have missed at a stretch before the station is lost to it."""
MOST_MISSING: Final = 50_000
"""Gaps that wait for a second look; beyond, they are judged at once."""
DENSE: Final = 8
"""Who watches more than one in so many stations has a place for each of them all: smaller than a dictionary."""
SKIPPED: Final = 0xFFFF
NEVER: Final = float("-inf")


class _Gap(NamedTuple):
    """Statuses that were not there when a newer one came."""

    first: int
    last: int
    seen: float


class _View:
    """What one browser has had: of each station it watches the newest status, when that was meant to be sent (in seconds after
    `since`), and how many were skipped before it. Ten bytes each."""

    __slots__ = ("at", "last", "numbers", "place", "since", "skipped")

    def __init__(self, numbers: Iterable[int] | None, newest: list[int], now: float) -> None:
        stations = len(newest)
        watched = None if numbers is None else {number for number in numbers if 0 <= number < stations}
        self.since = now
        self.place: dict[int, int] | None = None
        self.numbers: array[int] | range = range(stations)
        if watched is not None:
            self.numbers = array("i", sorted(watched))
            if len(watched) * DENSE < stations:
                self.place = {number: at for at, number in enumerate(self.numbers)}
        self.last = array("I", newest if self.place is None else [newest[number] for number in self.numbers])
        self.at = array("f", (NEVER,)) * len(self.last)
        self.skipped = array("H", bytes(2 * len(self.last)))

    def slot(self, number: int) -> int:
        """Where a station that it watches stands."""
        return number if self.place is None else self.place[number]


class StatusJudge:
    """The statuses of one worker's stations, at its browsers.

    Times `status.delay` and `status.age`; counts `status.sent`, `.received` and `.superseded`; finds `status.lost`,
    `.duplicated`, `.reordered`, `.wrong` and `stations.lost`.

    Args:
        stations: their numbers are below this.
        flush: seconds between two batches of a hub.
        settle: seconds that a status may take beyond that.
        exact: nothing is superseded: there are no batches.
    """

    def __init__(
        self,
        recorder: Recorder,
        stations: int,
        *,
        flush: float = 1.0,
        settle: float,
        exact: bool = False,
        wording: Wording = PLAIN,
    ) -> None:
        self._recorder, self._settle, self._words = recorder, settle, wording
        self._flush = 0.0 if exact else flush
        self._ledger = Ledger(stations, 2 * self._flush)
        self._newest = self._ledger.newest
        self._there = [NEVER] * stations
        self._before = [0] * stations  # the last status that says nothing of whether a station gets through now
        self._views: dict[int, _View] = {}
        self._slowness = Slowness(settle)
        self._slow_until: dict[int | None, float] = {}
        self._missing: dict[tuple[int, int], list[_Gap]] = {}
        self._order: deque[tuple[float, int, int]] = deque()
        self._lost: set[tuple[int, int]] = set()
        self._past: deque[tuple[float, list[int]]] = deque()
        self._excused = self._now = NEVER
        self._turn = 0

    # ---- the truth

    def sent(self, number: int, seq: int, now: float, real: float | None = None) -> None:
        """A station sent its status `seq`, meant for `now` (as it says on the wire), at `real`."""
        self._recorder.count("status.sent")
        self._ledger.sent(number, seq, now, now if real is None else real)

    def connected(self, number: int, now: float) -> None:
        """Its statuses can be expected from now on."""
        self._there[number] = now
        self._before[number] = self._newest[number]

    def gone(self, number: int, now: float) -> None:
        """They cannot."""
        self._there[number] = NEVER

    def forgive(self, number: int, from_seq: int, now: float) -> None:
        """A fault struck: statuses after `from_seq`, so far, may have been lost."""
        self._ledger.free(number, from_seq + 1, self._newest[number])
        self._before[number] = self._newest[number]

    def excuse(self, until: float) -> None:
        """A hub or a broker restarts: nothing counts until then."""
        self._excused = max(self._excused, until)

    # ---- what browsers get

    def watching(self, browser: int, numbers: Iterable[int] | None, now: float) -> None:
        """The browser's station-watch was acknowledged: it gets these stations' statuses from now on; None: all."""
        self.unwatch(browser)
        self._views[browser] = _View(numbers, self._newest, now)

    def unwatch(self, browser: int) -> None:
        """It lost its connection, or left: what it has not got is owed no more."""
        if self._views.pop(browser, None) is not None:
            for key in [key for key in self._missing if key[0] == browser]:
                del self._missing[key]
            self._lost = {each for each in self._lost if each[0] != browser}

    def slow(self, browser: int | None, until: float) -> None:
        """It reads slowly until then: what it does not get is superseded, what comes late is not timed. None: all do."""
        self._slowness.add(browser, self._now, until)
        self._slow_until[browser] = max(self._slow_until.get(browser, NEVER), until)

    def batch(self, browser: int, number: int, seq: int, intended: float, now: float) -> None:
        """A browser got a status that was meant to be sent at `intended`."""
        view = self._views.get(browser)
        if view is None:
            return
        place = number if view.place is None else view.place.get(number)
        if place is None:
            return
        recorder, last = self._recorder, view.last[place]
        recorder.count("status.received")
        if not self._ledger.genuine(number, seq, intended):
            self._found("status.wrong", number, seq, browser, "is not what it sent, and reached", now)
            return
        if seq <= last:
            if view.at[place] != NEVER:
                self._again(view, place, browser, number, seq, now)
            return  # else the hub kept it from before
        view.skipped[place] = min(seq - last - 1, SKIPPED)
        if seq - last > 1:
            self._gap(view, view.at[place], browser, number, last + 1, seq - 1, now)
        view.last[place] = seq
        view.at[place] = intended - view.since
        if not self._slow_until or self._slowness.since(browser, now) is None:
            recorder.time("status.delay", (now - intended) * 1000)

    # ---- time

    def sample(self, now: float) -> None:
        """Each second: how old what browsers have is, what is lost by now, and which stations do not get through any more."""
        self._now = max(self._now, now)
        settled = now - self._settle - self._flush
        self._settle_gaps(settled)
        self._past.append((now, self._newest.copy()))
        while len(self._past) > 1 and self._past[1][0] <= settled:
            self._past.popleft()
        wanted = min(SAMPLES, sum(len(view.numbers) for view in self._views.values()))
        first = self._turn
        while wanted > 0:
            for browser, view in self._views.items():
                many = len(view.numbers)
                if first >= many:
                    first -= many
                    continue
                places = range(first, min(many, first + wanted))
                self._look(browser, view, places, now)
                self._turn += len(places)
                first, wanted = 0, wanted - len(places)
                if wanted <= 0:
                    return
            self._turn = first = 0  # all were looked at: from the start

    def finish(self, now: float) -> None:
        """At the end: what was sent two flushes ago or earlier, and has not come by now, is lost."""
        for browser, view in self._views.items():
            for number in view.numbers:
                place, newest = view.slot(number), self._newest[number]
                if self._ledger.real[number] > now - 2 * self._flush:
                    newest -= 1
                if view.last[place] < newest:
                    self._gap(view, view.at[place], browser, number, view.last[place] + 1, newest, now)
        self._settle_gaps(float("inf"))

    # ---- inside

    def _look(self, browser: int, view: _View, places: range, now: float) -> None:
        slow = self._slowness.since(browser, now) is not None
        when, due = self._past[0]
        early = now <= self._excused + self._settle or when > now - self._settle - self._flush
        for place in places:
            number = view.numbers[place]
            place, there, pair = view.slot(number), self._there[number], (browser, number)
            if slow or there == NEVER:
                self._lost.discard(pair)
                continue
            newest = max(view.since + view.at[place], there, view.since)
            self._recorder.time("status.age", max(0.0, now - newest) * 1000)
            missed = due[number] - max(view.last[place], self._before[number])
            if early or missed < SILENT:
                self._lost.discard(pair)
            elif pair not in self._lost:
                self._lost.add(pair)
                words = self._words
                said = f"{words.station(number)} has sent {missed} statuses since {words.at(newest)}, and none reached"
                self._recorder.found("stations.lost", f"{said} {words.browser(browser)} until {words.at(now)}")

    def _again(self, view: _View, place: int, browser: int, number: int, seq: int, now: float) -> None:
        """One that is not newer than the last."""
        last = view.last[place]
        if self._came_late(browser, number, seq) or last - view.skipped[place] <= seq < last:
            self._found("status.reordered", number, seq, browser, f"came after status {last} to", now)
        else:
            self._found("status.duplicated", number, seq, browser, "came again to", now)

    def _came_late(self, browser: int, number: int, seq: int) -> bool:
        """Whether it was missing; from now on it is not."""
        gaps = self._missing.get((browser, number), [])
        for at, (first, last, seen) in enumerate(gaps):
            if first <= seq <= last:
                rest = [_Gap(first, seq - 1, seen), _Gap(seq + 1, last, seen)]
                gaps[at : at + 1] = [gap for gap in rest if gap.first <= gap.last]
                return True
        return False

    def _gap(self, view: _View, at: float, browser: int, number: int, first: int, last: int, now: float) -> None:
        """Statuses that have been overtaken; why, may turn out later: a station notices its own fault after the hub."""
        slow_until = max(self._slow_until.get(browser, NEVER), self._slow_until.get(None, NEVER))
        if slow_until + self._settle >= view.since + max(at, 0.0) and self._slow_until:
            self._recorder.count("status.superseded", last - first + 1)  # the one before came when it read slowly
            return
        owed = self._ledger.owed(number, first, last)
        free = last - first + 1 - sum(end - start + 1 for start, end in owed)
        if free:
            self._recorder.count("status.superseded", free)
        for start, end in owed:
            if len(self._order) >= MOST_MISSING:
                self._lose(browser, number, _Gap(start, end, now))
            else:
                self._missing.setdefault((browser, number), []).append(_Gap(start, end, now))
                self._order.append((now, browser, number))

    def _settle_gaps(self, before: float) -> None:
        """Gaps that were seen before that are judged."""
        while self._order and self._order[0][0] <= before:
            seen, browser, number = self._order.popleft()
            gaps = self._missing.pop((browser, number), [])
            for gap in gaps:
                if gap.seen <= seen:
                    self._lose(browser, number, gap)
            if later := [gap for gap in gaps if gap.seen > seen]:
                self._missing[browser, number] = later

    def _lose(self, browser: int, number: int, gap: _Gap) -> None:
        first, last, seen = gap
        owed = [] if seen <= self._excused + self._settle else self._ledger.owed(number, first, last)
        lost = sum(end - start + 1 for start, end in owed)
        if superseded := last - first + 1 - lost:
            self._recorder.count("status.superseded", superseded)
        if lost:
            self._found("status.lost", number, owed[0][0], browser, "never reached", seen, lost)

    def _found(self, fact: str, number: int, seq: int, browser: int, said: str, now: float, by: int = 1) -> None:
        words = self._words
        where = f"{words.browser(browser)} ({words.at(now)})"
        more = f" and {by - 1} more after it" if by > 1 else ""
        self._recorder.found(fact, f"{words.station(number)}: status {seq}{more} {said} {where}", by)
