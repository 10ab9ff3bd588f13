"""Counting and timing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.stats import Histogram, Stats


def test_percentiles_are_right_to_five_percent() -> None:
    """Of 1 to 1,000 ms, half are within 500 and 99 % within 990."""
    times = Histogram()
    for ms in range(1, 1001):
        times.record(ms)
    assert times.percentile(50) == pytest.approx(500, rel=0.05)
    assert times.percentile(99) == pytest.approx(990, rel=0.05)


def test_nothing_timed_gives_nothing() -> None:
    """An empty histogram has no percentile, which is not 0."""
    assert Histogram().percentile(50) is None


@given(st.lists(st.floats(-1e9, 1e9), min_size=1))
def test_any_duration_has_its_place(durations: list[float]) -> None:
    """Negative ones (a clock was set) and huge ones are kept within 0.01 ms and 100 s, so memory stays bounded."""
    times = Histogram()
    for ms in durations:
        times.record(ms)
    found = times.percentile(99)
    assert found is not None
    assert 0.01 <= found <= 105_000


def test_starting_forgets_the_ramp_but_no_error() -> None:
    """What was counted while connecting is not measured; errors are."""
    stats = Stats()
    stats.sent, stats.errors["station: x"] = 7, 1
    stats.ack.record(1.0)
    stats.start()
    assert (stats.sent, stats.ack.percentile(50), stats.errors["station: x"]) == (0, None, 1)
