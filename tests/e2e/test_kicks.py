"""What ends a session: it is heard on every door within a second, and outlives the hub (contract.md sections 1 and 5)."""

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from devices.operator import Operator
from hub.serve import Hub
from tests.e2e.conftest import SECRET, World, settings
from tests.e2e.kicks import (
    LOGIN,
    UNAUTHORIZED,
    Everywhere,
    elsewhere,
    http_of,
    key_opens,
    let_in,
    login,
    make_root,
    refused,
)
from tests.e2e.kicks import stack as stack  # a fixture
from tests.e2e.mqtt5 import Mqtt5
from tests.e2e.pages import Page
from tests.e2e.shell import Shell
from tests.e2e.waiting import GUARD

# ---- a newer login


async def test_login_again(world: World, stack: AsyncExitStack) -> None:
    """Every socket of the older token is told and closed, the token is good for nothing; the newer is for everything."""
    hub = world.hub
    await make_root(hub)
    old = await login(hub)
    everywhere, other = await Everywhere.come(stack, hub, old), await world.operator()
    new = await login(hub)
    await everywhere.kicked("NEW_LOGIN")
    await refused(hub, old)
    await let_in(hub, new)
    await refused(hub, old)
    assert (await other.request("ping"))["pong"] is True
    assert other.waiting() == []


async def test_refreshed(world: World, stack: AsyncExitStack) -> None:
    """A refreshed token is the same session: both go on, and end together, though one is good for longer."""
    hub = world.hub
    first = await hub.authenticator.sign_in(await make_root(hub), role="admin", lifetime=3600)
    async with http_of(hub, first) as http:
        second = (await http.post("/auth/refresh")).json()["accessToken"]
    assert second != first
    # or it would pass for a login newer than the end of its session, where clocks differ
    assert hub.tokens.verify(second).issued_at == hub.tokens.verify(first).issued_at
    both = [await Everywhere.come(stack, hub, token) for token in (first, second)]
    await both[0].stay()
    new = await login(hub)
    for everywhere in both:
        await everywhere.kicked("NEW_LOGIN")
    for token in (first, second):
        await refused(hub, token)
    await let_in(hub, new)


@pytest.mark.parametrize("door", ["native", "socketio", "http", "mqtt"])
async def test_issued_elsewhere(world: World, stack: AsyncExitStack, door: str) -> None:
    """Whatever door the later login comes by, it ends the earlier one on all of them; one before both is refused."""
    hub, now = world.hub, time.time()
    if door == "mqtt" and hub.mqtt_port is None:
        pytest.skip("that broker does not ask the hub")
    earliest, old, new = (elsewhere("kim", name, now + at) for name, at in (("a", -9), ("b", 0), ("c", 5.5)))
    everywhere = await Everywhere.come(stack, hub, old)
    await refused(hub, earliest)
    await everywhere.stay()
    match door:
        case "native":
            await world.operator(token=new)
        case "socketio":
            await stack.enter_async_context(Page(hub.http_url, new))
        case "http":
            async with http_of(hub, new) as http:
                assert (await http.get("/auth/profile")).status_code == 200
        case _:
            assert hub.mqtt_port is not None
            await stack.enter_async_context(Mqtt5(hub.mqtt_port, "importer", new))
    await everywhere.kicked("NEW_LOGIN")
    for token in (earliest, old):
        await refused(hub, token)
    # the same session, said to be older, is still that session
    await let_in(hub, elsewhere("kim", "c", now - 9))


async def test_fast_clock(world: World, stack: AsyncExitStack) -> None:
    """A login is newer than a session that a clock ahead of the hub's issued, though its own claim is earlier."""
    hub = world.hub
    ahead = elsewhere(await make_root(hub), "ahead", time.time() + 25)
    everywhere = await Everywhere.come(stack, hub, ahead)
    new = await login(hub)
    await everywhere.kicked("NEW_LOGIN")
    await refused(hub, ahead)
    await let_in(hub, new)


async def test_logins_at_once(world: World) -> None:
    """Of many at the same time one is left, whichever: never none, never two."""
    await make_root(world.hub)
    tokens = await asyncio.gather(*(login(world.hub) for _ in range(6)))
    good = []
    for token in tokens:
        async with http_of(world.hub, token) as http:
            if (await http.get("/auth/profile")).status_code == 200:
                good.append(token)
    assert len(good) == 1
    await let_in(world.hub, good[0])


# ---- revoked


