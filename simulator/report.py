"""The report: a table for people, and the same as JSON with these keys.

stations, stationsConnected, browsers, browsersConnected: how many were wanted, and are connected
seconds: how long was measured
sent, sentPerSecond: status messages that stations sent
received, receivedPerSecond: statuses that came to browsers in batches
batchDelayMs {p50, p99}: from a status's `updatedAt` until it came to a browser in a batch
ackMs {p50, p99}: from a request to its ack; answerMs {p50, p99}: from `station-request-status` to the station's status
errors {kind: count}
Percentiles are right to 5 %, and null where nothing was timed.
"""

import time
from typing import Any

from rich.table import Table

from simulator.scenario import Scenario
from simulator.stats import Stats

__all__ = ["figures", "table"]


def figures(plan: Scenario, stats: Stats, stations: int, browsers: int) -> dict[str, Any]:
    """What goes into the JSON; `stations` and `browsers` are connected now."""
    seconds = max(time.monotonic() - stats.began, 0.001)
    shown: dict[str, Any] = {"stations": plan.stations, "stationsConnected": stations}
    shown |= {"browsers": plan.browsers, "browsersConnected": browsers, "seconds": round(seconds, 3)}
    for name, count in (("sent", stats.sent), ("received", stats.received)):
        shown |= {name: count, f"{name}PerSecond": round(count / seconds, 1)}
    for name, times in (("batchDelayMs", stats.batch_delay), ("ackMs", stats.ack), ("answerMs", stats.answer)):
        shown[name] = {f"p{percent}": times.percentile(percent) for percent in (50, 99)}
    return shown | {"errors": dict(sorted(stats.errors.items()))}


def table(shown: dict[str, Any]) -> Table:
    """For people."""
    rows = Table("hub simulate", f"{shown['seconds']:.1f} s")
    rows.add_row("stations connected", f"{shown['stationsConnected']} of {shown['stations']}")
    rows.add_row("browsers connected", f"{shown['browsersConnected']} of {shown['browsers']}")
    rows.add_row("messages sent", f"{shown['sentPerSecond']:,}/s")
    rows.add_row("statuses at browsers", f"{shown['receivedPerSecond']:,}/s")
    for name, key in (("batch delay", "batchDelayMs"), ("ack", "ackMs"), ("answer", "answerMs")):
        rows.add_row(f"{name} p50 / p99", " / ".join("-" if ms is None else f"{ms} ms" for ms in shown[key].values()))
    rows.add_row("errors", str(sum(shown["errors"].values())))
    for kind, count in shown["errors"].items():
        rows.add_row(f"  {kind}", str(count))
    return rows
