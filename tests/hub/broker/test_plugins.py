"""amqtt's plugins and those of users on this broker: what they are asked and hear, in what order, and what a bad one can do."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import pytest
from amqtt.contexts import Action
from amqtt.errors import BrokerError
from amqtt.plugins.base import BaseAuthPlugin, BasePlugin, BaseTopicPlugin
from cryptography import x509
from pwdlib.hashers.argon2 import Argon2Hasher

from devices.mqtt.codec import encode
from devices.mqtt.codes import Reason
from devices.mqtt.packets import (
    Ack,
    Connack,
    Connect,
    Disconnect,
    Pingreq,
    Pingresp,
    Publish,
    Suback,
    Subscribe,
    SubscribeFilter,
    Unsuback,
    Unsubscribe,
    Will,
)
from devices.mqtt.properties import Property
from hub.auth import Tokens
from hub.authentication import Authenticator
from hub.broker import IDENTITY, Access, HubBroker, Limits
from hub.broker import broker as broker_module
from tests.hub.broker.test_tls import Authority, Peer
from tests.hub.client import eventually
from tests.hub.conftest import SECRET

HERE = "tests.hub.broker.test_plugins"
ANONYMOUS = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
BAD_LOGIN = 5
VERSIONS = pytest.mark.parametrize("version", [4, 5])
Config = dict[str, dict[str, Any]]


@asynccontextmanager
async def serving(
    plugins: Config, *, listener: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[HubBroker]:
    """A broker with some plugins, on a free port."""
    listeners = {"default": {"type": "tcp", "bind": "127.0.0.1:0", **(listener or {})}}
    broker = HubBroker({"listeners": listeners, "plugins": plugins}, **options)
    await broker.start()
    try:
        yield broker
    finally:
        async with asyncio.timeout(20):
            await broker.shutdown()


async def peer(broker: HubBroker, client_id: str = "", username: str | None = None, **given: Any) -> Peer:
    """A client that is connected."""
    version = given.pop("version", 4)
    peer = await Peer.open(broker.ports["default"], version=version)
    assert await peer.connect(client_id, username, **given) == 0
    return peer


async def login(broker: HubBroker, *given: Any, **more: Any) -> int | None:
    """The code that a client's CONNECT is answered with."""
    version = more.pop("version", 4)
    peer = await Peer.open(broker.ports["default"], version=version)
    code = await peer.connect(*given, **more)
    await peer.end()
    return code


# plugins of a user


@dataclass
class Book:
    """What the plugins below were asked, and what they are to say.

    Attributes:
        asked: (question, client id, topic), in order.
        gates: questions by (kind, topic or client id) that wait until the event is set.
        answers: by the same; without one, and without one for the kind alone, there is no opinion.
        heard: (event, arguments), in order.
    """

    asked: list[tuple[str, str, str]] = field(default_factory=list)
    gates: dict[tuple[str, str], asyncio.Event] = field(default_factory=dict)
    answers: dict[Any, bool | Exception] = field(default_factory=dict)
    heard: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    contexts: list[Any] = field(default_factory=list)

    def gate(self, kind: str, subject: str) -> asyncio.Event:
        """A question that is answered when the event is set."""
        event = self.gates[kind, subject] = asyncio.Event()
        return event

    async def was_asked(self, *question: str) -> None:
        """Waits for a question."""
        await eventually(lambda: question in self.asked)

    async def ask(self, kind: str, client_id: str, subject: str) -> bool | None:
        self.asked.append((kind, client_id, subject))
        gate = self.gates.get((kind, subject))
        if gate is not None:
            await gate.wait()
        for key in ((kind, subject, client_id), (kind, subject), kind):
            answer = self.answers.get(key)
            if isinstance(answer, Exception):
                raise answer
            if answer is not None:
                return answer
        return None


@dataclass
class BookConfig:
    book: Book


class SlowAuth(BaseAuthPlugin):  # type: ignore[misc]  # amqtt ships no types
    """Lets in whom its book says."""

    Config = BookConfig

    async def authenticate(self, *, session: Any) -> bool | None:
        answer: bool | None = await self.config.book.ask("authenticate", session.client_id, session.client_id)
        return answer


class SlowTopics(BaseTopicPlugin):  # type: ignore[misc]
    """Allows what its book says."""

    Config = BookConfig

    async def topic_filtering(
        self, *, session: Any = None, topic: str | None = None, action: Action | None = None
    ) -> bool | None:
        assert action is not None
        answer: bool | None = await self.config.book.ask(action.value, session.client_id, topic or "")
        return answer


