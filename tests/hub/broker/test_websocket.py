"""`hub.broker.websocket` with real clients, raw sockets for what no client sends, on asyncio and on uvloop; and on a fake
transport where the order of things counts."""

import asyncio
import shutil
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from hub.broker import websocket
from hub.broker.websocket import HEAD_BYTES, WebSocketProtocol, WebSocketSettings, binary_frame
from hub.broker.wire import HIGH_WATER, LOW_WATER, Wire

GUARD = 10.0
"""Seconds after which a test that waits has failed."""
LIMIT = 100_000
NODE = Path(__file__).parents[2] / "node"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
pytestmark = pytest.mark.filterwarnings("ignore:Overriding the .event_loop_policy. fixture")


@pytest.fixture(params=["asyncio", "uvloop"])
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    """Every test runs on both loops: their transports differ where this module cares."""
    return uvloop.EventLoopPolicy() if request.param == "uvloop" else asyncio.DefaultEventLoopPolicy()


class FakeConnection:
    """Keeps what it is told; `answer` is what it does with what it receives."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.pieces: list[bytes] = []
        self.events: list[str] = []
        self.drained_calls = 0
        self.heard, self.gone = asyncio.Event(), asyncio.Event()
        self.answer: Callable[[bytes], None] = lambda data: None

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)

    def receive(self, data: bytes) -> None:
        assert type(data) is bytes
        self.events.append("receive")
        self.pieces.append(data)
        self.heard.set()
        self.answer(data)

    def drained(self) -> None:
        self.drained_calls += 1

    def lost(self) -> None:
        self.events.append("lost")
        self.gone.set()
        # a connection ends as it always does, and need not know that there is nobody left
        self.wire.send(b"dropped")
        assert self.wire.buffered() >= 0
        self.wire.pause()
        self.wire.resume()
        self.wire.close()

    async def until(self, data: bytes) -> None:
        """Waits until exactly this has come, since the start."""
        async with asyncio.timeout(GUARD):
            while len(self.data) < len(data):
                self.heard.clear()
                await self.heard.wait()
        assert self.data == data


class Running:
    """A port, and the connections that were made on it."""

    def __init__(self) -> None:
        self.port = 0
        self.connections: list[FakeConnection] = []
        self.transports: set[asyncio.Transport] = set()
        self.on_accept: Callable[[FakeConnection], None] = lambda connection: None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/mqtt"

    def accept(self, wire: Wire) -> FakeConnection:
        self.connections.append(FakeConnection(wire))
        self.on_accept(self.connections[-1])
        return self.connections[-1]

    def client(self, *subprotocols: str, **options: Any) -> connect:
        """A client of websockets, with what it offers; by default `mqtt`."""
        offered = [Subprotocol(name) for name in subprotocols or ("mqtt",)]
        return connect(self.url, subprotocols=offered, compression=None, **options)


@asynccontextmanager
async def running(*, tls: ssl.SSLContext | None = None, **settings: Any) -> AsyncIterator[Running]:
    """A listening port whose connections all end with it."""
    port, shared = Running(), WebSocketSettings(**({"max_message": LIMIT} | settings))
    server = await asyncio.get_running_loop().create_server(
        lambda: WebSocketProtocol(port.accept, shared, port.transports), "127.0.0.1", 0, ssl=tls
    )
    port.port = server.sockets[0].getsockname()[1]
    try:
        yield port
    finally:
        server.close()
        for transport in list(port.transports):
            transport.abort()
        async with asyncio.timeout(GUARD):
            while port.transports:  # noqa: ASYNC110  # what is waited for sets no event
                await asyncio.sleep(0.001)
        assert [connection.events.count("lost") for connection in port.connections] == [1] * len(port.connections)


def request(*headers: str, offer: str | None = "mqtt", path: str = "/mqtt") -> bytes:
    """A handshake request."""
    offered = [f"Sec-WebSocket-Protocol: {offer}"] if offer is not None else []
    lines = [
        f"GET {path} HTTP/1.1", "Host: hub.example", "Upgrade: websocket", "Connection: Upgrade",
        "Sec-WebSocket-Key: a2tra2tra2tra2tra2traw==", "Sec-WebSocket-Version: 13", *offered, *headers, "", "",
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

    async def response(self) -> tuple[int, dict[str, str], str]:
        head = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), GUARD)).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(head[0].split()[1]), headers, body.decode()

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

    async def closed_with(self) -> int:
        """Reads up to the Close frame."""
        while True:
            opcode, payload = await self.frame()
            if opcode == CLOSE:
                return int.from_bytes(payload[:2], "big")

    async def ended(self) -> bytes:
        """What comes until the server ends its side."""
        return await asyncio.wait_for(self.reader.read(), GUARD)


@asynccontextmanager
async def raw(port: Running, *, opened: bool = True) -> AsyncIterator[Raw]:
    """A raw client, its handshake done or not."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port.port)
    client = Raw(reader, writer)
    try:
        if opened:
            client.send(request())
            assert (await client.response())[0] == 101
        yield client
    finally:
        writer.transport.abort()


