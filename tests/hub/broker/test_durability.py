"""`kill -9` under load: no acknowledged message is lost, none of QoS 2 comes twice, and each topic keeps its order.

Publishers with hundreds of messages in flight, subscribers that are here, away, or drop and return; the broker is killed at
random moments and started again on its file. HUB_TEST_KILLS=50 kills more often, HUB_TEST_SEED=7 at other moments.
"""

import asyncio
import os
import random
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from devices.mqtt.codec import encode
from devices.mqtt.codes import PacketType
from devices.mqtt.packets import (
    Ack,
    Connack,
    Connect,
    Packet,
    Pingreq,
    Pingresp,
    Publish,
    Suback,
    Subscribe,
    SubscribeFilter,
)
from devices.mqtt.properties import Properties, Property
from devices.mqtt.stream import PacketStream
from hub.broker.storage import Synchronous
from tests.hub.client import eventually

KILLS = int(os.environ.get("HUB_TEST_KILLS", "4"))
SEED = int(os.environ.get("HUB_TEST_SEED", "1"))
GUARD = 60.0
WINDOW = 200
"""Messages that each publisher has in flight."""
TOPICS = 3
"""Topics of each publisher."""


class Line(asyncio.Protocol):
    """One connection of a client."""

    def __init__(self, client: "Client") -> None:
        self._client, self._stream = client, PacketStream(client.version)
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self._client.line is self:  # else the client has dropped it
            self._client.handle(self._stream.feed(data))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._client.line is self:
            self._client.line = None


class Client:
    """One whose session stays. Wait for `line` to become None to see its connection end."""

    def __init__(self, name: str, version: int) -> None:
        self.name, self.version = name, version
        self.line: Line | None = None
        self.known = False
        """The broker has promised to keep its session."""
        self._came: Counter[type[Packet]] = Counter()
        self._connack = Connack(0)

    async def connect(self, port: int) -> None:
        line = Line(self)
        await asyncio.get_running_loop().create_connection(lambda: line, "127.0.0.1", port)
        self.line = line
        given: Properties = {Property.SESSION_EXPIRY: 3_600} if self.version == 5 else {}
        answered = self._came[Connack]
        await self.ask(Connect(self.name, self.version, False, properties=given), Connack)
        if self._came[Connack] == answered:
            return  # the broker went before it answered: what it said last time says nothing now
        assert self._connack.code == 0
        assert self._connack.session_present or not self.known, f"the session of {self.name} is lost"

    async def ask(self, packet: Packet, answer: type[Packet]) -> None:
        """Sends a packet and waits for its answer."""
        before = self._came[answer]
        self.send(packet)
        await eventually(lambda: self._came[answer] > before or self.line is None, GUARD)

    def send(self, *packets: Packet) -> None:
        if self.line is not None:
            self.line.transport.write(b"".join(encode(packet, self.version) for packet in packets))

    def drop(self) -> None:
        """The network is gone; what is on its way with it."""
        line, self.line = self.line, None
        if line is not None:
            line.transport.abort()

    def handle(self, packets: list[Packet]) -> None:
        answers: list[Packet] = []
        for packet in packets:
            self._came[type(packet)] += 1
            if isinstance(packet, Connack):
                self._connack = packet
                answers += self.resumed()
            elif isinstance(packet, Publish):
                answers += self.got(packet)
            elif isinstance(packet, Ack):
                answers += self.acknowledged(packet)
        if answers:
            self.send(*answers)

    def resumed(self) -> list[Packet]:
        return []

    def got(self, packet: Publish) -> list[Packet]:
        return []

    def acknowledged(self, packet: Ack) -> list[Packet]:
        return []


class Subscriber(Client):
    """Keeps what it gets, as the standard says."""

    def __init__(self, name: str, version: int) -> None:
        super().__init__(name, version)
        self.received: dict[str, list[int]] = {}
        self._incoming: set[int] = set()

    async def subscribe(self, port: int, topic_filter: str, qos: int) -> None:
        await self.connect(port)
        await self.ask(Subscribe(1, [SubscribeFilter(topic_filter, qos)]), Suback)
        self.known = True

    def got(self, packet: Publish) -> list[Packet]:
        number = packet.packet_id
        if packet.qos < 2 or number not in self._incoming:
            self.received.setdefault(packet.topic, []).append(int(packet.payload.split()[0]))
        if number is None:
            return []
        if packet.qos == 2:
            self._incoming.add(number)
        return [Ack(PacketType.PUBACK if packet.qos == 1 else PacketType.PUBREC, number)]

    def acknowledged(self, packet: Ack) -> list[Packet]:
        if packet.type is not PacketType.PUBREL:
            return []
        self._incoming.discard(packet.packet_id)
        return [Ack(PacketType.PUBCOMP, packet.packet_id)]

    def complete(self, sent: dict[str, int]) -> bool:
        """Whether all of some topics was seen: the last number of each, and as many."""
        return all(len(set(self.received.get(topic, ()))) >= count for topic, count in sent.items())


