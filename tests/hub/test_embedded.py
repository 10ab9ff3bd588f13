"""The embedded link alone: ports, bad clients, WebSocket, the end."""

import asyncio
import contextlib

import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from hub.auth import Tokens
from hub.authentication import Authenticator
from hub.broker import Limits
from hub.broker.connection import Connection
from hub.broker.session import Session, Subscription
from hub.embedded import EmbeddedLink
from hub.link import ListenError
from tests.e2e.waiting import within
from tests.hub.client import Client, connect_packet, eventually, publish_packet
from tests.hub.conftest import CMD, OFFLINE, SECRET, STATUS, WILL, Broker, subscribed
from tests.mosquitto import free_port


async def test_a_taken_port_is_one_clear_error() -> None:
    """It names host and port, and nothing is left listening."""
    tokens = Tokens(SECRET)
    async with EmbeddedLink(authenticator=Authenticator(tokens), mqtt_port=0, mqtt_ws_port=0) as link:
        port = free_port()
        second = EmbeddedLink(authenticator=Authenticator(tokens), mqtt_port=port, mqtt_ws_port=link.mqtt_ws_port)
        with pytest.raises(ListenError, match=f"cannot listen on 127.0.0.1:{link.mqtt_ws_port} "):
            await second.start()
        assert not second.connected
        with pytest.raises(OSError):  # noqa: PT011
            await asyncio.open_connection("127.0.0.1", port)


async def test_stopping_does_not_wait_for_clients() -> None:
    """A client that neither reads nor speaks does not hold the end up; all connections end."""
    async with EmbeddedLink(
        authenticator=Authenticator(Tokens(SECRET)), mqtt_port=0, mqtt_ws_port=0, anonymous=True
    ) as link:
        broker = Broker(link, link.mqtt_port, None)
        client = await broker.client(keep_alive=0)
        await client.subscribe(CMD, 1)
        reader, writer = await asyncio.open_connection("127.0.0.1", link.mqtt_port)
        # one that subscribes and reads no more, with more on its way than the sockets hold
        deaf, deaf_writer = await asyncio.open_connection("127.0.0.1", link.mqtt_port, limit=1)
        deaf_writer.write(connect_packet("deaf") + b"\x82\x16\0\1\0\x11" + CMD.encode() + b"\0")
        await deaf.readexactly(9)
        for _ in range(100):
            link.publish(CMD, bytes(100_000))
        await eventually(lambda: len(client.received) == 100)
        async with within(3.0):
            await link.stop()
            await client.closed.wait()
            assert await reader.read() == b""
        writer.close()
        deaf_writer.close()


async def test_garbage_hurts_nobody_and_prints_nothing(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Broken bytes, half packets and oversized ones end their own connection; no traceback, no line above INFO."""
    async with EmbeddedLink(
        authenticator=Authenticator(Tokens(SECRET)), mqtt_port=0, mqtt_ws_port=0, anonymous=True
    ) as link:
        broker = Broker(link, link.mqtt_port, None)
        inbox = await subscribed(link, "stations/#")
        bystander = await broker.client()
        for port in (link.mqtt_port, link.mqtt_ws_port):
            for data in (b"\0" * 99, b"\x10\xff\xff\xff\xff\xff", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 2000, b""):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(data)
                writer.write_eof()
                writer.close()
        for data in (
            b"\x30\xff\xff\xff\x7f",
            b"\x30\x05\0\x09ab",
            b"\x82\x02\0\1",
            b"\x82\x09\0\1\0\4\xff\xfe\xff\xff\7",
            b"\xf0\0",
            b"\x62\2\0\1",
            b"\x20\2\0\0",
            b"\x10\0",
            publish_packet("", b"x"),
            publish_packet("stations/\ud800".encode("utf-8", "surrogatepass").decode("latin1"), b"x"),
        ):
            client = await broker.client()
            client.send(data)
            await client.close()
        bystander.publish(STATUS, b"fine")
        await eventually(lambda: (STATUS, b"fine", False) in inbox)
        assert not bystander.closed.is_set()
    # pytest listens to amqtt's own logger too, whose records go no further than `hub.quiet`
    told = [record for record in caplog.records if not record.name.startswith("amqtt.")]
    assert [record.getMessage() for record in told if record.levelno > 20] == []
    assert all(record.exc_info is None for record in told)
    assert "Traceback" not in capfd.readouterr().err


async def test_a_connection_without_connect_ends() -> None:
    """A socket that says nothing is closed after the deadline."""
    limits = Limits(connect_timeout=0.05)
    async with EmbeddedLink(
        authenticator=Authenticator(Tokens(SECRET)), mqtt_port=0, mqtt_ws_port=0, limits=limits
    ) as link:
        reader, writer = await asyncio.open_connection("127.0.0.1", link.mqtt_port)
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()


class Heard:
    """A watcher that keeps what it hears."""

    def __init__(self) -> None:
        self.events: list[tuple[str, ...]] = []

    def connected(self, session: Session, connection: Connection) -> None:
        self.events.append(("connected", session.client_id))

    def disconnected(self, session: Session, why: str) -> None:
        self.events.append(("disconnected", session.client_id, why))

    def subscribed(self, session: Session, subscription: Subscription) -> None:
        self.events.append(("subscribed", session.client_id, subscription.topic_filter))

    def unsubscribed(self, session: Session, topic_filter: str) -> None:
        self.events.append(("unsubscribed", session.client_id, topic_filter))


async def test_watchers_hear_who_comes_and_goes_and_why() -> None:
    """Each client, its subscriptions, and how it ended."""
    heard = Heard()
    async with EmbeddedLink(
        authenticator=Authenticator(Tokens(SECRET)), mqtt_port=0, mqtt_ws_port=0, anonymous=True, watchers=(heard,)
    ) as link:
        one = await Client.connect(link.mqtt_port, connect_packet("one"))
        await one.subscribe(CMD)
        await one.disconnect()
        two = await Client.connect(link.mqtt_port, connect_packet("two"))
        await two.abort()
        await eventually(lambda: len(heard.events) == 5)
    assert heard.events == [
        ("connected", "one"),
        ("subscribed", "one", CMD),
        ("disconnected", "one", "said goodbye"),
        ("connected", "two"),
        ("disconnected", "two", "connection lost"),
    ]


async def test_websocket_clients_are_served() -> None:
    """MQTT over WebSocket is the same broker, in whatever pieces the packets come."""
    async with EmbeddedLink(
        authenticator=Authenticator(Tokens(SECRET)), mqtt_port=0, mqtt_ws_port=0, anonymous=True
    ) as link:
        inbox = await subscribed(link, "stations/#")
        url = f"ws://127.0.0.1:{link.mqtt_ws_port}/mqtt"
        async with connect(url, subprotocols=[Subprotocol("mqtt")]) as socket:
            packets = connect_packet("ws", will=WILL) + publish_packet(STATUS, b"over ws")
            await socket.send(packets[:7])
            await socket.send(packets[7:])
            assert await socket.recv() == b"\x20\2\0\0"
            await eventually(lambda: inbox)
            assert inbox == [(STATUS, b"over ws", False)]
            socket.transport.abort()
        await eventually(lambda: len(inbox) == 2)
        assert inbox[1] == (OFFLINE, b"gone", False)
