"""What comes over the link: each message decoded, given to its machine, and what the machine says carried out."""

import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote

import structlog

from devices import topics
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
    RevokedRecord,
    RoomAction,
    RoomRecord,
    Signal,
    SocketRecord,
    StreamResponse,
    UserRecord,
    Verdict,
    decode,
    is_relayed,
)
from hub.link import LinkDown, OnMessage
from hub.services import CALL_ANSWERED, MAX_STATIONS, SYNC, Services

__all__ = ["Intake"]

log = structlog.get_logger(__name__)

REMEMBERED_PUSHES: Final = 4_096


class Intake:
    """The callbacks of one node's subscriptions."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._pushes_seen: OrderedDict[str, None] = OrderedDict()
        self._records = {
            topics.LIVE_NODE: self._node,
            topics.LIVE_STATION: self._verdict,
            topics.LIVE_SOCKET: self._socket,
            topics.LIVE_ROOM: self._room_record,
            topics.LIVE_MEMBER: self._member_record,
            topics.LIVE_USER: self._user_record,
            topics.LIVE_REVOKED: self._revoked_record,
        }
        self._unseen: set[str] = set()
        self._witness: str | None = None
        self._probe = ""

    def subscribe(self) -> None:
        """Asks the link for everything: records first, so that what is known comes before what is new."""
        link = self._services.link
        for topic, on_record in self._records.items():
            link.subscribe(topic.filter(), self._guarded(topic, on_record))
        link.subscribe(topics.PEER.filter(self._services.nid), self._guarded(topics.PEER, self._push))
        for topic, on_message in (
            (topics.STATION_STATUS, self._status),
            (topics.STATION_ONLINE, self._birth),
            (topics.STATION_OFFLINE, self._offline),
            (topics.STATION_CALL, self._call),
            (topics.STATION_REPLY, self._reply),
            (topics.STATION_STREAM, self._stream),
            (topics.STATION_ROOM, self._room),
            (topics.SIGNAL_OUT, self._signal),
            (topics.STATION_CMD, self._command),
        ):
            link.subscribe(topic.filter(), self._guarded(topic, _live_only(on_message)))
        link.watch_connection(self._connected)
        if link.connected:
            self._connected(True)

    def _connected(self, connected: bool) -> None:
        """Reads all records anew: a message to this node itself comes after everything that the broker kept.

        A broker answers one connection in order. What others wrote before a loss, and does not come again, was cleared meanwhile;
        unless the broker forgot everything, as one verdict that nobody ever clears bears witness.
        """
        services = self._services
        if connected:
            probe = PeerPush(id=secrets.token_hex(8), event=SYNC)
            self._probe = probe.id
            services.publish(topics.PEER(services.nid, services.nid), probe)
            return
        self._unseen = {
            topics.LIVE_ROOM(room_id) if peer_id is None else topics.LIVE_MEMBER(room_id, peer_id)
            for room_id, peer_id in services.rooms.foreign()
        }
        for station_id, peer_id, _ in services.presence.sockets():
            if not services.holds(peer_id):
                self._unseen.add(topics.LIVE_SOCKET(station_id, peer_id))
        judged = services.presence.any_judged()
        self._witness = None if judged is None else topics.LIVE_STATION(judged)
        if self._witness is not None:
            self._unseen.add(self._witness)

    def _synchronized(self) -> None:
        forgotten = self._witness in self._unseen
        for name in () if forgotten else self._unseen:
            parsed = topics.parse(name)
            if parsed is not None:
                self._records[parsed.topic]("/".join(parsed.ids), b"", False)
        self._unseen.clear()
        self._services.synchronized()

    def _guarded(self, topic: topics.Topic, handler: Callable[[str, bytes, bool], None]) -> OnMessage:
        """A link callback: takes the ids out of the topic, counts what is malformed."""
        counters = self._services.counters

        def on_message(name: str, payload: bytes, retained: bool) -> None:
            counters.messages += 1
            self._unseen.discard(name)
            ids = topic.ids(name)
            try:
                if ids is None:
                    raise MessageError("topic: not an id")
                handler("/".join(ids), payload, retained)
            except MessageError as error:
                counters.malformed += 1
                log.debug("malformed message", topic=topic.template, reason=error.reason)
            except LinkDown:
                log.debug("the link went down while a message was handled", topic=topic.template)

        return on_message

    # ---- what stations say

    def _status(self, station_id: str, payload: bytes) -> None:
        services = self._services
        self._make_room_for(station_id)
        services.board.arrived(station_id, payload)
        asked, relayed = services.expects_status(station_id), is_relayed(payload)
        # who is plainly there needs no look at the payload; a stale status must not bring back anybody
        looks = asked or not (relayed or services.presence.settled(station_id))
        good = services.answer_status(station_id) if looks else True
        if good and not relayed:
            services.change_presence(services.presence.heard(station_id, status=True))

    def _birth(self, station_id: str, payload: bytes) -> None:
        birth = decode(Birth, payload)
        self._make_room_for(station_id)
        self._services.change_presence(self._services.presence.birth(station_id, birth))

    def _make_room_for(self, station_id: str) -> None:
        presence = self._services.presence
        if len(presence) >= MAX_STATIONS and not presence.knows(station_id):
            raise MessageError("stationId: too many stations")

    def _offline(self, station_id: str, payload: bytes) -> None:
        leave = decode(Offline, payload)
        self._services.change_presence(self._services.presence.offline(station_id, leave))

    def _call(self, station_id: str, payload: bytes) -> None:
        call, services = decode(Call, payload or b"{}"), self._services
        self._heard(station_id, payload)
        services.station_called(station_id, call.timestamp or services.clock.wall_ms())

    def _reply(self, station_id: str, payload: bytes) -> None:
        reply = decode(CommandReply, payload)
        self._heard(station_id, payload)
        self._services.finish(self._services.commands.reply(station_id, reply))

    def _stream(self, station_id: str, payload: bytes) -> None:
        response = decode(StreamResponse, payload)
        self._heard(station_id, payload)
        self._services.listener.stream_answered(station_id, response)

    def _room(self, station_id: str, payload: bytes) -> None:
        action, services = decode(RoomAction, payload), self._services
        self._heard(station_id, payload)
        if services.nodes.owns(station_id):
            services.station_room(station_id, action)

    def _signal(self, station_id: str, payload: bytes) -> None:
        signal = decode(Signal, payload)
        self._heard(station_id, payload)
        self._services.listener.station_signalled(station_id, signal)

    def _heard(self, station_id: str, payload: bytes) -> None:
        if not is_relayed(payload):
            self._services.change_presence(self._services.presence.heard(station_id))

    def _command(self, station_id: str, payload: bytes) -> None:
        """The hub's own word to a station, whichever node it came from: an invitation has to be known to all."""
        if b"join-room" in payload:
            command = decode(Command, payload)
            if command.type == "join-room" and command.room_id is not None:
                self._services.rooms.invite(station_id, command.room_id)

    # ---- what nodes say

    def _verdict(self, station_id: str, payload: bytes, retained: bool) -> None:
        services = self._services
        if payload:
            services.change_presence(services.presence.verdict(station_id, decode(Verdict, payload), retained=retained))
        else:
            services.change_presence(services.presence.cleared(station_id))

    def _socket(self, ids: str, payload: bytes, _: bool) -> None:
        station_id, peer_id = ids.split("/")
        services = self._services
        if services.holds(peer_id):
            return  # the echo of an own record: it was applied when it was written
        if payload:
            record = decode(SocketRecord, payload)
            services.change_presence(services.presence.socket_opened(station_id, peer_id, record))
        else:
            services.change_presence(services.presence.socket_closed(station_id, peer_id))

    def _room_record(self, room_id: str, payload: bytes, _: bool) -> None:
        record = decode(RoomRecord, payload) if payload else None
        self._services.change_rooms(self._services.rooms.apply_room(room_id, record))

    def _member_record(self, ids: str, payload: bytes, _: bool) -> None:
        room_id, peer_id = ids.split("/")
        record = decode(MemberRecord, payload) if payload else None
        self._services.change_rooms(self._services.rooms.apply_member(room_id, peer_id, record))

    def _user_record(self, key: str, payload: bytes, _: bool) -> None:
        if payload:
            record = decode(UserRecord, payload)
            self._services.change_sessions(self._services.authenticator.sessions.apply(unquote(key), record))

    def _revoked_record(self, station_id: str, payload: bytes, _: bool) -> None:
        if payload:
            record, services = decode(RevokedRecord, payload), self._services
            if services.authenticator.credentials.revoke(station_id, record.valid_from):
                services.station_revoked(station_id, deleted=record.deleted)

    def _push(self, ids: str, payload: bytes, _: bool) -> None:
        push = decode(PeerPush, payload)
        if push.id in self._pushes_seen:
            return
        self._pushes_seen[push.id] = None
        if len(self._pushes_seen) > REMEMBERED_PUSHES:
            self._pushes_seen.popitem(last=False)
        if push.event == SYNC:
            if push.id == self._probe:
                self._synchronized()
        elif push.event == CALL_ANSWERED:
            if push.station is not None:
                self._services.call_over(push.station, push.data if isinstance(push.data, str) else None)
        else:
            self._services.listener.peer_pushed(ids.split("/")[1], push)

    def _node(self, nid: str, payload: bytes, _: bool) -> None:
        if payload:
            decode(NodeRecord, payload)
            self._services.node_heard(nid)
        else:
            self._services.node_cleared(nid)


def _live_only(handler: Callable[[str, bytes], None]) -> Callable[[str, bytes, bool], None]:
    """Live state is never taken from what a broker kept of a station (architecture: presence, rule 1)."""
    return lambda ids, payload, retained: None if retained else handler(ids, payload)
