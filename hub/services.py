"""The services on one link: the pure machines of a node, and the thin shell that carries out what they say.

`Intake` feeds the machines with what comes over the link; the bridge asks them and calls here; one `Listener`, the bridge, hears
what browsers should hear.
"""

import asyncio
import random
import secrets
import string
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog
from pydantic import BaseModel

from devices import topics
from devices.clock import Clock
from devices.messages import (
    Command,
    MessageError,
    NodeRecord,
    PeerPush,
    RevokedRecord,
    RoomAction,
    Signal,
    SocketRecord,
    StreamResponse,
    encode,
    relayed,
)
from hub import presence, rooms, sessions
from hub.auth import station_key, user_key
from hub.authentication import Authenticator
from hub.calls import Calls
from hub.commands import Commands, Outcome, Streams
from hub.history import History
from hub.link import Link, LinkDown
from hub.nodes import BEAT, Nodes, new_node_id, node_of
from hub.status import StatusBoard

__all__ = ["CALL_ANSWERED", "MAX_STATIONS", "SYNC", "Counters", "Listener", "Services"]

log = structlog.get_logger(__name__)

ANSWER_WINDOW: Final = 10.0
"""Seconds in which a status counts as the answer to a request."""
MAX_STATIONS: Final = 100_000
"""Station ids that one node keeps; messages of more are counted and dropped."""
CALL_ANSWERED: Final = "call-answered"
"""The event of the message that a node sends to each other one when somebody answered a station."""
SYNC: Final = "sync"
"""The event of the message that a node sends to itself to know that it has read everything."""
TICK: Final = 0.25
"""Seconds between two looks at the machines' deadlines; a look costs nothing when nothing is due."""


class Listener(Protocol):
    """What the services tell the bridge, on the event loop."""

    def station_changed(self, station_id: str, online: bool) -> None:
        """The verdict on a station changed."""

    def station_called(self, station_id: str, timestamp: int) -> None:
        """A station calls the centre; milliseconds since 1970."""

    def call_answered(self, station_id: str, by: str | None) -> None:
        """Somebody, the peer `by`, answered a station whose call was open."""

    def status_answered(self, status: bytes, requesters: Iterable[str]) -> None:
        """The status that these peers asked for."""

    def stream_answered(self, station_id: str, response: StreamResponse) -> None:
        """A station answered a stream request."""

    def station_signalled(self, station_id: str, signal: Signal) -> None:
        """A station on MQTT sends an offer, an answer or a candidate."""

    def peer_joined(self, room_id: str, peer_id: str) -> None:
        """Somebody entered a room."""

    def peer_left(self, room_id: str, peer_id: str) -> None:
        """Somebody left a room, or is gone."""

    def peer_pushed(self, peer_id: str, push: PeerPush) -> None:
        """Another node has an event for a peer of this one."""

    def kicked(self, user_id: str, session_id: str) -> None:
        """Only this session of the user is valid now."""

    def station_revoked(self, station_id: str, *, deleted: bool) -> None:
        """What the station was given before is no good any more; if it is deleted, nobody speaks for it."""


@dataclass(slots=True)
class Counters:
    """What went over the link since the start."""

    messages: int = 0
    malformed: int = 0
    commands: int = 0


