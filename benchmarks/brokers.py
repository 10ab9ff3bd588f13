"""The brokers that are compared, each started in a process of its own on a free port of the loopback.

    ours            the embedded broker, a token for every client
    ours-anonymous  the same with amqtt's AnonymousAuthPlugin: anybody may connect, every question is put to a plugin
    mosquitto       anybody may connect
    mosquitto-acl   a password for every client, and an ACL file
    amqtt           amqtt's own data plane, anybody may connect
    rumqttd         from the package iotcore, anybody may connect

BrokerError
  NotInstalled    the program or package is not on this machine
"""

import importlib.util
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.mqtt_fleet import OBSERVER, PASSWORD, PUBLISHERS, station_id
from devices.topics import ALL_STATIONS, STATION_CMD

__all__ = ["BROKERS", "BrokerError", "Kind", "NotInstalled", "Running", "Start", "raise_descriptor_limit", "running"]

START_GUARD: Final = 30.0
"""Seconds that a broker may take until it accepts connections."""
SECRET: Final = "a secret of the benchmark, long enough"


class BrokerError(Exception):
    """A broker did not start; says which and what it wrote."""


class NotInstalled(BrokerError):
    """A program or package is missing; says which, and how to get it."""


@dataclass(frozen=True, slots=True)
class Running:
    """A broker that accepts connections.

    Attributes:
        login: how clients prove who they are: "none", "token" (signed with `secret`) or "password".
    """

    name: str
    port: int
    pid: int
    login: str = "none"
    secret: str = ""


@dataclass(frozen=True, slots=True)
class Start:
    """What a broker is started with."""

    directory: Path
    port: int
    stations: int
    durable: bool


def _module(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", name, *arguments]


def _ours(start: Start) -> list[str]:
    durable = ["--durability", "disk", "--data-dir", str(start.directory)] if start.durable else []
    return _module("benchmarks.our_broker", "--port", str(start.port), "--secret", SECRET, *durable)


def _ours_anonymous(start: Start) -> list[str]:
    return [*_ours(start), "--no-auth"]


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise NotInstalled(f"{name} is not installed (apt install mosquitto)")
    return found


def _mosquitto(start: Start, *, rules: tuple[str, ...] = ("allow_anonymous true",)) -> list[str]:
    lines = [
        f"listener {start.port} 127.0.0.1",
        "log_type none",
        "set_tcp_nodelay true",  # without, Nagle's algorithm holds back answers for 40 ms
        "max_inflight_messages 100",
        "max_queued_messages 0",  # the default of 1,000 drops messages of a fan-out
        *rules,
    ]
    if start.durable:
        lines += ["persistence true", f"persistence_location {start.directory}/"]
    if os.geteuid() == 0:
        lines.append("user root")  # else it changes to a user that may not read this directory
    path = start.directory / "mosquitto.conf"
    path.write_text("\n".join([*lines, ""]))
    return [_program("mosquitto"), "-c", str(path)]


def _mosquitto_acl(start: Start) -> list[str]:
    passwords, rules = start.directory / "passwords", start.directory / "acl"
    users = [OBSERVER, *PUBLISHERS, *map(station_id, range(start.stations))]
    passwords.write_text("".join(f"{user}:{PASSWORD}\n" for user in users))
    passwords.chmod(0o600)
    subprocess.run([_program("mosquitto_passwd"), "-U", str(passwords)], check=True, capture_output=True)
    everything_own = ALL_STATIONS.replace("#", "%u/#")
    commands = STATION_CMD.filter().replace("+", "%u")
    rules.write_text(
        f"user {OBSERVER}\ntopic readwrite {ALL_STATIONS}\n\npattern write {everything_own}\npattern read {commands}\n"
    )
    rules.chmod(0o600)
    return _mosquitto(start, rules=("allow_anonymous false", f"password_file {passwords}", f"acl_file {rules}"))


def _amqtt(start: Start) -> list[str]:
    return _module("benchmarks.stock_amqtt", "--port", str(start.port))


def _rumqttd(start: Start) -> list[str]:
    if importlib.util.find_spec("iotcore") is None:
        raise NotInstalled("iotcore is not installed (pip install iotcore)")
    return _module("iotcore", "--listen", "127.0.0.1", "--port", str(start.port), "--log-level", "CRITICAL")


@dataclass(frozen=True, slots=True)
class Kind:
    """A broker that can be started.

    Attributes:
        most_stations: how many it can serve in bearable time; None: any number. One with a limit is measured once only.
    """

    command: Callable[[Start], list[str]]
    login: str = "none"
    most_stations: int | None = None


BROKERS: Final = {
    "ours": Kind(_ours, "token"),
    "ours-anonymous": Kind(_ours_anonymous),
    "mosquitto": Kind(_mosquitto),
    "mosquitto-acl": Kind(_mosquitto_acl, "password"),
    "rumqttd": Kind(_rumqttd, most_stations=1_000),
    "amqtt": Kind(_amqtt, most_stations=200),
}


def raise_descriptor_limit(wanted: int) -> None:
    """Lets this process and those it starts have as many descriptors as they may. Raises BrokerError for fewer than `wanted`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise BrokerError(f"a broker needs {wanted} descriptors here and may have {hard} (ulimit -Hn): fewer stations")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_it_accepts(name: str, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_GUARD
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            time.sleep(0.05)
        if process.poll() is not None or time.monotonic() > deadline:
            wrote = log.read_text(errors="replace").strip().splitlines()
            raise BrokerError(f"{name} did not start: {wrote[-1] if wrote else 'it wrote nothing'}")


@contextmanager
def running(name: str, *, stations: int, durable: bool = False) -> Iterator[Running]:
    """A broker of `BROKERS`, ended when the block ends.

    Args:
        stations: how many may log in, for the password file.
        durable: sessions and messages are kept on disk, in a directory that is removed at the end.

    Raises:
        BrokerError: it did not start; NotInstalled when it is missing.
    """
    kind = BROKERS[name]
    with tempfile.TemporaryDirectory(prefix="broker-") as directory:
        start = Start(Path(directory), _free_port(), stations, durable)
        command, log = kind.command(start), Path(directory) / "output.log"
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            _wait_until_it_accepts(name, process, start.port, log)
            time.sleep(0.3)  # what it does after the start shall not be in a measurement
            secret = SECRET if kind.login == "token" else ""
            yield Running(name, start.port, process.pid, kind.login, secret)
        finally:
            process.kill()
            process.wait()
