"""What carries a simulated fleet best: paho-mqtt, gmqtt, or the simulator's own connection on `devices.mqtt`'s codec.

    python -m benchmarks.fleet_engines [--stations N] [--seconds S] [--json FILE]

Each engine, in a process of its own, connects so many stations to a real Mosquitto and then publishes status messages of 680
bytes, QoS 0, from all of them by turns, flat out. Connections and their memory are measured without statuses. "stations" is the
whole of `simulator.fleet.station`: session, devices, schedule and judges, at an interval that asks for more than it can send.
What is counted is what Mosquitto says that it received. Needs the `mosquitto` program; two cores, or both share one.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any, Final

import gmqtt
import uvloop
from gmqtt.mqtt.constants import MQTTv311

from benchmarks.brokers import raise_descriptor_limit
from benchmarks.process import cpu_seconds, memory_kb
from devices.client import Address, MqttClient
from devices.session import Publish
from devices.topics import STATION_STATUS, SYS
from simulator.fleet import mqtt
from simulator.fleet.schedule import Schedule
from simulator.measuring.measures import Snapshot
from simulator.options import Options
from simulator.plan import Credentials
from simulator.run import Run
from simulator.worker import Worker
from tests.mosquitto import mosquitto

__all__ = ["main"]

PAYLOAD: Final = b"x" * 680
AT_A_TIME: Final = 50
"""Connections that are being made, and messages between two looks at the event loop."""
KEEPALIVE: Final = 600
FASTEST: Final = 200_000.0
"""Statuses a second that the whole stations are asked for."""

Engine = Callable[[int, int], Any]
"""Connects: takes a port and how many, gives a function that publishes as the n-th of them."""


async def _paho(port: int, stations: int) -> Callable[[int], None]:
    address, clients = Address.parse(f"mqtt://127.0.0.1:{port}"), list[MqttClient]()
    will = Publish("will", b"")

    async def connect(number: int) -> None:
        client = MqttClient(
            address,
            f"st-{number}",
            on_message=lambda *_: None,
            keepalive=KEEPALIVE,
            connect_timeout=30.0,
            max_inflight=20,
            max_queued=0,
        )
        await client.connect("u", None, will)
        clients.append(client)

    for first in range(0, stations, AT_A_TIME):
        await asyncio.gather(*map(connect, range(first, min(stations, first + AT_A_TIME))))
    statuses = [Publish(STATION_STATUS(f"st-{number}"), PAYLOAD, qos=0) for number in range(stations)]

    def publish(number: int) -> None:
        clients[number].publish(statuses[number])

    return publish


async def _gmqtt(port: int, stations: int) -> Callable[[int], None]:
    clients = [gmqtt.Client(f"st-{number}") for number in range(stations)]
    for first in range(0, stations, AT_A_TIME):
        some = clients[first : first + AT_A_TIME]
        await asyncio.gather(*(each.connect("127.0.0.1", port, keepalive=KEEPALIVE, version=MQTTv311) for each in some))
    topics = [STATION_STATUS(f"st-{number}") for number in range(stations)]

    def publish(number: int) -> None:
        clients[number].publish(topics[number], PAYLOAD, qos=0)

    return publish


class _Owner:
    """Hears nothing but that it is connected."""

    def __init__(self) -> None:
        self.connected = asyncio.Event()

    def answered(self, _: mqtt.Connection, question: mqtt.Question, *, joining: bool) -> None: ...

    def accepted(self, _: mqtt.Connection) -> None:
        self.connected.set()

    def refused(self, _: mqtt.Connection, code: int) -> None: ...
    def subscribed(self, _: mqtt.Connection, codes: bytes) -> None: ...
    def message(self, _: mqtt.Connection, topic: str, payload: bytes, retained: bool) -> None: ...
    def ended(self, _: mqtt.Connection, cause: str) -> None: ...


async def _ours(port: int, stations: int) -> Callable[[int], None]:
    address, schedule, connections = Address.parse(f"mqtt://127.0.0.1:{port}"), Schedule(), list[mqtt.Connection]()
    schedule.start()

    async def connect(number: int) -> None:
        owner, first = _Owner(), mqtt.connect_packet(f"st-{number}", "u", "", KEEPALIVE, None)
        connection, _ = mqtt.open_connection(address, owner, schedule, first, None)
        await owner.connected.wait()
        connections.append(connection)

    for first in range(0, stations, AT_A_TIME):
        await asyncio.gather(*map(connect, range(first, min(stations, first + AT_A_TIME))))
    statuses = [Publish(STATION_STATUS(f"st-{number}"), PAYLOAD, qos=0) for number in range(stations)]

    def publish(number: int) -> None:
        connections[number].publish(statuses[number])

    return publish


ENGINES: Final[dict[str, Engine]] = {"ours": _ours, "gmqtt": _gmqtt, "paho-mqtt": _paho}
WHOLE: Final = "stations"


async def _load(engine: Engine, port: int, stations: int, seconds: float, pipe: Pipe) -> None:
    before, began = memory_kb(os.getpid()), time.perf_counter()
    publish = await engine(port, stations)
    pipe.send((time.perf_counter() - began, memory_kb(os.getpid()) - before))
    pipe.recv()
    used, until, number = cpu_seconds(os.getpid()), time.perf_counter() + seconds, 0
    while time.perf_counter() < until:
        for _ in range(AT_A_TIME):
            publish(number % stations)
            number += 1
        await asyncio.sleep(0)
    pipe.send((number, cpu_seconds(os.getpid()) - used))
    pipe.recv()


async def _load_stations(port: int, stations: int, seconds: float, pipe: Pipe) -> None:
    given = {
        "broker": f"mqtt://127.0.0.1:{port}",
        "stations": stations,
        "browsers": 0,
        "interval": "3600",
        "duration": "0",
    }
    run = Run.prepare(None, Options.parse(given))
    snapshots, stop = list[Snapshot](), asyncio.Event()
    before, began = memory_kb(os.getpid()), time.perf_counter()
    worker = Worker(run.plan, 0, Credentials(lambda *_: "", lambda *_: ""), time.monotonic(), snapshots.append)
    running = asyncio.create_task(worker.run(stop))
    while not snapshots or snapshots[-1].gauges.get("stations.connected", 0) < stations:  # noqa: ASYNC110  # a benchmark
        await asyncio.sleep(0.05)
    pipe.send((time.perf_counter() - began, memory_kb(os.getpid()) - before))
    pipe.recv()
    used, have = cpu_seconds(os.getpid()), len(snapshots)
    worker.report_every(stations / FASTEST)
    await asyncio.sleep(seconds)
    worker.report_every(3600.0)
    pipe.send((sum(each.counts.get("status.sent", 0) for each in snapshots[have:]), cpu_seconds(os.getpid()) - used))
    pipe.recv()
    running.cancel()


def _child(name: str, port: int, stations: int, seconds: float, pipe: Pipe) -> None:
    raise_descriptor_limit(stations + 200)
    if name == WHOLE:
        uvloop.run(_load_stations(port, stations, seconds, pipe))
    else:
        uvloop.run(_load(ENGINES[name], port, stations, seconds, pipe))


class _Received:
    """How many messages Mosquitto says that it received: `$SYS/broker/publish/messages/received`, told when it has changed."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, _client: object, _topic: str, payload: bytes, *_: object) -> None:
        self.count = int(payload)

    async def settled(self) -> int:
        """Once all that was sent before is counted: Mosquitto tells each second."""
        await asyncio.sleep(2.5)
        return self.count


