"""What a scenario may say: one model a table of the file, one field a key. simulator/scenario/loading.py reads files."""

import math
from collections.abc import Iterator
from enum import StrEnum
from fractions import Fraction
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from simulator.scenario.fields import (
    At,
    Population,
    Seconds,
    Watch,
    flag,
    number,
    part_of,
    quoted,
    seconds,
    text,
    whole,
)

__all__ = ["Browsers", "DeviceMix", "Fault", "Mix", "Scenario", "Shape", "Stage", "Stations", "Who"]

Who = Literal["stations", "browsers"]
# fmt: off
Kind = Literal[
    "abort", "half-open", "slow-reader", "duplicate-client-id", "clock-skew", "token-expiry", "late-will", "storm", "run",
]
# fmt: on
OF_BROWSERS: Final = ("abort", "half-open", "slow-reader", "token-expiry", "storm")
LASTING: Final = ("half-open", "slow-reader", "duplicate-client-id", "clock-skew", "token-expiry", "run")
"""Faults that go on for `lasts` seconds; the others are over once they happened."""
MOST_STRIKES: Final = 50_000
"""Times that one fault may strike in a stage."""
MOST_VICTIMS: Final = 2_000_000
"""Victims that it may have in a stage, all strikes together: they are worked out before the run."""
HALF: Final = Fraction(1, 2)

