"""A whole hub on port 0, in this process, with either broker; and everybody who connects to it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from devices.operator import Operator
from devices.station import Station
from hub.config import Settings, load
from hub.serve import Hub
from tests.e2e.shell import Shell
from tests.e2e.waiting import GUARD, end, until
from tests.mosquitto import mosquitto

SECRET = "a secret of the tests, long enough"


class World:
    """One hub and its guests; everything is closed at the end of the test."""

    def __init__(self, hub: Hub, mqtt: str, stack: AsyncExitStack) -> None:
        self.hub, self.mqtt, self._stack = hub, mqtt, stack
        self._users = 0

    async def operator(self, role: Any = "operator", *, token: str | None = None, path: str = "/ws") -> Operator:
        """A browser connects, somebody new each time."""
        self._users += 1
        token = token or self.hub.tokens.mint_user(f"user-{self._users}", role=role)
        return await self._stack.enter_async_context(Operator(self.hub.http_url + path, token=token, timeout=GUARD))

    async def ws_station(self, station_id: str = "st-1") -> Operator:
        """A station connects by WebSocket and registers."""
        station = await self.operator(token=self.hub.tokens.mint_station(station_id))
        await station.request("station-register", {"stationId": station_id})
        return station

    def ends(self, process: asyncio.subprocess.Process) -> asyncio.subprocess.Process:
        """A process that ends with the test, however the test ends."""
        self._stack.push_async_callback(end, process)
        return process

    def station(self, station_id: str = "st-1", **options: Any) -> Station:
        """A station on MQTT, not connected yet."""
        defaults: dict[str, Any] = {
            "token": self.hub.tokens.mint_station(station_id),
            "status": gate,
            "status_interval": 1.0,
        }
        return Station(self.mqtt, station_id, **defaults | options)

    async def connect(self, station: Station) -> Station:
        """It connects, and the hub knows it."""
        await self._stack.enter_async_context(station)
        await until(lambda: self.hub.services.presence.online(station.station_id))
        return station


def gate() -> list[dict[str, Any]]:
    """What the stations of the tests report."""
    return [{"deviceId": "gate-1", "name": "Gate", "type": "controller", "status": "online", "metrics": {"temp": 31}}]


def settings(tmp_path: Path, **options: Any) -> Settings:
    """Options for a hub of the tests: free ports, a directory of its own."""
    free = {"port": 0, "mqtt_port": 0, "mqtt_ws_port": 0, "data_dir": tmp_path / "hub", "jwt_secret": SECRET}
    return load(free | options)


@pytest.fixture
def options() -> dict[str, Any]:
    """More options for the hub; a test overrides it by parametrization."""
    return {}


@pytest.fixture(params=["embedded", "mosquitto"])
async def world(request: pytest.FixtureRequest, tmp_path: Path, options: dict[str, Any]) -> AsyncIterator[World]:
    """The same tests over both brokers."""
    async with AsyncExitStack() as stack:
        if request.param == "mosquitto":
            broker = await stack.enter_async_context(mosquitto(tmp_path))
            hub = await stack.enter_async_context(Hub(settings(tmp_path, broker=broker.url, **options)))
            yield World(hub, broker.url, stack)
        else:
            hub = await stack.enter_async_context(Hub(settings(tmp_path, **options)))
            yield World(hub, f"mqtt://127.0.0.1:{hub.mqtt_port}", stack)


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    """A place to run `hub` commands; what still runs at the end is ended."""
    shell = Shell(tmp_path)
    yield shell
    for started in shell.started:
        await end(started.process)
