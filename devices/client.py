"""paho-mqtt on an asyncio event loop: no thread but for the moment of connecting (paho connects blocking).

Works on asyncio's selector loop and on uvloop. The only module that knows paho. MQTT 3.1.1, clean sessions.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Self
from urllib.parse import urlsplit

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from devices.session import NotConnected, Publish, StationError

__all__ = ["AccessRefused", "Address", "MqttClient"]

CHECK_SECONDS: Final = 1.0
"""How often paho looks at its keep-alive."""
REFUSALS: Final = frozenset({"Bad user name or password", "Not authorized"})
"""paho's names for the CONNACK codes 4 and 5. [MQTT-3.2.2.3]"""

log = logging.getLogger(__name__)


class AccessRefused(StationError):
    """The broker refused the credentials."""


class Address(NamedTuple):
    """Where a broker listens."""

    host: str
    port: int
    tls: bool
    websocket: bool
    path: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Reads `mqtt://`, `mqtts://`, `ws://` or `wss://`; the path of the last two is `/mqtt`. Raises ValueError."""
        parts = urlsplit(url)
        port = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}.get(parts.scheme)
        if port is None or not parts.hostname:
            raise ValueError("the broker's address must look like mqtt://host:1883, mqtts://, ws:// or wss://")
        path = parts.path if parts.path not in ("", "/") else "/mqtt"
        websocket, tls = parts.scheme in ("ws", "wss"), parts.scheme in ("mqtts", "wss")
        return cls(parts.hostname, parts.port or port, tls, websocket, f"{path}?{parts.query}" if parts.query else path)

    @property
    def url(self) -> str:
        """As `parse` reads it, without a user's name or password."""
        scheme = ("ws" if self.websocket else "mqtt") + "s" * self.tls
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}{self.path if self.websocket else ''}"


