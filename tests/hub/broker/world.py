"""A broker without sockets, for tests: an engine, a clock that is turned by hand, and clients that speak in packets.

world = World()
alice = world.connect("alice")
alice.subscribe("a/+", qos=1)
world.connect("bob", version=5).publish("a/b", b"x", qos=1)
assert alice.messages == [...]
"""

from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import Any

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
    Will,
)
from devices.mqtt.properties import Properties, Property
from devices.mqtt.stream import PacketStream
from hub.broker.engine import Engine
from hub.broker.limits import Limits
from hub.broker.policy import Accepted, Action, Login, Refused
from hub.broker.store import Store
from tests.fakes import FakeClock

__all__ = ["Client", "OpenPolicy", "World"]


class OpenPolicy:
    """Lets everybody do everything; a client's owner is its user name. Passwords of "wrong" are refused."""

    reason = Reason.NOT_AUTHORIZED
    waits = False

    def __init__(self) -> None:
        self.denied: set[tuple[str, str]] = set()
        """(action, topic or filter) that nobody may."""

    def authenticate(self, login: Login) -> Accepted | Refused | Awaitable[Accepted | Refused]:
        if login.connect.password == b"wrong":
            return Refused(Reason.BAD_USER_NAME_OR_PASSWORD)
        return Accepted(login.connect.username or "", login.connect.username or "")

    def allows(self, principal: Any, action: Action, topic: str) -> bool | Awaitable[bool]:
        return (action, topic) not in self.denied

    def remember(self, principal: Any) -> bytes:
        return str(principal).encode()

    def recall(self, stored: bytes, owner: str, client_id: str) -> Any:
        return stored.decode()


