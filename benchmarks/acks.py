"""Acks a second through both doors of a whole hub, beside bare Node Socket.IO: `python -m benchmarks.acks [--json FILE]`.

    native      `/ws` of `hub serve`: token, session check, event table, models, outbox limits; its broker runs, nothing is on it
    socketio    `/socket.io/` of the same process, over websocket
    node        Socket.IO on Node that does nothing but answer (benchmarks/node/ack_server.js, socket.io from tests/node)

Each is loaded in turn by this process over raw sockets, all in one run, and the median of the repetitions is told. The load and
the servers share the machine: where the load is the limit, the server's own CPU per ack is the figure to compare.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.ack_load import REQUEST, Figures, LoadError, NotServed, Shape, Target, load
from benchmarks.brokers import BrokerError, raise_descriptor_limit
from benchmarks.figures import machine
from benchmarks.process import ProcessEnded
from benchmarks.whole_hub import TOKENS, HubError, RunningHub, running_hub

__all__ = ["main", "native", "socketio"]

SOCKETIO_REQUEST: Final = b'420["ping",{}]'
SOCKETIO_PATH: Final = "/socket.io/?EIO=4&transport=websocket"
SOCKETIO_GREETING: Final = b'40{"sid":'
SHAPES: Final = {
    "throughput": Shape(50, 20),
    "many": Shape(1_000, 1),
    "single": Shape(1, 1),
}
TARGETS: Final = {"native": (1.2, 2.0), "socketio": (0.8, 1.0)}
"""Acks a second of each door to those of bare Node: what is asked for, and the goal beyond."""
ROOT: Final = Path(__file__).parents[1]

Rows = dict[str, dict[str, list[Figures]]]


def native(hub: RunningHub, token: str) -> Target:
    """The native door, for somebody with a token."""
    return Target(port=hub.port, pid=hub.pid, path=f"/ws?token={token}", request=REQUEST, greeting=b'"welcome"')


def socketio(port: int, pid: int, token: str = "") -> Target:
    """A Socket.IO server over websocket; a token goes into its auth."""
    hello = b"40" + (json.dumps({"token": token}).encode() if token else b"")
    return Target(
        port=port, pid=pid, path=SOCKETIO_PATH, request=SOCKETIO_REQUEST, hello=hello, greeting=SOCKETIO_GREETING
    )


@contextmanager
def running_node() -> Iterator[Target]:
    """Bare Node Socket.IO, ended when the block ends. Raises LoadError when it cannot be run."""
    program = shutil.which("node")
    if program is None:
        raise LoadError("node is not installed (apt install nodejs)")
    modules = ROOT / "tests" / "node" / "node_modules"
    process = subprocess.Popen(
        [program, str(ROOT / "benchmarks" / "node" / "ack_server.js")],
        env=os.environ | {"NODE_PATH": str(modules)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        if not port:
            raise LoadError("the server on node did not start: run `npm ci` in tests/node")
        yield socketio(int(port), process.pid)
    finally:
        process.kill()
        process.wait()


def _served(targets: dict[str, Target]) -> dict[str, Target]:
    """Those whose door there is."""
    served = {}
    for name, target in targets.items():
        try:
            load(target, Shape(1, 1), 0.05)
        except NotServed:
            print(f"{name}: not served, left out", file=sys.stderr)
        else:
            served[name] = target
    return served


def measure(targets: dict[str, Target], seconds: float, repeat: int) -> Rows:
    """Loads every target in every shape, in turn."""
    rows: Rows = {shape: {name: [] for name in targets} for shape in SHAPES}
    for turn in range(repeat):
        for shape, numbers in SHAPES.items():
            # the first of a turn is not always the same: the machine's speed drifts
            for name in (*targets,) if turn % 2 == 0 else reversed((*targets,)):
                rows[shape][name].append(load(targets[name], numbers, seconds))
    return rows


def summary(rows: Rows) -> dict[str, Any]:
    """Medians, and what each is to bare Node."""
    figures: dict[str, Any] = {"shapes": {}, "toNode": {}}
    for shape, found in rows.items():
        medians = {name: _medians(runs) for name, runs in found.items()}
        figures["shapes"][shape] = {
            "connections": SHAPES[shape].connections,
            "inFlight": SHAPES[shape].in_flight,
            "servers": medians,
        }
        figures["toNode"][shape] = {
            name: {key: round(row[key] / medians["node"][key], 2) for key in row}
            for name, row in medians.items()
            if name != "node"
        }
    ratios = figures["toNode"]["throughput"]
    figures["targets"] = {
        name: {
            "least": least,
            "goal": goal,
            "is": ratios[name]["acks_per_s"],
            "byCpu": round(1 / ratios[name]["cpu_us"], 2),
            "met": ratios[name]["acks_per_s"] >= least,
        }
        for name, (least, goal) in TARGETS.items()
        if name in ratios
    }
    return figures


def _medians(runs: Sequence[Figures]) -> Figures:
    pick: Callable[[str], float] = lambda key: round(median(run[key] for run in runs), 2)  # noqa: E731
    return {key: pick(key) for key in runs[0]}


def main() -> None:
    """The command line: 0 when every target is met, 1 when one is missed, 2 when it could not run."""
    parser = argparse.ArgumentParser(prog="benchmarks.acks", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    parser.add_argument("--seconds", type=float, default=3.0, help="measured for each server and shape")
    parser.add_argument("--repeat", type=int, default=3, help="how often")
    options = parser.parse_args()
    try:
        raise_descriptor_limit(2_000)
        with ExitStack() as stack:
            hub, node = stack.enter_context(running_hub()), stack.enter_context(running_node())
            token = TOKENS.mint_user("benchmark")
            doors = {"native": native(hub, token), "socketio": socketio(hub.port, hub.pid, token)}
            rows = measure(_served(doors) | {"node": node}, options.seconds, options.repeat)
    except (BrokerError, HubError, LoadError, ProcessEnded) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    figures = {**machine(), **summary(rows), "runs": rows}
    text = json.dumps(figures, indent=2)
    print(json.dumps({key: value for key, value in figures.items() if key != "runs"}, indent=2))
    if options.json:
        options.json.write_text(text + "\n")
    sys.exit(0 if all(target["met"] for target in figures["targets"].values()) else 1)


if __name__ == "__main__":
    main()
