"""Who changed what, and when: rows that are only ever added, in the transaction of the change itself where there is one."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from devices.clock import Clock
from hub.auth import Identity
from hub.store import audit as queries
from hub.store.audit import AuditFilter
from hub.store.database import Database, Session
from hub.store.tables import AuditRow

__all__ = ["KEPT_MS", "Audit", "Author"]

KEPT_MS: Final = 365 * 86_400_000
"""Milliseconds that a row is kept: a year."""


class Author(NamedTuple):
    """Who changes something, and the network address it comes from."""

    identity: Identity
    address: str


class Audit:
    """The audit trail."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    async def record(
        self,
        identity: Identity,
        address: str,
        action: str,
        target: str,
        detail: Mapping[str, Any],
        *,
        session: Session | None = None,
    ) -> None:
        """Adds a row.

        Args:
            action: what was done, such as `station.change`; at most 32 characters.
            target: the id of what it was done to.
            detail: what changed, as JSON; never a key, a password or a token.
            session: the transaction of the change, so that neither is there without the other; None: one of its own.

        Raises:
            StoreDown: the database cannot be reached.
        """
        row = AuditRow(
            at=self._clock.wall_ms(),
            actor=_text(identity.user_id, 128),
            nickname=_text(identity.nickname, 64),
            address=_text(address, 64),
            action=_text(action, 32),
            target=_text(target, 128),
            detail=dict(detail),
        )
        if session is not None:
            session.add(row)
            return
        async with self._database.session() as own:
            own.add(row)

    async def entries(self, which: AuditFilter, *, limit: int, offset: int = 0) -> tuple[list[AuditRow], int]:
        """Some of the rows, newest first, and how many there are in all. Raises StoreDown."""
        async with self._database.reading() as session:
            return await queries.page(session, which, limit, offset)

    async def prune(self) -> None:
        """Forgets what is older than a year. Raises StoreDown."""
        async with self._database.session() as session:
            await queries.prune(session, self._clock.wall_ms() - KEPT_MS)


def _text(value: str, longest: int) -> str:
    """What a column takes: a token issued elsewhere may hold a nickname of any length, with what is no text for PostgreSQL."""
    return value.encode(errors="replace").decode().replace("\0", "\ufffd")[:longest]
