"""The two links under one suite."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hub.auth import Tokens
from hub.authentication import Authenticator
from hub.embedded import EmbeddedLink
from hub.link import Link
from hub.remote import RemoteLink
from tests.hub.client import Client, connect_packet, eventually
from tests.mosquitto import mosquitto

SECRET = "a secret for tests, 32 characters"
Message = tuple[str, bytes, bool]
STATUS, OFFLINE, CMD, LIVE = "stations/st-1/status", "stations/st-1/offline", "stations/st-1/cmd", "live/stations/st-1"
WILL = (OFFLINE, b"gone", 1, False)


class Inbox(list[Message]):
    """A subscriber that keeps what it gets."""

    def __call__(self, topic: str, payload: bytes, retained: bool) -> None:
        self.append((topic, payload, retained))


async def subscribed(link: Link, topic_filter: str) -> Inbox:
    """An inbox whose subscription stands: the link sees its own probe."""
    inbox, probe = Inbox(), Inbox()
    link.subscribe(topic_filter, inbox)
    link.subscribe("broadcast/probe", probe)
    link.publish("broadcast/probe", b"")
    await eventually(lambda: probe)
    return inbox


class Broker:
    """A link, started, and a way to connect clients to its broker."""

    def __init__(self, link: Link, port: int, tokens: Tokens | None) -> None:
        self.link, self.port, self.tokens = link, port, tokens
        self.clients: list[Client] = []
        self._count = 0

    async def client(
        self, name: str = "", *, service: bool = False, acknowledge: bool = True, **options: Any
    ) -> Client:
        """A client, by default a station's, or a service's; `name` is the client id."""
        self._count += 1
        username: str | None = None
        password: str | None = None
        if self.tokens is not None:
            username = "service" if service else "st-1"
            password = self.tokens.mint_user("svc", role="service") if service else self.tokens.mint_station("st-1")
        packet = connect_packet(name or f"client-{self._count}", username, password, **options)
        client = await Client.connect(self.port, packet, acknowledge=acknowledge)
        assert client.code == 0
        self.clients.append(client)
        return client


@pytest.fixture(params=["embedded", "mosquitto"])
async def broker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Broker]:
    if request.param == "embedded":
        tokens = Tokens(SECRET)
        async with EmbeddedLink(authenticator=Authenticator(tokens), mqtt_port=0, mqtt_ws_port=0) as link:
            broker = Broker(link, link.mqtt_port, tokens)
            yield broker
            for client in broker.clients:
                await client.abort()
        return
    async with mosquitto(tmp_path, config="message_size_limit 1000000") as server, RemoteLink(server.url) as remote:
        broker = Broker(remote, server.port, None)
        yield broker
        for client in broker.clients:
            await client.abort()
