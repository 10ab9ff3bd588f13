"""What browsers send with an event and get back in its ack (contract.md section 2), as pydantic models."""

from typing import Annotated, Literal

from pydantic import Field

from devices.messages import Json, Message, StationId

__all__ = [
    "Answer",
    "Candidate",
    "CommandDone",
    "CommandRequest",
    "Exists",
    "Invite",
    "Joined",
    "Nothing",
    "Offer",
    "Pong",
    "Register",
    "RequestSent",
    "RoomId",
    "StationList",
    "StationOnly",
    "StreamRequest",
    "To",
    "Unwatch",
    "Via",
    "Wanted",
    "Watch",
    "Watching",
]

Id = Annotated[str, Field(min_length=1, max_length=128)]
MAX_WATCHED = 20_000


class Nothing(Message):
    """Whatever was sent is not looked at."""


class RoomId(Message):
    """A room."""

    room_id: Id


class StationOnly(Message):
    """A station."""

    station_id: StationId


class Register(StationOnly):
    """`station-register`; `session_id` is opaque."""

    session_id: Annotated[str, Field(min_length=1, max_length=256)] | None = None


class Invite(StationOnly):
    """`station-invite`."""

    room_id: Id


class StreamRequest(StationOnly):
    """`station-cmd-request-stream`; `offer` is relayed as it is."""

    camera_id: Annotated[str, Field(min_length=1, max_length=256)]
    offer: Json = None


class CommandRequest(StationOnly):
    """`station-command`; `timeout_ms` is the deadline in milliseconds."""

    type: Annotated[str, Field(min_length=1, max_length=64)]
    params: Json = None
    timeout_ms: Annotated[int, Field(ge=100, le=60_000)] = 5_000


Watched = Annotated[list[StationId], Field(max_length=MAX_WATCHED)]


class Wanted(Message):
    """What may stand beside the token at a login; `watch` None: all statuses."""

    watch: Watched | None = None
    states: bool = False


class Watch(Message):
    """`station-watch`; `states` None: as it is."""

    stations: Watched
    states: bool | None = None


class Unwatch(Message):
    """`station-unwatch`; None: back to all, without states, as a connection begins that asks for nothing."""

    stations: Watched | None = None


class To(Message):
    """Base of the signaling events: `to` is a peer id, or the id of a room that the sender is in."""

    to: Id


class Offer(To):
    """`offer`; what a peer connection made, relayed as it is."""

    offer: Annotated[dict[str, Json], Field(min_length=1)]


class Answer(To):
    """`answer`."""

    answer: Annotated[dict[str, Json], Field(min_length=1)]


class Candidate(To):
    """`ice-candidate`; an empty object ends the candidates."""

    candidate: dict[str, Json]


class Pong(Message):
    """Ack of `ping`; `ts` in milliseconds since 1970."""

    pong: Literal[True] = True
    ts: int


class Exists(Message):
    """Ack of `check-room`."""

    exists: bool


class Joined(Message):
    """Ack of `join-room`: the others in join order."""

    room_id: str
    peers: list[str]


class StationList(Message):
    """Ack of `get-online-stations`: ids, sorted."""

    stations: list[str]


class RequestSent(Message):
    """Ack of `station-cmd-request-stream`."""

    status: Literal["request-sent"] = "request-sent"


class Via(Message):
    """Ack of `station-request-status`."""

    via: Literal["websocket", "mqtt"]


class CommandDone(Message):
    """Ack of `station-command`; `ms` is how long it took."""

    id: str
    stage: Literal["done"] = "done"
    result: Json = None
    ms: int


class Watching(Message):
    """Ack of `station-watch` and `station-unwatch`."""

    watching: int
