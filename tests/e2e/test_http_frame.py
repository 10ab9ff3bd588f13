"""What every HTTP answer carries, whatever it answers: security headers, CORS, the one shape of errors."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from bridge.http.limits import BodyLimit
from tests.e2e.conftest import World
from tests.e2e.waiting import GUARD

pytestmark = pytest.mark.parametrize("world", ["embedded"], indirect=True)
PAGE, OTHER = "https://pages.example", "https://evil.example"
listed = pytest.mark.parametrize("options", [{"origins": [PAGE]}], ids=["origins"])


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=world.hub.http_url, trust_env=False) as client:
        yield client


def bearer(world: World, role: Any = "viewer") -> dict[str, str]:
    return {"Authorization": f"Bearer {world.hub.tokens.mint_user(f'http-{role}', role=role)}"}


async def answers(world: World, http: httpx.AsyncClient, **headers: str) -> dict[int, httpx.Response]:
    """One answer of each status, with the status that it should have."""
    large, kind = b"x" * 1_000_001, {"Content-Type": "application/json"}
    world.hub.services.rooms.exists = None  # type: ignore[method-assign,assignment]  # a fault that nobody foresaw
    with capture_logs() as logs:
        broken = await http.get("/rooms/x/exists", headers=bearer(world) | headers)
    assert [(entry["event"], entry["path"]) for entry in logs] == [("request failed", "/rooms/x/exists")]
    return {
        200: await http.get("/health", headers=headers),
        201: await http.post("/auth/guest", headers=headers),
        400: await http.post("/auth/guest", content=b"{", headers=kind | headers),
        401: await http.get("/stations/online", headers=headers),
        403: await http.get("/rooms", headers=bearer(world) | headers),
        404: await http.get("/x", headers=headers),
        405: await http.delete("/health", headers=headers),
        413: await http.post("/auth/guest", content=large, headers=headers),
        500: broken,
    }


async def test_security_headers(world: World, http: httpx.AsyncClient) -> None:
    """On every answer, errors of the server itself among them; nothing is kept by a cache."""
    for status, answer in (await answers(world, http)).items():
        assert answer.status_code == status
        headers = answer.headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-frame-options"] == "DENY"
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert headers["cache-control"] == "no-store"
        assert "strict-transport-security" not in headers, "this is not HTTPS"
        assert "server" not in headers
        if status >= 400:
            assert answer.json()["statusCode"] == status
            assert set(answer.json()) == {"statusCode", "message", "error"}


async def test_a_fault_of_the_server(world: World, http: httpx.AsyncClient) -> None:
    """It is 500, tells nothing of what happened, and the connection goes on."""
    found = (await answers(world, http))[500]
    assert found.json() == {"statusCode": 500, "message": "Internal server error", "error": "Internal Server Error"}
    assert (await http.get("/health")).status_code == 200


# ---- CORS


async def test_any_origin(world: World, http: httpx.AsyncClient) -> None:
    """Without a list pages of any origin may read answers, but never with credentials of the browser's own."""
    for answer in (await answers(world, http, Origin=OTHER)).values():
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers


@listed
async def test_listed_origins(world: World, http: httpx.AsyncClient) -> None:
    """With a list: exactly those, with credentials, on every answer."""
    for answer in (await answers(world, http, Origin=PAGE)).values():
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert "Retry-After" in answer.headers["access-control-expose-headers"]
        assert answer.headers["vary"] == "Origin"


@listed
@pytest.mark.parametrize(
    "origin",
    [
        OTHER,
        "null",
        "",
        PAGE + ".evil.example",
        PAGE + ":8443",
        "http://pages.example",
        PAGE.upper(),
        PAGE + "/",
        "[",
        "*",
    ],
)
async def test_other_origins(world: World, http: httpx.AsyncClient, origin: str) -> None:
    """Pages of others learn nothing; a cache is told that answers differ."""
    for answer in (await answers(world, http, Origin=origin)).values():
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        assert answer.headers["vary"] == "Origin"


@listed
async def test_own_origin(world: World, http: httpx.AsyncClient) -> None:
    answer = await http.get("/health", headers={"Origin": world.hub.http_url})
    assert answer.headers["access-control-allow-origin"] == world.hub.http_url


@listed
async def test_no_origin(world: World, http: httpx.AsyncClient) -> None:
    """What is no browser is let in as ever; still a cache is told."""
    answer = await http.get("/health")
    assert (answer.status_code, answer.headers["vary"]) == (200, "Origin")
    assert "access-control-allow-origin" not in answer.headers


def preflight(origin: str, **more: str) -> dict[str, str]:
    return {"Origin": origin, "Access-Control-Request-Method": "POST"} | {
        f"Access-Control-Request-{name}": value for name, value in more.items()
    }


@pytest.mark.parametrize("path", ["/rooms", "/auth/guest", "/nowhere"])
@pytest.mark.parametrize("options", [{}, {"origins": [PAGE]}], ids=["any", "origins"])
async def test_preflight(http: httpx.AsyncClient, path: str, options: dict[str, Any]) -> None:
    """A page may send its token and JSON; no route needs to know of it, and no token is needed to ask."""
    answer = await http.options(path, headers=preflight(PAGE, Headers="authorization,content-type, X-Mine"))
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == (PAGE if options else "*")
    assert answer.headers["access-control-allow-headers"] == "authorization,content-type, X-Mine"
    assert {"GET", "POST", "PATCH", "DELETE"} <= set(answer.headers["access-control-allow-methods"].split(", "))
    assert answer.headers["access-control-max-age"] == "600"


