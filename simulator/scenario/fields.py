"""The kinds of values that a scenario holds: each checks type and range, and says in plain words what is allowed.

Used as `Annotated[int, whole(0, 10)]`. They raise ValueError, as pydantic wants it.
"""

import difflib
import math
import re
from collections.abc import Iterable
from fractions import Fraction
from itertools import pairwise
from typing import Annotated, Any, Final

from pydantic import BeforeValidator

__all__ = [
    "LONGEST",
    "At",
    "Population",
    "Seconds",
    "Watch",
    "flag",
    "near",
    "number",
    "part_of",
    "quoted",
    "read_seconds",
    "seconds",
    "text",
    "whole",
]

DAY: Final = 86_400.0
LONGEST: Final = 30 * DAY
"""Seconds that anything may last."""
UNITS: Final = {"ms": Fraction(1, 1000), "s": Fraction(1), "m": Fraction(60), "h": Fraction(3600)}
DURATION: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h)", re.ASCII)
PERCENT: Final = re.compile(r"(\d{1,3}(?:\.\d{1,9})?) ?%", re.ASCII)
WRITE_SECONDS: Final = 'seconds as a number, or a text such as "90s", "5m", "1h30m" or "250ms"'
LONGEST_TEXT: Final = 40


def quoted(value: object) -> str:
    """A value as an error shows it: on one line, and not longer than is of use."""
    try:
        shown = repr(value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        return "a number of thousands of digits"
    return shown if len(shown) <= LONGEST_TEXT else f"{shown[: LONGEST_TEXT - 3]}..."


def near(word: str, known: Iterable[str]) -> str:
    """`: did you mean "abort"?`, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1) if len(word) <= LONGEST_TEXT else []
    return f': did you mean "{close[0]}"?' if close else ""


def whole(low: int, high: int) -> BeforeValidator:
    """A whole number from `low` to `high`."""

    def check(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"must be a whole number from {low:,} to {high:,}, not {quoted(value)}")
        return value

    return BeforeValidator(check)


def number(low: float, high: float) -> BeforeValidator:
    """A number from `low` to `high`."""

    def check(value: Any) -> float:
        if not _is_number(value) or not low <= value <= high:
            raise ValueError(f"must be a number from {low:,.15g} to {high:,.15g}, not {quoted(value)}")
        return float(value)

    return BeforeValidator(check)


def flag() -> BeforeValidator:
    """True or false."""

    def check(value: Any) -> bool:
        if not isinstance(value, bool):
            raise ValueError(f"must be true or false, not {quoted(value)}")
        return value

    return BeforeValidator(check)


def text(most: int, least: int = 0) -> BeforeValidator:
    """Text of `least` to `most` characters, without control characters."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or not least <= len(value) <= most:
            raise ValueError(f"must be a text of {least} to {most:,} characters, not {quoted(value)}")
        if any(not (char.isprintable() or char.isspace()) for char in value):
            raise ValueError("must be a text without control characters")
        return value

    return BeforeValidator(check)


def seconds(low: float = 0.001, high: float = LONGEST) -> BeforeValidator:
    """Seconds from `low` to `high`: a number, or a text with units."""

    return BeforeValidator(lambda value: read_seconds(value, low, high))


def read_seconds(value: Any, low: float = 0.001, high: float = LONGEST) -> float:
    """A number of seconds, or a text such as "90s". Raises ValueError."""
    if not low <= (read := _seconds(value)) <= high:
        raise ValueError(f"must be from {low:,.15g} to {high:,.15g} seconds, not {quoted(value)}")
    return read


def part_of(value: int | float | str, of: float) -> Fraction:
    """What `value` is of `of`: itself, or when a text as "40%", that share, exactly."""
    if isinstance(value, str):
        return Fraction(value.removesuffix("%").strip()) * Fraction(of) / 100
    return Fraction(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def _seconds(value: Any) -> float:
    if _is_number(value):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    if isinstance(value, str):
        parts = DURATION.findall(value)
        units = [list(UNITS).index(unit) for _, unit in parts]
        falling = all(a > b for a, b in pairwise(units))
        if parts and falling and "".join(amount + unit for amount, unit in parts) == value:
            return float(sum(Fraction(amount) * UNITS[unit] for amount, unit in parts))
    raise ValueError(f"must be {WRITE_SECONDS}, not {quoted(value)}")


def _percent(value: str) -> str | None:
    """The text as "40%"; None: it is no share of a hundred."""
    found = PERCENT.fullmatch(value)
    return f"{found[1]}%" if found and Fraction(found[1]) <= 100 else None


def _at(value: Any) -> float | str:
    if isinstance(value, str) and "%" in value:
        if (percent := _percent(value)) is None or part_of(percent, 100) >= 100:
            raise ValueError(f'must be less than "100%" of its stage, such as "40%", not {quoted(value)}')
        return percent
    try:
        read = _seconds(value)
    except ValueError:
        raise ValueError(
            f'must be {WRITE_SECONDS}, or a share of its stage such as "40%", not {quoted(value)}'
        ) from None
    if not 0 <= read <= LONGEST:
        raise ValueError(f"must be from 0 to {LONGEST:,.15g} seconds, not {quoted(value)}")
    return read


def _population(value: Any) -> int | str:
    if isinstance(value, str) and (percent := _percent(value)) is not None:
        return percent
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f'must be how many, as a number, or a share such as "50%" up to "100%", not {quoted(value)}')
    return value


def _watch(value: Any) -> int | str:
    if value == "all":
        return "all"
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 50_000:
        raise ValueError(f'must be a whole number from 0 to 50,000, or "all", not {quoted(value)}')
    return value


Seconds = Annotated[float, seconds()]
"""More than 0, up to 30 days."""
At = Annotated[float | str, BeforeValidator(_at)]
"""Seconds from the beginning of a stage, or "40%" of it."""
Population = Annotated[int | str, BeforeValidator(_population)]
"""How many, or "50%" of all there are."""
Watch = Annotated[int | str, BeforeValidator(_watch)]
"""How many stations, or "all"."""
