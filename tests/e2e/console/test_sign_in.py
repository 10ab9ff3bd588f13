"""Coming and going: signing in, being sent away, the hub's restart, and what the pages are made of."""

import re
from typing import Any

import httpx
import pytest
from playwright.async_api import expect

from tests.e2e.console.conftest import Console

pytestmark = pytest.mark.asyncio(loop_scope="module")

EMAIL, PASSWORD = "night@example.org", "a long enough one"
TOLD = """place => {
  const told = [];
  const changes = { childList: true, characterData: true, subtree: true };
  new MutationObserver(() => told.push(place.textContent)).observe(place, changes);
  return told;
}"""
"""All that a place of the page says from now on."""


async def account(console: Console, role: str = "operator") -> None:
    """Somebody has an account."""
    admin = console.hub.tokens.mint_user("root", role="admin")
    async with httpx.AsyncClient(base_url=console.hub.http_url, headers={"Authorization": f"Bearer {admin}"}) as http:
        made = await http.post("/users", json={"email": EMAIL, "password": PASSWORD, "nickname": "Night", "role": role})
    assert made.status_code == 201


async def sign_in(page: Any, password: str = PASSWORD) -> None:
    """Fills in the form and sends it."""
    await page.get_by_label("Email").fill(EMAIL)
    await page.get_by_label("Password").fill(password)
    await page.get_by_role("button", name="Sign in").first.click()


async def test_account(console: Console) -> None:
    """A wrong password is told; the right one lasts over a reload and in a second tab, until signing out, in both."""
    await account(console)
    page = await console.page(None)
    console.expect("401|400")
    await sign_in(page, "not the right one")
    await expect(page.get_by_role("alert")).to_have_text("There is no such account, or the password is wrong.")
    await console.picture(page, "sign-in")
    await sign_in(page)
    await expect(page.locator(".who")).to_have_text("Night · operator")
    await page.reload()
    await expect(page.locator(".connection")).to_have_text("Connected")
    second = await console.page(None, context=page.context)
    await expect(second.locator(".who")).to_have_text("Night · operator")
    await expect(page.locator(".connection")).to_have_text("Connected")
    await second.get_by_role("button", name="Sign out").click()
    await expect(second.get_by_label("Email")).to_be_visible()
    await expect(page.get_by_label("Email")).to_be_visible()


async def test_new_account_and_guest(console: Console) -> None:
    """Who has none makes one; who wants none comes as a guest. Both are viewers."""
    page = await console.page(None)
    await page.get_by_role("button", name="No account yet?").click()
    await page.get_by_label("Email").fill("new@example.org")
    await page.get_by_label("Name").first.fill("Newcomer")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Create account").click()
    await expect(page.locator(".who")).to_have_text("Newcomer · viewer")
    guest = await console.page(None)
    await guest.get_by_text("Continue as a guest").click()
    await guest.get_by_label("Name").last.fill("<img src=x onerror=alert(1)>")
    await guest.get_by_role("button", name="Continue").click()
    await expect(guest.locator(".who")).to_have_text("<img src=x onerror=alert(1)> · viewer")


async def test_kicked_by_another_login(console: Console) -> None:
    """The older session is told why it ended, and does not come back by itself."""
    await account(console)
    first, second = await console.page(None), await console.page(None)
    await sign_in(first)
    await expect(first.locator(".connection")).to_have_text("Connected")
    await sign_in(second)
    await expect(first.get_by_role("alert").first).to_contain_text("you signed in somewhere else")
    await console.picture(first, "kicked")
    await expect(second.locator(".connection")).to_have_text("Connected")
    await first.reload()
    await expect(first.get_by_label("Email")).to_be_visible()
    await expect(second.locator(".who")).to_have_text("Night · operator")


async def test_token_is_in_no_address(console: Console) -> None:
    """A token that an address brings leaves it at once, and is in no request."""
    page = await console.page("operator")
    await page.reload()
    await expect(page.locator(".connection")).to_have_text("Connected")
    kept = await page.evaluate("localStorage.getItem('stationhub.session')")
    token = re.search(r"eyJ[\w.-]+", kept)
    assert token is not None
    assert token[0] not in page.url
    assert not any(token[0] in url for url in console.requests if "#" not in url)
    other = console.hub.tokens.mint_user("night", role="viewer")
    await page.evaluate(f"location.hash = '#token={other}'")  # opened where the console is open already
    await expect(page.locator(".who")).to_contain_text("viewer")
    assert other not in page.url
    await page.go_back()
    assert other not in page.url


async def test_focus_stays_in_the_navigation(console: Console) -> None:
    """A link that leads to where one is, and a connection that comes back, take the focus from nobody."""
    page = await console.page("operator")
    fleet = page.get_by_role("link", name="Fleet")
    await page.get_by_label("Search").fill("nothing")
    await fleet.focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_label("Search")).to_have_value("")
    await expect(fleet).to_be_focused()
    told = await page.locator(".connection").evaluate_handle(TOLD)  # it is lost for half a second at most
    next(iter(console.hub.gateway.peers.values())).close(1012, "")
    await page.wait_for_function("told => told.includes('Connection lost')", arg=told)
    await expect(page.locator(".connection")).to_have_text("Connected")
    await expect(fleet).to_be_focused()


