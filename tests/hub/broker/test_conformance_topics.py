"""What both versions say of topics, subscriptions and unsubscribing, clause by clause; 3.1.1's numbers, 5's behind a slash.

| clause | test |
|---|---|
| 2.3.1-7, 3.8.4-2 / 2.2.1-6, 3.8.4-2, 3.10.4-5 | test_suback_has_one_code_for_each_filter, test_unsuback_always_comes |
| 3.3.2-3 | test_what_a_filter_matches |
| 3.3.5-1 / 3.3.4-2 | test_overlapping_subscriptions |
| 3.8.3-2 | test_what_a_filter_matches |
| 3.8.4-1, -5, 3.9.3-1, -2 / 3.8.4-1, -6, 3.9.3-1, -2 | test_suback_has_one_code_for_each_filter |
| 3.8.4-3 / 3.8.4-3 | test_subscribing_again_replaces |
| 3.8.4-4 / 3.8.4-5 | test_many_filters_are_many_subscriptions |
| 3.8.4-6 / 3.8.4-7, -8 | test_suback_has_one_code_for_each_filter |
| 3.10.4-1 | test_filters_are_compared_letter_by_letter |
| 3.10.4-2 | test_unsubscribing_ends_it, test_a_subscription_counts_from_its_suback_to_its_unsuback |
| 3.10.4-3 | test_unsubscribing_completes_what_is_in_flight |
| 3.10.4-4, -5, -6 / 3.10.4-4, -5, -6, 3.11.3-1 | test_unsuback_always_comes |
| 4.7.1-2, -3 / 4.7.1-1, -2 | test_what_a_filter_matches, test_a_filter_that_is_none_is_refused |
| 4.7.2-1 | test_topics_of_the_server, test_no_client_publishes_topics_of_the_server |
| 4.7.3-1 | test_a_filter_that_is_none_is_refused |
| 4.7.3-3 | test_long_topics |
| 4.7.3-4 | test_what_a_filter_matches, test_filters_are_compared_letter_by_letter |
"""

import pytest

from devices.mqtt.codes import PacketType, Reason
from devices.mqtt.packets import Ack, Suback, Subscribe, SubscribeFilter, Unsuback, Unsubscribe, Will
from hub.broker.limits import Limits
from hub.broker.message import Message
from tests.hub.broker.raw import PUBACK, PUBCOMP, PUBREC, QOS, VERSIONS, payloads
from tests.hub.broker.world import World

_MATCHES = [
    ("a/b", "a/b", True),
    ("a/b", "a", False),
    ("a", "a/b", False),
    ("a/b", "A/b", False),
    ("a/b", "/a/b", False),
    ("a/b", "a/b/", False),
    ("/a", "a", False),
    ("/", "/", True),
    ("a//b", "a//b", True),
    ("a//b", "a/b", False),
    ("a b/ c", "a b/ c", True),
    ("caf\u00e9", "caf\u00e9", True),
    ("caf\u00e9", "cafe\u0301", False),
    ("\U0001f600/+", "\U0001f600/x", True),
    ("#", "a", True),
    ("#", "/a/b", True),
    ("a/#", "a", True),
    ("a/#", "a/", True),
    ("a/#", "a/b/c", True),
    ("a/#", "ab", False),
    ("a/#", "b/a", False),
    ("/#", "/", True),
    ("/#", "a", False),
    ("+", "a", True),
    ("+", "/a", False),
    ("+", "a/b", False),
    ("/+", "/a", True),
    ("+/+", "/a", True),
    ("+/+", "a/b", True),
    ("+/+", "a", False),
    ("a/+", "a", False),
    ("a/+", "a/", True),
    ("a/+", "a/b", True),
    ("a/+", "a/b/c", False),
    ("a/+/c", "a/b/c", True),
    ("a/+/c", "a//c", True),
    ("a/+/c", "a/c", False),
    ("+/b/#", "a/b", True),
    ("+/b/#", "a/b/c/d", True),
    ("+/b/#", "a/c/b", False),
    ("a/+/+/#", "a/b/c", True),
    ("a/+/+/#", "a/b", False),
]


@VERSIONS
@pytest.mark.parametrize(("topic_filter", "topic", "matches"), _MATCHES)
def test_what_a_filter_matches(version: int, topic_filter: str, topic: str, matches: bool) -> None:
    """[MQTT-4.7.1-2, -3] [5: MQTT-4.7.1-1, -2] [MQTT-4.7.3-4] [MQTT-3.3.2-3] [MQTT-3.8.3-2] Live and retained."""
    world = World()
    early, other = world.connect("early", version=version), world.connect("other", version=9 - version)
    other.publish(topic, b"nobody")  # its route is known before anybody subscribes
    assert early.subscribe(topic_filter) == [0]
    for _ in range(2):
        other.publish(topic, b"x", retain=True)
    assert early.messages == [(topic, b"x", 0, False)] * 2 * matches
    late = world.connect("late", version=version)
    late.subscribe(topic_filter)
    assert late.messages == [(topic, b"x", 0, True)] * matches


