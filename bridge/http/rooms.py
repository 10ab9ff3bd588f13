"""`/rooms` (contract.md section 5)."""

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query

from bridge.http.errors import responses
from bridge.http.identity import Admin, GatewayOf, Viewer
from bridge.http.paging import Offset
from bridge.monitor import room_list
from bridge.payloads import Exists, RoomId
from devices.messages import Message
from hub.rooms import TooMany

__all__ = ["router"]

router = APIRouter(prefix="/rooms", tags=["rooms"])


class Room(Message):
    """One room: its members' peer ids in join order; milliseconds since 1970."""

    room_id: str
    users: list[str]
    user_count: int
    created_at: int


class RoomList(Message):
    """A page of rooms, and how many there are in all."""

    rooms: list[Room]
    total: int


@router.get("", responses=responses(400, 401, 403))
async def list_rooms(
    gateway: GatewayOf,
    _: Admin,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    offset: Offset = 0,
) -> RoomList:
    """All rooms, oldest first."""
    services = gateway.services
    page = [Room.model_validate(room) for room in room_list(services, offset, limit)]
    return RoomList(rooms=page, total=len(services.rooms))


@router.post("", status_code=201, responses=responses(401, 403, 429, 503))
async def create_room(gateway: GatewayOf, _: Viewer) -> RoomId:
    """Makes an empty room; it is forgotten if nobody comes."""
    try:
        room_id, effects = gateway.services.rooms.create()
    except TooMany:
        raise HTTPException(429, "Too many rooms", {"Retry-After": "60"}) from None
    gateway.services.change_rooms(effects)
    return RoomId(room_id=room_id)


@router.get("/{room_id}/exists", responses=responses(401, 403))
async def room_exists(gateway: GatewayOf, _: Viewer, room_id: str) -> Exists:
    """Whether there is a room of that id."""
    return Exists(exists=gateway.services.rooms.exists(room_id))
