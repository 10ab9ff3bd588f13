"""MQTT 5, what 3.1.1 does not know: what messages carry, and for how long.

| clause | test |
|---|---|
| [MQTT-3.3.2-4], 15 to 18, 20, [MQTT-1.5.7-1] | `test_properties_are_forwarded_unaltered` |
| [MQTT-3.3.2-18] | `test_the_order_of_user_properties_on_the_wire` |
| [MQTT-3.3.2-14] | `test_conformance_5.py`, `test_errors_end_the_connection_with_their_reason` |
| [MQTT-3.3.4-6] | `test_a_client_does_not_send_subscription_identifiers` |
| 2.2.2.2 | `test_what_is_between_client_and_server_is_not_forwarded` |
| [MQTT-3.3.2-5] | `test_expired_in_the_queue`, `test_expired_while_retained`, `test_expired_behind_a_full_window` |
| [MQTT-3.3.2-6] | `test_the_time_left_is_forwarded` |
| [MQTT-4.3.3-7] | `test_expiry_does_not_stop_a_qos_2_message_that_was_sent` |
| [MQTT-4.3.3-13] | `test_expiry_does_not_stop_the_handshake` |
| between versions | `test_a_client_of_3_1_1_gets_no_properties` |
"""

import pytest

from devices.mqtt.codes import PacketType, Reason
from devices.mqtt.packets import Ack, Connect, Disconnect, Suback, Subscribe, SubscribeFilter
from devices.mqtt.properties import Properties, Property
from hub.broker.limits import Limits
from tests.hub.broker.world import Client, World

P = Property
FORWARDED: Properties = {
    P.PAYLOAD_FORMAT: 1,
    P.CONTENT_TYPE: "text/plain; charset=\ufeffutf-8",
    P.RESPONSE_TOPIC: "answers/1",
    P.CORRELATION_DATA: b"\0\xff" * 100,
    P.USER_PROPERTY: [("b", "1"), ("a", "2"), ("b", "0"), ("", ""), ("b", "1"), ("键", "值")],
}


def come(world: World, client_id: str = "x", *, clean: bool = True, acknowledge: bool = True, **more: int) -> Client:
    """A client of version 5; `more` are properties of CONNECT by name."""
    properties: Properties = {Property[name.upper()]: value for name, value in more.items()}
    return world.connect(client_id, version=5, clean=clean, properties=properties, acknowledge=acknowledge)


def payloads(client: Client) -> list[bytes]:
    return [one.payload for one in client.publishes]


# what is forwarded


@pytest.mark.parametrize("way", ["live", "queued", "retained"])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_properties_are_forwarded_unaltered(way: str, qos: int) -> None:
    """[MQTT-3.3.2-4] [MQTT-3.3.2-15] to [MQTT-3.3.2-18] [MQTT-3.3.2-20]: all of them, user properties in their order."""
    world = World(limits=Limits(queue_qos0=True))
    client = come(world, session_expiry=100)
    if way != "retained":
        client.subscribe("t", qos=qos)
    if way == "queued":
        client.lose()
    come(world, "y").publish("t", b"1", qos, retain=way == "retained", properties=FORWARDED)
    if way == "queued":
        client = come(world, clean=False)
    elif way == "retained":
        client.subscribe("t", qos=qos)
    (got,) = client.publishes
    assert (got.payload, got.qos, got.properties) == (b"1", qos, FORWARDED)


class Tap(Client):
    """Keeps the bytes as well."""

    data = b""

    def send(self, data: bytes) -> None:
        self.data += data
        super().send(data)


@pytest.mark.parametrize("retained", [False, True])
def test_the_order_of_user_properties_on_the_wire(retained: bool) -> None:
    """[MQTT-3.3.2-18]: byte for byte, whatever this project's own codec makes of them."""
    world = World()
    pairs = b"".join(b"\x26\0\1%b\0\1%b" % pair for pair in ((b"b", b"1"), (b"a", b"2"), (b"b", b"0"), (b"a", b"2")))
    other, client = come(world, "y"), Tap(world, 5)
    client.packet(Connect("x", 5))
    subscribe = Subscribe(1, [SubscribeFilter("t", 1)])
    if not retained:
        client.packet(subscribe)
    body = b"\0\1t\0\1" + bytes([len(pairs)]) + pairs + b"payload"
    other.raw(bytes([0x32 | retained, len(body)]) + body)
    if retained:
        client.packet(subscribe)
    assert client.data.endswith(bytes([0x32 | retained, len(body)]) + body)


def test_a_client_of_3_1_1_gets_no_properties() -> None:
    """The same message without them; and what it publishes has none."""
    world = World()
    old, new = world.connect("old", version=4), come(world)
    old.subscribe("t")
    new.subscribe("t")
    new.publish("t", b"1", properties=FORWARDED)
    old.publish("t", b"2")
    assert old.messages == [("t", b"1", 0, False), ("t", b"2", 0, False)]
    assert [one.properties for one in new.publishes] == [FORWARDED, {}]


