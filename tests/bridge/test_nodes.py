"""Two hub nodes on one broker: what a browser on one sees of a browser or station on the other (architecture.md section 4)."""

import pytest

from bridge.dispatch import dispatch
from bridge.errors import EventError
from hub.nodes import BEAT, NODE_TIMEOUT
from tests.bridge.fakes import Bench, FakePeer, identity
from tests.fakes import FakeBroker, FakeClock

NODES = ("aaaaaaaa", "bbbbbbbb")


class Cluster:
    """Two nodes that know of each other."""

    def __init__(self) -> None:
        self.broker, self.clock = FakeBroker(), FakeClock()
        self.here, self.there = (Bench(nid=nid, broker=self.broker, clock=self.clock) for nid in NODES)
        self.beat()

    def beat(self) -> None:
        for bench in (self.here, self.there):
            bench.services.tick()
        self.broker.settle()

    def kill_there(self) -> None:
        """A node dies, and the broker publishes its will."""
        self.there.link.connected = False
        self.broker.route(f"live/nodes/{NODES[1]}", b"", retain=True)
        self.broker.settle()

    def meeting(self) -> tuple[FakePeer, FakePeer, FakePeer, str]:
        """A browser of this node and one of the other in a room, and a WebSocket station on the other: with the room's id."""
        browser, theirs = self.here.join(), self.there.join(identity("u2"))
        station = self.there.join(identity(station="ws-1"))
        self.there.call(station, "station-register", {"stationId": "ws-1"})
        room_id = self.here.call(browser, "create-room")["roomId"]
        self.there.call(theirs, "join-room", {"roomId": room_id})
        browser.take()
        return browser, theirs, station, room_id

    def owned_by(self, nid: str) -> str:
        return next(sid for n in range(99) if self.here.services.nodes.owner(sid := f"st-{n}") == nid)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def test_they_know_each_other(cluster: Cluster) -> None:
    assert cluster.here.services.nodes.alive == cluster.there.services.nodes.alive == set(NODES)


@pytest.mark.parametrize("nid", NODES)
def test_presence(cluster: Cluster, nid: str) -> None:
    """One node decides; browsers on both hear it, once."""
    station_id = cluster.owned_by(nid)
    browsers = [cluster.here.join(), cluster.there.join()]
    cluster.here.station(station_id)
    cluster.here.say(station_id, "offline", {"sessionId": "s1", "reason": "goodbye"})
    for browser in browsers:
        assert [event for event, _ in browser.take()] == ["station-connected", "station-disconnected"]
    writers = {
        bench.services.nid for bench in (cluster.here, cluster.there) if bench.link.sent(f"live/stations/{station_id}")
    }
    assert writers == {nid}


def test_rooms_and_signaling(cluster: Cluster) -> None:
    """Peers of two nodes meet in a room, signal each other, and hear of each other's end."""
    mine, theirs = cluster.here.join(), cluster.there.join(identity("u2"))
    room_id = cluster.here.call(mine, "create-room")["roomId"]
    assert cluster.there.call(theirs, "check-room", {"roomId": room_id}) == {"exists": True}
    assert cluster.there.call(theirs, "join-room", {"roomId": room_id})["peers"] == [mine.peer_id]
    assert mine.take() == [("peer-joined", {"peerId": theirs.peer_id})]
    cluster.here.call(mine, "offer", {"to": theirs.peer_id, "offer": {"sdp": "v=0"}})
    assert theirs.take() == [("offer", {"from": mine.peer_id, "offer": {"sdp": "v=0"}})]
    cluster.there.gateway.disconnect(theirs)
    cluster.broker.settle()
    assert ("peer-disconnected", {"peerId": theirs.peer_id}) in mine.take()


def test_ws_station_on_the_other_node(cluster: Cluster) -> None:
    """Commands, invites and stream requests reach the socket on the other node; its answers come back."""
    station, browser = cluster.there.join(identity(station="st-1")), cluster.here.join()
    cluster.there.call(station, "station-register", {"stationId": "st-1"})
    assert browser.take() == [("station-connected", {"stationId": "st-1"})]
    assert cluster.here.call(browser, "station-request-status", {"stationId": "st-1"}) == {"via": "websocket"}
    assert station.take() == [("cmd-report-status", {"requesterId": browser.peer_id})]
    cluster.there.call(station, "station-status-update", {"devices": []})
    assert [event for event, _ in browser.take()] == ["station-status-update"]
    room_id = cluster.here.call(browser, "create-room")["roomId"]
    cluster.here.call(browser, "station-invite", {"stationId": "st-1", "roomId": room_id})
    assert [event for event, _ in station.take()] == ["station-cmd-join-room"]
    cluster.there.call(station, "join-room", {"roomId": room_id})
    cluster.here.call(browser, "station-cmd-request-stream", {"stationId": "st-1", "cameraId": "c"})
    cluster.there.call(station, "station-cmd-stream-response", {"requesterId": browser.peer_id, "status": "ready"})
    assert [event for event, _ in browser.take()] == ["peer-joined", "station-stream-ready"]


