"""The services on one link: the thin shell that feeds the pure machines and carries out what they say.

`Services` subscribes to what stations and other nodes say, asks `Presence`, `Rooms`, `Sessions`, `StatusBoard`, `Commands`,
`Streams` and `Nodes`, writes their records, and tells one `Listener` (the bridge) what browsers should hear.
"""

import asyncio
import random
import secrets
import string
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import unquote

import structlog
from pydantic import BaseModel

from devices import topics
from devices.clock import Clock
from devices.messages import (
    Birth,
    Call,
    Command,
    CommandReply,
    MemberRecord,
    MessageError,
    NodeRecord,
    Offline,
    PeerPush,
    RoomAction,
    RoomRecord,
    Signal,
    StreamResponse,
    UserRecord,
    Verdict,
    decode,
    encode,
)
from hub import presence, rooms, sessions
from hub.auth import user_key
from hub.commands import Commands, Outcome, Streams
from hub.link import Link, LinkDown
from hub.nodes import BEAT, Nodes, new_node_id, node_of
from hub.status import StatusBoard

__all__ = ["STATION_PEER", "Counters", "Listener", "Services", "Unavailable"]

log = structlog.get_logger(__name__)

STATION_PEER: Final = "station:"
"""A station that is a peer by MQTT is `station:{sid}`."""
ANSWER_WINDOW: Final = 10.0
"""Seconds in which a status counts as the answer to a request."""
TICK: Final = 0.25
"""Seconds between two looks at the machines' deadlines; a look costs nothing when nothing is due."""
REMEMBERED_PUSHES: Final = 4_096
_SYNC: Final = "sync"


class Unavailable(Exception):
    """The broker cannot be reached now."""


class Listener(Protocol):
    """What the services tell the bridge, on the event loop."""

    def station_changed(self, station_id: str, online: bool) -> None:
        """The verdict on a station changed."""

    def station_called(self, station_id: str, timestamp: int) -> None:
        """A station calls the centre; milliseconds since 1970."""

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


@dataclass(slots=True)
class Counters:
    """What came over the link since the start."""

    messages: int = 0
    malformed: int = 0
    commands: int = 0


