"""Every MQTT payload of StationHub as a pydantic model, and how to read and write one.

    MessageError
      (the one error of this module: what was wrong, never the sender's own text)

Read with `decode(Model, raw)`, write with `encode(model)`. Field names on the wire are camelCase, as in the existing system.
"""

from typing import Annotated, Any, Final, Literal, TypeVar

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from devices.topics import STATION_ID

__all__ = [
    "DEVICE_STATES",
    "MAX_MESSAGE",
    "Birth",
    "Call",
    "Command",
    "CommandReply",
    "Device",
    "DeviceState",
    "Json",
    "MemberRecord",
    "Message",
    "MessageError",
    "NodeRecord",
    "Offline",
    "PeerPush",
    "Record",
    "RevokedRecord",
    "RoomAction",
    "RoomRecord",
    "Signal",
    "SocketRecord",
    "StationId",
    "Status",
    "StreamResponse",
    "Summary",
    "UserRecord",
    "Verdict",
    "decode",
    "encode",
    "is_relayed",
    "load",
    "pack",
    "relayed",
    "why",
]

MAX_MESSAGE: Final = 1_000_000
"""Bytes: the largest payload and the largest WebSocket message (contract.md section 7)."""


class MessageError(ValueError):
    """A payload that is not what its topic promises.

    Attributes:
        reason: what is wrong, in the model's words; holds nothing that the sender wrote.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _encodable(value: Any) -> Any:
    try:
        orjson.dumps([[[[[[[[value]]]]]]]])  # room for the objects that it will be put into
    except (TypeError, RecursionError):  # orjson's own error is a TypeError
        raise ValueError("nested too deep") from None
    return value


Json = Annotated[Any, AfterValidator(_encodable)]
"""Any JSON value that can be written again: not nested deeper than the encoder goes."""

# in pydantic's regular expressions `$` is the end of the text alone, never before a last newline
StationId = Annotated[str, Field(pattern=f"^{STATION_ID.pattern}$")]
Text = Annotated[str, Field(min_length=1, max_length=256)]
Millis = Annotated[int, Field(ge=0, le=2**53)]


class Message(BaseModel):
    """Base of every payload: camelCase on the wire, unknown fields ignored, numbers and texts not mixed up."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", strict=True, hide_input_in_errors=True
    )


DeviceState = Literal["online", "offline", "warning", "error"]
DEVICE_STATES: Final[tuple[DeviceState, ...]] = ("online", "warning", "offline", "error")
"""From the best to the worst: who warns still works, who is offline does not, who reports an error asks for somebody now."""


class Summary(Message):
    """How many devices are in which state."""

    online: int = 0
    offline: int = 0
    warning: int = 0
    error: int = 0


class Device(Message):
    """One device of a station (contract.md section 4); extra fields pass through."""

    model_config = ConfigDict(extra="allow")

    device_id: Annotated[str, Field(max_length=256)]
    name: Annotated[str, Field(max_length=256)] = ""
    type: Annotated[str, Field(max_length=64)] = ""
    status: DeviceState = "online"
    metrics: dict[str, Any] = Field(default_factory=dict)


class Status(Message):
    """StationStatusPayload (contract.md section 4); extra fields pass through.

    `updated_at` is in milliseconds since 1970; None until the hub fills it in, like `summary`.
    """

    model_config = ConfigDict(extra="allow")

    station_id: str = ""
    updated_at: int | float | None = None
    devices: list[Device] = Field(default_factory=list, max_length=10_000)
    summary: Summary | None = None

    def summarized(self) -> Summary:
        """The summary sent, or one counted from the devices."""
        if self.summary is not None:
            return self.summary
        counts = {"online": 0, "offline": 0, "warning": 0, "error": 0}
        for device in self.devices:
            counts[device.status] += 1
        return Summary(**counts)

    def worst(self) -> DeviceState:
        """The worst state of its devices, whatever the summary says; without devices "online"."""
        found = {device.status for device in self.devices}
        return next((state for state in reversed(DEVICE_STATES) if state in found), "online")


