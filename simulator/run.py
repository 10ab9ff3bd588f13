"""Runs a simulation: connects all, measures for a while, reports, and says goodbye."""

import asyncio
import logging
import resource
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
from rich.live import Live

from simulator.browsers import Browser
from simulator.fleet import SimulatedStation
from simulator.report import figures, table
from simulator.scenario import Credentials, Scenario, SimulationError
from simulator.stats import Stats

__all__ = ["SimulationError", "keep_running", "simulate"]

log = logging.getLogger(__name__)


async def simulate(plan: Scenario, credentials: Credentials) -> int:
    """Runs `plan` to its end, or until it is cancelled (Ctrl-C), and prints the report.

    Gives the exit code: 0, or 1 when there were errors. Raises SimulationError when it could not run: nobody listens,
    credentials are refused, or the report cannot be written.
    """
    stats = Stats()
    _write(plan, b"")  # fails now rather than when all is measured
    async with _connected(plan, credentials, stats) as now:
        until = time.monotonic() + (plan.duration or float("inf"))
        with Live(table(now()), auto_refresh=False) as live:  # shows what comes last alone where there is no terminal
            try:
                while (left := until - time.monotonic()) > 0:
                    await asyncio.sleep(min(0.5, left))
                    live.update(table(now()), refresh=True)
            except asyncio.CancelledError:
                pass
            report = now()
            for who in ("station", "browser"):
                if missing := report[f"{who}s"] - report[f"{who}sConnected"]:
                    report["errors"][f"{who}: not connected"] = missing
            live.update(table(report), refresh=True)
    _write(plan, orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return 1 if report["errors"] else 0


async def keep_running(plan: Scenario, credentials: Credentials) -> None:
    """Keeps `plan` running until it is cancelled; stations connect again. Raises SimulationError."""
    async with _connected(plan, credentials, Stats()):
        await asyncio.Event().wait()


@asynccontextmanager
async def _connected(
    plan: Scenario, credentials: Credentials, stats: Stats
) -> AsyncIterator[Callable[[], dict[str, Any]]]:
    """All of `plan`, connected; gives the figures as they are when asked."""
    logging.getLogger("devices.station").setLevel(logging.ERROR)  # lost connections are counted
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # each connection is a file
    ids = [f"{plan.prefix}-{number:05}" for number in range(1, plan.stations + 1)]
    users = [f"{plan.prefix}-op-{number:05}" for number in range(1, plan.browsers + 1)]
    stations = [SimulatedStation(plan, one, credentials.station, stats) for one in ids]
    browsers = [Browser(plan, one, credentials.browser(one), stats) for one in users]
    try:
        await _ramp(stations)
        if stations and not any(station.connected for station in stations):
            raise SimulationError(f"no MQTT broker answers at {plan.mqtt}: is the hub running?")
        await _ramp(browsers)
        stats.start()
        yield lambda: figures(
            plan, stats, sum(one.connected for one in stations), sum(one.connected for one in browsers)
        )
    finally:
        await asyncio.gather(*(one.close() for one in browsers))
        await asyncio.gather(*(one.close() for one in stations))


async def _ramp(guests: Sequence[SimulatedStation | Browser]) -> None:
    """Starts all over a second, so that their statuses do not come in step, and 50 at a time at most."""
    slots = asyncio.Semaphore(50)

    async def start(guest: SimulatedStation | Browser, delay: float) -> None:
        await asyncio.sleep(delay)
        async with slots:
            await guest.start()

    starting = [asyncio.create_task(start(guest, at / len(guests))) for at, guest in enumerate(guests)]
    try:
        await asyncio.gather(*starting)
    finally:
        for task in starting:
            task.cancel()
        await asyncio.gather(*starting, return_exceptions=True)


def _write(plan: Scenario, content: bytes) -> None:
    try:
        if plan.json_file is not None:
            plan.json_file.write_bytes(content)
    except OSError as error:
        raise SimulationError(f"--json: {plan.json_file} cannot be written: {error.strerror}") from None
