"""A sound hub gets no finding, however things fall together; a broken one gets the finding of its name."""

import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.judge.statuses import StatusJudge
from simulator.measuring.measures import Recorder
from tests.simulator.judge.found import evidence, findings
from tests.simulator.judge.statuses_model import SETTLE, Model, Sent

SEEDS = st.integers(0, 2**48)
BROKEN = 2
"""The station that a break is done to; its interval is one that owes each status."""


def judge(stations: int = 3, *, exact: bool = False) -> tuple[Recorder, StatusJudge]:
    recorder = Recorder()
    return recorder, StatusJudge(recorder, stations, settle=SETTLE, exact=exact)


@given(SEEDS)
@settings(max_examples=200, deadline=None)
def test_a_sound_hub_gets_no_finding(seed: int) -> None:
    model = Model(seed)
    model.disorder(90.0)
    model.order()
    model.end()
    found = findings(model.recorder)
    assert found == {}, [evidence(model.recorder, name) for name in found]


def breaking(model: Model, kind: str) -> Callable[[int, list[Sent]], list[Sent]]:
    """Alters what browser 0 gets: once, but for a station that is kept from it for good."""
    held: list[Sent] = []
    done = [False]

    def alter(browser: int, batch: list[Sent]) -> list[Sent]:
        ours = [status for status in batch if status[0] == BROKEN]
        if browser != 0 or not ours or (done[0] and kind != "freeze"):
            return batch
        rest = [status for status in batch if status[0] != BROKEN]
        done[0] = True
        match kind:
            case "drop" | "freeze":
                return rest
            case "repeat":
                return batch + ours
            case "forge":
                return [*batch, (BROKEN, ours[0][1] + 1_000, ours[0][2])]
            case "swap":
                if not held:
                    held.extend(ours)
                    done[0] = False
                    return rest
                return batch + held
        raise AssertionError(kind)

    return alter


@given(SEEDS, st.sampled_from(["drop", "repeat", "forge", "swap", "freeze"]))
@settings(max_examples=200, deadline=None)
def test_one_break_gets_the_finding_of_its_name_and_no_other(seed: int, kind: str) -> None:
    model = Model(seed)
    model.interval[BROKEN] = 5.0
    model.disorder(60.0)
    model.order()
    assert findings(model.recorder) == {}
    inner, broken = model.alter, breaking(model, kind)
    model.alter = lambda browser, batch: broken(browser, inner(browser, batch))
    model.run(model.now + 60.0)
    model.end()
    found = findings(model.recorder)
    name = {"drop": "lost", "repeat": "duplicated", "forge": "wrong", "swap": "reordered", "freeze": "lost"}[kind]
    assert found.pop(f"status.{name}") == (1 if kind != "freeze" else pytest.approx(12, abs=1))
    assert found == ({"stations.lost": 1} if kind == "freeze" else {})
    sentence = evidence(model.recorder, f"status.{name}")
    assert f"station {BROKEN + 1}" in sentence
    assert "browser 1" in sentence


def test_a_status_that_another_follows_before_the_next_flush_but_one_is_superseded() -> None:
    recorder, judged = judge()
    judged.watching(0, None, 0.0)
    for seq, when in ((1, 1.0), (2, 2.9), (3, 5.0)):
        judged.sent(0, seq, when, when)
    judged.batch(0, 0, 3, 5.0, 5.5)
    judged.finish(60.0)
    counts = recorder.take(0).counts
    assert counts["status.superseded"] == 1  # 1, for 2 came 1.9 s after it
    assert counts["status.lost"] == 1  # 2, for 3 came 2.1 s after it


def test_an_observer_is_owed_everything() -> None:
    recorder, judged = judge(exact=True)
    judged.watching(0, None, 0.0)
    for seq in range(1, 101):
        judged.sent(0, seq, seq / 100, seq / 100)
        if seq % 10:
            judged.batch(0, 0, seq, seq / 100, seq / 100)
    judged.finish(60.0)
    assert findings(recorder) == {"status.lost": 10}


