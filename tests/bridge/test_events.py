"""Every event of the contract, its ack, its pushes and its errors, on a gateway without sockets (contract.md section 2)."""

import asyncio
from typing import Any

import orjson
import pytest

from bridge.dispatch import dispatch
from bridge.errors import EventError
from bridge.events import EVENTS
from tests.bridge.fakes import Bench, FakePeer, identity

REQUESTER = "st-1"


@pytest.fixture
def bench() -> Bench:
    return Bench()


def refused(bench: Bench, peer: FakePeer, event: str, data: Any = None) -> str:
    """The error string that an event is answered with."""
    with pytest.raises(EventError) as caught:
        bench.call(peer, event, data)
    return str(caught.value)


def code_of(bench: Bench, peer: FakePeer, event: str, data: Any) -> str:
    """The code of the error that an event is answered with, "" for none; errors that would mislead a page fail."""
    try:
        bench.call(peer, event, data)
    except EventError as error:
        explained = error
    else:
        return ""
    text = str(explained).lower()
    assert not any(word in text for word in ("unauthorized", "jwt", "401")), text
    values = data.values() if isinstance(data, dict) else [data]
    assert not any(isinstance(value, str) and len(value) > 9 and value.lower() in text for value in values)
    return explained.code


def test_ping(bench: Bench) -> None:
    assert bench.call(bench.join(), "ping", {"any": "thing"}) == {"pong": True, "ts": bench.clock.wall}


class TestRooms:
    def test_create_and_check(self, bench: Bench) -> None:
        peer = bench.join()
        room_id = bench.call(peer, "create-room", None)["roomId"]
        assert len(room_id) == 8
        assert bench.call(peer, "check-room", {"roomId": room_id}) == {"exists": True}
        assert bench.call(peer, "check-room", {"roomId": "nowhere0"}) == {"exists": False}
        assert bench.services.rooms.members(room_id) == [peer.peer_id]

    def test_join(self, bench: Bench) -> None:
        """The ack has the others in join order; they hear of the newcomer once."""
        first, second, third = bench.join(), bench.join(identity("u2")), bench.join(identity("u3"))
        room_id = bench.call(first, "create-room")["roomId"]
        bench.call(second, "join-room", {"roomId": room_id})
        ack = bench.call(third, "join-room", {"roomId": room_id})
        assert ack == {"roomId": room_id, "peers": [first.peer_id, second.peer_id]}
        assert bench.call(third, "join-room", {"roomId": room_id}) == ack
        assert second.take() == [("peer-joined", {"peerId": third.peer_id})]
        assert [data["peerId"] for _, data in first.take()] == [second.peer_id, third.peer_id]
        assert third.take() == []

    def test_join_unknown(self, bench: Bench) -> None:
        error = refused(bench, bench.join(), "join-room", {"roomId": "nowhere0"})
        assert error == "ROOM_NOT_FOUND: Room not found"

    def test_leave(self, bench: Bench) -> None:
        """Only a member's leave is announced, to the others."""
        first, second, stranger = bench.join(), bench.join(identity("u2")), bench.join(identity("u3"))
        room_id = bench.call(first, "create-room")["roomId"]
        bench.call(second, "join-room", {"roomId": room_id})
        first.take()
        assert bench.call(stranger, "leave-room", {"roomId": room_id}) is None
        assert first.take() == []
        assert bench.call(second, "leave-room", {"roomId": room_id}) is None
        left = {"peerId": second.peer_id}
        assert first.take() == [("peer-left", left), ("peer-disconnected", left)]
        assert second.take() == []

    def test_a_socket_that_dies(self, bench: Bench) -> None:
        first, second = bench.join(), bench.join(identity("u2"))
        room_id = bench.call(first, "create-room")["roomId"]
        bench.call(second, "join-room", {"roomId": room_id})
        first.take()
        bench.gateway.disconnect(second)
        assert ("peer-disconnected", {"peerId": second.peer_id}) in first.take()


SIGNALS = [
    ("offer", "offer", "SIGNAL_OFFER_INVALID"),
    ("answer", "answer", "SIGNAL_ANSWER_INVALID"),
    ("ice-candidate", "candidate", "SIGNAL_ICE_INVALID"),
]


