"""A simulated station: the machine of `devices.session`, or that of old field software, on a connection that faults may break.

Its clock is the schedule's: while a timer runs, the moment that it was meant for. So a status that the tester sends late says
when it should have been sent, and one that was due in the meantime is sent all the same; what was due while it had no connection
is not.
"""

import asyncio
from functools import partial
from typing import Final

from devices.session import Backoff, Effect, Invoke, Publish, Signalled, StationSession, Subscribe
from simulator.fleet.afflictions import Afflictions
from simulator.fleet.duties import Duties
from simulator.fleet.legacy import LegacySession
from simulator.fleet.mqtt import Connection, Question, connect_packet, open_connection
from simulator.fleet.schedule import Schedule, Timer
from simulator.fleet.telemetry import Telemetry
from simulator.plan import spread
from simulator.world import World

__all__ = ["SimulatedStation"]

LEAVE_WITHIN: Final = 5.0
EVENLY: Final = (5**0.5 - 1) / 2
"""The golden ratio: its multiples, without their whole part, lie evenly between 0 and 1, however many there are."""
IN_FLIGHT: Final = 2.0
"""Seconds: what was sent so recently may not have reached a browser when the connection ends."""
ASK_EVERY: Final = 5.0
"""Seconds without a question after which a station asks whether the broker is there: half of them to all, each another time."""
ASKS_A_SECOND: Final = 200
"""Of more stations than ask so often each asks more seldom: one of many finds out soon enough."""
AGAIN_WITHIN: Final = 20.0
"""Seconds between two losses without a cause that make another run with the same names likely: each takes the other's place."""


class _Clock:
    """A station's own clock: the schedule's time, and a wall clock that may be wrong."""

    __slots__ = ("_afflictions", "_schedule")

    def __init__(self, schedule: Schedule, afflictions: Afflictions) -> None:
        self._schedule, self._afflictions = schedule, afflictions

    def monotonic(self) -> float:
        return self._schedule.now

    def wall_ms(self) -> int:
        return int(self._schedule.wall_ms(self._schedule.now + self._afflictions.skew))


