"""What stands between a WebSocket connection and the protocol spoken on it.

`bridge.connection.WebSocketConnection` moves bytes and knows RFC 6455; a `Door` knows what the messages mean. The connection
looks up the door by path, gives it a `Wire`, and feeds it whole messages.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

__all__ = ["HOLD_SECONDS", "Door", "DoorFactory", "Handshake", "HandshakeRefused", "Socket", "Wire"]


HOLD_SECONDS: Final = 0.1
"""How long one who sends too much is not read from (see `Wire.hold`)."""


class HandshakeRefused(Exception):
    """Raised by a door's factory: the WebSocket is not opened.

    Attributes:
        status: of the HTTP answer.
        message: for its body; it repeats nothing that the client sent.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshake:
    """The HTTP request that opened a WebSocket.

    Attributes:
        path: without the query.
        query: first value of each parameter.
        headers: names in lower case.
        client: address of the peer, empty when unknown.
    """

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    client: str


class Wire(Protocol):
    """One open WebSocket, as a door sees it."""

    @property
    def buffered(self) -> int:
        """Bytes written that the kernel has not taken yet."""

    def send_frame(self, frame: bytes) -> None:
        """Writes bytes that are a WebSocket frame already (see `bridge.connection.text_frame`): framed once, sent to many."""

    def trust(self) -> None:
        """It is known whose connection this is: messages may be as large as any."""

    def hold(self, seconds: float) -> None:
        """Nothing more of what the client sends is looked at for a while."""

    def send_text(self, text: bytes) -> None:
        """Frames and writes one UTF-8 message. Writes of one read are joined into one write to the socket."""

    def close(self, code: int, reason: str = "") -> None:
        """Starts the closing handshake: what was written before is still sent; nothing more is received."""


class Socket(Wire, Protocol):
    """A `Wire` with what a door needs that has a flow control of its own."""

    def pause(self) -> None:
        """Stops reading; what was read already may still come. Twice is once."""

    def resume(self) -> None:
        """Goes on reading, as soon as the socket takes what is written."""

    def abort(self) -> None:
        """Cuts the connection: nothing is sent any more; `Door.closed` follows, with 1006."""


class Door(Protocol):
    """The protocol spoken on one connection. Made when the handshake is done; every method runs on the event loop.

    Attributes:
        subprotocol: what the answer to the handshake names as Sec-WebSocket-Protocol; None: nothing.
    """

    subprotocol: str | None = None

    def opened(self, wire: Socket) -> None:
        """The WebSocket is open."""

    def received(self, message: bytes | str) -> None:
        """One whole message: str for text, bytes for binary."""

    def writable(self) -> None:
        """The socket took what had piled up: `wire.buffered` is below the low-water mark again."""

    def closed(self, code: int) -> None:
        """The WebSocket is gone, for whatever reason; called once, nothing follows. 1006 when without a close frame."""


DoorFactory = Callable[[Handshake], Door]
"""Makes the door of a client. Raises HandshakeRefused to keep it out."""
