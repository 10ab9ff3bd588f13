"""What one client may cost the others: sizes, times, buffers, rates; 3.1.1's clauses, and 5's behind a slash.

| clause | test |
|---|---|
| 3.1.4 (CONNECT in reasonable time) | test_connect_comes_in_time |
| 3.2.2.3 (return code 3) / 3.2.2.2 (0x89) | test_so_many_connections_and_no_more |
| 4.5.0-1 (what is too much for one client concerns no other) | test_a_slow_client_loses_qos_0 and the tests that follow it |
| 4.8.0-1 / 3.2.2.3.6, 4.13.1-1 | test_a_packet_is_too_large_by_its_header, test_a_connect_that_is_too_large |
| 4.8.0-2 / 4.13.2-1 | test_a_client_that_does_not_read_is_ended |
"""

from typing import Any

import pytest

from devices.mqtt.codec import encode, text
from devices.mqtt.codes import Reason
from devices.mqtt.packets import (
    Connack,
    Connect,
    Pingreq,
    Pingresp,
    Publish,
    Will,
)
from devices.mqtt.properties import Properties, Property
from hub.broker.limits import Limits
from tests.hub.broker.raw import QOS, VERSIONS, none, payloads
from tests.hub.broker.world import Client, World

# sizes


@VERSIONS
@pytest.mark.parametrize("qos", [0, 1])
def test_a_packet_is_too_large_by_its_header(version: int, qos: int) -> None:
    """`Limits.max_packet`: one byte too many in the header ends the connection, before any of the body; what fits is taken."""
    for excess in (0, 1):
        world = World(limits=Limits(max_packet=1_000))
        client, watcher = world.connect("client", version=version), world.connect("watcher")
        watcher.subscribe("#", qos=1)
        head = text("a") + b"\0\1"[: 2 * qos] + none(version)
        body = head + b"x" * (1_000 - 3 - len(head) + excess)
        packet = bytes([0x30 | qos << 1, len(body) & 127 | 128, len(body) >> 7]) + body
        assert len(packet) == 1_000 + excess
        client.raw(packet[:3])
        assert client.closed == bool(excess)
        client.raw(packet[3:])
        assert len(watcher.messages) == 1 - excess
        assert client.ended(Reason.PACKET_TOO_LARGE) if excess else client.ping()


@VERSIONS
def test_a_connect_that_is_too_large(version: int) -> None:
    """By its header as well: nobody has a megabyte kept without a name."""
    for limits, header in ((Limits(max_packet=1_000), b"\x10\xe6\x07"), (Limits(), b"\x10\xff\xff\x7f")):
        world = World(limits=limits)
        client = world.client(version)
        client.raw(header)
        assert client.closed
        assert not client.count(Connack) or client.connack.code == Reason.PACKET_TOO_LARGE


# times


@VERSIONS
@pytest.mark.parametrize("begun", [0, 1, 5, -1])
def test_connect_comes_in_time(version: int, begun: int) -> None:
    """`Limits.connect_timeout` from the connection to a whole CONNECT; a piece of one does not help, whenever it comes."""
    world = World(limits=Limits(connect_timeout=10))
    packet = encode(Connect("client", version), version)
    early, late = world.client(version), world.client(version)
    late.raw(packet[:begun])
    early.raw(packet[:begun])
    world.forward(9.5)
    assert not late.closed
    early.raw(packet[begun:])
    late.raw(b"")
    world.forward(1)
    assert late.closed
    assert late.received == []
    late.raw(packet[begun:])
    assert not early.closed
    world.forward(1_000, 10)
    assert early.ping()
    assert world.engine.gauges().connections == 1


@VERSIONS
def test_so_many_connections_and_no_more(version: int) -> None:
    """`Limits.max_connections`: one more is told that the server is busy; when one leaves there is room again."""
    world = World(limits=Limits(max_connections=2))
    first, second = world.connect("first", version=version), world.connect("second", version=version)
    third = world.connect("third", version=version)
    assert third.connack.code == (3 if version == 4 else Reason.SERVER_BUSY)
    assert (first.closed, second.closed, third.closed) == (False, False, True)
    third.lose()
    first.disconnect()
    assert world.connect("third", version=version).connack.code == 0
    assert world.engine.stats.refused == 1


