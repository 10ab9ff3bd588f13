"""Fuzzing of the broker: streams of damaged packets on several connections of one engine, cut anywhere.

    python -m tests.hub.broker.fuzz --streams 1000000 --jobs 2
    python -m tests.hub.broker.fuzz --seconds 60 --seed 7
    python -m tests.hub.broker.fuzz --replay tests/hub/broker/corpus/*.fuzz

An episode is one engine and a script of 3 to 8 streams (connections): what they send, when the clock moves, networks get stuck
or lost, answers come late, the broker dies. Some streams are tame: they keep to the standard, and are owed what it says.
Found is any exception but the protocol's own, any log at ERROR, any packet sent that is none, whatever `fuzz_checks` says does
not hold. Seed and number of an episode say all of it; what is found is made shorter and written to a file for `corpus/`.
"""

import argparse
import logging
import multiprocessing
import resource
import sys
import time
import traceback
from pathlib import Path
from typing import NamedTuple

from tests.hub.broker.fuzz_checks import calm, check, empty, serves
from tests.hub.broker.fuzz_fakes import Failure
from tests.hub.broker.fuzz_scripts import BATCH, Fuzzer
from tests.hub.broker.fuzz_world import Flag, FuzzWorld, Op, Script

__all__ = ["Found", "Total", "fails", "play", "quiet", "run", "shorter", "told"]


class _Errors(logging.Handler):
    """Makes a failure of what is logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)

    def emit(self, record: logging.LogRecord) -> None:
        # what the fakes do on purpose
        if "plugin failed" not in record.getMessage() and "the disk is full" not in record.getMessage():
            raise Failure(f"logged as an error: {record.getMessage()}")


class quiet:
    """While it lasts, errors in the broker's log are failures, and the rest of it is not shown."""

    def __enter__(self) -> None:
        self._log, self._errors = logging.getLogger("hub.broker"), _Errors()
        self._log.addHandler(self._errors)
        self._log.propagate, self._before = False, self._log.propagate

    def __exit__(self, *_: object) -> None:
        self._log.removeHandler(self._errors)
        self._log.propagate = self._before


def play(script: Script) -> FuzzWorld:
    """Runs a script to its end; gives the world that is left. Raises whatever is found."""
    world = FuzzWorld(script.flags)
    try:
        for kind, who, data in script.steps:
            world.step(kind, who, data)
        world.settle()
        check(world)
        calm(world)
        check(world)
        empty(world)
        serves(world)
    finally:
        world.forget_thoughts()
    return world


def _what(error: BaseException) -> str:
    """What is the same for two findings of one bug: the error, and where it was raised."""
    if isinstance(error, Failure):
        return f"Failure: {error}"
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {Path(last.filename).name}:{last.name}: {last.line}"


def told(script: Script) -> str:
    """A script to read."""
    names = {number: name for name, number in vars(Op).items() if isinstance(number, int)}
    flags = " ".join(name for name, bit in vars(Flag).items() if isinstance(bit, int) and script.flags & bit)
    return "\n".join([f"  {flags}", *(f"  {names[kind]} {who} {data!r}" for kind, who, data in script.steps)])


def fails(script: Script) -> str:
    """What a script finds; empty: nothing."""
    try:
        play(script)
    except Exception as error:
        return _what(error)
    return ""


