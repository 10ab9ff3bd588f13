"""What the broker knows of one client beyond its connection: subscriptions, in-flight window, queue. Pure."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hub.broker.message import Message

if TYPE_CHECKING:
    from hub.broker.connection import Connection

__all__ = ["Delivery", "Session", "SharedGroup", "Subscription", "Will"]

_IDS: Final = 65_535


@dataclass(slots=True, eq=False)
class Subscription:
    """One filter of a session, and how it wants to be served.

    Attributes:
        topic_filter: as the client gave it, with `$share/...` in front for a shared one.
        identifier: 0: it has none.
        group: the shared subscription it belongs to.
    """

    topic_filter: str
    qos: int = 0
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0
    identifier: int = 0
    group: "SharedGroup | None" = None

    @property
    def identifiers(self) -> tuple[int, ...]:
        """What a message carries that it matched."""
        return (self.identifier,) if self.identifier else ()

    @property
    def options(self) -> int:
        """The options byte of SUBSCRIBE [MQTT-5: 3.8.3.1]."""
        return self.qos | self.no_local << 2 | self.retain_as_published << 3 | self.retain_handling << 4

    @classmethod
    def from_options(cls, topic_filter: str, options: int, identifier: int) -> "Subscription":
        """The reverse of `options`."""
        return cls(topic_filter, options & 3, bool(options & 4), bool(options & 8), options >> 4 & 3, identifier)


class Delivery:
    """One message on its way to one session at QoS 1 or 2, queued or in flight (QoS 0 only while it waits).

    Attributes:
        released: its PUBREC came: what is due is PUBREL.
        id: in the storage; 0: it is not there.
        group: the shared subscription that chose this session.
    """

    __slots__ = ("group", "id", "identifiers", "message", "packet_id", "qos", "released", "retain")

    def __init__(
        self,
        message: Message,
        qos: int,
        retain: bool = False,
        identifiers: tuple[int, ...] = (),
        group: "SharedGroup | None" = None,
    ) -> None:
        self.message, self.qos, self.retain, self.identifiers, self.group = message, qos, retain, identifiers, group
        self.packet_id = self.id = 0
        self.released = False


@dataclass(slots=True)
class Will:
    """What is published when a client goes without a word."""

    message: Message
    delay: float = 0.0
    expiry: float | None = None


class Session:
    """One client's state, with or without a connection.

    Attributes:
        key: (owner, client id): another owner's client of the same id is another session.
        principal: who it is, for the access policy.
        connection: None while it is away.
        inflight: by packet id, in the order they were first sent.
        resend: packet ids in flight before this connection that were not sent again yet.
        backlog: retained messages still to be sent: (subscription, topics).
        incoming: packet ids of QoS 2 messages whose PUBREL has not come.
        expiry: seconds that it outlives its connection.
        durable: it stands in the storage.
        ended: when its connection went, monotonic; None while it has one.
    """

    __slots__ = (
        "_last_id",
        "backlog",
        "connection",
        "deadline",
        "durable",
        "ended",
        "expiry",
        "incoming",
        "inflight",
        "key",
        "principal",
        "queue",
        "queue_bytes",
        "queued_qos0",
        "resend",
        "subscriptions",
        "will",
        "will_due",
    )

    def __init__(self, key: tuple[str, str], principal: Any) -> None:
        self.key, self.principal = key, principal
        self.connection: Connection | None = None
        self.subscriptions: dict[str, Subscription] = {}
        self.inflight: dict[int, Delivery] = {}
        self.incoming: dict[int, None] = {}
        self.queue: deque[Delivery] | None = None
        self.resend: deque[int] | None = None
        self.queue_bytes = self.queued_qos0 = 0
        self.expiry = 0.0
        self.ended: float | None = None
        self.durable = False
        self.will: Will | None = None
        self.will_due: float | None = None
        self.deadline: list[Any] | None = None
        self.backlog: deque[tuple[Subscription, dict[str, None]]] | None = None
        self._last_id = 0

    @property
    def client_id(self) -> str:
        """The client identifier."""
        return self.key[1]

    @property
    def outstanding(self) -> int:
        """Messages sent on this connection that the client has not answered."""
        return len(self.inflight) - len(self.resend) if self.resend else len(self.inflight)

    def next_packet_id(self) -> int:
        """A packet id that is free. There is one: the window is smaller than all ids."""
        packet_id = self._last_id
        while True:
            packet_id = packet_id % _IDS + 1
            if packet_id not in self.inflight:
                self._last_id = packet_id
                return packet_id

    def enqueue(self, delivery: Delivery) -> None:
        """Adds to the end of the queue."""
        if self.queue is None:
            self.queue = deque()
        self.queue.append(delivery)
        self.queue_bytes += delivery.message.size
        self.queued_qos0 += delivery.qos == 0

    def dequeue(self) -> Delivery:
        """Takes the first of the queue, which is not empty."""
        assert self.queue
        delivery = self.queue.popleft()
        self.queue_bytes -= delivery.message.size
        self.queued_qos0 -= delivery.qos == 0
        if not self.queue:
            self.queue = None  # an empty deque is 600 bytes for nothing
        return delivery

    def remove(self, delivery: Delivery) -> None:
        """Takes one out of the queue, wherever it stands."""
        assert self.queue
        self.queue.remove(delivery)
        self.queue_bytes -= delivery.message.size
        self.queued_qos0 -= delivery.qos == 0
        if not self.queue:
            self.queue = None

    def overflow(self, messages: int, size: int) -> list[Delivery]:
        """What has to go so that the queue holds no more than `messages` and `size` bytes: QoS 0 first, the oldest first."""
        gone: list[Delivery] = []
        while (queue := self.queue) is not None and (len(queue) > messages or self.queue_bytes > size):
            oldest = next((one for one in queue if one.qos == 0), None) if self.queued_qos0 else None
            if oldest is None:
                gone.append(self.dequeue())
                continue
            self.remove(oldest)
            gone.append(oldest)
        return gone


class SharedGroup:
    """A shared subscription: its members take turns."""

    __slots__ = ("_members", "_order", "_turn", "name", "topic_filter")

    def __init__(self, name: str, topic_filter: str) -> None:
        self.name, self.topic_filter = name, topic_filter
        self._members: dict[Session, Subscription] = {}
        self._order: list[Session] = []
        self._turn = 0

    def __len__(self) -> int:
        return len(self._order)

    def join(self, session: Session, subscription: Subscription) -> None:
        """A session is a member, or wants to be served in another way."""
        if session not in self._members:
            self._order.append(session)
        self._members[session] = subscription

    def leave(self, session: Session) -> None:
        """A session is a member no more."""
        del self._members[session]
        self._order.remove(session)

    def members(self) -> Iterator[tuple[Session, Subscription]]:
        """All of them, from the one whose turn it is; connected ones first. Who is served says so with `served`."""
        count = len(self._order)
        turns = [self._order[(self._turn + step) % count] for step in range(count)]
        for here in (True, False):
            for session in turns:
                if (session.connection is not None) is here:
                    yield session, self._members[session]

    def served(self, session: Session) -> None:
        """A member had its turn: the one behind it is next."""
        self._turn = (self._order.index(session) + 1) % len(self._order)
