"""The report: one JSON document, which the page and the table at the end are made of.

version, tool: of the document, and the program that made it
startedAt (Unix milliseconds), seconds, interrupted: when, how long, and whether Ctrl-C ended it
scenario: as it was run, with what flags changed; good as a scenario again
target, machine: what was loaded, without secrets, and from where
facts: each by name, null where nothing was measured (see `simulator.measuring.facts`)
histograms: of each time its HdrHistogram in microseconds (V2, compressed, base64)
errors {kind: count}, evidence {fact: sentences}
series {step, t, ...}: how figures went over time, a point each `step` seconds (see `simulator.measuring.series`)
percentiles {time: [[percent, ms], ...]}: the curve, as far as enough were timed
stages [{name, from, to}], faults [{kind, who, from, to, victims}]: seconds from the start; what came to happen
verdict {passed, checks, unmeasured, bottleneck}: unmeasured are the rules on what nobody was there to measure
"""

import os
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from simulator.measuring.histogram import Times
from simulator.measuring.measures import Totals
from simulator.measuring.rules import Verdict
from simulator.plan import Target
from simulator.scenario import Scenario
from simulator.scenario.timeline import Strike

__all__ = ["VERSION", "Ran", "document", "encode"]

VERSION: Final = 1
"""Of the document: it changes when a reader of the old one would read the new one wrongly."""
_TAILS: Final = (
    50.0,
    40.0,
    30.0,
    25.0,
    20.0,
    15.0,
    *(part * 10.0**-power for power in range(4) for part in (10, 8, 6, 5, 4, 3, 2)),
)
CURVE: Final = tuple(round(100 - tail, 3) for tail in (*_TAILS, 0.001))
"""Percents, closer and closer to 100."""


@dataclass(frozen=True, slots=True)
class Ran:
    """How a run went.

    Attributes:
        started_at: Unix milliseconds.
        seconds: how long it was, from the start of the first stage.
        workers: processes that shared it.
    """

    started_at: int
    seconds: float
    interrupted: bool = False
    workers: int = 1


def document(
    ran: Ran,
    scenario: Scenario,
    target: Target,
    totals: Totals,
    verdict: Verdict,
    stages: Iterable[tuple[str, float, float]] = (),
    strikes: Iterable[Strike] = (),
) -> dict[str, Any]:
    """The whole report.

    Args:
        stages: name, beginning and end, in seconds from the start.
        strikes: the faults that were planned; those after the end are left out.
    """
    return {
        "version": VERSION,
        "tool": f"stationhub {_version()}",
        "startedAt": ran.started_at,
        "seconds": round(ran.seconds, 3),
        "interrupted": ran.interrupted,
        "scenario": _scenario(scenario),
        "target": _target(target),
        "machine": {
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "platform": f"{sys.platform} {platform.machine()}",
            "workers": ran.workers,
        },
        "facts": totals.facts(),
        "histograms": totals.histograms(),
        "errors": dict(totals.errors.most_common()),
        "evidence": {name: list(sentences) for name, sentences in sorted(totals.evidence.items())},
        "series": {"step": totals.step, **totals.series()},
        "percentiles": {name: _curve(times) for name, times in sorted(totals.times.items()) if times.count},
        "stages": [
            {"name": name, "from": _tidy(begins), "to": _tidy(min(ends, ran.seconds))}
            for name, begins, ends in stages
            if begins < ran.seconds
        ],
        "faults": _faults(strikes, ran.seconds),
        "verdict": verdict.document(),
    }


def encode(document: Mapping[str, Any]) -> bytes:
    """As a file: one line a fact, a series, a histogram, so that people can read and compare it."""
    parts = []
    for name, value in document.items():
        if isinstance(value, dict) and value and name != "machine":
            lines = ",\n".join(f"    {_json(key)}: {_json(each)}" for key, each in value.items())
            parts.append(f"  {_json(name)}: {{\n{lines}\n  }}")
        else:
            parts.append(f"  {_json(name)}: {_json(value)}")
    return ("{\n" + ",\n".join(parts) + "\n}\n").encode()


def _json(value: Any) -> str:
    return orjson.dumps(_sound(value)).decode()


def _sound(value: Any) -> Any:
    """Without half characters, which no UTF-8 holds."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_sound(str(key)): _sound(each) for key, each in value.items()}
    if isinstance(value, Sequence):
        return [_sound(each) for each in value]
    return value


def _version() -> str:
    try:
        return version("stationhub")
    except PackageNotFoundError:  # run from a checkout
        return "unknown"


def _scenario(scenario: Scenario) -> dict[str, Any]:
    """Stages as they were written: some fields must not even be named beside others."""
    whole = scenario.model_dump(mode="json", exclude_none=True)
    written = scenario.model_dump(mode="json", exclude_unset=True, include={"stages"})
    return whole | {"stages": written["stages"]}


def _target(target: Target) -> dict[str, str | None]:
    """Neither user names nor queries, which may be secrets."""
    return {
        "mqtt": target.mqtt.url.partition("?")[0],
        "http": None if target.http is None else _without_secrets(target.http),
    }


def _without_secrets(url: str) -> str:
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{_host(parts.hostname or '')}{port}{parts.path}"


def _host(name: str) -> str:
    return f"[{name}]" if ":" in name else name


def _curve(times: Times) -> list[list[float | None]]:
    """Only percents that at least one duration lies beyond."""
    percents = [percent for percent in CURVE if times.count * (100 - percent) >= 100] or [50.0]
    return [[percent, ms] for percent, ms in zip(percents, times.percentiles(percents), strict=True)]


def _faults(strikes: Iterable[Strike], seconds: float) -> list[dict[str, Any]]:
    return [
        {
            "kind": strike.fault.kind,
            "who": strike.fault.who,
            "from": _tidy(strike.at),
            "to": _tidy(min(strike.until, seconds)),
            "victims": len(strike.victims),
        }
        for strike in strikes
        if strike.at < seconds
    ]


def _tidy(seconds: float) -> float:
    return round(seconds, 3)
