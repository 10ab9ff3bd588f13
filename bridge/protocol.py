"""The native frames of `/ws`, sans-IO: JSON text in and out (contract.md section 1).

{"id":7,"event":"join-room","data":{...}}        a request; without `id` no ack is wanted
{"id":7,"ack":{...}}  {"id":7,"error":"CODE: text"}    its answer
{"event":"peer-joined","data":{...}}             a push
"""

from typing import Any

import orjson

from bridge.errors import EventError, invalid

__all__ = ["Request", "ack", "failure", "parse", "push"]

MAX_ID = 128
_ID_TYPES = frozenset((int, float, str, type(None)))  # as JSON gives them; a bool is none of these


Request = tuple[int | float | str | None, str, Any]
"""Id (None: no ack wanted), event and data."""


def parse(message: str | bytes) -> Request:
    """Reads one frame.

    Raises:
        EventError: INVALID_ARGUMENT, saying what is wrong with it.
    """
    if isinstance(message, bytes):
        raise invalid("message: binary frames are not taken")
    try:
        frame = orjson.loads(message)
    except ValueError:
        raise invalid("message: not valid JSON") from None
    if not isinstance(frame, dict):
        raise invalid("message: not an object")
    request_id, event = frame.get("id"), frame.get("event")
    if type(request_id) not in _ID_TYPES:
        raise invalid("id: not a number or a text")
    if isinstance(request_id, str) and len(request_id) > MAX_ID:
        raise invalid(f"id: longer than {MAX_ID} characters")
    if not isinstance(event, str):
        raise _With(request_id, "event: not a text")
    return request_id, event, frame.get("data")


class _With(EventError):
    """An error that belongs to a request whose id could be read."""

    def __init__(self, request_id: int | float | str | None, reason: str) -> None:
        super().__init__("INVALID_ARGUMENT", reason)
        self.request_id = request_id


def ack(request_id: int | float | str, value: bytes) -> bytes:
    """The answer to a request; `value` is JSON already, `null` for nothing to return."""
    return b'{"id":' + orjson.dumps(request_id) + b',"ack":' + value + b"}"


def failure(request_id: int | float | str | None, error: EventError) -> bytes:
    """What a request that was refused gets."""
    frame: dict[str, Any] = {"error": str(error)}
    if request_id is None:
        request_id = getattr(error, "request_id", None)
    if request_id is not None:
        frame = {"id": request_id} | frame
    if error.detail is not None:
        frame["detail"] = error.detail
    return orjson.dumps(frame)


def push(event: str, data: bytes) -> bytes:
    """An event for a client; `data` is JSON already."""
    return b'{"event":"' + event.encode() + b'","data":' + data + b"}"
