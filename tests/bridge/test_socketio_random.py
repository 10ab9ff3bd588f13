"""The Socket.IO door under random clients: polls, posts, WebSockets, upgrades, rubbish, kicks and time, in any order."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.errors import CLOSE_OVERLOAD
from bridge.socketio.parts import EngineError
from tests.bridge.socketio_machine import PollingClient, WebSocketClient
from tests.bridge.test_socketio_door import Hub

PACKETS = st.sampled_from(
    [
        *("1", "2", "2probe", "3", "5", "6", "", "bAQI=", "b*", "x", "40", "41", "40/admin,", "41/admin,", "40/no,"),
        *('420["ping"]', '42["create-room"]', '421["nope"]', '42/admin,0["ping"]', "430[]", "42[]", "4"),
        *('451-3["ping",{"_placeholder":true,"num":0}]', '451-["check-room",{"roomId":{"_placeholder":true,"num":0}}]'),
        b"x",
    ]
)
USERS = st.sampled_from(["root", "guest"])
OPERATIONS = st.one_of(
    st.tuples(st.sampled_from(["websocket", "polling"]), USERS),
    st.tuples(st.just("enter"), st.integers(0, 5), USERS),
    st.tuples(st.just("send"), st.integers(0, 5), st.lists(PACKETS, max_size=4)),
    st.tuples(st.just("post"), st.integers(0, 5), st.lists(PACKETS, max_size=4)),
    st.tuples(st.sampled_from(["get", "lost", "upgrade", "hang up", "half post"]), st.integers(0, 5)),
    st.tuples(st.sampled_from(["push", "kick", "overload", "leave", "flush"]), st.integers(0, 5)),
    st.tuples(st.just("forward"), st.sampled_from([0.0, 1.0, 11.0, 26.0])),
)


class Crowd:
    """Clients, of whom any may do anything."""

    def __init__(self) -> None:
        self.hub = Hub()
        self.tokens = {"root": self.hub.tokens.mint_user("root", role="admin"), "guest": self.hub.tokens.mint_user("g")}
        self.sockets: list[WebSocketClient] = []
        self.pollers: list[PollingClient] = []

    def do(self, name: str, *arguments: Any) -> None:
        """One operation; a refused request is an answer like any other."""
        try:
            getattr(self, name.replace(" ", "_"))(*arguments)
        except EngineError:
            pass

    def websocket(self, user: str) -> None:
        self.sockets.append(self.hub.machine.websocket())
        self.enter(len(self.sockets) - 1, user)

    def polling(self, user: str) -> None:
        client = self.hub.machine.polling()
        self.pollers.append(client)
        client.post(self._entry(user))

    def _entry(self, user: str) -> str:
        return '40{"token":"' + self.tokens[user] + '"}'

    def enter(self, index: int, user: str) -> None:
        for client in self.sockets[index : index + 1]:
            client.send(self._entry(user), self._entry(user).replace("{", "/admin,{"))

    def send(self, index: int, packets: list[str | bytes]) -> None:
        for client in self.sockets[index : index + 1]:
            client.send(*packets)

    def post(self, index: int, packets: list[str | bytes]) -> None:
        for client in self.pollers[index : index + 1]:
            client.post(*(packet for packet in packets if isinstance(packet, str)))

    def half_post(self, index: int) -> None:
        for client in self.pollers[index : index + 1]:
            client.session.post_begins()

    def get(self, index: int) -> None:
        for client in self.pollers[index : index + 1]:
            client.get()

    def lost(self, index: int) -> None:
        for client in self.pollers[index : index + 1]:
            client.session.poll_done(lost=True)

    def upgrade(self, index: int) -> None:
        for client in self.pollers[index : index + 1]:
            self.sockets.append(self.hub.machine.upgrade(client.sid))

    def hang_up(self, index: int) -> None:
        for client in self.sockets[index : index + 1]:
            if client.code != 1006:
                client.hang_up()

    def _peers(self, index: int) -> list[Any]:
        return list(self.hub.gateway.peers.values())[index : index + 1]

    def push(self, index: int) -> None:
        for peer in self._peers(index):
            peer.push("event", "x" * 50_000)

    def overload(self, index: int) -> None:
        for peer in self._peers(index):
            peer.close(CLOSE_OVERLOAD, "overload")

    def kick(self, index: int) -> None:
        for peer in self._peers(index):
            self.hub.gateway.kicked(peer.identity.user_id, "newer")

    def leave(self, index: int) -> None:
        self.send(index, ["41"])

    def flush(self, _: int) -> None:
        self.hub.say("st-1", "status", {"devices": []})
        self.hub.gateway.flush()

    def forward(self, seconds: float) -> None:
        self.hub.tick(seconds)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(OPERATIONS, max_size=30))
def test_nothing_is_left_behind(operations: list[Any]) -> None:
    """Nothing is raised but what refuses a request; who is gone is no peer; at the end no session, timer or count is left."""
    crowd = Crowd()
    for operation in operations:
        crowd.do(*operation)
    hub = crowd.hub
    engine = hub.machine.engine
    engine.stop()
    for client in crowd.sockets:
        if client.code is not None:
            client.door.closed(1006)
    assert not hub.gateway.peers
    hub.tick(30.0)
    assert sum(engine.sessions.values()) == 0
    assert engine._by_sid == {}
    assert (engine._strangers, engine._strangers_of) == ({}, {})
    counters = engine.counters
    assert sum(counters.ended.values()) == sum(counters.opened.values())
    for client in crowd.sockets:
        if client.code is None:
            client.hang_up()
    assert len(hub.machine.deadlines) == 0
