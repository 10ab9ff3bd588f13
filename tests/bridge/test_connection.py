"""`bridge.connection` under a real uvicorn, with real clients, raw sockets for what no client sends, on asyncio and on uvloop;
and on a fake transport where single writes count."""

import asyncio
import base64
import json
import logging
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
import pytest
import structlog
import uvicorn
import uvloop
from fastapi import FastAPI
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from bridge.connection import (
    HIGH_WATER,
    SLICE,
    STRANGER_MESSAGE,
    TURN,
    Settings,
    Unfinished,
    WebSocketConnection,
    protocol_class,
    text_frame,
)
from bridge.door import Door, Handshake, Wire
from bridge.handshake import door_of, origin_allowed
from devices.messages import MAX_MESSAGE

GUARD = 10.0
"""Seconds after which a test that waits has failed."""

pytestmark = pytest.mark.filterwarnings("ignore:Overriding the .event_loop_policy. fixture")
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


@pytest.fixture(params=["asyncio", "uvloop"])
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    """Every test runs on both loops: their transports differ where this module cares."""
    return uvloop.EventLoopPolicy() if request.param == "uvloop" else asyncio.DefaultEventLoopPolicy()


class EchoDoor(Door):
    """Echoes; does what some messages ask for; keeps what it was told."""

    def __init__(self, handshake: Handshake) -> None:
        self.handshake = handshake
        self.wire: Wire
        self.messages: list[bytes | str] = []
        self.codes: list[int] = []
        self.writable_calls = 0
        self.gone = asyncio.Event()
        if "broken" in handshake.query:
            raise RuntimeError("no door")

    def opened(self, wire: Wire) -> None:
        self.wire = wire
        if "stranger" not in self.handshake.query:
            wire.trust()
        if "refuse" in self.handshake.query:
            wire.send_text(b"before")
            wire.close(4401, self.handshake.query["refuse"])
            wire.send_text(b"after")

    def received(self, message: bytes | str) -> None:
        self.messages.append(message)
        if message == "it is me":
            self.wire.trust()
        if message == "boom":
            raise RuntimeError("the door broke")
        if message == "bye":
            self.wire.close(4000, "bye")
            return
        if isinstance(message, str) and message.startswith("big"):
            self.wire.send_text(b"x" * int(message[3:]))
            return
        self.wire.send_text(message.encode() if isinstance(message, str) else message.hex().encode())

    def writable(self) -> None:
        self.writable_calls += 1

    def closed(self, code: int) -> None:
        self.codes.append(code)
        self.gone.set()


