"""The whole as it is run: a `hub serve`, a simulated fleet whose cameras stream, and an operator who uses the keyboard alone."""

import re

from playwright.async_api import expect

from tests.e2e.conftest import SECRET
from tests.e2e.console.calling import plays
from tests.e2e.console.conftest import PICTURES, WAIT, running_chromium
from tests.e2e.shell import Shell


async def test_an_operators_day(shell: Shell) -> None:
    """Signs in, finds a station, opens its gate, looks through its camera, and comes back to the wall."""
    _, hub = await shell.serve(HUB_JWT_SECRET=SECRET)
    fleet = ("--stations", "30", "--browsers", "0", "--interval", "1", "--duration", "0", "--video", "3", "--quiet")
    addresses = ("--mqtt", hub["mqtt"], "--http", hub["http"])
    await shell.start("simulate", *fleet, *addresses, "--prefix", "car", HUB_JWT_SECRET=SECRET)
    _, token, _ = await shell.run("token", "--user", "night", "--role", "operator", HUB_JWT_SECRET=SECRET)
    async with running_chromium() as browser:
        page = await browser.new_page(locale="en-GB", viewport={"width": 1280, "height": 800})
        page.set_default_timeout(WAIT)
        trouble: list[str] = []
        page.on("console", lambda said: trouble.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: trouble.append(str(error)))
        await page.goto(f"{hub['http']}/")
        await page.get_by_text("Use a token").focus()
        await page.keyboard.press("Enter")
        await page.keyboard.press("Tab")
        await page.keyboard.insert_text(token.strip())
        await page.keyboard.press("Enter")

        await expect(page.get_by_text("30 of 30 stations")).to_be_visible()
        await page.keyboard.press("/")
        await page.keyboard.insert_text("car-00002")
        await expect(page.locator(".tile-link:visible")).to_have_text(["car-00002"])
        await page.locator(".tile-link:visible").press("Enter")

        await expect(page.get_by_role("heading", name="car-00002")).to_be_visible()
        metric = page.locator(".metric-value").first
        before = await metric.inner_text()
        await expect(metric).not_to_have_text(before)
        await page.get_by_role("button", name="Open Barrier").press("Enter")
        await page.get_by_role("dialog").get_by_role("button", name="Open gate").press("Enter")
        await expect(page.locator(".gate .outcome")).to_have_text(re.compile(r"^Done in \d+ ms"))
        await page.get_by_role("button", name="View: Entrance camera").press("Enter")
        await plays(page.locator("video").first)
        await page.screenshot(path=PICTURES / "whole-station.png")

        await page.get_by_role("link", name="Back to the fleet").press("Enter")
        await expect(page.locator(".tile-link:visible")).to_have_text(["car-00002"])
        assert trouble == []
