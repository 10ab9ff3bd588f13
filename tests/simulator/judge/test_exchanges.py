"""What must lead to something: met, lost, or excused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.judge.exchanges import Exchanges
from simulator.measuring.measures import Recorder
from tests.simulator.judge.found import evidence, findings

KINDS = ("answer", "stream", "invite", "signal", "call")


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.floats(0, 9.9)), max_size=50))
def test_what_is_met_in_time_is_timed_under_its_kind_and_no_finding(met: list[tuple[str, float]]) -> None:
    recorder = Recorder()
    exchanges = Exchanges(recorder, 5.0)
    for key, (kind, took) in enumerate(met):
        exchanges.expect(kind, key, 0.0, 10.0)
        exchanges.check(took)
        assert exchanges.met(kind, key, took)
    exchanges.check(100.0)
    snapshot = recorder.take(0)
    assert snapshot.counts == {}
    timed = {kind: sum(buckets.values()) for kind, buckets in snapshot.times.items()}
    assert timed == {kind: sum(of == kind for of, _ in met) for kind in {of for of, _ in met}}


@pytest.mark.parametrize("kind", KINDS)
def test_what_never_comes_is_lost_once(kind: str) -> None:
    recorder = Recorder()
    exchanges = Exchanges(recorder, 5.0)
    exchanges.expect(kind, "k", 1.0, 10.0, station=4)
    for second in range(60):
        exchanges.check(float(second))
    assert findings(recorder) == {f"{kind}s.lost": 1}
    assert "station 5" in evidence(recorder, f"{kind}s.lost")
    assert "1.000 s" in evidence(recorder, f"{kind}s.lost")


def test_what_nobody_waits_for_is_not_met() -> None:
    exchanges = Exchanges(Recorder(), 5.0)
    assert not exchanges.met("answer", "k", 1.0)
    exchanges.expect("answer", "k", 1.0, 10.0)
    assert not exchanges.met("stream", "k", 2.0)
    assert exchanges.met("answer", "k", 2.0)
    assert not exchanges.met("answer", "k", 2.0)


def test_a_disturbed_station_excuses_and_another_does_not() -> None:
    recorder = Recorder()
    exchanges = Exchanges(recorder, 5.0, calm=lambda number, since: number != 3)
    exchanges.expect("answer", "a", 1.0, 10.0, station=3)
    exchanges.expect("answer", "b", 1.0, 10.0, station=4)
    exchanges.check(60.0)
    assert findings(recorder) == {"answers.lost": 1}
    assert "station 5" in evidence(recorder, "answers.lost")


@pytest.mark.parametrize("until", [20.0, 20])
def test_a_restart_excuses_what_began_before_it_was_over(until: float) -> None:
    recorder = Recorder()
    exchanges = Exchanges(recorder, 5.0)
    exchanges.expect("call", "before", 1.0, 10.0)
    exchanges.excuse(until)
    exchanges.expect("call", "after", 30.0, 10.0)
    exchanges.check(60.0)
    assert findings(recorder) == {"calls.lost": 1}
    assert "30.000 s" in evidence(recorder, "calls.lost")


def test_a_predicate_forgets_what_it_names() -> None:
    recorder = Recorder()
    exchanges = Exchanges(recorder, 5.0)
    exchanges.expect("answer", ("browser", 1, 7), 1.0, 10.0)
    exchanges.expect("answer", ("browser", 2, 7), 1.0, 10.0)
    exchanges.excuse(lambda kind, key: isinstance(key, tuple) and key[1] == 1)
    exchanges.check(60.0)
    assert findings(recorder) == {"answers.lost": 1}
    assert not exchanges.met("answer", ("browser", 1, 7), 2.0)
