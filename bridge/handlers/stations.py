"""Stations: registering as one, asking one, watching all (contract.md section 2)."""

import asyncio
from collections.abc import Awaitable
from typing import Final

import orjson

from bridge.commanding import command_error, send_command
from bridge.errors import (
    FORBIDDEN_STATION,
    ROOM_NOT_FOUND,
    STATION_NOT_REGISTERED,
    STATION_OFFLINE,
    STATION_OFFLINE_OR_UNKNOWN,
    STATION_TAKEN,
    STATION_UNREACHABLE,
    EventError,
    invalid,
)
from bridge.gateway import Gateway
from bridge.payloads import (
    CommandDone,
    CommandRequest,
    Invite,
    Nothing,
    Register,
    RequestSent,
    StationList,
    StationOnly,
    StreamRequest,
    Unwatch,
    Via,
    Watch,
    Watching,
)
from bridge.peer import Peer
from devices import topics
from devices.messages import Call, Command, CommandReply, SocketRecord, Status, StreamResponse, encode
from hub.commands import Outcome
from hub.link import LinkDown

__all__ = [
    "call_center",
    "command",
    "command_reply",
    "get_online",
    "invite",
    "register",
    "request_status",
    "request_stream",
    "status_update",
    "stream_response",
    "unwatch",
    "watch",
]

FIRST_BATCH: Final = 10
"""Events that a batch with the status of everything watched counts for: a few bytes ask for a whole fleet."""


def register(gateway: Gateway, peer: Peer, data: Register) -> StationOnly:
    identity, station_id = peer.identity, data.station_id
    anybodys = identity.type != "station" and (identity.has("admin") or gateway.open_registration)
    if not (identity.speaks_for(station_id) or anybodys):
        raise EventError(*FORBIDDEN_STATION)
    if gateway.services.presence.holder(station_id) not in (None, identity.user_id):
        raise EventError(*STATION_TAKEN)
    record = SocketRecord(session_id=data.session_id or peer.peer_id, user_id=identity.user_id)
    # before anybody is told: from now on it is a station, which fleet pushes do not go to
    before, peer.station_id = peer.station_id, station_id
    older = gateway.services.presence.socket(station_id)
    try:
        gateway.services.station_registered(station_id, peer.peer_id, record)
    except LinkDown:
        peer.station_id = before
        raise
    if before not in (None, station_id):
        gateway.services.station_unregistered(before or "", peer.peer_id)
    if older is not None and older != peer.peer_id:
        # commands go to the newest; who is not told goes on calling, and is never answered
        gateway.push(older, "station-replaced", {"stationId": station_id}, station=station_id)
    return StationOnly(station_id=station_id)


def get_online(gateway: Gateway, _peer: Peer, _data: Nothing) -> StationList:
    return StationList(stations=gateway.services.presence.online_ids())


def invite(gateway: Gateway, peer: Peer, data: Invite) -> None:
    if not gateway.services.presence.online(data.station_id):
        raise EventError(*STATION_OFFLINE)
    if not gateway.services.rooms.exists(data.room_id):
        raise EventError(*ROOM_NOT_FOUND)
    command = Command(type="join-room", room_id=data.room_id, inviter_id=peer.peer_id)
    gateway.deliver(data.station_id, command)
    gateway.services.answer_call(data.station_id, peer.peer_id)


def call_center(gateway: Gateway, peer: Peer, data: StationOnly) -> None:
    if data.station_id != peer.station_id:
        unregistered = peer.identity.speaks_for(data.station_id)
        raise EventError(*(STATION_NOT_REGISTERED if unregistered else FORBIDDEN_STATION))
    call = Call(timestamp=gateway.services.clock.wall_ms())
    gateway.services.relay(topics.STATION_CALL, data.station_id, encode(call))


def request_stream(gateway: Gateway, peer: Peer, data: StreamRequest) -> RequestSent:
    if not gateway.services.presence.online(data.station_id):
        raise EventError(*STATION_OFFLINE_OR_UNKNOWN)
    gateway.services.streams.open(peer.peer_id, data.station_id, data.camera_id)
    command = Command(type="start-stream", requester_id=peer.peer_id, camera_id=data.camera_id, offer=data.offer)
    gateway.deliver(data.station_id, command)
    return RequestSent()


def stream_response(gateway: Gateway, peer: Peer, data: StreamResponse) -> None:
    gateway.services.relay(topics.STATION_STREAM, _registered(peer), encode(data))


def request_status(gateway: Gateway, peer: Peer, data: StationOnly) -> Via:
    presence = gateway.services.presence
    if not presence.online(data.station_id):
        raise EventError(*STATION_UNREACHABLE)
    gateway.services.expect_status(data.station_id, peer.peer_id)
    gateway.deliver(data.station_id, Command(type="report-status", requester_id=peer.peer_id))
    return Via(via="websocket" if presence.socket(data.station_id) else "mqtt")


def status_update(gateway: Gateway, peer: Peer, data: Status) -> None:
    station_id = _registered(peer)
    try:
        status = orjson.dumps(data.model_dump(by_alias=True, exclude_unset=True))
    except TypeError:  # orjson's own error is a TypeError
        raise invalid("data: nested too deep") from None
    gateway.services.relay(topics.STATION_STATUS, station_id, status, qos=0)


def command(gateway: Gateway, peer: Peer, data: CommandRequest) -> Awaitable[CommandDone]:
    what = data.station_id, data.type, data.params, data.timeout_ms
    command_id, outcome = send_command(gateway, *what, peer.peer_id)
    if gateway.notes is not None:
        gateway.notes.note(command_id, *what, peer.identity.user_id, outcome)
    return _done(command_id, outcome)


async def _done(command_id: str, waiting: asyncio.Future[Outcome]) -> CommandDone:
    outcome = await waiting
    error = command_error(outcome.stage, outcome.delivered, outcome.error)
    if error is not None:
        raise error
    return CommandDone(id=command_id, result=outcome.result, ms=round(outcome.elapsed * 1000))


def command_reply(gateway: Gateway, peer: Peer, data: CommandReply) -> None:
    gateway.services.relay(topics.STATION_REPLY, _registered(peer), encode(data))


def watch(gateway: Gateway, peer: Peer, data: Watch) -> Watching:
    peer.watch = frozenset(data.stations)
    peer.charge(FIRST_BATCH)
    if data.states is not None:
        gateway.show_states(peer, wanted=data.states)
    gateway.batches.first(peer)
    return Watching(watching=len(peer.watch))


def unwatch(gateway: Gateway, peer: Peer, data: Unwatch) -> Watching:
    if data.stations is None:
        peer.watch = None
        peer.charge(FIRST_BATCH)
        gateway.show_states(peer, wanted=False)
        gateway.batches.first(peer)
        return Watching(watching=len(gateway.services.presence))
    # of "all", those known now are meant: a set with exceptions would have to be matched on every flush
    watched = gateway.services.presence.ids() if peer.watch is None else peer.watch
    peer.watch = frozenset(watched) - frozenset(data.stations)
    peer.pending = {station_id: None for station_id in peer.pending if station_id in peer.watch}
    return Watching(watching=len(peer.watch))


def _registered(peer: Peer) -> str:
    if peer.station_id is None:
        raise EventError(*STATION_NOT_REGISTERED)
    return peer.station_id
