"""A browser that watches a station by WebRTC, played by aiortc."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiortc import AudioStreamTrack, MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, VideoFrame

from devices.video.peer import hang_up

__all__ = ["Viewer", "viewer"]


class Viewer:
    """One peer connection.

    Attributes:
        offer: what the station gets.
        lost: the other side closed, or is gone.
    """

    def __init__(self, pc: RTCPeerConnection) -> None:
        self.pc = pc
        self.tracks: dict[str, MediaStreamTrack] = {}
        self.offer: dict[str, str] = {}
        self.lost = asyncio.Event()
        pc.on("track", self._take)
        pc.on("connectionstatechange", self._changed)

    def _take(self, track: MediaStreamTrack) -> None:
        self.tracks[track.kind] = track

    def _changed(self) -> None:
        if self.pc.connectionState in ("closed", "failed"):
            self.lost.set()

    async def accept(self, answer: dict[str, str]) -> None:
        """The station's answer came."""
        assert answer["type"] == "answer"
        await self.pc.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))

    async def answer(self, offer: dict[str, str]) -> dict[str, str]:
        """The answer to the station's offer, for a viewer that made none."""
        await self.pc.setRemoteDescription(RTCSessionDescription(offer["sdp"], "offer"))
        await self.pc.setLocalDescription(await self.pc.createAnswer())
        return {"type": self.pc.localDescription.type, "sdp": self.pc.localDescription.sdp}

    async def frames(self, count: int, kind: str = "video") -> list[Any]:
        """The next frames that arrive."""
        frames = []
        async with asyncio.timeout(20):
            for _ in range(count):
                frame = await self.tracks[kind].recv()
                assert isinstance(frame, VideoFrame | AudioFrame)
                frames.append(frame)
        return frames

    async def ended(self) -> None:
        """Returns once no more frames come."""
        async with asyncio.timeout(20):
            try:
                while True:
                    await self.tracks["video"].recv()
            except MediaStreamError:
                return


@asynccontextmanager
async def viewer(*, call: bool = False, offers: bool = True) -> AsyncIterator[Viewer]:
    """A viewer with its offer ready, if it makes one; `call`: it sends sound and a picture, too."""
    pc = RTCPeerConnection(RTCConfiguration([]))
    viewer = Viewer(pc)
    if not offers:
        pass
    elif call:
        pc.addTransceiver(AudioStreamTrack(), "sendrecv")
        pc.addTransceiver("video", "sendrecv")
    else:
        pc.addTransceiver("video", "recvonly")
    if offers:
        await pc.setLocalDescription(await pc.createOffer())
        viewer.offer = {"type": pc.localDescription.type, "sdp": pc.localDescription.sdp}
    try:
        yield viewer
    finally:
        await hang_up(pc)