class _Server(uvicorn.Server):
    """uvicorn that tells when it accepts, stops at once when told to, and leaves signals alone."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.accepting, self.stopping = asyncio.Event(), asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.accepting.set()

    async def main_loop(self) -> None:
        await self.stopping.wait()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Running:
    """A server that accepts, and the doors that were opened on it."""

    def __init__(self, server: _Server, port: int, doors: list[EchoDoor]) -> None:
        self.server, self.port, self.doors = server, port, doors

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    def stop(self) -> None:
        self.server.stopping.set()


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[Running]:
    """uvicorn with an HTTP route and `/ws`, in this loop."""
    doors: list[EchoDoor] = []

    def door(handshake: Handshake) -> EchoDoor:
        doors.append(EchoDoor(handshake))
        return doors[-1]

    app = FastAPI()

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    listener = socket.create_server(("127.0.0.1", 0))
    ws = protocol_class(Settings(doors={"/ws": door}, **settings))
    config = uvicorn.Config(app, ws=ws, lifespan="off", log_config=None, timeout_graceful_shutdown=2)
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    await asyncio.wait_for(server.accepting.wait(), GUARD)
    try:
        yield Running(server, listener.getsockname()[1], doors)
    finally:
        server.stopping.set()
        await asyncio.wait_for(serving, GUARD)
        assert server.server_state.connections == set()


def request(path: str = "/ws", *headers: str, key: str = base64.b64encode(b"k" * 16).decode()) -> bytes:
    """A handshake request."""
    lines = [
        f"GET {path} HTTP/1.1", "Host: hub.example", "Upgrade: websocket", "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", *headers, "", "",
    ]  # fmt: skip
    return "\r\n".join(lines).encode("latin-1")


def frame(opcode: int, payload: bytes, *, fin: bool = True, mask: bytes | None = b"mask") -> bytes:
    """One frame of a client."""
    size, bit = len(payload), 0x80 if mask else 0
    head = bytes((opcode | (0x80 if fin else 0),))
    if size < 126:
        head += bytes((bit | size,))
    elif size < 65536:
        head += struct.pack("!BH", bit | 126, size)
    else:
        head += struct.pack("!BQ", bit | 127, size)
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


class Raw:
    """A client that sends what it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def response(self) -> tuple[int, dict[str, str], bytes]:
        head = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), GUARD)).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(head[0].split()[1]), headers, body

    async def frame(self) -> tuple[int, bytes]:
        async with asyncio.timeout(GUARD):
            head = await self.reader.readexactly(2)
            assert head[0] & 0x80
            assert not head[1] & 0x80
            size = head[1]
            if size == 126:
                (size,) = struct.unpack("!H", await self.reader.readexactly(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
            return head[0] & 15, await self.reader.readexactly(size)

    async def closed_with(self) -> tuple[int, str]:
        """Reads up to the Close frame."""
        while True:
            opcode, payload = await self.frame()
            if opcode == CLOSE:
                return int.from_bytes(payload[:2], "big"), payload[2:].decode()

    async def ended(self) -> bytes:
        """What comes until the server ends its side."""
        return await asyncio.wait_for(self.reader.read(), GUARD)


@asynccontextmanager
async def raw(hub: Running, path: str | None = "/ws") -> AsyncIterator[Raw]:
    """A raw client, its handshake done unless `path` is None."""
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    client = Raw(reader, writer)
    try:
        if path is not None:
            client.send(request(path))
            assert (await client.response())[0] == 101
        yield client
    finally:
        writer.transport.abort()


async def gone(door: EchoDoor) -> list[int]:
    """The codes that a door was closed with."""
    await asyncio.wait_for(door.gone.wait(), GUARD)
    await asyncio.sleep(0)
    return door.codes


async def until(condition: Callable[[], bool]) -> None:
    """Polls for what has no event of its own."""
    async with asyncio.timeout(GUARD):
        while not condition():  # noqa: ASYNC110  # what is waited for sets no event
            await asyncio.sleep(0.005)


async def refused(hub: Running, data: bytes) -> tuple[int, Any]:
    """The answer to a handshake that must not succeed."""
    async with raw(hub, None) as client:
        client.send(data)
        status, headers, body = await client.response()
        assert headers["content-type"] == "application/json"
        assert await client.ended() == b""
        return status, json.loads(body)


# opening


async def test_http_and_websocket_share_a_port() -> None:
    """HTTP still answers, before, beside and after WebSockets."""
    async with running() as hub, httpx.AsyncClient(base_url=f"http://127.0.0.1:{hub.port}") as http:
        assert (await http.get("/health")).json() == {"status": "ok"}
        async with connect(hub.url) as ws:
            await ws.send("hello")
            assert await ws.recv() == "hello"
            assert (await http.get("/health")).status_code == 200
        assert (await http.get("/ws")).status_code == 404


async def test_handshake_is_told_to_the_door() -> None:
    """A door gets the decoded path, the first value of each parameter, lower-case headers and the client's address."""
    async with running() as hub, connect(f"{hub.url}/?token=a%20b&token=c&x=", additional_headers={"X-One": "1"}):
        await until(lambda: bool(hub.doors))
        handshake = hub.doors[0].handshake
        assert handshake.path == "/ws/"
        assert handshake.query == {"token": "a b", "x": ""}
        assert handshake.headers["x-one"] == "1"
        assert handshake.client == "127.0.0.1"


async def test_no_compression_is_agreed() -> None:
    """A client that offers permessage-deflate does not get it: a frame made once must serve all."""
    async with running() as hub, raw(hub, None) as client:
        client.send(request("/ws", "Sec-WebSocket-Extensions: permessage-deflate"))
        status, headers, _ = await client.response()
        assert status == 101
        assert "sec-websocket-extensions" not in headers


async def test_an_unknown_path_is_a_404_in_the_contracts_shape() -> None:
    """The answer is the one of an unknown HTTP route; what is not ASCII in it does no harm."""
    async with running() as hub:
        shape = {"statusCode": 404, "error": "Not Found"}
        assert await refused(hub, request("/nope?token=t")) == (404, shape | {"message": "Cannot GET /nope"})
        assert await refused(hub, request("/%E4%B8%AD%ff")) == (404, shape | {"message": "Cannot GET /中�"})
        with pytest.raises(InvalidStatus):
            await connect(f"ws://127.0.0.1:{hub.port}/ws/other").__aenter__()
        assert hub.doors == []


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (request(key="short"), "Sec-WebSocket-Key"),
        (request().replace(b"Sec-WebSocket-Key: ", b"X-Key: "), "Sec-WebSocket-Key"),
        (request().replace(b"Version: 13", b"Version: 8"), "Sec-WebSocket-Version"),
        (request().replace(b"GET", b"POST"), "POST"),
        (request("/ws", "Content-Length: 3") + b"abc", "body"),
        (request("/ws", f"X-Long: {'x' * 9000}"), "too long"),
    ],
    ids=["bad-key", "no-key", "version", "method", "body", "long-header"],
)
async def test_a_bad_handshake_is_a_400_that_says_why(data: bytes, says: str) -> None:
    """The client learns what was wrong; no door is made."""
    async with running() as hub:
        status, body = await refused(hub, data)
        assert (status, body["statusCode"], body["error"]) == (400, 400, "Bad Request")
        assert body["message"].startswith("Not a WebSocket handshake: ")
        assert says in body["message"]
        assert hub.doors == []


