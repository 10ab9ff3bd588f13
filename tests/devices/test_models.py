"""Simulated devices: deterministic, within bounds, and sometimes in trouble."""

import random

import pytest

from devices.messages import Device, Status
from devices.models import Camera, Drift, Gate, Sensor, day_curve, fleet_devices


def history(seed: int, ticks: int = 500) -> list[list[dict[str, object]]]:
    devices = fleet_devices(random.Random(seed), "st-1")
    seen = []
    for _ in range(ticks):
        for device in devices:
            device.tick(5.0)
        seen.append([device.device() for device in devices])
    return seen


def test_the_same_seed_gives_the_same_devices() -> None:
    """Runs repeat by seed and differ between seeds."""
    assert history(1) == history(1)
    assert history(1) != history(2)


def test_devices_are_what_a_status_holds() -> None:
    """Every device is a valid one of contract.md section 4, ids unique."""
    for devices in history(3, 50):
        status = Status(devices=[Device.model_validate(device) for device in devices])
        assert len({device.device_id for device in status.devices}) == 4
        assert {device.type for device in status.devices} == {"camera", "controller", "sensor"}


def test_metrics_drift_and_stay_within_bounds() -> None:
    """Values change from report to report and never leave what is possible."""
    temps = [device["metrics"]["temp"] for devices in history(4, 2000) for device in devices[:1]]  # type: ignore[index]
    assert len(set(temps)) > 50
    assert all(10 <= temp <= 95 for temp in temps)


def test_a_fleet_is_mostly_fine_and_sometimes_not() -> None:
    """Of many devices some warn, few fail, most are online."""
    states = [device["status"] for seed in range(50) for devices in history(seed, 20) for device in devices]
    assert states.count("online") > 0.8 * len(states)
    assert 0 < states.count("error") < states.count("warning")


@pytest.mark.parametrize(("temp", "status"), [(50.0, "online"), (65.0, "warning"), (75.0, "error")])
def test_the_worst_metric_decides(temp: float, status: str) -> None:
    """Thresholds turn a metric into a status."""
    camera = Camera("c", "Camera", random.Random(1))
    camera.metrics.update(temp=temp, load=10.0)
    assert camera.status == status


def test_little_can_be_bad() -> None:
    """Where `error` lies below `warning`, a low value is the bad one."""
    drift = Drift(-68, 8, -110, -30, warning=-85, error=-95)
    assert [drift.level(value) for value in (-60, -85, -100)] == [0, 1, 2]


def test_an_empty_battery_takes_a_device_offline_until_it_is_changed() -> None:
    """It drains, the device goes offline, and comes back."""
    sensor = Sensor("s", "Sensor", random.Random(1))
    sensor.metrics["battery"] = 2.1
    sensor.tick(3600.0)
    assert sensor.status == "offline"
    for _ in range(30):
        sensor.tick(5.0)
    assert sensor.status != "offline"
    assert sensor.metrics["battery"] > 99.0


def test_a_gate_opens_and_closes() -> None:
    """It closes on its own."""
    gate = Gate("g", "Gate", random.Random(1))
    gate.open(10.0)
    gate.tick(5.0)
    assert gate.device()["metrics"]["open"] == 1
    gate.tick(5.0)
    assert gate.device()["metrics"]["open"] == 0


def test_the_day_curve() -> None:
    """Warmest in the afternoon, coldest twelve hours earlier, without a jump at midnight."""
    hours = [hour / 10 for hour in range(240)]
    assert max(hours, key=day_curve) == 15.0
    assert min(hours, key=day_curve) == 3.0
    assert day_curve(15.0) == pytest.approx(1.0)
    assert day_curve(0.0) == pytest.approx(day_curve(24.0))


def test_metrics_follow_the_hour() -> None:
    """On average a camera is warmer and busier in the afternoon than at night; without an hour it is as on the whole."""
    means = {}
    for hour in (3.0, None, 15.0):
        cameras = [Camera("c", "Camera", random.Random(seed)) for seed in range(300)]
        for camera in cameras:
            camera.tick(3_600.0, hour)
        means[hour] = [sum(camera.metrics[metric] for camera in cameras) / 300 for metric in ("temp", "load")]
    for metric in (0, 1):
        assert means[3.0][metric] < means[None][metric] - 3 < means[15.0][metric] - 6


def test_one_long_step_is_like_many_short_ones() -> None:
    """In distribution: means and spreads agree."""
    drift = Drift(50, 8, 0, 100, 90, 95)

    def after(steps: int) -> tuple[float, float]:
        rng, values = random.Random(3), []
        for _ in range(2_000):
            value = 80.0
            for _ in range(steps):
                value = drift.step(value, 60.0 / steps, rng)
            values.append(value)
        mean = sum(values) / len(values)
        return mean, (sum((value - mean) ** 2 for value in values) / len(values)) ** 0.5

    assert after(1) == pytest.approx(after(12), abs=0.7)


def test_a_mix_of_devices() -> None:
    """As many of each as asked for, ids unique."""
    devices = fleet_devices(random.Random(1), "st-1", cameras=3, gates=2, sensors=0)
    assert [type(device) for device in devices] == [Camera] * 3 + [Gate] * 2
    assert len({device.device_id for device in devices}) == 5
