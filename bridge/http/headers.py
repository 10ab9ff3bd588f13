"""The outermost layer of the HTTP side: what every answer carries, preflights, and the answer to what nobody foresaw."""

import asyncio
from typing import Final

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bridge.http.context import HttpSettings
from bridge.http.cors import cors_headers, is_preflight, preflight_headers
from bridge.http.errors import failure
from bridge.proxies import client_address

__all__ = ["HSTS", "SECURITY", "Frame"]

SECURITY: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    # nothing in an answer of the API is a page; pages set their own
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
"""On every answer whose route does not say otherwise."""
HSTS: Final = "max-age=31536000"

log = structlog.get_logger(__name__)


class Frame:
    """ASGI middleware: security headers, CORS and HSTS on every answer, errors of the server itself among them.

    Where the hub itself speaks HTTPS, browsers are told to stay with it. `scope["client"]` becomes the client behind the proxies.
    """

    def __init__(self, app: ASGIApp, settings: HttpSettings) -> None:
        self._app, self._settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if scope["client"] is not None:
            forwarded = ",".join(headers.getlist("x-forwarded-for"))
            scope["client"] = (client_address(scope["client"][0], forwarded, self._settings.trusted_proxies), 0)
        started = False

        async def framed(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                self._add(MutableHeaders(raw=message["headers"]), headers)
            await send(message)

        if is_preflight(scope["method"], headers):
            await self._preflight(headers)(scope, receive, framed)
            return
        try:
            await self._app(scope, receive, framed)
        except asyncio.CancelledError:
            # nobody but the server that stops does so: there is nothing after this that could be cancelled
            if not started:
                await failure(503, "The hub is stopping", {"Connection": "close"})(scope, receive, framed)
        except Exception as error:
            log.error("request failed", method=scope["method"], path=scope["path"], exc_info=error)
            if started:
                raise  # half an answer left: only closing the connection tells that it is not whole
            await failure(500, "Internal server error")(scope, receive, framed)

    def _preflight(self, headers: Headers) -> Response:
        allowed = preflight_headers(headers, self._settings.origins)
        return failure(403, "Pages of this origin may not") if allowed is None else Response(None, 204, allowed)

    def _add(self, answer: MutableHeaders, asked: Headers) -> None:
        for name, value in SECURITY.items():
            answer.setdefault(name, value)
        if self._settings.https:
            answer["Strict-Transport-Security"] = HSTS
        for name, value in cors_headers(asked, self._settings.origins).items():
            if name == "Vary":
                answer.add_vary_header(value)
            else:
                answer[name] = value
