"""`hub simulate`: from its arguments to its exit code."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hub.command_options import ConfigFile, DataDir, JwtSecret, fail, options, own_tokens, settings_of
from hub.config import ConfigError, flag
from hub.log import configure
from simulator.options import Options
from simulator.plan import Credentials, Needs
from simulator.scenario import SimulationError, shipped

if TYPE_CHECKING:
    from hub.auth import Tokens
    from simulator.run import Run

__all__ = ["credentials_of", "simulate_command"]


@options(Options, texts=True)
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
    data_dir: DataDir = None,
    jwt_secret: JwtSecret = None,
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
            from simulator.reports import compare as comparing

            comparing.show(files or [])
            return
        if files:
            fail(f"one scenario at a time: what is {files[0]}?")
        from simulator.run import Run, simulate

        run = Run.prepare(scenario, Options.parse(flags), fail_if or [])
        secrets = {"data_dir": data_dir, "jwt_secret": jwt_secret}
        credentials = _credentials(run, secrets, config)
        configure("warning")
        code = simulate(run, credentials)
    except KeyboardInterrupt:
        fail("ended without a report", 130)
    except SimulationError as error:
        fail(str(error))
    if code:
        raise typer.Exit(code)


def credentials_of(tokens: "Tokens") -> Credentials:
    """What a simulated fleet logs in with."""
    return Credentials(
        station=lambda station_id, seconds: tokens.mint_station(station_id, lifetime=seconds),
        browser=lambda user_id, seconds: tokens.mint_user(user_id, role="operator", lifetime=seconds),
    )


def _credentials(run: "Run", secrets: dict[str, Any], config: Path | None) -> Credentials:
    """The tokens that were given; the others are minted with the hub's secret, where there is need of any."""
    options, needs = run.options, Needs.of(run.plan)
    if options.broker is not None:
        for name in (name for name, value in (secrets | {"config": config}).items() if value is not None):
            raise SimulationError(f"--broker: a broker alone is given no token of a hub: leave out {flag(name)}")
    minted = None
    if missing := options.missing_tokens(needs):
        try:
            minted = credentials_of(own_tokens(settings_of(secrets, config)))
        except ConfigError as error:
            raise SimulationError(f"{error}; or give {' and '.join(missing)}") from None
    return options.credentials(minted)
