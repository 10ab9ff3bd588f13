"""The database: made at start, one schema in code and migrations, errors that name it."""

import asyncio
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import ProgrammingError
from structlog.testing import capture_logs

from hub.store.database import Database, StoreDown, StoreError, file_url
from hub.store.tables import Base
from tests.databases import Postgres, postgres  # noqa: F401  # a fixture


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return file_url(tmp_path / "hub.sqlite")
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_database()


async def test_migrations_make_the_tables(url: str) -> None:
    """What the migrations make is what the code expects; a second start changes nothing."""

    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), Base.metadata))

    async with Database(url):
        pass
    async with Database(url) as database, database.session() as session:
        assert await (await session.connection()).run_sync(differences) == []


async def test_two_hubs_start_at_once(url: str) -> None:
    databases = [Database(url) for _ in range(4)]
    await asyncio.gather(*(database.start() for database in databases))
    for database in databases:
        await database.stop()


async def test_hubs_that_make_the_same_new_file(tmp_path: Path) -> None:
    """SQLite tells the later one "locked" without waiting; it is tried again. One round in ten showed it."""
    for round_ in range(20):
        databases = [Database(f"sqlite:///{tmp_path}/{round_}.sqlite") for _ in range(4)]
        await asyncio.gather(*(database.start() for database in databases))
        for database in databases:
            await database.stop()


async def test_written_by_a_newer_hub(url: str) -> None:
    async with Database(url) as database, database.session() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match="newer hub"):
        await Database(url).start()


async def test_the_file_is_private(tmp_path: Path) -> None:
    path = tmp_path / "hub.sqlite"
    async with Database(file_url(path)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://hub:open-sesame@127.0.0.1:1/hub",
        "oracle://hub:open-sesame@127.0.0.1/hub",
        "nothing://hub:open-sesame@x",
        "sqlite:////nowhere/at/all/hub.sqlite",
        "://",
    ],
)
async def test_what_cannot_be_used(url: str) -> None:
    """An error that says so, without the password."""
    with pytest.raises(StoreError) as caught:
        await Database(url).start()
    assert "open-sesame" not in str(caught.value)


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "hub.sqlite"
    path.write_bytes(b"not a database at all, but long enough" * 100)
    with pytest.raises(StoreError, match=r"hub\.sqlite: the database cannot be used"):
        await Database(file_url(path)).start()


async def test_a_database_that_goes_away(url: str) -> None:
    """It is told once in the log, and that it is back; what it does not know how to do is a fault, not an outage."""
    away = True

    def fails(*_: object) -> None:
        if away:
            raise OSError("away")

    async with Database(url) as database:
        for engine in {database._engine.sync_engine, database._reader.sync_engine}:
            event.listen(engine, "before_cursor_execute", fails)
        with capture_logs() as logs:
            for use in (database.session, database.reading, database.session):
                with pytest.raises(StoreDown):
                    async with use() as session:
                        await session.execute(text("SELECT 1"))
            assert not database.reachable
            away = False
            async with database.reading() as session:
                await session.execute(text("SELECT 1"))
            assert database.reachable
        assert [entry["event"] for entry in logs] == ["database does not answer", "database answers again"]
        with pytest.raises((ProgrammingError, StoreDown) if "sqlite" in url else ProgrammingError):
            async with database.session() as session:
                await session.execute(text("SELECT nothing FROM nowhere"))


async def test_who_reads_waits_for_nobody(tmp_path: Path) -> None:
    """While another process writes to the file."""
    path = tmp_path / "hub.sqlite"
    async with Database(file_url(path)) as database:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            async with asyncio.timeout(4), database.reading() as session:
                assert (await session.execute(text("SELECT count(*) FROM accounts"))).scalar() == 0


async def test_only_one_may_write(tmp_path: Path) -> None:
    """What is for reading cannot change anything."""
    async with Database(file_url(tmp_path / "hub.sqlite")) as database:
        with pytest.raises(StoreDown, match="readonly"):
            async with database.reading() as session:
                await session.execute(text("DELETE FROM accounts"))
