"""The namespaces of one connection: who is in, and whose events go where. Pure.

    nothing -> asked -> in -> nothing
      asked: the application has been told, and has not said yet
      in: events go to its member

What a client sends for a namespace that it is not in, or sends malformed, ends the whole connection. One that asks for a
namespace again has left it.
"""

from collections.abc import Callable, Container, Mapping
from typing import Any, Final, Protocol

import orjson

from bridge.door import Handshake, Wire
from bridge.socketio.engine_packets import BadPacket
from bridge.socketio.packets import (
    ACK,
    CONNECT,
    CONNECT_ERROR,
    DISCONNECT,
    EVENT,
    MAIN,
    MAX_ID,
    RESERVED_EVENTS,
    Decoder,
    Packet,
    encode,
)
from bridge.socketio.parts import WS_POLICY
from bridge.socketio.session import Session
from hub.limits import TokenBucket

__all__ = ["ASK_BURST", "ASK_RATE", "Application", "Connection", "Member", "NamespaceSocket", "OnAck"]

ASK_RATE: Final = 1.0
"""Requests for a namespace that one connection may make a second, in the long run: each is a login, and a fleet's statuses."""
ASK_BURST: Final = 10.0
"""The same, at once."""
TOO_OFTEN: Final = "RESOURCE_EXHAUSTED: Too many requests"
INVALID_NAMESPACE: Final = "Invalid namespace"

OnAck = Callable[[list[Any]], None]
"""Called with what the client acknowledged an event with."""


class Member(Protocol):
    """What an application has for a client in a namespace."""

    def event(self, arguments: list[Any], ack_id: str, binary: bool = False) -> None:
        """The client emitted `[name, argument, ...]`.

        Args:
            ack_id: the id for the ack that it wants; empty: none.
            binary: there are bytes in the arguments.
        """

    def writable(self) -> None:
        """What had piled up is gone, or going."""

    def upgraded(self) -> None:
        """`NamespaceSocket.wire` is another one."""

    def closed(self) -> None:
        """The client left, or its connection is gone; called once. Nothing that the application calls leads here at once."""


class Application(Protocol):
    """What speaks on the namespaces."""

    @property
    def namespaces(self) -> Container[str]:
        """Those that there are; others are refused."""

    def connect(self, socket: "NamespaceSocket", auth: Mapping[str, Any]) -> None:
        """A client asks to be let in: calls, at once or later, `accept` or `refuse` of `socket`.

        Args:
            auth: what the client says about itself, anything at all.
        """


class NamespaceSocket:
    """One namespace of one connection, as its application sees it.

    Attributes:
        namespace: its name.
    """

    __slots__ = ("_acks", "_asked", "_connection", "_last_ack", "member", "namespace")

    def __init__(self, connection: "Connection", namespace: str) -> None:
        self.namespace = namespace
        self.member: Member | None = None
        self._connection, self._asked = connection, True
        self._acks: dict[str, OnAck] = {}
        self._last_ack = 0

    @property
    def handshake(self) -> Handshake:
        """Of the request that opened the connection."""
        return self._connection.session.handshake

    @property
    def wire(self) -> Wire:
        """Where frames go now; to be kept until `Member.upgraded`."""
        return self._connection.session.wire

    @property
    def asked(self) -> bool:
        """Whether the client still waits to be let in."""
        return self._asked

    def accept(self, sid: str, member: Member) -> None:
        """Lets the client in; when it has gone meanwhile, nothing happens (see `asked`).

        Args:
            sid: what the client knows itself by; not the session's.
        """
        if self._asked:
            self._asked, self.member = False, member
            self.send(CONNECT, data={"sid": sid})
            self._connection.joined(self)

    def refuse(self, message: str) -> None:
        """Keeps the client out; its library calls that `connect_error`."""
        if self._asked:
            self._asked = False
            self.send(CONNECT_ERROR, data={"message": message})
            self._connection.refused(self)

    def emit(self, name: str, *arguments: Any, on_ack: OnAck | None = None) -> None:
        """Sends an event: JSON values, and bytes anywhere in them."""
        ack_id = ""
        if on_ack is not None:
            self._last_ack += 1
            ack_id = str(self._last_ack)
            self._acks[ack_id] = on_ack
        self.send(EVENT, ack_id, [name, *arguments])

    def ack(self, ack_id: str, *arguments: Any) -> None:
        """Answers an event."""
        self.send(ACK, ack_id, list(arguments))

    def send(self, kind: str, ack_id: str = "", data: Any = None) -> None:
        """Sends a packet."""
        self._connection.session.send(encode(kind, self.namespace, ack_id, data))

    def close(self, code: int, reason: str, *, goodbye: bool) -> None:
        """Ends the whole connection, from within anything: the rest happens a moment later.

        Args:
            goodbye: the client is told first that it is put out of this namespace, and does not come again by itself.
        """
        if goodbye:
            self.send(DISCONNECT)
        self._connection.close_soon(code, reason)

    def acked(self, ack_id: str, arguments: list[Any]) -> None:
        """The client answered an event; what nobody asked for is ignored."""
        on_ack = self._acks.pop(ack_id, None)
        if on_ack is not None:
            on_ack(arguments)
        else:
            self._connection.session.idle_talk()

    def leave(self) -> None:
        """The client is out."""
        self._asked = False
        self._acks.clear()
        member, self.member = self.member, None
        if member is not None:
            member.closed()


