"""The one table of browser events: what each takes, answers, and needs (contract.md section 2)."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel

from bridge.handlers import rooms, stations
from bridge.payloads import (
    Answer,
    Candidate,
    CommandDone,
    CommandRequest,
    Exists,
    Invite,
    Joined,
    Nothing,
    Offer,
    Pong,
    Register,
    RequestSent,
    RoomId,
    StationList,
    StationOnly,
    StreamRequest,
    Unwatch,
    Via,
    Watch,
    Watching,
)
from devices.messages import CommandReply, Status, StreamResponse
from hub.auth import Role

__all__ = ["ADMIN_EVENTS", "EVENTS", "Event"]

Handler = Callable[..., BaseModel | Awaitable[BaseModel | None] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One row.

    Attributes:
        data: the payload's model.
        ack: the model of the answer; None: answered with nothing.
        role: the least role a person needs.
        stations: whether a station's token may use it.
        handler: called with (gateway, peer, data); an awaitable result gets a task, nothing else does.
        broker: answered UNAVAILABLE while the broker is out of reach.
        malformed: the code, where it is not INVALID_ARGUMENT, for a bad field of that name.
    """

    data: type[BaseModel]
    ack: type[BaseModel] | None = None
    role: Role = "viewer"
    stations: bool = False
    handler: Handler
    broker: bool = False
    malformed: tuple[str, str] | None = None


EVENTS: Final[Mapping[str, Event]] = {
    "ping": Event(data=Nothing, ack=Pong, stations=True, handler=rooms.ping),
    "create-room": Event(data=Nothing, ack=RoomId, handler=rooms.create_room),
    "check-room": Event(data=RoomId, ack=Exists, stations=True, handler=rooms.check_room),
    "join-room": Event(data=RoomId, ack=Joined, stations=True, handler=rooms.join_room),
    "leave-room": Event(data=RoomId, stations=True, handler=rooms.leave_room),
    "offer": Event(data=Offer, stations=True, handler=rooms.offer, malformed=("offer", "SIGNAL_OFFER_INVALID")),
    "answer": Event(data=Answer, stations=True, handler=rooms.answer, malformed=("answer", "SIGNAL_ANSWER_INVALID")),
    "ice-candidate": Event(
        data=Candidate, stations=True, handler=rooms.ice_candidate, malformed=("candidate", "SIGNAL_ICE_INVALID")
    ),
    "station-register": Event(data=Register, ack=StationOnly, stations=True, handler=stations.register, broker=True),
    "get-online-stations": Event(data=Nothing, ack=StationList, handler=stations.get_online, broker=True),
    "station-invite": Event(data=Invite, role="operator", handler=stations.invite, broker=True),
    "station-call-center": Event(data=StationOnly, stations=True, handler=stations.call_center, broker=True),
    "station-cmd-request-stream": Event(
        data=StreamRequest, ack=RequestSent, role="operator", handler=stations.request_stream, broker=True
    ),
    "station-cmd-stream-response": Event(
        data=StreamResponse, stations=True, handler=stations.stream_response, broker=True
    ),
    "station-request-status": Event(data=StationOnly, ack=Via, handler=stations.request_status, broker=True),
    "station-status-update": Event(data=Status, stations=True, handler=stations.status_update, broker=True),
    "station-command": Event(
        data=CommandRequest, ack=CommandDone, role="operator", handler=stations.command, broker=True
    ),
    "station-command-reply": Event(data=CommandReply, stations=True, handler=stations.command_reply, broker=True),
    "station-watch": Event(data=Watch, ack=Watching, handler=stations.watch),
    "station-unwatch": Event(data=Unwatch, ack=Watching, handler=stations.unwatch),
}

ADMIN_EVENTS: Final[Mapping[str, Event]] = {"ping": EVENTS["ping"]}
"""What `/ws/admin` takes."""
