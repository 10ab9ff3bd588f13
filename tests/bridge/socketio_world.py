"""The Socket.IO door of a hub, or any other, on a port of the loopback; and the hub behind it without a broker."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from bridge.connection import Settings as WebSocketSettings
from bridge.connection import protocol_class
from bridge.http.server import HttpProtocol
from bridge.monitor import Monitor
from bridge.socketio.application import SocketIo
from bridge.socketio.parts import Settings
from tests.bridge.fakes import Bench

__all__ = ["GUARD", "HubBench", "serving"]

GUARD = 10.0
"""Seconds after which a test that waits has failed."""


class _Server(uvicorn.Server):
    """uvicorn that tells when it accepts, stops at once when told to, and leaves signals alone."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.accepting, self.stopping = asyncio.Event(), asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.accepting.set()

    async def main_loop(self) -> None:
        await self.stopping.wait()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(app: ASGIApp, websockets: WebSocketSettings, stop: Callable[[], None]) -> AsyncIterator[int]:
    """The port of `app` and its WebSockets, in this loop; at the end `stop` is called, and nothing may be left open."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        http=HttpProtocol,
        ws=protocol_class(websockets),
        lifespan="off",
        log_config=None,
        timeout_graceful_shutdown=2,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    await asyncio.wait_for(server.accepting.wait(), GUARD)
    try:
        yield listener.getsockname()[1]
    finally:
        stop()
        server.stopping.set()
        await asyncio.wait_for(task, GUARD)
        assert server.server_state.connections == set()


class HubBench(Bench):
    """A gateway with the Socket.IO door; what it publishes is delivered in the next round of the event loop."""

    def __init__(self, settings: Settings | None = None, **options: Any) -> None:
        super().__init__(**options)
        publish = self.link.publish

        def publish_and_settle(*args: Any, **kwargs: Any) -> None:
            publish(*args, **kwargs)
            asyncio.get_running_loop().call_soon(self.link.settle)

        self.link.publish = publish_and_settle  # type: ignore[method-assign]  # the link's owner settles it elsewhere
        self.socketio = SocketIo(self.gateway, Monitor(self.gateway), settings=settings)

    def serving(self) -> Any:
        """Its port, as a context manager."""
        doors = WebSocketSettings(doors={"/socket.io": self.socketio.door})
        return serving(self.socketio, doors, self.socketio.stop)