async def refused(port: Running, data: bytes) -> tuple[int, str]:
    """The answer to a handshake that must not succeed."""
    async with raw(port, opened=False) as client:
        client.send(data)
        status, _, body = await client.response()
        assert await client.ended() == b""
        assert port.connections == []
        return status, body


async def gone(connection: FakeConnection) -> None:
    await asyncio.wait_for(connection.gone.wait(), GUARD)


async def code_of(client: ClientConnection) -> int:
    """The code that the server closes with."""
    with pytest.raises(ConnectionClosed) as closed:
        await asyncio.wait_for(client.recv(), GUARD)
    return closed.value.rcvd.code if closed.value.rcvd else 1006


# opening


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [(("mqtt",), "mqtt"), (("mqttv3.1",), "mqttv3.1"), (("chat", "mqttv3.1", "mqtt"), "mqtt")],
)
async def test_the_answer_names_the_subprotocol(offered: tuple[str, ...], chosen: str) -> None:
    """The best that the client offers [MQTT-6.0.0-4]; the connection is told who it is."""
    async with running() as port, port.client(*offered) as client:
        assert client.subprotocol == chosen
        assert client.response is not None
        assert "Sec-WebSocket-Extensions" not in client.response.headers
        (connection,) = port.connections
        assert (connection.wire.client, connection.wire.certificate) == ("127.0.0.1", None)


async def test_any_path_is_mqtt() -> None:
    async with running() as port, raw(port, opened=False) as client:
        client.send(request(path="/some/where?x=1"))
        assert (await client.response())[0] == 101


async def test_no_compression_is_agreed() -> None:
    """A client that offers permessage-deflate does not get it."""
    async with running() as port, raw(port, opened=False) as client:
        client.send(request("Sec-WebSocket-Extensions: permessage-deflate"))
        status, headers, _ = await client.response()
        assert status == 101
        assert "sec-websocket-extensions" not in headers


@pytest.mark.parametrize("offer", [None, "chat", "MQTT"])
async def test_without_the_subprotocol_there_is_no_connection(offer: str | None) -> None:
    """[MQTT-6.0.0-3]"""
    async with running() as port:
        status, why = await refused(port, request(offer=offer))
        assert status == 400
        assert "subprotocol" in why


@pytest.mark.parametrize(
    ("data", "status", "says"),
    [
        (request().replace(b"Version: 13", b"Version: 8"), 400, "Sec-WebSocket-Version"),
        (request().replace(b"Upgrade: websocket\r\n", b""), 426, "Upgrade"),
        (request().replace(b"GET", b"POST"), 400, "POST"),
        (request("Content-Length: 3"), 400, "body"),
        (b"\x10\x0c\x00\x04MQTT\x04\x02\x00<\x00\x00\r\n\r\n", 400, "Not a WebSocket handshake"),
        (request(f"X-Long: {'x' * HEAD_BYTES}"), 431, "too large"),
        (request(*(f"X-{n}: {'x' * 100}" for n in range(100)))[:-2], 431, "too large"),
    ],
    ids=["version", "no-upgrade", "method", "body", "no-http", "large", "endless"],
)
async def test_a_bad_handshake_is_refused_with_the_reason(data: bytes, status: int, says: str) -> None:
    async with running() as port:
        answer, why = await refused(port, data)
        assert answer == status
        assert says in why


