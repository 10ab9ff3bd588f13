"""The report: a table for people, and the same as JSON with these keys.

seconds: how long was measured
stations, stationsConnected, browsers, browsersConnected: how many were wanted, and are connected
sent, sentPerSecond: status messages that stations sent
received, receivedPerSecond: statuses that came to browsers in batches, without those kept from before they connected
batchDelayMs {p50, p99}: from a status's `updatedAt` until it came to a browser in a batch
ackMs {p50, p99}: from a request to its ack; answerMs {p50, p99}: from `station-request-status` to the station's status
errors {kind: count}
Percentiles are right to 5 %, and null where nothing was timed.
"""

import time
from collections import Counter
from typing import Any

from rich.table import Table

from simulator.stats import Stats

__all__ = ["figures", "table"]


def figures(stats: Stats, stations: list[bool], browsers: list[bool]) -> dict[str, Any]:
    """What goes into the JSON; of each station and browser it wants to know whether it is connected."""
    seconds = max(time.monotonic() - stats.began, 0.001)
    errors, shown = Counter(stats.errors), dict[str, Any](seconds=round(seconds, 3))
    for name, connected in (("station", stations), ("browser", browsers)):
        shown |= {f"{name}s": len(connected), f"{name}sConnected": sum(connected)}
        errors[f"{name}: not connected"] = connected.count(False)
    for name, count in (("sent", stats.sent), ("received", stats.received)):
        shown |= {name: count, f"{name}PerSecond": round(count / seconds, 1)}
    for name, times in (("batchDelayMs", stats.batch_delay), ("ackMs", stats.ack), ("answerMs", stats.answer)):
        shown[name] = {f"p{percent}": times.percentile(percent) for percent in (50, 99)}
    return shown | {"errors": dict(sorted((+errors).items()))}


def table(shown: dict[str, Any]) -> Table:
    """For people."""
    rows = Table("hub simulate", f"{shown['seconds']:.1f} s")
    for name in ("stations", "browsers"):
        rows.add_row(f"{name} connected", f"{shown[f'{name}Connected']} of {shown[name]}")
    for name, key in (("messages sent", "sentPerSecond"), ("statuses at browsers", "receivedPerSecond")):
        rows.add_row(name, f"{shown[key]:,}/s")
    for name, key in (("batch delay", "batchDelayMs"), ("ack", "ackMs"), ("answer", "answerMs")):
        rows.add_row(f"{name} p50 / p99", " / ".join("-" if ms is None else f"{ms} ms" for ms in shown[key].values()))
    for kind, count in {"errors": sum(shown["errors"].values()), **shown["errors"]}.items():
        rows.add_row(kind, str(count))
    return rows
