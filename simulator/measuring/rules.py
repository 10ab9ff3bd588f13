"""What makes a run fail: `status.lost > 0`, `ack.p99 > 50ms`; and whether it did, in sentences.

A rule is `<fact> <op> <number>[unit]` with one of > >= < <= == != and, of times, us, ms or s (without a unit: ms). It says what
must not be. Facts that a sound hub keeps at 0 have such a rule by default (see `facts`); a rule given for a fact takes
its place. A rule on what nobody is there to measure does not hold, it is left out, and the verdict says so; one that was
asked for in this very run (`--fail-if`) fails.
"""

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from simulator.measuring.facts import FACTS, STATISTICS, Figure, Witness, figure, near, time_named
from simulator.measuring.members import unknown_member
from simulator.scenario import SimulationError
from simulator.texts import shown

__all__ = [
    "DEFAULT_RULES",
    "Bottleneck",
    "Check",
    "Rule",
    "Slowed",
    "Verdict",
    "judge",
    "parse_rule",
    "rules_of",
]

Value = float | int | None

OPERATORS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_WORDS: Final = {
    ">": "above {}",
    ">=": "{} or more",
    "<": "below {}",
    "<=": "{} or less",
    "==": "{}",
    "!=": "anything but {}",
}
_UNITS: Final[Mapping[str, Mapping[str, float]]] = {
    "ms": {"": 1.0, "us": 0.001, "ms": 1.0, "s": 1000.0},
    "%": {"": 1.0, "%": 1.0},
    "MB": {"": 1.0, "MB": 1.0},
    "": {"": 1.0},
}
LAG: Final = "tester.lag"
NAMED: Final = 3
LAG_SHARE: Final = 0.1
"""Above that share of a p99 the tester's own lag decides what is measured."""
LAG_NOISE: Final = 5.0
"""Milliseconds of lag that matter to nobody, where no rule asks for a time so short that a tenth of it is less."""

