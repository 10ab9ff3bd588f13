"""The one gateway behind both doors: who is connected, and how an event reaches a peer wherever it is.

It is the `hub.services.Listener`: what the services find out becomes pushes to browsers.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import orjson
import structlog

from bridge.batches import Batches
from bridge.door import Wire
from bridge.errors import (
    CLOSE_KICKED,
    CLOSE_REFUSED,
    MISMATCH,
    UNAUTHORIZED,
    ConnectRefused,
)
from bridge.payloads import Wanted
from bridge.peer import Peer
from bridge.states import States
from devices import topics
from devices.messages import Command, PeerPush, Signal, StreamResponse
from hub.auth import CLOCK_TOLERANCE, Identity, KeyUnknown, TokenRefused
from hub.command_notes import CommandNotes
from hub.limits import TokenBucket
from hub.link import LinkDown
from hub.nodes import new_peer_id, node_of
from hub.rooms import STATION_PEER
from hub.services import Services
from hub.sessions import ENDED, SessionMismatch

__all__ = ["EVERYTHING", "FLUSH", "Counters", "Gateway"]

log = structlog.get_logger(__name__)

P = TypeVar("P", bound=Peer)
NEW_LOGIN: Final = "NEW_LOGIN"
REVOKED: Final = "REVOKED"
"""Why a peer is kicked: a newer login of its user; its account or station was changed, deleted, logged out."""
EVERYTHING: Final = Wanted()
"""Who says nothing of what it wants gets all statuses, as browsers always did."""
FLUSH: Final = 1.0
"""Seconds between two status batches."""


@dataclass(slots=True)
class Counters:
    """What went through the doors since the start."""

    events: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    refused: int = 0
    stray_stream_responses: int = 0


class Gateway:
    """All peers of this node.

    Args:
        open_registration: any signed-in user may register a station.
        event_rate, event_burst: events a second that one socket may send, and at once; rate 0: no limit.
        notes: where the commands of browsers are written down; None: nowhere.

    Attributes:
        peers: browsers and WebSocket stations by peer id.
    """

    def __init__(
        self,
        services: Services,
        *,
        open_registration: bool = False,
        event_rate: float = 100.0,
        event_burst: float = 500.0,
        notes: CommandNotes | None = None,
    ) -> None:
        self.services, self.authenticator = services, services.authenticator
        self.tokens = self.authenticator.tokens
        self.open_registration = open_registration
        self.event_rate, self.event_burst, self.notes = event_rate, event_burst, notes
        self.peers: dict[str, Peer] = {}
        # those that came as browsers: a broadcast must not look at a thousand stations to find fifty of them
        self._browsers: dict[str, Peer] = {}
        self.batches, self.states = Batches(services.board), States(services.board)
        self.counters = Counters()
        self.tasks: set[asyncio.Future[Any]] = set()

    # ---- coming and going

    async def authenticate(self, token: str | None) -> Identity:
        """The identity of a token that is good now.

        Raises:
            ConnectRefused: with the contract's error string.
        """
        try:
            return await self.authenticator.authenticate_waiting(token)
        except (TokenRefused, SessionMismatch) as refused:
            raise self._refused(refused) from None

    def login(self, token: str | None, done: Callable[[Identity | ConnectRefused], None]) -> None:
        """As `authenticate`, for a connection: calls `done` once, with who it is or why it is refused.

        That is at once, but for a token whose key must be fetched first.
        """
        who: Identity | ConnectRefused
        try:
            who = self.authenticator.authenticate(token)
        except KeyUnknown:
            self.spawn(lambda: self._login_later(token, done))
            return
        except (TokenRefused, SessionMismatch) as refused:
            who = self._refused(refused)
        done(who)

    async def _login_later(self, token: str | None, done: Callable[[Identity | ConnectRefused], None]) -> None:
        try:
            who: Identity | ConnectRefused = await self.authenticate(token)
        except ConnectRefused as refused:
            who = refused
        done(who)

    def _refused(self, error: TokenRefused | SessionMismatch) -> ConnectRefused:
        self.counters.refused += 1
        return ConnectRefused(MISMATCH if isinstance(error, SessionMismatch) else f"UNAUTHORIZED: {error}")

    def new_peer_id(self) -> str:
        """An id for a new connection to this node."""
        return new_peer_id(self.services.nid)

    def new_peer(self, kind: type[P], identity: Identity, wire: Wire, *, admin: bool) -> P:
        """A peer of a door's own kind, with what every socket may send; it gets nothing before `connect`."""
        bucket = TokenBucket(self.event_rate, self.event_burst)
        peer = kind(self.new_peer_id(), identity, wire, bucket, self.services.clock.monotonic)
        peer.admin = admin
        return peer

    def writable(self, peer: Peer) -> None:
        """A peer's socket took what had piled up: it gets the statuses that it has missed."""
        peer.writable()
        if peer.is_browser:
            self.states.catch_up(peer)  # first: they are few bytes, where statuses may never end
            self.batches.catch_up(peer)

    def connect(self, peer: Peer, wanted: Wanted = EVERYTHING) -> None:
        """A peer was welcomed: from now on it gets pushes, of statuses those that it said it wants."""
        self.peers[peer.peer_id] = peer
        if peer.is_browser:
            self._browsers[peer.peer_id] = peer
            peer.watch = None if wanted.watch is None else frozenset(wanted.watch)
            self.show_states(peer, wanted=wanted.states)
            self.batches.first(peer)

    def show_states(self, peer: Peer, *, wanted: bool) -> None:
        """A browser wants the state of every station, or does not; with the states it gets the calls that are open."""
        if not wanted:
            self.states.stop(peer)
        elif not peer.states:
            for station_id, timestamp in self.services.calls.open():
                peer.push(*_ringing(station_id, timestamp))
            self.states.start(peer)

    def disconnect(self, peer: Peer) -> None:
        """A peer's socket is gone."""
        if self.peers.pop(peer.peer_id, None) is None:
            return
        self._browsers.pop(peer.peer_id, None)
        if peer.station_id is not None:
            self.services.station_unregistered(peer.station_id, peer.peer_id)
        self.services.peer_gone(peer.peer_id)

    def has_peer(self, peer_id: str) -> bool:
        """Whether there is such a peer, here or, as far as rooms and streams tell, on another node."""
        if node_of(peer_id) == self.services.nid:
            return peer_id in self.peers
        services = self.services
        return (
            services.rooms.known_peer(peer_id)
            or services.streams.known(peer_id)
            or services.presence.station_of(peer_id) is not None
        )

    def browsers(self) -> list[Peer]:
        """The peers that fleet pushes go to."""
        found = [peer for peer in self._browsers.values() if peer.is_browser]
        if len(found) != len(self._browsers):  # some registered as stations
            self._browsers = {peer.peer_id: peer for peer in found}
        return found

    def acquainted(self, one: str, other: str) -> bool:
        """Whether two peers may signal each other: they share a room, or one asked the other for a stream."""
        return self.services.rooms.share(one, other) or self._streams(one, other) or self._streams(other, one)

    def _streams(self, requester: str, station: str) -> bool:
        station_id = self._station_of(station)
        return station_id is not None and bool(self.services.streams.cameras(requester, station_id))

    def _station_of(self, peer_id: str) -> str | None:
        if peer_id.startswith(STATION_PEER):
            return peer_id.removeprefix(STATION_PEER)
        return self.services.presence.station_of(peer_id)

    def revoke_station(self, station_id: str, key_hash: bytes | None, valid_from: float) -> None:
        """What a station was given before `valid_from` is no good any more, and cut off, on every node.

        Args:
            key_hash: of its new device key; None: it is deleted.
            valid_from: seconds since 1970.
        """
        self.authenticator.credentials.set(station_id, key_hash, valid_from)
        self.services.revoke_station(station_id, valid_from=valid_from, deleted=key_hash is None)

    # ---- pushing

    def push(self, peer_id: str, event: str, data: Any, *, station: str | None = None) -> None:
        """Sends an event to one peer, on whatever node; nothing when it is gone. Raises LinkDown.

        Args:
            station: see `PeerPush`; checked where the peer is.
        """
        nid = node_of(peer_id)
        if nid == self.services.nid:
            self._push_here(peer_id, event, data, station)
        elif nid in self.services.nodes.alive:
            push = PeerPush(id=secrets.token_hex(8), event=event, data=data, station=station)
            self.services.push_away(peer_id, push)

    def _push_here(self, peer_id: str, event: str, data: Any, station: str | None) -> None:
        peer = self.peers.get(peer_id)
        if peer is None or station not in (None, peer.station_id):
            return
        if station is not None and event == "station-cmd-join-room":
            self.services.rooms.invite(station, data["roomId"])
        elif station is not None and event == "station-cmd-start-stream":
            # known here too, so that the station may signal the one who asked
            self.services.streams.open(data["requesterId"], station, data["cameraId"])
        peer.push(event, data)

    def broadcast(self, event: str, data: Any) -> None:
        """Sends an event to every browser of this node, framed once a door."""
        payload, frames = orjson.dumps(data), dict[type[Peer], bytes]()
        for peer in self.browsers():
            frame = frames.get(type(peer))
            if frame is None:
                frame = frames[type(peer)] = peer.frame(event, payload)
            peer.send_frame(frame)

    def deliver(self, station_id: str, command: Command) -> None:
        """Gives a command to a station, by WebSocket first. Raises LinkDown."""
        socket = self.services.presence.socket(station_id)
        if socket is None:
            self.services.send(station_id, command)
            return
        event, fields = _STATION_EVENTS.get(command.type, ("station-command", _COMMAND_FIELDS))
        data = command.model_dump(by_alias=True, exclude_none=True, include=set(fields))
        self.push(socket, event, data, station=station_id)

    def signal(self, to: str, sender: str, event: str, content: Any, *, room_id: str | None = None) -> None:
        """Hands an offer, answer or candidate to a peer, or to a station on MQTT."""
        name = _SIGNAL_FIELDS[event]
        if to.startswith(STATION_PEER):
            signal = Signal.model_validate({"event": event, "peer": sender, "roomId": room_id, name: content})
            self.services.say(topics.SIGNAL_IN, to.removeprefix(STATION_PEER), signal)
        else:
            self.push(to, event, {"from": sender, name: content})

    # ---- time

    def flush(self) -> None:
        """Ends a status window: sends the batches, closes who overstays."""
        now = self.services.clock.wall_ms() / 1000
        for peer in list(self.peers.values()):
            peer.check_outbox()
            if now > peer.identity.expires_at + CLOCK_TOLERANCE:
                peer.close(CLOSE_REFUSED, UNAUTHORIZED)
        browsers = self.browsers()
        self.batches.flush(browsers)
        self.states.flush(browsers)

    def spawn(self, work: Callable[[], Any]) -> None:
        """Runs the rest of an event that has to wait."""
        task = asyncio.ensure_future(work())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def stop(self) -> None:
        """Ends what still waits."""
        for task in self.tasks:
            task.cancel()

    # ---- what the services tell (hub.services.Listener)

    def station_changed(self, station_id: str, online: bool) -> None:
        self.broadcast("station-connected" if online else "station-disconnected", {"stationId": station_id})

    def station_called(self, station_id: str, timestamp: int) -> None:
        self.broadcast(*_ringing(station_id, timestamp))

    def call_answered(self, station_id: str, by: str | None) -> None:
        self.broadcast("station-call-answered", {"stationId": station_id, "by": by})

    def status_answered(self, status: bytes, requesters: Iterable[str]) -> None:
        for peer_id in requesters:
            peer = self.peers.get(peer_id)
            if peer is not None:
                peer.send_frame(peer.frame("station-status-update", status))

    def stream_answered(self, station_id: str, response: StreamResponse) -> None:
        peer = self.peers.get(response.requester_id)
        asked = self.services.streams.cameras(response.requester_id, station_id)
        if peer is None or not asked or response.camera_id not in (None, *asked):
            self.counters.stray_stream_responses += node_of(response.requester_id) == self.services.nid
            return
        answer = response.model_dump(by_alias=True, exclude_none=True)
        peer.push("station-stream-ready", {"stationId": station_id, "cameraId": asked[-1]} | answer)

    def station_signalled(self, station_id: str, signal: Signal) -> None:
        sender, content = STATION_PEER + station_id, getattr(signal, _SIGNAL_FIELDS.get(signal.event, ""), None)
        if content is None:
            return
        targets = [signal.peer]
        if self.services.rooms.in_room(sender, signal.peer):
            targets = self.services.rooms.own_members(signal.peer)
        for target in targets:
            # every node hears the station; each serves the peers that it holds
            mine = target in self.peers or (
                target.startswith(STATION_PEER) and self.services.nodes.owns(target.removeprefix(STATION_PEER))
            )
            if mine and target != sender and self.acquainted(sender, target):
                self.signal(target, sender, signal.event, content, room_id=signal.room_id)

    def peer_joined(self, room_id: str, peer_id: str) -> None:
        self._tell_members(room_id, peer_id, "peer-joined")

    def peer_left(self, room_id: str, peer_id: str) -> None:
        self._tell_members(room_id, peer_id, "peer-left", "peer-disconnected")

    def peer_pushed(self, peer_id: str, push: PeerPush) -> None:
        self._push_here(peer_id, push.event, push.data, push.station)

    def kicked(self, user_id: str, session_id: str) -> None:
        for peer in list(self.peers.values()):
            if peer.identity.user_id == user_id and peer.identity.session_id != session_id:
                self._kick(peer, REVOKED if session_id.startswith(ENDED) else NEW_LOGIN)

    @staticmethod
    def _kick(peer: Peer, reason: str) -> None:
        peer.push("kicked", {"reason": reason})
        peer.close(CLOSE_KICKED, reason)

    def station_revoked(self, station_id: str, *, deleted: bool) -> None:
        refuses = self.authenticator.credentials.refuses
        for peer in list(self.peers.values()):
            speaks = deleted and peer.station_id == station_id
            if speaks or (peer.identity.station_id == station_id and refuses(peer.identity)):
                self._kick(peer, REVOKED)
            if deleted:
                peer.pending.pop(station_id, None)
                peer.ahead.pop(station_id, None)
                peer.pending_states.pop(station_id, None)

    def _tell_members(self, room_id: str, about: str, *events: str) -> None:
        for member in self.services.rooms.own_members(room_id):
            if member == about:
                continue
            for event in events:
                if member.startswith(STATION_PEER):
                    signal = Signal.model_validate({"event": event, "peer": about, "roomId": room_id})
                    try:
                        self.services.say(topics.SIGNAL_IN, member.removeprefix(STATION_PEER), signal)
                    except LinkDown:
                        log.debug("station not told of a room, the broker is out of reach")
                else:
                    self.push(member, event, {"peerId": about})


def _ringing(station_id: str, timestamp: int) -> tuple[str, dict[str, Any]]:
    return "station-incoming-call", {"stationId": station_id, "timestamp": timestamp}


_COMMAND_FIELDS = ("type", "id", "requester_id", "params", "expires_at", "ttl_ms")
_STATION_EVENTS = {
    "join-room": ("station-cmd-join-room", ("room_id", "inviter_id")),
    "start-stream": ("station-cmd-start-stream", ("requester_id", "camera_id", "offer")),
    "report-status": ("cmd-report-status", ("requester_id",)),
}
"""How a command reaches a station on WebSocket: the event, and which fields of the command it has."""
_SIGNAL_FIELDS = {"offer": "offer", "answer": "answer", "ice-candidate": "candidate"}
