"""How long a test waits, and for what."""

import asyncio
from collections.abc import Callable

__all__ = ["GUARD", "end", "until"]

GUARD = 15.0
"""Seconds after which a test hangs: generous, never what is measured."""


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
