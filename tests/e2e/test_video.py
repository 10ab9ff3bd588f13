"""Video through a real hub: a Station with cameras, and an operator whose browser is aiortc."""

import asyncio
import signal
from typing import Any

from devices.camera import Cameras
from devices.operator import Operator
from tests.e2e.conftest import World
from tests.e2e.shell import FREE, Shell
from tests.e2e.waiting import GUARD, until
from tests.viewer import viewer


async def push(operator: Operator, event: str) -> Any:
    """What the next such push holds."""
    async with asyncio.timeout(GUARD):
        return (await operator.next_push(event))[1]


async def test_a_stream(world: World) -> None:
    """Asked for, answered, shown; it ends when the browser closes it."""
    station = world.station()
    async with Cameras.attach(station) as cameras, viewer() as browser:
        await world.connect(station)
        operator = await world.operator()
        request = {"stationId": "st-1", "cameraId": "lane", "offer": browser.offer}
        assert await operator.request("station-cmd-request-stream", request) == {"status": "request-sent"}
        ready = await push(operator, "station-stream-ready")
        assert (ready["stationId"], ready["cameraId"], ready["status"]) == ("st-1", "lane", "ready")
        await browser.accept(ready["answer"])
        await browser.frames(5)
        assert cameras.viewers == 1
        await browser.pc.close()
        await until(lambda: cameras.viewers == 0)


async def test_a_call(world: World) -> None:
    """The station is invited into a room, answers the offer there with picture and sound, and leaves after the caller."""
    station = world.station()
    async with Cameras.attach(station) as cameras, viewer(call=True) as browser:
        await world.connect(station)
        operator = await world.operator()
        room = (await operator.request("create-room"))["roomId"]
        await operator.request("station-invite", {"stationId": "st-1", "roomId": room})
        assert await push(operator, "peer-joined") == {"peerId": "station:st-1"}
        await operator.request("offer", {"to": "station:st-1", "offer": browser.offer})
        said = await push(operator, "answer")
        assert said["from"] == "station:st-1"
        await browser.accept(said["answer"])
        await browser.frames(5)
        await browser.frames(5, "audio")
        await operator.request("leave-room", {"roomId": room})
        await until(lambda: cameras.viewers == 0)
        async with asyncio.timeout(GUARD):
            await browser.lost.wait()


async def test_an_offer_that_is_none(world: World) -> None:
    """The browser is told why there is no stream."""
    station = world.station()
    async with Cameras.attach(station, {"lane": "test"}) as cameras:
        await world.connect(station)
        operator = await world.operator()
        for request, error in (
            ({"cameraId": "lane"}, "send an offer"),
            ({"cameraId": "lane", "offer": {"type": "offer", "sdp": "v=0"}}, "malformed offer"),
            ({"cameraId": "yard", "offer": {"type": "offer", "sdp": "v=0"}}, "unknown camera"),
        ):
            await operator.request("station-cmd-request-stream", {"stationId": "st-1"} | request)
            ready = await push(operator, "station-stream-ready")
            assert (ready["status"], "answer" in ready) == ("error", False)
            assert error in ready["error"]
        assert cameras.viewers == 0


async def test_a_demo(shell: Shell) -> None:
    """`hub demo --video`: its stations stream, and Ctrl-C ends all of it while somebody watches."""
    process = await shell.start("demo", "--video", "--stations", "2", *FREE)
    assert process.process.stdout is not None
    async with asyncio.timeout(2 * GUARD):
        while not (line := (await process.process.stdout.readline()).decode()).startswith("Console"):
            assert line
    url, token = line.split()[1].split("/#token=")
    async with Operator(url, token=token, timeout=GUARD) as operator, viewer() as browser:
        request = {"stationId": "demo-00002", "cameraId": "demo-00002-cam-1", "offer": browser.offer}
        async with asyncio.timeout(GUARD):
            while "demo-00002" not in (await operator.request("get-online-stations"))["stations"]:  # noqa: ASYNC110 - asked again
                await asyncio.sleep(0.05)
        await operator.request("station-cmd-request-stream", request)
        ready = await push(operator, "station-stream-ready")
        assert ready["status"] == "ready"
        await browser.accept(ready["answer"])
        await browser.frames(5)
        code, _, err = await process.interrupt(signal.SIGINT)
    assert code == 0
    assert "Traceback" not in err
