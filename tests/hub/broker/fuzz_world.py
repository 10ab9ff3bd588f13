"""A broker whose clients, clock, storage and answers are moved by a script, for `fuzz`; what it sends is checked as it comes."""

from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, Final, NamedTuple

from devices.mqtt.codec import decode, encode
from devices.mqtt.codes import MqttError, PacketType, Reason
from devices.mqtt.packets import Ack, Disconnect, Publish
from devices.mqtt.properties import Property
from hub.broker.engine import Engine
from hub.broker.limits import Limits
from hub.broker.message import Message
from hub.broker.policy import Accepted, Action, Login, Refused
from hub.broker.storage import Storage, Stored, StoredDelivery, StoredMessage, StoredSession, StoredSubscription
from hub.broker.store import Store
from tests.fakes import FakeClock

__all__ = ["Client", "Failure", "Flag", "FuzzWorld", "Op", "Script", "Tables"]


class Failure(AssertionError):
    """Something does not hold that must."""


class Op:
    """The kinds of steps of a script."""

    OPEN, TAME, WILD, LOST, STUCK, TIME, SETTLE, THINK, ACK, HUB, CRASH = range(11)


class Flag:
    """What a world is like."""

    WAITS, STORE, ROOMY, QUEUE_QOS0, RATE, SYNCS, KEEP_ALIVE = (1 << bit for bit in range(7))


TIGHT: Final = Limits(
    max_packet=500,
    max_connections=5,
    inflight=3,
    receive_maximum=3,
    topic_aliases=3,
    queue_messages=5,
    queue_bytes=300,
    send_buffer=400,
    send_buffer_max=3_000,
    session_expiry=60.0,
    sessions=4,
    subscriptions=6,
    topic_levels=5,
    retained=4,
)
ROOMY: Final = Limits(max_packet=20_000, session_expiry=60.0)


