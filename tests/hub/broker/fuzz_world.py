"""A broker whose clients, clock, storage and answers are moved by a script, for `fuzz`."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import count
from typing import Any, Final, NamedTuple

from hub.broker.connection import Connection
from hub.broker.engine import Engine
from hub.broker.limits import Limits
from hub.broker.message import Message
from hub.broker.session import Session, Subscription
from hub.broker.storage import StorageError
from hub.broker.store import Store
from tests.fakes import FakeClock
from tests.hub.broker.fuzz_client import Client
from tests.hub.broker.fuzz_fakes import Failure, FuzzPolicy, Tables

__all__ = ["Flag", "FuzzWorld", "Op", "Script"]


class Op:
    """The kinds of steps of a script."""

    OPEN, TAME, WILD, LOST, STUCK, TIME, SETTLE, THINK, ACK, HUB, CRASH, CLOSE, FAULT = range(13)


class Flag:
    """What a world is like."""

    WAITS, STORE, ROOMY, QUEUE_QOS0, RATE, SYNCS, KEEP_ALIVE, LOCAL = (1 << bit for bit in range(8))


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
    sessions=5,
    sessions_of_owner=4,
    subscriptions=6,
    topic_levels=5,
    topic_bytes=80,
    retained=4,
    retained_of_owner=3,
    retained_bytes=500,
)
ROOMY: Final = Limits(max_packet=20_000, session_expiry=60.0)


class Ear:
    """Hears messages inside the process."""

    def tell(self, topic: str, payload: bytes, retained: bool) -> None:
        if topic.partition("/")[0] != "a" or not isinstance(payload, bytes):
            raise Failure("a subscriber in the process hears what it did not want")


class Watch:
    """Hears of clients: who is here is told once, and once that it is not."""

    def __init__(self) -> None:
        self.here: set[Session] = set()

    def connected(self, session: Session, connection: Connection) -> None:
        if session in self.here:
            raise Failure("told twice that a client is here")
        self.here.add(session)

    def disconnected(self, session: Session, why: str) -> None:
        self.here.remove(session)

    def subscribed(self, session: Session, subscription: Subscription) -> None:
        if session not in self.here:
            raise Failure("a client subscribes that is not here")

    def unsubscribed(self, session: Session, topic_filter: str) -> None:
        if topic_filter in session.subscriptions:
            raise Failure("told of the end of a subscription that is there")


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
        self.crashed = self.closed = False
        self._ids = count()
        self.ear, self.watcher = Ear(), Watch()
        self._start()

    def _start(self) -> None:
        self.ready: list[Callable[[], None]] = []
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.thoughts: list[tuple[Any, Callable[[Any], None]]] = []
        store = Store(self.tables, self.clock, self.policy.remember) if self.tables is not None else None
        self.engine = Engine(
            self.policy,
            self,
            self.clock,
            limits=self.limits,
            store=store,
            watchers=[self.watcher],
            new_id=lambda: f"{next(self._ids)}",
        )
        self.engine.load()
        if self.flags & Flag.LOCAL:
            self.engine.subscribe_local("a/#", self.ear)

    @property
    def local(self) -> bool:
        """Whether there is a subscriber inside the process."""
        return bool(self.flags & Flag.LOCAL)

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
            try:
                work()
            except StorageError as error:
                callback(error)
            else:
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
        self.watcher.here.clear()
        self.crashed = True
        self._start()

    def step(self, kind: int, who: int, data: bytes) -> None:
        """One step of a script."""
        if self.closed and kind in (Op.OPEN, Op.TIME, Op.HUB, Op.CRASH):
            return
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
        elif kind == Op.CLOSE:
            self.closed = True
            self.engine.close()
        elif kind == Op.FAULT and self.tables is not None:
            self.tables.faults = who
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
            elif kind == Op.STUCK:
                client.clog(int.from_bytes(data, "big"))


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
