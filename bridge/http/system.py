"""Health and metrics."""

from datetime import UTC, datetime
from typing import Any, Final, Literal

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from bridge.http.errors import NO_BROKER, RETRY_SECONDS, responses
from bridge.http.identity import GatewayOf, loopback_or_admin
from bridge.metrics import registry

__all__ = ["router"]

router = APIRouter(tags=["system"])

_METRICS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "Prometheus' text format.", "content": {"text/plain": {"schema": {"type": "string"}}}}
}


class Health(BaseModel):
    """The process answers; the time is ISO 8601, UTC."""

    status: Literal["ok"] = "ok"
    service: Literal["stationhub"] = "stationhub"
    timestamp: datetime


class Ready(BaseModel):
    """The hub can serve."""

    status: Literal["ready"] = "ready"


@router.get("/health")
async def health() -> Health:
    """The process answers."""
    return Health(timestamp=datetime.now(UTC))


@router.get("/ready", responses=responses(503))
async def ready(gateway: GatewayOf) -> Ready:
    """The process answers, and reaches its broker."""
    if not gateway.services.link.connected:
        raise HTTPException(503, NO_BROKER, {"Retry-After": str(RETRY_SECONDS)})
    return Ready()


@router.get(
    "/metrics",
    dependencies=[Depends(loopback_or_admin)],
    response_class=Response,
    responses=_METRICS | responses(401, 403),
)
async def metrics(request: Request, gateway: GatewayOf) -> Response:
    """Counters for Prometheus. Needs no token on the machine itself, elsewhere an admin's."""
    return Response(
        generate_latest(registry(gateway, request.app.state.socketio, request.app.state.database)),
        media_type=CONTENT_TYPE_LATEST,
    )
