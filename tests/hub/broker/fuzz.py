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
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

from tests.hub.broker.fuzz_checks import calm, check, empty
from tests.hub.broker.fuzz_packets import Pool, damage, pick
from tests.hub.broker.fuzz_world import Failure, Flag, FuzzWorld, Op, Script

__all__ = ["Found", "Fuzzer", "play", "run", "shorter"]

BATCH: Final = 250
"""Episodes that draw from the same packets."""
_Step = tuple[int, int, bytes]


class _Errors(logging.Handler):
    """Makes a failure of what is logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)

    def emit(self, record: logging.LogRecord) -> None:
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


class Fuzzer:
    """Makes episodes: the same from the same seed."""

    def __init__(self, seed: int) -> None:
        self._seed, self._batch = seed, -1
        self._pools: tuple[Pool, Pool]
        self._all: list[bytes]

    def script(self, number: int) -> Script:
        """The episode of a number."""
        if number // BATCH != self._batch:
            self._batch = number // BATCH
            rng = Random(f"{self._seed} {self._batch}")
            self._pools = Pool(rng, 4), Pool(rng, 5)
            self._all = [one for pool in self._pools for one in (*pool.tame, *pool.wild, *pool.connects[:50])]
        rng = Random(self._seed << 32 | number)
        flags = 0
        for flag, chance in (
            (Flag.WAITS, 0.2),
            (Flag.STORE, 0.25),
            (Flag.ROOMY, 0.2),
            (Flag.QUEUE_QOS0, 0.3),
            (Flag.RATE, 0.06),
            (Flag.SYNCS, 0.3),
            (Flag.KEEP_ALIVE, 0.2),
        ):
            if rng.random() < chance:
                flags |= flag
        steps: list[tuple[float, _Step]] = []
        for _ in range(rng.randrange(3, 9)):
            self._stream(rng, steps, int(rng.random() * 6))
        count = len(steps)
        for kind, chance in (
            (Op.SETTLE, 0.5),
            (Op.ACK, 0.3),
            (Op.TIME, 0.05),
            (Op.THINK, 0.3 if flags & Flag.WAITS else 0.05),
            (Op.STUCK, 0.06),
            (Op.HUB, 0.03),
            (Op.CRASH, 0.015 if flags & Flag.STORE else 0.0),
        ):
            for _ in range(int(count * chance + rng.random())):
                steps.append((rng.random(), self._event(rng, kind)))
        steps.sort(key=lambda step: step[0])
        return Script(flags, [step for _, step in steps])

    def _event(self, rng: Random, kind: int) -> _Step:
        if kind == Op.TIME:
            return kind, pick(rng, (1, 2, 8, 40, 100, 255)), b""
        if kind == Op.HUB:
            return kind, rng.randrange(8), pick(rng, (b"a", b"a/b", b"$SYS/x", b"wait/a"))
        if kind == Op.STUCK:
            return kind, rng.randrange(6), pick(rng, (0, 50, 390, 401, 1_000, 5_000)).to_bytes(2, "big")
        return kind, rng.randrange(6), b""

    def _stream(self, rng: Random, steps: list[tuple[float, _Step]], who: int) -> None:
        """One connection: what it sends, in pieces, spread over some of the time."""
        pool = self._pools[rng.random() < 0.6]
        tame = rng.random() < 0.35
        packets = [pick(rng, pool.connects)]
        for _ in range(int(rng.random() * 20)):
            packets.append(pick(rng, pool.tame if tame or rng.random() < 0.7 else pool.wild))
        if rng.random() < 0.2:
            packets.append(pick(rng, pool.goodbyes))
        kind = Op.TAME
        if not tame:
            kind = Op.WILD
            if rng.random() < 0.05:
                packets.insert(rng.randrange(len(packets)), pick(rng, self._all))
            # CONNECT is mostly left alone, and what comes first: else all would end there
            whole = 0 if rng.random() < 0.15 else rng.randrange(1, len(packets) + 1)
            data = b"".join(packets[whole:])
            while rng.random() < 0.6:
                data = damage(rng, data, self._all)
            packets = [*packets[:whole], data]
        start = rng.random() * 0.8
        length = (1 - start) * rng.random()
        steps.append((start, (Op.OPEN, who, b"")))
        pieces = _cut(rng, b"".join(packets))
        for at, piece in enumerate(pieces, 1):
            steps.append((start + length * at / len(pieces), (kind, who, piece)))
        if rng.random() < 0.4:
            steps.append((start + length + (1 - start - length) * rng.random(), (Op.LOST, who, b"")))


def _cut(rng: Random, data: bytes) -> list[bytes]:
    chance = rng.random()
    if chance < 0.02:
        return [data[at : at + 1] for at in range(len(data))]
    count = 1 if chance < 0.25 else int(rng.random() * 6)
    places = sorted({0, len(data), *(int(rng.random() * len(data)) for _ in range(count))})
    return [data[start:stop] for start, stop in zip(places, places[1:], strict=False)]


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
    progress: Callable[[int], None] = lambda _: None,
) -> Total:
    """Runs episodes `first`, `first + step`, ... until there were enough streams, or it took long enough."""
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
                    if len(found) > 50:
                        break
            episodes += 1
            if episodes == 2_000:
                early = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            number += 1
            if number % BATCH == 0:
                number += (step - 1) * BATCH
                progress(done)
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
        print(f"\nepisode {one.number}: {one.what}\n{one.story}\n{told(Script.load(path.read_bytes()))}\nwritten to {path}")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
