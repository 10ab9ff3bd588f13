"""Refuses request bodies that are too large, before anything is made of them."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bridge.http.errors import failure
from devices.messages import MAX_MESSAGE

__all__ = ["BodyLimit"]


class BodyLimit:
    """ASGI middleware: 413 for a body over `MAX_MESSAGE` bytes, declared or not; no more than that is ever held."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = await _read(scope, receive)
        if body is None:
            await failure(413, f"The body is larger than {MAX_MESSAGE} bytes")(scope, receive, send)
            return
        first: Message | None = {"type": "http.request", "body": body, "more_body": False}

        async def replay() -> Message:
            nonlocal first
            message, first = first, None
            return await receive() if message is None else message

        await self._app(scope, replay, send)


async def _read(scope: Scope, receive: Receive) -> bytes | None:
    """The body, or None when it is too large."""
    headers = dict(scope["headers"])
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > MAX_MESSAGE:
        return None
    chunks, size = list[bytes](), 0
    more = bool(declared) or b"transfer-encoding" in headers
    while more:
        message = await receive()
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > MAX_MESSAGE:
            return None
        more = message.get("more_body", False)
    return b"".join(chunks)
