"""Rooms: who is in which, replicated as retained records (architecture.md section 4). Pure: messages and time in, effects out.

Rules:
    a member is added and removed by the node that holds the peer; members are listed in join order;
    whoever is in a room hears once of each who joins and leaves; a leave by one who is no member is not announced;
    an empty room is forgotten after a while, by the node that owns its id;
    a station enters only the rooms it was invited to.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from devices.clock import Clock
from devices.messages import MemberRecord, RoomRecord

__all__ = [
    "MAX_ROOMS",
    "MAX_ROOMS_OF_PEER",
    "STATION_PEER",
    "Effect",
    "Joined",
    "Left",
    "NoSuchRoom",
    "PublishMember",
    "PublishRoom",
    "Rooms",
    "TooMany",
]

MAX_ROOMS_OF_PEER: Final = 100
MAX_ROOMS: Final = 20_000
STATION_PEER: Final = "station:"
"""A station that is a peer by MQTT is `station:{sid}`; the node that owns the station holds it."""
MAX_INVITES_OF_ROOM: Final = 1_000


class NoSuchRoom(LookupError):
    """There is no room of that id."""


class TooMany(Exception):
    """The peer is in as many rooms as one may be in, or there are as many as there may be."""


@dataclass(frozen=True, slots=True)
class PublishRoom:
    """Write a room's retained record; None clears it."""

    room_id: str
    record: RoomRecord | None


@dataclass(frozen=True, slots=True)
class PublishMember:
    """Write a member's retained record; None clears it."""

    room_id: str
    peer_id: str
    record: MemberRecord | None


@dataclass(frozen=True, slots=True)
class Joined:
    """Tell the other members."""

    room_id: str
    peer_id: str


@dataclass(frozen=True, slots=True)
class Left:
    """Tell the other members."""

    room_id: str
    peer_id: str


Effect = PublishRoom | PublishMember | Joined | Left


@dataclass(slots=True)
class _Room:
    record: RoomRecord
    members: dict[str, MemberRecord] = field(default_factory=dict)
    invited: set[str] = field(default_factory=set)
    empty_since: float | None = None


