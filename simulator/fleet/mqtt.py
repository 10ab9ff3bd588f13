"""One MQTT 3.1.1 connection of a simulated client: an asyncio.Protocol on `devices.mqtt`'s codec, over TCP, TLS or WebSocket.

It frames, acknowledges and keeps alive; what to say is its owner's. No task, no future and no queue of its own: ten thousand of
them live in one process. A broker that reads nothing for long gets no more statuses, and one that acknowledges nothing is left:
nothing grows without bound.

What a broker must answer (CONNECT, SUBSCRIBE, a PUBLISH of QoS 1, PINGREQ) is a question: each answer is told with the moment it
was asked at, and a broker that owes one for too long is left. Nothing is known of a broker while this side reads nothing.
"""

import asyncio
import ssl
from typing import Final, Literal, NamedTuple, Protocol, cast

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
    Pingresp,
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

__all__ = ["Answer", "Connection", "Ending", "Owner", "Question", "connect_packet", "open_connection"]

Answer = Literal["connack", "suback", "puback", "pingresp"]
Ending = Literal["lost", "unanswered", "unreachable"]
"""How a connection ended: it was lost, or given up, as the broker did not answer; or there never was one, as nobody listened."""

ANSWER_WITHIN: Final = 10.0
"""Seconds for an answer; a PINGRESP may take no longer than the keep-alive either."""
CATCH_UP: Final = 1.0
"""Seconds after which who read nothing for a while has read all of that."""
TOO_LATE: Final = 1.0
"""Seconds: a look that is so late was held up here, and what has come meanwhile is not read yet."""
SOON: Final = 0.05
INFINITE: Final = float("inf")
PING: Final = encode(Pingreq(), 4)
BYE: Final = encode(Disconnect(), 4)
PONG: Final = b"\xd0\x00"
MOST_IN_FLIGHT: Final = 1_000
"""Messages of QoS 1 that a broker may leave without an acknowledgement."""


class Question(NamedTuple):
    """What a broker has not answered yet: by what it must, and the moment it was asked at (monotonic seconds)."""

    answer: Answer
    asked: float