async def test_a_foreign_origin_is_refused() -> None:
    """With a list, a page is let in when listed; what is no browser always."""
    async with running(origins=frozenset({"https://pages.example"})) as port:
        assert (await refused(port, request("Origin: https://evil.example")))[0] == 403
        assert (await refused(port, request("Origin: null")))[0] == 403
        async with port.client(origin=Origin("https://pages.example")), port.client():
            assert len(port.connections) == 2
    async with running() as port, port.client(origin=Origin("https://any.example")):
        assert len(port.connections) == 1


async def test_a_client_without_a_handshake_is_cut_off() -> None:
    """Whether it says nothing or goes on and on."""
    async with running(open_within=0.1) as port, raw(port, opened=False) as silent, raw(port, opened=False) as slow:
        assert await silent.ended() == b""
        async with asyncio.timeout(GUARD):
            while port.transports:
                slow.send(b"x")
                await asyncio.sleep(0.001)
        assert port.connections == []


async def test_the_deadline_ends_with_the_handshake() -> None:
    async with running(open_within=0.5) as port, raw(port) as client:
        await asyncio.sleep(0.6)  # the deadline is past
        client.send(frame(BINARY, b"x"))
        await port.connections[0].until(b"x")


@pytest.mark.parametrize("cut", [1, 7, 100])
async def test_a_handshake_in_pieces(cut: int) -> None:
    """The head may be cut anywhere, and frames may come right behind it."""
    async with running() as port, raw(port, opened=False) as client:
        data = request() + frame(BINARY, b"early") + frame(PING, b"p")
        for at in range(0, len(data), cut):
            client.send(data[at : at + cut])
            await asyncio.sleep(0)
        assert (await client.response())[0] == 101
        assert await client.frame() == (PONG, b"p")
        await port.connections[0].until(b"early")


async def test_a_connection_may_be_refused_at_once() -> None:
    """What `accept` sends leaves after the answer to the handshake, and so does its close."""
    async with running() as port:

        def busy(connection: FakeConnection) -> None:
            connection.wire.send(b"busy")
            connection.wire.close()
            connection.wire.send(b"dropped")

        port.on_accept = busy
        async with port.client() as client:
            assert await client.recv() == b"busy"
            assert await code_of(client) == 1000
        await gone(port.connections[0])


# receiving and sending


async def test_packets_and_frames_need_not_match() -> None:
    """Several packets in a frame, a packet over several frames, and over the fragments of a message. [MQTT-6.0.0-2]"""
    async with running() as port, port.client() as client:
        await client.send(b"\xc0\x00\xc0\x00")
        await client.send(b"\x30")
        await client.send(b"")
        await client.send(b"\x03\x00\x01a")
        await client.send([b"\x30\x03", b"", b"\x00", b"\x01b"])
        (connection,) = port.connections
        await connection.until(b"\xc0\x00\xc0\x00\x30\x03\x00\x01a\x30\x03\x00\x01b")


async def test_fragments_are_handed_on_as_they_come() -> None:
    """Nobody waits for the end of a message; a ping between fragments is answered."""
    async with running() as port, raw(port) as client:
        client.send(frame(BINARY, b"one", fin=False) + frame(PING, b"p"))
        assert await client.frame() == (PONG, b"p")
        await port.connections[0].until(b"one")
        client.send(frame(0, b"two"))
        await port.connections[0].until(b"onetwo")


async def test_frames_of_one_read_are_one_piece() -> None:
    """The connection is called once for a read."""
    async with running() as port, raw(port) as client:
        client.send(b"".join(frame(BINARY, b"%d" % n) for n in range(10)))
        (connection,) = port.connections
        await connection.until(b"0123456789")
        assert connection.pieces == [b"0123456789"]


async def test_frames_cut_anywhere() -> None:
    async with running() as port, raw(port) as client:
        (connection,) = port.connections
        for byte in frame(BINARY, b"a" * 200) + frame(BINARY, b"b"):
            client.send(bytes((byte,)))
            await client.writer.drain()
            await asyncio.sleep(0)
        await connection.until(b"a" * 200 + b"b")


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 300_000])
async def test_one_send_is_one_message(size: int) -> None:
    """Of every size, and unmasked; a client of websockets reads it back."""
    async with running() as port, port.client() as client:
        port.connections[0].wire.send(b"x" * size)
        assert await client.recv() == b"x" * size


