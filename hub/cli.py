"""The `hub` command. Exit codes: 0 ok; 1 failed, or a threshold missed; 2 usage, or could not run; 130 second Ctrl-C."""

import asyncio
import inspect
import re
import socket
import tempfile
from collections.abc import Callable, Coroutine
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, get_args, get_origin

import typer
import uvloop
from pydantic import BaseModel, SecretStr

from devices.client import Address
from devices.operator import OperatorError
from devices.topics import is_station_id
from hub import fleet_table
from hub.accounts import FirstAdmin
from hub.auth import DAY, ROLES, AuthError, Tokens, is_user_id
from hub.broker.storage import StorageError
from hub.build import make_tokens
from hub.config import ConfigError, Settings, load, makes_secret, read_secret, secret
from hub.link import LinkError
from hub.log import configure
from hub.serve import Hub, serve
from hub.store.database import StoreError
from simulator.options import Options
from simulator.plan import Credentials, Target
from simulator.reports import compare as comparing
from simulator.run import Run, keep_running, simulate
from simulator.scenario import SimulationError, shipped
from simulator.scenario import load as load_scenario

__all__ = ["app", "main"]

app = typer.Typer(
    help="StationHub: an MQTT-first IoT hub.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # square brackets in help texts are meant as such
)

ConfigFile = Annotated[Path | None, typer.Option("--config", help="Read options from this file. Default: ./hub.toml")]
DEMO_STATIONS = 25


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("stationhub"))
        raise typer.Exit


