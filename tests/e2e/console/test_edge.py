"""A browser as a station: how it signs in, what it reports, what it does when it is told to."""

import asyncio
from functools import partial
from typing import Any

import httpx
import pytest
from playwright.async_api import Page, expect

from devices.operator import Operator, RequestFailed
from tests.e2e.console.calling import accept, call, edge, no_camera, plays, rings, sign_in, visit
from tests.e2e.console.conftest import Console
from tests.e2e.waiting import GUARD, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

INSECURE = "Object.defineProperty(Navigator.prototype, 'mediaDevices', { get: () => undefined })"
"""As on a page that came without HTTPS."""
OFFER = "\r\n".join(
    (
        "v=0",
        "o=- 1 1 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "m=video 9 UDP/TLS/RTP/SAVPF 96",
        "c=IN IP4 0.0.0.0",
        "a=mid:0",
        "a=recvonly",
        "a=rtcp-mux",
        "a=rtpmap:96 VP8/90000",
        "a=ice-ufrag:abcd",
        "a=ice-pwd:0123456789012345678901",
        "a=fingerprint:sha-256 " + ":".join(["00"] * 32),
        "a=setup:actpass",
        "",
    )
)
"""What a browser may offer that never connects."""


async def enter(console: Console, station_id: str = "st-1") -> str:
    """An administrator enters a station; its device key."""
    admin = console.hub.tokens.mint_user("root", role="admin")
    async with httpx.AsyncClient(base_url=console.hub.http_url, headers={"Authorization": f"Bearer {admin}"}) as http:
        made = await http.post("/stations", json={"stationId": station_id})
    key: str = made.json()["key"]
    return key


async def by_key(page: Page, key: str, station_id: str | None = None) -> None:
    """Fills in the first form."""
    if station_id is not None:
        await page.get_by_label("Station id").fill(station_id)
    await page.get_by_label("Device key").fill(key)
    await page.get_by_role("button", name="Start").first.click()


async def in_service(page: Page) -> None:
    """The hub took it."""
    await expect(page.locator("header .state")).to_have_text("In service")


async def reported(operator: Operator, wanted: str) -> dict[str, Any]:
    """The device of a status that comes next."""
    async with asyncio.timeout(GUARD):
        async for event, data in operator.pushes():
            for status in data if event == "batch-station-status-update" else []:
                for device in status["devices"]:
                    if device["deviceId"] == wanted:
                        return dict(device)
    raise AssertionError


async def pushed(operator: Operator, event: str) -> Any:
    """What the next push of a name holds."""
    async with asyncio.timeout(GUARD):
        return (await operator.next_push(event))[1]


async def test_device_key(console: Console) -> None:
    """A wrong key is explained; by the right one it is in service, and again after a reload, beside an operator's session."""
    key = await enter(console)
    operator = await console.page("operator")
    page = await visit(console, None, context=operator.context)
    console.expect("401")
    await by_key(page, "not-the-key", "st-1")
    await expect(page.get_by_role("alert")).to_contain_text("device key is wrong")
    await console.picture(page, "edge-wrong-key")
    await by_key(page, key)
    await in_service(page)
    assert page.url.endswith("/edge?id=st-1")
    assert console.hub.services.presence.online("st-1")
    await page.reload()
    await in_service(page)
    await operator.reload()
    await expect(operator.locator(".who")).to_contain_text("operator")
    await page.get_by_role("button", name="Leave").click()
    await expect(page.get_by_label("Device key")).to_be_visible()
    await expect(operator.locator(".connection")).to_have_text("Connected")
    assert key not in await page.evaluate("JSON.stringify(localStorage)")


async def test_the_key_brings_it_back(console: Console) -> None:
    """Its token ended while nobody was there: the station signs in again by the key that it kept; without one it says so."""
    key = await enter(console)
    socket = partial(console.hub.services.presence.socket, "st-1")
    page = await visit(console)
    await by_key(page, key)
    await in_service(page)
    first = socket()
    console.hub.gateway.peers[first or ""].close(4401, "UNAUTHORIZED: Unauthorized")
    await until(lambda: socket() not in (None, first))
    await in_service(page)

    other = await visit(console)
    await other.get_by_label("Keep the key").uncheck()
    await by_key(other, key)
    await in_service(other)
    await expect(page.get_by_text("which speaks for it now")).to_be_visible()
    console.hub.gateway.peers[socket() or ""].close(4401, "UNAUTHORIZED: Unauthorized")
    await expect(other.get_by_role("alert")).to_contain_text("Your session has ended")


