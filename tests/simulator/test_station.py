"""A simulated station, with an injected clock and connections that the test answers; then for real."""

import asyncio
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import orjson
import pytest

from devices.messages import MAX_MESSAGE
from devices.session import Publish, Subscribe
from simulator.fleet.duties import CALL_HEARD_WITHIN
from simulator.fleet.mqtt import Connection, Ending, Question
from simulator.fleet.schedule import Schedule
from simulator.fleet.station import IN_FLIGHT, SimulatedStation
from simulator.plan import spread
from simulator.world import World
from tests.mosquitto import mosquitto
from tests.simulator.stage import Found, Notes, eventually, make_world

BEGIN = 1_000.0
WALL = 1_700_000_000.0


class Line:
    """Stands for a connection: notes what the station says and what is done to it."""

    def __init__(self, owner: SimulatedStation, first: Any) -> None:
        self.owner, self.first = owner, first
        self.said: list[Publish | Subscribe] = []
        self.over = self.silent = self.held = self.full = False
        self.acknowledges, self.pings = True, 0
        self.ending: Ending = "lost"
        self.unanswered: Question | None = None
        self.owed: Question | None = None

    def publish(self, message: Publish) -> bool:
        if self.full and not message.qos:
            return False
        if not self.silent:
            self.said.append(message)
        return True

    def subscribe(self, filters: tuple[str, ...], qos: int) -> None:
        self.said.append(Subscribe(filters, qos))

    def accept(self) -> None:
        self.owner.accepted(self._it)
        self.owner.subscribed(self._it, b"\x01\x01\x01")

    def refuse(self, code: int = 5) -> None:
        self.owner.refused(self._it, code)
        self.reset("refused")

    def hear(self, topic: str, message: Any, *, retained: bool = False) -> None:
        payload = message if isinstance(message, bytes) else orjson.dumps(message)
        self.owner.message(self._it, topic, payload, retained)

    def ping(self) -> None:
        self.pings += 1

    def answer(self, packet: Any, asked: float, *, joining: bool = False) -> None:
        self.owner.answered(self._it, Question(packet, asked), joining=joining)

    def reset(self, cause: str, ending: Ending = "lost") -> None:
        if not self.over:
            self.over, self.ending = True, ending
            self.owner.ended(self._it, cause)

    def disconnect(self) -> None:
        self.reset("left")

    def fall_silent(self) -> None:
        self.silent = True

    def hold(self) -> None:
        self.held = True

    def release(self) -> None:
        self.held = False

    async def settled(self) -> None:
        if not self.acknowledges:
            await asyncio.get_running_loop().create_future()

    @property
    def _it(self) -> Connection:
        return cast("Connection", self)

    def to(self, end: str) -> list[dict[str, Any]]:
        """What it published to that topic of its own."""
        topic = f"stations/{self.owner.id}/{end}"
        return [orjson.loads(each.payload) for each in self.said if isinstance(each, Publish) and each.topic == topic]


