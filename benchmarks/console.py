"""How busy a browser is with the fleet wall: `python -m benchmarks.console [--stations N] [--view tiles|rows] [--json FILE]`.

A whole hub, a simulated fleet at one status a second each, and Chromium at 1920x1080 with the console's first page, each in
processes of their own. Phases:

    empty     about:blank in the same browser: what the browser itself takes
    load      from the address to the first tile
    steady    the wall as it stands, sorted by state
    longest   the same with tracing on, for the longest task (`steady` tells only of those over 50 ms)
    scroll    the wall scrolled up and down at every frame
    whole     peer: the same wall with all stations rendered and watched, no window

`busy` is Chromium's own TaskDuration, the share of the time that the page's main thread was in a task, by the clock on the wall:
on cores that others use too it is too high, and `cpu`, the thread's processor time, is the lower bound. Needs the `chromium`
program.
"""

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
from playwright.async_api import Browser, CDPSession, Page, async_playwright

from benchmarks.figures import machine, tell
from benchmarks.whole_hub import SECRET, TOKENS, HubError, RunningHub, running_hub

__all__ = ["main"]

TARGET_BUSY: Final = 0.30
TARGET_TASK_MS: Final = 50.0
GUARD: Final = 90.0
"""Seconds until the whole fleet must be connected."""
TIMES: Final = {
    "busy": "TaskDuration",
    "script": "ScriptDuration",
    "layout": "LayoutDuration",
    "style": "RecalcStyleDuration",
    "cpu": "ThreadTime",
}
TRACED: Final = 10.0
"""Seconds that are traced at most: a trace grows by megabytes a second."""
LONG_TASKS: Final = """
    window.longTasks = [];
    const note = list => longTasks.push(...list.getEntries().map(task => task.duration));
    new PerformanceObserver(note).observe({ type: "longtask", buffered: true });
"""
SCROLL: Final = """seconds => new Promise(done => {
    const main = document.querySelector("main"), gaps = [];
    let step = 60, last = performance.now(), end = last + seconds * 1000;
    const frame = now => {
        gaps.push(now - last);
        last = now;
        const before = main.scrollTop;
        main.scrollTop += step;
        if (main.scrollTop === before) step = -step;
        if (now < end) requestAnimationFrame(frame);
        else done({ frames: gaps.length, longestFrameMs: Math.round(Math.max(...gaps)) });
    };
    requestAnimationFrame(frame);
})"""
WHOLE: Final = "const list = document.querySelector('hub-window'); list.margin = 1e9; list.draw()"


@contextmanager
def fleet(hub: RunningHub, stations: int, folder: Path) -> Iterator[None]:
    """A simulated fleet, connected.

    Raises:
        HubError: it did not connect in time.
    """
    command = [sys.executable, "-m", "hub.cli", "simulate", "--stations", str(stations), "--browsers", "0"]
    command += ["--duration", "0", "--interval", "1", "--quiet", "--mqtt", f"mqtt://127.0.0.1:{hub.mqtt_port}"]
    command += ["--http", f"http://127.0.0.1:{hub.port}", "--jwt-secret", SECRET]
    with (folder / "fleet.log").open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder)
    try:
        _wait_until_online(hub, stations)
        yield
    finally:
        process.terminate()
        process.wait()


def _wait_until_online(hub: RunningHub, stations: int) -> None:
    headers = {"Authorization": f"Bearer {TOKENS.mint_user('console-fleet', role='viewer')}"}
    deadline = time.monotonic() + GUARD
    with httpx.Client(base_url=f"http://127.0.0.1:{hub.port}", headers=headers, trust_env=False) as http:
        while True:
            there = http.get("/stations", params={"state": "online", "status": "false", "limit": 1}).json()["total"]
            if there >= stations:
                return
            if time.monotonic() > deadline:
                raise HubError(f"{there} of {stations} stations connected")
            time.sleep(0.5)


class Meter:
    """Reads what Chromium measures of one page."""

    def __init__(self, page: Page, cdp: CDPSession) -> None:
        self.page, self._cdp = page, cdp

    @classmethod
    async def of(cls, page: Page) -> "Meter":
        """Begins to measure a page, before it is loaded."""
        cdp = await page.context.new_cdp_session(page)
        await cdp.send("Performance.enable")
        await page.add_init_script(LONG_TASKS)
        return cls(page, cdp)

    async def read(self) -> dict[str, float]:
        """The metrics now."""
        return {each["name"]: each["value"] for each in (await self._cdp.send("Performance.getMetrics"))["metrics"]}

    async def heap(self) -> float:
        """Megabytes of JavaScript objects that are in use."""
        await self._cdp.send("HeapProfiler.collectGarbage")
        return round((await self.read())["JSHeapUsedSize"] / 1e6, 2)

    async def phase(self, work: Any) -> dict[str, Any]:
        """Shares of the time that `work`, an awaitable, took; its result, if it is a dictionary, stands beside them."""
        await self.page.evaluate("() => { window.longTasks = [] }")
        before = await self.read()
        said = await work
        after = await self.read()
        seconds = after["Timestamp"] - before["Timestamp"]
        found: dict[str, Any] = {"seconds": round(seconds, 1)}
        found |= {name: round((after[key] - before[key]) / seconds, 4) for name, key in TIMES.items()}
        found["layoutsPerSecond"] = round((after["LayoutCount"] - before["LayoutCount"]) / seconds, 1)
        found["nodes"] = int(after["Nodes"])
        return found | await self._long() | (said if isinstance(said, dict) else {})

    async def _long(self) -> dict[str, Any]:
        tasks = await self.page.evaluate("window.longTasks")
        return {"longTasks": len(tasks), "longestLongTaskMs": round(max(tasks, default=0.0), 1)}


