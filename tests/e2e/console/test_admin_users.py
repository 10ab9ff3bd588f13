"""Accounts on the page for admins: made, changed, deleted, and found."""

import asyncio

import httpx
import pytest
from playwright.async_api import Route, expect

from tests.e2e.console.admin_pages import MARKUP, PASSWORD, account, notice, refusing, row
from tests.e2e.console.conftest import Console

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def sign_in(console: Console, email: str, password: str) -> int:
    """The status of a try."""
    async with httpx.AsyncClient(base_url=console.hub.http_url) as http:
        return (await http.post("/auth/login", json={"email": email, "password": password})).status_code


async def test_users(console: Console) -> None:
    """An account is made, changed, disabled and deleted, and each at once counts."""
    page = await console.page("admin", "/admin/users")
    await page.get_by_role("button", name="New user").click()
    await page.get_by_label("Email").fill("ann@example.org")
    await page.get_by_label("Name").fill(MARKUP)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Create user").click()
    await notice(page, "ann@example.org can sign in now.")
    await expect(row(page, "ann@example.org")).to_contain_text(MARKUP)
    await expect(page.locator("dialog")).to_have_count(0)
    assert PASSWORD not in await page.content()

    hers = await console.page(None)
    await hers.get_by_label("Email").fill("ann@example.org")
    await hers.get_by_label("Password").fill(PASSWORD)
    await hers.get_by_role("button", name="Sign in").first.click()
    await expect(hers.locator(".who")).to_have_text(f"{MARKUP} · viewer")

    await page.get_by_role("button", name="Change ann@example.org").click()
    await page.get_by_label("Name").fill("Ann")
    await page.get_by_role("button", name="Save").click()
    await notice(page, "ann@example.org was changed.")
    await expect(hers.locator(".connection")).to_have_text("Connected")  # another name ends no session

    await page.get_by_role("button", name="Change ann@example.org").click()
    await page.get_by_label("Role").last.select_option("operator")
    await page.get_by_label("New password").fill("another long one")
    await page.get_by_label("Disabled").check()
    await page.get_by_role("button", name="Save").click()
    await expect(row(page, "ann@example.org")).to_contain_text("Disabled")
    await expect(row(page, "ann@example.org")).to_contain_text("operator")
    console.expect("401")
    await expect(hers.get_by_role("alert").first).to_contain_text("an administrator changed your account")
    assert await sign_in(console, "ann@example.org", "another long one") == 401

    await page.get_by_role("button", name="Delete ann@example.org").click()
    await expect(page.locator("dialog")).to_contain_text("Ann (ann@example.org)")
    await page.get_by_role("button", name="Cancel").click()
    await expect(page.get_by_role("button", name="Delete ann@example.org")).to_be_focused()
    await page.get_by_role("button", name="Delete ann@example.org").click()
    await page.get_by_role("button", name="Delete user").click()
    await notice(page, "ann@example.org was deleted.")
    await expect(row(page, "ann@example.org")).to_have_count(0)


async def test_refusals(console: Console) -> None:
    """What the API refuses is told where it belongs, and nothing that was entered is lost."""
    await account(console, "taken@example.org", role="admin")
    page = await console.page("admin", "/admin/users")
    console.expect("400|409|503|Failed to fetch|ERR_FAILED")
    await page.get_by_role("button", name="New user").click()
    await page.get_by_role("button", name="Create user").click()
    await expect(page.get_by_label("Email")).to_be_focused()
    await expect(page.locator("dialog .problem:visible")).to_have_count(3)
    await page.get_by_label("Email").fill("taken@example.org")
    await page.get_by_label("Name").fill("Somebody")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Create user").click()
    await expect(page.locator("dialog .problem:visible")).to_have_text("There is an account with this email already.")
    await expect(page.get_by_label("Email")).to_be_focused()
    # the hub knows better what a name is: 400 names the field
    await page.get_by_label("Email").fill("free@example.org")
    await page.get_by_label("Name").fill("\u2800")
    await page.get_by_role("button", name="Create user").click()
    await expect(page.get_by_label("Name")).to_have_attribute("aria-invalid", "true")
    await page.get_by_label("Name").fill("Somebody")
    for answer, told in ((503, "The hub cannot do this right now."), (None, "The hub cannot be reached.")):
        await page.route("**/users", refusing(answer))
        await page.get_by_role("button", name="Create user").click()
        await expect(page.locator("dialog").get_by_role("alert")).to_contain_text(told)
        await page.unroute("**/users")
    await expect(page.get_by_label("Password")).to_have_value(PASSWORD)
    await page.get_by_role("button", name="Create user").click()
    await notice(page, "free@example.org can sign in now.")

    # no other account is an admin's
    await page.get_by_role("button", name="Delete taken@example.org").click()
    await page.get_by_role("button", name="Delete user").click()
    await expect(page.locator("dialog").get_by_role("alert")).to_contain_text("The last administrator")
    await page.keyboard.press("Escape")
    await expect(row(page, "taken@example.org")).to_be_visible()


