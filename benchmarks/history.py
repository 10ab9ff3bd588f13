"""What it costs to keep ten minutes of a fleet's numbers: `python -m benchmarks.history [--json FILE]`.

Each station reports every five seconds, as those of `hub simulate` do: 120 reports of four devices, whose ids are its own.
Beside `hub.history`, two plain ways to keep the same: a deque of (time, value) for each number, and the statuses as they came.
Each has a process of its own, whose memory is read before and after; the time is that process's CPU, without parsing.
"""

import argparse
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from time import process_time
from typing import Any, Final

from benchmarks.figures import machine, tell
from benchmarks.process import memory_kb
from devices.messages import Device, Status, load
from hub.history import EVERY, ROWS, History
from simulator.fleet.telemetry import Telemetry
from simulator.scenario.models import DeviceMix

__all__ = ["main"]

VARIANTS: Final = 5
"""Statuses of a station that are made beforehand: making 1.2 million takes longer than keeping them."""
READS: Final = 200
UNBOUNDED: Final = 1 << 40

Report = tuple[bytes, Sequence[Device]]
Take = Callable[[str, Report, float], None]


def _ours() -> tuple[Take, Callable[[str, float], object]]:
    history = History(UNBOUNDED)
    return lambda station_id, report, at: history.take(station_id, report[1], at), history.of


def _deques() -> tuple[Take, Callable[[str, float], object]]:
    lines: dict[str, dict[tuple[str, str], deque[tuple[float, float]]]] = {}

    def take(station_id: str, report: Report, at: float) -> None:
        of_station = lines.setdefault(station_id, {})
        for device in report[1]:
            for metric, value in device.metrics.items():
                if type(value) is float or type(value) is int:
                    line = of_station.get((device.device_id, metric))
                    if line is None:
                        line = of_station[device.device_id, metric] = deque(maxlen=ROWS)
                    line.append((at, value * 1.0))

    return take, lambda station_id, _: {key: list(line) for key, line in lines[station_id].items()}


def _statuses() -> tuple[Take, Callable[[str, float], object]]:
    kept: dict[str, deque[tuple[float, bytes]]] = {}

    def take(station_id: str, report: Report, at: float) -> None:
        # a copy, as each status comes in a buffer of its own
        kept.setdefault(station_id, deque(maxlen=ROWS)).append((at, bytes(bytearray(report[0]))))

    return take, lambda station_id, _: [(at, load(raw)["devices"]) for at, raw in kept[station_id]]


WAYS: Final[dict[str, Callable[[], tuple[Take, Callable[[str, float], object]]]]] = {
    "hub.history": _ours,
    "deques": _deques,
    "statuses": _statuses,
}


def _reports(station_id: str) -> list[Report]:
    telemetry = Telemetry(station_id, station_id, devices=DeviceMix.model_validate({}), interval=EVERY)
    made = [telemetry.status(60.0 * number, number, number, 0.0, "run") for number in range(VARIANTS)]
    return [(raw, Status.model_validate(load(raw)).devices) for raw in made]


def _run(way: str, stations: int, tell: Any) -> None:
    ids = [f"station-{number:05}" for number in range(stations)]
    reports = [_reports(station_id) for station_id in ids]
    take, read = WAYS[way]()
    before, began = memory_kb(os.getpid()), process_time()
    for row in range(ROWS):
        for number, station_id in enumerate(ids):
            take(station_id, reports[number][row % VARIANTS], EVERY * row + number * EVERY / stations)
    took = process_time() - began
    kilobytes = memory_kb(os.getpid()) - before
    began = process_time()
    for number in range(READS):
        read(ids[number % stations], EVERY * ROWS)
    tell.send(
        {
            "kbPerStation": round(kilobytes / stations, 2),
            "megabytes": round(kilobytes / 1024, 1),
            "usPerReport": round(took / stations / ROWS * 1e6, 2),
            "msPerRead": round((process_time() - began) / READS * 1e3, 3),
        }
    )


def measure(stations: int) -> dict[str, dict[str, float]]:
    """Each way in turn."""
    figures = {}
    spawn = multiprocessing.get_context("spawn")
    for way in WAYS:
        hear, tell = spawn.Pipe(duplex=False)
        process = spawn.Process(target=_run, args=(way, stations, tell))
        process.start()
        tell.close()
        figures[way] = hear.recv()
        process.join()
    ours = figures["hub.history"]
    for found in figures.values():
        found["memoryRatio"] = round(found["kbPerStation"] / ours["kbPerStation"], 2)
        found["timeRatio"] = round(found["usPerReport"] / ours["usPerReport"], 2)
    return figures


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.history", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    parser.add_argument("--stations", type=int, default=10_000)
    options = parser.parse_args()
    figures: dict[str, Any] = {
        **machine(),
        "stations": options.stations,
        "numbersOfAStation": sum(len(device.metrics) for device in _reports("st")[0][1]),
        "ways": measure(options.stations),
    }
    tell(figures, options.json)


if __name__ == "__main__":
    main()
