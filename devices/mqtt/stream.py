"""Packets out of a stream of bytes that is cut anywhere. For clients and tests; the broker frames in its own loop."""

from typing import Final

from devices.mqtt.codec import decode
from devices.mqtt.codes import MalformedPacket, ProtocolError, Reason
from devices.mqtt.packets import Connect, Packet

__all__ = ["PacketStream"]

LARGEST: Final = 268_435_460
"""Bytes of the largest packet there is: five of fixed header and the largest remaining length."""


class PacketStream:
    """Splits a stream into packets.

    Args:
        version: of the connection: 3, 4 or 5. A CONNECT that passes sets it, so that it matters to clients alone.
        max_size: bytes a packet may have, its fixed header counted [MQTT-3.1.2-24].
    """

    def __init__(self, version: int, max_size: int = LARGEST) -> None:
        self.version, self.max_size = version, max_size
        self._rest = bytearray()

    @property
    def waits(self) -> bool:
        """Whether a packet has begun, and its rest has not come."""
        return bool(self._rest)

    def feed(self, data: bytes) -> list[Packet]:
        """Takes the next bytes and returns the packets they complete; what is left waits for more.

        Raises MalformedPacket or ProtocolError as `decode` does, and PACKET_TOO_LARGE as soon as a header says so. The
        connection is then over: packets in front of the bad one are lost, and feeding on is pointless.
        """
        rest = self._rest
        rest += data
        packets: list[Packet] = []
        at = 0
        while (frame := self._frame(rest, at)) is not None:
            start, stop = frame
            packet = decode(rest[at], bytes(rest[start:stop]), self.version)
            if type(packet) is Connect:
                self.version = packet.version
            packets.append(packet)
            at = stop
        del rest[:at]
        return packets

    def _frame(self, data: bytearray, at: int) -> tuple[int, int] | None:
        """Where the body of the packet at `at` starts and stops; None until all of it is there."""
        length = shift = 0
        for here in range(at + 1, min(at + 5, len(data))):
            byte = data[here]
            length |= (byte & 127) << shift
            if byte < 128:
                break
            shift += 7
        else:
            if len(data) >= at + 5:
                raise MalformedPacket("the remaining length has more than four bytes")  # 2.1.4
            return None
        if self.version == 5 and not byte and shift:
            raise MalformedPacket("the remaining length has more bytes than it needs")  # [MQTT-1.5.5-1]
        stop = here + 1 + length
        if stop - at > self.max_size:
            raise ProtocolError("a packet is larger than this side allows", Reason.PACKET_TOO_LARGE)
        return (here + 1, stop) if stop <= len(data) else None
