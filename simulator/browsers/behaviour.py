"""What a browser does next: chosen by chance and the scenario's mix, at moments that no answer delays.

An open model: the next action is meant for the last one's intended moment and a think time more, whatever became of that one.
What cannot be tried then, as the browser is not connected or too much is open already, is skipped and counted.
"""

import random
from functools import partial
from typing import Any, Final, cast

from devices.door import ConnectionLost, DoorClient, OperatorError, RequestFailed
from simulator.browsers.requests import ACK_WITHIN, Requests
from simulator.browsers.talks import WITHIN, RoomTalk, StationTalk, Talker, token_in
from simulator.fleet.schedule import Timer
from simulator.judge.commands import Outcome
from simulator.texts import plain
from simulator.world import World

__all__ = ["Behaviour", "allowed"]

MOST_OPEN: Final = 8
"""Requests and talks of one browser that may be open at a time."""
ONLINE_FOR: Final = 1.0
"""Seconds that a station has been online, undisturbed, before it is asked; what a hub answers is judged as it then knows it."""
TRIES: Final = 16
"""How many stations are looked at, by chance, for one that can be asked."""
CAMERAS: Final = 4
_OF_TALKS: Final = ("peer-joined", "peer-left", "peer-disconnected", "offer", "answer", "ice-candidate")
VIEWER: Final = ("status", "rooms", "ping")
"""What needs no operator (contract.md section 5)."""


def allowed(world: World, role: str | None) -> dict[str, float]:
    """The mix, as far as a role may do it; a token without a role leaves it to the hub, which then allows all."""
    mix = world.scenario.browsers.mix
    weights = {name: float(getattr(mix, name)) for name in ("status", "command", "stream", "invite", "rooms", "ping")}
    return {name: weight for name, weight in weights.items() if weight > 0 and (role != "viewer" or name in VIEWER)}


