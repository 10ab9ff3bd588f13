"""What it costs a whole hub when a fleet of WebSocket stations registers: `python -m benchmarks.registration [--json FILE]`.

1,000 stations connect, then all send `station-register` at once, while 50 browsers watch; and, on another hub, each station
registers as soon as it is welcomed, while the next ones connect ("arriving"). The hub's CPU and the time for it, until every
browser has heard of every station, once. Native door and, where it is served, Socket.IO; a new hub each time.
"""

import argparse
import asyncio
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Final

import uvloop

from benchmarks.ack_load import Client, Figures, LoadError, NotServed, Target, connect_all, masked
from benchmarks.acks import native, socketio
from benchmarks.brokers import BrokerError, raise_descriptor_limit
from benchmarks.figures import machine
from benchmarks.process import ProcessEnded, cpu_seconds
from benchmarks.whole_hub import TOKENS, HubError, RunningHub, running_hub

__all__ = ["main"]

STATIONS: Final = 1_000
BROWSERS: Final = 50
TARGET_SECONDS: Final = 0.5
"""Of the hub's CPU for registering."""
GUARD: Final = 60.0
"""Seconds until everybody must have been told."""
SETTLE: Final = 0.3
"""Seconds for what the hub does afterwards, before its CPU is read."""
CONNECTED: Final = re.compile(rb'"station-connected"[^}]*"stationId":"([^"]+)"')


class _Station(Client):
    """Registers when told to, or as soon as it is welcomed; `done` when that is acknowledged."""

    def __init__(self, target: Target, request: bytes, station_id: str, *, at_once: bool) -> None:
        super().__init__(target)
        if at_once:
            self.open.add_done_callback(lambda opened: None if opened.exception() else self.register())
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request, self._ack = masked(request), f'{{"stationId":"{station_id}"}}'.encode()
        self._heard = b""

    def register(self) -> None:
        """Sends the request."""
        self.transport.write(self._request)

    def loaded(self, data: bytes) -> None:
        self._heard += data
        if self._ack in self._heard and not self.done.done():
            self.done.set_result(None)


class _Browser(Client):
    """Keeps all that it hears; `done` when that is of as many stations as expected."""

    def __init__(self, target: Target, stations: int) -> None:
        super().__init__(target)
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stations, self._heard = stations, bytearray()

    def loaded(self, data: bytes) -> None:
        self._heard += data
        if self._heard.count(b'"station-connected"') >= self._stations and not self.done.done():
            self.done.set_result(None)

    def stations(self) -> list[str]:
        """What it was told of, in order."""
        return [found.decode() for found in CONNECTED.findall(bytes(self._heard))]


Speak = Callable[[RunningHub, str], Target]


def _speak_native(hub: RunningHub, token: str) -> Target:
    return native(hub, token)


def _speak_socketio(hub: RunningHub, token: str) -> Target:
    return socketio(hub.port, hub.pid, token)


def _register_native(station_id: str) -> bytes:
    return json.dumps({"id": 1, "event": "station-register", "data": {"stationId": station_id}}).encode()


def _register_socketio(station_id: str) -> bytes:
    return b"420" + json.dumps(["station-register", {"stationId": station_id}]).encode()


DOORS: Final[dict[str, tuple[Speak, Callable[[str], bytes]]]] = {
    "native": (_speak_native, _register_native),
    "socketio": (_speak_socketio, _register_socketio),
}


class _Meter:
    """Time and the hub's CPU since it was made or last read."""

    def __init__(self, hub: RunningHub) -> None:
        self._pid = hub.pid
        self._cpu, self._began = cpu_seconds(self._pid), perf_counter()

    async def read(self) -> tuple[float, float]:
        """Seconds of time, and of CPU with what the hub does afterwards."""
        took = perf_counter() - self._began
        await asyncio.sleep(SETTLE)
        before, self._cpu = self._cpu, cpu_seconds(self._pid)
        self._began = perf_counter()
        return round(took, 3), round(self._cpu - before, 3)


async def _run(hub: RunningHub, door: str, stations: int, browsers: int, *, arriving: bool) -> Figures:
    speak, request = DOORS[door]
    ids = [f"bench-{number:05}" for number in range(stations)]
    watching = [speak(hub, TOKENS.mint_user(f"browser-{number}")) for number in range(browsers)]
    speaking = [speak(hub, TOKENS.mint_station(station_id)) for station_id in ids]

    def station(number: int) -> _Station:
        return _Station(speaking[number], request(ids[number]), ids[number], at_once=arriving)

    audience = await connect_all(lambda number: _Browser(watching[number], stations), browsers, hub.port)
    await asyncio.sleep(SETTLE)
    meter = _Meter(hub)
    fleet = await connect_all(station, stations, hub.port)
    connect = (0.0, 0.0) if arriving else await meter.read()
    for member in () if arriving else fleet:
        member.register()
    try:
        async with asyncio.timeout(GUARD):
            await asyncio.gather(*(member.done for member in fleet), *(browser.done for browser in audience))
    except TimeoutError:
        raise LoadError(f"not everybody was told within {GUARD:.0f} s") from None
    took, cpu = await meter.read()
    if any(sorted(browser.stations()) != ids for browser in audience):
        raise LoadError("a browser was not told of every station exactly once")
    for client in (*audience, *fleet):
        client.transport.abort()
    if arriving:
        return {"arriving_cpu_s": cpu, "arriving_s": took}
    return {"connect_cpu_s": connect[1], "register_cpu_s": cpu, "connect_s": connect[0], "register_s": took}


def measure(repeat: int, stations: int, browsers: int) -> dict[str, list[Figures]]:
    """Every door in turn, a new hub each time; a door that is not served is left out."""
    runs: dict[str, list[Figures]] = {door: [] for door in DOORS}
    for _ in range(repeat):
        for door in (*runs,):
            try:
                figures: Figures = {}
                for arriving in (False, True):
                    with running_hub() as hub:
                        figures |= uvloop.run(_run(hub, door, stations, browsers, arriving=arriving))
                runs[door].append(figures)
            except NotServed:
                print(f"{door}: not served, left out", file=sys.stderr)
                del runs[door]
    return runs


def _medians(runs: Sequence[Figures]) -> Figures:
    return {key: round(median(run[key] for run in runs), 3) for key in runs[0]}


def main() -> None:
    """The command line: 0 when the target is met, 1 when it is missed, 2 when it could not run."""
    parser = argparse.ArgumentParser(prog="benchmarks.registration", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    parser.add_argument("--repeat", type=int, default=3, help="how often; medians are told")
    parser.add_argument("--stations", type=int, default=STATIONS)
    parser.add_argument("--browsers", type=int, default=BROWSERS)
    options = parser.parse_args()
    try:
        raise_descriptor_limit(options.stations + options.browsers + 500)
        runs = measure(options.repeat, options.stations, options.browsers)
    except (BrokerError, HubError, LoadError, ProcessEnded) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    doors = {door: _medians(found) for door, found in runs.items()}
    met = all(found["register_cpu_s"] < TARGET_SECONDS for found in doors.values())
    figures: dict[str, Any] = {
        **machine(),
        "stations": options.stations,
        "browsers": options.browsers,
        "doors": doors,
        "targetRegisterCpuSeconds": TARGET_SECONDS,
        "met": met,
    }
    print(json.dumps(figures, indent=2))
    if options.json:
        options.json.write_text(json.dumps(figures | {"runs": runs}, indent=2) + "\n")
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
