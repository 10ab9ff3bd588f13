"""Where reports go: checked before a run starts, and written whole or not at all."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from simulator.scenario import SimulationError
from simulator.texts import plain

__all__ = ["distinct", "writable", "write"]


def distinct(outputs: Mapping[str, Path], scenario: str | None = None) -> None:
    """Sees to it that each report goes to a file of its own, and none over the scenario, however their paths are spelled.

    Args:
        outputs: by flag.
        scenario: the scenario's file.

    Raises:
        SimulationError: two are one file; names the flags.
    """
    seen: dict[str, str] = {}
    if scenario is not None and Path(scenario).is_file():
        seen[os.path.realpath(scenario)] = "the scenario"
    for flag, path in outputs.items():
        try:
            meant = os.path.realpath(path)
        except ValueError:  # a null byte: `writable` says so
            continue
        if meant in seen:
            raise SimulationError(f"{flag}: {plain(str(path))} is the file of {seen[meant]}: give another one")
        if meant != os.devnull:
            seen[meant] = flag


def writable(path: Path | None, flag: str) -> None:
    """Sees to it that a report can be written there when all is measured; what is there stays as it is.

    Raises:
        SimulationError: it cannot; names the flag.
    """
    if path is None:
        return
    try:
        if _is_special(path):
            with path.open("ab"):
                return
        if path.exists():
            with path.open("r+b"):
                pass
        beside = _beside(path)
        beside.touch()
        beside.unlink()
    except (OSError, ValueError) as error:
        raise _failed(path, flag, error) from None


def write(path: Path, flag: str, content: bytes) -> None:
    """Writes a report: to a file beside it first, which then takes its place.

    Raises:
        SimulationError: it cannot be written; names the flag.
    """
    try:
        if _is_special(path):  # a pipe, a terminal: nothing can take its place
            path.write_bytes(content)
            return
        beside = _beside(path)
        try:
            beside.write_bytes(content)
            if path.exists():
                beside.chmod(path.stat().st_mode & 0o777)
            beside.replace(path.resolve())
        except BaseException:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
            raise
    except (OSError, ValueError) as error:
        raise _failed(path, flag, error) from None


def _is_special(path: Path) -> bool:
    return path.exists() and not path.is_file() and not path.is_dir()


def _beside(path: Path) -> Path:
    """In the same directory, so that taking its place is one step; through links the one of what is meant."""
    if path.is_dir() or not path.name:
        raise IsADirectoryError(21, "it is a directory")
    meant = path.resolve()
    return meant.with_name(f".{meant.name[:200]}.{os.getpid()}.tmp")


def _failed(path: Path, flag: str, error: OSError | ValueError) -> SimulationError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return SimulationError(f"{flag}: {plain(str(path))} cannot be written: {reason}")