@pytest.mark.parametrize(("event", "name", "code"), SIGNALS)
class TestSignaling:
    def room(self, bench: Bench, count: int = 3) -> tuple[str, list[FakePeer]]:
        peers = [bench.join(identity(f"u{number}")) for number in range(count)]
        room_id = bench.call(peers[0], "create-room")["roomId"]
        for peer in peers[1:]:
            bench.call(peer, "join-room", {"roomId": room_id})
        for peer in peers:
            peer.take()
        return room_id, peers

    def test_to_a_peer(self, bench: Bench, event: str, name: str, code: str) -> None:
        _, (one, other, third) = self.room(bench)
        assert bench.call(one, event, {"to": other.peer_id, name: {"sdp": "v=0"}}) is None
        assert other.take() == [(event, {"from": one.peer_id, name: {"sdp": "v=0"}})]
        assert third.take() == []

    def test_to_a_room(self, bench: Bench, event: str, name: str, code: str) -> None:
        room_id, (one, other, third) = self.room(bench)
        bench.call(one, event, {"to": room_id, name: {"sdp": "v=0"}})
        assert len(other.take()) == len(third.take()) == 1
        assert one.take() == []

    def test_strangers(self, bench: Bench, event: str, name: str, code: str) -> None:
        """Peers who share neither a room nor a stream may not signal; nor may a stranger to a room."""
        room_id, (one, *_) = self.room(bench)
        stranger = bench.join(identity("stranger"))
        data = {"to": one.peer_id, name: {"sdp": "v=0"}}
        if event == "ice-candidate":  # as of a peer that has just left: dropped in silence
            assert bench.call(stranger, event, data) is None
        else:
            assert refused(bench, stranger, event, data).startswith("FORBIDDEN: ")
        assert refused(bench, stranger, event, data | {"to": room_id}).startswith("FORBIDDEN: ")
        assert one.take() == []

    def test_nobody(self, bench: Bench, event: str, name: str, code: str) -> None:
        """A peer that is not there is an error; a candidate for one that just left is dropped in silence."""
        peer = bench.join()
        data = {"to": "nobody", name: {"sdp": "v=0"}}
        if event == "ice-candidate":
            assert bench.call(peer, event, data) is None
        else:
            assert refused(bench, peer, event, data) == "SIGNAL_PEER_NOT_FOUND: Peer not found"

    @pytest.mark.parametrize("bad", [None, "text", 7, [], True])
    def test_malformed(self, bench: Bench, event: str, name: str, code: str, bad: Any) -> None:
        _, (one, other, _) = self.room(bench)
        assert refused(bench, one, event, {"to": other.peer_id, name: bad}).startswith(f"{code}: {name}: ")
        assert refused(bench, one, event, {"to": other.peer_id}).startswith(f"{code}: {name}: ")
        assert refused(bench, one, event, {"to": [other.peer_id], name: {}}).startswith("INVALID_ARGUMENT: to: ")
        assert other.take() == []


