"""Commands to stations and stream requests that are open, as a pure state machine.

A command waits for the reply of the station that was asked; a stream response counts only for a request that is open.
Pure: the clock is injected.
"""

import heapq
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final, Literal

from devices.clock import Clock
from devices.messages import CommandReply

__all__ = ["MAX_OPEN", "STREAM_LIFETIME", "Commands", "Outcome", "Streams"]

MAX_OPEN: Final = 10_000
MAX_OPEN_OF_PEER: Final = 100
"""Commands that may wait at a time, of all and of one peer; one more is RESOURCE_EXHAUSTED."""
STREAM_LIFETIME: Final = 600.0
"""Seconds that a stream request allows an answer and signaling between its two sides."""

MAX_CAMERAS: Final = 100
"""Open requests of one browser to one station; the oldest is forgotten first."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended.

    Attributes:
        stage: `timeout` when the station did not finish in time.
        delivered: whether the station said that it has the command.
        elapsed: seconds since it was sent.
    """

    command_id: str
    stage: Literal["done", "error", "expired", "timeout"]
    delivered: bool
    elapsed: float
    result: Any = None
    error: str | None = None


@dataclass(slots=True)
class _Open:
    station_id: str
    requester_id: str
    sent: float
    delivered: bool = False


class Commands:
    """The commands that wait for a reply."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: dict[str, _Open] = {}
        self._of_peer: Counter[str] = Counter()
        self._heap: list[tuple[float, str]] = []
        self.stray_replies = 0

    def __len__(self) -> int:
        return len(self._open)

    def open(self, command_id: str, station_id: str, requester_id: str, timeout: float) -> None:
        """A command is about to be sent; it may take `timeout` seconds.

        Raises:
            OverflowError: too many commands wait already.
        """
        if len(self._open) >= MAX_OPEN or self._of_peer[requester_id] >= MAX_OPEN_OF_PEER:
            raise OverflowError("too many commands wait for a reply")
        now = self._clock.monotonic()
        self._open[command_id] = _Open(station_id, requester_id, now)
        self._of_peer[requester_id] += 1
        heapq.heappush(self._heap, (now + timeout, command_id))

    def cancel(self, command_id: str) -> None:
        """Nobody waits any more."""
        self._close(command_id)

    def _close(self, command_id: str) -> _Open | None:
        command = self._open.pop(command_id, None)
        if command is not None:
            self._of_peer -= Counter((command.requester_id,))  # which forgets those that are down to none
        return command

    def reply(self, station_id: str, reply: CommandReply) -> Outcome | None:
        """A station replied; an outcome when that ends the command. A reply of another station is counted and ignored."""
        command = self._open.get(reply.id)
        if command is None or command.station_id != station_id:
            self.stray_replies += 1
            return None
        command.delivered = True
        # a duplicate is a command delivered twice: the first delivery's end is still to come
        if reply.stage == "received" or reply.stage == "progress" or reply.stage == "duplicate":
            return None
        self._close(reply.id)
        elapsed = self._clock.monotonic() - command.sent
        return Outcome(reply.id, reply.stage, True, elapsed, reply.result, reply.error)

    def tick(self) -> list[Outcome]:
        """Time passed: commands past their deadline end as `timeout`."""
        over, now = [], self._clock.monotonic()
        while self._heap and self._heap[0][0] <= now:
            _, command_id = heapq.heappop(self._heap)
            command = self._close(command_id)
            if command is not None:
                over.append(Outcome(command_id, "timeout", command.delivered, now - command.sent))
        return over


class Streams:
    """Which browser asked which station for a stream."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until: dict[tuple[str, str], dict[str, float]] = {}

    def open(self, requester_id: str, station_id: str, camera_id: str) -> None:
        """A request was sent; asking again renews it."""
        cameras = self._until.setdefault((requester_id, station_id), {})
        cameras.pop(camera_id, None)
        if len(cameras) >= MAX_CAMERAS:
            del cameras[next(iter(cameras))]
        cameras[camera_id] = self._clock.monotonic() + STREAM_LIFETIME

    def cameras(self, requester_id: str, station_id: str) -> list[str]:
        """The cameras of a station that a browser has asked for, oldest request first."""
        now = self._clock.monotonic()
        cameras = self._until.get((requester_id, station_id), {})
        return [camera for camera, until in cameras.items() if until > now]

    def known(self, requester_id: str) -> bool:
        """Whether the browser asked anybody."""
        return any(key[0] == requester_id for key in self._until)

    def drop(self, requester_id: str) -> None:
        """The browser is gone."""
        for key in [key for key in self._until if key[0] == requester_id]:
            del self._until[key]

    def tick(self) -> None:
        """Time passed: forgets requests that are over."""
        now = self._clock.monotonic()
        for key in [key for key, cameras in self._until.items() if max(cameras.values()) <= now]:
            del self._until[key]
