"""One connected browser or WebSocket station, whatever door it came through, and its bounded outbox."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import orjson

from bridge.connection import HIGH_WATER
from bridge.door import HOLD_SECONDS, Wire
from bridge.errors import CLOSE_OVERLOAD
from hub.auth import Identity
from hub.limits import TokenBucket

__all__ = ["HIGH_WATER", "OUTBOX_BYTES", "OUTBOX_SECONDS", "Peer"]

OUTBOX_BYTES = 16 * 1024 * 1024
"""Unsent bytes of what may not be dropped that close a peer (contract.md section 7)."""
STRIKES = 100
"""Events in a row, beyond the rate, that are answered before the socket is left alone for `HOLD_SECONDS`."""
OUTBOX_SECONDS = 10.0
"""Seconds above the high-water mark, with something that may not be dropped waiting, that close a peer."""


class Peer(ABC):
    """One socket with an identity. A door's subclass knows the wire format.

    Attributes:
        peer_id: opaque, new for every connection.
        station_id: the station that this socket registered as.
        watch: the stations whose statuses it wants; None: all.
        pending: stations whose newest status it has not got, because it reads slowly.
        ahead: statuses that it got before the flush that everybody gets them with.
        states: it wants the state of every station as well.
        pending_states: stations whose newest state it has not got yet.
        skipped: how often it was passed over by a flush.
        admin: it sits on the admin namespace, and gets `monitor-update` alone.
    """

    def __init__(
        self, peer_id: str, identity: Identity, wire: Wire, bucket: TokenBucket, now: Callable[[], float]
    ) -> None:
        self.peer_id, self.identity, self.wire, self.bucket = peer_id, identity, wire, bucket
        self.station_id: str | None = None
        self.watch: frozenset[str] | None = None
        self.pending: dict[str, None] = {}
        self.ahead: dict[str, bytes] = {}
        self.states = False
        self.pending_states: dict[str, None] = {}
        self.admin = False
        self.skipped = 0
        self._now = now
        self._strikes = 0
        self._owed = 0
        self._blocked_since: float | None = None
        self._closing = False

    @property
    def is_browser(self) -> bool:
        """Whether fleet pushes go to it: not to stations."""
        return self.station_id is None and self.identity.type != "station" and not self.admin

    @staticmethod
    @abstractmethod
    def frame(event: str, data: bytes) -> bytes:
        """The whole wire frame of a push; `data` is JSON. The same bytes serve every peer of this door."""

    def charge(self, events: int) -> None:
        """Something that it asked for costs as much as so many events."""
        for _ in range(events):
            self.bucket.take(self._now())

    def may_send(self) -> bool:
        """Whether one more event is within its rate; who goes on and on without is not read from for a while."""
        if self.bucket.take(self._now()):
            if self._strikes:
                self._strikes = 0
            return True
        self._strikes += 1
        if self._strikes >= STRIKES:
            self.wire.hold(HOLD_SECONDS)
        return False

    def push(self, event: str, data: Any) -> None:
        """Sends an event that may not be dropped."""
        self.send_frame(self.frame(event, orjson.dumps(data)))

    def send_frame(self, frame: bytes) -> None:
        """Sends a frame that may not be dropped; a peer that does not read is closed with 1013 instead."""
        if self._closing:
            return
        self.wire.send_frame(frame)
        if self.wire.buffered > HIGH_WATER:
            self._owed += len(frame)
            if self._blocked_since is None:
                self._blocked_since = self._now()
            self.check_outbox()

    @property
    def congested(self) -> bool:
        """Whether it reads more slowly than it is sent to."""
        return self.wire.buffered > HIGH_WATER

    def check_outbox(self) -> None:
        """Closes the peer when its outbox is over its limits. Called on every send that piles up, and once a second."""
        if not self.congested:
            self.writable()
        late = self._blocked_since is not None and self._now() - self._blocked_since > OUTBOX_SECONDS
        if not self._closing and (late or min(self._owed, self.wire.buffered) > OUTBOX_BYTES):
            self.close(CLOSE_OVERLOAD, "Outbox overflow: read faster or watch fewer stations")

    def writable(self) -> None:
        """The socket took what had piled up."""
        self._owed, self._blocked_since = 0, None

    def close(self, code: int, reason: str) -> None:
        """Closes the socket; later pushes are dropped."""
        if not self._closing:
            self._closing = True
            self.wire.close(code, reason)
