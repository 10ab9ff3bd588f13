"""A whole hub on PostgreSQL: the main flows, and a server that is stopped, started again, and hangs under the running hub."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from hub.serve import Hub
from hub.store.database import StoreError
from hub.store.sessions import StoredSessions
from tests.databases import Postgres, postgres, running_postgres  # noqa: F401  # a fixture
from tests.e2e.conftest import World, settings
from tests.e2e.kicks import LOGIN, Everywhere, elsewhere, http_of, let_in, login, refused
from tests.e2e.pages import Page
from tests.e2e.waiting import GUARD, until

pytestmark = pytest.mark.parametrize("world", ["embedded"], indirect=True)

DOWN = {"statusCode": 503, "message": "The database cannot be reached", "error": "Service Unavailable"}


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A server that no other module uses: it will be stopped."""
    with running_postgres() as running:
        yield running


@pytest.fixture
def options(server: Postgres) -> dict[str, Any]:
    return {"database": server.new_database(), "login_rate": 0}


@pytest.fixture
async def boss(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """An admin."""
    async with http_of(world.hub, world.hub.tokens.mint_user("boss", role="admin")) as http:
        yield http


async def ok(answer: httpx.Response, status: int = 200) -> Any:
    """The body of an answer with that status."""
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


# ---- the main flows


async def test_accounts(world: World, boss: httpx.AsyncClient) -> None:
    """First admin, register, log in, find, promote, page and sort, delete; every change is in the audit."""
    hub = world.hub
    made = await hub.accounts.first_admin()
    assert made is not None
    async with http_of(hub) as http:
        await ok(await http.post("/auth/login", json={"email": made.email, "password": made.password}), 201)
        people: dict[str, str] = {}
        for name in ("Zoë", "ann", "Ben", "安"):
            account = {"email": f"{len(people)}@x.org", "password": "open sesame", "nickname": name}
            people[name] = (await ok(await http.post("/auth/register", json=account), 201))["user"]["id"]
        await ok(await http.post("/auth/register", json=account), 401)
        await ok(await http.post("/auth/login", json={"email": "1@X.org", "password": "open sesame"}), 201)
    assert [item["nickname"] for item in (await ok(await boss.get("/users?q=ZO")))["items"]] == ["Zoë"]
    found = await ok(await boss.get("/users", params={"limit": 2, "offset": 1, "sort": "-createdAt"}))
    assert (found["total"], [item["nickname"] for item in found["items"]]) == (5, ["Ben", "ann"])
    ann = f"/users/{people['ann']}"
    assert (await ok(await boss.patch(ann, json={"role": "admin", "nickname": "Ann \U0001f44b"})))["role"] == "admin"
    await ok(await boss.delete(ann))
    await ok(await boss.get(ann), 404)
    entries = (await ok(await boss.get("/audit", params={"target": people["ann"], "actor": "boss"})))["items"]
    assert [entry["action"] for entry in entries] == ["user.delete", "user.change", "user.change"]


async def test_stations_and_commands(world: World, boss: httpx.AsyncClient) -> None:
    """Entered, changed, commanded, listed, deleted; what PostgreSQL will not keep in text is kept all the same, or refused."""
    camera = {"cameraId": "c", "name": "Tor \U0001f6aa", "url": "rtsp://x/1"}
    entered = {"stationId": "st-1", "name": "北门", "tags": ["a", "b"], "cameras": [camera]}
    made = await ok(await boss.post("/stations", json=entered), 201)
    assert {name: made[name] for name in entered} == entered
    await ok(await boss.post("/stations", json=entered), 409)
    changed = await ok(await boss.patch("/stations/st-1", json={"location": "Hof", "tags": ["b"]}))
    assert (changed["name"], changed["location"], changed["tags"]) == ("北门", "Hof", ["b"])
    await ok(await boss.patch("/stations/st-1", json={"name": "a\0b"}), 400)
    station = world.station("st-1", token=made["key"])
    station.on("reboot")(lambda job: job.params)
    await world.connect(station)
    hostile = {"nul": "a\0b", "\0": 1, "large": 2**70, "small": 1e-300, "deep": [[[None]]], "text": "\U0001f6aa"}
    sent: tuple[Any, ...] = (None, 1, "a\0b", [], hostile)
    for params in sent:
        record = await ok(await boss.post("/stations/st-1/commands", json={"type": "reboot", "params": params}), 201)
        assert record["stage"] == "done"
        assert await ok(await boss.get(f"/stations/st-1/commands/{record['id']}")) == record
    listed = await ok(await boss.get("/stations/st-1/commands?limit=2"))
    assert (listed["total"], listed["items"][0]) == (5, record)
    page = await ok(await boss.get("/stations", params={"q": "北", "state": "online", "registered": "true"}))
    assert [item["stationId"] for item in page["items"]] == ["st-1"]
    await ok(await boss.delete("/stations/st-1"), 204)
    assert (await ok(await boss.get("/stations")))["items"] == []
    actions = [entry["action"] for entry in (await ok(await boss.get("/audit")))["items"]]
    assert actions == ["station.delete", "station.change", "station.create"]


async def test_next_start(world: World, tmp_path: Path, options: dict[str, Any]) -> None:
    """Another hub on the same database finds it all, and makes no second admin; the kicked stay kicked."""
    assert await world.hub.accounts.first_admin() is not None
    await world.hub.accounts.add(LOGIN["email"], LOGIN["password"], "Root", "admin")
    old, new = await login(world.hub), await login(world.hub)
    async with Hub(settings(tmp_path, data_dir=tmp_path / "next", **options)) as hub:
        assert await hub.accounts.first_admin() is None
        await refused(hub, old)
        await let_in(hub, new)


# ---- a server that goes away

REQUESTS = [
    ("POST", "/auth/login", LOGIN),
    ("POST", "/auth/register", {"email": "a@x.org", "password": "open sesame", "nickname": "A"}),
    ("GET", "/users", None),
    ("GET", "/stations", None),
    ("POST", "/stations", {"stationId": "st-9"}),
    ("GET", "/audit", None),
    ("POST", "/auth/logout", None),
]
"""What needs the database."""


async def test_stopped_and_started(world: World, server: Postgres, boss: httpx.AsyncClient, tmp_path: Path) -> None:
    """What needs it is 503 with Retry-After; everybody stays connected; all is well when it is back, and nothing is forgotten."""
    hub, now = world.hub, time.time()
    await hub.accounts.add(LOGIN["email"], LOGIN["password"], "Root", "admin")
    kim = [elsewhere("kim", name, now + at) for name, at in (("a", 0), ("b", 5.5))]
    async with AsyncExitStack() as stack:
        root, old = [await Everywhere.come(stack, hub, token) for token in (await login(hub), kim[0])]
        browser = await world.operator()
        station = world.station("st-1")
        station.on("reboot")(lambda job: job.params)
        await world.connect(station)
        await asyncio.to_thread(server.stop)
        for method, path, body in REQUESTS:
            async with asyncio.timeout(GUARD):
                answer = await boss.request(method, path, json=body)
            assert (answer.status_code, answer.json()) == (503, DOWN), path
            assert int(answer.headers["retry-after"]) > 0
        assert "stationhub_database_reachable 0.0" in (await boss.get("/metrics")).text
        for path in ("/health", "/ready", "/stations/online", "/auth/profile"):
            assert (await boss.get(path)).status_code == 200, path
        command = {"stationId": "st-1", "type": "reboot", "params": 7}
        assert (await browser.request("station-command", command))["result"] == 7
        await stack.enter_async_context(Page(hub.http_url, kim[1]))  # a newer login, which cannot be written down yet
        await old.kicked("NEW_LOGIN")
        await root.stay()
        await until(lambda: "kim" in hub.authenticator._unsaved)
        await asyncio.to_thread(server.start)
        await remembered(hub, kim)
        for method, path, body in REQUESTS[:-1]:
            assert (await boss.request(method, path, json=body)).is_success, path
        # logged in again over HTTP just now
        await root.kicked("NEW_LOGIN")
    options = {"database": hub.settings.database, "data_dir": tmp_path / "next"}
    async with Hub(settings(tmp_path, **options)) as other:
        await refused(other, kim[0])
        await let_in(other, kim[1])


async def remembered(hub: Hub, tokens: list[str]) -> None:
    """Waits until the database knows of a session: it is written a while after it is admitted."""
    identity = hub.tokens.verify(tokens[-1])
    stored = StoredSessions(hub.database)
    async with asyncio.timeout(GUARD):
        while (await stored.load())[identity.user_id].session_id != identity.session_id:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.05)


