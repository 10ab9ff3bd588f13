"""Cameras of a station, as browsers see them by WebRTC: streams on request, and calls in rooms.

    VideoMissing
      (the `video` extra is not installed)

    station = Station(url, "st-1", token=token)
    async with Cameras.attach(station, {"lane": "rtsp://10.0.0.7/main", "gate": "test"}), station:
        await station.run_forever()

A browser offers and the station answers; each viewer is one connection, and a feed is drawn or decoded once for all of them.
"""

import asyncio
import logging
from collections.abc import Coroutine, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from devices.messages import Command, Signal
from devices.session import StationError
from devices.video import TEST, CameraError

if TYPE_CHECKING:
    from devices.station import Job, Station
    from devices.video.viewers import Viewers

__all__ = ["COMMANDS", "TEST", "Cameras", "Link", "VideoMissing", "load_video"]

COMMANDS: Final = ("start-stream", "stop-stream", "join-room")
"""The commands that cameras carry out."""
MAX_VIEWERS: Final = 8
MAX_ROOMS: Final = 4
MAX_MEMBERS: Final = 64
MAX_TASKS: Final = 64
"""Offers and farewells that are worked on at a time."""

log = logging.getLogger(__name__)


class VideoMissing(ImportError):
    """Video needs what is not installed; `str()` says how to get it."""


class Link(Protocol):
    """How a station speaks to the hub; `devices.station.Station` is one."""

    async def stream_response(
        self,
        requester_id: str,
        status: str,
        *,
        answer: Any = None,
        error: str | None = None,
        camera_id: str | None = None,
    ) -> None:
        """Answers `start-stream`. Raises StationError, like all of these."""

    async def signal(self, signal: Signal) -> None:
        """Sends an answer to a peer."""

    async def join_room(self, room_id: str) -> None:
        """Enters a room."""

    async def leave_room(self, room_id: str) -> None:
        """Leaves a room."""


