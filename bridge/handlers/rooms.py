"""Rooms and the signaling between their members (contract.md section 2)."""

from typing import Any, Final

from bridge.errors import (
    FORBIDDEN_ROOM,
    PEER_NOT_FOUND,
    PEER_STRANGER,
    ROOM_NOT_FOUND,
    TOO_MANY_ROOMS,
    EventError,
)
from bridge.gateway import Gateway
from bridge.payloads import Answer, Candidate, Exists, Joined, Nothing, Offer, Pong, RoomId
from bridge.peer import Peer
from hub.rooms import STATION_PEER, NoSuchRoom, TooMany

__all__ = ["answer", "check_room", "create_room", "ice_candidate", "join_room", "leave_room", "offer", "ping"]

ICE: Final = "ice-candidate"


def ping(gateway: Gateway, _peer: Peer, _data: Nothing) -> Pong:
    return Pong(ts=gateway.services.clock.wall_ms())


def create_room(gateway: Gateway, peer: Peer, _data: Nothing) -> RoomId:
    services = gateway.services
    try:
        room_id, effects = services.rooms.create(peer.peer_id)
    except TooMany:
        raise EventError(*TOO_MANY_ROOMS) from None
    services.change_rooms(effects)
    return RoomId(room_id=room_id)


def check_room(gateway: Gateway, _peer: Peer, data: RoomId) -> Exists:
    return Exists(exists=gateway.services.rooms.exists(data.room_id))


def join_room(gateway: Gateway, peer: Peer, data: RoomId) -> Joined:
    services, rooms = gateway.services, gateway.services.rooms
    if rooms.exists(data.room_id) and peer.identity.role == "station":
        station_id = peer.identity.station_id
        if station_id is None or not rooms.invited(station_id, data.room_id):
            raise EventError(*FORBIDDEN_ROOM)
    try:
        effects = rooms.join(data.room_id, peer.peer_id)
    except NoSuchRoom:
        raise EventError(*ROOM_NOT_FOUND) from None
    except TooMany:
        raise EventError(*TOO_MANY_ROOMS) from None
    services.change_rooms(effects)
    others = [member for member in rooms.members(data.room_id) if member != peer.peer_id]
    return Joined(room_id=data.room_id, peers=others)


def leave_room(gateway: Gateway, peer: Peer, data: RoomId) -> None:
    gateway.services.change_rooms(gateway.services.rooms.leave(data.room_id, peer.peer_id))


def offer(gateway: Gateway, peer: Peer, data: Offer) -> None:
    _relay(gateway, peer.peer_id, data.to, "offer", data.offer)


def answer(gateway: Gateway, peer: Peer, data: Answer) -> None:
    _relay(gateway, peer.peer_id, data.to, "answer", data.answer)


def ice_candidate(gateway: Gateway, peer: Peer, data: Candidate) -> None:
    _relay(gateway, peer.peer_id, data.to, ICE, data.candidate)


def _relay(gateway: Gateway, sender: str, to: str, event: str, content: Any) -> None:
    """Hands an offer, answer or candidate on. Peer ids are looked up before room ids."""
    rooms = gateway.services.rooms
    target = _peer_of(gateway, to)
    if target is not None:
        if gateway.acquainted(sender, target):
            gateway.signal(target, sender, event, content)
        elif event != ICE:  # candidates trickle on for a while after a peer has left
            raise EventError(*PEER_STRANGER)
    elif rooms.exists(to):
        if not rooms.in_room(sender, to):
            raise EventError(*PEER_STRANGER)
        for member in rooms.members(to):
            if member != sender:
                gateway.signal(member, sender, event, content, room_id=to)
    elif event != ICE:
        raise EventError(*PEER_NOT_FOUND)


def _peer_of(gateway: Gateway, to: str) -> str | None:
    """The peer that `to` names; a station by its id, on WebSocket or MQTT, as `station:{id}`."""
    if to.startswith(STATION_PEER):
        station_id = to.removeprefix(STATION_PEER)
        presence = gateway.services.presence
        return presence.socket(station_id) or (to if presence.online(station_id) else None)
    return to if gateway.has_peer(to) else None
