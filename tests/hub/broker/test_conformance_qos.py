"""What both versions say of QoS, packet identifiers and order, clause by clause; 3.1.1's numbers, and 5's behind a slash.

| clause | test |
|---|---|
| 2.3.1-4 / 2.2.1-4 | test_identifiers_in_flight_differ, test_identifiers_begin_anew |
| 2.3.1-5, 4.3.1-1 / 2.2.1-2, 4.3.1-1 | test_the_lower_qos_counts |
| 2.3.1-6, 3.3.4-1 / 2.2.1-5, 3.3.4-1 | test_a_message_is_answered_as_its_qos_says |
| 3.3.1-2, 3.3.1-3 | test_dup_is_not_passed_on |
| 3.8.4-6 / 3.8.4-8 | test_the_lower_qos_counts |
| 4.3.2-1 / 4.3.2-1 to -3 | test_the_lower_qos_counts, test_the_wrong_answer_is_none |
| 4.3.2-2 / 4.3.2-4, -5 | test_an_identifier_is_free_after_puback |
| 4.3.3-1 / 4.3.3-1 to -7 | test_qos_2_out_step_by_step, test_the_wrong_answer_is_none |
| 4.3.3-2 / 4.3.3-8 to -13 | test_qos_2_in_step_by_step, test_a_release_of_nothing_is_answered |
| 4.5.0-1 | test_the_lower_qos_counts |
| 4.6.0-5, -6 | test_messages_of_a_topic_keep_their_order |
| 4.6 (in-flight window) / 4.9.0-1, -2 | test_the_window, test_qos_0_does_not_wait_for_the_window |

What is sent again, and what waits, is in test_conformance_delivery.py.
"""

import pytest

from devices.mqtt.codes import PacketType, Reason
from devices.mqtt.packets import Ack, Publish
from devices.mqtt.properties import Properties, Property
from hub.broker.limits import Limits
from tests.hub.broker.raw import PUBACK, PUBCOMP, PUBREC, PUBREL, QOS, VERSIONS, acks, finish, payloads
from tests.hub.broker.world import World

# the three of them


@pytest.mark.parametrize("sender", [4, 5])
@pytest.mark.parametrize("receiver", [4, 5])
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("granted", [0, 1, 2])
@pytest.mark.parametrize("fast", [False, True])
def test_the_lower_qos_counts(sender: int, receiver: int, qos: int, granted: int, fast: bool) -> None:
    """[MQTT-3.8.4-6] [5: MQTT-3.8.4-8] [MQTT-4.3.1-1] [MQTT-4.3.2-1] [MQTT-4.3.3-1] [MQTT-2.3.1-5] [MQTT-4.5.0-1]
    min(publish, subscription), whoever speaks which version; once, with no DUP, with a packet identifier above QoS 0 only."""
    world = World()
    alice, bob = world.connect("alice", version=receiver, acknowledge=False), world.connect("bob", version=sender)
    assert alice.subscribe("a", qos=granted) == [granted]
    if fast:
        bob.publish("a", b"before", 0)
        del alice.received[:]
    bob.publish("a", b"x", qos)
    lower = min(qos, granted)
    assert [(one.qos, one.dup, one.retain, one.payload) for one in alice.publishes] == [(lower, False, False, b"x")]
    assert (alice.publishes[0].packet_id is None) == (lower == 0)
    finish(alice) if lower else None
    assert world.engine.gauges().inflight == 0


