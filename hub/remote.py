"""`RemoteLink`: a `Link` over an existing broker, MQTT 3.1.1 by gmqtt (chosen by benchmarks/remote_link.py).

Rules:
    the connection is kept for ever: back-off 0.1 s doubling to 5 s, with jitter;
    every connection is a clean session: all is subscribed anew, `True` is told when every SUBACK is there;
    publishes that the broker had not acknowledged when the connection broke are dropped and counted in `dropped`: records
        are published anew by their owners, commands have deadlines, and an old record must not overwrite a newer one;
    the broker sees filters that do not overlap, because for overlapping ones brokers may send a message once or twice.
"""

import asyncio
import logging
import random
import secrets
from collections.abc import Callable
from typing import Any, Final, Self
from urllib.parse import unquote, urlsplit

import gmqtt
from gmqtt.mqtt.constants import MQTTv311
from gmqtt.mqtt.handler import MQTTConnectError
from gmqtt.storage import PersistentStorage

from hub.dispatch import Dispatch, join, overlap
from hub.link import LinkDown, LinkError, OnConnected, OnMessage
from hub.quiet import quieten

__all__ = ["RemoteLink"]

CONNECT_TIMEOUT: Final = 5.0
KEEP_ALIVE: Final = 5
"""Seconds; gmqtt gives a silent broker up after twice that."""
FIRST_DELAY: Final = 0.1
MAX_DELAY: Final = 5.0
PORTS: Final = {"mqtt": 1883, "mqtts": 8883}

log = logging.getLogger(__name__)


