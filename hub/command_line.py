"""The commands of `hub`. Each imports what it needs when it runs: `hub --help` needs no database, `hub token` no broker."""

import asyncio
import re
import tempfile
from collections.abc import Coroutine, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from hub.command_options import ConfigFile, DataDir, JwtSecret, fail, options, own_tokens, settings_of
from hub.config import ConfigError, Settings, flag, makes_secret, secret
from hub.log import configure
from hub.simulate_command import credentials_of, simulate_command

if TYPE_CHECKING:
    from hub.accounts import FirstAdmin
    from hub.serve import Hub
    from simulator.plan import Credentials, Target

__all__ = ["carry_out"]

USAGE_ERROR: Final[Any] = typer.BadParameter.__bases__[0]
"""What is wrong with the arguments: typer exports none of its bases, which is this one."""
DEMO_STATIONS = 25

app = typer.Typer(
    help="StationHub: an MQTT-first IoT hub.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # square brackets in help texts are meant as such
)


def carry_out(arguments: Sequence[str]) -> int:
    """Runs the command that these arguments are, and gives its exit code; what is wrong with them is one line."""
    command = typer.main.get_command(app)
    try:
        with command.make_context("hub", list(arguments)) as context:
            command.invoke(context)
    except typer.Exit as ended:
        return ended.exit_code
    except USAGE_ERROR as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
        else:
            typer.echo(f"hub: {_plain(error.format_message())}", err=True)
        return 2
    return 0


def _plain(message: str) -> str:
    """What typer says of a wrong argument, in one line and without its "Invalid value for"."""
    line = " ".join(message.split()).rstrip(".")
    return re.sub(r"^Invalid value for '([^']*)'(?: / '[^']*')*: ", r"\1: ", line)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("stationhub"))
        raise typer.Exit


