"""How much of the Eclipse Paho interoperability suite a broker passes: MQTT 3.1.1 and 5, one line a test.

    python -m benchmarks.interop --suite DIR/interoperability [--broker ours|mosquitto|HOST:PORT] [--only NAME] [--json FILE]

The suite is not part of this project: `git clone https://github.com/eclipse/paho.mqtt.testing`. Each test runs in a process of
its own, so that one that hangs or leaves a thread behind spoils no other. `--jobs` brokers, each with its own port and state,
share the tests; a broker named HOST:PORT gets them one after another. It must let everybody in, refuse a subscription to
`test/nosubscribe` and answer a keep-alive of 120 s with a server keep-alive of 60 s.

The exit code is 0 when every test passed that a broker must pass; `EXCUSED` names the others and says why.
"""

import argparse
import ast
import asyncio
import json
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from amqtt.contexts import Action
from amqtt.plugins.base import BaseTopicPlugin
from amqtt.session import Session

from tests.mosquitto import free_port, mosquitto

__all__ = ["EXCUSED", "DenyPlugin", "interop_broker", "main"]

FILES: Final = {"3.1.1": "client_test.py", "5": "client_test5.py"}
NO_SUBSCRIBE: Final = "test/nosubscribe"
"""The filter that the suite expects to be refused."""
KEEP_ALIVE: Final = 60
"""Seconds of server keep-alive that the suite expects."""
GUARD: Final = 60.0
"""Seconds that a test may take; the longest, will delays and session expiry, take half of it."""

EXCUSED: Final[dict[tuple[str, str], tuple[str, str]]] = {
    ("5", "test_server_topic_alias"): (
        'self.assertTrue(hasattr(callback.messagedicts[0]["properties"], "TopicAlias")',
        "wants topic aliases from the server, which is free not to send any (3.3.2.3.4)",
    ),
    ("5", "test_subscribe_failure"): (
        "[MQTT5-3.9.3-2] return code in QoS must be 0, 1, 2 or 0x80",
        "its client takes no other refusal than 0x80; 0x87, not authorized, is one of the codes of 3.9.3",
    ),
}
"""Version and test: what it writes when it fails for asking more than the standard does, and what that is. The same test that
fails otherwise is not excused."""

# The suite's own `__main__` sets its globals from its options; then it calls `unittest.main`, which would read them too.
# Not -h: it compares by `o in ("--help")`, a substring test, so -h prints the help and ends with exit code 0.
CHILD: Final = """
import runpy, sys, unittest
script, host, port, test = sys.argv[1:]
run = unittest.main
unittest.main = lambda: run(argv=[script, "Test." + test])
sys.argv = [script, "--hostname", host, "-p", port]
runpy.run_path(script, run_name="__main__")
"""

