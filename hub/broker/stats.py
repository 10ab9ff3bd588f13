"""What the broker counts, for `/metrics` and `$SYS/broker`."""

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["Dropped", "Gauges", "Stats"]

Dropped = Counter[str]
"""How many messages were dropped, by reason."""


@dataclass(slots=True)
class Stats:
    """Counters since the start; `dropped` by reason: see `docs/operations.md`."""

    bytes_received: int = 0
    bytes_sent: int = 0
    messages_received: int = 0
    messages_sent: int = 0
    connects: int = 0
    refused: int = 0
    disconnects: Counter[str] = field(default_factory=Counter)
    dropped: Dropped = field(default_factory=Counter)
    denied: Counter[str] = field(default_factory=Counter)


class Gauges(NamedTuple):
    """How much there is at one moment."""

    connections: int
    sessions: int
    subscriptions: int
    retained: int
    queued: int
    inflight: int
    routes: int
    route_hits: int
    route_misses: int