class TestRegister:
    def test_station_token(self, bench: Bench) -> None:
        """Browsers hear of it once; the station itself gets no fleet pushes."""
        browser, station = bench.join(), bench.join(identity(station="st-1"))
        assert bench.call(station, "station-register", {"stationId": "st-1"}) == {"stationId": "st-1"}
        assert bench.call(station, "station-register", {"stationId": "st-1"}) == {"stationId": "st-1"}
        assert browser.take() == [("station-connected", {"stationId": "st-1"})]
        assert station.take() == []
        bench.gateway.disconnect(station)
        assert browser.take() == [("station-disconnected", {"stationId": "st-1"})]

    @pytest.mark.parametrize(
        "who",
        [identity(role="operator"), identity(role="viewer"), identity(station="st-2")],
        ids=["operator", "viewer", "other"],
    )
    def test_forbidden(self, bench: Bench, who: Any) -> None:
        browser = bench.join(identity("someone"))
        assert refused(bench, bench.join(who), "station-register", {"stationId": "st-1"}).startswith("FORBIDDEN: ")
        assert browser.take() == []

    def test_open_registration(self) -> None:
        """For trials anybody signed in may register; one identity does not take another's station."""
        bench = Bench(open_registration=True)
        mine, theirs = bench.join(identity("u1")), bench.join(identity("u2"))
        bench.call(mine, "station-register", {"stationId": "st-1"})
        error = refused(bench, theirs, "station-register", {"stationId": "st-1"})
        assert error.startswith("STATION_ALREADY_REGISTERED: ")

    def test_newest_socket_wins(self, bench: Bench) -> None:
        """The same identity again: the newest is asked, the old one is told, and its close changes nothing."""
        browser = bench.join()
        old, new = bench.join(identity(station="st-1")), bench.join(identity(station="st-1"))
        bench.call(old, "station-register", {"stationId": "st-1"})
        bench.call(new, "station-register", {"stationId": "st-1"})
        bench.call(new, "station-register", {"stationId": "st-1"})
        assert old.take() == [("station-replaced", {"stationId": "st-1"})]
        bench.call(browser, "station-request-status", {"stationId": "st-1"})
        assert new.take() == [("cmd-report-status", {"requesterId": browser.peer_id})]
        bench.gateway.disconnect(old)
        assert browser.take() == [("station-connected", {"stationId": "st-1"})]
        assert bench.call(browser, "get-online-stations") == {"stations": ["st-1"]}

    @pytest.mark.parametrize("bad", ["a/b", "+", "#", "a\0b", "x" * 65, "", "ü", None, 7, ["st-1"], {}])
    def test_bad_ids(self, bench: Bench, bad: Any) -> None:
        peer = bench.join(identity(station="st-1"))
        error = refused(bench, peer, "station-register", {"stationId": bad})
        assert error.startswith("INVALID_ARGUMENT: stationId: ")

    def test_a_page_that_becomes_a_station(self) -> None:
        """From its registration on it gets no fleet pushes, not even of itself."""
        bench = Bench(open_registration=True)
        page = bench.join()
        bench.call(page, "station-register", {"stationId": "st-1"})
        assert page.take() == []

    def test_the_last_words_of_a_socket(self, bench: Bench) -> None:
        """What a socket said just before it closed comes back from the broker later, and brings nobody back."""
        browser, station = bench.join(), bench.join(identity(station="st-1"))
        bench.call(station, "station-register", {"stationId": "st-1"})
        dispatch(bench.gateway, station, "station-call-center", {"stationId": "st-1"}, lambda *_: None)
        dispatch(bench.gateway, station, "station-status-update", {"devices": []}, lambda *_: None)
        bench.gateway.disconnect(station)
        bench.link.settle()
        told = [event for event, _ in browser.take() if event != "station-incoming-call"]
        assert told == ["station-connected", "station-disconnected"]
        assert bench.call(browser, "get-online-stations") == {"stations": []}

    def test_a_socket_cannot_be_made_up(self, bench: Bench) -> None:
        """Nothing that a station publishes by MQTT makes the hub believe in a WebSocket."""
        browser = bench.join()
        for number in range(10):
            birth = {"sessionId": "s", "via": "websocket", "peer": f"bbbbbbbb{number}", "statusInterval": 5}
            bench.say("st-1", "online", birth)
        assert bench.services.presence.sockets() == []
        assert bench.call(browser, "station-request-status", {"stationId": "st-1"}) == {"via": "mqtt"}
        bench.say("st-1", "offline", {"sessionId": "s", "reason": "goodbye"})
        assert bench.call(browser, "get-online-stations") == {"stations": []}

    def test_another_station_on_the_same_socket(self) -> None:
        bench = Bench(open_registration=True)
        browser, peer = bench.join(), bench.join(identity("u2"))
        bench.call(peer, "station-register", {"stationId": "st-1"})
        bench.call(peer, "station-register", {"stationId": "st-2"})
        assert [event for event, _ in browser.take()] == [
            "station-connected",
            "station-connected",
            "station-disconnected",
        ]
        assert bench.call(browser, "get-online-stations") == {"stations": ["st-2"]}


def test_get_online_stations(bench: Bench) -> None:
    for station_id in ("st-2", "st-1"):
        bench.station(station_id)
    assert bench.call(bench.join(), "get-online-stations") == {"stations": ["st-1", "st-2"]}


