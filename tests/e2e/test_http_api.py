"""`/rooms` for admins, `/config/ice`, who may read `/metrics`, and tokens that are issued elsewhere."""

import asyncio
import base64
import hmac
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from devices.operator import Operator
from hub.serve import Hub
from tests.e2e.conftest import World, settings
from tests.e2e.waiting import GUARD
from tests.hub.test_jwks import Issuer, listening
from tests.hub.test_keys import EC, ED, RSA, jwk, pem
from tests.hub.test_keys import token as foreign

embedded = pytest.mark.parametrize("world", ["embedded"], indirect=True)
ICE = {"ice_servers": ["stun:a.example:3478", "turn:b.example:3478"], "turn_secret": "north pole", "turn_lifetime": 600}


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=world.hub.http_url, trust_env=False) as client:
        yield client


def bearer(world: World, role: Any = "viewer") -> dict[str, str]:
    return {"Authorization": f"Bearer {world.hub.tokens.mint_user(f'http-{role}', role=role)}"}


# ---- rooms


async def test_rooms(world: World, http: httpx.AsyncClient) -> None:
    """Pages of all rooms, oldest first, as `monitor-update` shows them."""
    ann, ben = await world.operator(), await world.operator()
    ids = [(await ann.request("create-room"))["roomId"] for _ in range(3)]
    await ben.request("join-room", {"roomId": ids[1]})
    admin = bearer(world, "admin")
    page = (await http.get("/rooms", headers=admin)).json()
    assert page["total"] == 3
    assert page["rooms"] == world.hub.monitor.update()["rooms"]
    by_id = {room["roomId"]: room for room in page["rooms"]}
    assert set(by_id) == set(ids)
    assert (by_id[ids[1]]["users"], by_id[ids[1]]["userCount"]) == ([ann.peer_id, ben.peer_id], 2)
    for query, part in (("limit=1", slice(0, 1)), ("limit=2&offset=1", slice(1, 3)), ("offset=3", slice(3, 3))):
        found = (await http.get(f"/rooms?{query}", headers=admin)).json()
        assert (found["rooms"], found["total"]) == (page["rooms"][part], 3)


@embedded
async def test_rooms_are_for_admins(world: World, http: httpx.AsyncClient) -> None:
    assert (await http.get("/rooms")).status_code == 401
    for role in ("viewer", "operator"):
        assert (await http.get("/rooms", headers=bearer(world, role))).status_code == 403
    station = {"Authorization": f"Bearer {world.hub.tokens.mint_station('st-1')}"}
    assert (await http.get("/rooms", headers=station)).status_code == 403


# ---- ICE


@embedded
@pytest.mark.parametrize("options", [ICE], ids=["ice"])
@pytest.mark.parametrize(("kind", "name"), [("user", "Ännchen a:b"), ("station", "st-1")])
async def test_ice(world: World, http: httpx.AsyncClient, kind: str, name: str) -> None:
    """Anybody signed in gets STUN servers, and TURN servers with credentials that a TURN server believes until they expire."""
    tokens = world.hub.tokens
    token = tokens.mint_user(name) if kind == "user" else tokens.mint_station(name)
    answer = await http.get("/config/ice", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200
    stun, turn = answer.json()["iceServers"]
    assert answer.json()["ttl"] == 600
    assert stun == {"urls": ["stun:a.example:3478"]}
    assert turn["urls"] == ["turn:b.example:3478"]
    expires, _, user = turn["username"].partition(":")
    assert 590 <= int(expires) - world.hub.services.clock.wall_ms() / 1000 <= 600
    assert user == {"user": "%C3%84nnchen%20a:b", "station": "station:st-1"}[kind]
    expected = base64.b64encode(hmac.digest(b"north pole", turn["username"].encode(), "sha1")).decode()
    assert turn["credential"] == expected
    assert answer.headers["cache-control"] == "no-store"


@embedded
async def test_no_ice(world: World, http: httpx.AsyncClient) -> None:
    assert (await http.get("/config/ice")).status_code == 401
    answer = await http.get("/config/ice", headers=bearer(world))
    assert answer.json()["iceServers"] == []


# ---- metrics


@embedded
@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "127.0.0.1"},
        {"Forwarded": "for=127.0.0.1"},
        {"X-Real-IP": "127.0.0.1"},
        {"Via": "1.1 proxy"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Host": "evil.example:3101"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "["},
    ],
)
async def test_metrics_are_the_machines_own(http: httpx.AsyncClient, headers: dict[str, str]) -> None:
    """Neither what a proxy of this machine passes on, nor a page in a browser on it, is the machine itself."""
    assert (await http.get("/metrics", headers=headers)).status_code == 401
    assert (await http.get("/metrics", headers={"Host": "localhost:9"})).status_code == 200