@pytest.mark.parametrize("asked", ["", "a b", "x" * 10_000, ",".join(["a"] * 1_000), "a:b"])
async def test_strange_preflights(http: httpx.AsyncClient, asked: str) -> None:
    """What is no list of field names is not repeated."""
    answer = await http.options("/rooms", headers=preflight(PAGE, Headers=asked))
    assert answer.headers["access-control-allow-headers"] == "Authorization, Content-Type"


@listed
async def test_preflight_of_another(http: httpx.AsyncClient) -> None:
    answer = await http.options("/rooms", headers=preflight(OTHER))
    assert (answer.status_code, answer.json()["error"]) == (403, "Forbidden")
    assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_options_that_is_no_preflight(http: httpx.AsyncClient) -> None:
    answer = await http.options("/rooms", headers={"Origin": PAGE})
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")


# ---- errors


async def test_allow(http: httpx.AsyncClient) -> None:
    """405 names all methods of the path, not those of the first route alone. [RFC 9110, 15.5.6]"""
    for path, allowed in (
        ("/rooms", "GET, POST"),
        ("/rooms/x/exists", "GET"),
        ("/docs/start.js", "GET"),
        ("/stations/online", "GET"),
    ):
        answer = await http.put(path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
        assert answer.json()["message"] == "Method Not Allowed"


@pytest.mark.parametrize(
    "query", ["limit=x", "limit=0", "limit=1001", "limit=1e3", "offset=-1", "limit=" + "9" * 5_000]
)
async def test_bad_queries(world: World, http: httpx.AsyncClient, query: str) -> None:
    """400 with a list of texts, which name the field and repeat nothing of what was sent."""
    answer = await http.get(f"/rooms?{query}", headers=bearer(world, "admin"))
    assert (answer.status_code, answer.json()["error"]) == (400, "Bad Request")
    (text,) = answer.json()["message"]
    assert text.startswith(query.partition("=")[0] + ": ")
    assert "999" not in text


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"nul",
        b'{"nickname":NaN}',
        b'{"nickname":"\\ud800"}',
        b"\xff\xfe",
        b'{"nickname":"\xff"}',
        b"[" * 500_000,
        b"{}{}",
    ],
)
async def test_no_json(http: httpx.AsyncClient, body: bytes) -> None:
    for kind in ("application/json", "Application/JSON; charset=utf-8", "application/merge-patch+json"):
        answer = await http.post("/auth/guest", content=body, headers={"Content-Type": kind})
        assert (answer.status_code, answer.json()["message"]) == (400, ["body: not valid JSON"])


@pytest.mark.parametrize(
    "path", ["/%00", "/%ff%fe", "/%ed%a0%80", "/a%0d%0aX:%20y", "/" + "x" * 10_000, "//evil.example/a"]
)
async def test_strange_paths(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path)
    assert (answer.status_code, answer.json()["statusCode"]) == (404, 404)
    assert answer.json()["message"].startswith("Cannot GET /")
    assert "x" not in answer.headers


async def raw(world: World, *chunks: bytes, half_close: bool = False) -> bytes:
    """What the HTTP port answers to bytes, until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.hub.http_port)
    try:
        for chunk in chunks:
            writer.write(chunk)
            await writer.drain()
        if half_close:
            writer.write_eof()
        async with asyncio.timeout(GUARD):
            return await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize("host", [b"[", b"a b", b"x/y?z#", b"", b"\xff", b"evil.example\\@127.0.0.1", b"x" * 5_000])
async def test_strange_hosts(world: World, host: bytes) -> None:
    """Whatever Host says, an answer comes, and the unknown path is the one that was asked for."""
    request = b"GET /nowhere HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n"
    answer = await raw(world, request)
    assert answer.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 400 "))
    assert b"Cannot GET /nowhere" in answer or b" 400 " in answer


@pytest.mark.parametrize(
    "request_",
    [
        b"hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ],
)
async def test_no_http(world: World, request_: bytes) -> None:
    """What is no request gets an error in the one shape, too."""
    head, _, body = (await raw(world, request_)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"nosniff" in head
    assert json.loads(body) == {"statusCode": 400, "message": "This is not HTTP", "error": "Bad Request"}


# ---- bodies


async def test_a_body_that_does_not_come(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """408 after a while, and the connection closes."""
    monkeypatch.setattr("bridge.http.limits.BODY_SECONDS", 0.2)
    head = b"POST /auth/guest HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    answer = await raw(world, head)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"statusCode":408' in answer


async def test_half_a_body(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that hangs up in the middle of its body has asked for nothing."""
    over, calls = asyncio.Event(), list[str]()
    inner = BodyLimit.__call__

    async def watched(self: BodyLimit, scope: Any, receive: Any, send: Any) -> None:
        async def sent(message: Any) -> None:
            calls.append(message["type"])
            await send(message)

        await inner(self, scope, receive, sent)
        over.set()

    monkeypatch.setattr(BodyLimit, "__call__", watched)
    _, writer = await asyncio.open_connection("127.0.0.1", world.hub.http_port)
    writer.write(b"POST /auth/guest HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{}")
    await writer.drain()
    writer.close()
    async with asyncio.timeout(GUARD):
        await over.wait()
    assert calls == []
