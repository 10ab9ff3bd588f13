"""One reading for all who ask at the same time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

__all__ = ["SharedRead"]

T = TypeVar("T")


class SharedRead(Generic[T]):
    """Runs one reading at a time, however many ask; each gets one that began after it asked, so that it sees its own writes.

    Args:
        read: the reading; what it raises, everybody gets who waited for it.
    """

    def __init__(self, read: Callable[[], Awaitable[T]]) -> None:
        self._read = read
        self._running: asyncio.Task[T] | None = None
        self._next: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """What a reading from now on finds."""
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._running), name="shared read")
            # it may fail with nobody left who waits
            self._next.add_done_callback(lambda task: task.cancelled() or task.exception())
        # one who gives up does not take it from the others
        return await asyncio.shield(self._next)

    async def _after(self, previous: asyncio.Task[T] | None) -> T:
        if previous is not None:
            await asyncio.wait((previous,))
        # who asks from here on has to wait for the next
        self._running, self._next = self._next, None
        return await self._read()
