"""What a run is to do, as its workers get it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from devices.client import Address
from simulator.scenario import Scenario

__all__ = ["TOKEN_LIFE", "Credentials", "Needs", "Plan", "Target", "spread"]

TOKEN_LIFE: Final = 86_400.0
"""Seconds that a token is good for where no fault says otherwise."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the simulated log in with: a token for a station id, or a user id, that is good for so many seconds.

    Attributes:
        given: the options whose tokens these are, such as `--station-token`; others are minted with the hub's secret.
    """

    station: Callable[[str, float], str]
    browser: Callable[[str, float], str]
    given: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Target:
    """What is loaded.

    Attributes:
        mqtt: where stations connect.
        http: the hub's HTTP address; None: a broker alone, and MQTT subscribers in place of browsers.
    """

    mqtt: Address
    http: str | None


@dataclass(frozen=True, slots=True)
class Plan:
    """A run.

    Attributes:
        run_id: tells its statuses from those of any other run.
        prefix: how the ids of its stations and users begin.
        workers: how many processes share it.
        video: how many stations really stream.
    """

    scenario: Scenario
    target: Target
    prefix: str
    run_id: str
    workers: int = 1
    video: int = 0

    def streams(self, number: int) -> bool:
        """Whether that station really streams: the first ones do, but for old field software."""
        old = self.scenario.stations.legacy
        return not spread(number, old) and number - int(number * old) < self.video

    def station_id(self, number: int) -> str:
        """As it is on the wire."""
        return f"{self.prefix}-{number + 1:05}"

    def user_id(self, number: int) -> str:
        """Of a browser."""
        return f"{self.prefix}-op-{number + 1:05}"


@dataclass(frozen=True, slots=True)
class Needs:
    """Whose tokens a run needs."""

    station: bool
    browser: bool

    @classmethod
    def of(cls, plan: Plan) -> "Needs":
        """A broker alone takes whom it takes; browsers may log in otherwise."""
        hub, scenario = plan.target.http is not None, plan.scenario
        return cls(
            station=hub and scenario.stations.count > 0,
            browser=hub and scenario.browsers.count > 0 and scenario.browsers.login == "token",
        )


def spread(number: int, share: float, phase: float = 0.0) -> bool:
    """Whether `number` belongs to a share of all, which lies evenly among them; `phase` (0..1) moves it."""
    return int((number + 1) * share + phase) > int(number * share + phase)
