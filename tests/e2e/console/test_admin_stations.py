"""Stations on the page for admins: entered, changed, given other keys, deleted; and the audit of it."""

import asyncio
import re
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, Route, expect

from devices import AccessRefused, Station
from tests.e2e.conftest import settings
from tests.e2e.console.admin_pages import MARKUP, api, issued, measure, notice, refusing, row
from tests.e2e.console.conftest import Console
from tests.e2e.waiting import GUARD
from tests.mosquitto import mosquitto

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_stations(console: Console) -> None:
    """A station is entered, its key works until there is another, and it is gone when it was deleted; the audit has it all."""
    page = await console.page("admin", "/admin/stations")
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.get_by_role("button", name="New station").click()
    await page.get_by_label("Id", exact=False).first.fill("gate-7")
    await page.get_by_label("Name").fill(MARKUP)
    await page.get_by_label("Tags").fill("north, south , north")
    await page.get_by_role("button", name="Add a camera").click()
    camera = page.get_by_role("group", name="Cameras 1")
    await camera.get_by_label("Camera id").fill("cam-1")
    await camera.get_by_label("Address").fill("javascript:alert(1)")
    await page.get_by_role("button", name="Create station").click()
    await expect(camera.get_by_label("Address")).to_be_focused()
    await camera.get_by_label("Address").fill("rtsp://10.0.0.7/lane")
    await page.get_by_role("button", name="Create station").click()
    key = await issued(page, "gate-7")
    await page.get_by_role("button", name="Copy").click()
    await expect(page.get_by_text("Copied.")).to_be_visible()
    assert await page.evaluate("navigator.clipboard.readText()") == key
    await expect(page.locator("pre").first).to_contain_text(f"-p {console.hub.mqtt_port} -u gate-7 -P '{key}'")
    await console.picture(page, "admin-key")
    await page.keyboard.press("Escape")
    await expect(page.locator("dialog")).to_have_count(0)
    assert key not in await page.content()
    await expect(row(page, "gate-7")).to_contain_text(MARKUP)
    await expect(row(page, "gate-7")).to_contain_text("Offline")
    async with Station(console.mqtt, "gate-7", token=key) as station:
        await asyncio.wait_for(station.wait_connected(), GUARD)
        await expect(row(page, "gate-7")).to_contain_text("Online")
        await page.get_by_role("button", name="New key for gate-7").click()
        await expect(page.locator("dialog")).to_contain_text("cut off")
        await page.get_by_role("button", name="Make a new key").click()
        rotated = await issued(page, "gate-7")
        await page.get_by_role("button", name="I have saved it").click()
        await expect(row(page, "gate-7")).to_contain_text("Offline")
    assert rotated != key
    with pytest.raises(AccessRefused):
        async with Station(console.mqtt, "gate-7", token=key) as refused:
            await asyncio.wait_for(refused.wait_connected(), GUARD)
    async with Station(console.mqtt, "gate-7", token=rotated) as again:
        await asyncio.wait_for(again.wait_connected(), GUARD)

    await page.get_by_role("button", name="Change gate-7").click()
    await expect(page.get_by_label("Address")).to_have_value("rtsp://10.0.0.7/lane")
    await page.get_by_label("Location").fill("Lane 7")
    await page.get_by_role("button", name="Remove").click()
    await page.get_by_role("button", name="Save").click()
    await expect(row(page, "gate-7")).to_contain_text("Lane 7")

    await page.get_by_role("button", name="Delete gate-7").click()
    await page.get_by_label("Type gate-7 to confirm").fill("gate-8")
    await page.get_by_role("button", name="Delete station").click()
    await expect(page.locator("dialog .problem")).to_have_text("This is not the station's id.")
    await page.get_by_label("Type gate-7 to confirm").fill("gate-7")
    await page.keyboard.press("Enter")
    await notice(page, "gate-7 was deleted.")
    await expect(row(page, "gate-7")).to_have_count(0)
    with pytest.raises(AccessRefused):
        async with Station(console.mqtt, "gate-7", token=rotated) as gone:
            await asyncio.wait_for(gone.wait_connected(), GUARD)
    await audited(page)
    assert key not in await page.content()


async def audited(page: Page) -> None:
    """The audit has what the test of stations did, newest first, and can be narrowed."""
    await page.get_by_role("link", name="Audit").click()
    actions = page.get_by_role("row").locator("td:nth-child(3)")
    told = ["Station deleted", "Station changed", "Station key replaced", "Station created"]
    await expect(actions).to_have_text(told)
    await expect(row(page, "Station changed")).to_contain_text("Location: – → Lane 7")
    await expect(row(page, "Station changed")).to_contain_text("Cameras: cam-1 → –")
    await expect(row(page, "Station created")).to_contain_text(f"Name: {MARKUP}")
    await expect(row(page, "Station created")).to_contain_text("Tags: north, south")
    await page.get_by_label("What").select_option("station.key")
    await expect(actions).to_have_text(["Station key replaced"])
    await page.get_by_label("What").select_option("")
    await row(page, "Station created").get_by_role("button", name="gate-7").click()
    await expect(page.get_by_label("On (id)")).to_have_value("gate-7")
    await expect(actions).to_have_text(told)
    await page.get_by_label("Before").fill("2020-01-01T00:00")
    await expect(page.get_by_text("Nothing fits.")).to_be_visible()
    await page.get_by_label("Before").fill("")
    await page.get_by_label("From").fill("2020-01-01T00:00")
    await expect(actions).to_have_text(told)
    await page.get_by_label("User id").fill("somebody else")
    await expect(page.get_by_text("Nothing fits.")).to_be_visible()


