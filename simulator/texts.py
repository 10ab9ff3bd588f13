"""Figures and foreign texts as people read them."""

import math
import re
from typing import Final

__all__ = ["plain", "shown"]

_UNPRINTABLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def plain(text: str) -> str:
    """Control characters (of terminals, too, and those that turn the direction of writing) as escapes: \\x1b."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)


def shown(value: float | None, unit: str = "") -> str:
    """A figure with its unit: four digits where it has them, at least to the unit's ones; "-" for None."""
    if value is None:
        return "-"
    if isinstance(value, int) or not math.isfinite(value):
        text = f"{value:,}"
    else:
        magnitude = math.floor(math.log10(abs(value))) if value else 0
        text = f"{value:,.{min(max(3 - magnitude, 0), 12)}f}"
        if "." in text:
            text = text.rstrip("0").rstrip(".")
    return f"{text} {unit}".rstrip()
