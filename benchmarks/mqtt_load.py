"""The load on a broker, from a process of its own: `benchmarks.broker` starts it and sends one command a line.

Commands are JSON objects on stdin, `{"do": "qos0", "seconds": 3}`; each is answered by one JSON object on stdout. Where a
rate is given, `cpu_us` beside it is the broker's own processor time per delivered message: where this generator is the limit,
compare that. Times with the name `start` or `end` are those of `time.monotonic`, which all processes of a machine share.
"""

import argparse
import asyncio
import gc
import json
import sys
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from time import monotonic
from typing import Final

import uvloop

from benchmarks.mqtt_client import STATUS, Client, LoadError, publish_packet
from benchmarks.mqtt_fleet import CONNECTING, OBSERVER, PUBLISHERS, Fleet, Result
from benchmarks.process import ProcessEnded
from devices.topics import STATION_CMD, STATION_OFFLINE, STATION_STATUS

__all__ = ["main"]

LOGINS: Final = ("none", "token", "password")
COMMAND: Final = b'{"type":"report-status"}'
GUARD: Final = 120.0
"""Seconds that any one command may take."""


def percentiles(times: Iterable[float]) -> Result:
    """p50, p99 and greatest of `times` (seconds), in milliseconds."""
    ordered = sorted(times) or [0.0]
    at = [ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)], ordered[-1]]
    return {name: round(value * 1e3, 3) for name, value in zip(("p50", "p99", "max"), at, strict=True)}


