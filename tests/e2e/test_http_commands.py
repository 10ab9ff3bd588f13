"""`/stations/{id}/commands` over a whole hub: sent, waited for, looked up later, refused."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from bridge.http.commands import CommandFailure, CommandItem, CommandPage
from devices.operator import RequestFailed
from devices.station import Job, Station
from hub.serve import Hub
from tests.e2e.conftest import World, settings
from tests.e2e.test_http import bearer
from tests.e2e.waiting import GUARD, until

PATH = "/stations/st-1/commands"


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    headers = bearer(world, "operator")
    async with httpx.AsyncClient(
        base_url=world.hub.http_url, headers=headers, trust_env=False, timeout=GUARD
    ) as client:
        yield client


class Gate:
    """A station on MQTT that opens, fails, or waits until it is let go."""

    def __init__(self, station: Station) -> None:
        self.opened: list[Any] = []
        self.go = asyncio.Event()
        station.on("open")(self._open)
        station.on("fail")(self._fail)
        station.on("wait")(self._wait)

    async def _open(self, job: Job) -> Any:
        self.opened.append(job.command.params)
        return {"open": True, "params": job.command.params}

    async def _fail(self, _: Job) -> None:
        raise RuntimeError("unauthorized jam in lane 401")

    async def _wait(self, _: Job) -> str:
        await self.go.wait()
        return "late"


@pytest.fixture
async def gate(world: World) -> Gate:
    station = world.station()
    gate = Gate(station)
    await world.connect(station)
    return gate


async def ended(http: httpx.AsyncClient, command_id: str) -> Any:
    """A command's record, once it has ended."""
    async with asyncio.timeout(GUARD):
        while (record := (await http.get(f"{PATH}/{command_id}")).json())["stage"] == "sent":
            pass
    return record


def nested(depth: int) -> list[Any]:
    """A list of a list of ..."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("params", [None, {"lane": 1, "list": [None, "ü", 1.5]}, "text", [], 0, False])
async def test_done(http: httpx.AsyncClient, gate: Gate, params: Any) -> None:
    """201 with the record, which stays to be read."""
    answer = await http.post(PATH, json={"type": "open", "params": params, "unknown": 1})
    assert answer.status_code == 201, answer.text
    CommandItem.model_validate_json(answer.content, extra="forbid")
    record = answer.json()
    assert gate.opened == [params]
    assert record | {"id": "", "ms": 0, "createdAt": 0, "finishedAt": 0} == {
        "id": "",
        "stationId": "st-1",
        "type": "open",
        "params": params,
        "stage": "done",
        "delivered": True,
        "result": {"open": True, "params": params},
        "error": None,
        "ms": 0,
        "createdAt": 0,
        "finishedAt": 0,
        "requestedBy": "http-operator",
    }
    assert record["finishedAt"] - record["createdAt"] == record["ms"] < 5_000
    assert (await http.get(f"{PATH}/{record['id']}")).json() == record
    assert (await http.get(PATH)).json() == {"items": [record], "total": 1, "limit": 50, "offset": 0}


async def test_numbers(http: httpx.AsyncClient, gate: Gate) -> None:
    """A whole number may be written with a point; one that no station could read is a float for everybody."""
    answer = await http.post(PATH, json={"type": "open", "timeoutMs": 5000.0, "params": [2**70, -(2**63), 2**64 - 1]})
    assert answer.status_code == 201, answer.text
    assert gate.opened == [[float(2**70), -(2**63), 2**64 - 1]]


async def test_not_waited_for(http: httpx.AsyncClient, gate: Gate) -> None:
    """202 at once; the record tells later what came of it."""
    answer = await http.post(f"{PATH}?wait=false", json={"type": "wait"})
    assert answer.status_code == 202
    record = answer.json()
    assert (record["stage"], record["ms"], record["finishedAt"]) == ("sent", None, None)
    assert (await http.get(f"{PATH}/{record['id']}")).json() == record
    gate.go.set()
    after = await ended(http, record["id"])
    assert (after["stage"], after["result"], after["delivered"]) == ("done", "late", True)


async def test_the_stations_error(http: httpx.AsyncClient, gate: Gate) -> None:
    """502; the station's words stand apart, never in the message, which pages take for "log in again"."""
    answer = await http.post(PATH, json={"type": "fail"})
    assert answer.status_code == 502
    CommandFailure.model_validate_json(answer.content, extra="forbid")
    body = answer.json()
    assert (body["statusCode"], body["message"], body["error"]) == (502, "The station reported an error", "Bad Gateway")
    assert "jam in lane" in body["detail"]
    assert body["command"]["stage"] == "error"
    assert body["command"] == (await http.get(f"{PATH}/{body['command']['id']}")).json()


