"""What cannot work is said before a run starts, in one line that names the address."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from devices.client import Address
from devices.operator import Operator
from hub.config import load as load_settings
from hub.serve import Hub
from simulator import preflight as module
from simulator.plan import Credentials, Plan, Target
from simulator.preflight import preflight
from simulator.run import keep_running
from simulator.scenario import SimulationError, load
from tests.mosquitto import mosquitto

GUARD = 20.0
SECRET = "a secret of the tests, long enough"
NOBODY = Credentials(lambda *_: "", lambda *_: "")
NOWHERE = "127.0.0.1:1"

Serves = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def plan(mqtt: str, http: str | None, stations: int = 1, browsers: int = 1, **given: Any) -> Plan:
    scenario = load(None, {"stations": stations, "browsers": browsers, "duration": 1} | given)
    return Plan(scenario, Target(Address.parse(mqtt), http), "sim", "run1")


async def says(wanted: Plan, credentials: Credentials = NOBODY) -> str:
    """What it says; nothing when all is well."""
    async with asyncio.timeout(GUARD):
        try:
            await preflight(wanted, credentials)
        except SimulationError as error:
            return str(error)
    return ""


@asynccontextmanager
async def server(serves: Serves) -> AsyncIterator[str]:
    """`host:port` of a server that does so."""

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serves(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(one, "127.0.0.1", 0)
    async with listening:
        yield f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"


def answers(content: bytes) -> Serves:
    """One answer to whatever comes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(content)
        await reader.read()

    return serve


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    ports = {"port": 0, "mqtt_port": 0, "mqtt_ws_port": 0}
    async with Hub(load_settings({**ports, "data_dir": tmp_path, "jwt_secret": SECRET})) as running:
        yield running


async def test_only_what_the_scenario_needs_is_tried(hub: Hub, tmp_path: Path) -> None:
    """No stations, no MQTT; no browsers, no HTTP; a broker alone is tried in any case."""
    tokens = Credentials(
        lambda station, seconds: hub.tokens.mint_station(station, lifetime=seconds),
        lambda user, seconds: hub.tokens.mint_user(user, role="operator", lifetime=seconds),
    )
    mqtt = f"mqtt://127.0.0.1:{hub.mqtt_port}"
    assert await says(plan(mqtt, hub.http_url), tokens) == ""
    assert await says(plan(mqtt, f"http://{NOWHERE}", browsers=0), tokens) == ""
    assert await says(plan(f"mqtt://{NOWHERE}", hub.http_url, stations=0), tokens) == ""
    assert NOWHERE in await says(plan(f"mqtt://{NOWHERE}", None, stations=0))
    async with mosquitto(tmp_path) as broker:
        assert await says(plan(broker.url, None)) == ""
        assert await says(plan(broker.ws_url, None)) == ""


@pytest.mark.parametrize("how", ["guest", "account"])
async def test_browsers_that_log_in_as_people_do(hub: Hub, how: str) -> None:
    """An account is made once, and found the next time."""
    wanted = plan(f"mqtt://{NOWHERE}", hub.http_url, stations=0, login=how)
    assert await says(wanted) == ""
    assert await says(wanted) == ""


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no answer in time"),
        (b"\x20\x02\x00\x03", "Server unavailable"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ""),
        (b"\xff" * 100, ""),
    ],
    ids=["silent", "unavailable", "http", "garbage"],
)
async def test_what_is_no_broker(content: bytes, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with server(answers(content)) as address:
        for url in (f"mqtt://{address}", f"ws://{address}"):
            # whoever answers is waited for: on a busy machine that is late, too
            monkeypatch.setattr(module, "WITHIN", GUARD / 2 if content and url.startswith("mqtt") else 0.3)
            told = await says(plan(url, None))
            assert told.startswith(f"no MQTT broker answers at {address}"), told
            assert told.isprintable()
            assert why in told or url.startswith("ws"), told


async def test_credentials_that_are_refused(tmp_path: Path) -> None:
    """By the code of MQTT for it. [MQTT-3.2.2.3]"""
    async with server(answers(b"\x20\x02\x00\x05")) as address:
        told = await says(plan(f"mqtt://{address}", None))
        assert told.startswith("station sim-00001: ")
        assert "--jwt-secret" in told


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]",
        b"HTTP/1.1 401 \x1b[31mred\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x00" * 100,
    ],
    ids=["silent", "404", "elsewhere", "something", "colour", "ssh", "zeros"],
)
@pytest.mark.parametrize("how", ["token", "guest", "account"])
async def test_what_is_no_hub(content: bytes, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever answers, it is one line, and without what the other side would do to a terminal."""
    monkeypatch.setattr(module, "WITHIN", 0.3)
    monkeypatch.setattr("simulator.browsers.sign_in.WITHIN", 0.3)
    async with server(answers(content)) as address:
        told = await says(plan(f"mqtt://{NOWHERE}", f"http://{address}", stations=0, login=how))
        assert told.startswith(f"http://{address}: ")
        assert told.isprintable()


def tokens_of(hub: Hub) -> Credentials:
    return Credentials(
        lambda station, seconds: hub.tokens.mint_station(station, lifetime=seconds),
        lambda user, seconds: hub.tokens.mint_user(user, role="operator", lifetime=seconds),
    )


async def test_a_given_token_is_blamed_itself(hub: Hub) -> None:
    """And not the secret that nothing was signed with."""
    good, mqtt = tokens_of(hub), f"mqtt://127.0.0.1:{hub.mqtt_port}"
    both = frozenset({"--station-token", "--browser-token"})
    told = await says(plan(mqtt, hub.http_url), Credentials(lambda *_: "no", good.browser, both))
    assert "is --station-token a token of this hub" in told
    told = await says(plan(mqtt, hub.http_url), Credentials(good.station, lambda *_: "no", both))
    assert "is --browser-token a user's access token of this hub" in told
    for bad in (Credentials(lambda *_: "no", good.browser), Credentials(good.station, lambda *_: "no")):
        told = await says(plan(mqtt, hub.http_url), bad)
        assert "does this hub use another --data-dir or --jwt-secret?" in told


@pytest.mark.parametrize("browsers", [0, 1])
async def test_stations_that_are_online_already(hub: Hub, browsers: int) -> None:
    """Another run with the same prefix: it is not disturbed, and this one does not start; with another prefix it does."""
    mqtt, tokens = f"mqtt://127.0.0.1:{hub.mqtt_port}", tokens_of(hub)
    running = plan(mqtt, hub.http_url, stations=3, browsers=0, duration=0)
    user = hub.tokens.mint_user(running.user_id(0), role="operator")
    async with asyncio.timeout(GUARD), Operator(hub.http_url, token=user) as seer:
        other = asyncio.create_task(keep_running(running.scenario, running.target, "sim", tokens))
        for _ in range(3):
            await seer.next_push("station-connected")
        told = await says(plan(mqtt, hub.http_url, stations=2, browsers=browsers), tokens)
        assert (
            told
            == "station sim-00001 and 1 more are online already: does another run go on? Give this one another --prefix"
        )
        two = plan(mqtt, hub.http_url, stations=2, browsers=browsers)
        assert await says(replace(two, prefix="two"), tokens) == ""
        assert (await seer.request("get-online-stations"))["stations"] == ["sim-00001", "sim-00002", "sim-00003"]
        other.cancel()
        await other
