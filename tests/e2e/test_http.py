"""The HTTP side: routes, the one shape of errors, metrics, the page (contract.md section 5)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import jwt
import pytest

from bridge.http.server import HttpProtocol
from tests.e2e.conftest import SECRET, World
from tests.e2e.waiting import until


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=world.hub.http_url, trust_env=False) as client:
        yield client


def bearer(world: World, role: Any = "viewer") -> dict[str, str]:
    return {"Authorization": f"Bearer {world.hub.tokens.mint_user(f'http-{role}', role=role)}"}


async def test_health(http: httpx.AsyncClient) -> None:
    answer = await http.get("/health")
    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"
    assert set(answer.json()) == {"status", "service", "timestamp"}
    assert (await http.get("/ready")).json() == {"status": "ready"}


@pytest.mark.parametrize("options", [{}, {"open_registration": True}], ids=["viewer", "operator"])
async def test_guest(world: World, http: httpx.AsyncClient, options: dict[str, Any]) -> None:
    """A guest gets a token that works on both doors, with the role that the hub gives to guests."""
    answer = await http.post("/auth/guest", json={"nickname": "Ann"})
    assert answer.status_code == 201
    body = answer.json()
    assert body["user"] == {"id": body["user"]["id"], "type": "guest", "nickname": "Ann"}
    assert (await http.post("/auth/guest")).status_code == 201
    operator = await world.operator(token=body["accessToken"])
    assert world.hub.gateway.peers[operator.peer_id].identity.role == ("operator" if options else "viewer")
    headers = {"Authorization": f"Bearer {body['accessToken']}"}
    assert (await http.get("/stations/online", headers=headers)).json() == {"stations": []}


async def test_stations_and_rooms(world: World, http: httpx.AsyncClient) -> None:
    await world.ws_station("st-1")
    headers = bearer(world)
    assert (await http.get("/stations/online", headers=headers)).json() == {"stations": ["st-1"]}
    made = await http.post("/rooms", headers=headers)
    assert made.status_code == 201
    room_id = made.json()["roomId"]
    assert (await http.get(f"/rooms/{room_id}/exists", headers=headers)).json() == {"exists": True}
    assert (await http.get("/rooms/nowhere0/exists", headers=headers)).json() == {"exists": False}
    browser = await world.operator()
    assert await browser.request("join-room", {"roomId": room_id}) == {"roomId": room_id, "peers": []}


UNAUTHORIZED = {"message": "Unauthorized", "error": "Unauthorized", "statusCode": 401}


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer garbage", "Basic abc", "bearer a.b.c"])
async def test_no_good_token(http: httpx.AsyncClient, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    for method, path in (("GET", "/stations/online"), ("POST", "/rooms"), ("GET", "/rooms/x/exists")):
        answer = await http.request(method, path, headers=headers)
        assert (answer.status_code, answer.json()) == (401, UNAUTHORIZED)


async def test_station_tokens_are_not_people(world: World, http: httpx.AsyncClient) -> None:
    headers = {"Authorization": f"Bearer {world.hub.tokens.mint_station('st-1')}"}
    answer = await http.get("/stations/online", headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (403, "Forbidden")


async def test_replaced_session(world: World, http: httpx.AsyncClient) -> None:
    """A kicked token is no good for HTTP either."""
    claims = {"userId": "u", "type": "registered", "exp": 4_000_000_000}
    old, new = (jwt.encode(claims | {"sessionId": s, "iat": iat}, SECRET) for s, iat in (("a", 1_000), ("b", 2_000)))
    for token, status in ((old, 200), (new, 200), (old, 401)):
        answer = await http.get("/stations/online", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == status


async def test_unknown_route_and_method(http: httpx.AsyncClient) -> None:
    unknown = await http.get("/x?token=secret")
    assert (unknown.status_code, unknown.json()) == (
        404,
        {"message": "Cannot GET /x", "error": "Not Found", "statusCode": 404},
    )
    wrong = await http.delete("/health")
    assert wrong.status_code == 405
    assert wrong.json() == {"message": "Method Not Allowed", "error": "Method Not Allowed", "statusCode": 405}
    assert wrong.headers["allow"] == "GET"


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"nickname":7}', b'{"nickname":""}', b"null", b'{"nickname":"' + b"x" * 65 + b'"}']
)
async def test_bad_bodies(http: httpx.AsyncClient, body: bytes) -> None:
    """400 with a list of texts, which repeat nothing of what was sent."""
    answer = await http.post("/auth/guest", content=body, headers={"Content-Type": "application/json"})
    if body == b"null":
        assert answer.status_code == 201
        return
    assert (answer.status_code, answer.json()["error"]) == (400, "Bad Request")
    assert all(isinstance(text, str) and "xxx" not in text for text in answer.json()["message"])


async def test_large_bodies(http: httpx.AsyncClient) -> None:
    """Over 1,000,000 bytes is 413, declared or sent in chunks."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 100_000

    for content in (b"x" * 1_000_001, chunks()):
        answer = await http.post("/auth/guest", content=content, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["statusCode"]) == (413, 413)
    assert (await http.get("/health")).status_code == 200