async def longest_task(browser: Browser, page: Page, seconds: float) -> dict[str, Any]:
    """The longest task of the page's main thread, in milliseconds, with tracing on."""
    await browser.start_tracing(page=page, categories=["toplevel", "__metadata"])
    await asyncio.sleep(seconds)
    events = json.loads(await browser.stop_tracing())["traceEvents"]
    mains = {(e["pid"], e["tid"]) for e in events if e.get("args", {}).get("name") == "CrRendererMain"}
    ours = [e for e in events if e["name"].endswith("RunTask") and (e["pid"], e["tid"]) in mains]
    tasks, cpu = ([e[key] / 1000 for e in ours if key in e] for key in ("dur", "tdur"))
    return {
        "seconds": seconds,
        "longestTaskMs": round(max(tasks, default=0.0), 1),
        "longestTaskCpuMs": round(max(cpu, default=0.0), 1),
        "tasks": len(tasks),
    }


async def measure(browser: Browser, hub: RunningHub, view: str, seconds: float) -> dict[str, Any]:
    """All phases, by name."""
    context = await browser.new_context(viewport={"width": 1920, "height": 1080})
    found: dict[str, Any] = {}
    blank = await context.new_page()
    await blank.goto("about:blank")
    meter = await Meter.of(blank)
    found["empty"] = await meter.phase(asyncio.sleep(min(seconds, 10.0)))
    await blank.close()

    page = await context.new_page()
    meter = await Meter.of(page)
    token = TOKENS.mint_user("console", role="operator")
    await page.goto(f"http://127.0.0.1:{hub.port}/#token={token}")
    await page.locator(f"[data-view={view}][aria-pressed]").click()
    await page.mouse.move(0, 0)
    await page.reload()
    began = time.perf_counter()
    await page.locator(".tile").first.wait_for()
    found["load"] = {"firstTileMs": round((time.perf_counter() - began) * 1000)}
    await asyncio.sleep(3.0)
    found["load"] |= await meter._long()
    heap = await meter.heap()
    found["steady"] = await meter.phase(asyncio.sleep(seconds))
    found["steady"] |= {
        "heapMbBefore": heap,
        "heapMbAfter": await meter.heap(),
        "tiles": await page.locator(".tile").count(),
    }
    found["longest"] = await longest_task(browser, page, min(seconds, TRACED))
    found["scroll"] = await meter.phase(page.evaluate(SCROLL, min(seconds, 10.0)))
    await page.evaluate("() => { document.querySelector('main').scrollTop = 0 }")
    await page.evaluate(WHOLE)
    await asyncio.sleep(3.0)
    found["whole"] = await meter.phase(asyncio.sleep(seconds))
    found["whole"]["tiles"] = await page.locator(".tile").count()
    await context.close()
    return found


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Starts everything and measures. Raises HubError."""
    program = shutil.which("chromium")
    if program is None:
        raise HubError("chromium is not installed (apt install chromium)")
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with (
        tempfile.TemporaryDirectory(prefix="console-") as name,
        running_hub() as hub,
        fleet(hub, options.stations, Path(name)),
    ):
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=program, args=flags)
            version = browser.version
            phases = await measure(browser, hub, options.view, options.seconds)
            await browser.close()
    steady = phases["steady"]
    return {
        "chromium": version,
        **machine(),
        "loadAverage": round(os.getloadavg()[0], 2),
        "stations": options.stations,
        "view": options.view,
        "phases": phases,
        "wholeTo": round(phases["whole"]["busy"] / steady["busy"], 2),
        "met": {
            "busy": steady["busy"] < TARGET_BUSY,
            "task": max(steady["longestLongTaskMs"], phases["longest"]["longestTaskMs"]) <= TARGET_TASK_MS,
        },
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.console", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stations", type=int, default=1_000)
    parser.add_argument(
        "--seconds", type=float, default=30.0, help="of the phases steady and whole; the others take 10 at most"
    )
    parser.add_argument("--view", choices=("tiles", "rows"), default="tiles")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    options = parser.parse_args()
    try:
        figures = asyncio.run(run(options))
    except HubError as failed:
        sys.exit(str(failed))
    tell(figures, options.json)
    sys.exit(0 if all(figures["met"].values()) else 1)


if __name__ == "__main__":
    main()
