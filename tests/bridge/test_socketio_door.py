"""The hub on Socket.IO, without sockets: who is let in, acks and errors, both doors in one room, and the ways it ends
(contract.md sections 1 and 2)."""

import gc
import weakref
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from bridge.errors import CLOSE_OVERLOAD, CLOSE_REFUSED, CLOSE_RESTART, ConnectRefused, EventError
from bridge.events import EVENTS
from bridge.monitor import Monitor
from bridge.peer import HIGH_WATER, OUTBOX_SECONDS
from bridge.socketio.application import AdminPeer, HubApplication, MainPeer, token_of
from hub.auth import Identity
from tests.bridge.fakes import Bench
from tests.bridge.socketio_machine import Machine, PollingClient, WebSocketClient, contents, events, shaken

UNAUTHORIZED = '44{"message":"UNAUTHORIZED: Unauthorized"}'
EXCEPTION = '42["exception",{"status":"error","message":"%s"}]'


class Hub(Bench):
    """A gateway with Socket.IO clients."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.application = HubApplication(self.gateway, Monitor(self.gateway))
        self.machine = Machine(self.application, now=self.clock.monotonic)
        self._users = 0

    def token(self) -> str:
        """Somebody new."""
        self._users += 1
        return self.tokens.mint_user(f"user-{self._users}", role="operator")

    def websocket(self, namespace: str = "/", **auth: Any) -> WebSocketClient:
        """A client on a WebSocket that is let in; what it got is read."""
        client = self.machine.websocket()
        client.take()
        self.enter(client, namespace, **auth)
        return client

    def enter(self, client: WebSocketClient, namespace: str = "/", **auth: Any) -> list[str | bytes]:
        """A client asks for a namespace; gives the answer."""
        auth = {"token": self.token()} | auth
        return client.send(f"40{'' if namespace == '/' else namespace + ','}{orjson.dumps(auth).decode()}")

    def polling(self, **auth: Any) -> PollingClient:
        """A client that polls and is let in; what it got is read."""
        client = self.machine.polling()
        auth = {"token": self.token()} | auth
        client.post("40" + orjson.dumps(auth).decode())
        client.get()
        return client

    def tick(self, seconds: float = 0.0) -> None:
        """Time passes; what is due happens."""
        self.clock.forward(seconds)
        self.machine.forward()

    @property
    def peer(self) -> Any:
        """The one who came last."""
        return list(self.gateway.peers.values())[-1]


@pytest.fixture
def hub() -> Hub:
    return Hub()


# ---- who is let in


@pytest.mark.parametrize(
    ("auth", "first"),
    [
        ({}, [("batch-station-status-update", ["st-1", "st-2"])]),
        ({"watch": ["st-2"]}, [("batch-station-status-update", ["st-2"])]),
        ({"watch": []}, []),
        ({"watch": [], "states": True}, [("batch-station-state-update", ["st-1", "st-2"])]),
    ],
)
def test_what_is_watched_from_the_start(hub: Hub, auth: dict[str, Any], first: list[Any]) -> None:
    """`auth` may say it, as the first frame of the native door; who says nothing gets all."""
    for station_id in ("st-1", "st-2"):
        hub.say(station_id, "status", {"devices": []})
    client = hub.machine.websocket()
    client.take()
    _, *pushes = hub.enter(client, **auth)
    assert [(name, [item["stationId"] for item in batch]) for name, batch in events(pushes)] == first


def test_a_malformed_watch(hub: Hub) -> None:
    """It is let in, told what is wrong, and watches nothing."""
    hub.say("st-1", "status", {"devices": []})
    client = hub.machine.websocket()
    client.take()
    _, *pushes = hub.enter(client, watch="st-1", states=True)
    ((name, failure),) = events(pushes)
    assert name == "exception"
    assert failure["message"].startswith("INVALID_ARGUMENT: watch: ")
    assert (hub.peer.watch, hub.peer.states) == (frozenset(), False)


def test_let_in(hub: Hub) -> None:
    """The socket id is the peer id, and not the session's; no welcome follows."""
    client = hub.websocket()
    client.take()
    other = hub.machine.websocket()
    (opening,) = other.take()
    (answer,) = hub.enter(other)
    assert isinstance(answer, str)
    assert isinstance(opening, str)
    assert orjson.loads(answer[2:]) == {"sid": hub.peer.peer_id}
    assert hub.gateway.peers.keys() >= {hub.peer.peer_id}
    assert orjson.loads(opening[1:])["sid"] != hub.peer.peer_id