class TestInvite:
    def test_mqtt_station(self, bench: Bench) -> None:
        """The station hears by MQTT, enters by MQTT, and the members hear of it as of any peer."""
        bench.station()
        peer = bench.join()
        room_id = bench.call(peer, "create-room")["roomId"]
        peer.take()
        assert bench.call(peer, "station-invite", {"stationId": "st-1", "roomId": room_id}) is None
        assert bench.commands() == [{"type": "join-room", "roomId": room_id, "inviterId": peer.peer_id}]
        bench.say("st-1", "room", {"action": "join", "roomId": room_id})
        assert peer.take() == [("peer-joined", {"peerId": "station:st-1"})]
        bench.say("st-1", "signal/out", {"event": "offer", "peer": peer.peer_id, "offer": {"sdp": "v=0"}})
        assert peer.take() == [("offer", {"from": "station:st-1", "offer": {"sdp": "v=0"}})]
        bench.call(peer, "answer", {"to": "station:st-1", "answer": {"sdp": "v=1"}})
        sent = [orjson.loads(raw) for raw in bench.link.sent("stations/st-1/signal/in")]
        assert sent == [{"event": "answer", "peer": peer.peer_id, "answer": {"sdp": "v=1"}}]
        bench.say("st-1", "offline", {"sessionId": "s1", "reason": "goodbye"})
        assert ("peer-disconnected", {"peerId": "station:st-1"}) in peer.take()

    def test_ws_station(self, bench: Bench) -> None:
        station, peer = bench.join(identity(station="st-1")), bench.join()
        bench.call(station, "station-register", {"stationId": "st-1"})
        room_id = bench.call(peer, "create-room")["roomId"]
        assert refused(bench, station, "join-room", {"roomId": room_id}).startswith("FORBIDDEN: ")
        bench.call(peer, "station-invite", {"stationId": "st-1", "roomId": room_id})
        assert station.take() == [("station-cmd-join-room", {"roomId": room_id, "inviterId": peer.peer_id})]
        assert bench.commands() == []
        assert bench.call(station, "join-room", {"roomId": room_id})["peers"] == [peer.peer_id]

    def test_an_uninvited_station_stays_out(self, bench: Bench) -> None:
        bench.station()
        peer = bench.join()
        room_id = bench.call(peer, "create-room")["roomId"]
        bench.say("st-1", "room", {"action": "join", "roomId": room_id})
        assert bench.services.rooms.members(room_id) == [peer.peer_id]

    def test_errors(self, bench: Bench) -> None:
        peer = bench.join()
        room_id = bench.call(peer, "create-room")["roomId"]
        offline = refused(bench, peer, "station-invite", {"stationId": "st-1", "roomId": room_id})
        assert offline == "STATION_OFFLINE: Station offline"
        bench.station()
        nowhere = refused(bench, peer, "station-invite", {"stationId": "st-1", "roomId": "nowhere0"})
        assert nowhere == "ROOM_NOT_FOUND: Room not found"
        assert bench.commands() == []


class TestCallCenter:
    def test_ws_station(self, bench: Bench) -> None:
        browsers, station = [bench.join(), bench.join(identity("u2", "viewer"))], bench.join(identity(station="st-1"))
        assert refused(bench, station, "station-call-center", {"stationId": "st-1"}).startswith(
            "STATION_NOT_REGISTERED: "
        )
        bench.call(station, "station-register", {"stationId": "st-1"})
        for browser in browsers:
            browser.take()
        assert bench.call(station, "station-call-center", {"stationId": "st-1"}) is None
        for browser in browsers:
            assert browser.take() == [("station-incoming-call", {"stationId": "st-1", "timestamp": bench.clock.wall})]
        assert station.take() == []

    def test_mqtt_station(self, bench: Bench) -> None:
        browser = bench.join()
        bench.station()
        browser.take()
        bench.say("st-1", "call", {"timestamp": 5})
        assert browser.take() == [("station-incoming-call", {"stationId": "st-1", "timestamp": 5})]

    @pytest.mark.parametrize("who", [identity(), identity(role="admin"), identity(station="st-2")])
    def test_of_another(self, bench: Bench, who: Any) -> None:
        browser, other = bench.join(identity("someone")), bench.join(who)
        assert refused(bench, other, "station-call-center", {"stationId": "st-1"}).startswith("FORBIDDEN: ")
        assert browser.take() == []