class Birth(Message):
    """`stations/{sid}/online`: a station says that it is there.

    Attributes:
        session_id: opaque; new for every session. A will names the session that it belongs to.
        keepalive: the MQTT keep-alive in seconds.
        status_interval: seconds between two status messages, when the station reports on its own.
    """

    session_id: Text
    boot: Json = None
    caps: Json = None
    keepalive: Annotated[float, Field(gt=0, le=65_535)] | None = None
    status_interval: Annotated[float, Field(gt=0, le=86_400)] | None = None


class Offline(Message):
    """`stations/{sid}/offline`: the last will, or with reason "goodbye" a clean leave."""

    station_id: str = ""
    session_id: Annotated[str, Field(max_length=256)] | None = None
    reason: Literal["will", "goodbye"] = "will"


class Call(Message):
    """`stations/{sid}/call`: the station calls the centre."""

    timestamp: Millis | None = None


class Command(Message):
    """`stations/{sid}/cmd`: the hub asks a station to do something.

    Attributes:
        type: `report-status`, `join-room`, `start-stream`, or a device command such as `open-gate`.
        expires_at: milliseconds since 1970 after which the station must not act.
        ttl_ms: the same as a duration, for a station without a right clock: counted from arrival.
    """

    type: Annotated[str, Field(min_length=1, max_length=64)]
    id: Text | None = None
    requester_id: Annotated[str, Field(max_length=256)] | None = None
    expires_at: Millis | None = None
    ttl_ms: Millis | None = None
    params: Json = None
    room_id: Text | None = None
    inviter_id: Text | None = None
    camera_id: Text | None = None
    offer: Json = None


class CommandReply(Message):
    """`stations/{sid}/reply`: how a command goes."""

    id: Text
    stage: Literal["received", "progress", "done", "error", "expired", "duplicate"]
    result: Json = None
    error: Annotated[str, Field(max_length=4096)] | None = None


class StreamResponse(Message):
    """`stations/{sid}/stream`: the answer to `start-stream`."""

    requester_id: Text
    status: Text
    url: Annotated[str, Field(max_length=8192)] | None = None
    answer: Json = None
    error: Annotated[str, Field(max_length=4096)] | None = None
    camera_id: Annotated[str, Field(max_length=256)] | None = None


class Signal(Message):
    """`stations/{sid}/signal/in` and `/out`: WebRTC relay for a station that is a peer."""

    event: Literal["offer", "answer", "ice-candidate", "peer-joined", "peer-left", "peer-disconnected"]
    peer: Text
    room_id: Text | None = None
    offer: Json = None
    answer: Json = None
    candidate: Json = None


class RoomAction(Message):
    """`stations/{sid}/room`: a station enters or leaves a room."""

    action: Literal["join", "leave"]
    room_id: Text


class Record(Message):
    """Base of the retained records under `live/`: who wrote it, and which of two is the newer.

    Attributes:
        nid: the node that wrote it.
        epoch: one more than the highest seen, for each new writer.
        rev: counts the writer's own changes.
    """

    nid: str = ""
    epoch: Annotated[int, Field(ge=0, le=2**53)] = 0
    rev: Annotated[int, Field(ge=0, le=2**53)] = 0

    @property
    def version(self) -> tuple[int, int, str]:
        """Greater is newer; a replica applies only what is greater than what it has."""
        return self.epoch, self.rev, self.nid


class Verdict(Record):
    """`live/stations/{sid}`, retained: the hub's presence verdict. `since` is in milliseconds since 1970."""

    state: Literal["online", "offline"]
    session_id: str | None = None
    since: Millis = 0
    via: Literal["mqtt", "websocket"] | None = None
    reason: str | None = None


