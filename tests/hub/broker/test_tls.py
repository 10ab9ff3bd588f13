"""MQTT over TLS: who a client is by its certificate, and what happens to those that do not speak TLS."""

import asyncio
import datetime
import ipaddress
import ssl
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from devices.mqtt.codec import encode
from devices.mqtt.codes import PacketType, Reason
from devices.mqtt.packets import (
    Ack,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Publish,
    Suback,
    Subscribe,
    SubscribeFilter,
    Will,
)
from devices.mqtt.stream import PacketStream
from hub.auth import Tokens
from hub.authentication import Authenticator
from hub.broker import Limits
from hub.embedded import EmbeddedLink, Tls
from tests.e2e.waiting import within
from tests.hub.client import GUARD, eventually
from tests.hub.conftest import SECRET, subscribed

__all__ = ["Authority", "Peer"]

TOKENS = Tokens(SECRET)
NOT_AUTHORIZED = 5


class Authority:
    """A certificate authority of this test alone."""

    def __init__(self, directory: Path, name: str = "test authority") -> None:
        self._directory, self._key = directory, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = directory / f"{name}.pem"
        extension = x509.BasicConstraints(ca=True, path_length=None)
        built = self._build(self._name, self._key.public_key(), extension)
        self.certificate.write_bytes(built.public_bytes(serialization.Encoding.PEM))

    def _build(
        self, name: x509.Name, key: Any, *extensions: x509.ExtensionType, end: datetime.timedelta | None = None
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=2))
            .not_valid_after(now + (end or datetime.timedelta(days=1)))
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(self._key, hashes.SHA256())

    def issue(
        self, *common_names: str, sans: tuple[x509.GeneralName, ...] = (), end: datetime.timedelta | None = None
    ) -> tuple[Path, Path]:
        """A certificate and its key, as PEM files; `end`: from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one) for one in common_names])
        extensions = [x509.SubjectAlternativeName(sans)] if sans else []
        built = self._build(name, key.public_key(), *extensions, end=end)
        stem = self._directory / f"{built.serial_number}"
        stem.with_suffix(".crt").write_bytes(built.public_bytes(serialization.Encoding.PEM))
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        stem.with_suffix(".key").write_bytes(pem)
        return stem.with_suffix(".crt"), stem.with_suffix(".key")

    def server(self) -> tuple[Path, Path]:
        """For a server on the loopback."""
        return self.issue("localhost", sans=(x509.IPAddress(ipaddress.ip_address("127.0.0.1")),))

    def context(self, certificate: tuple[Path, Path] | None = None) -> ssl.SSLContext:
        """A client's, that trusts this authority."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        if certificate is not None:
            context.load_cert_chain(*certificate)
        return context