class TestStream:
    def test_mqtt_station(self, bench: Bench) -> None:
        """The request goes by MQTT, the answer to the requester alone, with the camera it asked for."""
        bench.station()
        peer, other = bench.join(), bench.join(identity("u2"))
        ask = {"stationId": "st-1", "cameraId": "cam-1", "offer": {"sdp": "v=0"}}
        assert bench.call(peer, "station-cmd-request-stream", ask) == {"status": "request-sent"}
        (command,) = bench.commands()
        assert command == {
            "type": "start-stream",
            "requesterId": peer.peer_id,
            "cameraId": "cam-1",
            "offer": {"sdp": "v=0"},
        }
        bench.say("st-1", "stream", {"requesterId": peer.peer_id, "status": "ready", "url": "rtsp://x"})
        ready = {
            "stationId": "st-1",
            "cameraId": "cam-1",
            "requesterId": peer.peer_id,
            "status": "ready",
            "url": "rtsp://x",
        }
        assert peer.take() == [("station-stream-ready", ready)]
        assert other.take() == []

    def test_ws_station(self, bench: Bench) -> None:
        station, peer = bench.join(identity(station="st-1")), bench.join()
        bench.call(station, "station-register", {"stationId": "st-1"})
        peer.take()
        bench.call(peer, "station-cmd-request-stream", {"stationId": "st-1", "cameraId": "cam-1"})
        assert station.take() == [("station-cmd-start-stream", {"requesterId": peer.peer_id, "cameraId": "cam-1"})]
        answer = {"requesterId": peer.peer_id, "status": "ready", "answer": {"sdp": "v=1"}, "stationId": "st-9"}
        assert bench.call(station, "station-cmd-stream-response", answer) is None
        ((event, data),) = peer.take()
        assert event == "station-stream-ready"
        assert data == {
            "stationId": "st-1",
            "cameraId": "cam-1",
            "requesterId": peer.peer_id,
            "status": "ready",
            "answer": {"sdp": "v=1"},
        }
        bench.call(peer, "ice-candidate", {"to": station.peer_id, "candidate": {"candidate": "c"}})
        assert station.take() == [("ice-candidate", {"from": peer.peer_id, "candidate": {"candidate": "c"}})]

    def test_unasked_answers_go_nowhere(self, bench: Bench) -> None:
        """A stream response counts only for a request that is open, of the station that was asked."""
        bench.station("st-1")
        bench.station("st-2")
        peer = bench.join()
        peer.take()
        bench.say("st-1", "stream", {"requesterId": peer.peer_id, "status": "ready"})
        bench.call(peer, "station-cmd-request-stream", {"stationId": "st-1", "cameraId": "cam-1"})
        bench.say("st-2", "stream", {"requesterId": peer.peer_id, "status": "ready"})
        bench.say("st-1", "stream", {"requesterId": peer.peer_id, "status": "ready", "cameraId": "cam-9"})
        assert peer.take() == []
        assert bench.gateway.counters.stray_stream_responses == 3

    def test_errors(self, bench: Bench) -> None:
        peer, station = bench.join(), bench.join(identity(station="st-1"))
        offline = refused(bench, peer, "station-cmd-request-stream", {"stationId": "st-1", "cameraId": "c"})
        assert offline == "STATION_OFFLINE: Station offline or not found"
        unregistered = refused(bench, station, "station-cmd-stream-response", {"requesterId": "x", "status": "ready"})
        assert unregistered.startswith("STATION_NOT_REGISTERED: ")


