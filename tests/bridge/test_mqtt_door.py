"""`bridge.mqtt_door` on `bridge.connection`: under a real uvicorn with a client of websockets, and on a fake transport where
single writes and the order of things count."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
import uvicorn
import uvloop
from fastapi import FastAPI
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from bridge.connection import HIGH_WATER, Settings, WebSocketConnection, protocol_class
from bridge.door import Door, Handshake, Socket
from bridge.handshake import choose_subprotocol
from bridge.mqtt_door import MqttDoor
from hub.broker.websocket import binary_frame
from hub.broker.wire import Wire

GUARD = 10.0
"""Seconds after which a test that waits has failed."""
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
pytestmark = pytest.mark.filterwarnings("ignore:Overriding the .event_loop_policy. fixture")


@pytest.fixture(params=["asyncio", "uvloop"])
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    """Every test runs on both loops."""
    return uvloop.EventLoopPolicy() if request.param == "uvloop" else asyncio.DefaultEventLoopPolicy()


class FakeConnection:
    """Keeps what it is told; `answer` is what it does with what it receives."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.pieces: list[bytes] = []
        self.events: list[str] = []
        self.heard, self.has_drained, self.gone = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.answer: Callable[[bytes], None] = lambda data: None

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)

    def receive(self, data: bytes) -> None:
        assert type(data) is bytes
        self.pieces.append(data)
        self.events.append("receive")
        self.heard.set()
        self.answer(data)

    def drained(self) -> None:
        self.events.append("drained")
        self.has_drained.set()

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


class PlainDoor(Door):
    """A door that knows nothing of subprotocols."""

    def __init__(self, handshake: Handshake) -> None:
        self.codes: list[int] = []

    def opened(self, wire: Socket) -> None:
        wire.send_text(b"hello")

    def received(self, message: bytes | str) -> None:
        pass

    def writable(self) -> None:
        pass

    def closed(self, code: int) -> None:
        self.codes.append(code)


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
    """A server with `/mqtt` and `/ws`, and the connections made on `/mqtt`."""

    def __init__(self, port: int, connections: list[FakeConnection]) -> None:
        self.port, self.connections = port, connections

    def client(self, *offered: str, path: str = "/mqtt", **options: Any) -> connect:
        subprotocols = [Subprotocol(name) for name in offered] or None
        return connect(f"ws://127.0.0.1:{self.port}{path}", subprotocols=subprotocols, compression=None, **options)


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[Running]:
    connections: list[FakeConnection] = []

    def accept(wire: Wire) -> FakeConnection:
        connections.append(FakeConnection(wire))
        return connections[-1]

    listener = socket.create_server(("127.0.0.1", 0))
    doors = {"/mqtt": lambda handshake: MqttDoor(accept, handshake), "/ws": PlainDoor}
    ws = protocol_class(Settings(doors=doors, **settings))
    config = uvicorn.Config(FastAPI(), ws=ws, lifespan="off", log_config=None, timeout_graceful_shutdown=2)
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    await asyncio.wait_for(server.accepting.wait(), GUARD)
    try:
        yield Running(listener.getsockname()[1], connections)
    finally:
        server.stopping.set()
        await asyncio.wait_for(serving, GUARD)
        assert [connection.events.count("lost") for connection in connections] == [1] * len(connections)


async def code_of(client: Any) -> int:
    """The code that the server closes with."""
    with pytest.raises(ConnectionClosed) as closed:
        await asyncio.wait_for(client.recv(), GUARD)
    return closed.value.rcvd.code if closed.value.rcvd else 1006


# under uvicorn


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [(("mqtt",), "mqtt"), (("mqttv3.1",), "mqttv3.1"), (("chat", "mqttv3.1", "mqtt"), "mqtt")],
)
async def test_the_answer_names_the_subprotocol(offered: tuple[str, ...], chosen: str) -> None:
    """The best that the client offers [MQTT-6.0.0-4]; the connection is told who it is."""
    async with running() as hub, hub.client(*offered) as client:
        assert client.subprotocol == chosen
        (connection,) = hub.connections
        assert (connection.wire.client, connection.wire.certificate) == ("127.0.0.1", None)