class Later:
    """An answer that is not there yet."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def __await__(self) -> Generator[None, None, Any]:
        yield
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


class FuzzPolicy:
    """Denies `denied/...`, thinks about `wait/...`, fails with `fail/...` when it waits; users of these names likewise."""

    reason = Reason.NOT_AUTHORIZED

    def __init__(self, clock: FakeClock, waits: bool) -> None:
        self._clock, self.waits = clock, waits

    def authenticate(self, login: Login) -> Accepted | Refused | Awaitable[Accepted | Refused]:
        user = login.connect.username or ""
        if user == "no":
            return Refused(Reason.BAD_USER_NAME_OR_PASSWORD)
        if user == "brief":
            return Accepted("brief", "", self._clock.wall_ms() / 1000 + 5)
        if user == "wait":
            return Later(Accepted("wait", ""))
        if user == "fail":
            return Later(ValueError("the policy fails"))
        return Accepted(user, "")

    def allows(self, principal: Any, action: Action, topic: str) -> bool | Awaitable[bool]:
        allowed = not topic.startswith("denied/") and not (principal == "wait" and topic == "#")
        if self.waits and topic.startswith("wait/"):
            return Later(allowed)
        if self.waits and topic.startswith("fail/"):
            return Later(ValueError("the policy fails"))
        return allowed

    def remember(self, principal: Any) -> bytes:
        return str(principal).encode()

    def recall(self, stored: bytes, owner: str) -> Any:
        return stored.decode()


class Tables(Storage):
    """The storage without a file: what is committed outlives `crash`, and what refers to nothing is a failure."""

    def __init__(self, syncs: bool) -> None:
        super().__init__(Path("none"), synchronous="full" if syncs else "normal")
        self.sessions: dict[tuple[str, str], StoredSession] = {}
        self.messages: dict[int, StoredMessage] = {}
        self.kept: dict[str, StoredMessage] = {}
        self._steps: list[Callable[[], None]] = []
        self._written: list[Callable[[], None]] = []

    def _note(self, step: Callable[[], None]) -> None:
        self._steps.append(step)
        self.dirty = True

    def open(self) -> Stored:
        for session in self.sessions.values():
            for delivery in session.deliveries:
                if delivery.message not in self.messages:
                    raise Failure("a stored delivery without its message")
        numbers = [*self.messages, *(one.id for each in self.sessions.values() for one in each.deliveries)]
        copies = [
            replace(
                one,
                subscriptions=list(one.subscriptions),
                deliveries=sorted(one.deliveries, key=lambda delivery: delivery.id),
                incoming=set(one.incoming),
            )
            for one in self.sessions.values()
        ]
        return Stored(copies, dict(self.kept), dict(self.messages), max(numbers, default=0))

    def crash(self) -> None:
        """What was not committed is lost."""
        self._steps.clear()
        self._written.clear()
        self.dirty = False

    def write(self) -> None:
        self._written += self._steps
        self._steps.clear()
        self.dirty = False

    def commit(self) -> None:
        for step in self._written:
            step()
        self._written.clear()

    def close(self) -> None:
        self.write()
        self.commit()

    def _session(self, key: tuple[str, str]) -> StoredSession:
        if key not in self.sessions:
            raise Failure("something is stored for a session that is not")
        return self.sessions[key]

    def save_session(self, key: tuple[str, str], expiry: float, ended: float | None, attributes: bytes) -> None:
        def step() -> None:
            known = self.sessions.get(key) or StoredSession(key, expiry, ended, attributes)
            known.expiry, known.ended, known.attributes = expiry, ended, attributes
            self.sessions[key] = known

        self._note(step)

    def delete_session(self, key: tuple[str, str]) -> None:
        self._note(lambda: self.sessions.pop(key, None) and None)

    def save_subscription(self, key: tuple[str, str], subscription: StoredSubscription) -> None:
        def step() -> None:
            session = self._session(key)
            session.subscriptions = [
                one for one in session.subscriptions if one.topic_filter != subscription.topic_filter
            ]
            session.subscriptions.append(subscription)

        self._note(step)

    def delete_subscription(self, key: tuple[str, str], topic_filter: str) -> None:
        def step() -> None:
            if (session := self.sessions.get(key)) is not None:
                session.subscriptions = [one for one in session.subscriptions if one.topic_filter != topic_filter]

        self._note(step)

    def save_message(self, id: int, message: StoredMessage) -> None:
        self._note(lambda: self.messages.update({id: message}))

    def delete_message(self, id: int) -> None:
        self._note(lambda: self.messages.pop(id, None) and None)

    def save_delivery(self, key: tuple[str, str], delivery: StoredDelivery) -> None:
        def step() -> None:
            session = self._session(key)
            session.deliveries = [one for one in session.deliveries if one.id != delivery.id] + [delivery]

        self._note(step)

    def delete_delivery(self, key: tuple[str, str], id: int) -> None:
        def step() -> None:
            if (session := self.sessions.get(key)) is not None:
                session.deliveries = [one for one in session.deliveries if one.id != id]

        self._note(step)

    def save_incoming(self, key: tuple[str, str], packet_id: int) -> None:
        self._note(lambda: self._session(key).incoming.add(packet_id))

    def delete_incoming(self, key: tuple[str, str], packet_id: int) -> None:
        def step() -> None:
            if (session := self.sessions.get(key)) is not None:
                session.incoming.discard(packet_id)

        self._note(step)

    def save_retained(self, message: StoredMessage) -> None:
        self._note(lambda: self.kept.update({message.topic: message}))

    def delete_retained(self, topic: str) -> None:
        self._note(lambda: self.kept.pop(topic, None) and None)


class Client:
    """One connection and its `Wire`, with what a client can see of it checked.

    Attributes:
        tame: it has sent nothing but what the standard allows.
        unanswered: QoS 1 and 2 packet ids that it was sent, and has not completed.
        todo: acknowledgements that it owes.
        unsent: bytes that it could not send while the broker did not read.
    """

    def __init__(self, world: "FuzzWorld") -> None:
        self.client = "fuzz"
        self.certificate: Mapping[str, Any] | None = None
        self._world = world
        self.closed = self.paused = self.gone = False
        self.tame = True
        self.stuck = 0
        self.unsent = b""
        self.pongs = 0
        self.unanswered: dict[int, int] = {}
        self.todo: list[tuple[PacketType, int]] = []
        self._aliases: dict[int, str] = {}
        self._version = 0
        self._over = False
        self.connection = world.engine.accept(self)

    # Wire

    def buffered(self) -> int:
        return self.stuck

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def close(self) -> None:
        if self.closed:
            raise Failure("closed twice")
        self.closed = True

    abort = close

    def send(self, data: bytes) -> None:
        if self.closed:
            raise Failure("bytes for a connection that is closed")
        at, end = 0, len(data)
        if not self._version:
            self._version = self.connection.version or (5 if data[1] == 3 else 4)
            if data[0] >> 4 != PacketType.CONNACK:
                raise Failure("the first packet is no CONNACK")
        while at < end:
            size = shift = 0
            here = at + 1
            while data[here] > 127:
                size |= (data[here] & 127) << shift
                shift += 7
                here += 1
            if shift and not data[here]:
                raise Failure("a remaining length of more bytes than it needs")
            here += 1
            stop = here + (size | data[here - 1] << shift)
            if stop > end:
                raise Failure("not whole packets")
            try:
                self._packet(data[at], data[here:stop], stop - at)
            except MqttError as error:
                raise Failure(f"the broker sends what is no packet: {error}") from error
            at = stop

    def _packet(self, first: int, body: bytes, size: int) -> None:
        if self._over:
            raise Failure("a packet after DISCONNECT")
        kind, connection = first >> 4, self.connection
        if kind == PacketType.PINGRESP:
            self.pongs += 1
        packet = decode(first, body, self._version)
        accepts = connection.accepts
        if isinstance(packet, Publish):
            if accepts is not None and size > accepts:
                raise Failure("a PUBLISH larger than the client accepts [MQTT-3.1.2-24]")
            self._publish(packet)
        elif isinstance(packet, Ack):
            if kind == PacketType.PUBREC:
                self.todo.append((PacketType.PUBREL, packet.packet_id))
            elif kind == PacketType.PUBREL:
                self.todo.append((PacketType.PUBCOMP, packet.packet_id))
        elif isinstance(packet, Disconnect):
            self._over = True
            if self._version != 5:
                raise Failure("DISCONNECT to a client of 3.1.1")
            if accepts is not None and size > accepts and packet.properties:
                raise Failure("a reason that makes DISCONNECT larger than the client accepts [MQTT-3.14.2-3]")

    def _publish(self, packet: Publish) -> None:
        alias = packet.properties.get(Property.TOPIC_ALIAS)
        if alias is not None:
            if alias > self.connection.aliases_max:
                raise Failure("a topic alias beyond the maximum [MQTT-3.1.2-26]")
            if packet.topic:
                self._aliases[alias] = packet.topic
            elif alias not in self._aliases:
                raise Failure("a topic alias that the client does not know")
        if not packet.qos or packet.packet_id is None:
            return
        if packet.packet_id in self.unanswered:
            raise Failure("a packet id that is in use [MQTT-2.2.1-4]")
        self.unanswered[packet.packet_id] = packet.qos
        if self.tame and len(self.unanswered) > self.connection.window:
            raise Failure("more in flight than the client wants [MQTT-3.3.4-7]")
        self.todo.append((PacketType.PUBACK if packet.qos == 1 else PacketType.PUBREC, packet.packet_id))

    # what a script does

    def feed(self, data: bytes, *, wild: bool) -> None:
        """Sends bytes; a tame client's wait while the broker does not read."""
        if wild:
            self.tame = False
            self.unanswered.clear()
            self._world.receive(self, self.unsent + data)
            self.unsent = b""
        elif self.paused or self.unsent:
            self.unsent += data
        else:
            self._world.receive(self, data)

    def acknowledge(self) -> bool:
        """Answers all it owes, if no packet is half sent. Whether there was anything."""
        if self.closed or self.gone or not self.todo or self.unsent or self.paused or self.connection._tail:
            return False
        todo, self.todo = self.todo, []
        for kind, packet_id in todo:
            if kind in (PacketType.PUBACK, PacketType.PUBCOMP):
                self.unanswered.pop(packet_id, None)
        data = b"".join(encode(Ack(kind, packet_id), self._version) for kind, packet_id in todo)
        self._world.receive(self, data)
        return True


