"""Listening sockets, bound before anything else starts: a port that is taken is one clear error."""

import socket
from typing import Final

from hub.link import ListenError

__all__ = ["listen"]

BACKLOG: Final = 4_096


def listen(host: str | None, port: int) -> socket.socket:
    """A TCP socket that listens; None: on all interfaces, port 0: on a free port. Raises ListenError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        # with its protocol: asyncio sets TCP_NODELAY only where that is said to be TCP
        listener = socket.socket(*found[:3])
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(found[4])
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise ListenError(host or "*", port, error.strerror or str(error)) from None
    return listener
