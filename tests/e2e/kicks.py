"""Somebody on every door of a hub at once, and what is heard there when a session or a station's login ends."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, Final

import httpx
import jwt
import pytest

from bridge.errors import MISMATCH, UNAUTHORIZED
from devices.operator import Operator, Refused
from hub.auth import Role
from hub.serve import Hub
from tests.e2e.conftest import SECRET
from tests.e2e.mqtt5 import Mqtt5
from tests.e2e.pages import Page, PageRefused
from tests.e2e.waiting import GUARD, within

__all__ = [
    "LOGIN",
    "MISMATCH",
    "UNAUTHORIZED",
    "Everywhere",
    "elsewhere",
    "http_of",
    "key_opens",
    "let_in",
    "login",
    "make_root",
    "refused",
    "stack",
    "station_ids",
]

WITHIN: Final = 1.0
"""Seconds that a kick may take (docs/http.md)."""
LOGIN: Final = {"email": "root@x.org", "password": "open sesame"}
NOT_AUTHORIZED: Final = 0x87
DOORS: Final = {"/ws": "viewer", "/ws/admin": "admin", "/": "viewer", "/admin": "admin"}
"""The least role for each."""


def elsewhere(user_id: str, session_id: str, issued_at: float, **claims: Any) -> str:
    """A token that somebody else issued, who knows the hub's secret."""
    mine = {"userId": user_id, "sessionId": session_id, "iat": issued_at, "exp": time.time() + 3600, "role": "admin"}
    return jwt.encode(mine | claims, SECRET, algorithm="HS256")


def http_of(hub: Hub, token: str | None = None) -> httpx.AsyncClient:
    """An HTTP client, with a token."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return httpx.AsyncClient(base_url=hub.http_url, headers=headers, trust_env=False)


async def login(hub: Hub, **change: str) -> str:
    """The token of POST /auth/login."""
    async with http_of(hub) as http:
        answer = await http.post("/auth/login", json=LOGIN | change)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["accessToken"])


class Everywhere:
    """One token's connections; use `Everywhere.come`."""

    def __init__(self, hub: Hub, token: str) -> None:
        self._hub, self._token = hub, token
        self._natives: list[Operator] = []
        self._pages: list[Page] = []
        self._mqtt: Mqtt5 | None = None

    @classmethod
    async def come(cls, stack: AsyncExitStack, hub: Hub, token: str, role: str = "admin") -> "Everywhere":
        """Connects on every door that `role` is let in by; MQTT too where the hub is the broker."""
        self = cls(hub, token)
        for door, least in DOORS.items():
            if least == "admin" != role:
                continue
            if door.startswith("/ws"):
                operator = Operator(hub.http_url + door, token=token, timeout=GUARD)
                self._natives.append(await stack.enter_async_context(operator))
            else:
                self._pages.append(await stack.enter_async_context(Page(hub.http_url, token, door)))
        if role == "admin" and hub.mqtt_port is not None:
            self._mqtt = await stack.enter_async_context(Mqtt5(hub.mqtt_port, "importer", token))
            assert self._mqtt.code == 0
        await self.stay()
        return self

    async def stay(self) -> None:
        """All are still there, and nobody was told to go."""
        clients: list[Operator | Page] = [*self._natives, *self._pages]
        for client in clients:
            assert (await client.request("ping"))["pong"] is True
        assert all(event != "kicked" for operator in self._natives for event, _ in operator.waiting())
        if self._mqtt is not None:
            assert await self._mqtt.subscribe("live/users/nobody") == 0
        async with http_of(self._hub, self._token) as http:
            assert (await http.get("/auth/profile")).status_code == 200

    async def kicked(self, reason: str) -> None:
        """All were told why, and put out for good."""
        told = ("kicked", {"reason": reason})
        async with within(WITHIN):
            for operator in self._natives:
                assert [push async for push in operator.pushes()][-1] == told
                assert operator.close_code == 4403
            for page in self._pages:
                await page.closed.wait()
                assert page.pushes[-1] == told
                assert page.left
            if self._mqtt is not None:
                goodbye = await self._mqtt.cut()
                assert goodbye is not None
                assert goodbye.reason == NOT_AUTHORIZED


async def refused(hub: Hub, token: str, error: str = MISMATCH, username: str = "importer") -> None:
    """A token opens no door any more."""
    for path in ("/ws", "/ws/admin"):
        with pytest.raises(Refused, match=f"^{error}$"):
            await Operator(hub.http_url + path, token=token, timeout=GUARD).__aenter__()
    for namespace in ("/", "/admin"):
        with pytest.raises(PageRefused, match=f"^{error}$"):
            await Page(hub.http_url, token, namespace).__aenter__()
    async with http_of(hub, token) as http:
        answer = await http.get("/auth/profile")
    assert answer.status_code == 401
    assert answer.json() == {"statusCode": 401, "message": "Unauthorized", "error": "Unauthorized"}
    if hub.mqtt_port is not None:
        async with Mqtt5(hub.mqtt_port, username, token) as client:
            assert client.code == NOT_AUTHORIZED


async def let_in(hub: Hub, token: str, role: str = "admin") -> None:
    """A token opens every door that is its."""
    async with AsyncExitStack() as stack:
        await Everywhere.come(stack, hub, token, role)


async def key_opens(hub: Hub, station_id: str, key: str) -> bool:
    """Whether a device key is good: over HTTP, and by MQTT where the hub is the broker."""
    async with http_of(hub) as http:
        answer = await http.post("/auth/station", json={"stationId": station_id, "key": key})
    assert answer.status_code in (201, 401), answer.text
    good = answer.status_code == 201
    if hub.mqtt_port is not None:
        async with Mqtt5(hub.mqtt_port, station_id, key) as client:
            assert client.code == (0 if good else 0x87)
    return good


async def station_ids(hub: Hub, path: str) -> list[str]:
    """Of GET /stations, or of GET /stations/online."""
    async with http_of(hub, hub.tokens.mint_user("watcher", role="admin")) as http:
        found = (await http.get(path)).json()
    return list(found["stations"]) if path.endswith("online") else [item["stationId"] for item in found["items"]]


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """Whatever is connected here ends before the hub does."""
    async with AsyncExitStack() as opened:
        yield opened


async def make_root(hub: Hub, role: Role = "admin") -> str:
    """Makes the account that `LOGIN` is for, not the last admin; its id."""
    await hub.accounts.first_admin()
    return (await hub.accounts.add(LOGIN["email"], LOGIN["password"], "Root", role)).user_id
