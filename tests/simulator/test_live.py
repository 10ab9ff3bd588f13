"""What is seen while a run goes on."""

import io
import math
from typing import Any

import pytest
from rich.console import Console

from simulator.measuring.measures import Recorder, Snapshot, Totals
from simulator.measuring.recent import Recent
from simulator.reports.live import Live, Screen, sparkline
from simulator.scenario.timeline import Timeline
from tests.simulator.runs import HOSTILE, fill, scenario


def screen(now: float, *, seconds: int | None = None, broken: str = "", workers: int = 1, **changed: Any) -> Screen:
    """A run, `now` seconds from its start."""
    totals, recent = Totals(), Recent()
    fill(totals, recent, seconds=int(now) if seconds is None else seconds, broken=broken)
    made = Screen(Timeline(scenario(**changed)), totals, recent, workers)
    made.now = now
    return made


def drawn(what: Screen, width: int = 80, height: int = 24, **options: Any) -> list[str]:
    """Its lines."""
    console = Console(width=width, height=height, **{"color_system": None} | options)
    with console.capture() as captured:
        console.print(what)
    return captured.get().splitlines()


def test_all_is_on_one_screen() -> None:
    """Of 80 by 24 characters."""
    lines = drawn(screen(30))
    text = "\n".join(lines)
    assert len(lines) <= 23
    assert max(map(len, lines)) <= 80
    assert "0:30 of 1:00" in text
    assert "2/2 steady" in text
    assert "0:30 left" in text
    assert "100 / 100 connected, 100 online as browsers see it" in text
    assert "10 / 10 connected" in text
    for name in ("statuses sent", "statuses received", "acks", "errors", "ack", "answer", "status.delay", "status.age"):
        assert any(line.startswith(name) for line in lines), name
    assert "40 % of a core   lag p99 0.05 ms   80 MB" in text


@pytest.mark.parametrize("height", [1, 2, 3, 8, 23, 24, 200])
@pytest.mark.parametrize("width", [1, 2, 10, 33, 80, 400])
@pytest.mark.parametrize("now", [0.0, 31.0, 1e9])
def test_it_fits_any_terminal(width: int, height: int, now: float) -> None:
    """What matters most stays: the first lines do."""
    lines = drawn(screen(now, seconds=31, broken=HOSTILE, name=HOSTILE[:70]), width, height)
    assert len(lines) <= max(height - 1, 1)
    assert all(len(line) <= width for line in lines)
    assert not any(letter in line for line in lines for letter in "\x1b\u202e\0")


def test_nothing_was_measured_yet() -> None:
    """Dashes, and no crash."""
    made = Screen(Timeline(scenario()), Totals(), Recent())
    assert any("- / " in line for line in drawn(made))
    assert "ack p99 -" in made.line()


def test_gauges_that_are_no_number() -> None:
    """A worker may say anything."""
    totals, recorder = Totals(), Recorder()
    recorder.gauge("stations.connected", math.nan)
    recorder.gauge("tester.cpu", math.inf)
    totals.add(0, recorder.take(0))
    made = Screen(Timeline(scenario()), totals, Recent())
    assert drawn(made)
    assert "tester - %" in made.line()


def test_faults_are_told_while_they_are_new() -> None:
    """And for as long as they last; those that are over for long are not."""
    assert "slow-reader of 1 browsers, 0:04 left" in "\n".join(drawn(screen(31), 120))
    assert "abort of 10 stations, 1 s ago" in "\n".join(drawn(screen(31), 120))
    assert "none just now" in "\n".join(drawn(screen(5)))


def test_findings_are_told() -> None:
    """By name, and errors too."""
    text = "\n".join(drawn(screen(40, broken="x"), 120))
    assert "stations.falselyOffline 1, errors 1" in text
    assert "findings 2" in screen(40, broken="x").line()


@pytest.mark.parametrize(("workers", "style"), [(1, "\x1b[1;31m"), (2, "\x1b[33m"), (4, "")])
def test_a_busy_tester_is_seen(workers: int, style: str) -> None:
    """By colour; what counts is each worker's own core."""
    totals, recorder = Totals(), Recorder()
    recorder.gauge("tester.cpu", 170.0)
    totals.add(0, recorder.take(0))
    made = Screen(Timeline(scenario()), totals, Recent(), workers)
    text = "\n".join(drawn(made, color_system="standard", force_terminal=True))
    assert f"tester            {style}170 % of a core" in text