def test_what_is_between_client_and_server_is_not_forwarded() -> None:
    """2.2.2.2: aliases and subscription identifiers are each connection's own; user properties of SUBSCRIBE go nowhere."""
    world = World()
    client = come(world)
    client.packet(Subscribe(1, [SubscribeFilter("t", 1)], {P.USER_PROPERTY: [("a", "b")]}))
    assert client.last(Suback) == Suback(1, b"\1")
    come(world, "y").publish("t", b"1", 1, properties={P.TOPIC_ALIAS: 3})
    assert [one.properties for one in client.publishes] == [{}]


@pytest.mark.parametrize("qos", [0, 1])
def test_a_client_does_not_send_subscription_identifiers(qos: int) -> None:
    """[MQTT-3.3.4-6]: such a PUBLISH ends the connection."""
    client = come(World())
    client.publish("t", b"1", qos, properties={P.SUBSCRIPTION_IDENTIFIER: [1]})
    assert client.closed
    assert client.last(Disconnect).reason in (Reason.MALFORMED_PACKET, Reason.PROTOCOL_ERROR)


# message expiry


@pytest.mark.parametrize(("wait", "left"), [(0, 20), (5, 15), (19, 1)])
def test_the_time_left_is_forwarded(wait: int, left: int) -> None:
    """[MQTT-3.3.2-6]: what it had, less the time it waited here; queued or retained."""
    world = World()
    client = come(world, session_expiry=100)
    client.subscribe("t", qos=1)
    client.lose()
    come(world, "y").publish("t", b"1", 1, retain=True, properties={P.MESSAGE_EXPIRY: 20})
    world.forward(wait)
    back, late = come(world, clean=False), come(world, "late")
    late.subscribe("t", qos=1)
    assert [one.properties for one in back.publishes + late.publishes] == [{P.MESSAGE_EXPIRY: left}] * 2


def test_expired_in_the_queue() -> None:
    """[MQTT-3.3.2-5]: the copy for a client that is away is deleted, and counted; the others stay, in order."""
    world = World()
    client = come(world, session_expiry=100)
    client.subscribe("t", qos=1)
    client.lose()
    other = come(world, "y")
    for payload, expiry in ((b"1", 5), (b"2", 50), (b"3", 5), (b"4", None)):
        other.publish("t", payload, 1, properties={} if expiry is None else {P.MESSAGE_EXPIRY: expiry})
    world.forward(6)
    assert payloads(come(world, clean=False)) == [b"2", b"4"]
    assert world.engine.stats.dropped["expired"] == 2


def test_expired_while_retained() -> None:
    """[MQTT-3.3.2-5] 3.3.1.3: then there is no retained message for the topic."""
    world = World()
    come(world, "y").publish("t", b"1", retain=True, properties={P.MESSAGE_EXPIRY: 5})
    world.forward(4)
    early = come(world, "early")
    early.subscribe("t")
    world.forward(2)
    late = come(world, "late")
    late.subscribe("t", "#")
    assert payloads(early) == [b"1"]
    assert late.publishes == []
    assert world.engine.gauges().retained == 0


def test_expired_behind_a_full_window() -> None:
    """[MQTT-3.3.2-5]: delivery to a connected client that does not acknowledge has not begun either."""
    world = World()
    client = come(world, receive_maximum=1, acknowledge=False)
    client.subscribe("t", qos=1)
    other = come(world, "y")
    other.publish("t", b"1", 1)
    other.publish("t", b"2", 1, properties={P.MESSAGE_EXPIRY: 5})
    other.publish("t", b"3", 1)
    world.forward(6)
    client.packet(Ack(PacketType.PUBACK, client.publishes[0].packet_id or 0))
    assert payloads(client) == [b"1", b"3"]


def test_expiry_does_not_stop_a_qos_2_message_that_was_sent() -> None:
    """[MQTT-4.3.3-7]: it was sent once: it is sent again, however late."""
    world = World()
    client = come(world, session_expiry=100, acknowledge=False)
    client.subscribe("t", qos=2)
    come(world, "y").publish("t", b"1", 2, properties={P.MESSAGE_EXPIRY: 5})
    client.lose()
    world.forward(10)
    (again,) = come(world, clean=False, session_expiry=100).publishes
    assert (again.payload, again.dup, again.packet_id) == (b"1", True, client.publishes[0].packet_id)


def test_expiry_does_not_stop_the_handshake() -> None:
    """[MQTT-4.3.3-13]: the publisher's PUBREL is answered, though its message is long gone."""
    world = World()
    client = come(world, acknowledge=False)
    packet_id = client.publish("t", b"1", 2, retain=True, properties={P.MESSAGE_EXPIRY: 1}) or 0
    world.forward(10)
    client.packet(Ack(PacketType.PUBREL, packet_id))
    assert client.received[-1] == Ack(PacketType.PUBCOMP, packet_id)
