"""Every option of the hub, once: the only reader of flags, environment and `hub.toml`.

    ConfigError
      (an option is wrong; says which one, why, and what to do)

Precedence: flag, then environment `HUB_*`, then the file, then the default.
"""

import os
import tomllib
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, InitSettingsSource, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from hub.auth import new_secret
from hub.log import LogFormat, LogLevel

__all__ = ["LOOPBACK", "ConfigError", "Settings", "load", "makes_secret", "read_secret", "secret"]

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
SECRET_FILE = "jwt-secret"
# a text of the environment or a flag is a list by commas
Texts = Annotated[
    list[str], NoDecode, BeforeValidator(lambda v: [t for t in v.split(",") if t] if isinstance(v, str) else v)
]
Port = Annotated[int, Field(ge=0, le=65_535)]


class ConfigError(Exception):
    """An option is wrong, or what it names is not there."""


class Settings(BaseSettings):
    """The options of `hub serve`; `description` is the help of the flag and the row in the README."""

    model_config = SettingsConfigDict(env_prefix="HUB_", extra="forbid", hide_input_in_errors=True)

    host: str = Field("127.0.0.1", description="Address to listen on, for HTTP and MQTT.")
    port: Port = Field(3101, description="HTTP port: API, /ws, console, /metrics. 0 picks a free one.")
    mqtt_port: Port = Field(1883, description="MQTT port of the embedded broker. 0 picks a free one.")
    mqtt_ws_port: Port = Field(8083, description="MQTT over WebSocket port. 0 picks a free one.")
    data_dir: Path = Field(Path("hub-data"), description="Where the hub keeps what outlives it.")
    jwt_secret: SecretStr | None = Field(
        None, description="Secret of the HS256 tokens. Without one, it is made and kept in the data directory."
    )
    broker: str | None = Field(
        None, description="Use this broker instead of the embedded one: mqtt://[user:password@]host[:1883], mqtts://..."
    )
    open_registration: bool = Field(
        False, description="For trials: anybody signed in may register a station, guests are operators."
    )
    anonymous_mqtt: bool = Field(False, description="For trials: stations need no token. Only on the loopback.")
    anonymous_mqtt_anywhere: bool = Field(False, description="Allow --anonymous-mqtt beyond the loopback.")
    ready_file: Path | None = Field(
        None, description='Gets {"pid","http","mqtt","mqttWs"} as JSON once every listener accepts.'
    )
    event_rate: float = Field(100.0, ge=0, description="Events a second that one socket may send. 0: no limit.")
    event_burst: float = Field(500.0, ge=1, description="Events that one socket may send at once.")
    room_expiry: float = Field(600.0, gt=0, description="Seconds that an empty room is kept.")
    will_grace: float = Field(
        3.0, gt=0, le=60, description="Seconds that a station has to answer when its last will came."
    )
    origins: Texts = Field(
        [],
        description="Origins whose pages may connect, beside the hub's own, by commas. None given: any, by token alone.",
    )
    trusted_proxies: Texts = Field([], description="Addresses of proxies whose X-Forwarded-For is believed, by commas.")
    log_level: LogLevel = Field("info", description="debug, info, warning or error.")
    log_format: LogFormat = Field("text", description="text or json.")

    @field_validator("jwt_secret")
    @classmethod
    def _not_weak(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 8:
            raise ValueError("a secret has at least 8 characters, better 32")
        return value

    @field_validator("origins")
    @classmethod
    def _are_origins(cls, values: list[str]) -> list[str]:
        for value in values:
            parts = urlsplit(value)
            if parts.scheme not in ("http", "https") or not parts.netloc or parts.path:
                raise ValueError("an origin looks like https://pages.example:8443, without a path")
        return values

    @field_validator("trusted_proxies")
    @classmethod
    def _are_addresses(cls, values: list[str]) -> list[str]:
        for value in values:
            try:
                ip_address(value)
            except ValueError:
                raise ValueError("a proxy is named by its IP address") from None
        return values

    @field_validator("broker")
    @classmethod
    def _is_broker_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            parts = urlsplit(value)
            port = parts.port
        except ValueError:
            raise ValueError("not a URL such as mqtt://host:1883") from None
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or port == 0:
            raise ValueError("not a URL such as mqtt://host:1883")
        return value

    @model_validator(mode="after")
    def _anonymous_is_local(self) -> "Settings":
        if self.anonymous_mqtt and self.host not in LOOPBACK and not self.anonymous_mqtt_anywhere:
            raise ValueError(
                "--anonymous-mqtt lets anybody who reaches the port speak for any station: listen on 127.0.0.1,"
                " or add --anonymous-mqtt-anywhere if that is what you want"
            )
        return self


def load(flags: Mapping[str, Any], config_file: Path | None = None) -> Settings:
    """The options in force.

    Args:
        flags: those given on the command line; None is not given.
        config_file: a `hub.toml`; by default the one in the working directory, if there is one.

    Raises:
        ConfigError: in one line, naming the option.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    filed = _read_file(config_file)

    class Sources(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return init_settings, env_settings, InitSettingsSource(settings_cls, filed)

    try:
        return Sources(**given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        why = "unknown option" if first["type"] == "extra_forbidden" else first["msg"].removeprefix("Value error, ")
        where = f"{_source_of(str(first['loc'][0]), given, filed)}: " if first["loc"] else ""
        raise ConfigError(where + why) from None
    except Exception as error:  # pydantic-settings' own, for an environment variable that is no JSON
        raise ConfigError(f"environment: {error}") from None


def _read_file(path: Path | None) -> dict[str, Any]:
    wanted = path or Path("hub.toml")
    try:
        values = tomllib.loads(wanted.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if path is None:
            return {}
        raise ConfigError(f"{wanted}: there is no such file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{wanted}: cannot be read: {error}") from None
    return {name.replace("-", "_"): value for name, value in values.items()}


def _source_of(name: str, given: Mapping[str, Any], filed: Mapping[str, Any]) -> str:
    if name in given:
        return "--" + name.replace("_", "-")
    if f"HUB_{name.upper()}" in {key.upper() for key in os.environ}:
        return f"environment HUB_{name.upper()}"
    return f"configuration file, {name}" if name in filed else name


def makes_secret(settings: Settings) -> bool:
    """Whether `secret` would make a new one."""
    return settings.jwt_secret is None and not (settings.data_dir / SECRET_FILE).exists()


def read_secret(settings: Settings) -> str:
    """The token secret, given or kept.

    Raises:
        ConfigError: there is none yet, or it cannot be read.
    """
    if settings.jwt_secret is not None:
        return settings.jwt_secret.get_secret_value()
    path = settings.data_dir / SECRET_FILE
    try:
        kept = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise ConfigError(
            f"no secret: give --jwt-secret, or the --data-dir of a hub that ran ({path} is not there)"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    if len(kept) < 8:
        raise ConfigError(f"{path}: holds no secret; remove it and the hub makes a new one")
    return kept


def secret(settings: Settings) -> str:
    """The token secret: given, kept from before, or made now and kept (mode 0600).

    Raises:
        ConfigError: the data directory cannot be used.
    """
    path = settings.data_dir / SECRET_FILE
    if makes_secret(settings):
        try:
            settings.data_dir.mkdir(parents=True, exist_ok=True)
            # one who comes second finds the first one's secret, never half of it
            scratch = path.with_name(f"{SECRET_FILE}.{os.getpid()}")
            with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(new_secret() + "\n")
            try:
                os.link(scratch, path)
            except FileExistsError:
                pass
            scratch.unlink()
        except OSError as error:
            raise ConfigError(f"{settings.data_dir}: cannot be written: {error.strerror}") from None
    return read_secret(settings)