async def test_hangs(world: World, server: Postgres, boss: httpx.AsyncClient) -> None:
    """A server that answers nothing: requests are given up in time, sockets notice nothing, and it goes on by itself."""
    browser = await world.operator()
    boss.timeout = httpx.Timeout(2 * GUARD)
    with server.frozen():
        requests = [asyncio.create_task(boss.request(method, path, json=body)) for method, path, body in REQUESTS]
        assert (await browser.request("ping"))["pong"] is True
        assert (await boss.get("/health")).status_code == 200
        for answer in await asyncio.gather(*requests, return_exceptions=True):
            assert isinstance(answer, httpx.Response), answer
            assert (answer.status_code, answer.json()) == (503, DOWN)
            assert int(answer.headers["retry-after"]) > 0
        assert (await browser.request("ping"))["pong"] is True
    async with asyncio.timeout(GUARD):
        while not (await boss.get("/users")).is_success:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.05)


async def test_start_without_it(world: World, server: Postgres, tmp_path: Path) -> None:
    """A hub that cannot reach its database does not start, and says so without the password."""
    url = "postgresql://hub:geheim@127.0.0.1:9/none"
    with pytest.raises(StoreError, match="the database cannot be used") as refusal:
        await Hub(settings(tmp_path, database=url, data_dir=tmp_path / "next")).__aenter__()
    assert "geheim" not in str(refusal.value)
