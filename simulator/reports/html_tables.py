"""The tables of the page."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from simulator.reports.chart_parts import text
from simulator.reports.sections import Row, Section
from simulator.texts import shown

__all__ = ["checks_table", "figures_table"]

COLUMNS: Final = {"p50": "p50", "p90": "p90", "p99": "p99", "p999": "p99.9", "max": "max"}


def figures_table(section: Section, failed: set[str]) -> str:
    """One group; `failed`: the facts that failed a check."""
    timed = any(row.times for row in section.rows)
    heads = (
        "".join(f"<th>{column} <small>ms</small></th>" for column in ("mean", *COLUMNS.values()))
        if timed
        else "<th></th>" * (1 + len(COLUMNS))
    )
    rows = "".join(_row(row, failed) for row in section.rows)
    notes = "".join(
        f"<p class=quiet>{label}: {', '.join(f'<code>{text(name)}</code>' for name in names)}</p>"
        for label, names in (("None", section.never), ("Not measured", section.unmeasured))
        if names
    )
    head = f"<thead><tr><th>{text(section.title)}</th><th>count</th>{heads}</tr></thead>"
    body = f"<table class=figures>{head}<tbody>{rows}</tbody></table>"
    return (body if rows else f"<h3>{text(section.title)}</h3>") + notes


def _row(row: Row, failed: set[str]) -> str:
    name = f"<th><code>{text(row.name)}</code><span>{text(row.meaning)}</span></th>"
    if not row.times:
        return f"<tr>{name}{_cell(row.value, row.unit, row.name in failed)}<td colspan={1 + len(COLUMNS)}></td></tr>"
    cells = [_cell(row.value, "", f"{row.name}.count" in failed)]
    for column in ("mean", *COLUMNS):
        cells.append(_cell(row.times[column], "", f"{row.name}.{column}" in failed))
    return f"<tr>{name}{''.join(cells)}</tr>"


def _cell(value: float | None, unit: str, wrong: bool) -> str:
    look = "n bad" if wrong else "n"
    return f'<td class="{look}">{_figured(value)}{f"<small> {unit}</small>" if unit and value is not None else ""}</td>'


def _figured(value: float | None) -> str:
    """With as many digits as those above and below it, so that points stand below one another."""
    if not isinstance(value, float) or not math.isfinite(value):
        return shown(value)
    return f"{value:,.{0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2}f}"


def checks_table(checks: Sequence[Mapping[str, Any]], unmeasured: Sequence[Mapping[str, Any]] = ()) -> str:
    """All rules, and what came of them; last those that nobody could measure."""
    if not checks and not unmeasured:
        return "<p class=quiet>There were none.</p>"
    rows = "".join(
        f'<tr><td class="{"good" if check["passed"] else "bad"}">{"✓" if check["passed"] else "✗"}</td>'
        f"<td><code>{text(check['rule'])}</code></td><td>{text(check['message'])}</td></tr>"
        for check in checks
    )
    rows += "".join(
        f"<tr class=quiet><td>–</td><td><code>{text(rule['rule'])}</code></td>"
        f"<td>could not be measured: {text(rule['reason'])}</td></tr>"
        for rule in unmeasured
    )
    return f"<table class=checks><thead><tr><th></th><th>fails if</th><th>found</th></tr></thead><tbody>{rows}</tbody></table>"
