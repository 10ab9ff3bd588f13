"""Counting and timing: exact however many workers, bounded however long."""

import math
import pickle
from collections import Counter

import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from simulator.measuring.histogram import LONGEST, Times, bucket, highest
from simulator.measuring.measures import EVIDENCE, OTHER, Recorder, Snapshot, Totals
from simulator.measuring.series import MOST_POINTS, PATIENCE

DURATIONS = st.lists(st.floats(0.001, 3_600_000), min_size=1, max_size=200)


def timed(durations: list[float]) -> Times:
    times = Times()
    for ms in durations:
        times.add({bucket(ms): 1})
    return times


def library(durations: list[float]) -> HdrHistogram:
    """What the reference makes of the same."""
    histogram = HdrHistogram(1, LONGEST, 3)
    for ms in durations:
        histogram.record_value(max(1, min(LONGEST, int(ms * 1000 + 0.5))))
    return histogram


@given(DURATIONS)
def test_histogram_is_an_hdr_histogram(durations: list[float]) -> None:
    """Encoded and read by the library, each bucket holds what the library itself would have put there; the mean is its mean."""
    expected, times = library(durations), timed(durations)
    read = HdrHistogram.decode(times.encode())
    assert [read.get_count_at_index(i) for i in range(read.counts_len)] == [
        expected.get_count_at_index(i) for i in range(expected.counts_len)
    ]
    assert times.mean == pytest.approx(expected.get_mean_value() / 1000)
    assert times.longest == expected.get_highest_equivalent_value(expected.get_max_value()) / 1000
    assert (read.lowest_trackable_value, read.highest_trackable_value, read.significant_figures) == (1, LONGEST, 3)


@given(DURATIONS, st.sampled_from([0.0, 1.0, 50.0, 90.0, 99.0, 99.9, 99.999, 100.0]))
def test_percentile_never_flatters(durations: list[float], percent: float) -> None:
    """At least so many percent are within it, and it is no more than 0.1 % above the smallest duration of which that holds."""
    (found,) = timed(durations).percentiles((percent,))
    exact = sorted(durations)[max(1, math.ceil(len(durations) * round(percent * 1000) / 100_000)) - 1]
    assert found is not None
    assert exact - 0.0006 <= found <= exact * 1.001 + 0.0006


def test_percentiles_where_rounding_matters() -> None:
    """Of 1 to 1,000 ms, 99.9 % are within 999 ms: not 1,000, as 99.9 * 10 in floats would say. Of 151, 99 % are 150, not 149."""
    assert timed([float(ms) for ms in range(1, 1001)]).percentiles((50, 99.9, 100)) == pytest.approx(
        [500, 999, 1000], rel=0.001
    )
    assert timed([ms / 1000 for ms in range(1, 152)]).percentiles((99,)) == [0.15]


def test_nothing_timed_gives_nothing() -> None:
    """An empty histogram has no percentile, which is not 0."""
    facts = Totals().facts()
    assert Times().percentiles((50, 99)) == [None, None]
    assert (facts["ack.count"], facts["ack.mean"], facts["ack.p50"], facts["ack.max"]) == (0, None, None, None)
    assert (facts["status.lost"], facts["errors"], facts["tester.cpu"]) == (0, 0, None)


@given(st.floats() | st.integers())
def test_any_duration_has_its_bucket(ms: float) -> None:
    """Negative ones (a clock was set), huge ones and what is no number are kept within 1 us and 1 h."""
    lowest = bucket(ms)
    assert 1 <= lowest <= LONGEST
    if 0.001 <= ms < LONGEST / 1000:
        assert lowest - 0.5 <= ms * 1000 <= highest(lowest) + 0.5
    if math.isnan(ms):
        assert lowest == bucket(math.inf)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["count", "time", "found", "error", "gauge"]),
        st.sampled_from(["ack", "status.lost", "status.delay"]),
        st.floats(0.001, 100_000),
        st.integers(0, 2),  # worker
        st.integers(0, 5),  # second
    ),
    max_size=60,
)


