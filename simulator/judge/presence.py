"""Were browsers told who is online, in time and truly? What stations did, against what was pushed. Pure: times in, findings out.

Rules (contract.md section 3, architecture.md section 5):
    a browser hears of a change within what its cause takes a hub to see, plus `settle`; of one that did not last that long it
        need not hear at all: a quick reconnect, or a client id taken over, is no news, or one pair of news;
    what it hears was so within the last `settle` seconds, and each change is told once: a second "disconnected" after one
        reconnect is false, however soon it comes;
    the same is never said twice in a row to one browser;
    the answer to get-online-stations holds all that was pushed before it; what differs from the answer was pushed after it, even
        where the browser was told of it earlier (an ack wakes up who waits for it later than a push does);
    a station that never came in this run may be listed (an earlier run's), not pushed;
    who reads slowly may hear everything late, in its order.
What looks false is looked at once more a second later: the news may have overtaken the tester's own notice of what happened.
"""

from array import array
from collections import deque
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from typing import Final, NamedTuple

from simulator.judge.history import History, Period
from simulator.judge.slowness import Slowness
from simulator.judge.wording import PLAIN, Wording
from simulator.measuring.measures import Recorder

__all__ = ["PresenceJudge"]

GRACE: Final = 1.0
"""Seconds that the tester may notice later than the hub what happened to a station."""
AGAIN: Final = 1.0
"""Seconds, at least, after which what seems to be missing is looked for once more: it may lie unread in a socket."""
MAX_DOUBTS: Final = 10_000
"""News that look false and wait for a second look; beyond, the oldest are judged at once."""


class _View:
    """What one browser believes: of each station whether it is online, and of which of its periods it has heard last."""

    __slots__ = ("belief", "count", "heard")

    def __init__(self, current: list[int]) -> None:
        self.belief = bytearray(len(current))
        self.heard = array("i", current)
        self.count = 0


class _Doubt(NamedTuple):
    """News that look false."""

    when: float
    browser: int
    number: int
    online: bool
    current: int


