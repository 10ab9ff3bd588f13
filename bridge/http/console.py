"""The console: pages for people, of plain ES modules that are served as they are. Nothing of it comes from elsewhere."""

import re
from pathlib import PurePosixPath
from typing import Final

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import RedirectResponse, Response
from fastapi.staticfiles import StaticFiles

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

_FILES: Final = StaticFiles(packages=[("bridge", "console")])
_TYPES: Final = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
"""What is served; a machine's own table of types may name a script as something that a browser does not run."""
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'{sockets};"
    # a station may answer a request for a stream with an address of its own
    " media-src 'self' blob: http: https:; frame-ancestors 'none'; base-uri 'none'; form-action 'none';"
    # there is no way from a text to an element, a script or an address of one
    " require-trusted-types-for 'script'; trusted-types 'none'"
)
_HOST: Final = re.compile(r"[A-Za-z0-9.-]{1,253}(:\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?")
# asked for at each visit, and answered 304: after an upgrade no page mixes old modules with new ones
_FRESH: Final = {"Cache-Control": "no-cache"}


@router.get("/")
async def console(request: Request) -> Response:
    """The operator's console."""
    return await _page("index.html", request)


@router.get("/edge")
async def edge(request: Request) -> Response:
    """A browser as a station."""
    if request.scope.get("raw_path", b"").endswith(b"/"):
        return RedirectResponse("../edge")  # its own addresses are relative
    return await _page("edge.html", request)


@router.get("/console/{path:path}")
async def console_file(request: Request, path: str) -> Response:
    """What they are made of."""
    kind = _TYPES.get(PurePosixPath(path).suffix)
    if kind is None:
        raise HTTPException(404)
    answer = await _FILES.get_response(path, request.scope)
    answer.headers.update(_FRESH | {"Content-Type": kind})
    return answer


async def _page(name: str, request: Request) -> Response:
    answer = await _FILES.get_response(name, request.scope)
    host = request.headers.get("host", "")
    # to some browsers 'self' is no WebSocket
    sockets = f" ws://{host} wss://{host}" if _HOST.fullmatch(host) else ""
    answer.headers.update(_FRESH | {"Content-Security-Policy": _POLICY.format(sockets=sockets)})
    return answer
