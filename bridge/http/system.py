"""Health, metrics, and the page at `/`."""

from datetime import UTC, datetime
from importlib.resources import files

from fastapi import APIRouter, Depends, HTTPException
from fastapi.responses import HTMLResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from bridge.http.identity import GatewayOf, loopback_or_admin
from bridge.metrics import registry

__all__ = ["router"]

router = APIRouter(tags=["system"])

_CONSOLE = files("bridge").joinpath("console/index.html").read_text(encoding="utf-8")


@router.get("/health")
async def health() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok", "service": "stationhub", "timestamp": datetime.now(UTC).isoformat()}


@router.get("/ready")
async def ready(gateway: GatewayOf) -> dict[str, str]:
    """The process answers, and reaches its broker."""
    if not gateway.services.link.connected:
        raise HTTPException(503, "The broker cannot be reached")
    return {"status": "ready"}


@router.get("/metrics", dependencies=[Depends(loopback_or_admin)])
async def metrics(gateway: GatewayOf) -> Response:
    """Counters for Prometheus."""
    return Response(generate_latest(registry(gateway)), media_type=CONTENT_TYPE_LATEST)


@router.get("/", response_class=HTMLResponse)
async def console() -> HTMLResponse:
    """The page that signs in and shows the fleet."""
    policy = "default-src 'self'; style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline'; img-src data:"
    return HTMLResponse(
        _CONSOLE,
        headers={
            "Content-Security-Policy": policy + "; connect-src 'self' ws: wss:; frame-ancestors 'none'",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-cache",
        },
    )
