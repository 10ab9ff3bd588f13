"""The remote link alone: a broker that goes, that refuses, that is not there."""

import asyncio
from pathlib import Path

import pytest

from hub.auth import Tokens
from hub.authentication import Authenticator
from hub.dispatch import join, overlap
from hub.embedded import EmbeddedLink
from hub.link import LinkDown, LinkError
from hub.remote import RemoteLink
from tests.hub.client import Client, connect_packet, eventually
from tests.hub.conftest import LIVE, SECRET, STATUS, Inbox, subscribed
from tests.mosquitto import free_port, mosquitto


async def test_a_lost_broker_comes_back(tmp_path: Path) -> None:
    """The loss is told at once, publishing raises, and afterwards every subscription stands and retained messages come anew."""
    async with mosquitto(tmp_path, config=f"persistence true\npersistence_location {tmp_path}/") as server:
        link = RemoteLink(server.url)
        told: list[bool] = []
        inbox = Inbox()
        link.watch_connection(told.append)
        link.subscribe("live/#", inbox)
        async with link:
            link.publish(LIVE, b"kept", retain=True)
            await eventually(lambda: inbox)
            await server.stop()
            await eventually(lambda: told == [True, False])
            with pytest.raises(LinkDown):
                link.publish(LIVE, b"lost")
            await server.start()
            await eventually(lambda: told == [True, False, True])
            link.publish(LIVE, b"again")
            await eventually(lambda: len(inbox) == 3)
    assert inbox == [(LIVE, b"kept", False), (LIVE, b"kept", True), (LIVE, b"again", False)]
    assert told == [True, False, True, False]


async def test_the_broker_publishes_the_hubs_will(tmp_path: Path) -> None:
    """When the hub dies its will comes; when it stops it does not."""
    async with mosquitto(tmp_path) as server, RemoteLink(server.url) as watcher:
        inbox = Inbox()
        watcher.subscribe("live/nodes/+", inbox)
        async with RemoteLink(server.url, will=("live/nodes/n1", b"", True)):
            pass
        doomed = RemoteLink(server.url, client_id="doomed", will=("live/nodes/n2", b"", True))
        await doomed.start()
        watcher.publish("live/nodes/n0", b"x")
        await eventually(lambda: inbox)
        # the broker ends the older connection of a client id
        usurper = await Client.connect(server.port, connect_packet("doomed"))
        await eventually(lambda: len(inbox) == 2)
        assert inbox[1] == ("live/nodes/n2", b"", False)
        await doomed.stop()
        await usurper.abort()


async def test_a_broker_that_cannot_be_had_is_one_clear_error(tmp_path: Path) -> None:
    """Nobody there, wrong credentials, a URL that is none: the text says which, and never shows the password."""
    port = free_port()
    with pytest.raises(LinkError, match=f"cannot reach the broker at 127.0.0.1:{port}: "):
        await RemoteLink(f"mqtt://u:hunter2@127.0.0.1:{port}").start()
    (tmp_path / "passwords").write_text("")
    config = f"allow_anonymous false\npassword_file {tmp_path}/passwords"
    async with mosquitto(tmp_path, config=config) as server:
        with pytest.raises(LinkError, match="refused the hub: Connection Refused: not authorised") as caught:
            await RemoteLink(f"mqtt://u:hunter2@127.0.0.1:{server.port}").start()
        assert "hunter2" not in str(caught.value)
    for url in ("http://host", "host", "mqtt://host:port", "mqtt://h:99999"):
        with pytest.raises(LinkError, match="must be mqtt://"):
            RemoteLink(url)


async def test_a_broker_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """No CONNACK within the limit is an error too, and one that hangs up is noticed at once."""
    for serve, text, limit in (
        (lambda r, w: None, "no answer", 0.1),
        (lambda r, w: w.close(), "closed the connection", 60.0),
    ):
        monkeypatch.setattr("hub.remote.CONNECT_TIMEOUT", limit)
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(LinkError, match=text):
            await RemoteLink(f"mqtt://127.0.0.1:{port}").start()
        server.close()


async def test_credentials_are_percent_decoded() -> None:
    """A user and password with reserved characters reach the broker as they are."""
    tokens = Tokens(SECRET)
    async with EmbeddedLink(authenticator=Authenticator(tokens), mqtt_port=0, mqtt_ws_port=0) as link:
        inbox = await subscribed(link, "stations/#")
        token = tokens.mint_station("st-1").replace(".", "%2E")
        async with RemoteLink(f"mqtt://st%2D1:{token}@127.0.0.1:{link.mqtt_port}") as station:
            station.publish(STATUS, b"x")
            await eventually(lambda: inbox)


def test_overlap_and_join() -> None:
    """Filters overlap when one topic matches both; their join matches all that either matches."""
    assert overlap("a/+/c", "a/b/+")
    assert join("a/+/c", "a/b/+") == "a/+/+"
    assert overlap("a/#", "a")
    assert join("a/#", "a") == "a/#"
    assert overlap("#", "a/b")
    assert overlap("a/+", "a/b/#")
    assert join("a/+", "a/b/#") == "a/+/#"
    for other in ("a/c", "a", "a/b/c", "b/+"):
        assert not overlap("a/b", other)
