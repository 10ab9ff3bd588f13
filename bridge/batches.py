"""Status batches for browsers: encoded once, framed once for all who watch the same (architecture.md section 6).

A browser that reads slowly never has more than one frame of statuses on its way: what it has not got yet is remembered as station
ids, and it gets the newest status of each when it reads again.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from bridge.peer import Peer
from hub.status import StatusBoard

__all__ = ["BATCH_BYTES", "EVENT", "Batches", "cut"]

EVENT: Final = "batch-station-status-update"
BATCH_BYTES: Final = 256 * 1024
"""A batch is cut before it grows larger than this."""


def cut(sizes: Iterable[tuple[str, int]], limit: int = BATCH_BYTES) -> Iterator[list[str]]:
    """Station ids in groups whose JSON array is no larger than `limit` bytes, but for a single status that is."""
    group, size = list[str](), 2
    for station_id, length in sizes:
        if group and size + length + 1 > limit:
            yield group
            group, size = [], 2
        group.append(station_id)
        size += length + 1
    if group:
        yield group


class Batches:
    """Sends what is new on the board to those who watch it."""

    def __init__(self, board: StatusBoard) -> None:
        self._board = board

    def first(self, peer: Peer) -> None:
        """The latest status of everything a browser watches, on connect and on `station-watch`."""
        peer.pending, peer.ahead = dict.fromkeys(self._board.known(peer.watch)), {}
        self.catch_up(peer)

    def flush(self, peers: Sequence[Peer]) -> None:
        """Ends a window: the same frames for all who watch the same and read fast enough."""
        watched: set[str] | None = set()
        for peer in peers:
            # who wants all states has all statuses read, too
            some = None if peer.states else peer.watch
            watched = None if watched is None or some is None else watched | some
        new = self._board.flush(watched)
        groups: dict[tuple[type[Peer], frozenset[str] | None], list[Peer]] = {}
        for peer in peers:
            if peer.pending or peer.ahead or peer.congested:
                self._remember(peer, new)
                self.catch_up(peer)
            else:
                groups.setdefault((type(peer), peer.watch), []).append(peer)
        for (_, watch), group in groups.items():
            for part in self._cut(new if watch is None else [sid for sid in new if sid in watch]):
                frame = self._frame(group[0], part)
                for peer in group:
                    if peer.pending or peer.congested:
                        self._remember(peer, part)
                    else:
                        peer.wire.send_frame(frame)

    def catch_up(self, peer: Peer) -> None:
        """Sends what a browser has not got yet, as far as it reads; no history."""
        while peer.pending and not peer.congested:
            part = next(self._cut(list(peer.pending)))
            for station_id in part:
                del peer.pending[station_id]
                if self._board.is_new(station_id):  # the next flush names it, and must not send it again
                    peer.ahead[station_id] = self._board.json(station_id)
            # not by Peer.send_frame: a status is no reason to close anyone
            peer.wire.send_frame(self._frame(peer, part))

    def _remember(self, peer: Peer, station_ids: Iterable[str]) -> None:
        ahead, peer.ahead = peer.ahead, {}
        missed = [sid for sid in station_ids if peer.watch is None or sid in peer.watch]
        missed = [sid for sid in missed if ahead.get(sid) is not self._board.json(sid)]
        peer.pending.update(dict.fromkeys(missed))
        peer.skipped += peer.congested

    def _cut(self, station_ids: Sequence[str]) -> Iterator[list[str]]:
        return cut((sid, len(self._board.json(sid))) for sid in station_ids)

    def _frame(self, peer: Peer, station_ids: Sequence[str]) -> bytes:
        return peer.frame(EVENT, b"[" + b",".join(map(self._board.json, station_ids)) + b"]")
