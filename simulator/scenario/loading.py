"""What to simulate: scenarios are files, shipped or one's own, and flags override them; and SimulationError.

    load("storm", {"stations": 500})
    load("mine.toml")

Every error is one line that names file, line and field, or the flag, and what is allowed.
"""

import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from simulator.scenario.errors import Finding, findings, syntax
from simulator.scenario.fields import LONGEST, near, part_of, quoted, read_seconds
from simulator.scenario.models import Scenario, Stage
from simulator.scenario.toml_lines import Lines

__all__ = ["FLAGS", "SHIPPED", "SimulationError", "load", "override", "plain", "read", "shipped"]

SHIPPED: Final = ("smoke", "steady", "morning-rush", "storm", "flaky-network", "soak", "browsers")
FLAGS: Final = {
    "stations": ("stations", "count"),
    "browsers": ("browsers", "count"),
    "watch": ("browsers", "watch"),
    "interval": ("stations", "interval"),
    "legacy": ("stations", "legacy"),
    "socketio": ("browsers", "socketio"),
    "login": ("browsers", "login"),
    "seed": ("seed",),
    "duration": ("stages",),
}
"""The names that override a scenario, and which field each is."""
NUMBER: Final = re.compile(r"\d{1,19}(\.\d{1,9})?", re.ASCII)
LARGEST_FILE: Final = 1_000_000
"""Bytes."""
SHORTEST_INTERVAL, LONGEST_INTERVAL = 0.001, 86_400.0
PLAIN_RATE: Final = 500.0
"""How many stations a second start where no scenario says it."""


class SimulationError(Exception):
    """The simulation could not run."""


def load(name: str | Path | None = None, overrides: Mapping[str, Any] | None = None) -> Scenario:
    """A scenario, with what the command line overrides.

    Args:
        name: that of a shipped one, or the path of a file; None: `plain()`.
        overrides: see `override`.

    Raises:
        SimulationError: there is no such scenario, or something is wrong with it; one line.
    """
    given = dict(overrides or {})
    if name is None:
        duration = {key: given.pop(key) for key in ("duration",) if key in given}
        moved = override(plain(), **given)
        ramp = max(1.0, moved.stations.count / PLAIN_RATE)
        first = moved.stages[0].model_copy(update={"duration": ramp})
        return override(moved.model_copy(update={"stages": [first, *moved.stages[1:]]}), **duration)
    if not str(name):
        raise SimulationError("the scenario's name is empty: give one that --list shows, a TOML file, or none at all")
    if str(name) in SHIPPED:
        return override(_shipped(str(name)), **given)
    path = Path(name)
    return override(read(_content(path), str(path), path.stem), **given)


def plain() -> Scenario:
    """What runs without a scenario: a ramp, and a minute of the same."""
    everybody = {"stations": "100%", "browsers": "100%"}
    stages = [
        {"name": "ramp", "duration": 1.0, "shape": "linear", "measure": True} | everybody,
        {"name": "steady", "duration": 60.0},
    ]
    return Scenario.model_validate({"name": "default", "description": "A small fleet, a minute.", "stages": stages})


def shipped() -> list[tuple[str, str]]:
    """Name and description of the scenarios that come with the simulator."""
    return [(name, _shipped(name).description) for name in SHIPPED]


def read(content: bytes | str, file: str, stem: str = "scenario") -> Scenario:
    """A scenario from the text of a TOML file.

    Args:
        file: what errors call it.
        stem: the scenario's name, where the text gives none.

    Raises:
        SimulationError: with file, line and field of the first thing that is wrong.
    """
    try:
        text = content if isinstance(content, str) else content.decode("utf-8-sig")
        data = tomllib.loads(text)
    except (
        ValueError,
        RecursionError,
    ) as error:  # no UTF-8, no TOML, a number of thousands of digits, or nested deeply
        raise SimulationError(f"{file}: {syntax(error)}") from None
    try:
        scenario = Scenario.model_validate({"name": stem[:80] or "scenario"} | data)
        wrong = _wrong_rules(scenario)
    except ValidationError as error:
        wrong = findings(error, data)
    if wrong:
        lines = Lines(text)
        placed = sorted((lines.find(finding.path), index) for index, finding in enumerate(wrong))
        line, first = placed[0]
        raise SimulationError(f"{file}: line {line}: {wrong[first].told()}{_more(len(wrong) - 1)}")
    return scenario


def override(scenario: Scenario, **given: Any) -> Scenario:
    """The scenario as the command line changes it.

    Args:
        given: some of FLAGS. `duration`: seconds that all stages last together, see `_lengths`; their faults come at the
            same part of them. 0: the last stage without a shape lasts until Ctrl-C. `interval` keeps what stages have in
            proportion.

    Raises:
        SimulationError: names the flag.
    """
    if unknown := [name for name in given if name not in FLAGS]:
        raise SimulationError(f"--{unknown[0]}: no flag of a scenario{near(unknown[0], FLAGS)}")
    data: dict[str, Any] = scenario.model_dump(exclude_unset=True)
    given = {name: _number(value) for name, value in given.items()}
    for name, value in given.items():
        if name == "interval":
            _pace(data, scenario, value)
        if name == "duration":
            _stretch(data, scenario, value)
        else:
            _put(data, FLAGS[name], value)
    emptied = {who for who in ("stations", "browsers") if given.get(who, scenario.count(who)) == 0}
    try:
        return Scenario.model_validate(data, context={"emptied": emptied})
    except ValidationError as error:
        raise SimulationError(_blame(findings(error, data)[0], given)) from None


