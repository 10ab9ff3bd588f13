"""Packets that promise something leave after the commit that holds it: one commit for all of a few milliseconds. Pure."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from hub.broker.store import Store

if TYPE_CHECKING:
    from hub.broker.outgoing import Outgoing

__all__ = ["COMMIT_WITHIN", "Commits", "Timer"]

COMMIT_WITHIN: Final = 0.002
"""Seconds for which changes are collected into one commit."""
RETRY: Final = 1.0
"""Seconds until a commit that failed is tried again."""
TELL_EVERY: Final = 10.0

log = logging.getLogger(__name__)


class Timer(Protocol):
    """What runs a commit."""

    def later(self, seconds: float, callback: Callable[[], None]) -> None:
        """Calls back after some time."""

    def aside(self, work: Callable[[], None], callback: Callable[[Exception | None], None]) -> None:
        """Runs blocking work in a thread, then calls back with what it raised, or None."""


class Commits:
    """The packets that wait, and the commit they wait for.

    Args:
        store: None: nothing is stored, nothing waits.
        wake: called when packets were released.
        clock: monotonic seconds.
    """

    def __init__(self, store: Store | None, timer: Timer, wake: Callable[[], None], clock: Callable[[], float]) -> None:
        self._store, self._timer, self._wake, self._clock = store, timer, wake, clock
        self._held: list[tuple[Outgoing, bytes, bool]] = []
        self._due = self._running = self._closed = False
        self._tell_at = clock()

    @property
    def uncommitted(self) -> bool:
        """Whether something noted is not safe yet."""
        return self._store is not None and (self._store.dirty or self._running or bool(self._held))

    def hold(self, connection: "Outgoing", packet: bytes, *, puback: bool = False) -> None:
        """Sends a packet after the next commit."""
        if not connection.closed:
            self._held.append((connection, packet, puback))
            connection.hold(puback)

    def see_to(self) -> None:
        """Sets the time of the next commit, if there is something to commit."""
        if self._store is not None and not self._due and (self._store.dirty or self._held):
            self._due = True
            self._timer.later(COMMIT_WITHIN, self._commit)

    def close(self) -> None:
        """The last commit. Clients of what it could not hold were not acknowledged; that is logged."""
        self._closed = self._due = True
        if self._store is None:
            return
        try:
            self._store.close()
        except Exception as error:
            log.error("the newest changes are not stored, and were not acknowledged: %s", error)

    def _commit(self) -> None:
        if self._closed or self._store is None:
            return
        self._due = False
        if self._running:
            return  # when it is done, `see_to` sets the next
        held, self._held = self._held, []
        self._running = True
        try:
            self._store.write()
            if self._store.syncs:
                self._timer.aside(self._store.commit, lambda error: self._done(held, error))
                return
            self._store.commit()
        except Exception as error:
            self._done(held, error)
        else:
            self._done(held, None)

    def _done(self, held: "list[tuple[Outgoing, bytes, bool]]", error: Exception | None) -> None:
        self._running = False
        if error is None:
            for connection, packet, puback in held:
                connection.release(packet, puback)
            self._wake()
            return
        if self._clock() >= self._tell_at:
            self._tell_at = self._clock() + TELL_EVERY
            log.error("nothing can be stored, clients are not acknowledged: %s", error)
        self._held = held + self._held
        if not self._closed:
            self._due = True
            self._timer.later(RETRY, self._commit)
