"""How much of the published conformance suites of Engine.IO and Socket.IO the hub's own door passes, one line a test.

    python -m benchmarks.socketio_conformance --suite DIR/test-suite [--suite DIR/test-suite] [--json FILE]

The suites are not part of this project: `git clone https://github.com/socketio/engine.io-protocol`, and `socket.io-protocol` from
there too, then `npm ci` in the folder `test-suite` of each. They run on Node, and are fixed to port 3000 of the loopback: it must
be free. What they test is `tests.bridge.socketio_echo`, started here.

The exit code is 0 when every test passed.
"""

import argparse
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final

__all__ = ["ConformanceError", "main", "run_suite", "serving_echo"]

PORT: Final = 3000
"""That the suites connect to."""
SCRIPT: Final = "test-suite.js"
START_GUARD: Final = 20.0
"""Seconds for the application to listen."""
GUARD: Final = 120.0
"""Seconds for a suite; each takes about four."""


class ConformanceError(Exception):
    """A suite could not be run; says why, and what to do."""


def _listens() -> bool:
    try:
        socket.create_connection(("127.0.0.1", PORT), timeout=1).close()
    except OSError:
        return False
    return True


@contextmanager
def serving_echo() -> Iterator[None]:
    """The application of the suites on port 3000; ended when the block ends.

    Raises:
        ConformanceError: the port is taken, or it does not start.
    """
    if _listens():
        raise ConformanceError(f"port {PORT} is taken: end what listens there")
    process = subprocess.Popen([sys.executable, "-m", "tests.bridge.socketio_echo", "--port", str(PORT)])
    try:
        began = monotonic()
        while not _listens():
            if process.poll() is not None or monotonic() - began > START_GUARD:
                raise ConformanceError("the application did not start")
            sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run_suite(suite: Path) -> dict[str, Any]:
    """Runs one suite.

    Returns:
        `suite`, `passed`, `of`, and `tests`: each with `test`, `passed`, `ms` and `why`, empty when it passed.

    Raises:
        ConformanceError: it is not there, not installed, or did not end.
    """
    if not (suite / SCRIPT).is_file():
        raise ConformanceError(f"--suite: there is no {SCRIPT} in {suite}")
    if shutil.which("npx") is None:
        raise ConformanceError("npx was not found: install Node")
    command = ["npx", "--no-install", "mocha", "--reporter", "json", SCRIPT]
    try:
        done = subprocess.run(
            command, cwd=suite, stdin=subprocess.DEVNULL, capture_output=True, timeout=GUARD, check=False
        )
    except subprocess.TimeoutExpired:
        raise ConformanceError(f"{suite} did not end within {GUARD:.0f} s") from None
    written = done.stdout.decode(errors="replace")
    try:
        report = json.loads(written[written.index("{") :])
    except ValueError:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["nothing was written"]
        raise ConformanceError(f"mocha gave no report, run `npm ci` in {suite}: {last[0]}") from None
    tests = [
        {
            "test": test["fullTitle"],
            "passed": not test["err"],
            "ms": test.get("duration", 0),
            "why": test["err"].get("message", ""),
        }
        for test in report["tests"]
    ]
    # a hook that fails, or a run cut short, is a failure that no test has
    whole = report["stats"]["failures"] == 0 and not report["pending"] and bool(tests)
    passed = sum(test["passed"] for test in tests)
    name = suite.resolve().parent.name
    return {"suite": name, "passed": passed, "of": len(tests), "whole": whole and passed == len(tests), "tests": tests}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.socketio_conformance",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--suite", type=Path, action="append", required=True, metavar="DIR", help=f"folder with {SCRIPT}"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results there")
    options = parser.parse_args()
    results = []
    try:
        for suite in options.suite:
            with serving_echo():
                results.append(run_suite(suite))
    except ConformanceError as problem:
        parser.error(str(problem))
    for result in results:
        for test in result["tests"]:
            print(f"{'pass' if test['passed'] else 'FAIL'} {test['ms']:5} ms  {test['test']}  {test['why']}".rstrip())
    print(json.dumps([{key: result[key] for key in ("suite", "passed", "of", "whole")} for result in results]))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    sys.exit(0 if all(result["whole"] for result in results) else 1)


if __name__ == "__main__":
    main()
