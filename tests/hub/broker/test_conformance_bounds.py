"""What one client may cost the others: sizes, times, buffers, rates; and that nothing happens while a policy thinks.

| clause | test |
|---|---|
| 3.1.4 (CONNECT in reasonable time) | test_connect_comes_in_time |
| 3.1.4-2, -5 / 3.1.4-3, -6; 3.1.4 (authentication) | test_nothing_is_looked_at_before_the_login_is_decided and the tests that follow it |
| 4.6.0-6 | test_a_publish_waits_for_the_policy |
| 4.8.0-1 / 3.1.2-24, 3.2.2.3.6, 4.13.1-1 | test_a_packet_is_too_large_by_its_header |
| 4.8.0-2 / 4.13.2-1 | test_a_client_that_does_not_read_is_ended |
| 3.2.2.3 (return code 3) / 3.2.2.2 (0x89) | test_so_many_connections_and_no_more |
| 4.5.0-1 (what is too much for one client concerns no other) | test_a_slow_client_loses_qos_0 and the tests that follow it |
"""

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from devices.mqtt.codec import encode, text
from devices.mqtt.codes import PacketType, Reason
from devices.mqtt.packets import (
    Ack,
    Connack,
    Connect,
    Pingreq,
    Pingresp,
    Publish,
    Suback,
    Subscribe,
    SubscribeFilter,
    Will,
)
from hub.broker.limits import Limits
from hub.broker.policy import Accepted, Action, Login, Refused
from tests.hub.broker.raw import PUBACK, QOS, VERSIONS, none, payloads
from tests.hub.broker.world import Client, OpenPolicy, World

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
    world = World(limits=Limits(max_packet=1_000))
    client = world.client(version)
    client.raw(b"\x10\xe6\x07")
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


def _flooded(version: int, granted: int, count: int, **limits: Any) -> tuple[World, Client, Client]:
    """A client whose network takes nothing, and what it was sent: messages of 100 bytes."""
    world = World(limits=Limits(**limits))
    slow = world.connect("slow", version=version, will=Will("will", b"gone"), acknowledge=False)
    other = world.connect("other", version=version)
    watcher = world.connect("watcher", version=9 - version)
    slow.subscribe("a", qos=granted)
    watcher.subscribe("a", "will", qos=granted)
    for number in range(count):
        before = sum(map(len, _sizes(slow)))
        other.publish("a", b"%d" % number + b"." * 100, granted)
        slow.stuck += sum(map(len, _sizes(slow))) - before
    return world, slow, watcher


def _sizes(client: Client) -> list[bytes]:
    return [encode(one, client.version) for one in client.received]


@VERSIONS
def test_a_slow_client_loses_qos_0(version: int) -> None:
    """`Limits.send_buffer`: what is more is dropped and counted; others lose nothing; when it reads again, it gets what is new."""
    world, slow, watcher = _flooded(version, 0, 30, send_buffer=1_000)
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


# while a policy thinks


class Pensive(OpenPolicy):
    """Every answer takes until `answer` is called."""

    waits = True

    def __init__(self) -> None:
        super().__init__()
        self.questions: list[tuple[str, asyncio.Future[Any]]] = []
        self.asks: set[str] = {"connect", "publish", "subscribe", "receive"}

    def _ask(self, what: str, about: str) -> "asyncio.Future[Any]":
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.questions.append((about, future))
        if what not in self.asks:
            future.set_result(True)
        return future

    def authenticate(self, login: Login) -> Awaitable[Accepted | Refused]:
        future = self._ask("connect", login.connect.client_id)
        if future.done():
            future = asyncio.get_running_loop().create_future()
            future.set_result(OpenPolicy.authenticate(self, login))
        return future

    def allows(self, principal: Any, action: Action, topic: str) -> Awaitable[bool]:
        return self._ask(action, topic)