async def test_a_foreign_origin_is_a_403() -> None:
    """With a list of origins, a page is let in when listed or of the same host; what is no browser always."""
    async with running(origins=frozenset({"https://console.example"})) as hub:
        assert await refused(hub, request("/ws", "Origin: https://evil.example")) == (
            403,
            {"statusCode": 403, "message": "Origin not allowed", "error": "Forbidden"},
        )
        for header in ("Origin: https://console.example", "Origin: https://hub.example", "X-None: 1"):
            async with raw(hub, None) as client:
                client.send(request("/ws", header))
                assert (await client.response())[0] == 101


def test_origins() -> None:
    """The rule of `Settings.origins`, with what a hostile page may say."""
    origins = frozenset({"https://console.example"})
    assert origin_allowed({"origin": "https://evil.example", "host": "hub"}, None)
    assert origin_allowed({"origin": "http://HUB:3101", "host": "hub:3101"}, origins)
    for origin in (
        "null",
        "",
        "http://hub:3102",
        "https://evil@hub:3101",
        "http://[::1",
        "https://console.example.evil",
    ):
        assert not origin_allowed({"origin": origin, "host": "hub:3101"}, origins)
    assert not origin_allowed({"origin": "null"}, origins)


def test_doors_by_path() -> None:
    """A slash at the end makes no difference, on either side."""
    doors = {"/ws": EchoDoor, "/socket.io/": EchoDoor}
    for path in ("/ws", "/ws/", "/socket.io", "/socket.io/"):
        assert door_of(doors, path) is EchoDoor
    for path in ("", "/", "/w", "/ws/x"):
        assert door_of(doors, path) is None


async def test_forwarded_for_counts_only_from_a_trusted_proxy() -> None:
    """The right-most hop that is no proxy of ours is the client; without a trusted proxy the header says nothing."""
    for trusted, client in ((frozenset({"127.0.0.1", "10.0.0.9"}), "8.8.8.8"), (frozenset[str](), "127.0.0.1")):
        headers = {"X-Forwarded-For": "1.2.3.4, 8.8.8.8, 10.0.0.9"}
        async with running(trusted_proxies=trusted) as hub, connect(hub.url, additional_headers=headers):
            assert hub.doors[0].handshake.client == client


async def test_a_refused_login_is_a_handshake_and_a_close_with_the_reason() -> None:
    """A door may close in `opened`: what it wrote before arrives, what after does not. A long reason is cut."""
    async with running() as hub:
        async with connect(f"{hub.url}?refuse=UNAUTHORIZED") as ws:
            assert await ws.recv() == "before"
            with pytest.raises(ConnectionClosed) as closed:
                await ws.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4401, "UNAUTHORIZED")
        assert await gone(hub.doors[0]) == [4401]
        async with raw(hub, f"/ws?refuse={'%E4%B8%AD' * 60}") as client:
            assert await client.closed_with() == (4401, "中" * 41)


async def test_a_door_that_cannot_be_made_is_a_500() -> None:
    """The client gets the contract's error, the log one line."""
    async with running() as hub:
        with structlog.testing.capture_logs() as logs:
            status, body = await refused(hub, request("/ws?broken=1"))
        assert (status, body["message"]) == (500, "Internal server error")
        assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["door failed"]


