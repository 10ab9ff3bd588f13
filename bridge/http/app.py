"""The HTTP application: one router a subject, one shape of errors, one frame around all answers."""

from importlib.metadata import version

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from bridge.gateway import Gateway
from bridge.http import audit as audit_trail
from bridge.http import auth, commands, console, docs, errors, ice, rooms, system, users
from bridge.http import stations as fleet
from bridge.http.context import HttpSettings
from bridge.http.headers import Frame
from bridge.http.limits import BodyBudget, BodyLimit
from bridge.socketio.application import SocketIo
from hub.accounts import Accounts
from hub.audit import Audit
from hub.command_records import CommandRecords
from hub.stations import Stations
from hub.store.database import Database

__all__ = ["SOCKETIO_PATH", "HttpSettings", "create_app"]

SOCKETIO_PATH = "/socket.io"

SUBJECTS = (system, console, docs, auth, users, rooms, fleet, commands, ice, audit_trail)
_ABOUT = "Stations on MQTT, browsers on WebSocket. Get a token at `/auth`, then press Authorize."


def create_app(
    gateway: Gateway,
    *,
    settings: HttpSettings,
    accounts: Accounts,
    stations: Stations,
    audit: Audit,
    command_records: CommandRecords,
    database: Database,
    socketio: SocketIo,
) -> FastAPI:
    """The application for one gateway; WebSockets do not pass through it (see `bridge.connection`).

    Args:
        socketio: answers what is polled; it reads and bounds its bodies itself.
    """
    app = FastAPI(
        title="StationHub",
        version=version("stationhub"),
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        generate_unique_id_function=_operation_id,
        redirect_slashes=False,
    )
    app.state.gateway, app.state.settings = gateway, settings
    app.state.socketio, app.state.database = socketio, database
    app.state.accounts, app.state.stations = accounts, stations
    app.state.audit, app.state.command_records = audit, command_records
    app.add_middleware(BodyLimit)
    app.add_middleware(_Paths, path=SOCKETIO_PATH, other=socketio)
    app.add_middleware(BodyBudget)
    app.add_middleware(Frame, settings=settings)  # around the other
    methods: dict[str, list[str]] = {}
    for subject in SUBJECTS:
        app.include_router(subject.router)
        for route in subject.router.routes:
            if isinstance(route, APIRoute):
                methods.setdefault(route.path, []).extend(sorted(route.methods or ()))
    errors.install(app, methods)
    return app


class _Paths:
    """ASGI middleware: hands one path to another application. A slash at the end of a path makes no difference, and HEAD is GET:
    the server sends no body for it.
    """

    def __init__(self, app: ASGIApp, *, path: str, other: ASGIApp) -> None:
        self._app, self._path, self._other = app, path, other

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        path = path[:-1] if path.endswith("/") and path != "/" else path
        if path == self._path:
            await self._other(scope, receive, send)
            return
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        await self._app(dict(scope) | {"path": path, "method": method}, receive, send)


def _operation_id(route: APIRoute) -> str:
    """The name of a route's function, which is therefore unique among all."""
    return route.name
