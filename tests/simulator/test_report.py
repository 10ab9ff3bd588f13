"""The report: what is in the document, how it comes into a file, and the table at the end."""

import json
import math
import os
import re
import stat
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from devices.client import Address
from simulator.measuring.measures import Recorder, Totals
from simulator.measuring.rules import judge
from simulator.plan import Target
from simulator.reports.document import Ran, document, encode
from simulator.reports.endtable import table
from simulator.reports.files import distinct, writable, write
from simulator.reports.sections import sections
from simulator.reports.spans import clock, duration
from simulator.reports.toml_text import toml
from simulator.scenario import Scenario, SimulationError, read, shipped
from simulator.scenario.timeline import Timeline
from tests.simulator.runs import HOSTILE, UNWATCHED, fill, report, scenario

KEYS = (
    "version tool startedAt seconds interrupted scenario target machine facts histograms errors evidence series percentiles"
    " stages faults verdict"
)


def printed(shown: dict[str, Any], width: int = 100) -> str:
    """The table as text."""
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(table(shown))
    return captured.get()


def test_the_keys_are_fixed() -> None:
    """Scripts read them: none comes or goes with what happened."""
    assert list(report()) == KEYS.split()
    assert list(report(seconds=1, broken="x", interrupted=True)) == KEYS.split()


def test_the_file_is_the_document() -> None:
    """Nothing is lost on the way, whatever a hub said; half a character becomes a question mark."""
    shown = report(broken=HOSTILE)
    assert json.loads(encode(shown)) == json.loads(json.dumps(shown))
    shown["errors"]["\ud800"] = 1
    assert json.loads(encode(shown))["errors"]["?"] == 1


def test_what_is_no_number_is_null() -> None:
    """JSON has no infinity."""
    shown = report(seconds=1)
    shown["facts"]["ack.p99"] = math.inf
    assert json.loads(encode(shown))["facts"]["ack.p99"] is None


def test_a_line_holds_one_fact() -> None:
    """So that two files can be compared line by line."""
    lines = encode(report()).decode().splitlines()
    assert [line for line in lines if '"ack.count"' in line and "1200" in line] == ['    "ack.count": 1200,']


def test_the_scenario_in_it_can_be_run_again() -> None:
    """As JSON and as the TOML of the page; all that are shipped, too."""
    names = [None, *(name for name, _ in shipped())]
    for name in names:
        played = scenario() if name is None else read((_shipped(name)).read_bytes(), name)
        shown = _document(played)["scenario"]
        assert Scenario.model_validate(shown) == played
        assert read(toml(shown), "again.toml") == played


def test_no_secret_is_in_it() -> None:
    """Neither the user name nor the password nor the query of an address."""
    target = Target(
        Address.parse("wss://broker:8084/mqtt?token=secret"), "http://user:secret@[::1]:3101/hub?token=secret"
    )
    shown = document(Ran(0, 1.0), scenario(), target, Totals(), judge({}, [], {}))
    assert b"secret" not in encode(shown)
    assert shown["target"] == {"mqtt": "wss://broker:8084/mqtt", "http": "http://[::1]:3101/hub"}


def test_an_interrupted_run_ends_where_it_was() -> None:
    """What was still to come is not told as if it had been."""
    shown = report(seconds=25, interrupted=True)
    assert [stage["to"] for stage in shown["stages"]] == [10.0, 25.0]
    assert [(fault["kind"], fault["from"]) for fault in shown["faults"]] == [("abort", 20.0)]
    assert report(seconds=5)["stages"] == [{"name": "ramp", "from": 0.0, "to": 5.0}]


def test_an_endless_stage_ends_in_the_report() -> None:
    """JSON has no infinity, and a chart needs an end."""
    played = scenario(stages=[scenario().stages[0].model_dump(exclude_unset=True), {"name": "on", "duration": 0}])
    shown = _document(played)
    assert shown["stages"][-1] == {"name": "on", "from": 10.0, "to": 60.0}


def test_a_curve_says_no_more_than_was_measured() -> None:
    """Of 1,200 durations one in a thousand is known, one in ten thousand is not."""
    points = report()["percentiles"]["ack"]
    assert points[0][0] == 50
    assert max(percent for percent, _ in points) == 99.9
    assert [ms for _, ms in points] == sorted(ms for _, ms in points)
    totals, recorder = Totals(), Recorder()
    recorder.time("ack", 3.0)
    totals.add(0, recorder.take(0))
    assert document(Ran(0, 1.0), scenario(), _target(), totals, judge({}, [], {}))["percentiles"]["ack"] == [
        [50.0, 3.001]
    ]


def test_each_fact_is_in_one_section() -> None:
    """None is hidden."""
    facts = report(broken="x")["facts"]
    names = [
        name
        for section in sections(facts)
        for name in (*(row.name for row in section.rows), *section.never, *section.unmeasured)
    ]
    assert len(names) == len(set(names))
    times = {name for name in names if f"{name}.count" in facts}
    assert {fact for fact in facts if fact not in names} == {
        f"{time}.{statistic}" for time in times for statistic in ("count", "mean", "p50", "p90", "p99", "p999", "max")
    }
    unknown = sections({"new.thing": 1, "new.time.count": 2})
    assert [(section.title, [row.name for row in section.rows]) for section in unknown] == [
        ("Other", ["new.thing", "new.time"])
    ]


def test_the_table_says_what_failed_and_why() -> None:
    """The verdict comes last, the evidence before it."""
    text = printed(report(broken="sim-00007 was called offline", fail_if=["ack.p99 > 5ms"]))
    assert "✗ stations.falselyOffline is 1: " in text
    assert "    sim-00007 was called offline" in text
    assert "✗ ack.p99 is " in text
    assert text.rstrip().splitlines()[-1].startswith("FAILED  3 of ")


