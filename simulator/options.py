"""The options of `hub simulate`, one field each; what is not given is as the scenario says."""

from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from devices.client import Address
from simulator.plan import Credentials, Target
from simulator.scenario import FLAGS, SimulationError

__all__ = ["SCENARIO_FLAGS", "Options"]

SCENARIO_FLAGS: Final = tuple(FLAGS)
"""The options that override the scenario's own values."""


class Options(BaseModel):
    """The options."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    stations: int | None = Field(None, description="How many stations.")
    browsers: int | None = Field(None, description="How many browsers, each another operator.")
    watch: str | None = Field(None, description="How many stations each browser watches, or: all.")
    duration: str | None = Field(None, description="Seconds of the steady stages together. 0: until Ctrl-C.")
    interval: str | None = Field(None, description="Seconds between two statuses of a station.")
    legacy: float | None = Field(
        None, description="Share of stations that do only what old field software does: 0 to 1."
    )
    socketio: float | None = Field(None, description="Share of browsers that speak Socket.IO: 0 to 1.")
    login: Literal["token", "guest", "account"] | None = Field(
        None, description="How browsers log in: token, guest or account."
    )
    seed: int | None = Field(None, description="The same seed repeats a run.")
    mqtt: str = Field("mqtt://127.0.0.1:1883", description="The broker: mqtt://, mqtts://, ws:// or wss://.")
    http: str = Field("http://127.0.0.1:3101", description="The hub's HTTP address.")
    broker: str | None = Field(
        None, description="Load a broker alone, without a hub: MQTT subscribers take the browsers' place."
    )
    station_token: str | None = Field(
        None, description="All stations log in with this: it must be good for all of them."
    )
    browser_token: str | None = Field(None, description="All browsers log in with this: an operator's access token.")
    prefix: str = Field(
        "sim", pattern=r"^[A-Za-z0-9._-]{1,48}$", description="How the ids of stations and users begin."
    )
    workers: int = Field(1, ge=1, le=64, description="Spread the load over so many processes.")
    json_file: Path | None = Field(None, alias="json", description="Write the report to this file as JSON.")
    html_file: Path | None = Field(None, alias="report", description="Write the report to this file as an HTML page.")
    junit_file: Path | None = Field(None, alias="junit", description="Write the checks to this file as JUnit XML.")
    prometheus: int | None = Field(
        None, ge=0, le=65_535, description="Serve live figures for Prometheus on this port of the loopback. 0: any."
    )
    quiet: bool | None = Field(None, description="Print the table at the end, and nothing before.")

    @field_validator("mqtt", "http", "broker")
    @classmethod
    def _address(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        try:
            (parts.hostname or "").encode("idna")
        except UnicodeError:
            raise ValueError("there can be no host of that name") from None
        if info.field_name != "http":
            Address.parse(value)
        elif parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise ValueError("the hub's address must look like http://host:3101 or https://host")
        return value

    @classmethod
    def parse(cls, flags: dict[str, Any]) -> "Options":
        """Reads the flags that were given. Raises SimulationError that names the flag."""
        try:
            return cls.model_validate({name: value for name, value in flags.items() if value is not None})
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            flag = str(first["loc"][0]).replace("_", "-")
            raise SimulationError(f"--{flag}: {first['msg'].removeprefix('Value error, ')}") from None

    def overrides(self) -> dict[str, Any]:
        """What of the scenario is given on the command line."""
        return {name: value for name in SCENARIO_FLAGS if (value := getattr(self, name)) is not None}

    def target(self) -> Target:
        """What is loaded."""
        if self.broker is not None:
            return Target(Address.parse(self.broker), None)
        return Target(Address.parse(self.mqtt), self.http)

    def given_tokens(self) -> Credentials | None:
        """The tokens given as options, empty where only the other one was; None: none were."""
        if self.station_token is None and self.browser_token is None:
            return None
        return Credentials(lambda *_: self.station_token or "", lambda *_: self.browser_token or "")