@app.callback()
def hub_command(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """StationHub: an MQTT-first IoT hub."""


def run(work: Coroutine[Any, Any, int | None]) -> None:
    """Runs a command to its end; what users can cause is one line and exit code 2."""
    import uvloop

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            code = runner.run(work)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except Exception as error:
        if not isinstance(error, _expected()):
            raise
        fail(str(error))
    if code:
        raise typer.Exit(code)


def _expected() -> tuple[type[Exception], ...]:
    """What users can cause."""
    from devices.operator import OperatorError
    from hub.auth import AuthError
    from hub.broker.storage import StorageError
    from hub.link import LinkError
    from hub.store.database import StoreError
    from simulator.scenario import SimulationError

    return ConfigError, LinkError, StorageError, StoreError, AuthError, OperatorError, SimulationError


@app.command("serve")
@options(Settings)
def serve_command(config: ConfigFile = None, **flags: Any) -> None:
    """Run the hub: MQTT broker, WebSocket bridge and HTTP API in one process."""
    from hub.serve import serve

    settings = settings_of(flags, config)
    configure(settings.log_level, settings.log_format)
    run(serve(settings, _tell_first_admin))


def _tell_first_admin(_: "Hub", admin: "FirstAdmin | None") -> None:
    """The one time that the password is seen: printed, never logged."""
    if admin is not None:
        told = "not shown again: change it with POST /auth/password"
        typer.echo(f"Admin:    {admin.email}, password {admin.password} ({told})")


@app.command("demo")
@options(Settings, "data_dir", "jwt_secret", "open_registration")
def demo_command(
    config: ConfigFile = None,
    stations: Annotated[int, typer.Option(min=0, max=1_000, help="How many stations to simulate.")] = DEMO_STATIONS,
    video: Annotated[
        bool, typer.Option("--video", help="Their cameras really stream. Needs stationhub[video].")
    ] = False,
    **flags: Any,
) -> None:
    """Run the hub with a small simulated fleet and a temporary data directory, and print where to look."""
    with tempfile.TemporaryDirectory(prefix="stationhub-") as scratch:
        settings = settings_of(flags | {"data_dir": Path(scratch)}, config)
        configure("warning" if flags.get("log_level") is None else settings.log_level, settings.log_format)
        if video:
            _load_video()
        run(_demo(settings, stations, video=video))


def _load_video() -> None:
    from devices.camera import VideoMissing, load_video

    try:
        load_video()
    except VideoMissing as error:
        fail(f"--video: {error}")


async def _demo(settings: Settings, stations: int, *, video: bool) -> None:
    from hub.serve import serve

    settings, moved = _with_free_ports(settings)
    for name, port in moved.items():
        typer.echo(f"Port {port} is taken: a free one is used ({flag(name)}).")
    fleets: list[asyncio.Task[Any]] = []

    def ready(hub: "Hub", admin: "FirstAdmin | None") -> None:
        fleets.extend(_start_demo_fleet(hub, stations, video=video))
        _tell_first_admin(hub, admin)

    try:
        await serve(settings, ready)
    finally:
        for fleet in fleets:
            fleet.cancel()
        await asyncio.gather(*fleets, return_exceptions=True)


def _start_demo_fleet(hub: "Hub", stations: int, *, video: bool) -> list[asyncio.Task[Any]]:
    from devices.client import Address
    from hub.auth import DAY
    from simulator.plan import Target

    operator = hub.tokens.mint_user("demo", role="operator", nickname="Demo", lifetime=DAY)
    ready = hub.ready()
    typer.echo(f"Console:  {hub.http_url}/#token={operator}")
    typer.echo(f"MQTT:     {ready['mqtt'] or '(the external broker)'}")
    typer.echo(f"MQTT/WS:  {ready['mqttWs'] or '(of the external broker)'}")
    typer.echo("Login:    the address above signs in as operator 'demo' for a day. Stop with Ctrl-C.")
    mqtt = str(ready["mqtt"] or hub.settings.broker)
    target = Target(Address.parse(mqtt), hub.http_url)
    fleet = _run_demo_fleet(stations, target, credentials_of(hub.tokens), stations if video else 0)
    return [asyncio.create_task(fleet, name="demo fleet")]


async def _run_demo_fleet(stations: int, target: "Target", credentials: "Credentials", video: int) -> None:
    from simulator.run import keep_running
    from simulator.scenario import SimulationError, load

    try:
        scenario = load(None, {"stations": stations, "browsers": 0, "duration": 0})
        await keep_running(scenario, target, "demo", credentials, video=video)
    except SimulationError as error:
        typer.echo(f"hub: the demo's stations do not run: {error}", err=True)


def _with_free_ports(settings: Settings) -> tuple[Settings, dict[str, int]]:
    """The same options, with 0 for each port that is taken, and which those were."""
    from hub.link import ListenError
    from hub.listening import listen

    moved = {}
    for name in ("port", "mqtt_port", "mqtt_ws_port"):
        port = getattr(settings, name)
        try:
            listen(settings.host, port).close()
        except ListenError:
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
    data_dir: DataDir = None,
    jwt_secret: JwtSecret = None,
    config: ConfigFile = None,
) -> None:
    """Print an access token, and nothing else."""
    from devices.topics import is_station_id
    from hub.auth import ROLES, is_user_id
    from hub.build import make_tokens

    settings = settings_of({"data_dir": data_dir, "jwt_secret": jwt_secret}, config)
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
    data_dir: DataDir = None,
    jwt_secret: JwtSecret = None,
    config: ConfigFile = None,
) -> None:
    """Show who is online, as a table."""
    from hub import fleet_table
    from hub.auth import DAY

    settings = settings_of({"data_dir": data_dir, "jwt_secret": jwt_secret}, config)
    try:
        token = token or own_tokens(settings).mint_user("hub-stations", lifetime=DAY)
    except ConfigError as error:
        fail(str(error))
    run(fleet_table.show(http, token, watch=watch))


app.command("simulate")(simulate_command)


def _seconds(text: str) -> float:
    from hub.auth import DAY

    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip())
    seconds = float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3_600, "d": DAY}[found[2]] if found else 0.0
    if not 0 < seconds <= 3_660 * DAY:
        fail("--expires: a duration such as 90s, 15m, 12h or 7d, ten years at most")
    return seconds
