"""Accounts on two hubs with one broker and one database."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from devices.operator import Operator
from hub.serve import Hub
from tests.databases import Postgres, postgres  # noqa: F401  # a fixture
from tests.e2e.conftest import settings
from tests.e2e.test_http_auth import LOGIN, bearing, post, refused
from tests.e2e.test_http_users import registered
from tests.e2e.waiting import within
from tests.mosquitto import mosquitto


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_on_every_node(tmp_path: Path, request: pytest.FixtureRequest, kind: str) -> None:
    """What is done on one hub ends the sessions on the other within a second; of both, one has made the first admin."""
    database = f"sqlite:///{tmp_path}/shared.sqlite"
    if kind == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        database = server.new_database()
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(mosquitto(tmp_path))
        one, other = [
            await stack.enter_async_context(
                Hub(settings(tmp_path, broker=broker.url, database=database, data_dir=tmp_path / name))
            )
            for name in ("one", "other")
        ]
        made = await asyncio.gather(one.accounts.first_admin(), other.accounts.first_admin())
        assert sorted(admin is None for admin in made) == [False, True]
        near, far = [
            await stack.enter_async_context(httpx.AsyncClient(base_url=hub.http_url, trust_env=False))
            for hub in (one, other)
        ]
        admin = bearing(one.tokens.mint_user("root", role="admin"))
        user_id, token = await registered(far)
        for change in ({"role": "operator"}, {"password": "open sesame"}):
            browser = await stack.enter_async_context(Operator(other.http_url, token=token, timeout=15))
            answer = await near.patch(f"/users/{user_id}", json=change, headers=admin)
            assert answer.status_code == 200, answer.text
            async with within(1.0):
                assert [push async for push in browser.pushes()][-1][0] == "kicked"
                await refused(far, token)
            token = (await post(far, "/auth/login", LOGIN))["accessToken"]
            assert (await far.get("/auth/profile", headers=bearing(token))).status_code == 200