class RemoteLink:
    """A broker elsewhere.

    Args:
        url: `mqtt://[user:password@]host[:1883]` or `mqtts://...[:8883]`; user and password are percent-decoded.
        client_id: default a random one.
        will: (topic, payload, retain) that the broker publishes, QoS 1, when this hub dies.
        jitter: the share of each back-off delay that is waited, 0.5 to 1.

    Raises:
        LinkError: the URL is none of these.
    """

    wills_are_final = False

    def __init__(
        self,
        url: str,
        *,
        client_id: str | None = None,
        will: tuple[str, bytes, bool] | None = None,
        jitter: Callable[[], float] = lambda: random.uniform(0.5, 1.0),
    ) -> None:
        try:
            parts = urlsplit(url)
            self._port = parts.port or PORTS[parts.scheme]
        except (ValueError, KeyError):
            raise LinkError("the broker's URL must be mqtt://host[:port] or mqtts://host[:port]") from None
        self._host, self._tls = parts.hostname or "127.0.0.1", parts.scheme == "mqtts"
        self._user, self._password = unquote(parts.username or ""), unquote(parts.password or "")
        self._client_id, self._will, self._jitter = client_id or f"hub-{secrets.token_hex(8)}", will, jitter
        self.connected = False
        self.dropped = 0
        self._dispatch = Dispatch()
        self._filters: list[str] = []
        self._client: gmqtt.Client | None = None
        self._unacked = PersistentStorage()
        self._lost = asyncio.Event()
        self._subacks: set[int] = set()
        self._ready: asyncio.Future[None] | None = None
        self._keeping: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        """Host and port of the broker, without credentials."""
        return f"{self._host}:{self._port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Connects and subscribes.

        Raises:
            LinkError: the broker cannot be reached within 5 s, or refuses this client or a subscription.
        """
        quieten("gmqtt")
        try:
            await self._connect()
        except LinkError:
            await self._disconnect()
            raise
        self._keeping = asyncio.create_task(self._keep(), name="remote link")

    async def stop(self) -> None:
        """Says goodbye, so the will is void, and disconnects; within 3 s."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait({self._keeping})
            self._keeping = None
        await self._disconnect()

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """As `Link.publish`. LinkDown too when 65,534 publishes wait for the broker's acknowledgement."""
        if self._client is None or not self.connected:
            raise LinkDown(f"the broker at {self.address} cannot be reached: nothing was published")
        try:
            self._client.publish(topic, payload, qos=qos, retain=retain)
        except OverflowError:
            raise LinkDown(f"the broker at {self.address} acknowledges nothing: nothing was published") from None

    def subscribe(self, topic_filter: str, on_message: OnMessage) -> None:
        """As `Link.subscribe`. Raises ValueError for what is no topic filter.

        A filter that overlaps an earlier one, when connected, may give the earlier one retained messages once more.
        """
        self._dispatch.add(self._dispatch.subscription(topic_filter, on_message))
        joined, replaced = self._cover(topic_filter)
        if self._client is not None and self._client.is_connected:
            self._send_subscribe(self._client, [joined])
            for old in replaced:
                self._client.unsubscribe(old)

    def cut(self, owner: str, refused: Callable[[Any], bool], *, end: bool) -> None:
        """As `Link.cut`: an external broker has accounts of its own."""

    def watch_connection(self, on_connected: OnConnected) -> None:
        """As `Link.watch_connection`."""
        self._dispatch.watch(on_connected)

    def _cover(self, topic_filter: str) -> tuple[str, list[str]]:
        """What to ask the broker for instead of `topic_filter`, and what that replaces."""
        joined, replaced = topic_filter, []
        while overlapping := [known for known in self._filters if overlap(known, joined)]:
            for known in overlapping:
                self._filters.remove(known)
                joined = join(joined, known)
            replaced += overlapping
        self._filters.append(joined)
        return joined, [known for known in replaced if known != joined]

    async def _keep(self) -> None:
        while True:
            # a connection that cannot flush closes without a word: hence the look once a second
            while self._client is not None and self._client.is_connected and not self._lost.is_set():
                try:
                    await asyncio.wait_for(self._lost.wait(), 1.0)
                except TimeoutError:
                    pass
            await self._disconnect()
            delay = FIRST_DELAY
            while not self.connected:
                await asyncio.sleep(delay * self._jitter())
                delay = min(delay * 2, MAX_DELAY)
                try:
                    await self._connect()
                except LinkError as error:
                    log.debug("still down: %s", error)
                    await self._disconnect()

    async def _connect(self) -> None:
        will = self._will and gmqtt.Message(self._will[0], self._will[1], qos=1, retain=self._will[2])
        self._unacked, self._lost = PersistentStorage(), asyncio.Event()
        client = gmqtt.Client(self._client_id, will_message=will, persistent_storage=self._unacked)
        # any other negative number is "for ever": reconnecting is done here, with jitter and a clean session
        client.set_config({"reconnect_retries": -2})
        client.on_message, client.on_subscribe = self._on_message, self._on_subscribe
        client.on_disconnect = self._on_disconnect
        if self._user:
            client.set_auth_credentials(self._user, self._password)
        self._client = client
        for subscription in self._dispatch.subscriptions:
            subscription.kept.clear()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await self._connack_and_subacks(client)
        except TimeoutError:
            raise LinkError(f"no answer from the broker at {self.address} within {CONNECT_TIMEOUT:.0f} s") from None
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise LinkError(f"cannot reach the broker at {self.address}: {why}") from None
        except MQTTConnectError as error:
            raise LinkError(f"the broker at {self.address} refused the hub: {error.message}") from None
        self.connected = True
        log.info("connected to the broker at %s", self.address)
        self._dispatch.tell_connected(True)

    async def _connack_and_subacks(self, client: gmqtt.Client) -> None:
        self._ready = ready = asyncio.get_running_loop().create_future()
        connack = asyncio.create_task(
            client.connect(self._host, self._port, ssl=self._tls, keepalive=KEEP_ALIVE, version=MQTTv311)
        )
        try:
            await asyncio.wait({connack, ready}, return_when=asyncio.FIRST_COMPLETED)
            if connack.done():
                connack.result()
                self._send_subscribe(client, self._filters)
            await ready
        finally:
            connack.cancel()
            ready.cancel()
            await asyncio.gather(connack, ready, return_exceptions=True)

    async def _disconnect(self) -> None:
        client, self._client = self._client, None
        self._down()
        await _close(client)

    def _down(self) -> None:
        self._subacks.clear()
        if self.connected:
            self.connected = False
            dropped = len(self._unacked.get_all())
            self.dropped += dropped
            level = logging.WARNING if self._keeping is not None else logging.INFO
            log.log(level, "disconnected from the broker at %s, %d publishes dropped", self.address, dropped)
            self._dispatch.tell_connected(False)

    def _send_subscribe(self, client: gmqtt.Client, filters: list[str]) -> None:
        if filters:
            self._subacks.add(client.subscribe([gmqtt.Subscription(one, qos=1) for one in filters]))
        self._check_ready()

    def _check_ready(self, error: LinkError | None = None) -> None:
        if self._ready is None or self._ready.done():
            return
        if error is not None:
            self._ready.set_exception(error)
        elif not self._subacks:
            self._ready.set_result(None)

    def _on_subscribe(self, client: gmqtt.Client, mid: int, granted: tuple[int, ...], properties: Any) -> None:
        if client is not self._client:
            return
        self._subacks.discard(mid)
        refused = max(granted) >= 0x80
        if refused and self.connected:
            log.error("the broker at %s refuses a subscription of the hub: check its access rules", self.address)
        self._check_ready(
            LinkError(f"the broker at {self.address} refuses the hub's subscriptions") if refused else None
        )

    def _on_disconnect(self, client: gmqtt.Client, packet: Any, exc: Exception | None = None) -> None:
        if client is self._client:
            self._lost.set()
            self._check_ready(LinkError(f"the broker at {self.address} closed the connection"))
            self._down()

    def _on_message(
        self, client: gmqtt.Client, topic: str, payload: bytes, qos: int, properties: dict[str, Any]
    ) -> None:
        if not properties["retain"]:
            self._dispatch.deliver(topic, payload)
            return
        for subscription in self._dispatch.matching(topic):
            if topic not in subscription.kept:
                subscription.kept.add(topic)
                subscription.tell(topic, payload, True)


async def _close(client: gmqtt.Client | None) -> None:
    if client is None:
        return
    try:
        await asyncio.wait_for(client.disconnect(), 2.0)
    except Exception as error:
        log.debug("closing: %s", type(error).__name__)
