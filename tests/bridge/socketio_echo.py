"""The application that the published conformance suites of Engine.IO and Socket.IO ask for, on the hub's own door.

    python -m tests.bridge.socketio_echo --port 3000

`/engine.io/` gives every message back; `/socket.io/` does, on `/` and `/custom`, what the suite's README says.
"""

import argparse
import asyncio
import socket
from collections.abc import Mapping
from typing import Any, Final

import uvicorn
from starlette.types import Receive, Scope, Send

from bridge.connection import Settings as WebSocketSettings
from bridge.connection import protocol_class, text_frame
from bridge.socketio.namespaces import Connection, NamespaceSocket
from bridge.socketio.parts import Settings
from bridge.socketio.server import EngineServer
from bridge.socketio.session import Session
from hub.broker.websocket import binary_frame
from hub.nodes import new_peer_id

__all__ = ["SETTINGS", "Echo", "EchoApplication", "EchoServers", "main"]

APART: Final = 0.01
"""Seconds between two messages that the suite waits for one after the other."""
SETTINGS: Final = Settings(ping_interval=0.3, ping_timeout=0.2, connect_timeout=1.0, max_payload=1_000_000)


class Echo:
    """Engine.IO: what comes goes back."""

    def __init__(self, session: Session) -> None:
        self._session = session
        session.vouch()

    def message(self, message: str | bytes) -> None:
        frame = binary_frame(message) if isinstance(message, bytes) else text_frame(b"4" + message.encode())
        self._session.send([frame])

    def writable(self) -> None:
        """Nothing waits here."""

    def upgraded(self) -> None:
        """The session knows its wire."""

    def closed(self) -> None:
        """Nothing is kept."""


class EchoMember:
    """Socket.IO: `message` comes back as `message-back`, `message-with-ack` as its ack."""

    def __init__(self, socket: NamespaceSocket) -> None:
        self._socket = socket

    def event(self, arguments: list[Any], ack_id: str, binary: bool = False) -> None:
        name, *rest = arguments
        if name == "message":
            self._socket.emit("message-back", *rest)
        elif name == "message-with-ack":
            self._socket.ack(ack_id, *rest)
        elif name == "emit-with-ack":
            self._socket.emit("ask", *rest, on_ack=lambda answer: self._socket.emit("answered", *answer))

    def writable(self) -> None:
        """Nothing waits here."""

    def upgraded(self) -> None:
        """The socket knows its wire."""

    def closed(self) -> None:
        """Nothing is kept."""


class EchoApplication:
    """Lets everybody in, and tells them what they said about themselves."""

    namespaces = frozenset(("/", "/custom"))

    def connect(self, socket: NamespaceSocket, auth: Mapping[str, Any]) -> None:
        socket.accept(new_peer_id("echo"), EchoMember(socket))
        # the suite listens anew for each message, and would miss one that comes in the same read as the last
        asyncio.get_running_loop().call_later(APART, socket.emit, "auth", auth)


class EchoServers:
    """Both paths, as one ASGI application and the doors beside it."""

    def __init__(self, settings: Settings = SETTINGS, *, origins: frozenset[str] | None = None) -> None:
        application = EchoApplication()
        self.engine = EngineServer(Echo, settings=settings, origins=origins)
        self.socketio = EngineServer(
            lambda session: Connection(session, application), settings=settings, origins=origins
        )
        self.websockets = WebSocketSettings(
            doors={"/engine.io": self.engine.door, "/socket.io": self.socketio.door}, origins=origins
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        server = self.engine if scope["path"].startswith("/engine.io") else self.socketio
        await server(scope, receive, send)

    def stop(self) -> None:
        """Ends all sessions."""
        self.engine.stop()
        self.socketio.stop()


class _Server(uvicorn.Server):
    """uvicorn that ends the sessions first: a poll that waits would hold it up."""

    def __init__(self, config: uvicorn.Config, servers: EchoServers) -> None:
        super().__init__(config)
        self._servers = servers

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._servers.stop()
        await super().shutdown(sockets)


async def _serve(port: int, settings: Settings) -> None:
    servers = EchoServers(settings)
    with socket.create_server(("127.0.0.1", port), backlog=1_024) as listener:
        config = uvicorn.Config(
            servers, ws=protocol_class(servers.websockets), http="httptools", lifespan="off", log_level="warning"
        )
        await _Server(config, servers).serve(sockets=[listener])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="tests.bridge.socketio_echo", description=__doc__)
    parser.add_argument("--port", type=int, default=3000)
    parser.add_argument("--slow", action="store_true", help="the usual times, not the suites'")
    options = parser.parse_args()
    serving = _serve(options.port, Settings() if options.slow else SETTINGS)
    try:
        import uvloop
    except ImportError:
        asyncio.run(serving)
    else:
        uvloop.run(serving)


if __name__ == "__main__":
    main()
