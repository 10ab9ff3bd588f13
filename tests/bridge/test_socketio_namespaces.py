"""Socket.IO on a session, without sockets: namespaces, events, acks both ways, binary, and what ends a connection."""

from collections.abc import Mapping
from typing import Any

import pytest

from bridge.socketio.namespaces import NamespaceSocket
from tests.bridge.socketio_machine import Machine, WebSocketClient


class Member:
    """Keeps what it is told."""

    def __init__(self, socket: NamespaceSocket) -> None:
        self.socket = socket
        self.events: list[tuple[list[Any], str, bool]] = []
        self.told: list[str] = []

    def event(self, arguments: list[Any], ack_id: str, binary: bool = False) -> None:
        self.events.append((arguments, ack_id, binary))

    def writable(self) -> None:
        self.told.append("writable")

    def upgraded(self) -> None:
        self.told.append("upgraded")

    def closed(self) -> None:
        self.told.append("closed")


class Doorman:
    """Lets everybody in at once, or nobody until told."""

    namespaces = frozenset(("/", "/admin"))

    def __init__(self) -> None:
        self.prompt = True
        self.asked: list[tuple[NamespaceSocket, Mapping[str, Any]]] = []
        self.members: list[Member] = []

    def connect(self, socket: NamespaceSocket, auth: Mapping[str, Any]) -> None:
        self.asked.append((socket, auth))
        if self.prompt:
            self.let_in(socket)

    def let_in(self, socket: NamespaceSocket) -> Member:
        member = Member(socket)
        self.members.append(member)
        socket.accept(f"id-{len(self.members)}", member)
        return member

    @property
    def member(self) -> Member:
        return self.members[-1]


class World(Machine):
    """A machine with a doorman."""

    def __init__(self, **settings: Any) -> None:
        self.doorman = Doorman()
        super().__init__(self.doorman, **settings)

    def client(self, *messages: str) -> WebSocketClient:
        """A client that has sent something, and read what came of it."""
        client = self.websocket()
        client.send(*messages)
        return client


@pytest.fixture
def world() -> World:
    return World()


# ---- coming and going


@pytest.mark.parametrize(
    ("message", "answer", "auth"),
    [
        ("40", '40{"sid":"id-1"}', {}),
        ('40{"token":"x"}', '40{"sid":"id-1"}', {"token": "x"}),
        ("40/,", '40{"sid":"id-1"}', {}),
        ("40/admin,", '40/admin,{"sid":"id-1"}', {}),
        ('40/admin,{"token":"x"}', '40/admin,{"sid":"id-1"}', {"token": "x"}),
    ],
)
def test_let_in(world: World, message: str, answer: str, auth: Any) -> None:
    """The client hears its id, which is not the session's; the application hears what the client says."""
    client = world.client()
    assert client.send(message) == [answer]
    assert world.doorman.asked[0][1] == auth


def test_unknown_namespace(world: World) -> None:
    """It is refused, and the connection goes on."""
    client = world.client()
    assert client.send("40/random") == ['44/random,{"message":"Invalid namespace"}']
    assert client.send("40/Admin,") == ['44/Admin,{"message":"Invalid namespace"}']
    assert client.send("40") == ['40{"sid":"id-1"}']


def test_let_in_later(world: World) -> None:
    """Events for a namespace that is only asked for end the connection; the answer may come late, or too late."""
    world.doorman.prompt = False
    client = world.client()
    assert client.send("40") == []
    world.doorman.let_in(world.doorman.asked[0][0])
    assert client.take() == ['40{"sid":"id-1"}']
    hasty = world.client("40", '42["a"]')
    assert hasty.code == 1002
    socket = world.doorman.asked[1][0]
    assert not socket.asked
    socket.accept("id", Member(socket))
    socket.refuse("no")
    assert hasty.take() == []


def test_refused(world: World) -> None:
    """The client hears why, and may ask again."""
    world.doorman.prompt = False
    client = world.client("40")
    world.doorman.asked[0][0].refuse("UNAUTHORIZED: Unauthorized")
    assert client.take() == ['44{"message":"UNAUTHORIZED: Unauthorized"}']
    world.doorman.prompt = True
    assert client.send("40") == ['40{"sid":"id-1"}']


def test_asking_too_often(world: World) -> None:
    """To be let in is work: a client that asks again and again, let in or not, has to wait."""
    for messages in (["40/random"] * 10, ["40", "41"] * 10):
        client = world.client(*messages)
        said = client.send("40/admin,")
        assert (client.code, said) == (None, ['44/admin,{"message":"RESOURCE_EXHAUSTED: Too many requests"}'])
        world.forward(1)
        assert str(client.send("40/admin,")[-1]).startswith('40/admin,{"sid":')