class Behaviour:
    """One browser's.

    Args:
        talker: the browser itself, as rooms see it.
        stations: numbers of those that it may ask.

    Attributes:
        role: of its token.
        paused: it reads slowly, or not at all: nothing is tried, and nothing counted as skipped.
    """

    def __init__(self, world: World, talker: Talker, requests: Requests, rng: random.Random, stations: range) -> None:
        self._world, self._me, self._requests, self._rng = world, talker, requests, rng
        self._stations = stations
        self._name = world.user_id(talker.number)
        self._timer: Timer | None = None
        self._count = 0
        self._asked: dict[tuple[str, int], float] = {}
        self._weights: dict[str, float] = {}
        self.role: str | None = None
        self.paused = False

    # ---- when

    def start(self, now: float) -> None:
        """Acts from now on, until `stop`; the first time within one think time, so that browsers do not act in step."""
        self._timer = self._world.schedule.at(now + self._rng.random() * self._think(), self._turn)

    def stop(self) -> None:
        """Does nothing more; what is open stays so."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def lost(self) -> None:
        """The connection ended, or is not read any more: what was to come over it is nobody's fault."""
        number = self._me.number
        for talk in list(self._me.talks):
            talk.lost(self._me)
        if self._asked:
            self._asked.clear()
            self._world.exchanges.excuse(lambda kind, key: isinstance(key, tuple) and key[:2] == ("browser", number))

    @property
    def waits(self) -> bool:
        """Whether something is still to come of what it asked."""
        return any(until > self._world.schedule.real() for until in self._asked.values())

    def may(self, role: str | None) -> None:
        """It logged in with this role."""
        self.role, self._weights = role, allowed(self._world, role)

    def _think(self) -> float:
        return self._rng.uniform(*self._world.scenario.browsers.think) / self._world.pace

    def _turn(self) -> None:
        schedule = self._world.schedule
        intended = schedule.now
        self._timer = schedule.at(intended + self._think(), self._turn)
        chosen = self._choose()
        if chosen is None or self.paused:
            return
        client = self._me.client
        if client is None or len(self._requests) + len(self._me.talks) >= MOST_OPEN:
            self._world.recorder.count("actions.skipped")
            return
        self._count += 1
        _ACTIONS[chosen](self, client, intended)

    def _choose(self) -> str | None:
        """By chance, drawn the same number of times whatever the state, so that a seed repeats a run."""
        chance = self._rng.random()
        total = sum(self._weights.values())
        for name, weight in self._weights.items():
            chance -= weight / total
            if chance < 0:
                return name
        return next(reversed(self._weights), None)

    # ---- what

    def _ping(self, client: DoorClient, intended: float) -> None:
        self._requests.ask(client, "ping", None, _nothing, intended=intended)

    def _status(self, client: DoorClient, intended: float) -> None:
        number = self._pick("answer", intended, legacy=True)
        if number is None:
            return
        key = self._expect("answer", number, number, intended)
        self._ask_station(
            client, "station-request-status", number, {}, partial(self._unless, "answer", number, key), intended
        )

    def _stream(self, client: DoorClient, intended: float) -> None:
        number = self._pick("stream", intended)
        if number is None:
            return
        camera = f"cam-{self._count % CAMERAS + 1}"
        key = self._expect("stream", number, (number, camera), intended)
        then = partial(self._unless, "stream", number, key)
        self._ask_station(client, "station-cmd-request-stream", number, {"cameraId": camera}, then, intended)

    def _command(self, client: DoorClient, intended: float) -> None:
        number = self._pick("command", intended)
        if number is None:
            return
        world, token = self._world, self._token()
        seconds = min(max(world.scenario.browsers.command_timeout, 0.1), 60.0)
        now = world.schedule.real()
        world.commands.issued(token, number, now, now + seconds)
        data = {"type": "open-gate", "params": {"sim": token}, "timeoutMs": round(seconds * 1000)}

        def then(ack: Any) -> None:
            world.commands.acked(token, _outcome(ack), world.schedule.real())

        self._ask_station(client, "station-command", number, data, then, intended, ACK_WITHIN + seconds)

    def _invite(self, _: DoorClient, intended: float) -> None:
        number = self._pick("invite", intended)
        if number is None:
            return
        self._asked["invite", number] = intended + 3 * WITHIN

        def over() -> None:
            self._asked.pop(("invite", number), None)

        StationTalk(self._world, self._me, self._token(), number, over).begin(intended)

    def _rooms(self, client: DoorClient, intended: float) -> None:
        partner = self._partner()
        if partner is None:
            self._ping(client, intended)  # nobody is there to talk to
        else:
            RoomTalk(self._world, self._me, self._token(), partner).begin(intended)

    def _partner(self) -> Talker | None:
        """Another browser of this worker that is connected and acts."""
        browsers = self._world.browsers
        numbers = list(browsers)
        for _ in range(min(TRIES, len(numbers))):
            other = browsers[numbers[self._rng.randrange(len(numbers))]]
            if other.number != self._me.number and other.available:
                return cast("Talker", other)  # an observer is never available
        return None

    def _pick(self, kind: str, now: float, *, legacy: bool = False) -> int | None:
        """A station that is online, and was not asked the same already."""
        calm, stations = self._world.presence.calm, self._world.stations
        for _ in range(min(TRIES, 4 * len(self._stations))):
            number = self._stations[self._rng.randrange(len(self._stations))]
            station = stations.get(number)
            if station is None or (station.legacy and not legacy):
                continue
            if self._asked.get((kind, number), 0.0) < now and calm(number, now - ONLINE_FOR):
                return number
        return None

    def _ask_station(
        self,
        client: DoorClient,
        event: str,
        number: int,
        data: dict[str, Any],
        then: Any,
        intended: float,
        within: float = ACK_WITHIN,
    ) -> None:
        world = self._world

        def fair() -> bool:
            return world.presence.settled(number, world.schedule.real())

        data = {"stationId": world.station_id(number), **data}
        self._requests.ask(client, event, data, then, intended=intended, within=within, fair=fair, still=fair)

    def _expect(self, kind: str, number: int, what: Any, intended: float) -> tuple[Any, ...]:
        key = ("browser", self._me.number, what)
        self._asked[kind, number] = intended + WITHIN
        self._world.exchanges.expect(kind, key, intended, WITHIN, station=number)
        return key

    def _unless(self, kind: str, number: int, key: tuple[Any, ...], ack: Any) -> None:
        """A request that failed leads to nothing, and that is judged already."""
        if isinstance(ack, OperatorError) and self._asked.pop((kind, number), None) is not None:
            self._world.exchanges.excuse(lambda of, other: of == kind and other == key)

    def _token(self) -> str:
        return f"{self._world.run_id}.{self._me.number}.{self._count}"

    # ---- what came of it

    def heard(self, event: str, data: Any, now: float) -> None:
        """A push that may be for this. Raises KeyError or TypeError for what is malformed."""
        if event == "station-status-update":
            self._met("answer", number := self._world.by_id.get(data["stationId"], -1), number, now)
        elif event == "station-stream-ready":
            number = self._world.by_id.get(data["stationId"], -1)
            if data["status"] == "ready" and isinstance(data["url"], str) and data["requesterId"] == self._peer_id():
                self._met("stream", number, (number, data["cameraId"]), now)
            else:
                self._world.recorder.error("browsers: a stream that is not ready, or another's")
        elif event not in _OF_TALKS:
            self._world.recorder.error(f"browsers: unexpected push {plain(event[:50])}")
        elif not any(talk.heard(self._me, event, data, now) for talk in list(self._me.talks)):
            self._stray(event, data)

    def _peer_id(self) -> str | None:
        return None if self._me.client is None else self._me.client.peer_id

    def _met(self, kind: str, number: int, what: Any, now: float) -> None:
        if self._asked.pop((kind, number), None) is not None:
            self._world.exchanges.met(kind, ("browser", self._me.number, what), now)

    def _stray(self, event: str, data: Any) -> None:
        """A signal of a talk that is over is late; one that no talk of this run sent is wrong."""
        if event in ("offer", "answer", "ice-candidate"):
            token = token_in(data["candidate" if event == "ice-candidate" else event])
            if token is None or not token.startswith(f"{self._world.run_id}."):
                self._world.recorder.error(f"browsers: {event} from nobody")


def _outcome(ack: Any) -> Outcome:
    if isinstance(ack, RequestFailed):
        return "timeout" if ack.error.startswith("STATION_TIMEOUT") else "error"
    return "none" if isinstance(ack, (ConnectionLost, OperatorError)) else "done"


def _nothing(_ack: Any) -> None:
    """The ack says all."""


_ACTIONS: Final = {
    "status": Behaviour._status,
    "command": Behaviour._command,
    "stream": Behaviour._stream,
    "invite": Behaviour._invite,
    "rooms": Behaviour._rooms,
    "ping": Behaviour._ping,
}
