"""The commands that people sent, and what came of them, kept in the database (contract.md section 5)."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson
import structlog

from devices.clock import Clock
from hub.commands import Outcome
from hub.link import LinkDown
from hub.store import commands as queries
from hub.store.database import Database, StoreDown
from hub.store.tables import CommandRow

__all__ = ["KEPT_BYTES", "KEPT_MS", "MOST", "CommandRecord", "CommandRecords", "ended", "kept"]

log = structlog.get_logger(__name__)

KEPT_MS: Final = 30 * 86_400_000
"""Milliseconds that a record is kept: 30 days."""
MOST: Final = 100_000
"""Records that are kept; the oldest go first."""
KEPT_BYTES: Final = 64 * 1024
"""Bytes of JSON of params or result that are kept; larger ones are only sent and answered."""
LATE_MS: Final = 5_000
"""Milliseconds past its deadline that a command may still be written down by the hub that sent it."""
RETRIES: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds between the attempts to write down how a command ended, while the database is out of reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRecord:
    """One command.

    Attributes:
        stage: `sent`, `done`, `error`, `timeout` or `expired`.
        delivered: whether the station said that it has the command; None: not known yet, or never.
        error: what the station said went wrong.
        created_at, deadline_at, finished_at: milliseconds since 1970.
    """

    id: str
    station_id: str
    type: str
    params: Any
    requested_by: str
    created_at: int
    deadline_at: int
    stage: str = "sent"
    delivered: bool | None = None
    result: Any = None
    error: str | None = None
    finished_at: int | None = None

    @property
    def ms(self) -> int | None:
        """How long it took, in milliseconds."""
        return None if self.finished_at is None else self.finished_at - self.created_at


class CommandRecords:
    """The records, in the database. All methods but `follow` raise StoreDown when it cannot be reached."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock
        self._following: set[asyncio.Task[None]] = set()

    async def open(
        self, command_id: str, station_id: str, type: str, params: Any, timeout_ms: int, requested_by: str
    ) -> CommandRecord:
        """Writes down a command that is about to be sent."""
        record = self.begin(command_id, station_id, type, params, timeout_ms, requested_by)
        async with self._database.session() as session:
            session.add(_row(record))
        return record

    def begin(
        self, command_id: str, station_id: str, type: str, params: Any, timeout_ms: int, requested_by: str
    ) -> CommandRecord:
        """The record of a command that is sent now; not written down yet."""
        now = self._clock.wall_ms()
        return CommandRecord(
            id=command_id,
            station_id=station_id,
            type=type,
            params=params,
            requested_by=requested_by,
            created_at=now,
            deadline_at=now + timeout_ms,
        )

    async def write(self, records: Iterable[CommandRecord]) -> None:
        """Writes down what is known of commands, in one transaction; of those that are there already, how they ended."""
        async with self._database.session() as session:
            for record in records:
                row = await session.get(CommandRow, record.id)
                if row is None:
                    session.add(_row(record))
                else:
                    _end(row, record)

    async def discard(self, record: CommandRecord) -> None:
        """Takes back a command that could not be sent."""
        async with self._database.session() as session:
            row = await session.get(CommandRow, record.id)
            if row is not None:
                await session.delete(row)

    def follow(self, record: CommandRecord, outcome: asyncio.Future[Outcome]) -> asyncio.Future[CommandRecord]:
        """Writes down how a command ends, whoever waits for it.

        Returns:
            the record to come, once it is written or was tried to; LinkDown when the hub stops before.
        """
        written: asyncio.Future[CommandRecord] = asyncio.get_running_loop().create_future()
        # nobody may be waiting any more
        written.add_done_callback(lambda future: future.cancelled() or future.exception())
        task = asyncio.create_task(self._follow(record, outcome, written), name="command record")
        self._following.add(task)
        task.add_done_callback(self._following.discard)
        return written

    async def _follow(
        self, record: CommandRecord, outcome: asyncio.Future[Outcome], written: asyncio.Future[CommandRecord]
    ) -> None:
        end: CommandRecord | None = None
        try:
            end = ended(record, await outcome)
            for pause in (*RETRIES, None):
                try:
                    await self._close(end)
                except StoreDown:
                    log.warning("how a command ended is not written down, the database is out of reach", trying=pause)
                else:
                    return
                if not written.done():
                    written.set_result(end)
                if pause is not None:
                    await asyncio.sleep(pause)
        except LinkDown:
            pass  # the hub stops, as it does when this task is cancelled
        finally:
            if not written.done():
                if end is None:
                    written.set_exception(LinkDown("the hub is stopping"))
                else:
                    written.set_result(end)

    async def _close(self, record: CommandRecord) -> None:
        async with self._database.session() as session:
            row = await session.get(CommandRow, record.id)
            if row is None:  # pruned since
                return
            _end(row, record)

    async def read(self, station_id: str, command_id: str) -> CommandRecord | None:
        """A station's command; None when there is none of that id."""
        async with self._database.reading() as session:
            row = await session.get(CommandRow, command_id)
        return None if row is None or row.station_id != station_id else self._record(row)

    async def page(self, station_id: str, *, limit: int, offset: int = 0) -> tuple[list[CommandRecord], int]:
        """Some of a station's commands, newest first, and how many there are in all."""
        async with self._database.reading() as session:
            rows, total = await queries.page(session, station_id, limit, offset)
        return [self._record(row) for row in rows], total

    async def prune(self) -> None:
        """Forgets records that are too old, or too many."""
        async with self._database.session() as session:
            await queries.prune(session, self._clock.wall_ms() - KEPT_MS, MOST)

    async def stop(self) -> None:
        """Stops writing down; what is not by now reads as `timeout` later."""
        for task in self._following:
            task.cancel()
        await asyncio.gather(*self._following, return_exceptions=True)

    def _record(self, row: CommandRow) -> CommandRecord:
        # a hub that died, or stopped, never wrote down how it ended
        lost = row.stage == "sent" and self._clock.wall_ms() > row.deadline_at + LATE_MS
        return CommandRecord(
            id=row.id,
            station_id=row.station_id,
            type=row.type,
            params=row.params,
            requested_by=row.requested_by,
            created_at=row.created_at,
            deadline_at=row.deadline_at,
            stage="timeout" if lost else row.stage,
            delivered=row.delivered,
            result=row.result,
            error=row.error,
            finished_at=row.deadline_at if lost else row.finished_at,
        )


