"""The Socket.IO door on a port, with real clients: what the machines alone cannot show."""

import asyncio
import json
import logging
import socket as sockets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import structlog
import uvloop
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from bridge.connection import HIGH_WATER
from bridge.socketio.parts import Settings
from tests.bridge.socketio_echo import EchoServers
from tests.bridge.socketio_world import GUARD, HubBench, serving
from tests.e2e.waiting import until

pytestmark = pytest.mark.filterwarnings("ignore:Overriding the .event_loop_policy. fixture")

POLLING = "EIO=4&transport=polling"
WEBSOCKET = "EIO=4&transport=websocket"


@pytest.fixture(params=["asyncio", "uvloop"])
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    """Every test runs on both loops."""
    return uvloop.EventLoopPolicy() if request.param == "uvloop" else asyncio.DefaultEventLoopPolicy()


class Echo:
    """The echo application on a port, and an HTTP client for it."""

    def __init__(self, servers: EchoServers, port: int, http: httpx.AsyncClient) -> None:
        self.servers, self.port, self.http = servers, port, http

    async def opened(self) -> str:
        """The query of a new polling session."""
        answer = await self.http.get(f"/engine.io/?{POLLING}")
        assert answer.status_code == 200
        return f"/engine.io/?{POLLING}&sid={json.loads(answer.text[1:])['sid']}"

    def websocket(self, sid: str | None = None, path: str = "/engine.io/") -> Any:
        query = WEBSOCKET if sid is None else f"{WEBSOCKET}&sid={sid}"
        return connect(f"ws://127.0.0.1:{self.port}{path}?{query}", max_size=None)

    async def busy(self, url: str) -> None:
        """Waits until a request of a session is on its way."""
        session = self.servers.engine._engine._by_sid[url.partition("sid=")[2]]
        await until(lambda: session._outbox.polled or session._posted)

    @property
    def sessions(self) -> dict[str, int]:
        return self.servers.engine.sessions


@asynccontextmanager
async def echoing(settings: Settings | None = None, **options: Any) -> AsyncIterator[Echo]:
    servers = EchoServers(settings or Settings(), **options)
    async with (
        serving(servers, servers.websockets, servers.stop) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=GUARD, trust_env=False) as http,
    ):
        yield Echo(servers, port, http)


async def ending(socket: ClientConnection) -> int:
    """The code that the server closes with."""
    async with asyncio.timeout(GUARD):
        try:
            while True:
                await socket.recv()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006


async def test_polling() -> None:
    """Open, send, receive, text and binary; never cached."""
    async with echoing() as echo:
        url = await echo.opened()
        sent = await echo.http.post(url, content="4hällo\x1ebAQIDBA==")
        assert (sent.status_code, sent.text) == (200, "ok")
        got = await echo.http.get(url)
        assert got.text == "4hällo\x1ebAQIDBA=="
        assert got.headers["content-type"] == "text/plain; charset=UTF-8"
        assert got.headers["cache-control"] == "no-store"


async def test_poll_waits() -> None:
    async with echoing() as echo:
        url = await echo.opened()
        poll = asyncio.create_task(echo.http.get(url))
        await echo.busy(url)
        assert not poll.done()
        await echo.http.post(url, content="4hello")
        assert (await poll).text == "4hello"


@pytest.mark.parametrize(
    ("method", "query", "status", "code"),
    [
        ("GET", "", 400, 0),
        ("GET", "EIO=4", 400, 0),
        ("GET", "transport=polling", 400, 5),
        ("GET", "EIO=4&transport=polling&sid=none", 400, 1),
        ("GET", "EIO=4&transport=websocket", 400, 3),
        ("POST", "EIO=4&transport=polling", 400, 2),
        ("PUT", "EIO=4&transport=polling", 400, 2),
        ("DELETE", "EIO=4&transport=polling", 400, 2),
        ("OPTIONS", "EIO=4&transport=polling", 400, 2),
    ],
)
async def test_errors(method: str, query: str, status: int, code: int) -> None:
    """In Engine.IO's own shape."""
    async with echoing() as echo:
        answer = await echo.http.request(method, f"/engine.io/?{query}")
        assert answer.status_code == status
        assert answer.json().keys() == {"code", "message"}
        assert answer.json()["code"] == code
        assert sum(echo.sessions.values()) == 0