def test_the_table_says_that_all_is_well() -> None:
    """And names what never happened rather than showing zeros."""
    text = printed(report())
    assert text.rstrip().splitlines()[-1].startswith("PASSED  all ")
    assert "none: stations.missedOnline" in text
    assert "not measured: " in text


def test_the_table_says_what_nobody_could_measure() -> None:
    """How many checks, and why; and their facts are not said to be none."""
    said = " ".join(printed(report(**UNWATCHED)).split())
    assert re.search(r"PASSED all \d+ checks; \d+ could not be measured: no browsers", said)
    statuses = said.partition("Statuses")[2].partition("Requests")[0]
    assert "status.lost" in statuses.partition("not measured:")[2]


def test_the_table_blames_the_tester() -> None:
    """In words, below the verdict."""
    shown = report()
    shown["verdict"]["bottleneck"]["message"] = "the tester was the bottleneck: of ack"
    assert printed(shown).rstrip().endswith("! the tester was the bottleneck: of ack")


@pytest.mark.parametrize("width", [1, 20, 40, 80, 300])
def test_the_table_fits_any_terminal(width: int) -> None:
    """And no text of the hub's reaches the terminal as more than text."""
    text = printed(report(broken=HOSTILE), width)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert max(len(line) for line in text.splitlines()) <= max(width, 1)


def test_the_table_of_nothing() -> None:
    """Interrupted at once."""
    text = printed(document(Ran(0, 0.0, True), scenario(), _target(), Totals(), judge({}, [], {})))
    assert "interrupted" in text
    assert text.rstrip().endswith("nothing was checked")


def test_many_errors_are_few_lines() -> None:
    """A broken hub has many ways to say so."""
    shown = report()
    shown["errors"] = {f"error {number}": 1 for number in range(200)}
    text = printed(shown)
    assert "and 190 more kinds" in text


# files


def test_a_report_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    """At once, with the rights it had; nothing else is left behind."""
    path = tmp_path / "report.json"
    path.write_bytes(b"before")
    path.chmod(0o640)
    link = tmp_path / "link.json"
    link.symlink_to(path)
    writable(link, "--json")
    assert path.read_bytes() == b"before"
    write(link, "--json", b"after")
    assert path.read_bytes() == b"after"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert link.is_symlink()
    assert sorted(tmp_path.iterdir()) == [link, path]


def test_whether_it_can_be_written_leaves_no_trace(tmp_path: Path) -> None:
    """A run that fails at once makes no files."""
    writable(tmp_path / "report.json", "--json")
    writable(None, "--json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "missing/report.json", "file/report.json", "a\0b"])
def test_what_cannot_be_written_is_said_before(tmp_path: Path, name: str) -> None:
    """With the flag, and no traceback."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SimulationError, match=r"^--report: .* cannot be written: "):
        writable(tmp_path / name, "--report")
    with pytest.raises(SimulationError, match=r"^--report: .* cannot be written: "):
        write(tmp_path / name, "--report", b"x")
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_pipe_stays_a_pipe(tmp_path: Path) -> None:
    """`--json /dev/stdout` and the like: nothing takes their place."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        writable(path, "--json")
        write(path, "--json", b"said")
        assert os.read(reader, 10) == b"said"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(path.stat().st_mode)


# texts

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
VALUE = st.one_of(
    TEXT, st.integers(-(2**60), 2**60), st.booleans(), st.floats(allow_nan=False), st.lists(st.integers(), max_size=3)
)
TABLE = st.dictionaries(TEXT, VALUE, max_size=4)


@given(st.dictionaries(TEXT, st.one_of(VALUE, TABLE, st.lists(TABLE, min_size=1, max_size=3)), max_size=5))
def test_toml_reads_as_it_was(data: dict[str, Any]) -> None:
    """Whatever stands in it."""
    assert tomllib.loads(toml(data)) == data


def test_spans() -> None:
    """As people say them."""
    assert [clock(seconds) for seconds in (-1, 0, 59.9, 60, 3599, 3600)] == [
        "0:00",
        "0:00",
        "0:59",
        "1:00",
        "59:59",
        "1:00:00",
    ]
    assert [duration(seconds) for seconds in (0, 59.94, 59.96, 120, 125.4, 3600, 3720)] == [
        *("0.0 s", "59.9 s", "1 min", "2 min", "2 min 5 s", "1 h", "1 h 2 min")
    ]


def _target() -> Target:
    return Target(Address.parse("mqtt://127.0.0.1"), None)


def _shipped(name: str) -> Path:
    return Path(__file__).parent.parent.parent / "simulator" / "scenarios" / f"{name}.toml"


def _document(played: Scenario) -> dict[str, Any]:
    totals, timeline = Totals(), Timeline(played)
    fill(totals, seconds=1)
    return document(Ran(0, 60.0), played, _target(), totals, judge({}, [], {}), timeline.stages())


def test_each_report_has_a_file_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However a path is spelled, and whether it is there or not; nothing is kept of what goes nowhere."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("same")
    for other in (Path("same"), Path("./same"), tmp_path / "x" / ".." / "same", Path("link")):
        with pytest.raises(SimulationError, match=r"^--report: .* is the file of --json: give another one$"):
            distinct({"--json": Path("same"), "--report": other})
    Path("mine.toml").touch()
    with pytest.raises(
        SimulationError, match=r"^--json: ./mine\.toml is the file of the scenario|^--json: mine\.toml is"
    ):
        distinct({"--json": Path("./mine.toml")}, "mine.toml")
    distinct({"--json": Path("a"), "--report": Path("b")}, "steady")
    distinct({"--json": Path("/dev/null"), "--report": Path("/dev/null")}, None)