@VERSIONS
@pytest.mark.parametrize("topic_filter", ["a#", "#a", "a/#/b", "#/", "##", "a+", "+a", "a/+b", "++", "a/+b/c", "a/b#"])
def test_a_filter_that_is_none_is_refused(version: int, topic_filter: str) -> None:
    """[MQTT-4.7.1-2, -3] [5: MQTT-4.7.1-1, -2] With a code, and without harm to the filters beside it."""
    world = World()
    client = world.connect("client", version=version)
    refused = 0x80 if version == 4 else Reason.TOPIC_FILTER_INVALID
    assert client.subscribe("good", topic_filter, "better", qos=1) == [1, refused, 1]
    assert world.engine.gauges().subscriptions == 2
    assert world.engine.stats.denied["subscribe"] == 1


@VERSIONS
def test_long_topics(version: int) -> None:
    """[MQTT-4.7.3-3] As long as `Limits.topic_bytes` allows, at most 65,535; a longer filter is refused."""
    world = World(limits=Limits(topic_bytes=65_535))
    client = world.connect("client", version=version)
    for size in (1, 127, 128, 129, 16_383, 16_384, 65_535):
        topic = "t" * size
        assert client.subscribe(topic, qos=1) == [1]
        client.publish(topic, b"x", 1)
        assert client.messages[-1] == (topic, b"x", 1, False)
    world = World(limits=Limits(topic_bytes=100))
    client = world.connect("client", version=version)
    refused = 0x80 if version == 4 else Reason.TOPIC_FILTER_INVALID
    assert client.subscribe("t" * 100, "t" * 101) == [0, refused]


# topics of the server


@VERSIONS
@pytest.mark.parametrize(
    ("topic_filter", "topic", "matches"),
    [
        ("#", "$SYS/a", False),
        ("+/a", "$SYS/a", False),
        ("+/#", "$SYS/a", False),
        ("+", "$SYS", False),
        ("$SYS/#", "$SYS/a", True),
        ("$SYS/#", "$SYS", True),
        ("$SYS/+", "$SYS/a", True),
        ("$SYS/a", "$SYS/a", True),
        ("$sys/a", "$SYS/a", False),
        ("$SYS/a/#", "$SYS/b", False),
        ("#", "a/$b", True),
        ("a/+", "a/$b", True),
    ],
)
def test_topics_of_the_server(version: int, topic_filter: str, topic: str, matches: bool) -> None:
    """[MQTT-4.7.2-1] No wildcard in front matches a topic that begins with $; live or retained."""
    world = World()
    early = world.connect("early", version=version)
    early.subscribe(topic_filter)
    world.engine.publish(Message(topic, b"x", retain=True))
    world.settle()
    late = world.connect("late", version=version)
    late.subscribe(topic_filter)
    assert early.messages == [(topic, b"x", 0, False)] * matches
    assert late.messages == [(topic, b"x", 0, True)] * matches


@VERSIONS
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_no_client_publishes_topics_of_the_server(version: int, qos: int) -> None:
    """4.7.2: a server may keep $ topics to itself: dropped, counted, told in 5; neither delivered nor kept."""
    world = World()
    client, watcher = world.connect("client", version=version), world.connect("watcher")
    watcher.subscribe("$SYS/#", "$other", qos=2)
    client.publish("$SYS/a", b"x", qos, retain=True)
    client.publish("$other", b"x", qos)
    assert client.ping()
    assert watcher.messages == []
    watcher.subscribe("$SYS/#")
    assert watcher.messages == []
    assert world.engine.stats.denied["publish"] == 2
    answers = [one.reason for one in client.received if isinstance(one, Ack) and one.type in (PUBACK, PUBREC)]
    assert answers == [Reason.TOPIC_NAME_INVALID if version == 5 else Reason.SUCCESS] * 2 * (qos > 0)


@VERSIONS
def test_no_will_of_a_client_has_a_topic_of_the_server(version: int) -> None:
    """4.7.2: a client that brings one is refused at once."""
    world = World()
    client = world.connect("client", version=version, will=Will("$SYS/a", b"gone"))
    assert (client.connack.code, client.closed) == (5 if version == 4 else Reason.TOPIC_NAME_INVALID, True)
    assert world.engine.sessions == {}


