"""The broker without its sockets: connections, sessions, wills, takeover, time. Pure: a `Shell` runs what has to wait.

    wire -> Connection.receive -> handlers, incoming -> Deliveries -> other connections' `out` -> flush -> wires

Nothing in here creates a task or a future for a packet.
"""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, Protocol

from devices.clock import Clock
from devices.mqtt.codes import Reason
from devices.mqtt.packets import Connect
from devices.mqtt.properties import Property
from hub.broker.asking import Asking
from hub.broker.commits import Commits
from hub.broker.connection import Connection
from hub.broker.deadlines import Deadlines
from hub.broker.delivery import Deliveries, Local
from hub.broker.limits import Limits
from hub.broker.message import Message
from hub.broker.negotiation import agree, connack
from hub.broker.outgoing import Outgoing
from hub.broker.policy import FOREVER, Accepted, Policy
from hub.broker.session import Session, Subscription
from hub.broker.stats import Gauges, Stats
from hub.broker.store import Store
from hub.broker.subscriptions import shared
from hub.broker.wire import Wire

UNAVAILABLE: Final = 3
"""Return code of CONNACK in 3.1.1."""

__all__ = ["TICK", "Engine", "Shell", "Watcher"]

TICK: Final = 0.25
"""Seconds between two looks at the clock; deadlines are met by so much, never early."""
TELL_EVERY: Final = 10.0
"""Seconds between two lines in the log about dropped messages."""

log = logging.getLogger(__name__)


class Shell(Protocol):
    """What runs the engine: an event loop."""

    def soon(self, callback: Callable[[], None]) -> None:
        """Calls back when all that is readable now has been read."""

    def later(self, seconds: float, callback: Callable[[], None]) -> None:
        """Calls back after some time."""

    def spawn(self, work: Awaitable[Any], callback: Callable[[Any], None]) -> None:
        """Waits for `work` and hands on its result; False when it failed, which is logged."""

    def aside(self, work: Callable[[], None], callback: Callable[[Exception | None], None]) -> None:
        """Runs blocking work in a thread, then calls back with what it raised, or None."""


class Watcher(Protocol):
    """Who wants to know of clients; called on the event loop, must not raise."""

    def connected(self, session: Session, connection: Connection) -> None:
        """A client is authenticated, and has its CONNACK."""

    def disconnected(self, session: Session, why: str) -> None:
        """Its connection is over; its will, if due at once, was published before."""

    def subscribed(self, session: Session, subscription: Subscription) -> None:
        """It subscribed."""

    def unsubscribed(self, session: Session, topic_filter: str) -> None:
        """It unsubscribed."""


class _Away:
    """The deadline of a session without a connection."""

    __slots__ = ("_engine", "_session")

    def __init__(self, engine: "Engine", session: Session) -> None:
        self._engine, self._session = engine, session

    def due(self, now: float) -> None:
        """Its will, or its end."""
        self._engine.away(self._session, now)