class FakeShell:
    """Keeps what is to be done until `World.settle` does it."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.ready: list[Callable[[], None]] = []
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.waiting: list[tuple[Awaitable[Any], Callable[[Any], None]]] = []

    def soon(self, callback: Callable[[], None]) -> None:
        self.ready.append(callback)

    def later(self, seconds: float, callback: Callable[[], None]) -> None:
        self.timers.append((self._clock.monotonic() + seconds, callback))

    def spawn(self, work: Awaitable[Any], callback: Callable[[Any], None]) -> None:
        self.waiting.append((work, callback))

    def aside(self, work: Callable[[], None], callback: Callable[[Exception | None], None]) -> None:
        try:
            work()
        except Exception as error:
            callback(error)
        else:
            callback(None)


class Client:
    """One connection, and its `Wire`. What the broker sends is decoded into `received`.

    Attributes:
        received: all packets, in order.
        closed: the broker ended the connection.
        stuck: bytes that count as not taken by the network, see `Wire.buffered`.
        paused: the broker does not read.
        acknowledge: PUBLISH is answered as the standard says.
    """

    def __init__(self, world: "World", version: int, *, acknowledge: bool = True) -> None:
        self.client = "127.0.0.1"
        self.mark = 0
        self.certificate: Mapping[str, Any] | None = None
        self.version, self.acknowledge, self._world = version, acknowledge, world
        self.received: list[Packet] = []
        self.closed = self.paused = False
        self.writes = self.stuck = 0
        self._stream = PacketStream(version)
        self._id = 0
        self.connection = world.engine.accept(self)

    # Wire

    def send(self, data: bytes) -> None:
        self.writes += 1
        packets = self._stream.feed(data)
        self.received += packets
        if self.acknowledge:
            for packet in packets:
                self._answer(packet)

    def buffered(self) -> int:
        return self.stuck

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def _answer(self, packet: Packet) -> None:
        if isinstance(packet, Publish) and packet.qos and packet.packet_id is not None:
            kind = PacketType.PUBACK if packet.qos == 1 else PacketType.PUBREC
            self._world.defer(self, Ack(kind, packet.packet_id))
        elif isinstance(packet, Ack) and packet.type is PacketType.PUBREC and packet.reason < 0x80:
            self._world.defer(self, Ack(PacketType.PUBREL, packet.packet_id))
        elif isinstance(packet, Ack) and packet.type is PacketType.PUBREL:
            self._world.defer(self, Ack(PacketType.PUBCOMP, packet.packet_id))

    # what a client does

    def raw(self, data: bytes) -> None:
        """Sends bytes, and lets the broker do all it has to."""
        self.connection.receive(data)
        self._world.settle()

    def packet(self, *packets: Packet) -> None:
        """Sends packets in one piece."""
        self.raw(b"".join(encode(packet, self.version) for packet in packets))

    def publish(
        self,
        topic: str,
        payload: bytes = b"",
        qos: int = 0,
        retain: bool = False,
        properties: Properties | None = None,
        *,
        dup: bool = False,
        packet_id: int | None = None,
    ) -> int | None:
        """Sends a PUBLISH; gives its packet id."""
        if qos and packet_id is None:
            self._id = packet_id = self._id % 65_535 + 1
        self.packet(Publish(topic, payload, qos, retain, dup, packet_id if qos else None, properties or {}))
        return packet_id

    def subscribe(
        self, *filters: str | SubscribeFilter, qos: int = 0, properties: Properties | None = None
    ) -> list[int]:
        """Subscribes; gives the codes of the SUBACK."""
        wanted = [SubscribeFilter(one, qos) if isinstance(one, str) else one for one in filters]
        self._id = self._id % 65_535 + 1
        self.packet(Subscribe(self._id, wanted, properties or {}))
        return list(self.last(Suback).codes)

    def unsubscribe(self, *filters: str) -> list[int]:
        """Unsubscribes; gives the codes of the UNSUBACK (none in 3.1.1)."""
        self._id = self._id % 65_535 + 1
        self.packet(Unsubscribe(self._id, list(filters)))
        return list(self.last(Unsuback).codes)

    def ping(self) -> bool:
        """Whether the broker answers."""
        before = self.count(Pingresp)
        self.packet(Pingreq())
        return self.count(Pingresp) > before

    def disconnect(self, reason: Reason = Reason.SUCCESS, properties: Properties | None = None) -> None:
        """Says goodbye."""
        self.packet(Disconnect(reason, properties or {}))
        self.lose()

    def lose(self) -> None:
        """The network is gone."""
        self.connection.lost()
        self._world.settle()

    def ended(self, reason: Reason) -> bool:
        """Whether the broker ended the connection: without a word in 3.1.1, with this reason in version 5."""
        last = self.received[-1] if self.received else None
        if self.version == 5:
            return self.closed and isinstance(last, Disconnect) and last.reason is reason
        return self.closed and not self.count(Disconnect)

    # what it got

    def last(self, kind: type[Any]) -> Any:
        """The newest packet of a kind."""
        return next(packet for packet in reversed(self.received) if isinstance(packet, kind))

    def count(self, kind: type[Any]) -> int:
        """How many packets of a kind came."""
        return sum(isinstance(packet, kind) for packet in self.received)

    @property
    def publishes(self) -> list[Publish]:
        """All messages that came, as packets."""
        return [packet for packet in self.received if isinstance(packet, Publish)]

    @property
    def messages(self) -> list[tuple[str, bytes, int, bool]]:
        """All messages that came: (topic, payload, qos, retain)."""
        return [(one.topic, one.payload, one.qos, one.retain) for one in self.publishes]

    @property
    def connack(self) -> Connack:
        """The answer to CONNECT."""
        found = self.last(Connack)
        assert isinstance(found, Connack)
        return found


class World:
    """An engine and its clients."""

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        policy: Any = None,
        store: Store | None = None,
        clock: FakeClock | None = None,
    ) -> None:
        self.clock = clock or FakeClock()
        self.shell = FakeShell(self.clock)
        self.policy = policy or OpenPolicy()
        self.engine = Engine(
            self.policy, self.shell, self.clock, limits=limits, store=store, new_id=map(str, count(1)).__next__
        )
        self.engine.load()
        self._deferred: list[tuple[Client, Packet]] = []

    def client(self, version: int = 4, *, acknowledge: bool = True) -> Client:
        """A connection on which nothing was said yet."""
        return Client(self, version, acknowledge=acknowledge)

    def connect(
        self,
        client_id: str = "",
        *,
        version: int = 4,
        clean: bool = True,
        keep_alive: int = 0,
        username: str | None = None,
        password: bytes | None = None,
        will: Will | None = None,
        properties: Properties | None = None,
        acknowledge: bool = True,
    ) -> Client:
        """A client that said CONNECT; see its `connack`."""
        client = self.client(version, acknowledge=acknowledge)
        client.packet(Connect(client_id, version, clean, keep_alive, username, password, will, properties or {}))
        return client

    def stay(self, client_id: str, *, version: int = 4, acknowledge: bool = True, **given: Any) -> Client:
        """A client whose session outlives its connection, and continues if there is one."""
        properties = {Property.SESSION_EXPIRY: 3_600} if version == 5 else None
        return self.connect(
            client_id, version=version, clean=False, properties=properties, acknowledge=acknowledge, **given
        )

    def defer(self, client: Client, packet: Packet) -> None:
        """A client's answer, sent when the broker has finished what it does."""
        self._deferred.append((client, packet))

    def settle(self) -> None:
        """Does all that is ready, and all timers that are due (a commit's too), until nothing is left."""
        while self.shell.ready or self._deferred or self._due():
            ready, self.shell.ready = self.shell.ready, []
            for callback in ready:
                callback()
            due, self.shell.timers = self._due(), [one for one in self.shell.timers if one not in self._due()]
            for _, callback in due:
                callback()
            deferred, self._deferred = self._deferred, []
            for client, packet in deferred:
                if not client.closed:
                    client.connection.receive(encode(packet, client.version))

    def _due(self) -> list[tuple[float, Callable[[], None]]]:
        # commits are due at once: tests that want to look before one set `hold_commits`
        now = self.clock.monotonic() + (0.0 if self.hold_commits else 0.01)
        return [one for one in self.shell.timers if one[0] <= now]

    hold_commits = False

    def forward(self, seconds: float, step: float = 0.25) -> None:
        """Time passes, in ticks."""
        passed = 0.0
        while passed < seconds:
            self.clock.forward(min(step, seconds - passed))
            passed += step
            self.engine.tick()
            self.settle()

    async def think(self) -> None:
        """Whatever the policy waits for is answered."""
        while self.shell.waiting:
            work, callback = self.shell.waiting.pop(0)
            callback(await work)
            self.settle()
