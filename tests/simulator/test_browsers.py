"""A simulated browser's reading of pushes."""

import pytest

from simulator.browsers import Browser
from simulator.scenario import Scenario
from simulator.stats import Stats


@pytest.fixture
def stats() -> Stats:
    """Counts from zero."""
    return Stats()


@pytest.fixture
def browser(stats: Stats) -> Browser:
    """One that never connects: pushes are handed to it."""
    return Browser(Scenario(), 1, lambda user_id: f"token of {user_id}", stats)


def test_the_delay_of_a_batch_is_from_updated_at(browser: Browser, stats: Stats) -> None:
    """Each status of the batch counts."""
    batch = [{"stationId": f"sim-0000{n}", "updatedAt": 10_000 - 100 * n} for n in (1, 2)]
    browser.pushed("batch-station-status-update", batch, now=0.0, wall_ms=10_000.0)
    assert stats.received == 2
    assert stats.batch_delay.percentile(1) == pytest.approx(100, rel=0.05)
    assert stats.batch_delay.percentile(100) == pytest.approx(200, rel=0.05)


def test_statuses_kept_from_before_do_not_count(browser: Browser, stats: Stats) -> None:
    """The batch on connecting holds the last status of each station, however old."""
    browser._since = 9_950.0
    browser.pushed(
        "batch-station-status-update", [{"stationId": "sim-00001", "updatedAt": 9_900}], now=0.0, wall_ms=10_000.0
    )
    assert (stats.received, stats.batch_delay.percentile(50)) == (0, None)


def test_only_an_answer_to_a_question_is_timed(browser: Browser, stats: Stats) -> None:
    """A status that nobody asked for is none."""
    browser._asked["sim-00001"] = 5.0
    browser.pushed("station-status-update", {"stationId": "sim-00002"}, now=5.1, wall_ms=0.0)
    assert stats.answer.percentile(50) is None
    browser.pushed("station-status-update", {"stationId": "sim-00001"}, now=5.1, wall_ms=0.0)
    assert stats.answer.percentile(50) == pytest.approx(100, rel=0.05)
    assert not browser._asked