def test_without_an_end() -> None:
    """Until Ctrl-C there is no progress to show."""
    ramp = {"name": "ramp", "duration": 10, "shape": "linear", "stations": "100%"}
    text = "\n".join(drawn(screen(20, stages=[ramp, {"name": "on and on", "duration": 0}])))
    assert "0:20 until Ctrl-C" in text
    assert "left" not in text


# the display


def shown(console: Console, *, quiet: bool = False, until: int = 35) -> None:
    """A run that is shown each second."""
    totals, recent = Totals(), Recent()
    fill(totals, recent, seconds=30)
    with Live(console, Timeline(scenario()), totals, recent, quiet=quiet) as live:
        for second in range(1, until + 1):
            live.update(second + 0.01)


def test_a_log_gets_a_line_every_ten_seconds() -> None:
    """Plain, each in one line however narrow."""
    out = io.StringIO()
    shown(Console(file=out, width=20))
    lines = out.getvalue().splitlines()
    assert [line.split(",")[0] for line in lines] == ["0:10 2/2 steady", "0:20 2/2 steady", "0:30 2/2 steady"]
    assert "\x1b" not in out.getvalue()


def test_a_terminal_gets_a_screen_that_goes_away() -> None:
    """Drawn each second in place; nothing of it stays above the table."""
    out = io.StringIO()
    shown(Console(file=out, width=80, height=24, force_terminal=True), until=3)
    assert out.getvalue().count("hub simulate") >= 3
    assert out.getvalue().endswith("\x1b[2K")


@pytest.mark.parametrize("terminal", [True, False])
def test_quiet_is_quiet(terminal: bool) -> None:
    """Nothing at all."""
    out = io.StringIO()
    shown(Console(file=out, width=80, height=24, force_terminal=terminal), quiet=True)
    assert out.getvalue() == ""


def test_sparkline() -> None:
    """From 0 to the highest; what is more than nothing is seen."""
    assert sparkline([0, 1, 350, 700], 10) == "▁▂▅█"
    assert sparkline([1, 2, 3], 2) == "▆█"
    assert sparkline([0, 0], 5) == "▁▁"
    assert sparkline([], 5) == sparkline([1], 0) == sparkline([1], -1) == ""


# the last minute


def second(number: int, **given: Any) -> Snapshot:
    """A snapshot."""
    return Snapshot(number, **given)


def test_rates_wait_for_all_workers() -> None:
    """Half a second's work is no rate; who is far behind is not waited for."""
    recent = Recent(workers=2)
    recent.add(second(0, counts={"status.sent": 3}))
    assert recent.rates("status.sent") == []
    recent.add(second(0, counts={"status.sent": 4}))
    assert recent.rates("status.sent") == [7]
    for number in range(1, 7):
        recent.add(second(number, counts={"status.sent": 1}))
    assert recent.rates("status.sent") == [7, 1]


def test_a_minute_is_kept() -> None:
    """And no more, however long a run is, and whoever comes late."""
    recent = Recent()
    for number in range(10_000):
        recent.add(second(number, counts={"a": number}, times={f"t{number}": {1: 1}}, errors={"x": 2}))
    recent.add(second(5, counts={"a": 1}))
    assert recent.rates("a") == list(range(9_940, 10_000))
    assert recent.rates("errors") == [2] * 60
    assert len(recent.timed()) == 60


def test_percentiles_are_of_the_last_ten_seconds() -> None:
    """Of all workers; what was before is forgotten."""
    recent = Recent(workers=2)
    for number in range(20):
        for _ in range(2):
            recent.add(second(number, times={"ack": {1000 * (number + 1): 1}}))
    assert recent.percentiles("ack", (50.0, 100.0)) == [pytest.approx(15, rel=0.01), pytest.approx(20, rel=0.01)]
    assert recent.rates("ack.count") == [2] * 20
    assert recent.percentiles("other", (50.0,)) == [None]