class Bench:
    """One station of a scenario that reports every 5 s; time passes when told to."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        *,
        connect: bool = True,
        number: int = 0,
        http: str | None = "http://hub",
        **fleet: Any,
    ) -> None:
        self.time = BEGIN
        self.lines: list[Line] = []
        self.tokens: list[float] = []
        self.ask_every = 0.0
        monkeypatch.setattr("simulator.fleet.station.open_connection", self._open)
        schedule = Schedule(lambda: self.time, lambda: self.time - BEGIN + WALL)
        self.world: World = make_world(http, schedule=schedule, fleet=fleet)
        self.world.interval = fleet.get("interval", 5.0)
        self.world.credentials = type(self.world.credentials)(self._token, lambda *_: "")
        self.presence: Any = self.world.presence
        self.statuses: Any = self.world.statuses
        self.commands: Any = self.world.commands
        self.exchanges: Any = self.world.exchanges
        self.found = Found(self.world.recorder)
        self.station = SimulatedStation(self.world, number)
        if connect:
            self.station.start()
            self.line.accept()

    def _open(self, _address: Any, owner: SimulatedStation, _schedule: Any, first: Any, *how: Any) -> Any:
        self.ask_every = how[-1]
        self.lines.append(Line(owner, first))
        return self.lines[-1], None

    def _token(self, _: str, life: float) -> str:
        self.tokens.append(life)
        return f"token {len(self.tokens)}"

    @property
    def line(self) -> Line:
        """The newest connection."""
        return self.lines[-1]

    def wait(self, seconds: float, step: float = 0.25) -> None:
        until = self.time + seconds
        while self.time < until:
            self.time = min(until, self.time + step)
            self.world.schedule.run()

    def back(self, within: float = 40.0) -> None:
        """It connects again, and is accepted."""
        many, until = len(self.lines), self.time + within
        while len(self.lines) == many:
            assert self.time < until, "it does not come back"
            self.wait(0.25)
        self.line.accept()

    def command(self, kind: str, **fields: Any) -> None:
        command = {"type": kind, "id": "c1", "requesterId": "p1", "params": {"sim": "token-1"}} | fields
        self.line.hear("stations/sim-00001/cmd", command)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


# ---- connected


def test_connecting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Login, will, subscriptions, birth and a status; judges are told, and how long it took."""
    bench = Bench(monkeypatch, connect=False, keepalive=17)
    bench.station.start()
    assert not bench.station.connected
    first = bench.line.first
    assert (first.client_id, first.username, first.password) == ("sim-00001", "sim-00001", b"token 1")
    assert first.keep_alive == 17
    will = orjson.loads(first.will.payload)
    bench.time += 0.5
    bench.line.accept()
    assert bench.station.connected
    assert isinstance(bench.line.said[0], Subscribe)
    [birth] = bench.line.to("online")
    assert (birth["sessionId"], birth["statusInterval"], birth["keepalive"]) == (will["sessionId"], 5.0, 17.0)
    [status] = bench.line.to("status")
    assert status["sim"] == {"n": 1, "t": WALL * 1000 + 500, "r": "run1"}
    assert bench.presence.calls == [("came", (0, BEGIN + 0.5))]
    assert bench.statuses.of("connected") == [(0, BEGIN + 0.5)]
    assert bench.statuses.of("sent") == [(0, 1, BEGIN + 0.5, BEGIN + 0.5)]
    assert (bench.found["stations.started"], bench.found.timed("connect"), bench.found.timed("recovery")) == (1, 1, 0)


def test_statuses_at_their_time(bench: Bench) -> None:
    """Numbered, each interval."""
    bench.wait(20.0)
    assert [status["sim"]["n"] for status in bench.line.to("status")] == [1, 2, 3, 4, 5]
    assert [now for *_, now, _ in bench.statuses.of("sent")] == [BEGIN + 5.0 * n for n in range(5)]


def test_a_late_tester_makes_up_for_what_it_missed(bench: Bench) -> None:
    """Each with the time it was meant for, so that its delay counts (no coordinated omission)."""
    bench.wait(17.0, step=17.0)
    sent = bench.statuses.of("sent")[1:]
    assert [(seq, now) for _, seq, now, _ in sent] == [(2, BEGIN + 5.0), (3, BEGIN + 10.0), (4, BEGIN + 15.0)]
    assert [real for *_, real in sent] == [BEGIN + 17.0] * 3
    shown = bench.line.to("status")[1:]
    assert [status["updatedAt"] for status in shown] == [WALL * 1000 + late for late in (5_000, 10_000, 15_000)]
    assert [status["sim"]["t"] for status in shown] == [WALL * 1000 + late for late in (5_000, 10_000, 15_000)]


def test_what_was_due_without_a_connection_is_not_made_up_for(bench: Bench) -> None:
    """Numbers go on where they were."""
    bench.station.afflictions.abort(20.0)
    bench.wait(20.5)
    bench.line.accept()
    assert [status["sim"]["n"] for status in bench.line.to("status")] == [2]


def test_two_runs_of_a_seed_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever connections did in between."""
    said = []
    for outage in (0.5, 12.0):
        bench = Bench(monkeypatch)
        bench.wait(10.0)
        bench.station.afflictions.abort(outage)
        bench.wait(13.0)
        bench.line.accept()
        bench.wait(8.0)
        said.append(bench.line.to("status")[-1]["devices"])
    assert said[0] == said[1]


@pytest.mark.parametrize("legacy", [0.0, 1.0])
def test_another_interval(monkeypatch: pytest.MonkeyPatch, legacy: float) -> None:
    """First ones come within it, at a place of the station's own; all others each interval."""
    firsts = set()
    for number in range(3):
        bench = Bench(monkeypatch, number=number, interval=3_600.0, legacy=legacy)
        bench.world.interval = 10.0
        bench.station.report_every(10.0)
        bench.wait(45.0)
        sent = [now - BEGIN for *_, now, _ in bench.statuses.of("sent")[1:]]
        firsts.add(round(sent[0], 3))
        assert sent[0] <= 10.0
        assert [later - earlier for earlier, later in pairwise(sent)] == pytest.approx([10.0] * (len(sent) - 1))
        bench.station.report_every(10.0)
        bench.wait(10.0)
        assert bench.statuses.of("sent")[-1][2] - BEGIN - sent[-1] == pytest.approx(10.0)
    assert len(firsts) == 3


