"""What the commands of `hub` have in common: flags made of a model, and errors of one line."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NoReturn, get_args, get_origin

import typer
from pydantic import BaseModel, SecretStr

from hub.config import ConfigError, Settings, flag, load, read_secret

if TYPE_CHECKING:
    from hub.auth import Tokens

__all__ = ["ConfigFile", "DataDir", "JwtSecret", "fail", "options", "own_tokens", "settings_of"]

ConfigFile = Annotated[Path | None, typer.Option("--config", help="Read options from this file. Default: ./hub.toml")]
DataDir = Annotated[Path | None, typer.Option(help="The hub's data directory. [default: hub-data]")]
JwtSecret = Annotated[str | None, typer.Option(help="The hub's secret, if it was given one.")]
METAVARS: Final = {Path: "PATH", int: "INTEGER", float: "FLOAT"}


def fail(message: str, code: int = 2) -> NoReturn:
    """One line to stderr, and out."""
    typer.echo(f"hub: {message}", err=True)
    raise typer.Exit(code)


def options(
    model: type[BaseModel], *leave_out: str, texts: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command one flag for each field of `model`: the model says once what there is; None is not given.

    The command gets them as `**flags`.

    Args:
        texts: each but a switch is given as the text that was written: the model says what is wrong with it.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [p for p in inspect.signature(command).parameters.values() if p.kind is not p.VAR_KEYWORD]
        made = [
            inspect.Parameter(
                known, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_flag(known, field, texts)
            )
            for name, field in model.model_fields.items()
            if name not in leave_out and (known := field.alias or name)
        ]
        own = [p.replace(kind=p.KEYWORD_ONLY) for p in own]
        command.__signature__ = inspect.Signature([*own, *made])  # type: ignore[attr-defined]  # typer reads it
        command.__annotations__ = {p.name: p.annotation for p in [*own, *made]}
        return command

    return decorate


def _flag(name: str, field: Any, text: bool) -> Any:
    kind, default = field.annotation, field.default
    inner = [arg for arg in get_args(kind) if arg is not type(None)]
    if type(None) in get_args(kind) and get_origin(kind) is not Literal:
        kind = inner[0]
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if kind is SecretStr or get_origin(kind) in (list, Literal):
        kind = str  # the model itself checks
    metavar = METAVARS.get(kind, "TEXT") if text and kind is not bool else None
    if text and kind is not bool:
        kind = str
    written = flag(name)
    if kind is bool:
        written += f"/--no-{written[2:]}"
    shown = "" if default is None or default == [] or kind is bool else f" [default: {default}]"
    return Annotated[
        kind | None, typer.Option(written, help=field.description + shown, show_default=False, metavar=metavar)
    ]


def own_tokens(settings: Settings) -> "Tokens":
    """Tokens of a hub that has run before. Raises ConfigError."""
    from hub.build import make_tokens

    return make_tokens(settings, read_secret(settings))[0]


def settings_of(flags: dict[str, Any], config: Path | None) -> Settings:
    """The hub's options, with those of the file and the environment; what is wrong with them ends the command."""
    try:
        return load(flags, config)
    except ConfigError as error:
        fail(str(error))
