"""A load generator in a process of its own (`benchmarks.mqtt_load`), from the side of who gives the commands."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from benchmarks.brokers import Running
from benchmarks.mqtt_client import LoadError

__all__ = ["SOCKETS", "Generator", "generators"]

SOCKETS: Final = 9_000
"""Connections that one generator makes at most."""


class Generator:
    """One process.

    Args:
        broker: what it loads.
        source: the local address its connections come from; None: the system's choice.
    """

    def __init__(self, broker: Running, *, source: str | None = None) -> None:
        command = [sys.executable, "-m", "benchmarks.mqtt_load", "--port", str(broker.port), "--pid", str(broker.pid)]
        command += ["--login", broker.login, "--secret", broker.secret, *(["--source", source] if source else [])]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def begin(self, do: str, **arguments: object) -> None:
        """Sends a command and waits for nothing. Raises LoadError when the process is gone."""
        pipe = self._process.stdin
        if pipe is None or self._process.poll() is not None:
            raise LoadError("the load generator has ended")
        try:
            pipe.write(json.dumps({"do": do, **arguments}) + "\n")
            pipe.flush()
        except BrokenPipeError:
            raise LoadError("the load generator has ended") from None

    def result(self) -> dict[str, Any]:
        """The answer to the oldest command that has none yet. Raises LoadError with what went wrong."""
        pipe = self._process.stdout
        line = pipe.readline() if pipe is not None else ""
        if not line:
            raise LoadError("the load generator has ended")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise LoadError(answer["error"])
        return answer

    def do(self, do: str, **arguments: object) -> dict[str, Any]:
        """Sends a command and waits for its answer. Raises LoadError."""
        self.begin(do, **arguments)
        return self.result()

    def stop(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.communicate()


@contextmanager
def generators(broker: Running, count: int, *, apart: bool = True) -> Iterator[list[Generator]]:
    """So many processes.

    Args:
        apart: several come from an address each, 127.0.0.1 and on: one address has 28,000 ports on Linux.
    """
    with ExitStack() as stack:
        made = []
        for number in range(count):
            made.append(Generator(broker, source=f"127.0.0.{number + 1}" if apart and count > 1 else None))
            stack.callback(made[-1].stop)
        yield made
