"""The authorization matrix (contract.md sections 2, 5 and 6): every route, event, door and topic, asked by everybody.

A route, event or topic that is added needs a row in `tests.e2e.matrix`: without one a test fails.
"""

import contextlib
import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any, Final

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from bridge.events import ADMIN_EVENTS, EVENTS
from devices import topics
from devices.operator import Operator, RequestFailed
from hub.serve import Hub
from tests.e2e.cast import BAD, OTHER, OWN, PASSWORD, WHO, Cast
from tests.e2e.conftest import settings
from tests.e2e.matrix import BESIDE, BROWSER_EVENTS, DOORS, ENDS_IT, ERRORS, FILTERS, HTTP, TOPICS
from tests.e2e.mqtt5 import Mqtt5
from tests.e2e.pages import Page, PageRefused
from tests.e2e.waiting import GUARD

pytestmark = pytest.mark.asyncio(loop_scope="module")

GRANTED, NOT_AUTHORIZED = 0x00, 0x87


class Matrix:
    """The one hub of all these tests, and everybody."""

    def __init__(self, hub: Hub, cast: Cast, http: httpx.AsyncClient) -> None:
        self.hub, self.cast, self.http = hub, cast, http
        self.numbers = itertools.count(1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def matrix(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Matrix]:
    options = settings(tmp_path_factory.mktemp("matrix"), login_rate=0, trusted_proxies=["127.0.0.1"])
    async with Hub(options) as hub:
        cast = await Cast.of(hub)
        # for everybody is elsewhere, behind a proxy that is trusted: the machine itself may read /metrics
        headers = {"X-Forwarded-For": "192.0.2.7"}
        async with httpx.AsyncClient(base_url=hub.http_url, headers=headers, trust_env=False) as http:
            yield Matrix(hub, cast, http)


def differences(expected: Mapping[str, str], found: Mapping[str, str]) -> dict[str, str]:
    """The cells that are not as they should be."""
    return {who: f"expected {expected[who]}, got {found[who]}" for who in found if expected[who] != found[who]}


# ---- HTTP


def body_of(route: str, number: int, keys: Mapping[str, str]) -> Any:
    """A body that is taken."""
    account = {"email": f"new-{number}@x.org", "password": PASSWORD, "nickname": "New"}
    bodies: dict[str, Any] = {
        "POST /auth/register": account,
        "POST /auth/login": {"email": "replaced@x.org", "password": PASSWORD},
        "POST /auth/station": {"stationId": OWN, "key": keys[OWN]},
        "POST /auth/password": {"oldPassword": PASSWORD, "newPassword": PASSWORD},
        "POST /stations": {"stationId": f"new-{number}"},
        "POST /stations/{station_id}/commands": {"type": "reboot"},
        "POST /users": account,
    }
    return bodies.get(route, {} if route.split()[0] in ("POST", "PATCH") else None)


def path_of(route: str) -> str:
    path = route.split()[1].replace("{station_id}", "st-nobody" if route in ENDS_IT else OWN)
    return path.replace("{user_id}", "u-nobody").replace("{room_id}", "nowhere1").replace("{command_id}", "none")


@pytest.mark.parametrize("route", HTTP)
async def test_route(matrix: Matrix, route: str) -> None:
    """Who may is answered; who is nobody gets 401, who may not 403, each in the contract's shape."""
    row = HTTP[route]
    expected = dict.fromkeys(BAD, row["bad"]) | {who: row[who] for who in WHO}
    expected = {who: row["ok"] if cell == "+" else cell for who, cell in expected.items()}
    found = {}
    for who in expected:
        body = body_of(route, next(matrix.numbers), matrix.cast.keys)
        headers = await matrix.cast.headers(who)
        answer = await matrix.http.request(route.split()[0], path_of(route), json=body, headers=headers)
        found[who] = str(answer.status_code)
        if answer.status_code in (401, 403):
            failure = answer.json()
            assert failure["statusCode"] == answer.status_code
            assert failure["error"] == {401: "Unauthorized", 403: "Forbidden"}[answer.status_code]
            assert isinstance(failure["message"], str)
            assert answer.headers.get("www-authenticate") == ("Bearer" if answer.status_code == 401 else None)
    assert differences(expected, found) == {}


async def test_every_route_has_its_row(matrix: Matrix) -> None:
    """The table is what the hub serves, no less and no more."""
    document = (await matrix.http.get("/openapi.json")).json()
    served = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert served | BESIDE == set(HTTP)


async def test_refused_without_a_trace(matrix: Matrix) -> None:
    """No one but admins changed anything but themselves: the audit says so."""
    admin = await matrix.cast.headers("admin")
    users = (await matrix.http.get("/users?limit=200", headers=admin)).json()
    page = (await matrix.http.get("/audit?limit=200", headers=admin)).json()
    assert (users["total"], page["total"]) == (len(users["items"]), len(page["items"])), "there are more pages"
    roles = {item["id"]: item["role"] for item in users["items"]}
    for entry in page["items"]:
        of_oneself = entry["action"] in ("user.register", "user.password") and entry["target"] == entry["actor"]
        assert of_oneself or roles[entry["actor"]] == "admin", entry


# ---- doors


async def knock_native(matrix: Matrix, path: str, who: str) -> str:
    """What the native door says to them."""
    url = matrix.hub.http_url.replace("http", "ws", 1) + path
    async with connect(url, additional_headers=await matrix.cast.headers(who)) as socket:
        if who == "none":
            await socket.send('{"event":"ping"}')  # who has no token may still say it in the first frame
        with contextlib.suppress(ConnectionClosed):
            return "+" if '"welcome"' in str(await socket.recv()) else "something else"
    assert socket.close_code == 4401
    return socket.close_reason or ""


async def knock_socketio(matrix: Matrix, namespace: str, who: str) -> str:
    """What the Socket.IO door says to them."""
    try:
        async with Page(matrix.hub.http_url, await matrix.cast.token(who), namespace):
            return "+"
    except PageRefused as refused:
        return str(refused)


@pytest.mark.parametrize("door", DOORS)
async def test_door(matrix: Matrix, door: str) -> None:
    """Who gets in, and with which words others do not."""
    row = DOORS[door]
    cells = dict.fromkeys(BAD, row["bad"]) | {who: row[who] for who in WHO} | {"replaced": "replaced"}
    expected = {who: ERRORS.get(cell, cell) for who, cell in cells.items()}
    knock = knock_native if door.startswith("/ws") else knock_socketio
    assert differences(expected, {who: await knock(matrix, door, who) for who in expected}) == {}


# ---- events


async def ask(client: Operator | Page, event: str, data: Any) -> str:
    """`+`, or the error."""
    try:
        answer = await client.request(event, data)
    except RequestFailed as failed:
        return failed.error
    return answer["error"] if isinstance(answer, dict) and "error" in answer else "+"


def data_of(event: str, host: str, room: str) -> Any:
    """Data that is taken."""
    own, here, to = {"stationId": OWN}, {"roomId": room}, {"to": host}
    data: dict[str, Any] = {
        "check-room": here,
        "join-room": here,
        "leave-room": here,
        "offer": to | {"offer": {"sdp": "v=0"}},
        "answer": to | {"answer": {"sdp": "v=0"}},
        "ice-candidate": to | {"candidate": {}},
        "station-register": own,
        "station-invite": own | here,
        "station-call-center": own,
        "station-cmd-request-stream": own | {"cameraId": "cam"},
        "station-cmd-stream-response": {"requesterId": host, "status": "ready"},
        "station-request-status": own,
        "station-status-update": {"devices": []},
        "station-command": own | {"type": "reboot", "timeoutMs": 100},
        "station-command-reply": {"id": "none", "stage": "done"},
        "station-watch": {"stations": [OWN]},
        "station-unwatch": {},
    }
    return data.get(event)


@pytest.mark.parametrize("door", ["native", "socketio"])
async def test_events(matrix: Matrix, door: str) -> None:
    """Every event on either door; the stations are registered, and one is invited to the host's room."""
    assert set(BROWSER_EVENTS) == set(EVENTS)
    url, cast = matrix.hub.http_url, matrix.cast
    async with AsyncExitStack() as stack:

        async def come(who: str) -> Operator | Page:
            token = await cast.token(who)
            assert token is not None
            client = Operator(url, token=token, timeout=GUARD) if door == "native" else Page(url, token)
            return await stack.enter_async_context(client)

        clients = {who: await come(who) for who in WHO}
        assert await ask(clients["own"], "station-register", {"stationId": OWN}) == "+"
        assert await ask(clients["other"], "station-register", {"stationId": OTHER}) == "+"
        host_token = matrix.hub.tokens.mint_user(f"host-{door}", role="operator")
        host = await stack.enter_async_context(Operator(url, token=host_token, timeout=GUARD))
        room = (await host.request("create-room"))["roomId"]
        await host.request("station-invite", {"stationId": OWN, "roomId": room})
        wrong = {}
        for event, row in BROWSER_EVENTS.items():
            data = data_of(event, host.peer_id, room)
            expected = {who: ERRORS.get(cell, cell) for who, cell in row.items()}
            wrong[event] = differences(expected, {who: await ask(clients[who], event, data) for who in WHO})
        assert {event: cells for event, cells in wrong.items() if cells} == {}


@pytest.mark.parametrize("door", ["native", "socketio"])
async def test_events_of_admins(matrix: Matrix, door: str) -> None:
    """The doors for admins know their few events, and no other."""
    token = await matrix.cast.token("admin")
    assert token is not None
    url = matrix.hub.http_url
    client = Operator(f"{url}/ws/admin", token=token) if door == "native" else Page(url, token, "/admin")
    async with client as admin:
        found = {event: await ask(admin, event, data_of(event, "nobody", "nowhere1")) for event in EVENTS}
    assert found == {event: "+" if event in ADMIN_EVENTS else ERRORS["unknown"] for event in EVENTS}


# ---- MQTT

MQTT_CONNECTS: Final = {"admin", "service", "own"}


def mqtt_port(matrix: Matrix) -> int:
    assert matrix.hub.mqtt_port is not None
    return matrix.hub.mqtt_port


@pytest.mark.parametrize("who", [*BAD, *WHO])
async def test_mqtt_connect(matrix: Matrix, who: str) -> None:
    """Under the name of the station: its own token, and those of services. No other."""
    username = "st-gone" if who == "revoked" else OWN
    async with Mqtt5(mqtt_port(matrix), username, await matrix.cast.token(who)) as client:
        assert client.code == (GRANTED if who in MQTT_CONNECTS else NOT_AUTHORIZED)


@pytest.mark.parametrize(("username", "owner"), [(OWN, OWN), (OTHER, OTHER), (OWN, OTHER), ("st-gone", "st-gone")])
async def test_mqtt_key(matrix: Matrix, username: str, owner: str) -> None:
    """A device key lets its own station in, until there is a new one."""
    async with Mqtt5(mqtt_port(matrix), username, matrix.cast.keys[owner]) as client:
        assert client.code == (GRANTED if username == owner != "st-gone" else NOT_AUTHORIZED)


@pytest.mark.parametrize("who", ["admin", "service", "own", "other"])
async def test_mqtt_topics(matrix: Matrix, who: str) -> None:
    """Every topic of the table of topics, and filters that hold more than one: 0x87 for what they may not."""
    assert set(TOPICS) == {topic.template for topic in topics.TOPICS}
    names = {topic.template: topic(*(OWN for _ in range(topic.template.count("{")))) for topic in topics.TOPICS}
    username = OTHER if who == "other" else OWN
    async with Mqtt5(mqtt_port(matrix), username, await matrix.cast.token(who)) as client:
        rights = dict.fromkeys(names, "") | dict.fromkeys(FILTERS, "")
        for template, name in names.items():
            reason = await client.publish(name)
            assert reason in (0x00, 0x10, NOT_AUTHORIZED)  # 0x10: nobody is there to hear it
            rights[template] += "" if reason == NOT_AUTHORIZED else "p"
        for row, name in (names | {name: name for name in FILTERS}).items():
            reason = await client.subscribe(name)
            assert reason in (GRANTED, NOT_AUTHORIZED)
            rights[row] += "s" if reason == GRANTED else ""
    expected = {row: cells[who] for row, cells in (TOPICS | FILTERS).items()}
    assert differences(expected, {row: right or "-" for row, right in rights.items()}) == {}
