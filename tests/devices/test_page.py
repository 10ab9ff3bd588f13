"""What Socket.IO alone has; the rest is in test_operator, for both doors."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection

from devices.operator import Refused, RequestFailed
from devices.page import Page
from hub.config import load
from hub.serve import Hub
from tests.devices.test_operator import GUARD, SocketIo, hub


@pytest.fixture
async def real(tmp_path: Path) -> AsyncIterator[Hub]:
    """A hub."""
    ports = {"port": 0, "mqtt_port": 0, "mqtt_ws_port": 0}
    async with Hub(
        load({**ports, "data_dir": tmp_path, "jwt_secret": "a secret of the tests, long enough"})
    ) as running:
        yield running


async def test_pings_are_answered() -> None:
    """Engine.IO's; before the login is done, too."""
    pongs = []

    async def script(socket: ServerConnection) -> None:
        await socket.send("0{}")
        await socket.recv()
        await socket.send("2")
        pongs.append(await socket.recv())
        await socket.send('40{"sid":"me"}')
        await socket.send("2")
        pongs.append(await socket.recv())

    async with hub(script) as url, Page(url, token="t", timeout=GUARD) as page:
        await asyncio.wait_for(page.wait_closed(), GUARD)
    assert pongs == ["3", "3"]


async def test_put_out_of_the_namespace() -> None:
    """Packet 41."""

    async def script(socket: ServerConnection) -> None:
        await SocketIo().welcome(socket)
        await socket.send("41")
        await socket.send("1")

    async with hub(script) as url, Page(url, token="t", timeout=GUARD) as page:
        await asyncio.wait_for(page.wait_closed(), GUARD)
        assert page.left


async def test_a_real_hub(real: Hub) -> None:
    """Values, errors by ack, pushes, and a newer login."""
    token = real.tokens.mint_user("u-1", role="operator")
    async with Page(real.http_url, token=token, timeout=GUARD) as page:
        assert (await page.request("ping"))["pong"] is True
        room = await page.request("create-room")
        async with Page(real.http_url, token=real.tokens.mint_user("u-2"), timeout=GUARD) as other:
            assert await other.request("join-room", room) == room | {"peers": [page.peer_id]}
            assert await page.next_push("peer-joined") == ("peer-joined", {"peerId": other.peer_id})
            assert await other.request("leave-room", room) is None
        with pytest.raises(RequestFailed, match="STATION_OFFLINE"):
            await page.request("station-cmd-request-stream", {"stationId": "st-1", "cameraId": "c"})
        async with Page(real.http_url, token=real.tokens.mint_user("u-1", role="operator"), timeout=GUARD):
            await asyncio.wait_for(page.wait_closed(), GUARD)
    assert (page.kicked, page.left) == ("NEW_LOGIN", True)


async def test_a_real_hub_refuses(real: Hub) -> None:
    """A bad token, and a namespace that is for admins."""
    with pytest.raises(Refused, match=r"^UNAUTHORIZED: Unauthorized$"):
        await Page(real.http_url, token="no", timeout=GUARD).__aenter__()
    viewer = real.tokens.mint_user("u-1")
    with pytest.raises(Refused, match="FORBIDDEN"):
        await Page(real.http_url, token=viewer, namespace="/admin", timeout=GUARD).__aenter__()


async def test_an_admin_has_a_namespace_of_its_own(real: Hub) -> None:
    """And requests and pushes in it."""
    admin = real.tokens.mint_user("u-1", role="admin")
    async with Page(real.http_url, token=admin, namespace="/admin", timeout=GUARD) as page:
        assert (await page.next_push())[0] == "monitor-update"
        assert (await page.request("ping"))["pong"] is True
