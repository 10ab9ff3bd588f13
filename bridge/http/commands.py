"""`/stations/{id}/commands`: sending a command, and what came of it (contract.md section 5)."""

import asyncio
import json
import secrets
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

import orjson
from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BeforeValidator, Field

from bridge.commanding import check_command, command_error, send_command
from bridge.errors import EventError
from bridge.gateway import Gateway
from bridge.http.errors import Failure, failure, responses
from bridge.http.identity import GatewayOf, needs
from bridge.http.paging import Limit, Offset
from bridge.http.stations import NO_SUCH_STATION, StationIdPath, StationsOf
from devices.messages import Json, Message
from hub.auth import Identity
from hub.command_records import CommandRecord, CommandRecords
from hub.link import LinkDown
from hub.stations import NoSuchStation

__all__ = ["router"]

router = APIRouter(prefix="/stations/{station_id}/commands", tags=["commands"])

STATUS: Final = {
    "INVALID_ARGUMENT": 400,
    "STATION_OFFLINE": 409,
    "RESOURCE_EXHAUSTED": 429,
    "STATION_ERROR": 502,
    "STATION_TIMEOUT": 504,
}
"""The HTTP status for the code that an event is refused with."""


def _whole(value: Any) -> Any:
    """5000.0 is an integer in JSON Schema."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _encodable(value: Any) -> Any:
    """Integers beyond 64 bits as the floats that everybody else reads them as."""
    try:
        orjson.dumps(value)
    except TypeError:  # orjson's own error is a TypeError
        try:
            return orjson.loads(json.dumps(value))
        except (RecursionError, ValueError):
            pass
    return value


class CommandBody(Message):
    """A command; `timeoutMs` is its deadline in milliseconds."""

    type: Annotated[str, Field(min_length=1, max_length=64)]
    params: Annotated[Json, BeforeValidator(_encodable)] = None
    timeout_ms: Annotated[int, Field(ge=100, le=60_000), BeforeValidator(_whole)] = 5_000


class CommandItem(Message):
    """A command, and what came of it; times are milliseconds since 1970."""

    id: str
    station_id: str
    type: str
    params: Annotated[Json, Field(description="As sent; null in a record when larger than 64 KiB.")]
    stage: Literal["sent", "done", "error", "timeout", "expired"]
    delivered: Annotated[bool | None, Field(description="Whether the station said that it has it; null: not known.")]
    result: Annotated[Json, Field(description="The station's; null in a record when larger than 64 KiB.")]
    error: Annotated[str | None, Field(description="The station's own words.")]
    ms: Annotated[int | None, Field(description="How long it took.")]
    created_at: int
    finished_at: int | None
    requested_by: Annotated[str, Field(description="A user id.")]


class CommandFailure(Failure):
    """A command that the station did not carry out."""

    detail: Annotated[str | None, Field(description="The station's own words.")]
    command: CommandItem


class CommandPage(Message):
    """Some of a station's commands, newest first."""

    items: list[CommandItem]
    total: Annotated[int, Field(description="How many there are in all.")]
    limit: int
    offset: int


Operator = Annotated[Identity, Depends(needs("operator"))]


async def records_of(request: Request) -> CommandRecords:
    """The records that the application was made with."""
    records: CommandRecords = request.app.state.command_records
    return records


async def station_of(stations: StationsOf, _: Operator, station_id: StationIdPath) -> str:
    """The id of a station that there is. Raises HTTPException 404."""
    try:
        await stations.require(station_id)
    except NoSuchStation:
        raise HTTPException(404, NO_SUCH_STATION) from None
    return station_id


RecordsOf = Annotated[CommandRecords, Depends(records_of)]
StationOf = Annotated[str, Depends(station_of)]

_ENDED_BADLY: Final = {
    status: {"model": CommandFailure, "description": HTTPStatus(status).phrase} for status in (502, 504)
}


@router.post(
    "",
    status_code=201,
    response_model=CommandItem,
    responses=responses(400, 401, 403, 404, 409, 429, 503)
    | _ENDED_BADLY
    | {202: {"model": CommandItem, "description": "Sent; its record tells later what came of it."}},
)
async def send_station_command(
    gateway: GatewayOf,
    records: RecordsOf,
    who: Operator,
    station_id: StationOf,
    body: CommandBody,
    wait: Annotated[bool, Query(description="false: answer 202 at once.")] = True,
) -> Response:
    """Sends a command to a station that is online, and waits for what comes of it."""
    try:
        record, ended = await _send(gateway, records, who, station_id, body)
    except EventError as refused:
        return _refused(refused)
    if not wait:
        return _answer(record, 202)
    # a caller that hangs up changes nothing: the record is followed by a task of its own
    record = await ended
    error = command_error(record.stage, record.delivered, record.error)
    return _answer(record, 201) if error is None else _failed(error, record)


@router.get("", responses=responses(400, 401, 403, 404, 503))
async def list_commands(
    records: RecordsOf, _: Operator, station_id: StationOf, limit: Limit = 50, offset: Offset = 0
) -> CommandPage:
    """The commands that people sent to a station, by whatever door, newest first; kept for 30 days, 100,000 of all stations."""
    found, total = await records.page(station_id, limit=limit, offset=offset)
    return CommandPage(items=[_item(record) for record in found], total=total, limit=limit, offset=offset)


@router.get("/{command_id}", responses=responses(400, 401, 403, 404, 503))
async def read_command(
    records: RecordsOf,
    _: Operator,
    station_id: StationOf,
    command_id: Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")],
) -> CommandItem:
    """What came of a command."""
    record = await records.read(station_id, command_id)
    if record is None:
        raise HTTPException(404, "Command not found")
    return _item(record)


async def _send(
    gateway: Gateway, records: CommandRecords, who: Identity, station_id: str, body: CommandBody
) -> tuple[CommandRecord, asyncio.Future[CommandRecord]]:
    """The record of a command that was sent, and the same once it has ended. Raises EventError, LinkDown, StoreDown."""
    check_command(gateway, station_id, body.type)
    gateway.services.require_link()
    command_id, params, timeout_ms = secrets.token_urlsafe(12), body.params, body.timeout_ms
    # written down first: what a station did must not be unknown to the hub
    record = await records.open(command_id, station_id, body.type, params, timeout_ms, who.user_id)
    try:
        requester = f"http:{who.user_id}"
        _, outcome = send_command(gateway, station_id, body.type, params, timeout_ms, requester, command_id)
    except (EventError, LinkDown):
        await records.discard(record)
        raise
    return record, records.follow(record, outcome)


def _refused(error: EventError) -> JSONResponse:
    """The answer for a command that was not sent."""
    status = STATUS[error.code]
    headers = {"Retry-After": "1"} if status == 429 else None
    return failure(status, [error.text] if status == 400 else error.text, headers)


def _failed(error: EventError, record: CommandRecord) -> Response:
    """The answer for a command that the station did not carry out."""
    status = STATUS[error.code]
    failed = CommandFailure(
        statusCode=status,
        message=error.text,
        error=HTTPStatus(status).phrase,
        detail=error.detail,
        command=_item(record),
    )
    return Response(failed.model_dump_json(by_alias=True), status, media_type="application/json")


def _answer(record: CommandRecord, status: int) -> Response:
    return Response(_item(record).model_dump_json(by_alias=True), status, media_type="application/json")


def _item(record: CommandRecord) -> CommandItem:
    return CommandItem.model_validate({name: getattr(record, name) for name in CommandItem.model_fields})
