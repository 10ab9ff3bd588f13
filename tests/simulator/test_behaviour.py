"""What a browser does next, when, and how what comes back is judged; the hub is the test."""

import random
from typing import Any, cast

import pytest

from devices.door import ConnectionLost, RequestFailed
from simulator.browsers.behaviour import Behaviour, allowed
from simulator.browsers.requests import Requests
from simulator.browsers.talks import Talk
from simulator.fleet.schedule import Schedule
from simulator.world import World
from tests.simulator.stage import FakeClient, Found, Notes, make_world, only


class Clock:
    """Monotonic seconds that the test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """One browser without a socket, in time that the test moves."""

    number = 0
    available = True

    def __init__(self, **browsers: Any) -> None:
        self.clock = Clock()
        self.schedule = Schedule(self.clock, lambda: 1_000.0)
        self.world: World = make_world(schedule=self.schedule, **browsers)
        self.found = Found(self.world.recorder)
        self.hub = FakeClient()
        self.client: Any = self.hub
        self.requests, self.talks = Requests(self.world, "op"), set[Talk]()
        self.behaviour = Behaviour(self.world, self, self.requests, random.Random(1), self.world.numbers)
        self.behaviour.may("operator")

    def until(self, when: float) -> None:
        """Time passes, each callback at its moment."""
        while (due := self.schedule.next()) is not None and due <= when:
            self.clock.now = max(due, self.clock.now)
            self.schedule.run()
        self.clock.now = when

    def judge(self, name: str) -> Notes:
        return cast("Notes", getattr(self.world, name))

    def first(self, event: str) -> tuple[Any, Any]:
        """The first request of that kind: its data, and what answers it."""
        return next((data, answered) for asked, data, answered in self.hub.asked if asked == event)


def test_a_seed_repeats_what_is_done() -> None:
    """The same actions on the same stations at the same moments."""

    def run() -> list[tuple[str, Any]]:
        bench = Bench()
        bench.behaviour.start(100.0)
        bench.until(100.3)
        return [(event, data) for event, data, _ in bench.hub.asked]

    assert run() == run()
    assert len({event for event, _ in run()}) > 2


def test_moments_do_not_wait_for_answers() -> None:
    """Nor for a tester that was late: what was meant for then is made up for, and timed from then."""
    bench = Bench(mix=only("ping"), think=[0.1, 0.1])
    bench.behaviour.start(100.0)
    bench.clock.now = 100.55
    bench.schedule.run()
    assert len(bench.hub.asked) in (5, 6)
    for _, _, answered in bench.hub.asked:
        answered({"pong": True, "ts": 1})
    assert bench.found.timed("ack.ping") == len(bench.hub.asked)
    bench.world.recorder.measuring = True


def test_a_pace_is_how_much_faster() -> None:
    """Of a stage."""
    bench = Bench(mix=only("ping"), think=[0.1, 0.1])
    bench.world.pace = 10.0
    bench.behaviour.start(100.0)
    for _ in range(40):
        bench.until(bench.clock.now + 0.01)
        for _, _, answered in bench.hub.asked:
            answered({"pong": True, "ts": 1})
    assert 35 <= len(bench.hub.asked) <= 41


def test_what_cannot_be_tried_is_skipped() -> None:
    """Without a connection, and with too much open; who reads slowly tries nothing."""
    bench = Bench(mix=only("ping"), think=[0.1, 0.1])
    bench.client = None
    bench.behaviour.start(100.0)
    bench.until(101.05)
    assert bench.found["actions.skipped"] in (10, 11)
    bench.behaviour.paused = True
    before = bench.found["actions.skipped"]
    bench.until(102.0)
    assert bench.found["actions.skipped"] == before
    bench.behaviour.paused, bench.client = False, bench.hub
    bench.until(105.0)
    assert len(bench.hub.asked) == 8
    assert bench.found["actions.skipped"] > before


def test_a_viewer_does_what_viewers_may() -> None:
    """A token that leaves the role to the hub allows all."""
    world = make_world()
    assert set(allowed(world, "viewer")) == {"status", "rooms", "ping"}
    assert allowed(world, None) == allowed(world, "operator") == allowed(world, "admin")
    assert set(allowed(make_world(mix=only("stream")), "viewer")) == set()
    bench = Bench(mix=only("command"))
    bench.behaviour.may("viewer")
    bench.behaviour.start(100.0)
    bench.until(101.0)
    assert not bench.hub.asked


def test_only_stations_that_are_there_are_asked() -> None:
    """Not those that just came or went, nor legacy ones for what they cannot do."""
    bench = Bench(mix=only("command"))
    bench.judge("presence").unsettled = {0}
    cast("Any", bench.world.stations[1]).legacy = True
    bench.behaviour.start(100.0)
    bench.until(100.2)
    assert {data["stationId"] for _, data, _ in bench.hub.asked} == {"sim-00003"}
    bench = Bench(stations=0)
    bench.behaviour.start(100.0)
    bench.until(101.0)
    assert {event for event, _, _ in bench.hub.asked} <= {"ping"}


def test_a_status_is_expected_until_it_comes() -> None:
    """One question to a station at a time; an error takes the expectation back."""
    bench = Bench(mix=only("status"), stations=1)
    bench.behaviour.start(100.0)
    bench.until(101.0)
    [(event, data, answered)] = bench.hub.asked
    assert (event, data) == ("station-request-status", {"stationId": "sim-00001"})
    exchanges = bench.judge("exchanges")
    [(kind, key, _, _)] = exchanges.of("expect")
    answered({"via": "mqtt"})
    bench.behaviour.heard("station-status-update", {"stationId": "sim-00001"}, 101.0)
    assert exchanges.of("met") == [(kind, key, 101.0)]
    bench.behaviour.heard("station-status-update", {"stationId": "sim-00001"}, 101.0)
    assert len(exchanges.of("met")) == 1
    bench.until(101.1)
    bench.hub.asked[1][2](RequestFailed("STATION_UNREACHABLE: Station unreachable"))
    [(excused,)] = exchanges.of("excuse")
    assert excused(kind, key)
    assert not excused("stream", key)
    assert bench.requests.undecided
    bench.requests.close()
    assert bench.found["ack.errors"] == 1


def test_a_command_has_a_token_and_a_deadline() -> None:
    """And its outcome is told, whatever it is."""
    bench = Bench(mix=only("command"), command_timeout=2)
    bench.behaviour.start(100.0)
    bench.until(100.3)
    commands = bench.judge("commands")
    issued = commands.of("issued")
    assert len({token for token, *_ in issued}) == len(issued) >= 5
    assert all(deadline - now == pytest.approx(2.0) for _, _, now, deadline in issued)
    for (_, data, answered), (token, number, *_), answer in zip(
        bench.hub.asked,
        issued,
        (
            {"id": "x", "stage": "done", "result": None, "ms": 3},
            RequestFailed("STATION_TIMEOUT: late"),
            RequestFailed("STATION_ERROR: no"),
            ConnectionLost(),
        ),
        strict=False,
    ):
        assert data["params"] == {"sim": token}
        assert (data["stationId"], data["timeoutMs"]) == (f"sim-0000{number + 1}", 2000)
        answered(answer)
    assert [outcome for _, outcome, _ in commands.of("acked")] == ["done", "timeout", "error", "none"]
    bench.behaviour.stop()
    bench.until(120.0)
    assert commands.of("acked")[-1][1] == "none"
    assert len(commands.of("acked")) == len(issued)


def test_a_stream_is_ready_for_who_asked() -> None:
    """Of that camera; what is another's is an error."""
    bench = Bench(mix=only("stream"), stations=1)
    bench.behaviour.start(100.0)
    bench.until(101.0)
    data, _ = bench.first("station-cmd-request-stream")
    ready = {"stationId": "sim-00001", "requesterId": "peer-1", "status": "ready", "url": "rtsp://x"}
    bench.behaviour.heard("station-stream-ready", ready | {"cameraId": data["cameraId"]}, 101.0)
    assert [args[0] for args in bench.judge("exchanges").of("met")] == ["stream"]
    bench.behaviour.heard("station-stream-ready", ready | {"cameraId": "c", "requesterId": "else"}, 101.0)
    assert bench.found.errors() == {"browsers: a stream that is not ready, or another's": 1}