@app.callback()
def hub_command(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """StationHub: an MQTT-first IoT hub."""


def fail(message: str, code: int = 2) -> NoReturn:
    """One line to stderr, and out."""
    typer.echo(f"hub: {message}", err=True)
    raise typer.Exit(code)


def run(work: Coroutine[Any, Any, int | None]) -> None:
    """Runs a command to its end; what users can cause is one line and exit code 2."""
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            code = runner.run(work)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except (ConfigError, LinkError, StorageError, StoreError, AuthError, OperatorError, SimulationError) as error:
        fail(str(error))
    if code:
        raise typer.Exit(code)


def options(model: type[BaseModel], *leave_out: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command one flag for each field of `model`: the model says once what there is; None is not given.

    The command gets them as `**flags`.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [p for p in inspect.signature(command).parameters.values() if p.kind is not p.VAR_KEYWORD]
        made = [
            inspect.Parameter(flag, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_flag(flag, field))
            for name, field in model.model_fields.items()
            if name not in leave_out and (flag := field.alias or name)
        ]
        own = [p.replace(kind=p.KEYWORD_ONLY) for p in own]
        command.__signature__ = inspect.Signature([*own, *made])  # type: ignore[attr-defined]  # typer reads it
        command.__annotations__ = {p.name: p.annotation for p in [*own, *made]}
        return command

    return decorate


def _flag(name: str, field: Any) -> Any:
    kind, default = field.annotation, field.default
    inner = [arg for arg in get_args(kind) if arg is not type(None)]
    if type(None) in get_args(kind) and get_origin(kind) is not Literal:
        kind = inner[0]
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if kind is SecretStr or get_origin(kind) in (list, Literal):
        kind = str  # the model itself checks
    names = [f"--{name.replace('_', '-')}"]
    if kind is bool:
        names = [f"{names[0]}/--no-{names[0][2:]}"]
    shown = "" if default is None or default == [] or kind is bool else f" [default: {default}]"
    return Annotated[kind | None, typer.Option(*names, help=field.description + shown, show_default=False)]


@app.command("serve")
@options(Settings)
def serve_command(config: ConfigFile = None, **flags: Any) -> None:
    """Run the hub: MQTT broker, WebSocket bridge and HTTP API in one process."""
    settings = _settings(flags, config)
    configure(settings.log_level, settings.log_format)
    run(serve(settings, _tell_first_admin))


def _tell_first_admin(_: Hub, admin: FirstAdmin | None) -> None:
    """The one time that the password is seen: printed, never logged."""
    if admin is not None:
        told = "not shown again: change it with POST /auth/password"
        typer.echo(f"Admin:    {admin.email}, password {admin.password} ({told})")


@app.command("demo")
@options(Settings, "data_dir", "jwt_secret", "open_registration")
def demo_command(
    config: ConfigFile = None,
    stations: Annotated[int, typer.Option(min=0, max=1_000, help="How many stations to simulate.")] = DEMO_STATIONS,
    **flags: Any,
) -> None:
    """Run the hub with a small simulated fleet and a temporary data directory, and print where to look."""
    with tempfile.TemporaryDirectory(prefix="stationhub-") as scratch:
        settings = _settings(flags | {"data_dir": Path(scratch)}, config)
        configure("warning" if flags.get("log_level") is None else settings.log_level, settings.log_format)
        run(_demo(settings, stations))


async def _demo(settings: Settings, stations: int) -> None:
    settings, moved = _with_free_ports(settings)
    for name, port in moved.items():
        typer.echo(f"Port {port} is taken: a free one is used (--{name.replace('_', '-')}).")
    fleets: list[asyncio.Task[Any]] = []

    def ready(hub: Hub, admin: FirstAdmin | None) -> None:
        fleets.extend(_start_demo_fleet(hub, stations))
        _tell_first_admin(hub, admin)

    try:
        await serve(settings, ready)
    finally:
        for fleet in fleets:
            fleet.cancel()
        await asyncio.gather(*fleets, return_exceptions=True)


def _start_demo_fleet(hub: Hub, stations: int) -> list[asyncio.Task[Any]]:
    operator = hub.tokens.mint_user("demo", role="operator", nickname="Demo", lifetime=DAY)
    ready = hub.ready()
    typer.echo(f"Console:  {hub.http_url}/#token={operator}")
    typer.echo(f"MQTT:     {ready['mqtt'] or '(the external broker)'}")
    typer.echo(f"MQTT/WS:  {ready['mqttWs'] or '(of the external broker)'}")
    typer.echo("Login:    the address above signs in as operator 'demo' for a day. Stop with Ctrl-C.")
    mqtt = str(ready["mqtt"] or hub.settings.broker)
    target = Target(Address.parse(mqtt), hub.http_url)
    return [asyncio.create_task(_run_demo_fleet(stations, target, _credentials(hub.tokens)), name="demo fleet")]


async def _run_demo_fleet(stations: int, target: Target, credentials: Credentials) -> None:
    try:
        scenario = load_scenario(None, {"stations": stations, "browsers": 0, "duration": 0})
        await keep_running(scenario, target, "demo", credentials)
    except SimulationError as error:
        typer.echo(f"hub: the demo's stations do not run: {error}", err=True)


def _credentials(tokens: Tokens) -> Credentials:
    """What a simulated fleet logs in with."""
    return Credentials(
        station=lambda station_id, seconds: tokens.mint_station(station_id, lifetime=seconds),
        browser=lambda user_id, seconds: tokens.mint_user(user_id, role="operator", lifetime=seconds),
    )


def _with_free_ports(settings: Settings) -> tuple[Settings, dict[str, int]]:
    """The same options, with 0 for each port that is taken, and which those were."""
    moved = {}
    for name in ("port", "mqtt_port", "mqtt_ws_port"):
        port = getattr(settings, name)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((settings.host, port))
            except OSError:
                moved[name] = port
    return settings.model_copy(update=dict.fromkeys(moved, 0)), moved


@app.command("token")
def token_command(
    user: Annotated[
        str | None,
        typer.Option(help="A person's user id. A newer token ends the older one's session."),
    ] = None,
    role: Annotated[str | None, typer.Option(help="viewer, operator or admin. [default: viewer]")] = None,
    station: Annotated[str | None, typer.Option(help="A station's id.")] = None,
    expires: Annotated[str, typer.Option(help="How long it is good for: 90s, 15m, 12h, 7d.")] = "7d",
    data_dir: Annotated[Path | None, typer.Option(help="The hub's data directory. [default: hub-data]")] = None,
    jwt_secret: Annotated[str | None, typer.Option(help="The hub's secret, if it was given one.")] = None,
    config: ConfigFile = None,
) -> None:
    """Print an access token, and nothing else."""
    settings = _settings({"data_dir": data_dir, "jwt_secret": jwt_secret}, config)
    if (user is None) == (station is None):
        fail("give either --user or --station")
    if role is not None and user is None:
        fail("--role goes with --user: a station has the rights of its own id")
    if role not in (None, *ROLES):
        fail(f"--role: one of {', '.join(ROLES)}")
    lifetime = _seconds(expires)
    if station is not None and not is_station_id(station):
        fail("--station: a station id is 1 to 64 of A-Z a-z 0-9 . _ -")
    if user is not None and not is_user_id(user):
        fail("--user: a userId is a text of 1 to 128 characters")
    try:
        # before the hub's first start too: it will find the secret that is made here
        if makes_secret(settings):
            typer.echo(f"hub: made a new secret in {settings.data_dir}: a hub must use that --data-dir", err=True)
        tokens, _ = make_tokens(settings, secret(settings))
    except ConfigError as error:
        fail(str(error))
    if station is not None:
        typer.echo(tokens.mint_station(station, lifetime=lifetime))
    elif user is not None:
        typer.echo(tokens.mint_user(user, role=role or "viewer", lifetime=lifetime))


@app.command("stations")
def stations_command(
    http: Annotated[str, typer.Option(help="The hub's HTTP address.")] = "http://127.0.0.1:3101",
    watch: Annotated[bool, typer.Option("--watch", help="Follow until Ctrl-C.")] = False,
    token: Annotated[str | None, typer.Option(help="An access token. Default: one is made with the secret.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="The hub's data directory. [default: hub-data]")] = None,
    jwt_secret: Annotated[str | None, typer.Option(help="The hub's secret, if it was given one.")] = None,
    config: ConfigFile = None,
) -> None:
    """Show who is online, as a table."""
    settings = _settings({"data_dir": data_dir, "jwt_secret": jwt_secret}, config)
    try:
        token = token or _own_tokens(settings).mint_user("hub-stations", lifetime=DAY)
    except ConfigError as error:
        fail(str(error))
    run(fleet_table.show(http, token, watch=watch))


@app.command("simulate")
@options(Options)
def simulate_command(
    scenario: Annotated[
        str | None,
        typer.Argument(help="A scenario that --list shows, or a TOML file; or `compare`, and two JSON reports."),
    ] = None,
    files: Annotated[list[Path] | None, typer.Argument(help="With compare: the reports.", show_default=False)] = None,
    fail_if: Annotated[
        list[str] | None, typer.Option(help="Fail when this is so, such as 'ack.p99 > 50ms'. May be given often.")
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="Show the scenarios that are shipped.")] = False,
    data_dir: Annotated[Path | None, typer.Option(help="The hub's data directory. [default: hub-data]")] = None,
    jwt_secret: Annotated[str | None, typer.Option(help="The hub's secret, if it was given one.")] = None,
    config: ConfigFile = None,
    **flags: Any,
) -> None:
    """Load a hub with simulated stations and browsers, and judge what it did.

    Exit codes: 0 all checks passed, 1 one failed, 2 it could not run.
    """
    if listed:
        for name, description in shipped():
            typer.echo(f"{name:<14} {description}")
        return
    try:
        if scenario == "compare":
            comparing.show(files or [])
            return
        if files:
            fail(f"one scenario at a time: what is {files[0]}?")
        ready = Run.prepare(scenario, Options.parse(flags), fail_if or [])
    except SimulationError as error:
        fail(str(error))
    credentials = ready.options.given_tokens()
    if credentials is None and ready.options.broker is not None:
        credentials = Credentials(lambda *_: "", lambda *_: "")  # a broker alone knows nothing of this hub's tokens
    if credentials is None:
        try:
            credentials = _credentials(_own_tokens(_settings({"data_dir": data_dir, "jwt_secret": jwt_secret}, config)))
        except ConfigError as error:
            fail(f"{error}; or give --station-token and --browser-token")
    configure("warning")
    try:
        code = simulate(ready, credentials)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except SimulationError as error:
        fail(str(error))
    if code:
        raise typer.Exit(code)


def _own_tokens(settings: Settings) -> Tokens:
    """Tokens of a hub that has run before. Raises ConfigError."""
    return make_tokens(settings, read_secret(settings))[0]


def _settings(flags: dict[str, Any], config: Path | None) -> Settings:
    try:
        return load(flags, config)
    except ConfigError as error:
        fail(str(error))


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip())
    seconds = float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3_600, "d": DAY}[found[2]] if found else 0.0
    if not 0 < seconds <= 3_660 * DAY:
        fail("--expires: a duration such as 90s, 15m, 12h or 7d, ten years at most")
    return seconds


def main() -> None:
    """The entry point."""
    app()


if __name__ == "__main__":
    main()
