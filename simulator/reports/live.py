"""What is seen while a run goes on: one screen that is drawn anew each second, or in a log a line every 10 seconds."""

import math
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Final, Self

from rich import live
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from simulator.measuring.facts import FACTS
from simulator.measuring.measures import Totals
from simulator.measuring.recent import Recent
from simulator.reports.spans import clock
from simulator.scenario import Scenario
from simulator.scenario.timeline import Strike, Timeline
from simulator.texts import plain, shown

__all__ = ["Live", "Screen", "sparkline"]

EVERY: Final = 10.0
"""Seconds between two lines of a log."""
REDRAWN: Final = 0.5
"""Seconds between two pictures of the screen, at least."""
BARS: Final = "▁▂▃▄▅▆▇█"
RATES: Final = (
    ("statuses sent", "status.sent"),
    ("statuses received", "status.received"),
    ("acks", "ack.count"),
    ("errors", "errors"),
)
TIMES: Final = ("ack", "answer", "status.delay", "status.age")
PERCENTS: Final = (50.0, 90.0, 99.0, 100.0)
JUST: Final = 30.0
"""Seconds for which a fault is news."""
BUSY: Final = (80.0, 95.0)
"""Percent of a core, each worker: from there on yellow, and red."""
LATE_MS: Final = (5.0, 20.0)
"""The tester's lag, p99: the same."""

_FINDINGS: Final = tuple(fact.name for fact in FACTS if fact.worst is not None)


