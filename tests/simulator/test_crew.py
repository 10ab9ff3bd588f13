"""Workers as processes of their own: shares add up, and one that dies is told of."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from devices.client import Address
from simulator.crew import END_SECONDS, Forked
from simulator.measuring.measures import Snapshot, Totals
from simulator.plan import Credentials, Plan, Target
from simulator.scenario import load
from tests.mosquitto import mosquitto

GUARD = 30.0
NOBODY = Credentials(lambda *_: "", lambda *_: "")


def plan(url: str, duration: float, workers: int = 2) -> Plan:
    scenario = load(None, {"stations": 9, "browsers": 2, "duration": duration, "interval": 0.5})
    return Plan(scenario, Target(Address.parse(url), None), "sim", "run", workers)


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def run_forked(wanted: Plan, heard: list[tuple[int, Snapshot]], stop_at: int | None = None) -> None:
    """In a thread, which has no event loop yet."""
    with Forked(wanted, NOBODY) as crew:

        async def work() -> None:
            def on_snapshot(worker: int, snapshot: Snapshot) -> None:
                heard.append((worker, snapshot))
                if len(heard) == stop_at:
                    crew.stop()

            async with asyncio.timeout(GUARD):
                await crew.run(time.monotonic() + 0.1, on_snapshot)

        asyncio.run(work())


async def test_two_workers_are_one_fleet(tmp_path: Path) -> None:
    """Each has its share, and all add up: nobody is missing, nobody is there twice."""
    heard: list[tuple[int, Snapshot]] = []
    async with mosquitto(tmp_path) as server:
        await asyncio.to_thread(run_forked, plan(server.url, 2.0), heard)
    totals = Totals(2)
    for worker, snapshot in heard:
        totals.add(worker, snapshot)
    facts = totals.facts()
    assert {worker for worker, _ in heard} == {0, 1}
    assert facts["stations.started"] == 9
    assert facts["connect.count"] == 9
    assert facts["stations.connected"] == 9
    assert facts["browsers.started"] == 2
    assert facts["status.received"]
    assert facts["status.lost"] == 0
    assert not totals.errors


async def test_told_to_stop_they_end_in_order(tmp_path: Path) -> None:
    """A run without an end, and its last snapshot comes."""
    heard: list[tuple[int, Snapshot]] = []
    async with mosquitto(tmp_path) as server:
        await asyncio.to_thread(run_forked, plan(server.url, 0.0), heard, 4)
    assert sum(snapshot.counts.get("stations.started", 0) for _, snapshot in heard) == 9
    assert not any(snapshot.errors for _, snapshot in heard)


async def test_a_worker_that_is_killed(tmp_path: Path) -> None:
    """It is told of, and the other one ends in order."""
    heard: asyncio.Queue[int] = asyncio.Queue()
    async with mosquitto(tmp_path) as server:
        crew = await asyncio.to_thread(Forked, plan(server.url, 0.0), NOBODY)
        with crew:
            pids = crew.pids
            work = asyncio.create_task(crew.run(time.monotonic(), lambda worker, _: heard.put_nowait(worker)))
            async with asyncio.timeout(GUARD):
                while await heard.get() != 1:
                    pass
                os.kill(pids[1], signal.SIGKILL)
                await work
            assert crew.lost == ["worker 2 of 2 ended without a word: was it killed, or out of memory?"]
    assert not any(lives(pid) for pid in pids)


async def test_workers_that_never_began_end_at_once() -> None:
    """Where the preflight failed: each sees that nobody will tell it to begin, whatever it has of the others' pipes."""
    crew = await asyncio.to_thread(Forked, plan("mqtt://127.0.0.1:1", 1.0, workers=3), NOBODY)
    pids, began = crew.pids, time.monotonic()
    with crew:
        pass
    assert time.monotonic() - began < END_SECONDS
    assert not any(lives(pid) for pid in pids)


PARENT = """
import asyncio, signal, sys, time
from simulator.crew import Forked
from tests.simulator.test_crew import NOBODY, plan

async def main():
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, crew.stop)
    await crew.run(time.monotonic(), lambda worker, _: print("heard", worker, flush=True))

with Forked(plan(sys.argv[1], 0.0), NOBODY) as crew:
    print(*crew.pids, flush=True)
    asyncio.run(main())
"""


@asynccontextmanager
async def parent(directory: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, list[int]]]:
    """The first process of a run, in a process group of its own as a terminal has it, and its workers, which run."""
    async with mosquitto(directory) as server, asyncio.timeout(GUARD):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", PARENT, server.url),
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            assert process.stdout is not None
            pids = [int(pid) for pid in (await process.stdout.readline()).split()]
            running = {await process.stdout.readline() for _ in range(2)}
            while len(running) < 2:
                running.add(await process.stdout.readline())
            yield process, pids
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_signals_are_for_the_first_process(tmp_path: Path, number: signal.Signals) -> None:
    """A terminal sends Ctrl-C to all, a CI SIGTERM: workers go on until they are told, and then end in order."""
    async with parent(tmp_path) as (process, pids):
        os.killpg(process.pid, number)
        await process.communicate()
        assert process.returncode == 0
        assert not any(lives(pid) for pid in pids)


async def test_workers_do_not_outlive_the_first_process(tmp_path: Path) -> None:
    """It is killed, and cannot tell them: they end in order."""
    async with parent(tmp_path) as (process, pids):
        assert len(pids) == 2
        assert all(lives(pid) for pid in pids)
        process.kill()
        while any(lives(pid) for pid in pids):  # noqa: ASYNC110  # they are nobody's children any more
            await asyncio.sleep(0.05)