class Services:
    """Everything that lives on the link, of one node.

    Args:
        authenticator: what it admits is told to the other nodes, and what they admit to it.
        room_expiry: seconds that an empty room is kept.
        will_grace: see `Presence`.
        history: megabytes that the stations' numbers of the last ten minutes may take; 0: none are kept.
        nid: the node id.
    """

    listener: Listener

    def __init__(
        self,
        link: Link,
        clock: Clock,
        authenticator: Authenticator,
        *,
        room_expiry: float = 600.0,
        will_grace: float = 3.0,
        history: int = 0,
        nid: str | None = None,
    ) -> None:
        self.link, self.clock = link, clock
        self.authenticator = authenticator
        self.nid = nid or new_node_id()
        self.nodes = Nodes(self.nid, clock)
        self.presence = presence.Presence(
            self.nid,
            clock,
            owns=self.nodes.owns,
            jitter=random.random,
            wills_are_final=link.wills_are_final,
            will_grace=will_grace,
        )
        self.rooms = rooms.Rooms(self.nid, clock, owns=self.nodes.owns, new_id=_new_room_id, empty_after=room_expiry)
        self.history = History(history * 1_000_000) if history else None
        self.board = StatusBoard(clock, self.history)
        self.commands = Commands(clock)
        self.streams = Streams(clock)
        self.calls = Calls(clock)
        self.counters = Counters()
        self.has_synced = asyncio.Event()
        self._waiting: dict[str, asyncio.Future[Outcome]] = {}
        self._asked: dict[str, dict[str, float]] = {}
        self._beats, self._next_beat = 0, 0.0
        self._strangers: set[str] = set()
        self._stopped = False

    # ---- life

    def start(self, listener: Listener) -> None:
        """Follows the link's state; what comes over it is `Intake`'s. Call once the link has started."""
        self.listener = listener
        self.authenticator.watch(self.change_sessions)
        self.link.watch_connection(self._on_connection)
        if self.link.connected:
            self._on_connection(True)

    def synchronized(self) -> None:
        """Everything that the broker kept has been read; after a lost link, write again what it may have forgotten."""
        if self.has_synced.is_set():
            log.info("broker connected again", node=self.nid)
            self.change_presence(self.presence.republish())
            for station_id, peer_id, record in self.presence.sockets():
                if self.holds(peer_id):
                    self.publish(topics.LIVE_SOCKET(station_id, peer_id), record, retain=True)
            self.change_rooms(self.rooms.republish())
            self.change_sessions(self.authenticator.sessions.republish())
            for station_id, valid_from in self.authenticator.credentials.revoked():
                revoked = RevokedRecord(valid_from=valid_from)
                self.publish(topics.LIVE_REVOKED(station_id), revoked, retain=True)
        self.has_synced.set()

    def tick(self) -> None:
        """Looks at all deadlines."""
        now = self.clock.monotonic()
        for outcome in self.commands.tick():
            self.finish(outcome)
        if self._stopped or not self.link.connected:
            return
        self.change_presence(self.presence.tick())
        if now >= self._next_beat:
            self._beat(now)

    def _beat(self, now: float) -> None:
        """Every few seconds: the own record, dead nodes, and what may be forgotten."""
        self._next_beat = now + BEAT
        self._beats += 1
        self.publish(topics.LIVE_NODE(self.nid), NodeRecord(beat=self._beats), retain=True)
        for nid in self.nodes.silent():
            self.publish(topics.LIVE_NODE(nid), None, retain=True)
            self._node_gone(nid)
        self._drop_strangers()
        self.change_rooms(self.rooms.adopt())
        self.change_rooms(self.rooms.tick())
        self.streams.tick()
        if self.history is not None:
            self.history.expire(now)
        for station_id, asked in list(self._asked.items()):
            live = {peer: until for peer, until in asked.items() if until > now}
            if live:
                self._asked[station_id] = live
            else:
                del self._asked[station_id]

    def _drop_strangers(self) -> None:
        """What a node left behind that died before this one knew it: gone when no such node shows itself between two beats."""
        known = self.rooms.nodes() | {node_of(peer_id) for _, peer_id, _ in self.presence.sockets()}
        strangers = known - self.nodes.alive
        for nid in strangers & self._strangers:
            self._node_gone(nid)
        self._strangers = strangers

    def stop(self) -> None:
        """Answers commands that wait, takes the own record away."""
        self._stopped = True
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(LinkDown("the hub is stopping"))
        self.publish(topics.LIVE_NODE(self.nid), None, retain=True)

    def _on_connection(self, connected: bool) -> None:
        if self._stopped:
            return
        if not connected:
            log.warning("broker out of reach: presence stands still, station events are answered UNAVAILABLE")
            self.presence.link_down()
            return
        self.nodes.refresh()
        self._next_beat = 0.0
        self.presence.resync(link_was_lost=True)

    # ---- other nodes

    def holds(self, peer_id: str | None) -> bool:
        """Whether a socket is of this node: what it does was applied when it did it, and comes back only as an echo."""
        return peer_id is not None and node_of(peer_id) == self.nid

    def node_heard(self, nid: str) -> None:
        """A node wrote its record."""
        if self.nodes.heard(nid):
            self.presence.resync(link_was_lost=False)
            self.change_rooms(self.rooms.adopt())

    def node_cleared(self, nid: str) -> None:
        """A node's record is gone."""
        if nid == self.nid:
            self._next_beat = 0.0  # by a late will of an earlier connection: this node is alive
        elif self.nodes.gone(nid):
            self._node_gone(nid)

    def _node_gone(self, nid: str) -> None:
        log.warning("hub node gone", node=nid)
        self.change_presence(self.presence.sockets_gone(lambda peer_id: node_of(peer_id) == nid))
        self.change_rooms(self.rooms.drop_node(nid))
        self.presence.resync(link_was_lost=False)
        self.change_rooms(self.rooms.adopt())

    def push_away(self, peer_id: str, push: PeerPush) -> None:
        """Sends an event to a peer of another node. Raises LinkDown."""
        self.link.publish(topics.PEER(node_of(peer_id), peer_id), encode(push))

    def _tell_nodes(self, event: str, station_id: str, data: Any) -> None:
        """Says something of a station to each other node; one that is out of reach never hears it."""
        for nid in self.nodes.alive - {self.nid}:
            push = PeerPush(id=secrets.token_hex(8), event=event, station=station_id, data=data)
            self.publish(topics.PEER(nid, nid), push)

    # ---- stations

    def require_link(self) -> None:
        """Raises LinkDown while the broker is out of reach."""
        if not self.link.connected:
            raise LinkDown("the broker is out of reach")

    def say(self, topic: topics.Topic, station_id: str, message: BaseModel) -> None:
        """Publishes on one of the station's topics. Raises LinkDown."""
        self.link.publish(topic(station_id), encode(message))

    def relay(self, topic: topics.Topic, station_id: str, message: bytes, *, qos: int = 1) -> None:
        """Publishes, as the station would, what it said on a WebSocket: a JSON object. Raises LinkDown."""
        self.link.publish(topic(station_id), relayed(message), qos=qos)

    def send(self, station_id: str, command: Command) -> None:
        """Publishes a command to a station on MQTT. Raises LinkDown."""
        self.counters.commands += 1
        self.say(topics.STATION_CMD, station_id, command)

    def publish(self, topic: str, message: BaseModel | None, *, retain: bool = False) -> None:
        """Writes a record, or clears it; while the link is down it is left for the next republishing."""
        try:
            self.link.publish(topic, b"" if message is None else encode(message), retain=retain)
        except LinkDown:
            log.debug("not published, the broker is out of reach", topic=topic)

    def expect_status(self, station_id: str, requester_id: str) -> None:
        """The next good status of the station goes to this peer as well."""
        self._asked.setdefault(station_id, {})[requester_id] = self.clock.monotonic() + ANSWER_WINDOW

    def expects_status(self, station_id: str) -> bool:
        """Whether somebody waits for the station's next status."""
        return station_id in self._asked

    def answer_status(self, station_id: str) -> bool:
        """Reads the station's newest status now, hands it to those who asked. False when it was stale or invalid."""
        status = self.board.read(station_id)
        if status is None:
            return False
        now = self.clock.monotonic()
        asked = [peer for peer, until in self._asked.pop(station_id, {}).items() if until > now]
        if asked:
            self.listener.status_answered(status, asked)
        return True

    def command(
        self,
        station_id: str,
        type: str,
        params: Any,
        timeout: float,
        requester_id: str,
        send: Callable[[Command], None],
        command_id: str | None = None,
    ) -> tuple[str, asyncio.Future[Outcome]]:
        """Sends a command by `send`; gives its id and its outcome to come.

        Args:
            timeout: seconds until the command's deadline.
            requester_id: the peer that asks.
            command_id: unique; None: it gets a new one.

        Raises:
            OverflowError: too many commands wait already.
            LinkDown: the broker is out of reach.
        """
        command_id, ttl = command_id or secrets.token_urlsafe(12), round(timeout * 1000)
        command = Command(
            type=type,
            id=command_id,
            requester_id=requester_id,
            params=params,
            expires_at=self.clock.wall_ms() + ttl,
            ttl_ms=ttl,
        )
        self.commands.open(command_id, station_id, requester_id, timeout)
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting[command_id] = future

        def forget(_: object) -> None:
            self._waiting.pop(command_id, None)
            self.commands.cancel(command_id)

        future.add_done_callback(forget)
        try:
            send(command)
        except Exception:
            future.cancel()
            raise
        return command_id, future

    def finish(self, outcome: Outcome | None) -> None:
        """A command ended; None: it goes on."""
        future = self._waiting.get(outcome.command_id) if outcome else None
        if outcome and future and not future.done():
            future.set_result(outcome)

    def station_registered(self, station_id: str, peer_id: str, record: SocketRecord) -> None:
        """A socket of this node speaks for the station from now on. Raises LinkDown."""
        self.link.publish(topics.LIVE_SOCKET(station_id, peer_id), encode(record), retain=True)
        self.change_presence(self.presence.socket_opened(station_id, peer_id, record))

    def station_unregistered(self, station_id: str, peer_id: str) -> None:
        """That socket is closed, or speaks for another station."""
        # while the link is down the others learn it from this node's will
        self.publish(topics.LIVE_SOCKET(station_id, peer_id), None, retain=True)
        self.change_presence(self.presence.socket_closed(station_id, peer_id))

    def station_called(self, station_id: str, timestamp: int) -> None:
        """A station calls the centre; every node hears it from the station itself."""
        self.calls.called(station_id, timestamp)
        self.listener.station_called(station_id, timestamp)

    def answer_call(self, station_id: str, by: str) -> None:
        """A peer of this node invited the station: whatever call it had is over, on every node."""
        self.call_over(station_id, by)
        # another node may know of a call that this one, started since, does not
        self._tell_nodes(CALL_ANSWERED, station_id, by)

    def call_over(self, station_id: str, by: str | None) -> None:
        """The peer `by`, on whatever node, invited the station."""
        if self.calls.over(station_id):
            self.listener.call_answered(station_id, by)

    def station_room(self, station_id: str, action: RoomAction) -> None:
        """A station on MQTT enters or leaves a room. Raises MessageError when it was not invited, or is in too many."""
        peer_id = rooms.STATION_PEER + station_id
        if action.action == "leave":
            self.change_rooms(self.rooms.leave(action.room_id, peer_id))
        elif self.rooms.invited(station_id, action.room_id):
            try:
                self.change_rooms(self.rooms.join(action.room_id, peer_id))
            except rooms.TooMany:
                raise MessageError("roomId: the station is in too many rooms") from None
        else:
            raise MessageError("roomId: the station was not invited")

    def peer_gone(self, peer_id: str) -> None:
        """A socket of this node is closed."""
        self.streams.drop(peer_id)
        self.change_rooms(self.rooms.leave_all(peer_id))

    # ---- what the machines decided

    def change_presence(self, effects: list[presence.Effect]) -> None:
        """Carries out what `presence` said."""
        for effect in effects:
            match effect:
                case presence.PublishVerdict(station_id, verdict):
                    self.publish(topics.LIVE_STATION(station_id), verdict, retain=True)
                case presence.ClearSocket(station_id, peer_id):
                    self.publish(topics.LIVE_SOCKET(station_id, peer_id), None, retain=True)
                case presence.Changed(station_id, online):
                    self.listener.station_changed(station_id, online)
                    if online:
                        continue
                    self.calls.over(station_id)  # browsers end it themselves: they are told that it left
                    if self.nodes.owns(station_id):
                        self.change_rooms(self.rooms.leave_all(rooms.STATION_PEER + station_id))
                case presence.AskReport(station_id):
                    self.publish(topics.STATION_CMD(station_id), Command(type="report-status", requester_id="hub"))

    def change_rooms(self, effects: list[rooms.Effect]) -> None:
        """Carries out what `rooms` said."""
        for effect in effects:
            match effect:
                case rooms.PublishRoom(room_id, record):
                    self.publish(topics.LIVE_ROOM(room_id), record, retain=True)
                case rooms.PublishMember(room_id, peer_id, member):
                    self.publish(topics.LIVE_MEMBER(room_id, peer_id), member, retain=True)
                case rooms.Joined(room_id, peer_id):
                    self.listener.peer_joined(room_id, peer_id)
                case rooms.Left(room_id, peer_id):
                    self.listener.peer_left(room_id, peer_id)

    def change_sessions(self, effects: Iterable[sessions.Effect]) -> None:
        """Carries out what `sessions` said."""
        for effect in effects:
            match effect:
                case sessions.PublishUser(user_id, record):
                    self.publish(topics.LIVE_USER(user_key(user_id)), record, retain=True)
                case sessions.ClearUser(user_id):
                    self.publish(topics.LIVE_USER(user_key(user_id)), None, retain=True)
                case sessions.Kick(user_id, session_id):
                    self.listener.kicked(user_id, session_id)
                    self.link.cut(user_id, effect.ends, end=False)

    def revoke_station(self, station_id: str, *, valid_from: float, deleted: bool) -> None:
        """What a station was given before `valid_from` is no good any more; on this node and, by a record, on the others."""
        if valid_from:
            record = RevokedRecord(valid_from=valid_from, deleted=deleted)
            self.publish(topics.LIVE_REVOKED(station_id), record, retain=True)
        self.station_revoked(station_id, deleted=deleted)

    def station_revoked(self, station_id: str, *, deleted: bool) -> None:
        """The credentials know it: whoever is still connected with what was revoked is cut off."""
        self.listener.station_revoked(station_id, deleted=deleted)
        self.link.cut(station_key(station_id), self.authenticator.credentials.refuses, end=deleted)
        if deleted:
            self.board.forget(station_id)
            self.calls.over(station_id)
            self.change_presence(self.presence.forget(station_id))
            # by each node: this one may have written a verdict after the node that deleted it had cleared the record
            self.publish(topics.LIVE_STATION(station_id), None, retain=True)


def _new_room_id() -> str:
    return "".join(secrets.choice(string.digits + string.ascii_lowercase) for _ in range(8))
