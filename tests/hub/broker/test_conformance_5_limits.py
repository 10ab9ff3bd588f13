"""MQTT 5, what 3.1.1 does not know: the bounds that each side sets the other: receive maximum, packet size, topic aliases.

| clause | test |
|---|---|
| [MQTT-3.3.4-7], 3.3.4 | `test_more_than_the_receive_maximum`, `test_acknowledged_messages_do_not_count` |
| 4.9 | `test_the_receive_maximum_begins_anew_with_each_connection` |
| [MQTT-3.3.4-9], [MQTT-4.9.0-1], 2 | `test_the_clients_receive_maximum`, `test_a_refused_message_frees_its_place` |
| [MQTT-3.3.4-9], [MQTT-4.4.0-1] | `test_the_window_after_a_reconnect` |
| [MQTT-3.3.4-10], [MQTT-4.9.0-3] | `test_a_full_window_delays_nothing_else` |
| [MQTT-3.1.2-24], 25 | `test_too_large_for_the_client`, `test_too_large_does_not_hold_up_the_rest` |
| [MQTT-3.1.2-24], [MQTT-3.14.0-1] | `test_a_client_that_cannot_take_its_connack_was_never_connected` |
| [MQTT-3.1.2-24] | `test_no_answer_is_too_large_for_the_client` |
| [MQTT-3.1.2-25] | `test_an_alias_must_not_make_it_too_large` |
| [MQTT-3.2.2-15] | `test_too_large_for_the_server` |
| [MQTT-3.1.2-26], 27, [MQTT-3.3.2-11] | `test_aliases_for_the_client`, `test_no_aliases_unless_offered` |
| [MQTT-3.3.2-7] | `test_aliases_end_with_their_connection` |
| [MQTT-3.3.2-8], 9, [MQTT-3.2.2-17], 18 | `test_aliases_that_were_not_offered` |
| [MQTT-3.3.2-12] | `test_aliases_of_a_client` |
| 3.3.2.3.4 | `test_an_alias_in_a_message_that_was_dropped_is_not_known` |
| 3.1.2.11.3 | `test_receive_maximum_is_not_for_3_1_1` |
"""

from pathlib import Path

import pytest

from devices.mqtt.codec import encode
from devices.mqtt.codes import PacketType, Reason
from devices.mqtt.packets import (
    Ack,
    Connack,
    Connect,
    Disconnect,
    Publish,
    Subscribe,
    SubscribeFilter,
    Unsubscribe,
    Will,
)
from devices.mqtt.properties import Properties, Property
from hub.broker.limits import Limits
from hub.broker.storage import Storage
from hub.broker.store import Store
from tests.fakes import FakeClock
from tests.hub.broker.world import Client, OpenPolicy, World

P = Property
FORWARDED: Properties = {P.CONTENT_TYPE: "text/plain", P.USER_PROPERTY: [("b", "1"), ("a", "2")]}


def come(world: World, client_id: str = "x", *, clean: bool = True, acknowledge: bool = True, **more: int) -> Client:
    """A client of version 5; `more` are properties of CONNECT by name."""
    properties: Properties = {Property[name.upper()]: value for name, value in more.items()}
    return world.connect(client_id, version=5, clean=clean, properties=properties, acknowledge=acknowledge)


def payloads(client: Client) -> list[bytes]:
    return [one.payload for one in client.publishes]


# receive maximum


def test_more_than_the_receive_maximum() -> None:
    """3.3.4: one QoS 2 message too many that was not released is told with 0x93."""
    client = come(World(limits=Limits(receive_maximum=3)), acknowledge=False)
    for number in range(3):
        client.publish("t", b"%d" % number, 2)
    client.publish("t", b"0", 2, packet_id=1, dup=True)  # not a new one
    client.publish("t", b"free", 0)
    assert not client.closed
    client.publish("t", b"4", 2)
    assert client.last(Disconnect).reason is Reason.RECEIVE_MAXIMUM_EXCEEDED
    assert client.closed


