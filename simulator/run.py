"""A run from its options to its exit code: checks what can be checked before, runs the crew, judges, and reports."""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any, Final

from rich.console import Console

from devices.camera import VideoMissing, load_video
from simulator import limits
from simulator.crew import Crew, Forked, Inline, OnSnapshot
from simulator.interrupts import Interrupts
from simulator.measuring.measures import Snapshot, Totals
from simulator.measuring.recent import Recent
from simulator.measuring.rules import Check, Rule, Verdict, judge, parse_rule, rules_of
from simulator.measuring.witnesses import absent
from simulator.options import Options
from simulator.plan import Credentials, Plan, Target
from simulator.preflight import preflight
from simulator.reports.document import Ran, document, encode
from simulator.reports.endtable import table
from simulator.reports.files import distinct, writable, write
from simulator.reports.html import html
from simulator.reports.junit import junit
from simulator.reports.live import Live
from simulator.reports.printing import put
from simulator.reports.prometheus import serving
from simulator.scenario import Scenario, SimulationError, load
from simulator.scenario.timeline import Timeline

__all__ = ["Run", "conduct", "keep_running", "simulate"]

START_SECONDS: Final = 0.2
"""From telling the workers when to begin until they do."""
WORKERS: Final = "workers.lost"
"""Stands in the place of a fact in the check that fails when a worker was lost."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run that may start: its scenario is valid, the machine allows it, and its reports can be written."""

    options: Options
    plan: Plan
    rules: tuple[Rule, ...]

    @classmethod
    def prepare(cls, name: str | None, options: Options, fail_if: Iterable[str] = ()) -> "Run":
        """Reads the scenario and checks all that needs no network.

        Args:
            name: of a shipped scenario, or a file; None: the default one.
            fail_if: rules beside the scenario's own.

        Raises:
            SimulationError: it cannot run; says why, and what to do.
        """
        scenario = load(name, options.overrides())
        if options.video:
            _load_video()
        target = options.target()
        for text in fail_if:
            _check_rule(text)
        rules = rules_of(fail_if, scenario.fail_if, absent(scenario, target))
        if options.browser_token is not None and target.http is not None and scenario.browsers.login != "token":
            raise SimulationError(
                f"--browser-token: browsers log in by {scenario.browsers.login}: leave it out, or --login token"
            )
        outputs = options.outputs()
        distinct(outputs, name)
        for flag, path in outputs.items():
            writable(path, flag)
        alone = target.http is None
        limits.allow(scenario.stations.count, scenario.browsers.count, options.workers, one_address=alone)
        return cls(options, _plan(scenario, target, options.prefix, options.workers, options.video), tuple(rules))


def simulate(run: Run, credentials: Credentials) -> int:
    """Runs it to its end, or until Ctrl-C or SIGTERM, and prints the report. Needs a process without an event loop or a thread.

    Gives the exit code: 0, or 1 when a check failed. Raises SimulationError when it could not run or report, KeyboardInterrupt
    at the second Ctrl-C.
    """

    async def work() -> int:
        if (task := asyncio.current_task()) is not None:
            interrupts.cancels(task)
        return await conduct(run, credentials, crew)

    try:
        with Interrupts() as interrupts, Forked(run.plan, credentials) as crew, asyncio.Runner() as runner:
            return runner.run(work())
    except asyncio.CancelledError:  # before the start
        raise KeyboardInterrupt from None


async def conduct(run: Run, credentials: Credentials, crew: Crew) -> int:
    """As `simulate`, on this event loop and with that crew; a cancellation is Ctrl-C."""
    plan = run.plan
    await preflight(plan, credentials)
    timeline, totals, recent = Timeline(plan.scenario), Totals(plan.workers), Recent(plan.workers)
    console, options, started_at = Console(stderr=True), run.options, time.time()
    async with AsyncExitStack() as seen:
        if options.prometheus is not None:
            port = await seen.enter_async_context(serving(options.prometheus, totals, recent))
            console.print(f"Prometheus: http://127.0.0.1:{port}/metrics", highlight=False)
        live = seen.enter_context(
            Live(console, timeline, totals, recent, workers=plan.workers, quiet=bool(options.quiet))
        )
        begin = time.monotonic() + START_SECONDS

        def heard(worker: int, snapshot: Snapshot) -> None:
            totals.add(worker, snapshot)
            recent.add(snapshot)
            live.update(time.monotonic() - begin)

        interrupted = await _until_done(crew, begin, heard)
    ran = Ran(int(started_at * 1000), min(time.monotonic() - begin, timeline.ends), interrupted, plan.workers)
    verdict = _complete(judge(totals.facts(), run.rules, totals.evidence), crew.lost)
    report = document(ran, plan.scenario, plan.target, totals, verdict, timeline.stages(), timeline.strikes())
    failures = _write(run.options, report, verdict)  # first: nobody may be there to read the table
    try:
        put(table(report))
    except SimulationError as error:
        failures.append(str(error))
    if failures := [*crew.lost, *failures]:
        raise SimulationError("; ".join(failures))
    return 0 if verdict.passed else 1


async def keep_running(
    scenario: Scenario, target: Target, prefix: str, credentials: Credentials, *, video: int = 0
) -> None:
    """Keeps a scenario running in this process until it is cancelled, and judges nothing; `video` stations really stream."""
    crew = Inline(_plan(scenario, target, prefix, 1, video), credentials)
    await _until_done(crew, time.monotonic(), lambda _worker, _snapshot: None)


async def _until_done(crew: Crew, begin: float, heard: OnSnapshot) -> bool:
    """Runs the crew; the first cancellation (Ctrl-C) tells it to end in order. Gives whether that came."""
    work = asyncio.create_task(crew.run(begin, heard), name="crew")
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        crew.stop()
        if (task := asyncio.current_task()) is not None:
            task.uncancel()
        await work
        return True
    return False


def _plan(scenario: Scenario, target: Target, prefix: str, workers: int, video: int) -> Plan:
    return Plan(scenario, target, prefix, secrets.token_hex(4), workers, video)


def _load_video() -> None:
    """Before the workers are forked: it takes a moment, which each would be late by. Raises SimulationError."""
    try:
        load_video()
    except VideoMissing as error:
        raise SimulationError(f"--video: {error}") from None


def _check_rule(text: str) -> None:
    """Raises SimulationError that names the flag."""
    try:
        parse_rule(text)
    except SimulationError as error:
        raise SimulationError(f"--fail-if: {error}") from None


def _complete(verdict: Verdict, lost: Iterable[str]) -> Verdict:
    """A run that lost workers is not judged by the others alone: that is a check, which failed."""
    checks = [Check(Rule(WORKERS, ">", 0.0, f"{WORKERS} > 0"), 1, False, f"{WORKERS}: {each}") for each in lost]
    return replace(verdict, passed=verdict.passed and not checks, checks=(*verdict.checks, *checks))


def _write(options: Options, report: dict[str, Any], verdict: Verdict) -> list[str]:
    """Writes each report, whatever becomes of the others; gives what failed."""
    facts, name = report["facts"], report["scenario"]["name"]
    made: dict[str, Callable[[], bytes]] = {
        "--json": lambda: encode(report),
        "--report": lambda: html(report).encode(),
        "--junit": lambda: junit(verdict, name, facts, seconds=report["seconds"], started=report["startedAt"] / 1000),
    }
    failures = []
    for flag, path in options.outputs().items():
        try:
            write(path, flag, made[flag]())
        except SimulationError as error:
            failures.append(str(error))
    return failures
