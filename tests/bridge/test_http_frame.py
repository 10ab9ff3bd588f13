"""The outermost layer of the HTTP side, without a server: what happens when an answer breaks off."""

import asyncio
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send
from structlog.testing import capture_logs

from bridge.http.context import HttpSettings
from bridge.http.headers import Frame
from bridge.http.limits import SMALL_BYTES, BodyBudget, BodyLimit

SCOPE: dict[str, Any] = {"type": "http", "method": "POST", "path": "/x", "headers": [], "client": None}


class Client:
    """What a server hands to an application: the request's messages, and where the answer goes."""

    def __init__(self, *messages: Message) -> None:
        self.messages, self.sent = list(messages), list[Message]()

    async def receive(self) -> Message:
        return self.messages.pop(0)

    async def send(self, message: Message) -> None:
        self.sent.append(message)


@pytest.mark.parametrize("started", [False, True])
async def test_a_fault(started: bool) -> None:
    """Before the answer began it is a 500; after that the connection must break, or half an answer would look whole."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if started:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("secret")

    client = Client()
    with capture_logs() as logs:
        if started:
            with pytest.raises(RuntimeError):
                await Frame(app, HttpSettings())(dict(SCOPE), client.receive, client.send)
        else:
            await Frame(app, HttpSettings())(dict(SCOPE), client.receive, client.send)
    assert [message["status"] for message in client.sent if "status" in message] == [200 if started else 500]
    assert not any(b"secret" in message.get("body", b"") for message in client.sent)
    assert [entry["event"] for entry in logs] == ["request failed"]


async def test_cancelled() -> None:
    """The end of the server is no fault: who waits still is told."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise asyncio.CancelledError

    client = Client()
    with capture_logs() as logs:
        await Frame(app, HttpSettings())(dict(SCOPE), client.receive, client.send)
    assert (client.sent[0]["status"], logs) == (503, [])


async def test_disconnects_reach_the_application() -> None:
    """A long poll without a body hears that its client has gone."""
    heard: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        heard.extend([(await receive())["type"], (await receive())["type"]])

    client = Client({"type": "http.disconnect"})
    await BodyLimit(app)(dict(SCOPE), client.receive, client.send)
    assert heard == ["http.request", "http.disconnect"]


async def test_a_route_has_the_last_word() -> None:
    """What a route says of caching and content stands."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"cache-control", b"public"), (b"vary", b"Accept")],
            }
        )

    client = Client()
    settings = HttpSettings(origins=frozenset({"https://pages.example"}), https=True)
    await Frame(app, settings)(dict(SCOPE), client.receive, client.send)
    headers = dict(client.sent[0]["headers"])
    assert headers[b"cache-control"] == b"public"
    assert headers[b"vary"] == b"Accept, Origin"
    assert headers[b"strict-transport-security"] == b"max-age=31536000"


async def test_the_budget_of_bodies() -> None:
    """Who would send beyond the share of one network, or all together beyond the total, gets 503; what is done is given back.

    Small bodies always pass.
    """
    go, asked = asyncio.Event(), list[asyncio.Task[Client]]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})

    large = 2 * SMALL_BYTES
    budget = BodyBudget(app, total=3 * large, share=2 * large)

    async def ask(address: str, size: int = large) -> Client:
        client = Client({"type": "http.request", "body": b"x" * size, "more_body": False})
        await budget(SCOPE | {"client": (address, 1)}, client.receive, client.send)
        return client

    for address in ("a", "a", "a", "b", "c"):
        asked.append(asyncio.create_task(ask(address)))
    refused = [await asked[2], await asked[4]]
    small = [asyncio.create_task(ask("a", SMALL_BYTES)) for _ in range(9)]
    go.set()
    done = (
        [await task for task in (asked[0], asked[1], asked[3])]
        + [await ask("a") for _ in range(9)]
        + await asyncio.gather(*small)
    )
    assert [client.sent[0]["status"] for client in refused] == [503, 503]
    assert {client.sent[0]["status"] for client in done} == {200}
