"""The table of facts, the grammar of rules, and verdicts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.client import Address
from simulator.measuring.facts import FACTS, Witness, all_names, figure, near
from simulator.measuring.measures import Recorder, Totals
from simulator.measuring.rules import DEFAULT_RULES, Rule, judge, parse_rule, rules_of
from simulator.measuring.witnesses import absent
from simulator.plan import Target
from simulator.scenario import SimulationError, load
from simulator.texts import plain, shown

NAMES = [name for name in all_names() if "*" not in name]
SOUND = Totals().facts()
"""Nothing was found, and nothing timed."""


# the table


def test_table_is_sound() -> None:
    """Each name once; each with a meaning; a count says what it counts; a default rule is about its own fact."""
    assert len({fact.name for fact in FACTS}) == len(FACTS)
    for fact in FACTS:
        assert fact.meaning
        assert fact.title
        assert all(fact.noun) == (fact.kind == "count")
        assert fact.worst is None or parse_rule(fact.worst).fact == fact.name
        assert fact.kind != "count" or " were " not in fact.sentence(1)
        assert fact.kind != "time" or (fact.unit, fact.better) == ("ms", "less")


def test_every_name_means_its_figure() -> None:
    """What totals give as facts is in the table, and the other way round."""
    assert set(SOUND) == set(NAMES)
    for name in NAMES:
        found = figure(name)
        assert found is not None
        assert (f"{found.fact.name}.{found.statistic}" if found.statistic else found.fact.name) == name


@pytest.mark.parametrize(
    ("name", "fact", "statistic", "unit"),
    [
        ("ack.p99", "ack", "p99", "ms"),
        ("ack.count", "ack", "count", ""),
        ("ack.get-online-stations.p999", "ack.*", "p999", "ms"),
        ("presence.offline.half-open.max", "presence.offline.*", "max", "ms"),
        ("ack.late", "ack.late", None, ""),
        ("tester.cpu", "tester.cpu", None, "%"),
    ],
)
def test_names(name: str, fact: str, statistic: str | None, unit: str) -> None:
    """Times with a statistic, members of families, counts and gauges."""
    found = figure(name)
    assert found is not None
    assert (found.fact.name, found.statistic, found.unit) == (fact, statistic, unit)


@pytest.mark.parametrize(
    "name", ["", ".", "ack", "ack.", "ack.*", "ack.*.p99", "ack..p99", "ack.ping", "ack.p98", "presence.offline.p99"]
)
def test_no_names(name: str) -> None:
    """A time without a statistic is no figure, nor is a pattern."""
    assert figure(name) is None


def test_near_names() -> None:
    """A slip finds what was meant, capital letters or not."""
    assert near("stations.falslyoffline")[0] == "stations.falselyOffline"
    assert near("STATUS.LOST")[0] == "status.lost"
    assert near("zzz") == []


def test_sentences() -> None:
    """None, one and many."""
    found = figure("stations.falselyOffline")
    assert found is not None
    assert [found.fact.sentence(count) for count in (0, 1, 3000)] == [
        "there were no stations that were called offline while connected",
        "1 station was called offline while connected",
        "3,000 stations were called offline while connected",
    ]
    assert found.fact.title == "stations that were called offline while connected"


# grammar


@pytest.mark.parametrize(
    ("text", "fact", "op", "limit"),
    [
        ("ack.p99 > 50ms", "ack.p99", ">", 50),
        ("ack.p99>50", "ack.p99", ">", 50),
        ("  ack.p99  >=  0.05 s ", "ack.p99", ">=", 50),
        ("ack.p99 < 5us", "ack.p99", "<", 0.005),
        ("status.lost != 1000", "status.lost", "!=", 1000),
        ("tester.cpu > 90%", "tester.cpu", ">", 90),
        ("tester.memory > 1e3 MB", "tester.memory", ">", 1000),
        ("ack.count <= 10", "ack.count", "<=", 10),
        ("ack.station-command.max == 1.5", "ack.station-command.max", "==", 1.5),
    ],
)
def test_grammar(text: str, fact: str, op: str, limit: float) -> None:
    """Fact, operator, number, unit; blanks do not matter."""
    rule = parse_rule(text)
    assert (rule.fact, rule.op, rule.text) == (fact, op, text.strip())
    assert rule.limit == pytest.approx(limit)


@pytest.mark.parametrize(
    ("text", "position", "words"),
    [
        ("", 1, "name of a fact"),
        ("> 5", 1, "name of a fact"),
        (" status.lots > 0", 2, "did you mean status.lost"),
        ("ack > 5", 1, "say which of ack.count, ack.mean, ack.p50"),
        ("ack.p98 > 5", 1, "ack has no p98, but count, mean"),
        ("ack.*.p99 > 5", 1, "no fact ack.*.p99"),
        ("ack.p99", 8, "one of"),
        ("ack.p99 => 5", 9, "one of"),
        ("ack.p99 >> 5", 9, "one of"),
        ("ack.p99 > ", 11, "a number"),
        ("ack.p99 > ms", 11, "a number"),
        ("ack.p99 > 1e999", 11, "a number"),
        ("ack.p99 > nan", 11, "a number"),
        ("ack.p99 > \uff15\uff10ms", 11, "a number"),
        ("status.lost != 1_000", 17, "nothing may follow"),
        ("ack.p99 > -1", 11, "no fact is ever below 0"),
        ("presence.offline.nosuch.p99 > 1s", 1, "presence.offline.* has no nosuch, but abort"),
        ("presence.offline.half-opne.p99 > 1s", 1, "did you mean half-open?"),
        ("ack.pnig.p99 > 5", 1, "ack.* has no pnig; did you mean ping?"),
        ("ack.p99 > 5 parsecs", 13, "us, ms, s"),
        ("ack.p99 > 5 %", 13, "us, ms, s"),
        ("ack.count > 5ms", 14, "has no unit"),
        ("status.lost > 5 or so", 17, "has no unit"),
    ],
)
def test_what_is_wrong_with_a_rule(text: str, position: int, words: str) -> None:
    """The error repeats the rule, says where and what is allowed there."""
    with pytest.raises(SimulationError) as caught:
        parse_rule(text)
    assert repr(text) in str(caught.value)
    assert f"position {position}:" in str(caught.value)
    assert words in str(caught.value)


@given(st.sampled_from(NAMES), st.sampled_from([">", ">=", "<", "<=", "==", "!="]), st.floats(0, 1e9))
def test_what_is_written_is_read(name: str, op: str, limit: float) -> None:
    """Any fact, operator and number."""
    rule = parse_rule(f"{name}{op}{limit!r}")
    assert (rule.fact, rule.op) == (name, op)
    assert rule.limit == limit


@given(st.text() | st.text("ack.p9>=<! 10ms%_e-+", max_size=20))
def test_any_text_is_a_rule_or_an_error(text: str) -> None:
    """Nothing else is ever raised."""
    try:
        rule = parse_rule(text)
    except SimulationError:
        return
    assert figure(rule.fact) is not None


def test_given_rules_take_the_place_of_default_ones() -> None:
    """Of the same fact only, and each of them counts."""
    rules = rules_of(["status.lost > 10", "ack.p99 > 50ms", "ack.p99 < 1us", "ack.p99 > 50ms"])
    assert [rule.text for rule in rules[:3]] == ["status.lost > 10", "ack.p99 > 50ms", "ack.p99 < 1us"]
    assert set(DEFAULT_RULES) - set(rules) == {Rule("status.lost", ">", 0.0, "status.lost > 0")}
    assert rules_of([]) == list(DEFAULT_RULES)
    assert {"stations.falselyOffline", "commands.expiredExecuted", "errors"} <= {rule.fact for rule in DEFAULT_RULES}


# verdicts


def test_a_sound_run_passes() -> None:
    """By the default rules, of which each says so."""
    verdict = judge(SOUND, rules_of([]), {})
    assert verdict.passed
    assert verdict.failed == []
    assert not verdict.bottleneck
    assert "status.lost is 0: there were no statuses that never reached a browser" in {
        check.message for check in verdict.checks
    }


@pytest.mark.parametrize("name", [rule.fact for rule in DEFAULT_RULES])
def test_each_finding_fails_a_run(name: str) -> None:
    """With its evidence, and no other check fails."""
    recorder, totals = Recorder(), Totals()
    if name == "errors":
        recorder.error("sim-00003: it was so")
    else:
        recorder.found(name, "sim-00003: it was so")
    totals.add(0, recorder.take(0))
    verdict = judge(totals.facts(), rules_of([]), totals.evidence)
    assert not verdict.passed
    (failed,) = verdict.failed
    assert (failed.rule.fact, failed.value) == (name, 1)
    assert failed.message.startswith(f"{name} is 1: 1 ")
    assert failed.evidence == (("1 x sim-00003: it was so",) if name == "errors" else ("sim-00003: it was so",))


@pytest.mark.parametrize(
    ("text", "value", "passed", "message"),
    [
        ("ack.p99 > 50ms", 50.0, True, "ack.p99 is 50 ms, and not above 50 ms: "),
        ("ack.p99 > 50ms", 61.2, False, "ack.p99 is 61.2 ms, and must not be above 50 ms: from any request of a browser until"),
        ("ack.p99 >= 50ms", 50.0, False, "ack.p99 is 50 ms, and must not be 50 ms or more: "),
        ("ack.p99 < 1us", 0.0005, False, "ack.p99 is 0.0005 ms, and must not be below 0.001 ms: "),
        ("ack.count <= 9", 9, False, "ack.count is 9, and must not be 9 or less: how many were timed: "),
        ("stations.started != 9", 8, False, "stations.started is 8, and must not be anything but 9: 8 stations were started"),
        ("stations.started == 0", 100, True, "stations.started is 100, and not 0: 100 stations were started"),
        ("status.lost > 0", 12345, False, "status.lost is 12,345: 12,345 statuses never reached a browser"),
        ("tester.cpu > 90%", 97.123, False, "tester.cpu is 97.12 %, and must not be above 90 %: processor time"),
    ],
)  # fmt: skip
def test_messages(text: str, value: float, passed: bool, message: str) -> None:
    """A check is a sentence for people."""
    rule = parse_rule(text)
    (check,) = judge({rule.fact: value}, [rule], {rule.fact: ["sim-00003: it was so"]}).checks
    assert check.passed is passed
    assert check.evidence == (() if passed else ("sim-00003: it was so",))
    assert check.message.startswith(message)


def test_nothing_measured_fails() -> None:
    """A rule on what was never timed must not pass, and says what was."""
    verdict = judge({"ack.offer.p99": None, "ack.ping.p99": 1.0}, [parse_rule("ack.offer.p99 > 5")], {})
    assert not verdict.passed
    assert verdict.checks[0].message == (
        "ack.offer.p99 has no value: nothing was measured (measured were ack.ping.p99)"
    )


NO_BROWSERS: dict[Witness, str] = {"browsers": "no browsers", "watchers": "no browsers"}


def test_what_nobody_could_measure_is_left_out_and_said() -> None:
    """Of the default rules and of a scenario's own; it neither passes nor fails, but is named, with the reason."""
    rules = rules_of([], ["ack.p99 > 1s", "connect.p99 > 1s"], NO_BROWSERS)
    verdict = judge(SOUND | {"connect.p99": 1.0}, rules, {})
    assert verdict.passed
    checked, left = {check.rule.fact for check in verdict.checks}, {rule.fact for rule in verdict.unmeasured}
    assert {"connect.p99", "stations.disconnects", "stations.unanswered", "stations.missing", "errors"} <= checked
    assert {"ack.p99", "ack.missing", "status.lost", "stations.missedOffline", "browsers.missing"} <= left
    assert not checked & left
    assert verdict.left_out == f"{len(left)} could not be measured: no browsers"
    document = verdict.document()["unmeasured"]
    assert document["message"] == verdict.left_out
    assert {"rule": "ack.p99 > 1s", "fact": "ack.p99", "reason": "no browsers"} in document["rules"]


