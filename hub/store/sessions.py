"""The valid session of each user, in the database: a kick survives a restart."""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import delete, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from devices.messages import UserRecord
from hub.store.database import Database
from hub.store.tables import SessionRow

__all__ = ["StoredSessions"]


class StoredSessions:
    """Reads and writes them. Every method raises StoreDown."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> dict[str, UserRecord]:
        """All of them, by user id."""
        async with self._database.reading() as session:
            rows = await session.execute(select(SessionRow.user_id, SessionRow.session_id, SessionRow.issued_at))
            return {user: UserRecord(session_id=sid, issued_at=at) for user, sid, at in rows}

    async def save(self, records: Mapping[str, UserRecord]) -> dict[str, UserRecord]:
        """Writes records, but over older ones only: of two nodes that both admit a session, the newer stays.

        Returns:
            what stands now, of the same users.
        """
        standing = {}
        async with self._database.session() as session:
            dialect: Any = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
            # in one order, so that two nodes that write the same rows never wait for each other
            for user_id in sorted(records):
                record = records[user_id]
                insert = dialect.insert(SessionRow).values(
                    user_id=user_id, session_id=record.session_id, issued_at=record.issued_at
                )
                new = insert.excluded
                await session.execute(
                    insert.on_conflict_do_update(
                        index_elements=[SessionRow.user_id],
                        set_={"session_id": new.session_id, "issued_at": new.issued_at},
                        where=tuple_(SessionRow.issued_at, SessionRow.session_id)
                        < tuple_(new.issued_at, new.session_id),
                    )
                )
                row = await session.get_one(SessionRow, user_id, populate_existing=True)
                standing[user_id] = UserRecord(session_id=row.session_id, issued_at=row.issued_at)
        return standing

    async def forget(self, user_ids: Iterable[str]) -> None:
        """Deletes records."""
        async with self._database.session() as session:
            for user_id in sorted(user_ids):
                await session.execute(delete(SessionRow).where(SessionRow.user_id == user_id))
