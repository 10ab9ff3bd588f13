"""Old field software, with an injected clock and no broker."""

from typing import Any

import orjson
import pytest

from devices.session import Effect, Publish, Subscribe
from simulator.fleet.legacy import LegacySession

CMD, STATUS = "stations/st-1/cmd", "stations/st-1/status"
REPORT = b'{"type":"report-status","requesterId":"p1"}'


class Bench:
    """An old station; time passes when told to."""

    def __init__(self, *, connect: bool = True) -> None:
        self.now = 100.0
        self.said = 0
        sessions = iter(["s1", "s2"])
        self.session = LegacySession(
            "st-1", self, new_session_id=lambda: next(sessions), status=self._status, status_interval=5.0
        )
        self.will = self.session.next_session()
        self.first = self.session.connected() if connect else []

    def monotonic(self) -> float:
        return self.now

    def wall_ms(self) -> int:
        return 0

    def _status(self) -> bytes:
        self.said += 1
        return b"status %d" % self.said

    def tick(self) -> list[Effect]:
        at = self.session.next_tick()
        assert at is not None
        self.now = at
        return self.session.tick()


def status(number: int) -> Publish:
    return Publish(STATUS, b"status %d" % number, qos=0)


def test_its_will_is_all_it_says_of_itself() -> None:
    """Named by a session that nobody else knows; of QoS 1, not retained."""
    bench = Bench()
    assert (bench.will.topic, bench.will.qos, bench.will.retain) == ("stations/st-1/offline", 1, False)
    assert orjson.loads(bench.will.payload) == {"stationId": "st-1", "sessionId": "s1", "reason": "will"}
    assert orjson.loads(bench.session.next_session().payload)["sessionId"] == "s2"


def test_it_subscribes_to_commands_alone_and_reports() -> None:
    """No birth, no verdict, no signals."""
    bench = Bench()
    assert bench.first == [Subscribe((CMD,)), status(1)]
    assert [bench.tick(), bench.tick()] == [[status(2)], [status(3)]]
    assert bench.now == 110.0
    assert bench.session.tick() == []


def test_it_is_silent_without_a_connection() -> None:
    """And starts anew with the next one."""
    bench = Bench()
    bench.session.disconnected()
    assert bench.session.next_tick() is None
    assert bench.session.report() == bench.session.tick() == bench.session.received(CMD, REPORT) == []
    bench.session.next_session()
    assert bench.session.connected()[1:] == [status(2)]


@pytest.mark.parametrize(
    ("topic", "payload", "retained", "answers"),
    [
        (CMD, REPORT, False, True),
        (CMD, REPORT, True, False),
        (CMD, b'{"type":"open-gate","id":"c1"}', False, False),
        ("stations/st-1/signal/in", REPORT, False, False),
        (CMD, b"null", False, False),
        (CMD, b"\xff{", False, False),
        (CMD, b"", False, False),
        (CMD, b"[" * 100_000, False, False),
    ],
)
def test_it_answers_one_command(topic: str, payload: bytes, retained: bool, answers: bool) -> None:
    """`report-status`, with a status and no reply; the rest it does not know."""
    bench = Bench()
    assert bench.session.received(topic, payload, retained=retained) == ([status(2)] if answers else [])


def test_it_knows_no_goodbye() -> None:
    """Its will speaks for it."""
    assert Bench().session.goodbye() == []


@pytest.mark.parametrize(("seconds", "within", "at"), [(1.0, 0.5, 100.5), (60.0, 30.0, 105.0), (5.0, 0.0, 105.0)])
def test_another_interval(seconds: float, within: float, at: float) -> None:
    """The next status comes no later than it would have; the same interval changes nothing."""
    bench = Bench()
    bench.session.report_every(seconds, within=within)
    bench.tick()
    assert bench.now == at
    bench.tick()
    assert bench.now == at + seconds


def test_another_interval_while_it_is_gone() -> None:
    """Holds from the next connection on."""
    bench = Bench(connect=False)
    bench.session.report_every(60.0, within=0.0)
    assert bench.session.next_tick() is None
    bench.session.connected()
    assert bench.session.next_tick() == 160.0


def test_it_has_the_methods_of_a_new_one() -> None:
    """A simulated station does not look which it has."""
    from devices.session import StationSession

    def methods(of: type[Any]) -> set[str]:
        return {name for name in dir(of) if not name.startswith("_")}

    missing = methods(StationSession) - methods(LegacySession)
    assert missing == {
        *("call_center", "done", "failed", "join_room", "leave_room", "malformed", "progress", "retained_commands"),
        *("signal", "stream_response"),
    }
