"""Shared subscriptions, `$share/name/filter` (MQTT 5, 4.8.2), for members of both versions; those away: `test_shared_away.py`.

| clause | test |
|---|---|
| [MQTT-4.8.2-1], 2 | `test_names`, `test_bad_names` |
| [MQTT-4.8.2-3] | `test_each_member_has_its_own_qos` |
| [MQTT-3.8.3-4] | `test_no_local_is_forbidden` |
| [MQTT-3.8.4-3] | `test_subscribing_again_changes_the_member` |
| [MQTT-3.10.4-1] to 3 | `test_unsubscribing` |
| contract.md section 6 | `test_the_right_to_the_filter_inside`, `test_members_without_the_right_to_receive` |
| 4.8.2 | all others |
"""

from collections import Counter

import pytest

from devices.mqtt.codes import PacketType, Reason
from devices.mqtt.packets import Ack, Disconnect, Subscribe, SubscribeFilter
from devices.mqtt.properties import Properties, Property
from tests.hub.broker.members import KEEP, SHARE, Rights, back, member, payloads, publish
from tests.hub.broker.world import World

P = Property


# who gets what


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("version", [4, 5])
def test_members_take_turns(qos: int, version: int) -> None:
    """Each message goes to one member, each member gets as many as any other."""
    world = World()
    members = [member(world, name, qos=qos, version=version) for name in "abc"]
    sent = publish(world, 9, qos)
    assert [len(one.publishes) for one in members] == [3, 3, 3]
    assert Counter(payload for one in members for payload in payloads(one)) == Counter(sent)
    # each has its own in the order they were published
    assert all(payloads(one) == sorted(payloads(one)) for one in members)


def test_members_of_both_versions() -> None:
    """A member of 3.1.1 is one like any other."""
    world = World()
    old, new = member(world, "old", version=4, qos=1), member(world, "new", qos=1)
    publish(world, 4, 1)
    assert len(old.publishes) == len(new.publishes) == 2


def test_each_member_has_its_own_qos() -> None:
    """[MQTT-4.8.2-3]: the lower of the publisher's and of the member's that was chosen."""
    world = World()
    members = [member(world, str(qos), qos=qos) for qos in range(3)]
    publish(world, 3, 2)
    assert [one.publishes[0].qos for one in members] == [0, 1, 2]


def test_groups_are_apart() -> None:
    """Another name, or another filter of the same name, is another shared subscription: each has its copy."""
    world = World()
    filters = ("$share/g/t/#", "$share/h/t/#", "$share/g/t/+", "t/1")
    clients = [member(world, f"{number}", one) for number, one in enumerate(filters)]
    both = member(world, "both", filters[0])
    assert both.subscribe(filters[1], "t/1") == [0, 0]
    sent = publish(world, 4)
    assert [payloads(one) for one in clients[2:]] == [sent, sent]
    assert [len(one.publishes) for one in clients[:2]] == [2, 2]
    assert len(both.publishes) == 2 + 2 + 4
    assert world.engine.gauges().subscriptions == 7


def test_a_publisher_can_be_a_member() -> None:
    """It may get its own message, like any member."""
    world = World()
    client = member(world, "a")
    client.publish("t/1", b"1")
    assert payloads(client) == [b"1"]


def test_matching() -> None:
    """The filter inside is what matches, also `#` in front, not for topics of the server."""
    world = World()
    everything, level = member(world, "a", "$share/g/#"), member(world, "b", "$share/g/+/1")
    publish(world, 1)
    publish(world, 1, topic="t")
    assert [one.topic for one in everything.publishes] == ["t/1", "t"]
    assert [one.topic for one in level.publishes] == ["t/1"]
    client = world.connect("c", version=5)
    client.publish("$share/g/t/1", b"1", 1)
    assert client.last(Ack).reason is Reason.TOPIC_NAME_INVALID


def test_identifiers_and_retain_as_published() -> None:
    """Those of the member that was chosen."""
    world = World()
    first, second = world.connect("a", version=5), world.connect("b", version=5)
    first.subscribe(SubscribeFilter(SHARE, 1, retain_as_published=True), properties={P.SUBSCRIPTION_IDENTIFIER: [5]})
    second.subscribe(SubscribeFilter(SHARE, 1))
    publisher = world.connect("p", version=5)
    for retain in (True, True, False, False):
        publisher.publish("t/1", b"1", 1, retain=retain)
    given: Properties = {P.SUBSCRIPTION_IDENTIFIER: [5]}
    assert [(one.retain, one.properties) for one in first.publishes] == [(True, given), (False, given)]
    assert [(one.retain, one.properties) for one in second.publishes] == [(False, {})] * 2


