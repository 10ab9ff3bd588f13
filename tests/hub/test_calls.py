"""Calls that nobody has answered yet: how long they ring, and when they are over."""

import pytest

from hub import calls
from hub.calls import RINGS, Calls
from tests.fakes import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def open_calls(clock: FakeClock) -> Calls:
    return Calls(clock)


def test_over_once(open_calls: Calls) -> None:
    """Whoever answers second answers nothing."""
    open_calls.called("st-1", 5)
    open_calls.called("st-2", 6)
    assert open_calls.over("st-1")
    assert not open_calls.over("st-1")
    assert open_calls.open() == [("st-2", 6)]


def test_nobody_called(open_calls: Calls) -> None:
    assert not open_calls.over("st-1")
    assert open_calls.open() == []


def test_rings_for_a_while(open_calls: Calls, clock: FakeClock) -> None:
    open_calls.called("st-1", 5)
    clock.forward(RINGS - 1)
    open_calls.called("st-2", 6)
    assert open_calls.open() == [("st-1", 5), ("st-2", 6)]
    clock.forward(1)
    assert open_calls.open() == [("st-2", 6)]
    assert not open_calls.over("st-1")


def test_over_is_over_before_anybody_looks(open_calls: Calls, clock: FakeClock) -> None:
    """A call that is past its time cannot be answered, although it is still kept."""
    open_calls.called("st-1", 5)
    clock.forward(RINGS)
    assert not open_calls.over("st-1")


def test_calling_again_begins_anew(open_calls: Calls, clock: FakeClock) -> None:
    """It is the newest call then, and rings as long as any."""
    open_calls.called("st-1", 5)
    clock.forward(RINGS / 2)
    open_calls.called("st-2", 6)
    open_calls.called("st-1", 7)
    assert open_calls.open() == [("st-2", 6), ("st-1", 7)]
    clock.forward(RINGS * 0.75)
    assert open_calls.open() == [("st-2", 6), ("st-1", 7)]
    open_calls.called("st-2", 8)
    clock.forward(RINGS * 0.75)
    assert open_calls.open() == [("st-2", 8)]


def test_bound(open_calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is forgotten first; calling again takes no more room."""
    monkeypatch.setattr(calls, "MAX_CALLS", 2)
    for station_id in ("st-1", "st-2", "st-1", "st-3", "st-3"):
        open_calls.called(station_id, 5)
    assert [station_id for station_id, _ in open_calls.open()] == ["st-1", "st-3"]
