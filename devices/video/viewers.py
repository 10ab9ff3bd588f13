"""Who watches a station: its connections, and the feeds that they share."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiortc import RTCIceServer

from devices.video import TEST, CameraError
from devices.video.feeds import Feed, PictureFeed, SourceFeed, View
from devices.video.peer import Peer
from devices.video.sdp import described_fragment, fragment_of, line_of

__all__ = ["Key", "Viewers"]

MAX_EARLY: Final = 64
"""Candidates that wait for their offer, of all peers together; the oldest give way."""
EARLY_SECONDS: Final = 10.0


Key = tuple[str, str, str | None]
"""What there is one connection of: a peer, a camera, and the room if it is a call."""


@dataclass(slots=True, eq=False)
class _Shown:
    """A connection, and what it shows."""

    key: Key
    feed_id: str
    feed: Feed
    view: View
    peer: Peer
    dropped: bool = False


class Viewers:
    """The connections of one station.

    Args:
        station_id: written into test pictures.
        sources: of each camera id, see `devices.camera.Cameras`.
        most: connections at a time.
        ice_servers: as in a browser's configuration.
    """

    def __init__(
        self, station_id: str, sources: Mapping[str, str] | None, most: int, ice_servers: Sequence[Mapping[str, Any]]
    ) -> None:
        self._station_id, self._sources, self._most = station_id, sources, most
        self._ice_servers = [RTCIceServer(s["urls"], s.get("username"), s.get("credential")) for s in ice_servers]
        self._feeds: dict[str, Feed] = {}
        self._shown: dict[Key, _Shown] = {}
        self._early: deque[tuple[float, str, str, dict[str, str]]] = deque(maxlen=MAX_EARLY)
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def keys(self) -> set[Key]:
        """Of the connections there are."""
        return set(self._shown)

    async def close(self) -> None:
        """Closes every connection and source; there are no more."""
        self._closed = True
        await asyncio.gather(*(self._remove(shown) for shown in list(self._shown.values())))
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ---- coming

    async def show(self, key: Key, camera_id: str | None, offer: Any) -> dict[str, str] | None:
        """Answers an offer; a newer one with the same key replaces the connection.

        Gives the answer; None: this one was replaced or stopped meanwhile, and needs none.

        Raises:
            CameraError: it cannot be shown.
        """
        feed_id = self._feed_id(camera_id)
        if offer is None:
            raise CameraError("this camera streams by WebRTC only: send an offer")
        fragment = described_fragment(offer)
        return await self._connect(key, feed_id, fragment, lambda peer: peer.answer(offer))

    async def call(self, key: Key) -> dict[str, str] | None:
        """As `show`, for who is to be called: gives an offer, which `accept` must follow. Raises CameraError."""
        return await self._connect(key, self._feed_id(None), "", lambda peer: peer.offer())

    async def accept(self, key: Key, answer: Any) -> None:
        """The answer to the offer of `call`. Raises CameraError, and closes the connection: it is none."""
        shown = self._shown.get(key)
        if shown is None or shown.peer.fragment:
            return
        try:
            shown.peer.fragment = described_fragment(answer, "answer")
            self._take_early(shown)
            await shown.peer.accept(answer)
        except CameraError:
            await self._remove(shown)
            raise

    async def _connect(
        self, key: Key, feed_id: str, fragment: str, describe: Callable[[Peer], Awaitable[dict[str, str]]]
    ) -> dict[str, str] | None:
        old = self._shown.get(key)
        if self._closed or (old is None and len(self._shown) >= self._most):
            raise CameraError("too many viewers")
        shown = self._add(key, feed_id, fragment)
        try:
            if old is not None:
                await self._remove(old)
            await shown.feed.open()
            description = await describe(shown.peer)
        except CameraError:
            wanted = self._shown.get(key) is shown or shown.feed.ended.is_set()
            await self._remove(shown)
            if wanted:
                raise
            return None
        except BaseException:
            await self._remove(shown)
            raise
        if shown.dropped and shown.feed.ended.is_set():
            raise CameraError("the camera's source ended")
        return None if shown.dropped else description

    def _add(self, key: Key, feed_id: str, fragment: str) -> _Shown:
        feed = self._feed(feed_id)
        view = feed.view()
        peer = Peer(
            view, fragment, call=key[2] is not None, ice_servers=self._ice_servers, gone=lambda: self._gone(shown)
        )
        shown: _Shown = _Shown(key, feed_id, feed, view, peer)
        self._shown[key] = shown
        self._take_early(shown)
        return shown

    def _feed_id(self, camera_id: str | None) -> str:
        if self._sources is None:
            return camera_id or "camera"
        if camera_id is None and self._sources:
            return next(iter(self._sources))
        if camera_id is None or camera_id not in self._sources:
            raise CameraError("unknown camera")
        return camera_id

    def _feed(self, feed_id: str) -> Feed:
        feed = self._feeds.get(feed_id)
        if feed is None or feed.ended.is_set():
            source = None if self._sources is None else self._sources[feed_id]
            feed = PictureFeed(self._station_id, feed_id) if source in (None, TEST) else SourceFeed(source)
            self._feeds[feed_id] = feed
        return feed

    # ---- candidates

    def candidate(self, peer_id: str, candidate: Any) -> None:
        """Goes to the connection whose offer has its user name fragment; without one, to the only one of that peer."""
        fragment = fragment_of(candidate)
        theirs = [shown.peer for key, shown in self._shown.items() if key[0] == peer_id]
        if fragment is None:
            if len(theirs) == 1:
                theirs[0].add(candidate)
            return
        for peer in theirs:
            if peer.fragment == fragment:
                peer.add(candidate)
                return
        if line := line_of(candidate):  # and no more is kept of what a stranger sent
            self._early.append((asyncio.get_running_loop().time(), peer_id, fragment, {"candidate": line}))

    def _take_early(self, shown: _Shown) -> None:
        """The candidates that came before it; what has waited too long is thrown away."""
        oldest = asyncio.get_running_loop().time() - EARLY_SECONDS
        waiting, self._early = self._early, deque(maxlen=MAX_EARLY)
        for entry in waiting:
            came, peer_id, fragment, candidate = entry
            if (peer_id, fragment) == (shown.key[0], shown.peer.fragment):
                shown.peer.add(candidate)
            elif came > oldest:
                self._early.append(entry)

    # ---- going

    async def hide(self, *keys: Key) -> None:
        """Closes those connections, as far as there are any."""
        for key in keys:
            if (shown := self._shown.get(key)) is not None:
                await self._remove(shown)

    def _gone(self, shown: _Shown) -> None:
        task = asyncio.create_task(self._remove(shown), name="viewer gone")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _remove(self, shown: _Shown) -> None:
        if self._shown.get(shown.key) is shown:
            del self._shown[shown.key]
        if shown.dropped:
            return
        shown.dropped = True
        await shown.peer.close()
        shown.feed.leave(shown.view)
        if not shown.feed.watched:
            if self._feeds.get(shown.feed_id) is shown.feed:
                del self._feeds[shown.feed_id]
            await shown.feed.close()
