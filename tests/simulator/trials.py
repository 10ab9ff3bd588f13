"""Small real runs of the simulator against hubs that are broken on purpose: many at a time, each with its own proxy and names.

A trial is a break (or several, or none), a scenario, and what must be found. Trials share hubs, which are sound; each has its own
stations and browsers, whose ids begin with the trial's own prefix.
"""

import asyncio
import gc
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from devices.client import Address
from hub.config import load
from hub.serve import Hub
from simulator.crew import Inline
from simulator.measuring.measures import Totals
from simulator.measuring.rules import Verdict, judge, rules_of
from simulator.measuring.witnesses import absent
from simulator.plan import Credentials, Plan, Target
from simulator.scenario import Scenario
from tests.simulator.broken import Break, BrokenHub, Ports, broken

__all__ = ["BROWSERS", "FULL", "STATIONS", "Outcome", "Trial", "mix", "run", "run_at"]

SECRET: Final = "a secret of the tests, long enough"
STATIONS: Final = 8
BROWSERS: Final = 3
STARTED: Final = 2.2
"""Seconds after which all are there: breaks begin then, if a trial does not say otherwise."""
PER_HUB: Final = 10
APART: Final = 0.25
"""Seconds between the beginnings of two trials, so that few act at a time."""
AT_A_TIME: Final = (1_000, 12, 4, 2)
"""Trials that run beside each other, by attempt: at first all, and of those that ran late fewer each time."""
TOO_LATE: Final = 400.0
"""Milliseconds; from 500 on a simulator takes itself for a slow reader."""
AWAITED: Final = frozenset(
    {"ack.missing", "answers.lost", "streams.lost", "invites.lost", "signals.lost", "calls.lost"}
)
"""What is found only after ten seconds in which little happens."""


def mix(*actions: str) -> dict[str, float]:
    """Browsers do these alone, each as often."""
    return {name: float(name in actions) for name in ("status", "command", "stream", "invite", "rooms", "ping")}


FULL: Final = mix("status", "command", "stream", "invite", "rooms", "ping")


@dataclass(frozen=True)
class Trial:
    """One run.

    Attributes:
        finds: facts that must fail, with evidence.
        may: facts that may fail beside them, as the break leads to them; no other may.
        exact: the first of `finds` counts as often as the break was done.
        after: seconds after the beginning at which it begins to be broken.
        stations, browsers: differ from the usual scenario so.
        steady: seconds that the last stage lasts.
        stages: behind the usual two, in which browsers come and then stations; none: one that is steady.
    """

    name: str
    breaks: tuple[Break, ...] = ()
    finds: tuple[str, ...] = ()
    may: frozenset[str] = frozenset()
    exact: bool = False
    after: float = STARTED
    stations: Mapping[str, Any] = field(default_factory=dict)
    browsers: Mapping[str, Any] = field(default_factory=dict)
    steady: float = 6.0
    stages: tuple[Mapping[str, Any], ...] = ()
    scenario: Mapping[str, Any] = field(default_factory=dict)

    def short(self) -> bool:
        """Whether it ends soon after its last stage: such a one may begin later than the others."""
        return AWAITED.isdisjoint({*self.finds, *self.may})

    def made(self) -> Scenario:
        """Its scenario."""
        watched = self.browsers.get("count") != 0
        come: list[Mapping[str, Any]] = [
            {"name": "browsers come", "duration": 1} | ({"shape": "linear", "browsers": "100%"} if watched else {}),
            {"name": "stations come", "duration": 1, "shape": "linear", "stations": "100%"},
        ]
        rest: tuple[Mapping[str, Any], ...] = self.stages or ({"name": "steady", "duration": self.steady},)
        stations = {"count": STATIONS, "interval": 2.0} | dict(self.stations)
        browsers: dict[str, Any] = {"count": BROWSERS, "watch": STATIONS, "think": (0.3, 0.7), "socketio": 0.34}
        browsers |= {"command_timeout": 5.0, "mix": FULL, **self.browsers}
        # wide limits: what is broken is broken by more, and a machine that is busy with other tests is not at fault
        usual = {"late": 5.0, "settle": 3.0, "fail_if": ["status.delay.p99 > 3s", "status.age.max > 5s"]}
        given = {"name": self.name, "stations": stations, "browsers": browsers, "stages": [*come, *rest]}
        return Scenario.model_validate(given | usual | dict(self.scenario))


