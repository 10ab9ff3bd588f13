"""What both versions say of sessions, takeover and keep-alive, clause by clause; 3.1.1's numbers, and 5's behind a slash.

| clause | test |
|---|---|
| 3.1.2-4 / 3.1.2-5 | test_a_session_continues, test_a_session_continues_in_the_other_version |
| 3.1.2-5 / 4.1.0-1, 4.5.0-1 | test_what_came_meanwhile_is_delivered, test_qos_0_waits_if_it_may |
| 3.1.2-6, 3.1.4-3 / 3.1.2-4, 3.1.4-4 | test_a_clean_start_forgets, test_a_clean_session_ends_with_its_connection |
| 3.1.2-7 | test_retained_messages_are_no_part_of_a_session |
| 3.1.2-24 / 3.1.2-22 | test_silence_ends_the_connection and the tests that follow it |
| 3.1.3-2 | test_client_ids_tell_sessions_apart, test_another_owners_client_is_another_session |
| 3.1.4-2 / 3.1.4-3 | test_a_newer_connection_takes_over and the tests that follow it |
| 3.2.2-1 / 3.2.2-2 | test_a_clean_start_forgets |
| 3.2.2-2, -3 / 3.1.2-6, 3.2.2-3 | test_session_present_says_whether_there_was_one |
| 4.1.0-1, -2 / 4.1.0-1, -2 | test_a_session_lasts_as_long_as_its_connection, test_a_session_ends_in_time |
| 4.4.0-1 | test_conformance_qos.py |
"""

from collections.abc import Callable

import pytest

from devices.mqtt.codes import PacketType, Reason
from devices.mqtt.packets import Ack, Connack, Pingreq, Publish, Will
from devices.mqtt.properties import Property
from hub.broker.limits import Limits
from tests.hub.broker.raw import VERSIONS
from tests.hub.broker.world import Client, World

TAKEN_OVER, TIMEOUT = Reason.SESSION_TAKEN_OVER, Reason.KEEP_ALIVE_TIMEOUT


# sessions


@VERSIONS
def test_session_present_says_whether_there_was_one(version: int) -> None:
    """[MQTT-3.2.2-2, -3] [5: MQTT-3.1.2-6, MQTT-3.2.2-3] 0 the first time, 1 when it continues."""
    world = World()
    for present in (False, True, True):
        client = world.stay("client", version=version)
        assert (client.connack.code, client.connack.session_present) == (0, present)
        client.disconnect()


@VERSIONS
@pytest.mark.parametrize("goodbye", [False, True])
def test_a_session_continues(version: int, goodbye: bool) -> None:
    """[MQTT-3.1.2-4] [5: MQTT-3.1.2-5] Its subscriptions are still there, however its connection ended, and no others."""
    world = World()
    client, other = world.stay("client", version=version), world.connect("other")
    client.subscribe("a", "b", "c/#", qos=1)
    client.unsubscribe("b")
    client.disconnect() if goodbye else client.lose()
    client = world.stay("client", version=version)
    for topic in ("a", "b", "c/d", "e"):
        other.publish(topic, b"x", 2)
    assert client.messages == [("a", b"x", 1, False), ("c/d", b"x", 1, False)]


@VERSIONS
def test_a_session_continues_in_the_other_version(version: int) -> None:
    """Mixed: a client that was updated keeps its session, with what waited in it."""
    world = World()
    client, other = world.stay("client", version=version), world.connect("other", version=version)
    client.subscribe("a", qos=2)
    client.lose()
    other.publish("a", b"1", 1)
    other.publish("a", b"2", 2)
    client = world.stay("client", version=9 - version)
    assert client.connack.session_present
    other.publish("a", b"3", 2)
    assert client.messages == [("a", b"1", 1, False), ("a", b"2", 2, False), ("a", b"3", 2, False)]


@VERSIONS
def test_a_clean_start_forgets(version: int) -> None:
    """[MQTT-3.1.2-6] [MQTT-3.1.4-3] [MQTT-3.2.2-1] [5: MQTT-3.1.2-4, MQTT-3.1.4-4, MQTT-3.2.2-2]
    Subscriptions, what waits, and what is in flight; session present is 0, then and later."""
    world = World()
    client, other = world.stay("client", version=version, acknowledge=False), world.connect("other")
    client.subscribe("a", qos=2)
    other.publish("a", b"in flight", 2)
    client.publish("b", b"x", 2, packet_id=5)
    client.lose()
    other.publish("a", b"waits", 1)
    client = world.connect("client", version=version)
    assert not client.connack.session_present
    other.publish("a", b"live", 1)
    assert client.received == [client.connack]
    client.lose()
    client = world.stay("client", version=version)
    assert not client.connack.session_present
    other.publish("a", b"later", 1)
    client.packet(Ack(PacketType.PUBREL, 5))  # the packet identifier is forgotten as well
    reason = Reason.SUCCESS if version == 4 else Reason.PACKET_IDENTIFIER_NOT_FOUND
    assert client.received == [client.connack, Ack(PacketType.PUBCOMP, 5, reason)]


