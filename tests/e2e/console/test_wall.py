"""The fleet wall: what it shows is what the hub knows, now; and no more of it is asked for than is seen."""

import asyncio
import json
import re
import time
from collections.abc import Sequence
from functools import cache
from typing import Any

import httpx
import pytest
from playwright.async_api import Locator, Page, Route, WebSocket, expect

from tests.e2e.console.conftest import Console
from tests.e2e.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

FLEET = 1_000


class Devices:
    """What a station reports; a test changes it."""

    def __init__(self, state: str = "online", **metrics: float) -> None:
        self.state, self.metrics = state, metrics or {"temp": 31.0}

    def __call__(self) -> list[dict[str, Any]]:
        gate = {"deviceId": "gate", "name": "Gate", "type": "controller", "status": "online", "metrics": {"load": 5}}
        camera = {"deviceId": "cam", "type": "camera", "status": self.state, "metrics": self.metrics}
        return [gate, camera]


def http(console: Console) -> httpx.AsyncClient:
    """An admin's."""
    token = console.hub.tokens.mint_user("root", role="admin")
    return httpx.AsyncClient(
        base_url=console.hub.http_url, headers={"Authorization": f"Bearer {token}"}, timeout=30, trust_env=False
    )


async def enter(console: Console, *stations: dict[str, Any]) -> None:
    """Somebody enters stations."""
    async with http(console) as client:
        for first in range(0, len(stations), 20):
            some = [client.post("/stations", json=each) for each in stations[first : first + 20]]
            for made in await asyncio.gather(*some):
                assert made.status_code == 201, made.text


def tile(page: Page, name: str) -> Locator:
    """The tile whose link has that text."""
    return page.get_by_role("listitem").filter(has=page.get_by_role("link", name=name, exact=True))


def toggle(page: Page, state: str) -> Locator:
    """The button that filters by a state, and counts it."""
    return page.get_by_role("group", name="Show only").get_by_role("button", name=re.compile(f"^{state}"))


async def names(page: Page) -> list[str]:
    """Of the tiles, as they stand for a screen reader."""
    return await page.locator(".tile-link").all_inner_texts()


async def seen_in_order(page: Page, expected: Sequence[str]) -> None:
    """The tiles, as they stand and as they are seen, are these."""
    await expect(page.locator(".tile-link")).to_have_text(list(expected))
    places = await page.locator(".tile").evaluate_all(
        "tiles => tiles.map(tile => tile.getBoundingClientRect()).map(box => [box.top, box.left])"
    )
    assert places == sorted(places)


def watched(page: Page) -> list[set[str]]:
    """What the page asks the hub to send, each time; filled as it asks. To be called before the page connects."""
    asked = list[set[str]]()

    def sent(payload: str | bytes) -> None:
        frame = json.loads(payload)
        if frame["event"] == "auth":
            asked.append(set(frame["data"]["watch"]))
        if frame["event"] == "station-watch":
            asked.append(set(frame["data"]["stations"]))

    def opened(socket: WebSocket) -> None:
        socket.on("framesent", sent)

    page.on("websocket", opened)
    return asked


async def watches(asked: list[set[str]], stations: set[str]) -> None:
    """The page asks for just these, in the end."""
    await until(lambda: asked[-1] == stations)