def shorter(script: Script) -> Script:
    """The same finding with fewer steps and fewer bytes."""
    what = fails(script)
    size = max(1, len(script.steps) // 2)
    while size:
        at = 0
        while at < len(script.steps):
            less = script._replace(steps=script.steps[:at] + script.steps[at + size :])
            if fails(less) == what:
                script = less
            else:
                at += size
        size //= 2
    for at, (kind, who, data) in enumerate(script.steps):
        size = len(data) // 2
        while size and kind in (Op.TAME, Op.WILD):
            here = 0
            while here < len(data):
                less_data = data[:here] + data[here + size :]
                steps = [*script.steps[:at], (kind, who, less_data), *script.steps[at + 1 :]]
                if fails(script._replace(steps=steps)) == what:
                    data, script = less_data, script._replace(steps=steps)
                else:
                    here += size
            size //= 2
    return script


class Found(NamedTuple):
    """A finding: the number of its episode, what it is, and the whole story."""

    number: int
    what: str
    story: str
    script: Script


class Total(NamedTuple):
    """What was run: streams, episodes, and what was found (each thing once)."""

    streams: int
    episodes: int
    found: list[Found]
    memory: int
    """Kilobytes that the process grew after the first tenth."""


def run(
    seed: int,
    *,
    streams: int | None = None,
    seconds: float | None = None,
    first: int = 0,
    step: int = 1,
    enough: int = 30,
) -> Total:
    """Runs batches `first`, `first + step`, ... until there were enough streams, it took long enough, or `enough` was found."""
    fuzzer, number, done, episodes = Fuzzer(seed), first * BATCH, 0, 0
    found: dict[str, Found] = {}
    until = time.monotonic() + seconds if seconds is not None else float("inf")
    early = 0
    with quiet():
        while done < (streams if streams is not None else float("inf")) and time.monotonic() < until:
            script = fuzzer.script(number)
            try:
                done += play(script).begun
            except Exception as error:
                done += sum(kind == Op.OPEN for kind, _, _ in script.steps)
                what = _what(error)
                if what not in found:
                    found[what] = Found(number, what, traceback.format_exc(), script)
                    if len(found) >= enough:
                        break
            episodes += 1
            if episodes == 2_000:
                early = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            number += 1
            if number % BATCH == 0:
                number += (step - 1) * BATCH
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - early if early else 0
    return Total(done, episodes, list(found.values()), memory)


def _job(arguments: tuple[int, int | None, float | None, int, int]) -> Total:
    seed, streams, seconds, first, step = arguments
    return run(seed, streams=streams, seconds=seconds, first=first, step=step)


def main() -> int:
    """The command. Gives 1 when something was found."""
    parser = argparse.ArgumentParser(description="Fuzzes the broker.")
    parser.add_argument("--streams", type=int, help="connections to run in all")
    parser.add_argument("--seconds", type=float, help="stop after so long")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("fuzz-found"), help="directory for what is found")
    parser.add_argument("--replay", type=Path, nargs="+", help="run these files instead")
    given = parser.parse_args()
    if given.replay:
        with quiet():
            failed = {path: fails(Script.load(path.read_bytes())) for path in given.replay}
        for path, what in failed.items():
            print(f"{path}: {what or 'passes'}")
            if what:
                print(told(Script.load(path.read_bytes())))
        return int(any(failed.values()))
    start = time.monotonic()
    streams = given.streams if given.streams is not None or given.seconds is not None else 100_000
    each = None if streams is None else -(-streams // given.jobs)
    with multiprocessing.Pool(given.jobs) as processes:
        totals = processes.map(_job, [(given.seed, each, given.seconds, at, given.jobs) for at in range(given.jobs)])
    took = time.monotonic() - start
    done = sum(total.streams for total in totals)
    print(
        f"seed {given.seed}: {done:,} streams in {sum(total.episodes for total in totals):,} episodes, {took:.0f} s, "
        f"{done / took:,.0f} streams/s; memory grew by at most {max(total.memory for total in totals):,} kB"
    )
    found = {one.what: one for total in totals for one in total.found}
    for at, one in enumerate(found.values()):
        given.out.mkdir(parents=True, exist_ok=True)
        path = given.out / f"{given.seed}-{one.number}-{at}.fuzz"
        with quiet():
            path.write_bytes(shorter(one.script).dump())
        print(
            f"\nepisode {one.number}: {one.what}\n{one.story}\n{told(Script.load(path.read_bytes()))}\nwritten to {path}"
        )
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
