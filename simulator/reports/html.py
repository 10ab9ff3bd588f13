"""The report as one page: nothing is fetched, nothing runs, and it prints."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from typing import Any, Final

from simulator.reports.chart_parts import Moments, Size, text
from simulator.reports.charts import Line, curve, over_time
from simulator.reports.html_tables import checks_table, figures_table
from simulator.reports.sections import sections
from simulator.reports.spans import clock, duration
from simulator.reports.toml_text import toml
from simulator.texts import shown

__all__ = ["html"]

Document = Mapping[str, Any]

TEMPLATE: Final = Path(__file__).with_name("report.html")
WIDE: Final = Size(960, 250, right=162)
HALF: Final = Size(468, 190, right=84, left=62)
LATENCIES: Final = {
    "ack": ("Acks", "from a browser's request until its ack"),
    "answer": ("Status answers", "from asking a station for its status until it came"),
    "status.delay": ("Status delay", "from the intended sending until a browser had it"),
    "status.age": ("Status age", "of the newest status that a browser has of a station"),
    "signal": ("Signals", "offers, answers and candidates, from peer to peer"),
}
CURVES: Final = ("ack", "answer", "status.delay", "signal", "presence.online")
EXPLAINED: Final = "Minutes and seconds from the start. Half of all took p50 or less, 99 of 100 took p99 or less."
MOST_ERRORS: Final = 50
"""Kinds of errors that are listed."""
FEW: Final = 20
"""Durations that a curve needs at least."""


def html(document: Document) -> str:
    """The whole page.

    Args:
        document: see `simulator.reports.document`. Names and sentences in it may be hostile.
    """
    verdict = document["verdict"]
    failed = [check for check in verdict["checks"] if not check["passed"]]
    template = Template(TEMPLATE.read_text("utf-8"))
    return template.substitute(
        title=text(f"{document['scenario']['name']}: {'passed' if verdict['passed'] else 'failed'}"),
        head=_head(document, len(failed)),
        tiles=_tiles(document),
        findings=_findings(document, failed),
        charts="\n".join(_charts(document)),
        figures="\n".join(
            figures_table(section, {check["fact"] for check in failed})
            for section in sections(document["facts"], {rule["fact"] for rule in verdict["unmeasured"]["rules"]})
        ),
        checks=checks_table(verdict["checks"], verdict["unmeasured"]["rules"]),
        scenario=text_block(toml(document["scenario"])),
        run=_run(document),
    )


def text_block(content: str) -> str:
    """Foreign text that keeps its lines."""
    return "\n".join(text(line) for line in content.split("\n"))


def _head(document: Document, failed: int) -> str:
    scenario, verdict = document["scenario"], document["verdict"]
    passed, checks = verdict["passed"], len(verdict["checks"])
    word, look = ("Passed", "good") if passed else ("Failed", "bad")
    said = f"all {checks} checks hold" if passed else f"{failed} of {checks} checks failed"
    said = said if checks else "nothing was checked"
    if left_out := verdict["unmeasured"]["message"]:
        said += f"; {text(left_out)}"
    if document["interrupted"]:
        said += ", interrupted before its end"
    about = f"<p class=lead>{text(scenario['description'])}</p>" if scenario.get("description") else ""
    mark = f"<strong>{'✓' if passed else '✗'} {word}</strong> <span>{said}</span>"
    return (
        f"<p class=kicker>hub simulate</p><h1>{text(scenario['name'])}</h1>{about}"
        f'<p class="verdict {look}">{mark}</p>'
        f"<p class=meta>{text(_when(document))} · {duration(document['seconds'])} · {text(_targets(document))}</p>"
    )


def _when(document: Document) -> str:
    return datetime.fromtimestamp(document["startedAt"] / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _targets(document: Document) -> str:
    return " and ".join(each for each in document["target"].values() if each)


def _tiles(document: Document) -> str:
    facts, seconds = document["facts"], max(document["seconds"], 0.001)
    tiles = [
        ("stations", shown(facts.get("stations.connected")), "most at a time"),
        ("browsers", shown(facts.get("browsers.connected")), "most at a time"),
        ("statuses", f"{facts.get('status.sent', 0) / seconds:,.0f}", "sent a second"),
        ("ack p99", _ms(facts.get("ack.p99")), f"p50 {_ms(facts.get('ack.p50'))}"),
        ("status age p99", _ms(facts.get("status.age.p99")), f"p50 {_ms(facts.get('status.age.p50'))}"),
        ("tester lag p99", _ms(facts.get("tester.lag.p99")), f"{_percent(facts.get('tester.cpu'))} of a core"),
    ]
    return "".join(
        f"<div><dt>{name}</dt><dd>{value}</dd><dd class=more>{more}</dd></div>" for name, value, more in tiles
    )


def _ms(value: float | None) -> str:
    """Rounded to what matters."""
    if value is None:
        return "-"
    if value >= 10_000:
        return f"{value / 1000:,.1f} s"
    return f"{value:,.0f} ms" if value >= 100 else f"{float(f'{value:.2g}'):g} ms"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} %"


def _findings(document: Document, failed: Sequence[Document]) -> str:
    """What failed, with what shows it."""
    parts = []
    if slow := document["verdict"]["bottleneck"]["message"]:
        parts.append(f'<div class="note warn"><p><strong>! {text(slow[:1].upper() + slow[1:])}.</strong></p></div>')
    for check in failed:
        evidence = "".join(f"<li>{text(sentence)}</li>" for sentence in check["evidence"])
        rule = f"<code>{text(check['rule'])}</code>"
        parts.append(
            f'<div class="note bad"><p><strong>✗ {text(check["message"])}</strong> <span class=rule>{rule}</span></p>'
            f"{f'<ul>{evidence}</ul>' if evidence else ''}</div>"
        )
    if errors := document["errors"]:
        rows = "".join(
            f"<tr><td class=n>{count:,}</td><td>{text(kind)}</td></tr>"
            for kind, count in list(errors.items())[:MOST_ERRORS]
        )
        more = f"<p class=quiet>and {len(errors) - MOST_ERRORS:,} more kinds</p>" if len(errors) > MOST_ERRORS else ""
        parts.append(f"<h3>Errors by kind</h3><table class=errors>{rows}</table>{more}")
    heading = "What went wrong" if failed or document["errors"] else "What to keep in mind"
    return f"<section><h2>{heading}</h2>{''.join(parts)}</section>" if parts else ""


def _charts(document: Document) -> Iterator[str]:
    whole = document["series"]
    ended = sum(second < document["seconds"] for second in whole["t"])  # what came while all said goodbye is not shown
    series = {name: values[:ended] for name, values in whole.items() if name != "step"}
    if not ended:
        yield "<p class=quiet>Nothing was measured.</p>"
        return
    yield f'<p class="quiet explained">{EXPLAINED}</p>'
    moments = Moments(series["t"], whole["step"], document["seconds"], document["stages"], document["faults"])
    yield from _presence(moments, series)
    latencies = [_latency(moments, series, name, WIDE if name == "ack" else HALF) for name in LATENCIES]
    wide, halves = latencies[0], [each for each in latencies[1:] if each]
    yield wide
    yield _pairs(halves)
    yield _curves(document)
    yield _pairs(
        [
            _rates(
                moments,
                series,
                "Statuses a second",
                "from stations, and to browsers",
                {"sent": "status.sent", "received": "status.received"},
            ),
            _rates(moments, series, "Acks a second", "requests of browsers that were answered", {"acks": "ack.count"}),
        ]
    )
    yield _pairs([_latency(moments, series, "tester.lag", HALF), _processor(moments, series)])


def _presence(moments: Moments, series: Document) -> Iterator[str]:
    lines = [
        Line("connected", "truth", series["stations.connected"], area=True),
        Line("as seen", "main", series["stations.seen"]),
    ]
    lines = [line for line in lines if any(value is not None for value in line.values)]
    if lines:
        drawn = over_time(
            moments, lines, "", WIDE, story=True, summary="Stations connected, and online as browsers saw it"
        )
        said = (
            "stations connected, and how many browsers believed online, on average. Faults are shaded, and named below."
        )
        yield _figure("Presence", said, drawn)


def _latency(moments: Moments, series: Document, name: str, size: Size) -> str:
    """p50 and p99 of one time; nothing where none was measured."""
    if all(value is None for value in series[f"{name}.p50"]):
        return ""
    title, said = LATENCIES.get(name, ("Tester's lag", "how late its own timers ran"))
    lines = [
        Line("p99", "main", series[f"{name}.p99"], worst=True),
        Line("p50", "soft", series[f"{name}.p50"]),
    ]
    return _figure(
        title, said, over_time(moments, lines, "ms", size, summary=f"{title}: p50 and p99 in milliseconds over time")
    )


def _rates(moments: Moments, series: Document, title: str, said: str, names: Mapping[str, str]) -> str:
    looks = ("main", "soft")
    lines = [Line(label, look, series[name]) for (label, name), look in zip(names.items(), looks, strict=False)]
    return _figure(title, said, over_time(moments, lines, "", HALF, summary=f"{title} over time"))


def _processor(moments: Moments, series: Document) -> str:
    if all(value is None for value in series["tester.cpu"]):
        return ""
    drawn = over_time(
        moments,
        [Line("processor", "main", series["tester.cpu"], worst=True)],
        "%",
        HALF,
        summary="The tester's processor time",
    )
    return _figure("Tester's processor time", "all workers together; 100 % is one core", drawn)


def _curves(document: Document) -> str:
    facts, percentiles = document["facts"], document["percentiles"]
    names = [name for name in CURVES if (facts.get(f"{name}.count") or 0) >= FEW and name in percentiles]
    if not names:
        return ""
    drawn = curve(
        [(name, f"c{CURVES.index(name) + 1}", percentiles[name]) for name in names],
        Size(WIDE.width, 280, right=162),
        summary="Percentiles of the times",
    )
    said = "so many percent took at most that long. A line ends with a dot where too few were measured to say more."
    return _figure("Percentiles", said, drawn)


def _figure(title: str, said: str, drawn: str) -> str:
    return f"<figure><figcaption><strong>{title}</strong> {said}</figcaption><div class=scroll>{drawn}</div></figure>"


def _pairs(figures: Iterable[str]) -> str:
    return f"<div class=pairs>{''.join(figures)}</div>"


def _run(document: Document) -> str:
    machine, faults = document["machine"], document["faults"]
    rows = {
        "Started": _when(document),
        "Took": duration(document["seconds"]) + (", interrupted" if document["interrupted"] else ""),
        "Seed": str(document["scenario"].get("seed", "")),
        "Target": _targets(document),
        "Stages": ", ".join(
            f"{each['name']} {clock(each['from'])} to {clock(each['to'])}" for each in document["stages"]
        ),
        "Faults": f"struck {len(faults):,} times" if faults else "none",
        "Tester": f"{document['tool']}, Python {machine['python']}, {machine['platform']}, {machine['cores']} cores, "
        f"{machine['workers']} worker{'s' if machine['workers'] != 1 else ''}",
    }
    return "".join(f"<dt>{name}</dt><dd>{text(value)}</dd>" for name, value in rows.items())
