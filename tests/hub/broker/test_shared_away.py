"""Members of shared subscriptions that are away, or go: who gets their messages (MQTT 5, 4.8.2).

| clause | test |
|---|---|
| [MQTT-4.8.2-4] | `test_a_qos_2_message_in_flight_stays_with_its_member` |
| [MQTT-4.8.2-5] | `test_a_qos_2_message_in_flight_ends_with_its_session` |
| [MQTT-4.8.2-6] | `test_a_message_that_a_member_refuses_is_gone` |
| [MQTT-3.3.2-5] | `test_an_expired_message_is_not_handed_on` |
| contract.md section 6 | `test_a_message_is_not_handed_on_to_a_member_without_the_right` and the one after it |
| 4.8.2 | all others |
"""

import pytest

from devices.mqtt.codes import PacketType, Reason
from devices.mqtt.packets import Ack, SubscribeFilter
from devices.mqtt.properties import Property
from hub.broker.limits import Limits
from tests.hub.broker.members import SHARE, Rights, back, member, payloads, publish
from tests.hub.broker.world import World

P = Property


def test_connected_members_come_first() -> None:
    """Who is away gets nothing while another member is there."""
    world = World()
    away, here = member(world, "a", qos=1, keep=True), member(world, "b", qos=1)
    away.lose()
    sent = publish(world, 4, 1)
    assert payloads(here) == sent
    assert back(world, "a").publishes == []


@pytest.mark.parametrize("version", [4, 5])
def test_a_member_that_is_away_keeps_messages_when_all_are(version: int) -> None:
    """Without a connected member they wait for one that comes back."""
    world = World()
    member(world, "a", qos=1, keep=True, version=version).lose()
    member(world, "b", qos=1).lose()  # its session is over
    sent = publish(world, 3, 1)
    assert payloads(back(world, "a", version)) == sent


def test_nobody_is_left() -> None:
    """When the last member's session ends, the shared subscription is gone, and costs nothing."""
    world = World()
    member(world, "a", keep=True).lose()
    world.forward(101, step=1)
    publisher = world.connect("p", version=5)
    publisher.publish("t/1", b"1", 1)
    assert publisher.last(Ack).reason is Reason.NO_MATCHING_SUBSCRIBERS
    assert world.engine.gauges().subscriptions == 0


@pytest.mark.parametrize("keep", [False, True])
def test_what_a_member_did_not_acknowledge_goes_to_another(keep: bool) -> None:
    """QoS 1, in flight or waiting for its window: once, to members that are there, not as redelivery."""
    world = World()
    slow = member(world, "a", qos=1, keep=keep, acknowledge=False, properties={P.RECEIVE_MAXIMUM: 2})
    sent = publish(world, 4, 1)
    others = [member(world, name, qos=1) for name in "bc"]
    assert payloads(slow) == sent[:2]
    slow.packet(Ack(PacketType.PUBACK, slow.publishes[0].packet_id or 0))
    slow.lose()
    got = [one for other in others for one in other.publishes]
    assert sorted(one.payload for one in got) == sent[1:]
    assert not any(one.dup for one in got)
    if keep:
        assert back(world, "a").publishes == []
    assert world.engine.gauges().queued == world.engine.gauges().inflight == 0


def test_what_is_handed_on_is_as_the_next_member_wants_it() -> None:
    """Its QoS, identifier and Retain As Published, not those of the member that is gone [MQTT-3.3.1-12] [MQTT-3.3.1-13]."""
    for kept in (False, True):
        world = World()
        first, second = (world.connect(name, version=5, acknowledge=False) for name in "ab")
        first.subscribe(
            SubscribeFilter(SHARE, 1, retain_as_published=not kept), properties={P.SUBSCRIPTION_IDENTIFIER: [1]}
        )
        world.connect("p", version=5).publish("t/1", b"1", 2, retain=True)
        second.subscribe(
            SubscribeFilter(SHARE, 2, retain_as_published=kept), properties={P.SUBSCRIPTION_IDENTIFIER: [2]}
        )
        assert [(one.retain, one.qos) for one in first.publishes] == [(not kept, 1)]
        first.lose()
        (got,) = second.publishes
        assert (got.qos, got.retain, got.properties) == (2, kept, {P.SUBSCRIPTION_IDENTIFIER: [2]})


def test_what_a_member_did_not_acknowledge_stays_when_no_other_is_there() -> None:
    """QoS 1: it is sent again when its member comes back; another that is away does not get it."""
    world = World()
    away = member(world, "b", qos=1, keep=True)
    away.lose()
    client = member(world, "a", qos=1, keep=True, acknowledge=False)
    publish(world, 2, 1)
    client.lose()
    assert back(world, "b").publishes == []
    again = back(world, "a")
    assert [(one.payload, one.dup) for one in again.publishes] == [(b"0", True), (b"1", True)]


