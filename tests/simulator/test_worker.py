"""One worker: its stages one after the other, a snapshot for each second, and how it takes all down."""

import asyncio
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from devices.client import Address
from hub.config import load as load_settings
from hub.serve import Hub
from simulator import worker as module
from simulator.measuring.measures import Snapshot, Totals
from simulator.plan import Credentials, Plan, Target
from simulator.scenario import Scenario
from simulator.worker import WITNESSES, Worker
from tests.mosquitto import mosquitto

GUARD = 60.0
NOBODY = Credentials(lambda *_: "", lambda *_: "")
SECRET = "a secret of the tests, long enough"


def plan(url: str, stages: list[dict[str, Any]], http: str | None = None, **groups: dict[str, Any]) -> Plan:
    """A broker alone, if `http` is not given."""
    given = {"name": "test", "settle": 1.0, "stages": stages}
    given |= {"stations": {"count": 6, "interval": 0.5}, "browsers": {"count": 2}} | groups
    return Plan(Scenario.model_validate(given), Target(Address.parse(url), http), "sim", "run1")


async def played(
    wanted: Plan, credentials: Credentials = NOBODY, seen: Callable[[Snapshot, asyncio.Event], None] | None = None
) -> list[Snapshot]:
    """Runs it; `seen` gets each snapshot, and the event that ends the run."""
    snapshots: list[Snapshot] = []
    stop = asyncio.Event()

    def emit(snapshot: Snapshot) -> None:
        snapshots.append(snapshot)
        if seen is not None:
            seen(snapshot, stop)

    async with asyncio.timeout(GUARD):
        await Worker(wanted, 0, credentials, time.monotonic() + 0.1, emit).run(stop)
    return snapshots


def totals(snapshots: list[Snapshot]) -> Totals:
    added = Totals()
    for snapshot in snapshots:
        added.add(0, snapshot)
    return added


def ramp(seconds: float = 0.5, **ends: Any) -> dict[str, Any]:
    return {"name": "ramp", "duration": seconds, "shape": "linear", "stations": "100%", "browsers": "100%"} | ends


async def test_a_stage_has_its_own_interval_and_may_be_unmeasured(tmp_path: Path) -> None:
    """Ten times the statuses while it lasts, and as before after it; what is not measured is not counted."""
    stages = [
        ramp(1.0),
        {"name": "calm", "duration": 3.0},
        {"name": "busy", "duration": 3.0, "interval": 0.05},
        {"name": "unmeasured", "duration": 3.0, "interval": 0.05, "measure": False},
        {"name": "calm again", "duration": 3.0},
    ]
    async with mosquitto(tmp_path) as server:
        snapshots = await played(plan(server.url, stages))
    sent = {snapshot.second: snapshot.counts.get("status.sent", 0) for snapshot in snapshots}
    for calm in (2, 3, 11, 12):  # each stage's first second has what the change itself brings
        assert 6 <= sent[calm] <= 18, sent
    for busy in (5, 6):
        assert 100 <= sent[busy] <= 140, sent
    assert sent[8] == sent[9] == 0
    assert snapshots[8].gauges["stations.connected"] == 6
    facts = totals(snapshots).facts()
    assert facts["status.lost"] == facts["status.duplicated"] == facts["status.reordered"] == facts["errors"] == 0


async def test_the_pace_is_of_browsers(tmp_path: Path) -> None:
    """They act that much faster, in that stage."""
    stages = [
        ramp(),
        {"name": "slow", "duration": 2.5},
        {"name": "fast", "duration": 3.0, "pace": 10},
    ]
    ports = {"port": 0, "mqtt_port": 0, "mqtt_ws_port": 0, "event_rate": 1_000, "event_burst": 1_000}
    async with Hub(load_settings({**ports, "data_dir": tmp_path, "jwt_secret": SECRET})) as hub:
        wanted = plan(
            f"mqtt://127.0.0.1:{hub.mqtt_port}",
            stages,
            hub.http_url,
            browsers={"count": 4, "think": [1.0, 1.0], "mix": {"ping": 1}},
        )
        snapshots = await played(wanted, credentials(hub))
    acks = [sum(snapshot.times.get("ack", {}).values()) for snapshot in snapshots]
    assert max(acks[1:3]) <= 12, acks
    assert min(acks[4:6]) >= 20, acks


def credentials(hub: Hub) -> Credentials:
    return Credentials(
        lambda station, seconds: hub.tokens.mint_station(station, lifetime=seconds),
        lambda user, seconds: hub.tokens.mint_user(user, role="operator", lifetime=seconds),
    )


async def test_browsers_stay_to_see_stations_leave(tmp_path: Path) -> None:
    """Some of them: each sees each station's goodbye, and the others left before; nothing is found."""
    ports = {"port": 0, "mqtt_port": 0, "mqtt_ws_port": 0}
    async with Hub(load_settings({**ports, "data_dir": tmp_path, "jwt_secret": SECRET})) as hub:
        wanted = plan(
            f"mqtt://127.0.0.1:{hub.mqtt_port}",
            [ramp(), {"name": "all", "duration": 1.5}],
            hub.http_url,
            browsers={"count": WITNESSES + 3, "think": [0.1, 0.3]},
        )
        added = totals(await played(wanted, credentials(hub)))
    facts = added.facts()
    assert facts["presence.offline.goodbye.count"] == 6 * WITNESSES
    assert added.evidence == {}
    assert not added.errors