async def test_metrics(world: World, http: httpx.AsyncClient) -> None:
    """For the machine itself, and for admins from elsewhere."""
    await world.ws_station("st-1")
    text = (await http.get("/metrics")).text
    assert "stationhub_stations_online 1.0" in text
    assert "stationhub_statuses_clamped_total 0.0" in text
    assert 'stationhub_socketio_sessions{transport="polling"} 0.0' in text
    assert "stationhub_stream_responses_stray_total 0.0" in text
    assert "process_resident_memory_bytes" in text
    far = {"X-Forwarded-For": "203.0.113.9"}
    assert (await http.get("/metrics", headers=far)).status_code == 401
    assert (await http.get("/metrics", headers=far | bearer(world, "operator"))).status_code == 403
    assert (await http.get("/metrics", headers=far | bearer(world, "admin"))).status_code == 200


async def test_console(http: httpx.AsyncClient) -> None:
    page = await http.get("/")
    assert page.status_code == 200
    assert "StationHub" in page.text
    assert "http://" not in page.text.replace("/^http/", "")
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]


async def raw(world: World, *chunks: bytes) -> bytes:
    """What the HTTP port answers to bytes, until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.hub.http_port)
    try:
        for chunk in chunks:
            writer.write(chunk)
            await writer.drain()
        async with asyncio.timeout(30):
            return await reader.read()
    except ConnectionError:
        return b"reset"
    finally:
        writer.close()


@pytest.mark.parametrize(
    "head",
    [[b"A: " + b"b" * 2_000_000 + b"\r\n"], [b"A: b\r\n" * 2_000] * 100, [b"A: " + b"b" * 65_000] * 40],
    ids=["one huge header", "many headers", "a header without end"],
)
async def test_huge_heads(world: World, head: list[bytes]) -> None:
    """A request whose head goes on and on is refused, and no more than its beginning is ever kept."""
    answer = await raw(world, b"GET /health HTTP/1.1\r\nHost: x\r\n", *head, b"\r\n")
    assert answer == b"reset" or answer.startswith(b"HTTP/1.1 431 ")


async def test_who_never_reads(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection whose answers lie unread is cut."""
    monkeypatch.setattr("bridge.http.server.UNREAD_SECONDS", 0.2)
    _, writer = await asyncio.open_connection("127.0.0.1", world.hub.http_port, limit=1)
    try:
        writer.write(b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        server = world.hub._server.server_state
        async with asyncio.timeout(30):
            await until(lambda: bool(server.connections))
            await until(lambda: not any(isinstance(one, HttpProtocol) for one in server.connections))
    finally:
        writer.close()


async def test_half_a_head(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that says nothing, or half of something, is closed after a while; so is a second request's half."""
    monkeypatch.setattr("bridge.http.server.HEAD_SECONDS", 0.2)
    assert await raw(world) == b""
    assert await raw(world, b"GET /health HT") == b""
    answer = await raw(world, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_a_large_body_in_one_write(http: httpx.AsyncClient) -> None:
    """The limit of the head does not count what comes of the body with it."""
    answer = await http.post("/auth/guest", json={"nickname": "Ann", "pad": "x" * 900_000})
    assert answer.status_code == 201


async def test_keep_alive(http: httpx.AsyncClient) -> None:
    """Many requests on one connection add up to nothing."""
    for _ in range(50):
        assert (await http.get("/health", headers={"X-Pad": "x" * 8_000})).status_code == 200


async def test_paths(http: httpx.AsyncClient) -> None:
    """A slash at the end makes no difference, and nobody is sent anywhere; HEAD is GET without a body."""
    for path in ("/health", "/health/"):
        assert (await http.get(path)).json()["status"] == "ok"
        head = await http.head(path)
        assert (head.status_code, head.content, int(head.headers["content-length"]) > 10) == (200, b"", True)
    assert (await http.post("/auth/guest/", json={"nickname": "Ann"})).status_code == 201
    for path in ("/nowhere/", "/health//", "/socket.io/x"):
        assert (await http.get(path)).status_code == 404
    assert (await http.head("/auth/guest")).status_code == 405
    assert (await http.get("/docs/")).headers["location"] == "../docs"
