"""Was every command carried out once, in time, by the station meant, and never said to be when it was not? Pure.

Stations and browsers are told of in one process: what a station did is known before its reply can reach a browser.

A deadline counts here from the browser's sending, at a hub from its arrival, which a network may delay: who carries a command out
after it has expired only where the browser was not told, in the end, that it was done.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, Literal

from simulator.judge.wording import PLAIN, Wording
from simulator.measuring.measures import Recorder

__all__ = ["CommandJudge", "Outcome"]

Outcome = Literal["done", "error", "timeout", "none"]

MOST: Final = 100_000
"""Commands that are remembered."""
KEPT: Final = 600.0
"""Seconds after its deadline for which a command is remembered, as stations do."""
LATE: Final = 0.1
"""Seconds after the deadline that the tester's own lag may take."""


@dataclass(slots=True)
class _Command:
    number: int
    issued: float
    deadline: float
    executions: int = 0
    outcome: Outcome | None = None
    late: float = 0.0


class CommandJudge:
    """The commands of one worker's browsers."""

    def __init__(self, recorder: Recorder, *, wording: Wording = PLAIN) -> None:
        self._recorder, self._words = recorder, wording
        self._commands: OrderedDict[str, _Command] = OrderedDict()

    def issued(self, token: str, number: int, now: float, deadline: float) -> None:
        """A browser sent a command to station `number`; after `deadline` it must not be carried out any more."""
        self._recorder.count("commands.sent")
        commands = self._commands
        commands[token] = _Command(number, now, deadline)
        while len(commands) > MOST or next(iter(commands.values())).deadline + KEPT < now:
            commands.popitem(last=False)

    def acked(self, token: str, outcome: Outcome, now: float) -> None:
        """The browser got its ack, or none."""
        self._recorder.count("commands.done" if outcome == "done" else "commands.failed")
        command = self._commands.get(token)
        if command is None:
            return
        command.outcome = outcome
        if outcome == "done" and not command.executions:
            said = f"{self._told(command)} was acknowledged as done at {self._words.at(now)}, and was not carried out"
            self._recorder.found("commands.phantom", said)
        elif outcome != "done" and command.late:
            self._expired(command)

    def executed(self, number: int, token: str, now: float) -> None:
        """Station `number` carried a command out."""
        command, words = self._commands.get(token), self._words
        self._recorder.count("commands.executed")
        if command is None or command.number != number:
            meant = "nobody sent" if command is None else f"was meant for {words.station(command.number)}"
            said = f"{words.station(number)} carried out at {words.at(now)} what {meant}"
            self._recorder.found("commands.wrong", said)
            return
        command.executions += 1
        if command.executions > 1:
            said = f"{self._told(command)} was carried out again at {words.at(now)}"
            self._recorder.found("commands.duplicated", said)
        if now > command.deadline + LATE:
            command.late = now - command.deadline
            if command.outcome not in (None, "done"):
                self._expired(command)

    def refused_duplicate(self, number: int, now: float) -> None:
        """Station `number` refused a command that it has had already."""
        said = f"{self._words.station(number)} got a command twice, the second time at {self._words.at(now)}"
        self._recorder.found("commands.refusedDuplicates", said)

    def _expired(self, command: _Command) -> None:
        said = f"{self._told(command)} was carried out {command.late:.3f} s after its deadline"
        self._recorder.found("commands.expiredExecuted", f"{said}, and its browser was told that it was not")

    def _told(self, command: _Command) -> str:
        return f"the command to {self._words.station(command.number)} of {self._words.at(command.issued)}"
