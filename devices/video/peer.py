"""One WebRTC connection that shows a browser video (and sends sound, in a call), on aiortc."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from aiortc import (
    AudioStreamTrack,
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.contrib.media import MediaBlackhole

from devices.video import CameraError
from devices.video.sdp import kinds_of, parse_candidate, take_apart

__all__ = ["Peer", "hang_up"]

MAX_CANDIDATES: Final = 64
CONNECTS_WITHIN: Final = 20.0
"""Seconds from the answer until media flows."""
ANSWERS_WITHIN: Final = 10.0
CLOSES_WITHIN: Final = 5.0
SILENT_FOR: Final = 10.0
"""Seconds without a packet of the viewer (its reports come each second) until it is taken to be gone."""
LOOKS_EVERY: Final = 2.0
CHECK_SECONDS: Final = 0.1
"""In which aioice surely finds out about the end of its checks: it looks each 20 ms."""
T = TypeVar("T")

log = logging.getLogger(__name__)


class Peer:
    """One connection.

    Args:
        video: what is shown.
        call: sends silence, too, where sound is wanted, and takes what the other side sends.
        ice_servers: STUN and TURN.
        gone: is told once that the other side is gone, or that it never came.

    Attributes:
        fragment: of the other side's description, to know its candidates by; empty until that is there.
    """

    def __init__(
        self,
        video: MediaStreamTrack,
        fragment: str,
        *,
        call: bool = False,
        ice_servers: Sequence[RTCIceServer] = (),
        gone: Callable[[], None],
    ) -> None:
        # one transport for all sections: an offer cannot open more sockets than that
        self._pc = RTCPeerConnection(RTCConfiguration(list(ice_servers), bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        self._video, self._call, self._gone = video, call, gone
        self.fragment = fragment
        self._sink = MediaBlackhole()
        self._silence: AudioStreamTrack | None = None
        self._candidates: list[Any] = []
        self._seen = 0
        self._ready = self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._pc.on("track", self._sink.addTrack)
        self._pc.on("connectionstatechange", self._changed)
        video.on("ended", self._leave)

    # ---- the handshake

    async def answer(self, offer: Mapping[str, Any]) -> dict[str, str]:
        """The answer to the offer, with all candidates of this side.

        Raises:
            CameraError: there is nothing in it to answer.
        """
        sdp, theirs = take_apart(offer["sdp"])
        answer = await self._within(self._negotiate(sdp), "malformed offer")
        self._begin(theirs)
        self._spawn(self._watch())
        return answer

    async def offer(self) -> dict[str, str]:
        """An offer of picture and sound; the other side's `accept` must follow. Raises CameraError."""
        offer = await self._within(self._propose(), "no offer could be made")
        self._spawn(self._watch())
        return offer

    async def accept(self, answer: Mapping[str, Any]) -> None:
        """The answer to `offer`. Raises CameraError."""
        sdp, theirs = take_apart(answer["sdp"])
        remote = RTCSessionDescription(sdp, "answer")
        await self._within(self._pc.setRemoteDescription(remote), "malformed answer")
        await self._sink.start()
        self._begin(theirs)

    async def _within(self, work: Awaitable[T], otherwise: str) -> T:
        """Does one step of the handshake. Raises CameraError, `otherwise` for whatever a parser does with a stranger's text."""
        try:
            async with asyncio.timeout(ANSWERS_WITHIN):
                return await work
        except TimeoutError:
            raise CameraError("the station took too long") from None
        except CameraError:
            raise
        except Exception as error:
            log.debug("%s: %s", otherwise, type(error).__name__)
            raise CameraError(otherwise) from None

    async def _negotiate(self, sdp: str) -> dict[str, str]:
        pc = self._pc
        # in the offer's order: its first section is the one whose transport they all share
        for kind in dict.fromkeys(kinds_of(sdp)):
            self._add_section(kind)
        mine = pc.getTransceivers()
        await pc.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        for more in pc.getTransceivers():
            if more not in mine:
                more.direction = "inactive"
        await pc.setLocalDescription(await pc.createAnswer())
        if not any(t.sender.track and t.currentDirection in ("sendonly", "sendrecv") for t in mine):
            raise CameraError("the offer does not ask for video")
        await self._sink.start()
        return self._description()

    async def _propose(self) -> dict[str, str]:
        for kind in ("video", "audio"):
            self._add_section(kind)
        await self._pc.setLocalDescription(await self._pc.createOffer())
        return self._description()

    def _add_section(self, kind: str) -> None:
        if kind == "video":
            self._pc.addTransceiver(self._video, "sendrecv" if self._call else "sendonly")
        elif self._call:
            self._silence = AudioStreamTrack()
            self._pc.addTransceiver(self._silence, "sendrecv")
        else:
            self._pc.addTransceiver("audio", "inactive")

    def _description(self) -> dict[str, str]:
        return {"type": self._pc.localDescription.type, "sdp": self._pc.localDescription.sdp}

    def _begin(self, theirs: Iterable[str]) -> None:
        """Both descriptions are known: candidates can be tried."""
        for line in theirs:
            self.add({"candidate": line})
        self._ready = True
        for candidate in self._candidates:
            self._try(candidate)
        self._candidates.clear()

    def add(self, candidate: Any) -> None:
        """One more candidate of the other side, from its offer or from a signal; what is none is left out."""
        self._seen += 1
        parsed = parse_candidate(candidate)
        if self._closed or parsed is None or self._seen > MAX_CANDIDATES:
            return
        if self._ready:
            self._try(parsed)
        else:
            self._candidates.append(parsed)

    def _try(self, candidate: Any) -> None:
        self._spawn(self._offer_candidate(candidate))

    async def _offer_candidate(self, candidate: Any) -> None:
        transceivers = self._pc.getTransceivers()
        if not transceivers:
            return
        candidate.component, candidate.sdpMid, candidate.sdpMLineIndex = 1, transceivers[0].mid, None
        try:
            await self._pc.addIceCandidate(candidate)  # a name of mDNS takes up to a second
        except Exception as error:
            log.debug("a candidate was not taken: %s", type(error).__name__)

    # ---- its end

    def _changed(self) -> None:
        if self._pc.connectionState in ("failed", "closed"):
            self._leave()

    async def _watch(self) -> None:
        """Ends what never connects, and what falls silent: a closed browser may say nothing."""
        loop = asyncio.get_running_loop()
        heard, since, seen = loop.time(), loop.time(), 0
        while True:
            await asyncio.sleep(LOOKS_EVERY)
            now = loop.time()
            packets = await self._packets()
            if packets > seen:
                seen, heard = packets, now
            if self._pc.connectionState != "connected":
                if now - since > CONNECTS_WITHIN:
                    return self._leave()
            elif now - heard > SILENT_FOR:
                return self._leave()

    async def _packets(self) -> int:
        senders = self._pc.getSenders()
        stats = await senders[0].getStats() if senders else {}
        return sum(report.packetsReceived for report in stats.values() if report.type == "transport")

    def _leave(self) -> None:
        if not self._closed:
            self._closed = True
            self._gone()

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work, name="video peer")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Closes the connection; tells nobody."""
        self._closed = True
        tasks = self._tasks - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._silence is not None:
            self._silence.stop()
        try:
            async with asyncio.timeout(CLOSES_WITHIN):
                await hang_up(self._pc)
        except Exception as error:
            log.warning("a video connection was not closed well: %s", type(error).__name__)
        await self._sink.stop()


async def hang_up(pc: RTCPeerConnection) -> None:
    """Closes a connection, and what aiortc 1.16 leaves of one that was about to connect: that goes on, and never ends."""
    transports = {transceiver.receiver.transport.transport for transceiver in pc.getTransceivers()}
    connecting = [transport for transport in transports if transport.state == "checking"]
    await pc.close()
    if connecting:
        await asyncio.sleep(CHECK_SECONDS)
    for transport in connecting:
        await transport.stop()  # nothing, if it stayed closed
