"""What happens when in a scenario: exact, decided by the seed, the same for any number of workers."""

import math
from bisect import bisect_left
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.scenario import Scenario, Who, load, override
from simulator.scenario.timeline import End, Event, StageBegins, Start, Stop, Strike, Timeline, worker

WHO: tuple[Who, ...] = ("stations", "browsers")


def scenario(*stages: dict[str, Any], stations: int = 10, browsers: int = 0, seed: int = 1) -> Scenario:
    named = [{"name": f"stage {number}"} | stage for number, stage in enumerate(stages)]
    counts = {"stations": {"count": stations}, "browsers": {"count": browsers}}
    return Scenario.model_validate({"name": "test", "seed": seed, "stages": named} | counts)


UP = {"shape": "spike", "duration": 1, "stations": "100%"}


def moves(plan: Scenario) -> list[tuple[str, int, float]]:
    return [
        (type(event).__name__, event.number, event.at)
        for event in Timeline(plan).events()
        if isinstance(event, Start | Stop) and event.who == "stations"
    ]


def test_linear_ramps_are_exact() -> None:
    """One after the other, the same time apart; down in reverse order."""
    plan = scenario(
        {"shape": "linear", "duration": 2, "stations": 4},
        {"duration": 10},
        {"shape": "linear", "duration": 3, "stations": "20%"},
        {"shape": "linear", "duration": 1, "stations": 3},
    )
    ups = [("Start", 0, 0.0), ("Start", 1, 0.5), ("Start", 2, 1.0), ("Start", 3, 1.5)]
    downs = [("Stop", 3, 12.0), ("Stop", 2, 13.5)]
    assert moves(plan) == [*ups, *downs, ("Start", 2, 15.0)]


def test_steps_are_as_large_and_as_far_apart_as_each_other() -> None:
    """The first at the beginning; the last step's time is the population's to settle in."""
    plan = scenario({"shape": "step", "steps": 3, "duration": 6, "stations": "100%"})
    assert [at for _, _, at in moves(plan)] == [0, 0, 0, 0, 2, 2, 2, 4, 4, 4]


def test_a_spike_is_at_the_beginning() -> None:
    """All at once, up and down."""
    plan = scenario({"duration": 3, "shape": "spike", "stations": 2}, {"duration": 1, "shape": "spike", "stations": 0})
    assert moves(plan) == [("Start", 0, 0.0), ("Start", 1, 0.0), ("Stop", 1, 3.0), ("Stop", 0, 3.0)]


def test_events_of_one_moment_have_their_order() -> None:
    """A stage begins, its population moves, its faults strike, and all ends."""
    plan = scenario({"shape": "spike", "duration": 1, "stations": 1}, {"duration": 2, "faults": [{"kind": "abort"}]})
    kinds = [type(event) for event in Timeline(plan).events()]
    assert kinds == [StageBegins, Start, StageBegins, Strike, End]
    assert Timeline(plan).stages() == [("stage 0", 0.0, 1.0), ("stage 1", 1.0, 3.0)]
    assert Timeline(plan).ends == 3.0


def test_without_an_end_nothing_ends() -> None:
    """Until Ctrl-C: no End, and a fault repeats for long, but not without a bound."""
    plan = scenario(UP, {"duration": 0, "faults": [{"kind": "abort", "at": 1, "every": 1, "share": 1.0}]})
    timeline = Timeline(plan)
    assert timeline.ends == math.inf
    assert not [event for event in timeline.events() if isinstance(event, End)]
    assert [strike.at for strike in timeline.strikes()] == [float(at) for at in range(2, 50_002)]


@pytest.mark.parametrize(
    ("fault", "until"),
    [
        ({"kind": "abort"}, 0.0),
        ({"kind": "storm", "jitter": 4}, 4.0),
        ({"kind": "half-open", "lasts": 5, "jitter": 1}, 6.0),
        ({"kind": "run", "command": "true", "lasts": 7}, 7.0),
    ],
)
def test_a_strike_is_over_when_the_last_victim_has_it_behind(fault: dict[str, Any], until: float) -> None:
    """Its own time, where it has one, and its jitter."""
    (strike,) = Timeline(scenario(UP, {"duration": 20, "faults": [fault | {"at": "50%"}]})).strikes()
    assert (strike.at, strike.until) == (11.0, 11.0 + until)


def test_faults_repeat_until_their_stage_ends() -> None:
    """And never at its end itself."""
    plan = scenario(UP, {"duration": 10, "faults": [{"kind": "abort", "at": 1, "every": "3s"}]}, {"duration": 10})
    assert [strike.at for strike in Timeline(plan).strikes()] == [2.0, 5.0, 8.0]