class Listener(BasePlugin[Any]):  # type: ignore[misc]
    """Writes down every event, and keeps amqtt's context."""

    Config = BookConfig

    def __init__(self, context: Any) -> None:
        super().__init__(context)
        self.config.book.contexts.append(context)

    async def _hear(self, event: str, **arguments: Any) -> None:
        self.config.book.heard.append((event, arguments))
        await self.config.book.ask("event", event, event)

    async def on_broker_pre_start(self) -> None:
        await self._hear("pre_start")

    async def on_broker_post_start(self) -> None:
        await self._hear("post_start")

    async def on_broker_pre_shutdown(self) -> None:
        await self._hear("pre_shutdown")

    async def on_broker_post_shutdown(self) -> None:
        await self._hear("post_shutdown")

    async def on_broker_client_connected(self, *, client_id: str, client_session: Any) -> None:
        await self._hear("connected", client_id=client_id, session=client_session)

    async def on_broker_client_disconnected(self, *, client_id: str, client_session: Any) -> None:
        await self._hear("disconnected", client_id=client_id, session=client_session)

    async def on_broker_client_subscribed(self, *, client_id: str, topic: str, qos: int) -> None:
        await self._hear("subscribed", client_id=client_id, topic=topic, qos=qos)

    async def on_broker_client_unsubscribed(self, *, client_id: str, topic: str) -> None:
        await self._hear("unsubscribed", client_id=client_id, topic=topic)

    async def on_broker_message_received(self, *, client_id: str, message: Any) -> None:
        await self._hear("received", client_id=client_id, message=message)

    async def on_broker_message_broadcast(self, *, client_id: str, message: Any) -> None:
        await self._hear("broadcast", client_id=client_id, message=message)

    async def on_broker_retained_message(self, *, client_id: str | None, retained_message: Any) -> None:
        await self._hear("retained", client_id=client_id, message=retained_message)

    async def on_mqtt_packet_received(self, **_: Any) -> None:
        await self._hear("packet received")

    async def on_mqtt_packet_sent(self, **_: Any) -> None:
        await self._hear("packet sent")

    async def close(self) -> None:
        await self._hear("close")


def slow(book: Book, *, auth: bool = False, events: bool = False) -> Config:
    """The plugins that follow a book; without `auth`, everybody may connect."""
    plugins: Config = {f"{HERE}.SlowTopics": {"book": book}}
    plugins |= {f"{HERE}.SlowAuth": {"book": book}} if auth else ANONYMOUS
    return plugins | ({f"{HERE}.Listener": {"book": book}} if events else {})


def listening(book: Book) -> Config:
    return {f"{HERE}.Listener": {"book": book}, **ANONYMOUS}


# amqtt's own


@pytest.mark.parametrize("allowed", [True, False])
@VERSIONS
async def test_anonymous_auth_plugin(allowed: bool, version: int) -> None:
    """Everybody may connect, or everybody with a name; clients without one do not share sessions."""
    plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": allowed}}
    async with serving(plugins) as broker:
        refused = Reason.NOT_AUTHORIZED if version == 5 else BAD_LOGIN
        assert await login(broker, "c", version=version) == (0 if allowed else refused)
        assert await login(broker, "c", "name", version=version) == 0


async def test_file_auth_plugin(tmp_path: Path) -> None:
    """Argon2 passwords; wrong, unknown and missing ones are refused, and touch nothing of the rightful client."""
    hasher = Argon2Hasher(time_cost=1, memory_cost=64, parallelism=1)
    path = tmp_path / "passwords"
    lines = ["# users", "", *(f"{name}:{hasher.hash(f'{name} secret')}" for name in ("ann", "bob")), "bad:no hash"]
    path.write_text("\n".join(lines) + "\n")
    async with serving({"amqtt.plugins.authentication.FileAuthPlugin": {"password_file": str(path)}}) as broker:
        ann = await peer(broker, "same", "ann", password="ann secret")
        await ann.subscribe("t")
        for name, password in (("ann", "bob secret"), ("ann", ""), ("ann", None), ("eve", "x"), ("bad", "no hash")):
            assert await login(broker, "same", name, password) == BAD_LOGIN
        assert await login(broker, "same") == BAD_LOGIN
        bob = await peer(broker, "same", "bob", password="bob secret")  # another user's client id is another session
        await bob.publish("t", b"hello")
        await eventually(lambda: ann.messages == [("t", b"hello")])
        assert not ann.closed
        newer = await peer(broker, "same", "ann", password="ann secret")
        await eventually(lambda: ann.closed)
        await newer.end()
        await bob.end()


@VERSIONS
async def test_topic_taboo_plugin(version: int) -> None:
    """Its topics are refused to all but `admin`, as subscriptions and as messages."""
    plugins: Config = {"amqtt.plugins.topic_checking.TopicTabooPlugin": {}, **ANONYMOUS}
    async with serving(plugins) as broker:
        admin = await peer(broker, "a", "admin", version=version)
        assert await admin.subscribe("prohibited", "top-secret", "fine") == [1, 1, 1]
        client = await peer(broker, "c", "someone", version=version)
        assert await client.subscribe("prohibited", "fine") == [0x80, 1]
        answers = [await client.publish(topic) for topic in ("prohibited", "data/classified", "fine")]
        reasons = [answer.reason for answer in answers if answer is not None]
        assert reasons == ([0x80, 0x80, 0] if version == 5 else [0, 0, 0])
        await eventually(lambda: admin.messages)
        assert admin.messages == [("fine", b"x")]
        assert (await admin.publish("top-secret", b"y")) is not None
        await eventually(lambda: admin.messages[1:] == [("top-secret", b"y")])
        await client.end()
        await admin.end()