class Publisher(Client):
    """Numbers its messages, topic by topic, and sends again what was not acknowledged."""

    def __init__(self, name: str, version: int, qos: int, *, retain: bool = False) -> None:
        super().__init__(name, version)
        self.qos, self.retain, self.running = qos, retain, False
        self.sent = {f"{'r' if retain else 'p'}/{name}/{number}": 0 for number in range(TOPICS)}
        self.acked = dict.fromkeys(self.sent, -1)
        """The greatest number of each topic that the broker took."""
        self.unacked: dict[int, Publish | Ack] = {}
        """What is to be sent again by packet id, in order."""
        self._id = 0

    def start(self) -> None:
        self.running = True
        self.send(*self._more())

    def _more(self) -> list[Packet]:
        packets: list[Packet] = []
        while self.running and len(self.unacked) < WINDOW:
            topic = min(self.sent, key=self.sent.__getitem__)
            self._id = self._id % 65_535 + 1
            assert self._id not in self.unacked
            payload = b"%d %s" % (self.sent[topic], b"x" * 200)
            packet = Publish(topic, payload, self.qos, self.retain, packet_id=self._id)
            self.sent[topic] += 1
            self.unacked[self._id] = packet
            packets.append(packet)
        return packets

    def resumed(self) -> list[Packet]:
        for packet in self.unacked.values():
            if isinstance(packet, Publish):
                packet.dup = True
        return [*self.unacked.values(), *self._more()]

    def acknowledged(self, packet: Ack) -> list[Packet]:
        number = packet.packet_id
        was = self.unacked.get(number)
        if isinstance(was, Publish):
            self.acked[was.topic] = max(self.acked[was.topic], int(was.payload.split()[0]))
        if packet.type is PacketType.PUBREC:
            self.unacked[number] = release = Ack(PacketType.PUBREL, number)
            return [release]
        if was is not None:
            del self.unacked[number]
        return self._more()


class Broker:
    """The process under test."""

    def __init__(self, path: Path, synchronous: Synchronous) -> None:
        self.path, self._synchronous = path, synchronous
        self.port = 0
        self._process: asyncio.subprocess.Process

    async def start(self) -> None:
        arguments = ("-m", "tests.hub.broker.durable_process", str(self.path), self._synchronous)
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdin=pipe, stdout=pipe)
        assert self._process.stdout is not None
        self.port = int(await asyncio.wait_for(self._process.stdout.readline(), GUARD))

    async def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert await asyncio.wait_for(self._process.wait(), GUARD) == 0


