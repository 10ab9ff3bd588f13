"""A real browser: pages of another origin play the main flows, and the console stays clean."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
import pytest_asyncio

from hub.serve import Hub
from tests.e2e.chromium import Chromium, Tab, pages
from tests.e2e.conftest import settings
from tests.e2e.npm import TRANSPORTS

pytestmark = pytest.mark.asyncio(loop_scope="module")

_new: Final = count(1)


class World(NamedTuple):
    """A browser, a hub that knows one origin, that origin, and a strange one."""

    browser: Chromium
    hub: Hub
    origin: str
    stranger: str

    async def page(self, role: Any, transport: str = "upgraded", path: str = "") -> tuple[Tab, str]:
        """Somebody new opens the page and connects; the tab, and its peer id."""
        tab = await self.browser.tab(self.origin)
        token = self.hub.tokens.mint_user(f"user-{next(_new)}", role=role)
        options = {"auth": {"token": token}, **TRANSPORTS[transport]}
        connected = await tab.do("connect", self.hub.http_url + path, options)
        assert connected["transport"] == ("polling" if transport == "polling" else "websocket")
        return tab, connected["id"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    scratch = tmp_path_factory.mktemp("chromium")
    with pages() as origin, pages() as stranger:
        async with Chromium(scratch / "profile") as browser, Hub(settings(scratch, origins=[origin])) as hub:
            yield World(browser, hub, origin, stranger)


async def leave(*tabs: Tab) -> None:
    """The pages say goodbye; none of them complained of anything."""
    for tab in tabs:
        await tab.do("leave")
        assert await tab.do("next", "disconnect") == "io client disconnect"
        # an answer that is on its way may still be complained of
        await tab.do("heard")
        assert tab.trouble == []
        await tab.close()


@pytest.mark.parametrize("transport", sorted(TRANSPORTS))
async def test_call(world: World, transport: str) -> None:
    """Two pages meet in a room, and a real peer connection comes about between them."""
    caller, caller_id = await world.page("viewer", transport)
    callee, callee_id = await world.page("viewer", transport)
    room = await callee.do("ask", "create-room", None)
    await callee.do("takeCalls")
    assert (await caller.do("ask", "join-room", room))["peers"] == [callee_id]
    assert await callee.do("next", "peer-joined") == {"peerId": caller_id}
    assert await caller.do("call", callee_id) is True
    assert await callee.do("next", "open") is True
    await caller.do("say", "hello")
    assert await callee.do("next", "talk") == "hello"
    await callee.do("say", "and hello to you")
    assert await caller.do("next", "talk") == "and hello to you"
    await callee.do("hangUp")
    await leave(callee)
    assert await caller.do("next", "peer-disconnected") == {"peerId": callee_id}
    await caller.do("hangUp")
    await leave(caller)


@pytest.mark.parametrize("transport", sorted(TRANSPORTS))
async def test_station(world: World, transport: str) -> None:
    """A page that is a station on MQTT, and one that watches, commands, streams from and invites it."""
    iot, iot_id = await world.page("operator", transport)
    edge = await world.browser.tab(world.origin)
    station_id = f"edge-{next(_new)}"
    station = {"stationId": station_id}
    address = world.hub.http_url.replace("http", "ws") + "/mqtt"
    assert await edge.do("beStation", address, station_id, world.hub.tokens.mint_station(station_id)) == 1
    assert await iot.do("next", "station-connected") == station
    seen = set[str]()
    while station_id not in seen:  # the first batch may have only those who were there before
        seen |= {one["stationId"] for one in await iot.do("next", "batch-station-status-update")}
    assert await iot.do("ask", "station-request-status", station) == {"via": "mqtt"}
    assert (await iot.do("next", "station-status-update"))["stationId"] == station_id
    command = station | {"type": "open-gate", "params": {"lane": 2}}
    assert (await iot.do("ask", "station-command", command))["result"] == {"lane": 2}
    stream = station | {"cameraId": "cam"}
    assert await iot.do("ask", "station-cmd-request-stream", stream) == {"status": "request-sent"}
    ready = {"requesterId": iot_id, "status": "ready", "url": "rtsp://192.0.2.1/cam"}
    assert await iot.do("next", "station-stream-ready") == stream | ready
    room = await iot.do("ask", "create-room", None)
    assert await iot.do("ask", "station-invite", station | room) is None
    assert await iot.do("next", "peer-joined") == {"peerId": f"station:{station_id}"}
    assert await edge.do("heard") == ["report-status", "open-gate", "start-stream", "join-room"]
    await edge.do("stopStation")
    assert edge.trouble == []
    await edge.close()
    await leave(iot)


async def test_admin(world: World) -> None:
    """The admin page sees the rooms."""
    page, page_id = await world.page("viewer")
    room = await page.do("ask", "create-room", None)
    admin, _ = await world.page("admin", path="/admin")
    for _ in range(2):
        update = await admin.do("next", "monitor-update")
        mine = [one for one in update["rooms"] if one["roomId"] == room["roomId"]]
        assert [one["users"] for one in mine] == [[page_id]]
    await leave(admin, page)


@pytest.mark.parametrize("transport", sorted(TRANSPORTS))
async def test_kicked(world: World, transport: str) -> None:
    """A newer login elsewhere: the page is told, put out, and stays out."""
    user = f"user-{next(_new)}"
    tabs = [await world.browser.tab(world.origin) for _ in range(2)]
    for tab in tabs:
        token = world.hub.tokens.mint_user(user)
        connected = await tab.do("connect", world.hub.http_url, {"auth": {"token": token}, **TRANSPORTS[transport]})
        assert connected["id"] in world.hub.gateway.peers
    older, newer = tabs
    assert await older.do("next", "kicked") == {"reason": "NEW_LOGIN"}
    assert await older.do("next", "disconnect") == "io server disconnect"
    assert (await newer.do("ask", "ping", None))["pong"] is True
    assert older.trouble == []
    await older.close()
    await leave(newer)


@pytest.mark.parametrize("transport", sorted(TRANSPORTS))
async def test_restart(world: World, transport: str, tmp_path: Path) -> None:
    """The hub goes and comes on the same port: the page comes again by itself."""
    port, token, before = 0, "", ""
    tab = await world.browser.tab(world.origin)
    for life in ("first", "second"):
        async with Hub(settings(tmp_path, port=port, origins=[world.origin])) as hub:
            if life == "first":
                port, token = hub.http_port, hub.tokens.mint_user("user")
                options = {"auth": {"token": token}, "reconnectionDelay": 100, **TRANSPORTS[transport]}
                await tab.do("connect", hub.http_url, options)
            peer_id = await tab.do("next", "connect")
            assert peer_id in hub.gateway.peers
            assert (await tab.do("ask", "ping", None))["pong"] is True
            assert peer_id != before
            before = peer_id
        assert await tab.do("next", "disconnect") == "transport close"
    # for a while nobody was there, or just about to go: the browser says so itself
    assert [one for one in tab.trouble if "ERR_CONNECTION_" not in one and "503" not in one] == []
    await tab.close()


async def test_http(world: World) -> None:
    """The HTTP API across origins: preflights with Authorization and JSON, every method, and the token works."""
    tab = await world.browser.tab(world.origin)
    url = world.hub.http_url
    guest = await tab.do("http", "POST", f"{url}/auth/guest", None, {"nickname": "Ann"})
    assert (guest["status"], guest["body"]["user"]["nickname"]) == (201, "Ann")
    token = guest["body"]["accessToken"]
    profile = await tab.do("http", "GET", f"{url}/auth/profile", token, None)
    assert (profile["status"], profile["body"]["userId"]) == (200, guest["body"]["user"]["id"])
    admin = world.hub.tokens.mint_user("the-admin", role="admin")
    station = f"st-{next(_new)}"
    for method, path, body, status in (
        ("POST", "/stations", {"stationId": station}, 201),
        ("PATCH", f"/stations/{station}", {"name": "Gate"}, 200),
        ("GET", f"/stations/{station}", None, 200),
        ("DELETE", f"/stations/{station}", None, 204),
    ):
        assert (await tab.do("http", method, url + path, admin, body))["status"] == status
    options = {"extraHeaders": {"Authorization": f"Bearer {token}"}, "transports": ["polling"]}
    assert (await tab.do("connect", url, options))["transport"] == "polling"
    await leave(tab)


async def test_without_origins(world: World, tmp_path: Path) -> None:
    """A hub that was told of no origins serves the pages of any, without credentials: the token is enough."""
    async with Hub(settings(tmp_path)) as hub:
        for transport in sorted(TRANSPORTS):
            tab = await world.browser.tab(world.stranger)
            answer = await tab.do("http", "POST", f"{hub.http_url}/auth/guest", None, {}, "same-origin")
            options = {"auth": {"token": answer["body"]["accessToken"]}, "withCredentials": False}
            connected = await tab.do("connect", hub.http_url, {**options, **TRANSPORTS[transport]})
            assert connected["id"] in hub.gateway.peers
            await leave(tab)


async def test_refusals_are_read(world: World) -> None:
    """A page of the origin reads what was wrong: the errors of HTTP, and those of the door."""
    tab = await world.browser.tab(world.origin)
    url = world.hub.http_url
    refused = await tab.do("http", "GET", f"{url}/auth/profile", "bad", None)
    assert refused == {
        "status": 401,
        "body": {"statusCode": 401, "message": "Unauthorized", "error": "Unauthorized"},
    }
    for transport in ("polling", "websocket"):  # the client itself warns when an upgrade is no use any more
        options = {"auth": {"token": "bad"}, "reconnection": False, **TRANSPORTS[transport]}
        assert await tab.do("connect", url, options) == {"error": "UNAUTHORIZED: Unauthorized"}
    assert len(tab.trouble) >= 1
    assert all("401" in trouble for trouble in tab.trouble), tab.trouble
    await tab.close()


async def test_another_origin(world: World) -> None:
    """A page of another origin gets nothing: no HTTP answer, no connection, whatever token it has."""
    tab = await world.browser.tab(world.stranger)
    opened = dict(world.hub.socketio.counters.opened)
    url, token = world.hub.http_url, world.hub.tokens.mint_user("somebody", role="admin")
    for method, path, bearer in (("POST", "/auth/guest", None), ("GET", "/auth/profile", token)):
        with pytest.raises(RuntimeError, match="Failed to fetch"):
            await tab.do("http", method, url + path, bearer, {} if method == "POST" else None)
    for transport, error in (("polling", "xhr poll error"), ("websocket", "websocket error")):
        options = {"auth": {"token": token}, "reconnection": False, **TRANSPORTS[transport]}
        assert await tab.do("connect", url, options) == {"error": error}
    station = world.hub.tokens.mint_station("st-strange")
    assert await tab.do("beStation", url.replace("http", "ws") + "/mqtt", "st-strange", station) in ("closed", "")
    assert any("CORS policy" in trouble for trouble in tab.trouble)
    assert world.hub.services.presence.online("st-strange") is False
    # it is not only the browser that keeps the answer from the page
    assert world.hub.socketio.counters.opened == opened
    await asyncio.wait_for(tab.close(), 60)
