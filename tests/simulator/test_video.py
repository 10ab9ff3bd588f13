"""Simulated stations that really stream, in a demo and in a run that is judged."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from devices.client import Address
from devices.operator import Operator
from hub.serve import Hub
from hub.simulate_command import credentials_of
from simulator.options import Options
from simulator.plan import Plan, Target
from simulator.run import keep_running
from simulator.scenario import SimulationError, load
from tests.e2e.conftest import settings
from tests.e2e.waiting import GUARD, until
from tests.viewer import viewer


def test_which_stations() -> None:
    """The first ones, passing over old software; as many as were asked for."""
    scenario = load(None, {"stations": 100, "legacy": 0.3})
    plan = Plan(scenario, Target(Address.parse("mqtt://h"), None), "sim", "run", video=10)
    found = [number for number in range(100) if plan.streams(number)]
    assert len(found) == 10
    assert found[-1] < 16


@pytest.mark.parametrize("flags", [{"video": "-1"}, {"video": "many"}, {"video": 1, "broker": "mqtt://h"}])
def test_usage(flags: dict[str, object]) -> None:
    with pytest.raises(SimulationError, match="--video"):
        Options.parse(flags)


@asynccontextmanager
async def fleet(tmp_path: Path, video: int) -> AsyncIterator[Hub]:
    """A hub with two simulated stations, for as long."""
    async with Hub(settings(tmp_path)) as hub:
        target = Target(Address.parse(f"mqtt://127.0.0.1:{hub.mqtt_port}"), hub.http_url)
        scenario = load(None, {"stations": 2, "browsers": 1, "duration": 0})
        work = asyncio.create_task(keep_running(scenario, target, "demo", credentials_of(hub.tokens), video=video))
        try:
            await until(lambda: all(hub.services.presence.online(f"demo-0000{number}") for number in (1, 2)))
            yield hub
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)


async def test_streams_and_calls(tmp_path: Path) -> None:
    """One of two stations streams and can be called; requests without an offer are answered as ever; nothing stays."""
    before = asyncio.all_tasks()
    async with fleet(tmp_path, 1) as hub, viewer() as browser, viewer(call=True) as caller:
        token = hub.tokens.mint_user("ann", role="operator")
        async with Operator(hub.http_url, token=token) as ann, asyncio.timeout(2 * GUARD):
            request = {"stationId": "demo-00001", "cameraId": "demo-00001-cam-1"}
            await ann.request("station-cmd-request-stream", request)
            _, ready = await ann.next_push("station-stream-ready")
            assert ready["url"].startswith("rtsp://")
            await ann.request("station-cmd-request-stream", request | {"offer": browser.offer})
            _, ready = await ann.next_push("station-stream-ready")
            assert (ready["status"], ready["cameraId"]) == ("ready", "demo-00001-cam-1")
            await browser.accept(ready["answer"])
            await browser.frames(3)
            stop = {"stationId": "demo-00001", "type": "stop-stream", "params": {"cameraId": "demo-00001-cam-1"}}
            assert (await ann.request("station-command", stop))["stage"] == "done"
            await browser.lost.wait()

            room = (await ann.request("create-room"))["roomId"]
            await ann.request("station-invite", {"stationId": "demo-00001", "roomId": room})
            _, joined = await ann.next_push("peer-joined")
            await ann.request("offer", {"to": joined["peerId"], "offer": caller.offer})
            _, said = await ann.next_push("answer")
            await caller.accept(said["answer"])
            await caller.frames(3)

            await ann.request(
                "station-cmd-request-stream", request | {"stationId": "demo-00002", "offer": browser.offer}
            )
            _, ready = await ann.next_push("station-stream-ready")
            assert "answer" not in ready
    await until(lambda: asyncio.all_tasks() <= before)