@VERSIONS
def test_a_message_is_answered_as_its_qos_says(version: int) -> None:
    """[MQTT-3.3.4-1] [MQTT-2.3.1-6] [5: MQTT-2.2.1-5] Nothing, PUBACK, or PUBREC, with the identifier of the message."""
    client = World().connect("client", version=version, acknowledge=False)
    client.publish("a", b"x", 0)
    client.publish("a", b"x", 1, packet_id=7)
    client.publish("a", b"x", 2, packet_id=65_535)
    client.publish("b", b"x", 1, packet_id=256)
    client.packet(Ack(PUBREL, 65_535))
    assert acks(client) == [(PUBACK, 7), (PUBREC, 65_535), (PUBACK, 256), (PUBCOMP, 65_535)]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_properties_stay_where_they_are_known(qos: int) -> None:
    """Mixed: a 3.1.1 subscriber gets topic and payload of what a client of version 5 sent with properties."""
    world = World()
    new, old, client = (world.connect(name, version=at) for name, at in (("new", 5), ("old", 4), ("client", 5)))
    for one in (new, old):
        one.subscribe("a", qos=qos)
    given: Properties = {Property.CONTENT_TYPE: "text/plain", Property.USER_PROPERTY: [("key", "value")]}
    for number, properties in enumerate(({}, given, {})):
        client.publish("a", b"%d" % number, qos, properties=properties)
    assert old.messages == new.messages == [("a", b"%d" % number, qos, False) for number in range(3)]
    assert [one.properties for one in new.publishes] == [{}, given, {}]


@pytest.mark.parametrize("tail", [b"", b"\0", b"\x10", b"\0\0"], ids=len)
def test_puback_of_version_5_in_each_form(tail: bytes) -> None:
    """[5: MQTT-4.3.2-3] 3.4.2.1: without a reason, with one, with properties: it ends QoS 1."""
    world = World()
    client = world.connect("client", version=5, acknowledge=False)
    client.subscribe("a", qos=1)
    world.connect("other").publish("a", b"x", 1)
    client.raw(bytes([0x40, 2 + len(tail)]) + (client.publishes[0].packet_id or 0).to_bytes(2, "big") + tail)
    assert world.engine.gauges().inflight == 0


@VERSIONS
@QOS
def test_dup_is_not_passed_on(version: int, qos: int) -> None:
    """[MQTT-3.3.1-3] The flag of an outgoing message is its own; [MQTT-3.3.1-2] QoS 0 has none."""
    world = World()
    client = world.connect("client", version=version)
    high, low = world.connect("high"), world.connect("low", version=5)
    high.subscribe("a", qos=2)
    low.subscribe("a", qos=0)
    client.publish("a", b"x", qos, dup=True)
    assert [one.dup for one in high.publishes + low.publishes] == [False, False]


@VERSIONS
@pytest.mark.parametrize("dup", [False, True])
def test_an_identifier_is_free_after_puback(version: int, dup: bool) -> None:
    """[MQTT-4.3.2-2] [5: MQTT-4.3.2-5] The same one again is a new message, whatever its DUP flag says."""
    world = World()
    client, watcher = world.connect("client", version=version), world.connect("watcher")
    watcher.subscribe("a", qos=1)
    client.publish("a", b"1", 1, packet_id=5)
    client.publish("a", b"2", 1, packet_id=5, dup=dup)
    assert payloads(watcher) == [b"1", b"2"]
    assert acks(client) == [(PUBACK, 5), (PUBACK, 5)]


@VERSIONS
def test_qos_2_in_step_by_step(version: int) -> None:
    """[MQTT-4.3.3-2] [5: MQTT-4.3.3-8 to -13] Until PUBREL the identifier is in use; then it is new. Others are no matter."""
    world = World()
    client = world.connect("client", version=version, acknowledge=False)
    watcher = world.connect("watcher", version=9 - version)
    watcher.subscribe("a", qos=2)
    for payload, packet_id, dup in ((b"1", 5, False), (b"1", 5, True), (b"2", 6, False), (b"1", 5, False)):
        client.publish("a", payload, 2, packet_id=packet_id, dup=dup)
    assert acks(client) == [(PUBREC, 5), (PUBREC, 5), (PUBREC, 6), (PUBREC, 5)]
    assert payloads(watcher) == [b"1", b"2"]
    client.packet(Ack(PUBREL, 5))
    client.packet(Ack(PUBREL, 5))
    assert acks(client)[4:] == [(PUBCOMP, 5), (PUBCOMP, 5)]
    client.publish("a", b"3", 2, packet_id=5)
    client.publish("a", b"2", 2, packet_id=6, dup=True)
    assert payloads(watcher) == [b"1", b"2", b"3"]