async def test_no_token_is_ever_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Not even at DEBUG, where websockets logs requests and frames."""
    caplog.set_level(logging.DEBUG)
    async with running() as hub, raw(hub, "/ws?token=s3cret") as client:
        client.send(frame(TEXT, b"s3cret"))
        assert await client.frame() == (TEXT, b"s3cret")
    assert "s3cret" not in caplog.text


# messages


async def test_text_and_binary_reach_the_door_as_str_and_bytes() -> None:
    """Text is str, binary is bytes, in order, with every size of length field."""
    async with running() as hub, connect(hub.url) as ws:
        for size in (0, 125, 126, 65535, 65536):
            await ws.send("é" * (size // 2) + "x" * (size % 2))
            assert len((await ws.recv()).encode()) == size  # type: ignore[union-attr]
        await ws.send(b"\x00\xff")
        assert await ws.recv() == "00ff"
        assert hub.doors[0].messages[-1] == b"\x00\xff"


async def test_fragments_become_one_message_with_a_ping_between_them() -> None:
    """A character may be cut in two; control frames between fragments are answered."""
    text = "中文".encode()
    async with running() as hub, raw(hub) as client:
        client.send(
            frame(TEXT, text[:1], fin=False) + frame(PING, b"hi") + frame(0, b"", fin=False) + frame(0, text[1:])
        )
        assert sorted([await client.frame(), await client.frame()]) == [(TEXT, text), (PONG, b"hi")]
        client.send(frame(BINARY, b"a", fin=False) + frame(0, b"b"))
        assert await client.frame() == (TEXT, b"6162")
        assert hub.doors[0].messages == ["中文", b"ab"]


async def test_frames_may_arrive_byte_by_byte() -> None:
    """Nothing depends on how TCP cuts the stream."""
    async with running() as hub, raw(hub) as client:
        client.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in frame(TEXT, b"slowly") + frame(PING, b"p") + frame(BINARY, b"x" * 200):
            client.send(bytes((byte,)))
            await asyncio.sleep(0)
        assert await client.frame() == (TEXT, b"slowly")
        assert await client.frame() == (PONG, b"p")
        assert await client.frame() == (TEXT, b"78" * 200)


async def test_a_message_of_exactly_the_limit_is_delivered() -> None:
    """1,000,000 bytes pass, in one frame and in fragments with a ping at the limit."""
    async with running() as hub, raw(hub) as client:
        client.send(frame(TEXT, b"x" * MAX_MESSAGE))
        assert await client.frame() == (TEXT, b"x" * MAX_MESSAGE)
        client.send(frame(TEXT, b"y" * MAX_MESSAGE, fin=False) + frame(PING, b"p" * 125) + frame(0, b""))
        assert sorted([len((await client.frame())[1]), len((await client.frame())[1])]) == [125, MAX_MESSAGE]
        assert [len(message) for message in hub.doors[0].messages] == [MAX_MESSAGE, MAX_MESSAGE]


BAD_FRAMES = {
    "too-big": (frame(TEXT, b"x" * (MAX_MESSAGE + 1)), 1009),
    "far-too-big": (b"\x81\xff" + (1 << 62).to_bytes(8, "big"), 1009),
    "too-big-in-fragments": (frame(TEXT, b"x" * 600_000, fin=False) + frame(0, b"x" * 400_001), 1009),
    "too-big-by-one-fragment": (frame(BINARY, b"x" * MAX_MESSAGE, fin=False) + frame(0, b"x"), 1009),
    "not-utf8": (frame(TEXT, b"\xff\xfe"), 1007),
    "not-utf8-surrogate": (frame(TEXT, b"\xed\xa0\x80"), 1007),
    "not-utf8-in-fragments": (frame(TEXT, b"\xe4", fin=False) + frame(0, b"x"), 1007),
    "unmasked": (frame(TEXT, b"x", mask=None), 1002),
    "opcode": (frame(3, b"x"), 1002),
    "reserved-bit": (frame(0x41, b"x"), 1002),
    "continuation-of-nothing": (frame(0, b"x"), 1002),
    "text-within-fragments": (frame(TEXT, b"x", fin=False) + frame(TEXT, b"x"), 1002),
    "long-ping": (frame(PING, b"x" * 126), 1002),
    "close-code": (frame(CLOSE, (1005).to_bytes(2, "big")), 1002),
    "close-of-one-byte": (frame(CLOSE, b"x"), 1002),
    "close-within-fragments": (frame(TEXT, b"x", fin=False) + frame(CLOSE, b"\x03\xe8"), 1002),
}


@pytest.mark.parametrize(("data", "code"), BAD_FRAMES.values(), ids=BAD_FRAMES)
async def test_a_bad_frame_closes_this_connection_alone(data: bytes, code: int) -> None:
    """What came before is answered, then the documented code, though more is sent; the door hears it once; others live on."""
    async with running() as hub, connect(hub.url) as other, raw(hub) as client:
        client.send(frame(TEXT, b"good") + data + frame(TEXT, b"never seen") * 1_000)
        assert await client.frame() == (TEXT, b"good")
        assert (await client.closed_with())[0] == code
        assert await client.ended() == b""
        assert await gone(hub.doors[1]) == [code]
        assert hub.doors[1].messages == ["good"]
        await other.send("alive")
        assert await other.recv() == "alive"


# closing


@pytest.mark.parametrize("payload", [b"\x03\xe8", b"\x0f\xa0why", b""])
async def test_a_clients_close_is_echoed_after_the_answers(payload: bytes) -> None:
    """The code is echoed, what came before it is answered, and the server ends the connection."""
    async with running() as hub, raw(hub) as client:
        client.send(frame(TEXT, b"last") + frame(CLOSE, payload) + frame(TEXT, b"late"))
        assert await client.frame() == (TEXT, b"last")
        assert await client.frame() == (CLOSE, payload)
        assert await client.ended() == b""
        assert await gone(hub.doors[0]) == [int.from_bytes(payload[:2], "big") or 1005]
        assert hub.doors[0].messages == ["last"]


async def test_a_close_by_the_door() -> None:
    """The rest of the read is not delivered, later writes are dropped, pings unanswered, and `closed` comes once."""
    async with running() as hub, raw(hub) as client:
        client.send(frame(TEXT, b"one") + frame(TEXT, b"bye") + frame(TEXT, b"two"))
        assert await client.frame() == (TEXT, b"one")
        assert await client.closed_with() == (4000, "bye")
        door = hub.doors[0]
        assert await gone(door) == [4000]
        door.wire.send_text(b"dropped")
        door.wire.close(4001)
        client.send(frame(PING, b"p") + frame(TEXT, b"three") + frame(CLOSE, b"\x0f\xa0"))
        assert await client.ended() == b""
        assert door.messages == ["one", "bye"]
        await until(lambda: not hub.server.server_state.connections)
        assert door.codes == [4000]


async def test_a_client_that_never_answers_a_close_is_cut_off() -> None:
    """However much it goes on sending."""
    async with running(close_timeout=0.1) as hub, raw(hub) as client:
        client.send(frame(TEXT, b"bye"))
        assert await client.closed_with() == (4000, "bye")
        async with asyncio.timeout(GUARD):
            while hub.server.server_state.connections:
                client.send(frame(PING, b"p"))
                await asyncio.sleep(0.01)


async def test_without_a_close_frame_the_code_is_1006() -> None:
    """A reset, and a client that hangs up; the half-closed one still gets its answers."""
    async with running() as hub:
        async with raw(hub) as client:
            pass
        assert await gone(hub.doors[0]) == [1006]
        async with raw(hub) as client:
            client.send(frame(TEXT, b"big300000"))
            client.writer.write_eof()
            assert len((await client.frame())[1]) == 300_000
            assert await client.ended() == b""
            assert await gone(hub.doors[1]) == [1006]


async def test_an_exception_in_a_door_closes_that_socket_with_1011() -> None:
    """One line in the log, one socket closed, the others served."""
    async with running() as hub, connect(hub.url) as other, connect(hub.url) as ws:
        with structlog.testing.capture_logs() as logs:
            await ws.send("boom")
            with pytest.raises(ConnectionClosed) as closed:
                await ws.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1011, "Internal error")
        (line,) = [entry for entry in logs if entry["log_level"] == "error"]
        assert (line["event"], line["path"], line["error"]) == ("door failed", "/ws", "RuntimeError: the door broke")
        assert await gone(hub.doors[1]) == [1011]
        await other.send("alive")
        assert await other.recv() == "alive"


async def test_shutdown_says_service_restart() -> None:
    """Every client gets 1012; one that does not answer holds nothing up."""
    async with running() as hub, connect(hub.url) as ws, raw(hub) as silent:
        hub.stop()
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(ws.recv(), GUARD)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1012, "Service restart")
        assert await silent.closed_with() == (1012, "Service restart")
        assert [await gone(door) for door in hub.doors] == [[1012], [1012]]
        await until(lambda: not hub.server.server_state.connections)


# time and pressure


async def test_a_client_that_pongs_lives_and_one_that_does_not_is_closed() -> None:
    """The ping comes at its interval; other traffic is no pong."""
    async with running(ping_interval=0.05, ping_timeout=0.5) as hub, raw(hub) as client:
        for _ in range(3):
            assert await client.frame() == (PING, b"")
            client.send(frame(PONG, b""))
        assert hub.doors[0].codes == []
        client.send(frame(TEXT, b"no pong"))
        assert await client.closed_with() == (1011, "No pong in time")
        assert await gone(hub.doors[0]) == [1011]


async def test_a_slow_reader_is_not_read_from_until_it_reads() -> None:
    """What it does not read piles up to a bound, however much it sends; then everything is answered, in order."""
    async with running() as hub, raw(hub) as client:
        count = 600
        client.send(frame(TEXT, b"big50000") * count)
        await until(lambda: bool(hub.doors[0].messages) and hub.doors[0].wire.buffered > HIGH_WATER)
        await asyncio.sleep(0.05)  # the loop turns, and nothing more happens
        door = hub.doors[0]
        answered = len(door.messages)
        assert answered < count
        assert door.wire.buffered < HIGH_WATER + 2 * 64 * 1024
        assert door.writable_calls == 0
        for _ in range(count):
            assert len((await client.frame())[1]) == 50_000
        assert len(door.messages) == count
        assert door.writable_calls > 0
        client.send(frame(TEXT, b"still here"))
        assert await client.frame() == (TEXT, b"still here")


async def test_a_client_that_never_reads_again_is_closed() -> None:
    """The pong that cannot be read counts as missing: nothing stays for ever."""
    async with running(ping_interval=0.05, ping_timeout=0.05, close_timeout=0.05) as hub, raw(hub) as client:
        client.send(frame(TEXT, b"big20000000"))
        await until(lambda: bool(hub.doors) and hub.doors[0].codes == [1011])
        await until(lambda: not hub.server.server_state.connections)


# single writes, on a transport that keeps them


class FakeTransport(asyncio.Transport):
    """Keeps writes; pauses the protocol when the test says that its buffer is full."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.writes: list[bytes] = []
        self.unsent = 0
        self.reading = True
        self.closed = False

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        pass

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def can_write_eof(self) -> bool:
        return False


