"""The bytes between clients and a hub, cut into what they say: MQTT packets, WebSocket frames, events of both doors.

All that is not looked at is kept as the bytes that came, so that it can be passed on unchanged.
"""

import re
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, NamedTuple

import orjson
from websockets.utils import apply_mask

__all__ = [
    "TEXT",
    "Dialect",
    "Event",
    "Frame",
    "cut_frames",
    "cut_packets",
    "read_event",
    "text_frame",
    "without_extensions",
    "write_event",
]

TEXT: Final = 0x81
"""FIN and the opcode of a text [RFC 6455, 5.2]: the only frames that are looked into."""
_MASKED: Final = 0x80

Dialect = Literal["native", "socketio"]


class Frame(NamedTuple):
    """One MQTT packet or WebSocket frame: its first byte, what it holds (unmasked), and all its bytes."""

    first: int
    body: bytes
    raw: bytes


def cut_packets(data: bytes) -> tuple[list[Frame], bytes]:
    """MQTT packets, and the bytes that are none yet."""
    found, at = list[Frame](), 0
    while True:
        length = shift = 0
        for here in range(at + 1, min(at + 5, len(data))):
            length |= (data[here] & 127) << shift
            shift += 7
            if data[here] < 128:
                break
        else:
            if len(data) - at >= 5:  # no packet at all: the other side's to judge
                return [*found, Frame(0, b"", data[at:])], b""
            break
        start, stop = here + 1, here + 1 + length
        if stop > len(data):
            break
        found.append(Frame(data[at], data[start:stop], data[at:stop]))
        at = stop
    return found, data[at:]


def cut_frames(data: bytes) -> tuple[list[Frame], bytes]:
    """WebSocket frames, and the bytes that are none yet."""
    found, at = list[Frame](), 0
    while len(data) - at >= 2:
        length, start = data[at + 1] & 127, at + 2
        if length > 125:
            start += 2 if length == 126 else 8
            length = int.from_bytes(data[at + 2 : start])
        masked = bool(data[at + 1] & _MASKED)
        stop = start + 4 * masked + length
        if start > len(data) or stop > len(data):
            break
        body = apply_mask(data[start + 4 : stop], data[start : start + 4]) if masked else data[start:stop]
        found.append(Frame(data[at], body, data[at:stop]))
        at = stop
    return found, data[at:]


def text_frame(text: bytes, *, masked: bool, first: int = TEXT) -> bytes:
    """A whole message in one frame; a client's is masked, with zeros."""
    mask = _MASKED if masked else 0
    if (length := len(text)) < 126:
        head = bytes((first, mask | length))
    elif length < 65_536:
        head = bytes((first, mask | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((first, mask | 127)) + length.to_bytes(8, "big")
    return head + bytes(4 * masked) + text


def without_extensions(head: bytes) -> bytes:
    """A handshake that asks for no compression, so that frames can be read."""
    return re.sub(rb"\r\nsec-websocket-extensions:[^\r]*", b"", head, flags=re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Event:
    """What one message says: a request (of a client) or push (of the hub), an ack, or an error in its place.

    Attributes:
        id: of the request, or None.
        event: its name; of an ack: that of its request, if that was seen.
        data: payload, ack value or error text.
        namespace: of Socket.IO: such as `/admin,`, or nothing.
    """

    kind: Literal["event", "ack", "error"]
    id: Any
    event: str
    data: Any
    namespace: str = ""

    def but(self, **changes: Any) -> "Event":
        """The same, changed."""
        return replace(self, **changes)


_PACKET: Final = re.compile(rb"4([23])(/[^,]*,)?(\d*)(\[.*)", re.DOTALL)


def read_event(dialect: Dialect, text: bytes) -> Event | None:
    """What a message says; None: nothing of this kind."""
    try:
        event = _read_native(text) if dialect == "native" else _read_socketio(text)
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    sound = event is not None and isinstance(event.event, str) and isinstance(event.id, int | float | str | None)
    return event if sound else None


def _read_native(text: bytes) -> Event | None:
    frame = orjson.loads(text)
    if "ack" in frame:
        return Event("ack", frame["id"], "", frame["ack"])
    if "error" in frame:
        return Event("error", frame.get("id"), "", frame["error"])
    return Event("event", frame.get("id"), frame["event"], frame.get("data"))


def _read_socketio(text: bytes) -> Event | None:
    if (packet := _PACKET.fullmatch(text)) is None:
        return None
    namespace, request_id = (packet[2] or b"").decode(), int(packet[3]) if packet[3] else None
    values = orjson.loads(packet[4])
    if packet[1] == b"2":
        return Event("event", request_id, values[0], values[1] if len(values) > 1 else None, namespace)
    value = values[0] if values else None
    if isinstance(value, dict) and value.keys() == {"error"}:
        return Event("error", request_id, "", value["error"], namespace)
    return Event("ack", request_id, "", value, namespace)


def write_event(dialect: Dialect, event: Event) -> bytes:
    """The message that says this."""
    if dialect == "native":
        frame: dict[str, Any] = {} if event.id is None else {"id": event.id}
        if event.kind == "event":
            frame |= {"event": event.event, "data": event.data}
        else:
            frame[event.kind] = event.data
        return orjson.dumps(frame)
    head = ("42" if event.kind == "event" else "43") + event.namespace + ("" if event.id is None else str(event.id))
    match event.kind:
        case "event":
            values = [event.event, event.data]
        case "ack":
            values = [] if event.data is None else [event.data]
        case "error":
            values = [{"error": event.data}]
    return head.encode() + orjson.dumps(values)
