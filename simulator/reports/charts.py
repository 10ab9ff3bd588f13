"""Charts as SVG, for the page: nothing runs in them, their texts can be selected, and the page's style colours them.

Figures over time are drawn from as many points as the eye can tell apart; the worst of what is joined stays visible
(`Line.worst`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from simulator.reports.chart_parts import (
    Moments,
    Size,
    Values,
    bands,
    end_labels,
    fault_row,
    fault_rows,
    frame,
    path,
    roomy,
    stages,
    svg,
    text,
)
from simulator.reports.scales import Axis, Scale, linear, logarithmic, seconds_ticks
from simulator.reports.spans import clock
from simulator.texts import shown

__all__ = ["Line", "curve", "over_time"]

HOVER: Final = 100
"""Columns of a chart that say their figures when they are pointed at, at most."""
SPREAD: Final = 12.0
"""Figures whose highest is that many times their median are drawn on a logarithmic scale."""


@dataclass(frozen=True, slots=True)
class Line:
    """Figures over time.

    Attributes:
        look: a class of the page's style.
        worst: of figures that are drawn as one point, the highest; else their mean.
        area: filled down to 0.
    """

    label: str
    look: str
    values: Values
    worst: bool = False
    area: bool = False


def over_time(
    moments: Moments, lines: Sequence[Line], unit: str, size: Size, *, story: bool = False, summary: str
) -> str:
    """A chart of figures over time.

    Args:
        unit: of all the figures.
        story: names the stages, and says below which faults struck.
        summary: what there is to see, for those who do not see it.
    """
    rows = fault_rows(moments.faults) if story else []
    if story:
        size = Size(
            size.width, size.height + 20 + 16 * len(rows), 30, size.right, size.bottom + 16 * len(rows), size.left
        )
    known = [value for line in lines for value in line.values if value is not None]
    axis = _upright(known, unit)
    size = roomy(size, axis, unit)
    upright = axis.on(*size.y)
    across = linear(0.0, max(moments.end, 1.0), ticks=seconds_ticks(moments.end, size.width)).on(*size.x)
    columns = _columns(moments, size.x[1] - size.x[0])
    parts = [
        bands(moments, across, size),
        *frame(upright, across, size, unit),
        stages(moments, across, size, named=story),
    ]
    ends = []
    for line in lines:
        thinned = [_one([line.values[at] for at in each], worst=line.worst) for each in columns]
        middles = [_middle(moments, each) for each in columns]
        drawn = path(middles, thinned, across, upright, floor=size.y[0] if line.area else None)
        parts.append(f'<path class="{"area" if line.area else "line"} {line.look}" d="{drawn}"/>')
        last = next((value for value in reversed(thinned) if value is not None), None)
        if last is not None:
            ends.append((upright(last), line.label, line.look))
    parts += end_labels(ends, size)
    parts += [fault_row(row, across, size, index) for index, row in enumerate(rows)]
    parts.append(_hover(moments, lines, unit, across, size))
    return svg(size, parts, summary)


def curve(series: Sequence[tuple[str, str, Sequence[Sequence[float]]]], size: Size, *, summary: str) -> str:
    """How long the slowest took: percentiles, each decade of what is beyond them as wide as the one before.

    Args:
        series: name, look, and pairs of percent and milliseconds.
    """
    most = max((point[0] for _, _, points in series for point in points), default=90.0)
    marks = [mark for mark in (50.0, 90.0, 99.0, 99.9, 99.99, 99.999) if mark <= max(most, 90.0)]
    ticks = [(_nines(mark), f"{mark:g} %") for mark in marks]
    ranks = linear(_nines(50.0), max(_nines(most), ticks[-1][0]), ticks=ticks)
    axis = logarithmic([point[1] for _, _, points in series for point in points])
    size = roomy(size, axis, "ms")
    across, upright = ranks.on(*size.x), axis.on(*size.y)
    parts = frame(upright, across, size, "ms")
    ends = []
    for name, look, points in series:
        drawn = path([_nines(percent) for percent, _ in points], [ms for _, ms in points], across, upright)
        parts.append(f'<path class="line {look}" d="{drawn}"/>')
        if points:
            percent, ms = points[-1]
            ends.append((upright(ms), name, look))
            if across(_nines(percent)) < size.x[1] - 4:
                parts.append(
                    f'<circle class="dot {look}" cx="{across(_nines(percent)):.1f}" cy="{upright(ms):.1f}" r="3"/>'
                )
    parts += end_labels(ends, size)
    return svg(size, parts, summary)


def _nines(percent: float) -> float:
    return -math.log10(max(1 - percent / 100, 1e-6))


def _upright(known: Sequence[float], unit: str) -> Axis:
    """Times that spread far are shown by their magnitude, all else from 0."""
    highest = max(known, default=0.0)
    middle = sorted(known)[len(known) // 2] if known else 0.0
    if unit == "ms" and middle > 0 and highest > SPREAD * middle:
        return logarithmic(known)
    return linear(0.0, highest)


def _columns(moments: Moments, room: int) -> list[range]:
    """The points of each pixel column, or every point by itself."""
    many = len(moments.t)
    wide = max(1, math.ceil(many / max(room, 1)))
    return [range(first, min(first + wide, many)) for first in range(0, many, wide)]


def _middle(moments: Moments, points: range) -> float:
    return (moments.t[points[0]] + min(moments.t[points[-1]] + moments.step, moments.end)) / 2


def _one(values: Values, *, worst: bool) -> float | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return max(known) if worst else sum(known) / len(known)


def _hover(moments: Moments, lines: Sequence[Line], unit: str, across: Scale, size: Size) -> str:
    """Columns over everything that say what the figures are there."""
    low, high = size.y
    parts = []
    for points in _columns(moments, HOVER):
        begin, end = across(moments.t[points[0]]), across(min(moments.t[points[-1]] + moments.step, moments.end))
        figures = [(line.label, _one([line.values[at] for at in points], worst=line.worst)) for line in lines]
        said = ", ".join(f"{label} {_rounded(value, unit)}" for label, value in figures if value is not None)
        if said and end > begin:
            parts.append(
                f'<rect x="{begin:.1f}" y="{high}" width="{end - begin:.1f}" height="{low - high}">'
                f"<title>{clock(moments.t[points[0]])}  {text(said)}</title></rect>"
            )
    return f'<g class="hover">{"".join(parts)}</g>'


def _rounded(value: float, unit: str) -> str:
    return shown(float(f"{value:.3g}") if value < 1000 else round(value), unit)
