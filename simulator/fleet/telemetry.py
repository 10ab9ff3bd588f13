"""What a simulated station's devices show, as the bytes of its statuses.

Devices advance on a fixed grid of the run's time, and the chances of each step are its own. So what a station says at a moment
depends on the seed, its number, when it started, that moment and the commands it got, whatever the network did in between.
"""

import random
from typing import Final

import orjson

from devices.models import DeviceModel, Gate, fleet_devices
from simulator.scenario import DeviceMix

__all__ = ["Telemetry"]

FINEST: Final = 1.0
"""Seconds between two looks of a station at its devices, at least."""
DAY: Final = 86_400.0
FIRST_HOUR: Final = 8.0
"""Of the day at which a run begins."""
STATES: Final = ("online", "offline", "warning", "error")
CATCH_UP: Final = 120
"""Steps that are made up for one by one. Of a longer gap the rest is one step: by the end nothing is left of the difference."""
_CHANCE: Final = random.Random()
"""Seeded anew for each step of a station: one for each of them would be 2.5 KB."""


class Telemetry:
    """The devices of one station.

    Args:
        seed: decides their chances.
        interval: seconds between its statuses.
        day: seconds that a day takes; None: as long as it does.
        padding: bytes more in each status.
    """

    __slots__ = ("_day", "_devices", "_grid", "_head", "_padding", "_phase", "_seed", "_station_id", "_steps")

    def __init__(
        self,
        station_id: str,
        seed: str,
        *,
        devices: DeviceMix,
        interval: float,
        day: float | None = None,
        padding: int = 0,
    ) -> None:
        mix = {"cameras": devices.cameras, "gates": devices.gates, "sensors": devices.sensors}
        self._station_id, self._padding = station_id, padding
        _CHANCE.seed(seed)
        self._seed = _CHANCE.getrandbits(62)
        self._devices: tuple[DeviceModel, ...] = tuple(fleet_devices(_CHANCE, station_id, **mix))
        self._grid, self._day = max(FINEST, interval), day or DAY
        self._phase = self._grid * (self._seed % 1024) / 1024  # else all stations would look at the same moment
        self._steps, self._head = -1, b""

    def status(self, moment: float, updated_at: int, seq: int, intended_ms: float, run_id: str) -> bytes:
        """A whole status message.

        Args:
            moment: seconds since the run began.
            updated_at: milliseconds, by the station's own clock.
            seq, intended_ms, run_id: what tells of loss, order and delay: see `simulator.browsers.watching`.
        """
        steps = int((moment + self._phase) / self._grid)
        if steps > self._steps or not self._head:
            self._advance(steps)
        tail = f'"updatedAt":{updated_at},"sim":{{"n":{seq},"t":{intended_ms:.3f},"r":"{run_id}"}}}}'
        return self._head + tail.encode()

    def open_gate(self) -> bool:
        """Opens a gate for a while; False: it has none."""
        gate = next((device for device in self._devices if isinstance(device, Gate)), None)
        if gate is None:
            return False
        gate.open()
        self._head = b""
        return True

    def _advance(self, steps: int) -> None:
        """Makes up for the time until that step; what it was before it started is nobody's concern."""
        leap = steps - self._steps if self._steps < 0 else steps - self._steps - CATCH_UP
        if leap > 0:
            self._step(leap)
        while self._steps < steps:
            self._step(1)
        self._head = self._render()

    def _step(self, many: int) -> None:
        self._steps += many
        _CHANCE.seed(self._seed + self._steps)
        hour = (FIRST_HOUR + 24.0 * self._steps * self._grid / self._day) % 24.0
        for device in self._devices:
            device.tick(many * self._grid, hour)

    def _render(self) -> bytes:
        devices = [device.device() for device in self._devices]
        states = [device["status"] for device in devices]
        shown = {
            "stationId": self._station_id,
            "devices": devices,
            "summary": {state: states.count(state) for state in STATES},
        }
        if self._padding:
            shown["padding"] = "." * self._padding
        return orjson.dumps(shown)[:-1] + b","