async def test_npm_mqtt_connects() -> None:
    """npm's mqtt: its CONNECT is answered, its PUBLISH arrives, its end is seen."""
    if shutil.which("node") is None or not (NODE / "node_modules" / "mqtt").exists():
        pytest.skip("node or npm's mqtt is not installed (npm --prefix tests/node ci)")
    page = """
        const client = require("mqtt").connect(process.argv[1], { reconnectPeriod: 0, clientId: "page" });
        client.on("connect", () => client.publish("a", "hello", () => client.end()));
    """
    async with running() as port:
        accepted = asyncio.Event()

        def connack(connection: FakeConnection) -> None:
            accepted.set()
            connection.answer = lambda data: connection.wire.send(b"\x20\x02\0\0") if data[0] == 0x10 else None

        port.on_accept = connack
        process = await asyncio.create_subprocess_exec("node", "-e", page, port.url, cwd=NODE)
        try:
            await asyncio.wait_for(accepted.wait(), 3 * GUARD)
            (connection,) = port.connections
            await gone(connection)
            assert connection.data.endswith(b"\x30\x08\0\x01ahello\xe0\0")
            assert await asyncio.wait_for(process.wait(), GUARD) == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


# what is not allowed


@pytest.mark.parametrize("fin", [True, False])
async def test_a_text_frame_ends_the_connection(fin: bool) -> None:
    """With 1003 [MQTT-6.0.0-1]; what came before it counts, what comes after it does not."""
    async with running() as port, raw(port) as client:
        client.send(frame(BINARY, b"before") + frame(TEXT, b"text", fin=fin) + frame(BINARY, b"after") * fin)
        assert await client.closed_with() == 1003
        assert await client.ended() == b""
        (connection,) = port.connections
        await gone(connection)
        assert connection.data == b"before"
        assert connection.events == ["receive", "lost"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(BINARY, b"x" * (LIMIT + 1)), 1009),
        (frame(BINARY, b"x" * LIMIT, fin=False) + frame(0, b"y"), 1009),
        (frame(BINARY, b"x", mask=None), 1002),
        (frame(0, b"x"), 1002),
        (frame(3, b"x"), 1002),
        (frame(PING, b"x" * 126), 1002),
    ],
    ids=["too-big", "fragments-too-big", "unmasked", "continuation", "opcode", "long-ping"],
)
async def test_a_broken_frame_ends_the_connection(data: bytes, code: int) -> None:
    """What came before it is handed on."""
    async with running() as port, raw(port) as client:
        client.send(frame(BINARY, b"ok") + data)
        assert await client.closed_with() == code
        assert await client.ended() == b""
        (connection,) = port.connections
        await gone(connection)
        assert connection.data.startswith(b"ok")
        assert len(connection.data) <= LIMIT + 2


async def test_the_largest_message_is_allowed() -> None:
    async with running() as port, port.client() as client:
        await client.send(b"x" * LIMIT)
        await port.connections[0].until(b"x" * LIMIT)


# closing


async def test_a_client_that_closes_is_answered() -> None:
    """Its last packets come first, the answers to them too; its code comes back."""
    async with running() as port, raw(port) as client:
        (connection,) = port.connections
        connection.answer = lambda data: connection.wire.send(b"answer to " + data)
        client.send(frame(BINARY, b"bye") + frame(CLOSE, b"\x03\xe9") + frame(BINARY, b"after"))
        assert await client.frame() == (BINARY, b"answer to bye")
        assert await client.frame() == (CLOSE, b"\x03\xe9")
        assert await client.ended() == b""
        await gone(connection)
        assert (connection.data, connection.events) == (b"bye", ["receive", "lost"])
        connection.wire.send(b"nothing happens")
        connection.wire.close()
        connection.wire.abort()


