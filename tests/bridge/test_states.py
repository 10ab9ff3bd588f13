"""How each station is, for browsers that show the whole fleet; and calls that are open, for those that come later."""

from typing import Any

import pytest

from bridge.batches import cut
from bridge.errors import EventError
from bridge.peer import HIGH_WATER
from hub.calls import RINGS
from tests.bridge.fakes import Bench, FakePeer, identity

STATES, STATUSES = "batch-station-state-update", "batch-station-status-update"


@pytest.fixture
def bench() -> Bench:
    return Bench()


def report(bench: Bench, station_id: str, *states: str) -> None:
    """A station reports devices in these states."""
    devices = [{"deviceId": f"d{number}", "status": state} for number, state in enumerate(states)]
    bench.say(station_id, "status", {"devices": devices})


def told(peer: FakePeer) -> list[tuple[str, str]]:
    """The states that a browser was told since the last call, in order."""
    return [(item["stationId"], item["state"]) for event, batch in peer.take() if event == STATES for item in batch]


def read(peer: FakePeer, bench: Bench) -> None:
    """What had piled up before a slow browser leaves."""
    peer.wire.buffered = 0
    bench.gateway.writable(peer)


class TestStates:
    def test_first_all_then_what_changed(self, bench: Bench) -> None:
        """Of every station that has reported, watched or not; those that only announced themselves have none."""
        report(bench, "st-1", "online", "error")
        report(bench, "st-2")
        bench.station("st-3")
        peer = bench.join(watch=["st-2"], states=True)
        assert told(peer) == [("st-1", "error"), ("st-2", "online")]
        bench.gateway.flush()
        assert told(peer) == []
        report(bench, "st-1", "online", "warning")
        report(bench, "st-2", "online")
        report(bench, "st-3", "offline")
        bench.gateway.flush()
        assert told(peer) == [("st-1", "warning"), ("st-3", "offline")]

    def test_the_shape(self, bench: Bench) -> None:
        report(bench, "st-1", "error")
        peer = bench.join(watch=[], states=True)
        assert peer.take() == [(STATES, [{"stationId": "st-1", "state": "error"}])]

    def test_who_did_not_ask_is_not_told(self, bench: Bench) -> None:
        """What older clients get is what they always got."""
        plain, peer = bench.join(identity("u1")), bench.join(identity("u2"), states=True)
        station = bench.join(identity(station="ws-1"), states=True)
        plain.take()
        report(bench, "st-1", "error")
        bench.gateway.flush()
        assert [event for event, _ in plain.take()] == ["station-connected", STATUSES]
        assert told(peer) == [("st-1", "error")]
        assert station.take() == []

    def test_all_share_the_bytes(self, bench: Bench) -> None:
        """Encoded and framed once, whatever else they watch."""
        peers = [bench.join(identity(f"u{number}"), watch=[], states=True) for number in range(3)]
        report(bench, "st-1", "error")
        for peer in peers:
            peer.take()
        bench.gateway.flush()
        frames = [peer.wire.frames[-1] for peer in peers]
        assert frames[0] is frames[1] is frames[2]

    def test_switched_by_watch(self, bench: Bench) -> None:
        """`states` left out leaves it as it is; asked again while it is on, nothing is sent again."""
        report(bench, "st-1", "error")
        peer = bench.join(watch=[])
        assert bench.call(peer, "station-watch", {"stations": ["st-1"], "states": True}) == {"watching": 1}
        assert [event for event, _ in peer.take()] == [STATES, STATUSES]
        bench.call(peer, "station-watch", {"stations": [], "states": True})
        bench.call(peer, "station-watch", {"stations": []})
        bench.call(peer, "station-unwatch", {"stations": ["st-1"]})
        assert told(peer) == []
        report(bench, "st-1", "online")
        bench.gateway.flush()
        assert told(peer) == [("st-1", "online")]
        bench.call(peer, "station-watch", {"stations": [], "states": False})
        report(bench, "st-1", "error")
        bench.gateway.flush()
        assert told(peer) == []

    def test_unwatch_is_as_a_connection_begins(self, bench: Bench) -> None:
        """All statuses, no states."""
        peer = bench.join(watch=[], states=True)
        bench.call(peer, "station-unwatch", {})
        report(bench, "st-1", "error")
        bench.gateway.flush()
        assert [event for event, _ in peer.take()][1:] == [STATUSES]

    @pytest.mark.parametrize("states", [1, "true", [], {}])
    def test_malformed(self, bench: Bench, states: Any) -> None:
        """Nothing changes, not even what is watched."""
        peer = bench.join(watch=[])
        with pytest.raises(EventError, match="INVALID_ARGUMENT: states: "):
            bench.call(peer, "station-watch", {"stations": ["st-1"], "states": states})
        assert (peer.watch, peer.states) == (frozenset(), False)

    def test_nothing_is_parsed_that_no_one_sees(self, bench: Bench) -> None:
        """All statuses are read only as long as somebody wants states."""
        peer = bench.join(watch=[], states=True)
        bench.join(identity("u2"), watch=[])
        report(bench, "st-1", "online")  # of one that is plainly there, a status is not looked at when it comes
        bench.say("st-1", "status", b"not json")
        bench.gateway.flush()
        assert bench.services.board.counters.invalid == 1
        bench.gateway.disconnect(peer)
        bench.say("st-1", "status", b"not json")
        bench.gateway.flush()
        assert bench.services.board.counters.invalid == 1

    def test_what_changed_while_nobody_looked(self, bench: Bench) -> None:
        """It is in the first batch, and not said again by the flush after it."""
        watcher = bench.join(identity("u1"))
        report(bench, "st-1", "error")
        bench.gateway.flush()
        report(bench, "st-1", "warning")
        peer = bench.join(identity("u2"), watch=[], states=True)
        assert told(peer) == [("st-1", "warning")]
        bench.gateway.flush()
        assert told(peer) == []
        assert watcher.take()

    def test_a_newcomer_takes_nothing_from_the_others(self, bench: Bench) -> None:
        """What changed before it came reaches those who were there."""
        peer = bench.join(identity("u1"), watch=[], states=True)
        report(bench, "st-1", "error")
        bench.join(identity("u2"), watch=[], states=True)
        bench.gateway.flush()
        assert told(peer) == [("st-1", "error")]

    def test_a_deleted_station_disappears(self, bench: Bench) -> None:
        """Also from what a slow browser has yet to get."""
        for station_id in ("st-1", "st-2"):
            report(bench, station_id, "error")
        slow = bench.join(identity("u1"), watch=[], states=True)
        slow.wire.buffered = HIGH_WATER + 1
        for station_id in ("st-1", "st-2"):
            report(bench, station_id, "online")
        bench.gateway.flush()
        assert list(slow.pending_states) == ["st-1", "st-2"]
        slow.take()
        report(bench, "st-1", "warning")
        bench.gateway.revoke_station("st-1", None, 1.0)
        read(slow, bench)
        assert told(slow) == [("st-2", "online")]
        bench.gateway.flush()
        assert told(bench.join(identity("u2"), watch=[], states=True)) == [("st-2", "online")]


