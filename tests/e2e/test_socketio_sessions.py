"""How connections of npm's socket.io-client end and come again: kicked, expired, the hub restarted (contract.md section 1)."""

import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx

from hub.serve import Hub
from tests.e2e.conftest import settings
from tests.e2e.npm import Node, SocketIo
from tests.e2e.scene import MODULE_LOOP, Scene, each_transport, scene, set_scene, stage  # noqa: F401  # fixtures
from tests.e2e.waiting import until

pytestmark = MODULE_LOOP

AGAIN: dict[str, Any] = {"reconnection": True, "reconnectionDelay": 50, "reconnectionDelayMax": 200}
"""As every page has it, only quicker."""
KICKED = ("kicked", {"reason": "NEW_LOGIN"})
MISMATCH = ["UNAUTHORIZED: session mismatch detected", None, False]


@each_transport
async def test_kicked(scene: Scene) -> None:  # noqa: F811
    """A newer login: told why, put out for good, on all namespaces and doors; what it was in hears of it."""
    user, witness = scene.new("user"), await scene.browser()
    room = await witness.request("create-room")
    old = scene.hub.tokens.mint_user(user, role="admin")
    page, native = await scene.connect_socketio(old, **AGAIN), await scene.operator(token=old)
    admin = await scene.node.beside(page, "/admin", {"token": old}).connected()
    await page.ack("join-room", room)
    assert await witness.push() == ("peer-joined", {"peerId": page.peer_id})
    newer = await scene.connect_socketio(scene.hub.tokens.mint_user(user))
    assert await page.push() == KICKED
    assert await page.life("disconnect") == ["io server disconnect", False]
    assert await admin.push("kicked") == KICKED
    assert await admin.life("disconnect") == ["io server disconnect", False]
    assert (await native.next_push("kicked")) == KICKED
    assert await witness.push("peer-disconnected") == ("peer-disconnected", {"peerId": page.peer_id})
    page.do("open")  # somebody presses "reload"
    assert await page.life("connect_error") == MISMATCH
    assert (await newer.request("ping"))["pong"] is True
    assert newer.waiting() == []


@each_transport
async def test_two_tabs_of_one_login(scene: Scene) -> None:  # noqa: F811
    """They are two peers; neither kicks the other."""
    token = scene.token()
    one, other = await scene.connect_socketio(token), await scene.connect_socketio(token)
    room = await one.request("create-room")
    assert (await other.request("join-room", room))["peers"] == [one.peer_id]
    assert await one.push() == ("peer-joined", {"peerId": other.peer_id})


@each_transport
async def test_signed_out_over_http(scene: Scene) -> None:  # noqa: F811
    """A login elsewhere, a logout, a station deleted: POST and DELETE reach the sockets."""
    account = {"email": f"{scene.new('ann')}@example.org", "password": "long enough, and no word", "nickname": "Ann"}
    async with httpx.AsyncClient(base_url=scene.hub.http_url) as http:

        async def page(path: str) -> SocketIo:
            token = (await http.post(path, json=account)).json()["accessToken"]
            http.headers["Authorization"] = f"Bearer {token}"
            return await scene.connect_socketio(token, **AGAIN)

        first = await page("/auth/register")
        second = await page("/auth/login")
        assert await first.push() == KICKED
        assert await first.life("disconnect") == ["io server disconnect", False]
        assert (await http.post("/auth/logout")).status_code == 201
        assert await second.push() == ("kicked", {"reason": "REVOKED"})
        assert await second.life("disconnect") == ["io server disconnect", False]
        http.headers["Authorization"] = f"Bearer {scene.token('admin')}"
        assert (await http.post("/stations", json={"stationId": scene.station_id})).status_code == 201
        station = await scene.socketio_station()
        assert (await http.delete(f"/stations/{scene.station_id}")).status_code == 204
        assert await station.push() == ("kicked", {"reason": "REVOKED"})
        assert await station.life("disconnect") == ["io server disconnect", False]


