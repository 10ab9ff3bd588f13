"""The page: it asks nobody for anything, runs nothing, and shows foreign text as text."""

import re
from html.parser import HTMLParser
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.measuring.rules import judge
from simulator.reports.document import encode
from simulator.reports.html import TEMPLATE, html
from simulator.reports.scales import linear, logarithmic, seconds_ticks
from tests.simulator.runs import HOSTILE, UNWATCHED, report

VOID: Final = {"meta", "link"}
LIGHT, DARK = "light", "dark"


class Reader(HTMLParser):
    """Reads a page as strictly as its author wrote it: what is opened is closed."""

    def __init__(self, content: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(content)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.append((self.open[-1], data))

    def said(self) -> str:
        """All text but the style."""
        return " ".join(text for tag, text in self.texts if tag != "style")


def test_it_tells_the_whole_run() -> None:
    """The verdict, what failed and why, figures with their meanings, stages, faults, the scenario, the target."""
    said = Reader(html(report(broken="sim-00007 was called offline at 30.0 s", fail_if=["ack.p99 > 5ms"]))).said()
    for text in (
        *("made-up", "✗ Failed", "3 of ", "checks failed", "sim-00007 was called offline at 30.0 s", "ack.p99 > 5ms"),
        *("Presence", "Acks", "Status delay", "Status age", "Percentiles", "Statuses a second", "Tester's lag"),
        *("ramp", "steady", "abort", "slow-reader, browsers", "from any request of a browser until its ack"),
        *(
            "stations that were called offline while connected",
            '[[stages.faults]]\nkind = "abort"',
            "mqtt://127.0.0.1:1883",
        ),
    ):
        assert text in said, text


def test_a_sound_run_has_nothing_that_went_wrong() -> None:
    """Only then."""
    said = Reader(html(report())).said()
    assert "✓ Passed" in said
    assert "What went wrong" not in said
    assert "What went wrong" in html(report(broken="x"))


def test_what_nobody_could_measure_is_said() -> None:
    """Beside the verdict, and rule by rule below."""
    said = Reader(html(report(**UNWATCHED))).said()
    assert re.search(r"all \d+ checks hold; \d+ could not be measured: no browsers", said)
    assert "could not be measured: no browsers" in said.partition("status.lost > 0")[2]
    assert "could not be measured" not in Reader(html(report())).said()


def test_the_tester_is_blamed() -> None:
    """Also when all checks hold."""
    shown = report()
    shown["verdict"]["bottleneck"]["message"] = "the tester was the bottleneck: of ack"
    assert "The tester was the bottleneck: of ack" in Reader(html(shown)).said()


def test_foreign_text_is_text() -> None:
    """Wherever it stands: neither markup, nor a placeholder, nor what turns the direction of writing."""
    shown = report(broken=HOSTILE)
    shown["scenario"] |= {"name": HOSTILE, "description": HOSTILE}
    shown["scenario"]["stages"][0]["name"] = shown["stages"][0]["name"] = HOSTILE
    shown["faults"][0]["kind"] = HOSTILE
    shown["tool"] = shown["machine"]["platform"] = shown["target"]["http"] = HOSTILE
    shown["errors"][HOSTILE] = 3
    shown["verdict"]["checks"][0] |= {"passed": False, "message": HOSTILE, "evidence": [HOSTILE], "rule": HOSTILE}
    shown["verdict"]["bottleneck"]["message"] = HOSTILE
    for statistic in ("count", "mean", "p50", "p90", "p99", "p999", "max"):
        shown["facts"][f"ack.{HOSTILE}.{statistic}"] = 1
    shown["facts"][HOSTILE] = 7
    content = html(shown)
    read = Reader(content)
    assert {tag for tag, _ in read.tags} == {tag for tag, _ in Reader(html(report(broken="x"))).tags}
    assert not any(name.startswith("on") for _, attributes in read.tags for name in attributes)
    assert HOSTILE[:60] in read.said()
    assert "$title ${title}" in read.said()
    assert not set("\x1b\u202e\0") & set(content)


def test_it_is_one_file() -> None:
    """No script, nothing to fetch, and a policy that says so."""
    content = html(report())
    read = Reader(content)
    tags = {tag for tag, _ in read.tags}
    assert not tags & {
        "script",
        "img",
        "iframe",
        "object",
        "embed",
        "base",
        "form",
        "a",
        "audio",
        "video",
        "use",
        "image",
    }
    links = [attributes for tag, attributes in read.tags if tag == "link"]
    assert links == [{"rel": "icon", "href": "data:,"}]
    policy = next(each["content"] for tag, each in read.tags if tag == "meta" and "http-equiv" in each)
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert not re.search(r"url\(|@import|src=|href=(?!\"data:,\")", content)


@pytest.mark.parametrize("seconds", [0, 1, 2])
def test_a_run_that_hardly_was(seconds: int) -> None:
    """Interrupted at once: a page all the same."""
    shown = report(seconds=seconds, interrupted=True)
    said = Reader(html(shown)).said()
    assert "interrupted before its end" in said
    assert ("Nothing was measured" in said) == (seconds == 0)
    shown["verdict"] = judge({}, [], {}).document()
    assert "nothing was checked" in Reader(html(shown)).said()


def test_gaps_stay_gaps() -> None:
    """Where nothing was measured no line is drawn; a second by itself is seen."""
    shown = report()
    for name in ("ack.p50", "ack.p99"):
        shown["series"][name] = [None] * 10 + [5.0] + [None] * 19 + [3.0] * 30
    figure = html(shown).partition("<strong>Acks</strong>")[2].partition("</figure>")[0]
    drawn = re.search(r'class="line main" d="([^"]*)"', figure)
    assert drawn
    assert drawn[1].count("M") == 2
    assert drawn[1].count("L") == 29
    assert "h.1" in drawn[1]


def test_the_goodbyes_are_not_drawn() -> None:
    """What is measured after the end would look like a fault."""
    shown = report()
    before = html(shown)
    for values in shown["series"].values():
        if isinstance(values, list):
            values += [60.0, 61.0]
    assert html(shown) == before


def test_the_worst_second_of_a_long_run_is_drawn() -> None:
    """Thinning out points hides no spike; and an hour is less than half a megabyte."""
    shown, hour = report(broken="x"), 3600
    series = shown["series"]
    for name, values in series.items():
        if isinstance(values, list):
            series[name] = [
                None if value is None else value * (1 + at % 7 / 10) for at, value in enumerate((values * 60)[:hour])
            ]
    series["t"] = [float(at) for at in range(hour)]
    series["ack.p99"] = [1.0] * 1801 + [9.0] + [1.0] * (hour - 1802)
    shown["seconds"] = float(hour)
    shown["faults"] = [
        {"kind": kind, "who": "stations", "from": at * 2.0, "to": at * 2.0 + 1, "victims": 9}
        for at in range(1800)
        for kind in ("abort", "half-open", "clock-skew", "late-will")
    ]
    content = html(shown)
    assert len(content.encode()) < 500_000
    assert "30:00  p99 9 ms, p50 " in content
    figure = content.partition("<strong>Acks</strong>")[2].partition("</figure>")[0]
    drawn = re.search(r'class="line main" d="([^"]*)"', figure)
    assert drawn
    heights = [float(point.split()[1]) for point in re.split("[ML]", drawn[1]) if point]
    assert min(heights) < 40 < sorted(heights)[1]  # one point high up


def test_it_is_made_of_the_file() -> None:
    """What was written as JSON gives the same page again."""
    import orjson

    shown = report(broken="x")
    assert html(orjson.loads(encode(shown))) == html(shown)


def _colours(scheme: str) -> dict[str, str]:
    """The variables of the style; a dark page overrides those of a light one."""
    blocks = re.findall(r":root \{(.*?)\}", TEMPLATE.read_text("utf-8"), re.S)
    found: dict[str, str] = {}
    for block in blocks[: 1 if scheme == LIGHT else 2]:
        found |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
    return found


def _contrast(one: str, other: str) -> float:
    """As WCAG 2 says."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
def test_everybody_can_read_it(scheme: str) -> None:
    """Text has a contrast of 4.5, lines one of 3 (WCAG 2, 1.4.3 and 1.4.11), on a light page and on a dark one."""
    colours = _colours(scheme)
    texts = [
        (name, "paper") for name in ("ink", "muted", "main", "softer", "c1", "c2", "c3", "c4", "c5", "good", "bad")
    ]
    texts += [(name, f"{name}-paper") for name in ("good", "bad", "warn")]
    texts += [(name, f"{paper}-paper") for name in ("ink", "muted") for paper in ("good", "bad", "warn")] + [
        ("ink", "raised")
    ]
    for name, paper in texts:
        assert _contrast(colours[name], colours[paper]) >= 4.5, (name, paper)
    for name in ("soft", "fault"):
        assert _contrast(colours[name], colours["paper"]) >= 2.9, name


# scales

POSITIVE = st.floats(1e-3, 1e12)


@given(st.floats(0, 1e15))
def test_linear_scales_hold_what_they_show(high: float) -> None:
    """From 0 to a round figure, in a few even steps."""
    axis = linear(0.0, high)
    assert axis.low == 0
    assert axis.high >= high * (1 - 1e-9)
    assert 2 <= len(axis.ticks) <= 7
    scale = axis.on(100.0, 0.0)
    assert [scale(0.0), scale(axis.high), scale(axis.high * 2)] == [100, 0, 0]


@given(st.lists(POSITIVE, min_size=1))
def test_logarithmic_scales_hold_what_they_show(values: list[float]) -> None:
    """All of it, with ticks that rise."""
    axis = logarithmic(values)
    assert axis.low <= min(values) * 1.01
    assert axis.high >= max(values) * 0.99
    ticks = [value for value, _ in axis.ticks]
    assert 1 <= len(ticks) <= 20
    assert ticks == sorted(set(ticks))
    assert axis.on(0.0, 1.0)(0.0) == 0.0


@given(st.floats(0, 1e7), st.integers(50, 2000))
def test_time_has_few_ticks(end: float, width: int) -> None:
    """However long a run was, and they do not touch."""
    ticks = seconds_ticks(end, width)
    assert 1 <= len(ticks) <= max(width / 60, 3) + 1
    assert all(value <= end for value, _ in ticks)
    assert len({label for _, label in ticks}) == len(ticks)
