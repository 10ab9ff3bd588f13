"""Commands of browsers, written down beside their way: the database may be away or slow, and no command waits for it.

note -> waiting, by command id: the newest that is known of each -> one transaction of many, again and again
"""

import asyncio
from dataclasses import replace
from itertools import islice
from typing import Any, Final

import structlog

from hub.command_records import CommandRecord, CommandRecords, ended, kept
from hub.commands import Outcome
from hub.store.database import StoreError

__all__ = ["MOST_WAITING", "CommandNotes"]

log = structlog.get_logger(__name__)

MOST_WAITING: Final = 1_000
"""Commands that wait to be written down; of more there will be no record."""
AT_ONCE: Final = 100
"""Commands in one transaction: others want to write, too."""
RETRY: Final = 5.0
"""Seconds until the next attempt, while the database is out of reach."""
STOP_WITHIN: Final = 1.0


class CommandNotes:
    """What is yet to be written down.

    Attributes:
        lost: commands of which there is no record, for too many waited.
    """

    def __init__(self, records: CommandRecords) -> None:
        self._records = records
        self._waiting: dict[str, CommandRecord] = {}
        self._writer: asyncio.Task[None] | None = None
        self.lost = 0

    def note(
        self,
        command_id: str,
        station_id: str,
        type: str,
        params: Any,
        timeout_ms: int,
        requested_by: str,
        outcome: asyncio.Future[Outcome],
    ) -> None:
        """A command was sent: it is written down, and how it ends as well."""
        if len(self._waiting) >= MOST_WAITING:
            self.lost += 1
            return
        record = self._records.begin(command_id, station_id, type, params, timeout_ms, requested_by)
        self._put(record)
        # params may be large, and are written before a station answers, as a rule
        slim = replace(record, params=None)

        def over(future: asyncio.Future[Outcome]) -> None:
            if not future.cancelled() and future.exception() is None:
                self._put(ended(self._waiting.get(command_id, slim), future.result()))

        outcome.add_done_callback(over)

    def _put(self, record: CommandRecord) -> None:
        self._waiting[record.id] = kept(record)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write(), name="command notes")

    async def _write(self) -> None:
        while self._waiting:
            batch = {command_id: self._waiting.pop(command_id) for command_id in list(islice(self._waiting, AT_ONCE))}
            try:
                await self._records.write(batch.values())
            except StoreError:
                log.warning("commands are not written down, the database is out of reach", waiting=len(batch))
                newer = {
                    cid: replace(note, params=batch[cid].params) for cid, note in self._waiting.items() if cid in batch
                }
                self._waiting = batch | self._waiting | newer
                await asyncio.sleep(RETRY)

    async def stop(self) -> None:
        """Writes down what waits, if that takes no longer than a moment."""
        if self._writer is not None:
            _, late = await asyncio.wait({self._writer}, timeout=STOP_WITHIN)
            if late:
                log.warning("the last commands are not written down, the database did not take them in time")
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
