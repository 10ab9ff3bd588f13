"""Who listens in place of browsers, where there is a broker alone."""

from pathlib import Path
from typing import Any, cast

import orjson
import pytest

from simulator.fleet.mqtt import Connection, Ending
from simulator.fleet.observer import Observer
from simulator.fleet.schedule import Schedule
from simulator.fleet.station import SimulatedStation
from simulator.world import World
from tests.mosquitto import mosquitto
from tests.simulator.stage import Found, Notes, eventually, make_world

BEGIN = 1_000.0


class Line:
    """Stands for a connection: notes what is done with it."""

    def __init__(self, owner: Observer, first: Any) -> None:
        self.owner, self.first = owner, first
        self.filters: tuple[str, ...] = ()
        self.done: list[str] = []

    def subscribe(self, filters: tuple[str, ...], qos: int) -> None:
        self.filters = filters

    def accept(self, codes: bytes = b"\0") -> None:
        self.owner.accepted(self._it)
        self.owner.subscribed(self._it, codes)

    def hear(self, topic: str, payload: bytes) -> None:
        self.owner.message(self._it, topic, payload, False)

    def reset(self, cause: str, ending: Ending = "lost") -> None:
        self.ending = ending
        self.done.append(cause)
        self.owner.ended(self._it, cause)

    def disconnect(self) -> None:
        self.reset("left")

    def fall_silent(self) -> None:
        self.done.append("silent")

    def hold(self) -> None:
        self.done.append("hold")

    def release(self) -> None:
        self.done.append("release")

    @property
    def _it(self) -> Connection:
        return cast("Connection", self)


class Bench:
    """One observer of six stations; time passes when told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, watch: int | str = "all", number: int = 0) -> None:
        self.time, self.lines = BEGIN, list[Line]()
        monkeypatch.setattr("simulator.fleet.observer.open_connection", self._open)
        schedule = Schedule(lambda: self.time, lambda: self.time)
        self.world: World = make_world(schedule=schedule, stations=6, count=3, watch=watch)
        self.statuses: Any = self.world.statuses
        self.found = Found(self.world.recorder)
        self.observer = Observer(self.world, number)
        self.observer.start()

    def _open(self, _address: Any, owner: Observer, _schedule: Any, first: Any, *_how: Any) -> Any:
        self.lines.append(Line(owner, first))
        return self.lines[-1], None

    @property
    def line(self) -> Line:
        return self.lines[-1]

    def wait(self, seconds: float) -> None:
        self.time += seconds
        self.world.schedule.run()


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    bench = Bench(monkeypatch)
    bench.line.accept()
    return bench


def status(**sim: Any) -> bytes:
    return orjson.dumps({"stationId": "x", "devices": [], "sim": {"n": 7, "t": 999_500.0, "r": "run1"} | sim})


def test_it_logs_in_and_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """To all stations; the judge is told once it is subscribed, and how long it took."""
    bench = Bench(monkeypatch)
    first = bench.line.first
    assert (first.client_id, first.username, first.will) == ("sim-op-00001", "sim-op-00001", None)
    assert not bench.observer.connected
    bench.time += 0.25
    bench.line.accept()
    assert bench.line.filters == ("stations/+/status",)
    assert bench.observer.connected
    assert bench.statuses.calls == [("watching", (0, None, BEGIN + 0.25))]
    assert bench.found["browsers.started"] == bench.found.timed("login") == 1


def test_windows_cover_all_stations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each listens to its own."""
    filters: list[str] = []
    for number in range(3):
        bench = Bench(monkeypatch, watch=2, number=number)
        bench.line.accept()
        assert len(bench.line.filters) == len(bench.statuses.of("watching")[0][1]) == 2
        filters += bench.line.filters
    assert sorted(filters) == [f"stations/sim-{number:05}/status" for number in range(1, 7)]


def test_statuses_are_judged(bench: Bench) -> None:
    """By number and by the moment they were meant to be sent."""
    bench.line.hear("stations/sim-00003/status", status())
    assert bench.statuses.of("batch") == [(0, 2, 7, 999.5, BEGIN)]


