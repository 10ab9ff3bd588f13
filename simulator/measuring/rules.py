"""What makes a run fail: `status.lost > 0`, `ack.p99 > 50ms`; and whether it did, in sentences.

A rule is `<fact> <op> <number>[unit]` with one of > >= < <= == != and, of times, us, ms or s (without a unit: ms). It says what
must not be. Facts that a sound hub keeps at 0 have such a rule by default (see `facts`); a rule given for a fact takes
its place.
"""

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from simulator.measuring.facts import FACTS, STATISTICS, Figure, figure, near, time_named
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

_FACT: Final = re.compile(r"\s*([A-Za-z][\w.*-]*)\s*")
_OPERATOR: Final = re.compile(r"([<>=!]+)\s*")
_NUMBER: Final = re.compile(r"([+-]?(?:\d[\d_]*)?(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*")


@dataclass(frozen=True, slots=True)
class Rule:
    """What makes a run fail; `limit` is in the fact's own unit, `text` is how it was written."""

    fact: str
    op: str
    limit: float
    text: str


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
    """A time whose p99 the tester's own lag is a large `share` of."""

    name: str
    p99: float
    share: float


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """Which times the tester itself made worse; none: it was fast enough. Milliseconds; `lag_p99` None: never looked."""

    figures: tuple[Slowed, ...] = ()
    lag_p99: float | None = None

    def __bool__(self) -> bool:
        return bool(self.figures)

    @property
    def message(self) -> str:
        """In words; empty when it was fast enough."""
        if not self.figures or self.lag_p99 is None:
            return ""
        worst = sorted(self.figures, key=lambda each: each.share, reverse=True)
        named = ", ".join(f"{each.name} ({shown(each.p99, 'ms')})" for each in worst[:NAMED])
        more = f" and {len(worst) - NAMED} other times" if len(worst) > NAMED else ""
        lag = shown(self.lag_p99, "ms")
        return (
            f"the tester was the bottleneck: its own lag (p99 {lag}) is more than a tenth of the p99 of {named}{more}"
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a run passed, by which checks, and how far the tester can be believed."""

    passed: bool
    checks: tuple[Check, ...]
    bottleneck: Bottleneck

    @property
    def failed(self) -> list[Check]:
        """The checks that did not hold."""
        return [check for check in self.checks if not check.passed]

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
            {"name": each.name, "p99": each.p99, "share": round(each.share, 4)} for each in self.bottleneck.figures
        ]
        slow = {"figures": figures, "lagP99": self.bottleneck.lag_p99, "message": self.bottleneck.message}
        return {"passed": self.passed, "checks": checks, "bottleneck": slow}


def parse_rule(text: str) -> Rule:
    """Reads a rule. Raises SimulationError that says what is wrong with it and where, and which facts have a name like it."""

    def wrong(position: int, what: str) -> SimulationError:
        return SimulationError(f"{text!r}: position {position + 1}: {what}")

    if (name := _FACT.match(text)) is None:
        raise wrong(len(text) - len(text.lstrip()), "here must be the name of a fact, such as ack.p99")
    meant = figure(name[1])
    if meant is None:
        raise wrong(name.start(1), _unknown(name[1]))
    op = _OPERATOR.match(text, name.end())
    if op is None or op[1] not in OPERATORS:
        raise wrong(name.end(), f"here must be one of {' '.join(OPERATORS)}")
    number = _NUMBER.match(text, op.end())
    if number is None or (limit := _number(number[1])) is None:
        raise wrong(op.end(), "here must be a number")
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


def rules_of(fail_if: Iterable[str]) -> list[Rule]:
    """The rules given, and of the default ones those whose fact has none. Raises SimulationError as `parse_rule` does."""
    given = list(dict.fromkeys(parse_rule(text) for text in fail_if))
    named = {rule.fact for rule in given}
    return given + [rule for rule in DEFAULT_RULES if rule.fact not in named]


def judge(facts: Mapping[str, Value], rules: Iterable[Rule], evidence: Mapping[str, Sequence[str]]) -> Verdict:
    """Whether all rules hold, and whether the tester itself was fast enough to say so."""
    checks = tuple(_check(rule, facts, evidence.get(rule.fact, ())) for rule in rules)
    return Verdict(all(check.passed for check in checks), checks, bottleneck(facts))


def bottleneck(facts: Mapping[str, Value]) -> Bottleneck:
    """Where the tester's own lag is more than 10 % of what was measured."""
    lag = facts.get(f"{LAG}.p99")
    if lag is None:
        return Bottleneck()
    times = [name.removesuffix(".p99") for name, value in facts.items() if name.endswith(".p99") and value is not None]
    figures = []
    for name in times:
        p99 = facts[f"{name}.p99"]
        if name != LAG and p99 is not None and lag > LAG_SHARE * p99:
            figures.append(Slowed(name, p99, lag / p99 if p99 else 1.0))
    return Bottleneck(tuple(figures), lag)


def _check(rule: Rule, facts: Mapping[str, Value], evidence: Sequence[str]) -> Check:
    value, meant = facts.get(rule.fact), figure(rule.fact)
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