@pytest.fixture
async def wired() -> AsyncIterator[tuple[WebSocketConnection, FakeTransport, EchoDoor]]:
    """An open connection whose handshake is forgotten."""
    doors: list[EchoDoor] = []

    def door(handshake: Handshake) -> EchoDoor:
        doors.append(EchoDoor(handshake))
        return doors[0]

    transport, connection = FakeTransport(), WebSocketConnection(Settings(doors={"/ws": door}), set())
    connection.connection_made(transport)
    connection.data_received(request())
    transport.writes.clear()
    yield connection, transport, doors[0]
    connection.connection_lost(None)


Wired = tuple[WebSocketConnection, FakeTransport, EchoDoor]


async def test_the_answers_of_one_read_are_one_write(wired: Wired) -> None:
    """Twenty requests in a read, twenty answers and a pong in a write."""
    connection, transport, _ = wired
    connection.data_received(b"".join(frame(TEXT, b"%d" % n) for n in range(20)) + frame(PING, b"p"))
    assert transport.writes == [b"".join(text_frame(b"%d" % n) for n in range(20)) + b"\x8a\x01p"]


async def test_writes_outside_a_read_leave_together_when_the_loop_turns(wired: Wired) -> None:
    """A push is kept back no longer than that; frames go out as they are, in order, also with what a read adds meanwhile."""
    connection, transport, _ = wired
    connection.send_frame(text_frame(b"push"))
    connection.send_text(b"text")
    assert transport.writes == []
    assert connection.buffered == len(text_frame(b"push") + text_frame(b"text"))
    await asyncio.sleep(0)
    assert transport.writes == [text_frame(b"push") + text_frame(b"text")]
    connection.send_text(b"push")
    connection.data_received(frame(TEXT, b"answer"))
    await asyncio.sleep(0)
    assert transport.writes[1:] == [text_frame(b"push") + text_frame(b"answer")]
    connection.send_text(b"again")
    await asyncio.sleep(0)
    assert transport.writes[2:] == [text_frame(b"again")]


