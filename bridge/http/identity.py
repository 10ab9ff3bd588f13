"""Who asks: the identity of an HTTP request, and what a route demands of it."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Final
from urllib.parse import urlsplit

from fastapi import Depends, HTTPException, Request, Security
from fastapi.security import HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials

from bridge.errors import ConnectRefused
from bridge.gateway import Gateway
from bridge.handshake import bearer
from hub.auth import Identity, Role
from hub.config import LOOPBACK

__all__ = [
    "BEARER", "Admin", "GatewayOf", "SignedIn", "Viewer", "gateway_of", "identity_of", "loopback_or_admin", "needs",
]  # fmt: skip

BEARER: Final = HTTPBearer(scheme_name="bearer", bearerFormat="JWT", auto_error=False)
"""Tells the OpenAPI document that a route needs a token; the token itself is read as everywhere."""
_PROXY_HEADERS: Final = ("x-forwarded-for", "forwarded", "x-real-ip", "via")


async def gateway_of(request: Request) -> Gateway:
    """The gateway that the application was made with."""
    gateway: Gateway = request.app.state.gateway
    return gateway


GatewayOf = Annotated[Gateway, Depends(gateway_of)]


async def identity_of(
    request: Request,
    gateway: GatewayOf,
    _: Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)] = None,
) -> Identity:
    """The identity of the bearer token. Raises HTTPException 401."""
    try:
        return await gateway.authenticate(bearer(request.headers))
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
Admin = Annotated[Identity, Depends(needs("admin"))]


async def loopback_or_admin(request: Request, gateway: GatewayOf) -> None:
    """Lets in the machine itself, and admins.

    A proxy on this machine is told by its headers; a page in a browser on this machine by its Origin, or by the name of its own
    site in Host (DNS rebinding).
    """
    if not _local(request) and not (await identity_of(request, gateway)).has("admin"):
        raise HTTPException(403, "From the machine itself, or as admin")


def _local(request: Request) -> bool:
    headers = request.headers
    if request.client is None or request.client.host not in LOOPBACK:
        return False
    if "origin" in headers or any(name in headers for name in _PROXY_HEADERS):
        return False
    try:
        return urlsplit(f"//{headers.get('host', '')}").hostname in LOOPBACK
    except ValueError:
        return False
