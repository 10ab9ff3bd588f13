"""A run from its options to its exit code: checks what can be checked before, runs the crew, judges, and reports."""

import asyncio
import secrets
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console

from simulator import limits
from simulator.crew import Crew, Forked, Inline, OnSnapshot
from simulator.measuring.measures import Snapshot, Totals
from simulator.measuring.recent import Recent
from simulator.measuring.rules import Rule, Verdict, judge, parse_rule, rules_of
from simulator.options import Options
from simulator.plan import Credentials, Plan, Target
from simulator.preflight import preflight
from simulator.reports.document import Ran, document, encode
from simulator.reports.endtable import table
from simulator.reports.files import writable, write
from simulator.reports.html import html
from simulator.reports.junit import junit
from simulator.reports.live import Live
from simulator.reports.prometheus import serving
from simulator.scenario import Scenario, load
from simulator.scenario.timeline import Timeline

__all__ = ["Run", "conduct", "keep_running", "simulate"]

START_SECONDS: Final = 0.2
"""From telling the workers when to begin until they do."""
OF_HUBS: Final = ("ack", "answer", "stream", "invite", "signal", "call", "presence", "commands", "actions")
"""How the names of facts begin that a broker alone cannot show."""
OF_BROWSERS: Final = (*OF_HUBS, "login", "status.delay", "status.age", "status.received")
"""And a hub without browsers."""


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
        target = options.target()
        rules = rules_of([*_measurable(scenario, target), *fail_if])
        for path, flag in (
            (options.json_file, "--json"),
            (options.html_file, "--report"),
            (options.junit_file, "--junit"),
        ):
            writable(path, flag)
        alone = target.http is None
        limits.allow(scenario.stations.count, scenario.browsers.count, options.workers, one_address=alone)
        return cls(options, _plan(scenario, target, options.prefix, options.workers), tuple(rules))


def simulate(run: Run, credentials: Credentials) -> int:
    """Runs it to its end, or until Ctrl-C, and prints the report. Needs a process without an event loop or a thread.

    Gives the exit code: 0, or 1 when a check failed. Raises SimulationError when it could not run, KeyboardInterrupt at the
    second Ctrl-C.
    """
    with Forked(run.plan, credentials) as crew, asyncio.Runner() as runner:
        return runner.run(conduct(run, credentials, crew))


async def conduct(run: Run, credentials: Credentials, crew: Crew) -> int:
    """As `simulate`, on this event loop and with that crew."""
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
    verdict = judge(totals.facts(), run.rules, totals.evidence)
    report = document(ran, plan.scenario, plan.target, totals, verdict, timeline.stages(), timeline.strikes())
    _write(run.options, report, verdict)  # first: nobody may be there to read the table
    Console().print(table(report))
    return 0 if verdict.passed else 1


async def keep_running(scenario: Scenario, target: Target, prefix: str, credentials: Credentials) -> None:
    """Keeps a scenario running in this process until it is cancelled, and judges nothing."""
    crew = Inline(_plan(scenario, target, prefix, 1), credentials)
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


def _measurable(scenario: Scenario, target: Target) -> list[str]:
    """The scenario's own rules, but for those on what nobody is there to measure."""
    hidden = OF_BROWSERS if not scenario.browsers.count else OF_HUBS if target.http is None else ()
    return [text for text in scenario.fail_if if not parse_rule(text).fact.startswith(hidden)]


def _plan(scenario: Scenario, target: Target, prefix: str, workers: int) -> Plan:
    return Plan(scenario, target, prefix, secrets.token_hex(4), workers)


def _write(options: Options, report: dict[str, Any], verdict: Verdict) -> None:
    if options.json_file is not None:
        write(options.json_file, "--json", encode(report))
    if options.html_file is not None:
        write(options.html_file, "--report", html(report).encode())
    if options.junit_file is not None:
        facts, name = report["facts"], report["scenario"]["name"]
        content = junit(verdict, name, facts, seconds=report["seconds"], started=report["startedAt"] / 1000)
        write(options.junit_file, "--junit", content)