@embedded
@pytest.mark.parametrize("options", [{"trusted_proxies": ["127.0.0.1"]}], ids=["proxy"])
async def test_metrics_behind_a_proxy(world: World, http: httpx.AsyncClient) -> None:
    """A client that claims to be this machine is not believed."""
    assert (await http.get("/metrics", headers={"X-Forwarded-For": "127.0.0.1, 203.0.113.9"})).status_code == 401
    assert (await http.get("/metrics")).status_code == 200


# ---- tokens of others


async def test_published_keys(tmp_path: Path) -> None:
    """A hub takes tokens of an issuer by its JWKS, also those of a key published after it started, on HTTP and `/ws`."""
    async with listening(Issuer()) as issuer:
        issuer.keys = [jwk(RSA, kid="a")]
        async with Hub(settings(tmp_path, jwks_url=issuer.url())) as hub:
            claims: dict[str, Any] = {"iat": 0, "exp": 4_000_000_000}
            async with httpx.AsyncClient(base_url=hub.http_url, trust_env=False) as http:
                first = foreign(RSA, "RS256", kid="a", **claims)
                assert await status(http, first) == 200
                issuer.keys.append(jwk(EC, kid="b"))
                later = foreign(EC, "ES256", kid="b", **claims)
                assert await status(http, later) == 401, "asked a moment ago"
                jwks = hub.authenticator._jwks
                assert jwks is not None
                jwks._next = 0.0
                issuer.answering.clear()
                issuer.asked.clear()
                waiting = asyncio.create_task(status(http, later))
                async with asyncio.timeout(GUARD):
                    await issuer.asked.wait()
                    assert await status(http, first) == 200, "a slow issuer holds up nobody else"
                    issuer.answering.set()
                    assert await waiting == 200
                issuer.keys.append(jwk(ED, kid="c"))
                jwks._next = 0.0
                token = foreign(ED, "EdDSA", kid="c", userId="u2", **claims)
                async with Operator(f"{hub.http_url}/ws", token=token, timeout=GUARD) as operator:
                    assert hub.gateway.peers[operator.peer_id].identity.user_id == "u2"


async def test_public_key(tmp_path: Path) -> None:
    """A hub takes tokens of an issuer by its public key, beside its own; issuer and audience count for both."""
    path = tmp_path / "issuer.pem"
    path.write_bytes(pem(EC))
    options: dict[str, Any] = {"jwt_public_key": path, "jwt_issuer": "https://id.example", "jwt_audience": "hub"}
    async with (
        Hub(settings(tmp_path, **options)) as hub,
        httpx.AsyncClient(base_url=hub.http_url, trust_env=False) as http,
    ):
        claims = {"iat": 0, "exp": 4_000_000_000, "iss": "https://id.example", "aud": "hub"}
        assert await status(http, foreign(EC, "ES256", **claims)) == 200
        assert await status(http, foreign(EC, "ES256", **claims | {"aud": "other"})) == 401
        assert await status(http, foreign(RSA, "RS256", **claims)) == 401
        assert await status(http, hub.tokens.mint_user("u2")) == 200


async def status(http: httpx.AsyncClient, token: str) -> int:
    return (await http.get("/stations/online", headers={"Authorization": f"Bearer {token}"})).status_code
