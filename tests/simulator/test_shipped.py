"""The scenarios that come with the simulator."""

import tomllib
from importlib.resources import files

import pytest

from simulator.measuring.rules import parse_rule
from simulator.scenario import SHIPPED, Scenario, Stage, load, shipped
from simulator.scenario.timeline import Timeline

KINDS = ("abort", "half-open", "slow-reader", "duplicate-client-id", "clock-skew", "token-expiry", "late-will", "storm")


def kinds(stages: list[Stage]) -> set[str]:
    return {fault.kind for stage in stages for fault in stage.faults}


def test_all_are_listed_with_a_description() -> None:
    """No file that is not listed; each says in a line what it is for."""
    assert [name for name, _ in shipped()] == list(SHIPPED)
    found = {entry.name for entry in (files("simulator") / "scenarios").iterdir() if entry.name.endswith(".toml")}
    assert found == {f"{name}.toml" for name in SHIPPED}
    assert all(10 < len(description) < 120 and "\n" not in description for _, description in shipped())


@pytest.mark.parametrize("name", SHIPPED)
def test_each_is_its_own_name_and_teaches(name: str) -> None:
    """It opens with a comment that says how to run it, has limits, and everybody is up in the course of it."""
    text = (files("simulator") / "scenarios" / f"{name}.toml").read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert f"hub simulate {name}" in text
    assert tomllib.loads(text)["name"] == name
    scenario = load(name)
    assert [parse_rule(rule) for rule in scenario.fail_if]
    most = {who: max(each[who] for each in scenario.populations()) for who in ("stations", "browsers")}
    assert most["browsers"] == scenario.browsers.count
    assert most["stations"] >= 0.9 * scenario.stations.count


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("stations", [0, 1, 7, 10_000])
@pytest.mark.parametrize("browsers", [0, 1, 7, 5_000])
@pytest.mark.parametrize("duration", [0, 1, 86_400])
def test_each_can_be_made_small_large_short_and_long(name: str, stations: int, browsers: int, duration: int) -> None:
    """Every count and time on the command line is taken; nobody at all is not."""
    if stations or browsers:
        assert load(name, {"stations": stations, "browsers": browsers, "duration": duration}).name == name


@pytest.mark.parametrize("name", SHIPPED)
def test_each_bears_the_largest_fleet_for_an_hour(name: str) -> None:
    """What is worked out before the run stays finite."""
    assert Timeline(load(name, {"stations": 50_000, "browsers": 5_000, "duration": 3600})).ends >= 3600


def test_smoke_is_everything_once() -> None:
    """In half a minute: each fault that needs no command, each shape, both kinds of browsers and of stations, calls."""
    smoke = load("smoke")
    assert Timeline(smoke).ends == 30
    assert kinds(smoke.stages) == set(KINDS)
    assert {stage.shape for stage in smoke.stages} == {"step", "linear", "spike", None}
    assert 0 < smoke.browsers.socketio < 1
    assert 0 < smoke.stations.legacy < 1
    assert smoke.stations.calls > 0
    assert all(strike.victims for strike in Timeline(smoke).strikes())
    assert all(weight > 0 for weight in smoke.browsers.mix.model_dump().values())


def test_steady_is_the_load_that_is_promised() -> None:
    """10,000 stations each 5 seconds, 200 browsers that watch 50, for 120 seconds after both have come."""
    steady = load("steady")
    assert (steady.stations.count, steady.stations.interval) == (10_000, 5.0)
    assert (steady.browsers.count, steady.browsers.watch) == (200, 50)
    assert [stage.duration for stage in steady.stages] == [30.0, 25.0, 120.0]


def test_storm_is_without_and_then_with_jitter() -> None:
    """The same storm twice, so that both can be compared."""
    storms = [fault for stage in load("storm").stages for fault in stage.faults if fault.who == "stations"]
    assert [(fault.kind, fault.share, fault.jitter) for fault in storms] == [("storm", 0.9, 0.0), ("storm", 0.9, 10.0)]


def test_flaky_network_breaks_a_little_of_all_kinds() -> None:
    """In small shares, again and again; and what falls silent stays so for long enough to be found."""
    flaky = load("flaky-network")
    assert kinds(flaky.stages) >= {
        "abort",
        "half-open",
        "slow-reader",
        "duplicate-client-id",
        "clock-skew",
        "late-will",
    }
    faults = [fault for stage in flaky.stages for fault in stage.faults]
    assert all(fault.share <= 0.1 and fault.every for fault in faults)
    assert all(fault.lasts > 1.5 * flaky.stations.keepalive for fault in faults if fault.kind == "half-open")


def test_soak_lasts_for_hours() -> None:
    """And may last for as long as one likes."""
    assert Timeline(load("soak")).ends > 2 * 3600
    assert load("soak", {"duration": 0}).stages[-1].endless


def test_browsers_are_most_of_browsers() -> None:
    """Rooms and signaling first, some by Socket.IO, some slow."""
    scenario = load("browsers")
    mix = scenario.browsers.mix.model_dump()
    assert scenario.browsers.count > scenario.stations.count
    assert max(mix, key=lambda name: mix[name]) == "rooms"
    assert 0 < scenario.browsers.slow < scenario.browsers.socketio < 1


def test_morning_rush_is_steps_and_calls() -> None:
    """In steps up, at once after a break."""
    scenario: Scenario = load("morning-rush")
    assert scenario.stages[0].shape == "step"
    assert scenario.stations.calls > 0