@VERSIONS
def test_qos_1_with_the_identifier_of_a_qos_2_in_progress(version: int) -> None:
    """[MQTT-4.3.3-2] Only QoS 2 is held against the identifiers in use: a QoS 1 message is another one."""
    world = World()
    client, watcher = world.connect("client", version=version, acknowledge=False), world.connect("watcher")
    watcher.subscribe("a", qos=2)
    client.publish("a", b"2", 2, packet_id=5)
    client.publish("a", b"1", 1, packet_id=5)
    assert payloads(watcher) == [b"2", b"1"]
    client.publish("a", b"2", 2, packet_id=5, dup=True)
    assert payloads(watcher) == [b"2", b"1"]


@VERSIONS
def test_a_release_of_nothing_is_answered(version: int) -> None:
    """[MQTT-4.3.3-2] [5: MQTT-4.3.3-11] The PUBCOMP may have been lost with the connection: the client gets another."""
    client = World().connect("client", version=version, acknowledge=False)
    client.packet(Ack(PUBREL, 9))
    reason = Reason.SUCCESS if version == 4 else Reason.PACKET_IDENTIFIER_NOT_FOUND
    assert client.received[1:] == [Ack(PUBCOMP, 9, reason)]


@VERSIONS
def test_qos_2_out_step_by_step(version: int) -> None:
    """[MQTT-4.3.3-1] [5: MQTT-4.3.3-1 to -7] Each PUBREC gets a PUBREL, whatever came before."""
    world = World()
    client = world.connect("client", version=version, acknowledge=False)
    client.subscribe("a", qos=2)
    world.connect("other").publish("a", b"x", 2)
    (message,) = client.publishes
    packet_id = message.packet_id
    assert packet_id is not None
    client.packet(Ack(PUBREC, packet_id))
    client.packet(Ack(PUBREC, packet_id))
    assert acks(client) == [(PUBREL, packet_id)] * 2
    client.packet(Ack(PUBCOMP, packet_id))
    assert world.engine.gauges().inflight == 0
    client.packet(Ack(PUBREC, packet_id))
    assert acks(client) == [(PUBREL, packet_id)] * 3
    assert len(client.publishes) == 1


@VERSIONS
@pytest.mark.parametrize(
    ("qos", "wrong"), [(1, PUBREC), (1, PUBCOMP), (2, PUBACK), (2, PUBCOMP)], ids=lambda value: str(value)
)
def test_the_wrong_answer_is_none(version: int, qos: int, wrong: PacketType) -> None:
    """[MQTT-4.3.2-1] [MQTT-4.3.3-1] [5: MQTT-4.3.2-3, MQTT-4.3.3-3, -6] PUBACK ends QoS 1 alone, PUBREC and PUBCOMP QoS 2."""
    world = World()
    client = world.stay("client", version=version, acknowledge=False)
    client.subscribe("a", qos=2)
    world.connect("other").publish("a", b"x", qos)
    packet_id = client.publishes[0].packet_id
    assert packet_id is not None
    client.packet(Ack(wrong, packet_id))
    if not client.closed:
        client.lose()
    client = world.stay("client", version=version)
    assert [(one.payload, one.qos, one.dup, one.packet_id) for one in client.publishes] == [
        (b"x", qos, True, packet_id)
    ]
    assert world.engine.gauges().inflight == 0


# identifiers and the window


