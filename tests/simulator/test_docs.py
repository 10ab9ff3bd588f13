"""docs/simulate.md says what there is: every fact, key, fault, flag and shipped scenario, and examples that load."""

import re
import tomllib
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from simulator.measuring.facts import FACTS
from simulator.measuring.rules import parse_rule, rules_of
from simulator.measuring.witnesses import absent
from simulator.options import Options
from simulator.scenario import SHIPPED, Browsers, Fault, Scenario, SimulationError, Stage, Stations, load, read

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "simulate.md").read_text()


def section(title: str) -> str:
    """What stands under a heading."""
    _, _, rest = TEXT.partition(f"\n{title}\n")
    assert rest, title
    return re.split(r"\n#{2,3} ", rest)[0]


def rows(text: str) -> dict[str, list[str]]:
    """The rows of the tables, by each name in the first cell."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("| "):
            first, *cells = [cell.strip() for cell in line[1:-1].split("|")]
            found |= dict.fromkeys(re.findall(r"`([^`]+)`", first), cells)
    return found


def test_every_fact_has_its_row_in_order() -> None:
    """With its unit, meaning and default rule, and who measures it."""
    by = {
        (): "the tester",
        ("stations",): "stations",
        ("browsers",): "browsers",
        ("watchers",): "browsers*",
        ("stations", "browsers"): "both",
        ("stations", "watchers"): "both*",
    }
    table = rows(section("## What each figure means"))
    assert [*table] == [fact.name for fact in FACTS]
    for fact in FACTS:
        worst = f"`{fact.worst}`" if fact.worst else ""
        line = f"| `{fact.name}` | {fact.unit} | {fact.title} | {worst} | {by[fact.witnesses]} |"
        assert re.sub(r" +", " ", line) in section("## What each figure means")


@pytest.mark.parametrize(
    ("title", "model"),
    [
        ("## Scenario file", Scenario),
        ("### `[stations]`", Stations),
        ("### `[browsers]`", Browsers),
        ("### `[[stages]]`", Stage),
        ("### `[[stages.faults]]`", Fault),
    ],
)
def test_every_key_has_its_row(title: str, model: type[BaseModel]) -> None:
    """And there is no other; simple defaults are the model's own."""
    table = rows(section(title))
    faults = set(get_args(Fault.model_fields["kind"].annotation)) if model is Fault else set()
    assert table.keys() - faults == model.model_fields.keys() - {"stations", "browsers", "stages"} | (
        {"stations", "browsers"} if model is Stage else set()
    )
    assert faults <= table.keys()
    for name, field in model.model_fields.items():
        if isinstance(field.default, bool | int | float | str) and name in table and table[name][0].startswith("`"):
            shown = tomllib.loads(f"value = {table[name][0].strip('`')}")["value"]
            assert shown == field.default, name


def test_every_option_has_its_row() -> None:
    flags = {f"--{(field.alias or name).replace('_', '-')}" for name, field in Options.model_fields.items()}
    assert flags <= rows(section("## Options")).keys()


def test_every_shipped_scenario_is_told_of() -> None:
    table = rows(section("## A scenario, step by step"))
    assert [*table] == [*SHIPPED]
    for link in re.findall(r"\]\((\.\./[^)]+)\)", TEXT):
        assert (DOCS / link).is_file()


def test_examples_load() -> None:
    """The scenarios are right, and so are the rules."""
    examples = re.findall(r"```toml\n(.*?)```", TEXT, re.S)
    assert len(examples) == 2
    for example in examples:
        read(example, "gates.toml")
    rules = [line.strip() for line in section("## Rules and the verdict").splitlines() if line.startswith("    ")]
    assert len(rules) == 4
    for rule in rules:
        parse_rule(rule)


def test_the_error_shown_is_the_one_that_comes() -> None:
    example = re.findall(r"```toml\n(.*?)```", TEXT, re.S)[0].replace("count = 10\n", "count = '10'\n")
    with pytest.raises(SimulationError) as error:
        read(example, "gates.toml")
    assert f"    hub: {error.value}\n" in TEXT


@pytest.mark.parametrize("readme", ["README.md", "README.zh-CN.md"])
def test_how_many_checks_the_readme_shows(readme: str) -> None:
    """Those of a run without a scenario of one's own."""
    (shown,) = re.findall(r"PASSED +all (\d+) checks", (DOCS.parent / readme).read_text())
    assert int(shown) == len(rules_of([], load().fail_if))


def test_how_many_checks_there_are_without_browsers() -> None:
    (shown,) = re.findall(r"PASSED all (\d+) checks; (\d+) could not be measured: no browsers", TEXT)
    scenario = load(None, {"browsers": 0})
    rules = rules_of([], scenario.fail_if, absent(scenario, Options().target()))
    left_out = sum(rule.left_out for rule in rules)
    assert tuple(map(int, shown)) == (len(rules) - left_out, left_out)
