"""The clients of both doors, where a hub or a user misbehaves: resets, sockets that are not read, nonsense, kicks."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from websockets.asyncio.server import ServerConnection, serve

from devices.door import ConnectionLost, DoorClient
from devices.operator import Operator, Refused, RequestFailed
from devices.page import Page

GUARD = 10.0

Script = Callable[[ServerConnection], Awaitable[None]]


class Native:
    """How the native door says things."""

    client: type[DoorClient] = Operator

    async def welcome(self, socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send('{"event":"welcome","data":{"peerId":"me","heartbeat":25}}')

    def push(self, event: str, data: Any) -> str:
        return orjson.dumps({"event": event, "data": data}).decode()

    async def request(self, socket: ServerConnection) -> tuple[int, Any]:
        frame = orjson.loads(await socket.recv())
        return frame["id"], frame["data"]

    def ack(self, number: int, value: Any) -> str:
        return orjson.dumps({"id": number, "ack": value}).decode()

    def failure(self, number: int, error: str, detail: str) -> str:
        return orjson.dumps({"id": number, "error": error, "detail": detail}).decode()

    nonsense = ("{", "[]", "7", "null", '{"id":1}', '{"id":"x","ack":1}', '{"event":7}', '{"ack":1}', "{" * 5_000)


class SocketIo:
    """How the Socket.IO door says things."""

    client: type[DoorClient] = Page

    async def welcome(self, socket: ServerConnection) -> None:
        await socket.send('0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}')
        await socket.recv()
        await socket.send('40{"sid":"me"}')

    def push(self, event: str, data: Any) -> str:
        return "42" + orjson.dumps([event, data]).decode()

    async def request(self, socket: ServerConnection) -> tuple[int, Any]:
        packet = str(await socket.recv())
        start = packet.index("[")
        return int(packet[2:start]), orjson.loads(packet[start:])[1]

    def ack(self, number: int, value: Any) -> str:
        return f"43{number}" + orjson.dumps([] if value is None else [value]).decode()

    def failure(self, number: int, error: str, detail: str) -> str:
        return f"43{number}" + orjson.dumps([{"error": error, "detail": detail}]).decode()

    nonsense = (
        "",
        "9",
        "42",
        "42{",
        "42[]",
        "42[7]",
        "43[1]",
        "431",
        '431{"a":1}',
        "42/admin,[]",
        "45",
        "42" + "[" * 5_000,
    )


@pytest.fixture(params=[Native(), SocketIo()], ids=["native", "socketio"])
def door(request: pytest.FixtureRequest) -> Native | SocketIo:
    """Either."""
    found: Native | SocketIo = request.param
    return found


@asynccontextmanager
async def hub(script: Script) -> AsyncIterator[str]:
    """A hub that does what `script` says with each connection; gives its address."""
    failed: list[BaseException] = []

    async def connection(socket: ServerConnection) -> None:
        try:
            await script(socket)
        except Exception as error:
            failed.append(error)
            raise

    async with serve(connection, "127.0.0.1", 0, compression=None) as server:
        yield f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
    assert not failed


async def test_a_request_has_its_ack_and_an_error_its_detail(door: Native | SocketIo) -> None:
    """A value, nothing, and an error, in whatever order they come."""

    async def script(socket: ServerConnection) -> None:
        await door.welcome(socket)
        asked = [await door.request(socket) for _ in range(3)]
        for number, data in reversed(asked):
            answer = door.failure(number, "NOT_FOUND: x", "said") if data == 2 else door.ack(number, data)
            await socket.send(answer)
        await socket.wait_closed()

    async with hub(script) as url, door.client(url, token="t", timeout=GUARD) as client:
        assert client.peer_id == "me"
        one, nothing, failed = await asyncio.gather(
            *(client.request("e", data) for data in (1, None, 2)), return_exceptions=True
        )
    assert (one, nothing) == (1, None)
    assert isinstance(failed, RequestFailed)
    assert (failed.error, failed.detail) == ("NOT_FOUND: x", "said")


async def test_nonsense_is_told_and_the_connection_goes_on(door: Native | SocketIo) -> None:
    """Whatever a hub sends, what follows is still read."""
    told = 0

    def malformed() -> None:
        nonlocal told
        told += 1

    async def script(socket: ServerConnection) -> None:
        await door.welcome(socket)
        for message in door.nonsense:
            await socket.send(message)
        await socket.send(door.push("after", {"a": 1}))
        await socket.wait_closed()

    async with hub(script) as url, door.client(url, token="t", timeout=GUARD, on_malformed=malformed) as client:
        async with asyncio.timeout(GUARD):
            assert await client.next_push() == ("after", {"a": 1})
    assert told == len(door.nonsense)


async def test_a_listener_that_fails_ends_nothing(door: Native | SocketIo) -> None:
    """Of pushes, and of acks."""
    heard = asyncio.Event()

    def listen(event: str, _: Any) -> None:
        if event == "last":
            heard.set()
        raise RuntimeError

    def answered(_: Any) -> None:
        raise RuntimeError

    async def script(socket: ServerConnection) -> None:
        await door.welcome(socket)
        number, _ = await door.request(socket)
        for message in (door.push("first", None), door.ack(number, 1), door.push("last", None)):
            await socket.send(message)
        await socket.wait_closed()

    async with hub(script) as url, door.client(url, token="t", timeout=GUARD, on_push=listen) as client:
        client.ask("e", None, answered)
        await asyncio.wait_for(heard.wait(), GUARD)


async def test_who_asks_is_told_that_the_connection_is_lost(door: Native | SocketIo) -> None:
    """Who waits for an ack, who is called back, and who asks too late; who wants no answer any more is not."""

    async def script(socket: ServerConnection) -> None:
        await door.welcome(socket)
        for _ in range(3):
            await door.request(socket)

    told: list[Any] = []
    async with hub(script) as url, door.client(url, token="t", timeout=GUARD) as client:
        client.ask("e", None, told.append)
        client.forget(client.ask("e", None, told.append))
        with pytest.raises(ConnectionLost):
            await client.request("e")
        await asyncio.wait_for(client.wait_closed(), GUARD)
        assert client.closed
        with pytest.raises(ConnectionLost):
            client.ask("e", None, told.append)
        with pytest.raises(ConnectionLost):
            await client.send("e")
    assert [type(each) for each in told] == [ConnectionLost]


async def test_abort_is_a_reset(door: Native | SocketIo) -> None:
    """No Close frame, no FIN: the hub's read fails."""
    ended: asyncio.Future[tuple[int | None, BaseException | None]] = asyncio.get_running_loop().create_future()

    async def script(socket: ServerConnection) -> None:
        await door.welcome(socket)
        await socket.wait_closed()
        ended.set_result((socket.close_code, socket.recv_exc))

    async with hub(script) as url, door.client(url, token="t", timeout=GUARD) as client:
        client.abort()
        client.abort()
        code, why = await asyncio.wait_for(ended, GUARD)
        await asyncio.wait_for(client.wait_closed(), GUARD)
        client.hold()  # nothing to hold any more
        client.release()
    assert code == 1006
    assert isinstance(why, ConnectionResetError)