# SUBSCRIBE


@VERSIONS
def test_suback_has_one_code_for_each_filter(version: int) -> None:
    """[MQTT-3.8.4-1, -2, -5, -6] [MQTT-3.9.3-1, -2] [MQTT-2.3.1-7] [5: MQTT-3.8.4-6, -7, MQTT-2.2.1-6]
    In the order of the filters, with the packet identifier of the SUBSCRIBE, also for what is refused."""
    world = World()
    world.policy.denied.add(("subscribe", "secret"))
    client = world.connect("client", version=version)
    wanted = [("a", 2), ("secret", 2), ("b", 0), ("c/#", 1), ("a/#/b", 1)]
    client.packet(Subscribe(65_535, [SubscribeFilter(name, qos) for name, qos in wanted]))
    denied, wrong = (0x80, 0x80) if version == 4 else (Reason.NOT_AUTHORIZED, Reason.TOPIC_FILTER_INVALID)
    assert client.received[1:] == [Suback(65_535, bytes([2, denied, 0, 1, wrong]))]
    other = world.connect("other")
    for topic in ("a", "secret", "b", "c/d"):
        other.publish(topic, b"x", 2)
    assert [(one.topic, one.qos) for one in client.publishes] == [("a", 2), ("b", 0), ("c/d", 1)]


@VERSIONS
def test_many_filters_are_many_subscriptions(version: int) -> None:
    """[MQTT-3.8.4-4] [5: MQTT-3.8.4-5] As if they had come in packets of their own, but for the one SUBACK."""
    world = World()
    client, other = world.connect("client", version=version), world.connect("other")
    other.publish("a", b"kept", 1, retain=True)
    assert client.subscribe(*(SubscribeFilter(name, qos) for name, qos in (("a", 0), ("+", 1), ("a", 1)))) == [0, 1, 1]
    assert client.count(Suback) == 1
    assert sorted(client.messages) == [("a", b"kept", 0, True), ("a", b"kept", 1, True), ("a", b"kept", 1, True)]
    assert world.engine.gauges().subscriptions == 2
    client.unsubscribe("+")
    other.publish("a", b"x", 2)
    assert client.messages[-1] == ("a", b"x", 1, False)
    assert len(client.messages) == 4


@VERSIONS
@pytest.mark.parametrize("topic_filter", ["a/b", "a/+", "#"])
def test_subscribing_again_replaces(version: int, topic_filter: str) -> None:
    """[MQTT-3.8.4-3] One copy of each message, at the new QoS, up or down; retained messages come once more."""
    world = World()
    client, other = world.connect("client", version=version), world.connect("other")
    other.publish("a/b", b"kept", 2, retain=True)
    for qos in (0, 2, 1, 1):
        before = len(client.messages)
        assert client.subscribe(topic_filter, qos=qos) == [qos]
        other.publish("a/b", b"x", 2)
        assert client.messages[before:] == [("a/b", b"kept", qos, True), ("a/b", b"x", qos, False)]
    assert world.engine.gauges().subscriptions == 1


@VERSIONS
def test_subscribing_again_loses_nothing(version: int) -> None:
    """[MQTT-3.8.4-3] The flow of messages is not interrupted: what is in flight or waits still comes, in order."""
    world = World(limits=Limits(inflight=1))
    client, other = world.connect("client", version=version, acknowledge=False), world.connect("other")
    client.subscribe("a", qos=1)
    for number in range(3):
        other.publish("a", b"%d" % number, 1)
    client.subscribe("a", qos=1)
    other.publish("a", b"3", 1)
    for at in range(4):
        client.packet(Ack(PUBACK, client.publishes[at].packet_id or 0))
    assert payloads(client) == [b"0", b"1", b"2", b"3"]


@VERSIONS
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_overlapping_subscriptions(version: int, qos: int, order: tuple[int, ...]) -> None:
    """[MQTT-3.3.5-1] [5: MQTT-3.3.4-2] One copy, at the highest QoS of those that match, or the message's; of no other."""
    world = World()
    client, other = world.connect("client", version=version), world.connect("other")
    filters = ("a/b", "a/+", "#")
    for granted, name in zip(order, filters, strict=True):
        client.subscribe(name, qos=granted)
    client.subscribe("other/#", qos=2)
    other.publish("a/b", b"1", qos)
    client.unsubscribe(filters[order.index(2)])
    other.publish("a/b", b"2", qos)
    assert client.messages == [("a/b", b"1", qos, False), ("a/b", b"2", min(qos, 1), False)]


