"""What wakes an event loop at a moment, as exactly as the system can: uvloop's own timers know milliseconds only.

On Linux a timerfd: a simulation that measures milliseconds must not be late by one.
"""

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable
from typing import Final, Protocol

__all__ = ["Alarm", "LoopAlarm", "TimerAlarm", "alarm"]

CLOCK_MONOTONIC: Final = 1
ABSOLUTE: Final = 1
"""TFD_TIMER_ABSTIME."""
FLAGS: Final = 0o2004000
"""TFD_NONBLOCK | TFD_CLOEXEC."""


class Alarm(Protocol):
    """Rings once for each `ring_at`, the last of which counts."""

    def ring_at(self, when: float) -> None:
        """At this moment of the monotonic clock; at once, when it has passed."""

    def close(self) -> None:
        """Never rings again."""


class LoopAlarm:
    """The event loop's own timer."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop, self._ring = loop, ring
        self._handle: asyncio.TimerHandle | None = None

    def ring_at(self, when: float) -> None:
        self.close()
        self._handle = self._loop.call_at(when, self._ring)

    def close(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


class _Spec(ctypes.Structure):
    """struct itimerspec."""

    _fields_ = (("every", ctypes.c_long * 2), ("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class TimerAlarm:
    """A timerfd. Raises OSError where the system has none to give."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._loop, self._ring = loop, ring
        self._set, self._spec = libc.timerfd_settime, _Spec()
        self._at = ctypes.byref(self._spec)
        self._fd: int = libc.timerfd_create(CLOCK_MONOTONIC, FLAGS)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        loop.add_reader(self._fd, self._rang)

    def ring_at(self, when: float) -> None:
        nanoseconds = max(1, int(when * 1e9))  # 0 would turn it off
        self._spec.seconds, self._spec.nanoseconds = divmod(nanoseconds, 1_000_000_000)
        self._set(self._fd, ABSOLUTE, self._at, None)

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _rang(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:  # it was set anew in the meantime
            return
        self._ring()


def alarm(loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> Alarm:
    """The best there is here."""
    if sys.platform == "linux":
        try:
            return TimerAlarm(loop, ring)
        except (OSError, AttributeError):
            pass  # no descriptor left, or a libc without it
    return LoopAlarm(loop, ring)
