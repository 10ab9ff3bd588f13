"""A hub, its stations and browsers as a discrete simulation, as disorderly as a sound hub's may be; or with one break."""

import random
from collections.abc import Callable
from functools import partial

from simulator.judge.presence import PresenceJudge
from simulator.measuring.measures import Recorder
from tests.simulator.judge.timed import Timed

__all__ = ["DETECT", "SETTLE", "Model", "detect"]

SETTLE = 5.0
DETECT = {"half-open": 12.0, "run": 8.0}


def detect(cause: str) -> float:
    """Seconds that a hub may take to see that a station is gone."""
    return DETECT.get(cause, 0.0)


class Browser:
    """What the hub sends it comes in order; it may be held up."""

    def __init__(self) -> None:
        self.connection = 0
        self.held = 0.0
        self.last = 0.0
        self.told = False


class Model(Timed):
    """Runs by `run`; `recorder` then holds what the judge found."""

    def __init__(self, seed: int, stations: int = 4, browsers: int = 3) -> None:
        self.rng, self.recorder = random.Random(seed), Recorder()
        self.judge = PresenceJudge(self.recorder, stations, detect=detect, settle=SETTLE)
        self.stations, self.browsers = stations, [Browser() for _ in range(browsers)]
        super().__init__()
        self.session = [0] * stations
        self.up = [False] * stations
        self.held = [0.0] * stations
        self.believes: dict[int, int] = {}
        self.processed = [0.0] * stations
        self.boot = 0
        self.lose: Callable[[int, int, bool], int] = lambda browser, number, online: 1
        self.at(1.0, self._each_second)

    def _each_second(self) -> None:
        self.judge.check(self.now)
        self.at(self.now + 1.0, self._each_second)

    # ---- stations

    def come(self, number: int) -> None:
        if self.held[number] > self.now:  # it does not know yet that it was cut off
            return
        if self.up[number]:
            return
        self.up[number] = True
        self.session[number] += 1
        session = self.session[number]
        self.judge.came(number, self.now)
        seen = max(self.processed[number], self.now + self.rng.choice((0.0, 0.01, self.rng.uniform(0, 0.5 * SETTLE))))
        self.processed[number] = seen
        self._of_this_boot(seen, lambda: self._birth(number, session))

    def go(self, number: int, cause: str, *, hub_first: float = 0.0) -> None:
        """`hub_first`: the hub sees it so many seconds before the tester does."""
        if not self.up[number]:
            return
        self.up[number] = False
        session = self.session[number]
        takes = self.rng.choice((0.0, 0.05, self.rng.uniform(0, detect(cause) + 0.5 * SETTLE)))
        seen = max(self.processed[number], self.now + (0.0 if hub_first else takes))
        self._of_this_boot(seen, lambda: self._leave(number, session))
        notice = self.now + hub_first

        def told() -> None:
            self.judge.went(number, self.now, cause)

        if hub_first:
            self.held[number] = notice
            self.at(notice, told)
        else:
            told()

    # ---- the hub

    def _of_this_boot(self, when: float, what: Callable[[], None]) -> None:
        boot = self.boot
        self.at(when, lambda: what() if self.boot == boot else None)

    def _birth(self, number: int, session: int) -> None:
        if number in self.believes and self.believes[number] != session and self.rng.random() < 0.5:
            self.push(number, False)  # as an embedded broker publishes the will of who is taken over
            del self.believes[number]
        news = number not in self.believes
        self.believes[number] = session
        if news:
            self.push(number, True)

    def _leave(self, number: int, session: int) -> None:
        if self.believes.get(number) == session:
            del self.believes[number]
            self.push(number, False)

    def push(self, number: int, online: bool, only: int | None = None) -> None:
        for index, browser in enumerate(self.browsers):
            if browser.connection % 2 and only in (None, index):
                for _ in range(self.lose(index, number, online)):
                    self._deliver(index, partial(self._say, index, number, online))

    def _say(self, index: int, number: int, online: bool) -> None:
        self.judge.said(index, number, online, self.now)

    def _deliver(self, index: int, what: Callable[[], None], extra: float = 0.0) -> None:
        browser = self.browsers[index]
        connection = browser.connection
        delay = self.rng.choice((0.0, 0.0, self.rng.uniform(0, 0.2 * SETTLE)))
        when = max(browser.last, browser.held, self.now + delay)
        browser.last = when

        def arrive() -> None:
            if self.browsers[index].connection == connection:
                what()

        self.at(when + extra, arrive)

    # ---- browsers

    def connect(self, index: int) -> None:
        browser = self.browsers[index]
        if browser.connection % 2:
            return
        browser.connection += 1
        browser.last = self.now
        wait = self.rng.uniform(0, 0.3)
        connection = browser.connection

        def ask() -> None:
            if browser.connection != connection:
                return
            answer = sorted(self.believes)
            # who waits for the ack is woken up after what came right behind it was handled
            late = self.rng.choice((0.0, 0.0, 0.02, 0.3))
            self._deliver(index, lambda: self.judge.watching(index, answer, self.now), late)

        self.at(self.now + wait, ask)

    def disconnect(self, index: int) -> None:
        browser = self.browsers[index]
        if browser.connection % 2:
            browser.connection += 1
            self.judge.unwatch(index)

    def slow(self, index: int, lasts: float) -> None:
        self.browsers[index].held = self.now + lasts
        self.judge.slow(index, self.now + lasts)

    def restart(self, lasts: float, *, forgets: bool) -> None:
        """The hub goes down with all connections, and comes back."""
        self.judge.excuse(self.now + lasts)
        self.boot += 1
        for index in range(len(self.browsers)):
            self.disconnect(index)
            self.at(self.now + lasts * self.rng.uniform(0.8, 1.5), partial(self.connect, index))
        kept = dict(self.believes)
        for number in range(self.stations):
            if self.up[number]:
                self.up[number] = False
                self.judge.went(number, self.now, "run")
                if self.rng.random() < 0.8:
                    self.at(self.now + lasts * self.rng.uniform(0.8, 3.0), partial(self.come, number))
        self.believes.clear()
        if not forgets:
            self.believes.update(kept)
            for number, session in kept.items():
                self.at(self.now + lasts + self.rng.uniform(1, 8.0), partial(self._leave, number, session))

    # ---- chance

    def disorder(self, seconds: float) -> None:
        """Anything that may happen, for so long."""
        until, restarted = self.now + seconds, False
        while self.now < until:
            self.run(self.now + self.rng.choice((0.0, 0.02, 0.3, 1.0, self.rng.uniform(0, 8.0))))
            number, index = self.rng.randrange(self.stations), self.rng.randrange(len(self.browsers))
            match self.rng.randrange(11):
                case 0 | 1 | 2:
                    if self.held[number] <= self.now:
                        self.come(number)
                case 3 | 4:
                    self.go(number, self.rng.choice(("abort", "goodbye", "half-open")))
                case 5:  # a quick one, or a takeover
                    self.go(number, "duplicate-client-id")
                    self.at(self.now + self.rng.choice((0.0, 0.001, 0.3)), partial(self.come, number))
                case 6:
                    self.go(number, "lost", hub_first=self.rng.uniform(0.001, 0.4))
                case 7 | 8:
                    self.connect(index)
                case 9:
                    if self.rng.random() < 0.5:
                        self.disconnect(index)
                    else:
                        self.slow(index, self.rng.uniform(1, 20))
                case _:
                    if not restarted and self.rng.random() < 0.2:
                        restarted = True
                        self.restart(3.0, forgets=self.rng.random() < 0.5)
                        self.run(self.now + 12.0)

    def calm(self) -> None:
        """Nothing happens until all that did is over."""
        self.run(self.now + 60.0)

    def order(self) -> None:
        """All browsers are connected and watch, then nothing happens for long."""
        for index in range(len(self.browsers)):
            self.connect(index)
        self.calm()