def test_a_broker_that_reads_nothing(bench: Bench) -> None:
    """Statuses that could not be sent are told of."""
    bench.line.full = True
    bench.wait(6.0)
    assert bench.found.errors() == {"stations: a status was not sent, as the broker read nothing for long": 1}


# ---- lost, and found again


def test_a_lost_connection(bench: Bench) -> None:
    """A finding with evidence; it comes back after a while, as a new session; how long that took is measured."""
    bench.wait(12.25)
    bench.line.reset("closed by the broker")
    assert not bench.station.connected
    assert bench.presence.calls[-1] == ("went", (0, BEGIN + 12.25, "lost"))
    assert bench.statuses.of("gone") == [(0, BEGIN + 12.25)]
    assert bench.found.evidence("stations.disconnects") == [
        "sim-00001: connection lost at 12.250 s: closed by the broker"
    ]
    lost = bench.time
    bench.back()
    sessions = [orjson.loads(line.first.will.payload)["sessionId"] for line in bench.lines]
    assert len(set(sessions)) == 2
    assert bench.line.to("online")[0]["sessionId"] == sessions[1]
    assert bench.presence.calls[-1] == ("came", (0, bench.time))
    assert bench.found["stations.reconnects"] == bench.found.timed("recovery") == 1
    assert bench.time > lost


def test_what_was_on_its_way_is_forgiven(bench: Bench) -> None:
    """The statuses of the last seconds."""
    bench.world.interval = 0.5
    bench.station.report_every(0.5)
    bench.wait(10.0)
    seq = bench.station.seq
    bench.station.afflictions.abort(1.0)
    assert bench.statuses.of("forgive") == [(0, seq - int(IN_FLIGHT / 0.5), bench.time)]


def test_a_broker_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tried again, ever more slowly, and told of."""
    bench = Bench(monkeypatch, connect=False)
    bench.station.start()
    waits = []
    for _ in range(6):
        bench.line.reset("no connection: refused")
        many, since = len(bench.lines), bench.time
        while len(bench.lines) == many:
            bench.wait(0.1, step=0.1)
        waits.append(bench.time - since)
    assert waits[0] <= 0.6
    assert waits[-1] > 4.0
    assert bench.found.errors() == {"stations: no connection: refused": 6}
    assert bench.found["stations.disconnects"] == 0
    assert not bench.presence.calls


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is no refusal, and no other error: a finding of its own."""
    bench = Bench(monkeypatch, connect=False)
    bench.station.start()
    bench.wait(2.0)
    bench.line.reset("no connection: Connection refused", "unreachable")
    assert bench.found.evidence("stations.unreachable") == ["sim-00001 at 2.000 s: no connection: Connection refused"]
    assert not bench.found.errors()
    assert bench.found["stations.refused"] == 0


def test_a_broker_that_does_not_answer(bench: Bench) -> None:
    """The question is told of, and not the loss that it leads to; answers are told to their judge."""
    answers: Any = bench.world.answers
    bench.line.answer("pingresp", BEGIN - 0.5)
    assert answers.of("answered") == [(0, "pingresp", BEGIN - 0.5, BEGIN)]
    bench.wait(10.0)
    bench.line.unanswered = Question("pingresp", BEGIN)
    bench.line.reset("no PINGRESP", "unanswered")
    assert answers.of("unanswered") == [(0, "pingresp", BEGIN, BEGIN + 10.0)]
    assert bench.found["stations.disconnects"] == 0