def ended(record: CommandRecord, end: Outcome) -> CommandRecord:
    """The record of a command that ended so."""
    return replace(
        record,
        stage=end.stage,
        delivered=end.delivered,
        result=end.result,
        error=end.error,
        # by the clock that does not jump
        finished_at=record.created_at + round(end.elapsed * 1000),
    )


def kept(record: CommandRecord) -> CommandRecord:
    """A record as it will be read: without what is too large."""
    return replace(record, params=_kept(record.params), result=_kept(record.result))


def _row(record: CommandRecord) -> CommandRow:
    row = CommandRow(
        id=record.id,
        station_id=record.station_id,
        type=_text(record.type),
        params=_kept(record.params),
        requested_by=record.requested_by,
        created_at=record.created_at,
        deadline_at=record.deadline_at,
    )
    _end(row, record)
    return row


def _end(row: CommandRow, record: CommandRecord) -> None:
    row.stage, row.delivered, row.finished_at = record.stage, record.delivered, record.finished_at
    row.result, row.error = _kept(record.result), None if record.error is None else _text(record.error)


def _kept(value: Any) -> Any:
    """A JSON value as the database takes it, or None when it is too large."""
    encoded = orjson.dumps(value)
    return orjson.loads(encoded) if len(encoded) <= KEPT_BYTES else None


def _text(value: str) -> str:
    """Text as PostgreSQL takes it; JSON may hold what it likes."""
    return value.replace("\0", "\ufffd")
