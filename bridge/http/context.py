"""What the HTTP side was made with."""

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

__all__ = ["HttpSettings", "SettingsOf"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """Options of the HTTP side.

    Attributes:
        origins: those whose pages may read answers, beside the hub's own; None: any.
        trusted_proxies: addresses whose X-Forwarded-For is believed.
        https: the hub itself speaks HTTPS.
        ice_servers: URLs of STUN and TURN servers.
        turn_secret: shared with the TURN servers.
        turn_lifetime: seconds that credentials for them are good for.
    """

    origins: frozenset[str] | None = None
    trusted_proxies: frozenset[str] = frozenset()
    https: bool = False
    ice_servers: tuple[str, ...] = ()
    turn_secret: str | None = field(default=None, repr=False)
    turn_lifetime: float = 86_400.0


async def settings_of(request: Request) -> HttpSettings:
    """The options that the application was made with."""
    settings: HttpSettings = request.app.state.settings
    return settings


SettingsOf = Annotated[HttpSettings, Depends(settings_of)]
