"""A client of the hub's native WebSocket door: an operator's browser, or a station without MQTT, in Python.

OperatorError
  Refused         the hub closed the connection at login; `reason` is its error string
  RequestFailed   an event was answered with an error; `error` is the string, `detail` what a station said
  ConnectionLost  the socket closed while an answer was waited for

async with Operator("http://127.0.0.1:3101", token=token) as operator:
    await operator.request("station-watch", {"stations": ["st-1"]})
    async for event, data in operator.pushes():
        ...
"""

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from devices.messages import MAX_MESSAGE

__all__ = ["ConnectionLost", "Operator", "OperatorError", "Refused", "RequestFailed"]


class OperatorError(Exception):
    """Base of what goes wrong here."""


class Refused(OperatorError):
    """The hub did not let this token in; `str()` is its error string."""


class ConnectionLost(OperatorError):
    """The socket closed."""


class RequestFailed(OperatorError):
    """The hub answered an event with an error.

    Attributes:
        error: `CODE: text`.
        detail: what a station said, if it did.
    """

    def __init__(self, error: str, detail: str | None = None) -> None:
        super().__init__(error if detail is None else f"{error} ({detail})")
        self.error, self.detail = error, detail


class Operator:
    """One connection.

    Args:
        url: the hub's HTTP address, or a ws:// address; without a path, `/ws` is meant.
        token: an access token.
        queue: pushes that are kept for `pushes`; of more, the oldest are dropped.
        timeout: seconds to wait for the login and for each answer.

    Raises:
        OperatorError: that is no such address.

    Attributes:
        peer_id: as the hub calls this connection.
    """

    def __init__(self, url: str, *, token: str, queue: int = 10_000, timeout: float = 65.0) -> None:
        parts = urlsplit(url)
        scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
        if scheme not in ("ws", "wss") or not parts.hostname:
            raise OperatorError("the hub's address must look like http://host:3101")
        path = parts.path if parts.path not in ("", "/") else "/ws"
        self._url = urlunsplit((scheme, parts.netloc, path, parts.query, ""))
        self._token, self._timeout = token, timeout
        self._pushes: asyncio.Queue[tuple[str, Any] | None] = asyncio.Queue(queue)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._next_id = 0
        self._socket: ClientConnection
        self._reader: asyncio.Task[None]
        self.peer_id = ""

    async def __aenter__(self) -> Self:
        """Connects and logs in.

        Raises:
            Refused: the token is no good.
            OSError: nobody listens there.
        """
        try:
            self._socket = await connect(self._url, max_size=None, compression=None, open_timeout=self._timeout)
        except WebSocketException as error:
            raise Refused(f"{urlsplit(self._url).netloc} is not a hub: {error}") from None
        try:
            await self._socket.send(orjson.dumps({"event": "auth", "data": {"token": self._token}}).decode())
            async with asyncio.timeout(self._timeout):
                welcome = orjson.loads(await self._socket.recv())
        except ConnectionClosed as closed:
            raise Refused(closed.rcvd.reason if closed.rcvd else "connection closed") from None
        except BaseException:
            await self._socket.close()
            raise
        self.peer_id = welcome["data"]["peerId"]
        self._reader = asyncio.create_task(self._read(), name="operator-reader")
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the socket."""
        await self._socket.close()
        await self._reader

    async def request(self, event: str, data: Any = None) -> Any:
        """Sends an event and gives its ack.

        Raises:
            RequestFailed: the hub refused.
            ConnectionLost: the socket closed first.
            TimeoutError: no answer.
        """
        self._next_id += 1
        request_id = self._next_id
        future = self._waiting[request_id] = asyncio.get_running_loop().create_future()
        try:
            await self._send({"id": request_id, "event": event, "data": data})
            # not wait_for: in Python 3.11 that swallows a cancellation that comes with the answer
            async with asyncio.timeout(self._timeout):
                return await future
        finally:
            self._waiting.pop(request_id, None)

    async def send(self, event: str, data: Any = None) -> None:
        """Sends an event and wants no ack. Raises ConnectionLost."""
        await self._send({"event": event, "data": data})

    async def pushes(self) -> AsyncIterator[tuple[str, Any]]:
        """Every push as (event, data), until the connection ends."""
        while (push := await self._pushes.get()) is not None:
            yield push

    def waiting(self) -> list[tuple[str, Any]]:
        """The pushes that came so far and were not taken."""
        taken = []
        while not self._pushes.empty() and (push := self._pushes.get_nowait()) is not None:
            taken.append(push)
        return taken

    async def next_push(self, *events: str) -> tuple[str, Any]:
        """The next push of one of `events` (none named: any); others before it are skipped. Raises ConnectionLost."""
        async for event, data in self.pushes():
            if not events or event in events:
                return event, data
        raise ConnectionLost("the hub closed the connection")

    @property
    def close_code(self) -> int | None:
        """The WebSocket close code, once closed."""
        return self._socket.close_code

    async def _send(self, frame: dict[str, Any]) -> None:
        text = orjson.dumps(frame)
        if len(text) > MAX_MESSAGE:
            raise OperatorError(f"larger than {MAX_MESSAGE} bytes: not sent")
        try:
            await self._socket.send(text.decode())
        except ConnectionClosed:
            raise ConnectionLost("the hub closed the connection") from None

    async def _read(self) -> None:
        try:
            async for message in self._socket:
                self._received(orjson.loads(message))
        except ConnectionClosed:
            pass
        finally:
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(ConnectionLost("the hub closed the connection"))
            self._keep(None)

    def _received(self, frame: dict[str, Any]) -> None:
        if "event" in frame:
            self._keep((frame["event"], frame.get("data")))
            return
        future = self._waiting.get(frame.get("id", -1))
        if future is None or future.done():
            return
        if "error" in frame:
            future.set_exception(RequestFailed(frame["error"], frame.get("detail")))
        else:
            future.set_result(frame["ack"])

    def _keep(self, push: tuple[str, Any] | None) -> None:
        if self._pushes.full():
            self._pushes.get_nowait()
        self._pushes.put_nowait(push)
