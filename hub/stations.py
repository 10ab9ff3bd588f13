"""The stations: those that somebody entered, with what presence and their last status say; and their device keys.

StationError
  NoSuchStation    there is none of that id
  StationExists    somebody entered it already
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar

from devices.messages import Verdict
from hub.audit import Audit, Author
from hub.credentials import Credential, hash_key, new_key
from hub.history import Recorded
from hub.services import Services
from hub.shared_read import SharedRead
from hub.station_list import StationFilter, cut, shown
from hub.store import stations as queries
from hub.store.database import Conflict, Database, Session
from hub.store.tables import CredentialRow, StationRow

__all__ = ["Issued", "NoSuchStation", "Revoked", "Station", "StationError", "StationExists", "Stations"]

T = TypeVar("T")

FIELDS: Final = ("name", "location", "tags", "cameras")
"""What may be changed of a station."""


class StationError(Exception):
    """A station cannot be had, or made."""


class NoSuchStation(StationError):
    """There is no station of that id."""


class StationExists(StationError):
    """A station of that id was entered already."""


@dataclass(frozen=True, slots=True)
class Station:
    """A station as it is now.

    Attributes:
        entry: what was entered; None: nobody did, it was only heard of.
        verdict: the last verdict on its presence.
        status: its last status, as JSON.
    """

    station_id: str
    entry: StationRow | None
    verdict: Verdict | None
    status: bytes | None


class Revoked(NamedTuple):
    """What a station logs in with from now on; see `hub.credentials.Credential`."""

    station_id: str
    key_hash: bytes | None
    valid_from: float


class Issued(NamedTuple):
    """A device key, which is not kept and cannot be shown again."""

    key: str
    credential: Revoked


class Stations:
    """The stations, over the database and the services of this node.

    Every change is one transaction with its row in the audit. What it says of a credential has yet to be told to the nodes.
    All methods raise StoreDown when the database cannot be reached.
    """

    def __init__(self, database: Database, audit: Audit, services: Services) -> None:
        self._database, self._audit, self._services = database, audit, services
        self._directory = SharedRead(self._read_directory)
        self._cutting = asyncio.Lock()

    # ---- reading

    async def credentials(self) -> list[Revoked]:
        """Those of all stations, deleted ones too."""
        async with self._database.reading() as session:
            return [_revoked(row) for row in await queries.credentials(session)]

    async def credential(self, station_id: str) -> Revoked | None:
        """That of one station; None: it was never entered, nor revoked."""
        async with self._database.reading() as session:
            row = await queries.credential(session, station_id)
        return None if row is None else _revoked(row)

    async def opened_by(self, station_id: str, key: str) -> float | None:
        """Since when `key` is the station's device key, whichever node gave it: see `Tokens.mint_station`; None: it is not."""
        known = await self.credential(station_id)
        return None if known is None else Credential(known.key_hash, known.valid_from).opened_by(key)

    async def page(
        self, which: StationFilter, *, limit: int, offset: int = 0, status: bool = True
    ) -> tuple[list[Station], int]:
        """Some of the stations, and how many match in all.

        Args:
            status: with the last status of each; else none is read.
        """
        entered, deleted = await self._directory.get()
        presence = self._services.presence
        # thousands of comparisons: beside the event loop, in one thread, for with more it would get its turn late
        async with self._cutting:
            verdicts = {sid: verdict for sid in presence.ids() if (verdict := presence.judged(sid)) is not None}
            ids, total = await asyncio.to_thread(cut, entered, deleted, verdicts, which, limit=limit, offset=offset)
        async with self._database.reading() as session:
            entries = await queries.by_ids(session, ids)
        # one may have been deleted since
        there = [station_id for station_id in ids if station_id in entries or station_id in verdicts]
        return [self._station(station_id, entries.get(station_id), status=status) for station_id in there], total

    async def _read_directory(self) -> tuple[list[queries.Light], set[str]]:
        async with self._database.reading() as session:
            return await queries.light(session), await queries.deleted_ids(session)

    async def read(self, station_id: str) -> Station:
        """One station. Raises NoSuchStation."""
        async with self._database.reading() as session:
            entry = (await queries.by_ids(session, [station_id])).get(station_id)
            if entry is None:
                await self._require_stranger(session, station_id)
        return self._station(station_id, entry)

    async def require(self, station_id: str) -> None:
        """Raises NoSuchStation when there is none; asks no database about one that is online."""
        if not self._services.presence.online(station_id):
            await self.read(station_id)

    async def history(self, station_id: str) -> Recorded:
        """The numbers that it reported in the last ten minutes, as far as they are kept. Raises NoSuchStation."""
        await self.require(station_id)
        history = self._services.history
        return Recorded([], []) if history is None else history.of(station_id, self._services.clock.monotonic())

    def _station(self, station_id: str, entry: StationRow | None, *, status: bool = True) -> Station:
        board = self._services.board
        last = board.json(station_id) if status and board.known([station_id]) else None
        return Station(station_id, entry, self._services.presence.judged(station_id), last)

    async def _require_stranger(self, session: Session, station_id: str) -> None:
        """Raises NoSuchStation unless a station that nobody entered was heard of."""
        verdict, credential = self._services.presence.judged(station_id), await queries.credential(session, station_id)
        if not shown(station_id, verdict, () if credential is None else (station_id,)):
            raise NoSuchStation

    # ---- changing

    async def create(self, station_id: str, fields: Mapping[str, Any], by: Author) -> tuple[Station, Issued]:
        """Enters a station; what an earlier one of that id was given stays void.

        Args:
            fields: any of name, location, tags and cameras.

        Raises:
            StationExists: it was entered already.
        """
        values: dict[str, Any] = {"name": "", "location": "", "tags": [], "cameras": [], **fields}

        async def work(session: Session) -> tuple[StationRow, Issued]:
            if await queries.locked(session, station_id) is not None:
                raise StationExists
            now, key = self._services.clock.wall_ms(), new_key()
            row = StationRow(id=station_id, created_at=now, updated_at=now, **values)
            session.add(row)
            await session.flush()
            old = await queries.credential(session, station_id, lock=True)
            credential = self._set(session, station_id, old, hash_key(key), _later(old) if old else 0.0)
            await self._record(session, by, "station.create", station_id, {n: _told(n, v) for n, v in values.items()})
            return row, Issued(key, credential)

        row, issued = await self._change(work)
        return self._station(station_id, row), issued

    async def change(self, station_id: str, fields: Mapping[str, Any], by: Author) -> Station:
        """Changes any of name, location, tags and cameras. Raises NoSuchStation when nobody entered it."""

        async def work(session: Session) -> StationRow:
            row = await self._entered(session, station_id)
            old = {name: getattr(row, name) for name in FIELDS}
            changed = [name for name in FIELDS if name in fields and fields[name] != old[name]]
            for name in changed:
                setattr(row, name, fields[name])
            if changed:
                row.updated_at = self._services.clock.wall_ms()
                detail = {name: {"from": _told(name, old[name]), "to": _told(name, fields[name])} for name in changed}
                await self._record(session, by, "station.change", station_id, detail)
            return row

        return self._station(station_id, await self._change(work))

    async def rotate(self, station_id: str, by: Author) -> Issued:
        """Gives it another key; whatever it was given before is void. Raises NoSuchStation when nobody entered it."""

        async def work(session: Session) -> Issued:
            await self._entered(session, station_id)
            key = new_key()
            credential = await self._revoke(session, station_id, hash_key(key))
            await self._record(session, by, "station.key", station_id, {})
            return Issued(key, credential)

        return await self._change(work)

    async def delete(self, station_id: str, by: Author) -> Revoked:
        """Deletes a station, entered or only heard of; whatever it was given before is void. Raises NoSuchStation."""

        async def work(session: Session) -> Revoked:
            row = await queries.locked(session, station_id)
            if row is None:
                await self._require_stranger(session, station_id)
            else:
                await session.delete(row)
            credential = await self._revoke(session, station_id, None)
            await self._record(session, by, "station.delete", station_id, {"name": row.name} if row else {})
            return credential

        return await self._change(work)

    # ---- inside

    async def _change(self, work: Callable[[Session], Awaitable[T]]) -> T:
        """One transaction, tried once more when another node wrote the same rows just then."""
        try:
            async with self._database.session() as session:
                return await work(session)
        except Conflict:
            async with self._database.session() as session:
                return await work(session)

    async def _entered(self, session: Session, station_id: str) -> StationRow:
        row = await queries.locked(session, station_id)
        if row is None:
            raise NoSuchStation
        return row

    async def _revoke(self, session: Session, station_id: str, key_hash: bytes | None) -> Revoked:
        old = await queries.credential(session, station_id, lock=True)
        # past this millisecond: a token that was issued within it may be older than the change
        valid_from = (self._services.clock.wall_ms() + 1) / 1000
        if old is not None:
            valid_from = max(valid_from, _later(old))
        return self._set(session, station_id, old, key_hash, valid_from)

    def _set(
        self,
        session: Session,
        station_id: str,
        old: CredentialRow | None,
        key_hash: bytes | None,
        valid_from: float,
    ) -> Revoked:
        row = old or CredentialRow(station_id=station_id)
        row.key_hash, row.valid_from = key_hash, valid_from
        session.add(row)
        return _revoked(row)

    async def _record(
        self, session: Session, by: Author, action: str, station_id: str, detail: Mapping[str, Any]
    ) -> None:
        await self._audit.record(*by, action, station_id, detail, session=session)


def _revoked(row: CredentialRow) -> Revoked:
    return Revoked(row.station_id, row.key_hash, row.valid_from)


def _later(row: CredentialRow) -> float:
    """A `valid_from` just after: a node that hears of two changes in the wrong order knows the later one."""
    return round(row.valid_from + 0.001, 3)


def _told(name: str, value: Any) -> Any:
    """A field as the audit has it: of cameras the ids alone, for a URL may hold a password."""
    return [camera["cameraId"] for camera in value] if name == "cameras" else value
