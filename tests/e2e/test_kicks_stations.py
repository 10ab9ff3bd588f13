"""What ends a station's logins, and what ends a session on another node (contract.md section 5, docs/http.md)."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from devices.operator import Operator
from hub.serve import Hub
from tests.databases import Postgres, postgres  # noqa: F401  # a fixture
from tests.e2e.conftest import World, settings
from tests.e2e.kicks import (
    UNAUTHORIZED,
    Everywhere,
    elsewhere,
    http_of,
    key_opens,
    let_in,
    login,
    make_root,
    refused,
    station_ids,
)
from tests.e2e.kicks import stack as stack  # a fixture
from tests.e2e.mqtt5 import Mqtt5
from tests.e2e.pages import Page
from tests.e2e.waiting import GUARD, until, within
from tests.mosquitto import Mosquitto, mosquitto


@pytest.mark.parametrize("how", ["rotate", "delete"])
@pytest.mark.parametrize("door", ["native", "socketio"])
async def test_station_revoked(world: World, stack: AsyncExitStack, how: str, door: str) -> None:
    """Its sockets and MQTT connections are cut, it is offline, its old key and tokens are void; no other station notices."""
    hub = world.hub
    async with http_of(hub, hub.tokens.mint_user("boss", role="admin")) as http:
        key = (await http.post("/stations", json={"stationId": "st-1"})).json()["key"]
        token, browser = hub.tokens.mint_station("st-1"), await world.operator()
        bystander = await world.ws_station("st-2")
        mqtt = []
        if hub.mqtt_port is not None:
            for secret in (key, token):
                mqtt.append(await stack.enter_async_context(Mqtt5(hub.mqtt_port, "st-1", secret)))
                assert mqtt[-1].code == 0
            assert await mqtt[0].publish("stations/st-1/status", b'{"devices": []}') in (0x00, 0x10)
        client: Operator | Page
        if door == "native":
            client = await world.operator(token=token)
        else:
            client = await stack.enter_async_context(Page(hub.http_url, token))
        assert await client.request("station-register", {"stationId": "st-1"}) == {"stationId": "st-1"}
        assert await station_ids(hub, "/stations/online") == ["st-1", "st-2"]
        browser.waiting()
        path = "/stations/st-1"
        answer = await (http.delete(path) if how == "delete" else http.post(f"{path}/key"))
        assert answer.is_success, answer.text
    async with within(1.0):
        if isinstance(client, Operator):
            assert [push async for push in client.pushes()][-1] == ("kicked", {"reason": "REVOKED"})
            assert client.close_code == 4403
        else:
            await client.closed.wait()
            assert client.left
            assert client.pushes[-1] == ("kicked", {"reason": "REVOKED"})
        for connection in mqtt:
            goodbye = await connection.cut()
            assert goodbye is not None
            assert goodbye.reason == 0x87
        # by MQTT it may come again a moment later: gone is only what was deleted
        if how == "delete" or not mqtt:
            assert (await browser.next_push("station-disconnected"))[1] == {"stationId": "st-1"}
    await refused(hub, token, UNAUTHORIZED, "st-1")
    assert not await key_opens(hub, "st-1", key)
    if how == "rotate":
        assert await key_opens(hub, "st-1", answer.json()["key"])
        assert await station_ids(hub, "/stations") == ["st-1", "st-2"]
    else:
        assert await station_ids(hub, "/stations") == ["st-2"]
        assert await station_ids(hub, "/stations/online") == ["st-2"]
    assert (await bystander.request("ping"))["pong"] is True


@pytest.mark.parametrize("world", ["embedded"], indirect=True)
@pytest.mark.parametrize("options", [{"will_grace": 0.2}], ids=["short grace"])
async def test_key_replaced(world: World) -> None:
    """A station on MQTT is offline when its key is void, and online again with the new one, without a restart of its own."""
    keys: list[str] = []
    async with http_of(world.hub, world.hub.tokens.mint_user("boss", role="admin")) as http:
        keys.append((await http.post("/stations", json={"stationId": "st-1"})).json()["key"])
        station = world.station("st-1", token=lambda: keys[-1], retry_first=0.05, retry_cap=0.05)
        browser = await world.operator()
        await world.connect(station)
        await browser.next_push("station-connected")
        new_key = (await http.post("/stations/st-1/key")).json()["key"]
        async with asyncio.timeout(GUARD):
            assert (await browser.next_push("station-disconnected"))[1] == {"stationId": "st-1"}
            assert await station_ids(world.hub, "/stations/online") == []
            keys.append(new_key)
            assert (await browser.next_push("station-connected"))[1] == {"stationId": "st-1"}


async def test_entered_again(world: World) -> None:
    """A station of the same name as a deleted one is another: nothing that the old one was given is good for it."""
    hub, keys, tokens = world.hub, [], []
    async with http_of(hub, hub.tokens.mint_user("boss", role="admin")) as http:
        for _ in range(3):
            keys.append((await http.post("/stations", json={"stationId": "st-1"})).json()["key"])
            async with http_of(hub) as nobody:
                answer = await nobody.post("/auth/station", json={"stationId": "st-1", "key": keys[-1]})
            tokens.append(answer.json()["accessToken"])
            async with Operator(hub.http_url, token=tokens[-1], timeout=GUARD) as station:
                await station.request("station-register", {"stationId": "st-1"})
            for key, token in zip(keys[:-1], tokens[:-1], strict=True):
                await refused(hub, token, UNAUTHORIZED, "st-1")
                assert not await key_opens(hub, "st-1", key)
            assert (await http.delete("/stations/st-1")).status_code == 204


# ---- two nodes


class Nodes:
    """Two hubs on one broker and one database."""

    def __init__(self, near: Hub, far: Hub, broker: Mosquitto) -> None:
        self.near, self.far, self.broker = near, far, broker


@pytest.fixture(params=["sqlite", "postgresql"])
async def nodes(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Nodes]:
    database = f"sqlite:///{tmp_path}/shared.sqlite"
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        database = server.new_database()
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(mosquitto(tmp_path))
        near, far = [
            await stack.enter_async_context(
                Hub(settings(tmp_path, broker=broker.url, database=database, data_dir=tmp_path / name))
            )
            for name in ("near", "far")
        ]
        yield Nodes(near, far, broker)


async def test_nodes_login(nodes: Nodes, stack: AsyncExitStack) -> None:
    """A login on one node ends the session on the other, wherever its token comes from."""
    near, far = nodes.near, nodes.far
    await make_root(near)
    old = await login(far)
    everywhere = await Everywhere.come(stack, far, old)
    new = await login(near)
    await everywhere.kicked("NEW_LOGIN")
    for hub in (near, far):
        await refused(hub, old)
        await let_in(hub, new)
    tokens = [elsewhere("kim", name, time.time() + at) for name, at in (("a", 0), ("b", 5.5))]
    everywhere = await Everywhere.come(stack, far, tokens[0])
    await stack.enter_async_context(Operator(near.http_url, token=tokens[1], timeout=GUARD))
    await everywhere.kicked("NEW_LOGIN")
    await refused(far, tokens[0])


@pytest.mark.parametrize("how", ["rotate", "delete"])
async def test_nodes_station(nodes: Nodes, stack: AsyncExitStack, how: str) -> None:
    """A station's key works on both nodes from its first moment; when one voids it, so does the other, and cuts its socket."""
    near, far = nodes.near, nodes.far
    boss = near.tokens.mint_user("boss", role="admin")
    async with http_of(near, boss) as http:
        key = (await http.post("/stations", json={"stationId": "st-1"})).json()["key"]
        assert await key_opens(near, "st-1", key)
        assert await key_opens(far, "st-1", key)
        token = far.tokens.mint_station("st-1")
        station = await stack.enter_async_context(Operator(far.http_url, token=token, timeout=GUARD))
        await station.request("station-register", {"stationId": "st-1"})
        path = "/stations/st-1"
        answer = await (http.delete(path) if how == "delete" else http.post(f"{path}/key"))
        assert answer.is_success, answer.text
    async with within(1.0):
        assert [push async for push in station.pushes()][-1] == ("kicked", {"reason": "REVOKED"})
    for hub in (near, far):
        await refused(hub, token, UNAUTHORIZED, "st-1")
        assert not await key_opens(hub, "st-1", key)
        if how == "rotate":
            assert await key_opens(hub, "st-1", answer.json()["key"])
        else:
            async with asyncio.timeout(GUARD):
                # the socket's last word is still on its way between them, and nothing tells of it
                while await station_ids(hub, "/stations"):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)


