"""What both versions say of retained messages, clause by clause; 3.1.1's numbers, and 5's behind a slash.

| clause | test |
|---|---|
| 3.3.1-5 / 3.3.1-5 | test_the_newest_is_kept |
| 3.3.1-6, -8 / 3.3.1-9 | test_a_new_subscription_gets_what_is_kept, test_only_the_subscription_just_made_gets_it |
| 3.3.1-7 / 3.3.1-5 | test_the_newest_is_kept |
| 3.3.1-9 / 3.3.1-12 | test_a_live_message_is_not_marked |
| 3.3.1-10, -11 / 3.3.1-6, -7 | test_an_empty_one_clears |
| 3.3.1-12 / 3.3.1-8 | test_a_message_without_the_flag_changes_nothing |
| 4.6.0-6 | test_what_is_kept_comes_before_what_is_new |
| 3.8.4-3 / 3.8.4-4 | test_a_new_subscription_gets_what_is_kept |
| 3.3.5-2 / 3.3.4-1 | test_a_refused_message_is_not_kept |
"""

import pytest

from devices.mqtt.packets import Suback
from hub.broker.limits import Limits
from tests.hub.broker.raw import VERSIONS, finish, payloads
from tests.hub.broker.world import World


def late(world: World, version: int, topic_filter: str = "#", qos: int = 2) -> list[tuple[str, bytes, int, bool]]:
    """What a new client gets."""
    client = world.connect(version=version)
    client.subscribe(topic_filter, qos=qos)
    return client.messages


@VERSIONS
@pytest.mark.parametrize("first", [0, 1, 2])
@pytest.mark.parametrize("second", [0, 1, 2])
def test_the_newest_is_kept(version: int, first: int, second: int) -> None:
    """[MQTT-3.3.1-5] [MQTT-3.3.1-7] One for each topic, with its QoS, whatever the QoS of the one before."""
    world = World()
    client = world.connect("client", version=version)
    client.publish("a", b"1", first, retain=True)
    client.publish("b", b"other", 1, retain=True)
    assert sorted(late(world, 9 - version)) == [("a", b"1", first, True), ("b", b"other", 1, True)]
    client.publish("a", b"2", second, retain=True)
    assert sorted(late(world, version)) == [("a", b"2", second, True), ("b", b"other", 1, True)]
    assert world.engine.gauges().retained == 2


@VERSIONS
def test_the_newest_is_kept_on_a_topic_in_use(version: int) -> None:
    """[MQTT-3.3.1-5] Also when messages of that topic take the short way, before and after."""
    world = World()
    client, watcher = world.connect("client", version=version), world.connect("watcher", version=version)
    watcher.subscribe("a")
    for payload, retain in ((b"1", False), (b"2", True), (b"3", False), (b"4", True), (b"5", False)):
        client.publish("a", payload, retain=retain)
    assert late(world, version) == [("a", b"4", 0, True)]
    assert payloads(watcher) == [b"1", b"2", b"3", b"4", b"5"]


@VERSIONS
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("granted", [0, 1, 2])
@pytest.mark.parametrize("topic_filter", ["a/b", "a/+", "a/#", "+/b", "#"])
def test_a_new_subscription_gets_what_is_kept(version: int, qos: int, granted: int, topic_filter: str) -> None:
    """[MQTT-3.3.1-6, -8] [5: MQTT-3.3.1-9, MQTT-3.8.4-4] With the flag, at the lower QoS; again each time [MQTT-3.8.4-3]."""
    world = World()
    world.connect("other", version=9 - version).publish("a/b", b"x", qos, retain=True)
    client = world.connect("client", version=version)
    expected = ("a/b", b"x", min(qos, granted), True)
    for times in (1, 2):
        client.subscribe(topic_filter, qos=granted)
        assert client.messages == [expected] * times
    client.unsubscribe(topic_filter)
    client.subscribe(topic_filter, qos=granted)
    assert client.messages == [expected] * 3
    assert isinstance(client.received[1], Suback)


@VERSIONS
def test_only_the_subscription_just_made_gets_it(version: int) -> None:
    """[MQTT-3.3.1-6] [5: MQTT-3.3.1-9] Another subscription of the client that matches is no reason, nor another client's."""
    world = World()
    client, other = world.connect("client", version=version), world.connect("other", version=version)
    other.subscribe("#")
    for topic in ("a/1", "a/2", "b/1"):
        other.publish(topic, b"x", retain=True)
    client.subscribe("a/+")
    client.subscribe("b/#")
    client.subscribe("a/1")
    client.subscribe("c")
    topics = [one.topic for one in client.publishes]
    assert (sorted(topics[:2]), topics[2:]) == (["a/1", "a/2"], ["b/1", "a/1"])
    assert len(other.messages) == 3


@VERSIONS
def test_a_session_that_continues_gets_none(version: int) -> None:
    """[MQTT-3.3.1-6] [5: MQTT-3.3.1-9] Its subscriptions are not new; what was published meanwhile comes without the flag."""
    world = World()
    client, other = world.stay("client", version=version), world.connect("other")
    client.subscribe("#", qos=1)
    other.publish("a", b"before", 1, retain=True)
    client.lose()
    other.publish("b", b"meanwhile", 1, retain=True)
    client = world.stay("client", version=version)
    assert client.messages == [("b", b"meanwhile", 1, False)]


