"""How the `hub` command ends where a shell is rough with it: a full disk, a closed pipe, Ctrl-C at any moment."""

import asyncio
import errno
import json
import os
import re
import shlex
import signal
import sys
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from devices.operator import Operator
from tests.e2e.conftest import SECRET
from tests.e2e.shell import Process, Shell
from tests.e2e.waiting import GUARD

FULL = f"hub: the output could not be written: {os.strerror(errno.ENOSPC)}\n"
FULL_TABLE = f"hub: the table could not be written: {os.strerror(errno.ENOSPC)}\n"
UP = re.compile(r'^stationhub_simulate_stations_connected 5\.0$.*^\S+_timed_total{time="ack"} [1-9]', re.M | re.S)
FEW = ("--stations", "3", "--browsers", "1", "--duration", "1", "--quiet")


async def piped(shell: Shell, to: str, *arguments: str) -> tuple[int, str]:
    """Exit code and stderr of a command whose stdout is redirected by a shell; `| true` closes the pipe at once."""
    command = shlex.join([sys.executable, "-m", "hub.cli", *arguments])
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", f"{command} {to}; exit ${{PIPESTATUS[0]}}"),
        cwd=shell.directory,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "COLUMNS": "120"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        _, err = await process.communicate()
    return process.returncode or 0, err.decode()


async def address(shell: Shell) -> tuple[str, ...]:
    """Of a hub that runs."""
    _, ready = await shell.serve()
    return "--mqtt", ready["mqtt"], "--http", ready["http"]


@pytest.mark.parametrize(
    "arguments",
    [("--version",), ("--help",), ("token", "--user", "me", "--jwt-secret", SECRET), ("simulate", "--list")],
    ids=" ".join,
)
async def test_a_stdout_that_cannot_be_written(shell: Shell, arguments: tuple[str, ...]) -> None:
    """One line and exit code 2, whatever was to be printed; that nobody reads it is no error."""
    assert await piped(shell, "> /dev/full", *arguments) == (2, FULL)
    assert await piped(shell, "| true", *arguments) == (0, "")


async def test_a_table_that_cannot_be_written(shell: Shell) -> None:
    """The reports are; a closed pipe leaves the exit code to the verdict."""
    hub = await address(shell)
    assert await piped(shell, "> /dev/full", "simulate", *FEW, *hub, "--json", "a.json", "--junit", "a.xml") == (
        2,
        FULL_TABLE,
    )
    assert json.loads((shell.directory / "a.json").read_bytes())["verdict"]["passed"] is True
    assert (shell.directory / "a.xml").exists()
    assert await piped(shell, "| true", "simulate", *FEW, *hub, "--json", "b.json") == (0, "")
    assert await piped(shell, "| true", "simulate", *FEW, *hub, "--fail-if", "ack.count >= 0") == (1, "")
    assert await piped(shell, "> /dev/full", "simulate", "compare", "a.json", "b.json") == (2, FULL_TABLE)
    assert await piped(shell, "| true", "simulate", "compare", "a.json", "b.json") == (0, "")
    assert await piped(shell, "> /dev/full", "stations", *hub[2:]) == (2, FULL)
    assert await piped(shell, "| true", "stations", *hub[2:]) == (0, "")


@pytest.mark.parametrize("after", [0.0, 0.1, 0.3])
async def test_ctrl_c_while_it_still_loads(shell: Shell, after: float) -> None:
    """No traceback, whichever module is being imported."""
    process = await shell.start("simulate", "--jwt-secret", SECRET, "--mqtt", "mqtt://127.0.0.1:1", "--browsers", "0")
    there = psutil.Process(process.process.pid)
    with suppress(psutil.NoSuchProcess, ProcessLookupError):  # it was quicker
        while process.process.returncode is None:
            if any("pydantic" in each.path for each in there.memory_maps()):
                break
            await asyncio.sleep(0.005)  # it tells nobody
        await asyncio.sleep(after)
        process.process.send_signal(signal.SIGINT)
    code, out, err = await process.end()
    # 2: it was quicker, and nobody listens at that port; -2: Python itself was still starting, or ending
    assert (code, out) in ((130, ""), (2, ""), (-signal.SIGINT, ""))
    assert err.count("\n") <= 1
    assert "Traceback" not in err