class Connection:
    """Socket.IO on one Engine.IO session; to that it is the `Handler`."""

    def __init__(self, session: Session, application: Application) -> None:
        self.session = session
        self._application = application
        self._decoder = Decoder(session.settings.max_payload)
        self._sockets: dict[str, NamespaceSocket] = {}
        self._main: Callable[[list[Any], str], None] | None = None
        self._asks = TokenBucket(ASK_RATE, ASK_BURST)
        self._ending: tuple[int, str] | None = None
        self._timer: Any = None
        self._wait()

    # ---- Handler: what the session tells

    def message(self, message: str | bytes) -> None:
        """See `Handler.message`."""
        main = self._main
        if main is not None and isinstance(message, str) and message[:1] == EVENT:
            # nearly all that ever comes: an event of the main namespace. What is not plain is looked at again below
            start = message.find("[")
            ack_id = message[1:start]
            if start == 1 or (1 < start <= MAX_ID and ack_id.isascii() and ack_id.isdigit()):
                try:
                    arguments = orjson.loads(message[start:])
                except ValueError:
                    arguments = None
                # JSON that begins with a bracket is a list
                if arguments and isinstance(arguments[0], str) and arguments[0] not in RESERVED_EVENTS:
                    main(arguments, ack_id)
                    return
        packet = self._decoder.add(message)
        if packet is None:
            self._main = None  # the next messages are its attachments
        elif self._ending is None:
            self._packet(packet)
            self._find_main()

    def writable(self) -> None:
        """See `Handler.writable`."""
        for member in self._members():
            member.writable()

    def upgraded(self) -> None:
        """See `Handler.upgraded`."""
        for member in self._members():
            member.upgraded()

    def closed(self) -> None:
        """See `Handler.closed`."""
        self.session.timers.cancel(self._timer)
        self._main = None
        sockets, self._sockets = self._sockets, {}
        for socket in sockets.values():
            socket.leave()

    # ---- what its sockets tell

    def joined(self, socket: NamespaceSocket) -> None:
        """The application let the client in."""
        self._find_main()
        self.session.vouch()

    def refused(self, socket: NamespaceSocket) -> None:
        """The application did not; the client may ask again, some time."""
        del self._sockets[socket.namespace]

    def close_soon(self, code: int, reason: str) -> None:
        """Ends the connection in a moment: whoever calls this may be in the middle of all peers."""
        if self._ending is None and self.session.is_open:
            self._ending, self._main = (code, reason), None
            self._set_timer(0.0)

    # ---- packets

    def _packet(self, packet: Packet) -> None:
        socket = self._sockets.get(packet.namespace)
        if packet.type == CONNECT:
            self._connect(packet, socket)
        elif socket is None:
            raise BadPacket("a namespace that the client is not in")
        elif packet.type == DISCONNECT:
            del self._sockets[packet.namespace]
            self._leave(socket)
        elif socket.member is None:
            raise BadPacket("a namespace that the client is not in yet")
        elif packet.type == EVENT:
            socket.member.event(packet.data, packet.id, packet.binary)
        else:
            socket.acked(packet.id, packet.data)

    def _connect(self, packet: Packet, socket: NamespaceSocket | None) -> None:
        if not self._asks.take(self.session.now()):
            self.session.send(encode(CONNECT_ERROR, packet.namespace, data={"message": TOO_OFTEN}))
            self.session.idle_talk()
            return
        if socket is not None:
            # a client that has stopped waiting to be let in says nothing of it, and may ask again
            del self._sockets[packet.namespace]
            self._leave(socket)
        if packet.namespace not in self._application.namespaces:
            self.session.send(encode(CONNECT_ERROR, packet.namespace, data={"message": INVALID_NAMESPACE}))
            return
        socket = self._sockets[packet.namespace] = NamespaceSocket(self, packet.namespace)
        self._application.connect(socket, packet.data or {})

    def _find_main(self) -> None:
        socket = self._sockets.get(MAIN)
        able = socket is not None and self._ending is None and not self._decoder.waiting
        self._main = socket.member.event if able and socket is not None and socket.member is not None else None

    def _leave(self, socket: NamespaceSocket) -> None:
        socket.leave()
        if not self._members():
            self.session.vouch(known=False)
            self._wait()

    def _members(self) -> list[Member]:
        return [socket.member for socket in self._sockets.values() if socket.member is not None]

    # ---- time

    def _wait(self) -> None:
        self._set_timer(self.session.settings.connect_timeout)

    def _set_timer(self, delay: float) -> None:
        timers = self.session.timers
        timers.cancel(self._timer)
        self._timer = timers.set(self.session.now() + delay, self)

    def due(self, now: float) -> None:
        """The connection is to end; or the client has had its time to be let in."""
        self._timer = None
        if self._ending is not None:
            self.session.close(*self._ending)
        elif not self._sockets:
            self.session.close(WS_POLICY, "No namespace in time", "connect timeout")
        elif not self._members():
            self._wait()  # it is the application that takes its time
