"""A sound hub gets no finding, however things fall together; a broken one gets the finding of its name."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.judge.presence import PresenceJudge
from simulator.measuring.measures import Recorder
from tests.simulator.judge.found import evidence, findings
from tests.simulator.judge.presence_model import SETTLE, Model, detect

SEEDS = st.integers(0, 2**48)


def judge(stations: int = 3) -> tuple[Recorder, PresenceJudge]:
    recorder = Recorder()
    return recorder, PresenceJudge(recorder, stations, detect=detect, settle=SETTLE)


@given(SEEDS)
@settings(max_examples=300, deadline=None)
def test_a_sound_hub_gets_no_finding(seed: int) -> None:
    model = Model(seed)
    model.disorder(120.0)
    model.order()
    assert findings(model.recorder) == {}, [evidence(model.recorder, name) for name in findings(model.recorder)]
    assert model.judge.seen() == sum(model.up)


@given(SEEDS, st.sampled_from(["forge", "repeat", "drop"]), st.booleans(), st.sampled_from(["one", "all"]))
@settings(max_examples=300, deadline=None)
def test_one_break_gets_the_finding_of_its_name_and_no_other(seed: int, kind: str, online: bool, who: str) -> None:
    model = Model(seed)
    model.disorder(60.0)
    number, only = 0, None if who == "all" else 1
    # the truth stands the other way round before a drop, and as the news denies it before a forgery
    there = online if kind == "repeat" else not online
    model.come(number) if there else model.go(number, "abort")
    model.order()
    if model.up[number] is not there:  # a restart brought it back in the meantime
        model.come(number) if there else model.go(number, "abort")
        model.calm()
    assert findings(model.recorder) == {}, [evidence(model.recorder, name) for name in findings(model.recorder)]
    if kind == "drop":
        model.lose = lambda browser, of, said: 0 if of == number and only in (None, browser) else 1
        model.come(number) if online else model.go(number, "half-open")
        expected = "stations.missedOnline" if online else "stations.missedOffline"
    else:
        model.push(number, online, only)
        false = "stations.falselyOnline" if online else "stations.falselyOffline"
        expected = "stations.repeated" if kind == "repeat" else false
    model.calm()
    found = findings(model.recorder)
    assert set(found) - {"stations.missedOnline", "stations.missedOffline"} <= {expected}
    assert found[expected] == (3 if kind == "repeat" and only is None else 1)
    assert "station 1" in evidence(model.recorder, expected)
    assert "browser" in evidence(model.recorder, expected)


def test_a_quick_reconnect_may_be_told_as_one_pair_and_no_more() -> None:
    recorder, judged = judge()
    judged.came(0, 0.0)
    judged.watching(0, [0], 10.0)
    judged.went(0, 20.0, "abort")
    judged.came(0, 20.3)
    judged.said(0, 0, False, 20.35)
    judged.said(0, 0, True, 20.36)
    judged.check(22.0)
    assert findings(recorder) == {}
    judged.said(0, 0, False, 22.5)
    judged.check(24.0)
    assert findings(recorder) == {"stations.falselyOffline": 1}
    sentence = evidence(recorder, "stations.falselyOffline")
    assert sentence == "station 1 was called offline at 22.500 s (browser 1); it was connected since 20.300 s"


def test_news_may_be_ahead_of_the_testers_notice_by_less_than_a_second() -> None:
    for ahead, expected in ((0.9, {}), (1.5, {"stations.falselyOffline": 1})):
        recorder, judged = judge()
        judged.came(0, 0.0)
        judged.watching(0, [0], 1.0)
        judged.said(0, 0, False, 20.0)
        judged.went(0, 20.0 + ahead, "lost")
        judged.check(23.0)
        assert findings(recorder) == expected


def test_a_quick_reconnect_that_is_never_told_is_no_finding() -> None:
    recorder, judged = judge()
    judged.came(0, 0.0)
    judged.watching(0, [0], 1.0)
    judged.went(0, 20.0, "half-open")
    judged.came(0, 24.0)
    for second in range(20, 80):
        judged.check(float(second))
    assert findings(recorder) == {}


@pytest.mark.parametrize(("listed", "expected"), [([], "stations.missedOnline"), ([0, 1], "stations.falselyOnline")])
def test_a_wrong_answer_to_who_is_online_is_found(listed: list[int], expected: str) -> None:
    recorder, judged = judge()
    judged.came(0, 0.0)
    judged.came(1, 0.0)
    judged.went(1, 1.0, "abort")
    judged.watching(0, listed, 50.0)
    for second in range(50, 60):
        judged.check(float(second))
    assert findings(recorder) == {expected: 1}


def test_a_station_of_an_earlier_run_may_be_listed_but_not_pushed() -> None:
    recorder, judged = judge()
    judged.watching(0, [2], 1.0)
    judged.said(0, 2, False, 3.0)
    judged.check(10.0)
    assert findings(recorder) == {}
    judged.said(0, 2, True, 20.0)
    judged.check(22.0)
    assert findings(recorder) == {"stations.falselyOnline": 1}


def test_who_reads_slowly_hears_late_but_not_what_never_was() -> None:
    recorder, judged = judge()
    judged.came(0, 0.0)
    judged.watching(0, [0], 1.0)
    judged.check(10.0)
    judged.slow(0, 60.0)
    for turn in range(20):  # more than is remembered
        judged.went(0, 11.0 + 2 * turn, "abort")
        judged.came(0, 12.0 + 2 * turn)
    for second in range(11, 60):
        judged.check(float(second))
    for _ in range(20):
        judged.said(0, 0, False, 60.0)
        judged.said(0, 0, True, 60.0)
    judged.check(62.0)
    for second in range(62, 70):
        judged.check(float(second))
    assert findings(recorder) == {}
    judged.said(0, 0, False, 70.0)
    judged.check(72.0)
    assert findings(recorder) == {"stations.falselyOffline": 1}


def test_a_false_broadcast_counts_one_station_however_many_browsers_hear_it() -> None:
    recorder, judged = judge()
    judged.came(0, 0.0)
    for browser in range(50):
        judged.watching(browser, [0], 10.0)
    for second in range(10, 30):
        judged.check(float(second))
    for browser in range(50):
        judged.said(browser, 0, False, 30.0)
    judged.check(32.0)
    assert findings(recorder) == {"stations.falselyOffline": 1}


def test_settled_needs_a_while_of_undisturbed_presence() -> None:
    _, judged = judge()
    assert not judged.settled(0, 100.0)
    judged.came(0, 0.0)
    assert not judged.settled(0, SETTLE - 0.1)
    assert judged.settled(0, SETTLE)
    judged.disturbed(0, 20.0)
    assert not judged.settled(0, 21.0)
    assert judged.settled(0, 20.0 + SETTLE)
    judged.excuse(40.0)
    assert not judged.settled(0, 41.0)
    judged.went(0, 60.0, "goodbye")
    assert not judged.settled(0, 80.0)


def test_times_are_by_cause() -> None:
    recorder, judged = judge()
    judged.watching(0, [], 0.0)
    judged.came(0, 1.0)
    judged.said(0, 0, True, 1.25)
    judged.went(0, 30.0, "half-open")
    judged.said(0, 0, False, 40.0)
    assert set(recorder.take(0).times) == {"presence.online", "presence.offline.half-open"}