async def test_live(console: Console) -> None:
    """A station that comes, gets worse, goes and is back is seen so, without a reload."""
    page = await console.page()
    await expect(page.get_by_text("No stations yet")).to_be_visible()
    await expect(page.get_by_text("hub token --station")).to_be_visible()
    await console.picture(page, "wall-none")
    devices = Devices(temp=71.3, battery=80)
    station = await console.connect(console.station("st-1", status=devices))
    st1 = tile(page, "st-1")
    await expect(st1.locator(".state")).to_have_text("OK")
    await expect(st1).to_contain_text("connected for")
    await expect(st1).to_contain_text("2 OK")
    await expect(st1.locator(".tile-metrics")).to_have_text("Temperature 71.3 °C · Battery 80 %")
    await expect(page.get_by_text("No stations yet")).to_be_hidden()
    devices.state, devices.metrics = "error", {"battery": 12, "temp": 20.0}
    await expect(st1.locator(".state")).to_have_text("Error")
    await expect(st1).to_contain_text("1 error 1 OK")
    await expect(st1.locator(".tile-metrics")).to_have_text("Battery 12 % · Temperature 20 °C")
    await expect(toggle(page, "Error")).to_contain_text("1")
    await station.close()
    await expect(st1.locator(".state")).to_have_text("Disconnected")
    await expect(st1.locator(".tile-age")).to_be_hidden()
    await expect(toggle(page, "Disconnected")).to_contain_text("1")
    await expect(toggle(page, "Error")).to_contain_text("0")
    await console.connect(console.station("st-1", status=Devices("warning")))
    await expect(st1.locator(".state")).to_have_text("Warning")
    await expect(page.locator(".wall-count")).to_have_text("1 of 1 stations")


async def test_age(console: Console) -> None:
    """A status that is old when it is first seen is told to be, whatever the page's clock says; a fresh one is not."""

    @cache
    def said() -> int:
        return round(time.time() * 1000) - 11_000  # the hub takes none that is older than 15 s

    await console.connect(console.station("old", status=lambda: {"devices": [], "updatedAt": said()}))
    await console.connect(console.station("fresh", status=Devices()))
    context = await console.context()
    await context.add_init_script("const now = Date.now; Date.now = () => now() + 3600000")
    page = await console.page(context=context)
    await expect(tile(page, "fresh")).to_contain_text("2 OK")
    await expect(tile(page, "old").locator(".tile-age")).to_have_text(re.compile(r"^last status [1-5]\d sec ago$"))
    await expect(tile(page, "fresh")).to_contain_text(re.compile(r"connected for \d+ sec"))
    await expect(tile(page, "fresh").locator(".tile-age")).to_be_hidden()


async def test_entered_and_deleted(console: Console) -> None:
    """Stations that somebody enters, renames or deletes while the wall is open are found the next time that the list is read."""
    await enter(console, {"stationId": "st-1"}, {"stationId": "st-2"})
    page = await console.page()
    await expect(page.locator(".tile-link")).to_have_text(["st-1", "st-2"])
    await enter(console, {"stationId": "st-3"})
    async with http(console) as client:
        (await client.delete("/stations/st-1")).raise_for_status()
        (await client.patch("/stations/st-2", json={"name": "Airport"})).raise_for_status()
    await page.evaluate("document.querySelector('hub-wall').app.fleet.refresh(0)")
    await expect(page.locator(".tile-link")).to_have_text(["Airport", "st-3"])


async def test_markup_is_text(console: Console) -> None:
    """What a station is called stays a text, wherever it shows."""
    bad = "<img src=x onerror=alert(1)>"
    await enter(console, {"stationId": "st-1", "name": bad, "location": "<b>here</b>", "tags": ["<i>tag</i>"]})
    metrics = {"<u>heat</u>": 7.0}
    await console.connect(console.station("st-1", status=Devices("error", **metrics)))
    page = await console.page()
    found = tile(page, bad)
    await expect(found).to_contain_text("<b>here</b>")
    await expect(found).to_contain_text("<u>heat</u> 7")
    await page.get_by_label("Tag").select_option("<i>tag</i>")
    await expect(found).to_be_visible()
    assert await page.locator("main img, main b:not(.number), main u, main i").count() == 0
    await console.picture(page, "wall-markup")
    await page.get_by_role("link", name=bad).click()
    await expect(page).to_have_url(re.compile("#/station/st-1$"))


