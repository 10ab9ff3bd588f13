"""`HubBroker`: an `amqtt.broker.Broker` whose data plane is ours.

amqtt's are the configuration, the listeners and their TLS contexts, the life cycle and the plugin manager; everything from the
first byte of a client on is `hub.broker.engine`.
"""

import asyncio
import logging
import secrets
import socket
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from amqtt.broker import DEFAULT_PORTS, Broker, RetainedApplicationMessage
from amqtt.contexts import BrokerConfig, ListenerConfig, ListenerType
from amqtt.errors import BrokerError
from amqtt.events import BrokerEvents
from transitions import MachineError

from devices.clock import Clock, SystemClock
from hub.broker.engine import TICK, Engine, Watcher
from hub.broker.limits import Limits
from hub.broker.message import Message
from hub.broker.plugins import PluginEvents, policy_of, view
from hub.broker.session import Subscription
from hub.broker.storage import Storage, Synchronous
from hub.broker.store import Store
from hub.broker.sys import SysTopics
from hub.broker.tcp import TcpProtocol
from hub.broker.websocket import WebSocketProtocol, WebSocketSettings
from hub.broker.wire import Feed, Wire
from hub.listening import listen

__all__ = ["HubBroker"]

STOP_CLIENTS: Final = 1.0
"""Seconds for clients to take what was sent to them."""
STOP_PLUGINS: Final = 1.0
"""Seconds for each thing that plugins are told or asked at the end."""
CHECKPOINT_EVERY: Final = 1.0

log = logging.getLogger(__name__)


class LoopShell:
    """Runs an engine on an event loop. A `hub.broker.engine.Shell`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._tasks: set[asyncio.Future[Any]] = set()

    def soon(self, callback: Callable[[], None]) -> None:
        """See `Shell.soon`."""
        self._loop.call_soon(callback)

    def later(self, seconds: float, callback: Callable[[], None]) -> None:
        """See `Shell.later`."""
        self._loop.call_later(seconds, callback)

    def spawn(self, work: Awaitable[Any], callback: Callable[[Any], None]) -> None:
        """See `Shell.spawn`."""

        async def run() -> None:
            try:
                result = await work
            except Exception as error:
                log.error("a broker plugin failed: %s: %s", type(error).__name__, error)
                log.debug("where it failed", exc_info=error)
                result = False
            callback(result)

        self._keep(self._loop.create_task(run(), name="mqtt decision"))

    def aside(self, work: Callable[[], None], callback: Callable[[Exception | None], None]) -> None:
        """See `Shell.aside`."""

        async def run() -> None:
            try:
                await asyncio.to_thread(work)
            except Exception as error:
                callback(error)
            else:
                callback(None)

        self._keep(self._loop.create_task(run(), name="mqtt storage"))

    def _keep(self, task: asyncio.Future[Any]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def idle(self, seconds: float) -> None:
        """Waits until nothing is waited for, or for some seconds."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

    async def stop(self) -> None:
        """Ends what still waits."""
        for task in list(self._tasks):
            task.cancel()
        await self.idle(STOP_PLUGINS)


