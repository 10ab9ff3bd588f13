"""`/stations`: which there are, how they are, and what they log in with (contract.md section 5)."""

from typing import Annotated, Any, Final, Literal, get_args

import orjson
from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request, Response
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from bridge.http.audit import AuthorOf
from bridge.http.errors import responses
from bridge.http.identity import GatewayOf, Viewer
from bridge.http.paging import LongLimit, Offset
from bridge.http.station_models import (
    CreatedStation,
    NewStation,
    RotatedKey,
    StationChanges,
    StationHistory,
    StationItem,
    StationPage,
    Tag,
)
from bridge.payloads import StationList
from devices.topics import STATION_ID
from hub.auth import Identity
from hub.station_list import SortKey, StationFilter
from hub.stations import NoSuchStation, Station, StationExists, Stations

__all__ = ["NO_SUCH_STATION", "StationIdPath", "StationsOf", "router"]

router = APIRouter(prefix="/stations", tags=["stations"])

PAGE_STATUS_BYTES: Final = 4_000_000
"""Bytes of statuses that one page holds; what a station reports may be up to 1 MB."""
NO_SUCH_STATION: Final = "Station not found"

Sort = Literal[
    "id", "name", "location", "createdAt", "lastSeen", "-id", "-name", "-location", "-createdAt", "-lastSeen"
]  # fmt: skip
StationIdPath = Annotated[str, Path(pattern=f"^{STATION_ID.pattern}$")]


async def stations_of(request: Request) -> Stations:
    """The stations that the application was made with."""
    stations: Stations = request.app.state.stations
    return stations


StationsOf = Annotated[Stations, Depends(stations_of)]


@router.get("/online", responses=responses(401, 403, 503))
async def online_stations(gateway: GatewayOf, _: Viewer) -> StationList:
    """Ids of the stations online, sorted."""
    gateway.services.require_link()
    return StationList(stations=gateway.services.presence.online_ids())


@router.get("", response_model=StationPage, responses=responses(400, 401, 403, 503))
async def list_stations(
    stations: StationsOf,
    who: Viewer,
    q: Annotated[
        Annotated[str, Field(max_length=128)] | SkipJsonSchema[None],
        Query(description="Somewhere in id, name or location."),
    ] = None,
    tag: Tag | SkipJsonSchema[None] = None,
    state: Literal["online", "offline"] | SkipJsonSchema[None] = None,
    registered: Annotated[bool | SkipJsonSchema[None], Query(description="Whether somebody entered it.")] = None,
    sort: Annotated[Sort, Query(description="`-`: descending; who is online counts as seen last.")] = "id",
    status: Annotated[bool, Query(description="false: without statuses, for who has them pushed.")] = True,
    limit: LongLimit = 50,
    offset: Offset = 0,
) -> Response:
    """All stations, those included that were only heard of."""
    key: SortKey = next(key for key in get_args(SortKey) if key == sort.removeprefix("-"))
    which = StationFilter(
        q=q,
        tag=tag,
        online=None if state is None else state == "online",
        registered=registered,
        sort=key,
        descending=sort.startswith("-"),
    )
    found, total = await stations.page(which, limit=limit, offset=offset, status=status)
    items, room = list[dict[str, Any]](), PAGE_STATUS_BYTES
    for station in found:
        size = len(station.status or b"")
        items.append(_item(station, who, with_status=size <= room))
        room -= size if size <= room else 0
    return _json({"items": items, "total": total, "limit": limit, "offset": offset})


@router.post("", status_code=201, response_model=CreatedStation, responses=responses(400, 401, 403, 409, 503))
async def create_station(gateway: GatewayOf, stations: StationsOf, by: AuthorOf, body: NewStation) -> Response:
    """Enters a station. The answer holds its device key, which cannot be shown again."""
    try:
        station, issued = await stations.create(body.station_id, body.changes(), by)
    except StationExists:
        raise HTTPException(409, "The station exists") from None
    gateway.revoke_station(*issued.credential)
    return _json(_item(station, by.identity) | {"key": issued.key}, 201)


@router.get("/{station_id}", response_model=StationItem, responses=responses(400, 401, 403, 404, 503))
async def read_station(stations: StationsOf, who: Viewer, station_id: StationIdPath) -> Response:
    """One station."""
    try:
        return _json(_item(await stations.read(station_id), who))
    except NoSuchStation:
        raise HTTPException(404, NO_SUCH_STATION) from None


@router.get("/{station_id}/history", response_model=StationHistory, responses=responses(400, 401, 403, 404, 503))
async def read_history(gateway: GatewayOf, stations: StationsOf, _: Viewer, station_id: StationIdPath) -> Response:
    """The numbers of the last ten minutes, for charts."""
    try:
        ages, series = await stations.history(station_id)
    except NoSuchStation:
        raise HTTPException(404, NO_SUCH_STATION) from None
    now = gateway.services.clock.wall_ms()
    times = [now - round(age * 1000) for age in ages]
    items = [{"deviceId": one.device_id, "metric": one.metric, "values": one.values} for one in series]
    return _json({"stationId": station_id, "now": now, "times": times, "series": items})


@router.patch("/{station_id}", response_model=StationItem, responses=responses(400, 401, 403, 404, 503))
async def change_station(
    stations: StationsOf, by: AuthorOf, station_id: StationIdPath, body: StationChanges
) -> Response:
    """Changes what somebody entered of a station."""
    try:
        return _json(_item(await stations.change(station_id, body.changes(), by), by.identity))
    except NoSuchStation:
        raise HTTPException(404, NO_SUCH_STATION) from None


@router.delete("/{station_id}", status_code=204, responses=responses(400, 401, 403, 404, 503))
async def delete_station(gateway: GatewayOf, stations: StationsOf, by: AuthorOf, station_id: StationIdPath) -> None:
    """Deletes a station: it is disconnected, its key and all its tokens are void."""
    try:
        credential = await stations.delete(station_id, by)
    except NoSuchStation:
        raise HTTPException(404, NO_SUCH_STATION) from None
    gateway.revoke_station(*credential)


@router.post("/{station_id}/key", status_code=201, responses=responses(400, 401, 403, 404, 503))
async def rotate_station_key(
    gateway: GatewayOf, stations: StationsOf, by: AuthorOf, station_id: StationIdPath
) -> RotatedKey:
    """Gives a station another device key; the old one and all its tokens are void, its connections are cut."""
    try:
        issued = await stations.rotate(station_id, by)
    except NoSuchStation:
        raise HTTPException(404, NO_SUCH_STATION) from None
    gateway.revoke_station(*issued.credential)
    return RotatedKey(station_id=station_id, key=issued.key)


def _item(station: Station, who: Identity, *, with_status: bool = True) -> dict[str, Any]:
    """A `StationItem`, with the status as the JSON that it is already."""
    entry, verdict = station.entry, station.verdict
    cameras: list[dict[str, Any]] = entry.cameras if entry else []
    if not who.has("operator"):
        cameras = [camera | {"url": ""} for camera in cameras]
    return {
        "stationId": station.station_id,
        "name": entry.name if entry else "",
        "location": entry.location if entry else "",
        "tags": entry.tags if entry else [],
        "cameras": cameras,
        "registered": entry is not None,
        "createdAt": entry.created_at if entry else None,
        "updatedAt": entry.updated_at if entry else None,
        "presence": {
            "state": verdict.state if verdict else "offline",
            "since": verdict.since if verdict else None,
            "via": verdict.via if verdict else None,
        },
        "status": orjson.Fragment(station.status) if station.status and with_status else None,
    }


def _json(value: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status, media_type="application/json")
