"""The audit's queries."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, delete, func, select

from hub.store.database import Session
from hub.store.tables import AuditRow

__all__ = ["AuditFilter", "page", "prune"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which rows; None: whatever. `since` (included) and `until` (not) are milliseconds since 1970."""

    actor: str | None = None
    action: str | None = None
    target: str | None = None
    since: int | None = None
    until: int | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """As SQL."""
        exact = ((AuditRow.actor, self.actor), (AuditRow.action, self.action), (AuditRow.target, self.target))
        conditions = [column == value for column, value in exact if value is not None]
        if self.since is not None:
            conditions.append(AuditRow.at >= self.since)
        if self.until is not None:
            conditions.append(AuditRow.at < self.until)
        return conditions


async def page(session: Session, which: AuditFilter, limit: int, offset: int) -> tuple[list[AuditRow], int]:
    """Some of the rows, newest first, and how many there are in all."""
    conditions = which.conditions()
    total = await session.scalar(select(func.count()).select_from(AuditRow).where(*conditions))
    newest = select(AuditRow).where(*conditions).order_by(AuditRow.at.desc(), AuditRow.id.desc())
    return list(await session.scalars(newest.limit(limit).offset(offset))), total or 0


async def prune(session: Session, before: int) -> None:
    """Deletes what is older than `before`, milliseconds since 1970."""
    await session.execute(delete(AuditRow).where(AuditRow.at < before))
