"""A simulated station: the machine of `devices.session`, or that of old field software, on a connection that faults may break.

Its clock is the schedule's: while a timer runs, the moment that it was meant for. So a status that the tester sends late says
when it should have been sent, and one that was due in the meantime is sent all the same; what was due while it had no connection
is not.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

import orjson

from devices import topics
from devices.messages import Signal, StreamResponse
from devices.session import Backoff, Effect, Invoke, Publish, Signalled, StationError, StationSession, Subscribe
from simulator.fleet.legacy import LegacySession
from simulator.fleet.mqtt import Connection, Question, connect_packet, open_connection
from simulator.fleet.schedule import Schedule, Timer
from simulator.fleet.telemetry import Telemetry
from simulator.fleet.video import StationVideo
from simulator.plan import TOKEN_LIFE, spread
from simulator.world import World

__all__ = ["SimulatedStation"]

CALL_HEARD_WITHIN: Final = 10.0
LEAVE_WITHIN: Final = 5.0
HOUR: Final = 3_600.0
EVENLY: Final = (5**0.5 - 1) / 2
"""The golden ratio: its multiples, without their whole part, lie evenly between 0 and 1, however many there are."""
TWINS_MEET: Final = 5.0
"""Seconds a broker may let two connections with one client id live. [MQTT-3.1.4-2]"""
IN_FLIGHT: Final = 2.0
"""Seconds: what was sent so recently may not have reached a browser when the connection ends."""
ASK_EVERY: Final = 5.0
"""Seconds without a question after which a station asks whether the broker is there: half of them to all, each another time."""
ASKS_A_SECOND: Final = 200
"""Of more stations than ask so often each asks more seldom: one of many finds out soon enough."""
AGAIN_WITHIN: Final = 20.0
"""Seconds between two losses without a cause that make another run with the same names likely: each takes the other's place."""
DUPLICATE: Final = b'"stage":"duplicate"'
HANDLED: Final = frozenset({"open-gate", "join-room", "start-stream"})
STREAMING: Final = HANDLED | {"stop-stream"}


class _Clock:
    """A station's own clock: the schedule's time, and a wall clock that may be wrong by `skew` seconds."""

    __slots__ = ("_schedule", "skew")

    def __init__(self, schedule: Schedule) -> None:
        self._schedule, self.skew = schedule, 0.0

    def monotonic(self) -> float:
        return self._schedule.now

    def wall_ms(self) -> int:
        return int(self._schedule.wall_ms(self._schedule.now + self.skew))


