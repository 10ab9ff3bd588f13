"""The broker's answers to stations: in time, late, or never."""

from simulator.judge.answers import AnswerJudge
from simulator.measuring.measures import Recorder
from tests.simulator.judge.found import evidence, findings


def judge() -> tuple[AnswerJudge, Recorder]:
    recorder = Recorder()
    return AnswerJudge(recorder, 1.0, 5.0), recorder


def test_each_answer_is_timed_by_its_packet() -> None:
    answers, recorder = judge()
    for packet, took in (("connack", 0.1), ("puback", 0.2), ("puback", 0.3), ("pingresp", 0.4)):
        answers.answered(0, packet, 1.0, 1.0 + took)
    answers.check()
    snapshot = recorder.take(0)
    assert {name: sum(buckets.values()) for name, buckets in snapshot.times.items()} == {
        "broker.connack": 1,
        "broker.puback": 2,
        "broker.pingresp": 1,
    }
    assert snapshot.counts == {}


def test_a_late_answer_is_found_with_who_asked_what_and_when() -> None:
    answers, recorder = judge()
    answers.answered(4, "pingresp", 2.0, 3.5)
    answers.answered(4, "pingresp", 2.0, 2.9)
    answers.check()
    answers.check()
    said = evidence(recorder, "broker.late")
    assert "PINGREQ of station 5 at 2.000 s was answered after 1500 ms" in said
    assert findings(recorder) == {"broker.late": 1}


def test_who_connects_may_wait_for_longer() -> None:
    answers, recorder = judge()
    answers.answered(0, "suback", 2.0, 9.0, joining=True)
    answers.check()
    assert findings(recorder) == {}


def test_a_tester_that_read_late_accuses_nobody() -> None:
    answers, recorder = judge()
    answers.answered(0, "pingresp", 2.0, 4.0)
    answers.slow()
    answers.check()
    assert findings(recorder) == {}


def test_what_is_never_answered_is_found() -> None:
    answers, recorder = judge()
    answers.unanswered(1, "connack", 3.0, 13.0)
    assert "CONNECT of station 2 at 3.000 s was not answered within 10.0 s" in evidence(recorder, "stations.unanswered")
    assert findings(recorder) == {"stations.unanswered": 1}


def test_around_a_restart_nothing_counts() -> None:
    answers, recorder = judge()
    answers.excuse(10.0)
    answers.answered(0, "puback", 15.0, 30.0)
    answers.unanswered(0, "puback", 9.0, 30.0)
    answers.check()
    assert findings(recorder) == {}
    answers.unanswered(0, "puback", 15.1, 30.0)
    assert findings(recorder) == {"stations.unanswered": 1}
