"""The status board: stored raw, parsed only for those who look (contract.md section 4)."""

import json
from typing import Any

import pytest

from devices.messages import MAX_MESSAGE
from hub.history import EVERY, History
from hub.status import AHEAD, StatusBoard
from tests.fakes import FakeClock


class Bench:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.board = StatusBoard(self.clock)

    def send(self, station_id: str = "st-1", **fields: Any) -> None:
        self.board.arrived(station_id, json.dumps(fields).encode())

    def flush(self, watched: set[str] | None = None) -> dict[str, Any]:
        return {sid: json.loads(self.board.json(sid)) for sid in self.board.flush(watched)}


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_newest_of_a_window_wins_whole(bench: Bench) -> None:
    bench.send(devices=[], first=1)
    bench.send(devices=[], second=2)
    (status,) = bench.flush().values()
    assert "first" not in status
    assert status["second"] == 2
    assert bench.flush() == {}


def test_what_the_hub_fills_in(bench: Bench) -> None:
    """The topic's id wins, missing time and summary are filled in, extra fields pass through."""
    devices = [{"deviceId": "a", "status": "online", "x": 1}, {"deviceId": "b", "status": "warning"}]
    bench.send("st-1", stationId="somebody-else", devices=devices, site={"floor": 2})
    status = bench.flush()["st-1"]
    assert status["stationId"] == "st-1"
    assert status["updatedAt"] == bench.clock.wall
    assert status["summary"] == {"online": 1, "offline": 0, "warning": 1, "error": 0}
    assert status["site"] == {"floor": 2}
    assert status["devices"][0]["x"] == 1


def test_a_summary_sent_is_kept(bench: Bench) -> None:
    bench.send(devices=[], summary={"online": 9, "offline": 0, "warning": 0, "error": 0})
    assert bench.flush()["st-1"]["summary"]["online"] == 9


@pytest.mark.parametrize(
    ("raw", "counter"),
    [
        (b"not json", "invalid"),
        (b"[]", "invalid"),
        (b"null", "invalid"),
        (b'{"devices": 3}', "invalid"),
        (b'{"devices": [{"name": "no id"}]}', "invalid"),
        (b'{"updatedAt": "yesterday"}', "invalid"),
        (b'{"updatedAt": 1}', "stale"),
        (b'{"deep":' + b"[" * 1_000 + b"]" * 1_000 + b"}", "invalid"),
        (b'{"huge":"' + b"x" * MAX_MESSAGE + b'"}', "invalid"),
    ],
)
def test_bad_statuses_are_dropped_and_counted(bench: Bench, raw: bytes, counter: str) -> None:
    """The good status of before stays."""
    bench.send(devices=[], good=True)
    bench.flush()
    bench.board.arrived("st-1", raw)
    assert bench.flush() == {}
    assert getattr(bench.board.counters, counter) == 1
    assert b"good" in bench.board.json("st-1")


def test_age_is_judged_by_arrival(bench: Bench) -> None:
    """A status that waited for somebody to look is not stale for that; one from the future is clamped."""
    bench.send("old", updatedAt=bench.clock.wall - 14_000, devices=[])
    bench.send("new", updatedAt=bench.clock.wall + 61_000, devices=[])
    arrived = bench.clock.wall
    bench.clock.forward(100)
    found = bench.flush()
    assert found["old"]["updatedAt"] == arrived - 14_000
    assert found["new"]["updatedAt"] == arrived
    assert bench.board.counters.clamped == 1


def test_nothing_is_parsed_that_no_one_sees(bench: Bench) -> None:
    bench.board.arrived("st-1", b"not json")
    bench.send("st-2", devices=[])
    assert list(bench.flush({"st-2"})) == ["st-2"]
    assert bench.board.counters.invalid == 0
    assert len(bench.board) == 2


def test_each_station_is_read_once_in_five_seconds_for_the_history() -> None:
    """At its own turn, the newest that waits; who is read for others is remembered, too; those turns follow one another."""
    clock, history = FakeClock(), History(1_000_000)
    board = StatusBoard(clock, history)

    def say(temp: int) -> None:
        for n in range(7):
            board.arrived(f"st-{n}", json.dumps({"devices": [{"deviceId": "d", "metrics": {"temp": temp}}]}).encode())

    for temp in (1, 2, 3):
        say(9)
        say(temp)
        for _ in range(round(EVERY / AHEAD)):
            before = len(history)
            board.read_ahead()
            assert len(history) - before in (0, 1)
            clock.forward(AHEAD)
    for n in range(7):
        ages, (series,) = history.of(f"st-{n}", clock.monotonic())
        assert series.values == [1.0, 2.0, 3.0]
        assert ages == pytest.approx([15, 10, 5], abs=0.01)  # of their arrival, whenever they were read
    say(4)
    board.flush({"st-0"})
    assert history.of("st-0", clock.monotonic()).series[0].values[-1] == 4
    assert history.of("st-1", clock.monotonic()).series[0].values[-1] == 3
    board.forget("st-0")
    assert len(history) == 6


