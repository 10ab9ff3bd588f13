"""Engine.IO's polling as an ASGI application: the client's packets come by POST, its own wait for a GET."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Final

import orjson
import structlog
from starlette.types import Receive, Scope, Send

from bridge.connection import HIGH_WATER
from bridge.handshake import handshake_of_scope, origin_allowed
from bridge.socketio.engine import Engine
from bridge.socketio.engine_packets import encode_payload
from bridge.socketio.parts import BAD_METHOD, BAD_REQUEST, FULL, ORIGIN, POLLING, TOO_LARGE, EngineError
from bridge.socketio.session import Session

__all__ = ["Polling"]

log = structlog.get_logger(__name__)

_TEXT: Final = b"text/plain; charset=UTF-8"
_JSON: Final = b"application/json"
_OK: Final = b"ok"


class Polling:
    """The application; it answers every path that it is given.

    Args:
        origins: see `bridge.connection.Settings.origins`.
    """

    def __init__(self, engine: Engine, origins: frozenset[str] | None) -> None:
        self._engine, self._origins = engine, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            await self._answer(scope, receive, send)
        except EngineError as refused:
            body = orjson.dumps({"code": refused.code, "message": str(refused)})
            # the rest of a body that is too large is not waited for
            await _respond(send, refused.status, body, _JSON, close=refused.status in (TOO_LARGE[0], FULL[0]))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        handshake, method = handshake_of_scope(scope), scope["method"]
        if not origin_allowed(handshake.headers, self._origins):
            raise EngineError(*ORIGIN)
        session = self._engine.session_of(handshake.query, POLLING, opens=method == "GET")
        if session is None:
            session = self._engine.open(handshake, POLLING)
            await _respond(send, 200, encode_payload([session.opening()]))
        elif method == "GET":
            await _get(session, receive, send)
        elif method == "POST":
            await _post(session, handshake.headers, receive, send)
        else:
            raise EngineError(*BAD_METHOD)


async def _get(session: Session, receive: Receive, send: Send) -> None:
    """Answers a poll, when there is something to say."""
    ready: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    session.poll(partial(_settle, ready, True))
    lost = True
    try:
        if not await _wait(ready, receive):
            raise EngineError(*BAD_REQUEST)  # nobody is there to hear it
        body = session.take()
        lost = False
        await _respond(send, 200, body)
    finally:
        session.poll_done(lost=lost)


async def _wait(ready: asyncio.Future[bool], receive: Receive) -> bool:
    """Whether `ready` came before the client went away."""
    if ready.done():
        return True
    gone = asyncio.ensure_future(_gone(receive))
    gone.add_done_callback(partial(_gone_is_done, ready))
    try:
        return await ready
    finally:
        gone.cancel()


def _gone_is_done(ready: asyncio.Future[bool], gone: asyncio.Future[None]) -> None:
    if not gone.cancelled():
        gone.exception()  # whatever the server says, it is not there any more
    _settle(ready, False)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _settle(ready: asyncio.Future[bool], value: bool) -> None:
    if not ready.done():
        ready.set_result(value)


async def _post(session: Session, headers: Mapping[str, str], receive: Receive, send: Send) -> None:
    """Takes the client's packets."""
    settings = session.settings
    session.post_begins()
    body = None
    try:
        async with asyncio.timeout(settings.post_timeout):
            body = await _read(headers, receive, settings.max_payload)
    except TimeoutError:
        raise EngineError(*BAD_REQUEST) from None
    finally:
        if body is None:
            session.post_failed("payload not read")
    try:
        session.post(body)
    except EngineError:
        raise
    except Exception as error:
        log.error("polling failed", client=session.client, error=f"{type(error).__name__}: {error}")
        log.debug("where it failed", exc_info=error)
        session.fail("internal error")
        raise EngineError(500, BAD_REQUEST[1], "Internal error") from None
    await _respond(send, 200, _OK)


async def _read(headers: Mapping[str, str], receive: Receive, limit: int) -> bytes:
    """The body.

    Raises:
        EngineError: it is too large, or its client went away.
    """
    declared = headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > len(str(limit)) or int(declared) > limit):
        raise EngineError(*TOO_LARGE)
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise EngineError(*BAD_REQUEST)
        body += message.get("body", b"")
        if len(body) > limit:
            raise EngineError(*TOO_LARGE)
        more = message.get("more_body", False)
    return bytes(body)


async def _respond(send: Send, status: int, body: bytes, content_type: bytes = _TEXT, *, close: bool = False) -> None:
    headers = [
        (b"content-type", content_type),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    if close:
        headers.append((b"connection", b"close"))
    if status == FULL[0]:
        headers.append((b"retry-after", b"5"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if len(body) > HIGH_WATER:
        # the end is taken only when the socket took most of it: so the client cannot poll for more than it reads
        await send({"type": "http.response.body", "body": body, "more_body": True})
        body = b""
    await send({"type": "http.response.body", "body": body})
