"""Live figures for Prometheus, on a port of the loopback: `stationhub_simulate_*`.

Counts are counters, gauges are gauges. Each time is `stationhub_simulate_time_seconds{time="ack", quantile="0.99"}`, of the last
10 seconds, and `stationhub_simulate_timed_total{time="ack"}` says how many were timed so far.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from simulator.measuring.facts import FACTS
from simulator.measuring.measures import Totals
from simulator.measuring.recent import Recent
from simulator.scenario import SimulationError

__all__ = ["Figures", "serving"]

PREFIX: Final = "stationhub_simulate_"
QUANTILES: Final = (0.5, 0.9, 0.99, 0.999, 1.0)
SCALES: Final = {"MB": ("bytes", 1024.0 * 1024.0), "%": ("ratio", 0.01)}
"""Prometheus wants base units."""
LARGEST: Final = 16_384
"""Bytes of a request."""
PATIENCE: Final = 5.0
"""Seconds for a request to come."""
MOST: Final = 16
"""Requests at a time."""


class Figures(Collector):
    """What there is, read at every scrape."""

    def __init__(self, totals: Totals, recent: Recent) -> None:
        self._totals, self._recent = totals, recent

    def collect(self) -> Iterator[Metric]:
        """As in Collector."""
        totals = self._totals
        for fact in FACTS:
            if fact.kind == "count":
                count = totals.errors.total() if fact.name == "errors" else totals.counts.get(fact.name, 0)
                yield CounterMetricFamily(_name(fact.name), _sentence(fact.title), count)
            elif fact.kind == "gauge" and (value := totals.gauges.get(fact.name)) is not None:
                unit, scale = SCALES.get(fact.unit, ("", 1.0))
                yield GaugeMetricFamily(
                    "_".join(filter(None, (_name(fact.name), unit))), _sentence(fact.title), value * scale
                )
        quantiles = GaugeMetricFamily(
            f"{PREFIX}time_seconds", "How long things took in the last 10 seconds", labels=["time", "quantile"]
        )
        for name in self._recent.timed():
            figures = self._recent.percentiles(name, [100 * quantile for quantile in QUANTILES])
            for quantile, ms in zip(QUANTILES, figures, strict=True):
                if ms is not None:
                    quantiles.add_metric([name, f"{quantile:g}"], ms / 1000)
        yield quantiles
        timed = CounterMetricFamily(f"{PREFIX}timed", "How many were timed so far", labels=["time"])
        for name, times in sorted(totals.times.items()):
            timed.add_metric([name], times.count)
        yield timed


def _name(fact: str) -> str:
    """`stations.falselyOffline` as stationhub_simulate_stations_falsely_offline."""
    return PREFIX + re.sub("[A-Z]", lambda upper: f"_{upper[0].lower()}", fact.replace(".", "_"))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


@asynccontextmanager
async def serving(port: int, totals: Totals, recent: Recent) -> AsyncIterator[int]:
    """Answers scrapes, in this event loop; gives the port, which is another one than asked for when that was 0.

    Raises:
        SimulationError: the port is taken, or not allowed.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Figures(totals, recent))
    door = _Door(registry)
    try:
        server = await asyncio.start_server(door.answer, "127.0.0.1", port, limit=LARGEST)
    except (OSError, OverflowError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise SimulationError(f"--prometheus: nothing can listen on port {port}: {reason}") from None
    try:
        actual: int = server.sockets[0].getsockname()[1]
        yield actual
    finally:
        server.close()
        await door.close()
        await server.wait_closed()


class _Door:
    """GET /metrics, one request a connection."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._answering: set[asyncio.Task[None]] = set()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, however it behaves."""
        task = asyncio.current_task()
        assert task is not None
        if len(self._answering) >= MOST:
            writer.transport.abort()
            return
        self._answering.add(task)
        try:
            async with asyncio.timeout(PATIENCE):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._response(head.decode("latin-1")))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever it was is gone, or never asked
        finally:
            writer.transport.abort()
            self._answering.discard(task)

    async def close(self) -> None:
        """Ends what is still being answered."""
        for task in self._answering:
            task.cancel()
        await asyncio.gather(*self._answering, return_exceptions=True)

    def _response(self, head: str) -> bytes:
        request, *lines = head.split("\r\n")
        method, _, rest = request.partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if path not in ("/metrics", "/"):
            return _http("404 Not Found", "text/plain", b"The metrics are at /metrics.\n")
        if method not in ("GET", "HEAD"):
            return _http("405 Method Not Allowed", "text/plain", b"The metrics are there to GET.\n")
        accepts = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("accept:")]
        encode, content_type = choose_encoder(",".join(accepts))
        body: bytes = encode(self._registry)
        return _http("200 OK", content_type, body, empty=method == "HEAD")


def _http(status: str, content_type: str, body: bytes, *, empty: bool = False) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (b"" if empty else body)
