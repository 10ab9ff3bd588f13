"""The pages for admins: what is live, who sees them, and how they are used."""

import re

import pytest
from playwright.async_api import expect

from tests.e2e.console.admin_pages import MARKUP, PASSWORD, account, issued, measure, notice, row
from tests.e2e.console.conftest import Console
from tests.e2e.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


def admins(console: Console) -> int:
    """How many connections to the door for admins there are."""
    return sum(peer.admin for peer in console.hub.gateway.peers.values())


async def test_live_counters(console: Console) -> None:
    """Numbers follow what happens, each with a picture and its words; the door is open only while an admin page is shown."""
    await console.connect(console.station("st-1", status_interval=0.2))
    page = await console.page("admin", "/admin")
    await expect(page.locator(".live")).to_have_text("Live, every two seconds")
    await expect(measure(page, "Stations online")).to_have_text("1")
    await expect(page.get_by_text("of 1 known")).to_be_visible()
    await console.connect(console.station("st-2"))
    await expect(measure(page, "Stations online")).to_have_text("2")
    await expect(measure(page, "Connections")).to_have_text("2")
    await expect(measure(page, "Browsers")).to_have_text("1")
    await expect(measure(page, "MQTT messages")).to_have_text(re.compile(r"^[1-9][\d.]*/s$"))
    await expect(measure(page, "Received")).to_have_text(re.compile(r"^[1-9][\d.]* k?B/s$"))
    await expect(page.locator(".facts")).to_contain_text(re.compile("Broker *Connected"))
    picture = page.get_by_role("img", name="Stations online, the last ten minutes: 1 to 2")
    await expect(picture).to_be_visible()
    painted = "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(byte => byte > 0)"
    assert await picture.evaluate(painted)
    assert await picture.evaluate("c => c.width === Math.round(c.clientWidth * devicePixelRatio)")
    await console.picture(page, "admin-overview")
    assert admins(console) == 1
    await page.evaluate("location.hash = '/admin/users'")
    await expect(page.get_by_role("heading", name="Users")).to_be_visible()
    assert admins(console) == 1
    await page.evaluate("location.hash = '/'")
    await until(lambda: admins(console) == 0)
    assert sum(url.endswith("/ws/admin") for url in console.requests) == 1


async def test_hub_restart(console: Console) -> None:
    """While the hub is away the numbers are said to be old; afterwards they are live again, and none is negative."""
    await console.connect(console.station("st-1", status_interval=0.2))
    page = await console.page("admin", "/admin")
    await expect(measure(page, "MQTT messages")).to_have_text(re.compile("/s"))
    console.expect("ERR_CONNECTION_REFUSED|WebSocket connection|401|503")
    await console.stop()
    await expect(page.locator(".live")).to_contain_text("No news since")
    await console.start()
    await expect(page.locator(".live")).to_have_text("Live, every two seconds")
    await expect(measure(page, "MQTT messages")).to_have_text(re.compile(r"^[1-9][\d.]*/s$"))
    described = await page.locator("hub-sparkline canvas").evaluate_all("all => all.map(c => c.ariaLabel)")
    assert len(described) > 15
    assert not any("-" in text.split("minutes: ")[-1] for text in described)


async def test_rooms(console: Console) -> None:
    """Rooms come and go by themselves."""
    page = await console.page("admin", "/admin/rooms")
    await expect(page.get_by_text("There are no rooms.")).to_be_visible()
    browser = await console.operator()
    room_id = (await browser.request("create-room"))["roomId"]
    await expect(row(page, room_id)).to_contain_text(browser.peer_id)
    await expect(row(page, room_id)).to_contain_text(re.compile(r"\d+ sec"))
    await browser.request("leave-room", {"roomId": room_id})
    await expect(row(page, room_id)).not_to_contain_text(browser.peer_id)


@pytest.mark.parametrize("role", ["operator", "viewer"])
async def test_others_see_none_of_it(console: Console, role: str) -> None:
    """Nobody but admins has the entry, nor the pages by their addresses, nor a connection to the door."""
    page = await console.page(role, "/admin")
    await expect(page.get_by_role("link", name="Fleet")).to_be_visible()
    for at in ("/admin/users", "/admin/stations", "/admin/rooms", "/admin/audit", "/admin"):
        await page.evaluate("at => { location.hash = at }", at)
        await expect(page.locator("main h1")).to_have_text("Fleet")
    assert await page.get_by_role("link", name="Admin").count() == 0
    assert not any(re.search(r"/ws/admin|/users|/audit", url) for url in console.requests)


