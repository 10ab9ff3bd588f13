"""The audit: rows in order, filtered, paged, pruned; and what tokens issued elsewhere may hold."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from hub.audit import KEPT_MS, Audit
from hub.store.audit import AuditFilter
from hub.store.database import Database
from tests.bridge.fakes import identity
from tests.databases import postgres  # noqa: F401  # a fixture
from tests.fakes import FakeClock
from tests.hub.test_database import url  # noqa: F401  # a fixture: both databases

BOSS, AIDE = identity("boss", "admin", nickname="Boss"), identity("aide", "admin")


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:  # noqa: F811
    async with Database(url) as database:
        yield database


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(wall_ms=1_000)


async def targets(audit: Audit, *, limit: int = 50, offset: int = 0, which: AuditFilter | None = None) -> list[str]:
    rows, _ = await audit.entries(which or AuditFilter(), limit=limit, offset=offset)
    return [row.target for row in rows]


async def test_recorded(database: Database, clock: FakeClock) -> None:
    audit = Audit(database, clock)
    await audit.record(BOSS, "10.0.0.1", "user.change", "u-1", {"role": ["viewer", "operator"]})
    ((row,), total) = await audit.entries(AuditFilter(), limit=50)
    assert total == 1
    assert (row.at, row.actor, row.nickname, row.address) == (1_000, "boss", "Boss", "10.0.0.1")
    assert (row.action, row.target, row.detail) == ("user.change", "u-1", {"role": ["viewer", "operator"]})


async def test_newest_first_in_pages(database: Database, clock: FakeClock) -> None:
    """Rows of one millisecond are in the order in which they were written."""
    audit = Audit(database, clock)
    for n in range(6):
        await audit.record(BOSS, "", "x", str(n), {})
        clock.forward(n % 2)
    assert await targets(audit, limit=4) == ["5", "4", "3", "2"]
    assert await targets(audit, limit=4, offset=4) == ["1", "0"]
    assert await targets(audit, offset=6) == []


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        (AuditFilter(actor="aide"), ["c", "b"]),
        (AuditFilter(action="station.change"), ["c", "a"]),
        (AuditFilter(target="a"), ["a"]),
        (AuditFilter(since=2_000), ["c", "b"]),
        (AuditFilter(until=2_000), ["a"]),
        (AuditFilter(since=2_000, until=3_000), ["b"]),
        (AuditFilter(actor="aide", action="station.change"), ["c"]),
        (AuditFilter(actor="' OR 1=1 --"), []),
    ],
)
async def test_filters(database: Database, clock: FakeClock, which: AuditFilter, expected: list[str]) -> None:
    audit = Audit(database, clock)
    for who, action, target in (
        (BOSS, "station.change", "a"),
        (AIDE, "station.key", "b"),
        (AIDE, "station.change", "c"),
    ):
        await audit.record(who, "", action, target, {})
        clock.forward(1)
    assert await targets(audit, which=which) == expected
    assert (await audit.entries(which, limit=1))[1] == len(expected)


async def test_a_transaction_takes_its_row_along(database: Database, clock: FakeClock) -> None:
    """A row written in a transaction that fails is not there."""
    audit = Audit(database, clock)

    async def change(*, fails: bool) -> None:
        async with database.session() as session:
            await audit.record(BOSS, "", "x", "failed" if fails else "done", {}, session=session)
            if fails:
                raise RuntimeError

    await change(fails=False)
    with pytest.raises(RuntimeError):
        await change(fails=True)
    assert await targets(audit) == ["done"]


@pytest.mark.parametrize("text", ["n" * 1_000, "a\0b", "\ud800", "🙂" * 200])
async def test_whatever_a_token_holds(database: Database, clock: FakeClock, text: str) -> None:
    """Nickname, user id and address of any length and content are cut to what the database takes."""
    audit = Audit(database, clock)
    await audit.record(identity(text, "admin", nickname=text), text, "x", text, {"told": "a\0b"})
    ((row,), _) = await audit.entries(AuditFilter(), limit=1)
    assert (len(row.nickname), len(row.actor)) == (min(len(text), 64), min(len(text), 128))
    assert row.nickname[0] == ("?" if text == "\ud800" else text[0])


async def test_pruned_after_a_year(database: Database, clock: FakeClock) -> None:
    audit = Audit(database, clock)
    await audit.record(BOSS, "", "x", "old", {})
    clock.forward(1)
    await audit.record(BOSS, "", "x", "younger", {})
    clock.forward(KEPT_MS / 1000 - 1)
    await audit.prune()
    assert await targets(audit) == ["younger", "old"]
    clock.forward(1)
    await audit.prune()
    assert await targets(audit) == ["younger"]


async def test_many_at_once(database: Database, clock: FakeClock) -> None:
    audit = Audit(database, clock)
    await asyncio.gather(*(audit.record(BOSS, "", "x", str(n), {}) for n in range(40)))
    assert sorted(await targets(audit), key=int) == [str(n) for n in range(40)]
