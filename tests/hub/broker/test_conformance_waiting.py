"""Nothing happens before its time: while a policy thinks, its client stands still. 3.1.1's clauses, and 5's behind a slash.

| clause | test |
|---|---|
| 3.1.4-2 / 3.1.4-3 | test_a_takeover_waits_for_the_login, test_a_client_that_leaves_before_its_login_is_decided |
| 3.1.4-4, -5 / 3.1.4-5, -6 | test_nothing_is_looked_at_before_the_login_is_decided and the test that follows it |
| 3.3.5-2, 4.6.0-6 / 3.3.4-1, 4.6.0-6 | test_a_publish_waits_for_the_policy, test_a_client_that_leaves_while_the_policy_thinks |
| 3.8.4-1, -5 / 3.8.4-1, -6 | test_a_subscribe_waits_for_the_policy |
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from devices.mqtt.codec import encode
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
from hub.broker.policy import Accepted, Action, Login, Refused
from tests.hub.broker.raw import PUBACK, VERSIONS, payloads
from tests.hub.broker.world import Client, OpenPolicy, World


class Pensive(OpenPolicy):
    """Every answer takes until `answer` is called."""

    waits = True

    def __init__(self) -> None:
        super().__init__()
        self.questions: list[tuple[str, asyncio.Future[Any]]] = []
        self.tasks: list[tuple[asyncio.Future[Any], Callable[[Any], None]]] = []
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


async def _think(world: World, policy: Pensive) -> None:
    """Lets go on what has its answer; what has none waits on."""
    while True:
        policy.tasks += [(asyncio.ensure_future(work), callback) for work, callback in world.shell.waiting]
        world.shell.waiting.clear()
        for _ in range(8):  # as many awaits as stand in a row
            await asyncio.sleep(0)
        done = [one for one in policy.tasks if one[0].done()]
        policy.tasks = [one for one in policy.tasks if not one[0].done()]
        if not done:
            return
        for task, callback in done:
            callback(task.result())
            world.settle()


async def _answer(world: World, policy: Pensive, answer: object) -> str:
    """Answers the oldest open question; gives what it was about."""
    about, future = next(one for one in policy.questions if not one[1].done())
    future.set_result(answer)
    await _think(world, policy)
    return about


def _pensive(*asks: str) -> tuple[World, Pensive]:
    policy = Pensive()
    policy.asks = set(asks)
    return World(policy=policy), policy


async def _connected(world: World, policy: Pensive, client_id: str, version: int, *filters: str) -> Client:
    client = world.connect(client_id, version=version)
    await _think(world, policy)
    if filters:
        client.packet(Subscribe(1, [SubscribeFilter(one, 1) for one in filters]))
        await _think(world, policy)
    return client


@VERSIONS
@pytest.mark.parametrize("accepted", [True, False])
async def test_nothing_is_looked_at_before_the_login_is_decided(version: int, accepted: bool) -> None:
    """[MQTT-3.1.4-5] [5: MQTT-3.1.4-6] What came with CONNECT, and after it, waits unread; then it counts, or never."""
    world, policy = _pensive("connect")
    watcher = world.connect("watcher")
    await _answer(world, policy, Accepted("", ""))
    watcher.packet(Subscribe(1, [SubscribeFilter("a", 1)]))
    await _think(world, policy)
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
    await _think(world, policy)
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
    await _think(world, policy)
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
    """[MQTT-4.6.0-6] What is behind it waits, so that the order stays; a refused one's payload is no packet."""
    world, policy = _pensive("publish")
    client = await _connected(world, policy, "client", version)
    watcher = await _connected(world, policy, "watcher", 9 - version, "a")
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
    other = await _connected(world, policy, "other", version)
    for topic in ("a", "b", "c"):
        other.publish(topic, b"kept", retain=True)
        await _think(world, policy)
    client = await _connected(world, policy, "client", version)
    client.packet(Subscribe(3, [SubscribeFilter(one, 1) for one in ("a", "b", "c")]), Pingreq())
    (a, b, c) = [future for _, future in policy.questions if not future.done()]
    for future, answer in ((c, True), (b, False), (a, True)):
        assert client.received == [client.connack]
        future.set_result(answer)
    await _think(world, policy)
    refused = 0x80 if version == 4 else Reason.NOT_AUTHORIZED
    assert client.last(Suback) == Suback(3, bytes([1, refused, 1]))
    assert sorted(one.topic for one in client.publishes) == ["a", "c"]
    assert client.count(Pingresp) == 1


@VERSIONS
async def test_a_client_that_leaves_while_the_policy_thinks(version: int) -> None:
    """What it asked for is not done any more."""
    world, policy = _pensive("publish")
    client = await _connected(world, policy, "client", version)
    watcher = await _connected(world, policy, "watcher", version, "a")
    client.packet(Publish("a", b"x", 1, retain=True, packet_id=1))
    client.lose()
    await _answer(world, policy, True)
    assert watcher.messages == []
    assert world.engine.gauges().retained == 0


@VERSIONS
async def test_others_do_not_wait(version: int) -> None:
    """Only the client that is asked about stands still."""
    world, policy = _pensive("publish")
    client, other = (
        await _connected(world, policy, "client", version),
        await _connected(world, policy, "other", version),
    )
    client.packet(Publish("a", b"x"))
    assert client.paused
    assert not other.paused
    assert other.ping()
    await _answer(world, policy, True)
    assert client.ping()