@pytest.mark.parametrize("offered", [(), ("chat",), ("MQTT",)])
async def test_without_the_subprotocol_there_is_no_connection(offered: tuple[str, ...]) -> None:
    """[MQTT-6.0.0-3], in the contract's error shape."""
    async with running() as hub:
        with pytest.raises(InvalidStatus) as refused:
            async with hub.client(*offered):
                pass
        response = refused.value.response
        assert response.status_code == 400
        assert json.loads(response.body or b"") == {
            "statusCode": 400,
            "message": "MQTT needs the subprotocol mqtt or mqttv3.1",
            "error": "Bad Request",
        }
        assert hub.connections == []


async def test_other_doors_choose_no_subprotocol() -> None:
    async with running() as hub, hub.client("mqtt", path="/ws") as client:
        assert await client.recv() == "hello"
        assert client.subprotocol is None


async def test_packets_and_messages_need_not_match() -> None:
    """Several packets in a message, a packet over several, and over fragments [MQTT-6.0.0-2]; one send is one message."""
    async with running() as hub, hub.client("mqtt") as client:
        (connection,) = hub.connections
        await client.send(b"\xc0\x00\xc0\x00")
        await client.send(b"\x30")
        await client.send(b"\x03\x00\x01a")
        await client.send([b"\x30\x03", b"", b"\x00", b"\x01b"])
        await connection.until(b"\xc0\x00\xc0\x00\x30\x03\x00\x01a\x30\x03\x00\x01b")
        for size in (2, 200, 70_000):
            connection.wire.send(b"x" * size)
            assert await client.recv() == b"x" * size


@pytest.mark.parametrize("message", ["text", ["te", "xt"]])
async def test_a_text_message_ends_the_connection(message: str | list[str]) -> None:
    """With 1003. [MQTT-6.0.0-1]"""
    async with running() as hub, hub.client("mqtt") as client:
        (connection,) = hub.connections
        await client.send(b"before")
        await client.send(message)
        assert await code_of(client) == 1003
        await asyncio.wait_for(connection.gone.wait(), GUARD)
        assert connection.events == ["receive", "lost"]


async def test_a_message_over_the_limit_ends_the_connection() -> None:
    """One of the limit's size is taken, in one frame or in two."""
    async with running(max_message=1000) as hub, hub.client("mqtt") as client:
        (connection,) = hub.connections
        await client.send(b"x" * 1000)
        await client.send([b"x" * 500, b"x" * 500])
        await connection.until(b"x" * 2000)
        await client.send(b"x" * 1001)
        assert await code_of(client) == 1009
        assert connection.data == b"x" * 2000


async def test_close_sends_what_was_sent() -> None:
    """Then 1000; the connection hears that it is lost, once, and not from within the call."""
    async with running() as hub, hub.client("mqtt", max_size=None) as client:
        (connection,) = hub.connections
        connection.wire.send(b"x" * 1_000_000)
        connection.wire.close()
        assert connection.events == []
        connection.wire.send(b"dropped")
        assert len(await client.recv()) == 1_000_000
        assert await code_of(client) == 1000
        await asyncio.wait_for(connection.gone.wait(), GUARD)
        assert "receive" not in connection.events


async def test_close_while_paused() -> None:
    """The client's answer is read all the same."""
    async with running() as hub, hub.client("mqtt") as client:
        (connection,) = hub.connections
        connection.wire.pause()
        connection.wire.close()
        assert await code_of(client) == 1000
        await asyncio.wait_for(client.wait_closed(), GUARD / 2)


async def test_abort_cuts_the_connection() -> None:
    async with running() as hub, hub.client("mqtt") as client:
        (connection,) = hub.connections

        def cut(data: bytes) -> None:
            connection.wire.send(b"dropped")
            connection.wire.abort()
            assert connection.events == ["receive"]

        connection.answer = cut
        await client.send(b"x")
        assert await code_of(client) == 1006
        await asyncio.wait_for(connection.gone.wait(), GUARD)
        connection.wire.send(b"nothing happens")
        connection.wire.close()
        connection.wire.resume()


async def test_a_client_that_goes_is_lost() -> None:
    async with running() as hub:
        async with hub.client("mqtt") as client:
            await client.send(b"bye")
        (connection,) = hub.connections
        await asyncio.wait_for(connection.gone.wait(), GUARD)
        assert (connection.data, connection.events) == (b"bye", ["receive", "lost"])


async def test_a_paused_client_is_not_read() -> None:
    """Until the connection goes on; no pong is missed that waits unread."""
    async with running(ping_interval=0.05, ping_timeout=0.5) as hub, hub.client("mqtt") as client:
        (connection,) = hub.connections
        connection.wire.pause()
        connection.wire.pause()
        await client.send(b"x" * 50_000)
        await asyncio.sleep(0.8)  # pings go unanswered, and nothing comes
        assert connection.events == []
        connection.wire.resume()
        await connection.until(b"x" * 50_000)


