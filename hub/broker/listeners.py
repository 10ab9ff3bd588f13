"""The sockets of the embedded broker, TCP and WebSocket, handed to amqtt as connections of an external listener.

So the ports are known, a taken one is one clear error, an oversized packet ends its connection, and closing is bounded.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from amqtt.adapters import ReaderAdapter, StreamWriterAdapter, WebSocketsWriter, WriterAdapter
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from hub.broker.gate import REFUSED, Admit, GatedReader
from hub.link import ListenError

__all__ = ["Accept", "Listeners"]

Accept = Callable[[ReaderAdapter, WriterAdapter], Coroutine[Any, Any, None]]
"""Serves one connection until it ends."""

log = logging.getLogger(__name__)


class _TcpWriter(StreamWriterAdapter):  # type: ignore[misc]
    answered = False

    def write(self, data: bytes) -> None:
        """The first thing that amqtt writes is CONNACK."""
        self.answered = True
        super().write(data)


class _WsWriter(WebSocketsWriter):  # type: ignore[misc]
    answered = False

    def write(self, data: bytes) -> None:
        """The first thing that amqtt writes is CONNACK."""
        self.answered = True
        super().write(data)


class Listeners:
    """Listens for MQTT, on TCP and on WebSocket (any path), and gives each connection to `accept`.

    Args:
        accept: serves one connection.
        admit: decides on its CONNECT, before that.
        connect_timeout: seconds that a client has from its connection to its CONNECT.
    """

    def __init__(self, accept: Accept, admit: Admit, *, connect_timeout: float = 10.0) -> None:
        self._accept, self._admit, self._connect_timeout = accept, admit, connect_timeout
        self._tcp: asyncio.Server | None = None
        self._ws: Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._transports: set[asyncio.WriteTransport] = set()

    @property
    def ports(self) -> tuple[int, int]:
        """The MQTT and the MQTT over WebSocket port, once open."""
        assert self._tcp is not None
        assert self._ws is not None
        return self._tcp.sockets[0].getsockname()[1], next(iter(self._ws.sockets)).getsockname()[1]

    async def open(self, host: str, port: int, ws_port: int) -> None:
        """Listens; port 0 takes a free one. Raises ListenError, and then listens nowhere."""
        # a stranger's bad handshake is no news
        silent = logging.getLogger("websockets.mqtt")
        silent.setLevel(logging.CRITICAL)
        wanted = port
        try:
            self._tcp = await asyncio.start_server(self._tcp_connected, host, port)
            wanted = ws_port
            self._ws = await serve(
                self._ws_connected,
                host,
                ws_port,
                subprotocols=[Subprotocol("mqtt"), Subprotocol("mqttv3.1")],
                compression=None,
                logger=silent,
            )
        except OSError as error:
            self.stop_accepting()
            raise ListenError(host, wanted, error.strerror or str(error)) from None

    def stop_accepting(self) -> None:
        """Closes the listening sockets and leaves the connections."""
        if self._tcp is not None:
            self._tcp.close()
        if self._ws is not None:
            self._ws.close(close_connections=False)

    async def close(self) -> None:
        """Ends every connection that is left."""
        self.stop_accepting()
        for transport in list(self._transports):
            transport.abort()
        tasks = list(self._tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=0.5)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _tcp_connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # a task of ours: what asyncio does with a failed or cancelled one of its own is a traceback
        connection = self._serve(GatedReader(reader), _TcpWriter(writer), writer.transport)
        task = asyncio.create_task(connection, name="mqtt connection")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ws_connected(self, socket: ServerConnection) -> None:
        stream = asyncio.StreamReader()
        feeding = asyncio.create_task(_feed(socket, stream), name="mqtt over websocket")
        try:
            await self._serve(GatedReader(stream), _WsWriter(socket), socket.transport)
        finally:
            feeding.cancel()

    async def _serve(
        self, reader: GatedReader, writer: _TcpWriter | _WsWriter, transport: asyncio.WriteTransport
    ) -> None:
        self._transports.add(transport)
        deadline = asyncio.get_running_loop().call_later(self._connect_timeout, _expire, writer, transport)
        try:
            connect = await reader.connect()
            if connect is not None and not self._admit(connect):
                writer.write(REFUSED)
                await writer.drain()
                await writer.close()
            else:
                await self._accept(reader, writer)
        except Exception as error:
            log.debug("an MQTT connection ended: %s: %s", type(error).__name__, error)
        finally:
            # amqtt leaves some connections open that it serves no more
            deadline.cancel()
            self._transports.discard(transport)
            transport.close()


def _expire(writer: _TcpWriter | _WsWriter, transport: asyncio.WriteTransport) -> None:
    if not writer.answered:
        transport.abort()


async def _feed(socket: ServerConnection, stream: asyncio.StreamReader) -> None:
    try:
        async for message in socket:
            stream.feed_data(message.encode() if isinstance(message, str) else message)
    except ConnectionClosed:
        pass
    finally:
        stream.feed_eof()