async def test_own_account(console: Console) -> None:
    """It is marked; as the last admin's it stays what it is; and who gives it another role is signed out, and told why."""
    await account(console, "boss@example.org", role="admin")
    page = await console.page(None, "/admin/users")
    await page.get_by_label("Email").fill("boss@example.org")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").first.click()
    await expect(row(page, "boss@example.org").locator(".tag")).to_have_text("you")
    console.expect("409|401")
    await page.get_by_role("button", name="Change boss@example.org").click()
    await expect(page.locator("dialog")).to_contain_text("This is your own account")
    await page.get_by_label("Role").last.select_option("viewer")
    await page.get_by_role("button", name="Save").click()
    await expect(page.locator("dialog").get_by_role("alert")).to_contain_text("The last administrator")
    await expect(page.get_by_label("Role").last).to_have_value("viewer")
    await account(console, "other@example.org", role="admin")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("alert").first).to_contain_text("an administrator changed your account")
    await expect(page.locator("dialog")).to_have_count(0)


async def test_sent_once(console: Console) -> None:
    """However often a form is sent while the hub thinks, it is sent once; and what was closed meanwhile is told."""
    page = await console.page("admin", "/admin/users")
    held, asked = asyncio.Event(), 0

    async def hold(route: Route) -> None:
        nonlocal asked
        if route.request.method == "POST":
            asked += 1
            await held.wait()
        await route.continue_()

    await page.route("**/users*", hold)
    await page.get_by_role("button", name="New user").click()
    await page.get_by_label("Email").fill("once@example.org")
    await page.get_by_label("Name").fill("Once")
    await page.get_by_label("Password").fill(PASSWORD)
    for _ in range(3):
        await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Sending…")).to_have_attribute("aria-disabled", "true")
    await page.get_by_role("button", name="Sending…").click(force=True)
    await page.keyboard.press("Escape")
    await expect(page.locator("dialog")).to_have_count(0)
    held.set()
    await notice(page, "once@example.org can sign in now.")
    assert asked == 1
    await page.unroute_all(behavior="wait")


async def test_list(console: Console) -> None:
    """Search, filter, order and pages; a late answer to an older search is not shown."""
    for number in range(52):
        await account(console, f"user-{number:02}@example.org", role="operator" if number % 2 else "viewer")
    page = await console.page("admin", "/admin/users")
    await expect(page.locator(".pager")).to_contain_text("1 to 50 of 52")
    await page.get_by_role("button", name="Next").click()
    await expect(page.locator(".pager")).to_contain_text("51 to 52 of 52")
    await expect(page.get_by_role("row")).to_have_count(3)
    await page.get_by_role("button", name="Email").click()
    await expect(page.get_by_role("columnheader", name="Email")).to_have_attribute("aria-sort", "descending")
    await expect(page.get_by_role("row").nth(1)).to_contain_text("user-51@")
    await page.get_by_label("Role").select_option("operator")
    await expect(page.locator(".pager")).to_contain_text("1 to 26 of 26")
    await console.picture(page, "admin-users")

    slow = asyncio.Event()

    async def late(route: Route) -> None:
        answer = await route.fetch()
        await slow.wait()
        await route.fulfill(response=answer)

    await page.route("**/users?q=user-0&*", late)
    async with page.expect_request("**/users?q=user-0&*"):
        await page.get_by_label("Search").fill("user-0")
    await page.get_by_label("Search").fill("user-07")
    await expect(page.locator(".pager")).to_contain_text("1 to 1 of 1")
    async with page.expect_response("**/users?q=user-0&*"):
        slow.set()
    await expect(row(page, "user-07@")).to_be_visible()
    await expect(page.locator(".pager")).to_contain_text("1 to 1 of 1")
    await page.get_by_label("Search").fill("nobody at all")
    await expect(page.get_by_text("No user fits.")).to_be_visible()


async def test_list_that_cannot_be_read(console: Console) -> None:
    """Why is told, and it can be asked again."""
    page = await console.page("admin", "/admin")
    console.expect("503")
    await page.route("**/audit*", refusing(503))
    await page.evaluate("location.hash = '/admin/audit'")
    await expect(page.get_by_role("alert")).to_contain_text("The hub cannot do this right now.")
    await page.unroute("**/audit*")
    await page.get_by_role("button", name="Try again").click()
    await expect(page.get_by_role("alert")).to_have_count(0)
