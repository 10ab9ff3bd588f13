"""Every option of the hub, once: the only reader of flags, environment and `hub.toml`.

    ConfigError
      (an option is wrong; says which one, why, and what to do)

Precedence: flag, then environment `HUB_*`, then the file, then the default.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, InitSettingsSource, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from hub.auth import new_secret
from hub.broker.limits import Limits
from hub.broker.storage import Synchronous
from hub.jwks import is_key_url
from hub.log import LogFormat, LogLevel

__all__ = [
    "LOOPBACK",
    "ConfigError",
    "Settings",
    "data_directory",
    "database_url",
    "flag",
    "load",
    "makes_secret",
    "read_secret",
    "secret",
]

_LIMITS = Limits()
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
SECRET_FILE = "jwt-secret"
DATABASE_FILE = "hub.sqlite"
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
    https: bool = Field(
        False, description="HTTPS instead of HTTP on --port, and wss, with --tls-certificate and --tls-key."
    )
    mqtts_port: Port | None = Field(
        None, description="MQTT over TLS port, with --tls-certificate and --tls-key. None: no TLS. 0 picks a free one."
    )
    tls_certificate: Path | None = Field(None, description="The hub's certificate for HTTPS and MQTT over TLS, PEM.")
    tls_key: Path | None = Field(None, description="Its key, PEM.")
    tls_client_ca: Path | None = Field(
        None, description="CAs of client certificates, PEM: a station with one of its name needs no token."
    )
    data_dir: Path = Field(Path("hub-data"), description="Where the hub keeps what outlives it.")
    durability: Literal["memory", "disk"] = Field(
        "disk", description="Where MQTT sessions and retained messages live: memory or disk (in the data directory)."
    )
    synchronous: Synchronous = Field(
        "normal", description="What a power loss may take: off, normal, full or extra; see docs/broker.md."
    )
    database: SecretStr | None = Field(
        None,
        description="Accounts, stations, sessions, audit: postgresql://user:password@host/name, or another URL of SQLAlchemy's"
        " with an asyncio driver. Default: a SQLite file in the data directory.",
    )
    jwt_secret: SecretStr | None = Field(
        None, description="Secret of the HS256 tokens. Without one, it is made and kept in the data directory."
    )
    jwt_public_key: Path | None = Field(
        None,
        description="Public key, PEM, of tokens that are issued elsewhere: RSA (RS256), P-256 (ES256), Ed25519 (EdDSA).",
    )
    jwks_url: str | None = Field(
        None, description="Where the issuer of tokens publishes its keys (a JWKS): https://..."
    )
    jwt_issuer: str | None = Field(None, description="The `iss` that every token must have.")
    jwt_audience: str | None = Field(None, description="The `aud` that every token must have.")
    guests: bool = Field(True, description="Anybody may sign in as a guest, with the rights of a viewer.")
    registration: bool = Field(True, description="Anybody may make an account, with the rights of a viewer.")
    login_burst: int = Field(
        10, ge=1, description="Logins that may fail at once for an account, and three times as many for an address."
    )
    login_rate: float = Field(0.1, ge=0, description="How many more may fail a second. 0: no limit.")
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
    history: int = Field(
        96, ge=0, description="Megabytes for the stations' numbers of the last ten minutes. 0: none are kept."
    )
    will_grace: float = Field(
        3.0, gt=0, le=60, description="Seconds that a station has to answer when its last will came."
    )
    origins: Texts = Field(
        [],
        description="Origins whose pages may connect, beside the hub's own, by commas. None given: any, by token alone.",
    )
    trusted_proxies: Texts = Field([], description="Addresses of proxies whose X-Forwarded-For is believed, by commas.")
    mqtt_connect_timeout: float = Field(
        _LIMITS.connect_timeout, gt=0, description="Seconds from a client's connection to its CONNECT."
    )
    mqtt_max_packet: int = Field(
        _LIMITS.max_packet, ge=1_024, le=268_435_460, description="Bytes of a client's packet."
    )
    mqtt_max_connections: int = Field(_LIMITS.max_connections, ge=1, description="MQTT clients at once.")
    mqtt_keep_alive_max: int = Field(
        _LIMITS.keep_alive_max, ge=0, le=65_535, description="Longest keep-alive of an MQTT 5 client, seconds. 0: any."
    )
    mqtt_inflight: int = Field(
        _LIMITS.inflight, ge=1, le=65_000, description="QoS 1 and 2 messages sent to a client and not acknowledged."
    )
    mqtt_receive_maximum: int = Field(
        _LIMITS.receive_maximum, ge=1, le=65_535, description="QoS 1 and 2 messages of a client and not answered."
    )
    mqtt_topic_aliases: int = Field(_LIMITS.topic_aliases, ge=0, le=65_535, description="Topic aliases, each way.")
    mqtt_queue_messages: int = Field(
        _LIMITS.queue_messages, ge=0, description="Messages that wait for a session that is away or slow."
    )
    mqtt_queue_bytes: int = Field(_LIMITS.queue_bytes, ge=0, description="Bytes that wait for it.")
    mqtt_queue_qos0: bool = Field(_LIMITS.queue_qos0, description="QoS 0 messages wait for a session that is away too.")
    mqtt_send_buffer: int = Field(
        _LIMITS.send_buffer,
        ge=131_072,
        description="Bytes on their way to a client, above which its QoS 0 messages are dropped.",
    )
    mqtt_send_buffer_max: int = Field(
        _LIMITS.send_buffer_max, ge=131_072, description="Bytes above which it is disconnected."
    )
    mqtt_receive_rate: float = Field(
        _LIMITS.receive_rate, ge=0, description="Messages a second read from one client. 0: no limit."
    )
    mqtt_session_expiry: float = Field(
        _LIMITS.session_expiry, ge=0, description="Longest that a session outlives its connection, seconds."
    )
    mqtt_sessions: int = Field(_LIMITS.sessions, ge=1, description="Sessions at once, connected or not.")
    mqtt_sessions_of_owner: int = Field(_LIMITS.sessions_of_owner, ge=1, description="Sessions of one station or user.")
    mqtt_subscriptions: int = Field(_LIMITS.subscriptions, ge=1, description="Subscriptions of a session.")
    mqtt_topic_levels: int = Field(_LIMITS.topic_levels, ge=1, description="Levels of a topic or filter.")
    mqtt_topic_bytes: int = Field(_LIMITS.topic_bytes, ge=64, le=65_535, description="Bytes of a topic or filter.")
    mqtt_retained: int = Field(_LIMITS.retained, ge=0, description="Retained messages, before clients' are not kept.")
    mqtt_retained_bytes: int = Field(_LIMITS.retained_bytes, ge=0, description="Bytes of retained messages, likewise.")
    mqtt_retained_of_owner: int = Field(
        _LIMITS.retained_of_owner, ge=0, description="Retained messages of one station or user, likewise."
    )
    mqtt_token_grace: float = Field(
        _LIMITS.token_grace, ge=0, description="Seconds from the end of a token to the end of its connection."
    )
    mqtt_sys_interval: float = Field(
        _LIMITS.sys_interval, ge=0, description="Seconds between two updates of $SYS/broker. 0: none."
    )
    ice_servers: Texts = Field(
        [], description="STUN and TURN servers for browsers and stations, by commas: stun:host:3478,turn:host:3478"
    )
    turn_secret: SecretStr | None = Field(
        None, description="The secret shared with the TURN server (coturn: static-auth-secret)."
    )
    turn_lifetime: float = Field(86_400.0, gt=0, description="Seconds that credentials for TURN are good for.")
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
        found = []
        for value in values:
            parts = urlsplit(value.lower())
            if parts.scheme not in ("http", "https") or not parts.netloc or parts.path:
                raise ValueError("an origin looks like https://pages.example:8443, without a path")
            # as browsers write it
            found.append(value.lower().removesuffix(":443" if parts.scheme == "https" else ":80"))
        return found

    @field_validator("ice_servers")
    @classmethod
    def _are_ice_servers(cls, values: list[str]) -> list[str]:
        for value in values:
            if not value.startswith(("stun:", "stuns:", "turn:", "turns:")):
                raise ValueError("a server looks like stun:host:3478 or turn:host:3478?transport=udp")
        return values

    @field_validator("database")
    @classmethod
    def _is_database_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and "://" not in value.get_secret_value():
            raise ValueError("a database is named by a URL: postgresql://user:password@host/name")
        return value

    @field_validator("jwks_url")
    @classmethod
    def _is_key_url(cls, value: str | None) -> str | None:
        if value is not None and not is_key_url(value):
            raise ValueError("keys come from an https URL; http is taken on the loopback only")
        return value

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

    @property
    def limits(self) -> Limits:
        """The bounds of the embedded broker: every option whose name begins with `mqtt_` and is one."""
        return Limits(**{one.name: getattr(self, f"mqtt_{one.name}") for one in fields(Limits)})

    @model_validator(mode="after")
    def _tls_is_whole(self) -> "Settings":
        tls = {"--mqtts-port": self.mqtts_port is not None, "--https": self.https}
        for option in (name for name, wanted in tls.items() if wanted):
            if self.tls_certificate is None or self.tls_key is None:
                raise ValueError(f"{option} needs --tls-certificate and --tls-key")
        paths = (self.tls_certificate, self.tls_key, self.tls_client_ca) if any(tls.values()) else ()
        for path in (*paths, self.jwt_public_key):
            if path is not None and not path.is_file():
                raise ValueError(f"{path}: there is no such file")
        if self.mqtt_send_buffer_max < self.mqtt_send_buffer:
            raise ValueError("--mqtt-send-buffer-max is less than --mqtt-send-buffer")
        return self

    @model_validator(mode="after")
    def _turn_has_a_secret(self) -> "Settings":
        if self.turn_secret is None and any(server.startswith("turn") for server in self.ice_servers):
            raise ValueError(
                "--ice-servers with turn: needs --turn-secret: browsers use no TURN server without credentials"
            )
        return self

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


def flag(name: str) -> str:
    """An option as it is written on the command line."""
    return f"--{name.replace('_', '-')}"


def _source_of(name: str, given: Mapping[str, Any], filed: Mapping[str, Any]) -> str:
    if name in given:
        return flag(name)
    if f"HUB_{name.upper()}" in {key.upper() for key in os.environ}:
        return f"environment HUB_{name.upper()}"
    return f"configuration file, {name}" if name in filed else name


def makes_secret(settings: Settings) -> bool:
    """Whether `secret` would make a new one."""
    return settings.jwt_secret is None and not (settings.data_dir / SECRET_FILE).exists()


def data_directory(settings: Settings) -> Path:
    """The data directory, made if it is not there. Raises ConfigError."""
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{settings.data_dir}: cannot be written: {error.strerror}") from None
    return settings.data_dir


def database_url(settings: Settings) -> str:
    """The database, given or a file in the data directory. Raises ConfigError."""
    if settings.database is not None:
        return settings.database.get_secret_value()
    from hub.store.database import file_url  # SQLAlchemy takes its time: `hub token` and `hub simulate` need none of it

    return file_url(data_directory(settings) / DATABASE_FILE)


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
            data_directory(settings)
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