@pytest.mark.filterwarnings("ignore:The 'acl' option is deprecated:DeprecationWarning")
@VERSIONS
async def test_topic_access_control_list_plugin(version: int) -> None:
    """Each user has its filters for publishing and for subscribing; a will is a message, too."""
    plugins: Config = {
        "amqtt.plugins.topic_checking.TopicAccessControlListPlugin": {
            "publish_acl": {"ann": ["ann/#", "all/+/x"], "anonymous": ["all/anonymous/x"]},
            "acl": {"ann": ["all/#"], "bob": ["ann/+"]},
        },
        **ANONYMOUS,
    }
    async with serving(plugins) as broker:
        ann, bob = await peer(broker, "a", "ann", version=version), await peer(broker, "b", "bob", version=version)
        nobody = await peer(broker, "n", version=version)
        assert await ann.subscribe("all/#", "all/1/x", "ann/1", "#") == [1, 1, 0x80, 0x80]
        assert await bob.subscribe("ann/1", "all/#") == [1, 0x80]
        assert await nobody.subscribe("all/anonymous/x") == [0x80]
        for client, topic in (
            (ann, "ann/1"),
            (ann, "all/1/x"),
            (ann, "all/1/y"),
            (ann, "bob/1"),
            (bob, "ann/1"),
            (bob, "all/1/x"),
            (nobody, "all/anonymous/x"),
            (nobody, "ann/1"),
        ):
            await client.publish(topic, topic.encode())
        await ann.ping()
        await bob.ping()
        assert ann.messages == [("all/1/x", b"all/1/x"), ("all/anonymous/x", b"all/anonymous/x")]
        assert bob.messages == [("ann/1", b"ann/1")]
        refused = Reason.NOT_AUTHORIZED if version == 5 else BAD_LOGIN
        assert await login(broker, "w", "ann", will=Will("bob/1", b""), version=version) == refused
        will = Will("all/will/x", b"gone")
        await (await peer(broker, "w", "ann", will=will, version=version)).end()
        await eventually(lambda: ann.messages[2:] == [("all/will/x", b"gone")])
        for client in (ann, bob, nobody):
            await client.end()


async def test_event_logger_plugin() -> None:
    """It tells who comes and goes at INFO, the rest at DEBUG."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{record.levelname} {record.getMessage()}")

    plugins: Config = {"amqtt.plugins.logging_amqtt.EventLoggerPlugin": {}, **ANONYMOUS}
    async with serving(plugins) as broker:
        logger = broker.plugins_manager.get_plugin("EventLoggerPlugin").context.logger
        handler, level = Keep(), logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
        client = await peer(broker, "c")
        await client.subscribe("t")
        await client.publish("t")
        client.send(Disconnect())
        await eventually(lambda: any("disconnected" in line for line in lines))
    logger.removeHandler(handler)
    logger.setLevel(level)
    told = [line.split("'")[1].removeprefix("on_broker_") for line in lines if "EVENT FIRED" in line]
    assert told == [
        "client_connected",
        "client_subscribed",
        "message_received",
        "message_broadcast",
        "client_disconnected",
        "pre_shutdown",
        "post_shutdown",
    ]
    assert [line for line in lines if line.startswith("INFO")] == [
        "INFO ### 'on_broker_client_connected' EVENT FIRED ###",
        "INFO ### 'on_broker_client_disconnected' EVENT FIRED ###",
    ]


def token(**claims: Any) -> str:
    return jwt.encode(claims, SECRET, algorithm="HS256")


async def test_jwt_plugins() -> None:
    """The token says who a client is, and what it may publish, subscribe and receive."""
    pytest.importorskip("sqlalchemy", reason="amqtt.contrib imports it")
    claims = {"publish_claim": "pubs", "subscribe_claim": "subs", "receive_claim": "recs"}
    plugins: Config = {
        "amqtt.contrib.jwt.UserAuthJwtPlugin": {"secret_key": SECRET, "user_claim": "name"},
        "amqtt.contrib.jwt.TopicAuthJwtPlugin": {"secret_key": SECRET, **claims},
    }
    async with serving(plugins) as broker:
        good = token(name="ann", pubs=["a/#"], subs=["a/#"], recs=["a/1"])
        ann = await peer(broker, "a", "ann", password=good)
        for name, password in (
            ("bob", good),
            ("ann", "no token"),
            ("ann", jwt.encode({"name": "ann"}, "x" * 32, algorithm="HS256")),
            ("ann", token(name="ann", exp=1)),
            ("ann", None),
        ):
            assert await login(broker, "a", name, password) == BAD_LOGIN
        assert await ann.subscribe("a/1", "a/2", "b") == [1, 1, 0x80]
        for topic in ("a/1", "a/2", "b"):
            await ann.publish(topic, topic.encode())
        await ann.ping()
        assert ann.messages == [("a/1", b"a/1")]
        await ann.end()


async def test_user_auth_cert_plugin(tmp_path: Path) -> None:
    """A client is the device that its certificate's URI names, and nobody else."""
    pytest.importorskip("sqlalchemy", reason="amqtt.contrib imports it")
    authority = Authority(tmp_path)
    certificate, key = authority.server()
    listener = {"ssl": True, "certfile": str(certificate), "keyfile": str(key), "cafile": str(authority.certificate)}
    plugins: Config = {"amqtt.contrib.cert.UserAuthCertPlugin": {"uri_domain": "example.org"}}

    def device(uri: str) -> Any:
        return authority.context(authority.issue("device", sans=(x509.UniformResourceIdentifier(uri),)))

    async with serving(plugins, listener=listener) as broker:
        for context, client_id, code in (
            (device("spiffe://example.org/device/st-1"), "st-1", 0),
            (device("spiffe://example.org/device/st-1"), "st-2", BAD_LOGIN),
            (device("spiffe://other.org/device/st-1"), "st-1", BAD_LOGIN),
            (authority.context(authority.issue("st-1")), "st-1", BAD_LOGIN),
            (authority.context(), "st-1", BAD_LOGIN),
        ):
            client = await Peer.open(broker.ports["default"], context=context)
            assert await client.connect(client_id) == code
            await client.end()


# beside built-in access


def built_in(access: Access) -> Config:
    return {"hub.broker.access.TokenAuth": {"access": access}, "hub.broker.access.TopicAccess": {"access": access}}