async def test_timeout(http: httpx.AsyncClient, gate: Gate) -> None:
    """504, and whether the station has it."""
    answer = await http.post(PATH, json={"type": "wait", "timeoutMs": 300})
    assert answer.status_code == 504
    body = answer.json()
    assert body["message"] == "The station did not finish in time, delivered=true"
    assert (body["command"]["stage"], body["command"]["delivered"], body["detail"]) == ("timeout", True, None)
    assert body["command"]["ms"] >= 300


async def test_by_websocket(world: World, http: httpx.AsyncClient) -> None:
    station = await world.ws_station()
    sending = asyncio.create_task(http.post(PATH, json={"type": "open"}))
    _, command = await station.next_push("station-command")
    await station.request("station-command-reply", {"id": command["id"], "stage": "done", "result": 7})
    answer = await sending
    assert (answer.status_code, answer.json()["result"], answer.json()["id"]) == (201, 7, command["id"])


async def test_offline_and_unknown(world: World, http: httpx.AsyncClient) -> None:
    """409 for a station that is offline, 404 for one that there is not; neither leaves a record."""
    answer = await http.post(PATH, json={"type": "open"})
    assert answer.json() == {"statusCode": 404, "message": "Station not found", "error": "Not Found"}
    for path in (PATH, f"{PATH}/abc"):
        assert (await http.get(path)).status_code == 404
    made = await http.post("/stations", json={"stationId": "st-1"}, headers=bearer(world, "admin"))
    assert made.status_code == 201
    answer = await http.post(PATH, json={"type": "open"})
    assert answer.json() == {"statusCode": 409, "message": "Station offline", "error": "Conflict"}
    assert (await http.get(PATH)).json()["total"] == 0
    assert (await http.get(f"{PATH}/abc")).json()["message"] == "Command not found"


@pytest.mark.parametrize("type", ["report-status", "join-room", "start-stream"])
async def test_the_hubs_own(http: httpx.AsyncClient, gate: Gate, type: str) -> None:
    answer = await http.post(PATH, json={"type": type})
    assert answer.status_code == 400
    assert answer.json()["message"] == ["type: this command is the hub's own, use its event"]


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"type": ""},
        {"type": None},
        {"type": "x" * 65},
        {"type": 1},
        {"type": "open", "timeoutMs": 99},
        {"type": "open", "timeoutMs": 60_001},
        {"type": "open", "timeoutMs": "5000"},
        {"type": "open", "timeoutMs": 5000.5},
        {"type": "open", "timeoutMs": True},
        {"type": "open", "params": 10**400},
        {"type": "open", "params": nested(400)},
    ],
)
async def test_malformed(http: httpx.AsyncClient, gate: Gate, body: Any) -> None:
    answer = await http.post(PATH, json=body)
    assert answer.status_code == 400
    assert isinstance(answer.json()["message"], list)
    assert gate.opened == []


async def test_too_many(world: World, http: httpx.AsyncClient) -> None:
    """429 past 100 that wait for one user; the one refused leaves no record."""
    await world.ws_station()  # which never answers
    command = {"type": "wait", "timeoutMs": 60_000}
    for _ in range(100):
        assert (await http.post(f"{PATH}?wait=false", json=command)).status_code == 202
    answer = await http.post(PATH, json=command)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    page = await http.get(f"{PATH}?limit=3&offset=98")
    CommandPage.model_validate_json(page.content, extra="forbid")
    assert (len(page.json()["items"]), page.json()["total"]) == (2, 100)
    others = await http.post(f"{PATH}?wait=false", json=command, headers=bearer(world, "admin"))
    assert others.status_code == 202


