"""Time of the simulated, with an injected clock: order, intended moments, turns; and on a real event loop."""

import asyncio
import time
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.fleet import alarm as alarms
from simulator.fleet.alarm import Alarm, LoopAlarm, TimerAlarm, alarm
from simulator.fleet.schedule import ENOUGH_CANCELLED, Schedule


def nothing() -> None:
    """Runs."""


class Bench:
    """A schedule whose time passes when told to; `ran` holds what ran, with the time it saw."""

    def __init__(self) -> None:
        self.time = 100.0
        self.ran: list[tuple[Any, float]] = []
        self.schedule = Schedule(lambda: self.time, lambda: self.time + 1_000.0)

    def plan(self, name: Any, when: float) -> None:
        self.schedule.at(when, lambda: self.ran.append((name, self.schedule.now)))


@given(st.lists(st.floats(100.0, 200.0), max_size=50))
def test_callbacks_run_in_the_order_of_their_moments(moments: list[float]) -> None:
    """Equal ones in the order they were planned; none before its time."""
    bench = Bench()
    for number, when in enumerate(moments):
        bench.plan(number, when)
    bench.time = 150.0
    bench.schedule.run()
    due = sorted((when, number) for number, when in enumerate(moments) if when <= 150.0)
    assert bench.ran == [(number, when) for when, number in due]
    assert bench.schedule.next() == min((when for when in moments if when > 150.0), default=None)


def test_who_runs_late_sees_the_moment_it_was_meant_for() -> None:
    """So that what it measures counts the tester's delay in; and the delay is told."""
    bench, late = Bench(), list[float]()
    bench.schedule.on_late = late.append
    bench.plan("a", 101.0)
    bench.plan("b", 102.0)
    bench.time = 105.0
    assert bench.schedule.now == 105.0
    bench.schedule.run()
    assert bench.ran == [("a", 101.0), ("b", 102.0)]
    assert late == [4.0, 3.0]
    assert bench.schedule.now == bench.schedule.real() == 105.0


def test_nothing_that_was_due_is_left_out() -> None:
    """One that plans its next each second runs for each second that the tester slept."""
    bench = Bench()

    def each_second() -> None:
        bench.ran.append(("tick", bench.schedule.now))
        bench.schedule.at(bench.schedule.now + 1.0, each_second)

    bench.schedule.at(101.0, each_second)
    bench.time = 105.5
    bench.schedule.run()
    assert [now for _, now in bench.ran] == [101.0, 102.0, 103.0, 104.0, 105.0]


def test_a_turn_ends_after_its_time_and_runs_at_least_one() -> None:
    """The event loop is not starved."""
    bench = Bench()

    def slow(name: str) -> None:
        bench.time += 0.003
        bench.ran.append((name, bench.schedule.now))

    for name in ("a", "b"):
        bench.schedule.at(100.0, partial(slow, name))
    assert bench.schedule.run(0.002)
    assert [name for name, _ in bench.ran] == ["a"]
    assert not bench.schedule.run(0.002)


def test_one_that_fails_harms_no_other() -> None:
    """It is told of, by what it raised."""
    bench, errors = Bench(), list[Exception]()
    bench.schedule.on_error = errors.append
    bench.schedule.at(100.0, lambda: [].pop())
    bench.plan("next", 100.0)
    bench.schedule.run()
    assert bench.ran == [("next", 100.0)]
    assert [type(error) for error in errors] == [IndexError]


def test_a_cancelled_one_does_not_run() -> None:
    """Nor does cancelling one that ran, or twice, do anything."""
    bench = Bench()
    never = bench.schedule.at(101.0, lambda: bench.ran.append(("never", 0.0)))
    once = bench.schedule.at(101.0, lambda: bench.ran.append(("once", 0.0)))
    never.cancel()
    never.cancel()
    bench.time = 102.0
    bench.schedule.run()
    once.cancel()
    assert bench.ran == [("once", 0.0)]
    assert bench.schedule.next() is None


