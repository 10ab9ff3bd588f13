"""The official clients from npm, socket.io-client and mqtt: any number of them in one Node process (tests/node/clients.js)."""

import asyncio
import contextlib
import json
import shutil
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import pytest

from tests.e2e.waiting import GUARD, end

__all__ = ["NODE", "TRANSPORTS", "Client", "Node", "SocketIo", "Station", "start_node"]

NODE: Final = Path(__file__).parent.parent / "node"
TRANSPORTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "polling": {"transports": ["polling"]},
    "websocket": {"transports": ["websocket"]},
    "upgraded": {"transports": ["polling", "websocket"]},
}
"""The options of socket.io-client for each way of going."""
_LINE: Final = 8 * 1024 * 1024


async def start_node(script: str, *packages: str, arguments: Sequence[str] = ()) -> asyncio.subprocess.Process:
    """A Node process that takes commands on stdin; the test is skipped where there is no Node or a package of npm is missing."""
    node = shutil.which("node")
    missing = [package for package in packages if not (NODE / "node_modules" / package).exists()]
    if node is None or missing:
        pytest.skip(
            f"{', '.join(missing) or 'node'} is not installed (apt install nodejs npm; npm --prefix tests/node ci)"
        )
    pipe = asyncio.subprocess.PIPE
    command = (node, str(NODE / script), *arguments)
    return await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=_LINE)


class Client:
    """One client: what it heard.

    Attributes:
        number: that Node knows it by.
        log: the names of all that it heard, in order; `ack` for an ack.
    """

    def __init__(self, say: Callable[[dict[str, Any]], None], number: int) -> None:
        self._say, self.number = say, number
        self._queues: dict[str, asyncio.Queue[tuple[str, list[Any]] | None]] = {
            "life": asyncio.Queue(),
            "push": asyncio.Queue(),
        }
        self._acks: dict[int, asyncio.Future[list[Any]]] = {}
        self.log: list[str] = []

    def heard(self, kind: str, name: Any, args: list[Any]) -> None:
        """The Node process says what happened."""
        self.log.append(name if kind != "ack" else "ack")
        if kind == "ack":
            self._acks[name].set_result(args)
        else:
            self._queues[kind].put_nowait((name, args))

    def lost(self) -> None:
        """The Node process is gone."""
        for queue in self._queues.values():
            queue.put_nowait(None)

    async def life(self, *names: str) -> list[Any]:
        """The next of `connect`, `connect_error`, `disconnect`, `upgrade`, of those named; others before it are skipped."""
        return (await self._next("life", names))[1]

    async def push(self, *events: str) -> tuple[str, Any]:
        """The next push, of one of `events`, with its one argument. Status batches are skipped when none is named."""
        while True:
            event, args = await self._next("push", events)
            if events or event != "batch-station-status-update":
                assert len(args) == 1, (event, args)
                return event, args[0]

    def waiting(self) -> list[tuple[str, Any]]:
        """The pushes that came so far and were not taken, but for status batches."""
        taken, queue = [], self._queues["push"]
        while not queue.empty() and (item := queue.get_nowait()) is not None:
            taken.append((item[0], *item[1]))
        return [push for push in taken if push[0] != "batch-station-status-update"]

    async def _next(self, kind: str, names: tuple[str, ...]) -> tuple[str, list[Any]]:
        try:
            async with asyncio.timeout(GUARD):
                while (item := await self._queues[kind].get()) is not None:
                    if not names or item[0] in names:
                        return item
        except TimeoutError:
            raise TimeoutError(f"no {' or '.join(names) or kind}; heard so far: {self.log[-20:]}") from None
        raise ConnectionError("Node is gone")

    def close(self) -> None:
        """Closes it, at once."""
        self.do("close")

    def do(self, command: str, **fields: Any) -> None:
        """Says to Node what this client is to do."""
        self._say({"do": command, "client": self.number} | fields)


