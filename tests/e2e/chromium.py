"""Headless Chromium with pages of the tests' own, on an origin of their own."""

import asyncio
import contextlib
import json
import shutil
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, Final, Self

import pytest

from tests.e2e.npm import NODE, start_node
from tests.e2e.waiting import end

__all__ = ["Chromium", "Tab", "pages"]

STARTS_WITHIN: Final = 60.0
"""Seconds for a browser to start, or to do what it is told: it is slow where there is one core."""
PAGE: Final = Path(__file__).parent / "page"
FILES: Final = {
    "/": PAGE / "index.html",
    "/page.js": PAGE / "page.js",
    "/socket.io.min.js": NODE / "node_modules" / "socket.io-client" / "dist" / "socket.io.min.js",
    "/mqtt.min.js": NODE / "node_modules" / "mqtt" / "dist" / "mqtt.min.js",
}


class _Files(SimpleHTTPRequestHandler):
    """Serves `FILES`, and says nothing."""

    def translate_path(self, path: str) -> str:
        return str(FILES.get(path, PAGE / "nothing"))

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def pages() -> Iterator[str]:
    """Serves the page on a free port; gives its origin."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Files) as server:
        thread = Thread(target=partial(server.serve_forever, poll_interval=0.05), name="pages")
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class Tab:
    """One page in the browser.

    Attributes:
        trouble: what a developer would see in red: errors and warnings of the console, failed requests, answers of 400 and more.
    """

    def __init__(self, browser: "Chromium", number: int) -> None:
        self._browser, self._number = browser, number
        self.trouble: list[str] = []

    async def do(self, name: str, *arguments: Any) -> Any:
        """Calls a function of the page, and waits for what it gives."""
        return await self._browser.command("run", tab=self._number, name=name, args=arguments)

    async def open(self, url: str) -> None:
        """Loads a page."""
        await self._browser.command("open", tab=self._number, url=url)

    async def close(self) -> None:
        """Closes the page, as a person does."""
        await self._browser.command("close", tab=self._number)


class Chromium:
    """The browser, as a context manager; the test is skipped where there is none.

    Args:
        profile: a directory for what it keeps.
    """

    def __init__(self, profile: Path) -> None:
        self._profile = profile
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._tabs: dict[int, Tab] = {}
        self._process: asyncio.subprocess.Process
        self._reader: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        program = shutil.which("chromium")
        if program is None:
            pytest.skip("chromium is not installed (apt install chromium)")
        packages = ("puppeteer-core", "socket.io-client", "mqtt")
        self._process = await start_node("chromium.js", *packages, arguments=(program, str(self._profile)))
        started = self._answers[0] = asyncio.get_running_loop().create_future()
        self._reader = asyncio.create_task(self._read(), name="chromium-reader")
        try:
            async with asyncio.timeout(STARTS_WITHIN):
                await started
        except BaseException:
            await end(self._process)
            raise
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()  # it closes the browser, then itself
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), STARTS_WITHIN)
        await end(self._process)
        await self._reader

    async def tab(self, url: str) -> Tab:
        """A new page, loaded."""
        number = len(self._tabs) + 1
        tab = self._tabs[number] = Tab(self, number)
        await tab.open(url)
        return tab

    async def command(self, what: str, **fields: Any) -> Any:
        """Tells the browser to do something, and waits for what comes of it."""
        number = len(self._answers)
        future = self._answers[number] = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, "id": number} | fields).encode() + b"\n")
        async with asyncio.timeout(STARTS_WITHIN):
            return await future

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            said = json.loads(line)
            if "trouble" in said:
                self._tabs[said["tab"]].trouble.append(said["trouble"])
                continue
            future = self._answers[said["id"]]
            if future.done():
                continue
            if "error" in said:
                future.set_exception(RuntimeError(said["error"]))
            else:
                future.set_result(said["value"])
        for future in self._answers.values():
            if not future.done():
                future.set_exception(ConnectionError("Chromium is gone"))