async def test_station_only_heard_of(console: Console) -> None:
    """It is listed, and can be entered under its id; what it is called is text, and links lead to its pages."""
    await console.connect(console.station("st-9"))
    page = await console.page("admin", "/admin/stations")
    await expect(row(page, "st-9")).to_contain_text("Not registered")
    edge = row(page, "st-9").get_by_role("link", name="Edge page of st-9")
    assert await edge.get_attribute("href") == "edge?id=st-9"
    await page.get_by_label("Registered").select_option("true")
    await expect(page.get_by_text("No station fits.")).to_be_visible()
    await page.get_by_label("Registered").select_option("")
    await page.get_by_role("button", name="Register st-9").click()
    await expect(page.get_by_label("Id", exact=False).first).to_have_value("st-9")
    await page.get_by_role("button", name="Create station").click()
    await issued(page, "st-9")
    await page.keyboard.press("Escape")
    await expect(row(page, "st-9")).not_to_contain_text("Not registered")
    await row(page, "st-9").get_by_role("link", name="st-9", exact=True).click()
    await expect(page).to_have_url(re.compile("#/station/st-9$"))


async def test_page_left_while_a_key_is_made(console: Console) -> None:
    """A key that comes when nobody can see it is said to be lost; and a dialog goes with its page."""
    page = await console.page("admin", "/admin/users")
    await page.get_by_role("link", name="Stations").click()
    held = asyncio.Event()

    async def hold(route: Route) -> None:
        await held.wait()
        await route.continue_()

    await page.get_by_role("button", name="New station").click()
    await page.get_by_label("Id", exact=False).first.fill("gate-1")
    await page.route("**/stations", hold)
    async with page.expect_request("**/stations"):
        await page.keyboard.press("Enter")
    await page.go_back()
    await expect(page.get_by_role("heading", name="Users")).to_be_visible()
    await expect(page.locator("dialog")).to_have_count(0)
    await page.get_by_role("button", name="New user").click()  # nothing of the other dialog is in the way
    await page.keyboard.press("Escape")
    held.set()
    await notice(page, "The key of gate-1 was not shown, as its page was left. Make a new one.")
    await page.unroute_all(behavior="wait")


async def test_page_left_while_it_fails(console: Console) -> None:
    """What went wrong with a form is told, even if its page was left meanwhile."""
    page = await console.page("admin", "/admin/users")
    await page.get_by_role("link", name="Stations").click()
    console.expect("503")
    held = asyncio.Event()

    async def refuse(route: Route) -> None:
        await held.wait()
        await refusing(503)(route)

    await page.get_by_role("button", name="New station").click()
    await page.get_by_label("Id", exact=False).first.fill("gate-1")
    await page.route("**/stations", refuse)
    async with page.expect_request("**/stations"):
        await page.keyboard.press("Enter")
    await page.go_back()
    await expect(page.locator("dialog")).to_have_count(0)
    held.set()
    await notice(page, "The hub cannot do this right now. Try again in a few seconds.")
    await page.unroute_all(behavior="wait")


async def test_no_clipboard(console: Console) -> None:
    """Without TLS a page has no clipboard of its own: the key can be copied all the same."""
    page = await console.page("admin", "/admin/stations")
    await page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    await page.get_by_role("button", name="New station").click()
    await page.get_by_label("Id", exact=False).first.fill("gate-1")
    await page.keyboard.press("Enter")
    key = await issued(page, "gate-1")
    await page.get_by_role("button", name="Copy").click()
    await expect(page.get_by_text("Copied.")).to_be_visible()
    await page.keyboard.press("Escape")
    await page.get_by_label("Search").focus()
    await page.keyboard.press("Control+v")
    await expect(page.get_by_label("Search")).to_have_value(key)


async def test_changes_of_two_admins(console: Console) -> None:
    """What a form did not change stays as another changed it meanwhile."""
    async with api(console) as http:
        await http.post("/stations", json={"stationId": "gate-1", "name": "Gate", "location": "North"})
        page = await console.page("admin", "/admin/stations")
        await page.get_by_role("button", name="Change gate-1").click()
        await http.patch("/stations/gate-1", json={"name": "Gate one", "tags": ["a"]})
        await page.get_by_label("Location").fill("South")
        await page.get_by_role("button", name="Save").click()
        await notice(page, "gate-1 was changed.")
        now = (await http.get("/stations/gate-1")).json()
    assert (now["name"], now["location"], now["tags"]) == ("Gate one", "South", ["a"])


async def test_broker_of_somebody_else(chromium: Browser, tmp_path: Path) -> None:
    """Of a broker that is not the hub's own there are no counters, and no address to try a key at."""
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(mosquitto(tmp_path))
        console = Console(settings(tmp_path, broker=broker.url), chromium, stack)
        await console.start()
        page = await console.page("admin", "/admin")
        await expect(measure(page, "Stations online")).to_have_text("0")
        await expect(measure(page, "Retained messages")).to_be_hidden()
        await page.get_by_role("link", name="Stations").click()
        await page.get_by_role("button", name="New station").click()
        await page.get_by_label("Id", exact=False).first.fill("gate-1")
        await page.keyboard.press("Enter")
        await expect(page.locator("pre").first).to_contain_text("mosquitto_pub -h BROKER -p 1883 -u gate-1")
        assert console.trouble == []
