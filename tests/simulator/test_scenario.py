"""Scenario files and what overrides them: every mistake is one line that says where it is and what is allowed."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.scenario import FLAGS, SHIPPED, Scenario, Shape, SimulationError, load, override, plain, read
from simulator.scenario.timeline import Timeline

GOOD = """\
name = "mine"
seed = 7

[stations]
count = 10
interval = "1m30s"

[browsers]
count = 4

[[stages]]
name = "ramp"
shape = "linear"
duration = 10
stations = "50%"
browsers = 4

[[stages]]
name = "steady"
duration = "1m"

[[stages.faults]]
kind = "abort"
at = "40%"
"""


def error_of(text: str | bytes) -> str:
    with pytest.raises(SimulationError) as caught:
        read(text, "mine.toml")
    return str(caught.value)


def changed(old: str, new: str) -> str:
    assert GOOD.count(old) == 1
    return error_of(GOOD.replace(old, new))


def test_a_good_file_is_read() -> None:
    """Units, shares and defaults are as written."""
    scenario = read(GOOD, "mine.toml")
    assert (scenario.name, scenario.seed, scenario.stations.interval) == ("mine", 7, 90.0)
    assert scenario.stages[0].shape is Shape.linear
    assert scenario.stages[1].duration == 60.0
    assert scenario.stages[1].faults[0].begins(60.0) == 24.0
    assert list(scenario.populations()) == [{"stations": 5, "browsers": 4}, {"stations": 5, "browsers": 4}]


def test_a_file_without_a_name_is_called_as_its_file(tmp_path: Path) -> None:
    """The stem; a byte order mark and CRLF, as Windows writes them, are fine."""
    path = tmp_path / "night.toml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace('name = "mine"\n', "", 1).replace("\n", "\r\n").encode())
    assert load(path).name == "night"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("seed = 7", "seed = 7x", "line 2: Expected newline or end of document"),
        ("seed = 7", "sede = 7", 'line 2: sede: unknown key: did you mean "seed"?'),
        ("count = 10", "cuont = 10", 'line 5: stations.cuont: unknown key: did you mean "count"?'),
        ("count = 10", "count = 10\nxyz = 1", "line 6: stations.xyz: unknown key: allowed are count, interval, "),
        ('kind = "abort"', 'kind = "abrot"', "line 23: stages.1.faults.0.kind: must be 'abort', "),
        ('kind = "abort"', 'kind = "abrot"', "not 'abrot': did you mean \"abort\"?"),
        ('kind = "abort"', "", "line 22: stages.1.faults.0.kind: is missing"),
        ("count = 10", 'count = "10"', "line 5: stations.count: must be a whole number from 0 to 50,000, not '10'"),
        ("count = 10", "count = true", "line 5: stations.count: must be a whole number"),
        ("count = 10", "count = 50_001", "line 5: stations.count: must be a whole number from 0 to 50,000, not 50001"),
        ("count = 10", f"count = 0x1{'0' * 9000}", "line 5: stations.count: must be a whole number from 0 to 50,000"),
        ("count = 10", "count = 10\nlegacy = nan", "line 6: stations.legacy: must be a number from 0 to 1, not nan"),
        ("count = 10", "count = 10\nlegacy = 1.5", "line 6: stations.legacy: must be a number from 0 to 1, not 1.5"),
        ("count = 10", 'count = 10\ngoodbye = "no"', "line 6: stations.goodbye: must be true or false"),
        ('"1m30s"', '"1 minute"', 'line 6: stations.interval: must be seconds as a number, or a text such as "90s"'),
        ('"1m30s"', '"30s1m"', "line 6: stations.interval: must be seconds as a number"),
        ('"1m30s"', "0", "line 6: stations.interval: must be from 0.001 to 86,400 seconds, not 0"),
        ("count = 4", "count = 4\nthink = [2, 1]", "line 10: browsers.think: must be the least and then the most"),
        ("count = 4", "count = 4\nthink = [2]", "line 10: browsers.think: must be a list of two"),
        ("count = 4", "count = 4\nthink = [1, 2, 3]", "line 10: browsers.think: must hold 2 at most"),
        ("count = 4", "count = 4\nthink = 1", "line 10: browsers.think: must be a list of two"),
        (
            "count = 4",
            'count = 4\nwatch = "some"',
            'line 10: browsers.watch: must be a whole number from 0 to 50,000, or "all"',
        ),
        ("[browsers]\ncount = 4", "browsers = 4", "line 8: stations.browsers: unknown key"),
        ('shape = "linear"', 'shape = "liner"', "not 'liner': did you mean \"linear\"?"),
        ('shape = "linear"', 'shape = "linear"\nsteps = 3', 'line 14: stages.0.steps: belongs to shape = "step"'),
        ('shape = "linear"\n', "", "line 14: stages.0.stations: cannot go from 0 to 5 without a ramp"),
        (
            'duration = "1m"',
            'duration = "1m"\nshape = "spike"',
            "line 21: stages.1.shape: a ramp moves stations, browsers",
        ),
        ('duration = "1m"', "duration = 0", "line 24: stages.1.faults.0.at: a stage without an end has no shares"),
        ("duration = 10", "duration = 0", "line 14: stages.0.duration: a ramp must end"),
        ('"50%"', '"101%"', 'line 15: stages.0.stations: must be how many, as a number, or a share such as "50%"'),
        ('"50%"', "11", "line 15: stages.0.stations: is 11, and there are 10 at most (stations.count)"),
        ("count = 10", "count = 0", "line 15: stages.0.stations: is a share of nothing: stations.count is 0"),
        ("browsers = 4", "browsers = -1", "line 16: stages.0.browsers: must be how many"),
        ('"40%"', '"100%"', 'line 24: stages.1.faults.0.at: must be less than "100%" of its stage'),
        ('"40%"', '"%"', "line 24: stages.1.faults.0.at: must be less than"),
        ('"40%"', "60", "line 24: stages.1.faults.0.at: lies behind its stage, which lasts 60 seconds"),
        ('"40%"', "0\nevery = 0.001", "line 25: stages.1.faults.0.every: strikes 60,000 times, and may 50,000 times"),
        ('"40%"', "0\nshare = 0.1\ncount = 2", "line 25: stages.1.faults.0.share: is given beside count"),
        ('"40%"', "0\ncount = 0", "line 25: stages.1.faults.0.count: must be a whole number from 1 to"),
        ('"40%"', "0\nlasts = 3", "line 25: stages.1.faults.0.lasts: abort is over at once"),
        ('"40%"', "0\nskew = 3", 'line 25: stages.1.faults.0.skew: belongs to kind = "clock-skew", not to abort'),
        ('"40%"', '0\ncommand = "ls"', 'line 25: stages.1.faults.0.command: belongs to kind = "run", not to abort'),
        ('kind = "abort"', 'kind = "run"', "line 22: stages.1.faults.0.command: is missing: what a shell is to run"),
        (
            'kind = "abort"',
            'kind = "run"\ncommand = "ls"\nshare = 1',
            "line 25: stages.1.faults.0.share: a command has no",
        ),
        (
            'kind = "abort"',
            'kind = "late-will"\nwho = "browsers"',
            "kind: late-will does not happen to browsers, only abort",
        ),
        ("browsers = 4\n", "", ""),
        ("seed = 7", 'seed = 7\nfail_if = ["ack.p99 > 1s", "akc.p99 > 1s"]', "line 3: fail_if.1: "),
        ("seed = 7", 'seed = 7\nfail_if = [\n  "ack.p99 > 1s",\n  "ack.p99",\n]', "line 5: fail_if.1: "),
        ("seed = 7", 'seed = 7\n"a\\nb\\u001b" = 1', "line 3: 'a\\nb\\x1b': unknown key"),
        ("seed = 7", f"seed = {'[' * 5000}", "it is nested too deeply"),
        ("seed = 7", f"seed = {'1' * 5000}", "a number has too many digits"),
    ],
)
def test_a_mistake_is_one_line_that_says_where_and_what(old: str, new: str, told: str) -> None:
    """File, line, dotted field, what is wrong, what is allowed."""
    if not told:  # nobody of them is up: as good a scenario as the first
        read(GOOD.replace(old, new), "mine.toml")
        return
    line = changed(old, new)
    assert line.startswith("mine.toml: ")
    assert told in line
    assert "\n" not in line
    assert len(line) < 400


def test_a_fault_of_nobody_is_refused() -> None:
    """Where no browser is ever up, none can be hit."""
    text = GOOD.replace("browsers = 4\n", "") + 'who = "browsers"\n'
    assert "line 24: stages.1.faults.0.who: no browsers are up in this stage" in error_of(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "mine.toml: line 1: stages: is missing"),
        ("stages = []", "mine.toml: line 1: stages: must hold at least 1"),
        ("\nstages = 3", "mine.toml: line 2: stages: must be a list"),
        ("stages = [\n3]", "mine.toml: line 2: stages.0: must be a table"),
        ("[[stages]]\nname = 'a'\nduration = 1", "mine.toml: line 1: stages: nothing is ever started"),
        (b"name = 'a'\nseed = '\xff'", "mine.toml: line 2: it is not UTF-8"),
        ("name = ", "mine.toml: at its end: Invalid value"),
    ],
)
def test_what_is_no_scenario_is_said(text: str | bytes, told: str) -> None:
    """Empty, of other kinds, not text."""
    assert error_of(text).startswith(told)


def test_an_endless_stage_must_be_the_last() -> None:
    """Nothing could come after it."""
    text = GOOD.replace('at = "40%"', "at = 1").replace('duration = "1m"', "duration = 0")
    assert read(text, "mine.toml").stages[1].endless
    told = error_of(text + '[[stages]]\nname = "more"\nduration = 1\n')
    assert told == "mine.toml: line 20: stages.1.duration: must be more than 0: only the last stage has no end"


def test_the_first_of_several_mistakes_is_told_with_their_number() -> None:
    """In the order of the file."""
    text = (
        GOOD.replace("seed = 7", "seed = -1.5").replace('kind = "abort"', "kind = 3").replace("count = 4", "cuont = 4")
    )
    assert error_of(text).startswith("mine.toml: line 2: seed: ")
    assert error_of(text).endswith(" (and 2 more)")


def test_a_wrong_name_of_a_scenario_is_told(tmp_path: Path) -> None:
    """Near names, unreadable files, directories, no end of bytes."""
    for name, told in [
        ("strom", 'is no file, and no scenario that is shipped: did you mean "storm"?'),
        ("xyz", "shipped are smoke, steady,"),
        (str(tmp_path), "cannot be read: Is a directory"),
        ("a\0b", "cannot be read: "),
        ("/dev/zero", "a scenario has 1,000,000 bytes at most"),
    ]:
        with pytest.raises(SimulationError) as caught:
            load(name)
        assert told in str(caught.value)


# ---- overrides


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"stations": -1}, "--stations: must be a whole number from 0 to 50,000, not -1"),
        ({"browsers": 5_001}, "--browsers: must be a whole number"),
        ({"watch": "some"}, '--watch: must be a whole number from 0 to 50,000, or "all"'),
        ({"duration": "soon"}, "--duration: must be seconds as a number"),
        ({"duration": -1}, "--duration: must be from 0 to 2,592,000 seconds, not -1"),
        ({"interval": 0}, "--interval: must be from 0.001 to 86,400 seconds, not 0"),
        ({"legacy": 1.5}, "--legacy: must be a number from 0 to 1, not 1.5"),
        ({"socketio": "half"}, "--socketio: must be a number from 0 to 1, not 'half'"),
        ({"login": "tokne"}, "--login: must be 'token', 'guest' or 'account', not 'tokne': did you mean \"token\"?"),
        ({"seed": 2**63}, "--seed: must be a whole number"),
        ({"statoins": 5}, '--statoins: no flag of a scenario: did you mean "stations"?'),
        (
            {"stations": 0, "browsers": 0, "duration": 5},
            "--browsers: nothing is left to simulate: give stations or browsers more than 0",
        ),
    ],
)
def test_a_wrong_flag_is_named(flags: dict[str, Any], told: str) -> None:
    """What the command line breaks is not blamed on the file."""
    for name in (None, "storm", "soak"):
        with pytest.raises(SimulationError) as caught:
            load(name, flags)
        assert str(caught.value).startswith(told)
        assert "\n" not in str(caught.value)


def test_flags_set_what_they_name() -> None:
    """Each of them, by text or by number; the scenario itself is not touched."""
    before = load("storm")
    given = {"stations": "30", "browsers": 3, "watch": "7", "interval": "2s", "legacy": 0.5, "socketio": 1, "seed": 9}
    scenario = override(before, **given, login="guest", duration="10m")
    assert (scenario.stations.count, scenario.stations.interval, scenario.stations.legacy) == (30, 2.0, 0.5)
    assert (scenario.browsers.count, scenario.browsers.watch, scenario.browsers.socketio) == (3, 7, 1.0)
    assert (scenario.browsers.login, scenario.seed) == ("guest", 9)
    assert {*given, "login", "duration"} == set(FLAGS)
    assert before == load("storm")


def test_a_population_that_a_flag_makes_impossible_names_the_flag() -> None:
    """A number of a file is no share: it does not shrink with the rest."""
    scenario = read(GOOD, "mine.toml")
    with pytest.raises(SimulationError, match=r"^--browsers: stages\.0\.browsers: is 4, and there are 3 at most"):
        override(scenario, browsers=3)


def test_none_of_one_kind_is_allowed_by_flag() -> None:
    """Shares of nobody are nobody, and their faults hit nobody."""
    for name in ("smoke", "browsers", "flaky-network"):
        assert list(load(name, {"browsers": 0}).populations())[-1]["browsers"] == 0
        assert list(load(name, {"stations": 0}).populations())[-1]["stations"] == 0
    assert override(load("storm", {"browsers": 0}), seed=3).seed == 3


def steady_seconds(scenario: Scenario) -> float:
    return sum(stage.duration for stage in scenario.stages if stage.shape is None)


def ramp_seconds(scenario: Scenario) -> float:
    return sum(stage.duration for stage in scenario.stages if stage.shape)


def ratios(before: Scenario, after: Scenario, *, ramps: bool) -> list[float]:
    """By how much each stage is longer now."""
    pairs = zip(before.stages, after.stages, strict=True)
    return [new.duration / old.duration for old, new in pairs if (old.shape is not None) is ramps]


SHIPPED_NAMES = st.sampled_from([None, *SHIPPED])


@given(SHIPPED_NAMES, st.floats(0.5, 30_000))
def test_duration_is_what_all_stages_last_together(name: str | None, seconds: float) -> None:
    """Ramps among themselves and the others among themselves stay in proportion, and so do the moments of faults."""
    before, after = load(name), load(name, {"duration": seconds})
    assert math.isclose(steady_seconds(after) + ramp_seconds(after), seconds, rel_tol=1e-9)
    for ramps in (True, False):
        found = ratios(before, after, ramps=ramps)
        assert max(found) == pytest.approx(min(found), rel=1e-9)
    assert max(ratios(before, after, ramps=True)) <= 1 + 1e-9
    for old, new in zip(before.stages, after.stages, strict=True):
        for was, fault in zip(old.faults, new.faults, strict=True):
            share = fault.begins(new.duration) / new.duration
            assert math.isclose(was.begins(old.duration) / old.duration, share, rel_tol=1e-9)
            assert fault.every == was.every


@given(SHIPPED_NAMES, st.floats(0.5, 30_000))
def test_ramps_keep_their_time_where_there_is_enough(name: str | None, seconds: float) -> None:
    """They are shorter only where they would take more than half of all, and more than in the file."""
    before, after = load(name), load(name, {"duration": seconds})
    total = ramp_seconds(before) + steady_seconds(before)
    most = max(0.5, ramp_seconds(before) / total) * seconds
    assert ramp_seconds(after) == pytest.approx(min(ramp_seconds(before), most), rel=1e-9)


@pytest.mark.parametrize("name", [None, *SHIPPED])
def test_a_duration_as_in_the_file_changes_nothing(name: str | None) -> None:
    before = load(name)
    again = load(name, {"duration": steady_seconds(before) + ramp_seconds(before)})
    assert [stage.duration for stage in again.stages] == pytest.approx([stage.duration for stage in before.stages])


def test_a_shipped_scenario_can_be_short() -> None:
    """The figures of docs/simulate.md are those of 175 s, as in the file; six seconds are six seconds."""
    assert [stage.duration for stage in load("steady", {"duration": "175"}).stages] == [30.0, 25.0, 120.0]
    assert [stage.duration for stage in load("steady", {"duration": "120"}).stages] == [30.0, 25.0, 65.0]
    short = load("steady", {"stations": 5, "browsers": 3, "duration": "6"})
    assert Timeline(short).ends == pytest.approx(6.0)
    assert Timeline(short).population("stations", 6.0) == 5


def test_duration_zero_lasts_until_ctrl_c() -> None:
    """The last stage without a shape has no end, and none comes after it; a share of it is as before in seconds."""
    scenario = load("storm", {"duration": 0})
    assert scenario.stages[-1].endless
    assert scenario.stages[-1].faults[0].at == 3.0
    smoke = load("smoke", {"duration": 0})
    assert [stage.name for stage in smoke.stages] == ["arrive", "calm", "faults"]
    again = override(smoke, duration=60)
    assert [stage.duration for stage in again.stages] == pytest.approx([3, 5, 52])
    assert [stage.duration for stage in override(smoke, duration=2).stages] == pytest.approx([1, 5 / 6, 1 / 6])


def test_a_scenario_of_ramps_alone() -> None:
    """Is as long as it should be, too; but none of them can last until Ctrl-C."""
    text = 'name = "r"\n[[stages]]\nname = "a"\nshape = "spike"\nduration = 1\nstations = "100%"\n'
    assert [stage.duration for stage in override(read(text, "mine.toml"), duration=5).stages] == [5.0]
    with pytest.raises(SimulationError, match=r"^--duration: 0: this scenario has no stage without a shape"):
        override(read(text, "mine.toml"), duration=0)


def test_an_empty_name_is_no_scenario() -> None:
    with pytest.raises(SimulationError, match=r"^the scenario's name is empty"):
        load("")


def test_a_stages_own_interval_keeps_its_ratio() -> None:
    """Twice as often as the others stays twice as often."""
    scenario = read(GOOD.replace('duration = "1m"', 'duration = "1m"\ninterval = 45'), "mine.toml")
    changed = override(scenario, interval=10)
    assert (changed.stations.interval, changed.stages[1].interval) == (10.0, 5.0)


def test_plain_ramps_as_fast_as_a_hub_bears() -> None:
    """Without a scenario a small fleet is there after a second; a large one takes its time."""
    assert load() == plain()
    assert [stage.duration for stage in load(None, {"stations": 10_000, "duration": 50}).stages] == [20.0, 30.0]
    assert [stage.duration for stage in load(None, {"stations": 10_000, "duration": 5}).stages] == [2.5, 2.5]


# ---- anything at all


def refusal(of: Callable[[], object]) -> str | None:
    """What a SimulationError said; None: all went well. Any other error fails the test."""
    try:
        of()
    except SimulationError as error:
        return str(error)
    return None


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(sorted(FLAGS)), junk, max_size=3))
def test_flags_of_any_kind_are_taken_or_refused(flags: dict[str, Any]) -> None:
    """Never an error of another kind."""
    told = refusal(lambda: load("storm", flags))
    assert told is None or told.startswith("--")


@given(st.binary(max_size=80) | st.text(max_size=80))
def test_files_of_any_kind_are_refused(content: bytes | str) -> None:
    """Never an error of another kind."""
    assert error_of(content).startswith("mine.toml: ")


@given(st.data())
def test_a_value_of_any_kind_at_any_place_is_taken_or_refused(data: st.DataObject) -> None:
    """One line of a good file with another value: its error names that line, or the field that it made wrong."""
    lines = GOOD.splitlines()
    index = data.draw(st.sampled_from([i for i, line in enumerate(lines) if "=" in line]))
    value = data.draw(
        st.sampled_from(["0", "-1", "nan", "inf", "1e400", "true", '""', '"%"', "[]", "{}", "[[1]]", "1979-05-27"])
        | st.integers(-(2**70), 2**70).map(str)
        | st.floats(0, 1e9).map(repr)
    )
    key = lines[index].partition("=")[0].strip()
    lines[index] = f"{key} = {value}"
    told = refusal(lambda: read("\n".join(lines), "mine.toml"))
    assert told is None or (told.startswith("mine.toml: line ") and "\n" not in told)
