"""MQTT 5, what 3.1.1 does not know: options and identifiers of subscriptions, and retained messages under flow control.

| clause | test |
|---|---|
| [MQTT-3.8.3-3] | `test_no_local`, `test_no_local_beside_another_subscription`, `test_no_local_and_wills` |
| [MQTT-3.3.1-12], 13 | `test_retain_as_published` |
| [MQTT-3.3.1-9] to 11 | `test_retain_handling`, `test_retained_messages_say_so` |
| [MQTT-3.8.4-3], 4 | `test_subscribing_again_replaces_everything`, `test_retain_handling` |
| [MQTT-3.8.4-5] | `test_filters_of_one_subscribe_are_taken_one_after_the_other` |
| [MQTT-3.3.4-2] to 4 | `test_identifiers_of_all_that_match`, `test_identifiers_in_the_queue` |
| 3.8.2.1.2 | `test_identifiers_of_any_size`, `test_an_identifier_goes_with_its_subscription` |
| [MQTT-3.3.1-9], [MQTT-3.3.4-9] | `test_retained_messages_keep_to_the_window` |
| [MQTT-3.3.1-9], [MQTT-4.5.0-1] | `test_retained_messages_that_did_not_fit_before_the_connection_ended` |
| [MQTT-4.6.0-5], 6 | `test_live_messages_behind_retained_ones` |
| [MQTT-3.8.3-3] | `test_no_local_is_about_the_client_id` |
| [MQTT-3.3.1-10] | `test_retain_handling_is_about_the_same_filter` |
| [MQTT-3.3.4-3] | `test_identifiers_belong_to_each_client`, `test_identifiers_of_retained_messages` |
| [MQTT-3.8.4-5], [MQTT-3.3.4-9] | `test_retained_messages_of_several_filters_under_a_window` |
"""

import pytest

from devices.mqtt.codes import PacketType
from devices.mqtt.packets import Ack, SubscribeFilter, Will
from devices.mqtt.properties import Properties, Property
from tests.hub.broker.world import Client, World

P = Property
KEEP: Properties = {P.SESSION_EXPIRY: 100}


def come(world: World, client_id: str = "x", *, clean: bool = True) -> Client:
    return world.connect(client_id, version=5, clean=clean, properties=KEEP)


def identifiers(client: Client) -> list[list[int]]:
    """The subscription identifiers of each message that came."""
    return [sorted(one.properties.get(P.SUBSCRIPTION_IDENTIFIER, [])) for one in client.publishes]


def numbered(client: Client, topic_filter: str, number: int, qos: int = 0) -> None:
    """Subscribes with an identifier; 0: without."""
    properties: Properties = {P.SUBSCRIPTION_IDENTIFIER: [number]} if number else {}
    client.subscribe(SubscribeFilter(topic_filter, qos), properties=properties)


# No Local


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_no_local(qos: int) -> None:
    """[MQTT-3.8.3-3]: not to the client that published, whatever connection of its session; to everybody else."""
    world = World()
    client, other = come(world), come(world, "y")
    for one in (client, other):
        one.subscribe(SubscribeFilter("t/+", qos, no_local=True))
    client.publish("t/1", b"own", qos)
    client.publish("t/1", b"own", qos)  # the second time by a known route
    other.publish("t/1", b"of the other", qos)
    client.lose()
    back = come(world, clean=False)
    back.publish("t/1", b"own again", qos)
    assert client.messages == [("t/1", b"of the other", qos, False)]
    assert back.messages == []
    assert [one.payload for one in other.publishes] == [b"own", b"own", b"own again"]


def test_no_local_is_about_the_client_id() -> None:
    """[MQTT-3.8.3-3]: another client of the same user is another client."""
    world = World()
    one, two = (world.connect(name, version=5, username="u") for name in ("one", "two"))
    one.subscribe(SubscribeFilter("t", no_local=True))
    two.publish("t", b"1")
    assert one.messages == [("t", b"1", 0, False)]