class HubBroker(Broker):  # type: ignore[misc]  # amqtt ships no types
    """An MQTT 3.1.1 and 5 broker.

    Args:
        config: amqtt's configuration: listeners and plugins.
        limits: what clients may cost.
        storage: a file for sessions and retained messages; None: they live in memory.
        synchronous: how far a commit goes, see `hub.broker.storage`.
        keeps: whether the retained message of a topic is stored.
        watchers: hear of clients.

    Raises:
        BrokerError: the configuration is wrong.
    """

    def __init__(
        self,
        config: BrokerConfig | dict[str, Any] | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        plugin_namespace: str | None = None,
        *,
        limits: Limits | None = None,
        clock: Clock | None = None,
        storage: Path | None = None,
        synchronous: Synchronous = "normal",
        keeps: Callable[[str], bool] = lambda _: True,
        watchers: tuple[Watcher, ...] = (),
    ) -> None:
        super().__init__(config, loop, plugin_namespace)
        clock = clock or SystemClock()
        self._shell = LoopShell(self._loop)
        policy = policy_of(self.plugins_manager)
        store = None
        if storage is not None:
            store = Store(Storage(storage, synchronous=synchronous), clock, policy.remember, keeps)
        events = PluginEvents(self.plugins_manager)
        self.engine = Engine(
            policy,
            self._shell,
            clock,
            limits=limits,
            store=store,
            new_id=lambda: secrets.token_hex(8),
            watchers=(*watchers, *((events,) if self.plugins_manager._event_plugin_callbacks else ())),
        )
        if events.wants(BrokerEvents.MESSAGE_RECEIVED, BrokerEvents.MESSAGE_BROADCAST, BrokerEvents.RETAINED_MESSAGE):
            self.engine.on_published = events.published
        self._transports: dict[str, set[asyncio.Transport]] = {}
        self._sockets: dict[str, socket.socket] = {}
        self._sys = SysTopics(self.engine)
        self._checkpoint: asyncio.Future[None] | None = None

    # life cycle

    async def start(self) -> None:
        """Takes up what was stored, and listens.

        Raises:
            StorageError: the storage cannot be used.
            ListenError: an address cannot be listened on.
            BrokerError: anything else is wrong.
        """
        if self.transitions.state != "new":
            raise BrokerError("a HubBroker is started once: make another one")
        self._bind()
        try:
            self.engine.load()
            await super().start()
        except BaseException:
            await self._close_listeners()
            for opened in self._sockets.values():
                opened.close()
            if self.engine.store is not None:
                self.engine.store.close()
            raise

    async def _create_server_instance(
        self,
        listener_name: str,
        listener_type: ListenerType,
        address: str | None,
        port: int,
        ssl_context: ssl.SSLContext | None,
    ) -> asyncio.Server:
        transports = self._transports[listener_name] = set()
        most = self.listeners_config[listener_name].max_connections

        def accept(wire: Wire) -> Feed:
            if 0 < most < len(transports):
                wire.abort()
            return self.engine.accept(wire)

        def tcp() -> asyncio.Protocol:
            return TcpProtocol(accept, transports)

        settings = WebSocketSettings(max_message=2 * self.engine.limits.max_packet)

        def websocket() -> asyncio.Protocol:
            return WebSocketProtocol(accept, settings, transports)

        server: asyncio.Server = await self._loop.create_server(
            websocket if listener_type is ListenerType.WS else tcp,
            sock=self._sockets[listener_name],
            ssl=ssl_context,
            ssl_handshake_timeout=self.engine.limits.connect_timeout if ssl_context else None,
        )
        return server

    @staticmethod
    def _create_ssl_context(listener: ListenerConfig) -> ssl.SSLContext:
        """amqtt's context; without CAs of its own, a listener asks for no client certificate."""
        context: ssl.SSLContext = Broker._create_ssl_context(listener)
        if not (listener.cafile or listener.capath or listener.cadata):
            context.verify_mode = ssl.CERT_NONE
        return context

    def _bind(self) -> None:
        """All ports, before amqtt begins: what it makes of one that is taken is a traceback."""
        try:
            for name, listener in self.listeners_config.items():
                if listener.type is not ListenerType.EXTERNAL and listener.bind is not None:
                    try:
                        address, port = self._split_bindaddr_port(listener.bind, DEFAULT_PORTS[listener.type])
                    except ValueError:
                        raise BrokerError(f"listener {name}: not an address and port: {listener.bind!r}") from None
                    host = address.strip("[]") if address else None
                    self._sockets[name] = listen(host, port)
        except BaseException:
            for opened in self._sockets.values():
                opened.close()
            raise

    @property
    def ports(self) -> dict[str, int]:
        """The port of each listener, by its name."""
        return {
            name: server.instance.sockets[0].getsockname()[1]
            for name, server in self._servers.items()
            if getattr(server.instance, "sockets", None)
        }

    def accept(self, wire: Wire) -> Feed:
        """Takes a connection from a listener that is not amqtt's."""
        return self.engine.accept(wire)

    async def _broadcast_loop(self) -> None:
        """amqtt's loop: nothing is broadcast by a task here."""

    async def _session_monitor(self) -> None:
        """amqtt's loop over all sessions: here, what moves the engine's time."""
        passed = 0.0
        while True:
            await asyncio.sleep(TICK)
            passed += TICK
            try:
                self.engine.tick()
                self._sys.tick(self.engine.now)
                if passed >= CHECKPOINT_EVERY:
                    passed = 0.0
                    self._start_checkpoint()
            except Exception as error:
                log.error("the broker's clock failed: %s: %s", type(error).__name__, error)
                log.debug("where it failed", exc_info=error)

    def _start_checkpoint(self) -> None:
        store = self.engine.store
        if store is None or (self._checkpoint is not None and not self._checkpoint.done()):
            return
        self._checkpoint = asyncio.ensure_future(asyncio.to_thread(store.storage.checkpoint))
        self._checkpoint.add_done_callback(_told)

    async def shutdown(self) -> None:
        """Ends the broker: no new clients, the others are told and end; whatever plugins do, within some seconds."""
        try:
            self.transitions.shutdown()
        except (MachineError, ValueError):
            return
        await self._close_listeners()
        await self._bounded(self.plugins_manager.fire_event(BrokerEvents.PRE_SHUTDOWN, wait=True))
        if self._session_monitor_task is not None:
            self._session_monitor_task.cancel()
            await asyncio.gather(self._session_monitor_task, return_exceptions=True)
        if self._checkpoint is not None:
            await asyncio.wait({self._checkpoint})
        await self._shell.idle(STOP_CLIENTS)  # a commit that runs in a thread is waited for
        self.engine.close()
        deadline = self._loop.time() + STOP_CLIENTS
        # transports tell their protocols, not us, that they are gone
        while any(self._transports.values()) and self._loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        for transports in self._transports.values():
            for transport in list(transports):
                transport.abort()
        await self._shell.stop()
        await self._bounded(self.plugins_manager.wait_fired_events())
        await self._bounded(self.plugins_manager.fire_event(BrokerEvents.POST_SHUTDOWN, wait=True))
        # not `close()`: it waits for events without end before it closes any
        await self._bounded(self.plugins_manager.map_plugin_close())
        for task in self.plugins_manager._fired_events:
            task.cancel()
        self.transitions.stopping_success()

    async def _close_listeners(self) -> None:
        for server in self._servers.values():
            if getattr(server.instance, "close", None):
                server.instance.close()

    async def _bounded(self, work: Coroutine[Any, Any, Any]) -> None:
        task = self._loop.create_task(work, name="mqtt plugins")
        await asyncio.wait({task}, timeout=STOP_PLUGINS)
        if not task.done():
            # it may not even heed a cancel: nobody waits for that
            task.cancel()
            log.warning("a broker plugin did not end in %g s: it is left behind", STOP_PLUGINS)
        elif not task.cancelled() and task.exception() is not None:
            log.warning("a broker plugin failed at the end: %s", task.exception())

    # what plugins do through amqtt's context

    async def internal_message_broadcast(self, topic: str, data: bytes, qos: int | None = None) -> None:
        """Publishes for a plugin; without a QoS, each subscriber gets it with its own."""
        self.engine.publish(Message(topic, bytes(data), 2 if qos is None else qos))

    async def retain_message(
        self, source_session: Any, topic_name: str | None, data: bytes | bytearray | None, qos: int | None = None
    ) -> None:
        """Keeps a message for a plugin, without publishing it."""
        if topic_name:
            self.engine.deliveries.retain(Message(topic_name, bytes(data or b""), qos or 0, True))
            self.engine.wake()

    async def add_subscription(self, subscription: tuple[str, int], session: Any) -> int:
        """Subscribes a client for a plugin."""
        for mine in self.engine.sessions.values():
            if mine.client_id == session.client_id:
                self.engine.subscribe(mine, Subscription(*subscription))
                return subscription[1]
        return 0x80

    def create_offline_session(self, client_id: str) -> Any:
        """Not supported: sessions are kept by `storage`."""
        raise BrokerError(f"no session can be made for {client_id!r}: sessions are the broker's own, see `storage`")

    @property
    def sessions(self) -> dict[str, tuple[Any, Any]]:
        """By client id, for plugins."""
        return {session.client_id: (view(session), None) for session in self.engine.sessions.values()}

    @property
    def subscriptions(self) -> dict[str, list[tuple[Any, int]]]:
        """By filter, for plugins."""
        found: dict[str, list[tuple[Any, int]]] = {}
        for session in self.engine.sessions.values():
            for one in session.subscriptions.values():
                found.setdefault(one.topic_filter, []).append((view(session), one.qos))
        return found

    @property
    def retained_messages(self) -> dict[str, RetainedApplicationMessage]:
        """By topic, for plugins."""
        return {
            message.topic: RetainedApplicationMessage(None, message.topic, message.payload, message.qos)
            for message in self.engine.deliveries.retained
        }


def _told(done: asyncio.Future[None]) -> None:
    error = None if done.cancelled() else done.exception()
    if error is not None:
        log.warning("the storage's log could not be shortened: %s", error)
