"""Prints what a run or a comparison says, to a stdout that may be full, or read by nobody."""

import errno

from rich.console import Console, RenderableType

from simulator.scenario import SimulationError

__all__ = ["put"]


def put(what: RenderableType) -> None:
    """Prints it to stdout. That nobody reads on, as with `| head`, is no error: the exit code is the verdict's all the same.

    Raises:
        SimulationError: it cannot be written.
    """
    try:
        Console().print(what)
    except (
        OSError
    ) as error:  # the `hub` command has no BrokenPipeError (`hub.output`), at which rich would end the process
        if error.errno != errno.EPIPE:
            raise SimulationError(f"the table could not be written: {error.strerror or error}") from None
