"""What goes wrong at night: wills, takeovers, a broker that goes away, a hub that restarts (architecture.md section 5)."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from devices.messages import Verdict, decode
from devices.operator import Operator, RequestFailed
from devices.station import Station
from hub.serve import Hub
from tests.e2e.conftest import World, gate, settings
from tests.e2e.waiting import GUARD, until
from tests.mosquitto import Mosquitto, mosquitto

GRACE = 0.3
"""Seconds of the will grace in these tests."""


def presence_pushes(operator: Operator) -> list[tuple[str, Any]]:
    return [push for push in operator.waiting() if push[0] in ("station-connected", "station-disconnected")]


async def say(broker: Mosquitto, topic: str, payload: str) -> None:
    """Somebody publishes, with a program that nobody here wrote."""
    program = ("mosquitto_pub", "-p", str(broker.port), "-q", "1", "-t", topic, "-m", payload)
    process = await asyncio.create_subprocess_exec(*program)
    assert await process.wait() == 0


async def kept(broker: Mosquitto, topic: str) -> bytes:
    """The retained message of a topic."""
    program = ("mosquitto_sub", "-p", str(broker.port), "-t", topic, "-C", "1", "-N", "-W", "10")
    process = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
    return (await process.communicate())[0]


@pytest.fixture
async def broker(tmp_path: Path) -> Any:
    async with mosquitto(tmp_path, config="persistence false") as running:
        yield running


@pytest.fixture
async def stack() -> Any:
    async with AsyncExitStack() as opened:
        yield opened


async def start(stack: AsyncExitStack, tmp_path: Path, broker: Mosquitto) -> World:
    hub = await stack.enter_async_context(Hub(settings(tmp_path, broker=broker.url, will_grace=GRACE)))
    return World(hub, broker.url, stack)


async def test_will(stack: AsyncExitStack, tmp_path: Path, broker: Mosquitto) -> None:
    """A station that vanishes is offline after the will and the silence that follows it."""
    world = await start(stack, tmp_path, broker)
    browser = await world.operator()
    process = await asyncio.create_subprocess_exec(
        *("mosquitto_sub", "-p", str(broker.port), "-i", "old-1", "-t", "stations/old-1/cmd", "-q", "1"),
        *(
            "--will-topic",
            "stations/old-1/offline",
            "--will-payload",
            '{"stationId":"old-1","sessionId":"s"}',
            "--will-qos",
            "1",
        ),
    )
    world.ends(process)
    await say(broker, "stations/old-1/status", '{"devices":[]}')
    assert await browser.next_push("station-connected") == ("station-connected", {"stationId": "old-1"})
    await until(lambda: "old-1" in broker.log)
    process.kill()
    await process.wait()
    async with asyncio.timeout(GUARD):
        assert await browser.next_push("station-disconnected") == ("station-disconnected", {"stationId": "old-1"})


async def test_takeover_does_not_flap(stack: AsyncExitStack, tmp_path: Path, broker: Mosquitto) -> None:
    """A newer session of the same station takes over; the old one's will comes late and is ignored; nobody hears of it."""
    world = await start(stack, tmp_path, broker)
    browser = await world.operator()
    old = await world.connect(world.station(retry_first=60.0, retry_cap=60.0))
    assert (await browser.next_push("station-connected"))[1] == {"stationId": "st-1"}
    session = decode(Verdict, await kept(broker, "live/stations/st-1")).session_id
    new = await world.connect(world.station())
    await until(lambda: not old.connected)
    await old.close()
    await say(broker, "stations/st-1/offline", f'{{"stationId":"st-1","sessionId":"{session}"}}')
    await until(lambda: world.hub.services.presence.ignored_wills > 0)
    await browser.request("ping")
    await asyncio.wait_for(new.report(), GUARD)
    assert presence_pushes(browser) == []
    assert world.hub.services.presence.online("st-1")