def test_who_should_be_there_and_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost without a cause: at once; by a fault, or new: after a while. With since when, and the last reason."""
    bench = Bench(monkeypatch)
    settle = bench.world.scenario.settle
    assert bench.station.missing(bench.time) is None
    bench.wait(3.0)
    bench.line.reset("closed by the broker")
    said = bench.station.missing(bench.time)
    assert said == "sim-00001 never came back: it has been gone since 3.000 s; last reason: closed by the broker"
    bench.back()
    bench.station.afflictions.abort(4.0)
    gone = bench.time
    bench.wait(4.5)
    assert bench.station.missing(gone + 100.0) is None  # its first try goes on
    bench.line.reset("no connection", "unreachable")
    assert bench.station.missing(gone + 3.9 + settle) is None
    assert bench.station.missing(gone + 4.1 + settle) is not None
    bench.back()
    bench.station.afflictions.fall_silent(10.0)
    assert bench.station.missing(bench.time + 10.0) is None
    fresh = Bench(monkeypatch, connect=False)
    assert fresh.station.missing(fresh.time + 100.0) is None
    fresh.station.start()
    fresh.line.reset("no connection", "unreachable")
    assert fresh.station.missing(fresh.time) is None
    assert "has not been connected since 0.000 s" in str(fresh.station.missing(fresh.time + settle))


def test_another_run_with_the_same_names(bench: Bench) -> None:
    """Each takes the other's place, and is let in again: lost once it says nothing, lost again it asks."""
    bench.line.reset("closed by the broker")
    bench.back()
    bench.wait(60.0)
    bench.line.reset("closed by the broker")
    assert not bench.found.hints("stations.disconnects")
    bench.back()
    bench.line.reset("closed by the broker")
    assert bench.found.hints("stations.disconnects") == [
        "sim-00001 is let in and put out again and again: is another run using --prefix sim?"
    ]


def test_how_often_it_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within 5 seconds, each at a time of its own; of very many, and of old software, as the keep-alive makes it."""
    assert 2.5 <= Bench(monkeypatch).ask_every <= 5.0
    assert Bench(monkeypatch, legacy=1.0).ask_every == float("inf")
    assert Bench(monkeypatch, count=50_000).ask_every >= 125.0


def test_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A finding; tried again with a new token."""
    bench = Bench(monkeypatch, connect=False)
    bench.station.start()
    bench.wait(3.0)
    bench.line.refuse(5)
    assert bench.found.evidence("stations.refused") == ["sim-00001 at 3.000 s: the broker refused it with code 5"]
    bench.back()
    assert [line.first.password for line in bench.lines] == [b"token 1", b"token 2"]


def test_while_a_hub_restarts_nothing_is_a_finding(bench: Bench) -> None:
    """Lost, refused or out of reach: on purpose."""
    bench.world.restarting_until = BEGIN + 60.0
    bench.line.reset("closed by the broker")
    assert bench.presence.calls[-1] == ("went", (0, BEGIN, "run"))
    bench.wait(1.0)
    bench.line.reset("no connection")
    bench.wait(5.0)
    bench.line.refuse(3)
    bench.back()
    assert not bench.found.errors()
    assert bench.found["stations.disconnects"] == bench.found["stations.refused"] == 0


# ---- leaving


async def test_a_goodbye(bench: Bench) -> None:
    """Said, acknowledged, disconnected; it stays away."""
    await bench.station.stop(goodbye=True)
    assert bench.line.to("offline") == [
        {"stationId": "sim-00001", "sessionId": bench.line.to("online")[0]["sessionId"], "reason": "goodbye"}
    ]
    assert bench.presence.calls[-1] == ("went", (0, BEGIN, "goodbye"))
    assert bench.line.over
    assert not bench.statuses.of("forgive")
    bench.wait(100.0)
    assert len(bench.lines) == 1
    assert bench.found["stations.disconnects"] == 0


async def test_power_off(bench: Bench) -> None:
    """Without a word."""
    await bench.station.stop(goodbye=False)
    assert not bench.line.to("offline")
    assert bench.presence.calls[-1] == ("went", (0, BEGIN, "abort"))
    assert bench.line.over


