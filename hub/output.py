"""Stdout as the `hub` command writes it: what goes wrong there is told apart from all else that can go wrong."""

import errno
import io
import os
import sys

__all__ = ["OutputError", "discard", "guard"]


class OutputError(OSError):
    """Stdout cannot be written."""

    @property
    def nobody_reads(self) -> bool:
        """As with `| head`, which has what it wants."""
        return self.errno == errno.EPIPE


class _Stdout(io.FileIO):
    def write(self, data: "bytes | memoryview") -> int:  # type: ignore[override]  # of any buffer
        try:
            return super().write(data)
        except OSError as error:
            raise OutputError(error.errno, error.strerror) from None


def guard() -> None:
    """From now on stdout raises OutputError. One that is closed stays so."""
    if sys.stdout is not None:
        raw = _Stdout(sys.stdout.fileno(), "w", closefd=False)
        encoding, errors = sys.stdout.encoding, sys.stdout.errors
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors, line_buffering=raw.isatty())


def discard() -> None:
    """What is still buffered goes nowhere: written at the end of the process, it would fail once more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