async def running(shell: Shell, hub: tuple[str, ...], *more: str) -> Process:
    """A run without an end whose stations are up, and have something to report."""
    flags = ("--stations", "5", "--browsers", "1", "--duration", "0", "--quiet", "--prometheus", "0", *more)
    process = await shell.start("simulate", *flags, *hub)
    assert process.process.stderr is not None
    async with asyncio.timeout(2 * GUARD), httpx.AsyncClient(trust_env=False) as http:
        told = (await process.process.stderr.readline()).decode()
        figures = re.fullmatch(r"Prometheus: (http://127\.0\.0\.1:\d+/metrics)\n", told)
        assert figures, told
        while not UP.search((await http.get(figures[1])).text):  # noqa: ASYNC110  # a scrape
            await asyncio.sleep(0.2)
    return process


async def test_sigterm_ends_a_run_in_order(shell: Shell) -> None:
    """As a CI has it: what ran is judged and reported."""
    process = await running(shell, await address(shell), "--json", "report.json", "--workers", "2")
    code, out, err = await process.interrupt(signal.SIGTERM)
    assert (code, err) == (0, "")
    assert "interrupted" in out
    assert json.loads((shell.directory / "report.json").read_bytes())["interrupted"] is True


async def test_the_second_ctrl_c_says_so(shell: Shell) -> None:
    """It ends without a report, and names that."""
    hub = await address(shell)
    token = (await shell.run("token", "--user", "seer", "--role", "operator"))[1].strip()
    process = await running(shell, hub, "--json", "report.json", "--workers", "2")
    async with Operator(hub[-1], token=token, timeout=GUARD) as seer:
        process.process.send_signal(signal.SIGINT)
        await seer.next_push(
            "station-disconnected"
        )  # the first one has come: they leave, and the news of it is awaited
        assert await process.interrupt(signal.SIGINT) == (130, "", "hub: ended without a report\n")
    assert not (shell.directory / "report.json").exists()


async def test_a_worker_that_is_killed(shell: Shell) -> None:
    """The others' figures are reported, as incomplete."""
    process = await running(shell, await address(shell), "--json", "report.json", "--workers", "2")
    worker = psutil.Process(process.process.pid).children()[0]
    worker.kill()
    code, out, err = await process.end()
    assert (code, err) == (2, "hub: worker 1 of 2 ended without a word: was it killed, or out of memory?\n")
    assert "FAILED" in out
    assert json.loads((shell.directory / "report.json").read_bytes())["verdict"]["passed"] is False


async def test_a_token_is_minted_for_whom_none_was_given(shell: Shell) -> None:
    """With the hub's secret; without it the missing one is named, and a given one that is refused is blamed."""
    hub = await address(shell)
    user = (await shell.run("token", "--user", "me", "--role", "operator"))[1].strip()
    assert (await shell.run("simulate", *FEW, *hub, "--browser-token", user))[0] == 0
    code, _, err = await shell.run("simulate", *FEW, *hub, "--data-dir", "nowhere", "--browser-token", user)
    assert code == 2
    assert err.endswith("; or give --station-token\n")
    code, _, err = await shell.run("simulate", *FEW, *hub, "--browser-token", "nonsense")
    assert (code, err.count("\n")) == (2, 1)
    assert "is --browser-token a user's access token of this hub" in err


async def test_a_shipped_scenario_is_as_short_as_it_is_told(shell: Shell) -> None:
    """Six seconds of load, and not one minute of ramps first."""
    hub = await address(shell)
    flags = ("--stations", "5", "--browsers", "3", "--duration", "6", "--quiet", "--json", "short.json")
    began = asyncio.get_running_loop().time()
    code, _, err = await shell.run("simulate", "steady", *flags, *hub)
    assert asyncio.get_running_loop().time() - began < 45  # with the start of Python, and the end, on a busy machine
    report = json.loads((shell.directory / "short.json").read_bytes())
    failed = {check["rule"] for check in report["verdict"]["checks"] if not check["passed"]}
    assert failed <= {"ack.p99 > 250ms", "status.delay.p99 > 2s"}  # the machine may be busy with other tests
    assert (code, err) == (1 if failed else 0, "")
    assert report["seconds"] == pytest.approx(6.0)
    assert report["facts"]["stations.connected"] == 5
