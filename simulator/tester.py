"""The tester looks at itself: how much of the machine it takes, so that a slow tester is not taken for a slow hub."""

import resource
import time
from collections.abc import Callable
from typing import Final

import psutil

__all__ = ["Tester"]

MEGABYTE: Final = 1024 * 1024


class Tester:
    """This process's processor time and memory.

    Args:
        clock: seconds that never jump.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._process = clock, psutil.Process()
        self._at, self._used = clock(), _processor_seconds()

    def look(self) -> dict[str, float]:
        """Gauges: percent of a core since the last look, and megabytes resident."""
        now, used = self._clock(), _processor_seconds()
        percent = 100.0 * (used - self._used) / max(now - self._at, 1e-6)
        self._at, self._used = now, used
        return {"tester.cpu": percent, "tester.memory": self._process.memory_info().rss / MEGABYTE}


def _processor_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