def test_a_rule_asked_for_fails_when_nobody_could_measure_it() -> None:
    """It is not left out in silence, also where its fact would be 0; the default rule is not beside it."""
    rules = rules_of(["status.lost > 0", "stations.disconnects > 3"], [], NO_BROWSERS)
    (failed,) = judge(SOUND, rules, {}).failed
    assert failed.message == "status.lost has no value: nobody could measure it: no browsers"
    assert [rule.text for rule in rules].count("status.lost > 0") == 1


def test_who_measures() -> None:
    """Each fact names them; a broker alone has observers in the browsers' place."""
    facts = {fact.name: fact for fact in FACTS}
    assert facts["tester.lag"].witnesses == facts["errors"].witnesses == ()
    assert {fact.name for fact in FACTS if not fact.witnesses} == {
        "errors",
        "tester.lag",
        "tester.cpu",
        "tester.memory",
    }
    hub = Target(Address.parse("mqtt://127.0.0.1:1"), "http://127.0.0.1:1")
    alone = Target(hub.mqtt, None)
    assert absent(load(None), hub) == {}
    assert absent(load(None, {"browsers": 0}), hub) == NO_BROWSERS
    assert absent(load(None), alone) == {"browsers": "no hub behind the broker"}
    assert absent(load(None, {"stations": 0}), hub) == {"stations": "no stations"}
    nobody = rules_of([], [], {"stations": "no stations", "browsers": "no browsers"})
    assert {rule.unmeasured for rule in nobody} == {"", "no stations", "no browsers", "no stations and no browsers"}
    lost = next(rule for rule in rules_of([], [], absent(load(None), alone)) if rule.fact == "status.lost")
    assert not lost.unmeasured