@VERSIONS
@pytest.mark.parametrize("topic_filter", ["a/b", "a/+", "a/#", "+/b", "#"])
@pytest.mark.parametrize("qos", [0, 1])
def test_a_subscription_counts_from_its_suback_to_its_unsuback(version: int, topic_filter: str, qos: int) -> None:
    """[MQTT-3.8.4-1] [MQTT-3.10.4-2] Also for a topic that is in full use, and when its client goes and comes back."""
    world = World()
    other, steady = world.connect("other", version=version), world.connect("steady", version=version)
    steady.subscribe("a/b", qos=qos)
    client = world.stay("client", version=version)
    expected = []
    for number in range(8):
        other.publish("a/b", b"%d" % number, qos)
        if number in (1, 5):
            client.subscribe(topic_filter, qos=qos)
        elif number == 3:
            client.unsubscribe(topic_filter)
        elif number == 6:
            expected += payloads(client)
            client.lose()
    client = world.stay("client", version=version)
    other.publish("a/b", b"8", qos)
    expected += payloads(client)
    assert expected == [b"2", b"3", b"6"] + [b"7"] * (qos > 0) + [b"8"]
    assert payloads(steady) == [b"%d" % number for number in range(9)]


# UNSUBSCRIBE


@VERSIONS
def test_unsuback_always_comes(version: int) -> None:
    """[MQTT-3.10.4-4, -5, -6] [MQTT-2.3.1-7] [5: MQTT-3.10.4-4 to -6, MQTT-3.11.3-1] For several, or for none."""
    client = World().connect("client", version=version)
    client.subscribe("a", "b/#")
    client.packet(Unsubscribe(300, ["a", "c", "b/#", "a"]), Unsubscribe(65_535, ["never"]))
    none = Reason.NO_SUBSCRIPTION_EXISTED
    first, second = (b"", b"") if version == 4 else (bytes([0, none, 0, none]), bytes([none]))
    assert client.received[2:] == [Unsuback(300, first), Unsuback(65_535, second)]


@VERSIONS
def test_unsubscribing_ends_it(version: int) -> None:
    """[MQTT-3.10.4-2] [MQTT-3.10.4-6] Nothing new from then on, by that filter; for others, and other clients, all as before."""
    world = World()
    client, other = world.connect("client", version=version), world.connect("other")
    other.subscribe("#")
    client.subscribe("a", "b/+", "c/#", "d")
    topics = ("a", "b/x", "c/x", "d")
    for topic in topics:
        other.publish(topic, b"1")
    client.unsubscribe("a", "b/+", "c/#")
    for topic in topics:
        other.publish(topic, b"2", 1)
    assert [(one.topic, one.payload) for one in client.publishes[4:]] == [("d", b"2")]
    assert len(other.messages) == 8


@VERSIONS
def test_filters_are_compared_letter_by_letter(version: int) -> None:
    """[MQTT-3.10.4-1] [MQTT-4.7.3-4] A filter that matches the same is not the same."""
    world = World()
    client, other = world.connect("client", version=version), world.connect("other")
    client.subscribe("a/+", qos=1)
    client.unsubscribe("a/#", "a/b", "#", "+/+", "A/+", "a/+/", "/a/+", "a/ +", "a/+ ")
    other.publish("a/b", b"x", 1)
    assert client.messages == [("a/b", b"x", 1, False)]


@VERSIONS
@QOS
@pytest.mark.parametrize("lost", [False, True])
def test_unsubscribing_completes_what_is_in_flight(version: int, qos: int, lost: bool) -> None:
    """[MQTT-3.10.4-3] Also over the end of the connection."""
    world = World()
    client = world.stay("client", version=version, acknowledge=False)
    client.subscribe("a", qos=2)
    world.connect("other").publish("a", b"x", qos)
    client.unsubscribe("a")
    if lost:
        client.lose()
        client = world.stay("client", version=version, acknowledge=False)
    packet_id = client.publishes[-1].packet_id or 0
    if qos == 2:
        client.packet(Ack(PUBREC, packet_id))
        assert client.received[-1] == Ack(PacketType.PUBREL, packet_id)
    assert world.engine.gauges().inflight == 1
    client.packet(Ack(PUBACK if qos == 1 else PUBCOMP, packet_id))
    assert world.engine.gauges().inflight == 0
    assert len(client.publishes) == 1


@VERSIONS
def test_who_subscribed_gets_its_own_messages(version: int) -> None:
    """3.8.4: a client is a subscriber like any other to what it publishes itself."""
    client = World().connect("client", version=version)
    client.subscribe("a", qos=2)
    for qos in range(3):
        client.publish("a", b"x", qos)
    assert [one.qos for one in client.publishes] == [0, 1, 2]