async def test_drained_comes_when_a_slow_client_has_read() -> None:
    async with running() as hub, hub.client("mqtt", max_size=None) as client:
        (connection,) = hub.connections
        connection.wire.send(b"x" * 20_000_000)
        assert connection.wire.buffered() > HIGH_WATER
        assert len(await client.recv()) == 20_000_000
        await asyncio.wait_for(connection.has_drained.wait(), GUARD)
        assert connection.wire.buffered() == 0


# single writes, on a transport that keeps them


class FakeTransport(asyncio.Transport):
    """Keeps writes."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.writes: list[bytes] = []
        self.reading = True

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        pass

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        self.writes.append(b"aborted")


def frame(payload: bytes) -> bytes:
    """A short binary frame of a client."""
    return struct.pack("!BB", 0x80 | BINARY, 0x80 | len(payload)) + bytes(4) + payload


Wired = tuple[WebSocketConnection, FakeTransport, FakeConnection]


@pytest.fixture
async def wired() -> AsyncIterator[Wired]:
    """An open connection whose handshake is forgotten."""
    connections: list[FakeConnection] = []

    def accept(wire: Wire) -> FakeConnection:
        connections.append(FakeConnection(wire))
        return connections[0]

    doors = {"/mqtt": lambda handshake: MqttDoor(accept, handshake)}
    transport, socket_ = (
        FakeTransport(),
        WebSocketConnection(Settings(doors=doors, ping_interval=0.1, ping_timeout=0.1), set()),
    )
    socket_.connection_made(transport)
    lines = [
        "GET /mqtt HTTP/1.1", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: a2tra2tra2tra2tra2traw==", "Sec-WebSocket-Protocol: mqtt", "", "",
    ]  # fmt: skip
    socket_.data_received("\r\n".join(lines).encode())
    transport.writes.clear()
    yield socket_, transport, connections[0]
    socket_.connection_lost(None)
    assert connections[0].events.count("lost") == 1


async def test_the_answers_of_one_read_are_one_write(wired: Wired) -> None:
    socket_, transport, connection = wired
    connection.answer = connection.wire.send
    socket_.data_received(frame(b"1") + frame(b"22"))
    assert transport.writes == [binary_frame(b"1") + binary_frame(b"22")]


async def test_reading_goes_on_when_nobody_stops_it(wired: Wired) -> None:
    """The connection may have paused, the socket may be full; what was read while paused still comes."""
    socket_, transport, connection = wired
    connection.answer = lambda data: connection.wire.pause()
    socket_.data_received(frame(b"1") + frame(b"2"))
    assert connection.data == b"12"
    assert not transport.reading
    socket_.pause_writing()
    connection.wire.resume()
    assert not transport.reading
    connection.wire.pause()
    socket_.resume_writing()
    assert connection.events[-1] == "drained"
    assert not transport.reading
    connection.wire.resume()
    assert transport.reading


async def test_abort_drops_what_was_to_leave_with_the_read(wired: Wired) -> None:
    socket_, transport, connection = wired

    def cut(data: bytes) -> None:
        connection.wire.send(b"dropped")
        connection.wire.abort()

    connection.answer = cut
    socket_.data_received(frame(b"1") + frame(b"2"))
    assert transport.writes == [b"aborted"]
    assert connection.events == ["receive"]


async def test_a_pong_may_wait_behind_what_was_not_read(wired: Wired) -> None:
    """After a pause the client has until the next ping."""
    _, transport, connection = wired
    async with asyncio.timeout(GUARD):
        for pings in (1, 2):
            while len(transport.writes) < pings:  # noqa: ASYNC110  # what is waited for sets no event
                await asyncio.sleep(0.001)
            connection.wire.pause()
            connection.wire.resume()
    assert transport.writes == [b"\x89\x00"] * 2


@pytest.mark.parametrize(
    ("offered", "chosen"), [("mqtt", "mqtt"), ("a,b , mqttv3.1", "mqttv3.1"), ("", None), ("mqtt5, xmqtt", None)]
)
def test_choose_subprotocol(offered: str, chosen: str | None) -> None:
    assert choose_subprotocol({"sec-websocket-protocol": offered}, ("mqtt", "mqttv3.1")) == chosen
    assert choose_subprotocol({}, ("mqtt", "mqttv3.1")) is None