@each_transport
async def test_guest(scene: Scene) -> None:  # noqa: F811
    """The token that POST /auth/guest gives lets a page in, with the rights of a viewer."""
    async with httpx.AsyncClient(base_url=scene.hub.http_url) as http:
        answer = await http.post("/auth/guest", json={"nickname": "Ann"})
    assert answer.status_code == 201
    guest = await scene.connect_socketio(answer.json()["accessToken"])
    assert list(await guest.request("create-room")) == ["roomId"]
    invitation = {"stationId": "st-1", "roomId": "00000000"}
    assert (await guest.refused("station-invite", invitation)).startswith("FORBIDDEN: ")


@each_transport
async def test_expired(scene: Scene) -> None:  # noqa: F811
    """30 s after its token expired a page is told so, and put out; it does not come again by itself."""
    token = scene.hub.tokens.mint_user(scene.new("user"), lifetime=-28.0)
    page = await scene.connect_socketio(token, **AGAIN)
    assert (await page.request("ping"))["pong"] is True
    expected = ("exception", {"status": "error", "message": "UNAUTHORIZED: Unauthorized"})
    assert await page.push() == expected
    assert await page.life("disconnect") == ["io server disconnect", False]
    assert page.waiting() == []
    await until(lambda: page.peer_id not in scene.hub.gateway.peers)


@each_transport
async def test_leaving_and_coming_again(scene: Scene) -> None:  # noqa: F811
    """A page that leaves by itself comes again as another peer."""
    page = await scene.browser()
    before = page.peer_id
    page.close()
    assert await page.life("disconnect") == ["io client disconnect", False]
    await until(lambda: before not in scene.hub.gateway.peers)
    page.do("open")
    await page.connected(upgrades=scene.transport == "upgraded")
    assert page.peer_id != before
    assert (await page.request("ping"))["pong"] is True


@each_transport
async def test_one_that_does_not_read(scene: Scene) -> None:  # noqa: F811
    """It is closed when too much waits for it, comes again by itself, and slows nobody down meanwhile."""
    sender = await scene.operator()
    room = await sender.request("create-room")
    async with Node() as elsewhere:
        mine, scene.node = scene.node, elsewhere
        deaf = await scene.browser(**AGAIN)
        scene.node = mine
        await deaf.ack("join-room", room)
        before = deaf.peer_id
        await sender.next_push("peer-joined")
        elsewhere.signal(signal.SIGSTOP)
        sent = 0
        while before in scene.hub.gateway.peers:
            await sender.send("offer", {"to": before, "offer": {"sdp": "x" * 500_000}})
            await sender.request("ping")
            sent += 1
            assert sent < 200
        assert sent * 500_000 > 16_000_000
        elsewhere.signal(signal.SIGCONT)
        assert await deaf.life("disconnect") == ["transport close", True]
        await deaf.connected(upgrades=scene.transport == "upgraded")
        assert deaf.peer_id != before
        assert (await deaf.request("ping"))["pong"] is True
        deaf.close()


async def test_restart(stage: tuple[Hub, Node], tmp_path: Path) -> None:  # noqa: F811
    """The hub goes and comes on the same port: pages and stations come again by themselves, and are let in."""
    port = 0
    async with AsyncExitStack() as stack:
        pages, stations = {}, {}
        for life in ("first", "second"):
            hub = Hub(settings(tmp_path, port=port, room_expiry=60.0))
            async with hub:
                if life == "first":
                    port = hub.http_port
                    for transport in ("polling", "websocket", "upgraded"):
                        scene = await stack.enter_async_context(set_scene(hub, stage[1], transport))
                        pages[transport] = await scene.browser(**AGAIN)
                        token = hub.tokens.mint_station(f"st-{transport}")
                        stations[transport] = await scene.connect_socketio(token, **AGAIN)
                else:
                    for transport, client in [*pages.items(), *stations.items()]:
                        before = client.peer_id
                        await client.connected(upgrades=transport == "upgraded")
                        assert client.peer_id != before
                        assert client.peer_id in hub.gateway.peers
                for transport, station in stations.items():
                    await station.ack("station-register", {"stationId": f"st-{transport}"})
                for page in pages.values():
                    assert len((await page.request("get-online-stations"))["stations"]) == 3
                    await page.request("create-room")
            for client in (*pages.values(), *stations.values()):
                assert await client.life("disconnect") == ["transport close", True]
                assert "exception" not in client.log