def test_no_local_beside_another_subscription() -> None:
    """[MQTT-3.8.3-3] [MQTT-3.3.4-2]: of overlapping subscriptions those without it count for a client's own messages."""
    world = World()
    client = come(world)
    client.subscribe(SubscribeFilter("t/#", 2, no_local=True), properties={P.SUBSCRIPTION_IDENTIFIER: [1]})
    client.subscribe(SubscribeFilter("t/+", 1), properties={P.SUBSCRIPTION_IDENTIFIER: [2]})
    client.publish("t/1", b"own", 2)
    come(world, "y").publish("t/1", b"of the other", 2)
    assert client.messages == [("t/1", b"own", 1, False), ("t/1", b"of the other", 2, False)]
    assert identifiers(client) == [[2], [1, 2]]


def test_no_local_and_wills() -> None:
    """[MQTT-3.8.3-3]: a client's will is its own message, also when it is published after it left."""
    world = World()
    client = world.connect("x", version=5, properties=KEEP, will=Will("t", b"gone", 1))
    client.subscribe(SubscribeFilter("t", 1, no_local=True))
    other = come(world, "y")
    other.subscribe(SubscribeFilter("t", 1, no_local=True))
    client.lose()
    assert other.messages == [("t", b"gone", 1, False)]
    assert come(world, clean=False).messages == []


# Retain As Published, Retain Handling


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("kept", [False, True])
def test_retain_as_published(qos: int, kept: bool) -> None:
    """[MQTT-3.3.1-12] [MQTT-3.3.1-13]: the flag is the publisher's with the option, 0 without; the same from a queue."""
    world = World()
    client = come(world)
    client.subscribe(SubscribeFilter("t", qos, retain_as_published=kept))
    other = come(world, "y")
    other.publish("t", b"kept", qos, retain=True)
    other.publish("t", b"not", qos)
    assert client.messages == [("t", b"kept", qos, kept), ("t", b"not", qos, False)]
    if qos:
        client.lose()
        other.publish("t", b"queued", qos, retain=True)
        assert come(world, clean=False).messages == [("t", b"queued", qos, kept)]


@pytest.mark.parametrize("kept", [False, True])
def test_retained_messages_say_so(kept: bool) -> None:
    """3.8.3.1: what a new subscription gets carries RETAIN, whatever Retain As Published says."""
    world = World()
    come(world, "y").publish("t", b"1", 1, retain=True)
    client = come(world)
    client.subscribe(SubscribeFilter("t", 1, retain_as_published=kept))
    assert client.messages == [("t", b"1", 1, True)]


@pytest.mark.parametrize(("handling", "first", "again"), [(0, 1, 1), (1, 1, 0), (2, 0, 0)])
@pytest.mark.parametrize("topic_filter", ["t", "+", "#"])
def test_retain_handling(handling: int, first: int, again: int, topic_filter: str) -> None:
    """[MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11]: always, for a new subscription, never; [MQTT-3.8.4-4] when replaced."""
    world = World()
    come(world, "y").publish("t", b"1", retain=True)
    client = come(world)
    wanted = SubscribeFilter(topic_filter, retain_handling=handling)
    client.subscribe(wanted)
    assert len(client.messages) == first
    client.subscribe(wanted)
    assert len(client.messages) == first + again
    client.lose()
    back = come(world, clean=False)
    assert back.messages == []
    back.subscribe(wanted)
    assert len(back.messages) == again
    back.unsubscribe(topic_filter)
    back.subscribe(wanted)
    assert len(back.messages) == again + first


def test_retain_handling_is_about_the_same_filter() -> None:
    """[MQTT-3.3.1-10]: another filter that matches the topic is a new subscription."""
    world = World()
    come(world, "y").publish("t", b"1", retain=True)
    client = come(world)
    for topic_filter in ("t", "#", "t", "+"):
        client.subscribe(SubscribeFilter(topic_filter, retain_handling=1))
    assert client.messages == [("t", b"1", 0, True)] * 3


def test_subscribing_again_replaces_everything() -> None:
    """[MQTT-3.8.4-3]: QoS, No Local, Retain As Published and identifier are those of the newest."""
    world = World()
    client, other = come(world), come(world, "y")
    old = SubscribeFilter("t", 2, no_local=True, retain_as_published=True, retain_handling=2)
    client.subscribe(old, properties={P.SUBSCRIPTION_IDENTIFIER: [7]})
    other.publish("t", b"1", 2, retain=True)
    client.subscribe(SubscribeFilter("t", 1, retain_handling=2))
    other.publish("t", b"2", 2, retain=True)
    client.publish("t", b"3", 2)
    assert client.messages == [("t", b"1", 2, True), ("t", b"2", 1, False), ("t", b"3", 1, False)]
    assert identifiers(client) == [[7], [], []]
    assert world.engine.gauges().subscriptions == 1