async def test_built_in_access_alone_is_asked_directly() -> None:
    """An event plugin does not change that; another topic plugin does, and then both must agree."""
    access, book = Access(Authenticator(Tokens(SECRET))), Book()
    async with serving(built_in(access)) as broker:
        assert broker.engine.policy is access
    async with serving(built_in(access) | {f"{HERE}.Listener": {"book": book}}) as broker:
        assert broker.engine.policy is access
    book.answers["subscribe", "stations/st-1/signal/in"] = False
    plugins = built_in(access) | {f"{HERE}.SlowTopics": {"book": book}, f"{HERE}.Listener": {"book": book}}
    async with serving(plugins) as broker:
        assert broker.engine.policy is not access
        mint = Tokens(SECRET).mint_station
        assert await login(broker, "c", "st-2", mint("st-1")) == BAD_LOGIN
        client = await peer(broker, "c", "st-1", password=mint("st-1"))
        wanted = ("stations/st-1/cmd", "stations/st-2/cmd", "stations/st-1/signal/in")
        assert await client.subscribe(*wanted) == [1, 0x80, 0x80]
        await eventually(lambda: any(event == "connected" for event, _ in book.heard))
        session = next(given["session"] for event, given in reversed(book.heard) if event == "connected")
        assert session.attributes[IDENTITY].station_id == "st-1"
        other = await peer(broker, "c", "st-3", password=mint("st-3"))  # owners are told apart
        await client.ping()
        await other.end()
        await client.end()


async def test_a_token_ends_beside_other_plugins() -> None:
    """The connection of an expired token ends, as with built-in access alone."""
    access, book = Access(Authenticator(Tokens(SECRET))), Book()
    plugins = built_in(access) | {f"{HERE}.SlowTopics": {"book": book}}
    async with serving(plugins, limits=Limits(token_grace=0)) as broker:
        client = await peer(broker, "c", "st-1", password=Tokens(SECRET).mint_station("st-1", lifetime=1), version=5)
        await eventually(lambda: client.closed)
        last = client.received[-1]
        assert isinstance(last, Disconnect)
        assert last.reason is Reason.NOT_AUTHORIZED


async def test_authentication_plugins_must_agree() -> None:
    """One no is a no, whoever says yes; somebody must have an opinion."""
    book = Book(answers={("authenticate", "yes"): True, ("authenticate", "no"): False})
    cases: list[tuple[Config, tuple[int, ...]]] = [
        ({f"{HERE}.SlowAuth": {"book": book}}, (0, BAD_LOGIN, BAD_LOGIN)),
        ({f"{HERE}.SlowAuth": {"book": book}, **ANONYMOUS}, (0, BAD_LOGIN, 0)),
        ({f"{HERE}.Listener": {"book": book}}, (BAD_LOGIN, BAD_LOGIN, BAD_LOGIN)),
    ]
    for plugins, codes in cases:
        async with serving(plugins) as broker:
            assert tuple([await login(broker, client_id) for client_id in ("yes", "no", "silent")]) == codes


async def test_topic_plugins_must_agree() -> None:
    """One no is a no; without an opinion of anybody it is a yes."""
    book = Book(answers={"subscribe": True, ("subscribe", "no"): False})
    async with serving({"amqtt.plugins.topic_checking.TopicTabooPlugin": {}, **slow(book)}) as broker:
        client = await peer(broker, "c", "someone")
        assert await client.subscribe("fine", "no", "prohibited") == [1, 0x80, 0x80]
        await client.end()
    async with serving(slow(Book())) as broker:
        client = await peer(broker, "c")
        assert await client.subscribe("anything") == [1]
        await client.end()


# a slow plugin


async def test_nothing_acts_before_the_login_is_decided() -> None:
    """What a client sends behind its CONNECT waits; when it is let in, it is done in order; when it is not, never."""
    book = Book(answers={"authenticate": True})
    async with serving(slow(book, auth=True)) as broker:
        watcher = await peer(broker, "watcher")
        await watcher.subscribe("#")
        for client_id, answer in (("good", True), ("bad", False)):
            gate = book.gate("authenticate", client_id)
            book.answers["authenticate", client_id] = answer
            client = await Peer.open(broker.ports["default"])
            client.send(
                Connect(client_id),
                Publish("t", client_id.encode(), 1, packet_id=1),
                Subscribe(2, [SubscribeFilter("u", 0)]),
                Publish("v", b"v"),
                Pingreq(),
            )
            await book.was_asked("authenticate", client_id, client_id)
            await watcher.publish("other", client_id.encode())  # nobody else waits
            assert (client.received, [topic for topic, _ in watcher.messages if topic in "tv"]) == (
                [],
                [] if client_id == "good" else ["t", "v"],
            )
            gate.set()
            await client.until(Pingresp)
            kinds = [type(packet) for packet in client.received]
            assert kinds == ([Connack, Ack, Suback, Pingresp] if answer else [Connack])
            await client.end()
        await watcher.ping()
        assert watcher.messages == [("other", b"good"), ("t", b"good"), ("v", b"v"), ("other", b"bad")]
        assert {client_id for _, client_id, _ in book.asked} == {"watcher", "good", "bad"}
        await watcher.end()


