"""What stands between a transport and a connection: a shell (TCP, TLS, WebSocket) gives `Wire`, and feeds a `Feed`."""

from collections.abc import Mapping
from typing import Any, Final, Protocol

__all__ = ["HIGH_WATER", "LOW_WATER", "Feed", "Wire"]

HIGH_WATER: Final = 64 * 1024
"""Bytes in a transport's buffer above which `Feed.drained` will tell when no more than `LOW_WATER` are left."""
LOW_WATER: Final = 16 * 1024


class Wire(Protocol):
    """A byte stream to one client, as a shell gives it.

    Attributes:
        client: address of the peer, for logs.
        mark: with more than so many bytes in its buffer, `Feed.drained` will tell that they have left.
        certificate: of the client, as `ssl.SSLSocket.getpeercert()` gives it; None without one.
    """

    client: str
    mark: int
    certificate: Mapping[str, Any] | None

    def send(self, data: bytes) -> None:
        """Hands on whole MQTT packets, one or many."""

    def buffered(self) -> int:
        """Bytes that were sent and that the network has not taken yet."""

    def pause(self) -> None:
        """Stops reading; what was read already may still come. Twice is once."""

    def resume(self) -> None:
        """Goes on reading."""

    def close(self) -> None:
        """Ends the stream when what was sent has left, or after some seconds. `Feed.lost` follows."""

    def abort(self) -> None:
        """Ends the stream now. `Feed.lost` follows."""


class Feed(Protocol):
    """What a shell tells of its transport."""

    def receive(self, data: bytes) -> None:
        """Takes the next piece of what the client sent, wherever it is cut."""

    def drained(self) -> None:
        """There is room again in the transport's buffer."""

    def lost(self) -> None:
        """The transport is gone; told once."""