# buffers


def _flooded(
    version: int, granted: int, count: int, retain: bool = False, **limits: Any
) -> tuple[World, Client, Client]:
    """A client whose network takes nothing, and what it was sent: messages of 100 bytes."""
    world = World(limits=Limits(**limits))
    slow = world.connect("slow", version=version, will=Will("will", b"gone"), acknowledge=False)
    other = world.connect("other", version=version)
    watcher = world.connect("watcher", version=9 - version)
    slow.subscribe("a", qos=granted)
    watcher.subscribe("a", "will", qos=granted)
    for number in range(count):
        before = sum(map(len, _sizes(slow)))
        other.publish("a", b"%d" % number + b"." * 100, granted, retain)
        slow.stuck += sum(map(len, _sizes(slow))) - before
    return world, slow, watcher


def _sizes(client: Client) -> list[bytes]:
    return [encode(one, client.version) for one in client.received]


@VERSIONS
@pytest.mark.parametrize("retain", [False, True])
def test_a_slow_client_loses_qos_0(version: int, retain: bool) -> None:
    """`Limits.send_buffer`: what is more is dropped and counted; others lose nothing; later it gets what is new."""
    world, slow, watcher = _flooded(version, 0, 30, retain, send_buffer=1_000)
    got = len(slow.publishes)
    assert 5 <= got <= 10
    assert payloads(slow) == payloads(watcher)[:got]
    assert len(watcher.publishes) == 30
    assert world.engine.stats.dropped == {"slow client": 30 - got}
    slow.stuck = 0
    slow.connection.drained()
    world.settle()
    watcher.publish("a", b"new")
    assert payloads(slow)[got:] == [b"new"]
    assert not slow.closed


@VERSIONS
@QOS
def test_a_slow_client_loses_no_qos_1_or_2(version: int, qos: int) -> None:
    """`Limits.send_buffer`: they wait, in order, until it reads again."""
    world, slow, watcher = _flooded(version, qos, 30, send_buffer=1_000)
    got = len(slow.publishes)
    assert 5 <= got <= 11
    assert world.engine.gauges().queued == 30 - got
    slow.stuck = 0
    slow.connection.drained()
    world.settle()
    assert payloads(slow) == payloads(watcher)
    assert len(watcher.publishes) == 30
    assert not world.engine.stats.dropped


@VERSIONS
@QOS
def test_a_newer_message_waits_behind_older_ones(version: int, qos: int) -> None:
    """[MQTT-4.6.0-6] Also in the moment in which there is room again and nobody has told."""
    world, slow, watcher = _flooded(version, qos, 30, send_buffer=1_000)
    slow.stuck = 0
    watcher.publish("a", b"new", qos)
    slow.connection.drained()
    world.settle()
    assert payloads(slow) == payloads(watcher)
    assert payloads(slow)[-1] == b"new"


@VERSIONS
@QOS
def test_a_newer_message_waits_behind_what_is_sent_again(version: int, qos: int) -> None:
    """[MQTT-4.4.0-1] [MQTT-4.6.0-6] A client that comes back slowly gets the older ones first, all with DUP."""
    world = World(limits=Limits(send_buffer=1_000))
    client, other = world.stay("client", version=version, acknowledge=False), world.connect("other")
    client.subscribe("a", qos=qos)
    for number in range(20):
        other.publish("a", b"%100d" % number, qos)
    client.lose()
    client = world.client(version, acknowledge=False)
    client.stuck = 1_001
    given: Properties = {Property.SESSION_EXPIRY: 3_600} if version == 5 else {}
    client.packet(Connect("client", version, False, properties=given))
    assert len(client.publishes) < 12
    client.stuck = 0
    other.publish("a", b"new", qos)
    client.connection.drained()
    world.settle()
    assert payloads(client) == [*(b"%100d" % number for number in range(20)), b"new"]
    assert [one.dup for one in client.publishes] == [True] * 20 + [False]


