"""The embedded broker beside Mosquitto and others on this machine, each in a process of its own, in one run.

    python -m benchmarks.broker [--stations 4000] [--pairs 5] [--with-stock] [--json FILE]
    python -m benchmarks.broker --curve 100,1000,4000,10000,18000
    python -m benchmarks.broker --hold 10000 --minutes 10
    python -m benchmarks.broker --durable

The first form measures the brokers in turn, `--pairs` times, and gives medians, ours to Mosquitto's, and the targets. Load and
broker share the machine's cores: where the load is the limit, compare the broker's processor time per delivered message. The
second form shows what one operation costs by the number of stations, the third that a fleet is held for minutes without a
will, the fourth QoS 1 to sessions on disk. Machines are noisy: compare within one run, trust ratios.
"""

import argparse
import json
import sys
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.broker_modes import curve, durable, hold
from benchmarks.broker_table import METRICS, table, verdicts
from benchmarks.brokers import BROKERS, BrokerError, NotInstalled, raise_descriptor_limit, running
from benchmarks.figures import machine
from benchmarks.generator import SOCKETS, Generator, generators
from benchmarks.mqtt_client import LoadError

__all__ = ["LOADS", "main", "measure"]

Figures = dict[str, float]
Part = Callable[[Generator, Generator, argparse.Namespace, int], Figures]


def _rate(name: str) -> Part:
    def part(fleet: Generator, _: Generator, options: argparse.Namespace, __: int) -> Figures:
        result = fleet.do(name, seconds=options.seconds)
        return {f"{name}_per_s": result["per_s"], f"{name}_cpu_us": result["cpu_us"]}

    return part


def _fanout(fleet: Generator, _: Generator, options: argparse.Namespace, stations: int) -> Figures:
    result = fleet.do("fanout", seconds=options.seconds, subscribers=min(options.fanout, stations))
    return {"fanout_per_s": result["per_s"], "fanout_cpu_us": result["cpu_us"]}


def _command(fleet: Generator, _: Generator, options: argparse.Namespace, __: int) -> Figures:
    result = fleet.do("command", seconds=options.seconds)
    return {"command_p50_ms": result["p50"], "command_p99_ms": result["p99"]}


def _flood(fleet: Generator, other: Generator, options: argparse.Namespace, __: int) -> Figures:
    """A second process publishes flat out and receives it all, however late."""
    other.do("pump", window=False)
    time.sleep(0.5)
    try:
        result = fleet.do("command", seconds=options.seconds)
    finally:
        flood = other.do("pumped")
    if flood["cut"]:
        print("  the broker ended the flooding client's connection, or its observer's", file=sys.stderr)
    return {"flood_p50_ms": result["p50"], "flood_p99_ms": result["p99"]}


def _storm(fleet: Generator, _: Generator, __: argparse.Namespace, ___: int) -> Figures:
    return {"storm_s": fleet.do("storm")["seconds"]}


def _publishing(fleet: Generator, other: Generator, _: argparse.Namespace, __: int) -> Figures:
    """What a publisher and its observer, in a process of their own, keep of their rate in a storm."""
    other.do("pump", window=True)
    time.sleep(1.5)
    try:
        storm = fleet.do("storm")
    finally:
        samples = other.do("pumped")["samples"]
    before = _delivered(samples, storm["start"] - 1, storm["start"])
    during = _delivered(samples, storm["start"], storm["end"])
    return {"storm_publish_per_s": round(during), "storm_publish_share": round(during / max(before, 1), 3)}


def _delivered(samples: Sequence[tuple[float, int]], start: float, end: float) -> float:
    """Messages a second between two moments, from (moment, messages so far)."""
    moments = [moment for moment, _ in samples]
    first = max(bisect_left(moments, start) - 1, 0)
    last = min(max(bisect_left(moments, end), first + 1), len(samples) - 1)
    (began, had), (ended, has) = samples[first], samples[last]
    return (has - had) / max(ended - began, 1e-9)


LOADS: Final[dict[str, Part]] = {
    "qos0": _rate("qos0"),
    "spread": _rate("spread"),
    "qos1": _rate("qos1"),
    "command": _command,
    "flood": _flood,
    "fanout": _fanout,
    "storm": _storm,
    "publishing": _publishing,
}
"""Every load by its name; connecting and its memory are measured always, as each needs the fleet."""


def measure(name: str, options: argparse.Namespace) -> Figures:
    """One run against a fresh broker; a load that fails is told and left out. Raises BrokerError, LoadError without a fleet."""
    stations = min(options.stations, BROKERS[name].most_stations or options.stations)
    figures: Figures = {"stations": stations}
    with running(name, stations=stations) as broker, generators(broker, 2, apart=False) as (fleet, other):
        fleet.do("prepare", count=stations)
        result = fleet.do("connect")
        figures |= {"connect_per_s": result["per_s"], "kb_per_station": result["kb_per_station"]}
        for load in options.only:
            try:
                figures |= LOADS[load](fleet, other, options, stations)
            except LoadError as error:
                print(f"  {name}, {load}: {error}", file=sys.stderr)
    return figures