def test_lag_that_matters_to_nobody_is_no_bottleneck() -> None:
    """Below 5 ms, unless a tenth of what a rule asks of that time is less; the figures stay marked."""
    facts = {"tester.lag.p99": 3.0, "ack.p99": 0.2, "signal.p99": 4.0}
    verdict = judge(facts, rules_of(["ack.p99 > 1s"]), {})
    assert not verdict.bottleneck
    assert verdict.bottleneck.message == ""
    marked = verdict.document()["bottleneck"]["figures"]
    assert [(each["name"], each["material"]) for each in marked] == [("ack", False), ("signal", False)]
    strict = judge(facts, rules_of(["ack.p50 > 10ms"]), {})
    assert [each.name for each in strict.bottleneck.figures if each.material] == ["ack"]
    assert strict.bottleneck.message == (
        "the tester was the bottleneck: its own lag (p99 3 ms) is more than a tenth of the p99 of ack (0.2 ms)"
    )


def test_tester_is_the_bottleneck() -> None:
    """Above 10 % of a p99, of those times only, exactly 10 % is not; it decides no check."""
    facts = {"tester.lag.p99": 6.0, "ack.p99": 60.0, "status.delay.p99": 59.9, "login.p99": None, "signal.p99": 0.5}
    verdict = judge(facts, [], {})
    assert verdict.passed
    assert [each.name for each in verdict.bottleneck.figures] == ["status.delay", "signal"]
    assert verdict.bottleneck.message == (
        "the tester was the bottleneck: its own lag (p99 6 ms) is more than a tenth of the p99 of "
        "signal (0.5 ms), status.delay (59.9 ms)"
    )
    many = judge({"tester.lag.p99": 6.0} | {f"ack.{name}.p99": 1.0 for name in ("a", "b", "c", "d", "e")}, [], {})
    assert many.bottleneck.message.endswith("ack.a (1 ms), ack.b (1 ms), ack.c (1 ms) and 2 other times")
    assert judge({"tester.lag.p99": 0.0, "ack.p99": 0.0}, [], {}).bottleneck.message == ""


