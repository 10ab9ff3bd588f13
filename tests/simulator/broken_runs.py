"""A break while it is under way: what it may be done to, how often it was, and to whom."""

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from tests.simulator.broken_mqtt import MqttLink
from tests.simulator.broken_web import WebLink

__all__ = ["HUB_COMMANDS", "Break", "Running", "Stage"]

HUB_COMMANDS: Final = frozenset({"report-status", "join-room", "start-stream"})
"""Commands that are the hub's own way to ask for something."""
MAX_VICTIMS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Break:
    """One thing that a hub does wrong.

    Args:
        kind: a row of `broken_acts`, or `delay-all`.
        share: of all that it could be done to; decided by `seed`.
        most: times at most; None: any number.
        seconds: how long, for what delays and holds back; between two times, for what happens now and then.
        what: done to this alone: a command's type, a topic behind the station, an event's name (an ack's is its request's).
        station: done to this station alone.
        value: what an altered ack holds, or the text of an error.
    """

    kind: str
    share: float = 1.0
    most: int | None = None
    seconds: float = 0.5
    what: str | None = None
    station: str | None = None
    value: Any = None
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Stage:
    """Who is there: all links, by whom they are of, and what was done to whom."""

    stations: "dict[str, MqttLink]" = field(default_factory=dict)
    browsers: "list[WebLink]" = field(default_factory=list)
    gone: "dict[str, None]" = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    victims: dict[str, list[str]] = field(default_factory=dict)


class Running:
    """A break that is under way.

    Attributes:
        held: what it keeps back, by whom it is for.
    """

    def __init__(self, breaks: Break, stage: Stage) -> None:
        self.of, self.stage = breaks, stage
        self.rng = random.Random(f"{breaks.seed}/{breaks.kind}")
        self.held: dict[Any, Any] = {}
        self._times = 0

    def strikes(self, victim: str) -> bool:
        """Whether it is done to this one now; then it is counted."""
        if self._times == self.of.most or (self.of.share < 1.0 and self.rng.random() >= self.of.share):
            return False
        self.note(victim)
        return True

    def note(self, victim: str) -> None:
        """Counts what was done."""
        self._times += 1
        self.stage.done[self.of.kind] += 1
        victims = self.stage.victims.setdefault(self.of.kind, [])
        if len(victims) < MAX_VICTIMS:
            victims.append(victim)

    def meant(self, what: str | None, station: str | None) -> bool:
        """Whether it is about this: a kind's own `what` is met already."""
        return self.of.what in (None, what) and self.of.station in (None, station)
