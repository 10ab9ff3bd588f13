"""`/stations`: so far who is online (contract.md section 5)."""

from fastapi import APIRouter, HTTPException

from bridge.http.identity import GatewayOf, Viewer
from hub.link import LinkDown

__all__ = ["router"]

router = APIRouter(prefix="/stations", tags=["stations"])


@router.get("/online")
async def online(gateway: GatewayOf, _: Viewer) -> dict[str, list[str]]:
    """Ids of the stations online, sorted."""
    try:
        gateway.services.require_link()
    except LinkDown:
        raise HTTPException(503, "The broker cannot be reached") from None
    return {"stations": gateway.services.presence.online_ids()}
