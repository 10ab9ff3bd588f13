"""JSON acks per second over WebSocket, ours beside its peers: `python -m benchmarks.websocket [--json FILE] [--seconds S]`.

50 connections with 20 requests in flight each, sent from this process over raw sockets to one server process at a time, all
of them on uvloop. Every server does the same work: parse a JSON request, write a JSON ack.

    ours          bridge.connection under uvicorn, with a door that acks
    hub           the same with the hub's own door: token, event table, models, rate and outbox limits
    uvicorn       uvicorn's own `websockets-sansio` with a FastAPI WebSocket endpoint
    websockets    `websockets.asyncio.server`
"""

import argparse
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import orjson
import uvicorn
import uvloop
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websockets

from benchmarks.ack_load import REQUEST, Shape, Target, load
from benchmarks.figures import machine, tell
from bridge.connection import Settings, protocol_class
from bridge.door import Door, Handshake, Wire
from bridge.gateway import Gateway
from bridge.native import NativeDoor
from devices.clock import SystemClock
from hub.auth import Tokens
from hub.authentication import Authenticator
from hub.link import LinkDown, OnConnected, OnMessage
from hub.services import Services

__all__ = ["main"]

SHAPE: Final = Shape(50, 20)
TOKENS: Final = Tokens("a secret of the benchmark, long enough")


def ack(message: bytes | str) -> bytes:
    """The work that every server does for a message."""
    request = orjson.loads(message)
    return orjson.dumps({"id": request["id"], "ack": {"pong": True, "ts": 1_700_000_000_000}})


class AckDoor(Door):
    """Answers every message."""

    def __init__(self, handshake: Handshake) -> None:
        self._wire: Wire

    def opened(self, wire: Wire) -> None:
        self._wire = wire

    def received(self, message: bytes | str) -> None:
        self._wire.send_text(ack(message))

    def writable(self) -> None:
        """Nothing waits."""

    def closed(self, code: int) -> None:
        """Nothing is kept."""


async def _serve_uvicorn(listener: socket.socket, app: FastAPI, ws: Any) -> None:
    config = uvicorn.Config(app, ws=ws, http="httptools", lifespan="off", log_level="error")
    await uvicorn.Server(config).serve(sockets=[listener])


async def serve_ours(listener: socket.socket) -> None:
    """Our protocol class on uvicorn's port."""
    await _serve_uvicorn(listener, FastAPI(), protocol_class(Settings(doors={"/ws": AckDoor})))


class NoBroker:
    """A link that is down: what a ping needs of it."""

    connected = False
    wills_are_final = False

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        raise LinkDown

    def subscribe(self, topic_filter: str, on_message: OnMessage) -> None:
        """Nothing comes."""

    def cut(self, owner: str, refused: Callable[[Any], bool], *, end: bool) -> None:
        """Nobody is connected."""

    def watch_connection(self, on_connected: OnConnected) -> None:
        """Nothing changes."""


async def serve_hub(listener: socket.socket) -> None:
    """The whole native door."""
    services = Services(NoBroker(), SystemClock(), Authenticator(TOKENS))
    gateway = Gateway(services, event_rate=0.0)
    services.start(gateway)
    settings = Settings(doors={"/ws": lambda handshake: NativeDoor(gateway, handshake)})
    await _serve_uvicorn(listener, FastAPI(), protocol_class(settings))


async def serve_fastapi(listener: socket.socket) -> None:
    """uvicorn's own protocol class and FastAPI's endpoint."""
    app = FastAPI()

    @app.websocket("/ws")
    async def endpoint(ws: WebSocket) -> None:
        await ws.accept()
        try:
            while True:
                await ws.send_text(ack(await ws.receive_text()).decode())
        except WebSocketDisconnect:
            pass

    await _serve_uvicorn(listener, app, "websockets-sansio")


async def serve_library(listener: socket.socket) -> None:
    """websockets' asyncio server."""

    async def handler(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(ack(message).decode())

    async with serve_websockets(handler, sock=listener, compression=None) as server:
        await server.serve_forever()


SERVERS: Final[dict[str, Callable[[socket.socket], Awaitable[None]]]] = {
    "ours": serve_ours,
    "hub": serve_hub,
    "uvicorn": serve_fastapi,
    "websockets": serve_library,
}


def measure(name: str, seconds: float) -> int:
    """Starts one server in its own process, loads it, ends it."""
    with socket.create_server(("127.0.0.1", 0), backlog=1_024) as listener:
        command = [sys.executable, "-m", "benchmarks.websocket", "--serve", name, "--fd", str(listener.fileno())]
        server = subprocess.Popen(command, pass_fds=[listener.fileno()])
        port = listener.getsockname()[1]
    path = f"/ws?token={TOKENS.mint_user('benchmark', role=None, type='guest')}"
    try:
        return round(load(Target(port=port, pid=server.pid, path=path, request=REQUEST), SHAPE, seconds)["acks_per_s"])
    finally:
        server.kill()
        server.wait()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.websocket", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    parser.add_argument("--seconds", type=float, default=3.0, help="measured for each server")
    parser.add_argument("--serve", choices=SERVERS, help=argparse.SUPPRESS)
    parser.add_argument("--fd", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        uvloop.run(SERVERS[options.serve](socket.socket(fileno=options.fd)))  # type: ignore[arg-type]  # a coroutine each
        return
    rates = {name: measure(name, options.seconds) for name in SERVERS}
    figures = {
        **machine(),
        "connections": SHAPE.connections,
        "inFlight": SHAPE.in_flight,
        "acksPerSecond": rates,
        "oursTo": {name: round(rates["ours"] / rate, 2) for name, rate in rates.items() if name != "ours"},
        "hubTo": {name: round(rates["hub"] / rate, 2) for name, rate in rates.items() if name != "hub"},
    }
    tell(figures, options.json)


if __name__ == "__main__":
    main()