async def test_writes_outside_a_read_do_not_pile_up_before_the_transport(wired: Wired) -> None:
    """More than the high-water mark, with what the socket has not taken, leaves at once: else nobody tells when it has left."""
    connection, transport, _ = wired
    transport.unsent = HIGH_WATER - 10
    connection.send_text(b"small")
    assert transport.writes == []
    connection.send_text(b"more")
    assert transport.writes == [text_frame(b"small") + text_frame(b"more")]


@pytest.mark.parametrize("end", ["close", "eof", "abort", "lost"])
async def test_what_was_pushed_before_the_end_leaves_or_is_dropped_in_peace(wired: Wired, end: str) -> None:
    """Before a Close, and to a client that ended its side, it is sent; a cut connection is left alone when the loop turns."""
    connection, transport, _ = wired
    connection.send_text(b"last")
    match end:
        case "close":
            connection.close(4000)
        case "eof":
            connection.eof_received()
        case "abort":
            connection.abort()
        case "lost":
            connection.connection_lost(None)
    await asyncio.sleep(0)
    sent = {"close": text_frame(b"last") + b"\x88\x02\x0f\xa0", "eof": text_frame(b"last")}
    assert b"".join(transport.writes) == sent.get(end, b"")


async def test_everybody_has_a_turn(wired: Wired) -> None:
    """Of many messages in one read, so many are handled; the others when the loop has come round, and nothing is read before."""
    connection, transport, door = wired
    connection.data_received(frame(TEXT, b"x") * (2 * TURN + 1))
    handled = [(len(door.messages), transport.reading)]
    for _ in range(1_000):
        await asyncio.sleep(0)
        if len(door.messages) != handled[-1][0]:
            handled.append((len(door.messages), transport.reading))
    assert handled == [(TURN, False), (2 * TURN, False), (2 * TURN + 1, True)]