class SimulatedStation:
    """Station `number` of the scenario.

    Attributes:
        id: as it is on the wire.
        legacy: it does only what old field software does.
        seq: of its newest status.
        since: the moment that it was started, or last lost its connection.
    """

    __slots__ = (
        *("_ask_every", "_back", "_backoff", "_began", "_called", "_calls", "_cause", "_clock", "_connection", "_due"),
        *(
            "_failed",
            "_gone",
            "_video",
            "_late_will",
            "_lost_at",
            "_reason",
            "_robbed",
            "_session",
            "_sessions",
            "_since",
            "_slow",
            "_task",
        ),
        *("_telemetry", "_timer", "_token", "_token_ends", "_up", "_wanted", "_will", "_world", "id", "legacy"),
        *("number", "seq", "since"),
    )

    def __init__(self, world: World, number: int) -> None:
        self._world, self.number, self.id = world, number, world.station_id(number)
        settings = world.scenario.stations
        self.legacy, self.seq, self._sessions = spread(number, settings.legacy), 0, 0
        self._clock = _Clock(world.schedule)
        self._telemetry = Telemetry(
            self.id,
            f"{world.scenario.seed}/{self.id}",
            devices=settings.devices,
            interval=settings.interval,
            day=settings.day,
            padding=settings.payload,
        )
        self._session = self._make_session(settings.keepalive)
        self._backoff = Backoff(world.chance.random)
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: Timer | None = None
        self._calls: Timer | None = None
        self._gone: asyncio.Future[None] | None = None
        self._will: Publish | None = None
        self._late_will: Publish | None = None
        self._token: str | None = None
        self._token_ends, self._called = float("inf"), 0
        self._up = self._wanted = self._slow = self._failed = False
        self._video: StationVideo | None = None
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
            handles=HANDLED.__contains__ if self._world.studio is None else STREAMING.__contains__,
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
        studio = self._world.studio
        if studio is not None and self._video is None and self._world.plan.streams(self.number):
            self._video = studio.open(self.id, self._speak)
        self._connect(now)
        if self._world.scenario.stations.calls and not self.legacy:
            self._next_call(self._world.schedule.now)

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
        self._stop_video()
        if self._calls is not None:
            self._calls.cancel()
        connection = self._connection
        if connection is None:
            return
        self._gone = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(LEAVE_WITHIN):
                if goodbye and self._up and isinstance(self._session, StationSession):
                    effects = self._session.goodbye()
                    self._went("goodbye")
                    self._apply(effects)
                    await connection.settled()
                    connection.disconnect()
                else:
                    if ask and self._up and not self._slow:
                        connection.ping()
                        await connection.settled()
                    self._went("abort")
                    connection.reset("it stops")
                await self._gone
        except TimeoutError:
            self._owes(connection.owed)
            self._went("abort")
            connection.reset("it stops")

    def drop(self) -> None:
        """Is gone at once."""
        self._wanted = False
        self._stop_video()
        for timer in (self._timer, self._calls):
            if timer is not None:
                timer.cancel()
        if self._task is not None:
            self._task.cancel()
        if self._connection is not None:
            self._connection.reset("it stops")

    def report_every(self, seconds: float) -> None:
        """Another status interval; the first ones of all stations lie evenly in it."""
        self._session.report_every(seconds, within=seconds * (self.number * EVENLY % 1.0))
        if self._up:
            self._set_timer()

    # ---- faults

    def abort(self, back: float, cause: str = "abort") -> None:
        """Its connection is reset; it connects again after `back` seconds."""
        connection = self._connection
        if connection is not None and self._up:
            self._announce(cause, back)
            self._went(cause)
            connection.reset(cause)

    def fall_silent(self, lasts: float) -> None:
        """Half-open: it neither reads nor writes nor pings, and the socket stays; then it connects anew."""
        connection = self._connection
        if connection is None or not self._up:
            return
        self._announce("half-open", 0.0)
        self._went("half-open")
        connection.fall_silent()
        self._due += lasts
        self._world.schedule.at(self._world.schedule.now + lasts, partial(connection.reset, "half-open"))

    def read_slowly(self, lasts: float) -> None:
        """Reads nothing for so long, and reports as before."""
        connection, schedule = self._connection, self._world.schedule
        if connection is None:
            return
        self._slow = True
        self._world.presence.disturbed(self.number, schedule.now + lasts)
        connection.hold()

        def over() -> None:
            self._slow = False
            connection.release()

        schedule.at(schedule.now + lasts, over)

    def twin(self, lasts: float) -> None:
        """A second connection with its client id takes over, as after a power cycle; then the first comes back that way."""
        self._take_over()
        self._world.schedule.at(self._world.schedule.now + lasts, self._take_over)

    def skew(self, seconds: float, lasts: float) -> None:
        """Its wall clock is wrong by so much for a while; what it says then may be dropped as too old."""
        world, now = self._world, self._world.schedule.now
        world.presence.disturbed(self.number, now + lasts)
        world.statuses.gone(self.number, now)
        self._clock.skew = seconds
        first = self.seq

        def over() -> None:
            if self._clock.skew != seconds:
                return  # another one is on
            self._clock.skew = 0.0
            moment = world.schedule.now
            world.statuses.forgive(self.number, first, moment)
            if self._up:
                world.statuses.connected(self.number, moment)

        world.schedule.at(now + lasts, over)

    def late_will(self) -> None:
        """It connects again, and a second later the will of its session before comes once more.

        Not of old software: a hub knows no session of it, and must believe every will.
        """
        if self._up and not self.legacy:
            self._late_will = self._will
            self.abort(0.0, "late-will")

    def expire_token(self, life: float) -> None:
        """It connects with a token that is good for `life` seconds, and again with that one when it is not.

        A hub may take it a little longer: then it is put out later. Either way it comes back with a new one.
        """
        now = self._world.schedule.now
        self._token, self._token_ends = self._world.credentials.station(self.id, life), now + life
        self.abort(0.0, "token-expiry")
        self._world.schedule.at(now + life + 1.0, partial(self.abort, 0.0, "token-expiry"))

    def _expired(self) -> bool:
        """Whether its token was to end by now (a token's time is in whole seconds); the next one is good again."""
        if self._world.schedule.real() < self._token_ends - 1.0:
            return False
        self._token, self._token_ends = None, float("inf")
        self._announce("token-expiry", 0.0)
        return True

    def _announce(self, cause: str, back: float) -> None:
        """The connection will end, and that is nobody's fault."""
        self._cause, self._back = cause, back

    def _take_over(self) -> None:
        old, world = self._connection, self._world
        if old is None or not self._up:
            return
        self._went("duplicate-client-id")
        self._lost_at = None
        self._connect(world.schedule.now)

        def meet() -> None:
            if not old.over and world.restarting_until < world.schedule.real():
                world.recorder.error("stations: two connections with one client id lived on")
                old.reset("it has a twin")

        world.schedule.at(world.schedule.now + TWINS_MEET, meet)

    # ---- the connection

    def _connect(self, intended: float) -> None:
        if not self._wanted:
            return
        world = self._world
        self._began, self._cause = intended, ""
        self._will = will = self._session.next_session()
        token = self._token or world.credentials.station(self.id, TOKEN_LIFE)
        first = connect_packet(self.id, self.id, token, world.scenario.stations.keepalive, will)
        self._connection, self._task = open_connection(
            world.target.mqtt, self, world.schedule, first, world.context, self._ask_every
        )

    def answered(self, connection: Connection, question: Question, *, joining: bool) -> None:
        """As in Owner, like all of these."""
        if connection is self._connection:
            now = self._world.schedule.real()
            self._world.answers.answered(self.number, question.answer, question.asked, now, joining=joining)

    def accepted(self, connection: Connection) -> None:
        if connection is not self._connection:
            return
        world, now = self._world, self._world.schedule.real()
        self._up, self._since, self._task, self._failed = True, now, None, False
        if self._lost_at is not None:
            world.recorder.time("recovery", (now - self._lost_at) * 1000)
            world.recorder.count("stations.reconnects")
            self._lost_at = None
        world.presence.came(self.number, now)
        if not self._clock.skew:
            world.statuses.connected(self.number, now)
        self._apply(self._session.connected())
        self._set_timer()
        if (late := self._late_will) is not None:
            self._late_will = None
            world.schedule.at(now + 1.0, partial(self._say_late, connection, late))

    def refused(self, connection: Connection, code: int) -> None:
        if connection is self._connection and not self._expired():
            self._token, now = None, self._world.schedule.real()
            if now >= self._world.restarting_until:
                evidence = f"{self.id} at {self._world.at(now)}: the broker refused it with code {code}"
                self._world.recorder.found("stations.refused", evidence)
            self._announce("refused", self._backoff.delay(0.0))

    def _say_late(self, connection: Connection, will: Publish) -> None:
        """The will of a session before; that of this one would be no lie once the connection is gone."""
        if self._up and connection is self._connection:
            connection.publish(will)

    def subscribed(self, connection: Connection, codes: bytes) -> None:
        self._world.recorder.time("connect", (self._world.schedule.real() - self._began) * 1000)
        if any(code >= 0x80 for code in codes):
            self._world.recorder.error("stations: the broker refused a subscription")

    def message(self, connection: Connection, topic: str, payload: bytes, retained: bool) -> None:
        if connection is not self._connection or not self._up:
            return
        effects = self._session.received(topic, payload, retained=retained)
        if effects:
            self._look_for_duplicate(topic, payload, effects[0])
        self._apply(effects)
        self._set_timer()

    def ended(self, connection: Connection, cause: str) -> None:
        if connection is not self._connection:
            return  # a twin took its place
        self._connection = self._task = None
        self._reason = cause
        schedule, was_up = self._world.schedule, self._up
        now = schedule.real()
        held = now - self._since if was_up else 0.0
        self._failed = self._failed or not self._cause or self._cause == "refused"
        if was_up:
            restarting = now < self._world.restarting_until
            self._went("run" if restarting else "token-expiry" if not self._cause and self._expired() else "lost")
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
        if now < world.restarting_until or self._slow:
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

    def _went(self, cause: str) -> None:
        """Nothing of what it says arrives any more, and some of what it said just now may not have."""
        if not self._up:
            return
        world, now = self._world, self._world.schedule.real()
        self._up, self._lost_at, self.since = False, now, now
        self._due = now if cause == "lost" else max(now + self._back, world.restarting_until) + world.scenario.settle
        self._session.disconnected()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        world.presence.went(self.number, now, cause)
        world.statuses.gone(self.number, now)
        if cause != "goodbye":
            world.statuses.forgive(self.number, max(0, self.seq - int(IN_FLIGHT / world.interval)), now)

    # ---- what it does

    def _tick(self) -> None:
        self._timer = None
        self._apply(self._session.tick())
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        at = self._session.next_tick()
        self._timer = None if at is None else self._world.schedule.at(at, self._tick)

    def _status(self) -> bytes:
        """The next status message."""
        world, schedule = self._world, self._world.schedule
        now = schedule.now
        self.seq += 1
        world.statuses.sent(self.number, self.seq, now, schedule.real())
        return self._telemetry.status(
            now - schedule.begin, self._clock.wall_ms(), self.seq, schedule.wall_ms(now), world.run_id
        )

    def _apply(self, effects: list[Effect]) -> None:
        for effect in effects:
            connection = self._connection
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
                    self._carry_out(effect)
                case Signalled(signal):
                    self._signalled(signal)
                case _:
                    pass  # `stop` disconnects

    def _carry_out(self, invoke: Invoke) -> None:
        command, session = invoke.command, self._session
        if not isinstance(session, StationSession):
            return
        result = None
        match command.type:
            case "open-gate":
                result = {"open": self._telemetry.open_gate()}
                self._world.commands.executed(self.number, _token_of(command.params), self._world.schedule.real())
                self._apply(session.report())
            case _ if self._video is not None and self._video.takes(command):
                pass
            case "join-room":
                self._apply(session.join_room(command.room_id or "-"))
            case "stop-stream":
                pass  # it shows nothing
            case _:
                url = f"rtsp://{self.id}.invalid/{command.camera_id or ''}"
                answer = StreamResponse(
                    requester_id=command.requester_id or "-", status="ready", url=url, camera_id=command.camera_id
                )
                self._apply(session.stream_response(answer))
        self._apply(session.done(invoke, result))

    def _speak(self, make: Callable[[StationSession], list[Effect]]) -> None:
        """For its cameras. Raises StationError."""
        if isinstance(self._session, StationSession):
            self._apply(make(self._session))

    def _stop_video(self) -> None:
        if self._video is not None and self._world.studio is not None:
            self._world.studio.release(self._video)
            self._video = None

    def _signalled(self, signal: Signal) -> None:
        session = self._session
        if not isinstance(session, StationSession) or (self._video is not None and self._video.hears(signal)):
            return
        try:
            if signal.event == "offer" and isinstance(signal.offer, dict):
                answer = {**signal.offer, "type": "answer"}
                self._apply(
                    session.signal(Signal(event="answer", peer=signal.peer, room_id=signal.room_id, answer=answer))
                )
            elif signal.event == "peer-left" and signal.room_id:
                self._apply(session.leave_room(signal.room_id))  # who invited it is gone
        except StationError:
            pass  # an offer so large that no answer to it may be sent

    def _look_for_duplicate(self, topic: str, payload: bytes, first: Effect) -> None:
        """A command that the machine refused as one it has had: QoS 1 may deliver twice only after a lost connection."""
        if isinstance(first, Publish) and DUPLICATE in first.payload and topic == topics.STATION_CMD(self.id):
            token = _token_of(orjson.loads(payload).get("params"))
            self._world.commands.executed(self.number, token, self._world.schedule.real(), duplicate_refused=True)

    def _next_call(self, now: float) -> None:
        self._called += 1
        chance = self._world.rng(f"{self.id}/call {self._called}")  # one of its own for so few would be 2.5 KB to keep
        wait = chance.expovariate(self._world.scenario.stations.calls / HOUR)
        self._calls = self._world.schedule.at(now + wait, self._call)

    def _call(self) -> None:
        world, now = self._world, self._world.schedule.now
        self._next_call(now)
        session = self._session
        if not self._up or not isinstance(session, StationSession):
            return
        if world.target.http is not None:  # else there is a broker alone, and nobody to hear it
            heard = any(browser.connected for browser in world.browsers.values())
            if not heard or not world.presence.settled(self.number, now):
                return
            key = (self.id, self._clock.wall_ms())
            world.exchanges.expect("call", key, now, CALL_HEARD_WITHIN, station=self.number)
        self._apply(session.call_center())

    def _new_session_id(self) -> str:
        self._sessions += 1
        return f"{self._world.run_id}.{self.number}.{self._sessions}"


def _token_of(params: object) -> str:
    token = params.get("sim") if isinstance(params, dict) else None
    return token if isinstance(token, str) else ""
