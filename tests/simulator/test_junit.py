"""JUnit XML, as CI servers read it."""

import re
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from simulator.measuring.rules import Bottleneck, Check, Rule, Slowed, Verdict, judge, parse_rule, rules_of
from simulator.reports.junit import junit

ATTRIBUTES = {
    "testsuites": set[str](),
    "testsuite": {"name", "tests", "failures", "errors", "skipped", "time", "timestamp"},
    "properties": set[str](),
    "property": {"name", "value"},
    "testcase": {"name", "classname", "time"},
    "failure": {"type", "message"},
    "skipped": {"message"},
    "system-out": set[str](),
}
"""What junit-10.xsd allows, of that what is used."""
CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"properties", "testcase", "system-out"},
    "properties": {"property"},
    "testcase": {"failure", "skipped"},
}


def read(document: bytes) -> ElementTree.Element:
    """The suite of a document that keeps to the schema."""
    root = ElementTree.fromstring(document)
    assert root.tag == "testsuites"
    for element in root.iter():
        assert set(element.attrib) <= ATTRIBUTES[element.tag]
        assert {child.tag for child in element} <= CHILDREN.get(element.tag, set())
    (suite,) = root
    assert {"name", "tests", "failures", "errors"} <= set(suite.attrib)
    assert re.fullmatch(r"\d+\.\d{3}", suite.attrib["time"])  # SUREFIRE_TIME allows it
    assert int(suite.attrib["tests"]) == len(suite.findall("testcase"))
    assert int(suite.attrib["skipped"]) == len(suite.findall("testcase/skipped"))
    assert int(suite.attrib["failures"]) == len(suite.findall("testcase/failure"))
    return suite


def test_a_run() -> None:
    """A case for each check, failures with message and evidence, figures with units as properties."""
    facts = {"ack.p99": 61.25, "status.lost": 0, "login.p99": None, "tester.cpu": 12.5, "status.sent": 4321}
    rules = [parse_rule("ack.p99 > 50ms"), parse_rule("status.lost > 0")]
    verdict = judge(facts, rules, {"ack.p99": ["sim-op-00001 waited"]})
    document = junit(verdict, "storm", facts, seconds=61.5, started=0.0)
    suite = read(document)
    assert document.startswith(b"<?xml version='1.0' encoding='utf-8'?>")
    assert suite.attrib == {
        "name": "hub simulate storm",
        "tests": "2",
        "failures": "1",
        "errors": "0",
        "skipped": "0",
        "time": "61.500",
        "timestamp": "1970-01-01T00:00:00",
    }
    properties = {each.attrib["name"]: each.attrib["value"] for each in suite.iter("property")}
    assert properties == {"ack.p99": "61.25 ms", "status.lost": "0", "tester.cpu": "12.5 %", "status.sent": "4321"}
    failed, passed = suite.findall("testcase")
    assert (failed.attrib["name"], failed.attrib["classname"]) == ("ack.p99 > 50ms", "simulate.storm")
    assert passed.find("failure") is None
    failure = failed.find("failure")
    assert failure is not None
    assert failure.attrib["type"] == "ack.p99"
    assert failure.attrib["message"].startswith("ack.p99 is 61.25 ms, and must not be above 50 ms")
    assert failure.text == f"{failure.attrib['message']}\nsim-op-00001 waited"


def test_what_nobody_could_measure_is_skipped() -> None:
    """With the reason: neither passed nor failed."""
    rules = rules_of([], ["ack.p99 > 1s"], {"browsers": "no browsers"})
    suite = read(junit(judge({"stations.disconnects": 0}, rules, {}), "steady", {}))
    case = next(each for each in suite.findall("testcase") if each.attrib["name"] == "ack.p99 > 1s")
    skipped = case.find("skipped")
    assert skipped is not None
    assert skipped.attrib["message"] == "could not be measured: no browsers"
    assert int(suite.attrib["skipped"]) > 5


def test_the_tester_as_bottleneck_is_said() -> None:
    """As a property and as output: it is no failure of the hub's."""
    verdict = Verdict(True, (), Bottleneck((Slowed("ack", 2.0, 0.5),), 1.0))
    suite = read(junit(verdict, "steady", {}))
    assert [each.attrib["name"] for each in suite.iter("property")] == ["bottleneck"]
    assert suite.findtext("system-out") == verdict.bottleneck.message
    assert suite.attrib["failures"] == "0"


@given(st.text(), st.text(), st.lists(st.text(), max_size=3))
def test_hostile_texts_stay_texts(name: str, message: str, evidence: list[str]) -> None:
    """Markup, control characters, lone surrogates: the document parses, and says the same with them escaped."""
    check = Check(Rule("ack.errors", ">", 0.0, name), 1, False, message, tuple(evidence))
    suite = read(junit(Verdict(False, (check,), Bottleneck()), name, {name: 1}))
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert (failure.text or "").count("\n") == len(evidence)
    assert (suite.attrib["failures"], len(list(suite.iter("property")))) == ("1", 1)


def test_markup_is_escaped() -> None:
    """A station may be called like a tag."""
    check = Check(Rule("ack.errors", ">", 0.0, "r"), 1, False, '</failure><x a="', ("]]>&amp;\x1b[31m\x00",))
    failure = read(junit(Verdict(False, (check,), Bottleneck()), "s", {})).find("testcase/failure")
    assert failure is not None
    assert failure.attrib["message"] == '</failure><x a="'
    assert failure.text == '</failure><x a="\n]]>&amp;\\x1b[31m\\x00'