@VERSIONS
@QOS
def test_identifiers_in_flight_differ(version: int, qos: int) -> None:
    """[MQTT-2.3.1-4] [5: MQTT-2.2.1-4] None is 0, none is used twice at once; those of the client are another matter."""
    world = World()
    client = world.connect("client", version=version, acknowledge=False)
    client.subscribe("a", qos=2)
    for number in range(1, 201):
        client.publish("a", b"x", qos, packet_id=number)
    ids = [one.packet_id for one in client.publishes]
    assert len(set(ids)) == 200
    assert 0 not in ids
    assert len(acks(client)) == 200
    assert world.engine.gauges().inflight == 200


@VERSIONS
def test_identifiers_begin_anew(version: int) -> None:
    """[MQTT-2.3.1-4] [5: MQTT-2.2.1-4] After 65,535 comes 1, unless it is still in flight."""
    world = World()
    client = world.connect("client", version=version, acknowledge=False)
    client.subscribe("a", qos=1)
    other = world.connect("other")
    other.publish("a", b"stuck", 1)
    stuck = client.publishes[0].packet_id
    world.engine.sessions["", "client"]._last_id = 65_533
    seen = []
    for _ in range(5):
        other.publish("a", b"x", 1)
        packet_id = client.publishes[-1].packet_id
        assert packet_id is not None
        seen.append(packet_id)
        client.packet(Ack(PUBACK, packet_id))
    assert stuck == 1
    assert seen == [65_534, 65_535, 2, 3, 4]


@VERSIONS
@QOS
def test_the_window(version: int, qos: int) -> None:
    """[5: MQTT-4.9.0-1] 4.6: as many as the window holds are in flight; each answer lets the next one out, in order."""
    world = World(limits=Limits(inflight=3))
    client = world.connect("client", version=version, acknowledge=False)
    client.subscribe("a", qos=2)
    other = world.connect("other")
    for number in range(10):
        other.publish("a", b"%d" % number, qos)
    assert payloads(client) == [b"0", b"1", b"2"]
    for at in range(10):
        packet_id = client.publishes[at].packet_id
        assert packet_id is not None
        assert len(client.publishes) == min(at + 3, 10)
        if qos == 2:
            client.packet(Ack(PUBREC, packet_id))
            assert len(client.publishes) == min(at + 3, 10)  # PUBREC is half of it
        client.packet(Ack(PUBACK if qos == 1 else PUBCOMP, packet_id))
    assert payloads(client) == [b"%d" % number for number in range(10)]
    assert world.engine.gauges().inflight == world.engine.gauges().queued == 0


@VERSIONS
def test_qos_0_does_not_wait_for_the_window(version: int) -> None:
    """[5: MQTT-4.9.0-2] 4.6: nor does anything else that is no QoS 1 or 2 message."""
    world = World(limits=Limits(inflight=1))
    client = world.connect("client", version=version, acknowledge=False)
    client.subscribe("a", qos=1)
    other = world.connect("other")
    for qos in (1, 1, 0):
        other.publish("a", b"%d" % qos, qos)
    assert payloads(client) == [b"1", b"0"]
    assert client.subscribe("b") == [0]
    assert client.ping()


@VERSIONS
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("window", [1, 2, 1_000])
def test_messages_of_a_topic_keep_their_order(version: int, qos: int, window: int) -> None:
    """[MQTT-4.6.0-5, -6] For each subscriber, over the window, away or not."""
    world = World(limits=Limits(inflight=window))
    clients = [world.stay(f"client-{number}", version=version + number * (9 - 2 * version)) for number in (0, 1)]
    for client in clients:
        client.subscribe("a/+", qos=qos)
    other = world.connect("other", version=version)
    other.packet(*(Publish("a/b", b"%d" % one, qos, packet_id=one if qos else None) for one in range(1, 51)))
    expected = [b"%d" % one for one in range(1, 51)]
    assert [payloads(client) for client in clients] == [expected, expected]
    clients[0].lose()
    other.packet(*(Publish("a/b", b"%d" % one, qos, packet_id=one if qos else None) for one in range(1, 51)))
    again = world.stay("client-0", version=version)
    assert payloads(again) == (expected if qos else [])
