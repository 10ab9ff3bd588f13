"""Looks at a client's CONNECT before amqtt does.

amqtt touches the session of whoever owns the client id before it has authenticated anybody: one CONNECT with a wrong password
makes a healthy station deaf. Here it is read, judged and, when refused, answered; amqtt never hears of it.
"""

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

from amqtt.adapters import BufferReader, ReaderAdapter
from amqtt.mqtt.connect import ConnectPacket

__all__ = ["MAX_PACKET", "REFUSED", "Admit", "Connect", "GatedReader"]

MAX_PACKET: Final = 1_000_000
"""Bytes (contract.md section 7)."""
REFUSED: Final = b"\x20\x02\x00\x05"
"""CONNACK, not authorized [MQTT-3.2.2-5]."""
_CONNECT: Final = 1


class Connect(NamedTuple):
    """What decides on a CONNECT; `will_topic` None: it has no will."""

    client_id: str
    username: str | None
    password: str | None
    will_topic: str | None


Admit = Callable[[Connect], bool]


class GatedReader(ReaderAdapter):  # type: ignore[misc]  # amqtt ships no types
    """A stream whose first packet can be looked at; it refuses what is too large, and is at its end from then on."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self._stream, self._refused, self._ahead = stream, False, b""

    async def connect(self) -> Connect | None:
        """The client's CONNECT, which `read` gives once more; None for anything else, which amqtt refuses itself.

        Raises:
            ConnectionResetError: it is too large.
            asyncio.IncompleteReadError: the client went away.
        """
        self._ahead = await self._stream.readexactly(2)
        size, shift = self._ahead[1] & 127, 7
        while self._ahead[-1] > 127 and shift < 28:
            self._ahead += await self._stream.readexactly(1)
            size |= (self._ahead[-1] & 127) << shift
            shift += 7
        if self._ahead[0] >> 4 != _CONNECT:
            return None
        if size > MAX_PACKET:
            raise ConnectionResetError("packet too large")
        self._ahead += await self._stream.readexactly(size)
        try:
            packet = await ConnectPacket.from_stream(BufferReader(self._ahead))
            will_topic = (packet.will_topic or "") if packet.will_flag else None
            return Connect(packet.client_id or "", packet.username, packet.password, will_topic)
        except Exception:  # whatever amqtt's codec makes of a malformed packet
            return None

    async def read(self, n: int = -1) -> bytes:
        """Exactly `n` bytes. Raises ConnectionResetError, IncompleteReadError at the end."""
        # amqtt reads a payload in one piece
        self._refused = self._refused or n > MAX_PACKET
        if self._refused:
            raise ConnectionResetError("packet too large")
        ahead, self._ahead = self._ahead[:n], self._ahead[n:]
        return ahead if len(ahead) == n else ahead + await self._stream.readexactly(n - len(ahead))

    def feed_eof(self) -> None:
        """Ends the stream."""
        self._stream.feed_eof()
