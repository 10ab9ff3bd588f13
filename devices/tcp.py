"""What asyncio has no word for: to end a TCP connection by a reset."""

import asyncio
import socket
import struct
from typing import Final

__all__ = ["reset"]

_AT_ONCE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER on, for 0 seconds: closing sends RST, and forgets what was to be sent."""


def reset(transport: asyncio.Transport) -> None:
    """Ends the connection without a word to the other side; nothing where it has ended."""
    if not transport.is_closing():
        try:
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        except (OSError, AttributeError):
            pass  # closed in this moment, or no socket
    transport.abort()
