"""`/audit` over a whole hub: every change of a station with who, what, when and where from, for admins."""

import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from bridge.http.audit import AuditPage
from tests.e2e.conftest import World
from tests.e2e.test_http import bearer
from tests.e2e.test_http import http as http  # a fixture


@pytest.fixture
async def admin(world: World) -> AsyncIterator[httpx.AsyncClient]:
    headers = bearer(world, "admin")
    async with httpx.AsyncClient(base_url=world.hub.http_url, headers=headers, trust_env=False) as client:
        yield client


@pytest.fixture
async def keys(admin: httpx.AsyncClient) -> list[str]:
    """The device keys of what was done: entered, changed twice (the second time in vain), another key, deleted."""
    made = await admin.post("/stations", json={"stationId": "st-1", "name": "Gate"})
    for _ in range(2):
        await admin.patch("/stations/st-1", json={"name": "Exit", "tags": ["x"]})
    rotated = await admin.post("/stations/st-1/key")
    await admin.delete("/stations/st-1")
    return [made.json()["key"], rotated.json()["key"]]


async def test_changes(admin: httpx.AsyncClient, keys: list[str]) -> None:
    """Newest first; the fields that changed, never a key; what was refused or changed nothing is not there."""
    await admin.delete("/stations/st-1")
    answer = await admin.get("/audit")
    assert answer.status_code == 200
    AuditPage.model_validate_json(answer.content, extra="forbid")
    page = answer.json()
    assert [(item["action"], item["detail"]) for item in page["items"]] == [
        ("station.delete", {"name": "Exit"}),
        ("station.key", {}),
        ("station.change", {"name": {"from": "Gate", "to": "Exit"}, "tags": {"from": [], "to": ["x"]}}),
        ("station.create", {"name": "Gate", "location": "", "tags": [], "cameras": []}),
    ]
    for item in page["items"]:
        assert (item["actor"], item["address"], item["target"]) == ("http-admin", "127.0.0.1", "st-1")
        assert abs(item["at"] - time.time() * 1000) < 60_000
    assert not any(key in answer.text for key in keys)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("limit=1", 4),
        ("offset=3", 4),
        ("actor=http-admin", 4),
        ("actor=somebody", 0),
        ("action=station.key", 1),
        ("target=st-1&action=station.create", 1),
        ("since=9007199254740992", 0),
        ("until=1", 0),
        ("since=0&until=9007199254740992", 4),
    ],
)
async def test_filters(admin: httpx.AsyncClient, keys: list[str], query: str, found: int) -> None:
    page = (await admin.get(f"/audit?{query}")).json()
    assert page["total"] == found
    assert len(page["items"]) == (1 if found and query in ("limit=1", "offset=3") else found)


@pytest.mark.parametrize("query", ["since=x", "since=-1", "until=1e400", "actor=%00", "limit=0", "action=" + "x" * 129])
async def test_malformed(admin: httpx.AsyncClient, query: str) -> None:
    assert (await admin.get(f"/audit?{query}")).status_code == 400


@pytest.mark.parametrize(("role", "status"), [(None, 401), ("viewer", 403), ("operator", 403), ("admin", 200)])
async def test_who_may(world: World, http: httpx.AsyncClient, role: Any, status: int) -> None:
    headers = bearer(world, role) if role else {}
    assert (await http.get("/audit", headers=headers)).status_code == status
