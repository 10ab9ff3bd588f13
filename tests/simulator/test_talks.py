"""Rooms whose signals come, do not come, come twice, or from somebody else."""

from typing import Any

import pytest

from devices.door import RequestFailed
from simulator.browsers.requests import Requests
from simulator.browsers.talks import RoomTalk, StationTalk, Talk
from tests.simulator.stage import FakeClient
from tests.simulator.test_behaviour import Bench

ROOM = {"roomId": "abcd1234"}
STATION = "station:sim-00001"


class Partner:
    """Another browser."""

    number = 1
    available = True

    def __init__(self, bench: Bench) -> None:
        self.hub = FakeClient()
        self.hub.peer_id = "peer-2"
        self.client: Any = self.hub
        self.requests, self.talks = Requests(bench.world, "op 2"), set[Talk]()


@pytest.fixture
def bench() -> Bench:
    """Acks and pushes by hand."""
    return Bench()


@pytest.fixture
def over() -> list[int]:
    """How many talks with stations ended."""
    return []


@pytest.fixture
def station(bench: Bench, over: list[int]) -> StationTalk:
    """The room is made and the station invited."""
    talk = StationTalk(bench.world, bench, "run1.0.1", 0, lambda: over.append(1))
    talk.begin(100.0)
    bench.first("create-room")[1](ROOM)
    return talk


@pytest.fixture
def partner(bench: Bench) -> Partner:
    """Who is talked to."""
    return Partner(bench)


@pytest.fixture
def rooms(bench: Bench, partner: Partner) -> RoomTalk:
    """The partner is on its way into the room."""
    talk = RoomTalk(bench.world, bench, "run1.0.1", partner)
    talk.begin(100.0)
    bench.first("create-room")[1](ROOM)
    return talk


def expected(bench: Bench) -> list[Any]:
    """What Exchanges was told to expect and was not told came."""
    came = [args[:2] for args in bench.judge("exchanges").of("met")]
    return [args[1][1:] for args in bench.judge("exchanges").of("expect") if args[:2] not in came]


def answer(token: str = "run1.0.1", sender: str = STATION) -> dict[str, Any]:
    """As a station gives it."""
    return {"from": sender, "answer": {"type": "answer", "sdp": token}}


def test_a_station_comes_and_answers(bench: Bench, station: StationTalk, over: list[int]) -> None:
    """Then the browser leaves."""
    assert bench.first("station-invite")[0] == {"stationId": "sim-00001"} | ROOM
    bench.behaviour.heard("peer-joined", {"peerId": STATION}, 100.1)
    assert bench.first("offer")[0]["to"] == STATION
    assert not over
    bench.behaviour.heard("answer", answer(), 100.2)
    assert bench.first("leave-room")[0] == ROOM
    assert (over, bench.talks, expected(bench)) == ([1], set(), [])
    bench.behaviour.heard("answer", answer(), 100.3)  # late for everybody
    assert bench.found.errors() == {}


@pytest.mark.parametrize("push", [answer("run1.9.9"), answer(sender="station:sim-00002")])
def test_what_is_not_the_answer(bench: Bench, station: StationTalk, push: dict[str, Any]) -> None:
    """Another's token, and another sender."""
    bench.behaviour.heard("peer-joined", {"peerId": STATION}, 100.1)
    bench.behaviour.heard("answer", push, 100.2)
    assert not station.over
    assert expected(bench) == [("answer",)]


@pytest.mark.parametrize("comes", [False, True])
def test_what_does_not_come_stays_expected(bench: Bench, station: StationTalk, over: list[int], comes: bool) -> None:
    """So that it is found lost: the station, or its answer; the browser leaves all the same."""
    bench.first("station-invite")[1](None)
    if comes:
        bench.behaviour.heard("peer-joined", {"peerId": STATION}, 100.1)
        bench.first("offer")[1](None)
    bench.until(110.0)
    assert not station.over
    bench.until(112.0)
    assert (over, bench.talks) == ([1], set())
    assert expected(bench) == [("answer",) if comes else ("join",)]
    assert not bench.judge("exchanges").of("excuse")
    assert bench.first("leave-room")


