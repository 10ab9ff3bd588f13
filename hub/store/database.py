"""The one way to the database: its URL, its migrations at start, its sessions.

StoreError     the database cannot be opened, or its migrations fail
  StoreDown    it cannot be reached now
  Conflict     another transaction made such a row just then
"""

import os
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Self

import structlog
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, event, exc, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from hub.quiet import quieten

__all__ = ["Conflict", "Database", "Session", "StoreDown", "StoreError", "file_url"]

log = structlog.get_logger(__name__)

DRIVERS: Final = {
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
    "sqlite": "sqlite+aiosqlite",
}
PATIENCE: Final = 5.0
"""Seconds for a server to answer, or for a connection to be free."""
WAL_AGAIN: Final = 0.01
"""Seconds until a file that another hub is just making is tried again."""
TELL_EVERY: Final = 60.0
"""Seconds between two lines in the log about a database that does not answer."""
MIGRATIONS: Final = Path(__file__).parent / "migrations"
_LOCK: Final = 0x53_74_48_75_62  # any number that no other program on the server is likely to lock


class StoreError(Exception):
    """Something is wrong with the database; `str()` names it without its password."""


class StoreDown(StoreError):
    """The database does not answer, or refuses: nothing was read or written."""


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

    Attributes:
        name: its URL, without passwords.
        reachable: whether it did what was asked last.

    Raises:
        StoreError: the URL is none, or its driver is not installed.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = make_url(url)
            parsed = parsed.set(drivername=DRIVERS.get(parsed.drivername, parsed.drivername))
            self.name = parsed.set(query={}).render_as_string()  # a password may be there as well
            if _is_sqlite(parsed):
                self._engine = self._migrating = _sqlite(parsed, writes=True)
                self._reader = _sqlite(parsed, writes=False)
            else:
                self._engine = self._reader = _server(parsed, patience=PATIENCE)
                # nothing is too long for a migration, or for the wait behind another hub's
                self._migrating = _server(parsed, patience=None)
        except (exc.ArgumentError, exc.InvalidRequestError, ImportError, ValueError, TypeError) as error:
            raise StoreError(f"--database: not usable: {type(error).__name__}: {_first_line(error)}") from None
        self.reachable, self._tell_at = True, 0.0
        self._writing = async_sessionmaker(self._engine, expire_on_commit=False)
        self._reading = async_sessionmaker(self._reader, expire_on_commit=False)

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
        quieten("aiosqlite")  # at DEBUG it logs every value that is written
        try:
            if _is_sqlite(self._engine.url):
                _make_private(self._engine.url.database)
            async with self._migrating.begin() as connection:
                if self._engine.dialect.name == "postgresql":
                    await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
                await connection.run_sync(_upgrade)
            if self._migrating is not self._engine:
                await self._migrating.dispose()
        except (exc.SQLAlchemyError, OSError, CommandError) as error:
            await self.stop()
            why = "it was written by a newer hub" if isinstance(error, CommandError) else _first_line(error)
            raise StoreError(f"{self.name}: the database cannot be used: {why}") from None

    async def stop(self) -> None:
        """Closes every connection."""
        for engine in (self._engine, self._reader, self._migrating):
            await engine.dispose()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Session]:
        """One transaction that only reads; with SQLite it waits for nobody who writes. Raises StoreDown."""
        async with self._translated(), self._reading.begin() as session:
            yield session

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """One transaction, committed at the end.

        Raises:
            StoreDown: the database cannot be reached, or does not do what it is asked: it is full, may only be read, or the like.
            Conflict: what was written contradicts a row that another transaction made.
        """
        async with self._translated(), self._writing.begin() as session:
            yield session

    @asynccontextmanager
    async def _translated(self) -> AsyncIterator[None]:
        try:
            yield
        except exc.IntegrityError as error:
            raise Conflict(f"{self.name}: {_first_line(error)}") from error
        except (exc.ProgrammingError, exc.DataError, exc.NotSupportedError):
            raise  # a fault of this program: it must be seen as one
        except (exc.DBAPIError, exc.TimeoutError, OSError) as error:
            self._failed(_first_line(error))
            raise StoreDown(f"{self.name}: {_first_line(error)}") from error
        if not self.reachable:
            self.reachable = True
            log.info("database answers again", database=self.name)

    def _failed(self, reason: str) -> None:
        now = time.monotonic()
        if self.reachable or now >= self._tell_at:
            self._tell_at = now + TELL_EVERY
            log.warning("database does not answer", database=self.name, reason=reason)
        self.reachable = False


def _is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


def _server(url: URL, *, patience: float | None) -> AsyncEngine:
    """Connections to a database server; `patience`: seconds for an answer, None: any time."""
    limits = {"timeout": PATIENCE} | ({} if patience is None else {"command_timeout": patience})
    return create_async_engine(
        url,
        hide_parameters=True,  # a traceback is logged, and a password's hash is a parameter
        pool_pre_ping=True,
        pool_size=5,
        max_overflow=5,
        pool_timeout=PATIENCE,
        # a server that hangs is as good as none
        connect_args=limits if url.drivername == DRIVERS["postgresql"] else {},
    )


def _sqlite(url: URL, *, writes: bool) -> AsyncEngine:
    """Connections to a file. One that writes: a queue here is fairer than SQLite's busy waiting."""
    engine = create_async_engine(
        url,
        hide_parameters=True,
        pool_size=1 if writes else 2,
        max_overflow=0,
        pool_timeout=PATIENCE,
        connect_args={"timeout": PATIENCE},
    )

    @event.listens_for(engine.sync_engine, "connect")
    def connected(connection: Any, _: object) -> None:
        # transactions are ours to begin: the driver's own way begins them too late, and not around DDL
        connection.isolation_level = None
        cursor = connection.cursor()
        if writes:
            _use_wal(cursor)
        else:
            cursor.execute("PRAGMA query_only=ON")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def began(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _use_wal(cursor: Any) -> None:
    """Writes ahead from now on. Two that change a new file at once are told "locked" at once, however patient they are."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(WAL_AGAIN)  # of a hub that starts: nobody is served yet


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
