"""One MQTT 3.1.1 connection of a simulated client: an asyncio.Protocol on `devices.mqtt`'s codec, over TCP, TLS or WebSocket.

It frames, acknowledges and keeps alive; what to say is its owner's. No task, no future and no queue of its own: ten thousand of
them live in one process. A broker that reads nothing for long gets no more statuses, and one that acknowledges nothing is left:
nothing grows without bound.
"""

import asyncio
import ssl
from typing import Final, Protocol, cast

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

from devices.client import Address
from devices.mqtt.codec import encode, remaining_length, text
from devices.mqtt.codes import MqttError, PacketType
from devices.mqtt.packets import (
    Ack,
    Connack,
    Connect,
    Disconnect,
    Pingreq,
    Publish,
    Suback,
    Subscribe,
    SubscribeFilter,
    Will,
)
from devices.mqtt.stream import PacketStream
from devices.session import Publish as Message
from devices.tcp import reset
from simulator.fleet.schedule import Schedule, Timer

__all__ = ["Connection", "Owner", "connect_packet", "open_connection"]

ANSWER_WITHIN: Final = 10.0
"""Seconds for a CONNACK and a PINGRESP."""
PING: Final = encode(Pingreq(), 4)
BYE: Final = encode(Disconnect(), 4)
PONG: Final = b"\xd0\x00"
MOST_IN_FLIGHT: Final = 1_000
"""Messages of QoS 1 that a broker may leave without an acknowledgement."""


class Owner(Protocol):
    """Who is told what comes."""

    def accepted(self, connection: "Connection") -> None:
        """CONNACK 0."""

    def refused(self, connection: "Connection", code: int) -> None:
        """CONNACK with another code; the connection ends."""

    def subscribed(self, connection: "Connection", codes: bytes) -> None:
        """SUBACK."""

    def message(self, connection: "Connection", topic: str, payload: bytes, retained: bool) -> None:
        """A PUBLISH; QoS 1 is acknowledged already."""

    def ended(self, connection: "Connection", cause: str) -> None:
        """The connection is gone, or was never made; the last call."""


