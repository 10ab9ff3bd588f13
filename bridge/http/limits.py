"""Refuses request bodies that are too large before they are read into memory."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bridge.http.errors import failure
from devices.messages import MAX_MESSAGE

__all__ = ["BodyLimit"]


class _TooLarge(Exception):
    pass


class BodyLimit:
    """ASGI middleware: 413 for a body over `MAX_MESSAGE` bytes, declared or not."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        left, started = MAX_MESSAGE, False
        declared = dict(scope["headers"]).get(b"content-length", b"0")

        async def limited() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise _TooLarge
            return message

        async def noted(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            if declared.isdigit() and int(declared) > MAX_MESSAGE:
                raise _TooLarge
            await self._app(scope, limited, noted)
        except _TooLarge:
            if not started:
                await failure(413, f"The body is larger than {MAX_MESSAGE} bytes")(scope, receive, send)
