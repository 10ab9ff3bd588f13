"""Runs `hub` commands as a user does: processes of their own, in a directory of their own."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from tests.e2e.waiting import until

__all__ = ["FREE", "Process", "Shell"]

FREE = ("--port", "0", "--mqtt-port", "0", "--mqtt-ws-port", "0")


class Process:
    """One `hub` process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def end(self) -> tuple[int, str, str]:
        """Waits for its end: exit code, stdout, stderr."""
        async with asyncio.timeout(60):
            out, err = await self.process.communicate()
        return self.process.returncode or 0, out.decode(), err.decode()

    async def interrupt(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str, str]:
        self.process.send_signal(number)
        return await self.end()


class Shell:
    """Starts `hub` commands in a directory of their own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.started: list[Process] = []

    async def start(self, *arguments: str, **environment: str) -> Process:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("HUB_")}
        root = str(Path(__file__).parents[2])
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "hub.cli", *arguments),
            cwd=self.directory,
            env=inherited | {"PYTHONPATH": root, "COLUMNS": "120"} | environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        self.started.append(Process(process))
        return self.started[-1]

    async def run(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        return await (await self.start(*arguments, **environment)).end()

    async def serve(self, *arguments: str, **environment: str) -> tuple[Process, dict[str, Any]]:
        """A hub on free ports, ready."""
        ready = self.directory / "ready.json"
        process = await self.start("serve", *FREE, "--ready-file", str(ready), *arguments, **environment)
        await until(lambda: ready.exists() or process.process.returncode is not None)
        assert ready.exists(), (await process.end())[2]
        return process, json.loads(ready.read_text())
