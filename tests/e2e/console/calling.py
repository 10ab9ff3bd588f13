"""Edge pages and calls, as the tests of both use them."""

import asyncio
from typing import Any

from playwright.async_api import BrowserContext, Locator, Page, expect

from tests.e2e.console.conftest import Console
from tests.e2e.waiting import GUARD

__all__ = ["accept", "call", "edge", "no_camera", "plays", "rings", "sign_in", "visit"]

_PICTURE = """video => {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 16;
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  if (video.readyState < 2) return [0, 0];
  pen.drawImage(video, 0, 0, 16, 16);
  const { data } = pen.getImageData(0, 0, 16, 16);
  let light = 0;
  for (let at = 0; at < data.length; at += 4) light = Math.max(light, data[at], data[at + 1], data[at + 2]);
  return [video.getVideoPlaybackQuality().totalVideoFrames, light];
}"""


async def edge(
    console: Console,
    station_id: str = "st-1",
    *,
    token: str | None = None,
    context: BrowserContext | None = None,
    before: str | None = None,
    **options: Any,
) -> Page:
    """An edge page that is in service.

    Args:
        token: the station's own, where none is given.
        before: a script that runs before the page's.
    """
    page = await visit(console, station_id, context=context, before=before, **options)
    await sign_in(page, token or console.hub.tokens.mint_station(station_id))
    await expect(page.locator("header .state")).to_have_attribute("data-state", "online")
    return page


async def visit(
    console: Console,
    station_id: str | None = "st-1",
    *,
    context: BrowserContext | None = None,
    before: str | None = None,
    **options: Any,
) -> Page:
    """An edge page, as it is when it is opened."""
    context = context or await console.context(**options)
    page = await context.new_page()
    console.watch(page)
    if before is not None:
        await page.add_init_script(before)
    await page.goto(f"{console.hub.http_url}/edge" + ("" if station_id is None else f"?id={station_id}"))
    return page


async def sign_in(page: Page, token: str) -> None:
    """Signs an edge page in with a token."""
    details = page.locator("details").first
    await details.locator("summary").click()
    await details.locator("input[name=token]").fill(token)
    await details.get_by_role("button").click()


async def call(page: Page) -> None:
    """Somebody at the station presses the large button."""
    await page.locator(".edge-call").click()
    await expect(page.locator(".edge-call")).to_have_attribute("data-calling", "")


def rings(page: Page) -> Locator:
    """The stations that ring on a console."""
    return page.locator("hub-call-banner .call-row")


async def accept(page: Page) -> None:
    """An operator accepts what rings first."""
    await page.locator("hub-call-banner .call-row button.good").first.click()


async def plays(video: Locator) -> None:
    """A picture comes, moves and is not black."""
    await video.wait_for()
    first = 0
    async with asyncio.timeout(GUARD):
        while True:
            frames, light = await video.evaluate(_PICTURE)
            if first and frames >= first + 3 and light > 40:
                return
            first = first or frames
            await asyncio.sleep(0.1)  # nothing tells of a frame across the wire


def no_camera(error: str = "NotFoundError") -> str:
    """A script in whose browser there is no camera and no microphone."""
    return f"void (navigator.mediaDevices.getUserMedia = async () => {{ throw new DOMException('none', '{error}') }})"
