"""What is read from a WebSocket, as messages: plain frames are taken in place, websockets judges all others. Pure.

Nearly all that ever comes is whole messages in one masked frame each, many to a read. `FrameReader` takes those as they are,
and hands every other byte to websockets' sans-IO protocol: the handshake, control frames, fragments, what the end of a read has
cut in two, what breaks a rule. It counts what it hands over, so that it knows when that protocol is between two frames again;
once the connection is closing, all is handed over.
"""

from typing import Final

from websockets.frames import CTRL_OPCODES, DATA_OPCODES, OP_TEXT, Frame
from websockets.protocol import CONNECTING, OPEN, Event
from websockets.server import ServerProtocol

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without the compiled part
    from websockets.utils import apply_mask

__all__ = ["FrameReader", "Received"]

Received = str | bytes | Event
"""A whole message, or what websockets made of anything else."""

_BINARY: Final = 0x82  # FIN, no reserved bits, the opcode [RFC 6455, 5.2]
_PLAIN: Final = frozenset((0x81, _BINARY))
_FIN: Final = 0x80
_OPCODE: Final = 0x0F
_OPCODES: Final = frozenset((*DATA_OPCODES, *CTRL_OPCODES))
_CONTROL: Final = 0x08
_MASKED: Final = 0x80
_MASK: Final = 4
_END_OF_HEAD: Final = b"\r\n\r\n"


class FrameReader:
    """The reader of one connection.

    Args:
        protocol: is fed by this reader alone.
        max_message: bytes; a longer frame is left to `protocol`.

    Attributes:
        deferred: a long frame behind others is not judged before they are handled: to go on, feed more, or nothing.
    """

    __slots__ = ("_aligned", "_fragmented", "_left", "_protocol", "_rest", "deferred", "max_message")

    def __init__(self, protocol: ServerProtocol, max_message: int) -> None:
        self._protocol, self.max_message = protocol, max_message
        self._rest = b""  # less than a frame's head
        self._left = 0  # bytes that `protocol` still has to get until it is between two frames
        self._aligned = self._fragmented = self.deferred = False

    def feed(self, data: bytes) -> list[Received]:
        """What a read brings, in order."""
        self.deferred = False
        if self._rest:
            data, self._rest = self._rest + data, b""
        if self._aligned and self._protocol.state is OPEN:
            return self._read(data)
        if self._protocol.state is CONNECTING:
            # frames in one read with the request are begun by `protocol`: nobody knows then where it stands
            self._aligned = data.endswith(_END_OF_HEAD) and data.count(_END_OF_HEAD) == 1
        return self._hand_over(data)

    def _read(self, data: bytes) -> list[Received]:
        found: list[Received] = []
        at, size, limit, fragmented = min(self._left, len(data)), len(data), self.max_message, self._fragmented
        if at:
            found += self._hand_over(data[:at])
            self._left -= at
            if self._protocol.state is not OPEN:
                return found + self._hand_over(data[at:])
        while size - at >= 2:
            first, second = data[at], data[at + 1]
            length, mask = second & 0x7F, at + 2
            if length > 125:
                mask += 2 if length == 126 else 8
                if mask > size and second & _MASKED and first & _OPCODE in _OPCODES:
                    break  # what breaks no rule so far has to wait for its length
                length = int.from_bytes(data[at + 2 : mask])
            start = mask + _MASK
            end = start + length
            if first in _PLAIN and second & _MASKED and end <= size and length <= limit and not fragmented:
                message = apply_mask(data[start:end], data[mask:start])
                found.append(message if first == _BINARY else _text(message))
            elif found and length > limit:
                self.deferred = True  # what was found may raise the limit
                break
            else:
                found += self._hand_over(data[at:end])
                if self._protocol.state is not OPEN:
                    return found + self._hand_over(data[end:])
                self._left = max(0, end - size)
                if not first & _CONTROL:
                    fragmented = not first & _FIN
            at = end
        self._rest, self._fragmented = data[at:], fragmented
        return found

    def _hand_over(self, data: bytes) -> list[Received]:
        self._protocol.receive_data(data)
        return [*self._protocol.events_received()]


def _text(message: bytes) -> Received:
    try:
        return message.decode()
    except UnicodeDecodeError:
        return Frame(OP_TEXT, message)