class SocketIo(Client):
    """socket.io-client in one namespace.

    Attributes:
        peer_id: its `socket.id`.
        engine_id: the id of its Engine.IO session.
        transport: that it is on.
    """

    peer_id = engine_id = transport = ""
    _asked = 0

    async def connected(self, *, upgrades: bool = False) -> Self:
        """Waits until it is let in, and is on a WebSocket when it `upgrades`."""
        expected = {"connect", "upgrade"} if upgrades else {"connect"}  # in either order
        while expected:
            name, args = await self._next("life", ())
            if name == "connect_error" and args[-1]:
                continue  # nobody was there; it comes again by itself
            assert name in expected, (name, args)
            expected.remove(name)
            self.transport = args[-1]
            if name == "connect":
                self.peer_id, self.engine_id, _ = args
        return self

    def emit(self, event: str, *arguments: Any) -> None:
        """Sends an event and wants no ack."""
        self.do("emit", name=event, args=arguments)

    def emit_with_ack(self, event: str, *arguments: Any) -> asyncio.Future[list[Any]]:
        """Sends an event; the arguments that its ack is called with."""
        self._asked += 1
        future = self._acks[self._asked] = asyncio.get_running_loop().create_future()
        self.do("emit", name=event, args=arguments, ack=self._asked)
        return future

    async def ack(self, event: str, *arguments: Any) -> list[Any]:
        """The arguments that the ack is called with."""
        async with asyncio.timeout(GUARD):
            return await self.emit_with_ack(event, *arguments)

    async def request(self, event: str, *arguments: Any) -> Any:
        """The one argument that the ack is called with."""
        (value,) = await self.ack(event, *arguments)
        return value

    async def refused(self, event: str, *arguments: Any) -> str:
        """The message of the `exception` that an event is answered with; its ack is never called."""
        ack = self.emit_with_ack(event, *arguments)
        push, exception = await self.push()
        assert push == "exception", "what the test is not about must be taken first"
        assert exception.pop("status") == "error"
        exception.pop("detail", None)
        message: str = exception.pop("message")
        assert exception == {}
        await self.ack("ping")  # what comes after that, comes later
        assert not ack.done()
        return message


class Station(Client):
    """npm's mqtt as a station."""

    station_id = ""

    def say(self, kind: str, payload: dict[str, Any], qos: int = 1) -> None:
        """Publishes on one of its own topics."""
        topic = f"stations/{self.station_id}/{kind}"
        self.do("publish", topic=topic, payload=payload, options={"qos": qos})

    async def hears(self, kind: str) -> Any:
        """The next message on one of its own topics."""
        return (await self.push(f"stations/{self.station_id}/{kind}"))[1]


C = TypeVar("C", bound=Client)


class Node:
    """The process, as a context manager; its clients end with it."""

    def __init__(self) -> None:
        self._clients: dict[int, Client] = {}
        self._process: asyncio.subprocess.Process
        self._reader: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        self._process = await start_node("clients.js", "socket.io-client", "mqtt")
        self._reader = asyncio.create_task(self._read(), name="node-reader")
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await end(self._process)
        with contextlib.suppress(asyncio.CancelledError):
            await self._reader

    def signal(self, number: signal.Signals) -> None:
        """Stops the whole process, or lets it go on."""
        self._process.send_signal(number)

    def connect(self, url: str, options: Mapping[str, Any]) -> SocketIo:
        """A Socket.IO client begins to connect; it is not let in yet."""
        client = self._new(SocketIo)
        # many in one process: none shares the connection of another, unless it says so
        client.do("connect", url=url, options={"forceNew": True, "reconnection": False} | dict(options))
        return client

    def beside(self, other: SocketIo, namespace: str, auth: Mapping[str, Any]) -> SocketIo:
        """Another namespace, on the connection of another client."""
        client = self._new(SocketIo)
        client.do("connect", url=namespace, beside=other.number, options={"auth": auth})
        return client

    async def station(self, url: str, station_id: str, token: str) -> Station:
        """A station on MQTT over WebSocket, as the old pages have it: its will, and its commands subscribed."""
        client = self._new(Station)
        client.station_id = station_id
        will = {
            "topic": f"stations/{station_id}/offline",
            "payload": json.dumps({"stationId": station_id, "sessionId": f"web-{station_id}"}),
            "qos": 1,
        }
        login = {"clientId": f"web-{station_id}", "username": station_id, "password": token}
        client.do("mqtt", url=url, options=login | {"reconnectPeriod": 0, "will": will})
        await client.life("connect")
        for topic in ("cmd", "signal/in"):
            client.do("subscribe", topic=f"stations/{station_id}/{topic}", options={"qos": 1})
            assert await client.life("subscribe") == [1]
        return client

    def _new(self, kind: type[C]) -> C:
        number = len(self._clients) + 1
        client = kind(self._say, number)
        self._clients[number] = client
        return client

    def _say(self, command: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            said = json.loads(line)
            self._clients[said["client"]].heard(said["kind"], said["name"], said["args"])
        for client in self._clients.values():
            client.lost()
