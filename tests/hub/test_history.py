"""The stations' numbers of the last ten minutes: one report in five seconds, within bounds."""

import tracemalloc
from math import inf, nan
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.messages import Device, Status
from hub.history import EVERY, MAX_NAME, MAX_SERIES, WINDOW, History, Recorded

NOW = 1_000_000.0
"""A beginning of five seconds."""


def devices(metrics: dict[str, Any], device_id: str = "d") -> list[Device]:
    return [Device(device_id=device_id, metrics=metrics)]


def line(recorded: Recorded, metric: str = "temp", device_id: str = "d") -> list[float | None]:
    return next((one.values for one in recorded.series if one[:2] == (device_id, metric)), [])


@pytest.fixture
def history() -> History:
    return History(10_000_000)


def test_numbers_come_back_with_their_ages_oldest_first(history: History) -> None:
    for second, temp in ((1.5, 41.6), (6.25, -3), (62.0, 1e-9)):
        history.take("st-1", devices({"temp": temp}), NOW + second)
    recorded = history.of("st-1", NOW + 62.0)
    assert recorded.ages == [60.5, 55.75, 0.0]
    assert line(recorded) == [41.6, -3.0, 1e-9]
    assert history.of("st-2", NOW) == Recorded([], [])


def test_of_five_seconds_the_newest_report_counts_whole(history: History) -> None:
    history.take("st-1", devices({"temp": 1, "load": 7}), NOW)
    history.take("st-1", devices({"temp": 2}), NOW + 4.9)
    recorded = history.of("st-1", NOW + 5)
    assert line(recorded) == [2.0]
    assert line(recorded, "load") == []
    assert recorded.ages == [0.1]


def test_what_is_older_than_ten_minutes_is_gone(history: History) -> None:
    for second in range(0, 1300, 5):
        history.take("st-1", devices({"temp": second}), NOW + second)
    assert line(history.of("st-1", NOW + 1299)) == list(range(700, 1300, 5))
    history.take("st-1", devices({"temp": 1}), NOW + 1299 + 10 * WINDOW)
    assert line(history.of("st-1", NOW + 1299 + 10 * WINDOW)) == [1.0]
    assert history.of("st-1", NOW + 1e6) == Recorded([], [])


@pytest.mark.parametrize("value", ["5", True, None, {"a": 1}, [1], nan, inf, 1e300])
def test_only_what_a_float_holds_is_a_number(history: History, value: Any) -> None:
    history.take("st-1", devices({"temp": 1, "other": value}), NOW)
    recorded = history.of("st-1", NOW)
    assert [one.metric for one in recorded.series] == ["temp"]


def test_a_station_without_numbers_takes_no_room(history: History) -> None:
    for metrics in ({}, {"text": "5"}, {"x" * (MAX_NAME + 1): 1}):
        history.take("st-1", devices(metrics), NOW)
    assert (len(history), history.bytes) == (0, 0)


def test_a_device_may_come_later_and_go_again(history: History) -> None:
    history.take("st-1", devices({"temp": 1}), NOW)
    history.take("st-1", devices({"temp": 2}) + devices({"temp": 3}, "e"), NOW + 5)
    history.take("st-1", devices({"temp": 4}, "e"), NOW + 10)
    recorded = history.of("st-1", NOW + 10)
    assert line(recorded) == [1.0, 2.0, None]
    assert line(recorded, device_id="e") == [None, 3.0, 4.0]


def test_of_thousands_of_numbers_some_are_kept_and_new_ones_find_room_when_others_have_gone(history: History) -> None:
    history.take("st-1", devices({f"m{n}": n for n in range(5000)}), NOW)
    assert len(history.of("st-1", NOW).series) == MAX_SERIES
    at = NOW
    while at < NOW + 2 * WINDOW:
        at += EVERY
        history.take("st-1", devices({"m0": 1, "late": 2}), at)
    assert {one.metric for one in history.of("st-1", at).series} == {"m0", "late"}