class Engine:
    """All connections and sessions of a broker.

    Attributes:
        now: monotonic seconds, at most `TICK` old.
        dirty: connections with something to send.
        turns: connections that wait for the others to have their turn.
        connections: how many there are.
    """

    def __init__(
        self,
        policy: Policy,
        shell: Shell,
        clock: Clock,
        *,
        limits: Limits | None = None,
        store: Store | None = None,
        watchers: Iterable[Watcher] = (),
        new_id: Callable[[], str],
    ) -> None:
        self.policy, self._shell, self.clock, self.limits = policy, shell, clock, limits or Limits()
        self.store, self._watchers, self._new_id = store, list(watchers), new_id
        self.stats = Stats()
        self.deadlines = Deadlines()
        self.deliveries = Deliveries(
            self.limits, self.stats, clock.monotonic, self._may_receive, store, waits=policy.waits
        )
        self.commits = Commits(store, shell, self.wake, clock.monotonic)
        self.asking = Asking(policy, self.deliveries, shell.spawn, self.wake)
        self.sessions: dict[tuple[str, str], Session] = {}
        self.dirty: list[Outgoing] = []
        self.turns: list[Connection] = []
        self.connections = 0
        self.now = clock.monotonic()
        self.later, self.spawn = shell.later, shell.spawn
        # sessions without a connection, the one away longest first; the same by owner
        self._away: dict[Session, None] = {}
        self._away_of: dict[str, dict[Session, None]] = {}
        self._owned: Counter[str] = Counter()
        self._all: set[Connection] = set()
        self.on_published: Callable[[Session, Message], None] | None = None
        self._waking = self._closing = False
        self._dropped = 0
        self._tell_at = self.now

    # what the shell calls

    def load(self) -> None:
        """Takes up what was stored. Raises StorageError."""
        if self.store is None:
            return
        sessions, retained = self.store.load(self.policy.recall)
        for message in retained:
            self.deliveries.retained.set(message)
        for session in sessions:
            self.sessions[session.key] = session
            self._count(session.key[0], 1)
            for subscription in list(session.subscriptions.values()):
                self.deliveries.subscriptions.enter(session, subscription)
            self._leave_for(session)

    def accept(self, wire: Wire) -> Connection:
        """A new connection."""
        connection = Connection(self, wire)
        self.connections += 1
        self._all.add(connection)
        if self._closing:
            connection.over("the server shuts down", will=False, abort=True)
        return connection

    def wake(self) -> None:
        """Sees to it that what was collected leaves soon, and that what was noted is committed."""
        if (self.dirty or self.turns) and not self._waking:
            self._waking = True
            self._shell.soon(self.flush)
        self.commits.see_to()

    def flush(self) -> None:
        """Everything collected leaves, one write a connection."""
        self._waking = False
        dirty, turns = self.dirty[:], self.turns[:]
        # emptied in place: connections in the middle of a read hold on to the list
        self.dirty.clear()
        self.turns.clear()
        for connection in dirty:
            try:
                connection.flush()
            except Exception as error:  # one broken transport must not keep the others from being served
                log.error("a connection failed: %s: %s", type(error).__name__, error)
                log.debug("where it failed", exc_info=error)
                connection.wire.abort()
        for connection in turns:
            connection.turn()
        self.wake()

    def tick(self) -> None:
        """Time has passed."""
        self.now = self.clock.monotonic()
        self.deadlines.pass_until(self.now)
        dropped = self.stats.dropped.total()
        if dropped > self._dropped and self.now >= self._tell_at:
            log.info("%d messages dropped, by reason in all: %s", dropped - self._dropped, dict(self.stats.dropped))
            self._dropped, self._tell_at = dropped, self.now + TELL_EVERY
        self.wake()

    def close(self) -> None:
        """Ends every connection: the server goes [MQTT-5: 0x8B]. No will is published: it is the broker that leaves."""
        self._closing = True
        for connection in list(self._all):
            connection.disconnect(Reason.SERVER_SHUTTING_DOWN, "the server shuts down", will=False)
        self.flush()
        self.commits.close()

    def gauges(self) -> Gauges:
        """How much there is now; costs a look at every session."""
        sessions, router = self.sessions.values(), self.deliveries.router
        return Gauges(
            connections=self.connections,
            sessions=len(self.sessions),
            subscriptions=self.deliveries.subscriptions.count,
            retained=len(self.deliveries.retained),
            queued=sum(len(session.queue) for session in sessions if session.queue is not None),
            inflight=sum(len(session.inflight) for session in sessions),
            routes=router.routes,
            route_hits=max(0, self.stats.messages_received - router.misses),
            route_misses=router.misses,
        )

    # connections

    def new_client_id(self) -> str:
        """For a client that came without one [MQTT-3.1.3-6]."""
        return f"auto-{self._new_id()}"

    def bounded_expiry(self, wanted: float) -> float:
        """How long a session may outlive its connection, for what its client asked for."""
        return min(wanted, self.limits.session_expiry)

    def attach(self, connection: Connection, packet: Connect, verdict: Accepted, assigned: bool) -> None:
        """An authenticated client gets its session: its own from before, or a new one."""
        accepts = packet.properties.get(Property.MAXIMUM_PACKET_SIZE)
        if accepts is not None and accepts < len(connack(self, packet, False, assigned)):
            connection.refuse(Reason.PACKET_TOO_LARGE, b"" if accepts < 5 else None)
            return
        key = (verdict.owner, packet.client_id)
        session = self.sessions.get(key)
        if session is not None and session.connection is not None:
            session.connection.disconnect(
                Reason.SESSION_TAKEN_OVER, "taken over by a newer connection"
            )  # [MQTT-3.1.4-3]
            session = self.sessions.get(key)
        if session is not None and packet.clean:
            self.end(session)
            session = None
        present = session is not None
        if session is None:
            if not self._make_room(verdict.owner):
                connection.refuse(Reason.QUOTA_EXCEEDED if packet.version == 5 else UNAVAILABLE)
                return
            self._count(verdict.owner, 1)
            session = self.sessions[key] = Session(key, verdict.principal)
        session.principal = verdict.principal
        self.deadlines.cancel(session.deadline)
        session.deadline = session.will_due = session.ended = None
        self._back(session)
        if present:
            self._recheck(session)
        agree(self, connection, session, packet, verdict)
        session.connection, connection.session = connection, session
        if self.store is not None:
            was, session.durable = session.durable, session.expiry > 0
            if session.durable:
                self.store.session(session)
            elif was:
                self.store.dropped(session)
        self.stats.connects += 1
        connection.write(connack(self, packet, present, assigned))
        connection.watch()
        for watcher in self._watchers:
            watcher.connected(session, connection)
        if present and session.connection is connection:
            self.deliveries.resume(session)

    def _recheck(self, session: Session) -> None:
        """A session continues with other rights, perhaps: subscriptions that it may not have any more go."""
        if self.policy.waits:
            return
        for topic_filter in list(session.subscriptions):
            inner = (shared(topic_filter) or ("", topic_filter))[1]
            if self.policy.allows(session.principal, "subscribe", inner) is not True:
                self.unsubscribe(session, topic_filter)
            else:
                self.deliveries.router.changed(inner)

    def gone(self, connection: Connection, session: Session | None, why: str, *, will: bool) -> None:
        """A connection is over."""
        self._all.discard(connection)
        self.connections -= 1
        if session is None:
            return
        if self._closing:
            session.connection = None  # stored as it is, connected: it will be expected back
            for watcher in self._watchers:
                watcher.disconnected(session, why)
            return
        self.stats.disconnects[why] += 1
        session.connection = None
        session.ended = self.clock.monotonic()
        session.resend = None
        if not will:
            session.will = None
        if session.will is not None:
            if session.will.delay and session.expiry > 0:
                session.will_due = session.ended + min(session.will.delay, session.expiry)
            else:
                self._publish_will(session)
        self.deliveries.abandon(session)
        for watcher in self._watchers:
            watcher.disconnected(session, why)
        if session.expiry <= 0:
            self.end(session)
        else:
            if self.store is not None and session.durable:
                self.store.session(session)
            self._leave_for(session)

    def _leave_for(self, session: Session) -> None:
        """A session stays without a connection until it is due."""
        assert session.ended is not None
        self._away[session] = None
        self._away_of.setdefault(session.key[0], {})[session] = None
        at = session.ended + session.expiry
        if session.will_due is not None:
            at = min(at, session.will_due)
        session.deadline = self.deadlines.set(at, _Away(self, session)) if at != FOREVER else None

    def away(self, session: Session, now: float) -> None:
        """A session without a connection is due: for its will, or its end."""
        if session.connection is not None or session.ended is None:
            return
        if session.will_due is not None and session.will_due <= now:
            session.will_due = None
            self._publish_will(session)
            if self.store is not None and session.durable:
                self.store.session(session)  # else a restart would publish it once more
        if session.ended + session.expiry <= now:
            self.end(session)
        else:
            self._leave_for(session)

    def _publish_will(self, session: Session) -> None:
        will, session.will = session.will, None
        if will is None:
            return
        message = will.message
        if will.expiry is not None:
            message.expires = self.clock.monotonic() + will.expiry
        message.source = session
        self.publish(message)

    def end(self, session: Session) -> None:
        """A session is no more: its will, its subscriptions, what waited for it."""
        self.deadlines.cancel(session.deadline)
        session.deadline = None
        if session.will is not None and session.connection is None:
            self._publish_will(session)
        for topic_filter in list(session.subscriptions):
            self.deliveries.subscriptions.leave(session, topic_filter)
        self.deliveries.abandon(session)
        if self.store is not None and session.durable:
            self.store.dropped(session)
        self._back(session)
        if self.sessions.get(session.key) is session:
            del self.sessions[session.key]
            self._count(session.key[0], -1)

    def cut(self, owner: str, refused: Callable[[Any], bool], *, end: bool) -> None:
        """Cuts the connections of `owner` whose principal is `refused`; with `end`, ends its sessions.

        Costs a look at every session's key, and nothing for an owner without sessions.
        """
        if owner not in self._owned:
            return
        for session in [session for key, session in self.sessions.items() if key[0] == owner]:
            if session.connection is not None and refused(session.principal):
                session.connection.disconnect(Reason.NOT_AUTHORIZED, "what it logged in with was revoked")
            if end and session.connection is None and session.key in self.sessions:
                self.end(session)

    def _back(self, session: Session) -> None:
        self._away.pop(session, None)
        owned = self._away_of.get(session.key[0])
        if owned is not None:
            owned.pop(session, None)
            if not owned:
                del self._away_of[session.key[0]]

    def _count(self, owner: str, sign: int) -> None:
        self._owned[owner] += sign
        if not self._owned[owner]:
            del self._owned[owner]

    def _make_room(self, owner: str) -> bool:
        """Room for one more session of `owner`: the one away longest ends, its own if it has its share. False: none can end."""
        while self._owned[owner] >= self.limits.sessions_of_owner or len(self.sessions) >= self.limits.sessions:
            full = self._owned[owner] >= self.limits.sessions_of_owner
            away = self._away_of.get(owner) if full else self._away_of.get(owner) or self._away
            if not away:
                return False
            self.stats.dropped["session ended for a newer one"] += 1
            self.end(next(iter(away)))
        return True

    # subscriptions

    def subscribe(self, session: Session, subscription: Subscription) -> None:
        """Adds a subscription, or replaces it [MQTT-3.8.4-3]."""
        self.deliveries.subscriptions.enter(session, subscription)
        if self.store is not None and session.durable:
            self.store.subscription(session, subscription)
        for watcher in self._watchers:
            watcher.subscribed(session, subscription)

    def unsubscribe(self, session: Session, topic_filter: str) -> bool:
        """Ends a subscription. False: there was none."""
        if topic_filter not in session.subscriptions:
            return False
        self.deliveries.subscriptions.leave(session, topic_filter)
        if self.store is not None and session.durable:
            self.store.unsubscribed(session, topic_filter)
        for watcher in self._watchers:
            watcher.unsubscribed(session, topic_filter)
        return True

    def send_retained(self, connection: Connection, subscriptions: list[Subscription]) -> None:
        """Sends what is kept to subscriptions just made [MQTT-3.3.1-9]."""
        session = connection.session
        if session is None:
            return
        found = [(one, topics) for one in subscriptions if (topics := self.deliveries.retained.match(one.topic_filter))]
        if found and self.policy.waits:
            connection.decide(
                self.asking.receivable(session, found), lambda left: self.deliveries.owe(session, left or [])
            )
        elif found:
            self.deliveries.owe(session, found)

    # this process

    def publish(self, message: Message) -> None:
        """Publishes a message that no client sent: the hub's own, or a will."""
        if message.retain:
            self.deliveries.retain(message)
        if self.policy.waits:
            self.asking.publish(message)
            return
        self.deliveries.publish(message)
        message.source = None
        if message.retain:
            message.slim()
        self.wake()

    def _may_receive(self, principal: Any, topic: str) -> bool:
        return self.policy.waits or self.policy.allows(principal, "receive", topic) is True

    def subscribe_local(self, topic_filter: str, local: Local) -> None:
        """A subscriber in this process: what is retained at once, then live messages."""
        for topic in self.deliveries.retained.match(topic_filter):
            kept = self.deliveries.kept(topic)
            if kept is not None:
                local.tell(topic, kept.payload, True)
        self.deliveries.router.add(topic_filter, local, local)
