"""The `hub` command. Exit codes: 0 ok; 1 failed, or a threshold missed; 2 usage, or could not run; 130 second Ctrl-C.

Only what every end of the command has in common, and little to import: Ctrl-C may come while the rest (`hub.command_line`)
still loads.
"""

import sys

from hub.output import OutputError, discard, guard

__all__ = ["main"]


def main() -> None:
    """The entry point."""
    code = 0
    try:
        guard()
        from hub.command_line import carry_out

        code = carry_out(sys.argv[1:])
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        code = 130
    except OutputError as error:
        discard()
        if not error.nobody_reads and code != 2:  # else it has been said, and only what is buffered came again
            print(f"hub: the output could not be written: {error.strerror}", file=sys.stderr)
            code = 2
    sys.exit(code)


if __name__ == "__main__":
    main()
