"""A client of the hub's Socket.IO door, as an operator's page has one: Socket.IO protocol 5 over Engine.IO 4 and WebSocket.

async with Page("http://127.0.0.1:3101", token=token) as page:
    await page.request("station-watch", {"stations": ["st-1"]})
    async for event, data in page.pushes():
        ...

It asks for errors in acks (`ackErrors`), so that `request` raises RequestFailed as Operator's does.
"""

import re
from collections.abc import Callable
from typing import Any, ClassVar, Final

import orjson

from devices.door import Ack, DoorClient, OperatorError, Push, Refused, RequestFailed

__all__ = ["Page"]

_OPEN, _CLOSE, _PING, _PONG, _NOOP = b"0", b"1", b"2", b"3", b"6"  # Engine.IO
_CONNECT, _DISCONNECT, _EVENT, _ACK, _REFUSED = b"40", b"41", b"42", b"43", b"44"  # a message that holds Socket.IO
_ID: Final = re.compile(rb"[0-9]{0,15}")


class Page(DoorClient):
    """One connection to one namespace, see DoorClient.

    Args:
        namespace: "/", or "/admin" for admins.

    Attributes:
        left: the hub put it out of the namespace (packet 41): a page does not come again by itself.
    """

    PATH: ClassVar[str] = "/socket.io/"
    QUERY: ClassVar[str] = "EIO=4&transport=websocket"

    def __init__(
        self,
        url: str,
        *,
        token: str,
        namespace: str = "/",
        queue: int = 10_000,
        timeout: float = 65.0,
        heartbeat: float | None = None,
        on_push: Callable[[str, Any], None] | None = None,
        on_malformed: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(
            url,
            token=token,
            queue=queue,
            timeout=timeout,
            heartbeat=heartbeat,
            on_push=on_push,
            on_malformed=on_malformed,
        )
        self._name = b"" if namespace == "/" else f"{namespace},".encode()
        self.left = False

    async def _log_in(self) -> str:
        if (await self._socket.recv(decode=False))[:1] != _OPEN:
            raise ValueError("not an Engine.IO server")
        auth = orjson.dumps({"token": self._token, "ackErrors": True})
        await self._socket.send((_CONNECT + self._name + auth).decode())
        while (answer := await self._socket.recv(decode=False)) == _PING:
            await self._socket.send(_PONG.decode())
        if answer.startswith(_REFUSED):
            raise Refused(str(orjson.loads(self._content(answer))["message"]))
        if not answer.startswith(_CONNECT):
            raise ValueError("neither let in nor refused")
        return str(orjson.loads(self._content(answer))["sid"])

    def _encode(self, event: str, data: Any, request_id: int | None) -> bytes:
        number = b"" if request_id is None else str(request_id).encode()
        return b"%b%b%b%b" % (_EVENT, self._name, number, orjson.dumps([event, data]))

    def _decode(self, message: bytes) -> Push | Ack | None:
        kind = message[:2]
        if kind == _EVENT:
            event, *data = orjson.loads(self._numbered(message)[1])
            if not isinstance(event, str):
                raise TypeError("an event's name is a text")
            return Push(event, data[0] if data else None)
        if kind == _ACK:
            number, content = self._numbered(message)
            return Ack(int(number), _value(orjson.loads(content)))
        if kind == _PING:
            self._answer_ping()
        elif kind == _DISCONNECT:
            self.left = True
        elif message not in (_CLOSE, _NOOP):
            raise ValueError("no packet that a hub sends")
        return None

    def _content(self, message: bytes) -> bytes:
        """What follows the type and the namespace. Raises ValueError for another namespace."""
        if not message.startswith(self._name, 2):
            raise ValueError("of another namespace")
        return message[2 + len(self._name) :]

    def _numbered(self, message: bytes) -> tuple[bytes, bytes]:
        """The ack's id, or nothing, and the JSON."""
        content = self._content(message)
        number = _ID.match(content)
        at = 0 if number is None else number.end()
        return content[:at], content[at:]

    def _answer_ping(self) -> None:
        try:
            self._send_now(_PONG)
        except OperatorError:
            pass  # closed meanwhile


def _value(arguments: Any) -> Any:
    """What an ack was called with; none is None, and an error is a RequestFailed."""
    if not isinstance(arguments, list):
        raise TypeError("an ack's arguments are a list")
    value = arguments[0] if arguments else None
    if isinstance(value, dict) and isinstance(value.get("error"), str):
        return RequestFailed(value["error"], value.get("detail"))
    return value