class TestRequestStatus:
    def test_mqtt_station(self, bench: Bench) -> None:
        """The requester alone gets the answer at once, before the next batch."""
        bench.station()
        peer, other = bench.join(), bench.join(identity("u2", "viewer"))
        assert bench.call(peer, "station-request-status", {"stationId": "st-1"}) == {"via": "mqtt"}
        assert bench.commands() == [{"type": "report-status", "requesterId": peer.peer_id}]
        bench.say("st-1", "status", {"devices": [], "n": 1})
        ((event, status),) = peer.take()
        assert (event, status["stationId"], status["n"]) == ("station-status-update", "st-1", 1)
        assert other.take() == []
        bench.say("st-1", "status", {"devices": [], "n": 2})
        assert peer.take() == []

    def test_ws_station(self, bench: Bench) -> None:
        station, peer = bench.join(identity(station="st-1")), bench.join()
        bench.call(station, "station-register", {"stationId": "st-1"})
        assert bench.call(peer, "station-request-status", {"stationId": "st-1"}) == {"via": "websocket"}
        assert station.take() == [("cmd-report-status", {"requesterId": peer.peer_id})]
        peer.take()
        assert bench.call(station, "station-status-update", {"devices": [], "mine": True}) is None
        ((event, status),) = peer.take()
        assert (event, status["stationId"], status["mine"]) == ("station-status-update", "st-1", True)

    def test_a_bad_answer_is_no_answer(self, bench: Bench) -> None:
        bench.station()
        peer = bench.join()
        bench.call(peer, "station-request-status", {"stationId": "st-1"})
        bench.say("st-1", "status", b"not json")
        bench.say("st-1", "status", {"updatedAt": 1})
        assert peer.take() == []
        bench.say("st-1", "status", {"devices": []})
        assert len(peer.take()) == 1

    def test_unreachable(self, bench: Bench) -> None:
        error = refused(bench, bench.join(), "station-request-status", {"stationId": "st-1"})
        assert error == "STATION_UNREACHABLE: Station unreachable"

    def test_not_registered(self, bench: Bench) -> None:
        station = bench.join(identity(station="st-1"))
        error = refused(bench, station, "station-status-update", {"devices": []})
        assert error.startswith("STATION_NOT_REGISTERED: ")


class TestCommand:
    async def start(self, bench: Bench, **data: Any) -> tuple[FakePeer, list[Any], dict[str, Any]]:
        """A command is under way: who sent it, where its answers go, and what the station got."""
        bench.station()
        peer, answers = bench.join(), list[Any]()
        ask = {"stationId": "st-1", "type": "open-gate", "params": {"lane": 2}} | data
        dispatch(
            bench.gateway, peer, "station-command", ask, lambda ack, error: answers.append(error or orjson.loads(ack))
        )
        await asyncio.sleep(0)
        (command,) = bench.commands()
        return peer, answers, command

    async def settled(self, bench: Bench) -> None:
        await asyncio.gather(*bench.gateway.tasks)

    async def test_done(self, bench: Bench) -> None:
        """The ack waits for the station's word: received, progress, done."""
        peer, answers, command = await self.start(bench, timeoutMs=2_000)
        assert command["requesterId"] == peer.peer_id
        assert command["type"] == "open-gate"
        assert command["params"] == {"lane": 2}
        assert command["ttlMs"] == 2_000
        assert command["expiresAt"] == bench.clock.wall + 2_000
        bench.say("st-1", "reply", {"id": command["id"], "stage": "received"})
        bench.say("st-1", "reply", {"id": command["id"], "stage": "progress"})
        assert answers == []
        bench.clock.forward(0.25)
        bench.say("st-1", "reply", {"id": command["id"], "stage": "done", "result": {"opened": True}})
        await self.settled(bench)
        assert answers == [{"id": command["id"], "stage": "done", "result": {"opened": True}, "ms": 250}]

    async def test_error(self, bench: Bench) -> None:
        """What the station said comes beside the error, never inside it."""
        _, answers, command = await self.start(bench)
        bench.say("st-1", "reply", {"id": command["id"], "stage": "error", "error": "jwt unauthorized 401"})
        await self.settled(bench)
        assert str(answers[0]) == "STATION_ERROR: The station reported an error"
        assert answers[0].detail == "jwt unauthorized 401"

    @pytest.mark.parametrize("delivered", [True, False])
    async def test_timeout(self, bench: Bench, delivered: bool) -> None:
        _, answers, command = await self.start(bench)
        if delivered:
            bench.say("st-1", "reply", {"id": command["id"], "stage": "received"})
        bench.clock.forward(5.1)
        bench.services.tick()
        await self.settled(bench)
        assert str(answers[0]).startswith("STATION_TIMEOUT: ")
        assert f"delivered={str(delivered).lower()}" in str(answers[0])

    async def test_another_stations_reply_does_not_count(self, bench: Bench) -> None:
        _, answers, command = await self.start(bench)
        bench.say("st-2", "reply", {"id": command["id"], "stage": "done"})
        assert answers == []

    async def test_ws_station(self, bench: Bench) -> None:
        """A station on WebSocket gets the command as an event and answers with another."""
        station, peer, answers = bench.join(identity(station="st-1")), bench.join(), list[Any]()
        bench.call(station, "station-register", {"stationId": "st-1"})
        ask = {"stationId": "st-1", "type": "open-gate"}
        dispatch(
            bench.gateway, peer, "station-command", ask, lambda ack, error: answers.append(error or orjson.loads(ack))
        )
        ((event, command),) = station.take()
        assert event == "station-command"
        assert set(command) == {"type", "id", "requesterId", "expiresAt", "ttlMs"}
        bench.call(station, "station-command-reply", {"id": command["id"], "stage": "done"})
        await self.settled(bench)
        assert answers[0]["stage"] == "done"

    def test_errors(self, bench: Bench) -> None:
        peer = bench.join()
        assert (
            refused(bench, peer, "station-command", {"stationId": "st-1", "type": "x"})
            == "STATION_OFFLINE: Station offline"
        )
        bench.station()
        for bad in ({"timeoutMs": 99}, {"timeoutMs": 60_001}, {"type": ""}, {"type": "report-status"}):
            error = refused(bench, peer, "station-command", {"stationId": "st-1", "type": "x"} | bad)
            assert error.startswith("INVALID_ARGUMENT: ")
        assert bench.commands() == []


