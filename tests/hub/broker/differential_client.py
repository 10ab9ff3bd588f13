"""One client at one broker, for comparisons: it answers as the standard says, at once or later, and keeps what it got."""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from devices.mqtt.codec import encode
from devices.mqtt.codes import PacketType, Reason
from devices.mqtt.packets import (
    Ack,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Publish,
    Suback,
    Subscribe,
    SubscribeFilter,
    Unsuback,
    Unsubscribe,
)
from devices.mqtt.properties import Properties, Property
from devices.mqtt.stream import PacketStream

__all__ = ["Got", "Hold", "Side", "quiet"]

GUARD: Final = 10.0
"""Seconds after which an answer that should have come did not."""
Hold = PacketType | None
"""What a client that is slow to answer does not send: PUBACK and PUBREC (PUBLISH), or PUBACK and PUBCOMP (PUBREL)."""


@dataclass(frozen=True, order=True)
class Got:
    """A message as a client got it.

    Attributes:
        properties: what came from the publisher, without expiry.
        expiry: seconds; -1: none.
        identifiers: sorted.
        again: it had the DUP flag.
    """

    topic: str
    payload: bytes
    qos: int
    retain: bool
    properties: str = ""
    expiry: int = -1
    identifiers: tuple[int, ...] = ()
    again: bool = False

    def __repr__(self) -> str:
        parts = [self.topic, self.payload.decode().rstrip("."), f"qos {self.qos}", "retain" * self.retain]
        parts += [f"{len(self.payload)} bytes" * (len(self.payload) > 99), self.properties.strip("[]")]
        parts += [f"expiry {self.expiry}" * (self.expiry >= 0), f"ids {self.identifiers}" * bool(self.identifiers)]
        return f"<{', '.join(part for part in (*parts, 'dup' * self.again) if part)}>"


class _Connection(asyncio.Protocol):
    """One connection of a `Side`."""

    def __init__(self, side: "Side", version: int, aliases: int) -> None:
        self._side, self.version, self._aliases = side, version, aliases
        self._stream = PacketStream(version)
        self._names: dict[int, str] = {}
        self._transport: asyncio.Transport | None = None
        self.waiting: dict[tuple[type[Packet], int], asyncio.Future[Any]] = {}
        self.closed = asyncio.get_running_loop().create_future()
        self.problem: Exception | None = None
        self.seen = 0
        self._finished = False
        self.replaced = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def send(self, *packets: Packet) -> None:
        """Sends packets in one piece; nothing after `finish`."""
        assert self._transport is not None
        if self._finished:
            return
        self._transport.write(b"".join(encode(one, self.version) for one in packets))

    def raw(self, data: bytes) -> None:
        """Sends bytes that need not be a packet."""
        assert self._transport is not None
        self._transport.write(data)

    def finish(self) -> None:
        """Sends nothing more: the broker sees the end of the stream."""
        assert self._transport is not None
        self._finished = True
        if not self._transport.is_closing():
            self._transport.write_eof()

    def abort(self) -> None:
        """Ends it at once."""
        if self._transport is not None:
            self._transport.abort()

    def answer(self, kind: type[Packet], packet_id: int = 0) -> Awaitable[Any]:
        """To wait for: the next packet of a kind; None: the connection ended first."""
        future = self.waiting[kind, packet_id] = asyncio.get_running_loop().create_future()
        return self._answer(future, (kind, packet_id))

    async def _answer(self, future: asyncio.Future[Any], key: tuple[type[Packet], int]) -> Any:
        async with asyncio.timeout(GUARD):
            await asyncio.wait((future, self.closed), return_when=asyncio.FIRST_COMPLETED)
        if self.waiting.get(key) is future:
            del self.waiting[key]
        return future.result() if future.done() else None

    def data_received(self, data: bytes) -> None:
        try:
            for packet in self._stream.feed(data):
                self._take(packet)
        except Exception as error:
            self.problem = error
            assert self._transport is not None
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)

    def _take(self, packet: Packet) -> None:
        if not isinstance(packet, Pingresp):
            self.seen += 1
        if isinstance(packet, Publish):
            self._message(packet)
        elif isinstance(packet, Ack) and packet.type is PacketType.PUBREL:
            self._side.unreleased.discard(packet.packet_id)
            self._owe(Ack(PacketType.PUBCOMP, packet.packet_id), self._side.hold is PacketType.PUBREL)
        elif isinstance(packet, Disconnect):
            self._side.answers.append(("DISCONNECT", int(packet.reason)))
        else:
            packet_id = getattr(packet, "packet_id", 0)
            future = self.waiting.get((type(packet), packet_id))
            if future is None or future.done():
                raise AssertionError(f"nobody waits for {packet}")
            future.set_result(packet)

    def _message(self, packet: Publish) -> None:
        if self.replaced:
            return  # a client's own will, to the connection that is taken over, or not
        given = dict(packet.properties)
        alias = given.pop(Property.TOPIC_ALIAS, None)
        topic = packet.topic
        if alias is not None:
            assert 0 < alias <= self._aliases, "an alias that the client does not take [MQTT-3.3.2-9]"
            topic = self._names[alias] = topic or self._names[alias]
        expiry = given.pop(Property.MESSAGE_EXPIRY, -1)
        identifiers = tuple(sorted(given.pop(Property.SUBSCRIPTION_IDENTIFIER, ())))
        properties = repr(sorted((int(key), value) for key, value in given.items()))
        got = Got(topic, packet.payload, packet.qos, packet.retain, properties, expiry, identifiers, packet.dup)
        side = self._side
        if packet.qos == 2:
            assert packet.packet_id is not None
            if packet.packet_id in side.unreleased:
                side.repeats.append(replace(got, again=True))
            else:
                side.take(got)
            side.unreleased.add(packet.packet_id)
            self._owe(Ack(PacketType.PUBREC, packet.packet_id), side.hold is PacketType.PUBLISH)
            return
        side.take(got)
        if packet.packet_id is not None:
            self._owe(Ack(PacketType.PUBACK, packet.packet_id), side.hold is not None)

    def _owe(self, ack: Ack, later: bool) -> None:
        if later:
            self._side.owed.append(ack)
        else:
            self.send(ack)