class FuzzWorld:
    """An engine, and all that is around it."""

    def __init__(self, flags: int) -> None:
        self.flags, self.clock = flags, FakeClock()
        self.policy = FuzzPolicy(self.clock, bool(flags & Flag.WAITS))
        limits = ROOMY if flags & Flag.ROOMY else TIGHT
        self.limits = replace(
            limits,
            queue_qos0=bool(flags & Flag.QUEUE_QOS0),
            receive_rate=2.0 if flags & Flag.RATE else 0.0,
            keep_alive_max=20 if flags & Flag.KEEP_ALIVE else 0,
        )
        self.tables = Tables(bool(flags & Flag.SYNCS)) if flags & Flag.STORE else None
        self.clients: dict[int, Client] = {}
        self.begun = 0
        self._ids = count()
        self._start()

    def _start(self) -> None:
        self.ready: list[Callable[[], None]] = []
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.thoughts: list[tuple[Any, Callable[[Any], None]]] = []
        store = Store(self.tables, self.clock, self.policy.remember) if self.tables is not None else None
        self.engine = Engine(
            self.policy, self, self.clock, limits=self.limits, store=store, new_id=lambda: f"{next(self._ids)}"
        )
        self.engine.load()

    # Shell

    def soon(self, callback: Callable[[], None]) -> None:
        self.ready.append(callback)

    def later(self, seconds: float, callback: Callable[[], None]) -> None:
        self.timers.append((self.clock.seconds + seconds, callback))

    def spawn(self, work: Awaitable[Any], callback: Callable[[Any], None]) -> None:
        # a coroutine is moved by its own `send`, so that one never begun can be ended
        self.thoughts.append((work if hasattr(work, "send") else work.__await__(), callback))

    def aside(self, work: Callable[[], None], callback: Callable[[Exception | None], None]) -> None:
        def done() -> None:
            work()
            callback(None)

        self.timers.append((self.clock.seconds, done))

    # steps

    def receive(self, client: Client, data: bytes) -> None:
        """Bytes arrive."""
        if not client.gone:
            client.connection.receive(data)

    def lose(self, client: Client) -> None:
        """A network is gone; told once."""
        if not client.gone:
            client.gone = True
            client.connection.lost()

    def settle(self) -> None:
        """Does what is ready or due; closed transports report their end."""
        for _ in range(100):
            now = self.clock.seconds + 0.01
            due = [call for at, call in self.timers if at <= now]
            if due:
                self.timers = [one for one in self.timers if one[0] > now]
            ready, self.ready = self.ready, []
            for call in (*ready, *due):
                call()
            busy = bool(due or ready)
            for client in self.clients.values():
                if client.closed:
                    self.lose(client)
                elif client.unsent and not client.paused:
                    data, client.unsent = client.unsent, b""
                    self.receive(client, data)
                    busy = True
            if not busy and not self.ready:
                return
        raise Failure("no end of work")

    def think(self, which: int) -> None:
        """An answer that was waited for comes a step nearer."""
        if not self.thoughts:
            return
        work, callback = self.thoughts[which % len(self.thoughts)]
        try:
            work.send(None)
        except StopIteration as stop:
            self.thoughts.remove((work, callback))
            callback(stop.value)
        except ValueError:  # the policy's, as an event loop would hand it on
            self.thoughts.remove((work, callback))
            callback(False)

    def forward(self, ticks: int) -> None:
        """Time passes, in quarters of a second."""
        self.clock.forward(ticks * 0.25)
        self.engine.tick()

    def forget_thoughts(self) -> None:
        """Whoever waits, waits no more."""
        for work, _ in self.thoughts:
            work.close()
        self.thoughts.clear()

    def crash(self) -> None:
        """The broker dies and starts again with what it stored."""
        if self.tables is None:
            return
        self.forget_thoughts()
        self.clients.clear()
        self.tables.crash()
        self._start()

    def step(self, kind: int, who: int, data: bytes) -> None:
        """One step of a script."""
        if kind == Op.OPEN:
            if who in self.clients:
                self.lose(self.clients[who])
            self.clients[who] = Client(self)
            self.begun += 1
        elif kind == Op.SETTLE:
            self.settle()
        elif kind == Op.TIME:
            self.forward(who)
        elif kind == Op.THINK:
            self.think(who)
        elif kind == Op.CRASH:
            self.crash()
        elif kind == Op.HUB:
            topic = data.decode()
            self.engine.publish(Message(topic, data * (who & 1), who >> 1 & 1, bool(who & 4)))
        elif who in self.clients:
            client = self.clients[who]
            if kind == Op.TAME or kind == Op.WILD:
                client.feed(data, wild=kind == Op.WILD)
            elif kind == Op.LOST:
                self.lose(client)
            elif kind == Op.ACK:
                client.acknowledge()
            elif kind == Op.STUCK and not client.gone and not client.closed:
                client.stuck = int.from_bytes(data, "big")
                if client.stuck <= 100:
                    client.connection.drained()


class Script(NamedTuple):
    """A script: what the world is like, and what happens in it, as (kind, who or how much, data)."""

    flags: int
    steps: list[tuple[int, int, bytes]]

    def dump(self) -> bytes:
        """As a file: each step is its kind, who, and the length of its data in three bytes, then the data."""
        parts = [bytes((self.flags,))]
        parts += [bytes((kind, who)) + len(data).to_bytes(3, "big") + data for kind, who, data in self.steps]
        return b"".join(parts)

    @classmethod
    def load(cls, data: bytes) -> "Script":
        """The reverse of `dump`."""
        steps, at = [], 1
        while at < len(data):
            stop = at + 5 + int.from_bytes(data[at + 2 : at + 5], "big")
            steps.append((data[at], data[at + 1], data[at + 5 : stop]))
            at = stop
        return cls(data[0], steps)
