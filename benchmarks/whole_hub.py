"""A whole hub, as `hub serve` runs it, in a process of its own on free ports of the loopback."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from hub.auth import Tokens

__all__ = ["SECRET", "TOKENS", "HubError", "RunningHub", "running_hub"]

SECRET: Final = "a secret of the benchmark, long enough"
TOKENS: Final = Tokens(SECRET)
"""Mints what the hub takes."""
START_GUARD: Final = 60.0
"""Seconds until it must be ready."""


class HubError(Exception):
    """The hub did not start; says what it wrote last."""


@dataclass(frozen=True, slots=True)
class RunningHub:
    """A hub that accepts; `port` is that of HTTP."""

    port: int
    pid: int
    mqtt_port: int


@contextmanager
def running_hub(*options: str) -> Iterator[RunningHub]:
    """A hub with the embedded broker, nothing kept on disk, no event rate limit; ended when the block ends.

    Args:
        options: more of `hub serve`.

    Raises:
        HubError: it did not start.
    """
    with tempfile.TemporaryDirectory(prefix="hub-") as name:
        directory = Path(name)
        ready, log = directory / "ready.json", directory / "output.log"
        ports = ("--port", "0", "--mqtt-port", "0", "--mqtt-ws-port", "0")
        kept = ("--durability", "memory", "--data-dir", str(directory / "data"), "--ready-file", str(ready))
        command = [sys.executable, "-m", "hub.cli", "serve", *ports, *kept, "--event-rate", "0", *options]
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("HUB_")}
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, "--log-level", "warning"],
                env=inherited | {"HUB_JWT_SECRET": SECRET},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            http, mqtt = _wait_until_ready(process, ready, log)
            time.sleep(0.3)  # what it does after the start shall not be in a measurement
            yield RunningHub(http, process.pid, mqtt)
        finally:
            process.terminate()
            process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], ready: Path, log: Path) -> tuple[int, int]:
    deadline = time.monotonic() + START_GUARD
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            wrote = log.read_text(errors="replace").strip().splitlines()
            raise HubError(f"the hub did not start: {wrote[-1] if wrote else 'it wrote nothing'}")
        time.sleep(0.05)
    said = json.loads(ready.read_text())
    return urlsplit(said["http"]).port or 0, urlsplit(said["mqtt"]).port or 0
