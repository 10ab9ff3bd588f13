"""Rooms where peers meet for signaling, as a pure state machine. Times are seconds of any monotonic clock."""

import random
from dataclasses import dataclass, field
from typing import Final

__all__ = ["Room", "RoomNotFound", "Rooms"]

_ALPHABET: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


class RoomNotFound(LookupError):
    """There is no such room."""


@dataclass(slots=True)
class Room:
    """One room. `members` is in join order; times: `created_ms` since 1970, `empty_since` monotonic or None."""

    room_id: str
    created_ms: int
    members: dict[str, None] = field(default_factory=dict)
    invited: set[str] = field(default_factory=set)
    empty_since: float | None = None


class Rooms:
    """All rooms.

    Args:
        expiry: seconds that an empty room is kept.
        rng: where room ids come from.
    """

    def __init__(self, *, expiry: float = 600.0, rng: random.Random | None = None) -> None:
        self._expiry = expiry
        self._rng = rng or random.SystemRandom()
        self._rooms: dict[str, Room] = {}
        self._of_peer: dict[str, set[str]] = {}

    def __contains__(self, room_id: str) -> bool:
        return room_id in self._rooms

    def __len__(self) -> int:
        return len(self._rooms)

    def all(self) -> list[Room]:
        """Every room, oldest first."""
        return list(self._rooms.values())

    def create(self, now: float, now_ms: int) -> str:
        """Makes an empty room; its id matches `[0-9a-z]{8}`."""
        while (room_id := "".join(self._rng.choices(_ALPHABET, k=8))) in self._rooms:
            pass
        self._rooms[room_id] = Room(room_id, now_ms, empty_since=now)
        return room_id

    def get(self, room_id: str) -> Room:
        """Raises RoomNotFound."""
        room = self._rooms.get(room_id)
        if room is None:
            raise RoomNotFound(room_id)
        return room

    def join(self, room_id: str, peer_id: str) -> tuple[list[str], bool]:
        """Puts a peer into a room.

        Returns:
            the other members in join order, and whether the peer is new there.

        Raises:
            RoomNotFound: there is no such room.
        """
        room = self.get(room_id)
        new = peer_id not in room.members
        room.members.setdefault(peer_id)
        room.empty_since = None
        self._of_peer.setdefault(peer_id, set()).add(room_id)
        return [member for member in room.members if member != peer_id], new

    def leave(self, room_id: str, peer_id: str, now: float) -> list[str] | None:
        """Takes a peer out; gives the members that are left, or None when it was not in there."""
        room = self._rooms.get(room_id)
        if room is None or peer_id not in room.members:
            return None
        del room.members[peer_id]
        mine = self._of_peer[peer_id]
        mine.discard(room_id)
        if not mine:
            del self._of_peer[peer_id]
        if not room.members:
            room.empty_since = now
        return list(room.members)

    def drop(self, peer_id: str, now: float) -> dict[str, list[str]]:
        """Takes a peer out of every room; gives the members left in each."""
        return {room_id: self.leave(room_id, peer_id, now) or [] for room_id in sorted(self._of_peer.get(peer_id, ()))}

    def share(self, one: str, other: str) -> bool:
        """Whether two peers are in a room together."""
        return not self._of_peer.get(one, set()).isdisjoint(self._of_peer.get(other, set()))

    def expire(self, now: float) -> list[str]:
        """Closes rooms that have been empty too long; gives their ids."""
        over = [
            room.room_id
            for room in self._rooms.values()
            if room.empty_since is not None and now - room.empty_since >= self._expiry
        ]
        for room_id in over:
            del self._rooms[room_id]
        return over
