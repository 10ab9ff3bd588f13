"""Keys that an issuer publishes: fetched, rotated and withdrawn, against a real little server on the loopback."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from hub.auth import Identity, KeyUnknown, TokenRefused, Tokens
from hub.jwks import MAX_BODY, Jwks, is_key_url
from hub.keys import Keys
from tests.fakes import FakeClock
from tests.hub.broker.test_tls import Authority
from tests.hub.test_keys import EC, ED, RSA, SECRET, jwk, token

GUARD = 30.0


class Issuer:
    """Publishes keys.

    Attributes:
        keys: the JWKs.
        body, head: sent as they are, when given.
        requests: the heads of all requests.
        asked: set at each request.
        answering: cleared: requests are held until it is set.
    """

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = []
        self.body: bytes | None = None
        self.head = b"HTTP/1.1 200 OK\r\n"
        self.requests: list[bytes] = []
        self.asked, self.answering = asyncio.Event(), asyncio.Event()
        self.answering.set()
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            self.asked.set()
            await self.answering.wait()
            body = json.dumps({"keys": self.keys}).encode() if self.body is None else self.body
            writer.write(self.head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def url(self, *, login: str = "", scheme: str = "http") -> str:
        return f"{scheme}://{login}127.0.0.1:{self.port}/keys?tenant=1"


@asynccontextmanager
async def listening(issuer: Issuer, context: ssl.SSLContext | None = None) -> AsyncIterator[Issuer]:
    server = await asyncio.start_server(issuer.serve, "127.0.0.1", issuer.port, ssl=context)
    issuer.port = server.sockets[0].getsockname()[1]
    try:
        yield issuer
    finally:
        issuer.answering.set()
        server.close()
        await server.wait_closed()


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with listening(Issuer()) as issuer:
        yield issuer


class World:
    """A hub that trusts an issuer."""

    def __init__(self, url: str, **options: Any) -> None:
        self.clock, self.keys = FakeClock(), Keys(published=True)
        self.jwks = Jwks(url, self.keys, clock=self.clock.monotonic, **options)
        self.tokens = Tokens(SECRET, keys=self.keys, clock=lambda: self.clock.wall / 1000)

    async def verify(self, shown: str) -> Identity:
        """As a door does."""
        try:
            return self.tokens.verify(shown)
        except KeyUnknown:
            await self.jwks.refresh()
            return self.tokens.verify(shown)


@pytest.fixture
async def make() -> AsyncIterator[Callable[..., World]]:
    made: list[World] = []

    def build(url: str, **options: Any) -> World:
        made.append(World(url, **options))
        return made[-1]

    yield build
    for world in made:
        await world.jwks.stop()


Make = Callable[..., World]


async def test_rotation(issuer: Issuer, make: Make) -> None:
    """A new key is found when a token names it, at most every 10 s; a withdrawn one is no good any more."""
    world = make(issuer.url())
    issuer.keys = [jwk(RSA, kid="a")]
    await world.jwks.start()
    old, new = token(RSA, "RS256", kid="a"), token(EC, "ES256", kid="b")
    assert (await world.verify(old)).user_id == "u1"
    issuer.keys.append(jwk(EC, kid="b"))
    with pytest.raises(KeyUnknown):
        await world.verify(new)
    assert world.jwks.fetches == 1, "asked a moment ago"
    world.clock.forward(10)
    assert (await world.verify(new)).user_id == "u1"
    assert (await world.verify(old)).user_id == "u1"
    issuer.keys.pop(0)
    world.clock.forward(10)
    await world.jwks.refresh()
    with pytest.raises(KeyUnknown):
        await world.verify(old)
    assert (await world.verify(new)).user_id == "u1"
    assert b"GET /keys?tenant=1 HTTP/1.1\r\n" in issuer.requests[0]


async def test_at_an_interval(issuer: Issuer, make: Make) -> None:
    """Withdrawn keys are noticed without any token."""
    world = make(issuer.url(), interval=0.05, cooldown=0)
    issuer.keys = [jwk(RSA, kid="a")]
    await world.jwks.start()
    assert world.tokens.verify(token(RSA, "RS256", kid="a"))
    issuer.keys = [jwk(ED, kid="c")]
    async with asyncio.timeout(GUARD):
        for _ in range(2):  # one may have been under way
            issuer.asked.clear()
            await issuer.asked.wait()
        await world.jwks.refresh()
    assert [key.kid for key in world.keys.candidates("EdDSA", None)] == ["c"]
    assert world.keys.candidates("RS256", None) == []


async def test_many_unknown_keys_make_one_fetch(issuer: Issuer, make: Make) -> None:
    """1,000 tokens at once, and 1,000 more after them."""
    world = make(issuer.url())
    issuer.keys = [jwk(ED, kid="new")]
    shown = [token(ED, "EdDSA", kid=f"k{number}") for number in range(999)] + [token(ED, "EdDSA", kid="new")]
    for _ in range(2):
        answers = await asyncio.gather(*map(world.verify, shown), return_exceptions=True)
        assert isinstance(answers[-1], Identity)
        assert all(isinstance(answer, KeyUnknown) for answer in answers[:-1])
    assert len(issuer.requests) == 1


async def test_a_slow_issuer_blocks_nobody(issuer: Issuer, make: Make) -> None:
    """While keys are fetched the loop runs, and other tokens work; who gives up does not end the fetch for the others."""
    world = make(issuer.url())
    issuer.keys = [jwk(ED, kid="new")]
    issuer.answering.clear()
    waiting = [asyncio.create_task(world.verify(token(ED, "EdDSA", kid="new"))) for _ in range(3)]
    async with asyncio.timeout(GUARD):
        await issuer.asked.wait()  # the server runs in this very loop
    assert world.tokens.verify(world.tokens.mint_user("u2"))
    waiting[0].cancel()
    await asyncio.wait(waiting[:1])
    assert not waiting[1].done()
    issuer.answering.set()
    async with asyncio.timeout(GUARD):
        assert [identity.user_id for identity in await asyncio.gather(*waiting[1:])] == ["u1", "u1"]
    assert len(issuer.requests) == 1


async def test_an_issuer_that_never_answers(issuer: Issuer, make: Make) -> None:
    """The fetch ends after its timeout; the next one finds the keys."""
    world = make(issuer.url(), timeout=2.0)
    issuer.keys = [jwk(ED, kid="new")]
    issuer.answering.clear()
    with capture_logs() as logs:
        await world.jwks.start()
    assert [entry["reason"] for entry in logs] == ["no answer within 2 s"]
    issuer.answering.set()
    world.clock.forward(10)
    assert (await world.verify(token(ED, "EdDSA", kid="new"))).user_id == "u1"


async def test_an_issuer_that_sends_a_byte_at_a_time(make: Make) -> None:
    """The timeout is of the whole fetch, not of one read; the connection does not outlive it."""
    gone = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")  # for hours
        end = asyncio.create_task(reader.read())
        while not end.done():
            writer.write(b" ")
            await asyncio.wait([end], timeout=0.02)
        writer.close()
        gone.set()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    world = make(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", timeout=0.3)
    with capture_logs() as logs:
        await world.jwks.start()
    assert [entry["reason"] for entry in logs] == ["no answer within 0.3 s"]
    async with asyncio.timeout(GUARD):
        await gone.wait()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize(
    ("head", "body", "reason"),
    [
        (b"HTTP/1.1 500 Oops\r\n", b"{}", "status 500"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n", b"", "status 302"),
        (b"HTTP/1.1 204 No Content\r\n", b"", "status 204"),
        (b"HTTP/1.1 200 OK\r\n", b"<html>secret</html>", "not JSON"),
        (b"HTTP/1.1 200 OK\r\n", b"\xff\xfe\x00", "not JSON"),
        (b"HTTP/1.1 200 OK\r\n", b"[" * 100_000, "not JSON"),
        (b"HTTP/1.1 200 OK\r\n", b"[]", "not a JWKS"),
        (b"HTTP/1.1 200 OK\r\n", b'{"keys":{}}', "not a JWKS"),
        (b"HTTP/1.1 200 OK\r\n", b'{"keys":[]}' + b" " * MAX_BODY, "more than 1000000 bytes"),
        (b"SSH-2.0-secret\r\n", b"", "not a JWKS"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: " + b"b" * 100_000 + b"\r\n", b"{}", "not a JWKS"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 1_000, b"{}", "not a JWKS"),
    ],
)
async def test_a_fetch_that_fails(issuer: Issuer, make: Make, head: bytes, body: bytes, reason: str) -> None:
    """It leaves the old keys, and says so once, without anything that the server said or a password of the URL."""
    world = make(issuer.url(login="hub:pass%20word@"))
    issuer.keys = [jwk(RSA, kid="a")]
    await world.jwks.start()
    good, issuer.head, issuer.body = issuer.head, head, body
    with capture_logs() as logs:
        for _ in range(3):
            world.clock.forward(10)
            await world.jwks.refresh()
    assert world.jwks.fetches == 4
    assert [(entry["log_level"], entry["reason"]) for entry in logs] == [("warning", reason)]
    assert "pass" not in str(logs)
    assert "secret" not in str(logs)
    assert world.tokens.verify(token(RSA, "RS256", kid="a")).user_id == "u1"
    issuer.head, issuer.body = good, None
    world.clock.forward(10)
    with capture_logs() as logs:
        await world.jwks.refresh()
    assert [entry["event"] for entry in logs] == ["keys of tokens fetched"]


async def test_a_login_in_the_url(issuer: Issuer, make: Make) -> None:
    await make(issuer.url(login="hub:pass%20word@")).jwks.start()
    assert base64.b64encode(b"hub:pass word") in issuer.requests[0]


async def test_nobody_listens(make: Make) -> None:
    """A hub starts without its issuer, and finds it later."""
    issuer = Issuer()
    async with listening(issuer):
        pass  # its port is free again
    world = make(issuer.url())
    with capture_logs() as logs:
        await world.jwks.start()
    assert [entry["reason"] for entry in logs] == ["Connection refused"]
    issuer.keys = [jwk(RSA, kid="a")]
    async with listening(issuer):
        with pytest.raises(KeyUnknown):
            await world.verify(token(RSA, "RS256", kid="a"))
        world.clock.forward(10)
        assert (await world.verify(token(RSA, "RS256", kid="a"))).user_id == "u1"


async def test_all_keys_withdrawn(issuer: Issuer, make: Make) -> None:
    """An empty JWKS is an answer too."""
    world = make(issuer.url())
    issuer.keys = [jwk(RSA, kid="a")]
    await world.jwks.start()
    issuer.keys = []
    world.clock.forward(10)
    await world.jwks.refresh()
    with pytest.raises(TokenRefused):
        await world.verify(token(RSA, "RS256", kid="a"))


async def test_https(tmp_path: Path, make: Make) -> None:
    """A certificate that nobody vouches for is not believed."""
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.server())
    issuer = Issuer()
    issuer.keys = [jwk(ED, kid="a")]
    async with listening(issuer, context):
        trusting = make(issuer.url(scheme="https"), context=authority.context())
        await trusting.jwks.start()
        assert (await trusting.verify(token(ED, "EdDSA", kid="a"))).user_id == "u1"
        wary = make(issuer.url(scheme="https"))
        with capture_logs() as logs:
            await wary.jwks.start()
        assert logs[0]["reason"] == "TLS: CERTIFICATE_VERIFY_FAILED"
        with pytest.raises(KeyUnknown):
            await wary.verify(token(ED, "EdDSA", kid="a"))


async def test_stop_while_fetching(issuer: Issuer, make: Make) -> None:
    """Whoever waits is let go, without keys; nothing is fetched any more."""
    world = make(issuer.url())
    issuer.answering.clear()
    waiting = asyncio.create_task(world.verify(token(ED, "EdDSA", kid="a")))
    async with asyncio.timeout(GUARD):
        await issuer.asked.wait()
        await world.jwks.stop()
        with pytest.raises(KeyUnknown):
            await waiting
    world.clock.forward(100)
    await world.jwks.refresh()
    assert world.jwks.fetches == 1


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://id.example/keys", True),
        ("https://user:password@id.example:8443/keys?a=b", True),
        ("http://127.0.0.1:8000/keys", True),
        ("http://localhost/keys", True),
        ("http://[::1]:8000/keys", True),
        ("http://id.example/keys", False),
        ("http://127.0.0.1.id.example/keys", False),
        ("http://localhost@id.example/keys", False),
        ("http://10.0.0.1/keys", False),
        ("ftp://127.0.0.1/keys", False),
        ("file:///etc/passwd", False),
        ("https:///keys", False),
        ("https://id.example:0/keys", False),
        ("https://id.example:99999/keys", False),
        ("https://id.example/a b", False),
        ("https://id.example/\r\nX: y", False),
        ("https://id.example/keys#part", False),
        ("https://[id.example/keys", False),
        ("id.example/keys", False),
        ("", False),
    ],
)
def test_key_urls(url: str, good: bool) -> None:
    """https from anywhere, http from this machine alone."""
    assert is_key_url(url) is good
    if not good:
        with pytest.raises(ValueError, match="https"):
            Jwks(url, Keys())