def test_gone_before_it_is_let_in(world: World) -> None:
    """A client that gave up, or is gone, is not let in any more."""
    world.doorman.prompt = False
    client = world.client("40", "41")
    member = world.doorman.let_in(world.doorman.asked[0][0])
    assert client.take() == []
    assert member.socket.member is None
    assert client.send("40") == []
    client.hang_up()
    socket = world.doorman.asked[1][0]
    assert not socket.asked
    socket.refuse("no")


def test_leave(world: World) -> None:
    """A client leaves one namespace and stays in the other."""
    client = world.client("40", "40/admin,")
    main, admin = world.doorman.members
    client.send("41/admin,", '42["a"]')
    assert (main.told, admin.told) == ([], ["closed"])
    assert main.events == [(["a"], "", False)]
    client.send("41")
    assert main.told == ["closed"]
    assert client.code is None
    client.send("40")
    assert world.doorman.member.told == []
    client.hang_up()
    assert world.doorman.member.told == ["closed"]
    assert main.told == ["closed"]


def test_no_namespace_in_time(world: World) -> None:
    """A connection that belongs to no namespace is closed: from the start, and after the last was left."""
    idle, left = world.client(), world.client("40")
    world.forward(10)
    assert idle.code == 1008
    assert left.code is None
    left.send("41")
    world.forward(9.5)
    assert left.code is None
    world.forward(0.5)
    assert left.code == 1008
    assert world.engine.counters.ended == {"connect timeout": 2}


def test_application_takes_its_time(world: World) -> None:
    """It is no fault of the client."""
    world.doorman.prompt = False
    client = world.client("40")
    world.forward(20)
    assert client.code is None
    world.doorman.asked[0][0].refuse("no")
    world.forward(20)
    assert client.code == 1008


def test_strangers_are_let_go(world: World) -> None:
    """Only connections outside all namespaces count as strangers; of more than may be, the oldest ends."""
    world = World(max_strangers=1)
    client = world.client("40")
    other = world.client()
    assert (client.code, other.code) == (None, None)
    third = world.client("40")
    assert (client.code, other.code, third.code) == (None, 1008, None)
    client.send("41")
    third.send("41")
    assert (client.code, third.code) == (None, None)
    world.client()
    assert (client.code, third.code, world.engine.counters.refused) == (1008, None, 0)


# ---- events


@pytest.mark.parametrize(
    ("message", "event"),
    [
        ('42["a"]', (["a"], "", False)),
        ('42["a",{"b":[1]},null]', (["a", {"b": [1]}, None], "", False)),
        ('420["a"]', (["a"], "0", False)),
        ('4299999999999999["a"]', (["a"], "99999999999999", False)),
        ('42999999999999999["a"]', (["a"], "999999999999999", False)),
        ('42 ["a"]', (["a"], "", False)),
        ('42/,7["a"]', (["a"], "7", False)),
        ('42["\\ud83d"]', (["\ud83d"], "", False)),
    ],
)
def test_events(world: World, message: str, event: Any) -> None:
    """What an event is does not depend on how plain it is."""
    client = world.client("40")
    client.send(message)
    assert world.doorman.member.events == [event]
    assert client.code is None


def test_events_of_a_namespace(world: World) -> None:
    client = world.client("40", "40/admin,")
    client.send('42/admin,7["a"]', '42["b"]')
    main, admin = world.doorman.members
    assert admin.events == [(["a"], "7", False)]
    assert main.events == [(["b"], "", False)]


@pytest.mark.parametrize(
    "message",
    [
        *("4", "4abc", "42", "42{}", "42[]", "42[1]", '42abc["a"]', '42["a"', '42["connect"]', '42["disconnect"]'),
        *('42["a"]x', '42²["a"]', '42٣["a"]', '421234567890123456["a"]', '4２["a"]', '44{"message":"x"}'),
        *('42/admin,["a"]', '43/admin,1["a"]', "41/admin,", "41/random,", '42/random,["a"]', b"x"),
    ],
)
def test_what_ends_the_connection(world: World, message: str | bytes) -> None:
    """Malformed packets, and namespaces that the client is not in."""
    client = world.client("40")
    client.send(message)
    assert client.code == 1002
    assert world.doorman.member.told == ["closed"]
    assert world.doorman.member.events == []


def test_a_namespace_asked_for_again(world: World) -> None:
    """A page that connects, thinks better of it, and connects: it is in once, and no other namespace notices."""
    client = world.client("40", "40/admin,")
    first = world.doorman.members[-1]
    client.send("40/admin,")
    main, _, second = world.doorman.members
    assert (client.code, main.told, first.told, second.told) == (None, [], ["closed"], [])
    client.send('42/admin,["a"]', '42["b"]')
    assert (first.events, second.events, main.events) == ([], [(["a"], "", False)], [(["b"], "", False)])


def test_nothing_before_a_namespace(world: World) -> None:
    for message in ('42["a"]', "431[]", "41", b"x"):
        client = world.websocket()
        client.send(message)
        assert client.code == 1002