class PresenceJudge:
    """The presence of one worker's stations, as its browsers see it.

    Times `presence.online` and `presence.offline.<cause>`; finds `stations.missedOnline`, `.missedOffline`, `.falselyOnline`,
    `.falselyOffline` (each of a station once, however many browsers saw it) and `.repeated` (each message).

    Args:
        stations: their numbers are below this.
        detect: seconds that a hub may take to see that a station is gone, by cause: 0 for a goodbye or an abort, 1.5 x
            keep-alive for one that fell silent.
        settle: seconds that a hub may take beyond that.
    """

    def __init__(
        self,
        recorder: Recorder,
        stations: int,
        *,
        detect: Callable[[str], float],
        settle: float,
        wording: Wording = PLAIN,
    ) -> None:
        self._recorder, self._settle, self._words = recorder, settle, wording
        self._history = History(stations, detect, settle)
        self._slowness = Slowness(settle)
        self._views: dict[int, _View] = {}
        self._believers = array("i", bytes(4 * stations))
        self._early: dict[int, dict[int, bool]] = {}
        self._disturbed = array("d", [float("-inf")]) * stations
        self._due: list[tuple[float, int, int, bool]] = []
        self._reviews: list[tuple[float, int, bool]] = []
        self._doubts: deque[_Doubt] = deque()
        self._reported: dict[int, int] = {}
        self._answered: set[tuple[int, int]] = set()
        self._false: dict[tuple[int, bool], float] = {}
        self._now = float("-inf")

    # ---- the truth

    def came(self, number: int, now: float) -> None:
        """The station's birth was written (of one without births, its first status). A second birth is no news."""
        self._turn(number, now, "")

    def went(self, number: int, now: float, cause: str) -> None:
        """Its connection ended, it fell silent, or another took over its client id: then `came` follows with that one's birth."""
        self._turn(number, now, cause or "unknown")

    def disturbed(self, number: int, now: float) -> None:
        """A fault struck that leaves it connected (a wrong clock, slow reading): not settled until `settle` after `now`.

        Of a fault that lasts, `now` may be when it will end.
        """
        self._disturbed[number] = max(self._disturbed[number], now)

    def excuse(self, until: float) -> None:
        """A hub or a broker restarts: nothing counts until then, and what happened before may be told as if it happened then."""
        self._history.excused = max(self._history.excused, until)
        for browser in self._views:
            heappush(self._reviews, (until + self._settle + GRACE, browser, False))

    def settled(self, number: int, now: float) -> bool:
        """Whether the station has been online and undisturbed for `settle` seconds."""
        return self.calm(number, now - self._settle)

    def calm(self, number: int, since: float) -> bool:
        """Whether the station has been online and undisturbed since then."""
        if number not in self._history.online:
            return False
        return max(self._history.last(number).began, self._disturbed[number], self._history.excused) <= since

    # ---- what browsers are told

    def watching(self, browser: int, online: Iterable[int], now: float) -> None:
        """The browser's get-online-stations was answered: from here on it is judged. Once a connection; `unwatch` ends it."""
        early = self._early.pop(browser, {})
        self.unwatch(browser)
        stations = len(self._believers)
        listed = {number for number in online if 0 <= number < stations}
        view = self._views[browser] = _View(self._history.current)
        view.count = len(listed)
        for number in listed:
            view.belief[number] = 1
            self._believers[number] += 1
        late = self._slowness.since(browser, now)
        behind = self._history.recent(now) if late is None else range(stations)
        for number in (listed ^ self._history.online).union(behind):
            # the hub may be some periods behind: all that came after the one that the answer is of may still be told
            when = now if late is None else late
            period = self._history.answered(number, number in listed, when, late=late is not None)
            view.heard[number] = self._history.current[number] - 1 if period is None else period.place
        for number, said in early.items():
            if said is not (number in listed):
                self.said(browser, number, said, now)
        heappush(self._reviews, (now + GRACE, browser, True))

    def said(self, browser: int, number: int, online: bool, now: float) -> None:
        """A station-connected or station-disconnected was pushed."""
        view = self._views.get(browser)
        if view is None:
            self._early.setdefault(browser, {})[number] = online
            return
        if view.belief[number] == online:
            self._repeated(browser, number, online, now)
            return
        view.belief[number] = online
        step = 1 if online else -1
        view.count += step
        self._believers[number] += step
        heard, current, history = view.heard[number], self._history.current[number], self._history
        late = self._slowness.since(browser, now)
        if current - heard == 1 and current & 1 == online:
            period: Period | None = history.last(number)
        else:
            period = history.told(number, heard, online, now if late is None else late, late=late is not None)
        if period is None:
            if current & 1 != online:
                self._doubt(_Doubt(now, browser, number, online, current))
            return  # else it is so: it puts right what was said falsely, or while nothing counted
        view.heard[number] = period.place
        if late is None and period.place:
            name = "presence.online" if online else f"presence.offline.{period.cause}"
            self._recorder.time(name, max(0.0, now - period.began) * 1000)

    def unwatch(self, browser: int) -> None:
        """The browser lost its connection, or left: what it believes is void."""
        self._early.pop(browser, None)
        view = self._views.pop(browser, None)
        if view is None:
            return
        number = view.belief.find(1)
        while number >= 0:
            self._believers[number] -= 1
            number = view.belief.find(1, number + 1)

    def slow(self, browser: int | None, until: float) -> None:
        """The browser reads slowly until then: what comes late is excused, what is wrong is not. None: all do."""
        self._slowness.add(browser, self._now, until)
        if until < float("inf"):
            for each in self._views if browser is None else (browser,):
                heappush(self._reviews, (until + self._settle + GRACE, each, False))

    def seen(self) -> float:
        """How many stations a browser believes online, on average."""
        return sum(view.count for view in self._views.values()) / max(1, len(self._views))

    # ---- time

    def check(self, now: float) -> None:
        """Each second: who should have been told by now, and what was false."""
        self._now = max(self._now, now)
        while self._doubts and self._doubts[0].when <= now - GRACE:
            self._resolve(self._doubts.popleft())
        while self._reviews and self._reviews[0][0] <= now:
            _, browser, answered = heappop(self._reviews)
            self._review(browser, now, answered)
        while self._due and self._due[0][0] <= now:
            _, number, place, again = heappop(self._due)
            if self._history.current[number] == place:
                self._check(number, now, again)

    # ---- inside

    def _turn(self, number: int, now: float, cause: str) -> None:
        self._now = max(self._now, now)
        period = self._history.turn(number, now, cause)
        if period is not None:
            self._reported.pop(number, None)
            self._answered = (
                {pair for pair in self._answered if pair[1] != number} if self._answered else self._answered
            )
            heappush(self._due, (self._deadline(period), number, period.place, False))

    def _deadline(self, period: Period) -> float:
        return max(period.began, self._history.excused) + self._history.takes(period) + self._settle

    def _check(self, number: int, now: float, again: bool) -> None:
        """All browsers should know of the station's current period."""
        period = self._history.last(number)
        if (deadline := self._deadline(period)) > now:  # it was put off by an excuse
            heappush(self._due, (deadline, number, period.place, again))
            return
        if self._believers[number] == (len(self._views) if period.online else 0):
            return
        wrong = [
            browser
            for browser, view in self._views.items()
            if view.belief[number] != period.online and self._slowness.since(browser, now) is None
        ]
        if not wrong:
            return
        if again:
            self._missed(period, number, wrong, now)
        else:
            heappush(self._due, (now + AGAIN, number, period.place, True))

    def _review(self, browser: int, now: float, answered: bool) -> None:
        """All that one browser believes, against the truth: after its first answer, and when it read slowly before."""
        view = self._views.get(browser)
        if view is None or self._slowness.since(browser, now) is not None:
            return
        believed = {number for number, belief in enumerate(view.belief) if belief}
        for number in believed ^ self._history.online:
            period = self._history.last(number)
            if period.place == 0 or self._reported.get(number) == period.place:
                continue
            deadline = self._deadline(period)
            if answered and deadline <= now:
                self._answered.add((browser, number))
            heappush(self._due, (max(deadline, now + AGAIN), number, period.place, deadline <= now))

    def _missed(self, period: Period, number: int, wrong: list[int], now: float) -> None:
        if now <= self._history.excused or self._reported.get(number) == period.place:
            return
        self._reported[number] = period.place
        words, who = self._words, self._words.browser(wrong[0])
        more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        truth = f"{words.station(number)} was {self._truth(period)}"
        if (wrong[0], number) in self._answered and not period.online:
            self._recorder.found(
                "stations.falselyOnline", f"{truth}; {who} was still given it as online at {words.at(now)}"
            )
            return
        fact = "stations.missedOnline" if period.online else "stations.missedOffline"
        self._recorder.found(fact, f"{truth}; {who}{more} had not been told at {words.at(now)}")

    def _truth(self, period: Period | None) -> str:
        if period is None:
            return "in another state"
        if period.place == 0:
            return "not there yet"
        return ("connected since " if period.online else f"gone ({period.cause}) since ") + self._words.at(period.began)

    def _repeated(self, browser: int, number: int, online: bool, now: float) -> None:
        if now > self._history.excused + self._settle:
            said = "connected" if online else "disconnected"
            words = self._words
            evidence = (
                f"{words.station(number)}: {words.browser(browser)} was told station-{said} again at {words.at(now)}"
            )
            self._recorder.found("stations.repeated", evidence)

    def _doubt(self, doubt: _Doubt) -> None:
        if len(self._doubts) >= MAX_DOUBTS:
            self._resolve(self._doubts.popleft())
        self._doubts.append(doubt)

    def _resolve(self, doubt: _Doubt) -> None:
        """Was the news false, or was it ahead of the tester?"""
        when, browser, number, online, current = doubt
        following = self._history.period(number, current + 1)
        if following is not None and following.began <= when + GRACE:
            view = self._views.get(browser)
            if view is not None and view.heard[number] < following.place:
                view.heard[number] = following.place
            return
        last = self._false.get((number, online), float("-inf"))
        if when <= self._history.excused + self._settle or when - last <= self._settle:
            return
        self._false[number, online] = when
        words, fact = self._words, "stations.falselyOnline" if online else "stations.falselyOffline"
        called = f"was called {'online' if online else 'offline'} at {words.at(when)} ({words.browser(browser)})"
        truth = self._truth(self._history.period(number, current))
        self._recorder.found(fact, f"{words.station(number)} {called}; it was {truth}")
