"""Every timer of the simulated: a heap of moments, run in their order, each with the time it was meant for.

Who is late says so: a callback that runs after its moment still sees that moment as `now`, so that what it measures from there
counts the tester's own delay in, and what it should have sent in the meantime is sent all the same (no coordinated omission).
"""

import asyncio
import logging
import time
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Final

from simulator.fleet.alarm import Alarm, alarm

__all__ = ["Schedule", "Timer"]

TURN_SECONDS: Final = 0.002
"""How long callbacks run before the event loop gets a turn."""
ENOUGH_CANCELLED: Final = 1_000
"""Cancelled timers that are worth a look through the heap, once they are half of it."""

log = logging.getLogger(__name__)


class Timer:
    """One callback to come."""

    __slots__ = ("_schedule", "call")

    def __init__(self, schedule: "Schedule", call: Callable[[], None]) -> None:
        self._schedule: Schedule = schedule
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """It will not run; nothing when it did, or was cancelled before."""
        if self.call is not None:
            self.call = None
            self._schedule.forget_one()


class Schedule:
    """The timers of one worker, and its time.

    Args:
        clock: monotonic seconds; not the event loop's `time`, which knows milliseconds only in uvloop.
        wall: seconds since 1970.

    Attributes:
        begin: the moment that a scenario begins at; whoever runs one sets it.
        on_late: is told how many seconds late each callback runs.
        on_error: is told what a callback raised; the others run on.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self.real = clock
        self.begin = clock()
        self.on_late: Callable[[float], None] = lambda _: None
        self.on_error: Callable[[Exception], None] = lambda _: None
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = count()
        self._now: float | None = None
        self._cancelled = 0
        self._offset = (wall() - clock()) * 1000
        self._loop: asyncio.AbstractEventLoop | None = None
        self._alarm: Alarm | None = None
        self._again: asyncio.Handle | None = None
        self._armed = float("inf")

    @property
    def now(self) -> float:
        """Seconds: while a callback runs, the moment it was scheduled for; else the real time."""
        return self.real() if self._now is None else self._now

    def wall_ms(self, when: float) -> float:
        """Milliseconds since 1970 of a moment; the machine's clock as it went when this schedule was made."""
        return when * 1000 + self._offset

    def moment(self, wall_ms: float) -> float:
        """The moment of milliseconds since 1970: what `wall_ms` made, back."""
        return (wall_ms - self._offset) / 1000

    def at(self, when: float, call: Callable[[], None]) -> Timer:
        """Runs `call` at that moment; one that has passed already is made up for at once."""
        timer = Timer(self, call)
        heappush(self._heap, (when, next(self._order), timer))
        if when < self._armed and self._loop is not None:
            self._arm()
        return timer

    def forget_one(self) -> None:
        """A timer was cancelled: the heap is tidied when many were."""
        self._cancelled += 1
        if self._cancelled >= ENOUGH_CANCELLED and self._cancelled * 2 > len(self._heap):
            self._heap[:] = [entry for entry in self._heap if entry[2].call is not None]
            heapify(self._heap)
            self._cancelled = 0

    def next(self) -> float | None:
        """When the next callback is due; None: there is none."""
        heap = self._heap
        while heap and heap[0][2].call is None:
            heappop(heap)
            self._cancelled = max(0, self._cancelled - 1)
        return heap[0][0] if heap else None

    def run(self, seconds: float = float("inf")) -> bool:
        """Runs what is due, for so many seconds at most, and at least one. Gives whether more is due."""
        heap, real, late = self._heap, self.real, self.on_late
        until = (moment := real()) + seconds
        try:
            while heap and heap[0][0] <= moment:
                when, _, timer = heappop(heap)
                call = timer.call
                if call is None:
                    self._cancelled = max(0, self._cancelled - 1)
                    continue
                timer.call = None
                self._now = when
                late(moment - when)
                try:
                    call()
                except Exception as error:
                    log.exception("a simulated one failed")
                    self.on_error(error)
                moment = real()
                if moment >= until:
                    break
        finally:
            self._now = None
        return bool(heap) and heap[0][0] <= moment

    # ---- on an event loop

    def start(self) -> None:
        """From here on, timers run on the running event loop, until `stop`."""
        self._loop = asyncio.get_running_loop()
        self._alarm = alarm(self._loop, self._turn)
        self._arm()

    def stop(self) -> None:
        """No timer runs any more."""
        if self._again is not None:
            self._again.cancel()
        if self._alarm is not None:
            self._alarm.close()
        self._loop = self._alarm = self._again = None
        self._armed = float("inf")

    def _turn(self) -> None:
        self._again, self._armed = None, float("-inf")  # so that nothing arms while callbacks run
        more = self.run(TURN_SECONDS)
        if self._loop is None:
            return  # a callback stopped it
        if more:
            self._again = self._loop.call_soon(self._turn)
        else:
            self._arm()

    def _arm(self) -> None:
        """Sees to it that `_turn` is called when the next callback is due."""
        when = self.next()
        self._armed = float("inf") if when is None else when
        if when is not None and self._alarm is not None:
            self._alarm.ring_at(when)
