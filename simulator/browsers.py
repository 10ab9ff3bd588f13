"""A simulated browser: an operator who watches the fleet, asks for statuses, and invites stations into rooms."""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any

from devices.operator import ConnectionLost, Operator, OperatorError, RequestFailed
from simulator.scenario import Scenario, SimulationError
from simulator.stats import Stats

__all__ = ["Browser"]


class Browser:
    """Browser `number` of a plan; `token` gives a user id's token. It asks nothing of stations of another prefix."""

    def __init__(self, plan: Scenario, number: int, token: Callable[[str], str], stats: Stats) -> None:
        user_id = f"{plan.prefix}-op-{number:05}"
        self._plan, self._stats, self._rng = plan, stats, random.Random(f"{plan.seed}/{user_id}")
        self._operator = Operator(plan.http, token=token(user_id), timeout=10.0)
        self._since, self._online, self._asked = 0.0, set[str](), dict[str, float]()

    async def start(self) -> None:
        """Connects. Raises SimulationError when it cannot."""
        try:
            await self._operator.__aenter__()
        except (OperatorError, OSError) as error:
            why = error if isinstance(error, OperatorError) else "no hub answers there: is it running?"
            raise SimulationError(f"{self._plan.http}: {why}") from None
        self._since = time.time() * 1000
        self._task = asyncio.create_task(self._run(), name="simulated browser")

    @property
    def connected(self) -> bool:
        """Whether it still is, once started."""
        return not self._task.done()

    async def close(self) -> None:
        """Disconnects."""
        self._task.cancel()
        await asyncio.wait({self._task})
        await self._operator.close()

    def pushed(self, event: str, data: Any, now: float, wall_ms: float) -> None:
        """A push came, at monotonic seconds `now`."""
        if event == "batch-station-status-update":
            for status in data:
                if status["updatedAt"] >= self._since:  # older ones were kept for who connects
                    self._stats.received += 1
                    self._stats.batch_delay.record(wall_ms - status["updatedAt"])
        elif event == "station-status-update" and data["stationId"] in self._asked:
            self._stats.answer.record((now - self._asked.pop(data["stationId"])) * 1000)
        elif event == "station-connected":
            self._online.add(data["stationId"])
        elif event == "station-disconnected":
            self._online.discard(data["stationId"])

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._watch())
                both.create_task(self._act())
        except* Exception as failed:
            self._stats.errors.update(f"browser: {type(error).__name__}" for error in failed.exceptions)

    async def _watch(self) -> None:
        async for event, data in self._operator.pushes():
            self.pushed(event, data, time.monotonic(), time.time() * 1000)
        raise ConnectionLost

    async def _act(self) -> None:
        self._online.update((await self._operator.request("get-online-stations"))["stations"])
        turn, room = 0, None
        while True:
            await asyncio.sleep(self._rng.uniform(0.5, 1.5))
            for late in [one for one, since in self._asked.items() if time.monotonic() - since > 5.0]:
                del self._asked[late]
                self._stats.errors["station-request-status: no answer"] += 1
            ours = sorted(one for one in self._online - self._asked.keys() if one.startswith(f"{self._plan.prefix}-"))
            if not ours:
                continue
            turn, station = turn + 1, {"stationId": self._rng.choice(ours)}
            self._asked[station["stationId"]] = time.monotonic()
            if await self._request("station-request-status", station) is None:
                self._asked.pop(station["stationId"], None)
            if turn % 5 == 0:
                if room is not None:
                    await self._request("leave-room", room)
                room = await self._request("create-room", None)
                if room is not None:
                    await self._request("station-invite", station | room)

    async def _request(self, event: str, data: Any) -> Any:
        """The ack, timed; None when there is nothing in it, or an error, which is counted."""
        began = time.monotonic()
        try:
            ack = await self._operator.request(event, data)
        except (RequestFailed, TimeoutError) as error:
            self._stats.errors[f"{event}: {str(error).partition(':')[0] or 'no ack'}"] += 1
            return None
        self._stats.ack.record((time.monotonic() - began) * 1000)
        return ack