RAN_WELL: Final = re.compile(r"^Ran 1 test in .*\n\nOK$", re.MULTILINE)
"""What unittest writes when the one test ran and passed."""

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one test; `why` is empty when it passed."""

    version: str
    test: str
    passed: bool
    seconds: float
    why: str
    excused: str = ""

    def __str__(self) -> str:
        verdict = "pass" if self.passed else "excused" if self.excused else "FAIL"
        why = f"  {self.why}" if self.why else ""
        return f"{self.version:6} {self.test:32} {verdict:8}{self.seconds:5.1f} s{why}"


@dataclass
class _NoConfig:
    """Nothing to set."""


class DenyPlugin(BaseTopicPlugin):  # type: ignore[misc]  # amqtt ships no types
    """amqtt topic plugin: all is allowed but a subscription to `test/nosubscribe`."""

    Config = _NoConfig

    async def topic_filtering(
        self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None
    ) -> bool:
        """Whether the client may."""
        return action != Action.SUBSCRIBE or topic != NO_SUBSCRIBE


@asynccontextmanager
async def interop_broker() -> AsyncIterator[Address]:
    """Our broker as the suite wants it, on a free port of the loopback; ended when the block ends."""
    from hub.broker import HubBroker, Limits  # here, so that the other brokers can be tried without it

    port = free_port()
    config = {
        "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
        "plugins": {
            "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True},
            "benchmarks.interop.DenyPlugin": {},
        },
    }
    broker = HubBroker(config, limits=Limits(keep_alive_max=KEEP_ALIVE))
    await broker.start()
    try:
        yield "127.0.0.1", port
    finally:
        await broker.shutdown()


def _dynamic_security() -> Path | None:
    places = ("lib", "lib/*", "lib64", "local/lib")
    return next(
        (file for place in places for file in Path("/usr").glob(f"{place}/mosquitto_dynamic_security.so")), None
    )


@asynccontextmanager
async def mosquitto_broker() -> AsyncIterator[Address]:
    """Mosquitto as the suite wants it. Its `acl_file` never refuses a subscription, so its dynamic security plugin does."""
    role = {"rolename": "all", "acls": [{"acltype": "subscribeLiteral", "topic": NO_SUBSCRIBE, "allow": False}]}
    rights = {
        "defaultACLAccess": dict.fromkeys(
            ("publishClientSend", "publishClientReceive", "subscribe", "unsubscribe"), True
        ),
        "roles": [role],
        "groups": [{"groupname": "all", "roles": [{"rolename": "all"}]}],
        "anonymousGroup": "all",
    }
    config = f"max_keepalive {KEEP_ALIVE}\nlog_type none"
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "rights.json"
        path.write_text(json.dumps(rights))
        if plugin := _dynamic_security():
            config += f"\nplugin {plugin}\nplugin_opt_config_file {path}"
        async with mosquitto(Path(directory), config=config) as server:
            yield "127.0.0.1", server.port


def _given(broker: str) -> Callable[[], AbstractAsyncContextManager[Address]]:
    host, _, port = broker.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"--broker: neither ours, mosquitto nor HOST:PORT: {broker}")

    @asynccontextmanager
    async def running() -> AsyncIterator[Address]:
        yield host, int(port)

    return running


def find_tests(suite: Path) -> list[tuple[str, str]]:
    """Version and name of each test in the suite.

    Raises:
        OSError: the suite is not in that folder.
    """
    found = []
    for version, file in FILES.items():
        tree = ast.parse((suite / file).read_text(encoding="utf-8"))
        for case in (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Test"):
            names = [node.name for node in case.body if isinstance(node, ast.FunctionDef)]
            # will_message_test: unittest does not find it under that name, but it is a test
            found += [(version, name) for name in names if name.startswith("test") or name.endswith("_test")]
    return found


def _why(output: str, file: str) -> str:
    """The last exception that the test reports, and the line of the suite where it came up."""
    why, line = "no reason in its output", ""
    for text in output.splitlines():
        if place := re.match(rf'  File ".*{re.escape(file)}", line (\d+), in \w*test', text):
            line = place[1]
        # older tests print what failed, then fail with `False != True`
        elif re.match(r"(\w+\.)*\w*(Error|Exception|timeout|Timeout)\b", text) and "False != True" not in text:
            why = f"line {line}: {text}" if line else text
    return why if len(why) <= 160 else f"{why[:157]}..."


async def run_test(suite: Path, address: Address, version: str, test: str, *, verbose: bool = False) -> Outcome:
    """Runs one test against the broker at `address`; `verbose` prints all that a failed one wrote."""
    began = perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "ignore", "-c", CHILD, FILES[version], address[0], str(address[1]), test,
        cwd=suite, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        written, _ = await asyncio.wait_for(process.communicate(), GUARD)
        output = written.decode(errors="replace")
        # the exit code alone proves nothing: it is 0 as well when no test ran
        passed = process.returncode == 0 and RAN_WELL.search(output) is not None
        # nor does unittest's verdict: test_zero_length_clientid of version 5 prints its failure and goes on
        passed = passed and not re.search(rf'^  File ".*{FILES[version]}", line \d+, in \w*test', output, re.MULTILINE)
        why = "" if passed else _why(output, FILES[version])
    except TimeoutError:
        passed, output, why = False, "", f"did not end within {GUARD:.0f} s"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if verbose and not passed:
        print(output)
    sign, excuse = EXCUSED.get((version, test), ("", ""))
    excused = excuse if not passed and sign in output else ""
    return Outcome(version, test, passed, round(perf_counter() - began, 1), why, excused)


async def run_suite(options: argparse.Namespace) -> list[Outcome]:
    """Runs the tests that `options` ask for and prints each as it ends."""
    tests = [test for test in find_tests(options.suite) if not options.only or options.only in "/".join(test)]
    if not tests:
        raise ValueError(f"no test of the suite is named {options.only}")
    brokers = {"ours": interop_broker, "mosquitto": mosquitto_broker}
    broker = brokers.get(options.broker) or _given(options.broker)
    jobs = min(options.jobs if options.broker in brokers else 1, len(tests))
    outcomes: list[Outcome] = []

    async def lane() -> None:
        async with broker() as address:
            while tests:
                version, test = tests.pop(0)
                outcome = await run_test(options.suite, address, version, test, verbose=options.verbose)
                outcomes.append(outcome)
                print(outcome, flush=True)

    async with asyncio.TaskGroup() as group:
        for _ in range(jobs):
            group.create_task(lane())
    return sorted(outcomes, key=lambda outcome: (outcome.version, outcome.test))


def _summary(broker: str, outcomes: list[Outcome]) -> dict[str, Any]:
    totals = {}
    for version in FILES:
        own = [outcome for outcome in outcomes if outcome.version == version]
        if own:
            totals[version] = {"passed": sum(outcome.passed for outcome in own), "of": len(own)}
    return {"broker": broker, "totals": totals, "tests": [asdict(outcome) for outcome in outcomes]}


def _run(work: Coroutine[Any, Any, list[Outcome]]) -> list[Outcome]:
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.interop", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--suite", type=Path, required=True, metavar="DIR", help="folder with client_test5.py")
    parser.add_argument("--broker", default="ours", help="ours (default), mosquitto, or HOST:PORT of a running one")
    parser.add_argument("--only", metavar="NAME", help="tests with this in their name, e.g. 5/test_will")
    parser.add_argument("--jobs", type=int, default=4, help="brokers side by side (4); the tests mostly wait")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results there")
    parser.add_argument("--verbose", action="store_true", help="print all that a failed test wrote")
    options = parser.parse_args()
    options.suite = options.suite.resolve()
    try:
        outcomes = _run(run_suite(options))
    except (OSError, ValueError) as problem:
        parser.error(str(problem))
    summary = _summary(options.broker, outcomes)
    print("; ".join(f"{version}: {total['passed']} of {total['of']}" for version, total in summary["totals"].items()))
    for outcome in outcomes:
        if outcome.excused:
            print(f"excused: {outcome.version} {outcome.test}: {outcome.excused}")
    if options.json:
        options.json.write_text(json.dumps(summary, indent=1) + "\n")
    # ours passes all of it: what others are excused for would be a step back
    sys.exit(0 if all(outcome.passed or (outcome.excused and options.broker != "ours") for outcome in outcomes) else 1)


if __name__ == "__main__":
    main()
