"""The report of a simulation in a real browser: as a page on a screen, light and dark, wide and narrow, and printed."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any, Final

import pytest

from simulator.reports.html import html
from tests.e2e.chromium import STARTS_WITHIN
from tests.e2e.npm import start_node
from tests.e2e.waiting import end
from tests.simulator.runs import HOSTILE, report

WHITE: Final = "rgb(255, 255, 255)"


async def looked_at(tmp_path: Path, content: str) -> dict[str, Any]:
    """What a person sees of a page (tests/node/report.js); pictures of it are in `tmp_path`."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed (apt install chromium)")
    file = tmp_path / "report.html"
    file.write_text(content, "utf-8")
    arguments = (program, str(tmp_path / "profile"), str(file), str(tmp_path))
    process = await start_node("report.js", "puppeteer-core", arguments=arguments)
    try:
        async with asyncio.timeout(STARTS_WITHIN):
            output, _ = await process.communicate()
    finally:
        await end(process)
    assert process.returncode == 0
    said: dict[str, Any] = json.loads(output)
    return said


async def test_a_person_reads_it(tmp_path: Path) -> None:
    """Nothing is asked for but the file, nothing complained of; all text can be selected, in charts too; it prints in white."""
    shown = report(broken="sim-00007 was called offline at 30.0 s", fail_if=["ack.p99 > 5ms"])
    said = await looked_at(tmp_path, html(shown))
    assert said["requests"] == [(tmp_path / "report.html").as_uri()] * 2
    assert said["trouble"] == []
    for text in (
        "made-up",
        "sim-00007 was called offline at 30.0 s",
        "slow-reader, browsers",
        "as seen",
        "99.9 %",
        "[[stages]]",
    ):
        assert text in said["selected"], text
    assert said["overflows"] == {"wide": False, "narrow": False}
    assert said["cut"] == []
    assert said["papers"]["light"] == said["papers"]["print"] == WHITE != said["papers"]["dark"]
    for name in ("light.png", "dark.png", "narrow.png"):
        assert (tmp_path / name).stat().st_size > 50_000
    printed = (tmp_path / "print.pdf").read_bytes()
    assert printed.startswith(b"%PDF-")
    assert b"/Font" in printed  # text, not a picture of it


async def test_a_hostile_hub_stays_text(tmp_path: Path) -> None:
    """What it said is read, not run; it breaks nothing of the page."""
    shown = report(broken=HOSTILE)
    shown["scenario"]["name"] = shown["stages"][0]["name"] = shown["faults"][0]["kind"] = HOSTILE
    shown["errors"] |= {"x" * 300: 1, HOSTILE * 3: 2}
    said = await looked_at(tmp_path, html(shown))
    assert said["requests"] == [(tmp_path / "report.html").as_uri()] * 2
    assert said["trouble"] == []
    assert HOSTILE[:60] in said["selected"]
    assert said["overflows"] == {"wide": False, "narrow": False}
    assert said["cut"] == []
