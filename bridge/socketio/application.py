"""The hub on Socket.IO: the second door to the one gateway and the one table of events (contract.md section 1).

socketio = SocketIo(gateway, monitor)
doors["/socket.io"] = socketio.door     # WebSockets
app.mount("/socket.io", socketio)       # polling
socketio.stop()                         # before the HTTP server stops
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import orjson

from bridge.connection import text_frame
from bridge.dispatch import dispatch, read_wanted
from bridge.door import Handshake
from bridge.errors import (
    ADMIN_ONLY,
    CLOSE_OVERLOAD,
    CLOSE_REFUSED,
    CLOSE_RESTART,
    UNAUTHORIZED,
    ConnectRefused,
    EventError,
)
from bridge.events import ADMIN_EVENTS, EVENTS, Event
from bridge.gateway import Gateway
from bridge.handshake import bearer
from bridge.monitor import Monitor
from bridge.peer import Peer
from bridge.socketio.namespaces import Connection, NamespaceSocket
from bridge.socketio.packets import ACK, EVENT, MAIN, has_binary, head
from bridge.socketio.parts import Settings
from bridge.socketio.server import EngineServer
from hub.auth import Identity

__all__ = ["ADMIN", "AdminPeer", "HubApplication", "MainPeer", "SocketIo", "token_of"]

ADMIN: Final = "/admin"
"""The namespace of `monitor-update`."""


def token_of(auth: Mapping[str, Any], handshake: Handshake) -> str | None:
    """The token of `auth`, of the header, or of the query: the first that is there, even if it is bad."""
    own = auth.get("token")
    if own is not None:
        return own if isinstance(own, str) else ""
    header = bearer(handshake.headers)
    return header if header is not None else handshake.query.get("token")


_MAIN_EVENT: Final = head(EVENT, MAIN) + b'["'
_ADMIN_EVENT: Final = head(EVENT, ADMIN) + b'["'
_BINARY: Final = b""
"""Stands for data with bytes in it: no event that looks at its data takes that."""
_NO_DETAIL: Final[Mapping[str, str]] = {}


class _SocketIoPeer(Peer):
    """A peer in a namespace."""

    _socket: NamespaceSocket
    _told = False

    def put_in(self, socket: NamespaceSocket) -> None:
        """Says where it is."""
        self._socket = socket

    def complain(self, error: str, detail: Mapping[str, str] = _NO_DETAIL) -> None:
        """Sends `exception`."""
        self._told = error == UNAUTHORIZED
        self.push("exception", {"status": "error", "message": error, **detail})

    def close(self, code: int, reason: str) -> None:
        """As `Peer.close`, with what Socket.IO clients know instead of close codes."""
        if self._closing:
            return
        if code == CLOSE_REFUSED and not self._told:
            self.complain(UNAUTHORIZED)
        self._closing = True
        # a client that is told comes again only when its page says so
        self._socket.close(code, reason, goodbye=code not in (CLOSE_OVERLOAD, CLOSE_RESTART))


class MainPeer(_SocketIoPeer):
    """A peer on `/`."""

    @staticmethod
    def frame(event: str, data: bytes) -> bytes:
        return text_frame(_MAIN_EVENT + event.encode() + b'",' + data + b"]")


class AdminPeer(_SocketIoPeer):
    """A peer on `/admin`."""

    @staticmethod
    def frame(event: str, data: bytes) -> bytes:
        return text_frame(_ADMIN_EVENT + event.encode() + b'",' + data + b"]")


class _Member:
    """What a peer sends, and what becomes of its socket."""

    def __init__(self, gateway: Gateway, socket: NamespaceSocket, peer: _SocketIoPeer, *, errors_in_ack: bool) -> None:
        self._gateway, self._socket, self._peer = gateway, socket, peer
        self._events: Mapping[str, Event] = ADMIN_EVENTS if peer.admin else EVENTS
        self._ack = head(ACK, socket.namespace)
        self._errors_in_ack = errors_in_ack

    def event(self, arguments: list[Any], ack_id: str, binary: bool = False) -> None:
        """See `Member.event`; what follows the first argument is not looked at."""
        data = arguments[1] if len(arguments) > 1 else None
        if binary and has_binary(data):
            data = _BINARY
        dispatch(self._gateway, self._peer, arguments[0], data, partial(self._answer, ack_id), self._events)

    def _answer(self, ack_id: str, value: bytes, error: EventError | None) -> None:
        if error is not None:
            self._refuse(ack_id, error)
        elif ack_id:
            # nothing to say: called with no argument
            content = b"[]" if value == b"null" else b"[" + value + b"]"
            self._peer.send_frame(text_frame(self._ack + ack_id.encode() + content))

    def _refuse(self, ack_id: str, error: EventError) -> None:
        detail = {} if error.detail is None else {"detail": error.detail}
        self._peer.complain(str(error), detail)
        if ack_id and self._errors_in_ack:
            content = orjson.dumps([{"error": str(error)} | detail])
            self._peer.send_frame(text_frame(self._ack + ack_id.encode() + content))

    def writable(self) -> None:
        """See `Member.writable`."""
        self._gateway.writable(self._peer)

    def upgraded(self) -> None:
        """See `Member.upgraded`."""
        self._peer.wire = self._socket.wire

    def closed(self) -> None:
        """See `Member.closed`."""
        self._gateway.disconnect(self._peer)


class HubApplication:
    """The hub's `Application`: `/` for everybody, `/admin` for admins."""

    namespaces = frozenset((MAIN, ADMIN))

    def __init__(self, gateway: Gateway, monitor: Monitor) -> None:
        self._gateway, self._monitor = gateway, monitor

    def connect(self, socket: NamespaceSocket, auth: Mapping[str, Any]) -> None:
        """See `Application.connect`."""
        errors_in_ack = auth.get("ackErrors") is True

        def logged_in(identity: Identity | ConnectRefused) -> None:
            if isinstance(identity, ConnectRefused):
                socket.refuse(str(identity))
            elif socket.namespace == ADMIN and not identity.has("admin"):
                socket.refuse(ADMIN_ONLY)
            elif socket.asked:
                self._let_in(socket, identity, auth, errors_in_ack=errors_in_ack)

        self._gateway.login(token_of(auth, socket.handshake), logged_in)

    def _let_in(
        self, socket: NamespaceSocket, identity: Identity, auth: Mapping[str, Any], *, errors_in_ack: bool
    ) -> None:
        gateway, admin = self._gateway, socket.namespace == ADMIN
        kind: type[_SocketIoPeer] = AdminPeer if admin else MainPeer
        peer = gateway.new_peer(kind, identity, socket.wire, admin=admin)
        peer.put_in(socket)
        socket.accept(peer.peer_id, _Member(gateway, socket, peer, errors_in_ack=errors_in_ack))
        wanted, malformed = read_wanted(auth)
        if malformed is not None:
            peer.complain(str(malformed))
        gateway.connect(peer, wanted)
        if admin:
            peer.push("monitor-update", self._monitor.update())


class SocketIo(EngineServer):
    """The Socket.IO door of a hub.

    Args:
        monitor: what admins see.
        origins, settings: see `EngineServer`.
    """

    def __init__(
        self,
        gateway: Gateway,
        monitor: Monitor,
        *,
        origins: frozenset[str] | None = None,
        settings: Settings | None = None,
    ) -> None:
        application = HubApplication(gateway, monitor)
        super().__init__(lambda session: Connection(session, application), origins=origins, settings=settings)
