"""The other forms of `benchmarks.broker`: cost by number of stations, a fleet held for minutes, sessions on disk."""

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from benchmarks.brokers import NotInstalled, Running, running
from benchmarks.generator import SOCKETS, Generator, generators
from benchmarks.process import cpu_seconds, memory_kb

__all__ = ["curve", "durable", "hold"]

Figures = dict[str, Any]
KEEP_ALIVE: Final = 60
IDLE_SECONDS: Final = 20
HOLD_KEEP_ALIVE: Final = 30
STATUS_EVERY: Final = 5
SESSIONS: Final = 2_000
IN_FLIGHT: Final = 1_000
EACH: Final = 100
"""Messages that wait for one offline session at most: a broker may bound its queues."""


def _prepare(fleet: Sequence[Generator], stations: int, **arguments: object) -> None:
    share, more = divmod(stations, len(fleet))
    first = 0
    for number, generator in enumerate(fleet):
        count = share + (number < more)
        generator.begin("prepare", count=count, first=first, **arguments)
        first += count
    for generator in fleet:
        generator.result()


def _all(fleet: Sequence[Generator], broker: Running, do: str, **arguments: object) -> Figures:
    """One command to all at once: operations a second, and broker CPU in us per operation."""
    cpu = cpu_seconds(broker.pid)
    for generator in fleet:
        generator.begin(do, **arguments)
    results = [generator.result() for generator in fleet]
    cpu = cpu_seconds(broker.pid) - cpu
    count = sum(result["count"] for result in results)
    seconds = max(result["end"] for result in results) - min(result["start"] for result in results)
    return {"per_s": round(count / seconds), "cpu_us": round(cpu / count * 1e6, 1)}


def _each(brokers: Sequence[str], one: Callable[[str], Figures]) -> Figures:
    """Measures each broker; one that is missing is told and left out."""
    figures, missing = {}, {}
    for name in brokers:
        try:
            figures[name] = one(name)
        except NotInstalled as error:
            missing[name] = "not installed"
            print(f"{name}: {error}", file=sys.stderr)
    return {"brokers": figures, "missing": missing}


def curve(brokers: Sequence[str], counts: Sequence[int], *, seconds: float) -> Figures:
    """What each operation costs with so many stations connected; prints a line for each broker and number.

    Raises:
        BrokerError, LoadError: a broker did not start, or did not do what it should.
    """
    columns = ("connect", "subscribe", "takeover", "disconnect")
    print("operations a second, and broker CPU in us for one")
    heads = [*columns, "qos0 us", "idle CPU %", "KB/station"]
    print(f"{'broker':16}{'stations':>9}" + "".join(f"{head:>18}" for head in heads))
    rows: dict[str, dict[int, Figures]] = {name: {} for name in brokers}
    missing: dict[str, str] = {}
    for count in counts:
        for name in [name for name in brokers if name not in missing]:
            try:
                row = rows[name][count] = _point(name, count, seconds)
            except NotInstalled as error:
                missing[name] = "not installed"
                print(f"{name:16}not installed: {error}")
                continue
            cells = [f"{row[what]['per_s']:,} /{row[what]['cpu_us']:6.1f}" for what in columns]
            cells += [f"{row['qos0_cpu_us']:.2f}", f"{row['idle_cpu_percent']:.2f}", f"{row['kb_per_station']:.1f}"]
            print(f"{name:16}{count:>9,}" + "".join(f"{cell:>18}" for cell in cells), flush=True)
    for name, found in rows.items():
        if len(found) > 1:
            least, most = found[min(found)], found[max(found)]
            growth = [f"{what} {most[what]['cpu_us'] / least[what]['cpu_us']:.2f}x" for what in columns]
            growth.append(f"qos0 {most['qos0_cpu_us'] / least['qos0_cpu_us']:.2f}x")
            print(f"{name}: CPU of one at {max(found):,} stations to that at {min(found):,}: {', '.join(growth)}")
    return {"brokers": rows, "missing": missing}