async def test_what_a_held_client_does_not_read_piles_up_at_the_hub(door: Native | SocketIo) -> None:
    """Back-pressure: the hub cannot write on, until it is released; then nothing is missing."""
    stuck, large = asyncio.Event(), "x" * 100_000
    sent = 0

    async def script(socket: ServerConnection) -> None:
        nonlocal sent
        await door.welcome(socket)
        await door.request(socket)
        for number in range(300):
            writing = asyncio.create_task(socket.send(door.push("large", [number, large])))
            if not (await asyncio.wait({writing}, timeout=0.5))[0]:
                stuck.set()
            await writing
            sent += 1
        await socket.wait_closed()

    heard: list[int] = []
    done = asyncio.Event()

    def listen(_: str, data: Any) -> None:
        heard.append(data[0])
        if len(heard) == 300:
            done.set()

    async with hub(script) as url, door.client(url, token="t", timeout=GUARD, on_push=listen) as client:
        client.hold()
        client.hold()
        client.ask("e", None, lambda _: None)
        await asyncio.wait_for(stuck.wait(), GUARD)
        assert sent < 200
        assert not heard
        client.release()
        await asyncio.wait_for(done.wait(), GUARD)
    assert heard == list(range(300))


async def test_a_kick_has_a_reason(door: Native | SocketIo) -> None:
    """And none before."""

    async def script(socket: ServerConnection) -> None:
        await door.welcome(socket)
        await socket.send(door.push("kicked", {"reason": "NEW_LOGIN"}))
        await socket.close(4403, "NEW_LOGIN")

    async with hub(script) as url, door.client(url, token="t", timeout=GUARD) as client:
        await asyncio.wait_for(client.wait_closed(), GUARD)
        assert client.waiting() == [("kicked", {"reason": "NEW_LOGIN"})]
    assert (client.kicked, client.close_code) == ("NEW_LOGIN", 4403)


@pytest.mark.parametrize("first", ["", "{}", "[]", "0{}", '{"event":"welcome"}', "nonsense"])
async def test_what_is_no_hub_refuses(door: Native | SocketIo, first: str) -> None:
    """It speaks WebSocket, and then something else."""

    async def script(socket: ServerConnection) -> None:
        await socket.send(first)
        await socket.send("nonsense")
        await socket.wait_closed()

    async with hub(script) as url:
        with pytest.raises(Refused, match="does not speak like a hub"):
            await door.client(url, token="t", timeout=GUARD).__aenter__()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, {}),
        ({"watch": ()}, {"watch": []}),
        ({"watch": ["st-1", "st-2"], "states": True}, {"watch": ["st-1", "st-2"], "states": True}),
    ],
)
async def test_what_is_watched_from_the_start(options: dict[str, Any], said: dict[str, Any]) -> None:
    """It stands beside the token; what is not asked for is not there."""
    first: list[Any] = []

    async def script(socket: ServerConnection) -> None:
        first.append(orjson.loads(await socket.recv()))
        await socket.send('{"event":"welcome","data":{"peerId":"me","heartbeat":25}}')

    async with serve(script, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with Operator(f"http://127.0.0.1:{port}", token="t", timeout=GUARD, **options):
            pass
    assert first == [{"event": "auth", "data": {"token": "t", **said}}]
