"""Everybody who may come to a hub, by name, with a token: what the authorization matrix is asked with."""

import itertools
import time
from typing import Any, Final

import httpx
import jwt

from hub.auth import Role
from hub.serve import Hub
from tests.e2e.conftest import SECRET

__all__ = ["BAD", "OTHER", "OWN", "PASSWORD", "WHO", "Cast"]

BAD: Final = ("none", "expired", "forged", "replaced", "revoked")
"""Nobody, as far as the hub can tell: no token, or one that proves nothing (any more)."""
WHO: Final = ("guest", "viewer", "operator", "admin", "service", "own", "other")
"""Somebody; `own` is the station that is asked about, `other` another one."""
OWN, OTHER, GONE = "st-own", "st-other", "st-gone"
PASSWORD: Final = "open sesame"


class Cast:
    """Those people and stations, on one hub; use `Cast.of`.

    Attributes:
        keys: the device keys of the stations; that of GONE is an old one.
    """

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.keys: dict[str, str] = {}
        self._accounts: dict[str, str] = {}
        self._fixed: dict[str, str] = {}
        self._numbers = itertools.count(1)

    @classmethod
    async def of(cls, hub: Hub) -> "Cast":
        """Makes the accounts and stations."""
        cast = cls(hub)
        roles: dict[str, Role] = {"viewer": "viewer", "operator": "operator", "admin": "admin", "replaced": "viewer"}
        for name, role in roles.items():
            account = await hub.accounts.add(f"{name}@x.org", PASSWORD, name, role)
            cast._accounts[name] = account.user_id
        tokens = hub.tokens
        cast._fixed["replaced"] = await hub.authenticator.sign_in(cast._accounts["replaced"], role="viewer")
        await hub.authenticator.sign_in(cast._accounts["replaced"], role="viewer")
        claims = {"userId": "u", "sessionId": "s", "type": "registered", "role": "admin", "iat": time.time()}
        cast._fixed["expired"] = jwt.encode(claims | {"exp": time.time() - 31}, SECRET, algorithm="HS256")
        forged = jwt.encode(
            claims | {"exp": time.time() + 3600}, "another secret, which is long enough", algorithm="HS256"
        )
        cast._fixed["forged"] = forged
        cast._fixed["revoked"] = tokens.mint_station(GONE)
        headers = {"Authorization": f"Bearer {await cast.token('admin')}"}
        async with httpx.AsyncClient(base_url=hub.http_url, headers=headers, trust_env=False) as http:
            for station_id in (OWN, OTHER, GONE):
                made = await http.post("/stations", json={"stationId": station_id})
                cast.keys[station_id] = made.raise_for_status().json()["key"]
            (await http.post(f"/stations/{GONE}/key")).raise_for_status()
        return cast

    async def token(self, who: str) -> str | None:
        """A token that is good now, if any of that kind is."""
        if who == "none":
            return None
        if who in self._fixed:
            return self._fixed[who]
        tokens = self.hub.tokens
        if who in ("own", "other"):
            return tokens.mint_station(OWN if who == "own" else OTHER)
        if who == "service":
            return tokens.mint_user("importer", role="service")
        if who == "guest":
            return tokens.mint_user(f"guest-{next(self._numbers)}", type="guest")
        role: Any = who
        return await self.hub.authenticator.sign_in(self._accounts[who], role=role, nickname=who)

    async def headers(self, who: str) -> dict[str, str]:
        """For a request of theirs."""
        token = await self.token(who)
        return {} if token is None else {"Authorization": f"Bearer {token}"}
