"""A real Mosquitto for tests: two listeners on free loopback ports, restartable on the same ports.

async with mosquitto(tmp_path) as broker:
    ...  # broker.url, broker.ws_url
    await broker.restart()
"""

import asyncio
import os
import random
import re
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

__all__ = ["Mosquitto", "free_port", "mosquitto"]

START_GUARD: Final = 20.0
"""Seconds that the broker may take to accept connections, and to end."""
RUNNING: Final = re.compile(rb"^.*mosquitto version \S+ running$", re.MULTILINE)


def free_port() -> int:
    """A port that nothing uses, of those that the system gives to nobody who asks for any: tests run side by side."""
    while True:
        port = random.SystemRandom().randrange(10_000, 32_000)  # hypothesis seeds the other
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Mosquitto:
    """One broker process; `start` skips the test in one line where none is installed.

    Args:
        directory: for its configuration and its log.
        config: more lines for the configuration; `allow_anonymous true` unless they say something on it.

    Attributes:
        port: of the MQTT listener.
        ws_port: of the MQTT over WebSocket listener (any path).
    """

    def __init__(self, directory: Path, *, config: str = "") -> None:
        self._directory, self._extra = directory, config
        self._process: asyncio.subprocess.Process | None = None
        self.port, self.ws_port = free_port(), free_port()

    @property
    def url(self) -> str:
        """`mqtt://` address."""
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        """`ws://` address."""
        return f"ws://127.0.0.1:{self.ws_port}/mqtt"

    @property
    def log(self) -> str:
        """What the broker wrote so far."""
        return (self._directory / "mosquitto.log").read_text(errors="replace")

    def _config(self) -> str:
        lines = [
            f"listener {self.port} 127.0.0.1",
            "protocol mqtt",
            f"listener {self.ws_port} 127.0.0.1",
            "protocol websockets",
            "log_dest stderr",
            "log_type all",
            "max_queued_messages 0",
        ]
        if "allow_anonymous" not in self._extra:
            lines.append("allow_anonymous true")
        if os.geteuid() == 0:
            lines.append("user root")  # else it changes to a user that may not read the test's directory
        return "\n".join([*lines, self._extra, ""])

    async def start(self) -> None:
        """Starts the broker and waits until it says that both listeners are open: on their ports somebody else may accept."""
        program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        if program is None:
            pytest.skip("mosquitto is not installed (apt install mosquitto)")
        path = self._directory / "mosquitto.conf"
        path.write_text(self._config())
        with (self._directory / "mosquitto.log").open("ab") as log:
            before = log.tell()
            self._process = await asyncio.create_subprocess_exec(
                program, "-c", str(path), stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            async with asyncio.timeout(START_GUARD):
                while RUNNING.search((self._directory / "mosquitto.log").read_bytes(), before) is None:
                    if self._process.returncode is not None:
                        raise RuntimeError(f"mosquitto did not start:\n{self.log}")
                    await asyncio.sleep(0.01)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Ends the broker; it may be started again on the same ports."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), START_GUARD)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def restart(self) -> None:
        """Stops and starts."""
        await self.stop()
        await self.start()


@asynccontextmanager
async def mosquitto(directory: Path, *, config: str = "") -> AsyncIterator[Mosquitto]:
    """A running broker; ended when the block ends."""
    broker = Mosquitto(directory, config=config)
    for left in (2, 1, 0):
        try:
            await broker.start()
            break
        except RuntimeError:
            # somebody took one of its ports between the choice and the start
            if ("Unable to create" not in broker.log and "in use" not in broker.log) or not left:
                raise
            broker = Mosquitto(directory, config=config)
    try:
        yield broker
    finally:
        await broker.stop()