def test_a_tail_that_never_came_is_lost_but_not_what_was_sent_just_now() -> None:
    recorder, judged = judge()
    judged.watching(0, [1, 2], 0.0)
    judged.sent(1, 1, 10.0, 10.0)
    judged.sent(2, 1, 19.0, 19.0)
    judged.finish(20.0)
    assert findings(recorder) == {"status.lost": 1}
    assert "station 2: status 1 never reached browser 1" in evidence(recorder, "status.lost")


def test_a_status_under_anothers_id_is_wrong() -> None:
    recorder, judged = judge()
    judged.watching(0, None, 0.0)
    judged.sent(0, 1, 10.0, 10.0)
    judged.sent(1, 1, 12.0, 12.0)
    judged.batch(0, 1, 1, 10.0, 12.5)
    assert findings(recorder) == {"status.wrong": 1}


def test_what_a_restart_or_a_fault_took_is_not_lost_though_it_is_told_late() -> None:
    recorder, judged = judge()
    judged.watching(0, None, 0.0)
    for seq, when in ((1, 5.0), (2, 10.0), (3, 15.0)):
        judged.sent(0, seq, when, when)
    judged.batch(0, 0, 1, 5.0, 5.5)
    judged.batch(0, 0, 3, 15.0, 15.5)
    judged.forgive(0, 1, 15.6)
    judged.sample(40.0)
    judged.excuse(60.0)
    for seq, when in ((4, 50.0), (5, 55.0)):
        judged.sent(0, seq, when, when)
    judged.batch(0, 0, 5, 55.0, 55.5)
    judged.finish(90.0)
    assert findings(recorder) == {}


def test_a_slow_reader_skips_to_the_newest_also_of_a_station_that_reports_seldom() -> None:
    recorder, judged = judge()
    judged.watching(0, None, 0.0)
    judged.sent(0, 1, 1.0, 1.0)
    judged.batch(0, 0, 1, 1.0, 1.5)
    judged.sample(10.0)
    judged.slow(0, 20.0)
    judged.sent(0, 2, 15.0, 15.0)
    judged.sent(0, 3, 75.0, 75.0)
    judged.batch(0, 0, 3, 75.0, 75.5)
    judged.sent(0, 4, 135.0, 135.0)
    judged.sent(0, 5, 195.0, 195.0)
    judged.batch(0, 0, 5, 195.0, 195.5)
    judged.finish(300.0)
    assert findings(recorder) == {"status.lost": 1}
    assert "status 4" in evidence(recorder, "status.lost")


def test_what_was_kept_counts_neither_as_delay_nor_as_loss_nor_twice() -> None:
    recorder, judged = judge()
    judged.sent(0, 1, 1.0, 1.0)
    judged.watching(0, [0], 50.0)
    judged.batch(0, 0, 1, 1.0, 50.1)
    judged.finish(90.0)
    snapshot = recorder.take(0)
    assert "status.delay" not in snapshot.times
    assert set(snapshot.counts) == {"status.sent", "status.received"}


def test_each_pair_is_looked_at_in_turn_and_no_more_than_some_each_second() -> None:
    recorder, judged = judge(1_000)
    for browser in range(5):
        judged.watching(browser, None, 0.0)
    for number in range(1_000):
        judged.connected(number, 0.0)
    looked = []
    for second in range(5):
        judged.sample(1.0 + second)
        looked.append(sum(recorder.take(second).times["status.age"].values()))
    assert looked == [2_000] * 5


def test_memory_and_work_stay_small() -> None:
    """Loose bounds: a machine that is busy must not fail this."""
    _, judged = judge(10_000)
    judged.watching(0, None, 0.0)
    view = judged._views[0]
    assert sum(each.itemsize for each in (view.last, view.at, view.skipped)) <= 12
    for number in range(10_000):
        judged.sent(number, 1, 1.0, 1.0)
    began = time.process_time()
    for number in range(10_000):
        judged.batch(0, number, 1, 1.0, 1.5)
    assert time.process_time() - began < 0.1
    assert not judged._missing