class Load(Fleet):
    """All commands; each public coroutine is one."""

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(options)
        self._background: asyncio.Task[None] | None = None
        self._pair: tuple[Client, Client] | None = None
        self._samples: list[tuple[float, int]] = []
        self._watched: tuple[Client, Client] | None = None

    async def _rate(self, observer: Client, load: Awaitable[None]) -> Result:
        before, cpu, start = observer.received, self._cpu(), monotonic()
        await load
        seconds, cpu, count = monotonic() - start, self._cpu() - cpu, observer.received - before
        if observer.closed.is_set():
            raise LoadError("the broker closed the observer's connection")
        return {"per_s": round(count / seconds), "cpu_us": round(cpu / max(1, count) * 1e6, 2), "count": count}

    async def qos0(self, *, seconds: float) -> Result:
        """One publisher flat out, one observer. Windowed, so that the broker's work and not its queue is measured."""
        observer = await self._observer("0", STATION_STATUS.filter(), 0)
        publisher = await self._client(PUBLISHERS[0], PUBLISHERS[0])
        result = await self._rate(observer, _pump(publisher, PUBLISHERS[0], observer, monotonic() + seconds))
        return await self._end(result, observer, publisher)

    async def spread(self, *, seconds: float) -> Result:
        """Every message from another station's socket: what the broker pays per read, not per batch."""
        observer = await self._observer("0", STATION_STATUS.filter(), 0)
        packets = [publish_packet(STATION_STATUS(name), STATUS) for name in self._ids]

        async def load() -> None:
            sent, end = 0, monotonic() + seconds
            while monotonic() < end:
                for client, packet in zip(self._fleet, packets, strict=True):
                    client.send(packet)
                    sent += 1
                    # an event for each message would cost more than the message
                    while sent - observer.received > 1000 and monotonic() < end:  # noqa: ASYNC110
                        await asyncio.sleep(0)
                    if sent % 64 == 0 and monotonic() >= end:
                        return

        return await self._end(await self._rate(observer, load()), observer)

    async def qos1(
        self, *, seconds: float, in_flight: int = 100, clean: bool = True, publisher: str = PUBLISHERS[0]
    ) -> Result:
        """One publisher that keeps `in_flight` messages unacknowledged, one observer of QoS 1."""
        observer = await self._observer("1", STATION_STATUS.filter(), 1, clean=clean)
        sender = await self._client(publisher, publisher)
        topic = STATION_STATUS(publisher)
        result = await self._rate(observer, _in_flight(sender, lambda _: topic, in_flight, seconds))
        result["acked"] = sender.acked
        return await self._end(result, observer, sender)

    async def _end(self, result: Result, *clients: Client) -> Result:
        await asyncio.sleep(0.3)
        for client in clients:
            client.transport.abort()
        await asyncio.sleep(0.2)
        return result

    async def fanout(self, *, seconds: float, subscribers: int) -> Result:
        """One message to many subscribers; the next one when all have the last."""
        topic, gate = STATION_STATUS(PUBLISHERS[0]), asyncio.Semaphore(CONNECTING)

        async def one(number: int) -> Client:
            async with gate:
                return await self._observer(f"f{number}", topic, 0)

        publisher = await self._client(PUBLISHERS[0], PUBLISHERS[0])
        crowd = await asyncio.gather(*map(one, range(subscribers)))
        left, done = 0, asyncio.Event()

        def arrived() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                done.set()

        for client in crowd:
            client.on_message = arrived
        packet, rounds, cpu, start = publish_packet(topic, STATUS), 0, self._cpu(), monotonic()
        while monotonic() - start < seconds:
            left = len(crowd)
            done.clear()
            publisher.send(packet)
            await asyncio.wait_for(done.wait(), 30)
            rounds += 1
        elapsed, cpu, count = monotonic() - start, self._cpu() - cpu, rounds * len(crowd)
        result = {"per_s": round(count / elapsed), "cpu_us": round(cpu / count * 1e6, 2), "count": count}
        return await self._end(result, publisher, *crowd)

    async def command(self, *, seconds: float) -> Result:
        """One way from a service to one station, in milliseconds: at most 1,000 commands, one at a time."""
        sender = await self._client(f"{OBSERVER}-c", OBSERVER)
        middle = len(self._fleet) // 2
        station, packet = self._fleet[middle], publish_packet(STATION_CMD(self._ids[middle]), COMMAND)
        times: list[float] = []
        loop, end = asyncio.get_running_loop(), monotonic() + seconds
        while len(times) < 20 or (len(times) < 1000 and monotonic() < end):
            got: asyncio.Future[None] = loop.create_future()
            station.on_message = partial(_settle, got)
            start = monotonic()
            sender.send(packet)
            await asyncio.wait_for(got, 30)
            times.append(monotonic() - start)
            await asyncio.sleep(0.001)  # as people do: not in step with the broker's own turns
        return await self._end(percentiles(times) | {"count": len(times)}, sender)

    # in the background

    def leave(self) -> None:
        """Ends every connection that is no station's, and what runs on them."""
        if self._background is not None:
            self._background.cancel()
        self._background = None
        super().leave()

    async def pump(self, *, window: bool) -> Result:
        """Starts one publisher that sends flat out, and its observer; `window` False: however late the observer is."""
        name = PUBLISHERS[2] if window else PUBLISHERS[1]
        observer = await self._observer(name, STATION_STATUS.filter(), 0)
        publisher = await self._client(name, name)
        self._pair, self._samples = (observer, publisher), []

        async def sample() -> None:
            while True:
                self._samples.append((monotonic(), observer.received))
                await asyncio.sleep(0.02)

        async def run() -> None:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(sample(), name="samples")
                tasks.create_task(_pump(publisher, name, observer, float("inf"), window=window), name="publisher")

        self._background = asyncio.create_task(run(), name="pump")
        return {}

    async def pumped(self) -> Result:
        """Ends what `pump` started: how many had been delivered when, and whether the broker ended a connection."""
        if self._pair is None:
            raise LoadError("nothing was started")
        cut = any(client.closed.is_set() for client in self._pair)
        self.leave()
        await asyncio.sleep(0.5)
        return {"samples": self._samples, "cut": cut}

    async def watch(self) -> Result:
        """Starts to count wills and statuses."""
        wills = await self._observer("wills", STATION_OFFLINE.filter(), 1)
        self._watched = wills, await self._observer("statuses", STATION_STATUS.filter(), 0)
        return {}

    async def watched(self) -> Result:
        """What `watch` has counted."""
        if self._watched is None:
            raise LoadError("nothing is watched")
        wills, statuses = self._watched
        return {"wills": wills.received, "statuses": statuses.received, "cut": statuses.closed.is_set()}

    async def hold(self, *, seconds: float, ping_every: float, status_every: float = 0.0) -> Result:
        """Every station pings, and sends its status, once in so many seconds; 0: sends none. All evenly spread."""
        self._lateness.clear()
        statuses = [publish_packet(STATION_STATUS(name), STATUS) for name in self._ids] if status_every else []
        start, pings, sent, fleet = monotonic(), 0, 0, self._fleet
        while (elapsed := monotonic() - start) < seconds:
            for number in range(pings, int(elapsed / ping_every * len(fleet))):
                fleet[number % len(fleet)].ping()
                pings += 1
            for number in range(sent, int(elapsed / status_every * len(fleet)) if status_every else 0):
                fleet[number % len(fleet)].transport.write(statuses[number % len(fleet)])
                sent += 1
            await asyncio.sleep(0.02)
        await asyncio.sleep(1)
        late, lost = self._lateness, sum(client.closed.is_set() for client in fleet)
        answers = {"pings": pings, "unanswered": pings - len(late)}
        return percentiles(late) | answers | {"statuses": sent, "lost_connections": lost}

    # durable sessions

    async def to_offline(self, *, seconds: float, in_flight: int, each: int) -> Result:
        """QoS 1 to the commands of every station in turn, all of them offline; at most `each` to one."""
        sender = await self._client(f"{OBSERVER}-d", OBSERVER)
        topics, limit = [STATION_CMD(name) for name in self._ids], each * len(self._ids)
        cpu, start = self._cpu(), monotonic()
        await _in_flight(sender, lambda number: topics[number % len(topics)], in_flight, seconds, limit)
        elapsed, cpu, count = monotonic() - start, self._cpu() - cpu, sender.acked
        await asyncio.sleep(1)  # for the acknowledgements of what is in flight
        result = {"per_s": round(count / elapsed), "cpu_us": round(cpu / max(1, count) * 1e6, 2), "count": sender.acked}
        return await self._end(result, sender)

    async def collect(self) -> Result:
        """The stations come back: how many messages were kept for them."""
        await self.connect(subscribe=False)
        seen = -1
        while (received := sum(client.received for client in self._fleet)) != seen:
            seen = received
            await asyncio.sleep(1)
        return {"received": received}


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def _pump(publisher: Client, name: str, observer: Client, end: float, *, window: bool = True) -> None:
    size = 50 if window else 20
    batch, sent, before = publish_packet(STATION_STATUS(name), STATUS) * size, 0, observer.received
    while monotonic() < end and not publisher.closed.is_set():
        await publisher.writable.wait()
        if window and sent - (observer.received - before) > 2000:
            await asyncio.sleep(0.0005)
            continue
        publisher.transport.write(batch)
        sent += size
        await asyncio.sleep(0)


