"""What changed between two runs, from their JSON reports: better or worse, and what is no more than noise."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import orjson
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from simulator.measuring.facts import FACTS, STATISTICS, Figure, figure
from simulator.reports.document import VERSION
from simulator.reports.printing import put
from simulator.scenario import SimulationError
from simulator.texts import plain, shown

__all__ = ["Change", "compare", "load", "notes", "show", "table"]

Report = dict[str, Any]
Judged = Literal["better", "worse", "changed", "noise"]

NOISE_SHARE: Final = 0.05
NOISE_MS: Final = 0.1
SAMPLES: Final = {"mean": 30, "p50": 20, "p90": 100, "p99": 1_000, "p999": 10_000, "max": 100}
"""A figure of fewer durations says little: a percentile wants ten beyond it."""
LARGEST: Final = 64 * 1024 * 1024
"""Bytes of a report."""
DEEPEST: Final = 50
"""Levels of nesting in it."""
SETTINGS: Final = 8
"""Differing settings of scenarios that are named."""
STYLES: Final = {"better": "green", "worse": "bold red", "changed": "", "noise": "dim"}


@dataclass(frozen=True, slots=True)
class Change:
    """One fact that is not the same in both.

    Attributes:
        before, after: None: it was not measured.
        difference, percent: None where there are not two figures; `percent` also when it was 0 before.
        judged: "noise" is less than 5 % or 0.1 ms, or of too few durations.
    """

    name: str
    before: float | None
    after: float | None
    difference: float | None
    percent: float | None
    judged: Judged

    @property
    def unit(self) -> str:
        """Of its figures."""
        meant = figure(self.name)
        return meant.unit if meant else ""


def load(path: Path) -> Report:
    """Reads a report. Raises SimulationError that names the file and says why it is none."""
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST + 1)
    except OSError as error:
        raise SimulationError(f"{plain(str(path))}: {error.strerror or 'cannot be read'}") from None
    if len(text) > LARGEST:
        raise SimulationError(f"{plain(str(path))}: is larger than any report of hub simulate")
    try:
        report: Any = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise SimulationError(f"{plain(str(path))}: is not JSON (line {error.lineno}, column {error.colno})") from None
    if not isinstance(report, dict) or not isinstance(report.get("facts"), dict) or _deep(report):
        raise SimulationError(f"{plain(str(path))}: is not a report of hub simulate --json")
    if wrong := _wrong(report):
        raise SimulationError(f"{plain(str(path))}: {wrong}")
    return report


def _wrong(report: Report) -> str:
    """Why it cannot be compared, although it looks like a report; empty: it can."""
    if (version := report.get("version")) != VERSION or isinstance(version, bool):
        return f"is a report of version {_short(version)}, and this hub simulate reads version {VERSION}"
    for name, value in report["facts"].items():
        if value is not None and _number(value) is None:
            return f"facts: {_clipped(name, 80)} is {_short(value)}, which is no figure"
    if not isinstance(report.get("scenario"), dict):
        return "has no scenario"
    if _number(report.get("seconds")) is None:
        return f"seconds: {_short(report.get('seconds'))} is no figure"
    verdict = report.get("verdict")
    if not isinstance(verdict, dict) or not isinstance(verdict.get("passed"), bool):
        return "has no verdict"
    return ""


def show(paths: Sequence[Path]) -> None:
    """Prints what changed between two reports. Raises SimulationError."""
    if len(paths) != 2:
        raise SimulationError("compare takes two JSON reports: hub simulate compare before.json after.json")
    before, after = paths
    put(table(load(before), load(after), (before.name, after.name)))


def compare(a: Report, b: Report) -> list[Change]:
    """What changed from `a` to `b`, in the order of the table of facts, without what this version does not know."""
    before, after = _dict(a, "facts"), _dict(b, "facts")
    found = []
    for name in sorted(before.keys() | after.keys(), key=_place):
        meant, old, new = figure(name), _number(before.get(name)), _number(after.get(name))
        if meant is not None and old != new:
            few = min(_samples(before, name), _samples(after, name))
            found.append(_change(name, meant, old, new, few))
    return found


def notes(a: Report, b: Report) -> list[str]:
    """What to know before believing the comparison, and how the verdicts differ."""
    return [*_warnings(a, b), *_verdicts(a, b)]


def table(a: Report, b: Report, names: tuple[str, str] = ("before", "after")) -> RenderableType:
    """For people: the notes, then what changed; noise is dimmed."""
    shown_notes = [Text(note, style="yellow") for note in notes(a, b)]
    changes = compare(a, b)
    if not changes:
        return Group(*shown_notes, Text("no figure changed"))
    rows = Table()
    for title, justify in (("fact", "left"), *((name, "right") for name in (*names, "change", "%")), ("", "left")):
        rows.add_column(Text(plain(title)), justify="right" if justify == "right" else "left")
    for change in changes:
        percent = "" if change.percent is None else f"{change.percent:+,.1f}"
        difference = "" if change.difference is None else shown(change.difference, change.unit)
        if change.difference is not None and change.difference > 0:
            difference = f"+{difference}"
        figures = (shown(change.before, change.unit), shown(change.after, change.unit), difference, percent)
        word = "" if change.judged == "changed" else change.judged
        rows.add_row(*(Text(cell) for cell in (change.name, *figures, word)), style=STYLES[change.judged])
    return Group(*shown_notes, rows)


def _change(name: str, meant: Figure, old: float | None, new: float | None, few: float) -> Change:
    if old is None or new is None:
        return Change(name, old, new, None, None, "changed")
    difference = new - old
    percent = 100.0 * difference / abs(old) if old else None
    if _is_noise(meant, old, new, few):
        return Change(name, old, new, difference, percent, "noise")
    judged: Judged = "changed"
    if meant.better is not None:
        judged = "better" if (difference < 0) == (meant.better == "less") else "worse"
    return Change(name, old, new, difference, percent, judged)


def _is_noise(meant: Figure, old: float, new: float, few: float) -> bool:
    difference = abs(new - old)
    if meant.unit == "ms" and (difference < NOISE_MS or few < SAMPLES.get(meant.statistic or "", 0)):
        return True
    return difference < NOISE_SHARE * max(abs(old), abs(new))


def _samples(facts: dict[str, Any], name: str) -> float:
    """How many durations a figure of a time is of."""
    count = _number(facts.get(f"{name.rpartition('.')[0]}.count"))
    return math.inf if count is None else count


_PLACES: Final = {fact.name: place for place, fact in enumerate(FACTS)}


def _place(name: str) -> tuple[int, str, int]:
    """Facts as in the table, families by member, statistics as in STATISTICS."""
    meant = figure(name)
    if meant is None:
        return len(_PLACES), name, 0
    if meant.statistic is None:
        return _PLACES[meant.fact.name], name, 0
    return _PLACES[meant.fact.name], name.rpartition(".")[0], STATISTICS.index(meant.statistic)


def _warnings(a: Report, b: Report) -> Iterator[str]:
    """Why the two may not be comparable."""
    first, second = _dict(a, "scenario"), _dict(b, "scenario")
    ours, theirs = _flat(first), _flat(second)
    differing = [name for name in sorted(ours.keys() | theirs.keys()) if ours.get(name) != theirs.get(name)]
    named = [
        f"{_clipped(name, 80)} ({_short(ours.get(name))}, then {_short(theirs.get(name))})"
        for name in differing[:SETTINGS]
    ]
    if named:
        more = f" and {len(differing) - SETTINGS} more" if len(differing) > SETTINGS else ""
        yield f"the scenarios differ: {', '.join(named)}{more}"
    lengths = [_number(report.get("seconds")) for report in (a, b)]
    if lengths[0] and lengths[1] and abs(lengths[0] - lengths[1]) > NOISE_SHARE * max(lengths[0], lengths[1]):
        yield f"one ran {shown(lengths[0], 's')}, the other {shown(lengths[1], 's')}: their counts are not comparable"
    for which, report in (("first", a), ("second", b)):
        if report.get("interrupted") is True:
            yield f"the {which} run was interrupted"
        slow = _dict(_dict(report, "verdict"), "bottleneck").get("message")
        if isinstance(slow, str) and slow:
            yield f"in the {which} run {_clipped(slow, 300)}"


def _verdicts(a: Report, b: Report) -> Iterator[str]:
    """How the outcome changed, check by check."""
    outcomes = [_dict(report, "verdict").get("passed") for report in (a, b)]
    if outcomes[0] is not outcomes[1] and all(isinstance(each, bool) for each in outcomes):
        yield "the first run passed, the second failed" if outcomes[0] else "the first run failed, the second passed"
    before, after = _checks(a), _checks(b)
    both = [rule for rule in after if rule in before and before[rule] is not after[rule]]
    for word, outcome in (("fails now", False), ("holds now", True)):
        rules = [_clipped(rule, 80) for rule in both if after[rule] is outcome]
        if rules:
            yield f"{word}: {', '.join(rules[:SETTINGS])}"


def _checks(report: Report) -> dict[str, bool]:
    """By rule whether it held."""
    checks = _dict(report, "verdict").get("checks")
    found = {}
    for check in checks if isinstance(checks, list) else ():
        if isinstance(check, dict):
            rule, passed = check.get("rule"), check.get("passed")
            if isinstance(rule, str) and isinstance(passed, bool):
                found[rule] = passed
    return found


def _dict(report: Report, key: str) -> dict[str, Any]:
    """The object under the key; an empty one when there is none."""
    value = report.get(key)
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> float | int | None:
    """A figure that can be reckoned with, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) < 1e15 else None  # NaN is not, either


def _flat(value: Any) -> dict[str, Any]:
    """Settings by dotted name; a description does not matter."""
    found: dict[str, Any] = {}
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, dict) and value:
            waiting += [(f"{path}.{key}" if path else str(key), each) for key, each in value.items()]
        elif isinstance(value, list) and value:
            waiting += [(f"{path}.{place}", each) for place, each in enumerate(value)]
        else:
            found[path] = value
    for name in ("", "description"):
        found.pop(name, None)
    return found


def _short(value: Any) -> str:
    return "-" if value is None else _clipped(str(value), 40)


def _clipped(text: str, most: int) -> str:
    return plain(text if len(text) <= most else f"{text[: most - 3]}...")


def _deep(report: Report) -> bool:
    """Whether it is nested deeper than any report is."""
    level: list[Any] = [report]
    for _ in range(DEEPEST):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return False
    return True
