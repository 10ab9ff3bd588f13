"""One reading serves all who asked before it began, and nobody who asked later."""

import asyncio
import gc

import pytest

from hub.shared_read import SharedRead
from tests.e2e.waiting import GUARD


class Source:
    """Something to read, slowly: a reading finds what was there when it began, and ends when let go."""

    def __init__(self) -> None:
        self.value = 0
        self.begun = 0
        self.go = asyncio.Event()
        self.fails = False

    async def read(self) -> int:
        self.begun += 1
        found = self.value
        await self.go.wait()
        if self.fails:
            raise RuntimeError("torn")
        return found


async def begun(source: Source, count: int) -> None:
    async with asyncio.timeout(GUARD):
        while source.begun < count:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)


async def test_shared_and_never_stale() -> None:
    source = Source()
    shared = SharedRead(source.read)
    first = [asyncio.create_task(shared.get()) for _ in range(5)]
    await begun(source, 1)
    source.value = 1  # a write, and then those who must see it
    later = [asyncio.create_task(shared.get()) for _ in range(5)]
    await asyncio.sleep(0)
    source.go.set()
    async with asyncio.timeout(GUARD):
        assert await asyncio.gather(*first, *later) == [0] * 5 + [1] * 5
        assert source.begun == 2
        source.value = 2
        assert await shared.get() == 2


async def test_one_who_gives_up() -> None:
    """The others get what they wait for."""
    source = Source()
    shared = SharedRead(source.read)
    tasks = [asyncio.create_task(shared.get()) for _ in range(3)]
    await begun(source, 1)
    tasks[0].cancel()
    source.go.set()
    async with asyncio.timeout(GUARD):
        answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1:] == [0, 0]


async def test_an_error_is_everybodys_and_no_longer() -> None:
    source = Source()
    source.fails = True
    source.go.set()
    shared = SharedRead(source.read)
    answers = await asyncio.gather(shared.get(), shared.get(), return_exceptions=True)
    assert [str(answer) for answer in answers] == ["torn", "torn"]
    source.fails = False
    assert await asyncio.wait_for(shared.get(), GUARD) == 0


@pytest.mark.parametrize("waiting", [1, 3])
async def test_all_give_up(waiting: int) -> None:
    """A reading that fails with nobody there is no error of anybody's."""
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    source = Source()
    source.fails = True
    shared = SharedRead(source.read)
    tasks = [asyncio.create_task(shared.get()) for _ in range(waiting)]
    await begun(source, 1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    source.go.set()
    with pytest.raises(RuntimeError):  # a later reading, which waits for the first
        await asyncio.wait_for(shared.get(), GUARD)
    source.fails = False
    assert await asyncio.wait_for(shared.get(), GUARD) == 0
    gc.collect()
    assert complaints == []