class Live:
    """A context manager that shows how a run goes; nothing when `quiet`.

    Args:
        console: to draw on; a screen where it is a terminal, else lines.
        workers: processes that share the tester's load.
    """

    def __init__(
        self,
        console: Console,
        timeline: Timeline,
        totals: Totals,
        recent: Recent,
        *,
        workers: int = 1,
        quiet: bool = False,
    ) -> None:
        self._console, self._quiet, self._next = console, quiet, 0.0
        self._screen = Screen(timeline, totals, recent, workers)
        self._live: live.Live | None = None

    def __enter__(self) -> Self:
        if not self._quiet and self._console.is_terminal and not self._console.is_dumb_terminal:
            self._live = live.Live(self._screen, console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def update(self, now: float) -> None:
        """Draws it as it is `now`, in seconds from the start; as often as one likes."""
        if self._quiet or now < self._next:
            return
        self._screen.now = now
        if self._live is not None:
            self._live.refresh()
            self._next = now + REDRAWN
        else:
            if self._next:
                self._console.print(Text(self._screen.line()), soft_wrap=True)
            self._next = (now // EVERY + 1) * EVERY


class Screen:
    """Draws itself in whatever room there is: what matters least goes first.

    Attributes:
        now: seconds from the start.
    """

    def __init__(self, timeline: Timeline, totals: Totals, recent: Recent, workers: int = 1) -> None:
        self._timeline, self._totals, self._recent, self._workers = timeline, totals, recent, workers
        self._stages, self._strikes = timeline.stages(), timeline.strikes()
        self.now = 0.0

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        width, height = max(options.max_width, 1), max(options.size.height - 1, 1)
        blocks = [list(block(width)) for block in self._blocks()]
        spaced = sum(map(len, blocks)) + len(blocks) - 1 <= height
        lines: list[Text] = []
        for block in blocks:
            lines += [Text(), *block] if spaced and lines else block
        for line in lines[:height]:
            line.no_wrap, line.overflow = True, "ellipsis"
            line.truncate(width, overflow="ellipsis")
            yield line

    def line(self) -> str:
        """All of it in one line, for a log."""
        name, _, _, place = self._stage()
        ack, age = (self._recent.percentiles(each, (99.0,))[0] for each in ("ack", "status.age"))
        gauges, findings = self._totals.gauges, sum(count for _, count in self._findings())
        said = (
            f"{clock(self.now)} {place} {plain(name)}",
            *(f"{who} {self._connected(who)}" for who in ("stations", "browsers")),
            f"statuses {self._rate('status.sent'):,}/s",
            f"acks {self._rate('ack.count'):,}/s",
            f"ack p99 {shown(ack, 'ms')}",
            f"status age p99 {shown(age, 'ms')}",
            f"findings {findings:,}",
            f"tester {_whole(gauges.get('tester.cpu'))} %",
        )
        return ", ".join(said)

    def _blocks(self) -> list[Callable[[int], Iterator[Text]]]:
        return [self._progress, self._population, self._told, self._rates, self._latencies, self._tester]

    def _progress(self, width: int) -> Iterator[Text]:
        name, begins, ends, place = self._stage()
        whole = "until Ctrl-C" if math.isinf(self._timeline.ends) else f"of {clock(self._timeline.ends)}"
        scenario: Scenario = self._timeline.scenario
        yield Text.assemble(
            ("hub simulate ", "bold"),
            (plain(scenario.name), "bold"),
            f"   {clock(self.now)} {whole}",
            (f"   seed {scenario.seed}", "dim"),
        )
        left = "" if math.isinf(ends) else f"  {clock(max(ends - self.now, 0))} left"
        share = 0.0 if math.isinf(ends) else (self.now - begins) / max(ends - begins, 1e-9)
        title = f"{place} {plain(name)}"[: max(width // 3, 8)]
        room = max(width - len(title) - len(left) - 4, 0)
        done = round(min(max(share, 0.0), 1.0) * room)
        yield Text.assemble((title, "bold cyan"), "  ", ("━" * done, "cyan"), ("─" * (room - done), "dim"), left)

    def _population(self, _width: int) -> Iterator[Text]:
        seen = self._totals.gauges.get("stations.seen")
        for who in ("stations", "browsers"):
            line = Text.assemble(f"{who:<18}", (f"{self._connected(who):>17}", "bold"), (" connected", "dim"))
            if who == "stations" and seen is not None:
                line.append(f", {_whole(seen)} online as browsers see it", "dim")
            yield line

    def _told(self, _width: int) -> Iterator[Text]:
        """Findings and faults."""
        findings = self._findings()
        if findings:
            named = ", ".join(f"{name} {count:,}" for name, count in findings)
            yield Text.assemble(f"{'findings':<18}", (named, "bold red"))
        else:
            yield Text.assemble(f"{'findings':<18}", ("none", "green"))
        struck = self._struck()
        yield Text.assemble(f"{'faults':<18}", (struck or "none just now", "yellow" if struck else "dim"))

    def _rates(self, width: int) -> Iterator[Text]:
        yield Text(f"{'each second':<18}{'now':>10}   last 60 s", "dim")
        for title, name in RATES:
            rates = self._recent.rates(name)
            style = "bold red" if name == "errors" and any(rates) else ""
            yield Text.assemble(
                f"{title:<18}",
                (f"{self._rate(name):>10,}", style),
                "   ",
                (sparkline(rates, max(width - 32, 0)), style or "cyan"),
            )

    def _latencies(self, _width: int) -> Iterator[Text]:
        yield Text(f"{'last 10 s, ms':<18}{'p50':>10}{'p90':>10}{'p99':>10}{'max':>10}", "dim")
        for name in TIMES:
            figures = self._recent.percentiles(name, PERCENTS)
            yield Text(f"{name:<18}" + "".join(f"{shown(ms):>10}" for ms in figures))

    def _tester(self, _width: int) -> Iterator[Text]:
        gauges = self._totals.gauges
        cpu, memory = gauges.get("tester.cpu"), gauges.get("tester.memory")
        lag = self._recent.percentiles("tester.lag", (99.0,))[0]
        each = None if cpu is None else cpu / max(self._workers, 1)
        yield Text.assemble(
            f"{'tester':<18}",
            (f"{_whole(cpu)} % of a core", _warning(each, BUSY)),
            (f" ({self._workers} workers)" if self._workers > 1 else "", "dim"),
            "   ",
            (f"lag p99 {shown(lag, 'ms')}", _warning(lag, LATE_MS)),
            (f"   {_whole(memory)} MB", "dim"),
        )

    def _stage(self) -> tuple[str, float, float, str]:
        """Name, beginning, end, and which of how many."""
        for index, (name, begins, ends) in enumerate(self._stages):
            if self.now < ends or index == len(self._stages) - 1:
                return name, begins, ends, f"{index + 1}/{len(self._stages)}"
        return "", 0.0, 0.0, "0/0"

    def _connected(self, who: str) -> str:
        wanted = self._timeline.population("stations" if who == "stations" else "browsers", self.now)
        return f"{_whole(self._totals.gauges.get(f'{who}.connected'))} / {wanted:,}"

    def _rate(self, name: str) -> int:
        return next(reversed(self._recent.rates(name)), 0)

    def _findings(self) -> list[tuple[str, int]]:
        counts, errors = self._totals.counts, self._totals.errors.total()
        found = [(name, errors if name == "errors" else counts.get(name, 0)) for name in _FINDINGS]
        return [(name, count) for name, count in found if count]

    def _struck(self) -> str:
        """Faults that go on, or struck just now, the newest first."""
        said = []
        for strike in reversed(self._strikes):
            if strike.at <= self.now < max(strike.until, strike.at + JUST):
                said.append(_fault(strike, self.now))
        return "; ".join(said[:3])


def _fault(strike: Strike, now: float) -> str:
    victims = f" of {len(strike.victims):,} {strike.fault.who}" if strike.victims else ""
    when = f"{clock(strike.until - now)} left" if strike.until > now else f"{now - strike.at:.0f} s ago"
    return f"{strike.fault.kind}{victims}, {when}"


def sparkline(values: Sequence[float], room: int) -> str:
    """The newest of them as bars from 0 to the highest; 0 is the lowest bar."""
    newest = values[-room:] if room > 0 else []
    most = max(newest, default=0)
    return "".join(BARS[math.ceil(value / most * (len(BARS) - 1)) if most > 0 else 0] for value in newest)


def _whole(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:,.0f}"


def _warning(value: float | None, limits: tuple[float, float]) -> str:
    """A style."""
    if value is None or value < limits[0]:
        return ""
    return "yellow" if value < limits[1] else "bold red"