def _compare(options: argparse.Namespace) -> dict[str, Any]:
    runs: dict[str, list[Figures]] = {name: [] for name in options.brokers}
    missing: dict[str, str] = {}
    for pair in range(options.pairs):
        for name in options.brokers:
            if name in missing or (pair and BROKERS[name].most_stations is not None):
                continue
            print(f"run {pair + 1} of {options.pairs}: {name}", file=sys.stderr)
            try:
                runs[name].append(measure(name, options))
            except NotInstalled as error:
                missing[name] = "not installed"
                print(f"  {error}", file=sys.stderr)
            except (BrokerError, LoadError) as error:
                print(f"  {name}: {error}", file=sys.stderr)
                if not runs[name]:
                    missing[name] = "failed"
    medians = {
        name: {
            metric.key: median(values)
            for metric in METRICS
            if (values := [run[metric.key] for run in found if metric.key in run])
        }
        for name, found in runs.items()
    }
    print("\n".join(table(medians, missing)))
    for name, found in runs.items():
        if found and found[0]["stations"] != options.stations:
            print(f"{name}: with {found[0]['stations']:,.0f} stations, once")
    return {
        "stations": options.stations,
        "medians": medians,
        "targets": verdicts(medians),
        "missing": missing,
        "runs": runs,
    }


def _names(known: Sequence[str]) -> Callable[[str], list[str]]:
    def parse(value: str) -> list[str]:
        names = value.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
        return names

    return parse


def _numbers(value: str) -> list[int]:
    try:
        numbers = [int(number) for number in value.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError("numbers of stations with commas between, such as 100,1000") from None
    if min(numbers) < 1:
        raise argparse.ArgumentTypeError("at least one station")
    return numbers


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks.broker", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stations", type=int, default=4_000, help="of the first form (default 4000)")
    parser.add_argument("--seconds", type=float, default=3.0, help="measured for each load (default 3)")
    parser.add_argument("--pairs", type=int, default=5, help="runs of each broker, alternating (default 5)")
    parser.add_argument(
        "--fanout", type=int, default=1_000, metavar="N", help="subscribers of one topic (default 1000)"
    )
    parser.add_argument("--only", nargs="+", choices=LOADS, default=list(LOADS), metavar="NAME", help=", ".join(LOADS))
    parser.add_argument("--brokers", type=_names(list(BROKERS)), metavar="A,B", help=", ".join(BROKERS))
    parser.add_argument("--with-stock", action="store_true", help="also amqtt's own data plane, with few stations")
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--curve", type=_numbers, metavar="N,N", help="cost of one operation by number of stations")
    modes.add_argument("--hold", type=int, metavar="N", help="hold so many stations that report and ping")
    modes.add_argument("--durable", action="store_true", help="QoS 1 to sessions on disk")
    parser.add_argument("--minutes", type=float, default=10.0, help="of --hold (default 10)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    options = parser.parse_args()
    if not 1 <= options.stations <= SOCKETS:
        parser.error(f"--stations is 1 to {SOCKETS:,}; --curve and --hold take more")
    if options.pairs < 1 or options.seconds <= 0:
        parser.error("--pairs and --seconds are greater than 0")
    if options.brokers is None:
        first = ["ours", "mosquitto", "mosquitto-acl", "rumqttd", *(["amqtt"] if options.with_stock else [])]
        options.brokers = (
            ["ours"] if options.hold else ["ours", "mosquitto"] if options.curve or options.durable else first
        )
    return options


def main() -> None:
    """The command line; exit code 1 when a broker that was asked for could not be measured."""
    options = _options()
    stations = max([options.hold] if options.hold else options.curve or [options.stations])
    try:
        raise_descriptor_limit(stations + 1_500)
        if options.curve:
            figures = curve(options.brokers, options.curve, seconds=options.seconds)
        elif options.hold:
            figures = hold(options.brokers, options.hold, minutes=options.minutes)
        elif options.durable:
            figures = durable(options.brokers, seconds=options.seconds)
        else:
            figures = _compare(options)
    except (BrokerError, LoadError) as error:
        sys.exit(f"benchmarks.broker: {error}")
    about = {
        **machine(),
        "stations": stations,
        "seconds": options.seconds,
    }
    if options.json:
        options.json.write_text(json.dumps(about | figures, indent=2) + "\n")
    if "failed" in figures.get("missing", {}).values():
        sys.exit(1)


if __name__ == "__main__":
    main()