class TestWatch:
    def statuses(self, peer: FakePeer) -> list[str]:
        return [s["stationId"] for event, batch in peer.take() if event == "batch-station-status-update" for s in batch]

    def test_watch_replaces(self, bench: Bench) -> None:
        """The latest of the watched comes before the ack; later batches hold the watched alone."""
        for station_id in ("st-1", "st-2"):
            bench.say(station_id, "status", {"devices": []})
        peer, everything, nothing = bench.join(), bench.join(identity("u2")), bench.join(identity("u3"))
        assert self.statuses(peer) == ["st-1", "st-2"]
        self.statuses(everything)
        assert bench.call(peer, "station-watch", {"stations": ["st-2"]}) == {"watching": 1}
        assert bench.call(nothing, "station-watch", {"stations": []}) == {"watching": 0}
        assert self.statuses(peer) == ["st-2"]
        self.statuses(nothing)
        bench.say("st-1", "status", {"devices": []})
        bench.say("st-2", "status", {"devices": []})
        bench.gateway.flush()
        assert self.statuses(peer) == ["st-2"]
        assert self.statuses(everything) == ["st-1", "st-2"]
        assert self.statuses(nothing) == []

    def test_unwatch(self, bench: Bench) -> None:
        for station_id in ("st-1", "st-2", "st-3"):
            bench.station(station_id)
        peer = bench.join()
        assert bench.call(peer, "station-unwatch", {"stations": ["st-1"]}) == {"watching": 2}
        assert bench.call(peer, "station-unwatch", {"stations": ["st-2", "st-9"]}) == {"watching": 1}
        assert bench.call(peer, "station-unwatch", {}) == {"watching": 3}
        assert peer.watch is None


class TestRoles:
    """Who may do what (contract.md section 5)."""

    OPERATOR = ("station-invite", "station-cmd-request-stream", "station-command")

    @pytest.mark.parametrize("event", sorted(EVENTS))
    def test_viewer(self, bench: Bench, event: str) -> None:
        peer = bench.join(identity(role="viewer"))
        assert (code_of(bench, peer, event, "garbage") == "FORBIDDEN") is (event in self.OPERATOR)

    @pytest.mark.parametrize("event", sorted(EVENTS))
    def test_station(self, bench: Bench, event: str) -> None:
        peer = bench.join(identity(station="st-1"))
        people = {"create-room", "get-online-stations", "station-request-status", "station-watch", "station-unwatch"}
        assert (code_of(bench, peer, event, "garbage") == "FORBIDDEN") is (event in people | set(self.OPERATOR))


