"""The queries on commands."""

from sqlalchemy import delete, func, select

from hub.store.database import Session
from hub.store.tables import CommandRow

__all__ = ["page", "prune"]


async def page(session: Session, station_id: str, limit: int, offset: int) -> tuple[list[CommandRow], int]:
    """Some of a station's commands, newest first, and how many there are in all."""
    of_station = CommandRow.station_id == station_id
    total = await session.scalar(select(func.count()).select_from(CommandRow).where(of_station))
    newest = select(CommandRow).where(of_station).order_by(CommandRow.created_at.desc(), CommandRow.id)
    return list(await session.scalars(newest.limit(limit).offset(offset))), total or 0


async def prune(session: Session, before: int, most: int) -> None:
    """Deletes what is older than `before`, milliseconds since 1970, and of the rest all but the `most` newest."""
    oldest_first_too_many = select(CommandRow.created_at).order_by(CommandRow.created_at.desc()).offset(most).limit(1)
    surplus = await session.scalar(oldest_first_too_many)
    await session.execute(
        delete(CommandRow).where(
            (CommandRow.created_at < before)
            if surplus is None
            else (CommandRow.created_at < before) | (CommandRow.created_at <= surplus)
        )
    )
