"""A hub that passes statuses on in batches, its stations and browsers, as disorderly as of a sound hub; or with one break."""

import random
from collections.abc import Callable

from simulator.judge.statuses import StatusJudge
from simulator.measuring.measures import Recorder
from tests.simulator.judge.timed import Timed

__all__ = ["SETTLE", "Model"]

SETTLE = 5.0
INTERVALS = (0.05, 0.4, 1.0, 2.0, 5.0, 5.0, 20.0)
Sent = tuple[int, int, float]
"""Station, number, when it was meant to be sent."""


class Browser:
    """What the hub sends it comes in order."""

    def __init__(self) -> None:
        self.connection, self.watch = 0, frozenset[int]()
        self.last = self.held = 0.0
        self.pending: dict[int, None] = {}
        self.has: dict[int, Sent] = {}


class Model(Timed):
    """Runs by `run`; `recorder` then holds what the judge found."""

    def __init__(self, seed: int, stations: int = 5, browsers: int = 3) -> None:
        self.rng, self.recorder = random.Random(seed), Recorder()
        self.judge = StatusJudge(self.recorder, stations, settle=SETTLE)
        super().__init__()
        self.interval = [self.rng.choice(INTERVALS) for _ in range(stations)]
        self.seq, self.up, self.skewed = [0] * stations, [False] * stations, [False] * stations
        self.life = [0] * stations
        self.came = [0.0] * stations
        self.board: dict[int, Sent] = {}
        self.new: dict[int, None] = {}
        self.browsers = [Browser() for _ in range(browsers)]
        self.alter: Callable[[int, list[Sent]], list[Sent]] = lambda browser, batch: batch
        self.at(0.0, self._flush)
        self.at(1.0, self._each_second)

    def _each_second(self) -> None:
        self.judge.sample(self.now)
        self.at(self.now + 1.0, self._each_second)

    # ---- stations

    def start(self, number: int) -> None:
        if not self.up[number]:
            self.up[number] = True
            self.life[number] += 1
            if not self.skewed[number]:
                self.judge.connected(number, self.now)
            self.report(number)
            self._tick(number, self.life[number], self.now + self.interval[number])

    def _tick(self, number: int, life: int, when: float) -> None:
        def tick() -> None:
            if self.up[number] and self.life[number] == life:
                self.report(number)
                self._tick(number, life, when + self.interval[number])

        self.at(when, tick)

    def report(self, number: int) -> None:
        """Regularly, and in between when asked."""
        self.seq[number] += 1
        status = (number, self.seq[number], self.now)
        self.judge.sent(*status[:2], self.now, self.now)
        self.came[number] = max(self.came[number], self.now + self.rng.choice((0.0, 0.001, 0.05, 0.4)))
        if not self.skewed[number]:
            life = self.life[number]
            self.at(self.came[number], lambda: self._arrive(status) if self.life[number] == life else None)

    def abort(self, number: int) -> None:
        """What is on its way is lost; the tester may notice a little late."""
        if self.up[number]:
            self.up[number] = False
            self.life[number] += 1
            self.judge.gone(number, self.now)
            sent = self.seq[number]
            back = max(0, sent - 2 - int(1.0 / self.interval[number]))
            noticed = self.rng.choice((0.0, 0.5))
            self.at(self.now + noticed, lambda: self.judge.forgive(number, back, self.now))
            self.at(self.now + 1.0 + self.rng.uniform(0, 20.0), lambda: self.start(number))

    def stop(self, number: int) -> None:
        """A goodbye: what was said before it arrives."""
        if self.up[number]:
            self.up[number] = False
            self.judge.gone(number, self.now)

    def skew(self, number: int, lasts: float) -> None:
        """Its statuses are dropped as too old."""
        if not self.up[number] or self.skewed[number]:
            return
        self.skewed[number], first = True, self.seq[number]
        self.judge.gone(number, self.now)

        def over() -> None:
            self.skewed[number] = False
            self.judge.forgive(number, first, self.now)
            if self.up[number]:
                self.judge.connected(number, self.now)

        self.at(self.now + lasts, over)

    # ---- the hub

    def _arrive(self, status: Sent) -> None:
        self.board[status[0]] = status
        self.new[status[0]] = None

    def _flush(self) -> None:
        new, self.new = list(self.new), {}
        for index, browser in enumerate(self.browsers):
            if browser.connection % 2:
                browser.pending.update(dict.fromkeys(number for number in new if number in browser.watch))
                if browser.held <= self.now:
                    self._send(index)
        self.at(self.now + 1.0 + self.rng.choice((0.0, 0.0, 0.02)), self._flush)

    def _send(self, index: int) -> None:
        browser = self.browsers[index]
        board, has = self.board, browser.has
        # what a first batch held is new on the board until the next flush, and not sent again
        batch = [board[number] for number in browser.pending if number in board and has.get(number) != board[number]]
        browser.pending.clear()
        has.update((status[0], status) for status in batch)
        batch = self.alter(index, batch)
        connection, me = browser.connection, index
        browser.last = max(browser.last, self.now + self.rng.choice((0.0, 0.01, 0.3)))

        def arrive() -> None:
            if browser.connection == connection:
                for number, seq, meant in batch:
                    self.judge.batch(me, number, seq, meant, self.now)

        self.at(browser.last, arrive)

    # ---- browsers

    def watch(self, index: int, numbers: frozenset[int]) -> None:
        """Connects if it is not, and watches: one batch of what is kept, then the ack; the tester begins at either."""
        browser = self.browsers[index]
        if not browser.connection % 2:
            browser.connection += 1
            browser.last = self.now
        connection = browser.connection
        browser.watch = numbers
        browser.pending = dict.fromkeys(sorted(numbers))
        self.judge.unwatch(index)
        browser.has = {}
        self._send(index)

        def acked() -> None:
            if browser.connection == connection and browser.watch is numbers:
                self.judge.watching(index, sorted(numbers), self.now)

        self.at(browser.last + self.rng.choice((0.0, 0.01)), acked)

    def leave(self, index: int) -> None:
        browser = self.browsers[index]
        if browser.connection % 2:
            browser.connection += 1
            browser.pending.clear()
            self.judge.unwatch(index)

    def slow(self, index: int, lasts: float) -> None:
        """It gets the newest of each when it reads again."""
        browser = self.browsers[index]
        if browser.connection % 2:
            browser.held = self.now + lasts
            self.judge.slow(index, self.now + lasts)

    # ---- chance

    def disorder(self, seconds: float) -> None:
        """Anything that may happen, for so long."""
        until, all_of_them = self.now + seconds, range(len(self.seq))
        while self.now < until:
            self.run(self.now + self.rng.choice((0.0, 0.1, 1.0, self.rng.uniform(0, 6.0))))
            number, index = self.rng.choice(all_of_them), self.rng.randrange(len(self.browsers))
            match self.rng.randrange(10):
                case 0 | 1 | 2:
                    self.start(number)
                case 3:
                    self.abort(number)
                case 4:
                    self.skew(number, self.rng.uniform(1, 20))
                case 5 | 6:
                    watched = frozenset(self.rng.sample(all_of_them, self.rng.randrange(1, len(self.seq) + 1)))
                    self.watch(index, watched)
                case 7:
                    self.leave(index)
                case 8:
                    self.slow(index, self.rng.uniform(1, 15))
                case _:
                    if self.up[number]:
                        self.report(number)

    def order(self) -> None:
        """All stations are up and all browsers watch all, for long."""
        self.run(self.now + 60.0)
        for number in range(len(self.seq)):
            self.start(number)
        for index in range(len(self.browsers)):
            self.watch(index, frozenset(range(len(self.seq))))
        self.run(self.now + 60.0)

    def end(self) -> None:
        """All stations say goodbye, then it is judged what has come."""
        for number in range(len(self.seq)):
            self.stop(number)
        self.run(self.now + 4.0)
        self.judge.finish(self.now)