async def test_a_goodbye_that_nobody_acknowledges(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not wait for ever."""
    monkeypatch.setattr("simulator.fleet.station.LEAVE_WITHIN", 0.05)
    bench.line.acknowledges = False
    await bench.station.stop()
    assert bench.line.over


@pytest.mark.parametrize("goodbye", [True, False])
async def test_a_last_question_without_an_answer(bench: Bench, monkeypatch: pytest.MonkeyPatch, goodbye: bool) -> None:
    """The goodbye, or a PINGREQ; of who reads nothing it is no finding."""
    monkeypatch.setattr("simulator.fleet.station.LEAVE_WITHIN", 0.05)
    bench.line.acknowledges, bench.line.owed = False, Question("puback", BEGIN)
    await bench.station.stop(goodbye=goodbye)
    answers: Any = bench.world.answers
    assert answers.of("unanswered") == [(0, "puback", BEGIN, bench.time)]
    assert bench.line.pings == (not goodbye)
    assert bench.line.over
    assert not bench.station.connected


async def test_a_broker_that_is_known_to_be_dead_is_not_asked(bench: Bench) -> None:
    """Each station would wait for it."""
    bench.line.acknowledges = False
    await bench.station.stop(goodbye=False, ask=False)
    assert not bench.line.pings
    assert bench.line.over


async def test_leaving_before_it_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connecting, or waiting to: either ends."""
    bench = Bench(monkeypatch, connect=False)
    bench.station.start()
    await bench.station.stop()
    assert bench.line.over
    bench = Bench(monkeypatch)
    bench.line.reset("closed by the broker")
    await bench.station.stop()
    bench.wait(100.0)
    assert len(bench.lines) == 1


async def test_coming_back_is_no_recovery(bench: Bench) -> None:
    """One that left on purpose was not lost; it counts its statuses on."""
    await bench.station.stop()
    bench.wait(50.0)
    bench.station.start()
    bench.line.accept()
    assert bench.found["stations.reconnects"] == bench.found.timed("recovery") == 0
    assert [status["sim"]["n"] for status in bench.line.to("status")] == [2]


def test_dropped(bench: Bench) -> None:
    """Gone at once, with its timers."""
    bench.station.drop()
    bench.wait(100.0)
    assert bench.line.over
    assert len(bench.lines) == 1
    assert bench.world.schedule.next() is None


# ---- commands


def test_a_gate_opens(bench: Bench) -> None:
    """Told to the judge with its token; seen in a status at once; answered."""
    bench.command("open-gate")
    assert bench.commands.of("executed") == [(0, "token-1", BEGIN)]
    assert [reply["stage"] for reply in bench.line.to("reply")] == ["received", "done"]
    assert bench.line.to("reply")[-1]["result"] == {"open": True}
    assert any(device["metrics"].get("open") for device in bench.line.to("status")[-1]["devices"])


def test_a_command_that_comes_twice(bench: Bench) -> None:
    """Opens nothing, and the judge knows."""
    bench.command("open-gate")
    bench.command("open-gate")
    assert bench.commands.calls == [("executed", (0, "token-1", BEGIN)), ("refused_duplicate", (0, BEGIN))]
    assert bench.line.to("reply")[-1]["stage"] == "duplicate"


@pytest.mark.parametrize("params", [None, [], "x", {"sim": 7}, {}])
def test_a_command_that_is_not_the_simulators(bench: Bench, params: Any) -> None:
    """Others may load this hub, too: carried out, with no token."""
    bench.command("open-gate", params=params)
    bench.command("open-gate", params=params)
    assert bench.commands.calls == [("executed", (0, "", BEGIN)), ("refused_duplicate", (0, BEGIN))]


@pytest.mark.parametrize("topic", ["cmd", "signal/in", "nowhere"])
@pytest.mark.parametrize(
    "payload", [b"", b"null", b"[]", b"\xff", b'{"type":7}', b'{"event":"offer","peer":""}', b"[" * 90_000]
)
def test_nonsense_harms_nobody(bench: Bench, topic: str, payload: bytes) -> None:
    """It goes on."""
    said = len(bench.line.said)
    bench.line.hear(f"stations/sim-00001/{topic}", payload)
    assert len(bench.line.said) == said
    bench.command("open-gate")
    assert bench.commands.of("executed")


def test_an_invitation(bench: Bench) -> None:
    """It joins, and leaves when who invited it is gone."""
    bench.command("join-room", roomId="r1", inviterId="p1")
    assert bench.line.to("room") == [{"action": "join", "roomId": "r1"}]
    bench.line.hear("stations/sim-00001/signal/in", {"event": "peer-left", "peer": "p1", "roomId": "r1"})
    assert bench.line.to("room")[1:] == [{"action": "leave", "roomId": "r1"}]


def test_an_offer_is_answered(bench: Bench) -> None:
    """With all that was in it, so that who asked knows its own."""
    offer = {"type": "offer", "sdp": "x", "sim": "token-2"}
    bench.line.hear("stations/sim-00001/signal/in", {"event": "offer", "peer": "p1", "roomId": "r1", "offer": offer})
    assert bench.line.to("signal/out") == [
        {"event": "answer", "peer": "p1", "roomId": "r1", "answer": {**offer, "type": "answer"}}
    ]
    large = {"event": "offer", "peer": "p1", "offer": {"sdp": ""}}
    large["offer"] = {"sdp": "x" * (MAX_MESSAGE - len(orjson.dumps(large)))}  # its answer would be larger than allowed
    bench.line.hear("stations/sim-00001/signal/in", large)
    bench.line.hear("stations/sim-00001/signal/in", {"event": "ice-candidate", "peer": "p1", "candidate": {}})
    assert len(bench.line.to("signal/out")) == 1


def test_a_stream(bench: Bench) -> None:
    """A url that names station and camera."""
    bench.command("start-stream", cameraId="cam-1")
    assert bench.line.to("stream") == [
        {"requesterId": "p1", "status": "ready", "url": "rtsp://sim-00001.invalid/cam-1", "cameraId": "cam-1"}
    ]


def test_a_status_on_request(bench: Bench) -> None:
    """One more, numbered like the others."""
    bench.command("report-status")
    assert [status["sim"]["n"] for status in bench.line.to("status")] == [1, 2]


def test_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many an hour, at moments that the seed decides; expected by the timestamp that browsers get."""
    calls = []
    for number in (0, 0, 1):
        bench = Bench(monkeypatch, number=number, calls=60.0)
        bench.world.browsers[0] = cast("Any", type("Browser", (), {"connected": True}))
        bench.wait(3_600.0)
        expected = bench.exchanges.of("expect")
        said = [call["timestamp"] for call in bench.line.to("call")]
        assert [key for _, key, *_ in expected] == [(bench.station.id, timestamp) for timestamp in said]
        assert {within for *_, within in expected} == {CALL_HEARD_WITHIN}
        calls.append(said)
    assert calls[0] == calls[1] != calls[2]
    assert 30 < len(calls[0]) < 90


def test_calls_on_a_broker_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Are load, and nobody is expected to hear them."""
    bench = Bench(monkeypatch, http=None, calls=3_600.0)
    bench.world.browsers[0] = cast("Any", type("Observer", (), {"connected": True}))
    bench.wait(30.0)
    assert bench.line.to("call")
    assert not bench.exchanges.calls


def test_calls_that_nobody_could_hear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Are not made: no browser there, or the station not settled, or not connected."""
    bench = Bench(monkeypatch, calls=3_600.0)
    bench.wait(30.0)
    bench.world.browsers[0] = cast("Any", type("Browser", (), {"connected": True}))
    bench.presence.unsettled.add(0)
    bench.wait(30.0)
    bench.presence.unsettled.clear()
    bench.station.afflictions.abort(1e9)
    bench.wait(30.0)
    assert not bench.line.to("call")
    assert not bench.exchanges.calls


# ---- faults


@pytest.mark.parametrize("cause", ["abort", "storm"])
def test_abort(bench: Bench, cause: str) -> None:
    """No finding; back after its time."""
    bench.station.afflictions.abort(2.0, cause)
    assert bench.line.over
    assert bench.presence.calls[-1] == ("went", (0, BEGIN, cause))
    bench.wait(1.75)
    assert len(bench.lines) == 1
    bench.wait(0.25)
    bench.line.accept()
    assert bench.found["stations.disconnects"] == 0
    assert bench.found["stations.reconnects"] == 1


def test_a_second_fault_while_it_is_away_does_nothing(bench: Bench) -> None:
    """It has no connection to break."""
    bench.station.afflictions.abort(5.0)
    told = len(bench.presence.calls)
    bench.station.afflictions.abort(0.0)
    bench.station.afflictions.fall_silent(1.0)
    bench.station.afflictions.read_slowly(1.0)
    bench.station.afflictions.twin(1.0)
    bench.station.afflictions.late_will()
    bench.wait(4.0)
    assert len(bench.lines) == 1
    assert len(bench.presence.calls) == told
    bench.back()
    bench.wait(5.0)
    assert not bench.line.to("offline")


def test_half_open(bench: Bench) -> None:
    """Nothing is said and the socket stays; then it connects anew."""
    bench.station.afflictions.fall_silent(10.0)
    line = bench.line
    assert bench.presence.calls[-1] == ("went", (0, BEGIN, "half-open"))
    said = len(line.said)
    bench.wait(9.75)
    line.hear("stations/sim-00001/cmd", {"type": "report-status"})
    assert not line.over
    assert len(line.said) == said
    assert bench.station.seq == 1
    bench.wait(0.5)
    assert line.over
    bench.line.accept()
    assert bench.found["stations.disconnects"] == 0


def test_reading_slowly(bench: Bench) -> None:
    """It reports as before; what a hub does to it then is no finding."""
    bench.station.afflictions.read_slowly(10.0)
    assert bench.line.held
    assert bench.presence.of("disturbed") == [(0, BEGIN + 10.0)]
    bench.wait(6.0)
    assert bench.station.seq == 2
    bench.wait(5.0)
    assert not bench.line.held
    bench.station.afflictions.read_slowly(10.0)
    bench.line.reset("closed by the broker")
    assert bench.found["stations.disconnects"] == 0


def test_a_twin(bench: Bench) -> None:
    """A second connection takes the id over, and the first comes back that way: each a new session, at once."""
    bench.station.afflictions.twin(5.0)
    first, second = bench.lines
    second.accept()
    first.reset("closed by the broker")
    assert bench.station.connected
    assert bench.presence.calls[-2:] == [("went", (0, BEGIN, "duplicate-client-id")), ("came", (0, BEGIN))]
    bench.wait(5.5)
    assert len(bench.lines) == 3
    bench.line.accept()
    second.reset("closed by the broker")
    assert bench.station.connected
    assert bench.found["stations.disconnects"] == bench.found.timed("recovery") == 0
    assert not bench.found.errors()


def test_twins_that_both_live(bench: Bench) -> None:
    """A broker that keeps both is wrong. [MQTT-3.1.4-2]"""
    bench.station.afflictions.twin(100.0)
    bench.line.accept()
    bench.wait(10.0)
    assert bench.found.errors() == {"stations: two connections with one client id lived on": 1}
    assert bench.lines[0].over


def test_what_the_old_twin_hears_is_nothing(bench: Bench) -> None:
    """A gate opens once."""
    bench.station.afflictions.twin(100.0)
    bench.line.accept()
    bench.lines[0].hear("stations/sim-00001/cmd", {"type": "open-gate", "id": "c9", "params": {"sim": "t"}})
    assert not bench.commands.calls


def test_a_wrong_clock(bench: Bench) -> None:
    """Its statuses are dated wrongly and excused, whatever its connection does; intended times stay right."""
    bench.station.afflictions.skew_clock(-60.0, 20.0)
    bench.wait(5.0)
    status = bench.line.to("status")[-1]
    assert status["updatedAt"] == WALL * 1000 - 55_000
    assert status["sim"]["t"] == WALL * 1000 + 5_000
    assert bench.presence.of("disturbed") == [(0, BEGIN + 20.0)]
    assert bench.statuses.of("gone") == [(0, BEGIN)]
    bench.station.afflictions.abort(1.0)
    bench.back()
    assert len(bench.statuses.of("connected")) == 1
    bench.wait(16.0)
    assert bench.statuses.of("connected")[1:] == [(0, BEGIN + 20.0)]
    assert (0, 1, BEGIN + 20.0) in bench.statuses.of("forgive")
    bench.wait(5.0)
    assert bench.line.to("status")[-1]["updatedAt"] > WALL * 1000 + 20_000


def test_a_late_will(bench: Bench) -> None:
    """That of the session before, once, while the new one is there."""
    old = orjson.loads(bench.line.first.will.payload)
    bench.station.afflictions.late_will()
    bench.back()
    assert not bench.line.to("offline")
    bench.wait(5.0)
    assert bench.line.to("offline") == [old]
    assert bench.line.to("online")[0]["sessionId"] != old["sessionId"]


def test_a_late_will_that_found_no_connection(bench: Bench) -> None:
    """It may not come on a later connection, nor as that session's own."""
    bench.station.afflictions.late_will()
    bench.back()
    bench.line.reset("closed by the broker")
    bench.back()
    bench.wait(10.0)
    assert not any(line.to("offline") for line in bench.lines)


@pytest.mark.parametrize("refusal", [True, False], ids=["refused", "put out"])
def test_a_token_that_ends(bench: Bench, refusal: bool) -> None:
    """Refused when it has ended, or put out later by a hub that gives it some time: no finding, and back with a new one."""
    bench.station.afflictions.expire_token(10.0)
    bench.back()
    assert bench.tokens == [86_400.0, 10.0]
    assert bench.line.first.password == b"token 2"
    bench.wait(11.0)
    assert len(bench.lines) == 3
    assert bench.line.first.password == b"token 2"
    if refusal:
        bench.line.refuse()
    else:
        bench.line.accept()
        bench.wait(29.0)
        bench.line.reset("closed by the broker")
        assert bench.presence.calls[-1][1][2] == "token-expiry"
    bench.back()
    assert bench.line.first.password == b"token 3"
    assert bench.found["stations.disconnects"] == bench.found["stations.refused"] == 0
    bench.line.reset("closed by the broker")
    assert bench.found["stations.disconnects"] == 1


def test_put_out_while_the_token_is_good(bench: Bench) -> None:
    """Is a finding like any other."""
    bench.station.afflictions.expire_token(60.0)
    bench.back()
    bench.line.reset("closed by the broker")
    assert bench.found["stations.disconnects"] == 1


# ---- old ones


@pytest.mark.parametrize(("share", "old"), [(0.0, 0), (0.1, 10), (0.25, 25), (1.0, 100)])
def test_the_share_of_old_ones(share: float, old: int) -> None:
    """Evenly among all."""
    flags = [spread(number, share) for number in range(100)]
    assert sum(flags) == old
    assert sum(flags[:50]) == pytest.approx(old / 2, abs=1)


async def test_an_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports and answers for its status; nothing else, not even a goodbye, and no will of before comes late."""
    bench = Bench(monkeypatch, legacy=1.0, calls=3_600.0)
    bench.world.browsers[0] = cast("Any", type("Browser", (), {"connected": True}))
    bench.command("report-status")
    bench.command("open-gate")
    bench.line.hear("stations/sim-00001/signal/in", {"event": "offer", "peer": "p", "offer": {}})
    bench.station.afflictions.late_will()
    bench.wait(12.0)
    topics = {each.topic for each in bench.line.said if isinstance(each, Publish)}
    assert topics == {"stations/sim-00001/status"}
    assert bench.station.seq == 4
    assert not bench.commands.calls
    await bench.station.stop(goodbye=True)
    assert bench.presence.calls[-1][1][2] == "abort"
    assert bench.line.over


# ---- for real


async def test_on_a_real_broker(tmp_path: Path) -> None:
    """It connects, reports, is broken in each way that ends a connection, comes back, and leaves; nothing is found."""
    async with mosquitto(tmp_path) as broker:
        world = make_world(mqtt=broker.url, fleet={"interval": 0.05, "keepalive": 5})
        world.interval = 0.05
        world.schedule.start()
        presence, found = cast("Notes", world.presence), Found(world.recorder)
        station = world.stations[0] = SimulatedStation(world, 0)
        station.start()
        faults: dict[str, Callable[[], None]] = {
            "abort": partial(station.afflictions.abort, 0.01),
            "half-open": partial(station.afflictions.fall_silent, 0.1),
            "duplicate-client-id": partial(station.afflictions.twin, 0.2),
            "late-will": station.afflictions.late_will,
            "token-expiry": partial(station.afflictions.expire_token, 60.0),
        }
        for cause, fault in faults.items():
            await eventually(lambda: station.connected)
            seq = station.seq
            await eventually(partial(lambda seq: station.connected and station.seq > seq + 2, seq))
            fault()
            await eventually(partial(lambda cause: cause in [args[2] for args in presence.of("went")], cause))
        await eventually(lambda: station.connected and presence.of("came")[-1][1] > presence.of("went")[-1][1])
        await asyncio.sleep(0.3)  # the first twin comes back
        await eventually(lambda: station.connected)
        await station.stop()
        assert list(dict.fromkeys(args[2] for args in presence.of("went"))) == [*faults, "goodbye"]
        assert found["stations.disconnects"] == found["stations.refused"] == 0
        assert not found.errors()
        world.schedule.stop()
