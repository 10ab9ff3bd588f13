"""Every page, in both schemes: axe-core finds nothing serious, and nothing is wider than a telephone."""

import pytest
from playwright.async_api import expect

from tests.e2e.console.conftest import Console

pytestmark = pytest.mark.asyncio(loop_scope="module")

# axe itself is no file of the hub's
ADDRESSES = ("", "/station/st-1", "/calls", "/admin", "/admin/stations", "/admin/users", "/admin/rooms", "/admin/audit")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_sign_in_page(console: Console, scheme: str) -> None:
    """The page that signs in."""
    page = await console.page(None, color_scheme=scheme, bypass_csp=True)
    await expect(page.get_by_label("Email")).to_be_visible()
    assert await console.accessible(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_pages(console: Console, scheme: str) -> None:
    """All the others, with stations, of which one is away."""
    await console.connect(console.station("st-1"))
    away = await console.connect(console.station("st-2"))
    page = await console.page("admin", color_scheme=scheme, bypass_csp=True)
    await away.close()
    for address in ADDRESSES:
        await page.evaluate("at => { location.hash = at }", address)
        await expect(page.locator("main h1")).to_be_visible()
        assert await console.accessible(page) == [], address
        await console.picture(page, f"{scheme}{address.replace('/', '-') or '-wall'}")


async def test_narrow(console: Console) -> None:
    """On 360 pixels no page is wider than the window."""
    await console.connect(console.station("st-1"))
    page = await console.page("admin", viewport={"width": 360, "height": 740})
    for address in ADDRESSES:
        await page.evaluate("at => { location.hash = at }", address)
        await expect(page.locator("main h1")).to_be_visible()
        wide = await page.evaluate(
            "[document.documentElement, document.querySelector('main')].map(e => e.scrollWidth - e.clientWidth)"
        )
        assert wide == [0, 0], address