@pytest.mark.parametrize("how", ["role", "disabled", "password", "delete", "logout"])
async def test_revoked(world: World, stack: AsyncExitStack, how: str) -> None:
    """What an admin takes away, and what the user ends, is ended for all tokens of the user."""
    hub = world.hub
    user_id = await make_root(hub)
    token = await login(hub)
    everywhere = await Everywhere.come(stack, hub, token)
    change: dict[str, Any] = {
        "role": {"role": "viewer"},
        "disabled": {"disabled": True},
        "password": {"password": "open simsim"},
    }
    async with http_of(hub, hub.tokens.mint_user("boss", role="admin")) as http:
        if how == "delete":
            answer = await http.delete(f"/users/{user_id}")
        elif how == "logout":
            async with http_of(hub, token) as own:
                answer = await own.post("/auth/logout")
        else:
            answer = await http.patch(f"/users/{user_id}", json=change[how])
    assert answer.is_success, answer.text
    await everywhere.kicked("REVOKED")
    await refused(hub, token)
    expected = {"role": 201, "disabled": 401, "password": 401, "delete": 401, "logout": 201}[how]
    async with http_of(hub) as http:
        assert (await http.post("/auth/login", json=LOGIN)).status_code == expected
    if how == "password":
        await let_in(hub, await login(hub, password="open simsim"))
    if how == "role":
        await let_in(hub, await login(hub), "viewer")


async def test_own_password(world: World, stack: AsyncExitStack) -> None:
    """Who changes their own password goes on with the token of the answer, and nobody else does."""
    hub = world.hub
    await make_root(hub)
    token = await login(hub)
    everywhere = await Everywhere.come(stack, hub, token)
    async with http_of(hub, token) as http:
        body = {"oldPassword": LOGIN["password"], "newPassword": "open simsim"}
        answer = await http.post("/auth/password", json=body)
    assert answer.status_code == 201, answer.text
    await everywhere.kicked("NEW_LOGIN")
    await refused(hub, token)
    await let_in(hub, answer.json()["accessToken"])


async def test_guest_logs_out(world: World, stack: AsyncExitStack) -> None:
    """Guests are not kicked by each other; one that logs out is gone as everybody else is."""
    hub = world.hub
    async with http_of(hub) as http:
        token, other = [(await http.post("/auth/guest")).json()["accessToken"] for _ in range(2)]
    everywhere = await Everywhere.come(stack, hub, token, "viewer")
    stays = await Everywhere.come(stack, hub, other, "viewer")
    async with http_of(hub, token) as http:
        assert (await http.post("/auth/logout")).status_code == 201
    await everywhere.kicked("REVOKED")
    await stays.stay()
    async with http_of(hub, token) as http:
        assert (await http.get("/auth/profile")).status_code == 401


# ---- restarts


async def test_killed(shell: Shell) -> None:
    """A login that was answered has ended the older one, even when the process is killed the moment after."""
    account = LOGIN | {"nickname": "Root"}
    running, ready = await shell.serve(HUB_JWT_SECRET=SECRET)
    async with httpx.AsyncClient(base_url=ready["http"], trust_env=False) as http:
        old = (await http.post("/auth/register", json=account)).json()["accessToken"]
        new = (await http.post("/auth/login", json=LOGIN)).json()["accessToken"]
        running.process.kill()
    await running.end()
    (shell.directory / "ready.json").unlink()
    _, ready = await shell.serve(HUB_JWT_SECRET=SECRET)
    async with httpx.AsyncClient(base_url=ready["http"], trust_env=False) as http:
        found = [
            (await http.get("/auth/profile", headers={"Authorization": f"Bearer {token}"})).status_code
            for token in (old, new)
        ]
    assert found == [401, 200]


@pytest.mark.parametrize("durability", ["memory", "disk"])
async def test_restart(tmp_path: Path, durability: str) -> None:
    """A hub that starts again knows who was kicked, logged out and revoked, and which key a station has."""

    def start() -> Hub:
        return Hub(settings(tmp_path, durability=durability))

    now = time.time()
    kim = [elsewhere("kim", name, now + at) for name, at in (("a", 0), ("b", 5.5))]
    async with start() as hub:
        await make_root(hub)
        kicked, current = await login(hub), await login(hub)
        ended = hub.tokens.mint_user("jo", role="admin")
        async with http_of(hub, ended) as http:
            assert (await http.post("/auth/logout")).status_code == 201
        async with http_of(hub, current) as http:
            stations = {}
            for station_id in ("st-1", "st-2"):
                key = (await http.post("/stations", json={"stationId": station_id})).json()["key"]
                stations[station_id] = (key, hub.tokens.mint_station(station_id))
            new_key = (await http.post("/stations/st-1/key")).json()["key"]
            assert (await http.delete("/stations/st-2")).status_code == 204
        async with AsyncExitStack() as stack:  # the last thing that happens
            for token in kim:
                await stack.enter_async_context(Operator(hub.http_url, token=token, timeout=GUARD))
    async with start() as hub:
        for token in (kicked, ended, kim[0]):
            await refused(hub, token)
        for token in (current, kim[1]):
            await let_in(hub, token)
        for station_id, (key, token) in stations.items():
            await refused(hub, token, UNAUTHORIZED, station_id)
            assert not await key_opens(hub, station_id, key)
        assert await key_opens(hub, "st-1", new_key)