async def test_status(console: Console) -> None:
    """What it reports arrives: its camera by name, and whether somebody could see its page; asked for, at once."""
    operator = await console.operator()
    await edge(console)
    camera = await reported(operator, "camera")
    assert camera["type"] == "camera"
    assert camera["status"] == "online"
    assert "fake" in camera["name"]
    browser = await reported(operator, "browser")
    assert browser["metrics"]["visible"] is True
    assert await operator.request("station-request-status", {"stationId": "st-1"}) == {"via": "websocket"}
    assert (await pushed(operator, "station-status-update"))["stationId"] == "st-1"


async def test_stream_on_request(console: Console) -> None:
    """The console shows its camera; the station says that it is watched, until it is not."""
    station = await edge(console)
    operator = await console.page("operator", "/station/st-1")
    await operator.get_by_role("button", name="View: fake_device_0").click()
    await plays(operator.locator(".camera-picture video"))
    await expect(station.locator(".edge-watched")).to_have_text("1 is watching")
    await console.picture(station, "edge-watched")
    second = await console.page("operator", "/station/st-1")
    await second.get_by_role("button", name="View: fake_device_0").click()
    await plays(second.locator(".camera-picture video"))
    await expect(station.locator(".edge-watched")).to_have_text("2 are watching")
    await operator.get_by_role("button", name="Close: fake_device_0").click()
    await second.close()
    await expect(station.locator(".edge-watched")).to_have_text("Nobody is watching")


async def test_stream_while_talking(console: Console) -> None:
    """One operator speaks with the station and watches its camera: neither's candidates disturb the other."""
    station, operator = await edge(console), await console.page("operator")
    await call(station)
    await accept(operator)
    await plays(operator.locator(".call-remote video"))
    await operator.evaluate("location.hash = '#/station/st-1'")
    await operator.get_by_role("button", name="View: fake_device_0").click()
    await plays(operator.locator(".camera-picture video"))
    await plays(operator.locator(".call-remote video"))
    await plays(station.locator(".call-remote video"))
    await console.picture(operator, "calls-and-camera")


async def test_more_streams_than_it_sends(console: Console) -> None:
    """The ninth who wants to watch hears why not; so does who sends nonsense for an offer."""
    await edge(console)
    operator = await console.operator()
    for number in range(9):
        request = {"stationId": "st-1", "cameraId": f"camera-{number}", "offer": {"type": "offer", "sdp": OFFER}}
        await operator.request("station-cmd-request-stream", request)
    answers: dict[str, Any] = {}
    async with asyncio.timeout(GUARD):
        async for event, data in operator.pushes():
            if event == "station-stream-ready":
                answers[data["cameraId"]] = data
                if len(answers) == 9:
                    break
    refused = [data for data in answers.values() if "busy" in data.get("error", "")]
    assert len(refused) == 1
    nonsense: list[Any] = [None, "x", {"sdp": 7}, {"sdp": "v=nonsense"}]
    for offer in nonsense:
        one: dict[str, Any] = {"stationId": "st-1", "cameraId": "camera-0", "offer": offer}
        await operator.request("station-cmd-request-stream", one)
        assert (await pushed(operator, "station-stream-ready"))["status"] == "error"


async def test_commands(console: Console) -> None:
    """Asked to show itself it flashes; what it does not know it refuses; a command that comes twice is carried out once."""
    station = await edge(console)
    operator = await console.operator()
    done = await operator.request("station-command", {"stationId": "st-1", "type": "identify"})
    assert done["result"] == {"identified": True}
    await expect(station.locator(".edge-flash")).to_have_text("This is st-1")
    await console.picture(station, "edge-identify")
    with pytest.raises(RequestFailed, match="STATION_ERROR"):
        await operator.request("station-command", {"stationId": "st-1", "type": "open-gate"})
    await expect(station.locator(".edge-flash")).to_be_hidden()


async def test_one_call_at_a_time(console: Console) -> None:
    """A second invitation in a call is not taken, and whoever invites hears of it at once."""
    station, operator = await edge(console), await console.page("operator")
    await call(station)
    await accept(operator)
    await plays(station.locator(".call-remote video"))
    script = await console.operator()
    room = await script.request("create-room", {})
    await script.request("station-invite", {"stationId": "st-1", **room})
    await pushed(script, "peer-left")
    await plays(station.locator(".call-remote video"))


