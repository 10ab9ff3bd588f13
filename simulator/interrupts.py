"""Ctrl-C and SIGTERM while a run goes on: the first one ends it in order, with its report; the next one at once."""

import asyncio
import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Final, Self

__all__ = ["SIGNALS", "Interrupts"]

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
"""Ctrl-C, and what `kill`, a CI and a container send."""


class Interrupts:
    """A context manager, for the main thread; the second signal raises KeyboardInterrupt, wherever it comes.

    A signal that was ignored, as a shell has it for what runs in the background, stays so.
    """

    def __init__(self) -> None:
        self._before: dict[signal.Signals, Any] = {}
        self._come = 0
        self._end: Callable[[], None] = lambda: None

    def __enter__(self) -> Self:
        for number in SIGNALS:
            if (before := signal.getsignal(number)) != signal.SIG_IGN:
                self._before[number] = before
                signal.signal(number, self._heard)
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def cancels(self, task: asyncio.Task[Any]) -> None:
        """From now on the first signal cancels this task; if it has come already, it does so now. In the task's event loop."""
        loop = asyncio.get_running_loop()
        self._end = lambda: _schedule(loop, task)
        if self._come:
            self._end()

    def _heard(self, _number: int, _frame: FrameType | None) -> None:
        self._come += 1
        if self._come > 1:
            raise KeyboardInterrupt
        self._end()


def _schedule(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any]) -> None:
    try:
        loop.call_soon_threadsafe(task.cancel)  # which wakes the loop: it may wait for something else
    except RuntimeError:
        pass  # it is closed: all is over