async def test_broker_goes_and_comes(stack: AsyncExitStack, tmp_path: Path, broker: Mosquitto) -> None:
    """While the broker is away station events are UNAVAILABLE; when it is back all stations are, and no browser saw a flap."""
    world = await start(stack, tmp_path, broker)
    stations = [
        await world.connect(world.station(f"st-{number}", retry_first=0.05, retry_cap=0.2)) for number in range(5)
    ]
    browser, ws_station = await world.operator(), await world.ws_station("ws-1")
    room_id = (await browser.request("create-room"))["roomId"]
    await until(lambda: len(world.hub.services.presence.online_ids()) == 6)
    await browser.request("ping")
    presence_pushes(browser)
    await broker.stop()
    await until(lambda: not world.hub.link.connected)
    with pytest.raises(RequestFailed, match="UNAVAILABLE: The broker cannot be reached"):
        await browser.request("get-online-stations")
    with pytest.raises(RequestFailed, match="UNAVAILABLE"):
        await ws_station.request("station-call-center", {"stationId": "ws-1"})
    assert (await browser.request("check-room", {"roomId": room_id}))["exists"] is True
    await broker.start()
    await until(lambda: world.hub.link.connected and all(station.connected for station in stations))
    assert (await browser.request("station-request-status", {"stationId": "st-3"}))["via"] == "mqtt"
    await browser.next_push("station-status-update")
    assert (await browser.request("get-online-stations"))["stations"] == [f"st-{n}" for n in range(5)] + ["ws-1"]
    assert presence_pushes(browser) == []
    other = await world.operator()
    assert (await other.request("join-room", {"roomId": room_id}))["peers"] == [browser.peer_id]


async def test_hub_restarts(stack: AsyncExitStack, tmp_path: Path, broker: Mosquitto) -> None:
    """A hub that comes back knows who was online, asks them, and finds who is gone; those who stayed never flapped."""
    async with AsyncExitStack() as first_life:
        world = await start(first_life, tmp_path, broker)
        token = world.hub.tokens.mint_station
        staying = await stack.enter_async_context(
            Station(broker.url, "stays", token=token("stays"), status=gate, status_interval=1.0)
        )
        await say(broker, "stations/leaves/status", '{"devices":[]}')
        await until(lambda: world.hub.services.presence.online_ids() == ["leaves", "stays"])
    world = await start(stack, tmp_path, broker)
    browser = await world.operator()
    assert await browser.request("get-online-stations") == {"stations": ["leaves", "stays"]}
    async with asyncio.timeout(40):
        assert (await browser.next_push("station-connected", "station-disconnected"))[1] == {"stationId": "leaves"}
    assert staying.connected
    assert world.hub.services.presence.online_ids() == ["stays"]
    assert presence_pushes(browser) == []


async def test_a_hub_that_stops_leaves_nothing(tmp_path: Path, broker: Mosquitto) -> None:
    """Of a node that ends in order, no record of itself, its sockets or its room members stays on the broker."""
    async with AsyncExitStack() as life:
        world = await start(life, tmp_path, broker)
        station, browser = await world.ws_station("ws-1"), await world.operator()
        await browser.request("create-room")
        nid = world.hub.services.nid
        await until(lambda: f"live/nodes/{nid}" in broker.log)
        assert station.peer_id
    async with AsyncExitStack() as second_life:
        world = await start(second_life, tmp_path, broker)
        assert world.hub.services.nodes.alive == {world.hub.services.nid}
        assert world.hub.services.presence.sockets() == []
        assert world.hub.services.presence.online_ids() == []
        assert world.hub.services.rooms.nodes() == set()


async def test_two_hubs_on_one_broker(stack: AsyncExitStack, tmp_path: Path, broker: Mosquitto) -> None:
    """Browsers of two nodes see the same fleet and meet in a room."""
    one, other = await start(stack, tmp_path, broker), await start(stack, tmp_path, broker)
    await until(lambda: len(one.hub.services.nodes.alive) == len(other.hub.services.nodes.alive) == 2)
    here, there = await one.operator(), await other.operator(token=one.hub.tokens.mint_user("there", role="operator"))
    station = await other.ws_station("ws-1")
    for browser in (here, there):
        assert (await browser.next_push("station-connected"))[1] == {"stationId": "ws-1"}
    asked = asyncio.create_task(here.request("station-command", {"stationId": "ws-1", "type": "open-gate"}))
    _, command = await station.next_push("station-command")
    await station.request("station-command-reply", {"id": command["id"], "stage": "done", "result": 1})
    assert (await asked)["result"] == 1
    room_id = (await here.request("create-room"))["roomId"]
    await until(lambda: other.hub.services.rooms.members(room_id) == [here.peer_id])
    assert (await there.request("join-room", {"roomId": room_id}))["peers"] == [here.peer_id]
    await here.next_push("peer-joined")
    await there.request("offer", {"to": here.peer_id, "offer": {"sdp": "v=0"}})
    assert (await here.next_push("offer"))[1]["from"] == there.peer_id
