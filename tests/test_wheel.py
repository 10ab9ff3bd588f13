"""The wheel: built from this tree, installed alone into a new environment, it runs a hub."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def build(directory: Path) -> Path:
    """The wheel of a copy of this tree."""
    source = directory / "source"
    skip = shutil.ignore_patterns(".venv", ".git", "node_modules", ".*_cache", "__pycache__", "hub-data", "dist")
    shutil.copytree(ROOT, source, ignore=skip)
    run(sys.executable, "-m", "build", "--wheel", "--outdir", directory / "dist", source)
    (wheel,) = (directory / "dist").glob("*.whl")
    return wheel


async def test_wheel_runs_a_hub(tmp_path: Path) -> None:
    """Installed without extras, `hub serve` comes up and ends; types and the page are inside."""
    wheel = await asyncio.to_thread(build, tmp_path)
    names = zipfile.ZipFile(wheel).namelist()
    for package in ("hub", "bridge", "devices", "simulator"):
        assert f"{package}/py.typed" in names
    assert "bridge/console/index.html" in names
    assert not any(name.startswith(("tests/", "benchmarks/", "examples/")) for name in names)
    fresh = tmp_path / "fresh"
    await asyncio.to_thread(run, sys.executable, "-m", "venv", fresh)
    try:
        await asyncio.to_thread(run, fresh / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", wheel)
    except AssertionError as error:
        if "Could not find a version" in str(error) or "No matching distribution" in str(error):
            pytest.skip("packages cannot be installed here: no package index in reach")
        raise
    ready = tmp_path / "ready.json"
    free = ("--port", "0", "--mqtt-port", "0", "--mqtt-ws-port", "0", "--ready-file", str(ready))
    environment = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH",) and not name.startswith("HUB_")
    }
    process = await asyncio.create_subprocess_exec(
        str(fresh / "bin" / "hub"), "serve", *free, cwd=tmp_path, env=environment, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(60):
            while not ready.exists():
                assert process.returncode is None
                await asyncio.sleep(0.02)
        host, port = json.loads(ready.read_text())["http"].split("/")[2].split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET / HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n")
        assert b"StationHub" in await reader.read()
        writer.close()
        process.terminate()
        async with asyncio.timeout(30):
            _, err = await process.communicate()
        assert process.returncode == 0, err
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
