"""What both versions say of redelivery, QoS 2 exactly once, and what waits; 3.1.1's numbers, and 5's behind a slash.

| clause | test |
|---|---|
| 3.3.1-1, 4.4.0-1, 4.6.0-6 | test_what_is_not_answered_is_sent_again, test_nothing_is_sent_again_on_the_same_connection |
| 4.3.3-1 / 4.3.3-1 to -7 | test_qos_2_out_is_delivered_once |
| 4.3.3-2 / 4.3.3-8 to -13 | test_qos_2_in_is_taken_once |
| 3.1.2.4 / 4.1 (bounds of what waits) | test_the_queue_holds_so_many and the tests that follow it |
"""

import pytest

from devices.mqtt.packets import Ack, Connect, Packet, Publish
from devices.mqtt.properties import Properties, Property
from hub.broker.limits import Limits
from tests.hub.broker.raw import PUBACK, PUBCOMP, PUBREC, PUBREL, QOS, VERSIONS, acks, finish, payloads
from tests.hub.broker.world import Client, World

# sent again


@VERSIONS
@QOS
def test_nothing_is_sent_again_on_the_same_connection(version: int, qos: int) -> None:
    """[MQTT-4.4.0-1] A connection loses nothing: only a new one brings messages again [5: at no other time]."""
    world = World()
    client = world.stay("client", version=version, acknowledge=False)
    client.subscribe("a", qos=2)
    world.connect("other").publish("a", b"x", qos)
    world.forward(1_000, 10)
    assert client.ping()
    assert len(client.publishes) == 1


@VERSIONS
@pytest.mark.parametrize("window", [4, 6])
def test_what_is_not_answered_is_sent_again(version: int, window: int) -> None:
    """[MQTT-4.4.0-1] [MQTT-3.3.1-1] [MQTT-4.6.0-6] With DUP, the same identifiers, in the order of the first time; what was
    received is released again, what was answered is not sent, what is new comes behind."""
    world = World(limits=Limits(inflight=window))
    client = world.stay("client", version=version, acknowledge=False)
    client.subscribe("a", qos=2)
    other = world.connect("other")
    for number, qos in enumerate((1, 2, 1, 2, 1, 1, 2, 1)):
        other.publish("a", b"%d" % number, qos)
    sent = {one.payload: one.packet_id for one in client.publishes}
    assert list(sent) == [b"%d" % number for number in range(window)]
    client.packet(Ack(PUBREC, sent[b"1"] or 0))
    client.packet(Ack(PUBACK, sent[b"2"] or 0))
    sent |= {one.payload: one.packet_id for one in client.publishes}
    client.lose()
    other.publish("a", b"8", 1)
    for _ in range(2):  # and once more, when the second connection ends as well
        client = world.stay("client", version=version, acknowledge=False)
        got = [one for one in client.received if isinstance(one, Publish | Ack)]
        again = [one for one in sent if one not in (b"1", b"2")]
        assert [one.payload for one in got if isinstance(one, Publish)] == again
        assert all(one.dup and one.packet_id == sent[one.payload] for one in client.publishes)
        assert [one.qos for one in client.publishes] == [{b"3": 2, b"6": 2}.get(one, 1) for one in again]
        assert got[1] == Ack(PUBREL, sent[b"1"] or 0)
        client.lose()
    client = world.stay("client", version=version)
    assert payloads(client) == [b"0", *(b"%d" % number for number in range(3, 9))]
    new = [one.payload for one in client.publishes if not one.dup]
    assert new == [b"%d" % number for number in range(3, 9) if b"%d" % number not in sent]


@QOS
def test_what_is_sent_again_keeps_to_the_window(qos: int) -> None:
    """[5: MQTT-3.3.4-9] [MQTT-4.4.0-1] Of the new connection: a client that comes back may want fewer at once."""
    world = World()
    client = world.stay("client", version=5, acknowledge=False)
    client.subscribe("a", qos=2)
    other = world.connect("other")
    for number in range(6):
        other.publish("a", b"%d" % number, qos)
    client.lose()
    client = world.client(5, acknowledge=False)
    given: Properties = {Property.SESSION_EXPIRY: 3_600, Property.RECEIVE_MAXIMUM: 2}
    client.packet(Connect("client", 5, False, properties=given))
    for at in range(6):
        assert payloads(client) == [b"%d" % number for number in range(min(at + 2, 6))]
        _finish_one(client, at)
    assert all(one.dup for one in client.publishes)
    assert world.engine.gauges().inflight == 0