class RoomRecord(Record):
    """`live/rooms/{rid}`, retained: a room exists. `created_at` is in milliseconds since 1970."""

    created_at: Millis = 0


class MemberRecord(Message):
    """`live/rooms/{rid}/{pid}`, retained: a peer is in a room; written by the node that holds the peer."""

    nid: str
    joined_at: Millis = 0


class SocketRecord(Message):
    """`live/sockets/{sid}/{pid}`, retained: a WebSocket speaks for a station; written by the node that holds it."""

    session_id: Text
    user_id: Text


class UserRecord(Message):
    """`live/users/{uid}`, retained: the one valid session of a user; the greater (issued_at, session_id) is the newer."""

    session_id: Text
    issued_at: float = 0.0


class RevokedRecord(Message):
    """`live/revoked/{sid}`, retained: what a station was given before `valid_from` (seconds since 1970) is no good any more.

    `deleted`: the station itself is gone.
    """

    valid_from: Annotated[float, Field(ge=0)]
    deleted: bool = False


class NodeRecord(Message):
    """`live/nodes/{nid}`, retained: a node is there; written again every few seconds, cleared by its will."""

    beat: Annotated[int, Field(ge=0)] = 0


class PeerPush(Message):
    """`peers/{nid}/{pid}`: an event for one socket of another node.

    Attributes:
        id: tells a message that came twice.
        station: deliver only while the socket speaks for this station.
    """

    id: Text
    event: Text
    data: Json = None
    station: StationId | None = None


M = TypeVar("M", bound=BaseModel)


_RELAYED: Final = b'"hubRelay":true'


def relayed(payload: bytes) -> bytes:
    """Marks a JSON object that the hub publishes for a station on WebSocket: it is no sign of life of the station's MQTT side."""
    return payload[:-1] + (b"," if len(payload) > 2 else b"") + _RELAYED + b"}"


def is_relayed(payload: bytes) -> bool:
    """Whether `relayed` marked it. A station that marks its own messages counts as not on MQTT, and harms itself alone."""
    return _RELAYED in payload


def why(error: ValidationError) -> str:
    """`field: what is wrong` of the first finding, in the model's words only."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    # extra="allow" models put the sender's own keys into loc; past the first level only positions are safe to repeat
    where = str(first["loc"][0]) if first["loc"] else "data"
    text = first["msg"].removeprefix("Value error, ")
    if first["type"] in ("too_long", "too_short"):
        text = text.partition(", not ")[0]  # the sender's own count could read as a status code
    return f"{where}: {text}"


def load(raw: bytes | bytearray | memoryview) -> dict[str, Any]:
    """The JSON object of a payload. Raises MessageError: not JSON, not an object, too large."""
    if len(raw) > MAX_MESSAGE:
        raise MessageError(f"data: larger than {MAX_MESSAGE} bytes")
    try:
        value = orjson.loads(raw)
    except ValueError:
        raise MessageError("data: not valid JSON") from None
    if not isinstance(value, dict):
        raise MessageError("data: not an object")
    return value


def decode(model: type[M], raw: bytes | bytearray | memoryview) -> M:
    """Reads one payload.

    Raises:
        MessageError: not JSON, not an object, too large, or not what `model` says.
    """
    value = load(raw)
    try:
        return model.model_validate(_encodable(value))  # unknown fields of a status pass through, and must be writable
    except ValidationError as error:
        raise MessageError(why(error)) from None
    except ValueError as error:
        raise MessageError(f"data: {error}") from None


def encode(message: BaseModel) -> bytes:
    """Writes one payload: camelCase, without fields that were left out or None."""
    return pack(message.model_dump(by_alias=True, exclude_none=True))


def pack(value: Any) -> bytes:
    """JSON that is to be kept: orjson's own results hold some kilobytes each, however short (measured with 3.13).

    Raises:
        TypeError: orjson's own, for what is nested too deep or no JSON.
    """
    return bytes(memoryview(orjson.dumps(value)))
