"""The console in Chromium, driven by Playwright, against a whole hub. Pictures are kept in `build/pictures`."""

import re
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request, async_playwright, expect

from hub.config import Settings
from hub.serve import Hub
from tests.e2e.conftest import World, settings
from tests.e2e.npm import NODE

PICTURES: Final = Path(__file__).parents[3] / "build" / "pictures"
AXE: Final = NODE / "node_modules" / "axe-core" / "axe.min.js"
WAIT: Final = 30_000.0
"""Milliseconds after which a page hangs: generous, never what is measured; whose hub was away tries again within 15 s."""
FLAGS: Final = (
    "--no-sandbox",  # the tests may run as root
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
)
expect.set_options(timeout=WAIT)


class Console(World):
    """A hub, and people who look at its pages. A page may complain of nothing, and ask nobody but the hub for anything.

    Attributes:
        trouble: what a developer would see in red, on all pages: errors and warnings, failed requests, answers of 400 and more.
    """

    def __init__(self, settings: Settings, browser: Browser, stack: AsyncExitStack) -> None:
        super().__init__(Hub(settings), "", stack)
        self._settings, self._browser = settings, browser
        self._running = AsyncExitStack()
        stack.push_async_exit(self._running)  # closed after all pages: one whose hub goes complains
        self._expected: list[str] = []
        self.trouble: list[str] = []
        self.requests: list[str] = []

    async def start(self) -> None:
        """The hub is there, or again, on the ports that it had."""
        self.hub = await self._running.enter_async_context(Hub(self._settings))
        self.mqtt = f"mqtt://127.0.0.1:{self.hub.mqtt_port}"
        ports = {"port": self.hub.http_port, "mqtt_port": self.hub.mqtt_port, "mqtt_ws_port": self.hub.mqtt_ws_port}
        self._settings = self._settings.model_copy(update=ports)

    async def stop(self) -> None:
        """The hub goes."""
        await self._running.aclose()

    async def context(self, **options: Any) -> BrowserContext:
        """A browser of somebody's own: another storage, another language. `options`: Playwright's."""
        context = await self._browser.new_context(
            **{"locale": "en-GB", "viewport": {"width": 1280, "height": 800}} | options
        )
        context.set_default_timeout(WAIT)
        self._stack.push_async_callback(context.close)
        return context

    async def page(
        self,
        role: Any = "operator",
        at: str = "",
        *,
        token: str | None = None,
        context: BrowserContext | None = None,
        **options: Any,
    ) -> Page:
        """Somebody new is signed in and looks at a page.

        Args:
            role: None: nobody is signed in.
            at: its address after `#`, such as `/station/st-1`.
        """
        context = context or await self.context(**options)
        page = await context.new_page()
        self.watch(page)
        if role is None:
            await page.goto(f"{self.hub.http_url}/#{at}")
            return page
        self._users += 1
        token = token or self.hub.tokens.mint_user(f"user-{self._users}", role=role, nickname=f"User {self._users}")
        await page.goto(f"{self.hub.http_url}/#token={token}")
        await page.locator(".connection[data-connection=open]").wait_for()
        if at:
            await page.evaluate("at => { location.hash = at }", at)
        return page

    def watch(self, page: Page) -> None:
        """What a page complains of is noted."""
        page.on("console", self._said)
        page.on("pageerror", lambda error: self._complain(f"uncaught: {error}"))
        page.on("requestfailed", self._failed)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("websocket", lambda socket: self.requests.append(socket.url))

    def expect(self, pattern: str) -> None:
        """What matches, a regular expression, is no trouble in this test."""
        self._expected.append(pattern)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._complain(f"{message.type}: {message.text}")

    def _failed(self, request: Request) -> None:
        # a reload and a closed page do this to a request that is on its way
        if "ERR_ABORTED" not in (request.failure or ""):
            self._complain(f"failed: {request.url} {request.failure}")

    def _complain(self, what: str) -> None:
        if not any(re.search(pattern, what) for pattern in self._expected):
            self.trouble.append(what)

    async def picture(self, page: Page, name: str) -> None:
        """Keeps a picture of what a page shows now, as NAME.png."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        await page.screenshot(path=PICTURES / f"{name}.png")

    async def accessible(self, page: Page) -> list[str]:
        """What axe-core finds that is serious or worse, as `rule: how often: where first`."""
        if not AXE.exists():
            pytest.skip("axe-core is not installed (npm --prefix tests/node ci)")
        await page.evaluate(AXE.read_text("utf-8"))
        found = await page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
        return [
            f"{one['id']}: {len(one['nodes'])} times: {one['nodes'][0]['html'][:200]}: {one['nodes'][0]['failureSummary']}"
            for one in found["violations"]
            if one["impact"] in ("serious", "critical")
        ]

    def elsewhere(self) -> list[str]:
        """Requests to anybody but the hub."""
        ours = re.compile(re.escape(self.hub.http_url.split("://")[1]))
        schemes = ("data:", "blob:", "about:")
        return [url for url in self.requests if not url.startswith(schemes) and not ours.match(url.split("://")[1])]


@asynccontextmanager
async def running_chromium() -> AsyncIterator[Browser]:
    """The browser; where there is none, the tests that need it are skipped."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed (apt install chromium)")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    """The browser of a module."""
    async with running_chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def console(chromium: Browser, tmp_path: Path, options: dict[str, Any]) -> AsyncIterator[Console]:
    """The console of a hub of this test's own; fails at the end if a page complained."""
    async with AsyncExitStack() as stack:
        seen = Console(settings(tmp_path, **options), chromium, stack)
        await seen.start()
        yield seen
        assert seen.trouble == []
        assert seen.elsewhere() == []