_FACT: Final = re.compile(r"\s*([A-Za-z][\w.*-]*)\s*")
_OPERATOR: Final = re.compile(r"([<>=!]+)\s*")
_NUMBER: Final = re.compile(r"([+-]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?)\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rule:
    """What makes a run fail.

    Attributes:
        limit: in the fact's own unit.
        text: how it was written.
        unmeasured: why nobody can measure its fact in this run, such as "no browsers"; empty: somebody can.
        asked: it was asked for in this very run: it fails when nobody can measure its fact, and is not left out.
    """

    fact: str
    op: str
    limit: float
    text: str
    unmeasured: str = ""
    asked: bool = False

    @property
    def left_out(self) -> bool:
        """Whether it says nothing of this run."""
        return bool(self.unmeasured) and not self.asked


@dataclass(frozen=True, slots=True)
class Check:
    """A rule and what came of it; `message` is a sentence for people, `evidence` the first sentences that show it."""

    rule: Rule
    value: Value
    passed: bool
    message: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Slowed:
    """A time whose p99 the tester's own lag is a large `share` of; `material`: and by so much that it matters."""

    name: str
    p99: float
    share: float
    material: bool = True


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """Which times the tester itself made worse. Milliseconds; `lag_p99` None: never looked.

    True when that matters for one of them: else it was fast enough.
    """

    figures: tuple[Slowed, ...] = ()
    lag_p99: float | None = None

    def __bool__(self) -> bool:
        return any(each.material for each in self.figures)

    @property
    def message(self) -> str:
        """In words; empty when it was fast enough."""
        if not self or self.lag_p99 is None:
            return ""
        worst = sorted((each for each in self.figures if each.material), key=lambda each: each.share, reverse=True)
        named = ", ".join(f"{each.name} ({shown(each.p99, 'ms')})" for each in worst[:NAMED])
        more = f" and {len(worst) - NAMED} other times" if len(worst) > NAMED else ""
        lag = shown(self.lag_p99, "ms")
        return (
            f"the tester was the bottleneck: its own lag (p99 {lag}) is more than a tenth of the p99 of {named}{more}"
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a run passed, by which checks, how far the tester can be believed, and what nobody could measure."""

    passed: bool
    checks: tuple[Check, ...]
    bottleneck: Bottleneck
    unmeasured: tuple[Rule, ...] = ()

    @property
    def failed(self) -> list[Check]:
        """The checks that did not hold."""
        return [check for check in self.checks if not check.passed]

    @property
    def left_out(self) -> str:
        """What nobody could measure, in words: "18 could not be measured: no browsers"; empty: there is nothing such."""
        if not self.unmeasured:
            return ""
        reasons = dict.fromkeys(rule.unmeasured for rule in self.unmeasured)
        return f"{len(self.unmeasured)} could not be measured: {', '.join(reasons)}"

    def document(self) -> dict[str, Any]:
        """As it stands in the JSON report."""
        checks = [
            {
                "rule": check.rule.text,
                "fact": check.rule.fact,
                "value": check.value,
                "passed": check.passed,
                "message": check.message,
                "evidence": list(check.evidence),
            }
            for check in self.checks
        ]
        figures = [
            {"name": each.name, "p99": each.p99, "share": round(each.share, 4), "material": each.material}
            for each in self.bottleneck.figures
        ]
        slow = {"figures": figures, "lagP99": self.bottleneck.lag_p99, "message": self.bottleneck.message}
        rules = [{"rule": rule.text, "fact": rule.fact, "reason": rule.unmeasured} for rule in self.unmeasured]
        unmeasured = {"rules": rules, "message": self.left_out}
        return {"passed": self.passed, "checks": checks, "unmeasured": unmeasured, "bottleneck": slow}


def parse_rule(text: str) -> Rule:
    """Reads a rule. Raises SimulationError that says what is wrong with it and where, and which facts have a name like it."""

    def wrong(position: int, what: str) -> SimulationError:
        return SimulationError(f"{text!r}: position {position + 1}: {what}")

    if (name := _FACT.match(text)) is None:
        raise wrong(len(text) - len(text.lstrip()), "here must be the name of a fact, such as ack.p99")
    meant = figure(name[1])
    if meant is None:
        raise wrong(name.start(1), _unknown(name[1]))
    if meant.statistic is not None and (unknown := unknown_member(name[1])):
        raise wrong(name.start(1), unknown)
    op = _OPERATOR.match(text, name.end())
    if op is None or op[1] not in OPERATORS:
        raise wrong(name.end(), f"here must be one of {' '.join(OPERATORS)}")
    number = _NUMBER.match(text, op.end())
    if number is None or (limit := _number(number[1])) is None:
        raise wrong(op.end(), "here must be a number")
    if limit < 0:
        raise wrong(op.end(), "no fact is ever below 0, and no limit may be")
    unit, allowed = text[number.end() :].rstrip(), _UNITS[meant.unit]
    if unit not in allowed:
        known = ", ".join(each for each in allowed if each)
        raise wrong(
            number.end(), f"here may be {known}" if known else f"{name[1]} has no unit: nothing may follow the number"
        )
    return Rule(name[1], op[1], limit * allowed[unit], text.strip())


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _unknown(name: str) -> str:
    """What to say of a name that no fact has."""
    if time_named(name) is not None:
        return f"{name} is a time: say which of {', '.join(f'{name}.{each}' for each in STATISTICS)}"
    time, _, statistic = name.rpartition(".")
    if time_named(time) is not None:
        return f"{time} has no {statistic}, but {', '.join(STATISTICS)}"
    found = near(name)
    return f"there is no fact {name}" + (f"; did you mean {' or '.join(found)}?" if found else "")


DEFAULT_RULES: Final = tuple(parse_rule(fact.worst) for fact in FACTS if fact.worst is not None)


def rules_of(
    asked: Iterable[str], own: Iterable[str] = (), missing: Mapping[Witness, str] = MappingProxyType({})
) -> list[Rule]:
    """All rules of a run: those given, and of the default ones those whose fact has none.

    Args:
        asked: given for this very run: on what nobody can measure, they fail.
        own: of the scenario: on what nobody can measure, they are left out, as the default ones are.
        missing: who is not there to measure, and why (see `witnesses.absent`).

    Raises:
        SimulationError: as `parse_rule` does.
    """
    texts = {**dict.fromkeys(own, False), **dict.fromkeys(asked, True)}
    given = [_of_run(parse_rule(text), missing, asked=of_this_run) for text, of_this_run in texts.items()]
    named = {rule.fact for rule in given}
    return given + [_of_run(rule, missing, asked=False) for rule in DEFAULT_RULES if rule.fact not in named]


def _of_run(rule: Rule, missing: Mapping[Witness, str], *, asked: bool) -> Rule:
    meant = figure(rule.fact)
    reasons = [missing[each] for each in meant.fact.witnesses if each in missing] if meant is not None else []
    reason = " and ".join(dict.fromkeys(reasons))
    return replace(rule, unmeasured=reason, asked=bool(reason) and asked)


def judge(facts: Mapping[str, Value], rules: Iterable[Rule], evidence: Mapping[str, Sequence[str]]) -> Verdict:
    """Whether all rules hold, and whether the tester itself was fast enough to say so."""
    rules = tuple(rules)
    checks = tuple(_check(rule, facts, evidence.get(rule.fact, ())) for rule in rules if not rule.left_out)
    left_out = tuple(rule for rule in rules if rule.left_out)
    return Verdict(all(check.passed for check in checks), checks, bottleneck(facts, rules), left_out)


def bottleneck(facts: Mapping[str, Value], rules: Iterable[Rule] = ()) -> Bottleneck:
    """Where the tester's own lag is more than 10 % of what was measured.

    It matters from 5 ms on, or where it is more than 10 % of what a rule asks of that time.
    """
    lag = facts.get(f"{LAG}.p99")
    if lag is None:
        return Bottleneck()
    limits: dict[str, float] = {}
    for rule in rules:
        if (meant := figure(rule.fact)) is not None and meant.unit == "ms":
            time = rule.fact.rpartition(".")[0]
            limits[time] = min(limits.get(time, math.inf), abs(rule.limit))
    figures = []
    for name in (name.removesuffix(".p99") for name in facts if name.endswith(".p99")):
        p99 = facts[f"{name}.p99"]
        if name != LAG and p99 is not None and lag > LAG_SHARE * p99:
            material = lag > min(LAG_NOISE, LAG_SHARE * limits.get(name, math.inf))
            figures.append(Slowed(name, p99, lag / p99 if p99 else 1.0, material))
    return Bottleneck(tuple(figures), lag)


def _check(rule: Rule, facts: Mapping[str, Value], evidence: Sequence[str]) -> Check:
    value, meant = facts.get(rule.fact), figure(rule.fact)
    if rule.unmeasured:
        return Check(rule, None, False, f"{rule.fact} has no value: nobody could measure it: {rule.unmeasured}")
    if value is None or meant is None:
        return Check(rule, None, False, f"{rule.fact} has no value: nothing was measured{_measured(rule.fact, facts)}")
    passed = not OPERATORS[rule.op](value, rule.limit)
    return Check(rule, value, passed, _message(rule, meant, value, passed), () if passed else tuple(evidence))


def _measured(name: str, facts: Mapping[str, Value]) -> str:
    """Hints at facts of the same family that have a value."""
    family, statistic = name.split(".")[0], name.rpartition(".")[2]
    others = [each for each, value in facts.items() if value is not None and each.split(".")[0] == family]
    found = [each for each in others if each.rpartition(".")[2] == statistic][:5]
    return f" (measured were {', '.join(found)})" if found else ""


def _message(rule: Rule, meant: Figure, value: float, passed: bool) -> str:
    """One sentence."""
    said, fact = shown(value, meant.unit), meant.fact
    if fact.kind == "count":
        what = fact.sentence(int(value))
        if rule.limit == 0 and rule.op == ">":
            return f"{rule.fact} is {said}: {what}"
    else:
        what = fact.title if meant.statistic != "count" else f"how many were timed: {fact.title}"
    limit = _WORDS[rule.op].format(shown(rule.limit, meant.unit))
    return f"{rule.fact} is {said}, {'and not' if passed else 'and must not be'} {limit}: {what}"
