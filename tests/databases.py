"""A PostgreSQL of the tests' own: Debian's server in a temporary directory, on a free port."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mosquitto import free_port

__all__ = ["Postgres", "postgres"]


class Postgres:
    """A running server; everybody on the loopback may do everything."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._made = 0

    def new_database(self) -> str:
        """The URL of a new, empty database."""
        self._made += 1
        name = f"hub{self._made}"
        options = ("-h", "127.0.0.1", "-p", str(self._port), "-U", "hub", "-d", "postgres", "-qc")
        subprocess.run([_program("psql"), *options, f"CREATE DATABASE {name}"], check=True)
        return f"postgresql://hub@127.0.0.1:{self._port}/{name}"


def _program(name: str) -> str:
    """The path of one of PostgreSQL's programs; Debian keeps them out of PATH."""
    found = [shutil.which(name), *sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))]
    return next((str(path) for path in reversed(found) if path), "")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server for the whole run; skipped where there is none."""
    if not _program("initdb"):
        pytest.skip("PostgreSQL is not installed (apt install postgresql)")
    with tempfile.TemporaryDirectory(prefix="stationhub-postgres-") as scratch:
        # it refuses to run as root
        user = pwd.getpwnam("postgres").pw_uid if os.getuid() == 0 else None
        os.chown(scratch, user if user is not None else -1, -1)

        def run(name: str, *arguments: str) -> bool:
            command = [_program(name), "-D", f"{scratch}/data", *arguments]
            return subprocess.run(command, user=user, cwd=scratch, stdout=subprocess.DEVNULL).returncode == 0

        assert run("initdb", "-U", "hub", "-A", "trust", "--no-sync", "-E", "UTF8")
        port, log = free_port(), f"{scratch}/log"
        settings = f"-c port={port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={scratch} -c fsync=off"
        assert run("pg_ctl", "-w", "-t", "60", "-l", log, "-o", settings, "start"), Path(log).read_text()
        try:
            yield Postgres(port)
        finally:
            run("pg_ctl", "-w", "-m", "immediate", "stop")