class Peer:
    """A client that speaks in packets, over a socket.

    Attributes:
        received: all packets, in order.
        closed: the connection is over.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, version: int) -> None:
        self._reader, self.writer, self.version = reader, writer, version
        self.received: list[Packet] = []
        self.closed = False
        self._stream = PacketStream(version)
        self._task = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, port: int, *, version: int = 4, context: ssl.SSLContext | None = None) -> "Peer":
        """A connection, with TLS if there is a context. Raises OSError."""
        return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=context), version)

    async def _read(self) -> None:
        try:
            while data := await self._reader.read(65_536):
                for packet in self._stream.feed(data):
                    self.received.append(packet)
                    if isinstance(packet, Publish) and packet.qos == 1 and packet.packet_id is not None:
                        self.send(Ack(PacketType.PUBACK, packet.packet_id))
        except (OSError, ssl.SSLError):
            pass
        self.closed = True
        self.writer.close()

    def send(self, *packets: Packet) -> None:
        self.writer.write(b"".join(encode(packet, self.version) for packet in packets))

    def count(self, kind: type[Packet]) -> int:
        return sum(isinstance(packet, kind) for packet in self.received)

    async def until(self, kind: type[Packet]) -> None:
        """Waits for a packet of a kind, or the end of the connection."""
        await eventually(lambda: self.count(kind) or self.closed)

    async def ask(self, packet: Packet, kind: type[Packet]) -> Any:
        """Sends a packet, and gives its answer; None: the connection ended without one."""
        before = self.count(kind)
        self.send(packet)
        await eventually(lambda: self.count(kind) > before or self.closed)
        answers = [one for one in self.received if isinstance(one, kind)]
        return answers[before] if len(answers) > before else None

    async def connect(
        self,
        client_id: str = "",
        username: str | None = None,
        password: str | None = None,
        *,
        will: Will | None = None,
        clean: bool = True,
    ) -> int | None:
        """Says CONNECT; the code of the answer."""
        secret = password.encode() if password is not None else None
        packet = Connect(client_id, self.version, clean, 0, username, secret, will)
        answer = await self.ask(packet, Connack)
        return answer.code if answer is not None else None

    async def subscribe(self, *filters: str, qos: int = 1) -> list[int]:
        """Subscribes; the codes of the answer."""
        answer = await self.ask(Subscribe(1, [SubscribeFilter(one, qos) for one in filters]), Suback)
        return list(answer.codes) if answer is not None else []

    async def publish(self, topic: str, payload: bytes = b"x") -> Ack | None:
        """Publishes with QoS 1; the PUBACK."""
        answer = await self.ask(Publish(topic, payload, 1, packet_id=self.count(Ack) + 1), Ack)
        assert answer is None or isinstance(answer, Ack)
        return answer

    async def ping(self) -> None:
        """Waits until all that was sent before is handled."""
        assert await self.ask(Pingreq(), Pingresp) is not None

    @property
    def messages(self) -> list[tuple[str, bytes]]:
        return [(one.topic, one.payload) for one in self.received if isinstance(one, Publish)]

    async def end(self) -> None:
        """Drops the connection."""
        self.writer.transport.abort()
        await self._task


@pytest.fixture(params=["asyncio", "uvloop"])
def event_loop_policy(request: pytest.FixtureRequest) -> Iterator[asyncio.AbstractEventLoopPolicy]:
    """On both loops: their TLS is not the same code."""
    if request.param == "asyncio":
        yield asyncio.DefaultEventLoopPolicy()
        return
    if sys.platform == "win32":
        pytest.skip("there is no uvloop")
    import uvloop

    yield uvloop.EventLoopPolicy()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


Serve = Callable[..., Any]


@pytest.fixture
def serve(authority: Authority) -> Serve:
    """Starts a hub's broker with a TLS port."""

    @asynccontextmanager
    async def serve(*, client_ca: bool = True, **options: Any) -> AsyncIterator[EmbeddedLink]:
        tls = Tls(0, *authority.server(), authority.certificate if client_ca else None)
        link = EmbeddedLink(authenticator=Authenticator(TOKENS), mqtt_port=0, mqtt_ws_port=0, tls=tls, **options)
        await link.start()
        try:
            yield link
        finally:
            await link.stop()

    return serve


def port_of(link: EmbeddedLink) -> int:
    assert link.mqtts_port is not None
    return link.mqtts_port


