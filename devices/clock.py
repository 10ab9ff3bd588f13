"""The one clock, injected everywhere: no service reads the time on its own."""

import time
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """Time, as the services see it."""

    def monotonic(self) -> float:
        """Seconds that never jump: for deadlines."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970: for what others read."""


class SystemClock:
    """The machine's own."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000