@VERSIONS
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_live_message_is_not_marked(version: int, qos: int) -> None:
    """[MQTT-3.3.1-9] [5: MQTT-3.3.1-12] For who subscribed before, the flag is 0."""
    world = World()
    client, other = world.connect("client", version=version), world.connect("other", version=9 - version)
    client.subscribe("a", qos=qos)
    other.publish("a", b"x", qos, retain=True)
    other.publish("a", b"y", qos, retain=True)
    assert client.messages == [("a", b"x", qos, False), ("a", b"y", qos, False)]


@VERSIONS
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_an_empty_one_clears(version: int, qos: int) -> None:
    """[MQTT-3.3.1-10, -11] [5: MQTT-3.3.1-6, -7] It is delivered as any other, and not kept: its topic holds nothing then."""
    world = World()
    client, watcher = world.connect("client", version=version), world.connect("watcher")
    client.publish("a", b"x", 1, retain=True)
    client.publish("a/b", b"y", 1, retain=True)
    watcher.subscribe("a", qos=2)
    client.publish("a", b"", qos, retain=True)
    assert watcher.messages == [("a", b"x", 1, True), ("a", b"", qos, False)]
    assert late(world, version) == [("a/b", b"y", 1, True)]
    client.publish("never", b"", qos, retain=True)
    assert world.engine.gauges().retained == 1
    client.publish("a", b"again", qos, retain=True)
    assert late(world, version, "a") == [("a", b"again", qos, True)]


@VERSIONS
@pytest.mark.parametrize("payload", [b"", b"y"])
def test_a_message_without_the_flag_changes_nothing(version: int, payload: bytes) -> None:
    """[MQTT-3.3.1-12] [5: MQTT-3.3.1-8] It is not kept, and does not replace or clear what is."""
    world = World()
    client = world.connect("client", version=version)
    client.publish("a", b"x", 1, retain=True)
    for qos in range(3):
        client.publish("a", payload, qos)
        client.publish("b", payload, qos)
    assert late(world, version) == [("a", b"x", 1, True)]


@VERSIONS
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_refused_message_is_not_kept(version: int, qos: int) -> None:
    """[MQTT-3.3.5-2] [5: MQTT-3.3.4-1] Nor does it clear."""
    world = World()
    client = world.connect("client", version=version)
    client.publish("a", b"x", 1, retain=True)
    world.policy.denied |= {("publish", "a"), ("publish", "b")}
    client = world.connect("client-2", version=version)
    for payload in (b"", b"y"):
        client.publish("a", payload, qos, retain=True)
        client.publish("b", payload, qos, retain=True)
    assert late(world, version) == [("a", b"x", 1, True)]


@VERSIONS
def test_who_may_not_have_it_gets_none(version: int) -> None:
    """A refused subscription gets nothing, and a granted one nothing of topics that the client may not receive."""
    world = World()
    world.policy.denied |= {("subscribe", "secret"), ("receive", "b")}
    other = world.connect("other")
    for topic in ("a", "b", "secret"):
        other.publish(topic, b"x", 1, retain=True)
    client = world.connect("client", version=version)
    client.subscribe("secret", "b", qos=1)
    assert client.messages == []
    client.subscribe("+", qos=1)
    other.publish("b", b"live", 1)
    assert sorted(topic for topic, *_ in client.messages) == ["a", "secret"]


@VERSIONS
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_what_is_kept_comes_before_what_is_new(version: int, qos: int) -> None:
    """[MQTT-4.6.0-6] Of one topic and QoS, in the order in which it was published, also when the window is full meanwhile."""
    world = World(limits=Limits(inflight=1))
    other, client = world.connect("other"), world.connect("client", version=version, acknowledge=False)
    other.publish("first", b"kept", 1, retain=True)
    other.publish("a", b"1", qos, retain=True)
    other.publish("second", b"kept", 1, retain=True)
    client.subscribe("+", qos=2)
    other.publish("a", b"2", qos)
    finish(client, 0)
    at = 1
    while at < len(client.publishes):
        finish(client, at)
        at += 1
    assert [one.payload for one in client.publishes if one.topic == "a"] == [b"1", b"2"]
    assert len(client.publishes) == 4


@VERSIONS
@pytest.mark.parametrize("granted", [0, 1, 2])
def test_many_come_through_a_small_window(version: int, granted: int) -> None:
    """[MQTT-3.3.1-6] All of them, each once, however little may be in flight or on its way at once."""
    world = World(limits=Limits(inflight=2, send_buffer=1_000, queue_messages=5))
    other = world.connect("other")
    for number in range(200):
        other.publish(f"a/{number}", b"x" * 100, number % 3, retain=True)
    messages = late(world, version, "a/#", granted)
    assert sorted(messages) == sorted(
        (f"a/{number}", b"x" * 100, min(number % 3, granted), True) for number in range(200)
    )
