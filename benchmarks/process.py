"""What another process has used: processor time and resident memory."""

import sys
import time

import psutil

__all__ = ["ProcessEnded", "cpu_seconds", "memory_kb"]


class ProcessEnded(Exception):
    """The process is gone."""


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of a process. Raises ProcessEnded."""
    try:
        if sys.platform == "linux":
            return time.clock_gettime(~pid << 3 | 2)  # as clock_getcpuclockid(3): nanoseconds, not ticks of 10 ms
        times = psutil.Process(pid).cpu_times()
        return float(times.user + times.system)
    except (OSError, psutil.Error):
        raise ProcessEnded("the broker's process has ended") from None


def memory_kb(pid: int) -> float:
    """Resident memory. Raises ProcessEnded."""
    try:
        return float(psutil.Process(pid).memory_info().rss) / 1024
    except psutil.Error:
        raise ProcessEnded("the broker's process has ended") from None