def test_the_receive_maximum_begins_anew_with_each_connection() -> None:
    """4.9: what an earlier connection left open does not count against the client, nor is it forgotten."""
    world = World(limits=Limits(receive_maximum=2))
    client = come(world, session_expiry=100, acknowledge=False)
    for packet_id in (1, 2):
        client.publish("t", b"1", 2, packet_id=packet_id)
    client.lose()
    back = come(world, clean=False, session_expiry=100, acknowledge=False)
    for packet_id in (3, 4):
        back.publish("t", b"1", 2, packet_id=packet_id)
    back.publish("t", b"1", 2, packet_id=1, dup=True)
    back.packet(Ack(PacketType.PUBREL, 2))
    assert back.received[-1] == Ack(PacketType.PUBCOMP, 2)
    assert not back.closed
    for packet_id in (5, 6):
        back.publish("t", b"1", 2, packet_id=packet_id)
    assert back.last(Disconnect).reason is Reason.RECEIVE_MAXIMUM_EXCEEDED


def test_acknowledged_messages_do_not_count() -> None:
    """[MQTT-3.3.4-7]: PUBACK, PUBCOMP, and PUBREC with an error each free a place."""
    world = World(limits=Limits(receive_maximum=2))
    world.policy.denied.add(("publish", "secret"))
    client = come(world, acknowledge=False)
    client.publish("t", b"1", 2)
    for _ in range(5):
        client.publish("t", b"1", 1)
        client.publish("secret", b"1", 2)
        packet_id = client.publish("t", b"2", 2) or 0
        client.packet(Ack(PacketType.PUBREL, packet_id))
    assert not client.closed


@pytest.mark.parametrize("qos", [1, 2])
def test_receive_maximum_is_not_for_3_1_1(qos: int, tmp_path: Path) -> None:
    """Such a client knows of none: many messages in one read, before any is acknowledged, are all taken."""
    clock, policy = FakeClock(), OpenPolicy()
    store = Store(Storage(tmp_path / "hub.db"), clock, policy.remember)
    world = World(limits=Limits(receive_maximum=10), clock=clock, policy=policy, store=store)
    keeper = world.connect("keeper", clean=False)
    keeper.subscribe("t", qos=2)
    keeper.lose()
    client = world.connect("x", version=4, acknowledge=False)
    client.packet(*(Publish("t", b"%d" % number, qos, packet_id=number) for number in range(1, 16)))
    kind = PacketType.PUBACK if qos == 1 else PacketType.PUBREC
    assert client.received[1:] == [Ack(kind, number) for number in range(1, 16)]
    assert not client.closed
    world.engine.close()


@pytest.mark.parametrize("qos", [1, 2])
def test_the_clients_receive_maximum(qos: int) -> None:
    """[MQTT-3.3.4-9] [MQTT-4.9.0-2]: no more on their way than it wants; each PUBACK or PUBCOMP, not PUBREC, lets one more go."""
    world = World()
    client = come(world, receive_maximum=2, acknowledge=False)
    client.subscribe("t", qos=qos)
    other = come(world, "y")
    for number in range(5):
        other.publish("t", b"%d" % number, qos)
    assert payloads(client) == [b"0", b"1"]
    for number in range(5):
        packet_id = client.publishes[number].packet_id or 0
        if qos == 2:
            client.packet(Ack(PacketType.PUBREC, packet_id))
            assert len(client.publishes) == min(number + 2, 5)
        client.packet(Ack(PacketType.PUBACK if qos == 1 else PacketType.PUBCOMP, packet_id))
        assert len(client.publishes) == min(number + 3, 5)
    assert payloads(client) == [b"%d" % number for number in range(5)]