@pytest.mark.parametrize("handling", [0, 1, 2])
def test_no_retained_messages(handling: int) -> None:
    """4.8.2: a shared subscription gets none when it is made, nor when it is made again."""
    world = World()
    world.connect("p").publish("t/1", b"1", retain=True)
    client = world.connect("a", version=5)
    for _ in range(2):
        assert client.subscribe(SubscribeFilter(SHARE, 1, retain_handling=handling)) == [1]
    assert client.messages == []


# names


@pytest.mark.parametrize("name", ["g", "group one", "站", "$", "$share", "a" * 200])
def test_names(name: str) -> None:
    """[MQTT-4.8.2-1]: one character or more, in any script."""
    world = World()
    client = member(world, "a", f"$share/{name}/t/#")
    publish(world, 1)
    assert payloads(client) == [b"0"]


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize(
    "bad", ["$share/", "$share//t", "$share/g", "$share/g/", "$share/g+/t", "$share/#/t", "$share/g/a#"]
)
def test_bad_names(bad: str, version: int) -> None:
    """[MQTT-4.8.2-1] [MQTT-4.8.2-2]: refused; nothing is subscribed, under no name."""
    world = World()
    client = world.connect("a", version=version)
    assert client.subscribe(bad) == [Reason.TOPIC_FILTER_INVALID if version == 5 else 0x80]
    assert world.engine.gauges().subscriptions == 0
    assert client.ping()


def test_no_local_is_forbidden() -> None:
    """[MQTT-3.8.3-4]: a protocol error."""
    client = World().connect("a", version=5)
    client.packet(Subscribe(1, [SubscribeFilter(SHARE, no_local=True)]))
    assert client.last(Disconnect).reason is Reason.PROTOCOL_ERROR
    assert client.closed


# members that change


def test_unsubscribing() -> None:
    """[MQTT-3.10.4-1] [MQTT-3.10.4-2]: by the whole filter; the others go on, and in flight is completed [MQTT-3.10.4-3]."""
    world = World()
    leaves, stays = member(world, "a", qos=1, acknowledge=False), member(world, "b", qos=1)
    publish(world, 2, 1)
    assert leaves.unsubscribe("t/#", "$share/h/t/#", SHARE, SHARE) == [0x11, 0x11, 0, 0x11]
    publish(world, 2, 1)
    assert payloads(leaves) == [b"0"]
    assert payloads(stays) == [b"1", b"0", b"1"]
    leaves.packet(Ack(PacketType.PUBACK, leaves.publishes[0].packet_id or 0))
    assert world.engine.gauges().inflight == 0
    assert stays.unsubscribe(SHARE) == [0]
    assert world.engine.gauges().subscriptions == 0


def test_subscribing_again_changes_the_member() -> None:
    """[MQTT-3.8.4-3]: no second place in the turn; QoS and identifier are the new ones."""
    world = World()
    client, other = member(world, "a", qos=2), member(world, "b", qos=2)
    client.subscribe(SubscribeFilter(SHARE, 1), properties={P.SUBSCRIPTION_IDENTIFIER: [9]})
    publish(world, 4, 2)
    assert [(one.qos, one.properties) for one in client.publishes] == [(1, {P.SUBSCRIPTION_IDENTIFIER: [9]})] * 2
    assert len(other.publishes) == 2
    assert world.engine.gauges().subscriptions == 2


def test_members_that_come_and_go_leave_no_trace() -> None:
    """The turn goes on among those who are there; routes that were worked out before are not used."""
    world = World()
    stays = member(world, "s")
    for number in range(5):
        comes = member(world, f"c{number}")
        publish(world, 2)
        assert len(comes.publishes) == 1
        comes.lose()
    assert len(stays.publishes) == 5
    publish(world, 3)
    assert len(stays.publishes) == 8


# rights


def test_the_right_to_the_filter_inside() -> None:
    """The right that counts is that to `filter`, in SUBSCRIBE and when the client comes back with fewer rights."""
    policy = Rights(("a", "subscribe", "secret"), ("a", "receive", SHARE))
    world = World(policy=policy)
    client = world.connect("a", version=5, username="a", properties=KEEP)
    assert client.subscribe("$share/g/secret", SHARE, qos=1) == [Reason.NOT_AUTHORIZED, 1]
    publish(world, 1, 1)
    publish(world, 1, 1, "secret")
    assert [one.topic for one in client.publishes] == ["t/1"]
    client.lose()
    policy.without.add(("a", "subscribe", "t/#"))
    returned = back(world, "a")
    publish(world, 1, 1)
    assert returned.publishes == []
    assert world.engine.gauges().subscriptions == 0


def test_members_without_the_right_to_receive() -> None:
    """A member that may not have a topic is passed over; the others share its messages."""
    world = World(policy=Rights(("b", "receive", "t/1")))
    members = [member(world, name) for name in "abc"]
    sent = publish(world, 6)
    assert members[1].publishes == []
    assert sorted(payloads(members[0]) + payloads(members[2])) == sent
    publish(world, 3, topic="t/2")
    assert len(members[1].publishes) == 1