@VERSIONS
@pytest.mark.parametrize("goodbye", [False, True])
def test_a_clean_session_ends_with_its_connection(version: int, goodbye: bool) -> None:
    """[MQTT-3.1.2-6] [5: MQTT-4.1.0-2] Nothing of it is left in the broker."""
    world = World()
    client, other = world.connect("client", version=version), world.connect("other")
    client.subscribe("a", "b/#", qos=1)
    client.disconnect() if goodbye else client.lose()
    assert set(world.engine.sessions) == {("", "other")}
    assert world.engine.gauges().subscriptions == 0
    other.publish("a", b"x", 1)
    client = world.stay("client", version=version)
    assert client.received == [client.connack]
    assert not client.connack.session_present


@VERSIONS
def test_what_came_meanwhile_is_delivered(version: int) -> None:
    """[MQTT-3.1.2-5] [5: MQTT-4.5.0-1] QoS 1 and 2, at the lower QoS, in order, with no DUP flag; QoS 0 does not wait."""
    world = World()
    client, other = world.stay("client", version=version), world.connect("other", version=9 - version)
    client.subscribe("high/#", qos=2)
    client.subscribe("low/#", qos=1)
    client.subscribe("none/#", qos=0)
    client.lose()
    for number in range(9):
        topic = ("high/a", "low/a", "none/a")[number // 3]
        other.publish(topic, b"%d" % number, number % 3)
    client = world.stay("client", version=version)
    assert client.messages == [
        ("high/a", b"1", 1, False),
        ("high/a", b"2", 2, False),
        ("low/a", b"4", 1, False),
        ("low/a", b"5", 1, False),
    ]
    assert not any(one.dup for one in client.publishes)
    client.lose()
    assert world.stay("client", version=version).messages == []  # once


@VERSIONS
def test_qos_0_waits_if_it_may(version: int) -> None:
    """3.1.2.4 [5: 4.1] A server may keep QoS 0 messages too: `Limits.queue_qos0`. All come in the order they were sent."""
    world = World(limits=Limits(queue_qos0=True))
    client, other = world.stay("client", version=version), world.connect("other")
    client.subscribe("a", qos=1)
    client.lose()
    for number in range(300):
        other.publish("a", b"%d" % number, number % 2)
    client = world.stay("client", version=version)
    assert client.messages == [("a", b"%d" % number, number % 2, False) for number in range(300)]


@VERSIONS
def test_a_session_continues_with_the_rights_of_now(version: int) -> None:
    """3.1.4: what its client may not subscribe to any more is no subscription any more."""
    world = World()
    client, other = world.stay("client", version=version), world.connect("other")
    client.subscribe("a", "b", qos=1)
    client.lose()
    world.policy.denied.add(("subscribe", "a"))
    client = world.stay("client", version=version)
    assert client.connack.session_present
    other.publish("a", b"x", 1)
    other.publish("b", b"x", 1)
    assert [one.topic for one in client.publishes] == ["b"]


@VERSIONS
def test_a_session_lasts_as_long_as_its_connection(version: int) -> None:
    """[MQTT-4.1.0-1, -2] [5: MQTT-4.1.0-1] Its expiry counts from the end of the connection, each time."""
    world = World(limits=Limits(session_expiry=100))
    client = world.stay("client", version=version)
    client.subscribe("a")
    world.forward(1_000, 10)
    world.connect("other").publish("a", b"x")
    assert [one.payload for one in client.publishes] == [b"x"]
    client.lose()
    world.forward(90, 10)
    client = world.stay("client", version=version)
    assert client.connack.session_present
    world.forward(1_000, 10)
    client.lose()
    world.forward(90, 10)
    assert world.stay("client", version=version).connack.session_present


@VERSIONS
def test_a_session_ends_in_time(version: int) -> None:
    """[5: MQTT-4.1.0-2] 3.1.1 lets a server end a session that is away for long: `Limits.session_expiry`."""
    world = World(limits=Limits(session_expiry=100))
    client = world.stay("client", version=version)
    client.subscribe("a", qos=1)
    client.lose()
    world.forward(99, 1)
    assert len(world.engine.sessions) == 1
    world.forward(3, 1)
    assert world.engine.sessions == {}
    assert world.engine.gauges().subscriptions == 0
    assert not world.stay("client", version=version).connack.session_present


@VERSIONS
def test_retained_messages_are_no_part_of_a_session(version: int) -> None:
    """[MQTT-3.1.2-7] They stay when it ends."""
    world = World()
    client = world.connect("client", version=version)
    client.publish("a", b"x", 1, retain=True)
    client.disconnect()
    world.connect("client", version=version).lose()
    late = world.connect("late", version=version)
    late.subscribe("a")
    assert late.messages == [("a", b"x", 0, True)]


@VERSIONS
def test_client_ids_tell_sessions_apart(version: int) -> None:
    """[MQTT-3.1.3-2] Letter by letter."""
    world = World()
    names = ["client", "Client", "client ", "cli\u00e9nt", "clie\u0301nt"]
    clients = [world.stay(name, version=version) for name in names]
    assert not any(client.closed for client in clients)
    for client, name in zip(clients, names, strict=True):
        client.subscribe(f"to/{name}")
        client.publish(f"to/{name}", b"x")
    assert [len(client.messages) for client in clients] == [1] * len(names)


@VERSIONS
def test_another_owners_client_is_another_session(version: int) -> None:
    """[MQTT-3.1.3-2] Sessions are found under (owner, client id): nobody gets at another owner's."""
    world = World()
    mine = world.stay("client", version=version, username="me")
    mine.subscribe("a", qos=1)
    mine.lose()
    world.connect("other").publish("a", b"x", 1)
    yours = world.stay("client", version=version, username="you")
    assert not yours.connack.session_present
    assert yours.messages == []
    mine = world.stay("client", version=version, username="me")
    assert [one.payload for one in mine.publishes] == [b"x"]
    assert not yours.closed


# takeover


@VERSIONS
@pytest.mark.parametrize("newer", [4, 5])
def test_a_newer_connection_takes_over(version: int, newer: int) -> None:
    """[MQTT-3.1.4-2] [5: MQTT-3.1.4-3] The older one is ended, told so in 5, and what it still sends is not looked at."""
    world = World()
    watcher = world.connect("watcher")
    watcher.subscribe("#", qos=1)
    old = world.stay("client", version=version)
    old.subscribe("a", qos=1)
    new = world.stay("client", version=newer)
    assert old.ended(TAKEN_OVER)
    old.publish("b", b"from the past")
    old.lose()
    assert new.connack.session_present
    watcher.publish("a", b"x", 1)
    assert [one.payload for one in new.publishes] == [b"x"]
    assert old.messages == []
    assert [one.payload for one in watcher.publishes] == [b"x"]
    assert new.ping()


@VERSIONS
@pytest.mark.parametrize("clean", [False, True])
def test_takeover_of_a_clean_session(version: int, clean: bool) -> None:
    """[MQTT-3.1.4-2, -3] [5: MQTT-3.1.4-3, -4] A session that ends with its connection is gone for the newer one, too."""
    world = World()
    old = world.connect("client", version=version)
    old.subscribe("a")
    new = world.connect("client", version=version, clean=clean)
    assert old.ended(TAKEN_OVER)
    assert not new.connack.session_present
    world.connect("other").publish("a", b"x")
    assert new.received == [new.connack]
    assert world.engine.gauges().connections == 2


@VERSIONS
def test_what_was_in_flight_goes_to_the_newer_connection(version: int) -> None:
    """[MQTT-3.1.4-2] [MQTT-4.4.0-1] Nothing is lost by a takeover."""
    world = World(limits=Limits(inflight=2))
    old = world.stay("client", version=version, acknowledge=False)
    old.subscribe("a", qos=1)
    other = world.connect("other")
    for number in range(4):
        other.publish("a", b"%d" % number, 1)
    new = world.stay("client", version=version)
    assert [one.payload for one in old.publishes] == [b"0", b"1"]
    assert [(one.payload, one.dup) for one in new.publishes] == [
        (b"0", True),
        (b"1", True),
        (b"2", False),
        (b"3", False),
    ]


@VERSIONS
@pytest.mark.parametrize("clean", [False, True])
def test_a_refused_login_touches_nothing(version: int, clean: bool) -> None:
    """[MQTT-3.1.4-2] [5: MQTT-3.1.4-3] Only who is authenticated takes over: not the connection, the session or the will."""
    world = World()
    watcher = world.connect("watcher")
    watcher.subscribe("#")
    client = world.stay("client", version=version, username="me", will=Will("will", b"gone"))
    client.subscribe("a", qos=1)
    before = len(client.received)
    thief = world.connect("client", version=version, username="me", password=b"wrong", clean=clean)
    assert thief.closed
    assert not client.closed
    assert len(client.received) == before
    watcher.publish("a", b"x", 1)
    assert [one.payload for one in client.publishes] == [b"x"]
    assert "will" not in [one.topic for one in watcher.publishes]


@VERSIONS
def test_another_owner_takes_nothing_over(version: int) -> None:
    """[MQTT-3.1.4-2] The client identifier of another owner's client is somebody else's."""
    world = World()
    mine = world.connect("client", version=version, username="me")
    yours = world.connect("client", version=version, username="you")
    assert (mine.closed, yours.closed) == (False, False)
    assert mine.ping()
    assert yours.ping()


# keep-alive


def _silent(version: int, seconds: float, keep_alive: int = 10) -> Client:
    world = World()
    client = world.connect("client", version=version, keep_alive=keep_alive)
    world.forward(seconds, 0.25 if seconds < 100 else 100)
    return client


@VERSIONS
def test_silence_ends_the_connection(version: int) -> None:
    """[MQTT-3.1.2-24] [5: MQTT-3.1.2-22] After 1.5 times the keep-alive, and not before: within a second of it."""
    assert not _silent(version, 15.0).closed
    assert _silent(version, 16.0).ended(TIMEOUT)
    assert not _silent(version, 1.5, 1).closed
    assert _silent(version, 2.5, 1).ended(TIMEOUT)
    assert not _silent(version, 98_300, 65_535).closed
    assert _silent(version, 98_400, 65_535).ended(TIMEOUT)


@VERSIONS
def test_no_keep_alive(version: int) -> None:
    """3.1.2.10: 0 turns it off."""
    assert not _silent(version, 1_000_000, 0).closed


_TALKS: dict[str, Callable[[Client], object]] = {
    "PINGREQ": lambda client: client.packet(Pingreq()),
    "PUBLISH": lambda client: client.packet(Publish("a", b"x")),
    "PUBLISH 1": lambda client: client.packet(Publish("a", b"x", 1, packet_id=1)),
    "PUBACK": lambda client: client.packet(Ack(PacketType.PUBACK, 9)),
    "SUBSCRIBE": lambda client: client.subscribe("a"),
}


@VERSIONS
@pytest.mark.parametrize("talk", _TALKS)
def test_every_packet_counts(version: int, talk: str) -> None:
    """[MQTT-3.1.2-24] [5: MQTT-3.1.2-22] Any packet is a sign of life; each starts the time anew."""
    world = World()
    client = world.connect("client", version=version, keep_alive=10)
    for _ in range(5):
        world.forward(14)
        _TALKS[talk](client)
    world.forward(15)
    assert not client.closed
    world.forward(1)
    assert client.ended(TIMEOUT)


@VERSIONS
def test_what_is_sent_to_a_client_does_not_count(version: int) -> None:
    """[MQTT-3.1.2-24] [5: MQTT-3.1.2-22] It is the client that has to speak."""
    world = World()
    client, other = world.connect("client", version=version, keep_alive=10), world.connect("other")
    client.subscribe("a")
    for _ in range(17):
        world.forward(1)
        other.publish("a", b"x")
    assert client.ended(TIMEOUT)


@VERSIONS
def test_a_packet_that_never_ends_is_none(version: int) -> None:
    """[MQTT-3.1.2-24] [5: MQTT-3.1.2-22] A client that sends a byte now and then, and no whole packet, is silent."""
    world = World()
    client = world.connect("client", version=version, keep_alive=10)
    client.raw(b"\x30\x40\0\1a" + (b"\0" if version == 5 else b""))
    for _ in range(10):
        world.forward(5)
        client.raw(b"x")
    assert client.ended(TIMEOUT)


@VERSIONS
def test_a_connack_is_sent_before_the_time_starts(version: int) -> None:
    """Each connection has its own keep-alive: that of a former one of the session is forgotten."""
    world = World()
    world.stay("client", version=version, keep_alive=1).lose()
    client = world.stay("client", version=version, keep_alive=100)
    world.forward(140)
    assert not client.closed
    assert client.count(Connack) == 1


def test_versions_have_their_own_lifetimes() -> None:
    """Mixed: a session of 3.1.1 that continues in 5 without an expiry interval ends with that connection (3.1.2.11.2)."""
    world = World()
    world.stay("client", version=4).lose()
    client = world.connect("client", version=5, clean=False)
    assert client.connack.session_present
    client.lose()
    assert world.engine.sessions == {}
    world.connect("client", version=5, clean=False, properties={Property.SESSION_EXPIRY: 100}).lose()
    assert world.stay("client", version=4).connack.session_present
