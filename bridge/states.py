"""How each station is, in one word, for browsers that show the whole fleet: the worst state of its devices.

Such a browser gets the state of every station that has reported, and then at each flush of those that changed it: the same frames
for all. Of one that reads slowly station ids are remembered, as in `bridge.batches`, and it gets the newest state of each.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from bridge.batches import cut
from bridge.peer import Peer
from hub.status import StatusBoard

__all__ = ["EVENT", "States"]

EVENT: Final = "batch-station-state-update"
_ENTRY: Final = b'{"stationId":"%b","state":"%b"}'  # neither has anything that JSON escapes
_LONGEST: Final = len(_ENTRY % (b"", b"offline"))


class States:
    """Sends the states on the board to those who want them (`Peer.states`)."""

    def __init__(self, board: StatusBoard) -> None:
        self._board = board
        self._wanted = False

    def start(self, peer: Peer) -> None:
        """A browser wants them from now on, and gets all."""
        peer.states, peer.pending_states = True, dict.fromkeys(self._board.known(None))
        if not self._wanted:
            self._wanted = True
            self._board.moved()  # nobody was told, and this one is told now: the next flush need not say it again
        self.catch_up(peer)

    def stop(self, peer: Peer) -> None:
        """It wants them no more."""
        peer.states, peer.pending_states = False, {}

    def flush(self, peers: Sequence[Peer]) -> None:
        """Ends a window; the board has been flushed."""
        moved, frames = self._board.moved(), dict[type[Peer], list[bytes]]()
        wanting = [peer for peer in peers if peer.states]
        self._wanted = bool(wanting)
        parts = list(self._cut(moved)) if wanting else []
        for peer in wanting:
            if not moved and not peer.pending_states:
                continue
            if peer.pending_states or peer.congested:
                peer.pending_states.update(dict.fromkeys(moved))
                self.catch_up(peer)
                continue
            if type(peer) not in frames:
                frames[type(peer)] = [self._frame(peer, part) for part in parts]
            for part, frame in zip(parts, frames[type(peer)], strict=True):
                if peer.congested:
                    peer.pending_states.update(dict.fromkeys(part))
                else:
                    peer.wire.send_frame(frame)

    def catch_up(self, peer: Peer) -> None:
        """Sends what a browser has not got yet, as far as it reads."""
        while peer.pending_states and not peer.congested:
            part = next(self._cut(list(peer.pending_states)))
            for station_id in part:
                del peer.pending_states[station_id]
            # as a status, a state is no reason to close anyone
            peer.wire.send_frame(self._frame(peer, part))

    @staticmethod
    def _cut(station_ids: Sequence[str]) -> Iterator[list[str]]:
        return cut((station_id, _LONGEST + len(station_id)) for station_id in station_ids)

    def _frame(self, peer: Peer, station_ids: Sequence[str]) -> bytes:
        state = self._board.state
        entries = (_ENTRY % (sid.encode(), state(sid).encode()) for sid in station_ids)
        return peer.frame(EVENT, b"[" + b",".join(entries) + b"]")