async def test_close_sends_what_was_sent() -> None:
    """All of it, then 1000; what comes meanwhile is not looked at, and `lost` comes when the client has answered."""
    async with running() as port, raw(port) as client:
        (connection,) = port.connections
        connection.wire.send(b"x" * 3_000_000)
        connection.wire.close()
        connection.wire.close()
        assert connection.events == []
        client.send(frame(BINARY, b"late") + frame(PING, b"p"))
        assert len((await client.frame())[1]) == 3_000_000
        assert await client.frame() == (CLOSE, b"\x03\xe8")
        assert connection.events == []
        client.send(frame(CLOSE, b"\x03\xe8"))
        assert await client.ended() == b""
        await gone(connection)
        assert connection.events == ["lost"]


async def test_close_from_within_a_read() -> None:
    """Also when the client's own Close came with it."""
    async with running() as port:
        for close in (b"", frame(CLOSE, b"\x03\xe8")):
            async with raw(port) as client:
                connection = port.connections[-1]
                connection.answer = lambda data, wire=connection.wire: wire.close()  # type: ignore[misc]  # mypy and defaults
                client.send(frame(PING, b"p") + frame(BINARY, b"x") + close)
                assert await client.closed_with() == 1000
                client.send(frame(CLOSE, b"\x03\xe8") if not close else b"")
                assert await client.ended() == b""
                await gone(connection)


async def test_close_while_paused() -> None:
    """The client's answer is read all the same."""
    async with running() as port, port.client() as client:
        connection = port.connections[0]
        connection.wire.pause()
        connection.wire.close()
        assert await code_of(client) == 1000
        await gone(connection)


@pytest.mark.parametrize("reads", [True, False])
async def test_a_client_that_never_answers_a_close_is_cut_off(monkeypatch: pytest.MonkeyPatch, reads: bool) -> None:
    """Neither the one that does not answer nor the one that does not even read."""
    monkeypatch.setattr(websocket, "CLOSE_WITHIN", 0.1)
    async with running() as port, raw(port) as client:
        (connection,) = port.connections
        connection.wire.send(b"x" if reads else b"x" * 20_000_000)
        connection.wire.close()
        if reads:
            assert await client.closed_with() == 1000
        await gone(connection)


async def test_abort_sends_nothing_more() -> None:
    """`lost` comes, but not from within the call; what follows in the same read is not looked at."""
    async with running() as port, raw(port) as client:
        (connection,) = port.connections

        def cut(data: bytes) -> None:
            connection.wire.abort()
            assert connection.events == ["receive"]
            connection.wire.send(b"dropped")

        connection.answer = cut
        client.send(frame(BINARY, b"x") + frame(PING, b"p") + frame(TEXT, b"t"))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.frame()
        await gone(connection)


async def test_a_client_that_vanishes_is_lost() -> None:
    """By a reset, and by hanging up; the half-closed one still gets its answers."""
    async with running() as port:
        async with raw(port):
            pass
        await gone(port.connections[0])
        async with raw(port) as client:
            connection = port.connections[1]
            connection.answer = lambda data: connection.wire.send(b"x" * 300_000)
            client.send(frame(BINARY, b"x"))
            client.writer.write_eof()
            assert len((await client.frame())[1]) == 300_000
            assert await client.ended() == b""
            await gone(connection)


async def test_a_client_that_hangs_up_and_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is lost at once, and its socket does not stay for what it will never take."""
    async with running() as port, raw(port) as client:
        (connection,) = port.connections
        connection.wire.send(b"x" * 20_000_000)
        client.writer.write_eof()
        await gone(connection)
        assert port.transports
    monkeypatch.setattr(websocket, "CLOSE_WITHIN", 0.1)
    async with running() as port, raw(port) as client:
        port.connections[0].wire.send(b"x" * 20_000_000)
        client.writer.write_eof()
        async with asyncio.timeout(GUARD):
            while port.transports:  # noqa: ASYNC110  # what is waited for sets no event
                await asyncio.sleep(0.001)


# pressure


async def test_a_paused_client_is_not_read() -> None:
    """Until the connection goes on; twice is once."""
    async with running() as port, raw(port) as client:
        (connection,) = port.connections
        connection.wire.pause()
        connection.wire.pause()
        client.send(frame(BINARY, b"x" * 50_000))
        await client.writer.drain()
        await asyncio.sleep(0.05)  # the loop turns, and nothing comes
        assert connection.pieces == []
        connection.wire.resume()
        connection.wire.resume()
        await connection.until(b"x" * 50_000)


async def test_drained_comes_when_a_slow_client_has_read() -> None:
    """`buffered` tells what waits; reading goes on meanwhile."""
    async with running() as port, raw(port) as client:
        (connection,) = port.connections
        size = 20_000_000
        connection.wire.send(b"x" * size)
        assert connection.wire.buffered() > HIGH_WATER
        client.send(frame(BINARY, b"still heard"))
        await connection.until(b"still heard")
        assert connection.drained_calls == 0
        assert len((await client.frame())[1]) == size
        async with asyncio.timeout(GUARD):
            while not connection.drained_calls:  # noqa: ASYNC110  # what is waited for sets no event
                await asyncio.sleep(0.001)
        assert connection.wire.buffered() == 0


class FakeTransport(asyncio.Transport):
    """Keeps writes."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert (high, low) == (HIGH_WATER, LOW_WATER)

    def resume_reading(self) -> None:
        pass

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