class SimulatedStation:
    """Station `number` of the scenario.

    Attributes:
        id: as it is on the wire.
        legacy: it does only what old field software does.
        seq: of its newest status.
        since: the moment that it was started, or last lost its connection.
        connection: the newest, until it has ended, and `will`: what it connected with.
        session: its machine, and `telemetry`: its devices.
        afflictions: what faults do to it, and `duties`: what it does beside reporting.
    """

    __slots__ = (
        *("_ask_every", "_back", "_backoff", "_began", "_cause", "_clock", "_due", "_failed", "_gone", "_lost_at"),
        *("_reason", "_robbed", "_sessions", "_since", "_task", "_timer", "_up", "_wanted", "_world", "afflictions"),
        *("connection", "duties", "id", "legacy", "number", "seq", "session", "since", "telemetry", "will"),
    )

    def __init__(self, world: World, number: int) -> None:
        self._world, self.number, self.id = world, number, world.station_id(number)
        settings = world.scenario.stations
        self.legacy, self.seq, self._sessions = spread(number, settings.legacy), 0, 0
        self.afflictions, self.duties = Afflictions(self, world), Duties(self, world)
        self._clock = _Clock(world.schedule, self.afflictions)
        self.telemetry = Telemetry(
            self.id,
            f"{world.scenario.seed}/{self.id}",
            devices=settings.devices,
            interval=settings.interval,
            day=settings.day,
            padding=settings.payload,
        )
        self.session = self._make_session(settings.keepalive)
        self._backoff = Backoff(world.chance.random)
        self.connection: Connection | None = None
        self.will: Publish | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: Timer | None = None
        self._gone: asyncio.Future[None] | None = None
        self._up = self._wanted = self._failed = False
        self._cause, self._back = "", 0.0
        self._began = self._since = self._due = self.since = 0.0
        self._reason, self._robbed = "", float("-inf")
        self._ask_every = float("inf")
        if not self.legacy:  # old software asks when its keep-alive makes it
            often = max(ASK_EVERY, settings.count / ASKS_A_SECOND)
            self._ask_every = often * (1 + number * EVENLY % 1.0) / 2
        self._lost_at: float | None = None

    def _make_session(self, keepalive: int) -> StationSession | LegacySession:
        if self.legacy:
            return LegacySession(
                self.id,
                self._clock,
                new_session_id=self._new_session_id,
                status=self._status,
                status_interval=self._world.interval,
            )
        return StationSession(
            self.id,
            self._clock,
            new_session_id=self._new_session_id,
            status=self._status,
            handles=self.duties.handles,
            status_interval=self._world.interval,
            keepalive=keepalive,
        )

    # ---- for the run

    @property
    def connected(self) -> bool:
        """Whether the broker accepted it, and it is there."""
        return self._up

    def start(self) -> None:
        """Connects, now, and stays connected until `stop`."""
        self._world.recorder.count("stations.started")
        now = self._world.schedule.now
        self._wanted, self._lost_at, self.since, self._due = True, None, now, now + self._world.scenario.settle
        self.duties.start()
        self._connect(now)

    def missing(self, now: float) -> str | None:
        """That it should be connected, and is not, and why; None: all is as it should be."""
        if not self._failed or not self._wanted or self._up or now < self._due:
            return None  # a first try that goes on is answered, or fails, within its own time
        away = "has not been connected" if self._lost_at is None else "never came back: it has been gone"
        return f"{self.id} {away} since {self._world.at(self.since)}; last reason: {self._reason}"

    async def stop(self, *, goodbye: bool = True, ask: bool = True) -> None:
        """Leaves: with a goodbye, or as if its power was cut. Old software knows no goodbye.

        Either way the broker is asked a last time whether it is there, by the goodbye or a PINGREQ; not where `ask` is False.
        """
        self._wanted = False
        self.duties.stop()
        connection = self.connection
        if connection is None:
            return
        self._gone = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(LEAVE_WITHIN):
                if goodbye and self._up and isinstance(self.session, StationSession):
                    effects = self.session.goodbye()
                    self.went("goodbye")
                    self.apply(effects)
                    await connection.settled()
                    connection.disconnect()
                else:
                    if ask and self._up and not self.afflictions.slow:
                        connection.ping()
                        await connection.settled()
                    self.went("abort")
                    connection.reset("it stops")
                await self._gone
        except TimeoutError:
            self._owes(connection.owed)
            self.went("abort")
            connection.reset("it stops")

    def drop(self) -> None:
        """Is gone at once."""
        self._wanted = False
        self.duties.stop()
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
        if self.connection is not None:
            self.connection.reset("it stops")

    def report_every(self, seconds: float) -> None:
        """Another status interval; the first ones of all stations lie evenly in it."""
        self.session.report_every(seconds, within=seconds * (self.number * EVENLY % 1.0))
        if self._up:
            self._set_timer()

    # ---- for its afflictions

    def announce(self, cause: str, back: float) -> None:
        """Its connection will end, and that is nobody's fault; `back` seconds after that it connects again."""
        self._cause, self._back = cause, back

    def replace_connection(self) -> None:
        """Another connection at once, beside the old one, which is nothing to it any more: nothing was lost."""
        self._lost_at = None
        self._connect(self._world.schedule.now)

    def went(self, cause: str, *, stays: float = 0.0) -> None:
        """Nothing of what it says arrives any more, and some of what it said just now may not have.

        Args:
            stays: seconds for which the connection is kept all the same.
        """
        if not self._up:
            return
        world, now = self._world, self._world.schedule.real()
        self._up, self._lost_at, self.since = False, now, now
        comes = max(now + stays + self._back, world.restarting_until)
        self._due = now if cause == "lost" else comes + world.scenario.settle
        self.session.disconnected()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        world.presence.went(self.number, now, cause)
        world.statuses.gone(self.number, now)
        if cause != "goodbye":
            world.statuses.forgive(self.number, max(0, self.seq - int(IN_FLIGHT / world.interval)), now)

    # ---- the connection

    def _connect(self, intended: float) -> None:
        if not self._wanted:
            return
        world = self._world
        self._began, self._cause, self._back = intended, "", 0.0
        self.will = self.session.next_session()
        token, keepalive = self.afflictions.token(), world.scenario.stations.keepalive
        first = connect_packet(self.id, self.id, token, keepalive, self.will)
        self.connection, self._task = open_connection(
            world.target.mqtt, self, world.schedule, first, world.context, self._ask_every
        )

    def answered(self, connection: Connection, question: Question, *, joining: bool) -> None:
        """As in Owner, like all of these."""
        if connection is self.connection:
            now = self._world.schedule.real()
            self._world.answers.answered(self.number, question.answer, question.asked, now, joining=joining)

    def accepted(self, connection: Connection) -> None:
        if connection is not self.connection:
            return
        world, now = self._world, self._world.schedule.real()
        self._up, self._since, self._task, self._failed = True, now, None, False
        if self._lost_at is not None:
            world.recorder.time("recovery", (now - self._lost_at) * 1000)
            world.recorder.count("stations.reconnects")
            self._lost_at = None
        world.presence.came(self.number, now)
        if not self.afflictions.skew:
            world.statuses.connected(self.number, now)
        self.apply(self.session.connected())
        self._set_timer()
        self.afflictions.accepted(connection, now)

    def refused(self, connection: Connection, code: int) -> None:
        if connection is self.connection and not self.afflictions.expired():
            self.afflictions.refused()
            now = self._world.schedule.real()
            if now >= self._world.restarting_until:
                evidence = f"{self.id} at {self._world.at(now)}: the broker refused it with code {code}"
                self._world.recorder.found("stations.refused", evidence)
            self.announce("refused", self._backoff.delay(0.0))

    def subscribed(self, connection: Connection, codes: bytes) -> None:
        self._world.recorder.time("connect", (self._world.schedule.real() - self._began) * 1000)
        if any(code >= 0x80 for code in codes):
            self._world.recorder.error("stations: the broker refused a subscription")

    def message(self, connection: Connection, topic: str, payload: bytes, retained: bool) -> None:
        if connection is not self.connection or not self._up:
            return
        session, had = self.session, self.session.duplicates
        effects = session.received(topic, payload, retained=retained)
        if session.duplicates > had:  # QoS 1 may deliver twice only after a lost connection
            self._world.commands.refused_duplicate(self.number, self._world.schedule.real())
        self.apply(effects)
        self._set_timer()

    def ended(self, connection: Connection, cause: str) -> None:
        if connection is not self.connection:
            return  # a twin took its place
        self.connection = self._task = None
        self._reason = cause
        schedule, was_up = self._world.schedule, self._up
        now = schedule.real()
        held = now - self._since if was_up else 0.0
        self._failed = self._failed or not self._cause or self._cause == "refused"
        if was_up:
            restarting = now < self._world.restarting_until
            expired = not restarting and not self._cause and self.afflictions.expired()
            self.went("run" if restarting else "token-expiry" if expired else "lost")
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)
        if not self._wanted:
            return
        if not self._cause:
            self._unexpected(connection, cause, now, was_up=was_up)
        delay = self._back if self._cause else self._backoff.delay(held)
        schedule.at(now + delay, partial(self._connect, now + delay))

    def _unexpected(self, connection: Connection, cause: str, now: float, *, was_up: bool) -> None:
        world = self._world
        if now < world.restarting_until or self.afflictions.slow:
            return
        if connection.ending == "unanswered":
            self._owes(connection.unanswered)
        elif connection.ending == "unreachable":
            world.recorder.found("stations.unreachable", f"{self.id} at {world.at(now)}: {cause}")
        elif was_up:
            if now - self._robbed < AGAIN_WITHIN:  # MQTT 3.1.1 has no reason that a broker could give
                said = f"{self.id} is let in and put out again and again: {world.rival}"
                world.recorder.hint("stations.disconnects", said)
            self._robbed = now
            world.recorder.found("stations.disconnects", f"{self.id}: connection lost at {world.at(now)}: {cause}")
        else:
            world.recorder.error(f"stations: {cause}")

    def _owes(self, question: Question | None) -> None:
        """The broker did not answer it."""
        if question is not None:
            now = self._world.schedule.real()
            self._world.answers.unanswered(self.number, question.answer, question.asked, now)

    # ---- what it does

    def _tick(self) -> None:
        self._timer = None
        self.apply(self.session.tick())
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        at = self.session.next_tick()
        self._timer = None if at is None else self._world.schedule.at(at, self._tick)

    def wall_ms(self) -> int:
        """The time that it takes it to be."""
        return self._clock.wall_ms()

    def _status(self) -> bytes:
        """The next status message."""
        world, schedule = self._world, self._world.schedule
        now = schedule.now
        self.seq += 1
        world.statuses.sent(self.number, self.seq, now, schedule.real())
        return self.telemetry.status(
            now - schedule.begin, self._clock.wall_ms(), self.seq, schedule.wall_ms(now), world.run_id
        )

    def apply(self, effects: list[Effect]) -> None:
        """Carries out what its machine decided."""
        for effect in effects:
            connection = self.connection
            if connection is None:
                return
            match effect:
                case Publish():
                    if not connection.publish(effect):
                        self._world.recorder.error(
                            "stations: a status was not sent, as the broker read nothing for long"
                        )
                case Subscribe(filters, qos):
                    connection.subscribe(filters, qos)
                case Invoke():
                    self.duties.carry_out(effect)
                case Signalled(signal):
                    self.duties.signalled(signal)
                case _:
                    pass  # `stop` disconnects

    def _new_session_id(self) -> str:
        self._sessions += 1
        return f"{self._world.run_id}.{self.number}.{self._sessions}"