async def test_a_caller_that_hangs_up(world: World, http: httpx.AsyncClient, gate: Gate) -> None:
    """The command goes on, and its record tells what came of it."""
    sending = asyncio.create_task(http.post(PATH, json={"type": "wait"}))
    await until(lambda: len(world.hub.services.commands) == 1)
    sending.cancel()
    gate.go.set()
    (record,) = (await http.get(PATH)).json()["items"]
    assert (await ended(http, record["id"]))["result"] == "late"


async def test_a_hub_that_stops(tmp_path: Path) -> None:
    """Who waits is told so, in time, and the record is found after the next start."""
    async with AsyncExitStack() as stack:
        hub = Hub(settings(tmp_path))
        async with hub:
            world = World(hub, f"mqtt://127.0.0.1:{hub.mqtt_port}", stack)
            headers = bearer(world, "operator")
            gate = world.station()
            Gate(gate)
            await world.connect(gate)
            http = await stack.enter_async_context(
                httpx.AsyncClient(base_url=hub.http_url, trust_env=False, timeout=GUARD)
            )
            command = {"type": "wait", "timeoutMs": 60_000}
            sending = asyncio.create_task(http.post(PATH, json=command, headers=headers))
            await until(lambda: len(hub.services.commands) == 1)
        assert (await asyncio.wait_for(sending, GUARD)).status_code == 503
    async with Hub(settings(tmp_path)) as hub, httpx.AsyncClient(base_url=hub.http_url, trust_env=False) as http:
        (record,) = (await http.get(PATH, headers=headers)).json()["items"]
        assert (record["stage"], record["delivered"]) == ("sent", None)  # until its deadline


async def test_who_may(world: World, http: httpx.AsyncClient, gate: Gate) -> None:
    """Operators and admins, for sending and for reading."""
    sent = (await http.post(PATH, json={"type": "open"})).json()["id"]
    station = {"Authorization": f"Bearer {world.hub.tokens.mint_station('st-1')}"}
    for headers, status in (
        ({"Authorization": ""}, 401),
        (station, 403),
        (bearer(world, "viewer"), 403),
        (bearer(world, "admin"), 200),
    ):
        for path in (PATH, f"{PATH}/{sent}"):
            assert (await http.get(path, headers=headers)).status_code == status
        answer = await http.post(PATH, json={"type": "open"}, headers=headers)
        assert answer.status_code == (201 if status == 200 else status)
    assert len(gate.opened) == 2


async def test_the_database_is_out_of_reach(
    world: World, http: httpx.AsyncClient, gate: Gate, monkeypatch: Any
) -> None:
    """503, and the gate stays shut: what cannot be written down is not sent."""
    from hub.store.database import Database, StoreDown

    def down(_: Database) -> Any:
        raise StoreDown("out of reach")

    with monkeypatch.context() as patch:
        patch.setattr(Database, "session", down)
        answer = await http.post(PATH, json={"type": "open"})
    assert (answer.status_code, answer.json()["message"]) == (503, "The database cannot be reached")
    assert gate.opened == []


async def test_by_event(world: World, http: httpx.AsyncClient, gate: Gate) -> None:
    """What a browser sends is in the same list, a moment later."""
    browser = await world.operator()
    ack = await browser.request("station-command", {"stationId": "st-1", "type": "open", "params": {"lane": 1}})
    with pytest.raises(RequestFailed):
        await browser.request("station-command", {"stationId": "st-1", "type": "fail"})
    async with asyncio.timeout(GUARD):
        items = list[Any]()
        while {item["stage"] for item in items} != {"done", "error"}:
            items = (await http.get(PATH)).json()["items"]
    (record,) = (item for item in items if item["id"] == ack["id"])
    assert (record["stage"], record["params"], record["result"]) == ("done", {"lane": 1}, ack["result"])
    assert record["requestedBy"] == world.hub.gateway.peers[browser.peer_id].identity.user_id


async def test_by_a_browser_that_left(world: World, http: httpx.AsyncClient, gate: Gate) -> None:
    """What the station did is known all the same."""
    browser = await world.operator()
    await browser.send("station-command", {"stationId": "st-1", "type": "wait", "timeoutMs": 20_000})
    async with asyncio.timeout(GUARD):
        while not (items := (await http.get(PATH)).json()["items"]):
            pass
    await browser.close()
    await until(lambda: browser.peer_id not in world.hub.gateway.peers)
    gate.go.set()
    assert (await ended(http, items[0]["id"]))["result"] == "late"