Share = Annotated[float, number(0, 1)]
Weight = Annotated[float, number(0, 1000)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def wrong(at: tuple[str | int, ...], reason: str, cause: str = "") -> PydanticCustomError:
    """What is wrong between fields.

    Args:
        at: where, from the model that found it.
        cause: the field of the scenario, dotted, without whose value it would be right.
    """
    return PydanticCustomError("scenario", "{reason}", {"reason": reason, "at": at, "cause": cause})


class Shape(StrEnum):
    """How a population moves in the course of a stage."""

    linear = "linear"
    step = "step"
    spike = "spike"


class DeviceMix(_Table):
    """What a station has."""

    cameras: Annotated[int, whole(0, 20)] = 2
    gates: Annotated[int, whole(0, 20)] = 1
    sensors: Annotated[int, whole(0, 20)] = 1


class Stations(_Table):
    """The stations."""

    count: Annotated[int, whole(0, 50_000)] = Field(100, description="How many there are at most.")
    interval: Annotated[float, seconds(0.001, 86_400)] = Field(5.0, description="Seconds between two statuses.")
    legacy: Share = Field(0.0, description="Share that does only what old field software does.")
    calls: Annotated[float, number(0, 3600)] = Field(0.0, description="Calls for an operator, each station, an hour.")
    keepalive: Annotated[int, whole(1, 65_535)] = Field(30, description="MQTT keep-alive, seconds.")
    devices: DeviceMix = Field(DeviceMix(), description="What each has.")
    day: Seconds | None = Field(None, description="Seconds that a simulated day takes; none: 24 hours.")
    payload: Annotated[int, whole(0, 65_536)] = Field(0, description="Bytes of padding in each status.")
    goodbye: Annotated[bool, flag()] = Field(True, description="Who stops says goodbye; else the connection just ends.")


class Mix(_Table):
    """What browsers do: how often one thing, against the others."""

    status: Weight = Field(5.0, description="Ask a station for its status.")
    command: Weight = Field(2.0, description="Open a gate.")
    stream: Weight = Field(1.0, description="Ask a station for a camera's stream.")
    invite: Weight = Field(1.0, description="Invite a station into a room, and signal.")
    rooms: Weight = Field(1.0, description="Signal with another browser in a room.")
    ping: Weight = Field(1.0, description="Ask the hub whether it is there.")


class Browsers(_Table):
    """The browsers, each another operator."""

    count: Annotated[int, whole(0, 5_000)] = Field(5, description="How many there are at most.")
    watch: Watch = Field("all", description='How many stations each watches, or "all".')
    think: Annotated[
        tuple[Seconds, Seconds], Field(description="Least and most seconds between two things it does.")
    ] = (
        0.5,
        1.5,
    )
    socketio: Share = Field(0.0, description="Share that speaks Socket.IO.")
    slow: Share = Field(0.0, description="Share that reads slowly.")
    login: Literal["token", "guest", "account"] = Field("token", description="How they log in.")
    mix: Mix = Field(Mix(), description="What they do.")
    command_timeout: Annotated[float, seconds(0.1, 3600)] = Field(5.0, description="Seconds a command may take.")

    @model_validator(mode="after")
    def _think(self) -> "Browsers":
        if self.think[0] > self.think[1]:
            raise wrong(("think",), f"must be the least and then the most seconds, not {quoted(list(self.think))}")
        return self


class Fault(_Table):
    """What breaks on purpose."""

    kind: Kind
    who: Who = "stations"
    at: At = Field(0.0, description='When, from the beginning of its stage: seconds, or "40%" of the stage.')
    every: Seconds | None = Field(None, description="Strikes again after so many seconds, until its stage ends.")
    share: Share = Field(0.1, description="Share of those that are up who meet it.")
    count: Annotated[int, whole(1, 50_000)] | None = Field(None, description="How many meet it, in place of `share`.")
    lasts: Annotated[float, seconds(0.001, 86_400)] = Field(10.0, description="Seconds that it goes on.")
    jitter: Annotated[float, seconds(0, 86_400)] = Field(0.0, description="Seconds over which the victims spread.")
    skew: Annotated[float, number(-86_400, 86_400)] = Field(60.0, description="Seconds that a clock is ahead.")
    command: Annotated[str, text(4_000, 1)] | None = Field(None, description="What a shell runs.")

    @model_validator(mode="after")
    def _fits(self) -> "Fault":
        kind, given = self.kind, self.model_fields_set
        if self.who == "browsers" and kind not in OF_BROWSERS:
            raise wrong(("kind",), f"{kind} does not happen to browsers, only {', '.join(OF_BROWSERS)}")
        if kind == "run" and self.command is None:
            raise wrong(("command",), "is missing: what a shell is to run")
        if kind != "run" and self.command is not None:
            raise wrong(("command",), f'belongs to kind = "run", not to {kind}')
        if kind != "clock-skew" and "skew" in given:
            raise wrong(("skew",), f'belongs to kind = "clock-skew", not to {kind}')
        if kind not in LASTING and "lasts" in given:
            raise wrong(("lasts",), f"{kind} is over at once: only {', '.join(LASTING)} last")
        if kind == "run" and (useless := [name for name in ("share", "count", "jitter") if name in given]):
            raise wrong((useless[0],), "a command has no victims")
        if "share" in given and self.count is not None:
            raise wrong(("share",), "is given beside count: leave one out")
        return self

    def begins(self, duration: float) -> float:
        """Seconds from the beginning of a stage that lasts `duration`."""
        return float(part_of(self.at, duration))

    def victims(self, up: int) -> int:
        """How many of `up` meet it."""
        if self.count is not None:
            return min(self.count, up)
        share = Fraction(str(self.share))
        return max(min(up, 1), math.floor(share * up + HALF)) if share else 0

    def over(self) -> float:
        """Seconds from a strike until the last victim has it behind."""
        spread = 0.0 if self.kind == "run" else self.jitter
        return spread + (self.lasts if self.kind in LASTING else 0.0)


class Stage(_Table):
    """A part of the run. `duration` 0, in the last one alone: until Ctrl-C."""

    name: Annotated[str, text(80, 1)]
    duration: Annotated[float, seconds(0)]
    shape: Shape | None = Field(None, description="The population moves, in this way; none: it stays.")
    steps: Annotated[int, whole(1, 1_000)] = Field(5, description="In how many steps.")
    stations: Population | None = Field(None, description='How many at the end: a number, or "50%".')
    browsers: Population | None = Field(None, description='How many at the end: a number, or "50%".')
    interval: Annotated[float, seconds(0.001, 86_400)] | None = Field(None, description="Another status interval.")
    pace: Annotated[float, number(0.01, 1_000)] = Field(1.0, description="Browsers act that much faster.")
    faults: Annotated[list[Fault], Field(max_length=100)] = []
    measure: Annotated[bool, flag()] = Field(True, description="Whether what happens counts.")

    @property
    def endless(self) -> bool:
        """It goes on until Ctrl-C."""
        return self.duration == 0

    @model_validator(mode="after")
    def _fits(self) -> "Stage":
        moves = self.stations is not None or self.browsers is not None
        if self.shape is not None and not moves:
            raise wrong(("shape",), "a ramp moves stations, browsers or both: say how many there are at its end")
        if self.shape is not None and self.endless:
            raise wrong(("duration",), "a ramp must end: more than 0 seconds")
        if self.shape is not Shape.step and "steps" in self.model_fields_set:
            raise wrong(("steps",), 'belongs to shape = "step"')
        for index, fault in enumerate(self.faults):
            if self.endless and isinstance(fault.at, str):
                raise wrong(("faults", index, "at"), "a stage without an end has no shares: write seconds")
            if not self.endless and fault.begins(self.duration) >= self.duration:
                raise wrong(("faults", index, "at"), f"lies behind its stage, which lasts {self.duration:g} seconds")
        return self


class Scenario(_Table):
    """All of it. Validated with a context `{"emptied": {"stations"}}`, stages may say shares of no stations."""

    name: Annotated[str, text(80, 1)]
    description: Annotated[str, text(2_000)] = ""
    seed: Annotated[int, whole(-(2**63), 2**63 - 1)] = Field(1, description="The same seed repeats a run.")
    stations: Stations = Stations()
    browsers: Browsers = Browsers()
    stages: Annotated[list[Stage], Field(min_length=1, max_length=1_000)]
    fail_if: Annotated[list[Annotated[str, text(200, 1)]], Field(max_length=200)] = []
    late: Annotated[float, seconds(0.001, 60)] = Field(1.0, description="Seconds after which an ack is late.")
    settle: Annotated[float, seconds(0, 600)] = Field(
        5.0, description="Seconds a hub may take for a change, beyond the time in which it can know."
    )

    def count(self, who: Who) -> int:
        """How many there are at most."""
        return self.stations.count if who == "stations" else self.browsers.count

    def strikes(self, stage: Stage, fault: Fault) -> int:
        """How many times a fault of a stage strikes. In a stage without an end it rests when it has struck enough."""
        if fault.every is None:
            return 1
        if stage.endless:
            most = MOST_VICTIMS // max(fault.victims(self.count(fault.who)), 1)
            return MOST_STRIKES if fault.kind == "run" else min(MOST_STRIKES, most)
        return math.ceil((Fraction(stage.duration) - part_of(fault.at, stage.duration)) / Fraction(fault.every))

    def populations(self) -> Iterator[dict[Who, int]]:
        """How many there are at the end of each stage."""
        now: dict[Who, int] = {"stations": 0, "browsers": 0}
        for stage in self.stages:
            now = {who: self._wanted(stage, who, before) for who, before in now.items()}
            yield now

    def _wanted(self, stage: Stage, who: Who, before: int) -> int:
        said = stage.stations if who == "stations" else stage.browsers
        return before if said is None else math.floor(part_of(said, self.count(who)) + HALF)

    @model_validator(mode="after")
    def _fits(self, info: ValidationInfo) -> "Scenario":
        emptied: set[Who] = (info.context or {}).get("emptied", set())
        before: dict[Who, int] = {"stations": 0, "browsers": 0}
        busy = False
        for index, (stage, after) in enumerate(zip(self.stages, self.populations(), strict=True)):
            if stage.endless and index < len(self.stages) - 1:
                raise wrong(("stages", index, "duration"), "must be more than 0: only the last stage has no end")
            for who in before:
                self._check_moves(index, who, before[who], after[who], emptied)
            self._check_victims(index, before, after, emptied)
            busy = busy or any(after.values())
            before = after
        if not busy and not emptied:
            raise wrong(("stages",), 'nothing is ever started: the first stage needs a shape, and stations = "100%"')
        if not busy:
            least = "stations or browsers" if len(emptied) == 2 else min(emptied)
            raise wrong((), f"nothing is left to simulate: give {least} more than 0", f"{min(emptied)}.count")
        return self

    def _check_moves(self, index: int, who: Who, before: int, after: int, emptied: set[Who]) -> None:
        stage, count = self.stages[index], self.count(who)
        said: Any = stage.stations if who == "stations" else stage.browsers
        at, count_at = ("stages", index, who), f"{who}.count"
        if said is None:
            return
        if count == 0 and isinstance(said, str) and who not in emptied:
            raise wrong(at, f"is a share of nothing: {who}.count is 0", count_at)
        if after > count:
            raise wrong(at, f"is {after:,}, and there are {count:,} at most ({who}.count)", count_at)
        if stage.shape is None and after != before:
            raise wrong(at, f"cannot go from {before:,} to {after:,} without a ramp: give the stage a shape", count_at)

    def _check_victims(self, index: int, before: dict[Who, int], after: dict[Who, int], emptied: set[Who]) -> None:
        stage = self.stages[index]
        for place, fault in enumerate(stage.faults):
            who, at, count = fault.who, ("stages", index, "faults", place), f"{fault.who}.count"
            if fault.kind != "run" and who not in emptied and before[who] == after[who] == 0:
                raise wrong((*at, "who"), f"no {who} are up in this stage", count)
            if (strikes := self.strikes(stage, fault)) > MOST_STRIKES:
                raise wrong((*at, "every"), f"strikes {strikes:,} times, and may {MOST_STRIKES:,} times", "stages")
            if fault.kind != "run" and strikes * fault.victims(self.count(who)) > MOST_VICTIMS:
                raise wrong((*at, "every"), f"has more than {MOST_VICTIMS:,} victims in all: let more time pass", count)
