"""What the clients of the hub's two doors have in common: requests and their acks, pushes, and a socket that can be misused.

OperatorError
  Refused         the hub closed the connection at login; `reason` is its error string
  RequestFailed   an event was answered with an error; `error` is the string, `detail` what a station said
  ConnectionLost  the socket closed while an answer was waited for
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from functools import partial
from types import TracebackType
from typing import Any, ClassVar, NamedTuple, Self
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.connection import broadcast
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.protocol import State

from devices.messages import MAX_MESSAGE
from devices.tcp import reset

__all__ = ["Ack", "ConnectionLost", "DoorClient", "OperatorError", "Push", "Refused", "RequestFailed"]

log = logging.getLogger(__name__)


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


class Push(NamedTuple):
    """The hub said something by itself."""

    event: str
    data: Any


class Ack(NamedTuple):
    """The hub answered: `value` is what it gives, or a RequestFailed."""

    request_id: int
    value: Any


class DoorClient(ABC):
    """One connection, as a context manager.

    Args:
        url: the hub's HTTP address, or a ws:// address; without a path, the door's own is meant.
        token: an access token.
        queue: pushes that are kept for `pushes`; of more, the oldest are dropped.
        timeout: seconds to wait for the login and for each answer.
        heartbeat: seconds between pings that find out whether the hub is there; None: only its own pings are answered.
        on_push: gets each push the moment that it is read, in place of `pushes`.
        on_malformed: is told of each message that is not of this protocol; the connection goes on.

    Raises:
        OperatorError: that is no such address.

    Attributes:
        peer_id: as the hub calls this connection.
        kicked: the reason, once the hub said that it puts this client out.
    """

    PATH: ClassVar[str]
    QUERY: ClassVar[str] = ""

    def __init__(
        self,
        url: str,
        *,
        token: str,
        queue: int = 10_000,
        timeout: float = 65.0,
        heartbeat: float | None = 20.0,
        on_push: Callable[[str, Any], None] | None = None,
        on_malformed: Callable[[], None] | None = None,
    ) -> None:
        parts = urlsplit(url)
        scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
        if scheme not in ("ws", "wss") or not parts.hostname:
            raise OperatorError("the hub's address must look like http://host:3101")
        path = parts.path if parts.path not in ("", "/") else self.PATH
        query = "&".join(filter(None, (self.QUERY, parts.query)))
        self._url = urlunsplit((scheme, parts.netloc, path, query, ""))
        self._token, self._timeout, self._heartbeat = token, timeout, heartbeat
        self._pushes: asyncio.Queue[tuple[str, Any] | None] = asyncio.Queue(queue)
        self._on_push, self._on_malformed = on_push or self._keep_push, on_malformed or _ignore
        self._waiting: dict[int, Callable[[Any], None]] = {}
        self._next_id = 0
        self._held = False
        self._socket: ClientConnection
        self._reader: asyncio.Task[None]
        self.peer_id = ""
        self.kicked: str | None = None

    # ---- what each door does in its own way

    @abstractmethod
    async def _log_in(self) -> str:
        """The socket is open: shows the token, and gives the peer id. Raises Refused."""

    @abstractmethod
    def _encode(self, event: str, data: Any, request_id: int | None) -> bytes:
        """An event as a message; without an id no ack is wanted."""

    @abstractmethod
    def _decode(self, message: bytes) -> Push | Ack | None:
        """A message; None is nothing to act on. Raises ValueError, KeyError, IndexError or TypeError for what is none."""

    # ---- coming and going

    async def __aenter__(self) -> Self:
        """Connects and logs in.

        Raises:
            Refused: the token is no good.
            OSError: nobody listens there.
        """
        try:
            # no limit of messages that wait: the reader takes all, and `hold` is the one that stops reading
            self._socket = await connect(
                self._url,
                max_size=None,
                max_queue=None,
                compression=None,
                open_timeout=self._timeout,
                ping_interval=self._heartbeat,
            )
        except WebSocketException as error:
            raise Refused(f"{self._host} is not a hub: {error}") from None
        try:
            async with asyncio.timeout(self._timeout):
                self.peer_id = await self._log_in()
        except ConnectionClosed as closed:
            raise Refused((closed.rcvd and closed.rcvd.reason) or "connection closed") from None
        except (ValueError, KeyError, IndexError, TypeError):
            await self._socket.close()
            raise Refused(f"{self._host} does not speak like a hub") from None
        except BaseException:
            await self._socket.close()
            raise
        self._reader = asyncio.create_task(self._read(), name="operator-reader")
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the socket."""
        self.release()
        await self._socket.close()
        await self._reader

    async def wait_closed(self) -> None:
        """Returns once the connection has ended, by whatever side."""
        await asyncio.wait({self._reader})

    @property
    def closed(self) -> bool:
        """Whether the connection has ended."""
        return self._reader.done()

    @property
    def close_code(self) -> int | None:
        """The WebSocket close code, once closed."""
        return self._socket.close_code

    # ---- misuse

    def abort(self) -> None:
        """Ends the connection by a TCP reset, without a word."""
        reset(self._socket.transport)

    def hold(self) -> None:
        """Stops reading, pings too, until `release`: what the hub sends fills the system's buffer, and then its own."""
        if not self._held and not self._socket.transport.is_closing():
            self._held = True
            self._socket.transport.pause_reading()

    def release(self) -> None:
        """Reads again; nothing when it does."""
        if self._held:
            self._held = False
            if not self._socket.transport.is_closing():
                self._socket.transport.resume_reading()

    # ---- requests

    async def request(self, event: str, data: Any = None) -> Any:
        """Sends an event and gives its ack.

        Raises:
            RequestFailed: the hub refused.
            ConnectionLost: the socket closed first.
            TimeoutError: no answer.
        """
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        request_id = self._expect(partial(_settle, future))
        try:
            await self._send(self._encode(event, data, request_id))
            # not wait_for: in Python 3.11 that swallows a cancellation that comes with the answer
            async with asyncio.timeout(self._timeout):
                return await future
        finally:
            self.forget(request_id)

    async def send(self, event: str, data: Any = None) -> None:
        """Sends an event and wants no ack. Raises ConnectionLost."""
        await self._send(self._encode(event, data, None))

    def ask(self, event: str, data: Any, answered: Callable[[Any], None]) -> int:
        """As `request`, for who cannot wait: `answered` gets the ack the moment that it is read, or an OperatorError.

        Gives an id for `forget`. Raises ConnectionLost.
        """
        request_id = self._expect(answered)
        try:
            self._send_now(self._encode(event, data, request_id))
        except OperatorError:
            self.forget(request_id)
            raise
        return request_id

    def forget(self, request_id: int) -> None:
        """No answer is waited for any more."""
        self._waiting.pop(request_id, None)

    def _expect(self, answered: Callable[[Any], None]) -> int:
        self._next_id += 1
        self._waiting[self._next_id] = answered
        return self._next_id

    # ---- pushes

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

    # ---- the socket

    @property
    def _host(self) -> str:
        return urlsplit(self._url).netloc

    async def _send(self, message: bytes) -> None:
        _check_size(message)
        try:
            await self._socket.send(message.decode())
        except ConnectionClosed:
            raise ConnectionLost("the hub closed the connection") from None

    def _send_now(self, message: bytes) -> None:
        _check_size(message)
        if self._socket.state is not State.OPEN:
            raise ConnectionLost("the hub closed the connection")
        broadcast((self._socket,), message.decode())  # the one way of websockets to send without waiting

    async def _read(self) -> None:
        try:
            while True:
                self._take(await self._socket.recv(decode=False))
        except ConnectionClosed:
            pass
        finally:
            self._end()

    def _take(self, message: bytes) -> None:
        try:
            received = self._decode(message)
        except (ValueError, KeyError, IndexError, TypeError):
            self._on_malformed()
            return
        try:
            if isinstance(received, Push):
                self._pushed(*received)
            elif received is not None and (answered := self._waiting.pop(received.request_id, None)) is not None:
                answered(received.value)
        except Exception:
            log.exception("what listens to a connection failed")

    def _pushed(self, event: str, data: Any) -> None:
        if event == "kicked":
            reason = data.get("reason") if isinstance(data, dict) else None
            self.kicked = reason if isinstance(reason, str) else ""
        self._on_push(event, data)

    def _end(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for answered in waiting.values():
            try:
                answered(ConnectionLost("the hub closed the connection"))
            except Exception:
                log.exception("what listens to a connection failed")
        self._keep(None)

    def _keep_push(self, event: str, data: Any) -> None:
        self._keep((event, data))

    def _keep(self, push: tuple[str, Any] | None) -> None:
        if self._pushes.full():
            self._pushes.get_nowait()
        self._pushes.put_nowait(push)


def _settle(future: "asyncio.Future[Any]", answer: Any) -> None:
    if not future.done():
        if isinstance(answer, OperatorError):
            future.set_exception(answer)
        else:
            future.set_result(answer)


def _check_size(message: bytes) -> None:
    if len(message) > MAX_MESSAGE:
        raise OperatorError(f"larger than {MAX_MESSAGE} bytes: not sent")


def _ignore() -> None:
    """Nobody wants to know."""
