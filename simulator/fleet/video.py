"""Simulated stations that really stream: the cameras of `devices.camera`, on a simulated station's session."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from devices.camera import COMMANDS, Cameras, load_video
from devices.messages import Command, Signal, StreamResponse
from devices.session import Effect, StationSession

__all__ = ["StationVideo", "Studio"]

MAX_ROOMS: Final = 1_000
"""Simulated browsers invite at will; what is in a room with them is not to be put out by a call."""
MAX_TASKS: Final = 64

Say = Callable[[Callable[[StationSession], list[Effect]]], None]
"""Says something by a station's session. Raises StationError."""


class StationVideo:
    """The cameras of one station: test pictures, whatever camera is asked for. See `devices.camera.Link`.

    Simulated browsers send offers that are none: those are not for it.
    """

    def __init__(self, station_id: str, say: Say) -> None:
        self._say = say
        self._cameras = Cameras(station_id, self, max_rooms=MAX_ROOMS)
        self._tasks: set[asyncio.Task[None]] = set()

    def takes(self, command: Command) -> bool:
        """Whether the command is for it; if so, it is carried out."""
        if command.type == "start-stream" and not _is_offer(command.offer):
            return False
        if command.type not in COMMANDS:
            return False
        if len(self._tasks) < MAX_TASKS:
            self._spawn(self._cameras.carry_out(command))
        return True

    def hears(self, signal: Signal) -> bool:
        """Whether the signal is for it; if so, it is acted on."""
        if signal.event == "offer" and not _is_offer(signal.offer):
            return False
        self._cameras.signalled(signal)
        return True

    async def close(self) -> None:
        """Closes every connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._cameras.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="station video")
        self._tasks.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # a room that is not joined, as the connection is gone just now

    # ---- as a Link

    async def stream_response(
        self,
        requester_id: str,
        status: str,
        *,
        answer: Any = None,
        error: str | None = None,
        camera_id: str | None = None,
    ) -> None:
        response = StreamResponse(
            requester_id=requester_id, status=status, answer=answer, error=error, camera_id=camera_id
        )
        self._say(lambda session: session.stream_response(response))

    async def signal(self, signal: Signal) -> None:
        self._say(lambda session: session.signal(signal))

    async def join_room(self, room_id: str) -> None:
        self._say(lambda session: session.join_room(room_id))

    async def leave_room(self, room_id: str) -> None:
        self._say(lambda session: session.leave_room(room_id))


class Studio:
    """All cameras of one worker.

    Raises:
        VideoMissing: the `video` extra is not installed.
    """

    def __init__(self) -> None:
        load_video()  # before the first station connects: it takes a moment
        self._open: set[StationVideo] = set()
        self._closing: set[asyncio.Task[None]] = set()

    def open(self, station_id: str, say: Say) -> StationVideo:
        """The cameras of a station that starts."""
        video = StationVideo(station_id, say)
        self._open.add(video)
        return video

    def release(self, video: StationVideo) -> None:
        """The station stops."""
        self._open.discard(video)
        task = asyncio.create_task(video.close(), name="station video closes")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Returns once everything is closed."""
        for video in list(self._open):
            self.release(video)
        await asyncio.gather(*self._closing, return_exceptions=True)


def _is_offer(offer: Any) -> bool:
    sdp = offer.get("sdp") if isinstance(offer, dict) else None
    return isinstance(sdp, str) and sdp.startswith("v=")