def test_a_node_dies(cluster: Cluster) -> None:
    """Its peers leave their rooms, its sockets' stations go offline, its other stations are taken over without a flap."""
    browser, theirs, station = (
        cluster.here.join(),
        cluster.there.join(identity("u2")),
        cluster.there.join(identity(station="ws-1")),
    )
    room_id = cluster.here.call(browser, "create-room")["roomId"]
    cluster.there.call(theirs, "join-room", {"roomId": room_id})
    cluster.there.call(station, "station-register", {"stationId": "ws-1"})
    orphan = cluster.owned_by(NODES[1])
    cluster.here.station(orphan)
    browser.take()
    cluster.kill_there()
    told = browser.take()
    assert ("peer-disconnected", {"peerId": theirs.peer_id}) in told
    assert ("station-disconnected", {"stationId": "ws-1"}) in told
    assert ("station-disconnected", {"stationId": orphan}) not in told
    assert cluster.here.services.rooms.members(room_id) == [browser.peer_id]
    cluster.here.say(orphan, "status", {"devices": []})
    cluster.clock.forward(5)
    cluster.here.services.tick()
    assert browser.take() == []
    assert f"live/rooms/{room_id}/{theirs.peer_id}" not in cluster.broker.retained


def test_a_node_that_goes_without_a_will(cluster: Cluster) -> None:
    """A broker that restarts loses wills: a node that does not beat is gone all the same, and its record cleared."""
    cluster.there.link.connected = False
    for _ in range(int(NODE_TIMEOUT // BEAT) + 1):
        cluster.clock.forward(BEAT)
        cluster.here.services.tick()
        cluster.broker.settle()
    assert cluster.here.services.nodes.alive == {NODES[0]}
    assert f"live/nodes/{NODES[1]}" not in cluster.broker.retained


def test_a_late_will_of_an_earlier_connection(cluster: Cluster) -> None:
    """A node whose own record was cleared by its broken connection's will writes it again."""
    cluster.broker.route(f"live/nodes/{NODES[0]}", b"", retain=True)
    cluster.broker.settle()
    assert NODES[0] not in cluster.there.services.nodes.alive
    cluster.beat()
    assert NODES[0] in cluster.there.services.nodes.alive


def test_kick_across_nodes(cluster: Cluster) -> None:
    """A newer login on one node closes the sockets of the older on the other."""
    old = cluster.here.join(cluster.here.gateway.authenticator.authenticate(cluster.here.tokens.mint_user("u1")))
    cluster.clock.forward(1)
    cluster.there.gateway.authenticator.authenticate(cluster.here.tokens.mint_user("u1"))
    cluster.broker.settle()
    assert old.wire.closed == (4403, "NEW_LOGIN")


def test_a_later_node_knows_ws_stations(cluster: Cluster) -> None:
    """A node that starts later reaches a socket on another, and does not take its silence for absence."""
    station, browser = cluster.here.join(identity(station="ws-1")), cluster.here.join()
    cluster.here.call(station, "station-register", {"stationId": "ws-1"})
    browser.take()
    late = Bench(nid="cccccccc", broker=cluster.broker, clock=cluster.clock)
    asker = late.join(identity("u3"))
    assert late.call(asker, "station-request-status", {"stationId": "ws-1"}) == {"via": "websocket"}
    assert [event for event, _ in station.take()] == ["cmd-report-status"]
    taker = late.join(identity("thief", "admin"))
    with pytest.raises(EventError, match="STATION_ALREADY_REGISTERED"):
        late.call(taker, "station-register", {"stationId": "ws-1"})
    for _ in range(60):
        cluster.clock.forward(1)
        for bench in (late, cluster.here, cluster.there):
            bench.services.tick()
        cluster.broker.settle()
    assert late.services.presence.online_ids() == ["ws-1"]
    assert browser.take() == []


def test_signaling_with_a_ws_station_on_the_other_node(cluster: Cluster) -> None:
    """A stream request makes its two sides acquainted, whichever nodes they are on."""
    station, browser = cluster.there.join(identity(station="ws-1")), cluster.here.join()
    cluster.there.call(station, "station-register", {"stationId": "ws-1"})
    with pytest.raises(EventError, match="FORBIDDEN"):
        cluster.here.call(browser, "offer", {"to": station.peer_id, "offer": {"sdp": "v=0"}})
    cluster.here.call(browser, "station-cmd-request-stream", {"stationId": "ws-1", "cameraId": "c"})
    station.take()
    cluster.there.call(station, "offer", {"to": browser.peer_id, "offer": {"sdp": "v=0"}})
    assert ("offer", {"from": station.peer_id, "offer": {"sdp": "v=0"}}) in browser.take()
    cluster.here.call(browser, "ice-candidate", {"to": station.peer_id, "candidate": {"candidate": "c"}})
    assert [event for event, _ in station.take()] == ["ice-candidate"]


def test_what_happened_while_a_node_was_cut_off(cluster: Cluster) -> None:
    """A member who left, and a socket that closed, while the link was down, are not there when it is back."""
    browser, theirs, station, room_id = cluster.meeting()
    cluster.here.link.down()
    cluster.there.gateway.disconnect(theirs)
    cluster.there.gateway.disconnect(station)
    cluster.broker.settle()
    cluster.here.link.up()
    cluster.broker.settle()
    assert cluster.here.services.rooms.members(room_id) == [browser.peer_id]
    assert ("peer-disconnected", {"peerId": theirs.peer_id}) in browser.take()
    assert cluster.here.services.presence.sockets() == []


def test_a_broker_that_forgot_everything(cluster: Cluster) -> None:
    """A broker that restarts without memory clears nothing: what the others hold stands, nobody sees a flap."""
    browser, theirs, station, room_id = cluster.meeting()
    for bench in (cluster.here, cluster.there):
        bench.link.down()
    cluster.broker.retained.clear()
    for bench in (cluster.here, cluster.there):
        bench.link.up()
        cluster.broker.settle()
    assert browser.take() == []
    assert cluster.here.services.rooms.members(room_id) == [browser.peer_id, theirs.peer_id]
    assert cluster.here.services.presence.online_ids() == ["ws-1"]
    kept = set(cluster.broker.retained)
    assert {
        f"live/rooms/{room_id}/{theirs.peer_id}",
        f"live/sockets/ws-1/{station.peer_id}",
        "live/stations/ws-1",
    } <= kept


def test_what_a_crashed_node_left_behind(cluster: Cluster) -> None:
    """Records of a node that died before this one started are cleared when no such node shows itself."""
    theirs, station = cluster.there.join(identity("u2")), cluster.there.join(identity(station="ws-1"))
    room_id = cluster.there.call(theirs, "create-room")["roomId"]
    cluster.there.call(station, "station-register", {"stationId": "ws-1"})
    cluster.broker.links.clear()
    del cluster.broker.retained[f"live/nodes/{NODES[0]}"], cluster.broker.retained[f"live/nodes/{NODES[1]}"]
    late = Bench(nid="cccccccc", broker=cluster.broker, clock=cluster.clock)
    assert late.services.rooms.members(room_id) == [theirs.peer_id]
    for _ in range(8):
        cluster.clock.forward(BEAT)
        late.services.tick()
        late.link.settle()
    assert late.services.rooms.members(room_id) == []
    assert late.services.presence.online_ids() == []
    assert [topic for topic in cluster.broker.retained if theirs.peer_id in topic or station.peer_id in topic] == []


def test_a_third_node_finds_everything(cluster: Cluster) -> None:
    """A node that starts later reads it all from what the broker kept, and tells nobody anything."""
    browser = cluster.here.join()
    cluster.here.station("st-1")
    room_id = cluster.here.call(browser, "create-room")["roomId"]
    late = Bench(nid="cccccccc", broker=cluster.broker, clock=cluster.clock)
    newcomer = late.join(identity("u3"))
    assert late.call(newcomer, "get-online-stations") == {"stations": ["st-1"]}
    assert late.call(newcomer, "join-room", {"roomId": room_id})["peers"] == [browser.peer_id]
    browser.take()
    for _ in range(4):
        cluster.clock.forward(1)
        late.services.tick()
        cluster.beat()
        cluster.here.say("st-1", "status", {"devices": []})
    assert [event for event, _ in browser.take() if event != "batch-station-status-update"] == []


class TestDeleted:
    """A station that one node deletes while the other hears of it comes back nowhere."""

    @pytest.mark.parametrize("owner", NODES)
    @pytest.mark.parametrize("way", ["socket", "mqtt"])
    def test_while_it_comes(self, cluster: Cluster, owner: str, way: str) -> None:
        """Its birth, or its socket's record, is still on its way to one of them, and the verdict on its way to the other."""
        here, there, station_id = cluster.here, cluster.there, cluster.owned_by(owner)
        browsers = [here.join(), there.join(identity("u2"))]
        station = there.join(identity(station=station_id))
        if way == "socket":
            dispatch(there.gateway, station, "station-register", {"stationId": station_id}, lambda _, error: None)
        else:
            there.link.publish(f"stations/{station_id}/online", b'{"sessionId":"s1"}')
            cluster.broker.settle(2)
        here.gateway.revoke_station(station_id, None, 1.0)
        cluster.broker.settle()
        there.gateway.disconnect(station)
        cluster.broker.settle()
        for bench, browser in zip((here, there), browsers, strict=True):
            told = [event for event, _ in browser.take()]
            assert told == ["station-connected", "station-disconnected"] * (len(told) // 2)
            assert bench.services.presence.online_ids() == []
        kept = cluster.broker.retained.get(f"live/stations/{station_id}", b"")
        assert not kept or b'"state":"offline"' in kept

    def test_entered_again_meanwhile(self, cluster: Cluster) -> None:
        """The other node's word that it was deleted is late: what was decided since stands, for nodes to come, too."""
        station_id = cluster.owned_by(NODES[0])
        cluster.here.station(station_id)
        cluster.here.gateway.revoke_station(station_id, None, 1.0)
        cluster.here.link.publish(f"stations/{station_id}/online", b'{"sessionId":"s2"}')
        cluster.broker.settle()
        late = Bench(nid="cccccccc", broker=cluster.broker, clock=cluster.clock)
        for bench in (cluster.here, cluster.there, late):
            assert bench.services.presence.online_ids() == [station_id]


RINGING, ANSWERED = "station-incoming-call", "station-call-answered"


class TestCalls:
    def calls(self, *peers: FakePeer) -> list[list[str]]:
        return [[event for event, _ in peer.take() if event in (RINGING, ANSWERED)] for peer in peers]

    @pytest.mark.parametrize("station_id", ["st-1", "ws-1"])
    def test_answered_on_every_node(self, cluster: Cluster, station_id: str) -> None:
        """Once each, of stations on MQTT and of those on another node's WebSocket."""
        mine, theirs, station, room_id = cluster.meeting()
        cluster.here.station("st-1")
        if station_id == "st-1":
            cluster.here.say("st-1", "call", {})
        else:
            cluster.there.call(station, "station-call-center", {"stationId": "ws-1"})
        for _ in range(2):
            cluster.here.call(mine, "station-invite", {"stationId": station_id, "roomId": room_id})
        assert self.calls(mine, theirs) == [[RINGING, ANSWERED], [RINGING, ANSWERED]]
        for bench in (cluster.here, cluster.there):
            assert bench.services.calls.open() == []

    def test_answered_by_two_at_once(self, cluster: Cluster) -> None:
        """Both nodes know it before they hear of each other: it is told once."""
        mine, theirs, _, room_id = cluster.meeting()
        cluster.here.station("st-1")
        cluster.here.say("st-1", "call", {})
        for bench, peer in ((cluster.here, mine), (cluster.there, theirs)):
            dispatch(
                bench.gateway, peer, "station-invite", {"stationId": "st-1", "roomId": room_id}, lambda _, error: None
            )
        cluster.broker.settle()
        assert self.calls(mine, theirs) == [[RINGING, ANSWERED], [RINGING, ANSWERED]]

    def test_answered_by_a_node_that_knows_of_no_call(self, cluster: Cluster) -> None:
        """One that started since: where it rings it stops."""
        mine, theirs, _, room_id = cluster.meeting()
        cluster.here.station("st-1")
        cluster.here.say("st-1", "call", {})
        cluster.here.services.calls.over("st-1")
        cluster.here.call(mine, "station-invite", {"stationId": "st-1", "roomId": room_id})
        assert self.calls(mine, theirs) == [[RINGING], [RINGING, ANSWERED]]

    def test_a_message_that_names_no_station(self, cluster: Cluster) -> None:
        """It is ignored."""
        nid = NODES[0]
        cluster.broker.route(f"peers/{nid}/{nid}", b'{"id":"x","event":"call-answered"}')
        cluster.broker.settle()
        assert cluster.here.services.counters.malformed == 0
