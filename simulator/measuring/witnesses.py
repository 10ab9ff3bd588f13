"""Who is not there to measure in a run: what depends on them is left out of its verdict."""

from simulator.measuring.facts import Witness
from simulator.plan import Target
from simulator.scenario import Scenario

__all__ = ["absent"]


def absent(scenario: Scenario, target: Target) -> dict[Witness, str]:
    """The witnesses that a run does not have, and why not, in words such as "no browsers"."""
    missing: dict[Witness, str] = {}
    if not scenario.stations.count:
        missing["stations"] = "no stations"
    if not scenario.browsers.count:
        missing["watchers"] = missing["browsers"] = "no browsers"
    elif target.http is None:
        missing["browsers"] = "no hub behind the broker"
    return missing