@pytest.mark.parametrize(("qos", "kind"), [(1, PacketType.PUBACK), (2, PacketType.PUBREC)])
def test_a_refused_message_frees_its_place(qos: int, kind: PacketType) -> None:
    """[MQTT-3.3.4-9]: so does an acknowledgement with 0x80 or more."""
    world = World()
    client = come(world, receive_maximum=1, acknowledge=False)
    client.subscribe("t", qos=qos)
    other = come(world, "y")
    other.publish("t", b"1", qos)
    other.publish("t", b"2", qos)
    client.packet(Ack(kind, client.publishes[0].packet_id or 0, Reason.UNSPECIFIED_ERROR))
    assert payloads(client) == [b"1", b"2"]


def test_the_window_after_a_reconnect() -> None:
    """[MQTT-3.3.4-9]: what is sent again counts; a window that became smaller holds from the start."""
    world = World()
    client = come(world, session_expiry=100, acknowledge=False)
    client.subscribe("t", qos=1)
    other = come(world, "y")
    for number in range(4):
        other.publish("t", b"%d" % number, 1)
    client.lose()
    back = come(world, clean=False, receive_maximum=1, session_expiry=100, acknowledge=False)
    other.publish("t", b"4", 1)
    for number in range(5):
        assert payloads(back) == [b"%d" % one for one in range(number + 1)]
        back.packet(Ack(PacketType.PUBACK, back.publishes[-1].packet_id or 0))
    assert [one.dup for one in back.publishes] == [True] * 4 + [False]


def test_a_full_window_delays_nothing_else() -> None:
    """[MQTT-3.3.4-10] [MQTT-4.9.0-3]: QoS 0, pings, SUBACK and acknowledgements go on."""
    world = World()
    client = come(world, receive_maximum=1, acknowledge=False)
    client.subscribe("t", qos=1)
    other = come(world, "y")
    other.publish("t", b"1", 1)
    other.publish("t", b"2", 1)
    other.publish("t", b"free", 0)
    assert payloads(client) == [b"1", b"free"]
    assert client.ping()
    assert client.subscribe("u", qos=1) == [1]
    packet_id = client.publish("t", b"3", 1)
    assert client.received[-1] == Ack(PacketType.PUBACK, packet_id or 0)


# packet sizes


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_too_large_for_the_client(qos: int) -> None:
    """[MQTT-3.1.2-24] [MQTT-3.1.2-25]: to the byte, counting properties; live, queued and retained; the others get it."""
    world = World(limits=Limits(queue_qos0=True))
    whole, plain = come(world, "whole"), world.connect("plain")
    for one in (whole, plain):
        one.subscribe("t", qos=qos)
    sizes = []
    for size in (60, 61):
        head = len(encode(Publish("t", b"", qos, packet_id=1 if qos else None, properties=FORWARDED), 5))
        sizes.append(head + size)
    properties: Properties = {P.MAXIMUM_PACKET_SIZE: sizes[0], P.SESSION_EXPIRY: 100}
    small = world.connect("small", version=5, properties=properties)
    small.subscribe("t", qos=qos)
    other = come(world, "y")
    other.publish("t", b"a" * 61, qos, properties=FORWARDED)
    other.publish("t", b"b" * 60, qos, properties=FORWARDED)
    small.lose()
    other.publish("t", b"c" * 61, qos, properties=FORWARDED)
    other.publish("t", b"d" * 60, qos, properties=FORWARDED)
    back = world.connect("small", version=5, clean=False, properties=properties)
    other.publish("r", b"e" * 61, qos, retain=True, properties=FORWARDED)
    back.subscribe("r", qos=qos)
    other.publish("r", b"f" * 60, qos, retain=True, properties=FORWARDED)
    assert [one[:1] for one in payloads(small) + payloads(back)] == [b"b", b"d", b"f"]
    assert [one[:1] for one in payloads(whole)] == [one[:1] for one in payloads(plain)] == [b"a", b"b", b"c", b"d"]
    assert world.engine.stats.dropped["larger than the client accepts"] == 3