async def test_a_client_that_waits_is_not_read_from() -> None:
    """It may send without end while its login is decided: reading pauses, and the broker holds little of it."""
    book = Book(answers={"authenticate": True})
    gate = book.gate("authenticate", "flood")
    async with serving(slow(book, auth=True)) as broker:
        client = await Peer.open(broker.ports["default"])
        client.send(Connect("flood"))
        await eventually(lambda: book.asked)
        packet = encode(Publish("t", bytes(10_000)), 4)
        count = 3_000
        client.writer.write(packet * count)
        other = await peer(broker, "other")
        for _ in range(20):
            await other.ping()
        # what the sockets of both sides hold is not the broker's
        assert client.writer.transport.get_write_buffer_size() > len(packet) * count // 2
        assert broker.engine.stats.bytes_received < 1_000_000
        gate.set()
        await client.ping()
        assert broker.engine.stats.messages_received == count
        await client.end()
        await other.end()


@VERSIONS
async def test_messages_keep_their_order_while_a_plugin_thinks(version: int) -> None:
    """One slow question holds everything of its client back, and nothing of others; then all comes in order."""
    book = Book()
    gate = book.gate("publish", "slow")
    async with serving(slow(book)) as broker:
        watcher = await peer(broker, "watcher")
        await watcher.subscribe("#")
        client, other = await peer(broker, "c", version=version), await peer(broker, "o", version=version)
        topics = ["fast", "slow", "fast", "slow", "other"]
        packets = [Publish(topic, b"%d" % number, 1, packet_id=number + 1) for number, topic in enumerate(topics)]
        client.send(*packets, Pingreq())
        await book.was_asked("publish", "c", "slow")
        for number in range(5):
            await other.publish("from-other", b"%d" % number)
        await eventually(lambda: len(watcher.messages) == 6)
        assert [topic for topic, _ in watcher.messages] == ["fast"] + ["from-other"] * 5
        assert client.count(Ack) == 1
        assert client.count(Pingresp) == 0
        gate.set()
        await eventually(lambda: client.count(Pingresp))
        assert [one.packet_id for one in client.received if isinstance(one, Ack)] == [1, 2, 3, 4, 5]
        await eventually(lambda: len(watcher.messages) == 10)
        mine = [(topic, payload) for topic, payload in watcher.messages if topic != "from-other"]
        assert mine == [(topic, b"%d" % number) for number, topic in enumerate(topics)]
        for one in (watcher, client, other):
            await one.end()


async def test_a_slow_receive_keeps_the_order_too() -> None:
    """The publisher waits for the answer about a subscriber; its later messages do not overtake."""
    book = Book()
    gate = book.gate("receive", "t")
    async with serving(slow(book)) as broker:
        watcher, client = await peer(broker, "watcher"), await peer(broker, "c")
        await watcher.subscribe("#")
        client.send(*(Publish(topic, topic.encode()) for topic in ("t", "u", "t")), Pingreq())
        await book.was_asked("receive", "watcher", "t")
        await watcher.ping()
        assert (watcher.messages, client.count(Pingresp)) == ([], 0)
        gate.set()
        await eventually(lambda: len(watcher.messages) == 3)
        assert [topic for topic, _ in watcher.messages] == ["t", "u", "t"]
        await watcher.end()
        await client.end()


async def test_the_hubs_own_messages_keep_their_order() -> None:
    """What no client sends (the hub, a plugin, a will) is asked about, too, and comes in order."""
    book = Book()
    gate = book.gate("receive", "first")
    async with serving(slow(book, events=True)) as broker:
        watcher = await peer(broker, "watcher")
        await watcher.subscribe("#")
        (context,) = book.contexts
        for topic in ("first", "second", "third"):
            await context.broadcast_message(topic, topic.encode())
        await watcher.ping()
        assert watcher.messages == []
        gate.set()
        await eventually(lambda: len(watcher.messages) == 3)
        assert [topic for topic, _ in watcher.messages] == ["first", "second", "third"]
        await watcher.end()


@VERSIONS
async def test_subscriptions_get_what_they_ask_for(version: int) -> None:
    """Several filters with slow answers, and two SUBSCRIBEs behind one another: each has its own retained messages and codes."""
    book = Book(answers={("subscribe", "no"): False, ("receive", "b/2"): False})
    gate = book.gate("subscribe", "b/+")
    async with serving(slow(book)) as broker:
        client = await peer(broker, "c")
        for topic in ("a/1", "a/2", "b/1", "b/2", "c/1"):
            client.send(Publish(topic, topic.encode(), retain=True))
        await client.ping()
        reader = await peer(broker, "r", version=version)
        given: Any = {Property.SUBSCRIPTION_IDENTIFIER: [7]} if version == 5 else {}
        reader.send(
            Subscribe(1, [SubscribeFilter("a/+", 0), SubscribeFilter("no", 1), SubscribeFilter("b/+", 1)], given),
            Subscribe(2, [SubscribeFilter("c/+", 0)]),
            Pingreq(),
        )
        await book.was_asked("subscribe", "r", "b/+")
        await client.ping()
        assert reader.count(Suback) == 0
        gate.set()
        await eventually(lambda: reader.count(Pingresp))
        codes = {one.packet_id: list(one.codes) for one in reader.received if isinstance(one, Suback)}
        assert codes == {1: [0, 0x80, 1], 2: [0]}
        await eventually(lambda: len(reader.messages) == 4)
        publishes = [one for one in reader.received if isinstance(one, Publish)]
        assert {one.topic: one.retain for one in publishes} == dict.fromkeys(("a/1", "a/2", "b/1", "c/1"), True)
        if version == 5:
            identifiers = {one.topic: one.properties.get(Property.SUBSCRIPTION_IDENTIFIER) for one in publishes}
            assert identifiers == {"a/1": [7], "a/2": [7], "b/1": [7], "c/1": None}
        await client.end()
        await reader.end()