HOSTILE: list[Any] = [None, 7, -1.5, True, "text", "x" * 100_000, [], ["a"], {}, {"a": {"b": []}}, "\0", "a/b", 2**70]


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("event", sorted(EVENTS))
class TestBadInput:
    """Every field of every event with null, wrong types, missing, huge, nested: an error, nothing else."""

    FINE = frozenset({"create-room", "get-online-stations", "ping"})

    @pytest.mark.parametrize("data", [None, 7, "text", [], True, [{"stationId": "st-1"}]])
    def test_no_object(self, bench: Bench, event: str, data: Any) -> None:
        who = identity(role="admin") if not EVENTS[event].stations else identity(station="st-1")
        if event in self.FINE:
            bench.call(bench.join(who), event, data)
        else:
            assert refused(bench, bench.join(who), event, data) == "INVALID_ARGUMENT: data: not an object"

    async def test_hostile_fields(self, bench: Bench, event: str) -> None:
        """No bad value of any field is answered with INTERNAL, echoes the value, or reaches anybody else."""
        bench.station()
        good: dict[str, Any] = {
            "stationId": "st-1",
            "roomId": "nowhere0",
            "to": "nobody",
            "cameraId": "c",
            "requesterId": "r",
        }
        good |= {"status": "ready", "type": "x", "id": "i", "stage": "done", "stations": ["st-1"]}
        good |= {"offer": {"a": 1}, "answer": {"a": 1}, "candidate": {"a": 1}}
        peers = [bench.join(identity(role="admin")), bench.join(identity(station="st-1"))]
        witness = bench.join(identity("witness"))
        witness.take()
        peer = peers[EVENTS[event].stations]
        for field in EVENTS[event].data.model_fields.values():
            name = str(field.alias)
            for value in [*HOSTILE, deep(200), deep(1_000)]:
                assert code_of(bench, peer, event, good | {name: value}) != "INTERNAL", (event, name, value)
        await asyncio.sleep(0)
        bench.gateway.stop()
        allowed = {"station-connected", "station-incoming-call"}
        assert {name for name, _ in witness.take()} <= allowed
        assert witness.wire.closed is None


def test_unknown_event(bench: Bench) -> None:
    assert refused(bench, bench.join(), "no-such-event") == "NOT_FOUND: Unknown event"
    assert refused(bench, bench.join(), "__class__", {}) == "NOT_FOUND: Unknown event"


def test_rate_limit() -> None:
    """More than the burst at once is refused; after a while there is room again."""
    bench = Bench(event_rate=10.0, event_burst=5.0)
    peer = bench.join()
    for _ in range(5):
        bench.call(peer, "ping")
    assert refused(bench, peer, "ping") == "RESOURCE_EXHAUSTED: Too many events"
    bench.clock.forward(0.11)
    bench.call(peer, "ping")


def test_broker_out_of_reach(bench: Bench) -> None:
    """Station events are UNAVAILABLE while the link is down; rooms go on; nobody is told of a fleet that flaps."""
    bench.station()
    peer = bench.join()
    bench.link.down()
    for event, row in EVENTS.items():
        if row.broker and row.role in ("viewer", "operator") and not row.stations:
            assert refused(bench, peer, event, {}) == "UNAVAILABLE: The broker cannot be reached"
    bench.call(peer, "create-room")
    peer.take()
    bench.link.up()
    bench.link.settle()
    assert bench.call(peer, "get-online-stations") == {"stations": ["st-1"]}
    assert peer.take() == []
    assert bench.link.retained["live/stations/st-1"]


def test_kicked_by_a_newer_login(bench: Bench) -> None:
    old = bench.join(bench.gateway.authenticator.authenticate(bench.tokens.mint_user("u1", role="operator")))
    bench.clock.forward(1)
    bench.gateway.authenticator.authenticate(bench.tokens.mint_user("u1", role="operator"))
    assert old.take()[-1] == ("kicked", {"reason": "NEW_LOGIN"})
    assert old.wire.closed == (4403, "NEW_LOGIN")


def test_who_goes_on_and_on() -> None:
    """Events beyond the rate are refused; after a hundred in a row the socket is left alone for a while, each time."""
    bench = Bench(event_rate=10, event_burst=5)
    peer = bench.join()

    def ping(times: int) -> list[float]:
        for _ in range(times):
            dispatch(bench.gateway, peer, "ping", None, lambda ack, error: None)
        return peer.wire.held

    assert ping(5 + 99) == []
    assert ping(2) == [0.1, 0.1]
    bench.clock.forward(0.1)
    assert len(ping(1 + 99)) == 2


def test_expired_token_closes(bench: Bench) -> None:
    """A socket is closed 30 s after its token expired."""
    peer = bench.join(identity(expires_at=bench.clock.wall / 1000 + 60))
    bench.clock.forward(89)
    bench.gateway.flush()
    assert peer.wire.closed is None
    bench.clock.forward(2)
    bench.gateway.flush()
    assert peer.wire.closed == (4401, "UNAUTHORIZED: Unauthorized")
