"""A simulated station: the Station SDK, which takes no thread, with devices that drift."""

import random
import time
from collections.abc import Callable
from typing import Any

from devices.messages import Signal
from devices.models import Gate, fleet_devices
from devices.station import AccessRefused, Job, Station
from simulator.scenario import Scenario, SimulationError
from simulator.stats import Stats

__all__ = ["SimulatedStation"]


class SimulatedStation(Station):
    """Station `number` of a plan, which answers commands as a real one; `token` gives a station id's token."""

    def __init__(self, plan: Scenario, number: int, token: Callable[[str], str], stats: Stats) -> None:
        station_id = f"{plan.prefix}-{number:05}"
        super().__init__(plan.mqtt, station_id, token=self._login, status=self._look, status_interval=1 / plan.rate)
        self._mint, self._stats, self._logins, self._looked = token, stats, 0, time.monotonic()
        self._devices = fleet_devices(random.Random(f"{plan.seed}/{station_id}"), station_id)
        self.on("open-gate")(self._open_gate)
        self.on("join-room")(lambda job: self.join_room(job.command.room_id or ""))
        self.on("start-stream")(self._start_stream)
        self.on_signal(self._signalled)

    async def start(self) -> None:
        """Tries to connect. Raises SimulationError when the broker refuses this station."""
        try:
            await self.__aenter__()
        except AccessRefused as error:
            raise SimulationError(f"station {self.station_id}: {error}") from None

    def _login(self) -> str:
        self._logins += 1
        if self._logins > 1:
            self._stats.errors["station: connects again"] += 1
        return self._mint(self.station_id)

    def _look(self) -> list[dict[str, Any]]:
        since, self._looked = self._looked, time.monotonic()
        for device in self._devices:
            device.tick(self._looked - since)
        self._stats.sent += 1
        return [device.device() for device in self._devices]

    async def _open_gate(self, _: Job) -> dict[str, bool]:
        next(device for device in self._devices if isinstance(device, Gate)).open()
        await self.report()
        return {"open": True}

    async def _start_stream(self, job: Job) -> None:
        url = f"rtsp://{self.station_id}.invalid/"
        await self.stream_response(job.requester_id or "-", "ready", url=url, camera_id=job.command.camera_id)

    async def _signalled(self, signal: Signal) -> None:
        if signal.event == "peer-left" and signal.room_id:
            await self.leave_room(signal.room_id)  # who invited it is gone
