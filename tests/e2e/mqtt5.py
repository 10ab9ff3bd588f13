"""An MQTT 5 client that asks one thing at a time and gives the broker's reason for its answer."""

import asyncio
from types import TracebackType
from typing import Self

from devices.mqtt.codec import encode
from devices.mqtt.codes import PacketType
from devices.mqtt.packets import Ack, Connack, Connect, Disconnect, Packet, Publish, Suback, Subscribe, SubscribeFilter
from devices.mqtt.stream import PacketStream
from tests.e2e.waiting import GUARD

__all__ = ["Mqtt5"]


class Mqtt5:
    """One connection to the loopback, as a context manager.

    Attributes:
        code: of the CONNACK.
    """

    def __init__(self, port: int, username: str | None, password: str | None, client_id: str = "") -> None:
        self._port, self._id = port, 0
        secret = password.encode() if password is not None else None
        self._login = Connect(client_id, version=5, username=username, password=secret, keep_alive=60)
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        self._packets = PacketStream(5)
        self._answers: list[Packet] = []
        self.code = -1

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        answer = await self._ask(self._login)
        assert isinstance(answer, Connack)
        self.code = answer.code
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if not self._reader.at_eof():
            self._writer.write(encode(Disconnect(), 5))
        self._writer.close()

    async def publish(self, topic: str, payload: bytes = b"{}") -> int:
        """Publishes with QoS 1; the reason of the PUBACK."""
        answer = await self._ask(Publish(topic, payload, qos=1, packet_id=self._next()))
        assert isinstance(answer, Ack)
        assert answer.type is PacketType.PUBACK
        return answer.reason

    async def subscribe(self, topic_filter: str) -> int:
        """Subscribes; the reason of the SUBACK."""
        answer = await self._ask(Subscribe(self._next(), [SubscribeFilter(topic_filter)]))
        assert isinstance(answer, Suback)
        return answer.codes[0]

    async def cut(self) -> Disconnect | None:
        """Waits for the end of the connection; the broker's DISCONNECT, if it sent one."""
        async with asyncio.timeout(GUARD):
            while packet := await self._packet():
                if isinstance(packet, Disconnect):
                    return packet
        return None

    def _next(self) -> int:
        self._id += 1
        return self._id

    async def _ask(self, packet: Packet) -> Packet:
        self._writer.write(encode(packet, 5))
        async with asyncio.timeout(GUARD):
            while (answer := await self._packet()) is not None:
                if not isinstance(answer, Publish):
                    return answer
        raise ConnectionError("the broker closed the connection")

    async def _packet(self) -> Packet | None:
        while not self._answers:
            try:
                data = await self._reader.read(65_536)
            except ConnectionError:
                data = b""
            if not data:
                return None
            self._answers += self._packets.feed(data)
        return self._answers.pop(0)
