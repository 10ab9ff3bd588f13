"""A PostgreSQL of the tests' own: Debian's server in a temporary directory, on a free port."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.mosquitto import free_port

__all__ = ["Postgres", "postgres", "running_postgres"]


class Postgres:
    """A server; everybody on the loopback may do everything. It may be stopped and started again on the same port.

    Args:
        directory: for its data and its log; the user that it runs as must be able to write there.
        user: the id of that user; None: the one that runs the tests.
    """

    def __init__(self, directory: Path, user: int | None) -> None:
        self._directory, self._user = directory, user
        self._port = free_port()
        self._made = 0
        assert self._run("initdb", "-U", "hub", "-A", "trust", "--no-sync", "-E", "UTF8")

    def start(self) -> None:
        """Starts it, and waits until it takes connections."""
        log = self._directory / "log"
        sockets = f"-c unix_socket_directories={self._directory}"
        options = f"-c port={self._port} -c listen_addresses=127.0.0.1 {sockets} -c fsync=off"
        assert self._run("pg_ctl", "-w", "-t", "60", "-l", str(log), "-o", options, "start"), log.read_text()

    def stop(self) -> None:
        """Ends it at once, with all its connections; twice is once."""
        self._run("pg_ctl", "-w", "-m", "immediate", "stop")

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Inside it answers nothing, and closes nothing."""
        parent = int((self._directory / "data" / "postmaster.pid").read_text().split()[0])
        found = subprocess.run(["pgrep", "-P", str(parent)], capture_output=True, text=True, check=True).stdout
        processes = [parent, *map(int, found.split())]
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                os.kill(process, signal.SIGCONT)

    def new_database(self) -> str:
        """The URL of a new, empty database."""
        self._made += 1
        name = f"hub{self._made}"
        options = ("-h", "127.0.0.1", "-p", str(self._port), "-U", "hub", "-d", "postgres", "-qc")
        subprocess.run([_program("psql"), *options, f"CREATE DATABASE {name}"], check=True)
        return f"postgresql://hub@127.0.0.1:{self._port}/{name}"

    def _run(self, name: str, *arguments: str) -> bool:
        command = [_program(name), "-D", str(self._directory / "data"), *arguments]
        return subprocess.run(command, user=self._user, cwd=self._directory, stdout=subprocess.DEVNULL).returncode == 0


def _program(name: str) -> str:
    """The path of one of PostgreSQL's programs; Debian keeps them out of PATH."""
    found = [shutil.which(name), *sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))]
    return next((str(path) for path in reversed(found) if path), "")


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server of one's own, running; the test is skipped where there is none."""
    if not _program("initdb"):
        pytest.skip("PostgreSQL is not installed (apt install postgresql)")
    with tempfile.TemporaryDirectory(prefix="stationhub-postgres-") as scratch:
        # it refuses to run as root
        user = pwd.getpwnam("postgres").pw_uid if os.getuid() == 0 else None
        os.chown(scratch, user if user is not None else -1, -1)
        server = Postgres(Path(scratch), user)
        with _ended_with_us(scratch, user):
            try:
                server.start()
                yield server
            finally:
                server.stop()


@contextmanager
def _ended_with_us(scratch: str, user: int | None) -> Iterator[None]:
    """The server in that directory ends, and nothing of it is left, even when this process is killed: a pipe tells."""
    script = 'read -r _; "$0" -D data -m immediate stop; rm -rf "$PWD"'
    watcher = subprocess.Popen(
        ["sh", "-c", script, _program("pg_ctl")],
        cwd=scratch,
        user=user,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the tests
    )
    try:
        yield
    finally:
        watcher.communicate()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server for the whole run; skipped where there is none."""
    with running_postgres() as server:
        yield server