async def test_filters(console: Console) -> None:
    """Search, states and tag narrow the list together, stand in the address, and survive a reload; clearing shows all."""
    stations = [
        {"stationId": "north-1", "name": "Main gate", "location": "Airport", "tags": ["garage", "north"]},
        {"stationId": "north-2", "name": "Back gate", "tags": ["garage"]},
        {"stationId": "south-1", "name": "Kiosk", "location": "Airport", "tags": ["kiosk"]},
    ]
    await enter(console, *stations)
    await console.connect(console.station("north-2", status=Devices("error")))
    await console.connect(console.station("south-1", status=Devices()))
    page = await console.page()
    await expect(page.locator(".wall-count")).to_have_text("3 of 3 stations")
    await expect(toggle(page, "Error")).to_contain_text("1")
    await page.keyboard.press("/")
    await page.keyboard.type("GATE")
    await expect(page.locator(".wall-count")).to_have_text("2 of 3 stations")
    await page.keyboard.type(" airport")
    await expect(page.locator(".tile-link")).to_have_text(["Main gate"])
    await page.get_by_label("Search").fill("gate")
    await toggle(page, "Error").click()
    await expect(page.locator(".tile-link")).to_have_text(["Back gate"])
    await expect(toggle(page, "Error")).to_have_attribute("aria-pressed", "true")
    await page.get_by_label("Tag").select_option("garage")
    assert page.url.endswith("#/?q=gate&state=error&tag=garage")
    await console.picture(page, "wall-filtered")
    await page.reload()
    await expect(page.locator(".tile-link")).to_have_text(["Back gate"])
    await expect(page.get_by_label("Search")).to_have_value("gate")
    await expect(page.get_by_label("Tag")).to_have_value("garage")
    await page.get_by_label("Search").fill("nowhere")
    await expect(page.get_by_text("No station fits the filter")).to_be_visible()
    await console.picture(page, "wall-nothing")
    await page.locator(".empty").get_by_role("button", name="Clear filter").click()
    await expect(page.locator(".tile-link")).to_have_count(3)
    assert page.url.endswith("#/")
    second = await console.page(at="/?state=gone")
    await expect(second.locator(".tile-link")).to_have_text(["Main gate"])
    await second.get_by_role("link", name="Fleet", exact=True).click()
    await expect(second.locator(".tile-link")).to_have_count(3)


async def test_order_and_view(console: Console) -> None:
    """The order and tiles or rows are chosen, and kept."""
    await enter(console, {"stationId": "st-10", "name": "Alpha"}, {"stationId": "st-9", "name": "Zulu"})
    await console.connect(console.station("st-3", status=Devices("error")))
    await console.connect(console.station("st-2", status=Devices()))
    page = await console.page()
    await seen_in_order(page, ["st-3", "Zulu", "Alpha", "st-2"])  # the gone ones first, by id
    await page.get_by_label("Sort by").select_option("id")
    await seen_in_order(page, ["st-2", "st-3", "Zulu", "Alpha"])
    await page.get_by_label("Sort by").select_option("name")
    await seen_in_order(page, ["Alpha", "st-2", "st-3", "Zulu"])
    await page.get_by_role("button", name="Rows").click()
    await seen_in_order(page, ["Alpha", "st-2", "st-3", "Zulu"])
    await console.picture(page, "wall-rows")
    await page.reload()
    await expect(page.get_by_role("button", name="Rows")).to_have_attribute("aria-pressed", "true")
    await expect(page.get_by_label("Sort by")).to_have_value("name")
    await seen_in_order(page, ["Alpha", "st-2", "st-3", "Zulu"])


async def test_order_waits_for_who_points(console: Console) -> None:
    """What gets worse comes first; but not while the pointer is in the list, unless it is asked for."""
    devices = {f"st-{n}": Devices() for n in range(1, 4)}
    for station_id, source in devices.items():
        await console.connect(console.station(station_id, status=source))
    page = await console.page()
    await seen_in_order(page, ["st-1", "st-2", "st-3"])
    devices["st-2"].state = "warning"
    await seen_in_order(page, ["st-2", "st-1", "st-3"])
    await tile(page, "st-1").hover()
    devices["st-3"].state = "error"
    await expect(tile(page, "st-3").locator(".state")).to_have_text("Error")
    await expect(page.get_by_role("button", name="New order waits")).to_be_visible()
    assert await names(page) == ["st-2", "st-1", "st-3"]
    await console.picture(page, "wall-held")
    await page.get_by_role("heading", name="Fleet").hover()
    await seen_in_order(page, ["st-3", "st-2", "st-1"])


