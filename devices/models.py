"""How devices behave: cameras, gates and sensors whose metrics drift, as pure models with an injected random source.

    devices = fleet_devices(random.Random(7), "st-1")
    for device in devices:
        device.tick(5.0)
    [device.device() for device in devices]  # what a status message holds

The same seed and the same ticks give the same devices. Temperature and load follow the hour of the day, if it is told.
"""

import math
import random
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Final

__all__ = ["Camera", "DeviceModel", "Drift", "Gate", "Sensor", "day_curve", "fleet_devices"]

EMPTY_BATTERY: Final = 2.0
"""Percent at which a device goes offline, until its battery is changed."""
BATTERY_CHANGE_SECONDS: Final = 120.0
WARMEST_HOUR: Final = 15.0
CAMERAS: Final = ("Exit camera", "Entrance camera")


def day_curve(hour: float) -> float:
    """From -1 at three in the night to 1 at three in the afternoon."""
    return math.cos((hour - WARMEST_HOUR) * math.pi / 12)


@lru_cache(maxsize=256)
def _decay(seconds: float, half_life: float) -> tuple[float, float]:
    """What is left of a distance from the mean, and what chance adds, as a share of the spread."""
    keep = math.exp(-seconds / half_life)
    return keep, math.sqrt(1 - keep * keep)


@dataclass(frozen=True, slots=True)
class Drift:
    """A metric that wanders about its mean.

    Attributes:
        mean: what it comes back to.
        spread: how far it typically is from it.
        low, high: what it never leaves.
        warning, error: where the device's status changes; `error` below `warning`: little is bad.
        daily: how far the mean is moved at the top of the `day_curve`.
    """

    mean: float
    spread: float
    low: float
    high: float
    warning: float
    error: float
    daily: float = 0.0

    def step(
        self, value: float, seconds: float, rng: random.Random, half_life: float = 60.0, day: float = 0.0
    ) -> float:
        """The value `seconds` later (Ornstein-Uhlenbeck, so that one long step equals many short ones in distribution).

        Args:
            day: the `day_curve`, -1 to 1.
        """
        keep, chance = _decay(seconds, half_life)
        mean = self.mean + self.daily * day
        value = mean + (value - mean) * keep + self.spread * chance * rng.gauss()
        return min(self.high, max(self.low, value))

    def level(self, value: float) -> int:
        """0 fine, 1 warning, 2 error."""
        sign = -1 if self.error < self.warning else 1
        return (sign * value >= sign * self.warning) + (sign * value >= sign * self.error)


class DeviceModel:
    """One device.

    Args:
        device_id: its id within the station.
        name: for people.
        rng: where its chances come from.
    """

    __slots__ = ("_flat_for", "_rng", "device_id", "metrics", "name")
    type: ClassVar[str]
    drifts: ClassVar[dict[str, Drift]]
    battery_hours: ClassVar[float | None] = None
    """How long a battery lasts; None: on mains."""

    def __init__(self, device_id: str, name: str, rng: random.Random) -> None:
        self.device_id, self.name, self._rng = device_id, name, rng
        self.metrics = {metric: drift.step(drift.mean, 3600.0, rng) for metric, drift in self.drifts.items()}
        self._flat_for = 0.0
        if self.battery_hours is not None:
            self.metrics["battery"] = rng.uniform(20.0, 100.0)

    def tick(self, seconds: float, hour: float | None = None) -> None:
        """Time passed; `hour` (0 to 24) is that of the day, None: the same all day."""
        if self.battery_hours is not None:
            self._drain(seconds, self.battery_hours)
            if self.metrics["battery"] <= EMPTY_BATTERY:
                return
        day = 0.0 if hour is None else day_curve(hour)
        for metric, drift in self.drifts.items():
            self.metrics[metric] = drift.step(self.metrics[metric], seconds, self._rng, day=day)

    def _drain(self, seconds: float, hours: float) -> None:
        if self.status != "offline":
            self.metrics["battery"] = max(0.0, self.metrics["battery"] - 100.0 * seconds / (hours * 3600.0))
            return
        self._flat_for += seconds
        if self._flat_for >= BATTERY_CHANGE_SECONDS:
            self.metrics["battery"], self._flat_for = 100.0, 0.0

    @property
    def status(self) -> str:
        """`online`, `offline`, `warning` or `error`: the worst of the metrics decides."""
        battery = self.metrics.get("battery", 100.0)
        if battery <= EMPTY_BATTERY:
            return "offline"
        levels = [drift.level(self.metrics[metric]) for metric, drift in self.drifts.items()]
        return ("online", "warning", "error")[max(*levels, 1 if battery < 15.0 else 0)]

    def device(self) -> dict[str, Any]:
        """As `messages.Device` has it on the wire."""
        metrics = {metric: round(value, 1) for metric, value in self.metrics.items()}
        return {
            "deviceId": self.device_id,
            "name": self.name,
            "type": self.type,
            "status": self.status,
            "metrics": metrics,
        }


class Camera(DeviceModel):
    """Warm, on mains, busy."""

    __slots__ = ()
    type = "camera"
    drifts: ClassVar = {"temp": Drift(50, 8, 10, 95, 65, 75, 6), "load": Drift(45, 18, 0, 100, 85, 98, 15)}


class Gate(DeviceModel):
    """A barrier; `metrics.open` is 1 while it is open."""

    __slots__ = ("_closes_in",)
    type = "controller"
    drifts: ClassVar = {"temp": Drift(30, 6, -20, 80, 50, 60, 8), "load": Drift(15, 8, 0, 100, 60, 90, 8)}

    def __init__(self, device_id: str, name: str, rng: random.Random) -> None:
        super().__init__(device_id, name, rng)
        self.metrics["open"], self._closes_in = 0, 0.0

    def open(self, seconds: float = 10.0) -> None:
        """Opens for that long."""
        self.metrics["open"], self._closes_in = 1, seconds

    def tick(self, seconds: float, hour: float | None = None) -> None:
        """Time passed."""
        super().tick(seconds, hour)
        self._closes_in -= seconds
        if self._closes_in <= 0:
            self.metrics["open"] = 0


class Sensor(DeviceModel):
    """On battery and radio."""

    __slots__ = ()
    type = "sensor"
    battery_hours = 720.0
    drifts: ClassVar = {"temp": Drift(22, 5, -30, 70, 38, 45, 7), "signal": Drift(-68, 10, -110, -30, -85, -95)}


def fleet_devices(
    rng: random.Random, station_id: str, *, cameras: int = 2, gates: int = 1, sensors: int = 1
) -> list[DeviceModel]:
    """The devices of a simulated station."""
    return [
        *(Camera(f"{station_id}-cam-{n}", CAMERAS[n % 2], rng) for n in _count(cameras)),
        *(Gate(f"{station_id}-gate-{n}", "Barrier", rng) for n in _count(gates)),
        *(Sensor(f"{station_id}-sensor-{n}", "Ground sensor", rng) for n in _count(sensors)),
    ]


def _count(many: int) -> range:
    return range(1, many + 1)