async def test_receive_filtering() -> None:
    """Who may not have a message does not get it: live at any QoS, retained, from a shared subscription, or a will."""
    book = Book(answers={("receive", "t", "no"): False})
    async with serving(slow(book)) as broker:
        yes, no = await peer(broker, "yes"), await peer(broker, "no")
        for reader in (yes, no):
            assert await reader.subscribe("+") == [1]
        members = [await peer(broker, f"member-{name}") for name in ("yes", "no")]
        book.answers["receive", "t", "member-no"] = False
        for member in members:
            await member.subscribe("$share/g/t")
        client = await peer(broker, "c", will=Will("t", b"will"))
        for number in range(6):
            client.send(Publish("t", b"%d" % number, number % 2, packet_id=number + 1 if number % 2 else None))
        client.send(Publish("t", b"kept", retain=True), Publish("u", b"end"))
        await client.ping()
        await client.end()
        wanted = [*(("t", b"%d" % number) for number in range(6)), ("t", b"kept"), ("u", b"end"), ("t", b"will")]
        await eventually(lambda: len(yes.messages) == len(wanted))
        assert yes.messages == wanted
        await eventually(lambda: len(members[0].messages) == 8)
        for reader in (no, *members):
            await reader.ping()
        assert no.messages == [("u", b"end")]
        assert members[1].messages == []
        await no.subscribe("t")
        await no.ping()
        assert no.messages == [("u", b"end")]
        for one in (yes, no, *members):
            await one.end()


@VERSIONS
async def test_a_will_that_may_not_be_published(version: int) -> None:
    """The login is refused; the client of that name that is here is not touched [MQTT-3.1.4-3]."""
    book = Book(answers={("publish", "forbidden"): False})
    async with serving(slow(book)) as broker:
        here = await peer(broker, "c", version=version)
        await here.subscribe("t")
        refused = Reason.NOT_AUTHORIZED if version == 5 else BAD_LOGIN
        assert await login(broker, "c", will=Will("forbidden", b""), version=version) == refused
        await here.publish("t")
        await eventually(lambda: here.messages)
        await here.end()


@pytest.mark.parametrize("accepted", [True, False])
async def test_a_takeover_waits_for_the_answer(accepted: bool) -> None:
    """While the newcomer's login is decided, and when it is refused, the older connection goes on."""
    book = Book(answers={"authenticate": True})
    async with serving(slow(book, auth=True)) as broker:
        here = await peer(broker, "c")
        await here.subscribe("t")
        gate = book.gate("authenticate", "c")
        book.answers["authenticate", "c"] = accepted
        newcomer = await Peer.open(broker.ports["default"])
        newcomer.send(Connect("c"), Publish("t", b"newcomer"))
        await eventually(lambda: len(book.asked) > 2)
        await here.publish("t", b"here")
        await eventually(lambda: here.messages == [("t", b"here")])
        assert not here.closed
        gate.set()
        await eventually(lambda: newcomer.count(Connack))
        if accepted:
            await eventually(lambda: here.closed)
        else:
            await here.ping()
        assert here.messages == [("t", b"here")]
        await newcomer.end()
        await here.end()


async def test_a_client_that_does_not_wait() -> None:
    """It goes while a question of it is open: what it had sent is done when the answer is there, then comes its will."""
    book = Book(answers={"authenticate": True})
    async with serving(slow(book, auth=True)) as broker:
        watcher = await peer(broker, "watcher")
        await watcher.subscribe("#")
        gates = [book.gate("authenticate", "one"), book.gate("publish", "t"), book.gate("subscribe", "s")]
        one = await Peer.open(broker.ports["default"])
        one.send(Connect("one", will=Will("will", b"1")), Publish("behind", b"1"))
        two, three = await peer(broker, "two", will=Will("will", b"2")), await peer(broker, "three")
        two.send(Publish("t", b"2"))
        three.send(Subscribe(1, [SubscribeFilter("s", 1)]))
        await eventually(lambda: {("publish", "two", "t"), ("subscribe", "three", "s")} <= set(book.asked))
        for client in (one, two, three):
            await client.end()
        for gate in gates:
            gate.set()
        await eventually(lambda: broker.engine.connections == 1)
        await eventually(lambda: len(watcher.messages) == 4)
        assert [message for message in watcher.messages if message[1] == b"1"] == [("behind", b"1"), ("will", b"1")]
        assert [message for message in watcher.messages if message[1] == b"2"] == [("t", b"2"), ("will", b"2")]
        assert list(broker.sessions) == ["watcher"]
        await watcher.end()


# a plugin that fails


@VERSIONS
async def test_a_plugin_that_raises(version: int, caplog: pytest.LogCaptureFixture) -> None:
    """Its answer is no: for a login, a message, a subscription, a receiver. The connection and the others go on."""
    broken = RuntimeError("broken")
    book = Book(
        answers={
            "authenticate": True,
            ("authenticate", "bad"): broken,
            ("publish", "p"): broken,
            ("subscribe", "s"): broken,
            ("receive", "r", "c"): broken,
            ("event", "connected"): broken,
            ("event", "received"): broken,
        }
    )
    async with serving(slow(book, auth=True, events=True)) as broker:
        refused = Reason.NOT_AUTHORIZED if version == 5 else BAD_LOGIN
        assert await login(broker, "bad", version=version) == refused
        client = await peer(broker, "c", version=version)
        # one filter that cannot be decided: none of the packet is
        assert 0x80 in await client.subscribe("s")
        assert await client.subscribe("+") == [1]
        answer = await client.publish("p")
        assert answer is not None
        assert (answer.reason >= 0x80) is (version == 5)
        await client.publish("fine")
        await eventually(lambda: client.messages == [("fine", b"x")])
        await client.publish("r")
        await client.publish("fine", b"after")
        await eventually(lambda: client.messages[-1] == ("fine", b"after"))
        assert ("r", b"x") not in client.messages
        (context,) = book.contexts
        await context.broadcast_message("r", b"of the hub")
        await context.broadcast_message("fine", b"of the hub")
        await eventually(lambda: client.messages[-1] == ("fine", b"of the hub"))
        await client.end()
    assert any("a broker plugin failed: RuntimeError" in record.getMessage() for record in caplog.records)


