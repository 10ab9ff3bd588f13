"""Commands to stations and stream requests that are open, as a pure state machine.

A command waits for the reply of the station that was asked; a stream response counts only for a request that is open.
Times are seconds of any monotonic clock.
"""

import heapq
from dataclasses import dataclass
from typing import Any, Final, Literal

from devices.messages import CommandReply

__all__ = ["MAX_OPEN", "STREAM_LIFETIME", "Commands", "Outcome", "Streams"]

MAX_OPEN: Final = 10_000
"""Commands that may wait at a time; one more is RESOURCE_EXHAUSTED."""
STREAM_LIFETIME: Final = 600.0
"""Seconds that a stream request allows an answer and signaling between its two sides."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended.

    Attributes:
        stage: `timeout` when the station did not finish in time.
        delivered: whether the station said that it has the command.
        elapsed: seconds since it was sent.
    """

    command_id: str
    stage: Literal["done", "error", "expired", "duplicate", "timeout"]
    delivered: bool
    elapsed: float
    result: Any = None
    error: str | None = None


@dataclass(slots=True)
class _Open:
    station_id: str
    sent: float
    delivered: bool = False


class Commands:
    """The commands that wait for a reply."""

    def __init__(self) -> None:
        self._open: dict[str, _Open] = {}
        self._heap: list[tuple[float, str]] = []
        self.stray_replies = 0

    def __len__(self) -> int:
        return len(self._open)

    def open(self, command_id: str, station_id: str, now: float, deadline: float) -> None:
        """A command is about to be sent.

        Raises:
            OverflowError: `MAX_OPEN` commands wait already.
        """
        if len(self._open) >= MAX_OPEN:
            raise OverflowError("too many commands wait for a reply")
        self._open[command_id] = _Open(station_id, now)
        heapq.heappush(self._heap, (deadline, command_id))

    def reply(self, station_id: str, reply: CommandReply, now: float) -> Outcome | None:
        """A station replied; an outcome when that ends the command. A reply of another station is counted and ignored."""
        command = self._open.get(reply.id)
        if command is None or command.station_id != station_id:
            self.stray_replies += 1
            return None
        command.delivered = True
        if reply.stage == "received" or reply.stage == "progress":
            return None
        del self._open[reply.id]
        return Outcome(reply.id, reply.stage, True, now - command.sent, reply.result, reply.error)

    def next_deadline(self) -> float | None:
        """When the next command may time out; None: never."""
        return self._heap[0][0] if self._heap else None

    def advance(self, now: float) -> list[Outcome]:
        """Lets time pass: commands past their deadline end as `timeout`."""
        over = []
        while self._heap and self._heap[0][0] <= now:
            _, command_id = heapq.heappop(self._heap)
            command = self._open.pop(command_id, None)
            if command is not None:
                over.append(Outcome(command_id, "timeout", command.delivered, now - command.sent))
        return over


class Streams:
    """Which browser asked which station for a stream."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], dict[str, float]] = {}

    def open(self, requester_id: str, station_id: str, camera_id: str, now: float) -> None:
        """A request was sent; asking again renews it."""
        self._open.setdefault((requester_id, station_id), {})[camera_id] = now + STREAM_LIFETIME

    def cameras(self, requester_id: str, station_id: str, now: float) -> list[str]:
        """The cameras of a station that a browser has asked for, oldest request first."""
        cameras = self._open.get((requester_id, station_id), {})
        return [camera for camera, until in sorted(cameras.items(), key=lambda item: item[1]) if until > now]

    def drop(self, requester_id: str) -> None:
        """The browser is gone."""
        for key in [key for key in self._open if key[0] == requester_id]:
            del self._open[key]

    def expire(self, now: float) -> None:
        """Forgets requests that are over."""
        for key, cameras in list(self._open.items()):
            for camera in [camera for camera, until in cameras.items() if until <= now]:
                del cameras[camera]
            if not cameras:
                del self._open[key]