def test_document() -> None:
    """What the JSON report holds."""
    facts = {"tester.lag.p99": 1.0, "ack.p99": 2.0}
    document = judge(facts, [parse_rule("ack.p99 > 1")], {"ack.p99": ["seen"]}).document()
    assert document["passed"] is False
    assert document["checks"] == [
        {
            "rule": "ack.p99 > 1",
            "fact": "ack.p99",
            "value": 2.0,
            "passed": False,
            "message": "ack.p99 is 2 ms, and must not be above 1 ms: from any request of a browser until its ack",
            "evidence": ["seen"],
        }
    ]
    assert document["bottleneck"]["figures"] == [{"name": "ack", "p99": 2.0, "share": 0.5, "material": True}]
    assert document["bottleneck"]["lagP99"] == 1.0


# texts


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0, "0"),
        (0.0, "0"),
        (1234567, "1,234,567"),
        (0.00012, "0.00012"),
        (12.3456, "12.35"),
        (-0.5, "-0.5"),
        (1234.56, "1,235"),
        (99999.9, "100,000"),
        (0.1 + 0.2, "0.3"),
        (100.0, "100"),
    ],
)
def test_figures_are_sane(value: float | None, text: str) -> None:
    """Neither 0.30000000000000004 nor 1e-05."""
    assert shown(value) == text


@given(st.floats())
def test_any_figure_is_shown(value: float) -> None:
    """Right to four digits, and without an exponent."""
    text = shown(value, "ms")
    assert text.endswith(" ms")
    if 1e-9 < abs(value) < 1e15:
        assert float(text[:-3].replace(",", "")) == pytest.approx(value, rel=6e-4)


def test_control_characters_are_plain() -> None:
    """Neither a terminal nor a reader is fooled by a hub's texts."""
    assert plain("a\x1b[2J\x00\r\n\x9b\u202eb\ud800 中文 é") == ("a\\x1b[2J\\x00\\r\\n\\x9b\\u202eb\\ud800 中文 é")
