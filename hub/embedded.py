"""`EmbeddedLink`: a `Link` on amqtt's `Broker` in this process, through its public methods and plugin events only.

What amqtt does wrong stands in tests/hub/embedded_exceptions.py.
"""

import asyncio
import logging
from typing import Final, NamedTuple, Self

from amqtt.adapters import ReaderAdapter, WriterAdapter
from amqtt.broker import Broker
from amqtt.contexts import BrokerConfig, ListenerConfig, ListenerType

from devices.topics import matches
from hub.auth import Tokens
from hub.broker import IDENTITY, Access, Connect, Denied, Listeners
from hub.dispatch import Dispatch, Subscription
from hub.link import LinkDown, OnConnected, OnMessage
from hub.quiet import quieten

__all__ = ["EmbeddedLink"]

STOP_TIMEOUT: Final = 1.5
SESSION_EXPIRY: Final = 3600  # seconds that a kept session outlives its connection
BATCH: Final = 100
"""Publishes handed to amqtt before others get a turn."""

log = logging.getLogger(__name__)


class _Publish(NamedTuple):
    topic: str
    payload: bytes
    qos: int
    retain: bool


class EmbeddedLink:
    """The broker in this process.

    Args:
        tokens: proves who a client is.
        host: the address to listen on.
        mqtt_port, mqtt_ws_port: 0 takes a free one; once started, the attributes are the real ones.
        anonymous: a client without a password may speak for any station (for trials).
    """

    connected = False
    wills_are_final = False  # amqtt may publish the will of a live session when another takes its place

    def __init__(
        self,
        *,
        tokens: Tokens,
        host: str = "127.0.0.1",
        mqtt_port: int = 1883,
        mqtt_ws_port: int = 8083,
        anonymous: bool = False,
    ) -> None:
        self.host, self.mqtt_port, self.mqtt_ws_port = host, mqtt_port, mqtt_ws_port
        self._access = Access(tokens, anonymous=anonymous)
        self._dispatch = Dispatch()
        # one queue: a subscription sees the retained messages of every publish before it, and all after it live
        self._work: asyncio.Queue[_Publish | Subscription | None] = asyncio.Queue()
        # amqtt gives its own retained messages to clients that may not read them: the hub's are kept and sent from here
        self._retained: dict[str, _Publish] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._listeners = Listeners(self._accept, self._admit)
        self._broker: Broker | None = None

    @property
    def denied(self) -> Denied:
        """How many connects, publishes and subscribes were refused."""
        return self._access.denied

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Starts the broker and listens; once in a link's life. Raises ListenError for a port that cannot be had."""
        quieten("amqtt")
        quieten("transitions")
        config = BrokerConfig(
            listeners={"default": ListenerConfig(type=ListenerType.EXTERNAL)},
            session_expiry_interval=SESSION_EXPIRY,
            plugins={
                "hub.broker.access.TokenAuth": {"access": self._access},
                "hub.broker.access.TopicAccess": {"access": self._access},
                "hub.broker.events.ClientEvents": {"receiver": self},
            },
        )
        self._broker = Broker(config)
        await self._broker.start()
        self._tasks.append(asyncio.create_task(self._pump(self._broker), name="embedded link"))
        self.connected = True
        try:
            await self._listeners.open(self.host, self.mqtt_port, self.mqtt_ws_port)
        except BaseException:
            await self.stop()
            raise
        self.mqtt_port, self.mqtt_ws_port = self._listeners.ports
        self._dispatch.tell_connected(True)

    async def stop(self) -> None:
        """Ends the broker and every connection, within 3 s whatever amqtt waits for."""
        if self._broker is None:
            return
        broker, self._broker = self._broker, None
        was_up, self.connected = self.connected, False
        self._listeners.stop_accepting()
        self._work.put_nowait(None)
        await asyncio.wait(self._tasks, timeout=STOP_TIMEOUT / 4)
        shutdown = asyncio.create_task(broker.shutdown(), name="broker shutdown")
        await asyncio.wait({shutdown}, timeout=STOP_TIMEOUT)
        await self._listeners.close()
        for task in (shutdown, *self._tasks):
            task.cancel()
        await asyncio.wait({shutdown, *self._tasks}, timeout=STOP_TIMEOUT / 8)
        if not shutdown.done() or shutdown.cancelled() or shutdown.exception() is not None:
            log.warning("the broker did not end cleanly: its connections were cut")
        if was_up:
            self._dispatch.tell_connected(False)

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """As `Link.publish`."""
        if not self.connected:
            raise LinkDown("the embedded broker is not running: nothing was published")
        self._work.put_nowait(_Publish(topic, payload, qos, retain))

    def subscribe(self, topic_filter: str, on_message: OnMessage) -> None:
        """As `Link.subscribe`. Raises ValueError for what is no topic filter."""
        self._work.put_nowait(self._dispatch.subscription(topic_filter, on_message))

    def watch_connection(self, on_connected: OnConnected) -> None:
        """As `Link.watch_connection`."""
        self._dispatch.watch(on_connected)

    def received(self, topic: str, payload: bytes) -> None:
        """A client published, or its will was published."""
        if self.connected:
            self._dispatch.deliver(topic, payload)

    async def send_retained(self, client_id: str, topic_filter: str, qos: int) -> None:
        """A client subscribed: it gets the hub's retained messages that match."""
        for topic in [topic for topic in self._retained if matches(topic_filter, topic)]:
            # looked up anew each time: a newer one may have been published while the client acknowledged the last
            kept, entry = self._retained.get(topic), self._broker and self._broker.sessions.get(client_id)
            if kept is None or not entry:
                continue
            try:
                await entry[1].mqtt_publish(topic, kept.payload, min(qos, kept.qos), retain=True)
            except Exception as error:
                log.debug("retained messages not sent: %s: %s", type(error).__name__, error)
                return

    def _admit(self, connect: Connect) -> bool:
        kept = self._broker and self._broker.sessions.get(connect.client_id)
        return self._access.connect(*connect[1:], kept[0].attributes.get(IDENTITY) if kept else None) is not None

    async def _accept(self, reader: ReaderAdapter, writer: WriterAdapter) -> None:
        if self._broker is not None:
            await self._broker.external_connected(reader, writer, "default")

    async def _pump(self, broker: Broker) -> None:
        done = 0
        while (work := await self._work.get()) is not None:
            try:
                if isinstance(work, Subscription):
                    self._activate(work, broker)
                else:
                    await self._publish(work, broker)
            except Exception as error:
                log.error("amqtt refused a publish or subscription: %s: %s", type(error).__name__, error)
            done += 1
            if done % BATCH == 0:
                await asyncio.sleep(0)

    def _activate(self, subscription: Subscription, broker: Broker) -> None:
        theirs = [(topic, bytes(kept.data)) for topic, kept in broker.retained_messages.items()]
        for topic, payload in theirs + [(kept.topic, kept.payload) for kept in self._retained.values()]:
            if matches(subscription.topic_filter, topic):
                subscription.tell(topic, payload, True)
        self._dispatch.add(subscription)

    async def _publish(self, message: _Publish, broker: Broker) -> None:
        topic, payload = message.topic, message.payload
        if message.retain:
            self._retained.pop(topic, None)
            if payload:
                self._retained[topic] = message
            if topic in broker.retained_messages:
                await broker.retain_message(None, topic, b"")
        # amqtt sends with the QoS given here, or without one with the subscription's: that is the lower for 0 and 1
        await broker.internal_message_broadcast(topic, payload, 0 if message.qos == 0 else None)
        self._dispatch.deliver(topic, payload)
