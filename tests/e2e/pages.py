"""A Socket.IO client (protocol 5) over a WebSocket, small enough to see every packet, and without Node."""

import asyncio
import json
from types import TracebackType
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.e2e.waiting import GUARD

__all__ = ["Page", "PageRefused"]


class PageRefused(Exception):
    """The hub answered CONNECT_ERROR; `str()` is its message."""


class Page:
    """One client in one namespace, as a context manager. Errors of its events come by ack (`ackErrors`).

    Raises:
        PageRefused: in `__aenter__`.

    Attributes:
        pushes: what came so far, but for status batches, in order.
        left: the hub put it out of the namespace, packet 41, so that it does not reconnect by itself.
        closed: the connection is gone.
    """

    def __init__(self, url: str, token: str | None, namespace: str = "/") -> None:
        self._url = url.replace("http", "ws", 1) + "/socket.io/?EIO=4&transport=websocket"
        self._token, self._name = token, "" if namespace == "/" else f"{namespace},"
        self._socket: ClientConnection
        self._reader: asyncio.Task[None]
        self._acks: dict[int, asyncio.Future[Any]] = {}
        self._asked = 0
        self.pushes: list[tuple[str, Any]] = []
        self.left, self.closed = False, asyncio.Event()

    async def __aenter__(self) -> Self:
        self._socket = await connect(self._url, max_size=None, compression=None)
        try:
            assert (await self._socket.recv())[:1] == "0"
            auth = {"ackErrors": True} | ({} if self._token is None else {"token": self._token})
            await self._socket.send(f"40{self._name}{json.dumps(auth)}")
            async with asyncio.timeout(GUARD):
                answer = str(await self._socket.recv())
            if answer.startswith(f"44{self._name}"):
                raise PageRefused(json.loads(answer.removeprefix(f"44{self._name}"))["message"])
            assert answer.startswith(f"40{self._name}"), answer
        except BaseException:
            await self._socket.close()
            raise
        self._reader = asyncio.create_task(self._read(), name="page-reader")
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self._socket.close()
        await self._reader

    async def request(self, event: str, data: Any = None) -> Any:
        """What the ack is called with: a value, None for nothing, or `{"error": ...}`."""
        self._asked += 1
        future = self._acks[self._asked] = asyncio.get_running_loop().create_future()
        await self._socket.send(f"42{self._name}{self._asked}{json.dumps([event, data])}")
        async with asyncio.timeout(GUARD):
            return await future

    async def _read(self) -> None:
        try:
            async for message in self._socket:
                await self._received(str(message))
        except ConnectionClosed:
            pass
        finally:
            for future in self._acks.values():
                if not future.done():
                    future.set_exception(ConnectionError("the hub closed the connection"))
            self.closed.set()

    async def _received(self, packet: str) -> None:
        if packet == "2":
            await self._socket.send("3")
            return
        kind, rest = packet[:2], packet[2:].removeprefix(self._name)
        if kind == "41":
            self.left = True
            return
        start = rest.index("[")
        values = json.loads(rest[start:])
        if kind == "43":
            self._acks[int(rest[:start])].set_result(values[0] if values else None)
        elif values[0] != "batch-station-status-update":
            self.pushes.append((values[0], values[1]))
