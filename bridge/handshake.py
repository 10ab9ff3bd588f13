"""The HTTP request that opens a WebSocket: who asks, for which door, from what page; and how to refuse. Pure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from websockets.http11 import Request

from bridge.door import DoorFactory, Handshake
from bridge.proxies import client_address

__all__ = [
    "bearer",
    "choose_subprotocol",
    "door_of",
    "handshake_of_scope",
    "origin_allowed",
    "read_handshake",
    "refusal",
]


def read_handshake(request: Request, peer: Any, trusted_proxies: frozenset[str]) -> Handshake:
    """What a door is told of a request.

    Args:
        peer: the transport's `peername`; anything but a tuple is an unknown client.
        trusted_proxies: addresses whose X-Forwarded-For is believed.
    """
    # websockets keeps bytes that are not ASCII as surrogates, which nothing after this could encode
    target = request.path.encode(errors="surrogateescape").decode(errors="replace")
    path, _, query = target.partition("?")
    headers = _joined(
        (field.lower(), raw.encode(errors="surrogateescape").decode("latin-1"))
        for field, raw in request.headers.raw_items()
    )
    client = str(peer[0]) if isinstance(peer, tuple) else ""
    client = client_address(client, headers.get("x-forwarded-for", ""), trusted_proxies)
    return Handshake(path=unquote(path), query=_first(query), headers=headers, client=client)


def handshake_of_scope(scope: Mapping[str, Any]) -> Handshake:
    """The same of an ASGI request; whoever stands before the application has put the client behind a proxy in its place."""
    headers = _joined((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"])
    query = scope["query_string"].decode(errors="replace")
    client = scope.get("client")
    return Handshake(path=scope["path"], query=_first(query), headers=headers, client=client[0] if client else "")


def _joined(fields: Iterable[tuple[str, str]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in fields:
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _first(query: str) -> dict[str, str]:
    first: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        first.setdefault(name, value)
    return first


def door_of(doors: Mapping[str, DoorFactory], path: str) -> DoorFactory | None:
    """The door of a path, with or without a slash at the end; None: there is none."""
    bare = path.rstrip("/")
    return doors.get(path) or doors.get(bare) or doors.get(f"{bare}/")


def origin_allowed(headers: Mapping[str, str], origins: frozenset[str] | None) -> bool:
    """Whether the page that asks may connect (see `bridge.connection.Settings.origins`). [RFC 6455, 10.2]"""
    origin = headers.get("origin")
    if origins is None or origin is None or origin in origins:
        return True
    try:
        own = urlsplit(origin).netloc.lower()
    except ValueError:
        return False
    # the scheme is not compared: behind a TLS proxy it differs, and the host is what a page cannot choose
    return bool(own) and own == headers.get("host", "").lower()


def choose_subprotocol(headers: Mapping[str, str], known: Sequence[str]) -> str | None:
    """The first of `known` that the client offers; None: it offers none of them. [RFC 6455, 4.2.2]"""
    offered = {name.strip() for name in headers.get("sec-websocket-protocol", "").split(",")}
    return next((name for name in known if name in offered), None)


def refusal(status: int, message: str) -> bytes:
    """A whole HTTP response in the contract's error shape (contract.md section 5), after which the connection closes."""
    phrase = HTTPStatus(status).phrase
    body = json.dumps({"statusCode": status, "message": message, "error": phrase}, separators=(",", ":"))
    return (
        f"HTTP/1.1 {status} {phrase}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"Sec-WebSocket-Version: 13\r\nConnection: close\r\n\r\n{body}"
    ).encode()


def bearer(headers: Mapping[str, str]) -> str | None:
    """The token of an `Authorization: Bearer` header; an empty text when there is a header without one."""
    header = headers.get("authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