class Stubborn(BasePlugin[Any]):  # type: ignore[misc]
    """Never ends, and cannot be cancelled until its book's gate opens."""

    Config = BookConfig

    async def _stay(self, what: str) -> None:
        book: Book = self.config.book
        book.asked.append(("stubborn", what, what))
        gate = book.gates["stubborn", ""]
        while not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                pass

    async def on_broker_client_connected(self, **_: Any) -> None:
        await self._stay("connected")

    async def on_broker_pre_shutdown(self) -> None:
        await self._stay("pre_shutdown")

    async def close(self) -> None:
        await self._stay("close")


class StubbornAuth(BaseAuthPlugin, Stubborn):  # type: ignore[misc]
    """Never answers about one client."""

    Config = BookConfig

    async def authenticate(self, *, session: Any) -> bool:
        if session.client_id == "stuck":
            await self._stay("authenticate")
        return True


async def test_a_plugin_that_never_ends_does_not_hold_the_end_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every wait at the end is bounded, even for one that does not let itself be cancelled; clients are told all the same."""
    monkeypatch.setattr(broker_module, "STOP_PLUGINS", 0.1)
    monkeypatch.setattr(broker_module, "STOP_CLIENTS", 0.2)
    book = Book()
    gate = book.gate("stubborn", "")
    listeners = {"default": {"type": "tcp", "bind": "127.0.0.1:0"}}
    broker = HubBroker({"listeners": listeners, "plugins": {f"{HERE}.StubbornAuth": {"book": book}}})
    await broker.start()
    client = await peer(broker, "c", version=5)
    stuck = await Peer.open(broker.ports["default"])
    stuck.send(Connect("stuck"))
    await eventually(lambda: len(book.asked) == 2)
    shutdown = asyncio.create_task(broker.shutdown())
    done, _ = await asyncio.wait({shutdown}, timeout=3)
    try:
        assert done, "the end waits for a plugin"
        assert isinstance(client.received[-1], Disconnect)
        assert client.received[-1].reason is Reason.SERVER_SHUTTING_DOWN
        await eventually(lambda: client.closed and stuck.closed)
        assert {what for _, what, _ in book.asked} >= {"connected", "authenticate", "pre_shutdown"}
    finally:
        gate.set()
        await asyncio.wait({shutdown}, timeout=3)


async def test_plugins_are_closed_whatever_another_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that never ends does not keep another from being closed, which may have something to save."""
    monkeypatch.setattr(broker_module, "STOP_PLUGINS", 0.1)
    book, other = Book(), Book()
    gate = book.gate("stubborn", "")
    plugins: Config = {f"{HERE}.StubbornAuth": {"book": book}, f"{HERE}.Listener": {"book": other}}
    async with serving(plugins) as broker:
        client = await peer(broker, "c")
        await eventually(lambda: book.asked)
    try:
        assert other.heard[-1][0] == "close"
    finally:
        gate.set()
        await client.end()


# events


def say(message: Any) -> tuple[str, bytes, int, bool]:
    return message.topic, bytes(message.data), message.qos, message.retain


@VERSIONS
async def test_events_come_in_order_with_their_arguments(version: int) -> None:
    """The broker's life, a client's, its subscriptions, its messages; no packet events."""
    book = Book()
    async with serving(listening(book)) as broker:
        client = await peer(broker, "c", "name", version=version)
        await client.subscribe("t/+", "u", qos=2)
        client.send(Publish("t/1", b"0"), Publish("t/1", b"1"), Publish("t/1", b"kept", 1, True, packet_id=5))
        await eventually(lambda: client.count(Ack))
        await client.ask(Unsubscribe(3, ["u", "never"]), Unsuback)
        await client.subscribe("t/+", qos=0)
        client.send(Disconnect())
        await eventually(lambda: any(event == "disconnected" for event, _ in book.heard))
        await client.end()
    names = [event for event, _ in book.heard]
    assert names == [
        "pre_start",
        "post_start",
        "connected",
        "subscribed",
        "subscribed",
        *["received", "broadcast"] * 3,
        "retained",
        "unsubscribed",
        "subscribed",
        "disconnected",
        "pre_shutdown",
        "post_shutdown",
        "close",
    ]
    given = [arguments for _, arguments in book.heard]
    session = given[2]["session"]
    assert (given[2]["client_id"], session.client_id, session.username) == ("c", "c", "name")
    assert (session.clean_session, session.keep_alive, session.remote_address) == (True, 0, "127.0.0.1")
    assert given[3] == {"client_id": "c", "topic": "t/+", "qos": 2}
    assert given[4] == {"client_id": "c", "topic": "u", "qos": 2}
    messages = [(one["client_id"], *say(one["message"])) for one in given[5:11:2]]
    assert messages == [
        ("c", "t/1", b"0", 0, False),
        ("c", "t/1", b"1", 0, False),
        ("c", "t/1", b"kept", 1, True),
    ]
    assert [say(one["message"]) for one in given[6:12:2]] == [message[1:] for message in messages]
    assert say(given[11]["message"]) == ("t/1", b"kept", 1, True)
    assert given[12] == {"client_id": "c", "topic": "u"}
    assert given[13] == {"client_id": "c", "topic": "t/+", "qos": 0}
    assert (given[14]["client_id"], given[14]["session"]) == ("c", session)