def test_binary_events(world: World) -> None:
    """Whole, in order, and plain events again after it."""
    client = world.client("40")
    client.send('452-7["a",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]')
    assert world.doorman.member.events == []
    client.send(b"one", b"two", '42["b"]')
    assert world.doorman.member.events == [(["a", b"two", b"one"], "7", True), (["b"], "", False)]


@pytest.mark.parametrize("message", ['42["b"]', "41", "40/admin,", '451-["a",{"_placeholder":true,"num":0}]'])
def test_text_between_attachments(world: World, message: str) -> None:
    client = world.client("40", '451-["a",{"_placeholder":true,"num":0}]')
    client.send(message)
    assert client.code == 1002


def test_heartbeat_between_attachments(world: World) -> None:
    """Engine.IO's own packets may come at any time."""
    client = world.client("40", '451-["a",{"_placeholder":true,"num":0}]')
    client.send("3", b"x")
    assert world.doorman.member.events == [(["a", b"x"], "", True)]


def test_attachments_too_large() -> None:
    world = World(max_payload=100)
    client = world.client("40", '451-["a",{"_placeholder":true,"num":0}]')
    client.send(bytes(101))
    assert client.code == 1009


# ---- to the client


def test_emit_and_ack(world: World) -> None:
    client = world.client("40", "40/admin,")
    main, admin = world.doorman.members
    main.socket.emit("a", {"b": 1}, None)
    main.socket.ack("7")
    admin.socket.emit("c", b"x")
    admin.socket.ack("8", 1, 2)
    assert client.take() == [
        *('42["a",{"b":1},null]', "437[]"),
        *('451-/admin,["c",{"_placeholder":true,"num":0}]', b"x"),
        "43/admin,8[1,2]",
    ]


def test_acks_of_the_client(world: World) -> None:
    """The one that was asked for counts, once; what nobody asked for is ignored."""
    client = world.client("40")
    got: list[Any] = []
    world.doorman.member.socket.emit("a", on_ack=got.append)
    world.doorman.member.socket.emit("b", on_ack=got.append)
    assert client.take() == ['421["a"]', '422["b"]']
    client.send("432[5]", "432[6]", "437[7]", '461-1[{"_placeholder":true,"num":0}]', b"x")
    assert got == [[5], [b"x"]]
    assert client.code is None


def test_close_with_a_goodbye(world: World) -> None:
    """The client is told; the rest comes a moment later, for whoever closes it may be in the middle of all peers."""
    client = world.client("40", "40/admin,")
    main, admin = world.doorman.members
    main.socket.close(4403, "why", goodbye=True)
    assert (client.take(), client.code) == (["41"], None)
    assert main.told == []
    client.send('42["late"]', '42/admin,["late"]')
    admin.socket.emit("still")
    admin.socket.close(4403, "again", goodbye=True)
    assert client.take() == ['42/admin,["still"]', "41/admin,"]
    world.forward()
    assert client.socket.ended == (4403, "why")
    assert (main.told, admin.told) == (["closed"], ["closed"])
    assert main.events == admin.events == []


def test_close_without_a_goodbye(world: World) -> None:
    client = world.client("40")
    world.doorman.member.socket.close(1013, "overload", goodbye=False)
    world.forward()
    assert client.take() == []
    assert client.socket.ended == (1013, "overload")


def test_gone_before_the_close(world: World) -> None:
    client = world.client("40")
    world.doorman.member.socket.close(4403, "why", goodbye=True)
    client.hang_up()
    world.forward(60)
    assert world.doorman.member.told == ["closed"]
    assert len(world.deadlines) == 0


def test_over_polling_and_its_upgrade(world: World) -> None:
    """The same over polling; all members hear of the upgrade, and that what piled up is gone."""
    client = world.polling()
    client.post("40", "40/admin,")
    assert client.get() == '40{"sid":"id-1"}\x1e40/admin,{"sid":"id-2"}'
    main, admin = world.doorman.members
    client.post('451-["a",{"_placeholder":true,"num":0}]', "bAQI=")
    assert main.events == [(["a", b"\1\2"], "", True)]
    before = main.socket.wire
    websocket = world.upgrade(client.sid)
    websocket.send("2probe", "5")
    assert main.told == admin.told == ["writable", "upgraded"]
    assert main.socket.wire is websocket.socket is not before
    websocket.send('42["b"]')
    assert main.events[1:] == [(["b"], "", False)]
    websocket.hang_up()
    assert main.told == admin.told == ["writable", "upgraded", "closed"]


def test_polling_is_closed_with_a_goodbye(world: World) -> None:
    client = world.polling()
    client.post("40")
    client.get()
    assert client.get() is None
    member = world.doorman.member
    member.socket.emit("kicked", 1)
    assert client.answer == '42["kicked",1]'
    member.socket.close(4403, "why", goodbye=True)
    world.forward()
    assert client.get() == "41\x1e1"
    assert member.told == ["writable", "writable", "closed"]