def test_too_large_does_not_hold_up_the_rest() -> None:
    """[MQTT-3.1.2-25]: as if it had been sent and acknowledged: the window of one is free, nothing is sent again."""
    world = World()
    client = come(world, maximum_packet_size=100, receive_maximum=1, session_expiry=100)
    client.subscribe("t", qos=2)
    other = come(world, "y")
    for payload in (b"a" * 200, b"b", b"c" * 200, b"d" * 200, b"e"):
        other.publish("t", payload, 2)
    assert payloads(client) == [b"b", b"e"]
    client.lose()
    assert come(world, clean=False).publishes == []
    assert world.engine.gauges().inflight == 0


@pytest.mark.parametrize("size", [3, 10, 25])
def test_no_answer_is_too_large_for_the_client(size: int) -> None:
    """[MQTT-3.1.2-24]: CONNACK, SUBACK and UNSUBACK too: what cannot be answered ends the connection."""
    world = World()
    client = world.client(5)
    names = [f"t/{number}" for number in range(30)]
    client.packet(Connect("", 5, properties={P.MAXIMUM_PACKET_SIZE: size}))
    if not client.closed:
        client.packet(Subscribe(1, [SubscribeFilter(name) for name in names]))
    if not client.closed:
        client.packet(Unsubscribe(2, names))
    assert client.closed
    assert [one for one in client.received if len(encode(one, 5)) > size] == []


def test_a_client_that_cannot_take_its_connack_was_never_connected() -> None:
    """[MQTT-3.14.0-1] [MQTT-3.1.2-24]: no DISCONNECT before a CONNACK; no will, no session, and nothing that ends."""
    world = World()
    listener = world.connect("listener", version=5)
    listener.subscribe("will")
    will = Will("will", b"gone")
    client = world.connect("x", version=5, properties={P.MAXIMUM_PACKET_SIZE: 10, P.SESSION_EXPIRY: 100}, will=will)
    assert client.closed
    assert client.received in ([], [Connack(Reason.PACKET_TOO_LARGE)])
    assert listener.messages == []
    assert len(world.engine.sessions) == 1
    assert not world.engine.stats.disconnects


def test_an_alias_must_not_make_it_too_large() -> None:
    """[MQTT-3.1.2-25]: only what is too large without one may be dropped."""
    world = World()
    size = len(encode(Publish("t", b"x" * 50), 5))
    client = come(world, maximum_packet_size=size, topic_alias_maximum=5)
    client.subscribe("t")
    come(world, "y").publish("t", b"x" * 50)
    assert client.messages == [("t", b"x" * 50, 0, False)]


@pytest.mark.parametrize("body", [b"", b"\0\1t\0" + b"x" * 40])
def test_too_large_for_the_server(body: bytes) -> None:
    """[MQTT-3.2.2-15] 0x95, whether or not its body came yet; one byte less is fine."""
    world = World(limits=Limits(max_packet=200))
    client, fine = come(world), come(world, "fine")
    client.raw(b"\x30\xc6\1" + body)
    assert client.last(Disconnect).reason is Reason.PACKET_TOO_LARGE
    fine.raw(b"\x30\xc5\1\0\1t\0" + b"x" * 193)
    assert fine.ping()


# topic aliases


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_aliases_for_the_client(qos: int) -> None:
    """[MQTT-3.1.2-26] [MQTT-3.3.2-11]: at most as many as it offers; each is given with its topic first."""
    world = World()
    client = come(world, topic_alias_maximum=2)
    client.subscribe("#", qos=qos)
    other = come(world, "y")
    known: dict[int, str] = {}
    for topic in ("a", "b", "a", "c", "b", "a", "c"):
        other.publish(topic, topic.encode(), qos)
        got = client.publishes[-1]
        alias = got.properties.get(P.TOPIC_ALIAS)
        if alias is not None:
            assert 1 <= alias <= 2
            if got.topic:
                known[alias] = got.topic
        name = got.topic or known[alias or 0]
        assert name.encode() == got.payload == topic.encode()
    # three topics, two aliases: the topic is spared where there is one
    assert [one.topic for one in client.publishes] == ["a", "b", "", "c", "", "", "c"]


