"""What a run is to do, as its workers get it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from devices.client import Address
from simulator.scenario import Scenario

__all__ = ["TOKEN_LIFE", "Credentials", "Plan", "Target", "spread"]

TOKEN_LIFE: Final = 86_400.0
"""Seconds that a token is good for where no fault says otherwise."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the simulated log in with: a token for a station id, or a user id, that is good for so many seconds."""

    station: Callable[[str, float], str]
    browser: Callable[[str, float], str]


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
    """

    scenario: Scenario
    target: Target
    prefix: str
    run_id: str
    workers: int = 1

    def station_id(self, number: int) -> str:
        """As it is on the wire."""
        return f"{self.prefix}-{number + 1:05}"

    def user_id(self, number: int) -> str:
        """Of a browser."""
        return f"{self.prefix}-op-{number + 1:05}"


def spread(number: int, share: float, phase: float = 0.0) -> bool:
    """Whether `number` belongs to a share of all, which lies evenly among them; `phase` (0..1) moves it."""
    return int((number + 1) * share + phase) > int(number * share + phase)
