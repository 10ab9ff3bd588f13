"""What charts are put together from: frames, lines, labels, and what happened behind the lines."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any, Final

from simulator.reports.scales import Axis, Scale
from simulator.reports.spans import clock
from simulator.texts import plain

__all__ = [
    *(
        "Moments",
        "Size",
        "Values",
        "bands",
        "end_labels",
        "fault_row",
        "fault_rows",
        "frame",
        "path",
        "roomy",
        "stages",
    ),
    *("svg", "text"),
]

Values = Sequence[float | None]

LABEL: Final = 15
"""Pixels from one label to the next at least."""
LETTER: Final = 7.0
"""Pixels of a letter, on average."""


@dataclass(frozen=True, slots=True)
class Size:
    """Pixels, and what of them is left free at each side."""

    width: int
    height: int
    top: int = 10
    right: int = 96
    bottom: int = 26
    left: int = 58

    @property
    def x(self) -> tuple[int, int]:
        """From left to right."""
        return self.left, self.width - self.right

    @property
    def y(self) -> tuple[int, int]:
        """From low to high."""
        return self.height - self.bottom, self.top


@dataclass(frozen=True, slots=True)
class Moments:
    """What a chart over time shows behind its lines.

    Attributes:
        t: the second that each point begins at.
        step: seconds between two points.
        end: seconds that the run took.
        stages, faults: as in the report.
    """

    t: Sequence[float]
    step: float
    end: float
    stages: Sequence[Mapping[str, Any]]
    faults: Sequence[Mapping[str, Any]]


def text(value: Any) -> str:
    """Foreign text in a page: it cannot be markup, nor turn the direction of writing."""
    return escape(plain(str(value)), quote=True)


def svg(size: Size, parts: Iterable[str], summary: str) -> str:
    return (
        f'<svg viewBox="0 0 {size.width} {size.height}" width="{size.width}" height="{size.height}" role="group"'
        f' aria-label="{text(summary)}">{"".join(parts)}</svg>'
    )


def roomy(size: Size, axis: Axis, unit: str) -> Size:
    """With room for the longest text at the left."""
    longest = max(len(_beside(axis, index, unit)) for index in range(len(axis.ticks)))
    return replace(size, left=max(size.left, 14 + 7 * longest))


def _beside(axis: Axis | Scale, index: int, unit: str) -> str:
    """What stands beside a tick; the unit is at the uppermost."""
    label = axis.ticks[index][1]
    return f"{label} {unit}".rstrip() if index == len(axis.ticks) - 1 else label


def path(xs: Sequence[float], ys: Values, across: Scale, upright: Scale, *, floor: float | None = None) -> str:
    """Lines end where nothing was measured; what stands alone is a dot.

    Args:
        floor: the pixel that an area goes down to.
    """
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in zip(xs, ys, strict=True):
        if y is None:
            runs.append([])
        else:
            runs[-1].append((across(x), upright(y)))
    return "".join(_run(run, floor) for run in runs if run)


def _run(points: Sequence[tuple[float, float]], floor: float | None) -> str:
    drawn = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + ("h.1" if len(points) == 1 else "")
    return drawn if floor is None else f"{drawn}V{floor}H{points[0][0]:.1f}Z"


def frame(upright: Scale, across: Scale, size: Size, unit: str) -> list[str]:
    """Grid, ticks and their texts."""
    (left, right), (low, _) = size.x, size.y
    parts = []
    for index, (at, _) in enumerate(upright.marks()):
        kind = "axis" if index == 0 else "grid"
        parts.append(f'<line class="{kind}" x1="{left}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text class="tick end" x="{left - 8}" y="{at + 4:.1f}">{_beside(upright, index, unit)}</text>')
    for at, label in across.marks():
        parts.append(f'<text class="tick mid" x="{at:.1f}" y="{low + 17}">{label}</text>')
    return parts


def bands(moments: Moments, across: Scale, size: Size) -> str:
    """Where faults went on; each moment is shaded once."""
    merged: list[tuple[float, float]] = []
    for fault in sorted(moments.faults, key=lambda fault: float(fault["from"])):
        begin, end = across(fault["from"]), across(max(fault["to"], fault["from"]))
        end = max(end, begin + 2)
        if merged and begin <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((begin, end))
    low, high = size.y
    return "".join(
        f'<rect class="fault" x="{begin:.1f}" y="{high}" width="{end - begin:.1f}" height="{low - high}"/>'
        for begin, end in merged
    )


def stages(moments: Moments, across: Scale, size: Size, *, named: bool) -> str:
    low, high = size.y
    parts, free = [], 0.0
    for stage in moments.stages:
        begin, end = across(stage["from"]), across(stage["to"])
        top = high - 20 if named else high
        if stage["from"] > 0:
            parts.append(f'<line class="stage" x1="{begin:.1f}" x2="{begin:.1f}" y1="{top}" y2="{low}"/>')
        name = _fitting(stage["name"], end - begin - 10)
        if named and name and begin >= free:
            parts.append(f'<text class="name" x="{begin + 5:.1f}" y="{high - 9}">{text(name)}</text>')
            free = begin + 8 + LETTER * len(name)
    return "".join(parts)


def _fitting(name: str, room: float) -> str:
    """As much of a name as fits, or nothing."""
    letters = int(room / LETTER)
    if len(name) <= letters:
        return name
    return f"{name[: letters - 1]}…" if letters >= 4 else ""


def end_labels(ends: Iterable[tuple[float, str, str]], size: Size) -> list[str]:
    """Names at the ends of the lines, apart from one another."""
    placed: list[tuple[float, str, str]] = []
    for at, label, look in sorted(ends, key=lambda end: end[0]):
        placed.append((max(at, placed[-1][0] + LABEL) if placed else at, label, look))
    over = placed[-1][0] - size.y[0] if placed else 0.0
    limit = float(size.y[0])
    moved = []
    for at, label, look in reversed(placed):
        limit = min(at, limit) if over > 0 else at
        moved.append(f'<text class="label {look}" x="{size.x[1] + 8}" y="{limit + 4:.1f}">{text(label)}</text>')
        limit -= LABEL
    return moved


def fault_rows(faults: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """By kind, and whom they struck."""
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for fault in faults:
        name = fault["kind"] if fault["who"] == "stations" else f"{fault['kind']}, {fault['who']}"
        rows.setdefault(name, []).append(fault)
    return list(rows.items())


def fault_row(row: tuple[str, list[Mapping[str, Any]]], across: Scale, size: Size, index: int) -> str:
    """One kind of fault below a chart. What nobody could tell apart is one bar."""
    name, faults = row
    y = size.y[0] + 36 + 16 * index
    bars: list[tuple[float, float, list[Mapping[str, Any]]]] = []
    for fault in faults:
        begin, end = across(fault["from"]), across(max(fault["to"], fault["from"]))
        if bars and begin < bars[-1][1] + 2:
            bars[-1] = bars[-1][0], max(end, bars[-1][1]), [*bars[-1][2], fault]
        else:
            bars.append((begin, max(end, begin + 3), [fault]))
    parts = [
        f'<rect class="strike" x="{begin:.1f}" y="{y - 8}" width="{end - begin:.1f}" height="8" rx="1.5">'
        f"<title>{text(_told(name, struck))}</title></rect>"
        for begin, end, struck in bars
    ]
    return (
        f'{"".join(parts)}<text class="tick" x="{size.x[1] + 8}" y="{y}">{text(_fitting(name, size.right - 8))}</text>'
    )


def _told(name: str, struck: Sequence[Mapping[str, Any]]) -> str:
    first, victims = struck[0], sum(fault["victims"] for fault in struck)
    times = f", {len(struck):,} times" if len(struck) > 1 else ""
    whom = f": {victims:,} {first['who']}" if victims else ""
    return f"{name} from {clock(first['from'])} to {clock(max(fault['to'] for fault in struck))}{times}{whom}"