class Fleet:
    """All clients of one test."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.publishers = [Publisher(f"pub-{number}", 4 + number % 2, 1 + number // 2) for number in range(4)]
        self.retaining = [Publisher(f"ret-{qos}", 3 + qos, qos, retain=True) for qos in (1, 2)]
        # (subscriber, QoS) by how it behaves
        self.here = [Subscriber("here-4", 4), Subscriber("here-5", 5)]
        self.away = [Subscriber("away-4", 4), Subscriber("away-5", 5)]
        self.dropping = [Subscriber("drops-4", 4), Subscriber("drops-5", 5)]

    @property
    def subscribers(self) -> list[Subscriber]:
        return [*self.here, *self.away, *self.dropping]

    async def begin(self, port: int) -> None:
        """Everybody gets a session that the broker has stored."""
        for subscriber in self.subscribers:
            await subscriber.subscribe(port, "p/#", 2)
        for publisher in (*self.publishers, *self.retaining):
            await publisher.connect(port)
            # SUBACK leaves after the commit that holds the session, too
            await publisher.ask(Subscribe(1, [SubscribeFilter("nothing", 0)]), Suback)
            publisher.known = True
        for away in self.away:
            away.drop()

    async def back(self, port: int) -> None:
        """All but those that stay away, in any order."""
        clients = [*self.publishers, *self.retaining, *self.here, *self.dropping]
        self._rng.shuffle(clients)
        for client in clients:
            if client.line is None:
                await client.connect(port)

    async def drop_and_return(self, port: int, until: Callable[[], bool]) -> None:
        """Some lose their connections again and again."""
        while not until():
            await asyncio.sleep(self._rng.uniform(0.02, 0.1))
            client = self._rng.choice(self.dropping)
            client.drop()
            try:
                await client.connect(port)
            except OSError:
                return  # the broker is gone

    async def check_retained(self, port: int) -> None:
        """A newcomer gets what was acknowledged, or what was sent after it."""
        newcomer = Subscriber("newcomer", 5)
        await newcomer.subscribe(port, "r/#", 0)
        await newcomer.ask(Pingreq(), Pingresp)
        newcomer.drop()
        for publisher in self.retaining:
            for topic, acked in publisher.acked.items():
                numbers = newcomer.received.get(topic, [])
                assert len(numbers) == (1 if acked >= 0 else len(numbers)), f"{topic} was acknowledged, and is gone"
                assert all(acked <= number < publisher.sent[topic] for number in numbers)

    def check(self) -> None:
        """What every subscriber must have got: all of it, QoS 2 once, in order."""
        for subscriber in self.subscribers:
            for publisher in self.publishers:
                for topic, count in publisher.sent.items():
                    got = subscriber.received.get(topic, [])
                    if publisher.qos == 1:  # at least once: what came again is allowed
                        got = list(dict.fromkeys(got))
                    lost = sorted(set(range(count)) - set(got))
                    assert not lost, f"{subscriber.name} lost {lost} of {topic}"
                    assert len(got) == count, f"{subscriber.name} got messages of {topic} twice"
                    assert got == sorted(got), f"{subscriber.name} got {topic} out of order"


@pytest.mark.parametrize("synchronous", ["normal", "full"])
async def test_kill_9_under_load(tmp_path: Path, synchronous: Synchronous) -> None:
    """Acknowledged is kept, exactly once is once, per-topic order of each publisher is kept, retained is retained."""
    rng = random.Random(f"{SEED} {synchronous}")
    broker = Broker(tmp_path / "broker.sqlite", synchronous)
    fleet = Fleet(rng)
    in_flight = 0
    await broker.start()
    try:
        await fleet.begin(broker.port)
        for publisher in (*fleet.publishers, *fleet.retaining):
            publisher.start()
        for _ in range(KILLS):
            dropping = asyncio.create_task(
                fleet.drop_and_return(broker.port, lambda: all(one.line is None for one in fleet.here))
            )
            await asyncio.sleep(rng.uniform(0.1, 0.35))
            await broker.kill()
            await dropping
            await eventually(lambda: all(one.line is None for one in (*fleet.publishers, *fleet.here, *fleet.dropping)))
            in_flight = max(in_flight, sum(len(one.unacked) for one in fleet.publishers))
            await broker.start()
            await fleet.check_retained(broker.port)
            await fleet.back(broker.port)
        publishers = [*fleet.publishers, *fleet.retaining]
        for publisher in publishers:
            publisher.running = False
        await eventually(lambda: not any(publisher.unacked for publisher in publishers), GUARD)
        for away in fleet.away:
            await away.connect(broker.port)
        sent = {topic: count for publisher in fleet.publishers for topic, count in publisher.sent.items()}
        try:
            await eventually(lambda: all(one.complete(sent) for one in fleet.subscribers), GUARD / 3)
        except TimeoutError:
            pass  # `check` says what is missing
        for subscriber in fleet.subscribers:
            await subscriber.ask(Pingreq(), Pingresp)  # nothing more is on its way
        fleet.check()
        await fleet.check_retained(broker.port)
        assert all(
            publisher.acked[topic] == publisher.sent[topic] - 1 for publisher in publishers for topic in publisher.sent
        )
        assert in_flight > WINDOW, "it was killed in idle moments only: this test showed nothing"
        await broker.stop()
    finally:
        await broker.kill()
        for client in (*fleet.publishers, *fleet.retaining, *fleet.subscribers):
            client.drop()
    with closing(sqlite3.connect(broker.path)) as db:
        left = {
            name: db.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
            for name in ("messages", "deliveries", "incoming")
        }
    assert left == {"messages": 0, "deliveries": 0, "incoming": 0}
