"""A hub that is broken on purpose: a proxy between clients and a sound hub that breaks what it is told to.

async with broken(hub, Break("drop-status", share=0.01)) as proxy:
    ...  # stations connect to proxy.mqtt_url, browsers and HTTP clients to proxy.http_url
    assert proxy.done["drop-status"] > 0

Without a break, everything passes unchanged. Breaks can be changed while it runs: `proxy.set(Break("drop-ack"))`,
`proxy.set()`. What there is: `broken_acts.ACTS` and `TIMED`, and of the whole hub `delay-all`, which holds up everything by
`seconds`, `hang`, which says nothing any more and ends nothing, and `die`, which resets all and listens no more.
Stations are looked into on MQTT over TCP, 3.1.1 and 5; browsers on both doors (Socket.IO by WebSocket).
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Final, Protocol, Self

from tests.simulator.broken_acts import ACTS, TIMED, Act
from tests.simulator.broken_links import Link, Place
from tests.simulator.broken_mqtt import MqttLink
from tests.simulator.broken_runs import Break, Running, Stage
from tests.simulator.broken_web import WebLink
from tests.simulator.broken_wire import Event

__all__ = ["WHOLE", "Break", "BrokenHub", "Ports", "broken"]

WHOLE: Final = frozenset({"delay-all", "hang", "die"})
"""Kinds of breaks that are done to all connections, and to those that come."""


class Ports(Protocol):
    """A hub that listens on the loopback, such as `hub.serve.Hub`."""

    http_port: int
    mqtt_port: int | None


class BrokenHub:
    """The proxy, as a context manager.

    Attributes:
        done: how often each kind of break was done.
        victims: to whom, in order: a station's id, or `browser 3`; the first thousand of each kind.
        stations: the stations' connections, by station id.
        browsers: the browsers' connections.
    """

    def __init__(self, hub: Ports, breaks: Iterable[Break]) -> None:
        self._hub, self._breaks = hub, tuple(breaks)
        self._stage = Stage()
        self.done: Counter[str] = self._stage.done
        self.victims: dict[str, list[str]] = self._stage.victims
        self.stations: dict[str, MqttLink] = self._stage.stations
        self.browsers: list[WebLink] = self._stage.browsers
        self.mqtt_url = self.http_url = ""
        self.lag = 0.0
        self._running: dict[Place, list[tuple[Running, Act]]] = {}
        self._hanging: Running | None = None
        self._timers: set[asyncio.Task[None]] = set()
        self._links: set[Link] = set()
        self._servers: list[asyncio.Server] = []
        self._made = 0

    async def __aenter__(self) -> Self:
        mqtt = await self._listen(MqttLink, self._hub.mqtt_port or 0)
        http = await self._listen(WebLink, self._hub.http_port)
        self.mqtt_url, self.http_url = f"mqtt://127.0.0.1:{mqtt}", f"http://127.0.0.1:{http}"
        self.set(*self._breaks)
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.set()
        for server in self._servers:
            server.close()
        for link in [*self._links]:
            link.cut(reset=True)

    def set(self, *breaks: Break) -> None:
        """Breaks this from now on, and nothing else; what was held back for reordering stays away.

        Raises:
            ValueError: there is no such break.
        """
        for each in breaks:
            if each.kind not in ACTS and each.kind not in TIMED and each.kind not in WHOLE:
                raise ValueError(f"there is no break {each.kind}")
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._running.clear()
        self._hanging = None
        self.lag = sum(each.seconds for each in breaks if each.kind == "delay-all")
        for each in breaks:
            run = Running(each, self._stage)
            if each.kind in ACTS:
                place, act = ACTS[each.kind]
                self._running.setdefault(place, []).append((run, act))
            elif each.kind in TIMED:
                timer = asyncio.create_task(_now_and_then(run), name=f"broken hub: {each.kind}")
                self._timers.add(timer)
            elif each.kind == "hang":
                self._hanging = run
                for link in self._links:
                    self._hang(run, link)
            elif each.kind == "die":
                self._die(run)

    # ---- what links ask

    def wants(self, place: Place) -> bool:
        """Whether any break looks at what is said there."""
        return place in self._running

    def take(self, place: Place, link: Any, said: Any) -> bool:
        """Shows a message to the breaks, in order, until one takes it; one may give another event in its place."""
        if place == "station-login":
            self.stations[link.name] = link
            self._stage.gone.pop(link.name, None)
        instead: Event | None = None
        for run, act in self._running.get(place, ()):
            result = act(run, link, said if instead is None else instead)
            if isinstance(result, Event):
                instead = result
            elif result:
                return True
        if instead is not None:
            link.send("down", link.frame("down", instead))
        return instead is not None

    def closed(self, link: Link) -> None:
        """A link is over."""
        self._links.discard(link)
        if isinstance(link, WebLink):
            self.browsers.remove(link)
        elif self.stations.get(link.name) is link:
            del self.stations[link.name]
            self._stage.gone[link.name] = None

    @staticmethod
    def _hang(run: Running, link: Link) -> None:
        link.frozen = True
        run.note(link.name)

    def _die(self, run: Running) -> None:
        for server in self._servers:
            server.close()
        for link in [*self._links]:
            run.note(link.name)
            link.cut(reset=True)

    async def _listen(self, kind: Callable[[Self, tuple[str, int], int], MqttLink | WebLink], port: int) -> int:
        def accept() -> asyncio.Protocol:
            self._made += 1
            link = kind(self, ("127.0.0.1", port), self._made)
            self._links.add(link)
            if self._hanging is not None:
                self._hang(self._hanging, link)
            if isinstance(link, WebLink):
                self.browsers.append(link)
            return link.client()

        server = await asyncio.get_running_loop().create_server(accept, "127.0.0.1", 0, backlog=1_000)
        self._servers.append(server)
        found: int = server.sockets[0].getsockname()[1]
        return found


async def _now_and_then(run: Running) -> None:
    while True:
        await asyncio.sleep(run.of.seconds)
        TIMED[run.of.kind](run)


def broken(hub: Ports, *breaks: Break) -> BrokenHub:
    """A broken hub in front of a sound one.

    Args:
        hub: listens on the loopback; without an MQTT port, browsers alone come through.
        breaks: see `Break`.
    """
    return BrokenHub(hub, breaks)
