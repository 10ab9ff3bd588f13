"""Stations in the database: entered, changed, given keys, deleted; and every change in the audit, in one transaction."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from sqlalchemy import text

from hub.audit import Audit, Author
from hub.credentials import hash_key
from hub.station_list import StationFilter
from hub.stations import NoSuchStation, Revoked, StationExists, Stations
from hub.store.audit import AuditFilter
from hub.store.database import Database, StoreDown
from tests.bridge.fakes import Bench, identity
from tests.databases import postgres  # noqa: F401  # a fixture
from tests.hub.test_database import url  # noqa: F401  # a fixture: both databases

BY = Author(identity("boss", "admin"), "10.0.0.1")
ALL = StationFilter()


class Store:
    """Stations over a database, on a bench."""

    def __init__(self, database: Database) -> None:
        self.database, self.bench = database, Bench()
        self.audit = Audit(database, self.bench.clock)
        self.stations = Stations(database, self.audit, self.bench.services)

    async def audited(self) -> list[tuple[str, str, Any]]:
        """Every row of the audit as (action, target, detail), oldest first."""
        rows, _ = await self.audit.entries(AuditFilter(), limit=200)
        return [(row.action, row.target, row.detail) for row in reversed(rows)]


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:  # noqa: F811
    async with Database(url) as database:
        yield Store(database)


async def test_entered_and_read(store: Store) -> None:
    fields = {
        "name": "Gate 1",
        "location": "Київ",
        "tags": ["a", "b"],
        "cameras": [{"cameraId": "c", "url": "rtsp://u:p@h"}],
    }
    station, issued = await store.stations.create("st-1", fields, BY)
    read = await store.stations.read("st-1")
    assert read.entry is not None
    assert station.entry is not None
    for entry in (station.entry, read.entry):
        assert {name: getattr(entry, name) for name in fields} == fields
        assert entry.created_at == entry.updated_at == store.bench.clock.wall
    assert (read.verdict, read.status) == (None, None)
    assert issued.credential == Revoked("st-1", hash_key(issued.key), 0.0)
    assert await store.stations.credentials() == [issued.credential]
    assert await store.stations.credential("st-1") == issued.credential
    assert await store.stations.credential("st-2") is None


async def test_entered_once(store: Store) -> None:
    """Of many at once one succeeds, and its key is the one that counts."""
    answers = await asyncio.gather(
        *(store.stations.create("st-1", {"name": str(n)}, BY) for n in range(8)), return_exceptions=True
    )
    made = [answer for answer in answers if isinstance(answer, tuple)]
    assert len(made) == 1
    assert all(isinstance(answer, StationExists) for answer in answers if not isinstance(answer, tuple))
    assert await store.stations.credentials() == [made[0][1].credential]
    assert len(await store.audited()) == 1


async def test_presence_and_status(store: Store) -> None:
    """Presence and the last status are read with the station, whether somebody entered it or not."""
    await store.stations.create("st-1", {}, BY)
    for station_id in ("st-1", "st-2"):
        store.bench.station(station_id)
        store.bench.say(station_id, "status", {"devices": [{"deviceId": "d"}]})
        station = await store.stations.read(station_id)
        assert station.verdict is not None
        assert (station.verdict.state, station.verdict.via) == ("online", "mqtt")
        assert orjson.loads(station.status or b"")["stationId"] == station_id
    found, total = await store.stations.page(ALL, limit=10)
    assert [(station.station_id, station.entry is not None) for station in found] == [("st-1", True), ("st-2", False)]
    assert total == 2
    for station_id in ("st-1", "st-2"):
        await store.stations.require(station_id)
    with pytest.raises(NoSuchStation):
        await store.stations.require("st-3")


async def test_changed(store: Store) -> None:
    """What is named is changed; what changes nothing leaves no trace."""
    await store.stations.create("st-1", {"name": "Old", "tags": ["a"]}, BY)
    created = store.bench.clock.wall
    store.bench.clock.forward(1)
    for _ in range(2):
        station = await store.stations.change("st-1", {"name": "New", "tags": ["a"]}, BY)
        store.bench.clock.forward(1)
        assert station.entry is not None
        assert (station.entry.name, station.entry.tags, station.entry.location) == ("New", ["a"], "")
        assert (station.entry.created_at, station.entry.updated_at) == (created, created + 1_000)
    assert (await store.audited())[1:] == [("station.change", "st-1", {"name": {"from": "Old", "to": "New"}})]
    with pytest.raises(NoSuchStation):
        await store.stations.change("st-2", {"name": "x"}, BY)


async def test_another_key(store: Store) -> None:
    """The newest key alone is kept, and each voids what was issued up to its moment."""
    _, first = await store.stations.create("st-1", {}, BY)
    issued = [first, *[await store.stations.rotate("st-1", BY) for _ in range(3)]]
    assert len({one.key for one in issued}) == 4
    times = [one.credential.valid_from for one in issued]
    assert times == sorted(set(times))  # each is later, though the clock stands still
    assert times[1] > store.bench.clock.wall / 1000
    assert await store.stations.credentials() == [issued[-1].credential]
    with pytest.raises(NoSuchStation):
        await store.stations.rotate("st-2", BY)


async def test_whose_key(store: Store) -> None:
    """The newest key of that station alone, while there is the station."""
    _, first = await store.stations.create("st-1", {}, BY)
    assert await store.stations.opened_by("st-1", first.key) == 0.0
    second = await store.stations.rotate("st-1", BY)
    await store.stations.create("st-2", {}, BY)
    keys = ("", first.key, second.key, "\ud800")
    assert [await store.stations.opened_by("st-1", key) for key in keys] == [
        None,
        None,
        second.credential.valid_from,
        None,
    ]
    assert await store.stations.opened_by("st-2", second.key) is None
    await store.stations.delete("st-1", BY)
    assert await store.stations.opened_by("st-1", second.key) is None
    assert await store.stations.opened_by("st-9", second.key) is None


async def test_keys_at_once(store: Store) -> None:
    """Of two keys made at once the one with the later `valid_from` is kept."""
    await store.stations.create("st-1", {}, BY)
    issued = await asyncio.gather(*(store.stations.rotate("st-1", BY) for _ in range(8)))
    assert len({one.credential.valid_from for one in issued}) == 8
    latest = max(issued, key=lambda one: one.credential.valid_from)
    assert await store.stations.credentials() == [latest.credential]


async def test_deleted(store: Store) -> None:
    """What a deleted station was given stays void, even when it is entered again."""
    await store.stations.create("st-1", {"name": "Gate"}, BY)
    store.bench.station("st-1")
    gone = await store.stations.delete("st-1", BY)
    assert gone.key_hash is None
    assert gone.valid_from > store.bench.clock.wall / 1000
    store.bench.say("st-1", "offline", {"reason": "goodbye"})
    with pytest.raises(NoSuchStation):
        await store.stations.read("st-1")
    with pytest.raises(NoSuchStation):
        await store.stations.delete("st-1", BY)
    assert await store.stations.page(ALL, limit=10) == ([], 0)
    assert await store.stations.credentials() == [gone]
    _, again = await store.stations.create("st-1", {}, BY)
    assert again.credential == Revoked("st-1", hash_key(again.key), round(gone.valid_from + 0.001, 3))
    assert [action for action, _, _ in await store.audited()] == ["station.create", "station.delete", "station.create"]


async def test_a_stranger_is_deleted(store: Store) -> None:
    """A station that nobody entered can be shut out; one never heard of cannot, and leaves nothing behind."""
    store.bench.station("st-9")
    assert (await store.stations.delete("st-9", BY)).key_hash is None
    with pytest.raises(NoSuchStation):
        await store.stations.delete("never-heard-of", BY)
    assert [one.station_id for one in await store.stations.credentials()] == ["st-9"]


async def test_deleted_by_many_at_once(store: Store) -> None:
    """A stranger, who has no row to lock: nobody fails but for its being gone."""
    store.bench.station("st-9")
    answers = await asyncio.gather(*(store.stations.delete("st-9", BY) for _ in range(6)), return_exceptions=True)
    assert [answer for answer in answers if not isinstance(answer, Revoked | NoSuchStation)] == []
    assert len(await store.stations.credentials()) == 1


async def test_the_audit_tells_no_secret(store: Store) -> None:
    camera = {"cameraId": "c1", "url": "rtsp://user:open-sesame@10.0.0.9/1"}
    _, issued = await store.stations.create("st-1", {"cameras": [camera]}, BY)
    await store.stations.change("st-1", {"cameras": [camera | {"name": "x"}]}, BY)
    rotated = await store.stations.rotate("st-1", BY)
    told = str(await store.audited())
    assert "c1" in told
    for secret in ("open-sesame", issued.key, rotated.key):
        assert secret not in told


async def test_no_change_without_its_row(store: Store) -> None:
    """When the audit cannot be written, nothing is changed."""
    async with store.database.session() as session:
        await session.execute(text("DROP TABLE audit"))
    with pytest.raises(Exception, match="audit"):
        await store.stations.create("st-1", {}, BY)
    with pytest.raises(NoSuchStation):
        await store.stations.read("st-1")
    assert await store.stations.credentials() == []


async def test_thousands(store: Store) -> None:
    """The list finds its page among thousands, with and without entries."""
    for n in range(0, 1_500, 3):
        store.bench.link.broker.route(f"stations/st-{n:05}/online", orjson.dumps({"sessionId": "s"}))
    store.bench.link.settle()
    await asyncio.gather(*(store.stations.create(f"st-{n:05}", {"tags": [f"t{n % 7}"]}, BY) for n in range(0, 600, 2)))
    found, total = await store.stations.page(ALL, limit=3, offset=2)
    assert [station.station_id for station in found] == ["st-00003", "st-00004", "st-00006"]
    assert total == 500 + 300 - 100
    _, tagged = await store.stations.page(StationFilter(tag="t3", online=True), limit=1)
    assert tagged == len([n for n in range(0, 600, 6) if n % 7 == 3])


async def test_out_of_reach(store: Store) -> None:
    await store.database.stop()
    broken = Database("postgresql://hub@127.0.0.1:1/hub")
    stations = Stations(broken, Audit(broken, store.bench.clock), store.bench.services)
    for work in (stations.page(ALL, limit=1), stations.create("st-1", {}, BY), stations.delete("st-1", BY)):
        with pytest.raises(StoreDown):
            await work
