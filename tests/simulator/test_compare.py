"""What changed between two reports."""

import io
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from simulator.measuring.measures import Totals
from simulator.measuring.rules import judge, rules_of
from simulator.reports.compare import Change, compare, load, notes, table
from simulator.scenario import SimulationError

MANY = {f"{name}.count": 100_000 for name in ("ack", "status.delay")}


def report(facts: dict[str, Any], **more: Any) -> dict[str, Any]:
    whole = {"version": 1, "scenario": {"name": "steady", "seed": 1}, "seconds": 60.0, "verdict": {"passed": True}}
    return whole | {"facts": MANY | facts} | more


def printed(a: Any, b: Any, *, color: bool = False) -> str:
    out = io.StringIO()
    console = Console(file=out, width=160, force_terminal=color, color_system="truecolor" if color else None)
    console.print(table(a, b, ("a.json", "b.json")))
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "before", "after", "judged"),
    [
        ("ack.p99", 10.0, 12.0, "worse"),
        ("ack.p99", 12.0, 10.0, "better"),
        ("ack.p99", 100.0, 104.0, "noise"),  # less than 5 %
        ("ack.p99", 0.20, 0.29, "noise"),  # less than 0.1 ms
        ("ack.p99", 0.0, 5.0, "worse"),
        ("stations.connected", 100.0, 50.0, "worse"),
        ("stations.connected", 50.0, 100.0, "better"),
        ("status.sent", 100, 200, "changed"),
        ("status.sent", 1000, 1001, "noise"),
        ("status.lost", 0, 1, "worse"),
        ("status.lost", 1, 0, "better"),
        ("status.lost", 1000, 1001, "noise"),
        ("tester.cpu", 50.0, 80.0, "worse"),
        ("ack.p99", None, 5.0, "changed"),
        ("ack.p99", 5.0, None, "changed"),
    ],
)
def test_better_or_worse(name: str, before: float | None, after: float | None, judged: str) -> None:
    """As the table of facts says which way is better, and small changes are noise; a finding never is."""
    (change,) = compare(report({name: before}), report({name: after}))
    assert (change.name, change.before, change.after, change.judged) == (name, before, after, judged)


def test_change() -> None:
    """Absolute and in percent; of what was 0 there is no percentage."""
    (change,) = compare(report({"ack.p99": 10.0}), report({"ack.p99": 12.5}))
    assert change == Change("ack.p99", 10.0, 12.5, 2.5, 25.0, "worse")
    (change,) = compare(report({"status.lost": 0}), report({"status.lost": 3}))
    assert (change.difference, change.percent) == (3, None)


@pytest.mark.parametrize(("statistic", "enough"), [("mean", 30), ("p50", 20), ("p99", 1_000), ("p999", 10_000)])
def test_few_samples_say_little(statistic: str, enough: int) -> None:
    """A percentile wants ten durations beyond it, in both runs."""
    for count, judged in ((enough - 1, "noise"), (enough, "worse")):
        before = report({f"ack.{statistic}": 10.0})
        after = report({f"ack.{statistic}": 20.0, "ack.count": count})
        assert {each.name: each.judged for each in compare(before, after)}[f"ack.{statistic}"] == judged


def test_order_is_that_of_the_table() -> None:
    """And families are sorted by member; what did not change is not there."""
    names = ["ack.p50", "ack.p99", "ack.offer.p99", "ack.ping.p50", "ack.ping.p99", "status.lost", "tester.cpu"]
    before = report(dict.fromkeys(reversed(names), 1))
    assert [change.name for change in compare(before, report(dict.fromkeys(names, 2)))] == names
    assert compare(before, before) == []


def test_what_makes_runs_incomparable_is_said() -> None:
    """Another seed or load, another length, an interrupted run, a slow tester."""
    assert notes(report({}), report({})) == []
    other = {"name": "steady", "seed": 2, "stations": {"count": 5}}
    slow = {"passed": True, "bottleneck": {"message": "the tester was the bottleneck: its own lag"}}
    found = notes(report({}), report({}, scenario=other, seconds=90.0, interrupted=True) | {"verdict": slow})
    assert found == [
        "the scenarios differ: seed (1, then 2), stations.count (-, then 5)",
        "one ran 60 s, the other 90 s: their counts are not comparable",
        "the second run was interrupted",
        "in the second run the tester was the bottleneck: its own lag",
    ]


def test_verdicts_are_compared() -> None:
    """What fails now that held, and the other way round, from the verdicts that real runs write."""
    facts = Totals().facts()
    first = judge(facts | {"status.lost": 1}, rules_of([]), {}).document()
    second = judge(facts | {"ack.late": 2, "ack.wrong": 1}, rules_of([]), {}).document()
    assert notes(report({}, verdict=first), report({}, verdict=second)) == [
        "fails now: ack.late > 0, ack.wrong > 0",
        "holds now: status.lost > 0",
    ]
    sound = judge(facts, rules_of([]), {}).document()
    assert notes(report({}, verdict=sound), report({}, verdict=first)) == [
        "the first run passed, the second failed",
        "fails now: status.lost > 0",
    ]