def _point(name: str, count: int, seconds: float) -> Figures:
    with running(name, stations=count) as broker, generators(broker, -(-count // SOCKETS)) as fleet:
        _prepare(fleet, count, keep_alive=KEEP_ALIVE)
        empty = memory_kb(broker.pid)
        row: Figures = {"connect": _all(fleet, broker, "connect", subscribe=False)}
        row["subscribe"] = _all(fleet, broker, "subscribe")
        row["kb_per_station"] = round((memory_kb(broker.pid) - empty) / count, 2)
        row["qos0_cpu_us"] = fleet[0].do("qos0", seconds=seconds)["cpu_us"]
        cpu, start = cpu_seconds(broker.pid), time.monotonic()
        for generator in fleet:
            generator.begin("hold", seconds=IDLE_SECONDS, ping_every=KEEP_ALIVE)
        for generator in fleet:
            generator.result()
        row["idle_cpu_percent"] = round((cpu_seconds(broker.pid) - cpu) / (time.monotonic() - start) * 100, 2)
        row["takeover"] = _all(fleet, broker, "connect", subscribe=False)
        row["disconnect"] = _all(fleet, broker, "disconnect")
    return row


def hold(brokers: Sequence[str], stations: int, *, minutes: float) -> Figures:
    """A fleet with a will each reports and pings for minutes: wills seen, memory, CPU, how late PINGRESP come. Prints them.

    Raises:
        BrokerError, LoadError: a broker did not start, or did not do what it should.
    """
    figures = _each(brokers, lambda name: _hold(name, stations, minutes * 60))
    for name, found in figures["brokers"].items():
        print(f"{name}, {stations:,} stations, {minutes:g} minutes: {'held' if not found['wills'] else 'NOT HELD'}")
        for key, value in found.items():
            print(f"  {key:28}{value:>12,}")
    return figures


def _hold(name: str, stations: int, seconds: float) -> Figures:
    count = -(-stations // SOCKETS)
    with (
        running(name, stations=stations) as broker,
        generators(broker, count) as fleet,
        generators(broker, 1) as (observer,),
    ):
        _prepare(fleet, stations, keep_alive=HOLD_KEEP_ALIVE, will=True)
        _all(fleet, broker, "connect")
        observer.do("watch")
        for generator in fleet:
            generator.begin(
                "hold",
                seconds=seconds,
                ping_every=HOLD_KEEP_ALIVE / 2,
                status_every=STATUS_EVERY,
                guard=seconds + 60,
            )
        time.sleep(min(60.0, seconds / 2))
        early, cpu, start = memory_kb(broker.pid), cpu_seconds(broker.pid), time.monotonic()
        results = [generator.result() for generator in fleet]
        percent = (cpu_seconds(broker.pid) - cpu) / (time.monotonic() - start) * 100
        watched = observer.do("watched")
        return {
            "wills": watched["wills"],
            "lost_connections": sum(result["lost_connections"] for result in results),
            "pings": sum(result["pings"] for result in results),
            "pings_unanswered": sum(result["unanswered"] for result in results),
            "pingresp_p50_ms": max(result["p50"] for result in results),
            "pingresp_p99_ms": max(result["p99"] for result in results),
            "pingresp_max_ms": max(result["max"] for result in results),
            "statuses_sent": sum(result["statuses"] for result in results),
            "statuses_delivered": watched["statuses"],
            "memory_mb_first_minute": round(early / 1024, 1),
            "memory_mb_end": round(memory_kb(broker.pid) / 1024, 1),
            "cpu_percent": round(percent, 1),
        }


def durable(brokers: Sequence[str], *, seconds: float) -> Figures:
    """QoS 1 to persistent sessions, 1,000 in flight: offline ones, then one that is online. Prints messages a second.

    Raises:
        BrokerError, LoadError: a broker did not start, or did not do what it should.
    """
    figures = _each(brokers, lambda name: _durable(name, seconds))
    print(f"{'broker':16}{'to offline /s':>16}{'CPU us':>10}{'lost':>8}{'to online /s':>16}{'CPU us':>10}")
    for name, found in figures["brokers"].items():
        offline, online = found["offline"], found["online"]
        print(
            f"{name:16}{offline['per_s']:>16,}{offline['cpu_us']:>10}{offline['lost']:>8,}"
            f"{online['per_s']:>16,}{online['cpu_us']:>10}"
        )
    print("Ours acknowledges after the commit, which survives the process but is not flushed to the disk each time.")
    print("Mosquitto acknowledges at once and dumps its state every 30 minutes.")
    return figures


def _durable(name: str, seconds: float) -> Figures:
    with running(name, stations=SESSIONS, durable=True) as broker, generators(broker, 1) as (generator,):
        generator.do("prepare", count=SESSIONS, clean=False)
        generator.do("connect")
        generator.do("disconnect")
        offline = generator.do("to_offline", seconds=seconds, in_flight=IN_FLIGHT, each=EACH)
        offline["lost"] = max(0, offline["count"] - generator.do("collect")["received"])
        online = generator.do("qos1", seconds=seconds, in_flight=IN_FLIGHT, clean=False)
        return {"offline": offline, "online": online}