@dataclass(frozen=True)
class Outcome:
    """What came of a trial.

    Attributes:
        done: how often each break was done; victims: to whom.
        ids: of its stations.
    """

    verdict: Verdict
    facts: Mapping[str, float | int | None]
    errors: Mapping[str, int]
    done: Mapping[str, int]
    victims: Mapping[str, list[str]]
    ids: frozenset[str]

    @property
    def lag(self) -> float:
        """Milliseconds that the tester was late, at most."""
        return self.facts.get("tester.lag.max") or 0.0

    @property
    def found(self) -> dict[str, tuple[str, ...]]:
        """The facts that failed, each with its evidence or else what is said of it."""
        return {check.rule.fact: check.evidence or (check.message,) for check in self.verdict.failed}


async def run(trials: Iterable[Trial], directory: Path) -> dict[str, Outcome]:
    """Runs all at a time, each against a broken hub; gives what came of them by name.

    A tester that ran late excuses what it may have missed itself, as it should: then breaks are tried again, fewer at a time, as
    many that run late disturb each other. What is found of a sound hub stands, however late the tester was.
    """
    outcomes: dict[str, Outcome] = {}
    left = list(trials)
    for attempt, many in enumerate(AT_A_TIME):
        for first in range(0, len(left), many):
            (data := directory / f"attempt-{attempt}-{first}").mkdir()
            with _never_all_collected():
                outcomes |= await _run(left[first : first + many], data)
        left = [trial for trial in left if trial.breaks and outcomes[trial.name].lag > TOO_LATE]
    return outcomes


@contextmanager
def _never_all_collected() -> Iterator[None]:
    """No full garbage collection meanwhile, which would stop all trials at once: for a second and more on a busy machine."""
    young, middle, old = gc.get_threshold()
    gc.set_threshold(young, middle, 1_000_000)
    try:
        yield
    finally:
        gc.set_threshold(young, middle, old)


async def _run(trials: list[Trial], directory: Path) -> dict[str, Outcome]:
    outcomes: dict[str, Outcome] = {}
    async with AsyncExitStack() as stack:
        # all hubs are there before the first trial begins: the start of one keeps the event loop for a while
        hubs: list[Hub] = []
        groups = _groups(sorted(trials, key=Trial.short))
        for number in range(len(groups)):
            (data := directory / f"hub-{number}").mkdir()
            ports = {"port": 0, "mqtt_port": 0, "mqtt_ws_port": 0, "durability": "memory"}
            settings = load({**ports, "data_dir": data, "jwt_secret": SECRET, "will_grace": 0.3})
            hubs.append(await stack.enter_async_context(Hub(settings)))
        first = 0.0
        async with asyncio.TaskGroup() as group:
            for hub, some in zip(hubs, groups, strict=True):
                for trial in some:
                    group.create_task(_keep(outcomes, trial, hub, first))
                    first += APART
    return outcomes


async def _keep(outcomes: dict[str, Outcome], trial: Trial, hub: Hub, wait: float) -> None:
    await asyncio.sleep(wait)
    tokens = hub.tokens
    credentials = Credentials(
        station=lambda station_id, seconds: tokens.mint_station(station_id, lifetime=seconds),
        browser=lambda user_id, seconds: tokens.mint_user(user_id, role="operator", lifetime=seconds),
    )
    outcomes[trial.name] = await run_at(trial, hub, credentials)


def _groups(trials: list[Trial]) -> list[list[Trial]]:
    return [trials[first : first + PER_HUB] for first in range(0, len(trials), PER_HUB)]


async def run_at(trial: Trial, hub: Ports, credentials: Credentials, *, observed: bool = False) -> Outcome:
    """Runs one; `observed`: by MQTT subscribers in place of browsers."""
    scenario = trial.made()
    async with broken(hub, *(trial.breaks if not trial.after else ())) as proxy:
        target = Target(Address.parse(proxy.mqtt_url), None if observed else proxy.http_url)
        plan = Plan(scenario, target, f"t-{trial.name}", "run-1")
        totals, begin = Totals(), time.monotonic() + 0.05
        breaking = asyncio.get_running_loop().call_later(trial.after, proxy.set, *trial.breaks) if trial.after else None
        try:
            await Inline(plan, credentials).run(begin, totals.add)
        finally:
            if breaking is not None:
                breaking.cancel()
        ids = frozenset(plan.station_id(number) for number in range(scenario.stations.count))
        return _outcome(scenario, target, totals, proxy, ids)


def _outcome(scenario: Scenario, target: Target, totals: Totals, proxy: BrokenHub, ids: frozenset[str]) -> Outcome:
    facts = totals.facts()
    verdict = judge(facts, rules_of((), scenario.fail_if, absent(scenario, target)), totals.evidence)
    return Outcome(verdict, facts, dict(totals.errors), dict(proxy.done), dict(proxy.victims), ids)
