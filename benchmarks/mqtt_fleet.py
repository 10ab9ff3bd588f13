"""The fleet of a load generator: stations' connections and the commands that make and end them (see `benchmarks.mqtt_load`)."""

import argparse
import asyncio
from time import monotonic
from typing import Any, Final

from benchmarks.mqtt_client import DISCONNECT, Client, LoadError, connect, connect_packet
from benchmarks.process import cpu_seconds, memory_kb
from devices.topics import STATION_CMD
from hub.auth import Tokens

__all__ = ["CONNECTING", "OBSERVER", "PASSWORD", "PUBLISHERS", "Fleet", "Result", "station_id"]

OBSERVER: Final = "observer"
"""The user that may read and command all stations."""
PUBLISHERS: Final = ("st-pub00", "st-flood", "st-pump")
"""Stations beside the fleet, for what is published flat out."""
PASSWORD: Final = "a password of the benchmark"
CONNECTING: Final = 64
"""Connections that are being made at a time."""

Result = dict[str, Any]


def station_id(number: int) -> str:
    """The id of a station of the fleet."""
    return f"st-{number:05d}"


class Fleet:
    """The commands that make, drop and end the stations' connections; each public coroutine is one."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._host, self._port, self._source = options.host, options.port, options.source
        self._login, self._tokens = options.login, Tokens(options.secret)
        self._broker: int = options.pid
        self._ids: list[str] = []
        self._first: list[bytes] = []
        self._fleet: list[Client] = []
        self._lateness: list[float] = []
        self._others: list[Client] = []

    def _credentials(self, user: str) -> tuple[str, str] | None:
        if self._login == "none":
            return None
        if self._login == "password":
            return user, PASSWORD
        if user == OBSERVER:
            return user, self._tokens.mint_user(OBSERVER, role="service")
        return user, self._tokens.mint_station(user)

    async def _client(self, client_id: str, user: str, *, clean: bool = True) -> Client:
        first = connect_packet(client_id, self._credentials(user), clean=clean)
        client = await connect(self._host, self._port, first, source=self._source)
        self._others.append(client)
        return client

    def leave(self) -> None:
        """Ends every connection that is no station's."""
        for client in self._others:
            client.transport.abort()
        self._others.clear()

    async def _observer(self, name: str, topic_filter: str, qos: int, *, clean: bool = True) -> Client:
        client = await self._client(f"{OBSERVER}-{name}", OBSERVER, clean=clean)
        await client.subscribe(topic_filter, qos)
        return client

    def _cpu(self) -> float:
        return cpu_seconds(self._broker)

    # the fleet

    async def prepare(
        self, *, count: int, first: int = 0, keep_alive: int = 600, clean: bool = True, will: bool = False
    ) -> Result:
        """Encodes the CONNECT of every station, so that none of it is in a measured time."""
        self._ids = [station_id(number) for number in range(first, first + count)]
        self._first = [
            connect_packet(name, self._credentials(name), keep_alive=keep_alive, clean=clean, will=will)
            for name in self._ids
        ]
        return {}

    async def connect(self, *, subscribe: bool = True) -> Result:
        """Connects every station; when they are connected already, that is a takeover of each."""
        gate = asyncio.Semaphore(CONNECTING)

        async def one(name: str, first: bytes) -> Client:
            async with gate:
                client = await connect(self._host, self._port, first, source=self._source, lateness=self._lateness)
                if subscribe:
                    await client.subscribe(STATION_CMD(name), 1)
                return client

        memory, cpu, start = memory_kb(self._broker), self._cpu(), monotonic()
        old = self._fleet
        self._fleet = await asyncio.gather(*map(one, self._ids, self._first))
        end, cpu = monotonic(), self._cpu() - cpu
        if old:
            await _closed(old)
        await asyncio.sleep(0.2)
        grown = (memory_kb(self._broker) - memory) / len(self._ids)
        return self._operations(start, end, cpu) | {"kb_per_station": round(grown, 2)}

    def _operations(self, start: float, end: float, cpu: float) -> Result:
        count = len(self._ids)
        rate, cost = round(count / (end - start)), round(cpu / count * 1e6, 1)
        return {"per_s": rate, "cpu_us": cost, "start": start, "end": end, "count": count}

    async def subscribe(self) -> Result:
        """Subscribes every station to its commands."""
        gate = asyncio.Semaphore(CONNECTING)

        async def one(client: Client, name: str) -> None:
            async with gate:
                await client.subscribe(STATION_CMD(name), 1)

        cpu, start = self._cpu(), monotonic()
        await asyncio.gather(*map(one, self._fleet, self._ids))
        return self._operations(start, monotonic(), self._cpu() - cpu)

    async def disconnect(self) -> Result:
        """Says goodbye for every station and waits until the broker has closed all connections."""
        cpu, start = self._cpu(), monotonic()
        for number, client in enumerate(self._fleet):
            client.send(DISCONNECT)
            if number % CONNECTING == 0:
                await asyncio.sleep(0)
        await _closed(self._fleet)
        self._fleet = []
        return self._operations(start, monotonic(), self._cpu() - cpu)

    async def storm(self) -> Result:
        """Drops every station's socket at once; all come back and subscribe."""
        start = monotonic()
        for client in self._fleet:
            client.transport.abort()
        self._fleet = []
        result = await self.connect()
        return {"start": start, "end": result["end"], "seconds": round(result["end"] - start, 3)}


async def _closed(clients: list[Client]) -> None:
    try:
        async with asyncio.timeout(30):
            for client in clients:
                await client.closed.wait()
    except TimeoutError:
        left = sum(not client.closed.is_set() for client in clients)
        raise LoadError(f"the broker left {left} of {len(clients)} connections open") from None