@pytest.mark.parametrize(
    ("said", "up", "victims"),
    [
        ({"share": 0.1}, 10, 1),
        ({"share": 0.3}, 5, 2),  # 1.5: up
        ({"share": 0.01}, 10, 1),  # a share of somebody is somebody
        ({"share": 0}, 10, 0),
        ({"share": 1}, 10, 10),
        ({"count": 3}, 10, 3),
        ({"count": 30}, 10, 10),
    ],
)
def test_so_many_are_hit(said: dict[str, Any], up: int, victims: int) -> None:
    """A share of those who are up, or a number of them."""
    (strike,) = Timeline(scenario(UP, {"duration": 5, "faults": [{"kind": "abort"} | said]}, stations=up)).strikes()
    assert len(strike.victims) == victims


def test_who_suffers_is_spared_until_it_is_over() -> None:
    """Two faults share the stations between them; then all may be hit again."""
    long = {"kind": "half-open", "share": 0.6, "lasts": 5}
    plan = scenario(
        UP, {"duration": 20, "faults": [long, long | {"at": 2}, long | {"at": 2}, long | {"at": 7, "share": 1.0}]}
    )
    first, second, third, last = Timeline(plan).strikes()
    assert (len(first.victims), len(second.victims), len(third.victims), len(last.victims)) == (6, 4, 0, 10)
    assert not set(first.victims) & set(second.victims)


def test_who_starts_or_stops_at_that_moment_is_spared() -> None:
    """Nobody can be cut off before being there, nor after leaving."""
    hit = {"faults": [{"kind": "abort", "share": 1.0}]}
    plan = scenario(UP | hit, {"duration": 5} | hit, {"shape": "spike", "duration": 1, "stations": 3} | hit)
    assert [len(strike.victims) for strike in Timeline(plan).strikes()] == [0, 10, 3]


# ---- any scenario

durations = st.floats(0.01, 1_000) | st.integers(1, 100)
populations = st.sampled_from(["0%", "33%", "50%", "99.5%", "100%"])
faults = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["abort", "half-open", "slow-reader", "token-expiry", "storm"]),
        "at": st.sampled_from([0, "0%", "12.5%", "99%"]),
    },
    optional={
        "who": st.sampled_from(WHO),
        "share": st.floats(0, 1),
        "every": st.floats(0.5, 500),
        "jitter": st.floats(0, 20),
    },
)


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    stages: list[dict[str, Any]] = [UP | {"browsers": "100%"}]
    up: dict[str, str] = {"stations": "100%", "browsers": "100%"}  # where none are before, a fault may be refused
    for _ in range(draw(st.integers(0, 5))):
        stage: dict[str, Any] = {"duration": draw(durations)}
        if draw(st.booleans()):
            moved = draw(st.dictionaries(st.sampled_from([*map(str, WHO)]), populations, min_size=1))
            stage |= {"shape": draw(st.sampled_from(["linear", "step", "spike"]))} | moved
            up |= moved
            if stage["shape"] == "step":
                stage["steps"] = draw(st.integers(1, 50))
        if draw(st.booleans()):
            hit = [
                fault for fault in draw(st.lists(faults, max_size=3)) if up[str(fault.get("who", "stations"))] != "0%"
            ]
            stage["faults"] = hit
        stages.append(stage)
    # 2 at least: "33%" of 1 is nobody, whom no fault may be for
    stations, browsers = draw(st.integers(2, 40)), draw(st.integers(2, 10))
    return scenario(*stages, stations=stations, browsers=browsers, seed=draw(st.integers(0, 5)))


@given(scenarios())
def test_populations_are_never_below_nothing_nor_above_all(plan: Scenario) -> None:
    """Who starts is not up, who stops is up, the numbers that are up have no gap, and a stage ends as it says."""
    timeline = Timeline(plan)
    up: dict[Who, int] = dict.fromkeys(WHO, 0)
    events = timeline.events()
    assert [event.at for event in events] == sorted(event.at for event in events)
    stages = iter(plan.populations())
    for event in events:
        match event:
            case Start():
                assert event.number == up[event.who] < plan.count(event.who)
                up[event.who] += 1
            case Stop():
                up[event.who] -= 1
                assert event.number == up[event.who] >= 0
            case StageBegins(index=index) if index:
                assert up == next(stages)
            case End():
                assert up == next(stages)
                assert event.at == timeline.ends
    for who in WHO:
        assert timeline.population(who, timeline.ends) == up[who]


