"""How long a test waits, and for what."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

__all__ = ["GUARD", "end", "until", "within"]

GUARD = 15.0
"""Seconds after which a test hangs: generous, never what is measured."""
TICK: Final = 0.02


async def end(process: asyncio.subprocess.Process) -> None:
    """Ends a process that still runs."""
    if process.returncode is None:
        process.kill()
        await process.wait()


async def until(condition: Callable[[], bool]) -> None:
    """Waits for something that no event tells of."""
    async with asyncio.timeout(GUARD):
        while not condition():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """What a hub of this process promises to do in so many seconds, in time that the process really had.

    Waiting counts, and so does work that keeps the event loop; that a busy machine runs something else instead does not.

    Raises:
        TimeoutError: it took longer.
    """
    loop = asyncio.get_running_loop()

    async def count() -> None:
        spent = 0.0
        while spent < seconds:
            now, worked = loop.time(), time.process_time()
            await asyncio.sleep(TICK)
            spent += max(TICK, min(loop.time() - now, time.process_time() - worked))
        limit.reschedule(loop.time())

    async with asyncio.timeout(GUARD) as limit:
        counting = asyncio.create_task(count(), name="counts what time there was")
        try:
            yield
        finally:
            counting.cancel()