async def test_focus_stays(console: Console) -> None:
    """A new order takes no focus away and does not scroll; if the focused station leaves the list, its neighbour has it."""
    devices = {f"st-{n:02}": Devices() for n in range(30)}
    for station_id, source in devices.items():
        await console.connect(console.station(station_id, status=source))
    page = await console.page(at="/?state=online,warning,error")
    await expect(page.locator(".wall-count")).to_have_text("30 of 30 stations")
    await page.keyboard.press("/")
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("End")
    focused = page.locator(".tile-link:focus")
    await expect(focused).to_have_text("st-29")
    scrolled = await page.evaluate("document.querySelector('main').scrollTop")
    assert scrolled > 0
    devices["st-29"].state = "error"
    held = page.get_by_role("button", name="New order waits")
    await expect(held).to_be_visible()
    refresh = "document.querySelector('hub-wall').listing.refresh()"  # as after the hold
    await page.evaluate(refresh)
    await expect(page.locator(".tile-link").first).to_have_text("st-29")
    await expect(focused).to_have_text("st-29")
    assert await page.evaluate("document.querySelector('main').scrollTop") == scrolled
    devices["st-29"].state = "offline"
    await expect(held).to_be_visible()
    await page.evaluate(refresh)
    await expect(page.locator(".wall-count")).to_have_text("29 of 30 stations")
    await expect(focused).to_have_text("st-00")


async def test_keyboard(console: Console) -> None:
    """All stations are reached, and opened, by keys; the way back leads to the same place."""
    await enter(console, *({"stationId": f"st-{n:03}"} for n in range(300)))
    page = await console.page()
    await expect(page.locator(".wall-count")).to_have_text("300 of 300 stations")
    await page.keyboard.press("/")
    await page.keyboard.press("ArrowDown")
    focused = page.locator(".tile-link:focus")
    await expect(focused).to_have_text("st-000")
    await page.keyboard.press("ArrowRight")
    await expect(focused).to_have_text("st-001")
    await page.keyboard.press("ArrowDown")
    columns = int((await focused.inner_text()).removeprefix("st-")) - 1
    assert columns > 1
    await page.keyboard.press("ArrowLeft")
    await expect(focused).to_have_text(f"st-{columns:03}")
    await page.keyboard.press("End")
    await expect(focused).to_have_text("st-299")
    await expect(focused).to_be_in_viewport()
    await page.keyboard.press("PageUp")
    await page.keyboard.press("PageUp")
    place = await focused.inner_text()
    assert "st-100" < place < "st-290"
    await expect(focused).to_be_in_viewport()
    assert await page.locator(".tile-link[tabindex='0']").count() == 1
    assert await focused.locator("xpath=ancestor::*[@role='listitem']").get_attribute("aria-setsize") == "300"
    scrolled = await page.evaluate("document.querySelector('main').scrollTop")
    assert scrolled > 500
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile(f"#/station/{place}$"))
    await page.go_back()
    await expect(focused).to_have_text(place)
    assert await page.evaluate("document.querySelector('main').scrollTop") == scrolled
    await page.keyboard.press("Home")
    await expect(focused).to_have_text("st-000")
    await expect(focused).to_be_in_viewport()


async def test_back_link_keeps_the_filter(console: Console) -> None:
    """A link to the wall leads back to what was looked at, too."""
    await enter(console, {"stationId": "st-1"}, {"stationId": "other"})
    page = await console.page(at="/?q=st")
    await page.get_by_role("link", name="st-1", exact=True).click()
    await page.get_by_role("link", name="Fleet", exact=True).click()
    await expect(page.get_by_label("Search")).to_have_value("st")
    await expect(page.locator(".tile-link:focus")).to_have_text("st-1")
    assert page.url.endswith("#/?q=st")