@pytest.mark.parametrize(
    ("auth", "header", "query", "chosen"),
    [
        ({}, None, None, None),
        ({"token": "a"}, "Bearer h", "q", "a"),
        ({"token": ""}, "Bearer h", "q", ""),
        ({"token": 7}, "Bearer h", "q", ""),
        ({"token": ["a"]}, "Bearer h", "q", ""),
        ({"token": None}, "Bearer h", "q", "h"),
        ({}, "Bearer h", "q", "h"),
        ({}, "bearer  h ", "q", "h"),
        ({}, "Basic h", "q", ""),
        ({}, None, "q", "q"),
        ({}, None, "", ""),
    ],
)
def test_token_order(auth: dict[str, Any], header: str | None, query: str | None, chosen: str | None) -> None:
    """`auth`, then the header, then the query: the first that is there, even if it is bad."""
    headers = {} if header is None else {"authorization": header}
    assert token_of(auth, shaken({} if query is None else {"token": query}, **headers)) == chosen


def test_token_of_the_request(hub: Hub) -> None:
    """Header and query are those of the request that opened the session."""
    token = hub.tokens.mint_user("u1")
    for handshake in (shaken({"token": token}), shaken(authorization=f"Bearer {token}")):
        client = hub.machine.websocket(handshake)
        client.take()
        (answer,) = client.send("40")
        assert isinstance(answer, str)
        assert answer.startswith('40{"sid":')


@pytest.mark.parametrize("auth", ["", "{}", '{"token":"garbage"}', '{"token":7}', '{"token":{}}', '{"token":null}'])
@pytest.mark.parametrize("namespace", ["", "/admin,"])
def test_refused(hub: Hub, auth: str, namespace: str) -> None:
    client = hub.machine.websocket()
    client.take()
    assert client.send(f"40{namespace}{auth}") == [UNAUTHORIZED.replace("{", namespace + "{", 1)]
    assert not hub.gateway.peers
    assert client.code is None


def test_older_session_is_refused(hub: Hub) -> None:
    old = hub.tokens.mint_user("u1", session_id="old")
    hub.clock.forward(1)
    hub.websocket(token=hub.tokens.mint_user("u1", session_id="new"))
    client = hub.machine.websocket()
    client.take()
    assert hub.enter(client, token=old) == ['44{"message":"UNAUTHORIZED: session mismatch detected"}']


def test_admins_only(hub: Hub) -> None:
    client = hub.machine.websocket()
    client.take()
    assert hub.enter(client, "/admin") == ['44/admin,{"message":"FORBIDDEN: Admins only"}']
    answer, update = hub.enter(client, "/admin", token=hub.tokens.mint_user("root", role="admin"))
    assert isinstance(answer, str)
    assert isinstance(update, str)
    assert answer.startswith('40/admin,{"sid":')
    ((name, data),) = events([update], "42/admin,")
    assert name == "monitor-update"
    assert data["onlineUsers"] == 0
    assert hub.peer.admin


def test_admin_events(hub: Hub) -> None:
    """`/admin` has its own table of events, and `monitor-update` on time."""
    client = hub.websocket("/admin", token=hub.tokens.mint_user("root", role="admin"))
    ((ack,),) = [orjson.loads(str(message)[10:]) for message in client.send('42/admin,7["ping"]')]
    assert ack["pong"] is True
    assert client.send('42/admin,8["create-room"]') == [
        '42/admin,["exception",{"status":"error","message":"NOT_FOUND: Unknown event"}]'
    ]
    hub.application._monitor.tell()
    assert [name for name, _ in events(client.take(), "42/admin,")] == ["monitor-update"]