async def _in_flight(
    sender: Client, topic: Callable[[int], str], in_flight: int, seconds: float, limit: float = float("inf")
) -> None:
    """QoS 1, the next message for each PUBACK; ends after `seconds`, or when `limit` messages are acknowledged."""
    sent, done, stop = 0, asyncio.Event(), False

    def send() -> None:
        nonlocal sent
        if sent < limit and not stop:
            sender.transport.write(publish_packet(topic(sent), STATUS, sent % 65000 + 1))
            sent += 1
        elif sender.acked >= sent:
            done.set()

    sender.on_ack = send
    for _ in range(in_flight):
        send()
    ended = {asyncio.create_task(done.wait()), asyncio.create_task(sender.closed.wait())}
    await asyncio.wait(ended, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    stop = True
    for task in ended:
        task.cancel()
    if sender.closed.is_set():
        raise LoadError("the broker closed the publisher's connection")


async def _serve(options: argparse.Namespace) -> None:
    load, loop = Load(options), asyncio.get_running_loop()
    gc.disable()  # nothing of the generator's own may delay what it measures
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command = json.loads(line)
        try:
            async with asyncio.timeout(command.pop("guard", GUARD)):
                result = await getattr(load, command.pop("do"))(**command)
        except (LoadError, ProcessEnded, OSError) as error:
            # TimeoutError is an OSError, and says nothing
            result = {"error": "took too long" if isinstance(error, TimeoutError) else str(error)}
            load.leave()
        print(json.dumps(result), flush=True)


def main() -> None:
    """The command line, as `benchmarks.generator` uses it."""
    parser = argparse.ArgumentParser(prog="benchmarks.mqtt_load", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument(
        "--pid", type=int, required=True, help="the broker's process, for its memory and processor time"
    )
    parser.add_argument("--source", help="the local address that connections come from")
    parser.add_argument("--login", choices=LOGINS, default="none")
    parser.add_argument("--secret", default="", help="signs the tokens")
    uvloop.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