def uri(name: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(f"spiffe://example.org/device/{name}")


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("where", ["CN", "DNS", "URI"])
async def test_a_certificate_is_an_identity(serve: Serve, authority: Authority, where: str, version: int) -> None:
    """Its common name, or an alternative name, is the station: no token is needed, its own topics are open, others not."""
    certificate = {
        "CN": lambda: authority.issue("st-1"),
        "DNS": lambda: authority.issue("Some Company", sans=(x509.DNSName("st-1"),)),
        "URI": lambda: authority.issue("Some Company", sans=(uri("st-1"),)),
    }[where]()
    async with serve() as link:
        inbox = await subscribed(link, "stations/#")
        peer = await Peer.open(port_of(link), version=version, context=authority.context(certificate))
        will = Will("stations/st-1/offline", b"gone", 1)
        assert await peer.connect("any client id", "st-1", will=will) == 0
        refused = 0x87 if version == 5 else 0x80
        assert await peer.subscribe("stations/st-1/cmd", "stations/st-2/cmd") == [1, refused]
        assert await peer.publish("stations/st-1/status", b"mine") is not None
        other = await peer.publish("stations/st-2/status", b"another's")
        assert other is not None
        assert other.reason == (Reason.NOT_AUTHORIZED if version == 5 else 0)
        await eventually(lambda: inbox)
        await peer.end()
        await eventually(lambda: len(inbox) == 2)
        assert inbox == [("stations/st-1/status", b"mine", False), ("stations/st-1/offline", b"gone", False)]


async def test_a_certificate_without_a_user_name(serve: Serve, authority: Authority) -> None:
    """The first of its names that can be a station's is meant."""
    certificate = authority.issue("Not A Station Id", sans=(x509.DNSName("st-1"), x509.DNSName("st-2")))
    async with serve() as link:
        peer = await Peer.open(port_of(link), context=authority.context(certificate))
        assert await peer.connect("c") == 0
        assert await peer.subscribe("stations/st-1/cmd", "stations/st-2/cmd") == [1, 0x80]
        await peer.end()


@pytest.mark.parametrize("password", [None, ""])
async def test_a_certificate_speaks_for_no_other_station(
    serve: Serve, authority: Authority, password: str | None
) -> None:
    """Another station's name is refused, and its session is not touched; so is a name that no station can have."""
    async with serve() as link:
        rightful = await Peer.open(port_of(link), context=authority.context(authority.issue("st-2")))
        assert await rightful.connect("same", "st-2") == 0
        context = authority.context(authority.issue("st-1"))
        for username in ("st-2", "ST-1", "st-1 ", "service", "admin"):
            peer = await Peer.open(port_of(link), context=context)
            assert await peer.connect("same", username, password) == NOT_AUTHORIZED
            await peer.until(Disconnect)
        peer = await Peer.open(port_of(link), context=context)
        will = Will("stations/st-2/offline", b"lie")
        assert await peer.connect("same", "st-1", will=will) == NOT_AUTHORIZED
        peer = await Peer.open(port_of(link), context=authority.context(authority.issue("no station", "nor this")))
        assert await peer.connect("same") == NOT_AUTHORIZED
        peer = await Peer.open(port_of(link), context=context)
        assert await peer.connect("same", "st-1") == 0  # the same client id: a session of its own
        await rightful.ping()
        await peer.end()
        await rightful.end()


async def test_a_token_counts_before_the_certificate(serve: Serve, authority: Authority) -> None:
    """A client that shows a token is who the token says; a bad one is refused, whatever its certificate."""
    async with serve() as link:
        context = authority.context(authority.issue("st-1"))
        peer = await Peer.open(port_of(link), context=context)
        assert await peer.connect("c", "st-2", TOKENS.mint_station("st-2")) == 0
        assert await peer.subscribe("stations/st-2/cmd", "stations/st-1/cmd") == [1, 0x80]
        await peer.end()
        peer = await Peer.open(port_of(link), context=context)
        assert await peer.connect("c", "st-1", "no token") == NOT_AUTHORIZED


@pytest.mark.parametrize("client_ca", [True, False])
async def test_a_token_needs_no_certificate(serve: Serve, authority: Authority, client_ca: bool) -> None:
    """Certificates are optional; without one, and without a token, nobody is anybody."""
    async with serve(client_ca=client_ca) as link:
        peer = await Peer.open(port_of(link), context=authority.context())
        assert await peer.connect("c", "st-1", TOKENS.mint_station("st-1")) == 0
        assert await peer.subscribe("stations/st-1/cmd") == [1]
        link.publish("stations/st-1/cmd", b"go")
        await eventually(lambda: peer.messages == [("stations/st-1/cmd", b"go")])
        await peer.end()
        peer = await Peer.open(port_of(link), context=authority.context())
        assert await peer.connect("c", "st-1") == NOT_AUTHORIZED


async def test_a_certificate_that_is_not_asked_for_proves_nothing(serve: Serve, authority: Authority) -> None:
    """Without an authority for clients no certificate is verified, and so none counts."""
    async with serve(client_ca=False) as link:
        peer = await Peer.open(port_of(link), context=authority.context(authority.issue("st-1")))
        assert await peer.connect("c", "st-1") == NOT_AUTHORIZED


@pytest.mark.parametrize("problem", ["another authority", "expired"])
async def test_a_bad_certificate_is_refused(serve: Serve, authority: Authority, tmp_path: Path, problem: str) -> None:
    """The connection ends before a packet is looked at, with a token too; nobody else notices."""
    if problem == "expired":
        certificate = authority.issue("st-1", end=datetime.timedelta(days=-1))
    else:
        certificate = Authority(tmp_path, "another authority").issue("st-1")
    async with serve() as link:
        good = await Peer.open(port_of(link), context=authority.context(authority.issue("st-1")))
        assert await good.connect("c", "st-1") == 0
        try:
            peer = await Peer.open(port_of(link), context=authority.context(certificate))
            code = await peer.connect("c", "st-1", TOKENS.mint_station("st-1"))
        except OSError:
            code = None  # TLS 1.3 tells after the handshake, 1.2 within
        assert code is None
        await good.ping()
        assert link.broker.engine.connections == 1
        await good.end()


async def test_the_server_proves_itself(serve: Serve, tmp_path: Path) -> None:
    """A client that trusts another authority does not speak to it."""
    async with serve() as link:
        with pytest.raises(ssl.SSLCertVerificationError):
            await Peer.open(port_of(link), context=Authority(tmp_path, "another authority").context())


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
async def test_old_tls_is_refused(serve: Serve, authority: Authority) -> None:
    """Below 1.2 there is no handshake."""
    context = authority.context()
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    async with serve() as link:
        with pytest.raises(OSError):  # noqa: PT011 - an alert, or the end of the connection
            await Peer.open(port_of(link), context=context)


async def test_a_plain_client_on_the_tls_port(serve: Serve, authority: Authority) -> None:
    """It is closed without an answer, and so is TLS on the plain port."""
    async with serve() as link:
        peer = await Peer.open(port_of(link))
        assert await peer.connect("c", "st-1", TOKENS.mint_station("st-1")) is None
        assert peer.received == []
        with pytest.raises(OSError):  # noqa: PT011
            await Peer.open(link.mqtt_port, context=authority.context())
        peer = await Peer.open(port_of(link), context=authority.context())
        assert await peer.connect("c", "st-1", TOKENS.mint_station("st-1")) == 0
        await peer.end()


async def test_a_handshake_has_a_deadline(serve: Serve, authority: Authority) -> None:
    """Whoever connects and says nothing, or half a handshake, is closed; so is one that ends it and sends no CONNECT."""
    async with serve(limits=Limits(connect_timeout=1.0)) as link:
        async with asyncio.timeout(GUARD):
            for begin in (b"", b"\x16\x03\x01\x02\x00\x01"):
                reader, writer = await asyncio.open_connection("127.0.0.1", port_of(link))
                writer.write(begin)
                try:
                    assert await reader.read() == b""
                except ConnectionResetError:
                    pass
                writer.close()
            peer = await Peer.open(port_of(link), context=authority.context())
            await eventually(lambda: peer.closed)
            assert peer.received == []
        assert link.broker.engine.connections == 0


async def test_large_messages_both_ways(serve: Serve, authority: Authority) -> None:
    """Nothing is lost or cut by TLS records, however it arrives."""
    async with serve() as link:
        inbox = await subscribed(link, "stations/+/status")
        peer = await Peer.open(port_of(link), context=authority.context(authority.issue("st-1")))
        assert await peer.connect("c") == 0
        await peer.subscribe("stations/st-1/cmd")
        sent = [bytes([number]) * (number * 30_000 + 1) for number in range(20)]
        for payload in sent:
            link.publish("stations/st-1/cmd", payload)
            peer.send(Publish("stations/st-1/status", payload))
        await eventually(lambda: len(peer.messages) == len(inbox) == len(sent))
        assert [payload for _, payload in peer.messages] == [payload for _, payload, _ in inbox] == sent
        await peer.end()


async def test_the_last_words_arrive(serve: Serve, authority: Authority) -> None:
    """What is sent before a connection is closed by the broker is read by the client: the reason of a DISCONNECT."""
    async with serve() as link:
        peer = await Peer.open(port_of(link), version=5, context=authority.context(authority.issue("st-1")))
        assert await peer.connect("c") == 0
        newer = await Peer.open(port_of(link), version=5, context=authority.context(authority.issue("st-1")))
        assert await newer.connect("c") == 0
        await eventually(lambda: peer.closed)
        last = peer.received[-1]
        assert isinstance(last, Disconnect)
        assert last.reason is Reason.SESSION_TAKEN_OVER
        await newer.end()


async def test_a_goodbye_publishes_no_will(serve: Serve, authority: Authority) -> None:
    """DISCONNECT, then the end of TLS: all in order, the connection is gone on both sides."""
    async with serve() as link:
        inbox = await subscribed(link, "stations/#")
        peer = await Peer.open(port_of(link), context=authority.context(authority.issue("st-1")))
        assert await peer.connect("c", will=Will("stations/st-1/offline", b"gone")) == 0
        peer.send(Disconnect())
        peer.writer.close()
        await eventually(lambda: link.broker.engine.connections == 0)
        probe = await Peer.open(port_of(link), context=authority.context(authority.issue("st-1")))
        assert await probe.connect("d") == 0
        await probe.ping()
        assert inbox == []
        await probe.end()


async def test_the_end_with_tls_clients(serve: Serve, authority: Authority) -> None:
    """Clients are told, and do not hold the end up, even one that reads no more."""
    async with serve() as link:
        peer = await Peer.open(port_of(link), version=5, context=authority.context(authority.issue("st-1")))
        assert await peer.connect("c") == 0
        reader, deaf = await asyncio.open_connection("127.0.0.1", port_of(link), ssl=authority.context(), limit=1)
        deaf.write(encode(Connect("deaf", username="st-2", password=TOKENS.mint_station("st-2").encode()), 4))
        deaf.write(encode(Subscribe(1, [SubscribeFilter("stations/st-2/cmd", 0)]), 4))
        await reader.readexactly(9)
        for _ in range(100):
            link.publish("stations/st-2/cmd", bytes(90_000))
        async with within(4.0):
            await link.stop()
            await eventually(lambda: peer.closed)
        last = peer.received[-1]
        assert isinstance(last, Disconnect)
        assert last.reason is Reason.SERVER_SHUTTING_DOWN
        deaf.transport.abort()


async def test_who_is_in_its_handshake_at_the_end(serve: Serve, authority: Authority) -> None:
    """Its connection ends with the broker: nobody is let in by a broker that is gone."""
    async with serve() as link:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(link))
        await asyncio.sleep(0)
        probe = await Peer.open(port_of(link), context=authority.context())  # accepted after it
        assert await probe.connect("c", "st-1", TOKENS.mint_station("st-1")) == 0
        await link.stop()
        packet = Connect("late", username="st-1", password=TOKENS.mint_station("st-1").encode())
        answer = b""
        try:
            async with asyncio.timeout(2):
                await writer.start_tls(authority.context(), server_hostname="127.0.0.1")
                writer.write(encode(packet, 4))
                answer = await reader.read(99)
        except (OSError, TimeoutError):
            pass
        assert answer == b""
        async with asyncio.timeout(GUARD):
            await writer.wait_closed()


