"""`/stations` over a whole hub: entered, listed, changed, given keys, deleted; and what becomes of those who are connected."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bridge.http.station_models import CreatedStation, RotatedKey, StationHistory, StationItem, StationPage
from devices.operator import Operator, Refused
from devices.station import AccessRefused
from hub.serve import Hub
from tests.e2e.conftest import World, settings
from tests.e2e.test_http import bearer
from tests.e2e.test_http import http as http  # a fixture
from tests.e2e.waiting import until

CAMERA = {"cameraId": "c1", "name": "Lane", "url": "rtsp://user:pass@10.0.0.9/1"}
GATE = {"stationId": "st-1", "name": "Gate", "location": "Київ", "tags": ["north", "north", "x"], "cameras": [CAMERA]}


@pytest.fixture
async def admin(world: World) -> AsyncIterator[httpx.AsyncClient]:
    headers = bearer(world, "admin")
    async with httpx.AsyncClient(base_url=world.hub.http_url, headers=headers, trust_env=False) as client:
        yield client


async def entered(admin: httpx.AsyncClient, station_id: str = "st-1", **fields: Any) -> str:
    """Enters a station; its key."""
    answer = await admin.post("/stations", json={"stationId": station_id, **fields})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["key"])


async def gone(operator: Operator) -> None:
    """Waits until the hub closed the connection."""
    async for _ in operator.pushes():
        pass


async def test_life(admin: httpx.AsyncClient) -> None:
    """Entered, read, changed, deleted: the models of the document hold all that is answered."""
    made = await admin.post("/stations", json=GATE | {"unknown": 1})
    assert made.status_code == 201
    CreatedStation.model_validate_json(made.content, extra="forbid")
    station = made.json()
    key = station.pop("key")
    assert len(key) >= 43
    assert made.headers["cache-control"] == "no-store"
    assert station | {"createdAt": 0, "updatedAt": 0} == GATE | {
        "tags": ["north", "x"],
        "registered": True,
        "createdAt": 0,
        "updatedAt": 0,
        "presence": {"state": "offline", "since": None, "via": None},
        "status": None,
    }
    assert (await admin.get("/stations/st-1")).json() == station
    assert (await admin.get("/stations")).json() == {"items": [station], "total": 1, "limit": 50, "offset": 0}
    changed = await admin.patch("/stations/st-1", json={"name": "Exit", "tags": []})
    assert changed.status_code == 200
    expected = station | {"name": "Exit", "tags": [], "updatedAt": changed.json()["updatedAt"]}
    assert changed.json() == (await admin.get("/stations/st-1")).json() == expected
    again = await admin.post("/stations", json={"stationId": "st-1"})
    assert (again.status_code, again.json()["message"]) == (409, "The station exists")
    deleted = await admin.delete("/stations/st-1")
    assert (deleted.status_code, deleted.content) == (204, b"")
    for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/key")):
        answer = await admin.request(method, "/stations/st-1" + path, json={} if method == "PATCH" else None)
        assert answer.json() == {"statusCode": 404, "message": "Station not found", "error": "Not Found"}
    assert (await admin.get("/stations")).json()["items"] == []


async def test_list(world: World, admin: httpx.AsyncClient) -> None:
    """Presence and the last status of everybody, entered or not; filtered, sorted, in pages."""
    await world.connect(world.station("st-2"))
    await world.ws_station("st-3")
    await entered(admin, "st-1", name="b", tags=["x"])
    await entered(admin, "st-2", name="A", location="Hall x")
    await until(lambda: bool(world.hub.services.board.known(["st-2"])))
    answer = await admin.get("/stations")
    StationPage.model_validate_json(answer.content, extra="forbid")
    items = {item["stationId"]: item for item in answer.json()["items"]}
    assert {key: (item["registered"], item["presence"]["state"]) for key, item in items.items()} == {
        "st-1": (True, "offline"),
        "st-2": (True, "online"),
        "st-3": (False, "online"),
    }
    assert (items["st-2"]["presence"]["via"], items["st-3"]["presence"]["via"]) == ("mqtt", "websocket")
    assert items["st-2"]["status"]["devices"][0]["metrics"] == {"temp": 31}
    assert items["st-3"] == (await admin.get("/stations/st-3")).json()
    for query, expected in {
        "state=offline": ["st-1"],
        "state=online&registered=true": ["st-2"],
        "registered=false": ["st-3"],
        "tag=x": ["st-1"],
        "q=HALL": ["st-2"],
        "sort=-id": ["st-3", "st-2", "st-1"],
        "sort=name&registered=true": ["st-2", "st-1"],
        "sort=lastSeen&limit=1": ["st-1"],
        "sort=-createdAt&limit=2&offset=1": ["st-1", "st-3"],
        "offset=1000000": [],
    }.items():
        found = (await admin.get(f"/stations?{query}")).json()
        assert [item["stationId"] for item in found["items"]] == expected, query
    assert (await admin.get("/stations/online")).json() == {"stations": ["st-2", "st-3"]}


async def test_history(world: World, admin: httpx.AsyncClient) -> None:
    """The numbers of the last minutes, whoever looked; of a station that is there, entered, or has gone; of no other."""
    station = world.station("st-1")
    await world.connect(station)
    history = world.hub.services.history
    assert history is not None
    await until(lambda: len(history) == 1)
    answer = await admin.get("/stations/st-1/history")
    found = StationHistory.model_validate_json(answer.content, extra="forbid")
    assert answer.headers["cache-control"] == "no-store"
    assert (found.station_id, len(found.times)) == ("st-1", 1)
    assert found.now - 60_000 < found.times[0] <= found.now
    assert [one.model_dump() for one in found.series] == [{"device_id": "gate-1", "metric": "temp", "values": [31.0]}]
    await entered(admin, "st-2")
    empty = (await admin.get("/stations/st-2/history")).json()
    assert empty == {"stationId": "st-2", "now": empty["now"], "times": [], "series": []}
    assert (await admin.get("/stations/st-9/history")).status_code == 404
    await station.close()  # a broker of somebody else's cuts nobody off
    await until(lambda: not world.hub.services.presence.online("st-1"))
    await admin.delete("/stations/st-1")
    assert (await admin.get("/stations/st-1/history")).status_code == 404
    assert len(history) == 0
    metrics = (await admin.get("/metrics")).text
    assert "stationhub_history_stations 0.0" in metrics
    assert "stationhub_history_bytes 0.0" in metrics


async def test_without_history(tmp_path: Path) -> None:
    """`--history 0`: nothing is kept, and nothing is found."""
    async with Hub(settings(tmp_path, history=0)) as hub:
        headers = {"Authorization": f"Bearer {hub.tokens.mint_user('boss', role='admin')}"}
        async with httpx.AsyncClient(base_url=hub.http_url, headers=headers, trust_env=False) as http:
            await http.post("/stations", json={"stationId": "st-1"})
            answer = (await http.get("/stations/st-1/history")).json()
            assert (answer["times"], answer["series"]) == ([], [])
            assert "stationhub_history_stations 0.0" in (await http.get("/metrics")).text


async def test_without_statuses(world: World, admin: httpx.AsyncClient) -> None:
    """For who has them pushed: nothing is read of them, all else is the same."""
    await world.connect(world.station("st-1"))
    board = world.hub.services.board
    await until(lambda: len(board) == 1)
    for number in range(3):
        await entered(admin, f"other-{number}")
    with_them = (await admin.get("/stations?limit=500")).json()
    without = (await admin.get("/stations?limit=500&status=false")).json()
    assert [item.pop("status") for item in without["items"]] == [None] * 4
    assert with_them["items"][-1].pop("status")["stationId"] == "st-1"
    assert [item | {"status": 0} for item in without["items"]] == [item | {"status": 0} for item in with_them["items"]]


async def test_large_statuses(world: World, admin: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page holds no more bytes of them than it may; what does not fit is read with its station alone."""
    for station_id, devices in (("st-1", 50), ("st-2", 0)):
        station = await world.ws_station(station_id)
        await station.request("station-status-update", {"devices": [{"deviceId": str(n)} for n in range(devices)]})
    await until(lambda: len(world.hub.services.board.known(["st-1", "st-2"])) == 2)
    monkeypatch.setattr("bridge.http.stations.PAGE_STATUS_BYTES", 500)
    statuses = [item["status"] for item in (await admin.get("/stations")).json()["items"]]
    assert statuses[0] is None
    assert statuses[1]["stationId"] == "st-2"
    assert len((await admin.get("/stations/st-1")).json()["status"]["devices"]) == 50


