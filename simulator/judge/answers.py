"""Did the broker answer what stations asked it, and in time? Pure: times in, findings out.

What is asked while a station connects may be as slow as it is (`connect` times it), but must be answered, too. An answer that
seems to be late waits for the end of its second: the tester itself may have been too slow to read it.
"""

from typing import Final

from simulator.judge.wording import PLAIN, Wording
from simulator.measuring.measures import Recorder

__all__ = ["AnswerJudge"]

QUESTIONS: Final = {"connack": "CONNECT", "suback": "SUBSCRIBE", "puback": "PUBLISH of QoS 1", "pingresp": "PINGREQ"}
"""What a station sends, by the packet that must answer it."""


class AnswerJudge:
    """The answers to one worker's stations.

    Times `broker.<packet>`; finds `broker.late` and `stations.unanswered`.

    Args:
        late: seconds after which an answer is late.
        settle: seconds after a restart in which nothing counts yet.
    """

    def __init__(self, recorder: Recorder, late: float, settle: float, *, wording: Wording = PLAIN) -> None:
        self._recorder, self._limit, self._settle, self._words = recorder, late, settle, wording
        self._late: list[str] = []
        self._excused = float("-inf")

    def answered(self, number: int, packet: str, asked: float, now: float, *, joining: bool = False) -> None:
        """The broker answered with that packet; `joining`: it was asked while the station connected."""
        if self._is_excused(asked):
            return
        took = now - asked
        self._recorder.time(f"broker.{packet}", took * 1000)
        if took > self._limit and not joining:
            self._late.append(f"{self._about(number, packet, asked)} was answered after {took * 1000:.0f} ms")

    def unanswered(self, number: int, packet: str, asked: float, now: float) -> None:
        """The station waits no longer."""
        if not self._is_excused(asked):
            said = f"{self._about(number, packet, asked)} was not answered within {now - asked:.1f} s"
            self._recorder.found("stations.unanswered", said)

    def excuse(self, until: float) -> None:
        """A hub or a broker restarts: nothing counts that is asked until then."""
        self._excused = max(self._excused, until)

    def slow(self) -> None:
        """The tester read slowly in this second: what seemed late in it is not."""
        self._late.clear()

    def check(self) -> None:
        """Each second, after `slow`: what was late."""
        for said in self._late:
            self._recorder.found("broker.late", said)
        self._late.clear()

    def _is_excused(self, asked: float) -> bool:
        return asked <= self._excused + self._settle

    def _about(self, number: int, packet: str, asked: float) -> str:
        return f"{QUESTIONS[packet]} of {self._words.station(number)} at {self._words.at(asked)}"