async def test_a_read_is_parsed_in_slices(wired: Wired) -> None:
    """What nobody's door sees, as pings, costs the others no more than messages do; all of it is answered, in order."""
    connection, transport, door = wired
    count = 3 * SLICE // len(frame(PING, b"12"))
    connection.data_received(frame(PING, b"12") * count + frame(TEXT, b"end"))
    assert sum(map(len, transport.writes)) < len(frame(PONG, b"12", mask=None)) * count
    assert not transport.reading
    await until(lambda: door.messages == ["end"])
    assert b"".join(transport.writes) == frame(PONG, b"12", mask=None) * count + frame(TEXT, b"end", mask=None)
    assert transport.reading


async def test_a_stranger_who_says_who_it_is() -> None:
    """And goes on in the same breath with a message that only those who are known may send."""
    large = b"x" * (2 * STRANGER_MESSAGE)
    async with running() as hub, raw(hub, "/ws?stranger=1") as stranger:
        stranger.send(frame(TEXT, b"it is me") + frame(TEXT, large) + frame(TEXT, b"end"))
        assert [await stranger.frame() for _ in range(3)] == [(TEXT, b"it is me"), (TEXT, large), (TEXT, b"end")]


async def test_who_goes_on_while_it_closes(wired: Wired) -> None:
    """It is listened to for its Close alone, a slice now and then, however much it sends before."""
    connection, transport, door = wired
    connection.close(4000)
    connection.data_received(frame(TEXT, b"x" * 100) * 1_000 + frame(CLOSE, b"\x0f\xa0"))
    assert not transport.reading
    await until(lambda: transport.closed)
    assert door.messages == []


async def test_after_a_failure_nothing_is_read(wired: Wired) -> None:
    """Nor kept."""
    connection, transport, door = wired
    connection.data_received(b"\xff" + frame(TEXT, b"x") * SLICE)
    assert b"".join(transport.writes)[:4] == b"\x88" + transport.writes[0][1:2] + (1002).to_bytes(2, "big")
    connection.data_received(frame(TEXT, b"x") * SLICE)
    await asyncio.sleep(0)
    assert door.messages == []
    assert connection._unread == b""