class Connection(asyncio.Protocol):
    """One.

    Args:
        keep_alive: seconds.

    Attributes:
        in_flight: messages of QoS 1 that the broker has not acknowledged.
        over: the connection has ended.
    """

    __slots__ = (
        *("_cause", "_first", "_full", "_heard", "_keep_alive", "_name", "_next_id", "_owner", "_pinged", "_quiet"),
        *(
            "_schedule",
            "_silent",
            "_slow",
            "_stream",
            "_timer",
            "_topic",
            "_transport",
            "_written",
            "in_flight",
            "over",
        ),
    )

    def __init__(self, owner: Owner, schedule: Schedule, first: Connect) -> None:
        self._owner, self._schedule, self._keep_alive = owner, schedule, float(first.keep_alive)
        self._first: bytes = encode(first, 4)
        self._stream: PacketStream | None = None
        self._transport: asyncio.Transport | None = None
        self._timer: Timer | None = schedule.at(schedule.real() + ANSWER_WITHIN, self._no_answer)
        self._cause = ""
        self._pinged = self._silent = self._slow = self._full = self._heard = self.over = False
        self._topic, self._name = "", b""
        self._quiet: asyncio.Future[None] | None = None
        self._written = 0.0
        self._next_id = self.in_flight = 0

    # ---- what it says

    def publish(self, message: Message) -> bool:
        """Sends a message; of QoS 1 at most. False: one of QoS 0 is given up, since the broker does not read."""
        payload, body = message.payload, b""
        if message.qos:
            if self.in_flight >= MOST_IN_FLIGHT:
                self.reset(f"{MOST_IN_FLIGHT:,} messages without an acknowledgement")
                return True
            body = self._identifier().to_bytes(2, "big")
            self.in_flight += 1
        elif self._full:
            return False
        if message.topic is not self._topic:  # nearly always that of the status
            self._topic, self._name = message.topic, text(message.topic)
        head = bytes((0x30 | message.qos << 1 | message.retain,))
        size = remaining_length(len(self._name) + len(body) + len(payload))
        self.write(b"".join((head, size, self._name, body, payload)))
        return True

    def subscribe(self, filters: tuple[str, ...], qos: int) -> None:
        """Subscribes."""
        wanted = [SubscribeFilter(each, qos) for each in filters]
        self.write(encode(Subscribe(self._identifier(), wanted), 4))

    def disconnect(self) -> None:
        """Says goodbye to the broker, which forgets the will, and closes."""
        self.write(BYE)
        if self._transport is not None:
            self._transport.close()

    def write(self, packet: bytes) -> None:
        """Sends a packet that is encoded already. Nothing, while it is silent."""
        transport = self._transport
        if transport is not None and not self._silent:
            self._written = self._schedule.now
            self.send(transport, packet)

    def send(self, transport: asyncio.Transport, data: bytes) -> None:
        """Puts bytes on the wire."""
        transport.write(data)

    def _identifier(self) -> int:
        self._next_id = self._next_id % 65_535 + 1
        return self._next_id

    async def settled(self) -> None:
        """Waits until everything is acknowledged, or the connection is over."""
        if self.in_flight and not self.over:
            self._quiet = asyncio.get_running_loop().create_future()
            await self._quiet

    # ---- what happens to it

    def reset(self, cause: str) -> None:
        """Ends with a TCP reset."""
        self._cause = self._cause or cause
        if self._transport is None:
            self._finish(cause)
            return
        reset(self._transport)

    def fall_silent(self) -> None:
        """Neither reads nor says anything any more, and stays open."""
        self._silent = True
        self.hold()

    def hold(self) -> None:
        """Reads nothing, until `release`."""
        self._slow = True
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def release(self) -> None:
        """Reads again."""
        self._slow = False
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = made = cast("asyncio.Transport", transport)  # whichever the loop's class
        if self.over:  # it was given up while it was being made
            made.abort()
            return
        self.opened(made)

    def opened(self, transport: asyncio.Transport) -> None:
        """The bytes of MQTT may go: says CONNECT."""
        first, self._first = self._first, b""
        self.write(first)

    def data_received(self, data: bytes) -> None:
        self.bytes_came(data)

    def pause_writing(self) -> None:
        """asyncio's: 64 KB wait for the broker."""
        self._full = True

    def resume_writing(self) -> None:
        """asyncio's: it reads again."""
        self._full = False

    def bytes_came(self, data: bytes) -> None:
        """Bytes of MQTT."""
        self._heard, self._pinged = True, False
        if data == PONG:
            return
        if self._stream is None and len(data) == 4 and data[0] == 0x40:  # one PUBACK: nearly all that comes
            self._acked()
            return
        stream = self._stream or PacketStream(4)
        try:
            packets = stream.feed(data)
        except MqttError as error:
            self.reset(f"the broker sent what is no MQTT: {error}")
            return
        self._stream = stream if stream.waits else None
        for packet in packets:
            match packet:
                case Publish():
                    if packet.packet_id is not None:
                        self.write(encode(Ack(PacketType.PUBACK, packet.packet_id), 4))
                    self._owner.message(self, packet.topic, packet.payload, packet.retain)
                case Ack(type=PacketType.PUBACK):
                    self._acked()
                case Suback():
                    self._owner.subscribed(self, packet.codes)
                case Connack():
                    self._connack(packet.code)
                case _:
                    pass

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish(self._cause or ("closed by the broker" if exc is None else type(exc).__name__))

    # ---- inside

    def _acked(self) -> None:
        self.in_flight = max(0, self.in_flight - 1)
        if not self.in_flight and self._quiet is not None and not self._quiet.done():
            self._quiet.set_result(None)

    def _connack(self, code: int) -> None:
        if code:
            self._cause = f"refused with code {code}"
            self._owner.refused(self, code)
            self.reset(self._cause)
            return
        self._arm(self._keep_alive)
        self._owner.accepted(self)

    def _arm(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds:
            self._timer = self._schedule.at(self._schedule.real() + seconds, self._look)

    def _look(self) -> None:
        """Keeps the connection alive [MQTT-3.1.2-23], and finds out when the broker does not: it must say something, too."""
        self._timer = None
        idle = self._schedule.real() - self._written
        if self._silent:
            return
        if self._pinged and not self._slow:
            self.reset("no answer to PINGREQ")
        elif idle >= self._keep_alive * 0.75 or not (self._heard or self._slow):
            self.write(PING)
            self._pinged = True
            self._arm(min(ANSWER_WITHIN, self._keep_alive))
        else:
            self._heard = False
            self._arm(self._keep_alive - idle)

    def _no_answer(self) -> None:
        self._timer = None
        self.reset("no CONNACK")

    def _finish(self, cause: str) -> None:
        if self.over:
            return
        self.over = True
        self._arm(0.0)
        self._transport = None
        if self._quiet is not None and not self._quiet.done():
            self._quiet.set_result(None)
        owner, self._owner = self._owner, _NOBODY
        owner.ended(self, cause)


class _Nobody:
    """Hears nothing more."""

    def accepted(self, connection: Connection) -> None: ...
    def refused(self, connection: Connection, code: int) -> None: ...
    def subscribed(self, connection: Connection, codes: bytes) -> None: ...
    def message(self, connection: Connection, topic: str, payload: bytes, retained: bool) -> None: ...
    def ended(self, connection: Connection, cause: str) -> None: ...


_NOBODY: Final = _Nobody()


class WebSocketConnection(Connection):
    """The same within WebSocket's binary frames. [MQTT-6.0.0-1]"""

    __slots__ = ("_websocket",)

    def __init__(self, owner: Owner, schedule: Schedule, first: Connect, url: str) -> None:
        super().__init__(owner, schedule, first)
        self._websocket = ClientProtocol(parse_uri(url), subprotocols=["mqtt"], max_size=None)  # type: ignore[list-item]  # a NewType of str

    def opened(self, transport: asyncio.Transport) -> None:
        """Asks for the upgrade first."""
        self._websocket.send_request(self._websocket.connect())
        self._flush(transport)

    def send(self, transport: asyncio.Transport, data: bytes) -> None:
        self._websocket.send_binary(data)
        self._flush(transport)

    def data_received(self, data: bytes) -> None:
        websocket, transport = self._websocket, self._transport
        if transport is None:
            return
        websocket.receive_data(data)
        for event in websocket.events_received():
            if not isinstance(event, Frame):
                if websocket.handshake_exc is None:
                    super().opened(transport)
            elif event.opcode in (Opcode.BINARY, Opcode.CONT):
                self.bytes_came(bytes(event.data))
        if websocket.handshake_exc is not None:
            self.reset("the WebSocket was refused")
            return
        self._flush(transport)

    def _flush(self, transport: asyncio.Transport) -> None:
        for data in self._websocket.data_to_send():
            if data and not transport.is_closing():
                transport.write(data)


def connect_packet(client_id: str, username: str, token: str, keep_alive: int, will: Message | None) -> Connect:
    """A CONNECT for a clean session; without a token, without a password."""
    last = None if will is None else Will(will.topic, will.payload, will.qos, will.retain)
    password = token.encode() if token else None
    return Connect(client_id, 4, True, keep_alive, username, password, last)


def open_connection(
    address: Address, owner: Owner, schedule: Schedule, first: Connect, context: ssl.SSLContext | None
) -> tuple[Connection, "asyncio.Task[None]"]:
    """A connection that will say CONNECT, and the task that makes it; it ends by itself when nobody answers.

    Args:
        context: for TLS; None: without.
    """
    if address.websocket:
        connection: Connection = WebSocketConnection(owner, schedule, first, address.url)
    else:
        connection = Connection(owner, schedule, first)

    async def make() -> None:
        loop = asyncio.get_running_loop()
        name = address.host if context is not None else None
        try:
            await loop.create_connection(
                lambda: connection, address.host, address.port, ssl=context, server_hostname=name
            )
        except OSError as error:
            connection.reset(f"no connection: {error.strerror or type(error).__name__}")

    return connection, asyncio.create_task(make(), name="simulated connection")
