"""The workers of a run: processes of their own, or for a demo and for tests one within this process."""

import asyncio
import gc
import multiprocessing
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Final, Protocol

import uvloop

from simulator.interrupts import SIGNALS
from simulator.measuring.measures import Snapshot
from simulator.plan import Credentials, Plan
from simulator.scenario import SimulationError
from simulator.worker import Worker

__all__ = ["Crew", "Forked", "Inline", "OnSnapshot"]

END_SECONDS: Final = 1.0
"""How long workers may take to end in order when nobody listens to them any more."""

COLLECT: Final = (50_000, 50, 1_000)
"""When Python looks for cycles: there are few, and a look through ten thousand stations makes them late."""

OnSnapshot = Callable[[int, Snapshot], None]


class Crew(Protocol):
    """All workers of a run."""

    @property
    def lost(self) -> list[str]:
        """Of the workers that ended without a word: which, and what may be the cause."""

    async def run(self, begin: float, on_snapshot: OnSnapshot) -> None:
        """Runs all from `begin` (monotonic seconds) to their end; where one is lost, the others end in order, too.

        Raises:
            SimulationError: one could not go on, and says why.
        """

    def stop(self) -> None:
        """Tells all to end in order, now."""


class Inline:
    """The one worker, in this process and event loop."""

    def __init__(self, plan: Plan, credentials: Credentials) -> None:
        self._plan, self._credentials, self._stop = plan, credentials, asyncio.Event()
        self.lost: list[str] = []

    async def run(self, begin: float, on_snapshot: OnSnapshot) -> None:
        """As in Crew."""
        worker = Worker(self._plan, 0, self._credentials, begin, lambda snapshot: on_snapshot(0, snapshot))
        await worker.run(self._stop)

    def stop(self) -> None:
        """As in Crew."""
        self._stop.set()


class Forked:
    """Each worker is a process: what this one displays and writes does not make them late.

    Must be made before this process has an event loop or a thread; a context manager.
    """

    def __init__(self, plan: Plan, credentials: Credentials) -> None:
        context = multiprocessing.get_context("fork")
        self._workers: list[tuple[BaseProcess, Connection]] = []
        self.lost: list[str] = []
        for number in range(plan.workers):
            ours, theirs = context.Pipe()
            inherited = [*(pipe for _, pipe in self._workers), ours]
            process = context.Process(target=_main, args=(plan, number, credentials, theirs, inherited), daemon=True)
            process.start()
            theirs.close()
            self._workers.append((process, ours))

    @property
    def pids(self) -> list[int]:
        """Of the workers."""
        return [process.pid or 0 for process, _ in self._workers]

    def __enter__(self) -> "Forked":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_of_an_error: object) -> None:
        for _, pipe in self._workers:
            pipe.close()  # the worker takes that as the end
        at_once = kind is not None and issubclass(kind, KeyboardInterrupt)
        patience = time.monotonic() + (0.0 if at_once else END_SECONDS)
        for process, _ in self._workers:
            process.join(max(0.0, patience - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()

    async def run(self, begin: float, on_snapshot: OnSnapshot) -> None:
        """As in Crew."""
        try:
            async with asyncio.TaskGroup() as group:
                for number, (_, pipe) in enumerate(self._workers):
                    group.create_task(self._follow(number, pipe, begin, on_snapshot))
        except ExceptionGroup as broken:
            raise broken.exceptions[0] from None

    def stop(self) -> None:
        """As in Crew."""
        for _, pipe in self._workers:
            _tell(pipe, "stop")

    async def _follow(self, number: int, pipe: Connection, begin: float, on_snapshot: OnSnapshot) -> None:
        _tell(pipe, begin)
        loop, heard = asyncio.get_running_loop(), asyncio.Queue[Any]()
        loop.add_reader(pipe.fileno(), lambda: heard.put_nowait(_hear(pipe)))
        try:
            while (said := await heard.get()) is not None:
                if isinstance(said, Snapshot):
                    on_snapshot(number, said)
                elif isinstance(said, SimulationError):
                    raise said
                else:
                    return
        finally:
            loop.remove_reader(pipe.fileno())
        self.lost.append(
            f"worker {number + 1} of {len(self._workers)} ended without a word: was it killed, or out of memory?"
        )
        self.stop()


def _tell(pipe: Connection, what: Any) -> None:
    try:
        pipe.send(what)
    except OSError:
        pass  # it is gone, which is seen where it is listened to


def _hear(pipe: Connection) -> Any:
    """The next message; None: the other side is gone."""
    try:
        return pipe.recv()
    except (EOFError, OSError):
        return None


def _main(plan: Plan, number: int, credentials: Credentials, pipe: Connection, inherited: list[Connection]) -> None:
    """A worker's process."""
    for parents in inherited:
        parents.close()  # else a worker would never hear that the parent is gone: it would hold that end itself
    for each in SIGNALS:  # they may reach all processes of a terminal or a job; the first one decides
        signal.signal(each, signal.SIG_IGN)
    begin = _hear(pipe)
    if not isinstance(begin, float):
        return
    gc.freeze()
    gc.set_threshold(*COLLECT)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_work(plan, number, credentials, pipe, begin))
    except SimulationError as error:
        _tell(pipe, error)
    else:
        _tell(pipe, "done")


async def _work(plan: Plan, number: int, credentials: Credentials, pipe: Connection, begin: float) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def told() -> None:
        _hear(pipe)  # "stop", or the parent is gone: either way it ends
        stop.set()
        loop.remove_reader(pipe.fileno())

    loop.add_reader(pipe.fileno(), told)
    await Worker(plan, number, credentials, begin, lambda snapshot: _tell(pipe, snapshot)).run(stop)
