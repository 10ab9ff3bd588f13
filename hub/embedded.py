"""`EmbeddedLink`: a `Link` that is a call into the broker of this process: no socket, no copy."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from devices import topics
from hub.authentication import Authenticator
from hub.broker import Access, HubBroker, Limits
from hub.broker.engine import Watcher
from hub.broker.message import Message
from hub.broker.storage import Synchronous
from hub.dispatch import Dispatch, Subscription
from hub.link import LinkDown, OnConnected, OnMessage
from hub.quiet import quieten

__all__ = ["EmbeddedLink", "Tls"]

BATCH: Final = 100
"""Publishes of the hub before others get a turn."""
STORAGE: Final = "broker.sqlite"
_NODE_RECORDS: Final = tuple(
    topic.filter().partition("+")[0] for topic in (topics.LIVE_NODE, topics.LIVE_ROOM, topics.LIVE_SOCKET)
)
"""What a node says of itself and its sockets: after a restart it is another node."""

log = logging.getLogger(__name__)


class Tls(NamedTuple):
    """A port for MQTT over TLS.

    Attributes:
        certificate, key: PEM files.
        client_ca: certificates that may sign those of clients; a client with one needs no token. None: clients bring none.
    """

    port: int
    certificate: Path
    key: Path
    client_ca: Path | None = None


class EmbeddedLink:
    """The broker in this process.

    Args:
        authenticator: knows who a client is.
        host: the address to listen on.
        mqtt_port, mqtt_ws_port: 0 takes a free one; once started, the attributes are the real ones.
        tls: one more port, with TLS; `mqtts_port` is the real one.
        anonymous: a client without a password may speak for any station (for trials).
        limits: what clients may cost.
        storage: a directory for sessions and retained messages; None: they end with the process.
        synchronous: how far each commit goes, see `hub.broker.storage`.
        watchers: hear of clients that come, go (and why), subscribe and unsubscribe.
    """

    connected = False
    wills_are_final = True

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        host: str = "127.0.0.1",
        mqtt_port: int = 1883,
        mqtt_ws_port: int = 8083,
        tls: Tls | None = None,
        anonymous: bool = False,
        limits: Limits | None = None,
        storage: Path | None = None,
        synchronous: Synchronous = "normal",
        watchers: tuple[Watcher, ...] = (),
    ) -> None:
        self.host, self.mqtt_port, self.mqtt_ws_port = host, mqtt_port, mqtt_ws_port
        self.mqtts_port: int | None = None
        self._tls, self._limits, self._storage, self._synchronous = tls, limits or Limits(), storage, synchronous
        self._watchers = watchers
        self._access = Access(authenticator, anonymous=anonymous)
        self._dispatch = Dispatch()
        # one queue: a subscription sees the retained messages of every publish before it, and all after it live
        self._work: deque[Message | Subscription] = deque()
        self._working = False
        self._broker: HubBroker | None = None

    @property
    def broker(self) -> HubBroker:
        """The broker, once started."""
        assert self._broker is not None
        return self._broker

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Starts the broker and listens; once in a link's life.

        Raises:
            ListenError: a port cannot be had.
            StorageError: what was stored cannot be used.
        """
        quieten("amqtt")
        quieten("transitions")
        host = f"[{self.host}]" if ":" in self.host else self.host
        listeners: dict[str, dict[str, object]] = {
            "default": {"type": "tcp", "bind": f"{host}:{self.mqtt_port}"},
            "ws": {"type": "ws", "bind": f"{host}:{self.mqtt_ws_port}"},
        }
        if self._tls is not None:
            port, certificate, key, client_ca = self._tls
            listeners["mqtts"] = {
                "type": "tcp",
                "bind": f"{host}:{port}",
                "ssl": True,
                "certfile": certificate,
                "keyfile": key,
                "cafile": client_ca,
            }
        broker = HubBroker(
            {
                "listeners": listeners,
                "plugins": {
                    "hub.broker.access.TokenAuth": {"access": self._access},
                    "hub.broker.access.TopicAccess": {"access": self._access},
                },
            },
            limits=self._limits,
            storage=self._storage / STORAGE if self._storage is not None else None,
            synchronous=self._synchronous,
            keeps=_outlives_the_node,
            watchers=self._watchers,
        )
        await broker.start()
        self._broker, self.connected = broker, True
        ports = broker.ports
        self.mqtt_port, self.mqtt_ws_port, self.mqtts_port = ports["default"], ports["ws"], ports.get("mqtts")
        self._wake()
        self._dispatch.tell_connected(True)

    async def stop(self) -> None:
        """Ends the broker and every connection, within some seconds."""
        if self._broker is None:
            return
        for _ in range(len(self._work) // BATCH + 1):
            self._pump()
        broker, self._broker = self._broker, None
        self.connected = False
        await broker.shutdown()
        self._dispatch.tell_connected(False)

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """As `Link.publish`."""
        if not self.connected:
            raise LinkDown("the embedded broker is not running: nothing was published")
        self._work.append(Message(topic, payload, qos, retain))
        self._wake()

    def subscribe(self, topic_filter: str, on_message: OnMessage) -> None:
        """As `Link.subscribe`. Raises ValueError for what is no topic filter."""
        self._work.append(self._dispatch.subscription(topic_filter, on_message))
        self._wake()

    def cut(self, owner: str, refused: Callable[[Any], bool], *, end: bool) -> None:
        """As `Link.cut`."""
        if self._broker is not None:
            self._broker.engine.cut(owner, refused, end=end)

    def watch_connection(self, on_connected: OnConnected) -> None:
        """As `Link.watch_connection`."""
        self._dispatch.watch(on_connected)

    def _wake(self) -> None:
        # never from within `publish` or `subscribe`: a callback may do either
        if self._work and not self._working and self._broker is not None:
            self._working = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        self._working = False
        if self._broker is None:
            return
        engine = self._broker.engine
        for _ in range(min(BATCH, len(self._work))):
            work = self._work.popleft()
            if isinstance(work, Message):
                engine.publish(work)
            else:
                engine.subscribe_local(work.topic_filter, work)
        self._wake()


def _outlives_the_node(topic: str) -> bool:
    return not topic.startswith(_NODE_RECORDS)