async def test_who_comes_back_is_the_same(tmp_path: Path) -> None:
    """All leave and come again, twice: a station counts its statuses on, and an observer misses none."""
    stages = [
        ramp(),
        {"name": "up", "duration": 1.0},
        ramp(0.3, stations=0, browsers=0),
        ramp(0.3),
        ramp(0.3, stations=0, browsers=0),
        ramp(0.3),
        {"name": "up again", "duration": 1.5},
    ]
    async with mosquitto(tmp_path) as server:
        snapshots = await played(plan(server.url, stages, stations={"count": 6, "interval": 0.1}))
    added = totals(snapshots)
    facts = added.facts()
    assert facts["stations.started"] == 18
    assert facts["connect.count"] == 18
    assert facts["browsers.started"] == 6
    assert snapshots[3].gauges["stations.connected"] == 6
    assert facts["status.received"]
    assert added.evidence == {}
    assert not added.errors


async def test_a_snapshot_is_of_its_own_second(tmp_path: Path) -> None:
    """Where the worker was late for some of them, the later ones are not moved, and nothing counted is gone."""
    begun = time.monotonic()
    heard: list[tuple[int, float]] = []

    def seen(snapshot: Snapshot, _: asyncio.Event) -> None:
        heard.append((snapshot.second, time.monotonic() - begun))
        if snapshot.second == 1:
            time.sleep(4.5)  # the machine stood still

    async with mosquitto(tmp_path) as server:
        snapshots = await played(plan(server.url, [ramp(), {"name": "all", "duration": 8.0}]), seen=seen)
    seconds = [second for second, _ in heard]
    assert seconds == sorted(set(seconds))
    assert seconds[:2] == [0, 1]
    for second, at in heard[3:-1]:  # the third one has all that it was late for, the last one what is left
        assert second + 1.0 <= at < second + 2.0, heard
    assert any(second >= 8 for second in seconds)
    added = totals(snapshots)
    assert added.counts["status.sent"] >= 6 * 15
    assert (added.times["tester.lag"].longest or 0.0) > 4_000


async def test_told_to_stop_in_a_ramp(tmp_path: Path) -> None:
    """Who has not come yet does not come any more."""

    def seen(snapshot: Snapshot, stop: asyncio.Event) -> None:
        if snapshot.second == 0:
            stop.set()

    async with mosquitto(tmp_path) as server:
        snapshots = await played(plan(server.url, [ramp(6.0)]), seen=seen)
    added = totals(snapshots)
    assert 1 <= added.counts["stations.started"] <= 2
    assert added.evidence == {}
    assert not added.errors


async def test_a_broker_that_hangs_does_not_keep_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The goodbyes of its stations are not answered: the first ones are waited for, the rest goes without."""
    monkeypatch.setattr(module, "LEAVING", 2)
    async with mosquitto(tmp_path) as server:
        (broker,) = (each for each in psutil.Process().children() if str(server.port) in _configuration(each))
        moment = 0.0

        def seen(snapshot: Snapshot, stop: asyncio.Event) -> None:
            nonlocal moment
            if snapshot.second == 1:
                broker.send_signal(signal.SIGSTOP)
                moment = time.monotonic()
                stop.set()

        try:
            snapshots = await played(
                plan(server.url, [ramp(), {"name": "all", "duration": 0}], stations={"count": 12}), seen=seen
            )
            assert time.monotonic() - moment < 15.0
            added = totals(snapshots)
            assert added.counts["stations.unanswered"] == 2
            assert all("was not answered within" in said for said in added.evidence["stations.unanswered"])
        finally:
            broker.send_signal(signal.SIGCONT)


async def test_who_is_gone_at_the_end_is_named(tmp_path: Path) -> None:
    """How many of how many, since when and why; that of a broker that is gone nobody was refused."""
    async with mosquitto(tmp_path) as server:
        (broker,) = (each for each in psutil.Process().children() if str(server.port) in _configuration(each))

        def seen(snapshot: Snapshot, stop: asyncio.Event) -> None:
            if snapshot.second == 1:
                broker.kill()
            elif snapshot.second == 4:
                stop.set()

        snapshots = await played(plan(server.url, [ramp(), {"name": "all", "duration": 0}]), seen=seen)
    added = totals(snapshots)
    assert (added.counts["stations.missing"], added.counts["browsers.missing"]) == (6, 2)
    summary, *cases = added.evidence["stations.missing"]
    assert summary.startswith("6 of 6 stations are gone for good, the first since ")
    assert all("last reason: no connection: " in case for case in cases)
    assert added.counts["stations.disconnects"] == 6
    assert added.counts["stations.unreachable"] >= 6
    assert added.counts["browsers.unreachable"] >= 2
    assert added.counts["stations.refused"] == added.counts["browsers.refused"] == 0
    assert not added.errors


def _configuration(process: psutil.Process) -> str:
    words = process.cmdline()
    return Path(words[-1]).read_text() if words and "mosquitto" in words[0] else ""