def test_filters_of_one_subscribe_are_taken_one_after_the_other() -> None:
    """[MQTT-3.8.4-5]: the same filter twice: the second replaces the first."""
    world = World()
    come(world, "y").publish("t", b"kept", retain=True)
    client = come(world)
    twice = [SubscribeFilter("t", 0, retain_handling=1), SubscribeFilter("t", 1, retain_handling=1)]
    assert client.subscribe(*twice) == [0, 1]
    assert client.messages == [("t", b"kept", 0, True)]
    come(world, "z").publish("t", b"1", 1)
    assert client.messages[1:] == [("t", b"1", 1, False)]


# identifiers


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_identifiers_of_all_that_match(qos: int) -> None:
    """[MQTT-3.3.4-3] [MQTT-3.3.4-4]: all in the one copy, which has the highest QoS [MQTT-3.3.4-2]."""
    world = World()
    client = come(world)
    numbered(client, "a/#", 1, qos)
    numbered(client, "a/+", 2)
    numbered(client, "a/b", 0)
    numbered(client, "+/b", 3)
    numbered(client, "c", 4)
    numbered(client, "d", 4)
    other = come(world, "y")
    for topic in ("a/b", "a/c", "a/b/c", "c", "d"):
        other.publish(topic, b"1", qos)
    assert identifiers(client) == [[1, 2, 3], [1, 2], [1], [4], [4]]
    assert [one.qos for one in client.publishes] == [qos, qos, qos, 0, 0]


def test_identifiers_belong_to_each_client() -> None:
    """[MQTT-3.3.4-3]: others get theirs, or none; a 3.1.1 client, and one without, the plain message."""
    world = World()
    one, two, none, old = come(world, "1"), come(world, "2"), come(world, "3"), world.connect("4")
    numbered(one, "t", 1)
    numbered(two, "t", 2)
    none.subscribe("t")
    old.subscribe("t")
    world.connect("y").publish("t", b"1")
    world.connect("y").publish("t", b"2")
    assert [identifiers(client) for client in (one, two, none)] == [[[1]] * 2, [[2]] * 2, [[]] * 2]
    assert old.messages == [("t", b"1", 0, False), ("t", b"2", 0, False)]


def test_identifiers_in_the_queue() -> None:
    """[MQTT-3.3.4-3]: those of when the message came, for a client that was away, and with DUP."""
    world = World()
    client = world.connect("x", version=5, properties=KEEP, acknowledge=False)
    numbered(client, "t", 5, 1)
    other = come(world, "y")
    other.publish("t", b"1", 1)
    client.lose()
    other.publish("t", b"2", 1)
    back = come(world, clean=False)
    assert [one.dup for one in back.publishes] == [True, False]
    assert identifiers(back) == [[5], [5]]


def test_identifiers_of_retained_messages() -> None:
    """[MQTT-3.3.4-3]: that of the subscription they are sent for."""
    world = World()
    come(world, "y").publish("t", b"1", retain=True)
    client = come(world)
    numbered(client, "t", 5)
    numbered(client, "#", 6)
    numbered(client, "+", 0)
    assert identifiers(client) == [[5], [6], []]


@pytest.mark.parametrize("number", [1, 127, 128, 16_384, 268_435_455])
def test_identifiers_of_any_size(number: int) -> None:
    """3.8.2.1.2: from 1 to 268,435,455."""
    world = World()
    client = come(world)
    numbered(client, "t", number)
    come(world, "y").publish("t", b"1")
    assert identifiers(client) == [[number]]


def test_an_identifier_goes_with_its_subscription() -> None:
    """3.8.2.1.2: changed by the next SUBSCRIBE to the filter, removed by one without; kept with the session."""
    world = World()
    client, other = come(world), come(world, "y")
    for number in (1, 2, 0, 3):
        numbered(client, "t", number)
        other.publish("t", b"1")
    assert identifiers(client) == [[1], [2], [], [3]]
    client.lose()
    back = come(world, clean=False)
    other.publish("t", b"1")
    assert identifiers(back) == [[3]]


