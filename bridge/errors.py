"""Everything that a browser can be told went wrong, as one table of (code, text): contract.md sections 1 and 2.

    EventError      an event was refused; its sender gets `CODE: text`
    ConnectRefused  a connection was refused; closed with 4401 and the error string as reason

No text here repeats what a client or a station said, and none but the UNAUTHORIZED ones holds "unauthorized", "jwt" or "401":
pages take those to mean "log in again".
"""

from typing import Final

__all__ = [
    "ADMIN_ONLY",
    "CLOSE_KICKED",
    "CLOSE_OVERLOAD",
    "CLOSE_REFUSED",
    "CLOSE_RESTART",
    "FORBIDDEN",
    "FORBIDDEN_ROOM",
    "FORBIDDEN_STATION",
    "INTERNAL",
    "MISMATCH",
    "NO_SUCH_EVENT",
    "PEER_NOT_FOUND",
    "PEER_STRANGER",
    "RESERVED_COMMAND",
    "ROOM_NOT_FOUND",
    "STATION_ERROR",
    "STATION_NOT_REGISTERED",
    "STATION_OFFLINE",
    "STATION_OFFLINE_OR_UNKNOWN",
    "STATION_TAKEN",
    "STATION_UNREACHABLE",
    "TOO_MANY_COMMANDS",
    "TOO_MANY_EVENTS",
    "TOO_MANY_ROOMS",
    "UNAUTHORIZED",
    "UNAVAILABLE",
    "ConnectRefused",
    "EventError",
    "invalid",
]

CLOSE_REFUSED: Final = 4401
CLOSE_KICKED: Final = 4403
CLOSE_OVERLOAD: Final = 1013
CLOSE_RESTART: Final = 1012


class EventError(Exception):
    """An event was refused.

    Args:
        code: one of the contract's codes.
        text: what a person should know; nothing that a client or station wrote.
        detail: what a station said, in a field of its own.
    """

    def __init__(self, code: str, text: str, detail: str | None = None) -> None:
        super().__init__(code, text, detail)
        self.code, self.text, self.detail = code, text, detail

    def __str__(self) -> str:
        return f"{self.code}: {self.text}"


class ConnectRefused(Exception):
    """A connection was refused; `str()` is the contract's error string."""


def invalid(reason: str) -> EventError:
    """INVALID_ARGUMENT for `field: why`."""
    return EventError("INVALID_ARGUMENT", reason)


UNAUTHORIZED: Final = "UNAUTHORIZED: Unauthorized"
MISMATCH: Final = "UNAUTHORIZED: session mismatch detected"
ADMIN_ONLY: Final = "FORBIDDEN: Admins only"

FORBIDDEN: Final = ("FORBIDDEN", "Your role does not allow this")
FORBIDDEN_STATION: Final = ("FORBIDDEN", "You may not speak for this station")
FORBIDDEN_ROOM: Final = ("FORBIDDEN", "The station was not invited to this room")
INTERNAL: Final = ("INTERNAL", "Internal error")
NO_SUCH_EVENT: Final = ("NOT_FOUND", "Unknown event")
PEER_NOT_FOUND: Final = ("SIGNAL_PEER_NOT_FOUND", "Peer not found")
PEER_STRANGER: Final = ("FORBIDDEN", "You share no room and no stream request with this peer")
ROOM_NOT_FOUND: Final = ("ROOM_NOT_FOUND", "Room not found")
RESERVED_COMMAND: Final = ("INVALID_ARGUMENT", "type: this command is the hub's own, use its event")
STATION_ERROR: Final = ("STATION_ERROR", "The station reported an error")
STATION_NOT_REGISTERED: Final = ("STATION_NOT_REGISTERED", "This connection is not registered as a station")
STATION_OFFLINE: Final = ("STATION_OFFLINE", "Station offline")
STATION_OFFLINE_OR_UNKNOWN: Final = ("STATION_OFFLINE", "Station offline or not found")
STATION_TAKEN: Final = ("STATION_ALREADY_REGISTERED", "Another identity holds this station")
STATION_UNREACHABLE: Final = ("STATION_UNREACHABLE", "Station unreachable")
TOO_MANY_COMMANDS: Final = ("RESOURCE_EXHAUSTED", "Too many commands wait for a reply")
TOO_MANY_ROOMS: Final = ("RESOURCE_EXHAUSTED", "Too many rooms")
TOO_MANY_EVENTS: Final = ("RESOURCE_EXHAUSTED", "Too many events")
UNAVAILABLE: Final = ("UNAVAILABLE", "The broker cannot be reached")
