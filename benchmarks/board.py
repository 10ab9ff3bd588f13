"""How long the event loop stands still for a fleet's statuses: `python -m benchmarks.board [--json FILE]`.

10,000 stations report every five seconds, all of them watched, or what 70 tiles of a wall show, or none. Beside each other: all
read at the flush, as it was, and `StatusBoard.read_ahead` 20 times a second. CPU time of this thread: of the longest flush, of
the longest step between, and of all in a second; with the numbers of ten minutes and without (`--history 0`).
"""

import argparse
import gc
from collections.abc import Callable
from pathlib import Path
from time import thread_time
from typing import Any, Final

from benchmarks.figures import machine, tell
from devices.clock import SystemClock
from hub.history import EVERY, History
from hub.status import AHEAD, StatusBoard
from simulator.fleet.telemetry import Telemetry
from simulator.scenario.models import DeviceMix

__all__ = ["main"]

STEPS: Final = round(1 / AHEAD)
SECONDS: Final = 20
WARM: Final = 10
"""Seconds until every station has been read once."""
MEMORY: Final = 1 << 30


def _statuses(stations: int) -> list[tuple[str, bytes]]:
    ids = [f"station-{number:05}" for number in range(stations)]
    devices, now = DeviceMix.model_validate({}), SystemClock().wall_ms()
    # from a future that is not far: none of them is too old before the end
    return [
        (one, Telemetry(one, one, devices=devices, interval=EVERY).status(1.0, now + 50_000, 1, 0.0, "run"))
        for one in ids
    ]


def _timed(work: Callable[[], object]) -> float:
    began = thread_time()
    work()
    return thread_time() - began


def _run(
    statuses: list[tuple[str, bytes]], watched: set[str] | None, *, ahead: bool, history: bool
) -> dict[str, float]:
    board = StatusBoard(SystemClock(), History(MEMORY) if history else None)
    board.flush(watched)
    flushes, steps = list[float](), list[float]()
    part = len(statuses) // (STEPS * round(EVERY))
    for step in range(SECONDS * STEPS):
        first = step * part % len(statuses)
        for station_id, raw in statuses[first : first + part]:
            board.arrived(station_id, raw)
        if ahead:
            steps.append(_timed(board.read_ahead))
        if step % STEPS == STEPS - 1:
            flushes.append(_timed(lambda: (board.flush(watched), board.moved())))
    flushes, steps = flushes[WARM:], steps[WARM * STEPS :]
    return {
        "longestFlushMs": round(max(flushes) * 1e3, 2),
        "longestStepMs": round(max(steps, default=0.0) * 1e3, 2),
        "cpuPercent": round((sum(flushes) + sum(steps)) / len(flushes) * 100, 2),
    }


def measure(stations: int) -> dict[str, dict[str, dict[str, float]]]:
    """Each way, of each that may be watched."""
    statuses = _statuses(stations)
    everybody: dict[str, set[str] | None] = {
        "all": None,
        "window": {station_id for station_id, _ in statuses[:70]},
        "none": set(),
    }
    gc.collect()
    gc.freeze()  # as `hub serve` does
    return {
        name: {
            "atTheFlush": _run(statuses, watched, ahead=False, history=False),
            "ahead": _run(statuses, watched, ahead=True, history=False),
            "aheadWithHistory": _run(statuses, watched, ahead=True, history=True),
        }
        for name, watched in everybody.items()
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.board", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    parser.add_argument("--stations", type=int, default=10_000)
    options = parser.parse_args()
    figures: dict[str, Any] = {
        **machine(),
        "stations": options.stations,
        "watched": measure(options.stations),
    }
    tell(figures, options.json)


if __name__ == "__main__":
    main()