async def test_messages_that_never_become_whole() -> None:
    """Of all clients together they are bounded; small messages always pass, and what is over is given back."""
    large, budget = frame(TEXT, b"x" * 100_000), Unfinished(most=110_000)
    async with running(unfinished=budget) as hub, raw(hub) as first, raw(hub) as second:
        first.send(large[:50_000])
        await until(lambda: budget.used > 40_000)
        second.send(large[:80_000])
        assert (await second.closed_with())[0] == 1013
        async with raw(hub) as third:
            third.send(frame(TEXT, b"y" * 10_000))
            assert await third.frame() == (TEXT, b"y" * 10_000)
        first.send(large[50_000:])
        assert (await first.frame())[1] == b"x" * 100_000
        second.writer.close()
        await until(lambda: budget.used == 0)


async def test_a_stranger_sends_little() -> None:
    """Until the door says whose connection it is, a message is small."""
    async with running() as hub, raw(hub, "/ws?stranger=1") as stranger:
        stranger.send(frame(TEXT, b"x" * STRANGER_MESSAGE))
        assert await stranger.frame() == (TEXT, b"x" * STRANGER_MESSAGE)
        stranger.send(frame(TEXT, b"x" * (STRANGER_MESSAGE + 1)))
        assert (await stranger.closed_with())[0] == 1009


async def test_who_is_held_has_to_wait(wired: Wired) -> None:
    """What it sent is looked at later, in order; a close in between is the end of it."""
    connection, transport, door = wired
    connection.hold(0.01)
    connection.data_received(frame(TEXT, b"x"))
    assert (door.messages, transport.reading) == ([], False)
    await until(lambda: bool(door.messages))
    assert transport.reading
    connection.hold(0.01)
    connection.close(4000)
    connection.hold(0.01)
    connection.data_received(frame(TEXT, b"y"))
    await asyncio.sleep(0.02)
    assert door.messages == ["x"]


async def test_what_was_read_waits_while_the_socket_is_full(wired: Wired) -> None:
    """Messages of a read that are not handled yet stay, in order, until the socket is writable; then the door hears both."""
    connection, transport, door = wired
    connection.pause_writing()
    assert not transport.reading
    connection.data_received(frame(TEXT, b"one") + frame(TEXT, b"two"))
    assert door.messages == []
    connection.resume_writing()
    assert transport.reading
    assert door.writable_calls == 1
    assert door.messages == ["one", "two"]
    assert transport.writes == [text_frame(b"one") + text_frame(b"two")]


async def test_a_large_answer_does_not_wait_for_the_end_of_the_read(wired: Wired) -> None:
    """Above the high-water mark the transport gets its chance, so that pressure shows within one read."""
    _, transport, _ = wired
    wired[0].data_received(frame(TEXT, b"big%d" % HIGH_WATER) + frame(TEXT, b"small"))
    assert transport.writes == [text_frame(b"x" * HIGH_WATER), text_frame(b"small")]


async def test_a_close_frame_read_behind_a_full_socket_is_answered_when_there_is_room(wired: Wired) -> None:
    """The messages before it come first, and the door is told after them."""
    connection, transport, door = wired
    connection.pause_writing()
    connection.data_received(frame(TEXT, b"one") + frame(CLOSE, b"\x03\xe8"))
    assert (door.codes, transport.closed) == ([], False)
    connection.resume_writing()
    assert b"".join(transport.writes) == text_frame(b"one") + b"\x88\x02\x03\xe8"
    assert (door.messages, door.codes, transport.closed) == (["one"], [1000], True)


async def test_buffered_counts_what_is_corked(wired: Wired) -> None:
    """A door that writes a lot in one read sees it pile up on what the socket has not taken."""
    connection, transport, door = wired
    transport.unsent = 7
    seen: list[int] = []

    def received(message: bytes | str) -> None:
        connection.send_frame(b"x" * 100)
        seen.append(connection.buffered)

    door.received = received  # type: ignore[method-assign]
    connection.data_received(frame(TEXT, b"") * 3)
    assert seen == [107, 207, 307]


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_text_frame(size: int) -> None:
    """The frame of RFC 6455, 5.2, unmasked, with the shortest length field."""
    framed = text_frame(b"x" * size)
    head = {0: b"\x81\x00", 125: b"\x81\x7d", 126: b"\x81\x7e\x00\x7e", 65535: b"\x81\x7e\xff\xff"}
    assert framed == head.get(size, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00") + b"x" * size
