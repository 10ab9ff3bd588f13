"""The scripts that `fuzz` plays: streams of packets, damaged, cut, and mixed in time."""

from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Final

from devices.mqtt.codec import encode
from devices.mqtt.packets import Publish
from tests.hub.broker.fuzz_packets import Pool, damage, pick
from tests.hub.broker.fuzz_world import Flag, Op, Script

__all__ = ["BATCH", "CORPUS", "Fuzzer"]

BATCH: Final = 250
"""Episodes that draw from the same packets."""
CORPUS: Final = Path(__file__).with_name("corpus")
_FLOOD: Final = encode(Publish("a/b", b"flood" * 60), 4) * 250
"""One read so large that the others are due their turn; of version 4, and so broken for one of 5."""
_Step = tuple[int, int, bytes]


class Fuzzer:
    """Makes episodes: the same from the same seed and corpus."""

    def __init__(self, seed: int) -> None:
        self._seed, self._batch = seed, -1
        self._corpus = [Script.load(path.read_bytes()) for path in sorted(CORPUS.glob("*.fuzz"))]
        sent = {data for script in self._corpus for kind, _, data in script.steps if kind in (Op.TAME, Op.WILD)}
        self._traces = sorted(sent - {b""})
        self._pools: tuple[Pool, Pool]
        self._all: list[bytes]

    def script(self, number: int) -> Script:
        """The episode of a number."""
        if number // BATCH != self._batch:
            self._batch = number // BATCH
            rng = Random(f"{self._seed} {self._batch}")
            self._pools = Pool(rng, 4), Pool(rng, 5)
            self._all = [one for pool in self._pools for one in (*pool.tame, *pool.wild, *pool.connects[:50])]
            self._all += self._traces
        rng = Random(self._seed << 32 | number)
        if self._corpus and rng.random() < 0.1:
            return self._again(rng, pick(rng, self._corpus))
        flags = 0
        for flag, chance in (
            (Flag.WAITS, 0.2),
            (Flag.STORE, 0.25),
            (Flag.ROOMY, 0.2),
            (Flag.QUEUE_QOS0, 0.3),
            (Flag.RATE, 0.06),
            (Flag.SYNCS, 0.3),
            (Flag.KEEP_ALIVE, 0.2),
            (Flag.LOCAL, 0.2),
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
            (Op.FAULT, 0.015 if flags & Flag.STORE else 0.0),
        ):
            for _ in range(int(count * chance + rng.random())):
                steps.append((rng.random(), self._event(rng, kind)))
        if rng.random() < 0.02:
            steps.append((0.5 + rng.random() / 2, (Op.CLOSE, 0, b"")))
        if flags & Flag.ROOMY and rng.random() < 0.02:
            steps.append((rng.random(), (Op.WILD, int(rng.random() * 6), _FLOOD)))
        steps.sort(key=lambda step: step[0])
        return Script(flags, [step for _, step in steps])

    def _again(self, rng: Random, script: Script) -> Script:
        """A script of the corpus, damaged: what was sent, and the order of things."""
        steps = list(script.steps)
        for _ in range(rng.randrange(1, 5)):
            at = int(rng.random() * len(steps))
            kind, who, data = steps[at]
            chance = rng.random()
            if kind == Op.TAME:  # whatever comes of it, its stream is not as it was
                steps = [(Op.WILD if one[:2] == (kind, who) else one[0], *one[1:]) for one in steps]
                kind, who, data = steps[at]
            if kind == Op.WILD and chance < 0.6:
                steps[at] = kind, who, damage(rng, data, self._all)
            elif chance < 0.7 and len(steps) > 1:
                del steps[at]
            elif chance < 0.8:
                steps.insert(at, steps[at])
            elif chance < 0.9:
                steps.insert(int(rng.random() * len(steps)), steps.pop(at))
            else:
                events = (Op.TIME, Op.SETTLE, Op.ACK, Op.LOST, Op.CRASH, Op.STUCK, Op.THINK)
                steps.insert(at, self._event(rng, pick(rng, events)))
        flags = script.flags ^ (1 << rng.randrange(8) if rng.random() < 0.3 else 0)
        return Script(flags, steps)

    def _event(self, rng: Random, kind: int) -> _Step:
        if kind == Op.TIME:
            return kind, pick(rng, (1, 2, 8, 40, 100, 255)), b""
        if kind == Op.FAULT:
            return kind, rng.randrange(1, 4), b""
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
    return [data[start:stop] for start, stop in pairwise(places)]