class TestSlowReader:
    def test_one_newest_state_of_each(self, bench: Bench) -> None:
        """Nothing piles up: what it missed is a set of stations, and it gets their state as it is when it reads."""
        slow, quick = (bench.join(identity(f"u{number}"), watch=[], states=True) for number in range(2))
        slow.wire.buffered = HIGH_WATER + 1
        for state in ("error", "warning", "offline"):
            report(bench, "st-1", state)
            report(bench, "st-2", state)
            bench.gateway.flush()
        assert told(slow) == []
        assert len(told(quick)) == 6
        read(slow, bench)
        assert told(slow) == [("st-1", "offline"), ("st-2", "offline")]
        assert slow.wire.closed is None

    def test_one_batch_at_a_time(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        """Batches are cut; the next leaves when the one before has been read. None of it closes anybody."""
        monkeypatch.setattr("bridge.peer.HIGH_WATER", 100)
        monkeypatch.setattr(cut, "__defaults__", (200,))
        for number in range(10):
            report(bench, f"st-{number}", "error")
        slow = bench.join(reads=False, watch=[], states=True)
        sizes, seen = list[int](), list[str]()
        while slow.wire.frames:
            (frame,) = slow.wire.frames
            sizes.append(len(frame))
            seen += [station_id for station_id, _ in told(slow)]
            read(slow, bench)
        assert seen == [f"st-{number}" for number in range(10)]
        assert max(sizes) < 200 + len(STATES) + 10
        assert slow.wire.closed is None

    def test_a_flush_of_many(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        """Who does not read the first batch of it has the others yet to get; who does gets all."""
        monkeypatch.setattr("bridge.peer.HIGH_WATER", 100)
        monkeypatch.setattr(cut, "__defaults__", (200,))
        quick = bench.join(identity("u1"), watch=[], states=True)
        slow = bench.join(identity("u2"), reads=False, watch=[], states=True)
        for number in range(10):
            report(bench, f"st-{number}", "error")
        slow.wire.frames.clear()
        slow.wire.buffered = 0
        bench.gateway.flush()
        assert len(told(quick)) == 10
        assert len(slow.wire.frames) == 1
        assert len(told(slow)) + len(slow.pending_states) == 10

    def test_a_flush_finds_it_reading_again(self, bench: Bench) -> None:
        """It gets all that it has missed, each once."""
        slow = bench.join(watch=[], states=True)
        slow.wire.buffered = HIGH_WATER + 1
        report(bench, "st-1", "error")
        report(bench, "st-2", "error")
        bench.gateway.flush()
        slow.take()
        slow.wire.buffered = 0
        report(bench, "st-2", "warning")
        bench.gateway.flush()
        assert told(slow) == [("st-1", "error"), ("st-2", "warning")]
        assert slow.pending_states == {}

    def test_states_before_statuses(self, bench: Bench) -> None:
        """Statuses that never end do not keep it from knowing how the fleet is."""
        slow = bench.join(reads=False, states=True)
        slow.wire.buffered = HIGH_WATER + 1
        report(bench, "st-1", "error")
        bench.gateway.flush()
        slow.take()
        read(slow, bench)
        assert [event for event, _ in slow.take()] == [STATES, STATUSES]

    def test_switched_off_while_slow(self, bench: Bench) -> None:
        slow = bench.join(watch=[], states=True)
        slow.wire.buffered = HIGH_WATER + 1
        report(bench, "st-1", "error")
        bench.gateway.flush()
        bench.call(slow, "station-watch", {"stations": [], "states": False})
        read(slow, bench)
        assert told(slow) == []


RINGING, ANSWERED = "station-incoming-call", "station-call-answered"


def rings(peer: FakePeer) -> list[str]:
    """What a browser was told of calls."""
    return [event for event, _ in peer.take() if event in (RINGING, ANSWERED)]


def call(bench: Bench, station_id: str = "st-1", timestamp: int = 5) -> None:
    bench.say(station_id, "call", {"timestamp": timestamp})


def answer(bench: Bench, peer: FakePeer, station_id: str = "st-1") -> None:
    """Somebody invites the station."""
    room_id = bench.call(peer, "create-room")["roomId"]
    bench.call(peer, "station-invite", {"stationId": station_id, "roomId": room_id})


class TestCalls:
    def test_answered_once(self, bench: Bench) -> None:
        """All browsers hear it, the one that invites too, and stations do not; a second invitation answers nothing."""
        bench.station()
        one, other = bench.join(identity("u1")), bench.join(identity("u2", "viewer"))
        station = bench.join(identity(station="ws-1"))
        call(bench)
        answer(bench, one)
        answer(bench, one)
        assert (ANSWERED, {"stationId": "st-1", "by": one.peer_id}) in other.take()
        assert rings(one) == [RINGING, ANSWERED]
        assert rings(other) == []
        assert station.take() == []

    def test_an_invitation_without_a_call(self, bench: Bench) -> None:
        bench.station()
        bench.station("st-2")
        peer = bench.join()
        call(bench, "st-2")
        answer(bench, peer)
        assert rings(peer) == [RINGING]

    def test_a_failed_invitation_answers_nothing(self, bench: Bench) -> None:
        bench.station()
        peer = bench.join()
        call(bench)
        with pytest.raises(EventError, match="ROOM_NOT_FOUND"):
            bench.call(peer, "station-invite", {"stationId": "st-1", "roomId": "nowhere0"})
        assert rings(peer) == [RINGING]
        assert bench.services.calls.open() == [("st-1", 5)]

    def test_calling_again(self, bench: Bench) -> None:
        """Pushed each time; answered once, and again after a new call."""
        bench.station()
        peer = bench.join()
        call(bench)
        call(bench, timestamp=6)
        answer(bench, peer)
        call(bench)
        answer(bench, peer)
        assert rings(peer) == [RINGING, RINGING, ANSWERED, RINGING, ANSWERED]

    def test_a_page_that_is_loaded_again(self, bench: Bench) -> None:
        """With `states` it gets the calls that are open; older clients get what they always got: nothing."""
        for station_id in ("st-1", "st-2"):
            bench.station(station_id)
            call(bench, station_id)
        answer(bench, bench.join(), "st-1")
        new, old = bench.join(identity("u2"), watch=[], states=True), bench.join(identity("u3"), watch=[])
        assert new.take() == [(RINGING, {"stationId": "st-2", "timestamp": 5})]
        assert old.take() == []
        bench.call(old, "station-watch", {"stations": [], "states": True})
        assert rings(old) == [RINGING]
        bench.clock.forward(RINGS)
        assert rings(bench.join(identity("u4"), watch=[], states=True)) == []

    def test_a_call_by_websocket(self, bench: Bench) -> None:
        station, peer = bench.join(identity(station="ws-1")), bench.join()
        bench.call(station, "station-register", {"stationId": "ws-1"})
        bench.call(station, "station-call-center", {"stationId": "ws-1"})
        assert rings(bench.join(identity("u2"), states=True)) == [RINGING]
        answer(bench, peer, "ws-1")
        assert rings(peer) == [RINGING, ANSWERED]

    def test_a_deleted_station_rings_no_more(self, bench: Bench) -> None:
        bench.station()
        call(bench)
        bench.gateway.revoke_station("st-1", None, 1.0)
        assert rings(bench.join(states=True)) == []

    @pytest.mark.parametrize("door", ["mqtt", "websocket"])
    def test_a_station_that_left_rings_no_more(self, bench: Bench, door: str) -> None:
        """Who was there ends it by `station-disconnected`; who asks for states later hears no call, when it is back either."""
        peer = bench.join()
        if door == "mqtt":
            bench.station()
            call(bench)
            bench.say("st-1", "offline", {"stationId": "st-1", "reason": "goodbye"})
        else:
            station = bench.join(identity(station="st-1"))
            bench.call(station, "station-register", {"stationId": "st-1"})
            bench.call(station, "station-call-center", {"stationId": "st-1"})
            bench.gateway.disconnect(station)
            bench.link.settle()
        heard = [event for event, _ in peer.take()]
        assert heard == ["station-connected", RINGING, "station-disconnected"]
        assert rings(bench.join(identity("u2"), states=True)) == []
        bench.station()
        assert rings(bench.join(identity("u3"), states=True)) == []
        answer(bench, peer)
        assert rings(peer) == []