async def test_urls_of_cameras(world: World, admin: httpx.AsyncClient, http: httpx.AsyncClient) -> None:
    """They may hold passwords: viewers, who may be guests, do not see them."""
    await entered(admin, cameras=[CAMERA])
    for role, shown in (("viewer", ""), ("operator", CAMERA["url"]), ("admin", CAMERA["url"])):
        headers = bearer(world, role)
        (listed,) = (await http.get("/stations", headers=headers)).json()["items"]
        read = (await http.get("/stations/st-1", headers=headers)).json()
        assert listed["cameras"] == read["cameras"] == [CAMERA | {"url": shown}]


CHANGES = [
    ("POST", "/stations", {"stationId": "st-2"}),
    ("PATCH", "/stations/st-1", {"name": "x"}),
    ("DELETE", "/stations/st-1", None),
    ("POST", "/stations/st-1/key", None),
]


async def test_who_may(world: World, admin: httpx.AsyncClient, http: httpx.AsyncClient) -> None:
    """Everybody who is a person reads; admins alone change."""
    await entered(admin)
    station = {"Authorization": f"Bearer {world.hub.tokens.mint_station('st-1')}"}
    for headers, read, change in (
        ({}, 401, 401),
        (station, 403, 403),
        (bearer(world, "viewer"), 200, 403),
        (bearer(world, "operator"), 200, 403),
    ):
        for path in ("/stations", "/stations/st-1"):
            assert (await http.get(path, headers=headers)).status_code == read
        for method, path, body in CHANGES:
            assert (await http.request(method, path, headers=headers, json=body)).status_code == change, path
    assert [item["stationId"] for item in (await admin.get("/stations")).json()["items"]] == ["st-1"]


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"stationId": None},
        {"stationId": 7},
        {"stationId": ""},
        {"stationId": ".."},
        {"stationId": "a/b"},
        {"stationId": "a\n"},
        {"stationId": "x" * 65},
        {"stationId": "st-1", "name": "x" * 129},
        {"stationId": "st-1", "name": "a\u0000b"},
        {"stationId": "st-1", "name": None},
        {"stationId": "st-1", "tags": "x"},
        {"stationId": "st-1", "tags": ["x"] * 33},
        {"stationId": "st-1", "tags": [["x"]]},
        {"stationId": "st-1", "tags": [""]},
        {"stationId": "st-1", "cameras": [{}]},
        {"stationId": "st-1", "cameras": [{"cameraId": "c", "url": "javascript://%0aalert(1)"}]},
        {"stationId": "st-1", "cameras": [{"cameraId": str(n)} for n in range(65)]},
    ],
)
async def test_malformed(admin: httpx.AsyncClient, body: Any) -> None:
    """400 with a list of what is wrong; nothing is made."""
    answer = await admin.post("/stations", json=body)
    assert answer.status_code == 400
    assert isinstance(answer.json()["message"], list)
    assert (await admin.get("/stations")).json()["total"] == 0


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=501",
        "limit=x",
        "offset=-1",
        "offset=1000001",
        "sort=color",
        "state=gone",
        "registered=maybe",
        "status=some",
    ],
)
async def test_malformed_query(admin: httpx.AsyncClient, query: str) -> None:
    assert (await admin.get(f"/stations?{query}")).status_code == 400


