"""Commands in the database: written before they are sent, ended whoever waits, read as what they are after a crash, pruned."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hub import command_records
from hub.command_records import KEPT_BYTES, KEPT_MS, LATE_MS, CommandRecord, CommandRecords
from hub.commands import Outcome
from hub.link import LinkDown
from hub.store.database import Database, StoreDown
from tests.databases import postgres  # noqa: F401  # a fixture
from tests.e2e.waiting import GUARD
from tests.fakes import FakeClock
from tests.hub.test_database import url  # noqa: F401  # a fixture: both databases


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:  # noqa: F811
    async with Database(url) as database:
        yield database


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def records(database: Database, clock: FakeClock) -> AsyncIterator[CommandRecords]:
    records = CommandRecords(database, clock)
    yield records
    await records.stop()


async def opened(records: CommandRecords, name: str = "c1", params: Any = None, *, type: str = "open") -> CommandRecord:
    return await records.open(name, "st-1", type, params, 5_000, "u-1")


def outcome() -> asyncio.Future[Outcome]:
    return asyncio.get_running_loop().create_future()


async def test_sent_and_done(records: CommandRecords, clock: FakeClock) -> None:
    record = await opened(records, params={"gate": 1, "list": [None, "ü"]})
    assert await records.read("st-1", "c1") == record
    assert (record.stage, record.ms, record.delivered, record.requested_by) == ("sent", None, None, "u-1")
    waiting = outcome()
    ended = records.follow(record, waiting)
    waiting.set_result(Outcome("c1", "done", True, 0.25, {"ok": [1]}))
    record = await asyncio.wait_for(ended, GUARD)
    assert await records.read("st-1", "c1") == record
    assert (record.stage, record.result, record.delivered, record.ms) == ("done", {"ok": [1]}, True, 250)


async def test_the_stations_error(records: CommandRecords) -> None:
    """A station may say what it likes."""
    record, waiting = await opened(records, type="a\0b"), outcome()
    ended = records.follow(record, waiting)
    waiting.set_result(Outcome("c1", "error", True, 0.1, {"a\0": "\0"}, error="jam\0med"))
    await asyncio.wait_for(ended, GUARD)
    kept = await records.read("st-1", "c1")
    assert kept is not None
    assert (kept.stage, kept.error, kept.result) == ("error", "jam\ufffdmed", {"a\0": "\0"})


async def test_nobody_waits(records: CommandRecords) -> None:
    """A caller that hangs up changes nothing: the record is written all the same."""
    record, waiting = await opened(records), outcome()
    caller = asyncio.ensure_future(records.follow(record, waiting))
    caller.cancel()
    waiting.set_result(Outcome("c1", "done", True, 0.1))
    async with asyncio.timeout(GUARD):
        while (kept := await records.read("st-1", "c1")) is None or kept.stage == "sent":
            pass
    assert kept.stage == "done"


async def test_a_hub_that_died(records: CommandRecords, clock: FakeClock) -> None:
    """What it never wrote down reads as `timeout`, once the deadline is past beyond doubt."""
    record = await opened(records)
    clock.forward((5_000 + LATE_MS) / 1000)
    assert await records.read("st-1", "c1") == record
    clock.forward(0.001)
    lost = await records.read("st-1", "c1")
    assert lost is not None
    assert (lost.stage, lost.delivered, lost.finished_at) == ("timeout", None, record.deadline_at)
    assert await records.page("st-1", limit=10) == ([lost], 1)


async def test_a_hub_that_stops(records: CommandRecords) -> None:
    record, waiting = await opened(records), outcome()
    ended = records.follow(record, waiting)
    waiting.set_exception(LinkDown("the hub is stopping"))
    with pytest.raises(LinkDown):
        await asyncio.wait_for(ended, GUARD)
    assert await records.read("st-1", "c1") == record


async def test_a_stop_ends_what_waits(records: CommandRecords) -> None:
    """Who waits is told that the hub stops, even when it is told to the records first."""
    ended = records.follow(await opened(records), outcome())
    await asyncio.sleep(0)
    await asyncio.wait_for(records.stop(), GUARD)
    with pytest.raises(LinkDown):
        await asyncio.wait_for(ended, GUARD)


async def test_of_another_station(records: CommandRecords) -> None:
    await opened(records)
    assert await records.read("st-2", "c1") is None
    assert await records.read("st-1", "c2") is None
    assert await records.page("st-2", limit=10) == ([], 0)


async def test_newest_first_in_pages(records: CommandRecords, clock: FakeClock) -> None:
    for n in range(5):
        await opened(records, f"c{n}")
        clock.forward(0.001)
    assert [record.id for record in (await records.page("st-1", limit=2))[0]] == ["c4", "c3"]
    assert [record.id for record in (await records.page("st-1", limit=9, offset=2))[0]] == ["c2", "c1", "c0"]
    assert (await records.page("st-1", limit=1, offset=9)) == ([], 5)


async def test_taken_back(records: CommandRecords) -> None:
    record = await opened(records)
    await records.discard(record)
    assert await records.read("st-1", "c1") is None


async def test_what_is_large_is_not_kept(records: CommandRecords) -> None:
    """It is answered whole to who waits for it, and null in the record."""
    large = "x" * KEPT_BYTES
    record, waiting = await opened(records, params=large), outcome()
    ended = records.follow(record, waiting)
    waiting.set_result(Outcome("c1", "done", True, 0.1, large))
    record = await asyncio.wait_for(ended, GUARD)
    assert (record.params, record.result) == (large, large)
    kept = await records.read("st-1", "c1")
    assert kept is not None
    assert (kept.stage, kept.params, kept.result) == ("done", None, None)


async def test_pruned(records: CommandRecords, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those too old go, and of the others the oldest when they are too many."""
    await opened(records, "old")
    clock.forward(KEPT_MS / 1000)
    for n in range(4):
        await opened(records, f"c{n}")
        clock.forward(0.001)
    await records.prune()
    assert [record.id for record in (await records.page("st-1", limit=9))[0]] == ["c3", "c2", "c1", "c0"]
    monkeypatch.setattr(command_records, "MOST", 2)
    await records.prune()
    assert [record.id for record in (await records.page("st-1", limit=9))[0]] == ["c3", "c2"]
    await records.prune()
    assert (await records.page("st-1", limit=9))[1] == 2


class Flaky(Database):
    """A database that is out of reach while `down` is above zero, counted down at every attempt."""

    down = 0

    def session(self) -> Any:
        if self.down > 0:
            self.down -= 1
            raise StoreDown("out of reach")
        return super().session()


async def test_database_out_of_reach_at_the_end(url: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Who waits is answered at once; the record is written when the database is back."""
    monkeypatch.setattr(command_records, "RETRIES", (0.0, 0.0, 0.0))
    async with Flaky(url) as database:
        records, waiting = CommandRecords(database, clock), outcome()
        record = await opened(records)
        database.down = 3
        ended = records.follow(record, waiting)
        waiting.set_result(Outcome("c1", "done", True, 0.1))
        assert (await asyncio.wait_for(ended, GUARD)).stage == "done"
        async with asyncio.timeout(GUARD):
            while database.down:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0)
            while (await records.read("st-1", "c1") or record).stage == "sent":
                pass
        await records.stop()


async def test_database_out_of_reach_at_the_start(clock: FakeClock) -> None:
    """Nothing may be sent that is not written down."""
    with pytest.raises(StoreDown):
        await opened(CommandRecords(Database("postgresql://hub@127.0.0.1:1/hub"), clock))