@VERSIONS
def test_a_client_that_does_not_read_is_ended(version: int) -> None:
    """[MQTT-4.8.0-2] [5: MQTT-4.13.2-1] `Limits.send_buffer_max`: its will is published, nobody else notices."""
    world, slow, watcher = _flooded(version, 0, 5, send_buffer=1_000, send_buffer_max=2_000)
    assert not slow.closed
    slow.stuck = 2_001
    slow.connection.drained()
    world.settle()
    assert slow.closed
    assert watcher.messages[-1] == ("will", b"gone", 0, False)
    assert watcher.ping()


@VERSIONS
def test_a_client_that_does_not_read_is_not_read_from(version: int) -> None:
    """`Limits.send_buffer`: who asks without taking the answers is not listened to until it does."""
    world = World(limits=Limits(send_buffer=1_000))
    client = world.connect("client", version=version)
    client.stuck = 1_001
    client.packet(Pingreq())
    assert client.paused
    client.stuck = 0
    client.connection.drained()
    world.settle()
    assert not client.paused
    assert client.ping()


@VERSIONS
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_one_write_for_all_that_is_ready(version: int, qos: int) -> None:
    """However many messages came in one read, each subscriber gets them in one write, and the sender its answers."""
    world = World()
    subscribers = [world.connect(f"s{at}", version=at, acknowledge=False) for at in (4, 5)]
    sender = world.connect("sender", version=version, acknowledge=False)
    for one in subscribers:
        one.subscribe("a", qos=qos)
    everybody = [*subscribers, sender]
    before = [one.writes for one in everybody]
    messages = [Publish("a", b"%d" % at, qos, packet_id=at if qos else None) for at in range(1, 101)]
    sender.packet(*messages, Pingreq())
    assert [one.writes - was for one, was in zip(everybody, before, strict=True)] == [1, 1, 1]
    assert [len(one.publishes) for one in subscribers] == [100, 100]
    assert sender.count(Pingresp) == 1


@VERSIONS
def test_a_client_that_sends_without_end_lets_others_have_their_turn(version: int) -> None:
    """A large read is done whole, then the others come first."""
    world = World()
    client = world.connect("client", version=version)
    data = encode(Publish("a", b"x" * 1_000), version) * 66
    client.connection.receive(data)
    assert client.paused
    world.settle()
    assert not client.paused
    assert world.engine.stats.messages_received == 66
    client.connection.receive(data[: len(data) // 2])
    assert not client.paused


@VERSIONS
@pytest.mark.parametrize("qos", [0, 1])
def test_a_client_that_sends_too_fast_is_slowed_down(version: int, qos: int) -> None:
    """`Limits.receive_rate`: reading pauses until the rate is kept; nothing is dropped, and others are not concerned."""
    world = World(limits=Limits(receive_rate=100))
    client, other = world.connect("client", version=version), world.connect("other", version=version)
    other.subscribe("a", qos=qos)
    messages = [Publish("a", b"%d" % at, qos, packet_id=at if qos else None) for at in range(1, 301)]
    client.packet(*messages)
    assert client.paused
    assert not other.paused
    assert other.ping()
    world.forward(1.75)
    assert client.paused
    world.forward(0.5)
    assert not client.paused
    assert payloads(other) == [b"%d" % at for at in range(1, 301)]
    client.publish("a", b"more", qos)
    assert len(other.publishes) == 301
    assert not world.engine.stats.dropped


@VERSIONS
def test_who_keeps_the_rate_is_never_paused(version: int) -> None:
    """`Limits.receive_rate`"""
    world = World(limits=Limits(receive_rate=100))
    client = world.connect("client", version=version)
    for _ in range(40):
        world.forward(0.25)
        client.packet(*[Publish("a", b"x")] * 20)
        assert not client.paused
