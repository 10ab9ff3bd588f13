"""`/config/ice`: through which servers WebRTC finds its way (contract.md section 5)."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from bridge.http.context import SettingsOf
from bridge.http.errors import responses
from bridge.http.identity import GatewayOf, SignedIn
from devices.messages import Message
from hub.auth import user_key
from hub.ice import ice_servers

__all__ = ["router"]

router = APIRouter(prefix="/config", tags=["config"])


class IceServer(Message):
    """One entry of an `RTCConfiguration`'s `iceServers`; `username` and `credential` are TURN's."""

    urls: list[str]
    username: str | None = None
    credential: str | None = None


class IceConfig(Message):
    """What `new RTCPeerConnection` takes."""

    ice_servers: list[IceServer]
    ttl: Annotated[int, Field(description="Seconds that the credentials are good for.")]


@router.get("/ice", response_model_exclude_none=True, responses=responses(401))
async def ice_config(gateway: GatewayOf, settings: SettingsOf, identity: SignedIn) -> IceConfig:
    """STUN and TURN servers, with credentials that expire."""
    ttl = int(settings.turn_lifetime)
    servers = ice_servers(
        settings.ice_servers,
        secret=settings.turn_secret,
        # as one word of ASCII: what a TURN server takes
        user=user_key(identity.user_id),
        expires=gateway.services.clock.wall_ms() // 1000 + ttl,
    )
    return IceConfig(ice_servers=[IceServer.model_validate(server) for server in servers], ttl=ttl)
