"""A station's behaviour, with an injected clock and no broker."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.messages import MAX_MESSAGE, Device, Signal, Status, StreamResponse
from devices.session import (
    MAX_PENDING,
    MAX_RUNNING,
    REMEMBERED,
    Backoff,
    Disconnect,
    Effect,
    Invoke,
    NotConnected,
    Publish,
    Signalled,
    StationError,
    StationSession,
    Subscribe,
)

CMD, LIVE = "stations/st-1/cmd", "live/stations/st-1"
WALL = 1_700_000_000_000


@dataclass
class FakeClock:
    """Time that passes when told to; `off` is by how many milliseconds the wall clock is wrong."""

    now: float = 1000.0
    off: int = 0

    def monotonic(self) -> float:
        return self.now

    def wall_ms(self) -> int:
        return WALL + round((self.now - 1000.0) * 1000) + self.off


class Bench:
    """A session with its clock, its handlers and its status."""

    def __init__(self, *, connect: bool = True, **options: Any) -> None:
        self.clock = FakeClock()
        self.sessions = (f"s{number}" for number in range(1, 1000))
        self.handlers = {"open-gate", "join-room", "start-stream"}
        self.status = Status(devices=[Device(device_id="cam", status="warning")])
        self.session = StationSession(
            "st-1",
            self.clock,
            new_session_id=lambda: next(self.sessions),
            status=lambda: self.status,
            handles=self.handlers.__contains__,
            **options,
        )
        if connect:
            self.connect()

    def connect(self) -> list[Effect]:
        self.session.next_session()
        return self.session.connected()

    def command(self, *, retained: bool = False, arrived: float | None = None, **fields: Any) -> list[Effect]:
        payload = orjson.dumps({"type": "open-gate", "id": "c1", **fields})
        return self.session.received(CMD, payload, retained=retained, arrived=arrived)

    def verdict(self, state: str, session_id: str = "s1", *, retained: bool = True) -> list[Effect]:
        payload = orjson.dumps({"state": state, "sessionId": session_id})
        return self.session.received(LIVE, payload, retained=retained)

    def turn(self, seconds: float) -> list[Effect]:
        """Lets time pass as a shell would: a tick whenever the session wants one."""
        effects, end = list[Effect](), self.clock.now + seconds
        while (at := self.session.next_tick()) is not None and at <= end:
            self.clock.now = max(at, self.clock.now)
            effects += self.session.tick()
        self.clock.now = end
        return effects


def published(effects: list[Effect], kind: str) -> list[dict[str, Any]]:
    """The payloads published to `stations/st-1/{kind}`."""
    found = [effect for effect in effects if isinstance(effect, Publish) and effect.topic == f"stations/st-1/{kind}"]
    return [orjson.loads(effect.payload) for effect in found]


def invoked(effects: list[Effect]) -> Invoke:
    (invoke,) = [effect for effect in effects if isinstance(effect, Invoke)]
    return invoke


# ---- the connection


def test_the_will_names_the_session_before_it_begins() -> None:
    """QoS 1, not retained, with station and session id; the birth names the same session."""
    bench = Bench(connect=False)
    will = bench.session.next_session()
    assert (will.topic, will.qos, will.retain) == ("stations/st-1/offline", 1, False)
    assert orjson.loads(will.payload) == {"stationId": "st-1", "sessionId": "s1", "reason": "will"}
    assert published(bench.session.connected(), "online")[0]["sessionId"] == "s1"


def test_on_connect_it_subscribes_then_announces_then_reports() -> None:
    """In this order, so that no command sent upon the birth is missed."""
    bench = Bench(connect=False, keepalive=30, boot={"n": 1}, caps=["gate"])
    subscribe, birth, status = bench.connect()
    assert subscribe == Subscribe((CMD, "stations/st-1/signal/in", LIVE), 1)
    assert isinstance(birth, Publish)
    assert (birth.topic, birth.qos, birth.retain) == ("stations/st-1/online", 1, False)
    assert orjson.loads(birth.payload) == {
        "sessionId": "s1",
        "boot": {"n": 1},
        "caps": ["gate"],
        "keepalive": 30.0,
        "statusInterval": 5.0,
    }
    assert isinstance(status, Publish)
    assert (status.topic, status.qos, status.retain) == ("stations/st-1/status", 0, False)


def test_every_connection_is_a_new_session() -> None:
    """The id changes with each."""
    bench = Bench()
    bench.session.disconnected()
    assert published(bench.connect(), "online")[0]["sessionId"] == "s2"


def test_goodbye_names_the_session_then_disconnects() -> None:
    """A clean leave; after it the station is silent."""
    bench = Bench()
    leave, disconnect = bench.session.goodbye()
    assert isinstance(leave, Publish)
    assert leave.qos == 1
    assert orjson.loads(leave.payload)["reason"] == "goodbye"
    assert orjson.loads(leave.payload)["sessionId"] == "s1"
    assert disconnect == Disconnect()
    assert bench.session.next_tick() is None
    assert bench.session.goodbye() == []


def test_what_is_no_station_id_is_refused() -> None:
    """The id goes into topics."""
    with pytest.raises(ValueError, match="not an id"):
        StationSession("a/b", FakeClock(), new_session_id=lambda: "s")


# ---- status


def test_status_is_sent_each_interval() -> None:
    """With station id, time and summary filled in."""
    bench = Bench()
    sent = published(bench.turn(15.0), "status")
    assert [status["updatedAt"] - WALL for status in sent] == [5000, 10000, 15000]
    assert sent[0]["stationId"] == "st-1"
    assert sent[0]["summary"] == {"online": 0, "offline": 0, "warning": 1, "error": 0}


def test_a_missed_interval_is_not_made_up_for() -> None:
    """After a pause one status is sent, the next an interval later."""
    bench = Bench()
    bench.clock.now += 60.0
    assert len(published(bench.session.tick(), "status")) == 1
    assert bench.session.next_tick() == bench.clock.now + 5.0


def test_without_an_interval_it_reports_only_when_asked() -> None:
    """None: no timer, nothing announced."""
    bench = Bench(connect=False, status_interval=None)
    assert "statusInterval" not in published(bench.connect(), "online")[0]
    assert bench.session.next_tick() is None


def test_a_status_of_bytes_goes_out_as_it_is() -> None:
    """For who sends very many: nothing is checked or added but the size."""
    bench = Bench()
    for payload, sent in ((b"anything", True), (b"x" * (MAX_MESSAGE + 1), False)):
        bench.session._status = partial(bytes, payload)
        said = [Publish("stations/st-1/status", payload, qos=0)] if sent else []
        assert bench.session.report() == said


@pytest.mark.parametrize(
    ("seconds", "within", "at"),
    [(1.0, None, 1.0), (10.0, None, 5.0), (10.0, 2.0, 2.0), (5.0, 0.0, 5.0), (1.0, 0.25, 0.25)],
)
def test_another_interval(seconds: float, within: float | None, at: float) -> None:
    """The next status comes no later than it would have; then each interval. The same interval changes nothing."""
    bench = Bench()
    began = bench.clock.now
    bench.session.report_every(seconds, within=within)
    assert bench.session.next_tick() == began + at
    bench.clock.now = began + at
    bench.session.tick()
    assert bench.session.next_tick() == began + at + seconds


def test_an_interval_comes_and_goes() -> None:
    """None: only when asked; while it is not connected, it holds from the next connection on."""
    bench = Bench()
    bench.session.report_every(None)
    assert bench.session.next_tick() is None
    bench.session.report_every(7.0)
    assert bench.session.next_tick() == bench.clock.now + 7.0
    bench.session.disconnected()
    bench.session.report_every(3.0)
    assert bench.session.next_tick() is None
    bench.session.next_session()
    bench.session.connected()
    assert bench.session.next_tick() == bench.clock.now + 3.0


def test_the_status_function_may_set_its_own_time_and_summary() -> None:
    """What it gives is kept, but for the station id."""
    bench = Bench()
    bench.status = Status.model_validate({"stationId": "other", "updatedAt": 5, "summary": {"online": 9}, "fw": "1"})
    (status,) = published(bench.session.report(), "status")
    assert (status["stationId"], status["updatedAt"], status["summary"]["online"], status["fw"]) == ("st-1", 5, 9, "1")


def test_a_status_too_large_is_not_sent() -> None:
    """The broker would close the connection."""
    bench = Bench()
    bench.status = Status.model_validate({"x": "a" * 1_000_000})
    assert bench.session.report() == []


def test_nothing_is_sent_while_disconnected() -> None:
    """No status, no tick; what the station wants to say raises."""
    bench = Bench()
    bench.session.disconnected()
    assert bench.turn(100.0) == []
    assert bench.session.report() == []
    with pytest.raises(NotConnected):
        bench.session.call_center()


@pytest.mark.parametrize("fields", [{}, {"requesterId": "p1"}])
def test_report_status_is_answered_at_once(fields: dict[str, str]) -> None:
    """The existing command, with no id, hence no reply."""
    bench = Bench()
    effects = bench.session.received(CMD, orjson.dumps({"type": "report-status", **fields}))
    assert len(published(effects, "status")) == len(effects) == 1


def test_report_status_with_an_id_is_replied_to() -> None:
    """The status first, then `done`."""
    bench = Bench()
    effects = bench.command(type="report-status")
    assert published(effects, "status")
    assert published(effects, "reply") == [{"id": "c1", "stage": "done"}]


# ---- commands


def test_a_command_runs_and_ends() -> None:
    """received, progress, done with the result; then nothing more."""
    bench = Bench()
    effects = bench.command(params={"lane": 2}, requesterId="p1")
    assert published(effects, "reply") == [{"id": "c1", "stage": "received"}]
    invoke = invoked(effects)
    assert (invoke.command.type, invoke.command.params, invoke.command.requester_id) == ("open-gate", {"lane": 2}, "p1")
    assert published(bench.session.progress(invoke, 50), "reply") == [{"id": "c1", "stage": "progress", "result": 50}]
    done = bench.session.done(invoke, {"open": True})
    assert published(done, "reply") == [{"id": "c1", "stage": "done", "result": {"open": True}}]
    assert bench.session.done(invoke) == bench.session.failed(invoke, "x") == bench.session.progress(invoke) == []


def test_a_command_fails() -> None:
    """The error is told, cut to what a reply may hold."""
    bench = Bench()
    invoke = invoked(bench.command())
    (reply,) = published(bench.session.failed(invoke, "stuck " * 1000), "reply")
    assert reply["stage"] == "error"
    assert len(reply["error"]) == 4096


@pytest.mark.parametrize(
    ("result", "error"), [(object(), "the result is not JSON"), ("x" * 1_000_000, "the result is too large")]
)
def test_a_result_that_cannot_be_sent_is_an_error(result: Any, error: str) -> None:
    """The operator learns that it ran and what went wrong."""
    bench = Bench()
    done = bench.session.done(invoked(bench.command()), result)
    assert published(done, "reply") == [{"id": "c1", "stage": "error", "error": error}]


@pytest.mark.parametrize(
    ("fields", "stage"),
    [
        ({"expiresAt": WALL}, "expired"),
        ({"expiresAt": WALL - 60_000}, "expired"),
        ({"expiresAt": WALL + 1}, "received"),
        ({"ttlMs": 0}, "expired"),
        ({"ttlMs": 1}, "received"),
        ({"expiresAt": WALL - 1, "ttlMs": 5000}, "expired"),
        ({"expiresAt": WALL + 5000, "ttlMs": 0}, "expired"),
    ],
)
def test_a_command_past_its_deadline_is_refused(fields: dict[str, Any], stage: str) -> None:
    """By the wall clock, by the duration, by whichever ends first; its handler does not run."""
    effects = Bench().command(**fields)
    assert published(effects, "reply") == [{"id": "c1", "stage": stage}]
    assert any(isinstance(effect, Invoke) for effect in effects) is (stage == "received")


def test_the_duration_counts_from_arrival() -> None:
    """A message that lay around in the station for longer is expired."""
    bench = Bench()
    assert published(bench.command(ttlMs=500, arrived=bench.clock.now - 0.5), "reply")[0]["stage"] == "expired"
    assert invoked(bench.command(ttlMs=500, arrived=bench.clock.now - 0.4)).deadline == pytest.approx(1000.1)


@pytest.mark.parametrize("off", [-86_400_000, 86_400_000])
def test_without_a_right_clock_only_the_duration_counts(off: int) -> None:
    """A day off, either way: accepted, with the deadline by `ttlMs`."""
    bench = Bench(right_clock=False)
    bench.clock.off = off
    assert invoked(bench.command(expiresAt=WALL + 5000, ttlMs=5000)).deadline == 1005.0


def test_a_slow_clock_does_not_open_the_gate_late() -> None:
    """With both given, the deadline is the earlier one."""
    bench = Bench()
    bench.clock.off = -3_600_000
    assert invoked(bench.command(expiresAt=WALL + 5000, ttlMs=5000)).deadline == 1005.0


def test_the_end_is_told_even_after_the_deadline() -> None:
    """The hub decides what it is worth."""
    bench = Bench()
    invoke = invoked(bench.command(ttlMs=100))
    bench.clock.now += 10.0
    assert published(bench.session.done(invoke), "reply") == [{"id": "c1", "stage": "done"}]


def test_a_duplicate_never_runs_again() -> None:
    """While it runs, after it ended, and in the next session."""
    bench = Bench()
    invoke = invoked(bench.command())
    assert published(bench.command(), "reply") == [{"id": "c1", "stage": "duplicate"}]
    bench.session.done(invoke)
    assert published(bench.command(), "reply") == [{"id": "c1", "stage": "duplicate"}]
    bench.session.disconnected()
    bench.connect()
    assert bench.command() == [Publish("stations/st-1/reply", b'{"id":"c1","stage":"duplicate"}')]
    assert bench.session.duplicates == 3


def test_an_id_is_remembered_for_ten_minutes() -> None:
    """And no longer (contract.md section 7)."""
    bench = Bench()
    bench.session.done(invoked(bench.command()))
    bench.clock.now += 599.0
    assert published(bench.command(), "reply")[0]["stage"] == "duplicate"
    bench.clock.now += 1.0
    assert published(bench.command(), "reply")[0]["stage"] == "received"


def test_a_thousand_ids_are_remembered() -> None:
    """The oldest is forgotten first."""
    bench = Bench()
    for number in range(REMEMBERED + 1):
        bench.session.done(invoked(bench.command(id=f"n{number}")))
    assert published(bench.command(id="n1"), "reply")[0]["stage"] == "duplicate"
    assert published(bench.command(id="n0"), "reply")[0]["stage"] == "received"


def test_a_refused_command_may_come_again() -> None:
    """Expired is not accepted: the same id with a new deadline runs."""
    bench = Bench()
    bench.command(ttlMs=0)
    assert invoked(bench.command(ttlMs=1000))


def test_an_unknown_command_is_an_error() -> None:
    """Told by reply when there is an id, else ignored."""
    bench = Bench()
    (reply,) = published(bench.command(type="self-destruct"), "reply")
    assert reply == {"id": "c1", "stage": "error", "error": "unknown command"}
    assert bench.session.received(CMD, b'{"type":"self-destruct"}') == []


def test_a_retained_command_is_never_acted_on() -> None:
    """A gate must not open from a kept message, nor may it be answered."""
    bench = Bench()
    assert bench.command(retained=True) == []
    assert bench.session.received(CMD, b'{"type":"report-status"}', retained=True) == []
    assert bench.session.retained_commands == 2
    assert invoked(bench.command())  # the kept one was not taken for the first of a duplicate


@pytest.mark.parametrize(
    "payload", [b"", b"x", b"[]", b"{}", b'{"type":5}', b'{"type":"open-gate","id":7}', b"[" * 9999]
)
def test_malformed_messages_are_counted_and_ignored(payload: bytes) -> None:
    """Commands, signals and verdicts alike."""
    bench = Bench()
    assert bench.session.received(CMD, payload) == []
    assert bench.session.received("stations/st-1/signal/in", payload) == []
    assert bench.session.malformed == 2


@given(st.sampled_from([CMD, LIVE, "stations/st-1/signal/in", "stations/st-2/cmd", "x"]), st.binary(), st.booleans())
def test_no_message_breaks_a_station(topic: str, payload: bytes, retained: bool) -> None:
    """Arbitrary bytes on any topic: no exception, no handler run."""
    bench = Bench()
    assert not any(isinstance(effect, Invoke) for effect in bench.session.received(topic, payload, retained=retained))


def test_hub_commands_go_to_the_same_handlers() -> None:
    """join-room and start-stream have no id: they run and are not replied to."""
    bench = Bench()
    effects = bench.session.received(CMD, b'{"type":"join-room","roomId":"r1","inviterId":"p1"}')
    invoke = invoked(effects)
    assert len(effects) == 1
    assert (invoke.command.room_id, invoke.command.inviter_id) == ("r1", "p1")
    assert bench.session.done(invoke) == []
    stream = {"type": "start-stream", "requesterId": "p1", "cameraId": "cam", "offer": {"sdp": "x"}}
    command = invoked(bench.session.received(CMD, orjson.dumps(stream))).command
    assert (command.requester_id, command.camera_id, command.offer) == ("p1", "cam", {"sdp": "x"})


def test_commands_at_a_time_are_bounded() -> None:
    """One more than the bound is refused, until one ends."""
    bench = Bench()
    invokes = [invoked(bench.command(id=f"n{number}")) for number in range(MAX_RUNNING)]
    assert published(bench.command(id="more"), "reply")[0]["error"] == "too many commands at a time"
    bench.session.done(invokes[0])
    assert invoked(bench.command(id="more"))


def test_the_end_of_a_command_waits_for_the_next_connection() -> None:
    """Lost connections lose no reply; they go out after the birth, and the oldest give way to a bound."""
    bench = Bench()
    invokes = [invoked(bench.command(id=f"n{number}")) for number in range(MAX_RUNNING)]
    bench.session.disconnected()
    for invoke in invokes:
        assert bench.session.progress(invoke) == bench.session.done(invoke) == []
    effects = bench.connect()
    assert isinstance(effects[1], Publish)
    assert effects[1].topic == "stations/st-1/online"
    replies = published(effects, "reply")
    assert len(replies) == MAX_PENDING
    assert replies[-1] == {"id": f"n{MAX_RUNNING - 1}", "stage": "done"}
    bench.session.disconnected()
    assert published(bench.connect(), "reply") == []


# ---- what a station says


def test_what_a_station_says() -> None:
    """Call, stream response, rooms and signals: topic, QoS 1, payload."""
    session = Bench().session
    response = StreamResponse(requester_id="p1", status="ready", url="rtsp://x", camera_id="cam")
    signal = Signal(event="answer", peer="p1", answer={"sdp": "x"})
    said: list[Effect] = [
        *session.call_center(),
        *session.stream_response(response),
        *session.join_room("r1"),
        *session.leave_room("r1"),
        *session.signal(signal),
    ]
    assert all(isinstance(effect, Publish) and effect.qos == 1 and not effect.retain for effect in said)
    assert published(said, "call") == [{"timestamp": WALL}]
    assert published(said, "stream")[0] == {
        "requesterId": "p1",
        "status": "ready",
        "url": "rtsp://x",
        "cameraId": "cam",
    }
    assert published(said, "room") == [{"action": "join", "roomId": "r1"}, {"action": "leave", "roomId": "r1"}]
    assert published(said, "signal/out") == [{"event": "answer", "peer": "p1", "answer": {"sdp": "x"}}]


def test_what_is_too_large_is_not_sent() -> None:
    """The broker would close the connection."""
    with pytest.raises(StationError, match="larger than"):
        Bench().session.signal(Signal(event="offer", peer="p", offer="x" * 1_000_000))


def test_signals_reach_the_station() -> None:
    """Unless they were kept by the broker."""
    bench = Bench()
    payload = b'{"event":"offer","peer":"p1","roomId":"r1","offer":{"sdp":"x"}}'
    (signalled,) = bench.session.received("stations/st-1/signal/in", payload)
    assert isinstance(signalled, Signalled)
    assert (signalled.signal.peer, signalled.signal.room_id) == ("p1", "r1")
    assert bench.session.received("stations/st-1/signal/in", payload, retained=True) == []


# ---- healing itself


@pytest.mark.parametrize("session_id", ["s0", "s1"])
def test_a_stale_offline_is_answered_with_a_birth(session_id: str) -> None:
    """Whether it names this session or another: the station is here."""
    bench = Bench()
    bench.clock.now += 2.0
    assert bench.verdict("offline", session_id, retained=False) == []
    assert [birth["sessionId"] for birth in published(bench.turn(0.0), "online")] == ["s1"]
    assert published(bench.turn(60.0), "online") == []


def test_the_verdict_on_the_last_session_gives_the_hub_a_second() -> None:
    """On connect the retained `offline` comes first; when the hub corrects it, no second birth is sent."""
    bench = Bench()
    bench.verdict("offline", "s0")
    assert published(bench.turn(0.9), "online") == []
    bench.verdict("online")
    assert published(bench.turn(60.0), "online") == []


def test_births_are_at_most_one_a_second() -> None:
    """However often the hub says offline."""
    bench = Bench()
    births = 0
    for _ in range(1000):
        bench.verdict("offline", retained=False)
        births += len(published(bench.turn(0.01), "online"))
    assert births in (9, 10)


def test_verdicts_that_are_right_or_empty_change_nothing() -> None:
    """Online, a cleared record, or any while disconnected."""
    bench = Bench()
    bench.verdict("online", "other")
    bench.session.received(LIVE, b"")
    bench.session.disconnected()
    bench.verdict("offline")
    assert bench.session.next_tick() is None


# ---- reconnecting


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=12, max_size=80))
def test_backoff_doubles_with_jitter_to_its_cap(rolls: list[float]) -> None:
    """Each wait lies between half and all of 0.5, 1, 2, ... 30 seconds."""
    source = iter(rolls)
    backoff = Backoff(lambda: next(source))
    for failures in range(len(rolls)):
        longest = min(30.0, 0.5 * 2.0**failures)
        assert longest / 2 <= backoff.delay() <= longest


def test_backoff_starts_anew_after_a_connection_that_held() -> None:
    """One that broke at once counts as another failure: two clients of one id do not chase each other."""
    backoff = Backoff(lambda: 0.0)
    assert [backoff.delay(held=1.0) for _ in range(3)] == [0.25, 0.5, 1.0]
    assert backoff.delay(held=10.0) == 0.25
    assert backoff.delay() == 0.5