def test_a_session_that_ends_hands_on_what_waited() -> None:
    """4.8.2: messages that wait for a member that is away go to another when its session ends: by time, or by a clean start."""
    for ends in ("time", "clean start"):
        world = World()
        member(world, "a", qos=1, keep=True).lose()
        sent = publish(world, 2, 1)
        other = member(world, "b", qos=1)
        if ends == "time":
            world.forward(101, step=1)
        else:
            world.connect("a", version=5, username="a")
        assert payloads(other) == sent, ends


def test_a_qos_2_message_in_flight_stays_with_its_member() -> None:
    """[MQTT-4.8.2-4]: it completes there, at whatever stage the connection broke; one that only waited goes to another."""
    world = World()
    client = member(world, "a", qos=2, keep=True, acknowledge=False, properties={P.RECEIVE_MAXIMUM: 2})
    publish(world, 3, 2)
    other = member(world, "b", qos=2)
    sent, recorded = (one.packet_id or 0 for one in client.publishes)
    client.packet(Ack(PacketType.PUBREC, recorded))
    client.lose()
    assert payloads(other) == [b"2"]
    again = back(world, "a")
    assert [(one.payload, one.dup, one.packet_id) for one in again.publishes] == [(b"0", True, sent)]
    assert Ack(PacketType.PUBREL, recorded) in again.received
    assert payloads(other) == [b"2"]
    assert world.engine.gauges().inflight == 0


def test_a_qos_2_message_in_flight_ends_with_its_session() -> None:
    """[MQTT-4.8.2-5]: nobody else gets it."""
    for keep in (False, True):
        world = World()
        client = member(world, "a", qos=2, keep=keep, acknowledge=False)
        publish(world, 1, 2)
        other = member(world, "b", qos=2)
        client.lose()
        world.forward(101, step=1)
        assert other.publishes == []
        assert "a" not in {session.client_id for session in world.engine.sessions.values()}


@pytest.mark.parametrize(("qos", "kind"), [(1, PacketType.PUBACK), (2, PacketType.PUBREC)])
def test_a_message_that_a_member_refuses_is_gone(qos: int, kind: PacketType) -> None:
    """[MQTT-4.8.2-6]: an acknowledgement with 0x80 or more: it goes to no other member, then or later."""
    world = World()
    client = member(world, "a", qos=qos, keep=True, acknowledge=False)
    publish(world, 1, qos)
    other = member(world, "b", qos=qos)
    client.packet(Ack(kind, client.publishes[0].packet_id or 0, Reason.IMPLEMENTATION_SPECIFIC_ERROR))
    client.lose()
    assert other.publishes == []
    assert back(world, "a").publishes == []


def test_an_expired_message_is_not_handed_on() -> None:
    """[MQTT-3.3.2-5]: delivery to the next member has not begun when its time is over."""
    world = World()
    slow = member(world, "a", qos=1, acknowledge=False, properties={P.RECEIVE_MAXIMUM: 1})
    publisher = world.connect("p", version=5)
    for payload, expiry in ((b"sent", 5), (b"waits", 5), (b"lasts", 50)):
        publisher.publish("t/1", payload, 1, properties={P.MESSAGE_EXPIRY: expiry})
    other = member(world, "b", qos=1)
    world.forward(6)
    slow.lose()
    assert payloads(other) == [b"lasts"]
    assert other.publishes[0].properties == {P.MESSAGE_EXPIRY: 44}


def test_qos_0_messages_that_waited_are_handed_on() -> None:
    """With a queue for QoS 0: those of a session that ends go to another member, and the queue's bounds hold after that."""
    world = World(limits=Limits(queue_qos0=True, queue_messages=3))
    client = member(world, "a", qos=1, keep=True)
    client.subscribe("own", qos=1)
    client.lose()
    sent = publish(world, 2)
    other = member(world, "b", qos=1)
    world.forward(101, step=1)
    assert payloads(other) == sent


def test_a_message_is_not_handed_on_to_a_member_without_the_right() -> None:
    """Nor does it get what another did not acknowledge: that goes to one who may, or stays."""
    world = World(policy=Rights(("b", "receive", "t/1")))
    client = member(world, "a", qos=1, keep=True, acknowledge=False, properties={P.RECEIVE_MAXIMUM: 1})
    sent = publish(world, 2, 1)
    barred = member(world, "b", qos=1)
    client.lose()
    assert barred.publishes == []
    assert payloads(back(world, "a")) == sent


def test_a_message_is_handed_on_past_a_member_without_the_right() -> None:
    """To the next one who may have it."""
    world = World(policy=Rights(("b", "receive", "t/1")))
    client = member(world, "a", qos=1, acknowledge=False)
    sent = publish(world, 4, 1)
    barred, third = member(world, "b", qos=1), member(world, "c", qos=1)
    client.lose()
    assert barred.publishes == []
    assert payloads(third) == sent
