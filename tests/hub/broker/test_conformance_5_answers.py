"""MQTT 5, what 3.1.1 does not know: the reason codes of PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK and UNSUBACK.

| clause | test |
|---|---|
| [MQTT-3.4.2-1], [MQTT-3.5.2-1] | `test_acknowledgements_tell_why` |
| 3.3.1.3, quota | `test_no_room_to_retain`, `test_an_expired_retained_message_makes_room` |
| [MQTT-3.6.2-1], [MQTT-3.7.2-1] | `test_unknown_packet_identifiers` |
| [MQTT-3.8.4-6], 7, [MQTT-3.9.3-1], 2 | `test_suback_has_a_reason_for_each_filter`, `test_too_many_subscriptions` |
| [MQTT-3.11.3-1], 2, [MQTT-3.10.4-5], 6 | `test_unsuback_has_a_reason_for_each_filter` |
| [MQTT-4.3.3-9], [MQTT-4.4.0-2] | `test_a_refused_qos_2_message_is_over` |
| [MQTT-4.4.0-2], [MQTT-4.3.3-4] | `test_a_message_that_a_client_refuses_is_not_sent_again` |
| 3.4.2.1, 3.14.2.1 | `test_pings_and_acknowledgements_do_not_need_properties` |
"""

import pytest

from devices.mqtt.codes import PacketType, Reason
from devices.mqtt.packets import (
    Ack,
    Packet,
    Pingresp,
    Suback,
    SubscribeFilter,
    Unsuback,
    Unsubscribe,
)
from devices.mqtt.properties import Properties, Property
from hub.broker.limits import Limits
from tests.hub.broker.world import World

P = Property


@pytest.mark.parametrize(("qos", "kind"), [(1, PacketType.PUBACK), (2, PacketType.PUBREC)])
def test_acknowledgements_tell_why(qos: int, kind: PacketType) -> None:
    """[MQTT-3.4.2-1] [MQTT-3.5.2-1]: taken, wanted by nobody, not allowed, not a topic for clients."""
    world = World()
    world.policy.denied.add(("publish", "secret"))
    world.connect("y", version=5).subscribe("wanted", "secret", "$SYS/x")
    client = world.connect("x", version=5, acknowledge=False)
    for topic, reason in (
        ("wanted", Reason.SUCCESS),
        ("lonely", Reason.NO_MATCHING_SUBSCRIBERS),
        ("secret", Reason.NOT_AUTHORIZED),
        ("$SYS/x", Reason.TOPIC_NAME_INVALID),
    ):
        packet_id = client.publish(topic, b"1", qos)
        assert client.received[-1] == Ack(kind, packet_id or 0, reason), topic


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_no_room_to_retain(qos: int, version: int) -> None:
    """Quota exceeded: who can be told is told 0x97, and the message goes nowhere; of others it is delivered, but not kept.

    To replace or clear what is kept needs no room.
    """
    world = World(limits=Limits(retained=1))
    listener = world.connect("listener", version=5)
    listener.subscribe("#")
    client = world.connect("x", version=version)
    sent = [("a", b"1"), ("b", b"1"), ("a", b"2"), ("a", b""), ("b", b"2")]
    for topic, payload in sent:
        client.publish(topic, payload, qos, retain=True)
    told = version == 5 and qos > 0
    kind = PacketType.PUBACK if qos == 1 else PacketType.PUBREC
    answers = [one.reason for one in client.received if isinstance(one, Ack) and one.type is kind]
    if qos:
        assert answers == [Reason.SUCCESS, Reason.QUOTA_EXCEEDED if told else 0, *[Reason.SUCCESS] * 3]
    assert [(one.topic, one.payload) for one in listener.publishes] == ([sent[0], *sent[2:]] if told else sent)
    assert world.engine.stats.dropped["no room to retain"] == 1
    assert [(one.topic, one.payload) for one in world.engine.deliveries.retained] == [("b", b"2")]


def test_an_expired_retained_message_makes_room() -> None:
    """3.3.1.3: when it has expired there is no retained message for its topic, and it holds no place."""
    world = World(limits=Limits(retained=1))
    client = world.connect("x", version=5)
    client.publish("a", b"1", retain=True, properties={P.MESSAGE_EXPIRY: 10})
    world.forward(11)
    client.publish("b", b"2", retain=True)
    client.subscribe("#")
    assert client.messages == [("b", b"2", 0, True)]


def test_a_refused_qos_2_message_is_over() -> None:
    """[MQTT-4.3.3-9]: after PUBREC with 0x80 or more its identifier is free: the next PUBLISH with it is a new message."""
    world = World()
    world.policy.denied.add(("publish", "secret"))
    listener = world.connect("y", version=5)
    listener.subscribe("#")
    client = world.connect("x", version=5)
    client.publish("secret", b"1", 2, packet_id=5)
    client.publish("open", b"2", 2, packet_id=5)
    assert listener.messages == [("open", b"2", 0, False)]


