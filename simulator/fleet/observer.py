"""What takes a browser's place where there is no hub: an MQTT client that hears each status of a window of stations."""

import asyncio
from functools import partial
from typing import Final

import orjson

from devices import topics
from devices.session import Backoff
from simulator.browsers.watching import window_of
from simulator.fleet.mqtt import Connection, Question, connect_packet, open_connection
from simulator.plan import TOKEN_LIFE
from simulator.world import World

__all__ = ["Observer"]

KEEP_ALIVE: Final = 60


class Observer:
    """Observer `number`; it has a browser's methods as far as a run needs them."""

    def __init__(self, world: World, number: int) -> None:
        self._world, self.number, self._name = world, number, world.user_id(number)
        self._numbers = window_of(world, number)
        self._backoff = Backoff(world.chance.random)
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._began = self._since = self._due = self.since = 0.0
        self._reason, self._failed = "", False
        self._back: float | None = None
        self._wanted = self._announced = self.connected = False

    def start(self) -> None:
        """Connects, now, and stays connected until `stop`."""
        self._world.recorder.count("browsers.started")
        self._wanted, self.since = True, self._world.schedule.now
        self._due = self.since + self._world.scenario.settle
        self._connect(self.since)

    def missing(self, now: float) -> str | None:
        """As of a browser."""
        if not self._failed or not self._wanted or self.connected or now < self._due:
            return None
        return f"{self._name} has not been there since {self._world.at(self.since)}; last reason: {self._reason}"

    async def rest(self) -> None:
        """It only listens."""

    async def stop(self) -> None:
        """Leaves in order."""
        self._wanted = False
        if self._connection is not None and self.connected:
            self._connection.disconnect()
        elif self._connection is not None:
            self._connection.reset("it stops")

    def drop(self) -> None:
        """Is gone at once."""
        self._wanted = False
        if self._task is not None:
            self._task.cancel()
        if self._connection is not None:
            self._connection.reset("it stops")

    def abort(self, back: float) -> None:
        """Its connection is reset; it comes again after `back` seconds."""
        if self._connection is not None:
            self._announced, self._back = True, back
            self._connection.reset("abort")

    def fall_silent(self, lasts: float) -> None:
        """Half-open; then it comes again."""
        if self._connection is not None and self.connected:
            self._announced, self._back, self.connected = True, 0.0, False
            self.since = self._world.schedule.real()
            self._due = self.since + lasts + self._world.scenario.settle
            self._world.statuses.unwatch(self.number)
            self._connection.fall_silent()
            self._world.schedule.at(self._world.schedule.now + lasts, partial(self._connection.reset, "half-open"))

    def read_slowly(self, lasts: float) -> None:
        """Reads nothing for so long; a broker may drop what it cannot keep."""
        connection, schedule = self._connection, self._world.schedule
        if connection is not None:
            self._world.statuses.slow(self.number, schedule.now + lasts + self._world.scenario.settle)
            connection.hold()
            schedule.at(schedule.now + lasts, connection.release)

    @property
    def available(self) -> bool:
        """It talks to nobody."""
        return False

    def expire_token(self, _life: float) -> None:
        """A broker alone looks at a token once."""

    # ---- its connection

    def _connect(self, intended: float) -> None:
        if not self._wanted:
            return
        world = self._world
        self._began, self._announced, self._back = intended, False, None
        token = world.credentials.browser(self._name, TOKEN_LIFE)
        first = connect_packet(self._name, self._name if token else "", token, KEEP_ALIVE, None)
        self._connection, self._task = open_connection(world.target.mqtt, self, world.schedule, first, world.context)

    def answered(self, connection: Connection, question: Question, *, joining: bool) -> None:
        """As in Owner, like all of these; how fast a broker answers is measured by stations."""

    def accepted(self, connection: Connection) -> None:
        self._since = self._world.schedule.real()
        if self._numbers is None:
            wanted: tuple[str, ...] = (topics.STATION_STATUS.filter(),)
        else:
            wanted = tuple(topics.STATION_STATUS(self._world.station_id(number)) for number in self._numbers)
        connection.subscribe(wanted, 0)

    def refused(self, connection: Connection, code: int) -> None:
        self._announced = True
        self._world.recorder.found("browsers.refused", f"{self._name}: the broker refused it with code {code}")

    def subscribed(self, connection: Connection, codes: bytes) -> None:
        now = self._world.schedule.real()
        self._world.recorder.time("login", (now - self._began) * 1000)
        if any(code >= 0x80 for code in codes):
            self._world.recorder.error("observers: the broker refused a subscription")
        self.connected, self._failed = True, False
        self._world.statuses.watching(self.number, self._numbers, now)

    def message(self, connection: Connection, topic: str, payload: bytes, retained: bool) -> None:
        world, found = self._world, topics.STATION_STATUS.ids(topic)
        number = None if found is None else world.by_id.get(found[0])
        if number is None:
            return  # others load this broker, too
        try:
            status = orjson.loads(payload)
            sim = status["sim"]
            if sim["r"] == world.run_id:
                world.statuses.batch(
                    self.number, number, sim["n"], world.schedule.moment(sim["t"]), world.schedule.real()
                )
        except (ValueError, KeyError, TypeError):
            world.recorder.found("status.wrong", f"{self._name} got what is no status of {world.station_id(number)}")

    def ended(self, connection: Connection, cause: str) -> None:
        world, now = self._world, self._world.schedule.real()
        self._connection = None
        self._reason, self._failed = cause, self._failed or not self._announced
        was_up, self.connected = self.connected, False
        if was_up:
            world.statuses.unwatch(self.number)
            self.since = now
            back = now if self._back is None else now + self._back + world.scenario.settle
            self._due = max(back, world.restarting_until)
        if not self._wanted:
            return
        if not self._announced and now > world.restarting_until:
            if was_up:
                world.recorder.found("browsers.disconnects", f"{self._name} lost its connection: {cause}")
            elif connection.ending == "unreachable":
                world.recorder.found("browsers.unreachable", f"{self._name} at {world.at(now)}: {cause}")
            else:
                world.recorder.error(f"observers: {cause}")
        delay = self._backoff.delay(now - self._since if was_up else 0.0) if self._back is None else self._back
        world.schedule.at(now + delay, partial(self._connect, now + delay))