class Cameras:
    """The cameras of one station, as a context manager, or until `close`.

    Args:
        station_id: written into test pictures.
        link: how the station answers.
        sources: of each camera id: `TEST`, an `rtsp://` address, or a file, which is played again and again. None: whatever
            camera is asked for is a test picture. The first one is shown in calls.
        max_viewers: connections at a time, calls among them.
        max_rooms: rooms that it is in at a time; an empty one makes place for another.
        ice_servers: STUN and TURN, as in a browser's configuration.

    Raises:
        VideoMissing: the `video` extra is not installed.
    """

    def __init__(
        self,
        station_id: str,
        link: Link,
        sources: Mapping[str, str] | None = None,
        *,
        max_viewers: int = MAX_VIEWERS,
        max_rooms: int = MAX_ROOMS,
        ice_servers: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self._station_id, self._link, self._max_rooms = station_id, link, max_rooms
        self._viewers = load_video()(station_id, sources, max_viewers, ice_servers)
        self._rooms: dict[str, set[str]] = {}  # their other members, as far as this station was told
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    def attach(cls, station: "Station", sources: Mapping[str, str] | None = None, **options: Any) -> Self:
        """The cameras of a Station of the SDK: takes its `start-stream`, `stop-stream`, `join-room` and signals.

        Raises:
            ValueError: the station has a handler for one of those.
        """
        cameras = cls(station.station_id, station, sources, **options)

        async def carry_out(job: "Job") -> None:
            await cameras.carry_out(job.command)

        for command_type in COMMANDS:
            station.on(command_type)(carry_out)
        station.on_signal(cameras.signalled)
        return cameras

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes every connection and source."""
        self._rooms.clear()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._viewers.close()

    @property
    def viewers(self) -> int:
        """How many connections there are."""
        return len(self._viewers.keys)

    # ---- what the hub says

    async def carry_out(self, command: Command) -> None:
        """One of `COMMANDS`; any other is nothing to it."""
        match command.type:
            case "start-stream" if command.requester_id:
                await self.start(command.requester_id, command.camera_id, command.offer)
            case "stop-stream" if command.requester_id:
                camera_id = command.params.get("cameraId") if isinstance(command.params, dict) else None
                await self.stop(command.requester_id, camera_id if isinstance(camera_id, str) else None)
            case "join-room" if command.room_id:
                await self.join(command.room_id, command.inviter_id)

    async def start(self, requester_id: str, camera_id: str | None, offer: Any) -> None:
        """Answers a request for a stream, with an answer or an error; a newer request for the same camera replaces it."""
        answer, error = None, None
        try:
            answer = await self._viewers.show((requester_id, camera_id or "", None), camera_id, offer)
            if answer is None:
                return  # a newer request is answered instead
        except CameraError as reason:
            error = str(reason)
        try:
            await self._link.stream_response(
                requester_id, "error" if error else "ready", answer=answer, error=error, camera_id=camera_id
            )
        except StationError as failed:
            log.warning("%s: a stream request was not answered: %s", self._station_id, failed)

    async def stop(self, requester_id: str, camera_id: str | None) -> None:
        """The requester does not want that stream any more: for one that is not connected yet, which cannot say so itself."""
        await self._viewers.hide((requester_id, camera_id or "", None))

    async def join(self, room_id: str, inviter_id: str | None) -> None:
        """Enters a room, to be called there. Raises StationError."""
        if room_id not in self._rooms and len(self._rooms) >= self._max_rooms:
            idle = next((room for room in self._rooms if not self._callers(room)), None)
            if idle is None:
                raise StationError("the station is in too many calls")
            await self._leave_room(idle)
        self._rooms.setdefault(room_id, set())
        if inviter_id:
            self._met(room_id, inviter_id)
        await self._link.join_room(room_id)

    def signalled(self, signal: Signal) -> None:
        """A peer sent an offer, an answer or a candidate, or came or went."""
        match signal.event:
            case "ice-candidate":
                self._viewers.candidate(signal.peer, signal.candidate)
            case "offer" | "answer" if len(self._tasks) < MAX_TASKS:
                self._spawn(self._called(signal))
            case "peer-joined" if signal.room_id in self._rooms and len(self._tasks) < MAX_TASKS:
                self._spawn(self._call(signal.peer, signal.room_id))
            case "peer-left" | "peer-disconnected":
                self._spawn(self._left(signal.peer, signal.room_id))

    # ---- calls

    async def _called(self, signal: Signal) -> None:
        """A peer's offer, or its answer to an offer."""
        room_id = self._room_of(signal)
        if room_id is None:
            return
        key = (signal.peer, "", room_id)
        try:
            if signal.event == "answer":
                await self._viewers.accept(key, signal.answer)
            elif (answer := await self._viewers.show(key, None, signal.offer)) is not None:
                await self._link.signal(Signal(event="answer", peer=signal.peer, room_id=signal.room_id, answer=answer))
        except (CameraError, StationError) as error:
            log.warning("%s: a call came to nothing: %s", self._station_id, error)

    async def _call(self, peer_id: str, room_id: str) -> None:
        """Somebody joined after this station: who was there makes the offer."""
        self._met(room_id, peer_id)
        try:
            if (offer := await self._viewers.call((peer_id, "", room_id))) is not None:
                await self._link.signal(Signal(event="offer", peer=peer_id, room_id=room_id, offer=offer))
        except (CameraError, StationError) as error:
            log.warning("%s: a call came to nothing: %s", self._station_id, error)

    def _met(self, room_id: str, peer_id: str) -> None:
        """Somebody else is in a room."""
        members = self._rooms.get(room_id)
        if members is not None and len(members) < MAX_MEMBERS:
            members.add(peer_id)

    def _room_of(self, signal: Signal) -> str | None:
        if signal.room_id is not None:
            return signal.room_id if signal.room_id in self._rooms else None
        theirs = [room for room, members in self._rooms.items() if signal.peer in members]
        return next(iter(theirs or (self._rooms if len(self._rooms) == 1 else ())), None)

    def _callers(self, room_id: str) -> set[str]:
        return {peer_id for peer_id, _, room in self._viewers.keys if room == room_id}

    async def _left(self, peer_id: str, room_id: str | None) -> None:
        """A room without others is left; who left without naming a room is gone altogether."""
        if room_id is None:
            await self._viewers.hide(*(key for key in self._viewers.keys if key[0] == peer_id))
        for room in [room_id] if room_id else list(self._rooms):
            members = self._rooms.get(room)
            if members is None or peer_id not in members | self._callers(room):
                continue
            members.discard(peer_id)
            await self._viewers.hide((peer_id, "", room))
            if not members and not self._callers(room):
                await self._leave_room(room)

    async def _leave_room(self, room_id: str) -> None:
        if self._rooms.pop(room_id, None) is not None:
            try:
                await self._link.leave_room(room_id)
            except StationError as error:
                log.debug("%s: a room was not left: %s", self._station_id, error)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=f"cameras-{self._station_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def load_video() -> "type[Viewers]":
    """Imports what video needs, which takes a while. Raises VideoMissing."""
    try:
        from devices.video.viewers import Viewers
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("aiortc", "av"):
            raise
        raise VideoMissing("video needs more packages: pip install 'stationhub[video]'") from None
    return Viewers