async def _measure(name: str, stations: int, seconds: float) -> dict[str, float]:
    config = "max_queued_messages 0\nlog_type none\nsys_interval 1\nset_tcp_nodelay true"
    with tempfile.TemporaryDirectory() as directory:
        async with mosquitto(Path(directory), config=config) as server:
            received, client = _Received(), gmqtt.Client("watch")
            client.on_message = received
            await client.connect("127.0.0.1", server.port, version=MQTTv311)
            client.subscribe(f"{SYS}publish/messages/received")
            ours, theirs = multiprocessing.get_context("spawn").Pipe()
            arguments = (name, server.port, stations, seconds, theirs)
            child = multiprocessing.get_context("spawn").Process(target=_child, args=arguments)
            child.start()
            connecting, memory = await asyncio.to_thread(ours.recv)
            before = await received.settled()
            ours.send("go")
            sent, used = await asyncio.to_thread(ours.recv)
            arrived = await received.settled() - before
            ours.send("end")
            await asyncio.to_thread(child.join, 30)
            child.kill()
            await client.disconnect()
    return {
        "kbPerStation": round(memory / stations, 1),
        "connectsPerSecond": round(stations / connecting),
        "statusesPerSecond": round(arrived / seconds),
        "sentPerSecond": round(sent / seconds),
        # what arrived: the snapshots of a fleet that is this busy come late
        "cpuMicrosecondsPerStatus": round(used / max(arrived, 1) * 1e6, 1),
    }


def main() -> None:
    """Prints one line an engine, and writes the figures as JSON when asked."""
    parser = argparse.ArgumentParser(description="Engines of a simulated fleet, against a real Mosquitto")
    parser.add_argument("--stations", type=int, default=2_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = {}
    print(f"{'engine':12} {'KB a station':>12} {'connects/s':>11} {'statuses/s':>11} {'us CPU each':>12} {'ratio':>6}")
    for name in (*ENGINES, WHOLE):
        found[name] = each = uvloop.run(_measure(name, options.stations, options.seconds))
        ratio = each["statusesPerSecond"] / (found["ours"]["statusesPerSecond"] or 1)
        shown = f"{ratio:6.2f}"
        print(
            f"{name:12} {each['kbPerStation']:12} {each['connectsPerSecond']:11,} {each['statusesPerSecond']:11,} "
            f"{each['cpuMicrosecondsPerStatus']:12} {shown}"
        )
    if options.json:
        result = {"stations": options.stations, "seconds": options.seconds, "engines": found}
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    sys.exit(0 if all(each["statusesPerSecond"] for each in found.values()) else 1)


if __name__ == "__main__":
    main()