async def _answer(world: World, policy: Pensive, answer: object) -> str:
    """Answers the oldest open question; gives what it was about."""
    about, future = next(one for one in policy.questions if not one[1].done())
    future.set_result(answer)
    await world.think()
    return about


def _pensive(*asks: str) -> tuple[World, Pensive]:
    policy = Pensive()
    policy.asks = set(asks)
    return World(policy=policy), policy


async def _connected(world: World, client_id: str, version: int, *filters: str) -> Client:
    client = world.connect(client_id, version=version)
    await world.think()
    if filters:
        client.packet(Subscribe(1, [SubscribeFilter(one, 1) for one in filters]))
        await world.think()
    return client


@VERSIONS
@pytest.mark.parametrize("accepted", [True, False])
async def test_nothing_is_looked_at_before_the_login_is_decided(version: int, accepted: bool) -> None:
    """[MQTT-3.1.4-5] [5: MQTT-3.1.4-6] What came with CONNECT, and after it, waits unread; then it counts, or never."""
    world, policy = _pensive("connect")
    watcher = world.connect("watcher")
    await _answer(world, policy, Accepted("", ""))
    watcher.packet(Subscribe(1, [SubscribeFilter("a", 1)]))
    await world.think()
    client = world.client(version)
    client.raw(encode(Connect("client", version), version) + encode(Publish("a", b"1", 1, packet_id=1), version))
    assert client.paused
    later = encode(Publish("a", b"2", 1, packet_id=2), version) + encode(Pingreq(), version)
    client.raw(later[:5])
    client.raw(later[5:])
    world.forward(5)
    assert client.received == []
    assert watcher.messages == []
    assert [about for about, _ in policy.questions if about == "a"] == ["a"]
    await _answer(world, policy, Accepted("", "") if accepted else Refused())
    await world.think()
    assert not client.paused or client.closed
    if accepted:
        assert [type(one) for one in client.received] == [Connack, Ack, Ack, Pingresp]
        assert payloads(watcher) == [b"1", b"2"]
    else:
        assert client.closed
        assert [type(one) for one in client.received] == [Connack]
        assert watcher.messages == []


@VERSIONS
async def test_garbage_behind_a_connect_is_judged_after_it(version: int) -> None:
    """[MQTT-3.1.4-5] An error in what is not yet looked at is none: CONNACK comes first."""
    world, policy = _pensive("connect")
    client = world.client(version)
    client.raw(encode(Connect("client", version), version) + b"\0\0\0\0")
    assert not client.closed
    await _answer(world, policy, Accepted("", ""))
    assert client.connack.code == 0
    assert client.ended(Reason.MALFORMED_PACKET)


@VERSIONS
async def test_a_takeover_waits_for_the_login(version: int) -> None:
    """[MQTT-3.1.4-2] [5: MQTT-3.1.4-3] The older connection works on until the newer one is authenticated."""
    world, policy = _pensive("connect")
    old = world.connect("client", version=version, clean=False)
    await _answer(world, policy, Accepted("", ""))
    new = world.connect("client", version=version, clean=False)
    assert old.ping()
    await _answer(world, policy, Refused())
    assert new.closed
    assert old.ping()
    new = world.connect("client", version=version, clean=False)
    await _answer(world, policy, Accepted("", ""))
    assert old.ended(Reason.SESSION_TAKEN_OVER)
    assert new.ping()


@VERSIONS
async def test_a_client_that_leaves_before_its_login_is_decided(version: int) -> None:
    """3.1.4: it was never there: no session, no will, no takeover."""
    world, policy = _pensive("connect")
    watcher = world.connect("watcher")
    await _answer(world, policy, Accepted("", ""))
    watcher.packet(Subscribe(1, [SubscribeFilter("will", 1)]))
    await world.think()
    client = world.connect("client", version=version, will=Will("will", b"gone"))
    client.lose()
    await _answer(world, policy, Accepted("", ""))
    assert client.received == []
    assert watcher.messages == []
    assert set(world.engine.sessions) == {("", "watcher")}


