"""When what happens in a scenario: every start, stop and fault with its victims, worked out before the run. Pure.

    for event in worker(Timeline(scenario).events(), 0, of=2):
        ...

The same scenario gives the same events, whatever the number of workers. Numbers start from 0 up and stop from the last down, so
that at any moment those that are up are 0 to n - 1.
"""

import math
import random
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from heapq import merge
from itertools import accumulate
from typing import Final

from simulator.scenario import Fault, Scenario, Shape, Stage, Who

__all__ = ["End", "Event", "StageBegins", "Start", "Stop", "Strike", "Timeline", "worker"]


@dataclass(frozen=True, slots=True)
class StageBegins:
    """Stage `index` begins. Times of all events: seconds from the start of the run."""

    at: float
    index: int


@dataclass(frozen=True, slots=True)
class Start:
    """A station or browser is to connect."""

    at: float
    who: Who
    number: int


@dataclass(frozen=True, slots=True)
class Stop:
    """It is to leave."""

    at: float
    who: Who
    number: int


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault strikes.

    Attributes:
        victims: whom, in order; none: it is a command, or nobody was there.
        until: when the last victim has it behind.
    """

    at: float
    fault: Fault
    victims: tuple[int, ...]
    until: float


@dataclass(frozen=True, slots=True)
class End:
    """All stages are over."""

    at: float


Event = StageBegins | Start | Stop | Strike | End
ORDER: Final = {StageBegins: 0, Start: 1, Stop: 1, Strike: 2, End: 3}
"""Of what happens at the same moment; starts and stops stay as the stages have them."""


class Timeline:
    """What happens in a scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        ends = [float(total) for total in accumulate(Fraction(stage.duration) for stage in scenario.stages)]
        if scenario.stages[-1].endless:
            ends[-1] = math.inf
        self._spans = list(zip([0.0, *ends[:-1]], ends, strict=True))
        self.ends: float = ends[-1]
        """Seconds that all takes; infinite: until Ctrl-C."""
        self._moves: dict[Who, list[Start | Stop]] = {who: list(self._ramps(who)) for who in ("stations", "browsers")}
        self._times = {who: [move.at for move in moves] for who, moves in self._moves.items()}
        self._strikes = list(self._struck())

    def stages(self) -> list[tuple[str, float, float]]:
        """Name, begin and end of each stage; the end of one that has none is infinite."""
        return [(stage.name, *span) for stage, span in zip(self.scenario.stages, self._spans, strict=True)]

    def strikes(self) -> list[Strike]:
        """All faults, in the order of time."""
        return list(self._strikes)

    def events(self) -> list[Event]:
        """All there is, in the order of time."""
        begins = [StageBegins(span[0], index) for index, span in enumerate(self._spans)]
        end = [] if math.isinf(self.ends) else [End(self.ends)]
        parts: tuple[list[Event], ...] = ([*begins], [*self._moves["stations"]], [*self._moves["browsers"]])
        return list(merge(*parts, [*self._strikes], [*end], key=lambda event: (event.at, ORDER[type(event)])))

    def population(self, who: Who, at: float) -> int:
        """How many there are to be at that moment, what happens then included."""
        return self._after(who, bisect_right(self._times[who], at))

    def _after(self, who: Who, moves: int) -> int:
        if moves == 0:
            return 0
        move = self._moves[who][moves - 1]
        return move.number + 1 if isinstance(move, Start) else move.number

    def _ramps(self, who: Who) -> Iterator[Start | Stop]:
        before = 0
        for stage, (begin, end), after in zip(
            self.scenario.stages, self._spans, self.scenario.populations(), strict=True
        ):
            up = after[who] > before
            numbers = range(before, after[who]) if up else range(before - 1, after[who] - 1, -1)
            for place, number in enumerate(numbers):
                at = min(begin + _delay(stage, place, len(numbers)), end)
                yield Start(at, who, number) if up else Stop(at, who, number)
            before = after[who]

    def _struck(self) -> Iterator[Strike]:
        """In the order of time: who suffers a fault is spared others until it is over."""
        busy: dict[Who, dict[int, float]] = {"stations": {}, "browsers": {}}
        for at, *which in sorted(self._due()):
            index, place, _ = which
            fault = self.scenario.stages[index].faults[place]
            until = at + fault.over()
            suffering = busy[fault.who] = {n: over for n, over in busy[fault.who].items() if over > at}
            chance = random.Random("/".join(map(str, (self.scenario.seed, "strike", *which))))
            victims = () if fault.kind == "run" else self._victims(at, fault, suffering, chance)
            suffering.update(dict.fromkeys(victims, until))
            yield Strike(at, fault, victims, until)

    def _due(self) -> Iterator[tuple[float, int, int, int]]:
        """When which fault strikes: time, stage, place in the stage, how often before."""
        for index, (stage, (begin, end)) in enumerate(zip(self.scenario.stages, self._spans, strict=True)):
            for place, fault in enumerate(stage.faults):
                first = begin + fault.begins(0.0 if stage.endless else stage.duration)
                for turn in range(self.scenario.strikes(stage, fault)):
                    yield min(first + turn * (fault.every or 0.0), end), index, place, turn

    def _victims(self, at: float, fault: Fault, spared: Collection[int], chance: random.Random) -> tuple[int, ...]:
        """Some of those who are up: started before, not stopped by then; fewer than wanted where the rest are spared."""
        who, times = fault.who, self._times[fault.who]
        up = min(self._after(who, bisect_left(times, at)), self._after(who, bisect_right(times, at)))
        wanted = fault.victims(up)
        drawn = chance.sample(range(up), min(up, wanted + sum(number < up for number in spared)))
        return tuple(sorted([number for number in drawn if number not in spared][:wanted]))


def worker(events: Iterable[Event], number: int, of: int) -> list[Event]:
    """What of the events is worker `number`'s: of those with numbers its own, of the others all."""
    own: list[Event] = []
    for event in events:
        match event:
            case Start() | Stop() if event.number % of != number:
                pass
            case Strike() if event.fault.kind != "run":
                if victims := tuple(victim for victim in event.victims if victim % of == number):
                    own.append(replace(event, victims=victims))
            case _:
                own.append(event)
    return own


def _delay(stage: Stage, place: int, count: int) -> float:
    """Seconds from a ramp's beginning until the `place`th of `count` moves."""
    match stage.shape:
        case Shape.linear:
            return stage.duration * place / count
        case Shape.step:
            return stage.duration * (place * stage.steps // count) / stage.steps
        case _:
            return 0.0
