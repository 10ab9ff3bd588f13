"""Status batches for browsers: encoded once, framed once for all who watch the same (architecture.md section 6)."""

from collections.abc import Iterable, Sequence
from typing import Final

from bridge.peer import Peer
from hub.status import StatusBoard

__all__ = ["BATCH_BYTES", "EVENT", "Batches", "cut"]

EVENT: Final = "batch-station-status-update"
BATCH_BYTES: Final = 256 * 1024
"""A batch is cut before it grows larger than this."""


def cut(statuses: Iterable[bytes], limit: int = BATCH_BYTES) -> list[bytes]:
    """JSON arrays of the statuses, none larger than `limit` bytes but for a single status that is."""
    arrays, part, size = [], list[bytes](), 2
    for status in statuses:
        if part and size + len(status) + 1 > limit:
            arrays.append(b"[" + b",".join(part) + b"]")
            part, size = [], 2
        part.append(status)
        size += len(status) + 1
    if part:
        arrays.append(b"[" + b",".join(part) + b"]")
    return arrays


class Batches:
    """Sends what is new on the board to those who watch it."""

    def __init__(self, board: StatusBoard) -> None:
        self._board = board

    def first(self, peer: Peer) -> None:
        """The latest status of everything a browser watches, on connect and on `station-watch`."""
        self._send([peer], self._board.latest(peer.watch))

    def flush(self, peers: Sequence[Peer]) -> None:
        """Ends a window: one batch each for all who watch the same and read fast enough."""
        watched: set[str] | None = set()
        groups: dict[tuple[type[Peer], frozenset[str] | None], list[Peer]] = {}
        for peer in peers:
            if peer.congested:
                peer.behind = True
                peer.skipped += 1
                continue
            groups.setdefault((type(peer), peer.watch), []).append(peer)
            watched = None if watched is None or peer.watch is None else watched | peer.watch
        new = self._board.flush(watched)
        for (_, watch), group in groups.items():
            current = [peer for peer in group if not peer.behind]
            chosen = new.values() if watch is None else [new[sid] for sid in watch if sid in new]
            self._send(current, chosen)
            for peer in group:
                if peer.behind:
                    self.catch_up(peer)

    def catch_up(self, peer: Peer) -> None:
        """A slow reader is ready again: it gets the newest of all that changed since its last batch, and no history."""
        if peer.behind and not peer.congested:
            peer.behind = False
            self._send([peer], self._board.since(peer.seen, peer.watch))

    def _send(self, peers: Sequence[Peer], statuses: Iterable[bytes]) -> None:
        if not peers:
            return
        frames = [peers[0].frame(EVENT, array) for array in cut(statuses)]
        for peer in peers:
            peer.seen = self._board.round
            for frame in frames:
                # not by send_frame: a status is no reason to close anyone, the next batch waits until this one is read
                peer.wire.send_frame(frame)
