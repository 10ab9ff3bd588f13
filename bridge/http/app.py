"""The HTTP application: one router a subject, one shape of errors."""

from fastapi import FastAPI

from bridge.gateway import Gateway
from bridge.http import auth, errors, rooms, stations, system
from bridge.http.limits import BodyLimit

__all__ = ["create_app"]


def create_app(gateway: Gateway) -> FastAPI:
    """The application for one gateway; WebSockets do not pass through it (see `bridge.connection`)."""
    app = FastAPI(title="StationHub", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.gateway = gateway
    app.add_middleware(BodyLimit)
    errors.install(app)
    for subject in (system, auth, rooms, stations):
        app.include_router(subject.router)
    return app