@given(EVENTS)
def test_workers_together_measure_what_one_would(
    events: list[tuple[str, str, float, int, int]],
) -> None:
    """Counts, errors and histograms of three workers, through pickles, are exactly those of one that did it all."""
    alone, one = Recorder(), Totals()
    workers, totals = [Recorder() for _ in range(3)], Totals(3)
    for second in range(6):
        for what, name, value, worker, when in events:
            if when == second:
                for recorder in (alone, workers[worker]):
                    _do(recorder, what, name, value)
        one.add(0, alone.take(second))
        for number, recorder in enumerate(workers):
            totals.add(number, pickle.loads(pickle.dumps(recorder.take(second))))
    assert totals.histograms() == one.histograms()
    assert totals.errors == one.errors
    both, single = totals.facts(), one.facts()
    assert {name: both[name] for name in both if "." not in name or name.split(".")[0] != "tester"} == {
        name: single[name] for name in both if "." not in name or name.split(".")[0] != "tester"
    }
    times = {name: column for name, column in totals.series().items() if not name.startswith("tester.")}
    assert times == {name: column for name, column in one.series().items() if not name.startswith("tester.")}


def _do(recorder: Recorder, what: str, name: str, value: float) -> None:
    match what:
        case "count":
            recorder.count(name, int(value))
        case "time":
            recorder.time(name, value)
        case "found":
            recorder.found(name, "it was so")
        case "error":
            recorder.error(name)
        case _:
            recorder.gauge("tester.memory", value)


def test_unmeasured_stages_count_only_errors() -> None:
    """While not measuring, what is counted, timed and found is none; errors and gauges are."""
    recorder = Recorder()
    recorder.measuring = False
    recorder.count("status.sent")
    recorder.time("ack", 1.0)
    recorder.found("status.lost", "it was lost")
    recorder.error("refused")
    recorder.gauge("stations.connected", 3)
    assert recorder.take(0) == Snapshot(0, {}, {}, {"stations.connected": 3}, {}, {"refused": 1})
    recorder.measuring = True
    recorder.count("status.sent", 2)
    assert recorder.take(1) == Snapshot(1, {"status.sent": 2})


def test_taking_starts_anew_but_evidence_stays_few() -> None:
    """A snapshot holds what came since the last one; of a finding that goes on for hours there are five sentences."""
    recorder, totals = Recorder(), Totals()
    for second in range(10):
        recorder.found("status.lost", f"lost in second {second}" + "x" * 1000, by=2)
        snapshot = recorder.take(second)
        assert snapshot.counts == {"status.lost": 2}
        totals.add(0, snapshot)
    assert totals.facts()["status.lost"] == 20
    assert [sentence[:16] for sentence in totals.evidence["status.lost"]] == [f"lost in second {n}" for n in range(5)]
    assert max(len(sentence) for sentence in totals.evidence["status.lost"]) == 300
    assert snapshot.evidence == {}


def test_evidence_of_many_workers_is_few() -> None:
    """The first five of all."""
    totals = Totals(3)
    for worker in range(3):
        totals.add(worker, Snapshot(0, evidence={"ack.wrong": [f"{worker}/{n}" for n in range(EVIDENCE)]}))
    assert totals.evidence["ack.wrong"] == [f"0/{n}" for n in range(EVIDENCE)]


def test_kinds_of_errors_are_bounded() -> None:
    """A hub that makes up a new error each time fills no memory, and none goes uncounted."""
    recorder, totals = Recorder(), Totals()
    for number in range(5_000):
        recorder.error(f"error {number} {'x' * 1000}")
    totals.add(0, recorder.take(0))
    assert totals.errors.total() == totals.facts()["errors"] == 5_000
    assert len(totals.errors) == 201
    assert totals.errors[OTHER] == 4_800


def test_gauges_of_workers_are_added() -> None:
    """The latest of each worker together; as facts the most at a time, of the processor the mean."""
    totals = Totals(2)
    for second, (mine, others) in enumerate([(10.0, 5.0), (30.0, 20.0), (0.0, 1.0)]):
        for worker, value in enumerate((mine, others)):
            totals.add(worker, Snapshot(second, gauges={"stations.connected": value, "tester.cpu": value}))
    assert totals.gauges["stations.connected"] == 1.0
    assert (totals.facts()["stations.connected"], totals.facts()["tester.cpu"]) == (50.0, 22.0)
    assert totals.series()["stations.connected"] == [15.0, 50.0, 1.0]