async def test_method_with_a_session() -> None:
    async with echoing() as echo:
        url = await echo.opened()
        assert (await echo.http.put(url, content="4x")).status_code == 400
        assert (await echo.http.post(url, content="4x")).status_code == 200


async def test_origin() -> None:
    """Pages of other origins are kept out, and open nothing; what sends no Origin is no page."""
    async with echoing(origins=frozenset({"https://good.example"})) as echo:
        for origin, status in (("https://bad.example", 403), ("null", 403), ("https://good.example", 200)):
            answer = await echo.http.get(f"/engine.io/?{POLLING}", headers={"Origin": origin})
            assert answer.status_code == status
            assert status == 200 or answer.json() == {"code": 4, "message": "Forbidden"}
        assert echo.sessions["polling"] == 1
        url = await echo.opened()
        assert (await echo.http.post(url, content="4x", headers={"Origin": "https://bad.example"})).status_code == 403
        assert (await echo.http.post(url, content="4x")).status_code == 200


async def test_full() -> None:
    async with echoing(Settings(max_sessions=1)) as echo:
        await echo.opened()
        answer = await echo.http.get(f"/engine.io/?{POLLING}")
        assert (answer.status_code, answer.json()["code"]) == (503, 4)
        with pytest.raises(InvalidStatus) as refused:
            async with echo.websocket():
                pass
        assert refused.value.response.status_code == 503