async def test_keyboard_only(console: Console) -> None:
    """From the page's beginning to an account made, and back where it began, without a pointer."""
    page = await console.page("admin", "/admin/users")
    await expect(page.get_by_text("No user fits.")).to_be_visible()
    for _ in range(40):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement.textContent") == "New user":
            break
    await page.keyboard.press("Enter")
    await expect(page.get_by_label("Email")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("button", name="New user")).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.type("keys@example.org")
    await page.keyboard.press("Tab")
    await page.keyboard.type("Keys")
    await page.keyboard.press("Tab")
    await page.keyboard.type("op")  # chooses operator
    await page.keyboard.press("Tab")
    await page.keyboard.type(PASSWORD)
    await page.keyboard.press("Enter")
    await notice(page, "keys@example.org can sign in now.")
    await expect(row(page, "keys@example.org")).to_contain_text("operator")
    await expect(page.get_by_role("button", name="New user")).to_be_focused()


async def test_focus_stays_in_a_changed_row(console: Console) -> None:
    """A row that was changed is made anew, and the button that had the focus has it."""
    await account(console, "ann@example.org")
    page = await console.page("admin", "/admin/users")
    await page.get_by_role("button", name="Change ann@example.org").click()
    await page.get_by_label("Name").fill("Annabel")
    await page.keyboard.press("Enter")
    await expect(row(page, "ann@example.org")).to_contain_text("Annabel")
    await expect(page.get_by_role("button", name="Change ann@example.org")).to_be_focused()


async def test_languages(console: Console) -> None:
    """All pages and a form in Chinese; what was searched for outlives a change of the language."""
    await account(console, "ann@example.org")
    page = await console.page("admin", "/admin/users", locale="zh-CN")
    await page.get_by_label("搜索").fill("ann@")
    await expect(page.locator("tbody tr")).to_have_count(1)
    for at, heading in (
        ("", "概览"),
        ("/stations", "站点"),
        ("/rooms", "房间"),
        ("/audit", "审计"),
        ("/users", "用户"),
    ):
        await page.evaluate("at => { location.hash = at }", f"/admin{at}")
        await expect(page.locator("main h1")).to_have_text(heading)
        text = await page.locator("main").inner_text()
        assert not re.search(r"\b(admin|list|users|stations|room|audit|form)\.[a-z]", text), text
    await page.get_by_role("button", name="新建用户").click()
    await expect(page.get_by_role("dialog", name="新建用户")).to_be_visible()
    await page.get_by_role("button", name="创建用户").click()
    await expect(page.locator("dialog .problem:visible").first).to_have_text("此项必填。")
    await page.keyboard.press("Escape")
    await page.get_by_label("语言").select_option("en")
    await expect(page.get_by_label("Search")).to_have_value("ann@")
    await expect(page.locator("tbody tr")).to_have_count(1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_dialogs_are_accessible(console: Console, scheme: str) -> None:
    """axe-core finds nothing serious in a form with errors, a confirmation, and a list with rows."""
    await account(console, "ann@example.org", nickname=MARKUP)
    page = await console.page("admin", "/admin/users", color_scheme=scheme, bypass_csp=True)
    await page.get_by_role("button", name="Delete ann@example.org").click()
    assert await console.accessible(page) == []
    await page.keyboard.press("Escape")
    await page.evaluate("location.hash = '/admin/stations'")
    await page.get_by_role("button", name="New station").click()
    await page.get_by_role("button", name="Add a camera").click()
    await page.get_by_role("button", name="Create station").click()
    assert await console.accessible(page) == []
    await console.picture(page, f"admin-form-{scheme}")
    await page.get_by_role("button", name="Remove").click()
    await page.get_by_label("Id", exact=False).first.fill("gate-1")
    await page.get_by_role("button", name="Create station").click()
    await issued(page, "gate-1")
    assert await console.accessible(page) == []
