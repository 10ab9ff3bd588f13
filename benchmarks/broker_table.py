"""The figures of `benchmarks.broker` as a table: one line each, ours to Mosquitto's, and whether the target is met. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["METRICS", "PEERS", "Metric", "Target", "table", "verdicts"]

Medians = Mapping[str, Mapping[str, float]]
OURS: Final = "ours"
PEERS: Final = ("mosquitto", "mosquitto-acl")
"""What ours is divided by. Targets that are ratios are of the first."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure of ours shall be.

    Attributes:
        bound: the least that is good, or the most where less is better.
        ratio: `bound` is of ours to Mosquitto's, not of ours alone.
    """

    bound: float
    ratio: bool = True


@dataclass(frozen=True, slots=True)
class Metric:
    """One line of the table; `digits` after the point."""

    key: str
    label: str
    target: Target | None = None
    digits: int = 0
    less_is_better: bool = False

    def verdict(self, medians: Medians) -> bool | None:
        """Whether the target is met; None without a target or without the figures."""
        ours = medians.get(OURS, {}).get(self.key)
        peer = medians.get(PEERS[0], {}).get(self.key)
        if self.target is None or ours is None:
            return None
        if self.target.ratio:
            if not peer:
                return None
            ours /= peer
        return ours <= self.target.bound if self.less_is_better else ours >= self.target.bound

    def wanted(self) -> str:
        """The target as text."""
        if self.target is None:
            return ""
        sign = "<=" if self.less_is_better else ">="
        return f"{sign} {self.target.bound:g}{'x' if self.target.ratio else ''}"


def _less(key: str, label: str, target: Target | None = None, *, digits: int = 2) -> Metric:
    return Metric(key, label, target, digits, less_is_better=True)


METRICS: Final = (
    Metric("connect_per_s", "connect + subscribe /s", Target(4_000, ratio=False)),
    _less("kb_per_station", "KB per station", Target(8, ratio=False), digits=1),
    Metric("qos0_per_s", "QoS 0, one publisher, /s"),
    _less("qos0_cpu_us", "  broker CPU, us per message", Target(1.1)),
    Metric("spread_per_s", "QoS 0, every station in turn, /s"),
    _less("spread_cpu_us", "  broker CPU, us per message", Target(1.3)),
    Metric("qos1_per_s", "QoS 1, 100 in flight, /s"),
    _less("qos1_cpu_us", "  broker CPU, us per message", Target(0.7)),
    Metric("fanout_per_s", "fan-out of one message, /s"),
    _less("fanout_cpu_us", "  broker CPU, us per message", Target(1.0)),
    _less("command_p50_ms", "command, one way, p50 ms", digits=3),
    _less("command_p99_ms", "command, one way, p99 ms", Target(0.5, ratio=False), digits=3),
    _less("flood_p50_ms", "  while one client floods, p50 ms", digits=3),
    _less("flood_p99_ms", "  while one client floods, p99 ms", Target(20, ratio=False), digits=3),
    _less("storm_s", "storm: all drop and return, s", Target(1.5, ratio=False)),
    Metric("storm_publish_per_s", "publishing during a storm, /s"),
    Metric("storm_publish_share", "  to the rate before", Target(0.5, ratio=False), 2),
)


def table(medians: Medians, missing: Mapping[str, str]) -> Iterator[str]:
    """The lines to print. `missing`: brokers that were not measured, with the reason."""
    peers = [peer for peer in PEERS if OURS in medians and peer in medians]
    heads = [*medians, *(f"to {peer}" for peer in peers), "target", ""]
    yield " " * 36 + "".join(f"{head:>18}" for head in heads)
    for metric in METRICS:
        values = {name: figures.get(metric.key) for name, figures in medians.items()}
        if all(value is None for value in values.values()):
            continue
        cells = [
            missing.get(name, "failed") if value is None else f"{value:,.{metric.digits}f}"
            for name, value in values.items()
        ]
        for peer in peers:
            ours, theirs = values[OURS], values[peer]
            cells.append("" if ours is None or not theirs else f"{ours / theirs:.2f}x")
        met = metric.verdict(medians)
        cells += [metric.wanted(), "" if met is None else "met" if met else "MISSED"]
        yield f"{metric.label:36}" + "".join(f"{cell:>18}" for cell in cells)


def verdicts(medians: Medians) -> list[dict[str, Any]]:
    """Every target with `met`: true, false, or null when it was not measured."""
    return [
        {"metric": metric.key, "target": metric.wanted(), "met": metric.verdict(medians)}
        for metric in METRICS
        if metric.target is not None
    ]