def test_table_for_people() -> None:
    """Names, figures with units, signs, words; noise is dimmed, and says so without colour, too."""
    before = report({"ack.p99": 10.0, "ack.p50": 1.0, "status.lost": 0})
    after = report({"ack.p99": 12.5, "ack.p50": 1.01, "status.lost": 3})
    text = printed(before, after)
    lines = {line.split()[1]: line for line in text.splitlines() if line.startswith("│")}
    assert [cell.strip() for cell in lines["ack.p99"].split("│")[1:-1]] == (
        ["ack.p99", "10 ms", "12.5 ms", "+2.5 ms", "+25.0", "worse"]
    )
    assert [cell.strip() for cell in lines["ack.p50"].split("│")[1:-1]][-2:] == ["+1.0", "noise"]
    assert [cell.strip() for cell in lines["status.lost"].split("│")[1:-1]] == [
        "status.lost",
        "0",
        "3",
        "+3",
        "",
        "worse",
    ]
    assert "a.json" in text
    assert "\x1b[2m" in printed(before, after, color=True)
    assert "no figure changed" in printed(before, before)


# what is read


def test_load(tmp_path: Path) -> None:
    """A report comes back as it was written."""
    file = tmp_path / "a.json"
    file.write_bytes(orjson.dumps(report({"ack.p99": 1.0})))
    assert load(file) == report({"ack.p99": 1.0})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not JSON"),
        (b'{"facts": {', "is not JSON (line 1"),
        (b"\xff\xfe", "is not JSON"),
        (b"[]", "is not a report"),
        (b"null", "is not a report"),
        (b"{}", "is not a report"),
        (b'{"facts": []}', "is not a report"),
        (b'{"facts": {}, "x": ' + b"[" * 200 + b"]" * 200 + b"}", "is not a report"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"facts": {}}', "is a report of version -, and this hub simulate reads version 1"),
        (orjson.dumps(report({}, version=2)), "is a report of version 2, and"),
        (orjson.dumps(report({}, version=True)), "is a report of version True, and"),
        (orjson.dumps(report({}, version="1")), "is a report of version 1, and"),
        (orjson.dumps(report({"ack.p99": "fast"})), "facts: ack.p99 is fast, which is no figure"),
        (orjson.dumps(report({"ack.p99": [1]})), "facts: ack.p99 is [1], which is no figure"),
        (orjson.dumps(report({"ack.p99\x1b[31m": True})), "facts: ack.p99\\x1b[31m is True, which is no figure"),
        (orjson.dumps(report({}, scenario="steady")), "has no scenario"),
        (orjson.dumps(report({}, seconds="60")), "seconds: 60 is no figure"),
        (orjson.dumps(report({}, verdict=None)), "has no verdict"),
        (orjson.dumps(report({}, verdict={"passed": "yes"})), "has no verdict"),
    ],
)
def test_foreign_files(tmp_path: Path, content: bytes, words: str) -> None:
    """One line that names the file and says what it is not."""
    file = tmp_path / "b.json"
    file.write_bytes(content)
    with pytest.raises(SimulationError) as caught:
        load(file)
    assert str(caught.value).startswith(f"{file}: {words}")
    assert "\n" not in str(caught.value)


def test_unreadable_files(tmp_path: Path) -> None:
    """There is none, or it is a folder."""
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(SimulationError, match=str(path)):
            load(path)


def test_a_file_without_end_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than the largest report there could be."""
    monkeypatch.setattr("simulator.reports.compare.LARGEST", 10)
    file = tmp_path / "c.json"
    file.write_bytes(b'{"facts": {}}')
    with pytest.raises(SimulationError, match="larger than any report"):
        load(file)


@pytest.mark.parametrize("value", [True, "5", [5], {"x": 5}, float("nan"), float("inf"), 1e300])
def test_what_is_no_figure_is_left_out(value: Any) -> None:
    """As if it had not been measured."""
    assert compare(report({"status.lost": value}), report({})) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64) | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)
KEYS = ("facts", "verdict", "scenario", "seconds", "interrupted", "histograms")
NAMES = (
    st.sampled_from(["ack.p99", "ack.count", "status.lost", "ack.ping.p50", "tester.cpu", "ack.[red].p99"]) | st.text()
)
CHECKS = st.fixed_dictionaries(
    {"passed": JSON, "checks": st.lists(JSON | st.fixed_dictionaries({"rule": JSON, "passed": JSON}))}
)
REPORTS = st.fixed_dictionaries(
    {"facts": st.dictionaries(NAMES, JSON)},
    optional=dict.fromkeys(KEYS[1:], JSON) | {"verdict": JSON | CHECKS | st.fixed_dictionaries({"bottleneck": JSON})},
)


@given(REPORTS, REPORTS)
def test_hostile_reports_do_no_harm(a: dict[str, Any], b: dict[str, Any]) -> None:
    """Whatever JSON is where figures should be: no exception, and no control character reaches the terminal."""
    text = printed(a, b)
    assert not set(text) - {"\n"} & {chr(code) for code in (*range(32), 127)}
    for change in compare(a, b):
        assert change.judged in ("better", "worse", "changed", "noise")
