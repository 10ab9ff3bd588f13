"""Runs a simulation: connects all, measures for a while, reports, and says goodbye."""

import asyncio
import logging
import resource
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import orjson
from rich import print
from rich.live import Live

from simulator.browsers import Browser
from simulator.fleet import SimulatedStation
from simulator.report import figures, table
from simulator.scenario import Credentials, Scenario, SimulationError
from simulator.stats import Stats

__all__ = ["SimulationError", "keep_running", "simulate"]

Guest = SimulatedStation | Browser


async def simulate(plan: Scenario, credentials: Credentials) -> int:
    """Runs `plan` to its end, or until it is cancelled (Ctrl-C), and prints the report.

    Gives the exit code: 0, or 1 when there were errors. Raises SimulationError when it could not run: nobody listens,
    credentials are refused, or the report cannot be written.
    """
    _write(plan, b"")  # fails now rather than when all is measured
    async with _connected(plan, credentials) as now:
        until = time.monotonic() + (plan.duration or float("inf"))
        with Live(table(now()), auto_refresh=False, transient=True) as live, suppress(asyncio.CancelledError):
            while (left := until - time.monotonic()) > 0:
                await asyncio.sleep(min(0.5, left))
                live.update(table(now()), refresh=True)
        print(table(report := now()))
    _write(plan, orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return 1 if report["errors"] else 0


async def keep_running(plan: Scenario, credentials: Credentials) -> None:
    """Keeps `plan` running until it is cancelled; stations connect again. Raises SimulationError."""
    async with _connected(plan, credentials):
        await asyncio.Event().wait()


@asynccontextmanager
async def _connected(plan: Scenario, credentials: Credentials) -> AsyncIterator[Callable[[], dict[str, Any]]]:
    """All of `plan`, connected; gives the figures as they are when asked."""
    logging.getLogger("devices.station").setLevel(logging.ERROR)  # lost connections are counted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < (files := plan.stations + plan.browsers + 256) <= hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))  # each connection is one
    stats, started = Stats(), list[Guest]()
    stations = [SimulatedStation(plan, at + 1, credentials.station, stats) for at in range(plan.stations)]
    browsers = [Browser(plan, at + 1, credentials.browser, stats) for at in range(plan.browsers)]
    try:
        await _ramp(stations, started)
        if stations and not any(one.connected for one in stations):
            raise SimulationError(f"no MQTT broker answers at {plan.mqtt}: is the hub running?")
        await _ramp(browsers, started)
        stats.start()
        yield lambda: figures(stats, [one.connected for one in stations], [one.connected for one in browsers])
    finally:
        await asyncio.gather(*(one.close() for one in started))


async def _ramp(guests: Sequence[Guest], started: list[Guest]) -> None:
    """Starts all over a second, so that their statuses do not come in step, and 50 at a time at most."""
    slots = asyncio.Semaphore(50)

    async def start(guest: Guest, delay: float) -> None:
        await asyncio.sleep(delay)
        async with slots:
            await guest.start()
            started.append(guest)

    try:
        async with asyncio.TaskGroup() as group:
            for at, guest in enumerate(guests):
                group.create_task(start(guest, at / len(guests)))
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None


def _write(plan: Scenario, content: bytes) -> None:
    try:
        if plan.json_file is not None:
            plan.json_file.write_bytes(content)
    except OSError as error:
        raise SimulationError(f"--json: {plan.json_file} cannot be written: {error.strerror}") from None
