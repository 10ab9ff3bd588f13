"""One client's connection: bytes in, packets handled, bytes out; no socket in it. A shell (TCP, TLS, WebSocket) feeds it.

`receive` takes what one read gave and handles every whole packet in it. What is to be sent, to this client or to others, is
collected and leaves with one write a client when all that was readable has been read (`Engine.flush`). A PUBLISH of QoS 0
on a topic that this client used before goes straight from the buffer to its subscribers.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from devices.mqtt.codec import REASONS, decode, encode
from devices.mqtt.codes import MalformedPacket, MqttError, PacketType, ProtocolError, Reason
from devices.mqtt.packets import Connack, Disconnect
from devices.mqtt.properties import Property
from hub.broker import handlers, incoming
from hub.broker.delivery import TopicRoute
from hub.broker.message import Message, publish_as_4, publish_as_5
from hub.broker.outgoing import CONGESTED, RATE, SLOW, SUSPENDED, TURN, Outgoing
from hub.broker.policy import Accepted, Refused
from hub.broker.wire import Wire

if TYPE_CHECKING:
    from hub.broker.engine import Engine

__all__ = ["Connection"]

CHUNK: Final = 65_536
"""Bytes of one read after which the others get their turn."""
FIRST_PACKET: Final = 262_144
"""Bytes of a CONNECT, at most: its sender is nobody yet."""
TOPICS: Final = 16
"""Topics of which a connection remembers the route."""

log = logging.getLogger(__name__)


class Connection(Outgoing):
    """One client's connection.

    Attributes:
        carried: QoS 2 messages of the session that came before this connection and are not released.
        wants_expiry: its session was to outlive the connection, as CONNECT said.
        last_seen: monotonic seconds, about.
    """

    __slots__ = (
        "_aliases_in",
        "_allowance",
        "_asked_at",
        "_counted_at",
        "_deadline",
        "_need",
        "_tail",
        "_taken",
        "_waiting",
        "carried",
        "details",
        "expires",
        "keep_alive",
        "last_seen",
        "topics",
        "wants_expiry",
    )

    def __init__(self, engine: "Engine", wire: Wire) -> None:
        super().__init__(engine, wire)
        self.topics: dict[bytes, TopicRoute] = {}
        self.details = True
        self.wants_expiry = False
        self.carried = 0
        self.keep_alive = 0.0
        self.expires: float | None = None
        self.last_seen = self._counted_at = engine.now
        self._aliases_in: dict[int, bytes] | None = None
        self._allowance = engine.limits.receive_rate
        self._tail = bytearray()
        self._need = self._taken = 0
        self._waiting: Callable[[Any], None] | None = None
        self._asked_at: float | None = None
        self._deadline: list[Any] | None = engine.deadlines.set(engine.now + engine.limits.connect_timeout, self)

    # what the shell tells

    def receive(self, data: bytes) -> None:
        """Takes the next piece of what the client sent."""
        engine = self.engine
        if self.closed:
            return
        engine.stats.bytes_received += len(data)
        if self._tail or self._paused & SUSPENDED:
            self._tail += data
            if self._paused & SUSPENDED or len(self._tail) < self._need:
                return
            data = bytes(self._tail)
            self._tail.clear()
        self._work(data)
        if len(data) >= CHUNK and not self.closed:
            # a client that sends without end must not keep the others waiting
            self._pause(TURN)
            engine.turns.append(self)
        engine.wake()

    def drained(self) -> None:
        """There is room again in the transport's buffer."""
        if self.closed:
            return
        self._measure()
        self._feed()
        self.engine.wake()

    def lost(self) -> None:
        """The transport is gone, or the client has nothing more to say."""
        self.over("connection lost", will=True)
        self.engine.wake()

    # reading

    def _work(self, data: bytes) -> None:
        self._need = 0
        try:
            done = self._packets(data)
        except MqttError as error:
            self._fail(error, data)
            return
        if done:
            self.last_seen = self.engine.now  # whole packets count, a byte now and then does not [MQTT-3.1.2-24]
        if done < len(data) and not self.closed:
            self._tail += data[done:] if done else data

    def _packets(self, data: bytes) -> int:
        """Handles all whole packets; gives where the rest begins."""
        engine = self.engine
        deliveries, generation = engine.deliveries, engine.deliveries.router
        limit, dirty = engine.limits.max_packet, engine.dirty
        version, version5 = self.version, self.version == 5
        topics, session = self.topics, self.session
        at, end, sent, received = 0, len(data), 0, 0
        while end - at >= 2:
            first, size, body = data[at], data[at + 1], at + 2
            padded = False
            if size > 127:
                if body < end and 0 < data[body] < 128:  # two bytes, as most have
                    size = size & 127 | data[body] << 7
                    body += 1
                else:
                    size, body = _length(data, at + 1, end)
                    if size < 0:
                        break
                    padded = size < 1 << 7 * (body - at - 2)
                if padded and self.version != 4:
                    raise MalformedPacket("a remaining length has more bytes than it needs")  # [MQTT-1.5.5-1]
                if body + size - at > (limit if session is not None else min(limit, FIRST_PACKET)):
                    raise ProtocolError("a packet larger than is accepted", Reason.PACKET_TOO_LARGE)
            stop = body + size
            if stop > end:
                self._need = stop - at
                break
            if first == 0x30 and session is not None and size > 2 and not padded:
                topic_end = body + 2 + (data[body] << 8 | data[body + 1])
                route = topics.get(data[body + 2 : topic_end])
                start = topic_end + version5
                if (
                    route is not None
                    and route.fast
                    and route.generation == generation.generation
                    and start <= stop
                    and not (version5 and data[topic_end])
                ):
                    received += 1
                    raw, other, length = data[at:stop], None, stop - at
                    for target in route.sessions:
                        connection = target.connection
                        if connection is None:
                            continue
                        kind = connection.plain
                        if kind == version:
                            packet = raw
                        elif kind:
                            if other is None:
                                other = (publish_as_4 if version5 else publish_as_5)(raw, stop - topic_end)
                            packet = other
                        else:
                            connection.send_qos0(Message(route.topic, data[start:stop]), False, ())
                            continue
                        if length > connection.room and not connection.fits(length):
                            engine.stats.dropped[SLOW] += 1
                            continue
                        connection.room -= length
                        out = connection.out
                        if not out:
                            dirty.append(connection)
                        out.append(packet)
                        sent += 1
                    if route.local:
                        payload = data[start:stop]
                        for local in route.local:
                            local.tell(route.topic, payload, False)
                    at = stop
                    continue
            at = stop
            if first >> 4 == PacketType.PUBLISH:
                if session is None:
                    raise ProtocolError("the first packet is no CONNECT")
                received += 1
                incoming.publish(self, first, data, body, stop)
            elif first == 0x40 and size == 2 and session is not None:
                deliveries.acknowledged(session, data[body] << 8 | data[body + 1], 1)
            else:
                self._control(first, data[body:stop])
                version, version5, session = self.version, self.version == 5, self.session
            if self.closed or self._paused & SUSPENDED:
                break
        stats = engine.stats
        stats.messages_received += received
        stats.messages_sent += sent
        if self._allowance and received:
            self._spend(received)
        return at

    def _control(self, first: int, body: bytes) -> None:
        packet = decode(first, body, self.version)
        kind = first >> 4
        if self.session is None and kind != PacketType.CONNECT:
            raise ProtocolError("the first packet is no CONNECT")  # [MQTT-3.1.0-1]
        handler = handlers.HANDLERS.get(kind)
        if handler is None:
            raise ProtocolError(f"a client does not send {PacketType(kind).name}")
        handler(self, packet)

    def decide(self, answer: "bool | Any | Awaitable[Any]", then: Callable[[Any], None]) -> None:
        """Calls `then` with an answer, now, or when it is there; until then nothing of this client is looked at."""
        if isinstance(answer, bool | Accepted | Refused) or not isinstance(answer, Awaitable):
            then(answer)
            return
        assert self._waiting is None
        self._waiting = then
        self._asked_at = self.engine.clock.monotonic()
        self._pause(SUSPENDED)
        if self.session is not None:
            self.watch()
        self.engine.spawn(answer, self._decided)

    def _decided(self, answer: Any) -> None:
        then, self._waiting, self._asked_at = self._waiting, None, None
        if self.closed or then is None:
            return
        self._unpause(SUSPENDED)
        try:
            then(answer)
        except MqttError as error:
            self._fail(error, b"")
        if self._tail and not self.closed and not self._paused & SUSPENDED:
            data = bytes(self._tail)
            self._tail.clear()
            self._work(data)
        self.engine.wake()

    def _spend(self, messages: int) -> None:
        """Counts what was read against the rate, and stops reading for as long as it was too much."""
        rate = self.engine.limits.receive_rate
        now = self.engine.clock.monotonic()
        self._allowance = min(rate, self._allowance + (now - self._counted_at) * rate) - messages
        self._counted_at = now
        if self._allowance < 0 and not self._paused & RATE:
            self._pause(RATE)
            self.engine.later(-self._allowance / rate, self._read_again)
        self._allowance = self._allowance or 1e-9

    def _read_again(self) -> None:
        self._unpause(RATE)

    def turn(self) -> None:
        """The others had theirs."""
        self._unpause(TURN)

    # topic aliases of the client

    def alias(self, number: int, topic: bytes) -> bytes:
        """The topic that an alias of the client stands for; a topic that is given is remembered [MQTT-3.3.2-8]."""
        if not 0 < number <= self.engine.limits.topic_aliases:
            raise ProtocolError("a topic alias that was not offered", Reason.TOPIC_ALIAS_INVALID)
        if self._aliases_in is None:
            self._aliases_in = {}
        if topic:
            self._aliases_in[number] = topic
            return topic
        known = self._aliases_in.get(number)
        if known is None:
            raise ProtocolError("a topic alias without a topic", Reason.TOPIC_ALIAS_INVALID)
        return known

    def remember(self, topic: bytes, route: TopicRoute) -> None:
        """Messages on this topic are allowed, and this is where they go."""
        if len(self.topics) >= TOPICS:
            self.topics.clear()
        self.topics[topic] = route

    # time

    def watch(self) -> None:
        """Sets the next time to look at: keep-alive, or the end of the client's token."""
        at = float("inf")
        if self.keep_alive:
            at = self.last_seen + self.keep_alive
        if self.expires is not None:
            at = min(at, self.expires)
        if self._asked_at is not None:
            at = min(at, self._asked_at + self.engine.limits.connect_timeout)
        deadlines = self.engine.deadlines
        deadlines.cancel(self._deadline)
        self._deadline = deadlines.set(at, self) if at != float("inf") else None

    def due(self, now: float) -> None:
        """Something may be overdue."""
        self._deadline = None
        if self.closed:
            return
        if self._paused and self.session is not None and self._moves():
            self.last_seen = now  # it may have spoken: it is this side that does not listen
        if self.session is None:
            self.over("no CONNECT in time", will=False, abort=True)
        elif self._asked_at is not None and self._asked_at + self.engine.limits.connect_timeout <= now:
            self.disconnect(Reason.SERVER_BUSY, "nobody decided in time what it may do")
        elif self.expires is not None and self.expires <= now:
            self.disconnect(Reason.NOT_AUTHORIZED, "its token has ended")
        elif self.keep_alive and self.last_seen + self.keep_alive <= now:
            self.disconnect(Reason.KEEP_ALIVE_TIMEOUT, "silent for longer than its keep-alive")
        else:
            self.watch()

    def _moves(self) -> bool:
        """Whether a client that is not read from still takes what is sent to it."""
        before, self._taken = self._taken, self._sent - self.wire.buffered()
        return not self._paused & (CONGESTED | SUSPENDED) or self._taken > before

    # the end

    def refuse(self, code: int, packet: bytes | None = None) -> None:
        """Answers CONNECT with an error (`packet`, or a CONNACK with `code`), and ends. Nothing is said with an empty packet."""
        self.engine.stats.refused += 1
        if packet is None:
            packet = encode(Connack(code), self.version or 4)
        if packet:
            self.write(packet)
        self.over("refused", will=False)

    def disconnect(self, reason: Reason, why: str, *, will: bool = True) -> None:
        """Ends the connection from this side [MQTT-5: 3.14]; 3.1.1 knows no way to say why."""
        if self.closed:
            return
        if self.version == 5 and self.session is not None:
            reason = reason if reason in REASONS[PacketType.DISCONNECT] else Reason.PROTOCOL_ERROR
            packet = encode(Disconnect(reason, {Property.REASON_STRING: why}), 5)
            if not self.details or (self.accepts is not None and len(packet) > self.accepts):
                packet = encode(Disconnect(reason), 5)  # [MQTT-3.14.2-3]
            if self.accepts is None or len(packet) <= self.accepts:
                self.write(packet)
        self.over(why, will=will)

    def goodbye(self, *, will: bool) -> None:
        """The client said DISCONNECT."""
        self.over("said goodbye", will=will)

    def _fail(self, error: MqttError, data: bytes) -> None:
        log.debug("client id %r: %s", self._name(), error)
        if self.session is None:
            answer = handlers.refusal(error, data)
            if answer is not None:
                self.refuse(0, answer)
                return
            self.engine.stats.refused += 1
        self.disconnect(error.reason, str(error))

    def over(self, why: str, *, will: bool, abort: bool = False) -> None:
        if self.closed:
            return
        self.closed = True
        if self.out and not abort:
            self._send_out()
        self.engine.deadlines.cancel(self._deadline)
        self._deadline = None
        self._tail.clear()
        self.out.clear()
        session, self.session = self.session, None
        self.engine.gone(self, session, why, will=will)
        if abort:
            self.wire.abort()
        else:
            self.wire.close()

    def _name(self) -> str:
        return self.session.client_id if self.session is not None else ""


def _length(data: bytes, at: int, end: int) -> tuple[int, int]:
    """A remaining length and where it ends; (-1, 0): it is not whole yet. Raises MalformedPacket after four bytes."""
    size = shift = 0
    for position in range(at, min(at + 4, end)):
        byte = data[position]
        size |= (byte & 127) << shift
        if byte < 128:
            return size, position + 1
        shift += 7
    if end - at >= 4:
        raise MalformedPacket("a remaining length of more than four bytes")
    return -1, 0
