"""Programs that nobody here wrote: Debian's mosquitto_pub and mosquitto_sub, npm's mqtt over WebSocket."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hub.serve import Hub
from tests.e2e.conftest import World, settings
from tests.e2e.waiting import GUARD

NODE = Path(__file__).parent.parent / "node"


@pytest.fixture
async def hub(tmp_path: Path, options: dict[str, Any]) -> AsyncIterator[Hub]:
    async with Hub(settings(tmp_path, will_grace=0.3, **options)) as running:
        yield running


@pytest.fixture
async def world(hub: Hub) -> AsyncIterator[World]:
    from contextlib import AsyncExitStack

    async with AsyncExitStack() as stack:
        yield World(hub, f"mqtt://127.0.0.1:{hub.mqtt_port}", stack)


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (apt install mosquitto-clients)")
    return found


async def start(world: World, name: str, station_id: str, *arguments: str) -> asyncio.subprocess.Process:
    """mosquitto_pub or _sub as a station with its token."""
    login = ("-u", station_id, "-P", world.hub.tokens.mint_station(station_id), "-i", f"{name}-{station_id}")
    process = await asyncio.create_subprocess_exec(
        # into a pipe they would write only when a buffer is full
        *("stdbuf", "-oL", program(name), "-h", "127.0.0.1", "-p", str(world.hub.mqtt_port), *login, *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    return world.ends(process)


async def line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(GUARD):
        return (await process.stdout.readline()).decode().strip()


async def test_mosquitto_clients_as_a_station(world: World) -> None:
    """What an old field box does, by hand: status published, commands heard, replies counted, the will at the end."""
    browser = await world.operator()
    will = json.dumps({"stationId": "box-1", "sessionId": "s"})
    listener = await start(
        world,
        "mosquitto_sub",
        "box-1",
        *("-t", "stations/box-1/cmd", "-q", "1", "-d"),
        *("--will-topic", "stations/box-1/offline", "--will-payload", will, "--will-qos", "1"),
    )
    while "Subscribed" not in (text := await line(listener)):
        assert text, "mosquitto_sub ended"
    status = {"devices": [{"deviceId": "gate", "name": "Gate", "type": "controller", "status": "error"}]}
    sent = await start(world, "mosquitto_pub", "box-1", "-t", "stations/box-1/status", "-m", json.dumps(status))
    assert await sent.wait() == 0
    assert await browser.next_push("station-connected") == ("station-connected", {"stationId": "box-1"})
    _, batch = await browser.next_push("batch-station-status-update")
    assert (batch[0]["stationId"], batch[0]["summary"]["error"]) == ("box-1", 1)
    asked = asyncio.create_task(browser.request("station-command", {"stationId": "box-1", "type": "open-gate"}))
    while not (text := await line(listener)).startswith("{"):
        assert text, "mosquitto_sub ended"
    command = json.loads(text)
    reply = json.dumps({"id": command["id"], "stage": "done", "result": "by hand"})
    sent = await start(world, "mosquitto_pub", "box-1", "-q", "1", "-t", "stations/box-1/reply", "-m", reply)
    assert await sent.wait() == 0
    assert (await asked)["result"] == "by hand"
    listener.kill()
    await listener.wait()
    async with asyncio.timeout(GUARD):
        assert await browser.next_push("station-disconnected") == ("station-disconnected", {"stationId": "box-1"})


async def test_not_a_station(world: World) -> None:
    """Without a good login a client is refused, and nobody hears of it."""
    browser = await world.operator()
    port = str(world.hub.mqtt_port)
    for login in ((), ("-u", "box-1", "-P", "wrong"), ("-u", "box-2", "-P", world.hub.tokens.mint_station("box-1"))):
        process = await asyncio.create_subprocess_exec(
            *(
                program("mosquitto_pub"),
                "-h",
                "127.0.0.1",
                "-p",
                port,
                *login,
                "-t",
                "stations/box-1/status",
                "-m",
                "{}",
            ),
            stderr=asyncio.subprocess.PIPE,
        )
        _, err = await process.communicate()
        assert process.returncode != 0
        assert b"efused" in err or b"uthori" in err
    assert await browser.request("get-online-stations") == {"stations": []}
    assert browser.waiting() == []


@pytest.mark.parametrize("options", [{"anonymous_mqtt": True}])
async def test_anonymous(world: World) -> None:
    """For trials a client without a login speaks for the station named in its topics."""
    browser = await world.operator()
    port = str(world.hub.mqtt_port)
    process = await asyncio.create_subprocess_exec(
        *(program("mosquitto_pub"), "-h", "127.0.0.1", "-p", port, "-t", "stations/any/status", "-m", '{"devices":[]}')
    )
    assert await process.wait() == 0
    assert await browser.next_push("station-connected") == ("station-connected", {"stationId": "any"})


@pytest.mark.parametrize("door", ["own port", "HTTP port"])
@pytest.mark.parametrize("how", ["clean", "die"])
async def test_npm_mqtt_over_websocket(world: World, how: str, door: str) -> None:
    """A page that is a station: npm's mqtt over ws://, asked, commanded, gone."""
    if shutil.which("node") is None or not (NODE / "node_modules" / "mqtt").exists():
        pytest.skip("node or npm's mqtt is not installed (npm --prefix tests/node ci)")
    browser = await world.operator()
    port = world.hub.mqtt_ws_port if door == "own port" else world.hub.http_port
    url = f"ws://127.0.0.1:{port}/mqtt"
    page = await asyncio.create_subprocess_exec(
        *("node", str(NODE / "station.js"), url, "page-1", world.hub.tokens.mint_station("page-1")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    world.ends(page)
    assert await line(page) == "subscribed 1"
    assert await browser.next_push("station-connected") == ("station-connected", {"stationId": "page-1"})
    await browser.request("station-request-status", {"stationId": "page-1"})
    assert (await browser.next_push("station-status-update"))[1]["number"] == 1
    done = await browser.request("station-command", {"stationId": "page-1", "type": "open-gate"})
    assert done["result"] == {"by": "node"}
    assert [await line(page), await line(page)] == ["command report-status", "command open-gate"]
    assert page.stdin is not None
    page.stdin.write(how.encode() + b"\n")
    await page.stdin.drain()
    await asyncio.wait_for(page.wait(), GUARD)
    if how == "die":
        async with asyncio.timeout(GUARD):
            assert (await browser.next_push("station-disconnected"))[1] == {"stationId": "page-1"}
