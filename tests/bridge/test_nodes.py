"""Two hub nodes on one broker: what a browser on one sees of a browser or station on the other (architecture.md section 4)."""

import pytest

from hub.nodes import BEAT, NODE_TIMEOUT
from tests.bridge.fakes import Bench, identity
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
    old = cluster.here.join(cluster.here.gateway.authenticate(cluster.here.tokens.mint_user("u1")))
    cluster.clock.forward(1)
    cluster.there.gateway.authenticate(cluster.here.tokens.mint_user("u1"))
    cluster.broker.settle()
    assert old.wire.closed == (4403, "NEW_LOGIN")


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
