"""What to simulate: the options of `hub simulate`, one field each; and SimulationError, this package's one error."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from devices.client import Address

__all__ = ["Credentials", "Scenario", "SimulationError", "explain"]


class SimulationError(Exception):
    """The simulation could not run."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the simulated log in with: `station` gives a station id's token, `browser` a user id's."""

    station: Callable[[str], str]
    browser: Callable[[str], str]


class Scenario(BaseModel):
    """The options."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    stations: int = Field(100, ge=0, le=20_000, description="How many stations.")
    rate: float = Field(1.0, ge=0.001, le=1_000, description="Status messages a second of each station.")
    browsers: int = Field(5, ge=0, le=5_000, description="How many browsers, each another operator.")
    duration: float | None = Field(60.0, ge=0, description="Seconds to measure, once connected. 0: until Ctrl-C.")
    mqtt: str = Field("mqtt://127.0.0.1:1883", description="The broker: mqtt://, mqtts://, ws:// or wss://.")
    http: str = Field("http://127.0.0.1:3101", description="The hub's HTTP address.")
    json_file: Path | None = Field(None, alias="json", description="Write the report to this file, too, as JSON.")
    seed: int = Field(1, description="The same seed gives the same devices.")
    station_token: str | None = Field(
        None, description="All stations log in with this: it must be good for all of them."
    )
    browser_token: str | None = Field(None, description="All browsers log in with this: an operator's access token.")
    prefix: str = Field(
        "sim", pattern=r"^[A-Za-z0-9._-]{1,48}$", description="How the ids of stations and users begin."
    )

    @field_validator("mqtt", "http")
    @classmethod
    def _address(cls, value: str, info: ValidationInfo) -> str:
        if info.field_name == "mqtt":
            Address.parse(value)
        elif (parts := urlsplit(value)).scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise ValueError("the hub's address must look like http://host:3101 or https://host")
        return value

    def given_tokens(self) -> Credentials | None:
        """The tokens given as options, empty where only the other one was; None: none were."""
        if self.station_token is None and self.browser_token is None:
            return None
        return Credentials(lambda _: self.station_token or "", lambda _: self.browser_token or "")


def explain(error: ValueError) -> str:
    """What is wrong with the options, in one line that names the flag."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return f"--{str(first['loc'][0]).replace('_', '-')}: {first['msg'].removeprefix('Value error, ')}"