async def test_the_hub_restarts(console: Console) -> None:
    """The station is back by itself, registers again, and what it was calling for rings again."""
    station = await edge(console)
    console.expect("ERR_CONNECTION_REFUSED|WebSocket connection|401|503")
    await call(station)
    await console.stop()
    await expect(station.locator("header .state")).to_have_text("Not connected")
    await expect(station.locator(".edge-call")).to_be_disabled()
    await console.picture(station, "edge-hub-away")
    await console.start()
    await in_service(station)
    operator = await console.page("operator")
    await expect(rings(operator)).to_have_count(1)
    await accept(operator)
    await plays(operator.locator(".call-remote video"))


async def test_taken_by_somebody_else(console: Console) -> None:
    """A station that another identity speaks for is refused in words; so is one that whoever is signed in may not speak for."""
    await edge(console)
    admin = console.hub.tokens.mint_user("root", role="admin")
    page = await visit(console)
    await sign_in(page, admin)
    await expect(page.get_by_role("alert")).to_contain_text("Somebody else is connected as station st-1")
    await console.picture(page, "edge-taken")
    viewer = await visit(console)
    await viewer.get_by_text("As a guest").click()
    await viewer.locator("details[open]").get_by_role("button", name="Start").click()
    await expect(viewer.get_by_role("alert")).to_contain_text("may not speak for station st-1")
    await expect(viewer.get_by_role("alert")).to_contain_text("--open-registration")


@pytest.mark.parametrize("options", [{"open_registration": True}])
async def test_guest_where_registration_is_open(console: Console) -> None:
    """With --open-registration a guest is a station, and is called."""
    page = await visit(console, "demo")
    await page.get_by_text("As a guest").click()
    await page.locator("details[open]").get_by_role("button", name="Start").click()
    await in_service(page)
    operator = await console.page("operator")
    await call(page)
    await accept(operator)
    await plays(operator.locator(".call-remote video"))
    await plays(page.locator(".call-remote video"))


async def test_a_second_tab_takes_over(console: Console) -> None:
    """Two tabs of one browser are not one station twice: the newest is it, and the other says so, and may take it back."""
    first_tab = await edge(console)
    second = await visit(console, context=first_tab.context)
    await in_service(second)
    await expect(first_tab.locator("header .state")).to_have_text("In use elsewhere")
    await first_tab.get_by_role("button", name="Use it here").click()
    await in_service(first_tab)
    await expect(second.locator("header .state")).to_have_text("In use elsewhere")


async def test_revoked(console: Console) -> None:
    """A station whose key was changed is told that its session ended."""
    key = await enter(console)
    page = await visit(console)
    await by_key(page, key)
    await in_service(page)
    console.expect("401")
    admin = console.hub.tokens.mint_user("root", role="admin")
    async with httpx.AsyncClient(base_url=console.hub.http_url, headers={"Authorization": f"Bearer {admin}"}) as http:
        assert (await http.post("/stations/st-1/key")).status_code == 201
    await expect(page.get_by_role("alert")).to_contain_text("has a new key, or was deleted")


@pytest.mark.parametrize(("before", "said"), [(no_camera(), "no camera"), (INSECURE, "HTTPS")])
async def test_without_camera(console: Console, before: str, said: str) -> None:
    """Without a camera it shows a test picture and says why; calls and streams show that."""
    station = await edge(console, before=before)
    await expect(station.locator(".edge-problem")).to_contain_text(said)
    await expect(station.locator(".edge-problem")).to_contain_text("test picture")
    operator = await console.page("operator")
    await call(station)
    await accept(operator)
    await plays(operator.locator(".call-remote video"))
    await console.picture(operator, "calls-test-picture")


async def test_chinese_and_narrow(console: Console) -> None:
    """In Chinese, on a telephone: nothing is wider than the window."""
    page = await edge(console, locale="zh-CN", viewport={"width": 360, "height": 740})
    await expect(page.locator("header .state")).to_have_text("运行中")
    await console.picture(page, "edge-narrow-zh")
    assert await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_accessible(console: Console, scheme: str) -> None:
    """axe-core finds nothing serious: signing in, in service, calling, in a call."""
    page = await visit(console, color_scheme=scheme, bypass_csp=True)
    await expect(page.get_by_label("Device key")).to_be_visible()
    assert await console.accessible(page) == []
    await console.picture(page, f"edge-sign-in-{scheme}")
    await sign_in(page, console.hub.tokens.mint_station("st-1"))
    await in_service(page)
    assert await console.accessible(page) == []
    await console.picture(page, f"edge-{scheme}")
    operator = await console.page("operator")
    await call(page)
    assert await console.accessible(page) == []
    await console.picture(page, f"edge-calling-{scheme}")
    await accept(operator)
    await plays(page.locator(".call-remote video"))
    assert await console.accessible(page) == []
