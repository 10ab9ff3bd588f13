"""A hub with the official clients in front of it; one hub and one Node process for all tests of a module.

A test module that uses it imports both fixtures, and says `pytestmark = MODULE_LOOP`.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from typing import Any, Final, TypeVar

import pytest
import pytest_asyncio

from hub.serve import Hub
from tests.e2e.conftest import World, settings
from tests.e2e.npm import TRANSPORTS, Client, Node, SocketIo, Station
from tests.e2e.waiting import until

__all__ = ["MODULE_LOOP", "Scene", "each_transport", "scene", "set_scene", "stage", "status"]

MODULE_LOOP: Final = pytest.mark.asyncio(loop_scope="module")
each_transport: Final = pytest.mark.parametrize("scene", sorted(TRANSPORTS), indirect=True)
"""The test runs over polling, over a WebSocket, and upgraded from one to the other. Others: over a WebSocket."""

_new: Final = count(1)
C = TypeVar("C", bound=Client)


class Scene(World):
    """A hub, and those who came to it in this test; names are new each time, for the hub is not.

    Attributes:
        transport: how Socket.IO clients come.
        station_id, other_id: of stations nobody has seen before.
    """

    def __init__(self, hub: Hub, node: Node, stack: AsyncExitStack, transport: str) -> None:
        super().__init__(hub, f"mqtt://127.0.0.1:{hub.mqtt_port}", stack)
        self.node, self.transport = node, transport
        self.station_id, self.other_id = self.new("st"), self.new("st")

    def new(self, what: str) -> str:
        """A name."""
        return f"{what}-{next(_new)}"

    def token(self, role: Any = "operator") -> str:
        """The token of somebody new."""
        return self.hub.tokens.mint_user(self.new("user"), role=role)

    def knock(self, path: str = "/", **options: Any) -> SocketIo:
        """A Socket.IO client begins to connect."""
        return self._till_the_end(
            self.node.connect(self.hub.http_url + path, {**TRANSPORTS[self.transport], **options})
        )

    async def connect_socketio(self, token: str, path: str = "/", *, auth: Any = None, **options: Any) -> SocketIo:
        """A Socket.IO client is let in; `auth` is said beside the token."""
        client = self.knock(path, auth={"token": token} | (auth or {}), **options)
        return await client.connected(upgrades=self.transport == "upgraded")

    async def browser(self, role: Any = "operator", **options: Any) -> SocketIo:
        """A page of somebody new."""
        return await self.connect_socketio(self.token(role), **options)

    async def socketio_station(self, station_id: str = "") -> SocketIo:
        """A station that comes by Socket.IO, registered."""
        station_id = station_id or self.station_id
        station = await self.connect_socketio(self.hub.tokens.mint_station(station_id))
        assert await station.request("station-register", {"stationId": station_id}) == {"stationId": station_id}
        return station

    async def mqtt_station(self, station_id: str = "") -> Station:
        """A station of npm's mqtt, online."""
        station_id = station_id or self.station_id
        url = f"ws://127.0.0.1:{self.hub.mqtt_ws_port}/mqtt"
        station = await self.node.station(url, station_id, self.hub.tokens.mint_station(station_id))
        self._till_the_end(station)
        station.say("status", status(), qos=0)
        await until(lambda: self.hub.services.presence.online(station_id))
        return station

    def _till_the_end(self, client: C) -> C:
        self._stack.callback(client.close)
        return client


def status(**fields: Any) -> dict[str, Any]:
    """What a station reports."""
    camera = {"deviceId": "cam", "name": "Camera", "type": "camera", "status": "online", "metrics": {"temp": 40}}
    return {"devices": [camera]} | fields


@asynccontextmanager
async def set_scene(hub: Hub, node: Node, transport: str) -> AsyncIterator[Scene]:
    """A scene, and the curtain at its end."""
    async with AsyncExitStack() as stack:
        yield Scene(hub, node, stack, transport)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Hub, Node]]:
    """The hub and the Node process of a module."""
    async with Node() as node, Hub(settings(tmp_path_factory.mktemp("stage"), will_grace=0.3)) as hub:
        yield hub, node


@pytest_asyncio.fixture(loop_scope="module")
async def scene(stage: tuple[Hub, Node], request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    """The scene of a test."""
    async with set_scene(*stage, getattr(request, "param", "websocket")) as running:
        yield running