class Owner(Protocol):
    """Who is told what comes."""

    def answered(self, connection: "Connection", question: Question, *, joining: bool) -> None:
        """The broker answered; `joining`: it was asked before the subscriptions were there."""

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
        first: CONNECT, with the keep-alive.
        ask_every: seconds without a question after which it asks whether the broker is there; the keep-alive, if that is less.

    Attributes:
        in_flight: messages of QoS 1 that the broker has not acknowledged.
        over: the connection has ended.
        ending: how, and `unanswered` what the broker owed then.
    """

    __slots__ = (
        *("_accepted", "_ask_every", "_asked", "_cause", "_due", "_first", "_full", "_joined", "_keep_alive", "_name"),
        *("_next_id", "_open", "_owner", "_quiet", "_read_since", "_schedule", "_silent", "_slow", "_stream", "_timer"),
        *("_topic", "_transport", "_written", "ending", "in_flight", "over", "unanswered"),
    )

    def __init__(self, owner: Owner, schedule: Schedule, first: Connect, ask_every: float = INFINITE) -> None:
        self._owner, self._schedule = owner, schedule
        self._keep_alive = float(first.keep_alive) or INFINITE
        self._ask_every = min(ask_every, self._keep_alive)
        self._first: bytes = encode(first, 4)
        self._stream: PacketStream | None = None
        self._transport: asyncio.Transport | None = None
        self._due = schedule.real() + ANSWER_WITHIN
        self._timer: Timer | None = schedule.at(self._due, self._look)
        self._cause = ""
        self._silent = self._slow = self._full = self._accepted = self.over = False
        self._topic, self._name = "", b""
        self._quiet: asyncio.Future[None] | None = None
        self._written = self._asked = 0.0
        self._joined, self._read_since = INFINITE, -INFINITE
        self._open: list[Question] = []
        self._next_id = self.in_flight = 0
        self.ending: Ending = "lost"
        self.unanswered: Question | None = None

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
            self._ask("puback")
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
        self._ask("suback")
        self.write(encode(Subscribe(self._identifier(), wanted), 4))

    def ping(self) -> None:
        """Asks whether the broker is there."""
        self._ask("pingresp")
        self.write(PING)

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
        """Waits until everything is answered, or the connection is over."""
        if self._open and not self.over:
            self._quiet = asyncio.get_running_loop().create_future()
            await self._quiet

    @property
    def owed(self) -> Question | None:
        """What the broker owes an answer to for longest; None: nothing, or nothing that is known of."""
        if self._slow or self._silent:
            return None
        return next((each for each in self._open if each.asked >= self._read_since), None)

    def _ask(self, answer: Answer) -> None:
        if self._silent or self.over:
            return
        self._asked = now = self._schedule.real()
        self._open.append(Question(answer, now))
        if (limit := self._limit(answer)) < self._due - now:
            self._arm(limit)

    def _limit(self, answer: Answer) -> float:
        return min(ANSWER_WITHIN, self._keep_alive) if answer == "pingresp" else ANSWER_WITHIN

    # ---- what happens to it

    def reset(self, cause: str, ending: Ending = "lost") -> None:
        """Ends with a TCP reset."""
        if not self._cause:
            self._cause, self.ending = cause, ending
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
        self._slow, self._read_since = False, self._schedule.real() + CATCH_UP
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
            self._arm(SOON)

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
        self._ask("connack")
        self._arm(ANSWER_WITHIN)

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
        if self._stream is None:  # one PUBACK or PINGRESP: nearly all that comes
            if len(data) == 4 and data[0] == 0x40:
                self._acked()
                return
            if data == PONG:
                self._answered("pingresp")
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
                    self._answered("suback")
                    self._joined = min(self._joined, self._schedule.real())
                    self._owner.subscribed(self, packet.codes)
                case Pingresp():
                    self._answered("pingresp")
                case Connack():
                    self._connack(packet.code)
                case _:
                    pass

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish(self._cause or ("closed by the broker" if exc is None else type(exc).__name__))

    # ---- inside

    def _acked(self) -> None:
        self.in_flight = max(0, self.in_flight - 1)
        self._answered("puback")

    def _answered(self, answer: Answer) -> None:
        """Answers of a kind come in the order of their questions. [MQTT-4.6.0]"""
        found = self._open
        for place, question in enumerate(found):
            if question.answer == answer:
                del found[place]
                if question.asked >= self._read_since and not self._slow:
                    self._owner.answered(self, question, joining=question.asked <= self._joined)
                break
        if not found and self._quiet is not None and not self._quiet.done():
            self._quiet.set_result(None)

    def _connack(self, code: int) -> None:
        self._answered("connack")
        if code:
            self._cause = f"refused with code {code}"
            self._owner.refused(self, code)
            self.reset(self._cause)
            return
        self._accepted = True
        self._arm(min(self._ask_every, ANSWER_WITHIN))
        self._owner.accepted(self)

    def _arm(self, seconds: float) -> None:
        """Looks again after so many seconds, and not before."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._due = self._schedule.real() + seconds
        if seconds < INFINITE and not self.over:
            self._timer = self._schedule.at(self._due, self._look)

    def _look(self) -> None:
        """Keeps the connection alive [MQTT-3.1.2-23], asks whether the broker is there, and finds out when it does not answer."""
        self._timer = None
        now = self._schedule.real()
        if self._silent:
            return
        if not self._accepted and not self._slow and not self._open:
            self._give_up(now)
            return
        deadline, question = INFINITE, None
        for each in () if self._slow else self._open:
            if (until := max(each.asked, self._read_since) + self._limit(each.answer)) < deadline:
                deadline, question = until, each
        if question is not None and deadline <= now:
            if now - self._due > TOO_LATE:
                self._arm(TOO_LATE)
                return
            self.unanswered = question
            self.reset(f"no {question.answer.upper()}", "unanswered")
            return
        self._arm(max(SOON, min(deadline, self._keep_up(now)) - now))

    def _keep_up(self, now: float) -> float:
        """Asks, where that is due; gives the moment at which it will be again."""
        if not self._accepted:
            return INFINITE if not self._slow else now + ANSWER_WITHIN
        waits = not self._slow and any(each.answer == "pingresp" for each in self._open)
        if not waits and (
            now - self._written >= self._keep_alive * 0.75 or (now - self._asked >= self._ask_every and not self._slow)
        ):
            self.ping()
        asked = now if waits else self._asked
        return min(self._written + self._keep_alive, asked + self._ask_every)

    def _give_up(self, now: float) -> None:
        """CONNECT could not be said."""
        if self._transport is None:
            self.reset(f"nobody answered within {ANSWER_WITHIN:.0f} s", "unreachable")
        else:
            self.unanswered = Question("connack", now - ANSWER_WITHIN)
            self.reset("no answer to the request for a WebSocket", "unanswered")

    def _finish(self, cause: str) -> None:
        if self.over:
            return
        self.over = True
        self._arm(INFINITE)
        self._transport = None
        if self._quiet is not None and not self._quiet.done():
            self._quiet.set_result(None)
        owner, self._owner = self._owner, _NOBODY
        owner.ended(self, cause)


class _Nobody:
    """Hears nothing more."""

    def answered(self, connection: Connection, question: Question, *, joining: bool) -> None: ...
    def accepted(self, connection: Connection) -> None: ...
    def refused(self, connection: Connection, code: int) -> None: ...
    def subscribed(self, connection: Connection, codes: bytes) -> None: ...
    def message(self, connection: Connection, topic: str, payload: bytes, retained: bool) -> None: ...
    def ended(self, connection: Connection, cause: str) -> None: ...


_NOBODY: Final = _Nobody()


class WebSocketConnection(Connection):
    """The same within WebSocket's binary frames. [MQTT-6.0.0-1]"""

    __slots__ = ("_websocket",)

    def __init__(self, owner: Owner, schedule: Schedule, first: Connect, url: str, ask_every: float) -> None:
        super().__init__(owner, schedule, first, ask_every)
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
    address: Address,
    owner: Owner,
    schedule: Schedule,
    first: Connect,
    context: ssl.SSLContext | None,
    ask_every: float = INFINITE,
) -> tuple[Connection, "asyncio.Task[None]"]:
    """A connection that will say CONNECT, and the task that makes it; it ends by itself when nobody answers.

    Args:
        context: for TLS; None: without.
        ask_every: as of Connection.
    """
    if address.websocket:
        connection: Connection = WebSocketConnection(owner, schedule, first, address.url, ask_every)
    else:
        connection = Connection(owner, schedule, first, ask_every)

    async def make() -> None:
        loop = asyncio.get_running_loop()
        name = address.host if context is not None else None
        try:
            await loop.create_connection(
                lambda: connection, address.host, address.port, ssl=context, server_hostname=name
            )
        except OSError as error:
            connection.reset(f"no connection: {error.strerror or type(error).__name__}", "unreachable")

    return connection, asyncio.create_task(make(), name="simulated connection")