def _finish_one(client: Client, at: int) -> None:
    one = client.publishes[at]
    packet_id = one.packet_id or 0
    client.packet(*([Ack(PUBACK, packet_id)] if one.qos == 1 else [Ack(PUBREC, packet_id), Ack(PUBCOMP, packet_id)]))


# exactly once


class _Publisher:
    """A client's side of one QoS 2 message, as 4.3.3 has it: what is not answered is sent again on each connection."""

    def __init__(self, world: World, version: int) -> None:
        self.world, self.version, self.received, self.done = world, version, False, False

    def connect(self) -> Client:
        return self.world.stay("publisher", version=self.version, acknowledge=False)

    def next(self, first: bool) -> Packet:
        return Ack(PUBREL, 5) if self.received else Publish("a", b"x", 2, dup=not first, packet_id=5)

    def learn(self, client: Client) -> None:
        self.received = self.received or (PUBREC, 5) in acks(client)
        self.done = (PUBCOMP, 5) in acks(client)


@VERSIONS
@pytest.mark.parametrize("lost", [(), (0,), (1,), (2,), (3,), (0, 1, 2, 3), (1, 1, 3, 3), (1, 2, 3)])
def test_qos_2_in_is_taken_once(version: int, lost: tuple[int, ...]) -> None:
    """[MQTT-4.3.3-2] [5: MQTT-4.3.3-10] However often the connection is lost, at whichever step.

    0: PUBLISH does not arrive. 1: PUBREC does not arrive. 2: PUBREL does not arrive. 3: PUBCOMP does not arrive."""
    world = World()
    watcher = world.connect("watcher", version=9 - version)
    watcher.subscribe("a", qos=2)
    publisher = _Publisher(world, version)
    drops, first = list(lost), True
    client = publisher.connect()
    for _ in range(20):
        if publisher.done:
            break
        step = 2 if publisher.received else 0
        if drops and drops[0] == step:  # what is sent is lost
            drops.pop(0)
            client.lose()
        else:
            client.packet(publisher.next(first))
            if drops and drops[0] == step + 1:  # it arrives, its answer does not
                drops.pop(0)
                client.lose()
            else:
                publisher.learn(client)
        first = False
        if client.closed or client.connection.closed:
            client = publisher.connect()
            assert client.connack.session_present
    assert publisher.done
    assert not drops
    assert payloads(watcher) == [b"x"]
    client.packet(Publish("a", b"y", 2, packet_id=5))
    assert payloads(watcher) == [b"x", b"y"]


@VERSIONS
@pytest.mark.parametrize("lost", [(), (0,), (1,), (2,), (3,), (0, 0, 1, 2, 3), (1, 1, 2, 2, 3, 3), (2, 3)])
@pytest.mark.parametrize("away", [False, True])
def test_qos_2_out_is_delivered_once(version: int, lost: tuple[int, ...], away: bool) -> None:
    """[MQTT-4.3.3-1] [5: MQTT-4.3.3-2 to -7] [MQTT-4.4.0-1] However often the connection is lost, at whichever step.

    0: PUBLISH does not arrive. 1: PUBREC does not arrive. 2: PUBREL does not arrive. 3: PUBCOMP does not arrive."""
    world = World()
    client = world.stay("client", version=version, acknowledge=False)
    client.subscribe("a", qos=2)
    if away:
        client.lose()
    world.connect("other").publish("a", b"x", 2)
    if away:
        client = world.stay("client", version=version, acknowledge=False)
    drops = list(lost)
    known: set[int] = set()  # the receiver's identifiers, method A of figure 4.3
    taken: list[bytes] = []
    for _ in range(20):
        step = _step(client)
        if step is None:
            break
        if drops and drops[0] == step:
            drops.pop(0)
        else:
            packet = client.received[-1]
            if isinstance(packet, Publish):
                assert packet.packet_id is not None
                packet_id = packet.packet_id
                if packet_id not in known:
                    taken.append(packet.payload)
                known.add(packet_id)
                answer = Ack(PUBREC, packet_id)
            else:
                assert isinstance(packet, Ack)
                known.discard(packet.packet_id)
                answer = Ack(PUBCOMP, packet.packet_id)
            if drops and drops[0] == step + 1:
                drops.pop(0)
            else:
                del client.received[-1]
                client.packet(answer)
                continue
        client.lose()
        client = world.stay("client", version=version, acknowledge=False)
    assert not drops
    assert taken == [b"x"]
    assert known == set()
    assert world.engine.gauges().inflight == 0