async def test_the_end_of_the_broker_is_heard() -> None:
    """Clients that are still there are told of as disconnected, between the two events of the end."""
    book = Book()
    async with serving(listening(book)) as broker:
        client = await peer(broker, "c")
    names = [event for event, _ in book.heard]
    assert names == ["pre_start", "post_start", "connected", "pre_shutdown", "disconnected", "post_shutdown", "close"]
    await client.end()


async def test_a_slow_listener_holds_nobody_up() -> None:
    """Events are told, not asked: the client goes on at once."""
    book = Book()
    gate = book.gate("event", "connected")
    async with serving(listening(book)) as broker:
        client = await peer(broker, "c")
        await client.ping()
        assert any(event == "connected" for event, _ in book.heard)
        gate.set()
        await client.end()


# amqtt's context


@VERSIONS
async def test_plugins_publish_through_the_context(version: int) -> None:
    """`broadcast_message` reaches subscribers, with their own QoS or a given one; `retain_message` keeps, and clears."""
    book = Book()
    async with serving(listening(book)) as broker:
        client = await peer(broker, "c", version=version)
        await client.subscribe("t/+", qos=1)
        (context,) = book.contexts
        await context.broadcast_message("t/1", b"own qos")
        await context.broadcast_message("t/1", b"qos 0", 0)
        await context.broadcast_message("t/1", bytearray(b"bytearray"), 1)
        await context.retain_message("t/kept", b"kept", 1)
        await eventually(lambda: len(client.messages) == 3)
        publishes = [one for one in client.received if isinstance(one, Publish)]
        assert [(one.payload, one.qos, one.retain) for one in publishes] == [
            (b"own qos", 1, False),
            (b"qos 0", 0, False),
            (b"bytearray", 1, False),
        ]
        await client.subscribe("+/kept", qos=1)
        await eventually(lambda: len(client.messages) == 4)
        last = client.received[-1]
        assert isinstance(last, Publish)
        assert (last.topic, last.payload, last.qos, last.retain) == ("t/kept", b"kept", 1, True)
        (kept,) = context.retained_messages.values()
        assert (kept.topic, kept.data, kept.qos) == ("t/kept", b"kept", 1)
        await context.retain_message("t/kept", b"")
        assert context.retained_messages == {}
        await client.end()


async def test_plugins_see_sessions_and_subscriptions() -> None:
    """Who is there, or was and comes back; what each subscribed; and one may subscribe for a client that is known."""
    book = Book()
    async with serving(listening(book)) as broker:
        here = await peer(broker, "here", "ann")
        await here.subscribe("a", "b", qos=1)
        away = await peer(broker, "away", "bob", clean=False)
        await away.subscribe("b", qos=2)
        await away.end()
        await eventually(lambda: broker.engine.connections == 1)
        (context,) = book.contexts
        assert sorted((one.client_id, one.username) for one in context.sessions) == [("away", "bob"), ("here", "ann")]
        assert context.get_session("here").username == "ann"
        assert context.get_session("nobody") is None
        seen = {name: sorted((one.client_id, qos) for one, qos in who) for name, who in context.subscriptions.items()}
        assert seen == {"a": [("here", 1)], "b": [("away", 2), ("here", 1)]}
        await context.add_subscription("here", "c", 1)
        await context.broadcast_message("c", b"x")
        await eventually(lambda: here.messages == [("c", b"x")])
        with pytest.raises(BrokerError, match="nobody"):
            await context.add_subscription("nobody", "c", 1)
        await here.end()


async def test_plugins_see_sessions_that_were_stored(tmp_path: Path) -> None:
    """After a restart the session of a client that is away is there, and can be asked about."""
    book = Book()
    async with serving(slow(book, events=True), storage=tmp_path / "broker.sqlite") as broker:
        client = await peer(broker, "away", "bob", clean=False)
        await client.subscribe("t", "u")
        await client.end()
    book = Book(answers={("receive", "u"): False})
    async with serving(slow(book, events=True), storage=tmp_path / "broker.sqlite") as broker:
        (context,) = book.contexts
        assert [(one.client_id, one.username) for one in context.sessions] == [("away", "bob")]
        sender = await peer(broker, "sender")
        await sender.publish("t")
        await sender.publish("u")
        assert {("receive", "away", "t"), ("receive", "away", "u")} <= set(book.asked)
        client = await peer(broker, "away", "bob", clean=False)
        await eventually(lambda: client.messages)
        await client.ping()
        assert client.messages == [("t", b"x")]
        await client.end()
        await sender.end()


async def test_sys_topics_are_the_brokers_own() -> None:
    """`$SYS/broker` is there without a plugin, as retained messages; no client may publish there."""
    async with serving(ANONYMOUS, limits=Limits(sys_interval=0.1)) as broker:
        client = await peer(broker, "c", version=5)
        await client.subscribe("$SYS/broker/#")
        await eventually(lambda: ("$SYS/broker/clients/connected", b"1") in client.messages)
        answer = await client.publish("$SYS/broker/version", b"mine")
        assert answer is not None
        assert answer.reason is Reason.TOPIC_NAME_INVALID
        await client.end()
