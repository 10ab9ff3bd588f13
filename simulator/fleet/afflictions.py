"""What faults do to a simulated station: to its connection, its clock and its token."""

from functools import partial
from typing import TYPE_CHECKING, Final

from devices.session import Publish
from simulator.fleet.mqtt import Connection
from simulator.plan import TOKEN_LIFE

if TYPE_CHECKING:
    from simulator.fleet.station import SimulatedStation
    from simulator.world import World

__all__ = ["Afflictions"]

TWINS_MEET: Final = 5.0
"""Seconds a broker may let two connections with one client id live. [MQTT-3.1.4-2]"""


class Afflictions:
    """Those of one station.

    Attributes:
        skew: seconds that its wall clock is wrong by.
        slow: it reads nothing just now.
    """

    __slots__ = ("_late_will", "_station", "_token", "_token_ends", "_world", "skew", "slow")

    def __init__(self, station: "SimulatedStation", world: "World") -> None:
        self._station, self._world = station, world
        self._late_will: Publish | None = None
        self._token: str | None = None
        self._token_ends = float("inf")
        self.skew, self.slow = 0.0, False

    # ---- the faults

    def abort(self, back: float, cause: str = "abort") -> None:
        """Its connection is reset; it connects again after `back` seconds."""
        station, connection = self._station, self._station.connection
        if connection is not None and station.connected:
            station.announce(cause, back)
            station.went(cause)
            connection.reset(cause)

    def fall_silent(self, lasts: float) -> None:
        """Half-open: it neither reads nor writes nor pings, and the socket stays; then it connects anew."""
        station, connection, schedule = self._station, self._station.connection, self._world.schedule
        if connection is None or not station.connected:
            return
        station.announce("half-open", 0.0)
        station.went("half-open", stays=lasts)
        connection.fall_silent()
        schedule.at(schedule.now + lasts, partial(connection.reset, "half-open"))

    def read_slowly(self, lasts: float) -> None:
        """Reads nothing for so long, and reports as before."""
        connection, schedule = self._station.connection, self._world.schedule
        if connection is None:
            return
        self.slow = True
        self._world.presence.disturbed(self._station.number, schedule.now + lasts)
        connection.hold()

        def over() -> None:
            self.slow = False
            connection.release()

        schedule.at(schedule.now + lasts, over)

    def twin(self, lasts: float) -> None:
        """A second connection with its client id takes over, as after a power cycle; then the first comes back that way."""
        self._take_over()
        self._world.schedule.at(self._world.schedule.now + lasts, self._take_over)

    def _take_over(self) -> None:
        station, world = self._station, self._world
        old = station.connection
        if old is None or not station.connected:
            return
        station.went("duplicate-client-id")
        station.replace_connection()

        def meet() -> None:
            if not old.over and world.restarting_until < world.schedule.real():
                world.recorder.error("stations: two connections with one client id lived on")
                old.reset("it has a twin")

        world.schedule.at(world.schedule.now + TWINS_MEET, meet)

    def skew_clock(self, seconds: float, lasts: float) -> None:
        """Its wall clock is wrong by so much for a while; what it says then may be dropped as too old."""
        station, world = self._station, self._world
        now, first = world.schedule.now, station.seq
        world.presence.disturbed(station.number, now + lasts)
        world.statuses.gone(station.number, now)
        self.skew = seconds

        def over() -> None:
            if self.skew != seconds:
                return  # another one is on
            self.skew = 0.0
            moment = world.schedule.now
            world.statuses.forgive(station.number, first, moment)
            if station.connected:
                world.statuses.connected(station.number, moment)

        world.schedule.at(now + lasts, over)

    def late_will(self) -> None:
        """It connects again, and a second later the will of its session before comes once more.

        Not of old software: a hub knows no session of it, and must believe every will.
        """
        if self._station.connected and not self._station.legacy:
            self._late_will = self._station.will
            self.abort(0.0, "late-will")

    def expire_token(self, life: float) -> None:
        """It connects with a token that is good for `life` seconds, and again with that one when it is not.

        A hub may take it a little longer: then it is put out later. Either way it comes back with a new one.
        """
        schedule = self._world.schedule
        self._token = self._world.credentials.station(self._station.id, life)
        self._token_ends = schedule.now + life
        self.abort(0.0, "token-expiry")
        schedule.at(schedule.now + life + 1.0, partial(self.abort, 0.0, "token-expiry"))

    # ---- what they change in how it connects

    def token(self) -> str:
        """What it logs in with."""
        return self._token or self._world.credentials.station(self._station.id, TOKEN_LIFE)

    def expired(self) -> bool:
        """Whether its token was to end by now (a token's time is in whole seconds); the next one is good again."""
        if self._world.schedule.real() < self._token_ends - 1.0:
            return False
        self._token, self._token_ends = None, float("inf")
        self._station.announce("token-expiry", 0.0)
        return True

    def refused(self) -> None:
        """The token is no good, whatever the reason: the next one is another."""
        self._token = None

    def accepted(self, connection: Connection, now: float) -> None:
        """It is connected again: what comes late will come."""
        if (late := self._late_will) is not None:
            self._late_will = None
            self._world.schedule.at(now + 1.0, partial(self._say_late, connection, late))

    def _say_late(self, connection: Connection, will: Publish) -> None:
        """The will of a session before; that of this one would be no lie once the connection is gone."""
        if self._station.connected and connection is self._station.connection:
            connection.publish(will)