# retained messages under flow control


@pytest.mark.parametrize("qos", [1, 2])
def test_retained_messages_keep_to_the_window(qos: int) -> None:
    """[MQTT-3.3.1-9] [MQTT-3.3.4-9]: all come, to a client that wants one at a time; an expired or cleared one does not."""
    world = World()
    other = come(world, "y")
    for number in range(10):
        expiry: Properties = {P.MESSAGE_EXPIRY: 5} if number == 7 else {}
        other.publish(f"t/{number}", b"%d" % number, qos, retain=True, properties=expiry)
    client = world.connect("x", version=5, properties={P.RECEIVE_MAXIMUM: 1}, acknowledge=False)
    assert client.subscribe("t/#", qos=qos) == [qos]
    first = client.publishes[0].topic
    gone = "t/3" if first != "t/3" else "t/4"
    world.forward(6)
    other.publish(gone, b"", qos, retain=True)
    seen = 0
    while len(client.publishes) > seen:
        assert len(client.publishes) == seen + 1
        seen += 1
        packet_id = client.publishes[-1].packet_id or 0
        if qos == 2:
            client.packet(Ack(PacketType.PUBREC, packet_id))
        client.packet(Ack(PacketType.PUBACK if qos == 1 else PacketType.PUBCOMP, packet_id))
    kept = [one for one in client.publishes if one.retain]
    expected = {f"t/{number}" for number in range(10)} - {"t/7", gone} | {first}
    assert sorted(one.topic for one in kept) == sorted(expected)


def test_retained_messages_of_several_filters_under_a_window() -> None:
    """[MQTT-3.8.4-5]: each filter's at its own QoS; QoS 0 does not need the window, and none is lost."""
    world = World()
    other = come(world, "y")
    for topic in ("a/1", "a/2", "b/1", "b/2", "c/1", "c/2"):
        other.publish(topic, b"1", 2, retain=True)
    client = world.connect("x", version=5, properties={P.RECEIVE_MAXIMUM: 1})
    client.subscribe(SubscribeFilter("a/#", 1), SubscribeFilter("b/#", 0), SubscribeFilter("c/#", 2))
    got = sorted((topic, qos) for topic, _, qos, _ in client.messages)
    assert got == [("a/1", 1), ("a/2", 1), ("b/1", 0), ("b/2", 0), ("c/1", 2), ("c/2", 2)]


def test_live_messages_behind_retained_ones() -> None:
    """[MQTT-4.6.0-5]: a newer message of a topic never comes before an older one of it."""
    world = World()
    other = come(world, "y")
    for number in range(4):
        other.publish(f"t/{number}", b"old", 1, retain=True)
    client = world.connect("x", version=5, properties={P.RECEIVE_MAXIMUM: 1}, acknowledge=False)
    client.subscribe("t/#", qos=1)
    for number in range(4):
        other.publish(f"t/{number}", b"new", 1, retain=True)
    for _ in range(10):
        client.packet(Ack(PacketType.PUBACK, client.publishes[-1].packet_id or 0))
    for number in range(4):
        got = [one.payload for one in client.publishes if one.topic == f"t/{number}"]
        assert got in ([b"old", b"new"], [b"new"], [b"new", b"new"])


def test_retained_messages_that_did_not_fit_before_the_connection_ended() -> None:
    """[MQTT-3.3.1-9] [MQTT-4.5.0-1]: they are due to the session: it gets them when it is back, without subscribing again."""
    world = World()
    other = come(world, "y")
    for number in range(4):
        other.publish(f"t/{number}", b"1", 1, retain=True)
    properties: Properties = KEEP | {P.RECEIVE_MAXIMUM: 1}
    client = world.connect("x", version=5, properties=properties, acknowledge=False)
    client.subscribe("t/#", qos=1)
    assert len(client.publishes) == 1
    client.lose()
    back = world.connect("x", version=5, clean=False, properties=properties)
    assert sorted(one.topic for one in back.publishes) == [f"t/{number}" for number in range(4)]
