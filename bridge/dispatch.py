"""From an event's name and data to its ack or its error: the one way through the table, for both doors."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from pydantic import BaseModel, ValidationError

from bridge.errors import (
    FORBIDDEN,
    INTERNAL,
    NO_SUCH_EVENT,
    TOO_MANY_EVENTS,
    UNAVAILABLE,
    EventError,
    invalid,
)
from bridge.events import EVENTS, Event
from bridge.gateway import Gateway
from bridge.payloads import Nothing, Wanted
from bridge.peer import Peer
from devices.messages import why
from hub.auth import Identity
from hub.link import LinkDown

__all__ = ["Answer", "dispatch", "read_wanted"]

_NOTHING = Nothing()

log = structlog.get_logger(__name__)

Answer = Callable[[bytes, EventError | None], None]
"""Called once with (ack, None), the ack as JSON, `null` for nothing to say, or with (b"", error)."""


def dispatch(
    gateway: Gateway, peer: Peer, name: str, data: Any, answer: Answer, events: Mapping[str, Event] = EVENTS
) -> None:
    """Handles one event; calls `answer` at once, or later for the few events that must wait."""
    gateway.counters.events += 1
    try:
        if not peer.may_send():
            raise EventError(*TOO_MANY_EVENTS)
        event = events.get(name)
        if event is None:
            raise EventError(*NO_SUCH_EVENT)
        if not _allowed(peer.identity, event):
            raise EventError(*FORBIDDEN)
        if event.broker:
            gateway.services.require_link()
        result = event.handler(gateway, peer, _payload(event, data))
    except Exception as error:
        answer(b"", _explain(gateway, name, error))
        return
    if result is None or type(result) is event.ack:  # nearly always, and cheaper than the question below
        answer(_json(result), None)
    elif isinstance(result, Awaitable):
        gateway.spawn(lambda: _later(gateway, name, result, answer))
    else:
        answer(_json(result), None)


async def _later(gateway: Gateway, name: str, result: Awaitable[BaseModel | None], answer: Answer) -> None:
    try:
        ack = _json(await result)
    except Exception as error:
        answer(b"", _explain(gateway, name, error))
    else:
        answer(ack, None)


def _allowed(identity: Identity, event: Event) -> bool:
    return event.stations if identity.role == "station" else identity.has(event.role)


def _payload(event: Event, data: Any) -> BaseModel:
    if event.data is Nothing:
        return _NOTHING
    if not isinstance(data, dict):
        raise invalid("data: binary is not taken" if isinstance(data, bytes) else "data: not an object")
    try:
        return event.data.model_validate(data)
    except ValidationError as error:
        reason = why(error)
        if event.malformed and reason.startswith(event.malformed[0] + ":"):
            raise EventError(event.malformed[1], reason) from None
        raise invalid(reason) from None


def read_wanted(data: Mapping[str, Any]) -> tuple[Wanted, EventError | None]:
    """What a login says beside its token; when that is malformed nothing is wanted, and there is an error to be sent.

    It is no reason to refuse: pages take a refusal to mean "log in again". And who names stations does not want all of them.
    """
    try:
        return Wanted.model_validate(data), None
    except ValidationError as error:
        return Wanted(watch=[]), invalid(why(error))


def _json(ack: BaseModel | None) -> bytes:
    return b"null" if ack is None else ack.__pydantic_serializer__.to_json(ack, by_alias=True)


def _explain(gateway: Gateway, name: str, error: Exception) -> EventError:
    """The error that the sender gets."""
    if isinstance(error, LinkDown):
        error = EventError(*UNAVAILABLE)
    elif not isinstance(error, EventError):
        log.error("event failed", event_name=name, exc_info=error)
        error = EventError(*INTERNAL)
    counts = gateway.counters.errors
    counts[error.code] = counts.get(error.code, 0) + 1
    return error
