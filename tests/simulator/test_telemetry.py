"""What simulated devices show: the same for the same seed, whatever the network did."""

from itertools import pairwise
from typing import Any

import orjson
import pytest

from devices.messages import Status, decode
from devices.models import Camera
from simulator.fleet.telemetry import CATCH_UP, STATES, Telemetry
from simulator.scenario import DeviceMix


def make(seed: str = "1/sim-00001", *, interval: float = 5.0, **options: Any) -> Telemetry:
    return Telemetry("sim-00001", seed, devices=options.pop("devices", DeviceMix()), interval=interval, **options)


def look(telemetry: Telemetry, moment: float) -> dict[str, Any]:
    status = orjson.loads(telemetry.status(moment, 1_000, 7, 1_234.5, "run1"))
    assert isinstance(status, dict)
    return status


def test_a_status_is_one_of_the_contract() -> None:
    """Devices, summary, time, and what tells of loss and delay."""
    raw = make(padding=100).status(12.0, 1_700_000_000_000, 7, 1_699_999_999_999.5, "run1")
    status = decode(Status, raw)
    assert (status.station_id, status.updated_at) == ("sim-00001", 1_700_000_000_000)
    assert [device.type for device in status.devices] == ["camera", "camera", "controller", "sensor"]
    assert status.summary is not None
    assert sum(getattr(status.summary, state) for state in STATES) == 4
    shown = orjson.loads(raw)
    assert shown["sim"] == {"n": 7, "t": 1_699_999_999_999.5, "r": "run1"}
    assert len(raw) > 100 + len(make().status(12.0, 1_700_000_000_000, 7, 1_699_999_999_999.5, "run1"))


@pytest.mark.parametrize("mix", [DeviceMix(cameras=0, gates=0, sensors=0), DeviceMix(cameras=20, gates=3, sensors=5)])
def test_the_mix_of_devices(mix: DeviceMix) -> None:
    """As many as the scenario says; one without a gate opens none."""
    telemetry = make(devices=mix)
    shown = look(telemetry, 1.0)
    types = [device["type"] for device in shown["devices"]]
    assert [types.count(each) for each in ("camera", "controller", "sensor")] == [mix.cameras, mix.gates, mix.sensors]
    assert len({device["deviceId"] for device in shown["devices"]}) == len(types)
    assert sum(shown["summary"].values()) == len(types)
    assert telemetry.open_gate() == (mix.gates > 0)


def test_the_seed_and_the_moment_decide() -> None:
    """Two of one seed agree, in whatever order others are looked at; other seeds differ."""
    one, same, other = make(), make(), make("2/sim-00001")
    for step in range(50):
        moment = step * 5.0
        theirs = look(other, moment)["devices"]
        mine = look(one, moment)
        assert mine == look(same, moment)
        assert mine["devices"] != theirs


def test_between_two_steps_of_the_grid_nothing_changes() -> None:
    """At most one look a second, however short the interval."""
    telemetry = make(interval=0.01)
    shown = [look(telemetry, 3.0 + step / 100)["devices"] for step in range(500)]
    assert 5 <= sum(one != next_one for one, next_one in pairwise(shown)) + 1 <= 6


def test_stations_do_not_all_look_at_the_same_moment() -> None:
    """Ten thousand would make the tester late once each interval."""
    moments = set()
    for number in range(20):
        telemetry = make(f"1/{number}")
        shown = [look(telemetry, step / 10)["devices"] for step in range(50)]
        moments.add(next(at for at, (one, other) in enumerate(pairwise(shown)) if one != other))
    assert len(moments) > 10


@pytest.mark.parametrize("gap", [2, CATCH_UP, CATCH_UP + 1, 10_000])
def test_an_outage_changes_nothing_of_what_follows(gap: int) -> None:
    """One that could not report for a while shows afterwards what it would have shown anyway, battery and all."""
    steady, broken = make(), make()
    for telemetry in (steady, broken):
        look(telemetry, 0.0)
    for step in range(1, gap):
        look(steady, step * 5.0)
    ours, theirs = look(broken, gap * 5.0)["devices"], look(steady, gap * 5.0)["devices"]
    for mine, yours in zip(ours, theirs, strict=True):
        assert mine["metrics"] == pytest.approx(yours["metrics"], abs=0.11)


@pytest.mark.parametrize(("outage", "steps"), [(None, 1), (1_000.0, CATCH_UP + 1)])
def test_time_that_nobody_saw_costs_little(monkeypatch: pytest.MonkeyPatch, outage: float | None, steps: int) -> None:
    """Neither a late start nor an outage makes hours of steps up, one by one."""
    telemetry = make(interval=1.0)
    if outage is not None:
        look(telemetry, 36_000.0 - outage)
    ticked: list[float] = []
    tick = Camera.tick

    def counted(self: Camera, seconds: float, hour: float | None = None) -> None:
        ticked.append(seconds)
        tick(self, seconds, hour)

    monkeypatch.setattr(Camera, "tick", counted)
    look(telemetry, 36_000.0)
    assert len(ticked) == steps * 2  # cameras
    assert sum(ticked) == pytest.approx(2 * (36_001.0 if outage is None else outage), abs=2.0)


def test_a_gate_opens_at_once_and_closes() -> None:
    """Without waiting for the grid."""
    telemetry = make()

    def is_open(moment: float) -> bool:
        return any(device["metrics"].get("open") for device in look(telemetry, moment)["devices"])

    assert not is_open(1.0)
    assert telemetry.open_gate()
    assert is_open(1.0)
    assert not is_open(20.0)


def test_a_day_passes() -> None:
    """Loads follow the hour: at the top of a short day more than at its bottom, on average."""
    loads: dict[bool, list[float]] = {True: [], False: []}
    for number in range(20):
        telemetry = make(f"1/{number}", interval=10.0, day=240.0)
        for step in range(240):
            hour = (8.0 + step) % 24.0
            load = look(telemetry, step * 10.0)["devices"][0]["metrics"]["load"]
            if 13 <= hour <= 20 or hour <= 8:
                loads[13 <= hour <= 20].append(load)
    assert sum(loads[True]) / len(loads[True]) > sum(loads[False]) / len(loads[False]) + 2