class Services:
    """Everything that lives on the link, of one node.

    Args:
        room_expiry: seconds that an empty room is kept.
        will_grace: see `Presence`.
        nid: the node id.
    """

    def __init__(
        self,
        link: Link,
        clock: Clock,
        *,
        room_expiry: float = 600.0,
        will_grace: float = 3.0,
        nid: str | None = None,
    ) -> None:
        self.link, self.clock = link, clock
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
        self.sessions = sessions.Sessions()
        self.board = StatusBoard(clock)
        self.commands = Commands(clock)
        self.streams = Streams(clock)
        self.counters = Counters()
        self._listener: Listener
        self._waiting: dict[str, asyncio.Future[Outcome]] = {}
        self._asked: dict[str, dict[str, float]] = {}
        self._pushes_seen: OrderedDict[str, None] = OrderedDict()
        self._beats, self._next_beat = 0, 0.0
        self._synced = asyncio.Event()

    # ---- life

    def start(self, listener: Listener) -> None:
        """Subscribes to everything; call once the link has started."""
        self._listener = listener
        for topic, on_record in (
            (topics.LIVE_NODE, self._on_node),
            (topics.LIVE_STATION, self._on_verdict),
            (topics.LIVE_ROOM, self._on_room_record),
            (topics.LIVE_MEMBER, self._on_member_record),
            (topics.LIVE_USER, self._on_user_record),
        ):
            self.link.subscribe(topic.filter(), self._guarded(topic, on_record))
        self.link.subscribe(topics.PEER.filter(self.nid), self._guarded(topics.PEER, self._on_push))
        for topic, on_message in (
            (topics.STATION_STATUS, self._on_status),
            (topics.STATION_ONLINE, self._on_birth),
            (topics.STATION_OFFLINE, self._on_offline),
            (topics.STATION_CALL, self._on_call),
            (topics.STATION_REPLY, self._on_reply),
            (topics.STATION_STREAM, self._on_stream),
            (topics.STATION_ROOM, self._on_room),
            (topics.SIGNAL_OUT, self._on_signal),
            (topics.STATION_CMD, self._on_command),
        ):
            # live state is never taken from what a station's broker kept [architecture.md 5.1]
            self.link.subscribe(topic.filter(), self._guarded(topic, _live_only(on_message)))
        self.link.watch_connection(self._on_connection)
        if self.link.connected:
            self._on_connection(True)

    async def synced(self) -> None:
        """Returns once every record that the broker kept has been read.

        A broker answers one connection in order: what it kept comes before a message published after subscribing.
        """
        probe = PeerPush(id=secrets.token_hex(8), event=_SYNC)
        self.link.publish(topics.PEER(self.nid, self.nid), encode(probe))
        await self._synced.wait()

    async def run(self) -> None:
        """Lets time pass, until cancelled."""
        while True:
            await asyncio.sleep(TICK)
            self.tick()

    def tick(self) -> None:
        """Looks at all deadlines."""
        now = self.clock.monotonic()
        for outcome in self.commands.tick():
            self._finish(outcome)
        if not self.link.connected:
            return
        self._apply(self.presence.tick())
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
        self._apply_rooms(self.rooms.tick())
        self.streams.tick()
        for station_id, asked in list(self._asked.items()):
            live = {peer: until for peer, until in asked.items() if until > now}
            if live:
                self._asked[station_id] = live
            else:
                del self._asked[station_id]

    def stop(self) -> None:
        """Answers commands that wait, takes the own records away."""
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(Unavailable())
        self.publish(topics.LIVE_NODE(self.nid), None, retain=True)

    def require_link(self) -> None:
        """Raises Unavailable while the broker is out of reach."""
        if not self.link.connected:
            raise Unavailable

    # ---- what the bridge asks for

    def publish(self, topic: str, message: BaseModel | None, *, retain: bool = False) -> None:
        """Writes a record, or clears it; while the link is down it is left for the next republishing."""
        try:
            self.link.publish(topic, b"" if message is None else encode(message), retain=retain)
        except LinkDown:
            log.debug("not published, the broker is out of reach", topic=topic)

    def say(self, topic: topics.Topic, station_id: str, message: BaseModel, *, qos: int = 1) -> None:
        """Publishes what a station or the hub says on one of the station's topics. Raises Unavailable."""
        try:
            self.link.publish(topic(station_id), encode(message), qos=qos)
        except LinkDown:
            raise Unavailable from None

    def say_status(self, station_id: str, status: bytes) -> None:
        """Publishes a status that came over a WebSocket. Raises Unavailable."""
        try:
            self.link.publish(topics.STATION_STATUS(station_id), status, qos=0)
        except LinkDown:
            raise Unavailable from None

    def send(self, station_id: str, command: Command) -> None:
        """Publishes a command to a station on MQTT. Raises Unavailable."""
        self.counters.commands += 1
        self.say(topics.STATION_CMD, station_id, command)

    def push_away(self, peer_id: str, nid: str, push: PeerPush) -> None:
        """Sends an event to a peer of another node. Raises Unavailable."""
        try:
            self.link.publish(topics.PEER(nid, peer_id), encode(push))
        except LinkDown:
            raise Unavailable from None

    def expect_status(self, station_id: str, requester_id: str) -> None:
        """The next good status of the station goes to this peer as well."""
        self._asked.setdefault(station_id, {})[requester_id] = self.clock.monotonic() + ANSWER_WINDOW

    def command(
        self, station_id: str, type: str, params: Any, timeout: float, send: Callable[[Command], None]
    ) -> tuple[str, asyncio.Future[Outcome]]:
        """Sends a command by `send`; gives its id and its outcome to come.

        Args:
            timeout: seconds until the command's deadline.

        Raises:
            OverflowError: too many commands wait already.
            Unavailable: the broker is out of reach.
        """
        command_id, ttl = secrets.token_urlsafe(12), round(timeout * 1000)
        command = Command(type=type, id=command_id, params=params, expires_at=self.clock.wall_ms() + ttl, ttl_ms=ttl)
        self.commands.open(command_id, station_id, timeout)
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

    def change_rooms(self, effects: list[rooms.Effect]) -> None:
        """Carries out what `rooms` said to something that a peer of this node did."""
        self._apply_rooms(effects)

    def change_sessions(self, effects: list[sessions.Effect]) -> None:
        """Carries out what `sessions` said to a login."""
        for effect in effects:
            if isinstance(effect, sessions.PublishUser):
                self.publish(topics.LIVE_USER(user_key(effect.user_id)), effect.record, retain=True)
            else:
                self._listener.kicked(effect.user_id, effect.session_id)

    def station_registered(self, station_id: str, peer_id: str, session_id: str | None) -> None:
        """A socket of this node speaks for the station from now on. Raises Unavailable."""
        birth = Birth(session_id=session_id or peer_id, via="websocket", peer=peer_id)
        self.say(topics.STATION_ONLINE, station_id, birth)
        self._apply(self.presence.birth(station_id, birth))

    def station_unregistered(self, station_id: str, peer_id: str) -> None:
        """That socket is closed, or speaks for another station."""
        leave = Offline(station_id=station_id, session_id=peer_id, via="websocket")
        # while the link is down the others learn it from this node's will
        self.publish(topics.STATION_OFFLINE(station_id), leave)
        self._apply(self.presence.offline(station_id, leave))

    def peer_gone(self, peer_id: str) -> None:
        """A socket of this node is closed."""
        self.streams.drop(peer_id)
        self._apply_rooms(self.rooms.leave_all(peer_id))

    # ---- what stations say

    def _guarded(
        self, topic: topics.Topic, handler: Callable[[str, bytes, bool], None]
    ) -> Callable[[str, bytes, bool], None]:
        """A link callback: takes the last id out of the topic, counts what is malformed."""

        def on_message(name: str, payload: bytes, retained: bool) -> None:
            self.counters.messages += 1
            ids = topic.ids(name)
            try:
                if ids is None:
                    raise MessageError("topic: not an id")
                handler("/".join(ids), payload, retained)
            except MessageError as error:
                self.counters.malformed += 1
                log.debug("malformed message", topic=topic.template, reason=error.reason)
            except Unavailable:
                log.debug("the link went down while a message was handled", topic=topic.template)

        return on_message

    def _on_status(self, station_id: str, payload: bytes) -> None:
        self.board.arrived(station_id, payload)
        # who is plainly there needs no look at the payload; a stale status must not bring back anybody
        settled = self.presence.state(station_id) is presence.State.ONLINE and station_id not in self._asked
        if settled or self._answer(station_id):
            self._apply(self.presence.heard(station_id, status=True))

    def _answer(self, station_id: str) -> bool:
        """Reads the newest status now, hands it to those who asked. False when it was stale or invalid."""
        status = self.board.read(station_id)
        if status is None:
            return False
        now = self.clock.monotonic()
        asked = [peer for peer, until in self._asked.pop(station_id, {}).items() if until > now]
        if asked:
            self._listener.status_answered(status, asked)
        return True

    def _on_birth(self, station_id: str, payload: bytes) -> None:
        birth = decode(Birth, payload)
        if birth.via == "mqtt" or not self._is_own(birth.peer):
            self._apply(self.presence.birth(station_id, birth))

    def _on_offline(self, station_id: str, payload: bytes) -> None:
        leave = decode(Offline, payload)
        if leave.via == "mqtt" or not self._is_own(leave.session_id):
            self._apply(self.presence.offline(station_id, leave))

    def _is_own(self, peer_id: str | None) -> bool:
        """Whether a socket is of this node: what it does was applied when it did it, and comes back only as an echo."""
        return peer_id is not None and node_of(peer_id) == self.nid

    def _on_call(self, station_id: str, payload: bytes) -> None:
        call = decode(Call, payload or b"{}")
        self._apply(self.presence.heard(station_id))
        self._listener.station_called(station_id, call.timestamp or self.clock.wall_ms())

    def _on_reply(self, station_id: str, payload: bytes) -> None:
        reply = decode(CommandReply, payload)
        self._apply(self.presence.heard(station_id))
        outcome = self.commands.reply(station_id, reply)
        if outcome is not None:
            self._finish(outcome)

    def _on_stream(self, station_id: str, payload: bytes) -> None:
        response = decode(StreamResponse, payload)
        self._apply(self.presence.heard(station_id))
        self._listener.stream_answered(station_id, response)

    def _on_room(self, station_id: str, payload: bytes) -> None:
        action = decode(RoomAction, payload)
        self._apply(self.presence.heard(station_id))
        peer_id = STATION_PEER + station_id
        if not self.nodes.owns(station_id):
            return
        if action.action == "leave":
            self._apply_rooms(self.rooms.leave(action.room_id, peer_id))
        elif not self.rooms.invited(station_id, action.room_id):
            raise MessageError("roomId: the station was not invited")
        else:
            self._apply_rooms(self.rooms.join(action.room_id, peer_id))

    def _on_signal(self, station_id: str, payload: bytes) -> None:
        signal = decode(Signal, payload)
        self._apply(self.presence.heard(station_id))
        self._listener.station_signalled(station_id, signal)

    def _on_command(self, station_id: str, payload: bytes) -> None:
        if b"join-room" in payload:
            command = decode(Command, payload)
            if command.type == "join-room" and command.room_id is not None:
                self.rooms.invite(station_id, command.room_id)

    # ---- what other nodes say

    def _on_verdict(self, station_id: str, payload: bytes, retained: bool) -> None:
        if payload:
            self._apply(self.presence.verdict(station_id, decode(Verdict, payload), retained=retained))

    def _on_room_record(self, room_id: str, payload: bytes, _: bool) -> None:
        self._apply_rooms(self.rooms.apply_room(room_id, decode(RoomRecord, payload) if payload else None))

    def _on_member_record(self, ids: str, payload: bytes, _: bool) -> None:
        room_id, peer_id = ids.split("/")
        record = decode(MemberRecord, payload) if payload else None
        self._apply_rooms(self.rooms.apply_member(room_id, peer_id, record))

    def _on_user_record(self, key: str, payload: bytes, _: bool) -> None:
        if payload:
            self.change_sessions(self.sessions.apply(unquote(key), decode(UserRecord, payload)))

    def _on_push(self, ids: str, payload: bytes, _: bool) -> None:
        push = decode(PeerPush, payload)
        if push.id in self._pushes_seen:
            return
        self._pushes_seen[push.id] = None
        if len(self._pushes_seen) > REMEMBERED_PUSHES:
            self._pushes_seen.popitem(last=False)
        if push.event == _SYNC:
            self._synced.set()
            return
        self._listener.peer_pushed(ids.split("/")[1], push)

    def _on_node(self, nid: str, payload: bytes, _: bool) -> None:
        if payload:
            if self.nodes.heard(nid):
                self.presence.resync(link_was_lost=False)
        elif nid == self.nid:
            self._next_beat = 0.0  # a late will of an earlier connection: this node is alive
        elif self.nodes.gone(nid):
            self._node_gone(nid)

    def _node_gone(self, nid: str) -> None:
        log.warning("hub node gone", node=nid)
        self._apply(self.presence.sockets_gone(lambda peer_id: node_of(peer_id) == nid))
        self._apply_rooms(self.rooms.drop_node(nid))
        self.presence.resync(link_was_lost=False)

    def _on_connection(self, connected: bool) -> None:
        if not connected:
            log.warning("broker out of reach: presence stands still, station events are answered UNAVAILABLE")
            self.presence.link_down()
            return
        log.info("broker connected", node=self.nid)
        self.nodes.refresh()
        self._next_beat = 0.0
        self.presence.resync(link_was_lost=True)
        self._apply(self.presence.republish())
        for station_id, peer_id, session_id in self.presence.sockets_of(self._is_own):
            self.publish(topics.STATION_ONLINE(station_id), Birth(session_id=session_id, via="websocket", peer=peer_id))
        self._apply_rooms(self.rooms.republish())
        self.change_sessions(self.sessions.republish())

    # ---- what the machines decided

    def _apply(self, effects: list[presence.Effect]) -> None:
        for effect in effects:
            match effect:
                case presence.PublishVerdict(station_id, verdict):
                    self.publish(topics.LIVE_STATION(station_id), verdict, retain=True)
                case presence.Changed(station_id, online):
                    self._listener.station_changed(station_id, online)
                    if not online and self.nodes.owns(station_id):
                        self._apply_rooms(self.rooms.leave_all(STATION_PEER + station_id))
                case presence.AskReport(station_id):
                    self.publish(topics.STATION_CMD(station_id), Command(type="report-status", requester_id="hub"))

    def _apply_rooms(self, effects: list[rooms.Effect]) -> None:
        for effect in effects:
            match effect:
                case rooms.PublishRoom(room_id, record):
                    self.publish(topics.LIVE_ROOM(room_id), record, retain=True)
                case rooms.PublishMember(room_id, peer_id, member):
                    self.publish(topics.LIVE_MEMBER(room_id, peer_id), member, retain=True)
                case rooms.Joined(room_id, peer_id):
                    self._listener.peer_joined(room_id, peer_id)
                case rooms.Left(room_id, peer_id):
                    self._listener.peer_left(room_id, peer_id)

    def _finish(self, outcome: Outcome) -> None:
        future = self._waiting.get(outcome.command_id)
        if future and not future.done():
            future.set_result(outcome)


def _live_only(handler: Callable[[str, bytes], None]) -> Callable[[str, bytes, bool], None]:
    return lambda ids, payload, retained: None if retained else handler(ids, payload)


def _new_room_id() -> str:
    return "".join(secrets.choice(string.digits + string.ascii_lowercase) for _ in range(8))