class Rooms:
    """Every room of all nodes.

    Args:
        nid: the own node.
        owns: whether the own node writes for a room or station id.
        new_id: gives room ids, `[0-9a-z]{8}`.
        empty_after: seconds that an empty room is kept.
    """

    def __init__(
        self,
        nid: str,
        clock: Clock,
        *,
        owns: Callable[[str], bool],
        new_id: Callable[[], str],
        empty_after: float = 600.0,
    ) -> None:
        self._nid, self._clock, self._owns, self._new_id = nid, clock, owns, new_id
        self._empty_after = empty_after
        self._rooms: dict[str, _Room] = {}
        self._rooms_of: dict[str, set[str]] = {}

    # ---- what is known

    def __len__(self) -> int:
        return len(self._rooms)

    def exists(self, room_id: str) -> bool:
        """Whether there is a room of that id."""
        return room_id in self._rooms

    def members(self, room_id: str) -> list[str]:
        """Peer ids in join order; empty when there is no such room."""
        room = self._rooms.get(room_id)
        return [] if room is None else sorted(room.members, key=lambda pid: (room.members[pid].joined_at, pid))

    def own_members(self, room_id: str) -> list[str]:
        """Peer ids that this node holds, in no order."""
        room = self._rooms.get(room_id)
        return [] if room is None else [pid for pid, member in room.members.items() if member.nid == self._nid]

    def created_at(self, room_id: str) -> int:
        """Milliseconds since 1970. Raises NoSuchRoom."""
        return self._room(room_id).record.created_at

    def ids(self) -> list[str]:
        """All room ids, oldest first."""
        return sorted(self._rooms, key=lambda rid: (self._rooms[rid].record.created_at, rid))

    def share(self, one: str, other: str) -> bool:
        """Whether two peers are in a common room."""
        return not self._rooms_of.get(one, set()).isdisjoint(self._rooms_of.get(other, set()))

    def in_room(self, peer_id: str, room_id: str) -> bool:
        """Whether the peer is a member."""
        return room_id in self._rooms_of.get(peer_id, set())

    def known_peer(self, peer_id: str) -> bool:
        """Whether the peer is in any room."""
        return peer_id in self._rooms_of

    def invited(self, station_id: str, room_id: str) -> bool:
        """Whether the station may enter."""
        room = self._rooms.get(room_id)
        return room is not None and station_id in room.invited

    # ---- what peers of this node do

    def create(self, creator: str | None = None) -> tuple[str, list[Effect]]:
        """A new room; its creator is a member.

        Raises:
            TooMany: the creator is in too many rooms already, or there are too many.
        """
        self._check_room_for(creator)
        effects: list[Effect] = []
        if len(self._rooms) >= MAX_ROOMS:
            effects += self._make_room(creator)
        room_id = self._new_id()
        while room_id in self._rooms:
            room_id = self._new_id()
        record = RoomRecord(nid=self._nid, created_at=self._clock.wall_ms())
        self._rooms[room_id] = _Room(record, empty_since=self._clock.monotonic())
        effects.append(PublishRoom(room_id, record))
        if creator is not None:
            effects += self.join(room_id, creator)
        return room_id, effects

    def join(self, room_id: str, peer_id: str) -> list[Effect]:
        """A peer of this node enters; again is nothing new.

        Raises:
            NoSuchRoom: there is no such room.
            TooMany: the peer is in too many rooms already.
        """
        room = self._room(room_id)
        if peer_id in room.members:
            return []
        self._check_room_for(peer_id)
        last = max((member.joined_at for member in room.members.values()), default=0)
        # never before those who are there already, whatever the clocks of their nodes say
        record = MemberRecord(nid=self._nid, joined_at=max(self._clock.wall_ms(), last + 1))
        self._add(room_id, peer_id, record)
        return [PublishMember(room_id, peer_id, record), Joined(room_id, peer_id)]

    def leave(self, room_id: str, peer_id: str) -> list[Effect]:
        """A peer of this node leaves; nothing when it was not in."""
        if not self._remove(room_id, peer_id):
            return []
        return [PublishMember(room_id, peer_id, None), Left(room_id, peer_id)]

    def leave_all(self, peer_id: str) -> list[Effect]:
        """A peer of this node is gone."""
        effects: list[Effect] = []
        for room_id in sorted(self._rooms_of.get(peer_id, set())):
            effects += self.leave(room_id, peer_id)
        return effects

    def invite(self, station_id: str, room_id: str) -> None:
        """A station was told to enter."""
        room = self._rooms.get(room_id)
        if room is not None and len(room.invited) < MAX_INVITES_OF_ROOM:
            room.invited.add(station_id)

    # ---- what other nodes wrote

    def apply_room(self, room_id: str, record: RoomRecord | None) -> list[Effect]:
        """A room's record was written or cleared."""
        room = self._rooms.get(room_id)
        if record is None:
            if room is None:
                return []
            if any(member.nid == self._nid for member in room.members.values()):
                return [PublishRoom(room_id, room.record)]  # somebody of ours is in: it stays
            for peer_id in list(room.members):
                self._remove(room_id, peer_id)
            del self._rooms[room_id]
        elif room is None:
            self._rooms[room_id] = _Room(record, empty_since=self._clock.monotonic())
        elif record.version > room.record.version:
            room.record = record
        return []

    def apply_member(self, room_id: str, peer_id: str, record: MemberRecord | None) -> list[Effect]:
        """A member's record was written or cleared, by this node or another."""
        room = self._rooms.get(room_id)
        mine = room is not None and peer_id in room.members and room.members[peer_id].nid == self._nid
        if (mine and self._holds(peer_id)) or (record is not None and record.nid == self._nid):
            return []  # the echo of an own record; what this node holds is known here first
        if record is None:
            return [Left(room_id, peer_id)] if self._remove(room_id, peer_id) else []
        if room is None:
            # the member's record overtook the room's
            self._rooms[room_id] = _Room(RoomRecord(nid="", created_at=record.joined_at))
        elif peer_id in room.members:
            room.members[peer_id] = record
            return []
        self._add(room_id, peer_id, record)
        return [Joined(room_id, peer_id)]

    def foreign(self) -> list[tuple[str, str | None]]:
        """What others wrote: (room id, None) for rooms that nobody of this node is in, (room id, peer id) for members."""
        found: list[tuple[str, str | None]] = []
        for room_id, room in self._rooms.items():
            others = [(room_id, pid) for pid, member in room.members.items() if member.nid != self._nid]
            found += others
            if len(others) == len(room.members) and room.record.nid != self._nid:
                found.append((room_id, None))
        return found

    def nodes(self) -> set[str]:
        """The nodes whose peers are in some room."""
        return {member.nid for room in self._rooms.values() for member in room.members.values()}

    def adopt(self) -> list[Effect]:
        """The set of nodes changed: stations on MQTT that this node owns now are held by it, wherever they are members."""
        effects: list[Effect] = []
        for room_id, room in self._rooms.items():
            for peer_id, member in room.members.items():
                if peer_id.startswith(STATION_PEER) and member.nid != self._nid and self._holds(peer_id):
                    record = MemberRecord(nid=self._nid, joined_at=member.joined_at)
                    room.members[peer_id] = record
                    effects.append(PublishMember(room_id, peer_id, record))
        return effects

    def drop_node(self, nid: str) -> list[Effect]:
        """A node died: its sockets are in no room any more. Every node tells its own; the owner of a room clears the records."""
        effects: list[Effect] = []
        for room_id, room in self._rooms.items():
            lost = [pid for pid, m in room.members.items() if m.nid == nid and not pid.startswith(STATION_PEER)]
            for peer_id in lost:
                self._remove(room_id, peer_id)
                effects.append(Left(room_id, peer_id))
                if self._owns(room_id):
                    effects.append(PublishMember(room_id, peer_id, None))
        return effects

    def republish(self) -> list[Effect]:
        """The link is back: write again what this node holds, for the broker may have forgotten."""
        effects: list[Effect] = []
        for room_id, room in self._rooms.items():
            mine = {pid: member for pid, member in room.members.items() if member.nid == self._nid}
            if mine or room.record.nid == self._nid:
                effects.append(PublishRoom(room_id, room.record))
            effects += [PublishMember(room_id, pid, member) for pid, member in mine.items()]
        return effects

    def tick(self) -> list[Effect]:
        """Time passed: forgets rooms that were empty for too long."""
        before = self._clock.monotonic() - self._empty_after
        old = [
            room_id
            for room_id, room in self._rooms.items()
            if room.empty_since is not None and room.empty_since <= before and self._owns(room_id)
        ]
        for room_id in old:
            del self._rooms[room_id]
        return [PublishRoom(room_id, None) for room_id in old]

    # ---- inside

    def _make_room(self, creator: str | None) -> list[Effect]:
        """Some of the rooms that have been empty longest go. Raises TooMany: there are none."""
        empty = sorted(
            (room.empty_since, room_id)
            for room_id, room in self._rooms.items()
            if room.empty_since is not None and self._owns(room_id)
        )
        if not empty:
            raise TooMany(creator)
        old = [room_id for _, room_id in empty[: max(1, MAX_ROOMS // 100)]]
        for room_id in old:
            del self._rooms[room_id]
        return [PublishRoom(room_id, None) for room_id in old]

    def _holds(self, peer_id: str) -> bool:
        """Whether a member that is recorded as this node's still is: a station on MQTT follows its owner."""
        return not peer_id.startswith(STATION_PEER) or self._owns(peer_id.removeprefix(STATION_PEER))

    def _room(self, room_id: str) -> _Room:
        room = self._rooms.get(room_id)
        if room is None:
            raise NoSuchRoom(room_id)
        return room

    def _check_room_for(self, peer_id: str | None) -> None:
        if peer_id is not None and len(self._rooms_of.get(peer_id, ())) >= MAX_ROOMS_OF_PEER:
            raise TooMany(peer_id)

    def _add(self, room_id: str, peer_id: str, record: MemberRecord) -> None:
        room = self._rooms[room_id]
        room.members[peer_id], room.empty_since = record, None
        self._rooms_of.setdefault(peer_id, set()).add(room_id)

    def _remove(self, room_id: str, peer_id: str) -> bool:
        room = self._rooms.get(room_id)
        if room is None or room.members.pop(peer_id, None) is None:
            return False
        if not room.members:
            room.empty_since = self._clock.monotonic()
        rooms = self._rooms_of[peer_id]
        rooms.discard(room_id)
        if not rooms:
            del self._rooms_of[peer_id]
        return True
