"""Who a client is behind proxies: the same answer for WebSocket and HTTP."""

from typing import Any

import pytest
from starlette.types import Receive, Scope, Send
from websockets.datastructures import Headers
from websockets.http11 import Request

from bridge.handshake import read_handshake
from bridge.http.context import HttpSettings
from bridge.http.headers import Frame

TRUSTED = frozenset({"127.0.0.1", "10.0.0.2", "::0001"})


def by_websocket(peer: str, fields: list[str]) -> str:
    headers = Headers()
    for field in fields:
        headers["X-Forwarded-For"] = field
    return read_handshake(Request("/ws", headers), (peer, 4711), TRUSTED).client


async def by_http(peer: str, fields: list[str]) -> str:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["client"][0])

    headers = [(b"x-forwarded-for", field.encode("latin-1")) for field in fields]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers, "client": (peer, 4711)}
    nothing: Any = None
    await Frame(app, HttpSettings(trusted_proxies=TRUSTED))(scope, nothing, nothing)
    return seen[0]


@pytest.mark.parametrize(
    ("peer", "fields", "client"),
    [
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", [""], "127.0.0.1"),
        ("127.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("127.0.0.1", ["6.6.6.6, 203.0.113.9"], "203.0.113.9"),
        ("127.0.0.1", ["203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        ("127.0.0.1", ["6.6.6.6", "203.0.113.9", "10.0.0.2"], "203.0.113.9"),
        ("127.0.0.1", ["127.0.0.1, 203.0.113.9"], "203.0.113.9"),
        ("127.0.0.1", ["203.0.113.9,,10.0.0.2, "], "203.0.113.9"),
        ("127.0.0.1", ["10.0.0.2, 127.0.0.1"], "10.0.0.2"),
        ("127.0.0.1", ["203.0.113.9:4711, 10.0.0.2:80"], "203.0.113.9"),
        ("127.0.0.1", ["[2001:db8::1]:99"], "2001:db8::1"),
        ("127.0.0.1", ["2001:0db8:0::1"], "2001:db8::1"),
        ("127.0.0.1", ["203.0.113.9, unknown"], "127.0.0.1"),
        ("127.0.0.1", ["203.0.113.9, <script>, 10.0.0.2"], "10.0.0.2"),
        ("127.0.0.1", ["\x80"], "127.0.0.1"),
        ("::1", ["203.0.113.9"], "203.0.113.9"),
        ("::ffff:127.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("::ffff:192.0.2.1", ["203.0.113.9"], "192.0.2.1"),
        ("192.0.2.1", ["203.0.113.9, 10.0.0.2"], "192.0.2.1"),
        ("192.0.2.1", ["127.0.0.1"], "192.0.2.1"),
    ],
)
async def test_who_it_is(peer: str, fields: list[str], client: str) -> None:
    """The right-most hop that no proxy of ours is; what a stranger claims counts for nothing."""
    assert by_websocket(peer, fields) == client
    assert await by_http(peer, fields) == client


async def test_no_address() -> None:
    """A Unix socket has none."""
    assert read_handshake(Request("/ws", Headers()), "", TRUSTED).client == ""
    assert by_websocket("", ["203.0.113.9"]) == ""