async def test_hub_restart(console: Console) -> None:
    """The page says that the hub is away, and is back by itself when it is."""
    page = await console.page("operator")
    console.expect("ERR_CONNECTION_REFUSED|WebSocket connection|401|503")
    await console.stop()
    await expect(page.locator(".connection")).to_have_text("Connection lost")
    await expect(page.locator(".stale")).to_contain_text("out of reach since")
    await console.picture(page, "hub-away")
    await console.start()
    await expect(page.locator(".connection")).to_have_text("Connected")
    await expect(page.locator(".stale")).to_be_hidden()


async def test_languages_and_theme(console: Console) -> None:
    """The browser's language is the page's; another is chosen in the page and kept, as is light or dark."""
    chinese = await console.page("operator", locale="zh-CN")
    await expect(chinese.get_by_role("button", name="退出登录")).to_be_visible()
    assert await chinese.locator("html").get_attribute("lang") == "zh-CN"
    await console.picture(chinese, "chinese")
    await chinese.get_by_label("语言").focus()
    await chinese.get_by_label("语言").select_option("en")
    await expect(chinese.get_by_role("button", name="Sign out")).to_be_visible()
    await expect(chinese.get_by_label("Language")).to_be_focused()
    dark = "getComputedStyle(document.body).backgroundColor"
    light_paper = await chinese.evaluate(dark)
    await chinese.get_by_label("Appearance").select_option("dark")
    assert await chinese.evaluate(dark) != light_paper
    await chinese.reload()
    await expect(chinese.get_by_role("button", name="Sign out")).to_be_visible()
    assert await chinese.evaluate(dark) != light_paper


async def test_what_is_typed_outlives_a_language(console: Console) -> None:
    """Another language is no reason to type anything again; and one that another tab chooses changes nothing here."""
    page = await console.page(None)
    await page.get_by_role("button", name="No account yet?").click()
    await page.get_by_label("Email").fill(EMAIL)
    await page.get_by_label("Name").first.fill("Night")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_text("Use a token").click()
    await page.get_by_label("Token").fill("eyJ")
    await page.get_by_label("Language").select_option("zh")
    await expect(page.get_by_label("邮箱")).to_have_value(EMAIL)
    await expect(page.get_by_label("昵称").first).to_have_value("Night")
    await expect(page.get_by_label("密码")).to_have_value(PASSWORD)
    await expect(page.get_by_label("令牌")).to_have_value("eyJ")
    await page.get_by_role("button", name="注册", exact=True).click()
    await expect(page.locator(".who")).to_have_text("Night · 观察者")
    admin = await console.page("admin", "/admin/users")
    await admin.get_by_role("button", name="New user").click()
    await admin.get_by_label("Email").fill(EMAIL)
    other = await console.page(None, context=admin.context)
    await other.get_by_label("Language").select_option("zh")
    await other.get_by_label("外观").select_option("dark")
    await expect(admin.locator("html")).to_have_attribute("data-theme", "dark")  # it heard of both
    await expect(admin.get_by_label("Email")).to_have_value(EMAIL)
    await admin.get_by_role("button", name="Cancel").click()


async def test_policy(console: Console) -> None:
    """No script but the hub's files runs, and no text becomes an element: not even by the page's own hand."""
    page = await console.page("operator")
    console.expect("TrustedHTML|Trusted|Content Security Policy")
    assert (
        await page.evaluate(
            "(() => { try { document.body.innerHTML = '<b>x</b>'; return 'set' } catch (error) { return error.name } })()"
        )
        == "TypeError"
    )
    await page.evaluate(
        "(() => { const s = document.createElement('script'); s.append('window.ran = 1'); document.body.append(s) })()"
    )
    assert await page.evaluate("window.ran") is None


async def test_files(console: Console) -> None:
    """Files are asked for anew at each visit, and not sent again; nothing else of the folder is served."""
    async with httpx.AsyncClient(base_url=console.hub.http_url) as http:
        page = await http.get("/")
        assert page.headers["cache-control"] == "no-cache"
        assert "unsafe-inline" not in page.headers["content-security-policy"]
        assert (
            f"connect-src 'self' ws://{http.base_url.netloc.decode()} wss:" in page.headers["content-security-policy"]
        )
        strange = await http.get("/", headers={"Host": "a; script-src *"})
        assert "script-src *" not in strange.headers.get("content-security-policy", "")
        script = await http.get("/console/pages/main.js")
        assert script.headers["content-type"].startswith("text/javascript")
        again = await http.get("/console/pages/main.js", headers={"If-None-Match": script.headers["etag"]})
        assert again.status_code == 304
        for path in ("package.json", "index.html", "../http/app.py", "%2e%2e/http/app.py", "nothing.js", "pages", ""):
            assert (await http.get(f"/console/{path}")).status_code == 404, path
