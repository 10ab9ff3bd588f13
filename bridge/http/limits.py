"""Refuses bodies that are too many, too large, too slow, or no JSON where they claim to be, before anything is made of them."""

import asyncio
from typing import Final

import orjson
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bridge.http.errors import NOT_JSON, failure
from devices.messages import MAX_MESSAGE
from hub.throttle import network_of

__all__ = ["BODY_SECONDS", "NETWORK_BYTES", "SMALL_BYTES", "TOTAL_BYTES", "BodyBudget", "BodyLimit"]

SMALL_BYTES: Final = 16 * 1024
"""Of a body that is never too much."""
TOTAL_BYTES: Final = 64 * 1024 * 1024
"""Of all larger ones that are under way."""
NETWORK_BYTES: Final = 16 * 1024 * 1024
"""Of those from one network (see `hub.throttle.network_of`)."""
BODY_SECONDS: Final = 30.0
"""Seconds for a whole body to arrive."""


class BodyLimit:
    """ASGI middleware: no more than `MAX_MESSAGE` bytes of a body are ever held.

    413 for a larger one, declared or not; 408 for one that does not arrive; 400 for JSON that RFC 8259 does not know (NaN, lone
    surrogates, other encodings than UTF-8) or that is nested too deep: Python's own reader would let it in.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await _read(headers, receive)
        except TimeoutError:
            await failure(408, "The body did not arrive in time", {"Connection": "close"})(scope, receive, send)
            return
        except _Gone:
            return
        refused = _refusal(headers, body)
        if refused is not None:
            await refused(scope, receive, send)
            return
        first: Message | None = {"type": "http.request", "body": body, "more_body": False}

        async def replay() -> Message:
            nonlocal first
            message, first = first, None
            return await receive() if message is None else message

        await self._app(scope, replay, send)


class BodyBudget:
    """ASGI middleware: bounds the bytes of all large bodies under way, in all and of one network, whoever sends them.

    503 for who would go beyond; what a request held is given back with its end. Small ones, as every login is, always pass: so
    nobody is kept out by others who send large ones.
    """

    def __init__(self, app: ASGIApp, *, total: int = TOTAL_BYTES, share: int = NETWORK_BYTES) -> None:
        self._app, self._total, self._share = app, total, share
        self._held = 0
        self._of: dict[str, int] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        network, seen, held = network_of(str(scope["client"][0])) if scope["client"] else "", 0, 0

        async def counted() -> Message:
            nonlocal seen, held
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > SMALL_BYTES:
                self._take(network, seen - held)
                held = seen
            return message

        try:
            await self._app(scope, counted, send)
        except _Full:
            await failure(503, "Too much is being sent at once", {"Retry-After": "5", "Connection": "close"})(
                scope, receive, send
            )
        finally:
            self._give(network, held)

    def _take(self, network: str, size: int) -> None:
        if self._held + size > self._total or self._of.get(network, 0) + size > self._share:
            raise _Full
        self._held += size
        self._of[network] = self._of.get(network, 0) + size

    def _give(self, network: str, size: int) -> None:
        if size:
            self._held -= size
            self._of[network] -= size
            if not self._of[network]:
                del self._of[network]


class _Full(Exception):
    """There is no room for more of a body."""


class _Gone(Exception):
    """The client hung up in the middle of its request."""


async def _read(headers: Headers, receive: Receive) -> bytes | None:
    """The body, or None when it is too large. Raises _Gone."""
    declared = headers.get("content-length", "")
    if declared.isdigit() and int(declared) > MAX_MESSAGE:
        return None
    chunks, size = list[bytes](), 0
    more = bool(declared) or "transfer-encoding" in headers
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > MAX_MESSAGE:
            return None
        more = message.get("more_body", False)
    return b"".join(chunks)


def _refusal(headers: Headers, body: bytes | None) -> Response | None:
    if body is None:
        return failure(413, f"The body is larger than {MAX_MESSAGE} bytes")
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if body and (kind == "application/json" or kind.endswith("+json")):
        try:
            orjson.loads(body)
        except orjson.JSONDecodeError:
            return failure(400, [NOT_JSON])
    return None
