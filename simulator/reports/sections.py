"""The facts of a run in groups and rows, as tables show them: one row a time with its percentiles, one a count or a gauge."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from simulator.measuring.facts import STATISTICS, Fact, figure

__all__ = ["Row", "Section", "Value", "sections"]

Value = float | int | None

GROUPS: Final = ("Stations", "Presence", "Browsers", "Statuses", "Requests", "Commands", "Tester", "Other")
_PRESENCE: Final = ("missedOnline", "missedOffline", "falselyOffline", "falselyOnline", "repeated", "seen")
_BY_ROOT: Final = {
    **dict.fromkeys(("stations", "connect", "recovery", "broker"), "Stations"),
    "presence": "Presence",
    **dict.fromkeys(("browsers", "login", "actions"), "Browsers"),
    "status": "Statuses",
    **dict.fromkeys(("ack", "answer", "stream", "invite", "signal", "call"), "Requests"),
    **dict.fromkeys(("answers", "streams", "invites", "signals", "calls"), "Requests"),
    "commands": "Commands",
    "tester": "Tester",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line.

    Attributes:
        value: of a count or a gauge; of a time how many were timed.
        times: of a time its statistics but `count`, in milliseconds; else empty.
        unit: of `value`, or of `times`.
    """

    name: str
    meaning: str
    value: Value
    unit: str = ""
    times: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Section:
    """One group.

    Attributes:
        rows: what happened or was measured.
        never: counts that are 0.
        unmeasured: times and gauges without a value.
    """

    title: str
    rows: tuple[Row, ...]
    never: tuple[str, ...]
    unmeasured: tuple[str, ...]


def sections(facts: Mapping[str, Value], unseen: Collection[str] = ()) -> list[Section]:
    """All facts, in the order of their table; groups without any are left out.

    Args:
        unseen: counts that nobody was there to measure: their 0 says nothing.
    """
    grouped: dict[str, list[Row]] = {group: [] for group in GROUPS}
    for row in _rows(facts):
        grouped[_group(row.name)].append(row)
    found = []
    for title, rows in grouped.items():
        shown, never, unmeasured = [], [], []
        for row in rows:
            if row.value is None or ((row.times or row.name in unseen) and not row.value):
                unmeasured.append(row.name)
            elif not row.value and not row.unit:
                never.append(row.name)
            else:
                shown.append(row)
        if rows:
            found.append(Section(title, tuple(shown), tuple(never), tuple(unmeasured)))
    return found


def _rows(facts: Mapping[str, Value]) -> Iterator[Row]:
    for name, value in facts.items():
        time, _, statistic = name.rpartition(".")
        if statistic in STATISTICS and f"{time}.count" in facts:
            if statistic == "count":
                times = {each: facts.get(f"{time}.{each}") for each in STATISTICS if each != "count"}
                known = figure(name)
                yield Row(time, _meaning(time, known.fact) if known else "", value, "ms", times)
            continue
        known = figure(name)
        yield Row(name, known.fact.title if known else "", value, known.unit if known else "")


def _meaning(time: str, fact: Fact) -> str:
    """Of a member of a family what tells it from the others."""
    if not fact.name.endswith("*"):
        return fact.title
    family, _, member = time.rpartition(".")
    return f"the same of {member}" if family == "ack" else f"{fact.title.partition(', by')[0]}: {member}"


def _group(name: str) -> str:
    root, _, rest = name.partition(".")
    if root == "stations" and rest in _PRESENCE:
        return "Presence"
    return _BY_ROOT.get(root, "Other")