@cache
def _shipped(name: str) -> Scenario:
    return read((files("simulator") / "scenarios" / f"{name}.toml").read_bytes(), f"{name}.toml", name)


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        close = near(str(path), SHIPPED) or f": shipped are {', '.join(SHIPPED)}"
        raise SimulationError(f"{quoted(str(path))} is no file, and no scenario that is shipped{close}") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        raise SimulationError(f"{quoted(str(path))} cannot be read: {getattr(error, 'strerror', error)}") from None
    if len(content) > LARGEST_FILE:
        raise SimulationError(f"{path}: a scenario has {LARGEST_FILE:,} bytes at most")
    return content


def _wrong_rules(scenario: Scenario) -> list[Finding]:
    from simulator.measuring.rules import parse_rule  # it needs this module's SimulationError

    wrong = []
    for index, rule in enumerate(scenario.fail_if):
        try:
            parse_rule(rule)
        except SimulationError as error:
            wrong.append(Finding(("fail_if", index), str(error)))
    return wrong


def _more(count: int) -> str:
    return f" (and {count} more)" if count else ""


def _number(value: Any) -> Any:
    """A flag's text as the number that it writes; else as it is."""
    if not isinstance(value, str) or NUMBER.fullmatch(value) is None:
        return value
    return float(value) if "." in value else int(value)


def _put(data: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for key in path[:-1]:
        data = data.setdefault(key, {})
    data[path[-1]] = value


def _flag_seconds(name: str, value: Any, low: float, high: float = LONGEST) -> float:
    try:
        return read_seconds(value, low, high)
    except ValueError as error:
        raise SimulationError(f"--{name}: {error}") from None


def _pace(data: dict[str, Any], scenario: Scenario, value: Any) -> None:
    """A stage's own interval stays as much shorter or longer than that of all as it was."""
    ratio = _flag_seconds("interval", value, SHORTEST_INTERVAL, LONGEST_INTERVAL) / scenario.stations.interval
    for stage in data["stages"]:
        if stage.get("interval") is not None:
            stage["interval"] = min(max(stage["interval"] * ratio, SHORTEST_INTERVAL), LONGEST_INTERVAL)


def _stretch(data: dict[str, Any], scenario: Scenario, value: Any) -> None:
    """All stages last `value` seconds together; 0: the last one without a shape has no end, and nothing follows it."""
    wanted = _flag_seconds("duration", value, 0)
    if wanted == 0:
        steady = [index for index, stage in enumerate(scenario.stages) if stage.shape is None]
        if not steady:
            raise SimulationError(
                "--duration: 0: this scenario has no stage without a shape, which could last until Ctrl-C"
            )
        data["stages"] = data["stages"][: steady[-1] + 1]
        _resize(data["stages"][steady[-1]], scenario.stages[steady[-1]].duration, 0.0)
        return
    for stage, had, seconds in zip(data["stages"], scenario.stages, _lengths(scenario.stages, wanted), strict=True):
        _resize(stage, had.duration, seconds)


def _lengths(stages: Sequence[Stage], wanted: float) -> list[float]:
    """How long each stage lasts when all last `wanted` seconds together.

    Ramps keep their time, and the others share what is left, in proportion. Where that is little, ramps are shorter, in
    proportion: they take half of all at most, or the share that they have in the file.
    """
    total, has_end = Fraction(wanted), not stages[-1].endless
    ramps = sum((Fraction(stage.duration) for stage in stages if stage.shape), Fraction())
    steady = [Fraction(stage.duration) for stage in stages if not stage.shape]
    of_ramps = total
    if steady:
        share = ramps / (ramps + sum(steady)) if has_end else Fraction()
        of_ramps = min(ramps, total * max(share, Fraction(1, 2)))
    rest = total - of_ramps
    if not has_end:  # it gets what the others leave
        steady[-1] = max(rest - sum(steady), Fraction()) or rest
    fast = of_ramps / ramps if ramps else Fraction(1)
    left = (length * rest / sum(steady) for length in steady)
    return [float(Fraction(stage.duration) * fast if stage.shape else next(left)) for stage in stages]


def _resize(stage: dict[str, Any], had: float, duration: float) -> None:
    """Faults come at the same part of their stage; in one that has no end now, at the same second."""
    stage["duration"] = duration
    for fault in stage.get("faults", []):
        at = fault.get("at", 0.0)
        if isinstance(at, str):
            fault["at"] = at if duration else float(part_of(at, had))
        elif had and duration:
            fault["at"] = min(at * duration / had, math.nextafter(duration, 0.0))
        elif duration:
            fault["at"] = min(at, math.nextafter(duration, 0.0))


def _blame(finding: Finding, given: Mapping[str, Any]) -> str:
    """The line that names the flag."""
    for name in given:
        if ".".join(FLAGS[name]) == finding.cause:
            return f"--{name}: {finding.told()}"
    for name in given:
        if FLAGS[name] == finding.path:
            return f"--{name}: {finding.message}"
    return f"{' '.join(f'--{name}' for name in given)}: {finding.told()}"
