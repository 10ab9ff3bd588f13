"""Runs made up for the tests of what is shown of them: a minute with a fault, a broken hub, or nothing at all."""

from typing import Any, Final

from devices.client import Address
from simulator.measuring.measures import Recorder, Totals
from simulator.measuring.recent import Recent
from simulator.measuring.rules import judge, rules_of
from simulator.measuring.witnesses import absent
from simulator.plan import Target
from simulator.reports.document import Ran, document
from simulator.scenario import Scenario
from simulator.scenario.timeline import Timeline

__all__ = ["HOSTILE", "SECONDS", "UNWATCHED", "fill", "report", "scenario"]

SECONDS: Final = 60
UNWATCHED: Final[dict[str, Any]] = {
    "browsers": {"count": 0},
    "stages": [{"name": "ramp", "duration": 60, "shape": "linear", "stations": "100%"}],
}
"""What of `scenario` is changed where there are no browsers."""
HOSTILE: Final = (
    "</style></svg><script>alert(1)</script>\"'&<img src=x onerror=alert(1)>\x1b[31m\u202e\x00 $title ${title} [red]"
)
"""As a station's name or an error may be."""


def scenario(**changed: Any) -> Scenario:
    """A ramp, and a steady stage with two faults."""
    faults = [
        {"kind": "abort", "at": 10.0, "every": 10.0, "share": 0.1},
        {"kind": "slow-reader", "who": "browsers", "at": 20.0, "lasts": 5.0},
    ]
    stages = [
        {"name": "ramp", "duration": 10, "shape": "linear", "stations": "100%", "browsers": "100%"},
        {"name": "steady", "duration": 50, "faults": faults},
    ]
    given = {"name": "made-up", "stages": stages, "stations": {"count": 100}, "browsers": {"count": 10}}
    return Scenario.model_validate(given | changed)


def fill(totals: Totals, recent: Recent | None = None, *, seconds: int = SECONDS, broken: str = "") -> None:
    """A minute of measurements.

    Args:
        broken: what is said of a finding and an error in second 30; empty: the hub is sound.
    """
    recorder = Recorder()
    for second in range(seconds):
        up = min(second * 10, 100)
        recorder.gauge("stations.connected", up)
        recorder.gauge("stations.seen", up - 0.5 if up else 0)
        recorder.gauge("browsers.connected", up / 10)
        recorder.gauge("tester.cpu", 40.0)
        recorder.gauge("tester.memory", 80.0)
        recorder.count("status.sent", up // 5)
        recorder.count("status.received", up // 5)
        for number in range(20):
            recorder.time("ack", 1 + number / 4)
            recorder.time("ack.ping", 1 + number / 4)
            recorder.time("status.delay", 40 * number)
            recorder.time("status.age", 200 * number)
            recorder.time("tester.lag", 0.05)
        if broken and second == 30:
            recorder.found("stations.falselyOffline", broken)
            recorder.error(broken)
        snapshot = recorder.take(second)
        totals.add(0, snapshot)
        if recent is not None:
            recent.add(snapshot)


def report(*, seconds: int = SECONDS, broken: str = "", interrupted: bool = False, **changed: Any) -> dict[str, Any]:
    """The report of such a run; it was planned for a minute."""
    played, totals = scenario(**changed), Totals()
    fill(totals, seconds=seconds, broken=broken)
    timeline, target = Timeline(played), Target(Address.parse("mqtt://127.0.0.1:1883"), "http://127.0.0.1:3101")
    verdict = judge(totals.facts(), rules_of((), played.fail_if, absent(played, target)), totals.evidence)
    ran = Ran(1_764_000_000_000, float(seconds), interrupted)
    return document(ran, played, target, totals, verdict, timeline.stages(), timeline.strikes())