def test_a_refused_invitation_leads_to_nothing(bench: Bench, station: StationTalk) -> None:
    """Which the ack's error says."""
    bench.first("station-invite")[1](RequestFailed("STATION_OFFLINE: Station offline"))
    [(excused,)] = bench.judge("exchanges").of("excuse")
    assert all(excused(args[0], args[1]) for args in bench.judge("exchanges").of("expect"))
    bench.until(bench.clock.now + 1.1)
    assert bench.found["ack.errors"] == 1
    assert station.over


def test_two_browsers_say_all_to_each_other(bench: Bench, rooms: RoomTalk, partner: Partner) -> None:
    """In order; what comes twice is an error."""
    assert rooms.heard(bench, "peer-joined", {"peerId": "peer-2"}, 100.0)
    for who, sender, event, name in (
        (partner, "peer-1", "offer", "offer"),
        (bench, "peer-2", "answer", "answer"),
        (partner, "peer-1", "ice-candidate", "candidate"),
        (bench, "peer-2", "ice-candidate", "candidate"),
    ):
        asked = (bench if who is partner else partner).hub.asked[-1]
        assert (asked[0], asked[1]["to"]) == (event, "peer-2" if who is partner else "peer-1")
        push = {"from": sender, name: asked[1][name]}
        assert not rooms.heard(who, event, push | {"from": "else"}, 100.0)
        assert rooms.heard(who, event, push, 100.0)
        assert bench.found.errors() == {}
    assert partner.hub.asked[-1][:2] == ("leave-room", ROOM)
    assert not rooms.over
    rooms.heard(bench, "ice-candidate", push, 100.0)
    assert bench.found.errors() == {"browsers: ice-candidate came without being sent, or twice": 1}
    assert rooms.heard(bench, "peer-left", {"peerId": "peer-2"}, 100.0)
    assert rooms.over
    assert bench.hub.asked[-1][:2] == ("leave-room", ROOM)
    assert expected(bench) == []
    assert not bench.talks
    assert not partner.talks


@pytest.mark.parametrize("who", ["caller", "partner"])
def test_a_lost_member_ends_it(bench: Bench, rooms: RoomTalk, partner: Partner, who: str) -> None:
    """Without a finding; the other one leaves."""
    rooms.heard(bench, "peer-joined", {"peerId": "peer-2"}, 100.0)
    gone = bench if who == "caller" else partner
    gone.client = None
    rooms.lost(gone)
    assert rooms.over
    [(excused,)] = bench.judge("exchanges").of("excuse")
    assert excused("signal", ("run1.0.1", "offer", 0))
    stays = partner if who == "caller" else bench
    assert stays.hub.asked[-1][:2] == ("leave-room", ROOM)
    bench.until(130.0)
    assert bench.found["ack.missing"] == len([each for each in stays.hub.asked if each[0] == "leave-room"])


def test_a_room_that_is_none(bench: Bench) -> None:
    """The ack is a finding; nothing follows."""
    talk = StationTalk(bench.world, bench, "run1.0.1", 0, lambda: None)
    talk.begin(100.0)
    bench.first("create-room")[1]({"roomId": 7})
    assert talk.over
    assert bench.found["ack.wrong"] == 1
    assert len(bench.hub.asked) == 1


@pytest.mark.parametrize("ends", [0.0, 0.9, 1.1, None])
def test_a_hub_that_knows_of_an_end_before_the_tester_does(
    bench: Bench, partner: Partner, rooms: RoomTalk, ends: float | None
) -> None:
    """It may refuse what is said to who has gone, up to a second before the end of that connection is read."""
    bench.behaviour.heard("peer-joined", {"peerId": "peer-2"}, 100.1)
    _, answered = bench.first("offer")
    now = bench.clock.now
    answered(RequestFailed("SIGNAL_PEER_NOT_FOUND: Peer not found"))
    if ends is not None:
        bench.until(now + ends)
        partner.client = FakeClient()  # it came again at once
    bench.until(now + 2.0)
    assert bench.found["ack.errors"] == (0 if ends in (0.0, 0.9) else 1)


def test_what_is_in_doubt_at_the_end_is_judged_then(bench: Bench, partner: Partner, rooms: RoomTalk) -> None:
    bench.behaviour.heard("peer-joined", {"peerId": "peer-2"}, 100.1)
    bench.first("offer")[1](RequestFailed("SIGNAL_PEER_NOT_FOUND: Peer not found"))
    assert bench.found["ack.errors"] == 0
    bench.requests.close()
    partner.client = None
    bench.until(bench.clock.now + 2.0)
    assert bench.found["ack.errors"] == 1
