"""The options of `hub simulate`, one field each; what is not given is as the scenario says."""

import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from devices.client import Address
from simulator.plan import Credentials, Needs, Target
from simulator.scenario import FLAGS, SimulationError
from simulator.scenario.fields import quoted, whole

__all__ = ["MOST_WORKERS", "SCENARIO_FLAGS", "Options"]

SCENARIO_FLAGS: Final = tuple(FLAGS)
"""The options that override the scenario's own values."""
MOST_WORKERS: Final = 64
MOST_VIDEO: Final = 1_000
NUMBER: Final = re.compile(r"\d{1,19}", re.ASCII)
PREFIX: Final = re.compile(r"[A-Za-z0-9._-]{1,48}", re.ASCII)
OF_HUBS: Final = ("mqtt", "http", "login", "socketio", "video")
"""Options that say nothing where a broker is loaded alone."""


def _written(value: Any) -> Any:
    """A text that writes a whole number as that number; else as it is."""
    return int(value) if isinstance(value, str) and NUMBER.fullmatch(value) else value


WRITTEN: Final = BeforeValidator(_written)


class Options(BaseModel):
    """The options."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    # a scenario's own: it says itself what is wrong with them
    stations: int | str | None = Field(None, description="How many stations.")
    browsers: int | str | None = Field(None, description="How many browsers, each another operator.")
    watch: str | None = Field(None, description="How many stations each browser watches, or: all.")
    duration: str | None = Field(None, description="Seconds of load, ramps included. 0: until Ctrl-C.")
    interval: str | None = Field(None, description="Seconds between two statuses of a station.")
    legacy: float | str | None = Field(
        None, description="Share of stations that do only what old field software does: 0 to 1."
    )
    socketio: float | str | None = Field(None, description="Share of browsers that speak Socket.IO: 0 to 1.")
    login: Literal["token", "guest", "account"] | None = Field(
        None, description="How browsers log in: token, guest or account."
    )
    seed: int | str | None = Field(None, description="The same seed repeats a run.")
    mqtt: str = Field("mqtt://127.0.0.1:1883", description="The broker: mqtt://, mqtts://, ws:// or wss://.")
    http: str = Field("http://127.0.0.1:3101", description="The hub's HTTP address.")
    broker: str | None = Field(
        None, description="Load a broker alone, without a hub: MQTT subscribers take the browsers' place."
    )
    station_token: str | None = Field(
        None, description="All stations log in with this: it must be good for all of them."
    )
    browser_token: str | None = Field(None, description="All browsers log in with this: an operator's access token.")
    prefix: str = Field("sim", description="How the ids of stations and users begin.")
    workers: Annotated[int, whole(1, MOST_WORKERS), WRITTEN] = Field(
        1, description="Spread the load over so many processes."
    )
    video: Annotated[int, whole(0, MOST_VIDEO), WRITTEN] = Field(
        0, description="How many stations answer WebRTC offers with moving pictures. Needs stationhub[video]."
    )
    json_file: Path | None = Field(None, alias="json", description="Write the report to this file as JSON.")
    html_file: Path | None = Field(None, alias="report", description="Write the report to this file as an HTML page.")
    junit_file: Path | None = Field(None, alias="junit", description="Write the checks to this file as JUnit XML.")
    prometheus: Annotated[int, whole(0, 65_535), WRITTEN] | None = Field(
        None, description="Serve live figures for Prometheus on this port of the loopback. 0: any."
    )
    quiet: bool | None = Field(None, description="Print the table at the end, and nothing before.")

    @field_validator("*", mode="before")
    @classmethod
    def _not_empty(cls, value: Any) -> Any:
        if value == "":
            raise ValueError("must not be empty")
        return value

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
        if "@" in parts.netloc:
            instead = "--browser-token" if info.field_name == "http" else "--station-token"
            raise ValueError(f"takes no user name or password in the address: give {instead}, or none")
        if info.field_name != "http":
            address = Address.parse(value)
            if not address.websocket and (parts.path not in ("", "/") or parts.query):
                raise ValueError("only ws:// and wss:// have a path: an mqtt:// address ends with its port")
        elif parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the hub's address must look like http://host:3101 or https://host")
        if parts.port == 0:
            raise ValueError("there is no port 0")
        if parts.fragment or (info.field_name == "http" and parts.query):
            raise ValueError("nothing may follow the address")
        return value

    @field_validator("prefix")
    @classmethod
    def _prefix(cls, value: str) -> str:
        if PREFIX.fullmatch(value) is None:
            raise ValueError(f"must be 1 to 48 of A-Z a-z 0-9 . _ -, not {quoted(value)}")
        return value

    @model_validator(mode="after")
    def _broker_alone(self) -> "Options":
        if self.broker is not None and (useless := [name for name in OF_HUBS if name in self.model_fields_set]):
            flags = ", ".join(map(_flag, useless))
            raise ValueError(f"--broker: a broker is loaded alone, without a hub: leave out {flags}")
        return self

    @classmethod
    def parse(cls, flags: dict[str, Any]) -> "Options":
        """Reads the flags that were given. Raises SimulationError that names the flag."""
        try:
            return cls.model_validate({name: value for name, value in flags.items() if value is not None})
        except ValidationError as error:
            raise SimulationError(_told(error.errors(include_url=False)[0])) from None

    def overrides(self) -> dict[str, Any]:
        """What of the scenario is given on the command line."""
        return {name: value for name in SCENARIO_FLAGS if (value := getattr(self, name)) is not None}

    def target(self) -> Target:
        """What is loaded."""
        if self.broker is not None:
            return Target(Address.parse(self.broker), None)
        return Target(Address.parse(self.mqtt), self.http)

    def outputs(self) -> dict[str, Path]:
        """The files to be written, by flag."""
        files = {"--json": self.json_file, "--report": self.html_file, "--junit": self.junit_file}
        return {flag: path for flag, path in files.items() if path is not None}

    def missing_tokens(self, needs: Needs) -> list[str]:
        """The options of the tokens that a run needs and was not given."""
        wanted = (
            ("--station-token", needs.station, self.station_token),
            ("--browser-token", needs.browser, self.browser_token),
        )
        return [flag for flag, needed, token in wanted if needed and token is None]

    def credentials(self, minted: Credentials | None) -> Credentials:
        """The tokens that were given, and of the others those that are minted; None: there is no need of these."""
        station, browser = self.station_token, self.browser_token
        others = minted or Credentials(lambda *_: "", lambda *_: "")
        given = {"--station-token": station, "--browser-token": browser}
        return Credentials(
            others.station if station is None else lambda *_: station,
            others.browser if browser is None else lambda *_: browser,
            frozenset(flag for flag, token in given.items() if token is not None),
        )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _told(detail: ErrorDetails) -> str:
    """What is wrong, in one line that names the flag."""
    if not detail["loc"]:  # between options
        return detail["msg"].removeprefix("Value error, ")
    name = str(detail["loc"][0])
    flag, given = _flag(name), detail["input"]
    if detail["type"] == "extra_forbidden":
        return f"{flag}: there is no such option"
    if detail["type"] == "literal_error":
        choices = [arg for kind in get_args(Options.model_fields[name].annotation) for arg in get_args(kind)]
        return f"{flag}: must be {', '.join(choices[:-1])} or {choices[-1]}, not {quoted(given)}"
    return f"{flag}: {detail['msg'].removeprefix('Value error, ')}"