@pytest.mark.parametrize("declared", [True, False])
async def test_post_too_large(declared: bool) -> None:
    """413, whether or not the size was declared; the session ends. Just within the limit is taken."""

    async def chunks(size: int) -> AsyncIterator[bytes]:
        yield b"4"
        for _ in range(size // 1_000):
            yield b"x" * 1_000

    def body(size: int) -> Any:
        return "4" + "x" * size if declared else chunks(size)

    async with echoing(Settings(max_payload=100_001)) as echo:
        url = await echo.opened()
        assert (await echo.http.post(url, content=body(100_000))).status_code == 200
        assert (await echo.http.get(url)).text == "4" + "x" * 100_000
        answer = await echo.http.post(url, content=body(101_000))
        assert (answer.status_code, answer.headers["connection"]) == (413, "close")
        assert (await echo.http.get(url)).status_code == 400
        assert sum(echo.sessions.values()) == 0


async def test_large_answer() -> None:
    """More than a socket takes at once, again and again over one connection."""
    async with echoing() as echo:
        url = await echo.opened()
        message = "4" + "y" * (HIGH_WATER * 12)
        for _ in range(3):
            await echo.http.post(url, content=message)
            assert (await echo.http.get(url)).text == message


async def raw(echo: Echo, request: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on which a request was begun."""
    reader, writer = await asyncio.open_connection("127.0.0.1", echo.port)
    writer.write(request.replace("\n", "\r\n").encode())
    await writer.drain()
    return reader, writer


async def test_client_that_does_not_read_its_poll() -> None:
    """Its poll is not over, and so it gets no second one, by whatever connection: what it does not read is bounded."""
    async with echoing() as echo:
        url = await echo.opened()
        for _ in range(16):
            await echo.http.post(url, content="4" + "z" * 900_000)
        with sockets.socket() as idle:
            idle.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4_096)
            idle.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(idle, ("127.0.0.1", echo.port))
            await loop.sock_sendall(idle, f"GET {url} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert (await loop.sock_recv(idle, 15)) == b"HTTP/1.1 200 OK"
            assert (await echo.http.get(url)).status_code == 400
        assert sum(echo.sessions.values()) == 0


async def test_client_goes_away_while_it_polls() -> None:
    """The poll is released, and the session ends at once."""
    async with echoing() as echo:
        url = await echo.opened()
        _, writer = await raw(echo, f"GET {url} HTTP/1.1\nHost: localhost\n\n")
        await echo.busy(url)
        assert sum(echo.sessions.values()) == 1
        writer.close()
        await until(lambda: not sum(echo.sessions.values()))
        assert echo.servers.engine.counters.ended == {"transport close": 1}


async def test_client_goes_away_while_it_posts() -> None:
    async with echoing() as echo:
        url = await echo.opened()
        _, writer = await raw(echo, f"POST {url} HTTP/1.1\nHost: localhost\nContent-Length: 10\n\n4x")
        await echo.busy(url)
        writer.close()
        await until(lambda: not sum(echo.sessions.values()))


async def test_post_that_never_ends() -> None:
    """It is given up, and the session with it."""
    async with echoing(Settings(post_timeout=0.1)) as echo:
        url = await echo.opened()
        reader, writer = await raw(echo, f"POST {url} HTTP/1.1\nHost: localhost\nContent-Length: 10\n\n4x")
        assert b" 400 " in await asyncio.wait_for(reader.readline(), GUARD)
        writer.close()
        assert sum(echo.sessions.values()) == 0


async def test_second_poll() -> None:
    async with echoing() as echo:
        url = await echo.opened()
        first = asyncio.create_task(echo.http.get(url))
        await echo.busy(url)
        assert (await echo.http.get(url)).status_code == 400
        assert (await first).text == "1"
        assert (await echo.http.get(url)).status_code == 400


async def test_second_post() -> None:
    """Both are refused."""
    async with echoing() as echo:
        url = await echo.opened()
        reader, writer = await raw(echo, f"POST {url} HTTP/1.1\nHost: localhost\nContent-Length: 2\n\n4")
        await echo.busy(url)
        assert (await echo.http.post(url, content="4y")).status_code == 400
        writer.write(b"x")
        assert b" 400 " in await asyncio.wait_for(reader.readline(), GUARD)
        writer.close()


async def test_handler_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake of ours ends one session, is logged without what the client sent, and is a 500."""

    def fails(*_: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("tests.bridge.socketio_echo.Echo.message", fails)
    async with echoing() as echo:
        url = await echo.opened()
        with structlog.testing.capture_logs() as logs:
            answer = await echo.http.post(url, content="4secret")
        assert (answer.status_code, answer.json()["message"]) == (500, "Internal error")
        assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["polling failed"]
        assert "secret" not in str(logs)
        assert sum(echo.sessions.values()) == 0


async def test_timer_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is logged, and disturbs nothing else."""
    failed = asyncio.Event()

    def fails(*_: Any) -> None:
        failed.set()
        raise RuntimeError("broken")

    async with echoing(Settings(ping_interval=0.05)) as echo:
        monkeypatch.setattr("bridge.socketio.session.Session.due", fails)
        with structlog.testing.capture_logs() as logs:
            await echo.opened()
            await asyncio.wait_for(failed.wait(), GUARD)
            monkeypatch.undo()
            await echo.opened()
        assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["session failed"]


async def test_heartbeat() -> None:
    """On the event loop's timers, over both transports."""
    async with echoing(Settings(ping_interval=0.1, ping_timeout=0.5)) as echo:
        url = await echo.opened()
        assert (await echo.http.get(url)).text == "2"
        async with echo.websocket() as socket:
            assert (await socket.recv())[0] == "0"
            for _ in range(2):
                assert await socket.recv() == "2"
                await socket.send("3")
            assert await ending(socket) == 1011
        await until(lambda: not sum(echo.sessions.values()))


async def test_websocket() -> None:
    async with echoing() as echo, echo.websocket() as socket:
        assert json.loads(str(await socket.recv())[1:])["upgrades"] == []
        await socket.send("4hello")
        await socket.send(b"\1\2")
        assert [await socket.recv(), await socket.recv()] == ["4hello", b"\1\2"]
        assert echo.sessions == {"polling": 0, "websocket": 1}
        await socket.send("1")
        assert await ending(socket) == 1000


async def test_websocket_message_too_large() -> None:
    async with echoing() as echo, echo.websocket() as socket:
        await socket.send("4" + "x" * 1_000_000)
        assert await ending(socket) == 1009
        await until(lambda: not sum(echo.sessions.values()))


@pytest.mark.parametrize(
    "query", ["", "?EIO=3&transport=websocket", "?EIO=4&transport=polling", "?EIO=4&transport=abc"]
)
async def test_websocket_refused(query: str) -> None:
    async with echoing() as echo:
        with pytest.raises(InvalidStatus) as refused:
            async with connect(f"ws://127.0.0.1:{echo.port}/engine.io/{query}"):
                pass
        assert refused.value.response.status_code == 400


async def test_upgrade() -> None:
    """The poll that waits is released, and all goes on over the WebSocket; polling is refused then."""
    async with echoing() as echo:
        url = await echo.opened()
        poll = asyncio.create_task(echo.http.get(url))
        async with echo.websocket(url.partition("sid=")[2]) as socket:
            await socket.send("2probe")
            assert await socket.recv() == "3probe"
            assert (await poll).text == "6"
            await socket.send("5")
            await socket.send("4hello")
            assert await socket.recv() == "4hello"
            assert echo.sessions == {"polling": 0, "websocket": 1}
            assert (await echo.http.get(url)).status_code == 400
            async with echo.websocket(url.partition("sid=")[2]) as second:
                assert await ending(second) == 1008
            await socket.send("4still")
            assert await socket.recv() == "4still"
        await until(lambda: not sum(echo.sessions.values()))


async def test_stop() -> None:
    """Polls are answered, and WebSockets closed with 1012, so that the server's shutdown is not held up."""
    async with echoing() as echo:
        url = await echo.opened()
        poll = asyncio.create_task(echo.http.get(url))
        async with echo.websocket() as socket:
            await socket.recv()
            await echo.busy(url)
            echo.servers.stop()
            assert (await asyncio.wait_for(poll, GUARD)).text == "1"
            assert await ending(socket) == 1012
        assert (await echo.http.get(f"/engine.io/?{POLLING}")).status_code == 503


# ---- Socket.IO


async def connected(echo: Echo) -> ClientConnection:
    socket: ClientConnection = await echo.websocket(path="/socket.io/")
    assert str(await socket.recv()).startswith("0{")
    await socket.send('40{"token":"x"}')
    assert str(await socket.recv()).startswith('40{"sid":')
    assert await socket.recv() == '42["auth",{"token":"x"}]'
    return socket


async def test_echo_application() -> None:
    """What the published suite wants of its application, binary and acks both ways."""
    async with echoing() as echo:
        socket = await connected(echo)
        await socket.send('452-9["message-with-ack",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]')
        await socket.send(b"one")
        await socket.send(b"two")
        assert [await socket.recv() for _ in range(3)] == [
            '462-9[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]',
            b"one",
            b"two",
        ]
        await socket.send('42["emit-with-ack",1]')
        assert await socket.recv() == '421["ask",1]'
        await socket.send("431[2,3]")
        assert await socket.recv() == '42["answered",2,3]'
        await socket.close()


async def test_no_namespace_in_time() -> None:
    async with echoing(Settings(connect_timeout=0.1)) as echo, echo.websocket(path="/socket.io/") as socket:
        assert await ending(socket) == 1008


async def test_hub(caplog: pytest.LogCaptureFixture) -> None:
    """The hub's door: one client over a WebSocket and one over polling meet in a room. No token is logged."""
    caplog.set_level(logging.DEBUG)
    hub = HubBench()
    tokens = [hub.tokens.mint_user(f"user-{number}", role="operator") for number in range(2)]
    with structlog.testing.capture_logs() as logs:
        await _meet(hub, tokens)
    assert not hub.gateway.peers
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("bridge")]
    assert not any(token in f"{logs} {ours}" for token in tokens)


async def _meet(hub: HubBench, tokens: list[str]) -> None:
    async with (
        hub.serving() as port,
        connect(f"ws://127.0.0.1:{port}/socket.io/?{WEBSOCKET}&token={tokens[0]}") as socket,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=GUARD, trust_env=False) as http,
    ):
        await socket.recv()
        await socket.send("40")
        peer_id = json.loads(str(await socket.recv())[2:])["sid"]
        await socket.send('421["create-room"]')
        (room,) = json.loads(str(await socket.recv())[3:])
        headers = {"Authorization": f"Bearer {tokens[1]}"}
        url = f"/socket.io/?{POLLING}"
        url += f"&sid={json.loads((await http.get(url, headers=headers)).text[1:])['sid']}"
        await http.post(url, content=f'40\x1e427["join-room",{json.dumps(room)}]')
        entered, joined = (await http.get(url)).text.split("\x1e")
        assert json.loads(joined[3:]) == [{"roomId": room["roomId"], "peers": [peer_id]}]
        other = json.loads(entered[2:])["sid"]
        assert json.loads(str(await socket.recv())[2:]) == ["peer-joined", {"peerId": other}]
        assert hub.socketio.sessions == {"polling": 1, "websocket": 1}
        hub.gateway.kicked("user-1", "another")
        assert (await http.get(url)).text == '42["kicked",{"reason":"NEW_LOGIN"}]\x1e41\x1e1'
        assert json.loads(str(await socket.recv())[2:]) == ["peer-left", {"peerId": other}]