@pytest.mark.parametrize("station_id", ["a%2Fb", "a%00", "x" * 65, "%C3%A9", "a%0A"])
async def test_no_station_id(admin: httpx.AsyncClient, station_id: str) -> None:
    for method in ("GET", "DELETE"):
        assert (await admin.request(method, f"/stations/{station_id}")).status_code in (400, 404)


async def test_entered_at_once(admin: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(admin.post("/stations", json={"stationId": "st-1"}) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7


async def test_entering_does_not_disturb(world: World, admin: httpx.AsyncClient) -> None:
    """A station that is connected by a good token stays connected when it is entered."""
    station = await world.ws_station("st-1")
    await entered(admin)
    assert await station.request("ping") is not None
    assert (await admin.get("/stations/st-1")).json()["presence"]["state"] == "online"


async def test_deleted_by_websocket(world: World, admin: httpx.AsyncClient) -> None:
    """Its socket is closed, browsers hear of it, its token is void."""
    await entered(admin)
    token = world.hub.tokens.mint_station("st-1")
    browser = await world.operator("viewer")
    station = await world.operator(token=token)
    await station.request("station-register", {"stationId": "st-1"})
    assert (await admin.delete("/stations/st-1")).status_code == 204
    async with asyncio.timeout(15):
        await gone(station)
        assert await browser.next_push("station-disconnected") == ("station-disconnected", {"stationId": "st-1"})
    assert not world.hub.services.presence.online("st-1")
    with pytest.raises(Refused, match="UNAUTHORIZED"):
        await world.operator(token=token)
    # a token made after may come back, as a stranger
    await world.ws_station("st-1")
    assert (await admin.get("/stations/st-1")).json()["registered"] is False


@pytest.mark.parametrize("world", ["embedded"], indirect=True)
@pytest.mark.parametrize("how", ["delete", "rotate"])
async def test_cut_off_mqtt(world: World, admin: httpx.AsyncClient, how: str) -> None:
    """A deleted station, or one with another key, is disconnected; what it had logs in no more, a new key does."""
    key = await entered(admin)
    token = world.hub.tokens.mint_station("st-1")
    await world.connect(world.station(token=token))
    browser = await world.operator("viewer")
    path = "/stations/st-1"
    answer = await (admin.delete(path) if how == "delete" else admin.post(f"{path}/key"))
    async with asyncio.timeout(15):
        assert await browser.next_push("station-disconnected") == ("station-disconnected", {"stationId": "st-1"})
    for old in (token, key):
        with pytest.raises(AccessRefused):
            await world.connect(world.station(token=old))
    if how == "rotate":
        RotatedKey.model_validate_json(answer.content, extra="forbid")
        await world.connect(world.station(token=answer.json()["key"]))
    else:
        assert (await admin.get(path)).status_code == 404


@pytest.mark.parametrize("world", ["embedded"], indirect=True)
async def test_a_device_key_logs_in(world: World, admin: httpx.AsyncClient) -> None:
    """The key is good for its own station alone."""
    key = await entered(admin)
    await entered(admin, "st-2")
    await world.connect(world.station(token=key))
    StationItem.model_validate_json((await admin.get("/stations/st-1")).content)
    with pytest.raises(AccessRefused):
        await world.connect(world.station("st-2", token=key))
