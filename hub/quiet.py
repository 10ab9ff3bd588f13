"""Keeps the MQTT libraries' logs to one line an incident: no traceback for what a client sent, never a packet's content."""

import logging
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final

__all__ = ["OneLine", "quieten"]

EVERY: Final = 10.0
"""Seconds between two warnings about the same thing."""

log = logging.getLogger(__name__)


class OneLine(logging.Handler):
    """Tells what a library logged as one line at DEBUG; that something failed in it, once in a while at WARNING."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._next: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        failure = record.exc_info[1] if record.exc_info else None
        # the message may quote what a client sent: it is told at DEBUG only
        log.debug("%s: %s", record.name, record.getMessage().partition("\n")[0][:200])
        if failure is not None and self._clock() >= self._next.get(record.name, 0.0):
            self._next[record.name] = self._clock() + EVERY
            log.warning("%s: %s, see the log at debug", record.name, type(failure).__name__)


def _names(traceback: TracebackType | None) -> Iterator[str]:
    while traceback is not None:
        yield traceback.tb_frame.f_globals.get("__name__", "")
        traceback = traceback.tb_next


class _NotOurs(logging.Filter):
    """Takes from asyncio's log what is about tasks of a library whose log is quietened."""

    def __init__(self, library: str, handler: OneLine) -> None:
        super().__init__()
        self._library, self._handler = library, handler

    def filter(self, record: logging.LogRecord) -> bool:
        failure = record.exc_info[1] if record.exc_info else None
        within = failure is not None and any(
            name.split(".")[0] == self._library for name in _names(failure.__traceback__)
        )
        if not within and f"{self._library}/" not in record.getMessage():
            return True
        self._handler.handle(record)
        return False


_quiet: set[str] = set()


def quieten(library: str) -> None:
    """Sends the log of `library`, and what asyncio reports of its tasks, through `OneLine`; once a process."""
    if library in _quiet:
        return
    _quiet.add(library)
    handler, logger = OneLine(), logging.getLogger(library)
    logger.handlers, logger.propagate = [handler], False
    # at INFO and below these libraries log whole packets, passwords too
    logger.setLevel(logging.WARNING)
    logging.getLogger("asyncio").addFilter(_NotOurs(library, handler))
