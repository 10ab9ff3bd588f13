"""What one browser sees of the stations: its pushes, told to the judges."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from devices.door import ConnectionLost, DoorClient, OperatorError
from simulator.browsers.requests import Requests
from simulator.texts import plain
from simulator.world import World

__all__ = ["Watching", "window", "window_of"]

NEVER: Final = float("inf")
AGAIN: Final = 1.0
"""Seconds until what the hub refused is asked once more."""


def window(numbers: range, browser: int, of: int, size: int) -> list[int]:
    """The stations that a browser watches, so that all browsers together watch all stations evenly.

    Args:
        numbers: of all stations that it could.
        browser: its place among the browsers of the same worker, from 0; `of`: how many these are.
    """
    size = min(size, len(numbers))
    first = browser * len(numbers) // max(of, 1)
    return [numbers[(first + at) % len(numbers)] for at in range(size)]


def window_of(world: World, browser: int) -> list[int] | None:
    """What browser `browser` of this worker watches; None: all."""
    size = world.scenario.browsers.watch
    if isinstance(size, str):
        return None
    workers = world.numbers.step
    place, worker = divmod(browser, workers)
    return window(world.numbers, place, len(range(worker, world.scenario.browsers.count, workers)), size)


class Watching:
    """One browser's.

    Args:
        number: the browser's.
        stations: what it watches, by number; None: all.
    """

    def __init__(self, world: World, number: int, requests: Requests, stations: Sequence[int] | None) -> None:
        self._world, self._number, self._requests = world, number, requests
        self._stations = stations
        self._of_window = None if stations is None else frozenset(stations)
        self._since = NEVER
        self._told = False
        self._client: DoorClient | None = None

    def begin(self, client: DoorClient) -> None:
        """It is connected: asks for its stations, and who is online; what comes before the answers is not judged."""
        self._client = client
        self._watch(client)
        self._list(client)

    def end(self) -> None:
        """The connection ended, or is read no more."""
        self._client, self._told, self._since = None, False, NEVER
        self._world.presence.unwatch(self._number)
        self._world.statuses.unwatch(self._number)

    # ---- asking

    def _watch(self, client: DoorClient) -> None:
        if self._client is not client:
            return
        if self._stations is None:
            self._watched(client, None)
            return
        ids = [self._world.station_id(number) for number in self._stations]
        self._requests.ask(client, "station-watch", {"stations": ids}, partial(self._watched, client))

    def _watched(self, client: DoorClient, ack: Any) -> None:
        now = self._world.schedule.real()
        if self._failed(client, ack, self._watch):
            return
        # older ones are what the hub kept for who comes, and may still be on their way: no measure of delay, and no loss
        self._since = now
        self._world.statuses.watching(self._number, self._stations, now)

    def _list(self, client: DoorClient) -> None:
        if self._client is client:
            self._requests.ask(client, "get-online-stations", None, partial(self._listed, client))

    def _listed(self, client: DoorClient, ack: Any) -> None:
        if self._failed(client, ack, self._list):
            return
        by_id, listed = self._world.by_id, ack.get("stations") if isinstance(ack, dict) else None
        names = listed if isinstance(listed, list) else []
        online = [by_id[name] for name in names if isinstance(name, str) and name in by_id]
        self._told = True
        self._world.presence.watching(self._number, online, self._world.schedule.real())

    def _failed(self, client: DoorClient, ack: Any, again: Callable[[DoorClient], None]) -> bool:
        """Whether this connection gave no answer; then it is asked once more, if it still lives."""
        if self._client is not client or isinstance(ack, ConnectionLost):
            return True
        if isinstance(ack, OperatorError):
            self._world.schedule.at(self._world.schedule.real() + AGAIN, partial(again, client))
            return True
        return False

    # ---- hearing; these raise KeyError or TypeError for what is malformed

    def presence(self, data: Any, now: float, *, online: bool) -> None:
        """station-connected, station-disconnected."""
        number = self._world.by_id.get(data["stationId"])
        if number is not None and self._told:
            self._world.presence.said(self._number, number, online, now)

    def called(self, data: Any, now: float) -> None:
        """station-incoming-call."""
        station_id = data["stationId"]
        if station_id in self._world.by_id:
            self._world.exchanges.met("call", (station_id, data["timestamp"]), now)

    def batch(self, statuses: Any, now: float) -> None:
        """batch-station-status-update."""
        since, by_id, run_id = self._since, self._world.by_id, self._world.run_id
        judge, moment, watched = self._world.statuses.batch, self._world.schedule.moment, self._of_window
        me = self._number
        if not isinstance(statuses, list):
            raise TypeError("a batch is a list")
        if since == NEVER:
            return  # what the hub kept, for who has just come: thousands, and none is judged
        for status in statuses:
            try:
                number = by_id.get(status["stationId"])
                if number is None:
                    self._foreign(status["stationId"], since)
                    continue
                sim = status.get("sim")
                if sim is None or sim["r"] != run_id:
                    continue  # of a legacy station, or kept from an earlier run
                intended, seq = moment(sim["t"]), sim["n"]
                if watched is not None and number not in watched:
                    self._wrong(f"a status of {self._world.station_id(number)}, which it does not watch")
                elif type(seq) is int:
                    judge(me, number, seq, intended, now)
                else:
                    self._wrong("a status whose number is none")
            except (KeyError, TypeError, AttributeError):
                self._wrong("a status that is none")

    def _foreign(self, station_id: Any, since: float) -> None:
        """Others' stations are seen by who watches all."""
        if not isinstance(station_id, str):
            raise TypeError("an id is a text")
        if self._of_window is not None and self._world.schedule.real() - since > AGAIN:
            self._wrong(f"a status of {plain(station_id[:64])}, which it does not watch")

    def _wrong(self, what: str) -> None:
        world = self._world
        at = world.at(world.schedule.real())
        world.recorder.found("status.wrong", f"{world.user_id(self._number)} got {what}, at {at}")
