"""The verdict as JUnit XML, as Jenkins (junit-10.xsd) and GitLab read it: each check is a test case, figures are properties.

A check that nobody could measure is a skipped case.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from xml.etree import ElementTree

from simulator.measuring.facts import figure
from simulator.measuring.rules import Verdict
from simulator.texts import plain, shown

__all__ = ["junit"]


def junit(
    verdict: Verdict,
    scenario: str,
    facts: Mapping[str, float | int | None],
    *,
    seconds: float = 0.0,
    started: float | None = None,
) -> bytes:
    """The whole document, UTF-8.

    Args:
        scenario: its name.
        facts: all that were measured.
        seconds: how long the run took.
        started: when it began, in Unix seconds.
    """
    suites = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(suites, "testsuite", _suite(verdict, scenario, seconds, started))
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in facts.items():
        if value is not None:
            meant = figure(name)
            _element(
                properties, "property", name=name, value=shown(value, meant.unit if meant else "").replace(",", "")
            )
    if verdict.bottleneck:
        _element(properties, "property", name="bottleneck", value=verdict.bottleneck.message)
    for check in verdict.checks:
        case = _element(suite, "testcase", name=check.rule.text, classname=f"simulate.{scenario}", time="0")
        if not check.passed:
            failure = _element(case, "failure", type=check.rule.fact, message=check.message)
            failure.text = "\n".join(plain(line) for line in (check.message, *check.evidence))
    for rule in verdict.unmeasured:
        case = _element(suite, "testcase", name=rule.text, classname=f"simulate.{scenario}", time="0")
        _element(case, "skipped", message=f"could not be measured: {rule.unmeasured}")
    if verdict.bottleneck:
        _element(suite, "system-out").text = plain(verdict.bottleneck.message)
    ElementTree.indent(suites)
    text: bytes = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _suite(verdict: Verdict, scenario: str, seconds: float, started: float | None) -> dict[str, str]:
    """The attributes of the suite."""
    attributes = {
        "name": plain(f"hub simulate {scenario}"),
        "tests": str(len(verdict.checks) + len(verdict.unmeasured)),
        "failures": str(len(verdict.failed)),
        "errors": "0",
        "skipped": str(len(verdict.unmeasured)),
        "time": f"{max(seconds, 0.0):.3f}",
    }
    if started is not None:
        attributes["timestamp"] = datetime.fromtimestamp(started, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return attributes


def _element(parent: ElementTree.Element, tag: str, **attributes: str) -> ElementTree.Element:
    """With nothing in it that XML cannot hold."""
    return ElementTree.SubElement(parent, tag, {name: plain(value) for name, value in attributes.items()})
