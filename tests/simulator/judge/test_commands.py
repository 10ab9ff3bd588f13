"""Commands: once, in time, by the station meant."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.judge.commands import CommandJudge, Outcome
from simulator.measuring.measures import Recorder
from tests.simulator.judge.found import evidence, findings


def judge() -> tuple[Recorder, CommandJudge]:
    recorder = Recorder()
    return recorder, CommandJudge(recorder)


OUTCOMES: tuple[Outcome, ...] = ("done", "error", "timeout", "none")


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 5), st.sampled_from(OUTCOMES)), max_size=50))
def test_what_is_carried_out_once_in_time_is_no_finding_however_it_is_acknowledged(
    commands: list[tuple[int, float, Outcome]],
) -> None:
    recorder, judged = judge()
    for at, (number, took, outcome) in enumerate(commands):
        judged.issued(f"c{at}", number, at, at + 5.0)
        judged.executed(number, f"c{at}", at + took)
        judged.acked(f"c{at}", outcome, at + took)
    assert findings(recorder) == {}


def test_a_command_that_was_refused_or_expired_is_not_carried_out_and_no_finding() -> None:
    recorder, judged = judge()
    judged.issued("a", 1, 0.0, 5.0)
    judged.acked("a", "timeout", 5.1)
    counts = recorder.take(0).counts
    assert counts == {"commands.sent": 1, "commands.failed": 1}


BREAKS: dict[str, list[tuple[Any, ...]]] = {
    "phantom": [("acked", "a", "done", 1.0)],
    "duplicated": [("executed", 1, "a", 1.0), ("executed", 1, "a", 2.0)],
    "expiredExecuted": [("acked", "a", "timeout", 5.0), ("executed", 1, "a", 9.0)],
    "wrong": [("executed", 2, "a", 1.0)],
    "refusedDuplicates": [("executed", 1, "a", 1.0), ("refused_duplicate", 1, 1.1)],
}


@pytest.mark.parametrize("name", BREAKS)
def test_one_break_gets_the_finding_of_its_name_and_no_other(name: str) -> None:
    recorder, judged = judge()
    judged.issued("a", 1, 0.0, 5.0)
    for step, *arguments in BREAKS[name]:
        getattr(judged, step)(*arguments)
    assert findings(recorder) == {f"commands.{name}": 1}
    assert "station" in evidence(recorder, f"commands.{name}")


@pytest.mark.parametrize("outcome", ["error", "timeout", "none"])
def test_what_was_carried_out_late_is_judged_by_what_the_browser_is_told(outcome: Outcome) -> None:
    """A hub's deadline begins with the arrival: done in the end, it was in time there; anything else, and the gate opened behind
    the operator's back."""
    recorder, judged = judge()
    for token, told in (("a", outcome), ("b", "done")):
        judged.issued(token, 1, 0.0, 5.0)
        judged.executed(1, token, 5.5)
        judged.acked(token, told, 5.8)
    assert findings(recorder) == {"commands.expiredExecuted": 1}


def test_what_nobody_sent_is_wrong() -> None:
    recorder, judged = judge()
    judged.executed(1, "never", 1.0)
    assert findings(recorder) == {"commands.wrong": 1}


def test_what_was_judged_is_forgotten_in_the_end() -> None:
    _, judged = judge()
    for second in range(5_000):
        judged.issued(str(second), 0, float(second), second + 5.0)
    assert len(judged._commands) < 700