@pytest.mark.parametrize("nodes", ["sqlite"], indirect=True)
async def test_nodes_apart(nodes: Nodes, stack: AsyncExitStack) -> None:
    """While the broker is away a node ends what is its own at once; the other hears of it when the broker is back."""
    near, far = nodes.near, nodes.far
    await make_root(near)
    old, boss = await login(near), near.tokens.mint_user("boss", role="admin")
    here, there = [await Everywhere.come(stack, hub, old) for hub in (near, far)]
    async with http_of(near, boss) as http:
        key = (await http.post("/stations", json={"stationId": "st-1"})).json()["key"]
        stations = []
        for hub in (near, far):
            token = hub.tokens.mint_station("st-1")
            stations.append(await stack.enter_async_context(Operator(hub.http_url, token=token, timeout=GUARD)))
        await nodes.broker.stop()
        await until(lambda: not near.link.connected and not far.link.connected)
        new = await login(near)
        rotated = await http.post("/stations/st-1/key")
    await here.kicked("NEW_LOGIN")
    assert (await stations[0].next_push("kicked"))[1] == {"reason": "REVOKED"}
    await refused(near, old)
    assert not await key_opens(far, "st-1", key)  # that is asked of the database
    await nodes.broker.start()
    async with asyncio.timeout(GUARD):
        assert (await stations[1].next_push("kicked"))[1] == {"reason": "REVOKED"}
    await there.kicked("NEW_LOGIN")
    for hub in (near, far):
        await refused(hub, old)
        await let_in(hub, new)
        assert await key_opens(hub, "st-1", rotated.json()["key"])
