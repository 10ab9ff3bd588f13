"""Carries out what a scenario's faults say, on the simulated of one worker."""

import asyncio
from functools import partial
from typing import assert_never

from simulator.scenario import Fault
from simulator.scenario.timeline import Strike
from simulator.world import World

__all__ = ["Faults"]


class Faults:
    """The faults of one worker.

    Args:
        runs_commands: whether this worker is the one that runs the commands of `run` faults.
    """

    def __init__(self, world: World, *, runs_commands: bool) -> None:
        self._world, self._runs_commands = world, runs_commands
        self._rng = world.rng("faults")
        self._commands: set[asyncio.Task[None]] = set()
        self._over = False

    def strike(self, event: Strike) -> None:
        """A fault's time has come: each victim meets it now, or at a moment of its own within `jitter`."""
        fault, schedule = event.fault, self._world.schedule
        if fault.kind == "run":
            self._restart(fault)
            return
        now = schedule.now
        for number in event.victims:
            delay = self._rng.uniform(0.0, fault.jitter)
            if fault.kind == "storm":  # all are cut off at once; the jitter is in how they come back
                self._hit(fault, number, delay)
            else:
                schedule.at(now + delay, partial(self._hit, fault, number, 0.0))

    def end(self) -> None:
        """The load is over: nobody is hit any more, whatever jitter had in mind for later."""
        self._over = True

    async def finished(self) -> None:
        """Waits for the commands that run."""
        await asyncio.gather(*self._commands, return_exceptions=True)

    async def close(self) -> None:
        """Ends what still runs of the commands; what they have left running, such as a hub, goes on."""
        for command in self._commands:
            command.cancel()
        await asyncio.gather(*self._commands, return_exceptions=True)

    def _hit(self, fault: Fault, number: int, back: float) -> None:
        """One victim; who is not connected any more is spared. `back`: seconds until it connects again."""
        if self._over:
            return
        if fault.who == "stations":
            self._hit_station(fault, number, back)
        else:
            self._hit_browser(fault, number, back)

    def _hit_station(self, fault: Fault, number: int, back: float) -> None:
        station = self._world.stations.get(number)
        if station is None or not station.connected:
            return
        afflictions = station.afflictions
        match fault.kind:
            case "abort" | "storm":
                afflictions.abort(back, fault.kind)
            case "half-open":
                afflictions.fall_silent(fault.lasts)
            case "slow-reader":
                afflictions.read_slowly(fault.lasts)
            case "duplicate-client-id":
                afflictions.twin(fault.lasts)
            case "clock-skew":
                afflictions.skew_clock(fault.skew, fault.lasts)
            case "token-expiry":
                afflictions.expire_token(fault.lasts)
            case "late-will":
                afflictions.late_will()
            case "run":
                raise AssertionError("has no victims")
            case _:
                assert_never(fault.kind)

    def _hit_browser(self, fault: Fault, number: int, back: float) -> None:
        browser = self._world.browsers.get(number)
        if browser is None or not browser.connected:
            return
        match fault.kind:
            case "abort" | "storm":
                browser.abort(back)
            case "half-open":
                browser.fall_silent(fault.lasts)
            case "slow-reader":
                browser.read_slowly(fault.lasts)
            case "token-expiry":
                browser.expire_token(fault.lasts)
            case _:
                raise AssertionError("the scenario allows no such fault of a browser")

    def _restart(self, fault: Fault) -> None:
        """A hub or a broker goes down and comes back: until it should have, nothing that breaks is a finding."""
        world, until = self._world, self._world.schedule.now + fault.lasts
        world.restarting_until = max(world.restarting_until, until)
        world.presence.excuse(until)
        world.exchanges.excuse(until)
        world.statuses.excuse(until)
        world.answers.excuse(until)
        if self._runs_commands and fault.command is not None:
            task = asyncio.create_task(self._run(fault.command), name="simulated restart")
            self._commands.add(task)
            task.add_done_callback(self._commands.discard)

    async def _run(self, command: str) -> None:
        process = await asyncio.create_subprocess_shell(
            command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL
        )
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        if code != 0:
            self._world.recorder.error(f"the command of a fault ended with exit code {code}")