@VERSIONS
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("allowed", [True, False])
async def test_a_publish_waits_for_the_policy(version: int, qos: int, allowed: bool) -> None:
    """[MQTT-4.6.0-6] What is behind it waits, too, so that the order stays; a refused one is dropped, and its payload is no packet."""
    world, policy = _pensive("publish")
    client = await _connected(world, "client", version)
    watcher = await _connected(world, "watcher", 9 - version, "a")
    inner = encode(Publish("a", b"smuggled"), version)
    client.packet(Publish("a", inner, qos, packet_id=7 if qos else None), Publish("a", b"2"), Pingreq())
    client.raw(encode(Publish("a", b"3"), version))
    assert client.paused
    assert watcher.messages == []
    assert not client.count(Ack)
    assert not client.count(Pingresp)
    assert await _answer(world, policy, allowed) == "a"
    assert client.count(Ack) == (qos > 0)
    assert not client.count(Pingresp)
    await _answer(world, policy, True)
    assert client.count(Pingresp) == 1
    await _answer(world, policy, True)
    assert payloads(watcher) == [inner] * allowed + [b"2", b"3"]
    if qos:
        ack = client.last(Ack)
        kind = PUBACK if qos == 1 else PacketType.PUBREC
        assert (ack.type, ack.packet_id) == (kind, 7) or kind is not PUBACK
        assert [one.reason for one in client.received if isinstance(one, Ack) and one.type is kind] == [
            Reason.NOT_AUTHORIZED if version == 5 and not allowed else Reason.SUCCESS
        ]


@VERSIONS
async def test_a_subscribe_waits_for_the_policy(version: int) -> None:
    """[MQTT-3.8.4-1] SUBACK, retained messages and what follows come when all filters are decided."""
    world, policy = _pensive("subscribe")
    other = await _connected(world, "other", version)
    for topic in ("a", "b", "c"):
        other.publish(topic, b"kept", retain=True)
        await world.think()
    client = await _connected(world, "client", version)
    client.packet(Subscribe(3, [SubscribeFilter(one, 1) for one in ("a", "b", "c")]), Pingreq())
    (a, b, c) = [future for _, future in policy.questions if not future.done()]
    for future, answer in ((c, True), (b, False), (a, True)):
        assert client.received == [client.connack]
        future.set_result(answer)
    await world.think()
    refused = 0x80 if version == 4 else Reason.NOT_AUTHORIZED
    assert client.last(Suback) == Suback(3, bytes([1, refused, 1]))
    assert sorted(one.topic for one in client.publishes) == ["a", "c"]
    assert client.count(Pingresp) == 1


@VERSIONS
async def test_a_client_that_leaves_while_the_policy_thinks(version: int) -> None:
    """What it asked for is not done any more."""
    world, policy = _pensive("publish")
    client = await _connected(world, "client", version)
    watcher = await _connected(world, "watcher", version, "a")
    client.packet(Publish("a", b"x", 1, retain=True, packet_id=1))
    client.lose()
    await _answer(world, policy, True)
    assert watcher.messages == []
    assert world.engine.gauges().retained == 0


@VERSIONS
async def test_others_do_not_wait(version: int) -> None:
    """Only the client that is asked about stands still."""
    world, policy = _pensive("publish")
    client, other = await _connected(world, "client", version), await _connected(world, "other", version)
    client.packet(Publish("a", b"x"))
    assert client.paused
    assert not other.paused
    assert other.ping()
    await _answer(world, policy, True)
    assert client.ping()


@VERSIONS
async def test_what_waits_is_bounded(version: int) -> None:
    """A client that is not read from sends no more than the network holds: the broker says so before it keeps anything."""
    world, policy = _pensive("connect")
    client = world.client(version)
    client.raw(encode(Connect("client", version), version))
    assert client.paused
    await _answer(world, policy, Accepted("", ""))
    assert not client.paused
