"""From a published message to the sessions that want it: routes, windows, queues, acknowledgements, and what is stored of them.

Pure: connections collect what is to be sent, a shell sends it.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from devices.mqtt.codec import encode
from devices.mqtt.codes import PacketType, Reason
from devices.mqtt.packets import Ack
from hub.broker.limits import Limits
from hub.broker.message import Message
from hub.broker.retained import Retained
from hub.broker.router import Route, Router
from hub.broker.session import Delivery, Session, SharedGroup, Subscription
from hub.broker.stats import Stats
from hub.broker.store import Store
from hub.broker.subscriptions import Subscriptions

__all__ = ["Deliveries", "Local", "Target", "TopicRoute"]

DUP: Final = 0x08
RETAIN: Final = 0x01
PURGE_EVERY: Final = 10.0
"""Seconds between two looks at all retained messages for those whose time is over, when there is no room."""

log = logging.getLogger(__name__)


class Local(Protocol):
    """A subscriber inside this process."""

    def __hash__(self) -> int:
        """Each is itself alone."""

    def tell(self, topic: str, payload: bytes, retained: bool) -> None:
        """Takes a message; raises nothing."""


class Target:
    """One session that a route leads to, all its overlapping subscriptions in one [MQTT-3.3.4-2].

    Attributes:
        own: what it gets of its own messages; None: nothing [MQTT-3.8.3-3].
        plain: nothing about it is special: it gets the same bytes as everybody.
    """

    __slots__ = ("identifiers", "own", "plain", "qos", "retain", "session")

    def __init__(self, session: Session, subscriptions: Iterable[Subscription]) -> None:
        subscriptions = list(subscriptions)
        self.session = session
        self.qos = max(one.qos for one in subscriptions)
        self.retain = any(one.retain_as_published for one in subscriptions)
        self.identifiers = tuple(one.identifier for one in subscriptions if one.identifier)
        others = [one for one in subscriptions if not one.no_local]
        self.own: Target | None = self
        if len(others) < len(subscriptions):
            self.own = Target(session, others) if others else None
        self.plain = not self.identifiers and self.own is self


class TopicRoute(Route):
    """Where messages of one topic go.

    Attributes:
        sessions: the same as `targets`, when `fast` says that every target is plain and nothing else is to be done.
        local: subscribers in this process.
    """

    __slots__ = ("fast", "groups", "local", "sessions", "targets")

    def __init__(self, topic: str) -> None:
        super().__init__(topic)
        self.targets: tuple[Target, ...] = ()
        self.sessions: tuple[Session, ...] = ()
        self.groups: tuple[SharedGroup, ...] = ()
        self.local: tuple[Local, ...] = ()
        self.fast = True

    @property
    def empty(self) -> bool:
        """Whether nobody wants the topic."""
        return not (self.targets or self.groups or self.local)


class Deliveries:
    """Everything that is on its way.

    Args:
        clock: monotonic seconds.
        may_receive: whether a principal may get messages of a topic, asked once a route.
        store: None: nothing outlives the process.
        waits: `may_receive` says yes to everything, who may is asked before.
    """

    def __init__(
        self,
        limits: Limits,
        stats: Stats,
        clock: Callable[[], float],
        may_receive: Callable[[Any, str], bool],
        store: Store | None,
        *,
        waits: bool = False,
    ) -> None:
        self._limits, self._stats, self._clock, self._may_receive = limits, stats, clock, may_receive
        self.store, self._waits = store, waits
        self.router: Router[Any, TopicRoute] = Router(TopicRoute, self._fill)
        self.retained = Retained()
        self._purge_at = 0.0
        self.subscriptions = Subscriptions(self.router)

    def _fill(self, route: TopicRoute, found: list[tuple[Any, Any]]) -> None:
        sessions: dict[Session, list[Subscription]] = {}
        groups, local = [], []
        for key, subscription in found:
            if isinstance(key, Session):
                sessions.setdefault(key, []).append(subscription)
            elif isinstance(key, SharedGroup):
                groups.append(key)
            else:
                local.append(key)
        topic = route.topic
        route.targets = tuple(
            Target(session, subscriptions)
            for session, subscriptions in sessions.items()
            if self._may_receive(session.principal, topic)
        )
        route.groups, route.local = tuple(groups), tuple(local)
        route.sessions = tuple(target.session for target in route.targets)
        # a message that has to wait for somebody is no plain copy of its bytes
        route.fast = not groups and not self._limits.queue_qos0 and all(target.plain for target in route.targets)

    # publishing

    def publish(self, message: Message, permitted: set[Session] | None = None) -> bool:
        """Sends a message to all who want it. False: nobody does.

        Args:
            permitted: only these sessions may have it; None: all.
        """
        topic, source = message.topic, message.source
        route = self.router.route(topic)
        for target in route.targets:
            session = target.session
            if permitted is not None and session not in permitted:
                continue
            if session is source:
                if target.own is None:
                    continue
                target = target.own  # what it gets of its own
            self.deliver(session, message, target.qos, message.retain and target.retain, target.identifiers)
        for group in route.groups:
            self._share(group, message, permitted)
        for subscriber in route.local:
            subscriber.tell(topic, message.payload, False)
        return not route.empty

    def _share(
        self,
        group: SharedGroup,
        message: Message,
        permitted: set[Session] | None = None,
        *,
        away: bool = True,
        but: Session | None = None,
    ) -> bool:
        """Sends a message to the member whose turn it is, of those that may have it. False: there is none.

        Args:
            away: without a connected member, one that comes back may have it.
            but: not this one.
        """
        for session, subscription in group.members():
            if session is but or (session.connection is None and not away):
                continue
            if self._may_receive(session.principal, message.topic) if permitted is None else session in permitted:
                group.served(session)
                keep = message.retain and subscription.retain_as_published
                self.deliver(session, message, subscription.qos, keep, subscription.identifiers, group)
                return True
        return False

    def deliver(
        self,
        session: Session,
        message: Message,
        qos: int,
        retain: bool = False,
        identifiers: tuple[int, ...] = (),
        group: SharedGroup | None = None,
    ) -> None:
        """Sends a message to one session, or queues it.

        Args:
            qos: of the subscription; the lower of the two counts [MQTT-3.8.4-8].
            retain: the flag it carries.
        """
        if session.backlog is not None and not retain:
            self._kept_first(session, message)
        qos = min(qos, message.qos)
        connection = session.connection
        if qos == 0:
            if connection is not None:
                connection.send_qos0(message, retain, identifiers)
            elif self._limits.queue_qos0:
                session.enqueue(Delivery(message, 0, retain, identifiers, group))
                self._trim(session)
            return
        delivery = Delivery(message, qos, retain, identifiers, group)
        if session.durable and self.store is not None:
            self.store.delivery(session, delivery)
        if (
            connection is not None
            and session.queue is None
            and session.resend is None
            and len(session.inflight) < connection.window
            and connection.fits(message.size)
        ):
            self._send(session, delivery)
        else:
            session.enqueue(delivery)
            self._trim(session)
            if connection is not None:
                connection.starved = True

    def _trim(self, session: Session) -> None:
        for delivery in session.overflow(self._limits.queue_messages, self._limits.queue_bytes):
            self._drop(session, delivery, "queue full")

    def _drop(self, session: Session, delivery: Delivery, why: str) -> None:
        self._stats.dropped[why] += 1
        if delivery.qos:
            # at debug one by one, and once in a while for the operator: see `Engine.tick`
            log.debug("dropped a QoS %d message for %s: %s", delivery.qos, session.client_id, why)
        self._forget(session, delivery)

    def _forget(self, session: Session, delivery: Delivery) -> None:
        if delivery.id and self.store is not None:
            self.store.delivered(session, delivery)

    def _send(self, session: Session, delivery: Delivery, dup: bool = False) -> None:
        connection = session.connection
        assert connection is not None
        packet_id = delivery.packet_id
        if not packet_id:
            packet_id = delivery.packet_id = session.next_packet_id()
            session.inflight[packet_id] = delivery
        flags = delivery.qos << 1 | (DUP if dup else 0) | (RETAIN if delivery.retain else 0)
        # the packet id of QoS 2 is the client's proof that it has the message: it must be known after a crash
        held = delivery.qos == 2 and delivery.id != 0
        packet = connection.publish_packet(delivery.message, flags, packet_id, delivery.identifiers, held=held)
        if packet is None:
            # larger than the client wants: as if it had been delivered [MQTT-3.1.2-25]
            del session.inflight[packet_id]
            self._drop(session, delivery, "larger than the client accepts")
            return
        self._stats.messages_sent += 1
        if delivery.id and self.store is not None:
            self.store.sent(session, delivery)
        if held:
            connection.promise(packet)
        else:
            connection.write(packet)

    def pump(self, session: Session) -> None:
        """Sends what waits, as far as window and buffer allow: in flight before, queued, retained."""
        connection = session.connection
        if connection is None:
            return
        window = connection.window
        while session.resend and session.outstanding < window:
            if not connection.fits(0):
                connection.starved = True
                return
            self._resend(session, session.resend.popleft())
        if session.resend is not None:
            if session.resend:
                return
            session.resend = None
        now = self._clock()
        while session.queue and len(session.inflight) < window:
            if not connection.fits(session.queue[0].message.size):
                connection.starved = True
                return
            delivery = session.dequeue()
            if delivery.message.expired(now):
                self._drop(session, delivery, "expired")
            elif delivery.qos:
                self._send(session, delivery)
            else:
                connection.send_qos0(delivery.message, delivery.retain, delivery.identifiers)
        if session.queue is None:
            self._pump_retained(session)

    def _resend(self, session: Session, packet_id: int) -> None:
        delivery = session.inflight.get(packet_id)
        connection = session.connection
        if delivery is None or connection is None:
            return
        if delivery.released:
            # its PUBREC may not be stored yet: a PUBREL before that would repeat the message after a crash
            connection.promise(encode(Ack(PacketType.PUBREL, packet_id), connection.version))
        else:
            self._send(session, delivery, dup=True)

    def owe(self, session: Session, found: list[tuple[Subscription, list[str]]]) -> None:
        """Sends retained messages that subscriptions are due, at the client's pace."""
        session.backlog = session.backlog or deque()
        session.backlog += ((subscription, dict.fromkeys(topics)) for subscription, topics in found)
        self.pump(session)

    def _kept_first(self, session: Session, message: Message) -> None:
        """A retained message that still waits comes before a newer one of its topic [MQTT-4.6.0-6]."""
        for subscription, topics in session.backlog or ():
            if message.topic in topics:
                del topics[message.topic]
                kept = self.kept(message.topic)
                if kept is not None and kept is not message:
                    self.deliver(session, kept, subscription.qos, True, subscription.identifiers)

    def _pump_retained(self, session: Session) -> None:
        connection = session.connection
        assert connection is not None
        backlog = session.backlog
        while backlog:
            subscription, topics = backlog[0]
            while topics:
                if len(session.inflight) >= connection.window and subscription.qos:
                    return
                # looked up anew: a newer one may have come while this client was slow
                topic = next(iter(topics))
                kept = self.kept(topic)
                if kept is not None and not connection.fits(kept.size):
                    connection.starved = True
                    return
                del topics[topic]
                if kept is None or not self._may_receive(session.principal, kept.topic):
                    continue
                self.deliver(session, kept, subscription.qos, True, subscription.identifiers)
            backlog.popleft()
        session.backlog = None

    # acknowledgements

    def acknowledged(self, session: Session, packet_id: int, qos: int) -> bool:
        """PUBACK (QoS 1) or PUBCOMP (2) came. False: for nothing that waits for it."""
        delivery = session.inflight.get(packet_id)
        if delivery is None or delivery.qos != qos or delivery.released != (qos == 2):
            return False
        self._done(session, packet_id, delivery)
        return True

    def _done(self, session: Session, packet_id: int, delivery: Delivery) -> None:
        """A message is out of flight: the next one may go."""
        del session.inflight[packet_id]
        if session.resend and packet_id in session.resend:
            session.resend.remove(packet_id)
        if delivery.id:
            self._forget(session, delivery)
        if session.queue is not None or session.resend or session.backlog:
            self.pump(session)

    def recorded(self, session: Session, packet_id: int, reason: int) -> bool:
        """PUBREC came: PUBREL goes out, unless the client refused the message [MQTT-4.3.3-4]. False: nothing in flight."""
        delivery = session.inflight.get(packet_id)
        if delivery is None or delivery.qos != 2:
            return False
        if reason >= Reason.UNSPECIFIED_ERROR:
            self._done(session, packet_id, delivery)
            return True
        if not delivery.released:
            delivery.released = True
            if delivery.id and self.store is not None:
                self.store.sent(session, delivery)
        connection = session.connection
        assert connection is not None
        connection.promise(encode(Ack(PacketType.PUBREL, packet_id), connection.version))
        return True

    def resume(self, session: Session) -> None:
        """A session has a connection again: all in flight is sent once more, then what waits [MQTT-4.4.0-1]."""
        connection = session.connection
        assert connection is not None
        if session.inflight:
            session.resend = deque(session.inflight)
        self.pump(session)

    def abandon(self, session: Session) -> None:
        """A session lost its connection, or ended: what a shared subscription gave it goes to a connected member.

        QoS 2 in flight does not: the client may have it already [MQTT-4.8.2-4]. Nor does anything while the policy waits for its
        answers: nobody asks it here.
        """
        if self._waits:
            return
        now = self._clock()
        given = [one for one in session.inflight.values() if one.group is not None and one.qos == 1]
        given += [one for one in session.queue or () if one.group is not None]
        for delivery in given:
            group = delivery.group
            assert group is not None
            if delivery.message.expired(now):
                self._stats.dropped["expired"] += 1
            elif not self._share(group, delivery.message, away=False, but=session):
                continue
            if delivery.packet_id:
                del session.inflight[delivery.packet_id]
            else:
                session.remove(delivery)
            self._forget(session, delivery)

    # retained messages

    def retain(self, message: Message) -> bool:
        """Keeps a message for its topic, or clears it when it is empty [MQTT-3.3.1-6]. False: there is no room."""
        topic = message.topic
        if not message.payload:
            if self.retained.clear(topic) and self.store is not None:
                self.store.cleared(topic)
            return True
        if message.source is not None:
            message.owner = message.source.key[0]
            if not self._room_to_retain(message):
                self._stats.dropped["no room to retain"] += 1
                return False
        self.retained.set(message)
        if self.store is not None:
            self.store.retained(message)
        return True

    def _room_to_retain(self, message: Message) -> bool:
        if self._fits_retained(message):
            return True
        now = self._clock()
        if now < self._purge_at:
            return False
        self._purge_at = now + PURGE_EVERY
        for topic in [one.topic for one in self.retained if one.expired(now)]:
            self.kept(topic)
        return self._fits_retained(message)

    def _fits_retained(self, message: Message) -> bool:
        limits, retained = self._limits, self.retained
        before = retained.get(message.topic)
        if retained.size + message.size - (before.size if before is not None else 0) > limits.retained_bytes:
            return False
        if before is not None and before.owner == message.owner:
            return True
        return retained.owned(message.owner) < limits.retained_of_owner and (
            before is not None or len(retained) < limits.retained
        )

    def kept(self, topic: str) -> Message | None:
        """The retained message of a topic, unless its time is over: then it is cleared."""
        message = self.retained.get(topic)
        if message is not None and message.expired(self._clock()):
            self.retained.clear(topic)
            if self.store is not None:
                self.store.cleared(topic)
            return None
        return message