def test_seconds_of_workers_meet_whenever_they_come() -> None:
    """One is three seconds behind the other: their seconds are joined all the same, and what one has not given shows at once."""
    totals = Totals(2)
    for second in range(3):
        totals.add(0, Snapshot(second, {"status.sent": 10}, {"ack": {1000: 1}}))
    assert totals.series()["status.sent"] == [10, 10, 10]
    for second in range(3):
        totals.add(1, Snapshot(second, {"status.sent": second}, {"ack": {9000: 99}}))
    series = totals.series()
    assert series["t"] == [0, 1, 2]
    assert series["status.sent"] == [10, 11, 12]
    assert series["ack.count"] == [100, 100, 100]
    assert series["ack.p50"] == [9.007, 9.007, 9.007]


def test_last_words_of_a_second_add_to_it() -> None:
    """A worker that gives a second twice (the last one, when it ends) makes it no second more."""
    totals = Totals()
    totals.add(0, Snapshot(0, {"status.sent": 10}, {"ack": {1000: 1}}))
    totals.add(0, Snapshot(0, {"status.sent": 5}, {"ack": {2000: 3}}, errors={"x": 2}))
    series = totals.series()
    assert (series["t"], series["status.sent"], series["errors"]) == ([0], [15], [2])
    assert (series["ack.p50"], series["ack.p99"], series["ack.count"]) == ([1.75], [2.0], [4])


def test_seconds_without_anything_are_gaps() -> None:
    """A worker that was stopped for a while leaves no zeros."""
    totals = Totals()
    for second in (3, 6):
        totals.add(0, Snapshot(second, {"status.sent": 1}))
    assert totals.series()["t"] == [3, 4, 5, 6]
    assert totals.series()["status.sent"] == [1, None, None, 1]


def test_a_soak_of_hours_stays_small() -> None:
    """Beyond 3,600 points pairs are joined: rates stay those of a second, a spike stays, no more points are kept."""
    totals, seconds = Totals(), 4 * MOST_POINTS + 1
    for second in range(seconds):
        spike = {5_000_000: 1} if second == 1001 else {}
        totals.add(0, Snapshot(second, {"status.sent": 7}, {"ack": {1000: 1} | spike}, {"stations.connected": 9.0}))
    series = totals.series()
    assert totals.step == 8
    assert len(series["t"]) == math.ceil(seconds / 8) <= MOST_POINTS
    assert series["t"][:3] == [0, 8, 16]
    assert set(series["status.sent"]) == {7}
    assert set(series["stations.connected"]) == {9}
    assert max(value for value in series["ack.p99"] if value is not None) >= 5_000
    assert {len(column) for column in series.values()} == {len(series["t"])}
    assert series["status.sent"][-1] == 7  # its second is the only one of its point


def test_a_point_that_waits_for_a_second_is_whole() -> None:
    """Joined points show what is done and what is owed together."""
    totals = Totals(2)
    for second in range(MOST_POINTS + 1):
        for worker in range(2 if second < MOST_POINTS else 1):
            totals.add(worker, Snapshot(second, {"status.sent": 4}))
    totals.add(1, Snapshot(MOST_POINTS, {"status.sent": 4}))
    totals.add(0, Snapshot(MOST_POINTS + 1, {"status.sent": 2}))
    series = totals.series()
    assert (totals.step, series["t"][-1], series["status.sent"][-2:]) == (2, MOST_POINTS, [8, 5])
    totals.add(1, Snapshot(5, {"status.sent": 2}))
    assert totals.series()["status.sent"][:4] == [8, 8, 9, 8]
    assert list(totals._series._open) == [MOST_POINTS + 1]


def test_a_worker_that_stays_away_holds_nothing_up() -> None:
    """What waits for it is bounded, and is neither lost nor counted twice when it comes after all."""
    totals = Totals(2)
    for second in range(3 * PATIENCE):
        totals.add(0, Snapshot(second, {"status.sent": 1}))
    assert len(totals._series._open) == PATIENCE
    assert totals.series()["status.sent"] == [1] * 3 * PATIENCE
    for second in range(3 * PATIENCE):
        totals.add(1, Snapshot(second, {"status.sent": 1}))
    assert totals.series()["status.sent"] == [2] * 3 * PATIENCE
    assert not totals._series._open


def test_what_is_not_in_the_table_is_shown() -> None:
    """A name that was forgotten there is no reason to hide what was measured."""
    totals = Totals()
    totals.add(0, Snapshot(0, Counter({"new.count": 2}), {"new time": {5: 1}, "ack.ping": {7: 1}}))
    facts = totals.facts()
    assert (facts["new.count"], facts["new time.max"], facts["ack.ping.max"]) == (2, 0.005, 0.007)
