"""Commands of browsers in the database: nobody waits for it, and nothing piles up while it is away."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hub import command_notes
from hub.command_notes import CommandNotes
from hub.command_records import KEPT_BYTES, CommandRecord, CommandRecords
from hub.commands import Outcome
from hub.link import LinkDown
from hub.store.database import Database, StoreDown
from tests.databases import postgres  # noqa: F401  # a fixture
from tests.e2e.waiting import GUARD
from tests.fakes import FakeClock
from tests.hub.test_command_records import Flaky, outcome
from tests.hub.test_database import url  # noqa: F401  # a fixture: both databases


class Desk:
    """Notes, and what is read of them."""

    def __init__(self, database: Database) -> None:
        self.records = CommandRecords(database, FakeClock())
        self.notes = CommandNotes(self.records)

    def note(self, name: str = "c1", params: Any = None, *, type: str = "open") -> asyncio.Future[Outcome]:
        """A command is sent."""
        waiting = outcome()
        self.notes.note(name, "st-1", type, params, 5_000, "u-1", waiting)
        return waiting

    async def written(self) -> None:
        """What can be written is."""
        await asyncio.sleep(0)  # an end is noted when the loop turns
        async with asyncio.timeout(GUARD):
            while self.notes._writer is not None and not self.notes._writer.done():
                await asyncio.wait({self.notes._writer})

    async def read(self, name: str = "c1") -> CommandRecord:
        await self.written()
        record = await self.records.read("st-1", name)
        assert record is not None
        return record


@pytest.fixture
async def database(url: str) -> AsyncIterator[Flaky]:  # noqa: F811
    async with Flaky(url) as database:
        yield database


@pytest.fixture
async def desk(database: Flaky) -> AsyncIterator[Desk]:
    desk = Desk(database)
    yield desk
    await desk.notes.stop()


def done(name: str = "c1", result: Any = None) -> Outcome:
    return Outcome(name, "done", True, 0.25, result)


async def test_sent_then_done(desk: Desk) -> None:
    waiting = desk.note(params={"gate": 1}, type="a\0b")
    record = await desk.read()
    assert (record.stage, record.params, record.requested_by) == ("sent", {"gate": 1}, "u-1")
    waiting.set_result(done(result=[1]))
    record = await desk.read()
    assert (record.stage, record.params, record.result, record.ms) == ("done", {"gate": 1}, [1], 250)


async def test_done_before_it_was_written(desk: Desk) -> None:
    """One row, with all of it."""
    desk.note(params=7).set_result(done())
    record = await desk.read()
    assert (record.stage, record.params) == ("done", 7)
    assert (await desk.records.page("st-1", limit=10))[1] == 1


async def test_who_asked_is_gone(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """A command that nobody waits for, or that the hub stopped in the middle of, stays as it was."""
    gone, stopped = desk.note("c1"), desk.note("c2")
    gone.cancel()
    stopped.set_exception(LinkDown("the hub is stopping"))
    assert {(await desk.read(name)).stage for name in ("c1", "c2")} == {"sent"}
    assert [record for record in caplog.records if record.name == "asyncio"] == []  # no error in a callback


async def test_database_out_of_reach(desk: Desk, database: Flaky, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written when the database is back, whatever ended meanwhile."""
    monkeypatch.setattr(command_notes, "RETRY", 0.0)
    database.down = 3
    waiting = desk.note(params=7)
    desk.note("c2", params=8)
    async with asyncio.timeout(GUARD):
        while database.down == 3:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)
    waiting.set_result(done())
    record = await desk.read()
    assert (record.stage, record.params) == ("done", 7)
    assert ((await desk.read("c2")).stage, (await desk.read("c2")).params) == ("sent", 8)


async def test_ended_while_it_was_written_in_vain(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was sent is not forgotten for that."""
    monkeypatch.setattr(command_notes, "RETRY", 0.0)
    write, began, fails = desk.records.write, asyncio.Event(), asyncio.Event()

    async def in_vain(_: Any) -> None:
        monkeypatch.setattr(desk.records, "write", write)
        began.set()
        await fails.wait()
        raise StoreDown("out of reach")

    monkeypatch.setattr(desk.records, "write", in_vain)
    waiting = desk.note(params=7)
    await asyncio.wait_for(began.wait(), GUARD)
    waiting.set_result(done())
    await asyncio.sleep(0)
    fails.set()
    record = await desk.read()
    assert (record.stage, record.params) == ("done", 7)


async def test_bound(desk: Desk, database: Flaky, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more there is no record, and the count says so."""
    monkeypatch.setattr(command_notes, "MOST_WAITING", 3)
    monkeypatch.setattr(command_notes, "AT_ONCE", 2)
    outcomes = [desk.note(f"c{number}") for number in range(5)]
    for number, waiting in enumerate(outcomes):
        waiting.set_result(done(f"c{number}"))
    await desk.written()
    records, total = await desk.records.page("st-1", limit=10)
    assert ({record.id for record in records}, total) == ({"c0", "c1", "c2"}, 3)
    assert {record.stage for record in records} == {"done"}
    assert desk.notes.lost == 2


async def test_what_is_large_does_not_wait(desk: Desk) -> None:
    """Neither in memory nor in the database."""
    waiting = desk.note(params="x" * KEPT_BYTES)
    assert desk.notes._waiting["c1"].params is None
    waiting.set_result(done(result="x" * KEPT_BYTES))
    record = await desk.read()
    assert (record.stage, record.params, record.result) == ("done", None, None)


async def test_a_stop_writes_what_waits(desk: Desk) -> None:
    desk.note()
    await desk.notes.stop()
    assert (await desk.read()).stage == "sent"


async def test_a_stop_waits_no_longer_than_a_moment(
    desk: Desk, database: Flaky, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_notes, "STOP_WITHIN", 0.01)
    database.down = 1_000
    desk.note()
    async with asyncio.timeout(GUARD / 2):
        await desk.notes.stop()
