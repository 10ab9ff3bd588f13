"""`/rooms` (contract.md section 5)."""

from fastapi import APIRouter, HTTPException

from bridge.http.identity import GatewayOf, Viewer
from hub.rooms import TooMany

__all__ = ["router"]

router = APIRouter(prefix="/rooms", tags=["rooms"])


@router.post("", status_code=201)
async def create(gateway: GatewayOf, _: Viewer) -> dict[str, str]:
    """Makes an empty room; it is forgotten if nobody comes."""
    try:
        room_id, effects = gateway.services.rooms.create()
    except TooMany:
        raise HTTPException(429, "Too many rooms", {"Retry-After": "60"}) from None
    gateway.services.change_rooms(effects)
    return {"roomId": room_id}


@router.get("/{room_id}/exists")
async def exists(gateway: GatewayOf, _: Viewer, room_id: str) -> dict[str, bool]:
    """Whether there is a room of that id."""
    return {"exists": gateway.services.rooms.exists(room_id)}