async def test_pings_of_a_client_that_does_not_read_pile_up_nothing() -> None:
    """When there is room again, the last is answered, before the connection hears of it. [RFC 6455, 5.5.3]"""
    transport, connections = FakeTransport(), list[FakeConnection]()

    def accept(wire: Wire) -> FakeConnection:
        connections.append(FakeConnection(wire))
        return connections[0]

    protocol = WebSocketProtocol(accept, WebSocketSettings(max_message=LIMIT), set())
    protocol.connection_made(transport)
    protocol.data_received(request())
    transport.writes.clear()
    protocol.data_received(frame(PING, b"1") + frame(PING, b"2"))
    assert transport.writes == [b"\x8a\x011\x8a\x012"]
    protocol.pause_writing()
    for n in (3, 4, 5):
        protocol.data_received(frame(PING, b"%d" % n))
    assert len(transport.writes) == 1
    protocol.resume_writing()
    assert transport.writes[1:] == [b"\x8a\x015"]
    assert connections[0].drained_calls == 1
    protocol.pause_writing()
    protocol.data_received(frame(CLOSE, b"\x03\xe8"))
    assert transport.writes[2:] == [b"\x88\x02\x03\xe8"]
    assert transport.closed
    protocol.resume_writing()
    protocol.connection_lost(None)
    assert connections[0].drained_calls == 1


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_binary_frame(size: int) -> None:
    """The frame of RFC 6455, 5.2, unmasked, with the shortest length field."""
    head = {0: b"\x82\x00", 125: b"\x82\x7d", 126: b"\x82\x7e\x00\x7e", 65535: b"\x82\x7e\xff\xff"}
    expected = head.get(size, b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00") + b"x" * size
    assert binary_frame(b"x" * size) == expected


# TLS


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 that is its own authority, and its key, in one file."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "st-1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = tmp_path / "both.pem"
    path.write_bytes(pem + made.public_bytes(serialization.Encoding.PEM))
    return path


async def test_tls_with_a_client_certificate(certificate: Path) -> None:
    """Over wss:// the connection sees the certificate; data, text refusal and close work as without."""
    server, client_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for context in (server, client_side):
        context.load_cert_chain(certificate)
        context.load_verify_locations(certificate)
    server.verify_mode, client_side.check_hostname = ssl.CERT_REQUIRED, False
    offered = [Subprotocol("mqtt")]
    async with running(tls=server) as port:
        url = port.url.replace("ws:", "wss:")
        async with connect(url, ssl=client_side, subprotocols=offered) as client:
            (connection,) = port.connections
            assert connection.wire.certificate is not None
            assert connection.wire.certificate["subject"] == ((("commonName", "st-1"),),)
            await client.send(b"x" * 50_000)
            await connection.until(b"x" * 50_000)
            connection.wire.send(b"y" * 200_000)
            connection.wire.close()
            assert await client.recv() == b"y" * 200_000
            assert await code_of(client) == 1000
        await gone(connection)
        async with connect(url, ssl=client_side, subprotocols=offered) as client:
            await client.send("text")
            assert await code_of(client) == 1003
        with pytest.raises(InvalidStatus) as status:
            async with connect(url, ssl=client_side):
                pass
        assert status.value.response.status_code == 400
