"""What the tests of the pages for admins have in common."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import httpx
from playwright.async_api import Locator, Page, Route, expect

from tests.e2e.console.conftest import Console

__all__ = ["MARKUP", "PASSWORD", "account", "api", "issued", "measure", "notice", "refusing", "row"]

MARKUP: Final = "<img src=x onerror=alert(1)>"
PASSWORD: Final = "a long enough one"


def api(console: Console) -> httpx.AsyncClient:
    """The API, as an admin other than the one who looks."""
    token = console.hub.tokens.mint_user("root", role="admin", nickname="Root")
    return httpx.AsyncClient(base_url=console.hub.http_url, headers={"Authorization": f"Bearer {token}"})


async def account(console: Console, email: str, **fields: Any) -> dict[str, Any]:
    """Somebody has an account."""
    async with api(console) as http:
        body = {"email": email, "password": PASSWORD, "nickname": email.split("@")[0], "role": "viewer"} | fields
        made = await http.post("/users", json=body)
        assert made.status_code == 201
        return dict(made.json())


def row(page: Page, text: str) -> Locator:
    """The row of a table that holds a text."""
    return page.get_by_role("row").filter(has_text=text)


def measure(page: Page, label: str) -> Locator:
    """The number of a measure."""
    card = page.locator("hub-sparkline").filter(has=page.get_by_role("heading", name=label, exact=True))
    return card.locator(".sparkline-value")


async def notice(page: Page, text: str) -> None:
    """Something was said in passing."""
    await expect(page.locator(".notice").last).to_have_text(text)


async def issued(page: Page, station_id: str) -> str:
    """The key that the page shows now."""
    await expect(page.get_by_role("dialog", name=f"The device key of {station_id}")).to_be_visible()
    return await page.get_by_label("Device key", exact=True).input_value()


def refusing(status: int | None) -> Callable[[Route], Awaitable[None]]:
    """An API in trouble; None: it is not there."""

    async def refuse(route: Route) -> None:
        if status is None:
            await route.abort()
        else:
            await route.fulfill(status=status, json={"statusCode": status, "message": "no", "error": "no"})

    return refuse
