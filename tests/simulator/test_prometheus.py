"""Live figures for Prometheus."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from simulator.measuring.facts import FACTS
from simulator.measuring.measures import Totals
from simulator.measuring.recent import Recent
from simulator.reports import prometheus
from simulator.reports.prometheus import Figures, serving
from simulator.scenario import SimulationError
from tests.simulator.runs import HOSTILE, fill

Labels = frozenset[tuple[str, str]]


async def ask(port: int, request: bytes) -> tuple[str, bytes]:
    """Status line and headers, and what follows."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        head, _, body = (await asyncio.wait_for(reader.read(), 15)).partition(b"\r\n\r\n")
        return head.decode(), body
    finally:
        writer.close()


async def scrape(port: int) -> dict[tuple[str, Labels], float]:
    """Every sample."""
    head, body = await ask(port, b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: text/plain\r\n\r\n")
    assert head.startswith("HTTP/1.1 200 OK")
    assert "Content-Type: text/plain" in head
    families = text_string_to_metric_families(body.decode())
    return {(each.name, frozenset(each.labels.items())): each.value for family in families for each in family.samples}


async def test_a_scrape_has_all_figures() -> None:
    """Counts, gauges in base units, quantiles of what was timed; and the next one is up to date."""
    totals, recent = Totals(), Recent()
    fill(totals, recent, seconds=40, broken="x")
    async with serving(0, totals, recent) as port:
        found = await scrape(port)
        none: Labels = frozenset()
        assert found["stationhub_simulate_stations_falsely_offline_total", none] == 1
        assert found["stationhub_simulate_errors_total", none] == 1
        assert found["stationhub_simulate_stations_connected", none] == 100
        assert found["stationhub_simulate_tester_cpu_ratio", none] == pytest.approx(0.4)
        assert found["stationhub_simulate_tester_memory_bytes", none] == 80 * 1024 * 1024
        assert found["stationhub_simulate_timed_total", frozenset({("time", "ack.ping")})] == 800
        quantile = frozenset({("time", "ack"), ("quantile", "0.5")})
        assert found["stationhub_simulate_time_seconds", quantile] == pytest.approx(0.00325, rel=0.01)
        totals.counts["status.sent"] += 1000
        later = await scrape(port)
        sent = ("stationhub_simulate_status_sent_total", none)
        assert later[sent] == found[sent] + 1000


async def test_nothing_was_measured_yet() -> None:
    """Counts are 0, gauges are not there."""
    async with serving(0, Totals(), Recent()) as port:
        found = await scrape(port)
    assert set(found.values()) == {0}
    assert len(found) == sum(fact.kind == "count" for fact in FACTS)


def test_names_are_told_apart() -> None:
    """No two facts have one name, and each is a good one."""
    totals, recent = Totals(), Recent()
    fill(totals, recent, broken=HOSTILE)
    registry = CollectorRegistry()
    registry.register(Figures(totals, recent))
    names = [family.name for family in registry.collect()]
    assert len(names) == len(set(names)) > 30
    assert all(name.startswith("stationhub_simulate_") and name == name.lower() for name in names)


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK"),
        (b"HEAD /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK"),
        (b"GET /metrics?name[]=x HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK"),
        (
            b"GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text;version=1.0.0;q=0.5\r\n\r\n",
            "HTTP/1.1 200 OK",
        ),
        (b"GET /metrics HTTP/1.1\r\nAccept: \xff;;q=x,,\r\n\r\n", "HTTP/1.1 200 OK"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 405 Method Not Allowed"),
        (b"GET /secret HTTP/1.1\r\n\r\n", "HTTP/1.1 404 Not Found"),
        (b"\r\n\r\n", "HTTP/1.1 404 Not Found"),
        (b"\xff\x00 \xfe\r\n\r\n", "HTTP/1.1 404 Not Found"),
        (b"A" * 100_000 + b"\r\n\r\n", ""),
    ],
)
async def test_any_request_is_answered_or_dropped(request_: bytes, answer: str) -> None:
    """And the next one is served."""
    async with serving(0, Totals(), Recent()) as port:
        try:
            head, body = await ask(port, request_)
        except ConnectionError:
            head, body = "", b""
        assert head.split("\r\n")[0] == answer
        assert bool(body) == (answer != "" and not request_.startswith(b"HEAD"))
        assert await scrape(port)


async def test_who_asks_nothing_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silent connections are few, and none of them keeps a run from ending."""
    monkeypatch.setattr(prometheus, "PATIENCE", 600.0)
    async with serving(0, Totals(), Recent()) as port:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(prometheus.MOST + 4)]
        ends = [asyncio.create_task(_end(reader)) for reader, _ in silent]
        await asyncio.wait_for(asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED), 15)
    await asyncio.wait_for(asyncio.gather(*ends), 15)
    for _, writer in silent:
        writer.close()
    monkeypatch.setattr(prometheus, "PATIENCE", 0.01)
    async with serving(0, Totals(), Recent()) as port:
        assert await ask(port, b"GET ") == ("", b"")


async def _end(reader: asyncio.StreamReader) -> None:
    """Until the other side is gone."""
    try:
        await reader.read()
    except ConnectionError:
        pass


async def test_a_port_that_is_taken() -> None:
    """One line that names the flag; the port is free again after a run."""
    async with serving(0, Totals(), Recent()) as port:
        with pytest.raises(SimulationError, match=f"^--prometheus: nothing can listen on port {port}: "):
            async with serving(port, Totals(), Recent()):
                pass
    async with serving(port, Totals(), Recent()) as again:
        assert again == port
    with pytest.raises(SimulationError, match=r"^--prometheus: "):
        async with serving(70_000, Totals(), Recent()):
            pass
