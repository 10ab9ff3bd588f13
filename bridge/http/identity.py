"""Who asks: the identity of an HTTP request, and what a route demands of it."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, HTTPException, Request

from bridge.errors import ConnectRefused
from bridge.gateway import Gateway
from bridge.native import bearer
from hub.auth import Identity, Role
from hub.config import LOOPBACK

__all__ = ["GatewayOf", "SignedIn", "Viewer", "gateway_of", "identity_of", "loopback_or_admin", "needs"]


async def gateway_of(request: Request) -> Gateway:
    """The gateway that the application was made with."""
    gateway: Gateway = request.app.state.gateway
    return gateway


GatewayOf = Annotated[Gateway, Depends(gateway_of)]


async def identity_of(request: Request, gateway: GatewayOf) -> Identity:
    """The identity of the bearer token. Raises HTTPException 401."""
    try:
        return gateway.authenticate(bearer(request.headers))
    except ConnectRefused:
        raise HTTPException(401, "Unauthorized", {"WWW-Authenticate": "Bearer"}) from None


SignedIn = Annotated[Identity, Depends(identity_of)]


def needs(role: Role) -> Callable[[Identity], Awaitable[Identity]]:
    """A dependency that lets in who has at least `role`; others get 403."""

    async def check(identity: SignedIn) -> Identity:
        if not identity.has(role):
            raise HTTPException(403, "Your role does not allow this")
        return identity

    return check


Viewer = Annotated[Identity, Depends(needs("viewer"))]


async def loopback_or_admin(request: Request, gateway: GatewayOf) -> None:
    """Lets in the machine itself, and admins. A proxy on this machine is told by its X-Forwarded-For."""
    local = request.client is not None and request.client.host in LOOPBACK
    if local and "x-forwarded-for" not in request.headers:
        return
    if not (await identity_of(request, gateway)).has("admin"):
        raise HTTPException(403, "From the machine itself, or as admin")