@given(scenarios())
def test_moves_and_strikes_lie_within_their_stages(plan: Scenario) -> None:
    """As many moves, and strikes, as its stage says, from its beginning to its end."""
    timeline = Timeline(plan)
    spans = timeline.stages()
    assert math.isclose(spans[-1][2], sum(stage.duration for stage in plan.stages))
    for strike in timeline.strikes():
        (index,) = [i for i, stage in enumerate(plan.stages) if any(strike.fault is fault for fault in stage.faults)]
        assert spans[index][1] <= strike.at <= spans[index][2]
    for before, (_, _, end) in zip([0.0, *[end for _, _, end in spans]], spans, strict=False):
        assert before <= end


@given(scenarios())
def test_victims_are_up_and_suffer_nothing_else(plan: Scenario) -> None:
    """Nobody is hit who is not there, nor twice at once, nor twice by one strike; each fault gets its share where it can."""
    timeline = Timeline(plan)
    starts = {who: [e for e in timeline.events() if isinstance(e, Start | Stop) and e.who == who] for who in WHO}
    suffering: dict[tuple[Who, int], float] = {}
    for strike in timeline.strikes():
        who = strike.fault.who
        before = starts[who][: bisect_left(starts[who], strike.at, key=lambda event: event.at)]
        there = {event.number for event in before if isinstance(event, Start)}
        for event in before:
            (there.discard if isinstance(event, Stop) else there.add)(event.number)
        there -= {event.number for event in starts[who] if isinstance(event, Stop) and event.at == strike.at}
        free = {number for number in there if suffering.get((who, number), 0.0) <= strike.at}
        assert len(set(strike.victims)) == len(strike.victims)
        assert set(strike.victims) <= free
        assert len(strike.victims) == min(strike.fault.victims(len(there)), len(free))
        suffering |= {(who, number): strike.until for number in strike.victims}


@given(scenarios())
def test_the_same_scenario_gives_the_same_events(plan: Scenario) -> None:
    """Built again, from what it is as JSON: nothing but its values decides."""
    again = Scenario.model_validate(plan.model_dump(mode="json", exclude_unset=True))
    assert Timeline(again).events() == Timeline(plan).events()


def test_another_seed_has_other_victims() -> None:
    """At the same moments, as many; and each repetition has its own."""
    plan = scenario(UP, {"duration": 10, "faults": [{"kind": "abort", "every": 2}]}, stations=200)
    one, other = Timeline(plan).strikes(), Timeline(override(plan, seed=2)).strikes()
    assert [(s.at, len(s.victims)) for s in one] == [(s.at, len(s.victims)) for s in other]
    assert len({s.victims for s in [*one, *other]}) == 10


def test_victims_stay_those_of_the_seed() -> None:
    """A run can be repeated later: these numbers may not change with a refactoring."""
    plan = scenario(UP, {"duration": 10, "faults": [{"kind": "abort", "count": 3}]}, stations=100, seed=7)
    assert Timeline(plan).strikes()[0].victims == (13, 85, 88)


@given(scenarios(), st.integers(1, 5))
def test_workers_share_all_exactly(plan: Scenario, of: int) -> None:
    """Each start, stop and victim is one worker's; stages and the end are everybody's."""
    events = Timeline(plan).events()
    shares = [worker(events, number, of) for number in range(of)]

    def flat(part: list[Event]) -> list[tuple[Any, ...]]:
        moved = [(e.at, type(e).__name__, e.who, e.number) for e in part if isinstance(e, Start | Stop)]
        return moved + [(e.at, id(e.fault), v, e.until) for e in part if isinstance(e, Strike) for v in e.victims]

    assert sorted(map(repr, flat(events))) == sorted(repr(one) for share in shares for one in flat(share))
    for number, share in enumerate(shares):
        assert all(e.number % of == number for e in share if isinstance(e, Start | Stop))
        assert all(v % of == number for e in share if isinstance(e, Strike) for v in e.victims)
        common = [e for e in events if isinstance(e, StageBegins | End)]
        assert [e for e in share if isinstance(e, StageBegins | End)] == common
        assert [e.at for e in share] == sorted(e.at for e in share)


def test_a_command_reaches_every_worker() -> None:
    """All must know that what breaks then is meant."""
    fault = {"kind": "run", "command": "true", "at": 1}
    events = Timeline(scenario(UP, {"duration": 5, "faults": [fault]})).events()
    assert all(any(isinstance(event, Strike) for event in worker(events, number, 3)) for number in range(3))


def test_the_largest_fleet_is_planned() -> None:
    """Every station of the largest fleet starts once."""
    events = Timeline(load("steady", {"stations": 50_000, "browsers": 5_000})).events()
    assert sum(isinstance(event, Start) for event in events) == 55_000
