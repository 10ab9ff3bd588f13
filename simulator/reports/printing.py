"""Prints what a run or a comparison says, to a stdout that may be full, or read by nobody."""

import errno
import os
import sys
from typing import NoReturn

from rich.console import Console, RenderableType

__all__ = ["put"]


class _Console(Console):
    def on_broken_pipe(self) -> NoReturn:
        """rich would end the process with exit code 1, which is that of a check that failed."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def put(what: RenderableType) -> None:
    """Prints it to stdout. That nobody reads on, as with `| head`, is no error.

    Raises:
        OSError: it cannot be written.
    """
    try:
        _Console().print(what)
    except OSError as error:
        _discard()
        if error.errno != errno.EPIPE:
            raise


def _discard() -> None:
    """What is still buffered goes nowhere: written at the end of the process, it would fail once more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
