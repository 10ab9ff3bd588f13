"""The queries on stations and their credentials."""

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import Text, cast, select

from hub.store.database import Session
from hub.store.tables import CredentialRow, StationRow

__all__ = ["Light", "by_ids", "credential", "credentials", "deleted_ids", "light", "locked"]

CHUNK = 500
"""Rows read at a time: between two chunks others get their turn."""


class Light(NamedTuple):
    """What a list is filtered and sorted by; `tags` is JSON, left for another thread to parse."""

    id: str
    name: str
    location: str
    created_at: int
    tags: str = "[]"


async def light(session: Session) -> list[Light]:
    """Every station that was entered."""
    query = select(
        StationRow.id, StationRow.name, StationRow.location, StationRow.created_at, cast(StationRow.tags, Text)
    )
    rows = list[Light]()
    async for chunk in (await session.stream(query)).partitions(CHUNK):
        rows += [Light(*row) for row in chunk]
    return rows


async def by_ids(session: Session, ids: Collection[str]) -> dict[str, StationRow]:
    """The stations of these ids that were entered."""
    return {row.id: row for row in await session.scalars(select(StationRow).where(StationRow.id.in_(ids)))}


async def locked(session: Session, station_id: str) -> StationRow | None:
    """A station, to be changed by this transaction alone."""
    return await session.get(StationRow, station_id, with_for_update=True)


async def credential(session: Session, station_id: str, *, lock: bool = False) -> CredentialRow | None:
    """A station's credential; with `lock`, to be changed by this transaction alone."""
    return await session.get(CredentialRow, station_id, with_for_update=lock or None)


async def credentials(session: Session) -> list[CredentialRow]:
    """All of them."""
    return list(await session.scalars(select(CredentialRow)))


async def deleted_ids(session: Session) -> set[str]:
    """Stations that were deleted, and not entered again."""
    return set(await session.scalars(select(CredentialRow.station_id).where(CredentialRow.key_hash.is_(None))))
