"""From figures to pixels: axes and their ticks. Pure."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from simulator.reports.spans import clock
from simulator.texts import shown

__all__ = ["Axis", "Scale", "linear", "logarithmic", "seconds_ticks"]

Ticks = Sequence[tuple[float, str]]

_STEPS: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400)
WIDE: Final = 80
"""Pixels from one tick of time to the next, at least."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps figures to pixels.

    Attributes:
        ticks: figures and what stands beside them.
    """

    low: float
    high: float
    ticks: Ticks
    turn: Callable[[float], float]
    first: float
    last: float

    def __call__(self, value: float) -> float:
        """The pixel of a figure; what is outside is put to the edge."""
        low, high = self.turn(self.low), self.turn(self.high)
        share = (self.turn(value) - low) / (high - low)
        return self.first + min(max(share, 0.0), 1.0) * (self.last - self.first)

    def marks(self) -> list[tuple[float, str]]:
        """The ticks, in pixels."""
        return [(self(value), label) for value, label in self.ticks]


@dataclass(frozen=True, slots=True)
class Axis:
    """Figures that are not on pixels yet."""

    low: float
    high: float
    ticks: Ticks
    turn: Callable[[float], float]

    def on(self, first: float, last: float) -> Scale:
        """From the pixel of the lowest to that of the highest."""
        return Scale(self.low, self.high, self.ticks, self.turn, first, last)


def linear(low: float, high: float, *, ticks: Ticks | None = None) -> Axis:
    """Even; without `ticks` it goes up to a round figure with about four of them."""
    if ticks is not None:
        return Axis(low, high if high > low else low + 1, ticks, float)
    if not math.isfinite(high) or high - low < 1e-9:
        high = low + 1
    step = _round_step((high - low) / 4)
    count = math.ceil((high - low) / step - 1e-9)
    marks = [low + step * index for index in range(count + 1)]
    return Axis(low, marks[-1], [(mark, _label(mark)) for mark in marks], float)


def logarithmic(values: Iterable[float]) -> Axis:
    """By magnitude, from a round figure below the lowest to one above the highest."""
    known = [value for value in values if value > 0 and math.isfinite(value)] or [1.0]
    low, high = _round_below(min(known)), max(known)
    top = _round_above(max(high, low * 2))
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(top)) + 1)
    mantissas = (1, 2, 5) if top / low < 200 else (1,)
    marks = [mark for power in powers for part in mantissas if low <= (mark := _tidy(part * 10.0**power)) <= top]
    return Axis(low, top, [(mark, _label(mark)) for mark in marks], lambda value: math.log10(max(value, low)))


def _round_below(value: float) -> float:
    power = math.floor(math.log10(value))
    return _tidy(max(part * 10.0**power for part in (1, 2, 5) if part * 10.0**power <= value * (1 + 1e-9)))


def _round_above(value: float) -> float:
    power = math.floor(math.log10(value))
    return _tidy(min(part * 10.0**power for part in (1, 2, 5, 10) if part * 10.0**power >= value * (1 - 1e-9)))


def _tidy(value: float) -> float:
    return float(f"{value:.3g}")


def seconds_ticks(end: float, width: int) -> list[tuple[float, str]]:
    """Ticks of time since the start."""
    most = max(width / WIDE, 2)
    step = next((step for step in _STEPS if end / step <= most), _STEPS[-1] * math.ceil(end / _STEPS[-1] / most))
    return [(float(at), clock(at)) for at in range(0, math.floor(end + 1e-9) + 1, step)]


def _round_step(rough: float) -> float:
    """1, 2 or 5 times a power of ten, and at least that."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next((step * power for step in (1, 2, 2.5, 5) if step * power >= rough * (1 - 1e-9)), 10 * power)


def _label(value: float) -> str:
    return shown(round(value) if abs(value - round(value)) < 1e-9 else float(f"{value:.6g}"))
