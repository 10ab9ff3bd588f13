"""uvicorn's HTTP protocol with what it lacks: a limit on the size of a request's head, and a time for it to arrive."""

import asyncio
from http import HTTPStatus
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bridge.http.errors import failure
from bridge.http.headers import SECURITY

__all__ = ["HEAD_BYTES", "HEAD_SECONDS", "UNREAD_SECONDS", "HttpProtocol"]

HEAD_BYTES: Final = 64 * 1024
"""Bytes of request line and headers that may come after the first read, which the event loop bounds (256 KiB)."""
HEAD_SECONDS: Final = 10.0
"""Seconds for a whole head, from the connection or from its first byte after an answer."""
UNREAD_SECONDS: Final = 30.0
"""Seconds that an answer may lie unread before the connection is cut."""


class HttpProtocol(HttpToolsProtocol):
    """One HTTP connection; given to uvicorn as its option `http`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self._head_size, self._in_head = 0, False
        self._unread: asyncio.TimerHandle | None = None
        self._late: asyncio.TimerHandle | None = self.loop.call_later(HEAD_SECONDS, transport.close)

    def data_received(self, data: bytes) -> None:
        if self._in_head and b"\r\n\r\n" not in data:  # a read that ends the head may bring a body along
            self._head_size += len(data)
            if self._head_size > HEAD_BYTES:
                self._refuse(431, "The head of the request is too large")
                return
        super().data_received(data)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.loop.call_later(UNREAD_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._read_again()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_size, self._in_head = 0, True
        if self._late is None:
            self._late = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def on_headers_complete(self) -> None:
        self._head_done()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_done()
        self._read_again()
        super().connection_lost(exc)

    def _read_again(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "This is not HTTP")

    def _refuse(self, status: int, message: str) -> None:
        """Answers what never becomes a request, in the contract's shape, and hangs up."""
        answer = failure(status, message, SECURITY | {"Connection": "close"})
        head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
        fields = b"".join(b"%b: %b\r\n" % field for field in answer.raw_headers)
        self.transport.write(head + fields + b"\r\n" + answer.body)
        self.transport.close()

    def _head_done(self) -> None:
        self._in_head = False
        if self._late is not None:
            self._late.cancel()
            self._late = None