class TestAcks:
    """Each against the contract."""

    @pytest.fixture
    def bench(self) -> Bench:
        """Acts by hand."""
        return Bench()

    def ask(self, bench: Bench, event: str = "ping", data: Any = None, **more: Any) -> tuple[Any, list[Any]]:
        told: list[Any] = []
        bench.requests.ask(bench.client, event, data, told.append, **more)
        return bench.hub.asked[-1][2], told

    def test_is_timed_from_the_intended_moment(self, bench: Bench) -> None:
        """And late beyond what the scenario says, which counts that, too."""
        answered, told = self.ask(bench, intended=98.5)
        answered({"pong": True, "ts": 1})
        assert told == [{"pong": True, "ts": 1}]
        assert bench.found["ack.late"] == 1
        assert "ping of op at" in bench.found.evidence("ack.late")[0]
        assert "1500 ms" in bench.found.evidence("ack.late")[0]
        assert (bench.found.timed("ack"), bench.found.timed("ack.ping")) == (1, 1)

    @pytest.mark.parametrize(
        ("event", "data", "wrong"),
        [
            ("ping", None, {"pong": False, "ts": 1}),
            ("ping", None, None),
            ("ping", None, [1]),
            ("create-room", None, {"roomId": "UPPER123"}),
            ("create-room", None, {"roomId": 7}),
            ("join-room", {"roomId": "abcd1234"}, {"roomId": "other123", "peers": []}),
            ("join-room", {"roomId": "abcd1234"}, {"roomId": "abcd1234", "peers": [1]}),
            ("leave-room", {}, {}),
            ("get-online-stations", None, {"stations": ["b", "a"]}),
            ("station-request-status", {}, {"via": "pigeon"}),
            ("station-command", {}, {"id": "x", "stage": "done", "ms": 1}),
            ("station-command", {}, {"id": "x", "stage": "sent", "ms": 1, "result": 1}),
            ("station-watch", {"stations": ["a"]}, {"watching": 2}),
            ("station-cmd-request-stream", {}, {"status": "sent"}),
        ],
    )
    def test_is_of_the_shape_agreed_on(self, bench: Bench, event: str, data: Any, wrong: Any) -> None:
        """Else it is a finding, and no measure."""
        answered, _ = self.ask(bench, event, data)
        answered(wrong)
        assert (bench.found["ack.wrong"], bench.found.timed("ack")) == (1, 0)

    def test_is_missing_after_a_while(self, bench: Bench) -> None:
        """Once; what comes afterwards is not waited for."""
        answered, told = self.ask(bench)
        bench.until(109.9)
        assert bench.found["ack.missing"] == 0
        bench.until(110.1)
        answered({"pong": True, "ts": 1})
        assert bench.found["ack.missing"] == 1
        assert len(told) == 1
        assert bench.hub.forgotten == [1]
        assert len(bench.requests) == 0

    def test_is_no_error_without_a_cause(self, bench: Bench) -> None:
        """The evidence has the hub's own words, harmless."""
        answered, _ = self.ask(bench)
        answered(RequestFailed("INTERNAL: \x1b[31m"))
        assert bench.found["ack.errors"] == 1
        assert bench.found.evidence("ack.errors")[0].endswith("was answered with INTERNAL: \\x1b[31m")

    @pytest.mark.parametrize("cause", ["station", "restart", "slow", "lost"])
    def test_is_excused_by_a_cause(self, bench: Bench, cause: str) -> None:
        """A station that is not there any more, a hub that restarts, a browser that did not read, a lost connection."""
        answered, told = self.ask(bench, fair=lambda: cause != "station")
        if cause == "restart":
            bench.world.restarting_until = 101.0
        elif cause == "slow":
            bench.requests.disturbed_until = 101.0
        bench.clock.now = 105.0
        answered(ConnectionLost() if cause == "lost" else RequestFailed("STATION_OFFLINE: x"))
        assert len(told) == 1
        answered, _ = self.ask(bench, intended=100.0, fair=lambda: cause != "station")
        if cause != "lost":
            answered({"pong": True, "ts": 1})
        assert (bench.found["ack.errors"], bench.found["ack.late"]) == (0, 0)

    def test_a_connection_that_is_lost_already(self, bench: Bench) -> None:
        """Who asks is told at once."""
        bench.hub.lost = True
        told: list[Any] = []
        bench.requests.ask(bench.client, "ping", None, told.append)
        assert [type(each) for each in told] == [ConnectionLost]
        assert len(bench.requests) == 0


def test_a_lost_connection_takes_back_what_was_expected() -> None:
    """All of this browser's, and no other's."""
    bench = Bench(mix=only("status"))
    bench.behaviour.start(100.0)
    bench.until(100.2)
    bench.behaviour.lost()
    exchanges = bench.judge("exchanges")
    excused = exchanges.of("excuse")[-1][0]
    keys = [(kind, key) for kind, key, *_ in exchanges.of("expect")]
    assert keys
    assert all(excused(kind, key) for kind, key in keys)
    assert not excused("call", ("sim-00001", 7))
    assert not excused("answer", ("browser", 1, 0))
    assert not bench.behaviour.waits
