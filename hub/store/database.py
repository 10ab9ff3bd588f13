"""The one way to the database: its URL, its migrations at start, its sessions.

StoreError     the database cannot be opened, or its migrations fail
  StoreDown    it cannot be reached now
  Conflict     another transaction made such a row just then
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Self

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, event, exc, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from hub.quiet import quieten

__all__ = ["Conflict", "Database", "Session", "StoreDown", "StoreError", "file_url"]

DRIVERS: Final = {
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
    "sqlite": "sqlite+aiosqlite",
}
MIGRATIONS: Final = Path(__file__).parent / "migrations"
_LOCK: Final = 0x53_74_48_75_62  # any number that no other program on the server is likely to lock


class StoreError(Exception):
    """Something is wrong with the database; `str()` names it without its password."""


class StoreDown(StoreError):
    """The database cannot be reached now: nothing was read or written."""


class Conflict(StoreError):
    """Another transaction made such a row just then: nothing was written."""


Session = AsyncSession
"""A transaction, as `Database.session` gives it."""


def file_url(path: Path) -> str:
    """The URL of a SQLite file."""
    return URL.create("sqlite+aiosqlite", database=str(path)).render_as_string()


class Database:
    """A pool of connections.

    Args:
        url: any that SQLAlchemy takes; of `postgresql://` and `sqlite://` the asyncio driver is added.

    Raises:
        StoreError: the URL is none, or its driver is not installed.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = make_url(url)
            parsed = parsed.set(drivername=DRIVERS.get(parsed.drivername, parsed.drivername))
            self.name = parsed.render_as_string()
            self._engine = _engine(parsed)
        except (exc.ArgumentError, exc.InvalidRequestError, ImportError, ValueError, TypeError) as error:
            raise StoreError(f"--database: not usable: {type(error).__name__}: {_first_line(error)}") from None
        self._sessions = async_sessionmaker(self._engine, expire_on_commit=False)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Connects and brings the tables up to date; several hubs may do so at once.

        Raises:
            StoreError: it cannot be reached, or was written by a newer hub.
        """
        quieten("alembic")
        try:
            if self._engine.dialect.name == "sqlite":
                _make_private(self._engine.url.database)
            async with self._engine.begin() as connection:
                if self._engine.dialect.name == "postgresql":
                    await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
                await connection.run_sync(_upgrade)
        except (exc.SQLAlchemyError, OSError, CommandError) as error:
            await self.stop()
            why = "it was written by a newer hub" if isinstance(error, CommandError) else _first_line(error)
            raise StoreError(f"{self.name}: the database cannot be used: {why}") from None

    async def stop(self) -> None:
        """Closes every connection."""
        await self._engine.dispose()

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """One transaction, committed at the end.

        Raises:
            StoreDown: the database cannot be reached; what the block raises itself passes through.
            Conflict: what was written contradicts a row that another transaction made.
        """
        try:
            async with self._sessions.begin() as session:
                yield session
        except exc.IntegrityError as error:
            raise Conflict(f"{self.name}: {_first_line(error)}") from error
        except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError, exc.InternalError, OSError) as error:
            raise StoreDown(f"{self.name}: {_first_line(error)}") from error


def _engine(url: URL) -> AsyncEngine:
    if url.get_backend_name() != "sqlite":
        return create_async_engine(url, pool_pre_ping=True, pool_size=5, max_overflow=5, pool_timeout=10)
    # one connection: SQLite writes one transaction at a time, and a queue here is fairer than its busy waiting
    engine = create_async_engine(url, pool_size=1, max_overflow=0, pool_timeout=30, connect_args={"timeout": 10})

    @event.listens_for(engine.sync_engine, "connect")
    def connected(connection: Any, _: object) -> None:
        # transactions are ours to begin: the driver's own way begins them too late, and not around DDL
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def began(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _make_private(path: str | None) -> None:
    """The file holds password hashes: made for its owner alone."""
    if path and path != ":memory:":
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _first_line(error: BaseException) -> str:
    """What the driver says, without the statement and its values, which SQLAlchemy puts below."""
    cause = error.orig if isinstance(error, exc.DBAPIError) and error.orig is not None else error
    lines = str(cause).splitlines() or [type(cause).__name__]
    return lines[0].removeprefix("<class ").strip()