def test_a_clock_that_was_set_back_loses_nothing(history: History) -> None:
    history.take("st-1", devices({"temp": 1}), NOW)
    history.take("st-1", devices({"temp": 2}), NOW + 20)
    history.take("st-1", devices({"temp": 3}), NOW + 10)
    assert line(history.of("st-1", NOW + 20)) == [1.0, 3.0]


class TestBounds:
    def test_the_limit_holds_and_who_was_there_first_stays(self) -> None:
        history = History(100_000)
        for n in range(500):
            history.take(f"st-{n}", devices({"temp": n, "load": n}), NOW)
        assert history.bytes <= 100_000
        assert 10 < len(history) < 100
        assert history.refused == 500 - len(history)
        assert line(history.of("st-0", NOW)) == [0.0]
        assert history.of("st-499", NOW) == Recorded([], [])

    def test_a_new_number_that_there_is_no_room_for(self) -> None:
        """What is kept of the station is kept on."""
        history = History(5_000)
        history.take("st-1", devices({"temp": 1}), NOW)
        history.take("st-1", devices({f"m{n}": n for n in range(50)} | {"temp": 2}), NOW + 5)
        recorded = history.of("st-1", NOW + 5)
        assert line(recorded) == [1.0, 2.0]
        assert len(recorded.series) == 1
        assert history.refused == 1

    def test_who_is_deleted_or_silent_makes_room(self) -> None:
        history = History(5_000)
        history.take("st-1", devices({"temp": 1}), NOW)
        full = history.bytes
        history.forget("st-1")
        history.forget("st-1")
        assert history.bytes == 0
        history.take("st-2", devices({"temp": 1}), NOW)
        history.expire(NOW + WINDOW - EVERY)
        assert history.bytes == full
        history.expire(NOW + WINDOW + 60)
        assert (len(history), history.bytes) == (0, 0)
        history.take("st-3", devices({"temp": 1}), NOW + WINDOW)
        assert len(history) == 1

    @pytest.mark.parametrize("alike", [True, False])
    def test_the_bytes_are_what_it_really_takes(self, alike: bool) -> None:
        history = History(100_000_000)
        tracemalloc.start()
        try:
            for i in range(300):
                ids = [f"device-{n}-{0 if alike else i}" for n in range(5)]
                said = [{"deviceId": device_id, "metrics": {"first": 1.5, "second": 2}} for device_id in ids]
                report = Status.model_validate(orjson.loads(orjson.dumps({"devices": said}))).devices
                history.take(f"station-{i:05}", report, NOW)
            taken, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert 0.8 * history.bytes < taken < 1.1 * history.bytes


@given(
    st.lists(
        st.tuples(
            st.floats(0, 400),
            st.dictionaries(st.sampled_from("abcdef"), st.integers(-9, 9), max_size=4),
            st.sampled_from(["st-1", "st-2"]),
        ),
        max_size=40,
    )
)
@settings(max_examples=300, deadline=None)
def test_against_a_list_of_all_reports(reports: list[tuple[float, dict[str, int], str]]) -> None:
    """What comes back is what a plain list of all that was said gives."""
    history, now = History(1_000_000), NOW
    said: dict[str, dict[int, tuple[float, dict[str, int]]]] = {"st-1": {}, "st-2": {}}
    for pause, metrics, station_id in reports:
        now += pause
        history.take(station_id, devices(metrics), now)
        if metrics or history.of(station_id, now).ages:
            said[station_id][int(now // EVERY)] = (now, metrics)
    for station_id, rows in said.items():
        since = int(now // EVERY) - int(WINDOW / EVERY) + 1
        kept = [row for number, row in sorted(rows.items()) if number >= since]
        recorded = history.of(station_id, now)
        assert recorded.ages == pytest.approx([now - at for at, _ in kept], abs=0.01)
        for metric in "abcdef":
            expected = [metrics.get(metric) for _, metrics in kept]
            assert line(recorded, metric) == (expected if any(value is not None for value in expected) else [])
    for station_id in said:
        history.forget(station_id)
    assert history.bytes == 0