def test_what_a_flush_will_want_is_read_before(bench: Bench) -> None:
    """Of the stations that the last one was asked for, each once in a window; the newest of all wins all the same."""
    bench.send("st-1", devices=[], first=1)
    bench.send("st-2", devices=[])
    bench.board.read_ahead()
    assert not bench.board.is_new("st-1")
    bench.flush({"st-1"})
    for n in (2, 3, 4):
        bench.send("st-1", devices=[], nth=n)
        bench.board.arrived("st-2", b"not json")
        bench.board.read_ahead()
        assert b'"nth":2' in bench.board.json("st-1")
    assert bench.flush(None)["st-1"]["nth"] == 4
    assert bench.board.counters.invalid == 1
    bench.board.arrived("st-3", b"not json")
    bench.send("st-2", devices=[])
    bench.board.read_ahead()
    assert bench.board.counters.invalid == 2
    assert list(bench.flush(None)) == ["st-2"]


def test_what_is_dropped_is_not_in_the_history() -> None:
    clock, history = FakeClock(), History(1_000_000)
    board = StatusBoard(clock, history)
    devices = [{"deviceId": "d", "metrics": {"temp": 1}}]
    board.arrived("st-1", json.dumps({"updatedAt": 1, "devices": devices}).encode())
    board.arrived("st-2", json.dumps({"updatedAt": "no", "devices": devices}).encode())
    board.flush(None)
    assert len(history) == 0


def device(state: str) -> dict[str, str]:
    return {"deviceId": state, "status": state}


@pytest.mark.parametrize(
    ("states", "worst"),
    [
        ([], "online"),
        (["online"], "online"),
        (["online", "warning"], "warning"),
        (["warning", "offline", "online"], "offline"),
        (["offline", "error", "warning", "online"], "error"),
    ],
)
def test_the_state_of_a_station_is_its_worst_devices(bench: Bench, states: list[str], worst: str) -> None:
    """Whatever the summary says; what is offline does not work at all, what warns still does."""
    bench.send(devices=[device(state) for state in states], summary={"error": 9})
    assert bench.flush()["st-1"]["summary"]["error"] == 9
    assert bench.board.state("st-1") == worst


def test_a_device_that_does_not_say(bench: Bench) -> None:
    """It is online, as everywhere."""
    bench.send(devices=[{"deviceId": "a"}])
    bench.flush()
    assert bench.board.state("st-1") == "online"


def test_moved(bench: Bench) -> None:
    """Those whose state is another than when it was asked last; who came back to it meanwhile did not move."""
    bench.send("st-1", devices=[])
    bench.send("st-2", devices=[device("warning")])
    bench.flush()
    assert bench.board.moved() == ["st-1", "st-2"]
    for state in ("error", "online"):
        bench.send("st-1", devices=[device(state)])
        bench.flush()
    bench.send("st-2", devices=[device("error")])
    bench.flush()
    assert bench.board.moved() == ["st-2"]
    bench.send("st-2", devices=[device("error"), device("online")])
    bench.board.arrived("st-1", b"not json")
    bench.flush()
    assert bench.board.moved() == []


def test_a_station_that_is_forgotten_did_not_move(bench: Bench) -> None:
    """When it is there again, it did."""
    bench.send(devices=[device("error")])
    bench.flush()
    bench.board.forget("st-1")
    assert bench.board.moved() == []
    bench.send(devices=[device("error")])
    bench.flush()
    assert bench.board.moved() == ["st-1"]


def test_known(bench: Bench) -> None:
    """All that ever sent a good status, what waits for the flush included."""
    bench.send("st-1", devices=[])
    bench.flush()
    bench.send("st-2", devices=[])
    bench.board.arrived("st-3", b"not json")
    assert bench.board.known(None) == ["st-1", "st-2"]
    assert bench.board.known({"st-2", "st-3", "st-9"}) == ["st-2"]
    assert list(bench.flush()) == ["st-2"]
