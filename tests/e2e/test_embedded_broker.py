"""What the embedded broker means for stations and operators: wills and silence at once, and a hub that comes back."""

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

from devices.station import Station
from hub.serve import Hub
from tests.e2e.conftest import World, gate, settings
from tests.e2e.shell import Shell
from tests.e2e.waiting import GUARD, end, until
from tests.hub.client import Client, connect_packet
from tests.mosquitto import free_port


async def start(stack: AsyncExitStack, tmp_path: Path, **options: object) -> World:
    hub = await stack.enter_async_context(Hub(settings(tmp_path, **options)))
    return World(hub, f"mqtt://127.0.0.1:{hub.mqtt_port}", stack)


async def test_a_will_is_final(tmp_path: Path) -> None:
    """The broker knows that the connection is gone: no grace, no question."""
    async with AsyncExitStack() as stack:
        world = await start(stack, tmp_path, will_grace=60.0)
        browser = await world.operator()
        will = ("stations/st-1/offline", b'{"stationId":"st-1","sessionId":"s"}', 1, False)
        packet = connect_packet("c", "st-1", world.hub.tokens.mint_station("st-1"), will=will)
        assert world.hub.mqtt_port is not None
        client = await Client.connect(world.hub.mqtt_port, packet)
        client.publish("stations/st-1/status", b'{"devices":[]}')
        assert await browser.next_push("station-connected") == ("station-connected", {"stationId": "st-1"})
        await client.abort()
        async with asyncio.timeout(GUARD):
            assert (await browser.next_push("station-disconnected"))[1] == {"stationId": "st-1"}


async def test_silence_ends_a_station(tmp_path: Path) -> None:
    """A station whose power is cut says nothing: after one and a half keep-alives it is offline."""
    async with AsyncExitStack() as stack:
        world = await start(stack, tmp_path)
        browser = await world.operator()
        will = ("stations/st-1/offline", b'{"stationId":"st-1","sessionId":"s"}', 1, False)
        packet = connect_packet("c", "st-1", world.hub.tokens.mint_station("st-1"), will=will, keep_alive=1)
        assert world.hub.mqtt_port is not None
        client = await Client.connect(world.hub.mqtt_port, packet)
        client.publish("stations/st-1/status", b'{"devices":[]}')
        async with asyncio.timeout(GUARD):
            await browser.next_push("station-connected")
            assert (await browser.next_push("station-disconnected"))[1] == {"stationId": "st-1"}
        await client.closed.wait()


async def test_a_hub_restarts_without_a_flap(tmp_path: Path) -> None:
    """Verdicts are stored: who was online still is, who does not come back goes, nobody sees the fleet flap."""
    port = free_port()
    async with AsyncExitStack() as stack:
        async with AsyncExitStack() as first_life:
            world = await start(first_life, tmp_path, mqtt_port=port)
            token = world.hub.tokens.mint_station
            staying = await stack.enter_async_context(
                Station(
                    world.mqtt,
                    "stays",
                    token=token("stays"),
                    status=gate,
                    status_interval=1.0,
                    retry_first=0.05,
                    retry_cap=0.2,
                )
            )
            leaving = await first_life.enter_async_context(
                Station(world.mqtt, "leaves", token=token("leaves"), status=gate, status_interval=1.0, retry_first=60.0)
            )
            await until(lambda: world.hub.services.presence.online_ids() == ["leaves", "stays"])
            first_life.push_async_callback(world.hub.link.stop)  # the hub goes first, while both are there
            assert leaving.connected
        world = await start(stack, tmp_path, mqtt_port=port)
        browser = await world.operator()
        assert await browser.request("get-online-stations") == {"stations": ["leaves", "stays"]}
        async with asyncio.timeout(40):
            assert (await browser.next_push("station-connected", "station-disconnected"))[1] == {"stationId": "leaves"}
        await until(lambda: staying.connected)
        await browser.request("ping")
        assert world.hub.services.presence.online_ids() == ["stays"]
        pushes = [push for push in browser.waiting() if push[0] in ("station-connected", "station-disconnected")]
        assert pushes == []


async def run(*program: str) -> str:
    process = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
    try:
        out, _ = await asyncio.wait_for(process.communicate(), GUARD)
    finally:
        await end(process)
    assert process.returncode == 0, program
    return out.decode()


async def test_kill_9_keeps_what_was_acknowledged(shell: Shell) -> None:
    """A command for a station that is away survives the hub's sudden death, with programs nobody here wrote."""
    process, ready = await shell.serve("--jwt-secret", "a secret of the tests, long enough")
    port = str(urlsplit(ready["mqtt"]).port)
    _, station, _ = await shell.run("token", "--station", "st-1", "--jwt-secret", "a secret of the tests, long enough")
    _, admin, _ = await shell.run(
        "token", "--user", "svc", "--role", "admin", "--jwt-secret", "a secret of the tests, long enough"
    )
    away = ("mosquitto_sub", "-p", port, "-i", "c", "-c", "-q", "1", "-t", "stations/st-1/cmd")
    login = ("-u", "st-1", "-P", station.strip())
    await run(*away, *login, "-E")
    await run(
        *("mosquitto_pub", "-p", port, "-u", "svc", "-P", admin.strip(), "-q", "1"),
        *("-t", "stations/st-1/cmd", "-m", "open-gate"),
    )
    await process.interrupt(signal.SIGKILL)
    (shell.directory / "ready.json").unlink()
    _, ready = await shell.serve("--jwt-secret", "a secret of the tests, long enough", "--mqtt-port", port)
    assert await run(*away, *login, "-C", "1") == "open-gate\n"