def test_login_that_takes_its_time(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that left meanwhile is no peer; one that waited is."""
    waiting: list[Callable[[Identity | ConnectRefused], None]] = []
    monkeypatch.setattr(hub.gateway, "login", lambda _, done: waiting.append(done))
    gone, patient = hub.machine.websocket(), hub.machine.websocket()
    for client in (gone, patient):
        client.take()
    assert hub.enter(gone) == hub.enter(patient) == []
    gone.hang_up()
    for done in waiting:
        done(Identity(user_id="u1", type="registered", role="viewer"))
    assert len(hub.gateway.peers) == 1
    (answer,) = patient.take()
    assert isinstance(answer, str)
    assert answer.startswith('40{"sid":')


# ---- acks and errors


def test_ack(hub: Hub) -> None:
    """The raw value, once; without an id there is none."""
    client = hub.websocket()
    assert client.send('427["check-room",{"roomId":"none"}]') == ['437[{"exists":false}]']
    assert client.send('42["check-room",{"roomId":"none"}]') == []
    (pong,) = client.send('420["ping"]')
    assert isinstance(pong, str)
    assert orjson.loads(pong[3:])[0]["pong"] is True


def test_ack_with_nothing_to_say(hub: Hub) -> None:
    """It is called with no argument."""
    client = hub.websocket()
    assert client.send('427["leave-room",{"roomId":"none"}]') == ["437[]"]


def test_only_the_first_argument_counts(hub: Hub) -> None:
    client = hub.websocket()
    assert client.send('427["check-room",{"roomId":"none"},{"roomId":1},[]]') == ['437[{"exists":false}]']
    missing = client.send('427["check-room"]')
    assert missing == client.send('427["check-room",null]') != []


@pytest.mark.parametrize(
    ("event", "error"),
    [
        ('["nope",{}]', "NOT_FOUND: Unknown event"),
        ('["join-room",{"roomId":"none"}]', "ROOM_NOT_FOUND: Room not found"),
        ('["join-room"]', "INVALID_ARGUMENT: data: not an object"),
        ('["join-room",null]', "INVALID_ARGUMENT: data: not an object"),
        ('["join-room",[]]', "INVALID_ARGUMENT: data: not an object"),
    ],
)
def test_errors(hub: Hub, event: str, error: str) -> None:
    """`exception` always, and no ack; clients that ask for it get the ack with the error as well."""
    old, new = hub.websocket(), hub.websocket(ackErrors=True)
    exception = EXCEPTION % error
    assert old.send("427" + event) == [exception]
    assert old.send("42" + event) == [exception]
    assert new.send("427" + event) == [exception, f'437[{{"error":"{error}"}}]']
    assert new.send("42" + event) == [exception]


@pytest.mark.parametrize("asked", [False, "true", 1, None])
def test_ack_errors_is_true_and_nothing_else(hub: Hub, asked: Any) -> None:
    client = hub.websocket(ackErrors=asked)
    assert client.send('427["nope"]') == [EXCEPTION % "NOT_FOUND: Unknown event"]


def test_detail(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a station said stands in a field of its own, in both answers."""

    def fails(*_: Any) -> None:
        raise EventError("STATION_ERROR", "The station reported an error", "jammed")

    event = EVENTS["ping"]
    replaced = type(event)(data=event.data, handler=fails)
    monkeypatch.setattr("bridge.socketio.application.EVENTS", {"ping": replaced})
    client = hub.websocket(ackErrors=True)
    error = "STATION_ERROR: The station reported an error"
    assert client.send('427["ping"]') == [
        f'42["exception",{{"status":"error","message":"{error}","detail":"jammed"}}]',
        f'437[{{"error":"{error}","detail":"jammed"}}]',
    ]


def test_binary(hub: Hub) -> None:
    """`ping` does not look at its data; what does takes no binary, wherever in it."""
    client = hub.websocket(ackErrors=True)
    (pong,) = client.send('451-7["ping",{"_placeholder":true,"num":0}]', b"x")
    assert isinstance(pong, str)
    assert pong.startswith('437[{"pong":true')
    for data in ('{"_placeholder":true,"num":0}', '{"roomId":{"_placeholder":true,"num":0}}'):
        exception, _ = client.send(f'451-7["check-room",{data}]', b"none")
        assert "INVALID_ARGUMENT: data: " in str(exception)
    late = client.send('451-7["check-room",{"roomId":"none"},{"_placeholder":true,"num":0}]', b"x")
    assert late == ['437[{"exists":false}]']


def test_event_rate() -> None:
    hub = Hub(event_rate=1.0, event_burst=2.0)
    client = hub.websocket()
    answers = client.send(*['427["check-room",{"roomId":"none"}]'] * 3)
    assert answers[2] == EXCEPTION % "RESOURCE_EXHAUSTED: Too many events"


def test_acks_of_the_client_are_ignored(hub: Hub) -> None:
    client = hub.websocket()
    assert client.send('437[{"a":1}]', "438[]") == []
    assert client.code is None
    assert hub.gateway.counters.events == 0


# ---- pushes


def test_both_doors_meet(hub: Hub) -> None:
    """A native peer and one on Socket.IO in the same room."""
    native, client = hub.join(), hub.websocket()
    room = hub.call(native, "create-room")["roomId"]
    native.take()
    joined = client.send(f'427["join-room",{{"roomId":"{room}"}}]')
    hub.link.settle()
    assert joined == [f'437[{{"roomId":"{room}","peers":["{native.peer_id}"]}}]']
    assert native.take() == [("peer-joined", {"peerId": hub.peer.peer_id})]
    hub.call(native, "offer", {"to": hub.peer.peer_id, "offer": {"sdp": "x"}})
    assert events(client.take()) == [["offer", {"from": native.peer_id, "offer": {"sdp": "x"}}]]
    peer_id = hub.peer.peer_id
    client.hang_up()
    hub.link.settle()
    assert native.take() == [("peer-left", {"peerId": peer_id}), ("peer-disconnected", {"peerId": peer_id})]
    assert peer_id not in hub.gateway.peers


def test_pushes_before_the_ack(hub: Hub) -> None:
    """What a request causes reaches its sender before its ack."""
    client = hub.websocket()
    hub.station()
    hub.say("st-1", "status", {"devices": []})
    hub.gateway.flush()
    client.take()
    messages = client.send('427["station-watch",{"stations":["st-1"]}]')
    assert [str(message)[:4] for message in messages] == ['42["', "437["]


def test_one_frame_for_all(hub: Hub) -> None:
    """A broadcast and a batch are framed once for all on `/`, whatever their transport."""
    one, other, polling = hub.websocket(), hub.websocket(), hub.polling()
    polling.get()
    hub.say("st-1", "status", {"devices": []})
    hub.gateway.flush()
    assert one.socket.frames == other.socket.frames != []
    assert all(a is b for a, b in zip(one.socket.frames, other.socket.frames, strict=True))
    assert polling.answer is not None
    frames = one.take()
    assert polling.answer == frames[0]
    assert (polling.get() or "").split("\x1e") == frames[1:]


def test_frames() -> None:
    assert contents(MainPeer.frame("a", b"1")) == '42["a",1]'
    assert contents(AdminPeer.frame("a", b"1")) == '42/admin,["a",1]'


def test_slow_poller_skips_to_the_newest(hub: Hub) -> None:
    """What waits for a poll is bounded: statuses are skipped to the newest, which comes when it polls again."""
    client = hub.polling()
    for number in range(40):
        hub.say("st-1", "status", {"devices": [], "padding": f"{number}" * 4_000})
        hub.gateway.flush()
        hub.clock.forward(0.1)
    assert client.session.wire.buffered < 3 * HIGH_WATER
    client.get()
    assert '"padding":"3939' in (client.get() or "")


def test_poller_that_never_comes(hub: Hub) -> None:
    """What may not be dropped closes it in the end, without 41: it comes again by itself."""
    client = hub.polling()
    peer = hub.peer
    peer.push("big", "x" * (HIGH_WATER + 1))
    hub.tick(OUTBOX_SECONDS + 1)
    hub.gateway.flush()
    hub.tick()
    assert peer.peer_id not in hub.gateway.peers
    assert client.get() == "1"


def test_upgrade_keeps_the_peer(hub: Hub) -> None:
    """It is the same peer, with what waited for a poll, and what follows goes over the WebSocket."""
    client = hub.polling()
    peer = hub.peer
    peer.push("first", 1)
    websocket = hub.machine.upgrade(client.sid)
    websocket.send("2probe")
    peer.push("second", 2)
    assert events(websocket.send("5")) == [["first", 1], ["second", 2]]
    peer.push("third", 3)
    assert events(websocket.take()) == [["third", 3]]
    assert hub.gateway.peers[peer.peer_id] is peer


# ---- how it ends


def test_kicked(hub: Hub) -> None:
    """`kicked`, then 41, then the transport closes: the client does not come again by itself."""
    client = hub.websocket(token=hub.tokens.mint_user("u1", session_id="old"))
    hub.clock.forward(1)
    newer = hub.websocket(token=hub.tokens.mint_user("u1", session_id="new"))
    assert client.take() == ['42["kicked",{"reason":"NEW_LOGIN"}]', "41"]
    assert client.code is None
    hub.tick()
    assert client.code == 4403
    assert newer.code is None
    assert len(hub.gateway.peers) == 1


def test_kicked_from_both_namespaces(hub: Hub) -> None:
    """Each is told before the one connection closes."""
    client = hub.websocket(token=hub.tokens.mint_user("root", role="admin", session_id="old"))
    hub.enter(client, "/admin", token=hub.tokens.mint_user("root", role="admin", session_id="old"))
    hub.gateway.kicked("root", "new")
    assert client.take() == [
        *('42["kicked",{"reason":"NEW_LOGIN"}]', "41"),
        *('42/admin,["kicked",{"reason":"NEW_LOGIN"}]', "41/admin,"),
    ]
    hub.tick()
    assert client.code == 4403
    assert not hub.gateway.peers


def test_kicked_over_polling(hub: Hub) -> None:
    client = hub.polling()
    hub.gateway.kicked(hub.peer.identity.user_id, "newer")
    hub.tick()
    assert client.get() == '42["kicked",{"reason":"NEW_LOGIN"}]\x1e41\x1e1'
    assert not hub.gateway.peers


def test_token_expires(hub: Hub) -> None:
    """The client hears `exception`, once, and 41; the transport closes."""
    client = hub.websocket(token=hub.tokens.mint_user("u1", lifetime=60.0))
    hub.clock.forward(60 + 31)
    hub.gateway.flush()
    hub.gateway.flush()
    assert client.take() == [EXCEPTION % "UNAUTHORIZED: Unauthorized", "41"]
    hub.tick()
    assert client.code == 4401


def test_unauthorized_event(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that is answered UNAUTHORIZED, and closes its socket, says so once."""

    def fails(_gateway: Any, peer: Any, _data: Any) -> None:
        peer.complain("UNAUTHORIZED: Unauthorized")
        peer.close(CLOSE_REFUSED, "UNAUTHORIZED: Unauthorized")

    event = EVENTS["ping"]
    monkeypatch.setattr("bridge.socketio.application.EVENTS", {"ping": type(event)(data=event.data, handler=fails)})
    client = hub.websocket()
    assert client.send('42["ping"]') == [EXCEPTION % "UNAUTHORIZED: Unauthorized", "41"]
    hub.tick()
    assert client.code == 4401


@pytest.mark.parametrize("code", [CLOSE_OVERLOAD, CLOSE_RESTART])
def test_closed_to_come_again(hub: Hub, code: int) -> None:
    """Without 41: the client's library comes again."""
    client = hub.websocket()
    hub.peer.close(code, "why")
    hub.peer.push("late", 1)
    hub.tick()
    assert client.take() == []
    assert client.code == code
    assert not hub.gateway.peers


def test_closing_disturbs_nobody(hub: Hub) -> None:
    """A peer that is closed while all are told something stays a peer until the round is over."""
    clients = [hub.websocket() for _ in range(3)]
    slow = clients[0]
    slow.socket.buffered = 20 * 1024 * 1024
    peer = next(iter(hub.gateway.peers.values()))
    for _ in range(20):
        hub.gateway.broadcast("big", "x" * 1024 * 1024)
    assert peer.peer_id in hub.gateway.peers
    hub.tick()
    assert peer.peer_id not in hub.gateway.peers
    assert slow.code == CLOSE_OVERLOAD
    assert all(len(client.take()) == 20 for client in clients[1:])


def test_leaving_is_no_end_of_the_connection(hub: Hub) -> None:
    client = hub.websocket()
    client.send("41")
    assert not hub.gateway.peers
    assert str(hub.enter(client)[0]).startswith('40{"sid":')
    assert len(hub.gateway.peers) == 1


def test_station(hub: Hub) -> None:
    """A station registers by Socket.IO, and is offline when it goes."""
    station = hub.websocket(token=hub.tokens.mint_station("st-1"))
    assert station.send('427["station-register",{"stationId":"st-1"}]') == ['437[{"stationId":"st-1"}]']
    hub.link.settle()
    assert hub.services.presence.online("st-1")
    station.hang_up()
    hub.link.settle()
    assert not hub.services.presence.online("st-1")


@pytest.mark.parametrize("how", ["websocket", "polling", "upgraded"])
def test_what_is_gone_is_freed_at_once(hub: Hub, how: str) -> None:
    """Peer, session and all that belongs to them hang in no cycle that only the garbage collector would find."""
    client: WebSocketClient | PollingClient = hub.websocket() if how == "websocket" else hub.polling()
    if how == "upgraded":
        assert isinstance(client, PollingClient)
        client = hub.machine.upgrade(client.sid)
        client.send("2probe", "5")
    gc.collect()
    gc.disable()
    try:
        peer = weakref.ref(hub.peer)
        door = client.door if isinstance(client, WebSocketClient) else client.session
        session = weakref.ref(getattr(door, "_session", door))
        if isinstance(client, WebSocketClient):
            client.hang_up()
        else:
            client.session.fail("test")
        del client, door
        hub.tick(60)
        assert peer() is None
        assert session() is None
    finally:
        gc.enable()