def test_what_others_say_is_not_judged(bench: Bench) -> None:
    """Other stations, other runs, other topics."""
    bench.line.hear("stations/st-1/status", status())
    bench.line.hear("stations/sim-00003/status", status(r="run0"))
    bench.line.hear("stations/sim-00003/online", b"{}")
    assert not bench.statuses.of("batch")
    assert bench.found["status.wrong"] == 0


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xff", b"[]", b"null", b"{}", b'{"sim":7}', b'{"sim":{"r":"run1","n":1}}', status(t="now"), b"[" * 9_000],
)
def test_nonsense_is_found(bench: Bench, payload: bytes) -> None:
    """Counted, and it goes on."""
    bench.line.hear("stations/sim-00003/status", payload)
    assert bench.found["status.wrong"] == 1
    assert not bench.statuses.of("batch")


def test_a_lost_connection(bench: Bench) -> None:
    """Is a finding; it comes back."""
    bench.line.reset("closed by the broker")
    assert bench.found.evidence("browsers.disconnects") == ["sim-op-00001 lost its connection: closed by the broker"]
    assert bench.statuses.of("unwatch") == [(0,)]
    bench.wait(1.0)
    bench.line.accept()
    assert len(bench.lines) == len(bench.statuses.of("watching")) == 2


def test_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was never there is not lost; a refusal is told of."""
    bench = Bench(monkeypatch)
    bench.line.reset("no connection")
    assert bench.found.errors() == {"observers: no connection": 1}
    bench.wait(1.0)
    bench.observer.refused(cast("Connection", bench.line), 5)
    bench.line.reset("refused with code 5")
    assert bench.found["browsers.refused"] == 1
    assert bench.found["browsers.disconnects"] == 0


def test_a_subscription_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is told of."""
    bench = Bench(monkeypatch)
    bench.line.accept(b"\x80")
    assert bench.found.errors() == {"observers: the broker refused a subscription": 1}


def test_while_the_broker_restarts(bench: Bench) -> None:
    """Nothing is a finding."""
    bench.world.restarting_until = BEGIN + 10.0
    bench.line.reset("closed by the broker")
    bench.wait(1.0)
    bench.line.reset("no connection")
    assert bench.found["browsers.disconnects"] == 0
    assert not bench.found.errors()


def test_faults(bench: Bench) -> None:
    """Reset, half-open, slow: none is a finding, and it comes back when it should."""
    bench.observer.abort(3.0)
    bench.wait(2.9)
    assert len(bench.lines) == 1
    bench.wait(0.1)
    bench.line.accept()
    bench.observer.fall_silent(5.0)
    assert not bench.observer.connected
    assert len(bench.statuses.of("unwatch")) == 2
    bench.wait(5.0)
    assert bench.lines[1].done == ["silent", "half-open"]
    bench.wait(0.0)
    bench.line.accept()
    bench.observer.read_slowly(5.0)
    assert bench.statuses.of("slow") == [(0, bench.time + 5.0 + bench.world.scenario.settle)]
    bench.wait(5.0)
    assert bench.lines[2].done == ["hold", "release"]
    bench.observer.expire_token(1.0)
    bench.wait(100.0)
    assert len(bench.lines) == 3
    assert bench.found["browsers.disconnects"] == 0


async def test_leaving(monkeypatch: pytest.MonkeyPatch, bench: Bench) -> None:
    """In order when it is there, at once when it is not yet; it stays away."""
    await bench.observer.rest()
    await bench.observer.stop()
    assert bench.line.done == ["left"]
    early = Bench(monkeypatch)
    await early.observer.stop()
    assert early.line.done == ["it stops"]
    dropped = Bench(monkeypatch)
    dropped.observer.drop()
    for each in (bench, early, dropped):
        each.wait(100.0)
        assert len(each.lines) == 1
        assert each.found["browsers.disconnects"] == 0


async def test_on_a_real_broker(tmp_path: Path) -> None:
    """What a station says is heard, each status once and in order."""
    async with mosquitto(tmp_path) as broker:
        world = make_world(mqtt=broker.url, stations=1, count=1, fleet={"interval": 0.02})
        world.interval = 0.02
        world.schedule.start()
        statuses = cast("Notes", world.statuses)
        observer, station = Observer(world, 0), SimulatedStation(world, 0)
        observer.start()
        await eventually(lambda: observer.connected)
        station.start()
        await eventually(lambda: station.seq >= 20)
        await station.stop()
        await eventually(lambda: len(statuses.of("batch")) == station.seq)
        assert [args[2] for args in statuses.of("batch")] == list(range(1, station.seq + 1))
        sent = [args[2] for args in statuses.of("sent")]
        assert [args[3] for args in statuses.of("batch")] == pytest.approx(sent, abs=1e-5)
        await observer.stop()
        await eventually(lambda: not observer.connected)
        world.schedule.stop()
