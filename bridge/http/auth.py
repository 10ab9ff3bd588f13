"""`/auth`: so far guests (contract.md section 5)."""

import secrets
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from bridge.http.identity import GatewayOf
from hub.auth import DAY

__all__ = ["router"]

router = APIRouter(prefix="/auth", tags=["auth"])


class GuestRequest(BaseModel):
    """Who the guest says to be."""

    model_config = ConfigDict(strict=True)

    nickname: Annotated[str, Field(min_length=1, max_length=64)] | None = None


@router.post("/guest", status_code=201)
async def guest(gateway: GatewayOf, body: GuestRequest | None = None) -> dict[str, Any]:
    """Signs in somebody without an account."""
    user_id = f"guest-{secrets.token_hex(8)}"
    nickname = (body.nickname if body else None) or f"Guest {user_id[-4:]}"
    # without a role of its own: what guests may do is the hub's to say, at every login
    token = gateway.tokens.mint_user(user_id, role=None, type="guest", nickname=nickname, lifetime=DAY)
    return {"accessToken": token, "user": {"id": user_id, "type": "guest", "nickname": nickname}}