class Side:
    """A client at one broker.

    Attributes:
        inbox: messages in the order they came; a QoS 2 message that came again before its PUBREL is in `repeats` instead.
        history: the same, and stays.
        answers: what else the broker said, as tuples that can be compared.
        unreleased: packet identifiers of QoS 2 messages whose PUBREL has not come.
        owed: answers that were held back.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self.connection: _Connection | None = None
        self.inbox: list[Got] = []
        self.history: list[Got] = []
        self.repeats: list[Got] = []
        self.answers: list[tuple[Any, ...]] = []
        self.unreleased: set[int] = set()
        self.hold: Hold = None
        self.owed: list[Ack] = []
        self._id = 0

    @property
    def live(self) -> _Connection:
        """The connection, which is there."""
        assert self.connection is not None
        return self.connection

    def _next(self) -> int:
        self._id = self._id % 1_000 + 1
        return self._id

    def take(self, got: Got) -> None:
        """A message came."""
        self.inbox.append(got)
        self.history.append(got)

    async def connect(self, packet: Connect) -> bool:
        """Connects, in place of a connection that is still there. Whether the broker has a session from before."""
        old, self.hold, self.owed = self.connection, None, []
        loop = asyncio.get_running_loop()
        aliases = packet.properties.get(Property.TOPIC_ALIAS_MAXIMUM, 0)
        _, new = await loop.create_connection(
            lambda: _Connection(self, packet.version, aliases), "127.0.0.1", self._port
        )
        # messages may come in one piece with CONNACK
        before, self.unreleased = self.unreleased, self.unreleased if not packet.clean else set()
        if old is not None:
            old.replaced = True
        new.send(packet)
        connack: Connack | None = await new.answer(Connack)
        if connack is None or connack.code:
            self.answers.append(("CONNACK", connack and int(connack.code)))
            await self._ended(new)
            self.unreleased = before
            if old is not None:
                old.replaced = False
            return False
        present = connack.session_present
        self.answers.append(("CONNACK", 0, present, Property.ASSIGNED_CLIENT_ID in connack.properties))
        if not present:
            self.unreleased.clear()
        self.connection = new
        if old is not None:
            await self._ended(old)
        return present

    async def _ended(self, connection: _Connection) -> None:
        async with asyncio.timeout(GUARD):
            await asyncio.wait((connection.closed,))
        if connection.problem is not None:
            raise connection.problem

    async def over(self) -> None:
        """Waits until the broker has ended the connection."""
        connection, self.connection, self.hold, self.owed = self.live, None, None, []
        await self._ended(connection)
        self.answers.append(("closed",))

    async def drop(self) -> None:
        """Goes without a word."""
        self.live.finish()
        await self.over()

    def abort(self) -> None:
        """Ends the connection, if there is one, and waits for nothing."""
        if self.connection is not None:
            self.connection.abort()
            self.connection = None

    async def say(self, packet: Packet | bytes) -> None:
        """Sends a packet, or bytes, after which the broker ends the connection."""
        if isinstance(packet, bytes):
            self.live.raw(packet)
        else:
            self.live.send(packet)
        await self.over()

    async def subscribe(self, filters: Sequence[SubscribeFilter], properties: Properties) -> None:
        """Subscribes; the codes are an answer."""
        packet_id = self._next()
        self.live.send(Subscribe(packet_id, list(filters), properties))
        suback: Suback | None = await self.live.answer(Suback, packet_id)
        self.answers.append(("SUBACK", suback and tuple(suback.codes)))

    async def unsubscribe(self, filters: Sequence[str]) -> None:
        """Unsubscribes; the codes are an answer."""
        packet_id = self._next()
        self.live.send(Unsubscribe(packet_id, list(filters)))
        unsuback: Unsuback | None = await self.live.answer(Unsuback, packet_id)
        self.answers.append(("UNSUBACK", unsuback and tuple(unsuback.codes)))

    async def publish(self, messages: Sequence[Publish]) -> None:
        """Publishes messages in one piece, and answers as the standard says; the reasons are answers."""
        numbered = [replace(one, packet_id=self._next() if one.qos else None) for one in messages]
        waits = [self.live.answer(Ack, one.packet_id) if one.packet_id else None for one in numbered]
        self.live.send(*numbered)
        reasons = await asyncio.gather(*map(self._published, numbered, waits))
        self.answers += [("published", one.qos, reason) for one, reason in zip(numbered, reasons, strict=True)]

    async def _published(self, packet: Publish, wait: Awaitable[Any] | None) -> int | None:
        connection = self.live
        if wait is None or packet.packet_id is None:
            return 0
        ack: Ack | None = await wait
        if ack is None or ack.type is PacketType.PUBACK or ack.reason >= Reason.UNSPECIFIED_ERROR:
            return None if ack is None else int(ack.reason)
        connection.send(Ack(PacketType.PUBREL, packet.packet_id))
        done: Ack | None = await connection.answer(Ack, packet.packet_id)
        return None if done is None else int(ack.reason or done.reason)

    async def interrupted(self, message: Publish, again: Connect, *, released: bool) -> None:
        """Publishes at QoS 2, loses the connection before PUBREL (or PUBCOMP), and goes on with a new one."""
        packet = replace(message, packet_id=self._next())
        assert packet.packet_id is not None
        self.live.send(packet)
        await self.live.answer(Ack, packet.packet_id)
        if released:
            self.live.send(Ack(PacketType.PUBREL, packet.packet_id))
            await self.live.answer(Ack, packet.packet_id)
        await quiet([self])
        await self.drop()
        await self.connect(again)
        rest: Packet = Ack(PacketType.PUBREL, packet.packet_id) if released else replace(packet, dup=True)
        self.live.send(rest)
        ack = await self.live.answer(Ack, packet.packet_id)
        if not released:
            self.live.send(Ack(PacketType.PUBREL, packet.packet_id))
            ack = await self.live.answer(Ack, packet.packet_id)
        self.answers.append(("interrupted", ack and int(ack.type)))

    def release(self) -> None:
        """Sends what was held back."""
        self.hold = None
        owed, self.owed = self.owed, []
        if owed:
            self.live.send(*owed)

    async def ping(self) -> None:
        """All that was sent before has been read, and what came of it for this client is here."""
        connection = self.live
        connection.send(Pingreq())
        if await connection.answer(Pingresp) is None:
            raise AssertionError(f"the connection ended: {connection.problem or self.answers}")


async def quiet(sides: Sequence[Side]) -> None:
    """Waits until no broker has anything left to say to any client: a round of pings in which nothing else came."""
    seen = -1
    while seen != (seen := sum(side.live.seen for side in sides)):
        await asyncio.gather(*(side.ping() for side in sides))