def _step(client: Client) -> int | None:
    last = client.received[-1]
    if isinstance(last, Ack):
        return 2 if last.type is PUBREL else None
    return 0 if isinstance(last, Publish) else None


# what waits


def _filled(world: World, version: int, messages: list[tuple[bytes, int]]) -> Client:
    client = world.stay("client", version=version)
    client.subscribe("a", qos=2)
    client.lose()
    other = world.connect("other", version=9 - version)
    for payload, qos in messages:
        other.publish("a", payload, qos)
    return world.stay("client", version=version)


@VERSIONS
@QOS
def test_the_queue_holds_so_many(version: int, qos: int) -> None:
    """3.1.2.4: `Limits.queue_messages`: the oldest goes, and is counted; the publisher is answered all the same."""
    world = World(limits=Limits(queue_messages=5))
    client = _filled(world, version, [(b"%d" % number, qos) for number in range(8)])
    assert payloads(client) == [b"3", b"4", b"5", b"6", b"7"]
    assert world.engine.stats.dropped == {"queue full": 3}


@VERSIONS
def test_the_queue_holds_so_much(version: int) -> None:
    """3.1.2.4: `Limits.queue_bytes`, of topic and payload."""
    world = World(limits=Limits(queue_bytes=1_000))
    client = _filled(world, version, [(bytes([number]) * 300, 1) for number in range(5)])
    assert payloads(client) == [bytes([number]) * 300 for number in (2, 3, 4)]
    assert world.engine.stats.dropped == {"queue full": 2}


@VERSIONS
def test_the_queue_drops_qos_0_first(version: int) -> None:
    """3.1.2.4: a QoS 0 message may be lost, so it goes before any other, the oldest of them first."""
    world = World(limits=Limits(queue_messages=5, queue_qos0=True))
    client = _filled(world, version, numbered([1, 0, 2, 0, 0, 1, 1]))
    assert payloads(client) == [b"0", b"2", b"4", b"5", b"6"]
    assert world.engine.stats.dropped == {"queue full": 2}
    world = World(limits=Limits(queue_messages=3, queue_qos0=True))
    client = _filled(world, version, numbered([0, 1, 1, 0, 1, 1]))
    assert payloads(client) == [b"2", b"4", b"5"]
    assert world.engine.stats.dropped == {"queue full": 3}


def numbered(levels: list[int]) -> list[tuple[bytes, int]]:
    """Numbered messages of these QoS."""
    return [(b"%d" % number, qos) for number, qos in enumerate(levels)]


@VERSIONS
def test_the_queue_of_a_slow_client_is_bounded(version: int) -> None:
    """4.6: what waits behind the window of a connected client, too; what is in flight does not count, and is not lost."""
    world = World(limits=Limits(inflight=2, queue_messages=3))
    client = world.connect("client", version=version, acknowledge=False)
    client.subscribe("a", qos=1)
    other = world.connect("other")
    for number in range(10):
        other.publish("a", b"%d" % number, 1)
    assert payloads(client) == [b"0", b"1"]
    at = 0
    while at < len(client.publishes):
        finish(client, at)
        at += 2
    assert payloads(client) == [b"0", b"1", b"7", b"8", b"9"]
    assert world.engine.stats.dropped == {"queue full": 5}
