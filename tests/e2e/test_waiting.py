"""How the tests themselves measure what a hub promises: in time that the process had."""

import asyncio
import time

import pytest

from tests.e2e.waiting import within


async def test_waiting_counts() -> None:
    """A hub that is idle for longer than it may be has broken its promise."""
    with pytest.raises(TimeoutError):
        async with within(0.2):
            await asyncio.Event().wait()


async def test_work_counts() -> None:
    """So has one that keeps the event loop busy meanwhile."""

    async def works() -> None:
        for _ in range(5):
            began = time.process_time()
            while time.process_time() - began < 0.2:
                pass
            await asyncio.sleep(0)

    with pytest.raises(TimeoutError):
        async with within(0.5):
            await works()


async def test_standing_still_does_not_count() -> None:
    """A process that the machine left waiting had no time to keep its promise in."""
    async with within(0.5):
        for _ in range(5):
            time.sleep(0.2)  # noqa: ASYNC251  # as if others ran
            await asyncio.sleep(0)
