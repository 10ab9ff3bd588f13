"""How many status messages a second each MQTT client takes from a real Mosquitto, and how many `RemoteLink` hands on.

    python -m benchmarks.remote_link [--messages N] [--json FILE]

A publisher process sends QoS 0 status messages of 680 bytes from 1,000 stations flat out; the receiver counts. Two cores at
least, or broker, publisher and receiver share one. Needs the `mosquitto` program.
"""

import argparse
import asyncio
import json
import multiprocessing
import socket
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import gmqtt
import uvloop
from gmqtt.mqtt.constants import MQTTv311
from paho.mqtt.client import Client as PahoClient
from paho.mqtt.enums import CallbackAPIVersion

from devices.topics import STATION_STATUS
from hub.remote import RemoteLink
from tests.mosquitto import mosquitto

__all__ = ["main"]

FILTER: Final = STATION_STATUS.filter()
STATIONS: Final = 1_000
PAYLOAD: Final = b"x" * 680


def _packets(count: int) -> bytes:
    topics = [STATION_STATUS(f"st-{number}").encode() for number in range(STATIONS)]
    packets = []
    for number in range(count):
        body = len(topics[number % STATIONS]).to_bytes(2, "big") + topics[number % STATIONS] + PAYLOAD
        packets.append(bytes([0x30, len(body) % 128 | 0x80, len(body) // 128]) + body)
    return b"".join(packets)


def _flood(port: int, count: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as broker:
        broker.sendall(b"\x10\x0d\0\4MQTT\4\2\0\x3c\0\1f")
        broker.recv(4)
        broker.sendall(_packets(count))
        broker.sendall(b"\xe0\0")
        time.sleep(0.5)


class _Counter:
    """Counts until all have come, or nothing came for 2 s."""

    def __init__(self, expected: int) -> None:
        self.expected, self.count = expected, 0
        self.first = self.last = 0.0
        self.started, self.loop = asyncio.Event(), asyncio.get_running_loop()

    def __call__(self, *_: object) -> None:
        self.count += 1
        if self.count == 1:
            self.first = time.perf_counter()
            self.loop.call_soon_threadsafe(self.started.set)
        if self.count % 1000 == 0:
            self.last = time.perf_counter()

    async def rate(self) -> float:
        seen = -1
        while self.count < self.expected and self.count != seen:
            seen = self.count
            await asyncio.sleep(2)
        return (self.count - 1) / (self.last - self.first) if self.count > 1000 else 0.0


async def _gmqtt(port: int, counter: _Counter) -> Callable[[], Awaitable[None]]:
    client = gmqtt.Client("bench")
    client.on_message = counter
    await client.connect("127.0.0.1", port, version=MQTTv311)
    client.subscribe(FILTER, qos=1)
    stop: Callable[[], Awaitable[None]] = client.disconnect
    return stop


async def _paho(port: int, counter: _Counter) -> Callable[[], Awaitable[None]]:
    client = PahoClient(CallbackAPIVersion.VERSION2)
    client.on_message = counter
    client.connect("127.0.0.1", port)
    client.subscribe(FILTER, 1)
    client.loop_start()

    async def stop() -> None:
        client.disconnect()
        client.loop_stop()

    return stop


async def _paho_to_loop(port: int, counter: _Counter) -> Callable[[], Awaitable[None]]:
    loop = asyncio.get_running_loop()

    def hand_over(*args: Any) -> None:
        loop.call_soon_threadsafe(counter, *args)

    return await _paho(port, hand_over)  # type: ignore[arg-type]


async def _remote_link(port: int, counter: _Counter) -> Callable[[], Awaitable[None]]:
    link = RemoteLink(f"mqtt://127.0.0.1:{port}")
    link.subscribe(FILTER, counter)
    await link.start()
    return link.stop


ENGINES: Final = {
    "gmqtt": _gmqtt,
    "paho, in its thread": _paho,
    "paho, handed to the loop": _paho_to_loop,
    "RemoteLink": _remote_link,
}


async def _measure(messages: int) -> dict[str, float]:
    rates: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as directory:
        async with mosquitto(Path(directory), config="max_queued_messages 0\nlog_type none") as server:
            for name, engine in ENGINES.items():
                counter = _Counter(messages)
                stop = await engine(server.port, counter)
                await asyncio.sleep(0.2)
                flood = multiprocessing.get_context("spawn").Process(target=_flood, args=(server.port, messages))
                flood.start()
                await asyncio.wait_for(counter.started.wait(), 30)
                rates[name] = round(await counter.rate())
                await stop()
                await asyncio.to_thread(flood.join)
    return rates


def main() -> None:
    """Prints one line an engine, and writes the rates as JSON when asked."""
    parser = argparse.ArgumentParser(description="Messages a second from a real Mosquitto, by client library")
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rates = uvloop.run(_measure(options.messages))
    best = max(rates.values()) or 1
    for name, rate in rates.items():
        print(f"{name:28} {rate:>9,.0f}/s  {rate / best:5.2f}")
    if options.json:
        options.json.write_text(json.dumps({"messages": options.messages, "rates": rates}) + "\n")
    sys.exit(0 if all(rates.values()) else 1)


if __name__ == "__main__":
    main()
