"""The table at the end of a run, for people at a terminal."""

from collections.abc import Mapping
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from simulator.reports.sections import Row, Section, sections
from simulator.reports.spans import duration
from simulator.texts import plain, shown

__all__ = ["table"]

COLUMNS: Final = ("p50", "p90", "p99", "max")
MOST_ERRORS: Final = 10
"""Kinds of errors that are named."""
WIDEST: Final = 100
"""Characters."""


def table(document: Mapping[str, Any]) -> RenderableType:
    """Figures by group, what failed with its evidence, and the verdict last."""
    verdict = document["verdict"]
    failed = [check for check in verdict["checks"] if not check["passed"]]
    parts: list[RenderableType] = [_heading(document), _figures(document, {check["fact"] for check in failed})]
    if document["errors"]:
        parts.append(_errors(document["errors"]))
    parts += [_failure(check) for check in failed]
    parts += _verdict(document, len(failed))
    return Group(*parts)


def _heading(document: Mapping[str, Any]) -> Text:
    target = document["target"]
    return Text.assemble(
        ("hub simulate ", "bold"),
        (plain(document["scenario"]["name"]), "bold"),
        (f"  {duration(document['seconds'])}", ""),
        (", interrupted" if document["interrupted"] else "", "yellow"),
        (f"  {plain(target['mqtt'])} {plain(target['http'] or '')}".rstrip(), "dim"),
    )


def _figures(document: Mapping[str, Any], failed: set[str]) -> RenderableType:
    parts: list[RenderableType] = []
    unseen = {rule["fact"] for rule in document["verdict"]["unmeasured"]["rules"]}
    for section in sections(document["facts"], unseen):
        if section.rows:
            parts.append(_rows(section, failed))
        else:
            parts.append(Text(section.title, "bold"))
        for label, names in (("none", section.never), ("not measured", section.unmeasured)):
            if names:
                said = Text(f"{label}: {', '.join(plain(name) for name in names)}", "dim")
                parts.append(Padding(said, (0, 0, 0, 2)))
        parts.append(Text())
    return Constrain(Group(*parts), WIDEST)


def _rows(section: Section, failed: set[str]) -> Table:
    """All have the same columns, so that they stand below one another."""
    timed = any(row.times for row in section.rows)
    rows = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), expand=True)
    rows.add_column(Text(section.title, "bold"), overflow="fold", ratio=1)
    for name in ("count", *(f"{column} ms" for column in COLUMNS)):
        rows.add_column(Text(name if timed else "", "dim"), justify="right", no_wrap=True, width=8)
    for row in section.rows:
        rows.add_row(*_cells(row, failed))
    return rows


def _cells(row: Row, failed: set[str]) -> list[Text]:
    wrong = row.name in failed
    name = Text(f"  {plain(row.name)}", "bold red" if wrong else "")
    if not row.times:
        return [name, Text(shown(row.value, row.unit), "bold red" if wrong else "")]
    cells = [name, Text(shown(row.value), "bold red" if f"{row.name}.count" in failed else "dim")]
    for column in COLUMNS:
        cells.append(Text(shown(row.times[column]), "bold red" if f"{row.name}.{column}" in failed else ""))
    return cells


def _errors(errors: Mapping[str, int]) -> RenderableType:
    lines = [
        Text.assemble((f"{count:>8,} ", "bold"), plain(kind)) for kind, count in list(errors.items())[:MOST_ERRORS]
    ]
    if (more := len(errors) - MOST_ERRORS) > 0:
        lines.append(Text(f"{'':>8} and {more:,} more kinds", "dim"))
    return Padding(Group(Text("Errors", "bold"), *lines), (0, 0, 1, 0))


def _failure(check: Mapping[str, Any]) -> RenderableType:
    said = Text.assemble(("✗ ", "bold red"), (plain(check["message"]), "red"))
    return Group(said, *(Padding(Text(plain(sentence), "dim"), (0, 0, 0, 4)) for sentence in check["evidence"]))


def _verdict(document: Mapping[str, Any], failed: int) -> list[RenderableType]:
    """The last lines: passed or not, and whether the tester itself is to blame."""
    verdict = document["verdict"]
    checks = len(verdict["checks"])
    unmeasured = f"; {left_out}" if (left_out := verdict["unmeasured"]["message"]) else ""
    if not verdict["passed"]:
        said = Text.assemble(("FAILED", "bold red"), f"  {failed} of {checks} checks{unmeasured}")
    elif checks:
        said = Text.assemble(("PASSED", "bold green"), f"  all {checks} checks{unmeasured}")
    else:
        said = Text.assemble(("PASSED", "bold green"), f"  nothing was checked{unmeasured}")
    lines: list[RenderableType] = [Text(), said]
    if slow := verdict["bottleneck"]["message"]:
        lines.append(Text.assemble(("! ", "bold yellow"), (plain(slow), "yellow")))
    return lines