async def test_window(console: Console) -> None:
    """Of a thousand stations only those in sight are made, and only those are sent by the hub; all are reached."""
    await enter(console, *({"stationId": f"st-{n:04}"} for n in range(FLEET)))
    await console.connect(console.station("st-0999", status=Devices("warning")))
    context = await console.context()
    page = await context.new_page()
    console.watch(page)
    asked = watched(page)
    token = console.hub.tokens.mint_user("watcher", role="operator")
    await page.goto(f"{console.hub.http_url}/#token={token}")
    await page.get_by_label("Sort by").select_option("id")
    await expect(page.locator(".wall-count")).to_have_text("1,000 of 1,000 stations")
    await expect(toggle(page, "Warning")).to_contain_text("1")  # though it is not watched
    assert await page.locator(".tile").count() < 200
    await until(lambda: bool(asked) and "st-0000" in asked[-1])
    assert len(asked[-1]) < 200
    assert "st-0999" not in set().union(*asked)
    await console.picture(page, "wall-thousand")
    for part in (0.5, 1.0):
        await page.evaluate(
            "part => { const m = document.querySelector('main'); m.scrollTop = m.scrollHeight * part }", part
        )
        await expect(page.locator(".tile-link").get_by_text("st-0500" if part < 1 else "st-0999")).to_be_visible()
        assert await page.locator(".tile").count() < 200
        await watches(asked, set(await names(page)))
    await expect(tile(page, "st-0999")).to_contain_text("1 warning")
    await page.get_by_label("Search").fill("st-07")
    await expect(page.locator(".wall-count")).to_have_text("100 of 1,000 stations")
    await expect(tile(page, "st-0700")).to_be_in_viewport()
    await until(lambda: asked[-1] <= {f"st-07{n:02}" for n in range(100)})
    await page.get_by_role("link", name="st-0700").click()
    await until(lambda: asked[-1] <= {"st-0700"})


async def test_list_that_cannot_be_read(console: Console) -> None:
    """A list that fails is told, with a way to try again."""
    await enter(console, {"stationId": "st-1"})
    console.expect("503|failed: ")
    context = await console.context()

    async def refuse(route: Route) -> None:
        await route.fulfill(status=503, json={"message": "not now"})

    await context.route("**/stations?*", refuse)
    page = await console.page(context=context)
    await expect(page.get_by_text("could not be loaded: The hub cannot do this right now.")).to_be_visible()
    await console.picture(page, "wall-failed")
    await context.unroute("**/stations?*")
    await page.get_by_role("button", name="Try again").click()
    await expect(page.locator(".tile-link")).to_have_text(["st-1"])


@pytest.mark.parametrize("width", [360, 1280])
async def test_a_tag_of_many_letters(console: Console, width: int) -> None:
    """The longest tag makes its filter no wider than it is useful, and the page no wider than it is."""
    tag = "W" * 64
    await enter(console, {"stationId": "st-1", "tags": [tag]})
    page = await console.page(viewport={"width": width, "height": 800})
    choice = page.get_by_label("Tag")
    await choice.select_option(tag)
    box = await choice.bounding_box()
    assert box is not None
    assert box["width"] <= 256
    assert await page.evaluate("document.querySelector('main').scrollWidth <= innerWidth")
    await console.picture(page, f"wall-long-tag-{width}")


async def test_chinese_on_a_telephone(console: Console) -> None:
    """In Chinese, dark, on 390 pixels nothing is cut off sideways, and axe finds nothing serious in either view."""
    await enter(console, {"stationId": "st-1", "name": "东门" * 40, "location": "机场" * 40, "tags": ["车库"]})
    await console.connect(console.station("st-1", status=Devices("error")))
    viewport = {"width": 390, "height": 844}
    page = await console.page(locale="zh-CN", color_scheme="dark", viewport=viewport, bypass_csp=True)
    await expect(page.locator(".tile .state")).to_have_text("故障")
    for view in ("列表", "卡片"):
        await page.get_by_role("button", name=view).click()
        assert await page.evaluate("document.querySelector('main').scrollWidth <= innerWidth")
        assert await console.accessible(page) == []
    await console.picture(page, "wall-chinese-narrow")