class MqttClient:
    """One MQTT client; must be made and used in one event loop.

    Args:
        on_message: gets topic, payload and the RETAIN flag.
        connect_timeout: seconds for TCP, TLS, WebSocket and CONNACK, each.
        ssl_context: for TLS; None: the system's authorities decide.

    Attributes:
        closed: set while there is no connection.
    """

    def __init__(
        self,
        address: Address,
        client_id: str,
        *,
        on_message: Callable[[str, bytes, bool], None],
        keepalive: int,
        connect_timeout: float,
        max_inflight: int,
        max_queued: int,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_message, self._timeout, self._max_queued = on_message, connect_timeout, max_queued
        # reconnect_on_failure would let paho reconnect, blocking, inside a callback
        self._paho = paho = Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=True,
            transport="websockets" if address.websocket else "tcp",
            reconnect_on_failure=False,
        )
        paho.connect_timeout = connect_timeout
        paho.max_inflight_messages = max_inflight
        paho.max_queued_messages_set(max_queued)
        if address.tls:
            paho.tls_set_context(ssl_context or ssl.create_default_context())
        if address.websocket:
            paho.ws_set_options(path=address.path)
        paho.connect_async(address.host, address.port, keepalive)
        paho.on_connect, paho.on_disconnect = self._connack, self._gone
        paho.on_message, paho.on_publish, paho.on_subscribe = self._message, self._published, self._subscribed
        paho.on_socket_register_write, paho.on_socket_unregister_write = self._want_write, self._no_write
        paho.on_socket_close = self._detach
        self._fd: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._answer: asyncio.Future[ReasonCode] = self._loop.create_future()
        self._suback: asyncio.Future[None] = self._loop.create_future()
        self._acks: dict[int, asyncio.Future[None]] = {}
        self.closed = asyncio.Event()
        self.closed.set()

    async def connect(self, username: str, password: str | None, will: Publish) -> None:
        """Connects. What an earlier connection left without an acknowledgement is sent again.

        Raises:
            AccessRefused: the broker does not take the credentials.
            OSError: the broker is out of reach, or answers what it should not; TimeoutError is one.
        """
        paho = self._paho
        paho.username_pw_set(username, password)
        paho.will_set(will.topic, will.payload, will.qos, will.retain)
        self._answer = self._loop.create_future()
        connecting = self._loop.run_in_executor(None, paho.reconnect)
        try:
            await asyncio.shield(connecting)
        except asyncio.CancelledError:
            connecting.add_done_callback(self._abandoned)
            raise
        except ValueError as error:  # paho's word for a certificate or a host name that is no good
            raise OSError(str(error)) from error
        self._attach()
        try:
            # not wait_for: in Python 3.11 that swallows a cancellation that comes with the answer
            async with asyncio.timeout(self._timeout):
                reason = await self._answer
        except BaseException:
            self.abort()
            raise
        if reason.is_failure:
            refused = AccessRefused if str(reason) in REFUSALS else ConnectionRefusedError
            raise refused(f"the broker refused the connection: {reason}")

    def subscribe(self, filters: Sequence[str], qos: int) -> "asyncio.Future[None]":
        """Subscribes; done once the broker answered, or is gone. What it does not allow is logged."""
        self._paho.subscribe([(name, qos) for name in filters])
        self._suback = self._loop.create_future()
        return self._suback

    def publish(self, message: Publish) -> "asyncio.Future[None] | None":
        """Publishes; with QoS 1 gives a future that is done once the broker acknowledged.

        Raises:
            StationError: too many messages wait for an acknowledgement.
        """
        info = self._paho.publish(message.topic, message.payload, message.qos, message.retain)
        if info.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
            raise StationError(f"{self._max_queued} messages wait for the broker already: not sent")
        if message.qos == 0:
            return None
        ack = self._acks[info.mid] = self._loop.create_future()
        return ack

    def disconnect(self) -> None:
        """Sends DISCONNECT, so that the broker forgets the will, and closes."""
        self._paho.disconnect()
        self._paho.loop_write()
        self.abort()

    def abort(self) -> None:
        """Closes the socket without a word; the broker publishes the will."""
        sock = self._paho.socket()
        if sock is not None:
            self._unwatch()
            sock.close()
            self._paho.loop_read()  # paho finds the socket closed and cleans up

    def give_up(self) -> None:
        """No connection will follow: who still waits for an acknowledgement gets NotConnected."""
        for ack in self._acks.values():
            if not ack.done():
                ack.set_exception(NotConnected("closed before the broker acknowledged"))
                ack.exception()  # so that one that nobody waits for is not logged
        self._acks.clear()

    # ---- the socket

    def _abandoned(self, connecting: "asyncio.Future[Any]") -> None:
        """Nobody waits for this connection any more."""
        if not connecting.cancelled() and connecting.exception() is None:
            self.abort()

    def _attach(self) -> None:
        sock = self._paho.socket()
        if sock is None:
            raise ConnectionResetError("the broker closed the connection")
        self._fd = sock.fileno()
        self._loop.add_reader(self._fd, self._readable)
        if self._paho.want_write():
            self._loop.add_writer(self._fd, self._paho.loop_write)
        self.closed.clear()
        self._timer = self._loop.call_later(CHECK_SECONDS, self._check)

    def _unwatch(self) -> None:
        if self._fd is not None:
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
            self._fd = None
        if self._timer is not None:
            self._timer.cancel()

    def _readable(self) -> None:
        self._paho.loop_read()
        sock = self._paho.socket()
        # what TLS has decrypted already wakes no selector
        if sock is not None and self._fd is not None and hasattr(sock, "pending") and sock.pending():
            self._loop.call_soon(self._readable)

    def _check(self) -> None:
        self._timer = self._loop.call_later(CHECK_SECONDS, self._check)
        self._paho.loop_misc()

    # ---- paho's callbacks; those of the socket come from the connecting thread, too, while there is no _fd

    def _want_write(self, _client: Client, _data: Any, _socket: Any) -> None:
        if self._fd is not None:
            self._loop.add_writer(self._fd, self._paho.loop_write)

    def _no_write(self, _client: Client, _data: Any, _socket: Any) -> None:
        if self._fd is not None:
            self._loop.remove_writer(self._fd)

    def _detach(self, _client: Client, _data: Any, _socket: Any) -> None:
        if self._fd is not None:
            self._unwatch()

    def _connack(
        self, _client: Client, _data: Any, _flags: ConnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        if not self._answer.done():
            self._answer.set_result(reason)

    def _gone(
        self, _client: Client, _data: Any, _flags: DisconnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        self.closed.set()
        if not self._suback.done():
            self._suback.set_result(None)
        if not self._answer.done():
            self._answer.set_exception(ConnectionResetError(f"the broker closed the connection: {reason}"))
            self._answer.exception()

    def _message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self._on_message(message.topic, bytes(message.payload), message.retain)

    def _published(
        self, _client: Client, _data: Any, mid: int, _reason: ReasonCode, _properties: Properties | None
    ) -> None:
        ack = self._acks.pop(mid, None)
        if ack is not None and not ack.done():
            ack.set_result(None)

    def _subscribed(
        self, _client: Client, _data: Any, _mid: int, reasons: list[ReasonCode], _properties: Properties | None
    ) -> None:
        refused = sum(reason.is_failure for reason in reasons)
        if refused:
            log.warning("the broker refused %d of %d subscriptions", refused, len(reasons))
        if not self._suback.done():
            self._suback.set_result(None)