@pytest.mark.parametrize(("qos", "kind"), [(1, PacketType.PUBACK), (2, PacketType.PUBREC)])
def test_a_message_that_a_client_refuses_is_not_sent_again(qos: int, kind: PacketType) -> None:
    """[MQTT-4.4.0-2] [MQTT-4.3.3-4]: PUBACK or PUBREC with 0x80 or more ends it: no PUBREL, no redelivery."""
    world = World()
    keep: Properties = {P.SESSION_EXPIRY: 100}
    client = world.connect("x", version=5, properties=keep, acknowledge=False)
    client.subscribe("t", qos=qos)
    world.connect("y", version=5).publish("t", b"1", qos)
    packet_id = client.publishes[0].packet_id or 0
    client.packet(Ack(kind, packet_id, Reason.IMPLEMENTATION_SPECIFIC_ERROR))
    assert not client.count(Ack)
    client.lose()
    back = world.connect("x", version=5, clean=False, properties=keep)
    assert back.connack.session_present
    assert back.messages == []


def test_unknown_packet_identifiers() -> None:
    """[MQTT-3.6.2-1] [MQTT-3.7.2-1]: PUBREC and PUBREL for nothing are answered with 0x92."""
    client = World().connect("x", version=5, acknowledge=False)
    client.packet(Ack(PacketType.PUBREC, 7))
    client.packet(Ack(PacketType.PUBREL, 8))
    client.packet(Ack(PacketType.PUBACK, 9), Ack(PacketType.PUBCOMP, 10))
    assert client.received[1:] == [
        Ack(PacketType.PUBREL, 7, Reason.PACKET_IDENTIFIER_NOT_FOUND),
        Ack(PacketType.PUBCOMP, 8, Reason.PACKET_IDENTIFIER_NOT_FOUND),
    ]


def test_suback_has_a_reason_for_each_filter() -> None:
    """[MQTT-3.8.4-6] [MQTT-3.9.3-1] [MQTT-3.9.3-2]: in order: granted QoS, not authorized, no filter."""
    world = World()
    world.policy.denied.add(("subscribe", "secret"))
    client = world.connect("x", version=5)
    bad = ("#/a", "a#", "a+/b", "$share/g", "$share//t", "$share/g+/t", "$share/#/t", "$share/g/", "$share/g/#/t")
    good = [SubscribeFilter("a", 0), SubscribeFilter("b", 1), SubscribeFilter("secret", 1), SubscribeFilter("c", 2)]
    codes = client.subscribe(*good, *bad)
    assert codes == [0, 1, Reason.NOT_AUTHORIZED, 2] + [Reason.TOPIC_FILTER_INVALID] * len(bad)
    assert client.last(Suback).properties == {}
    world.connect("y", version=5).publish("secret", b"1")
    assert client.messages == []


def test_too_many_subscriptions() -> None:
    """3.9.3: 0x97 for one filter more; one that is already there can be changed."""
    client = World(limits=Limits(subscriptions=2)).connect("x", version=5)
    assert client.subscribe("a", "b", "c") == [0, 0, Reason.QUOTA_EXCEEDED]
    assert client.subscribe("a", qos=1) == [1]
    assert client.unsubscribe("a") == [0]
    assert client.subscribe("c") == [0]


def test_unsuback_has_a_reason_for_each_filter() -> None:
    """[MQTT-3.11.3-1] [MQTT-3.11.3-2] [MQTT-3.10.4-5]: in order, 0x11 where there was no such subscription."""
    client = World().connect("x", version=5)
    client.subscribe("a", "b/+", "$share/g/c")
    client.packet(Unsubscribe(77, ["a", "a", "b/c", "b/+", "c", "$share/h/c", "$share/g/c"]))
    assert client.last(Unsuback) == Unsuback(77, bytes([0, 0x11, 0x11, 0, 0x11, 0x11, 0]))


def test_pings_and_acknowledgements_do_not_need_properties() -> None:
    """3.4.2.1, 3.14.2.1: the short forms of both sides are understood."""
    world = World()
    client = world.connect("x", version=5, acknowledge=False)
    client.subscribe("t", qos=2)
    world.connect("y", version=5).publish("t", b"1", 2)
    packet_id = client.publishes[0].packet_id or 0
    answers: list[Packet] = []
    for short in (b"\x50\4%b\0\0", b"\x70\3%b\0"):
        seen = len(client.received)
        client.raw(short % packet_id.to_bytes(2, "big"))
        answers += client.received[seen:]
    assert answers == [Ack(PacketType.PUBREL, packet_id)]
    client.raw(b"\xc0\0\xe0\1\0")
    assert isinstance(client.received[-1], Pingresp)
    assert client.closed