@pytest.mark.parametrize("offered", [None, 0])
def test_no_aliases_unless_offered(offered: int | None) -> None:
    """[MQTT-3.1.2-27]: and a server that is set to use none gives none."""
    world = World() if offered is None else World(limits=Limits(topic_aliases=5))
    client = come(world) if offered is None else come(world, topic_alias_maximum=offered)
    client.subscribe("t")
    other = come(world, "y")
    for _ in range(3):
        other.publish("t", b"1", properties={P.TOPIC_ALIAS: 1})
    assert client.messages == [("t", b"1", 0, False)] * 3
    assert all(P.TOPIC_ALIAS not in one.properties for one in client.publishes)


def test_an_alias_in_a_message_that_was_dropped_is_not_known() -> None:
    """3.3.2.3.4: what was too large, or for want of room, told the client nothing: the next message names its topic."""
    world = World(limits=Limits(send_buffer=1_000))
    client = come(world, topic_alias_maximum=5, maximum_packet_size=500)
    client.subscribe("#")
    other = come(world, "y")
    other.publish("large", b"x" * 600)
    client.stuck = 2_000
    assert client.ping()  # so that it is seen
    other.publish("slow", b"y" * 100)
    assert client.publishes == []
    client.stuck = 0
    client.connection.drained()
    other.publish("large", b"1")
    other.publish("slow", b"2")
    assert [(one.topic, one.payload) for one in client.publishes][-2:] == [("large", b"1"), ("slow", b"2")]


def test_aliases_end_with_their_connection() -> None:
    """[MQTT-3.3.2-7]: those of the client and those for the client."""
    world = World()
    client = come(world, topic_alias_maximum=5, session_expiry=100)
    client.subscribe("t")
    for _ in range(2):
        client.publish("t", b"1", properties={P.TOPIC_ALIAS: 1})
    assert [one.topic for one in client.publishes] == ["t", ""]
    client.lose()
    back = come(world, clean=False, topic_alias_maximum=5, session_expiry=100)
    back.publish("t", b"2")
    assert [one.topic for one in back.publishes] == ["t"]
    back.publish("", b"3", properties={P.TOPIC_ALIAS: 1})
    assert back.last(Disconnect).reason is Reason.TOPIC_ALIAS_INVALID


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_aliases_of_a_client(qos: int) -> None:
    """[MQTT-3.3.2-12] 3.3.2.3.4: the highest too; another topic can take an alias; one that may not be used stays so."""
    world = World(limits=Limits(topic_aliases=3))
    world.policy.denied.add(("publish", "secret"))
    listener = come(world, "listener")
    listener.subscribe("#")
    client = come(world)
    steps = [("a", 1), ("b", 3), ("", 1), ("", 3), ("c", 1), ("", 1), ("secret", 2), ("", 2), ("a", None), ("", 3)]
    for topic, alias in steps:
        client.publish(topic, b"1", qos, properties={} if alias is None else {P.TOPIC_ALIAS: alias})
    assert [one.topic for one in listener.publishes] == ["a", "b", "a", "b", "c", "c", "a", "b"]
    assert not client.closed


@pytest.mark.parametrize("topic", ["t", ""])
@pytest.mark.parametrize("alias", [b"\0\0", b"\0\4", b"\xff\xff", b"\0\2"])
def test_aliases_that_were_not_offered(topic: str, alias: bytes) -> None:
    """[MQTT-3.3.2-8] [MQTT-3.3.2-9] 0x94: 0, more than the maximum, and one that stands for nothing yet."""
    world = World(limits=Limits(topic_aliases=3))
    client = come(world)
    name = topic.encode()
    client.raw(b"\x30" + bytes([6 + len(name), 0, len(name)]) + name + b"\3\x23" + alias)
    if alias == b"\0\2" and topic:
        assert client.ping()
    else:
        assert client.last(Disconnect).reason is Reason.TOPIC_ALIAS_INVALID
        assert client.closed
