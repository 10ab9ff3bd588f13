"""How evidence names stations, browsers and moments: the same in every judge."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

__all__ = ["PLAIN", "Wording"]


def _number(number: int) -> str:
    return f"station {number + 1}"


@dataclass(frozen=True, slots=True)
class Wording:
    """Words for evidence.

    Attributes:
        began: the moment (monotonic seconds) that times count from.
        station: the name of a station by its number, such as `World.station_id`.
    """

    began: float = 0.0
    station: Callable[[int], str] = _number

    def at(self, moment: float) -> str:
        """A moment, in seconds since the start: "12.345 s"."""
        return f"{moment - self.began:.3f} s"

    @staticmethod
    def browser(number: int) -> str:
        """A browser: numbered from 1, as its user id is."""
        return f"browser {number + 1}"


PLAIN: Final = Wording()
