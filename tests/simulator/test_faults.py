"""Each fault reaches its victims in its own way, at its own moment; a restart by command excuses what it breaks."""

import asyncio
from typing import Any, cast

import pytest

from simulator.faults import Faults
from simulator.fleet.schedule import Schedule
from simulator.scenario import Fault
from simulator.scenario.timeline import Strike
from simulator.world import World
from tests.simulator.stage import Notes, make_world


class Victim:
    """Notes what happens to it."""

    def __init__(self, *, connected: bool = True) -> None:
        self.connected = connected
        self.afflictions = self  # of a station; a browser's methods are its own
        self.suffered: list[tuple[str, tuple[Any, ...]]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *args: self.suffered.append((name, args))


class Turned:
    """A clock turned by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Turned:
    return Turned()


@pytest.fixture
def world(clock: Turned) -> World:
    made = make_world(schedule=Schedule(clock, clock))
    for group in (made.stations, made.browsers):
        group.clear()
        group.update({number: cast("Any", Victim(connected=number != 2)) for number in range(3)})
    return made


def fault(**fields: Any) -> Fault:
    return Fault.model_validate(fields)


def suffered(world: World, who: str, number: int) -> list[tuple[str, tuple[Any, ...]]]:
    group: dict[int, Any] = getattr(world, who)
    return cast("Victim", group[number]).suffered


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"kind": "abort"}, ("abort", (0.0, "abort"))),
        ({"kind": "half-open", "lasts": 7}, ("fall_silent", (7.0,))),
        ({"kind": "slow-reader", "lasts": 7}, ("read_slowly", (7.0,))),
        ({"kind": "duplicate-client-id", "lasts": 7}, ("twin", (7.0,))),
        ({"kind": "clock-skew", "skew": -30, "lasts": 7}, ("skew_clock", (-30.0, 7.0))),
        ({"kind": "token-expiry", "lasts": 7}, ("expire_token", (7.0,))),
        ({"kind": "late-will"}, ("late_will", ())),
        ({"kind": "storm"}, ("abort", (0.0, "storm"))),
    ],
)
def test_of_stations(world: World, fields: dict[str, Any], what: tuple[str, tuple[Any, ...]]) -> None:
    """Only the victims, and of these only who is connected."""
    Faults(world, runs_commands=True).strike(Strike(0.0, fault(**fields), (1, 2, 9), 10.0))
    world.schedule.run()
    assert suffered(world, "stations", 1) == [what]
    assert suffered(world, "stations", 0) == suffered(world, "stations", 2) == []
    assert all(suffered(world, "browsers", number) == [] for number in range(3))


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"kind": "abort"}, ("abort", (0.0,))),
        ({"kind": "half-open", "lasts": 7}, ("fall_silent", (7.0,))),
        ({"kind": "slow-reader", "lasts": 7}, ("read_slowly", (7.0,))),
        ({"kind": "token-expiry", "lasts": 7}, ("expire_token", (7.0,))),
        ({"kind": "storm"}, ("abort", (0.0,))),
    ],
)
def test_of_browsers(world: World, fields: dict[str, Any], what: tuple[str, tuple[Any, ...]]) -> None:
    Faults(world, runs_commands=True).strike(Strike(0.0, fault(who="browsers", **fields), (0, 2), 10.0))
    world.schedule.run()
    assert suffered(world, "browsers", 0) == [what]
    assert suffered(world, "browsers", 2) == []
    assert suffered(world, "stations", 0) == []


def test_jitter_spreads_the_victims(world: World, clock: Turned) -> None:
    """Each has a moment of its own; nobody suffers before it."""
    Faults(world, runs_commands=True).strike(Strike(0.0, fault(kind="abort", jitter=10), (0, 1), 10.0))
    moments = []
    for _ in range(1_001):
        before = len(suffered(world, "stations", 0)) + len(suffered(world, "stations", 1))
        world.schedule.run()
        if len(suffered(world, "stations", 0)) + len(suffered(world, "stations", 1)) > before:
            moments.append(clock.now)
        clock.now += 0.01
    assert len(moments) == 2
    assert 100.0 < moments[0] < moments[1] < 110.1


def test_nobody_is_hit_when_the_load_is_over(world: World, clock: Turned) -> None:
    """Who leaves in order is not reset, whatever jitter had in mind."""
    faults = Faults(world, runs_commands=False)
    faults.strike(Strike(0.0, fault(kind="abort", jitter=10), (0, 1), 10.0))
    clock.now += 10.0
    faults.end()
    world.schedule.run()
    assert suffered(world, "stations", 0) == suffered(world, "stations", 1) == []


def test_a_storm_cuts_all_off_at_once_and_spreads_their_return(world: World) -> None:
    """Its jitter is in how they come back."""
    Faults(world, runs_commands=True).strike(Strike(0.0, fault(kind="storm", jitter=10), (0, 1), 10.0))
    (first,), (second,) = suffered(world, "stations", 0), suffered(world, "stations", 1)
    backs = [what[1][0] for what in (first, second)]
    assert all(0.0 < back < 10.0 for back in backs)
    assert backs[0] != backs[1]


async def test_a_restart_runs_its_command_once(world: World, tmp_path: Any) -> None:
    """By the one worker that is told to; all excuse what breaks until it should be over; its exit code is told."""
    strike = Strike(0.0, fault(kind="run", lasts=20, command=f"echo x >> {tmp_path}/ran; exit 3"), (), 20.0)
    other, runner = Faults(world, runs_commands=False), Faults(world, runs_commands=True)
    other.strike(strike)
    assert world.restarting_until == 120.0
    assert cast("Notes", world.presence).of("excuse") == [(120.0,)]
    assert cast("Notes", world.statuses).of("excuse") == [(120.0,)]
    assert cast("Notes", world.exchanges).of("excuse") == [(120.0,)]
    runner.strike(strike)
    async with asyncio.timeout(10):
        await runner.finished()
    await other.finished()
    assert (tmp_path / "ran").read_text() == "x\n"
    assert world.recorder.take(0).errors == {"the command of a fault ended with exit code 3": 1}


async def test_a_command_that_hangs_ends_with_the_run(world: World) -> None:
    """The shell is killed, and nobody waits for what it ran."""
    faults = Faults(world, runs_commands=True)
    faults.strike(Strike(0.0, fault(kind="run", command="sleep 600"), (), 10.0))
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await faults.close()