async def test_paho_over_tls(serve: Serve, authority: Authority) -> None:
    """The client that stations use connects with a certificate, publishes, and gets its command."""
    async with serve() as link:
        inbox = await subscribed(link, "stations/+/status")
        came: list[bytes] = []
        ready, got = threading.Event(), threading.Event()
        client = paho.Client(CallbackAPIVersion.VERSION2, "paho", protocol=paho.MQTTv5)
        certificate, key = authority.issue("st-1")
        client.tls_set(str(authority.certificate), str(certificate), str(key))
        client.username_pw_set("st-1")

        def on_connect(*_: Any) -> None:
            client.subscribe("stations/st-1/cmd", 1)

        def on_message(_: Any, __: Any, message: paho.MQTTMessage) -> None:
            came.append(bytes(message.payload))
            got.set()

        client.on_connect, client.on_message = on_connect, on_message
        client.on_subscribe = lambda *_: ready.set()
        client.connect_async("127.0.0.1", port_of(link))
        client.loop_start()
        try:
            assert await asyncio.to_thread(ready.wait, GUARD)
            client.publish("stations/st-1/status", b"hello", 1)
            link.publish("stations/st-1/cmd", b"go")
            assert await asyncio.to_thread(got.wait, GUARD)
            await eventually(lambda: inbox)
            assert (came, inbox) == ([b"go"], [("stations/st-1/status", b"hello", False)])
        finally:
            client.disconnect()
            await asyncio.to_thread(client.loop_stop)
