"""schemathesis, all its checks and phases, over the OpenAPI document of a whole hub: as an admin, and as a viewer.

`object_level_authorization` has nothing to compare here: no object of the API belongs to one user (see test_matrix.py).
HUB_LONG_TESTS=1 makes it try a hundred times as much, at random.
"""

import asyncio
import contextlib
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from devices.operator import ConnectionLost, Operator
from tests.e2e.conftest import World

LONG: Final = bool(os.environ.get("HUB_LONG_TESTS"))
HOOKS: Final = Path(__file__).with_name("schemathesis_hooks.py")
GUARD: Final = 3_600 if LONG else 300
SECRETS: Final = {"POST /auth/login", "POST /auth/password"}
"""What nobody gets right without knowing a password."""
# a run whose requests are all refused finds nothing: what it warns of is a failure. And it must go on for a while until what was
# deleted is asked for again
STRICT: Final = "[warnings]\nfail-on = true\n[phases.stateful.generation]\nmax-examples = 150\n"

pytestmark = [
    pytest.mark.parametrize("world", ["embedded"], indirect=True),
    pytest.mark.parametrize("options", [{"login_rate": 0}], ids=["unthrottled"]),
]


async def obey(station: Operator) -> None:
    """A station that does whatever it is told."""
    with contextlib.suppress(ConnectionLost):
        async for event, data in station.pushes():
            if event == "station-command":
                reply = {"id": data["id"], "stage": "done", "result": data.get("params")}
                await station.send("station-command-reply", reply)


async def run(world: World, directory: Path, role: Any) -> tuple[str, Counter[str]]:
    """Runs it, and nothing is found: what it wrote, and how many requests were answered how (`201 POST /rooms`)."""
    token = world.hub.tokens.mint_user("schemathesis", role=role)
    calls = directory / "calls.txt"
    calls.touch()
    environment = {
        "SCHEMATHESIS_HOOKS": str(HOOKS),
        "TEST_TOKEN": token,
        "TEST_CALLS": str(calls),
        "NO_PROXY": "127.0.0.1",
    }
    how_much = ("--max-examples", "1000") if LONG else ("--max-examples", "10", "--seed", "3")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{world.hub.http_url}/openapi.json", "--checks", "all"),
        *("--generation-database", "none", "--continue-on-failure", "--no-color", *how_much),
        cwd=directory,
        env=os.environ | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    world.ends(process)
    async with asyncio.timeout(GUARD):
        out, _ = await process.communicate()
    report = out.decode(errors="replace")
    assert process.returncode == 0, report
    async with httpx.AsyncClient(base_url=world.hub.http_url, trust_env=False) as http:
        profile = await http.get("/auth/profile", headers={"Authorization": f"Bearer {token}"})
        assert profile.status_code == 200, "the run signed itself out: what came after that was looked at by nobody"
    return report, Counter(calls.read_text().splitlines())


async def test_as_admin(world: World, tmp_path: Path) -> None:
    """Every operation succeeds at least once, and is what the document says it is."""
    (tmp_path / "schemathesis.toml").write_text(STRICT)
    await world.hub.accounts.first_admin()
    obedient = asyncio.create_task(obey(await world.ws_station()), name="station")
    report, calls = await run(world, tmp_path, "admin")
    obedient.cancel()
    async with httpx.AsyncClient(base_url=world.hub.http_url, trust_env=False) as http:
        paths = (await http.get("/openapi.json")).json()["paths"]
    operations = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    succeeded = {call.partition(" ")[2] for call in calls if call.startswith("2")}
    assert operations - succeeded <= SECRETS, report


async def test_as_viewer(world: World, tmp_path: Path) -> None:
    """What is for others is refused, every time."""
    _, calls = await run(world, tmp_path, "viewer")
    for call in calls:
        status, _, path = call.split()
        if path.startswith(("/users", "/audit")) or path.endswith(("/key", "/commands")):
            assert int(status) >= 400, call