def test_cancelled_ones_do_not_pile_up() -> None:
    """Timers that are set and taken back all the time, such as keep-alives, take no memory; those that stay, stay in order."""
    bench = Bench()
    for number in range(10):
        bench.plan(number, 200.0 - number)
    for _ in range(ENOUGH_CANCELLED * 5):
        bench.schedule.at(1_000.0, nothing).cancel()
    assert len(bench.schedule._heap) < ENOUGH_CANCELLED * 2
    bench.time = 300.0
    bench.schedule.run()
    assert [name for name, _ in bench.ran] == list(reversed(range(10)))


def test_wall_time_of_a_moment_and_back() -> None:
    """Milliseconds since 1970, by the clock as it was at the start."""
    bench = Bench()
    assert bench.schedule.wall_ms(100.5) == 1_100_500.0
    bench.time = 160.0
    assert bench.schedule.wall_ms(100.5) == 1_100_500.0
    assert bench.schedule.moment(1_100_500.0) == 100.5


@pytest.mark.parametrize("precise", [True, False])
async def test_on_an_event_loop(monkeypatch: pytest.MonkeyPatch, precise: bool) -> None:
    """Callbacks run at their time, with either alarm; one planned earlier than all others is not late; after `stop` none runs."""
    monkeypatch.setattr("simulator.fleet.schedule.alarm", alarm if precise else LoopAlarm)
    schedule, done, ran = Schedule(), asyncio.Event(), list[str]()
    schedule.start()
    begin = schedule.real()
    schedule.at(begin + 3_600.0, lambda: ran.append("far away"))
    schedule.at(begin + 0.05, done.set)
    schedule.at(begin + 0.02, lambda: ran.append("soon"))
    schedule.at(begin - 5.0, lambda: ran.append("overdue"))
    await asyncio.wait_for(done.wait(), 5)
    assert time.monotonic() - begin >= 0.05
    assert ran == ["overdue", "soon"]
    schedule.at(schedule.real(), lambda: ran.append("stopped"))
    schedule.stop()
    await asyncio.sleep(0.01)
    assert ran == ["overdue", "soon"]


async def test_much_that_is_due_leaves_turns_to_the_loop() -> None:
    """Others run in between."""
    schedule, others = Schedule(), 0
    left = 50

    def busy() -> None:
        nonlocal left
        left -= 1
        time.sleep(0.001)

    for _ in range(left):
        schedule.at(schedule.real(), busy)
    schedule.start()
    while left:
        await asyncio.sleep(0)
        others += 1
    schedule.stop()
    assert others > 10


async def test_a_callback_may_stop_the_schedule() -> None:
    """Nothing runs after it, and nothing is armed."""
    schedule, ran = Schedule(), list[int]()
    now = schedule.real()
    schedule.at(now, schedule.stop)
    schedule.at(now + 0.001, lambda: ran.append(1))
    schedule.start()
    await asyncio.sleep(0.02)
    assert not ran


async def test_an_alarm_set_anew_rings_once() -> None:
    """The last time counts."""
    rang = asyncio.Event()
    count = 0

    def ring() -> None:
        nonlocal count
        count += 1
        rang.set()

    bell: Alarm = alarm(asyncio.get_running_loop(), ring)
    now = time.monotonic()
    bell.ring_at(now + 60.0)
    bell.ring_at(now - 60.0)
    await asyncio.wait_for(rang.wait(), 5)
    bell.ring_at(now + 60.0)
    bell.close()
    bell.close()
    assert count == 1


async def test_without_a_timerfd_the_loop_wakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that has none, or none left."""

    def none_left(*_: object) -> TimerAlarm:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(alarms, "TimerAlarm", none_left)
    bell = alarm(asyncio.get_running_loop(), nothing)
    assert isinstance(bell, LoopAlarm)
    bell.close()
