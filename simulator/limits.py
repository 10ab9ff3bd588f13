"""What the machine must allow before a simulation starts: open files, and ports to come from."""

import math
import resource
from pathlib import Path
from typing import Final

from simulator.options import MOST_WORKERS
from simulator.scenario import SimulationError

__all__ = ["allow", "check_files", "check_ports"]

OWN_FILES: Final = 128
"""Open files a worker has beside its connections: modules, the event loop, pipes, reports, HTTP logins."""
PORT_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")


def allow(stations: int, browsers: int, workers: int, *, one_address: bool = False) -> None:
    """Raises this process's limit of open files as far as it may, for the workers to come.

    Args:
        one_address: stations and browsers connect to the same one: a broker alone.

    Raises:
        SimulationError: the machine does not allow that many, with the command that raises the limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = check_files(stations, browsers, workers, math.inf if hard == resource.RLIM_INFINITY else hard)
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    try:
        low, high = PORT_RANGE.read_text().split()
    except OSError:
        return  # not Linux: connecting will tell
    check_ports(stations + browsers if one_address else max(stations, browsers), int(low), int(high))


def check_files(stations: int, browsers: int, workers: int, most: float) -> int:
    """How many files the busiest worker opens, one for each connection. Raises SimulationError above `most`."""
    needed = math.ceil(stations / workers) + math.ceil(browsers / workers) + OWN_FILES
    if needed > most:
        enough = math.ceil((stations + browsers) / max(most - OWN_FILES - 2, 1))  # 2: each is rounded up
        spread = f", or spread them with --workers {enough}" if enough <= MOST_WORKERS else ""
        raise SimulationError(
            f"{stations:,} stations and {browsers:,} browsers need {needed:,} open files in a process, and {most:,.0f} "
            f"are allowed: raise it with `prlimit --pid $$ --nofile={needed}:{needed}` as root{spread}"
        )
    return needed


def check_ports(connections: int, low: int, high: int) -> None:
    """Each of the connections to one address has a port of its own on this side.

    Raises:
        SimulationError: `low` to `high` are too few.
    """
    ports = high - low + 1
    if connections > ports:
        raise SimulationError(
            f"{connections:,} connections to one address need as many local ports, and the system gives {ports:,}: "
            'raise it with `sysctl -w net.ipv4.ip_local_port_range="1024 65535"` as root'
        )
