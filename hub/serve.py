"""The composition root: every part of a hub, built, started and stopped in order."""

import asyncio
import gc
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import orjson
import structlog
import uvicorn

from bridge.connection import Settings as WebSocketSettings
from bridge.connection import protocol_class
from bridge.door import DoorFactory, Handshake
from bridge.gateway import FLUSH, Gateway
from bridge.http.app import SOCKETIO_PATH, HttpSettings, create_app
from bridge.http.server import HttpProtocol
from bridge.monitor import INTERVAL, Monitor
from bridge.mqtt_door import MqttDoor
from bridge.native import NativeDoor
from bridge.socketio.application import SocketIo
from devices import topics
from devices.clock import SystemClock
from hub.account_rules import Account, identity_of_account
from hub.accounts import FirstAdmin
from hub.audit import Audit
from hub.authentication import Authenticator
from hub.build import make_accounts, make_link, make_tokens
from hub.command_notes import CommandNotes
from hub.command_records import CommandRecords
from hub.config import ConfigError, Settings, database_url, secret
from hub.embedded import EmbeddedLink
from hub.intake import Intake
from hub.link import LinkError
from hub.listening import listen
from hub.nodes import new_node_id
from hub.passwords import Passwords
from hub.services import TICK, Services
from hub.stations import Stations
from hub.status import AHEAD
from hub.store.database import Database, Session, StoreDown
from hub.store.sessions import StoredSessions

__all__ = ["Hub", "serve"]

log = structlog.get_logger(__name__)

STOP_WITHIN: Final = 5.0
"""Seconds from SIGTERM to the end (contract.md section 7)."""
GC_EVERY: Final = 10_000
"""Objects made and not freed between two looks of the garbage collector; hardly anything in here is a cycle."""
PRUNE_EVERY: Final = 3_600.0
"""Seconds between two looks for old records."""
SYNC_WITHIN: Final = 10.0
"""Seconds for the broker to deliver everything that it kept."""


class _Server(uvicorn.Server):
    """uvicorn, without its signal handlers, and telling when it accepts."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.accepting = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.accepting.set()


class Hub:
    """One hub node, as a context manager: everything listens inside.

    Attributes:
        http_port, mqtt_port, mqtt_ws_port, mqtts_port: the real ports; the MQTT ones None with an external broker.
        tokens: mints and checks access tokens.
        accounts, gateway, services: the parts, for tests and for `hub demo`.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.http_port = 0
        self.mqtt_port: int | None = None
        self.mqtt_ws_port: int | None = None
        self.mqtts_port: int | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Starts everything.

        Raises:
            ConfigError: an option is wrong.
            StoreError: the database cannot be used.
            LinkError: a port is taken, or the broker cannot be used.
        """
        settings, clock, nid = self.settings, SystemClock(), new_node_id()
        self.tokens, jwks = make_tokens(settings, secret(settings))
        self.database = Database(database_url(settings))
        self.authenticator = Authenticator(self.tokens, jwks=jwks, store=StoredSessions(self.database))
        self.link = make_link(settings, self.authenticator, nid)
        self.services = Services(
            self.link,
            clock,
            self.authenticator,
            room_expiry=settings.room_expiry,
            will_grace=settings.will_grace,
            history=settings.history,
            nid=nid,
        )
        self.passwords = Passwords()
        self.accounts = make_accounts(settings, self.database, self.passwords, clock)
        self.audit = Audit(self.database, clock)
        self.command_records = CommandRecords(self.database, clock)
        self.command_notes = CommandNotes(self.command_records)
        self.stations = Stations(self.database, self.audit, self.services)
        listener = listen(settings.host, settings.port)
        self.http_port = listener.getsockname()[1]
        try:
            await self._start_stores()
            await self.link.start()
            if isinstance(self.link, EmbeddedLink):
                self.mqtt_port, self.mqtt_ws_port = self.link.mqtt_port, self.link.mqtt_ws_port
                self.mqtts_port = self.link.mqtts_port
            self._start_services()
            await self._synchronize()
            await self._start_http(listener)
        except BaseException:
            listener.close()
            await self._stop_parts()
            raise
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        try:
            await asyncio.wait_for(self._stop(), STOP_WITHIN)
        except TimeoutError:
            log.warning("not everything ended in time", seconds=STOP_WITHIN)

    async def _start_stores(self) -> None:
        """Before anybody can connect, what was revoked is known."""
        await self.database.start()
        await self.authenticator.start()
        for credential in await self.stations.credentials():
            self.authenticator.credentials.set(*credential)

    async def make_first_admin(self) -> FirstAdmin | None:
        """An admin, where there is none. Raises StoreDown."""

        async def note(session: Session, account: Account) -> None:
            await self.audit.record(
                identity_of_account(account), "", "user.create", account.user_id, {"role": "admin"}, session=session
            )

        return await self.accounts.first_admin(also=note)

    def _start_services(self) -> None:
        settings = self.settings
        self.gateway = Gateway(
            self.services,
            open_registration=settings.open_registration,
            event_rate=settings.event_rate,
            event_burst=settings.event_burst,
            notes=self.command_notes,
        )
        self.monitor = Monitor(self.gateway)
        self.services.start(self.gateway)
        Intake(self.services).subscribe()
        for seconds, work in (
            (TICK, self.services.tick),
            (FLUSH, self.gateway.flush),
            (INTERVAL, self.monitor.tell),
            (AHEAD, self.services.board.read_ahead),
        ):
            self._tasks.append(asyncio.create_task(_every(seconds, work), name=work.__qualname__))
        self._tasks.append(asyncio.create_task(self._prune(), name="prune"))

    async def _prune(self) -> None:
        """Forgets what is old, now and then."""
        while True:
            try:
                await self.audit.prune()
                await self.command_records.prune()
                await self.authenticator.prune()
            except StoreDown as error:
                log.warning("old records not pruned", reason=str(error))
            await asyncio.sleep(PRUNE_EVERY)

    async def _synchronize(self) -> None:
        try:
            async with asyncio.timeout(SYNC_WITHIN):
                await self.services.has_synced.wait()
        except TimeoutError:
            raise LinkError(
                f"the broker did not deliver the hub's own message within {SYNC_WITHIN:.0f} s:"
                f" allow the hub to publish and subscribe {topics.ALL_STATIONS}, {topics.ALL_LIVE} and {topics.PEER.filter()}"
            ) from None

    async def _start_http(self, listener: socket.socket) -> None:
        gateway, monitor, settings = self.gateway, self.monitor, self.settings
        origins = frozenset(settings.origins) or None

        def door(handshake: Handshake) -> NativeDoor:
            return NativeDoor(gateway, handshake)

        def admin_door(handshake: Handshake) -> NativeDoor:
            return NativeDoor(gateway, handshake, monitor)

        self.socketio = SocketIo(gateway, monitor, origins=origins)
        doors: dict[str, DoorFactory] = {"/ws": door, "/ws/admin": admin_door, SOCKETIO_PATH: self.socketio.door}
        if isinstance(self.link, EmbeddedLink):
            accept = self.link.broker.accept
            doors["/mqtt"] = lambda handshake: MqttDoor(accept, handshake)
        sockets = WebSocketSettings(
            doors=doors,
            origins=origins,
            trusted_proxies=frozenset(settings.trusted_proxies),
        )
        config = uvicorn.Config(
            create_app(
                gateway,
                settings=HttpSettings(
                    origins=origins,
                    https=settings.https,
                    trusted_proxies=frozenset(settings.trusted_proxies),
                    ice_servers=tuple(settings.ice_servers),
                    turn_secret=settings.turn_secret.get_secret_value() if settings.turn_secret else None,
                    turn_lifetime=settings.turn_lifetime,
                ),
                accounts=self.accounts,
                stations=self.stations,
                audit=self.audit,
                command_records=self.command_records,
                database=self.database,
                socketio=self.socketio,
            ),
            http=HttpProtocol,
            ws=protocol_class(sockets),
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # `bridge.proxies` decides, for WebSockets as well
            ssl_certfile=settings.tls_certificate if settings.https else None,
            ssl_keyfile=settings.tls_key if settings.https else None,
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]), name="http")
        await self._server.accepting.wait()

    async def _stop(self) -> None:
        self.services.stop()  # while those who wait can still be told
        await asyncio.gather(self.command_records.stop(), self.command_notes.stop())
        self.socketio.stop()  # a poll that waits would hold up the server
        self._server.should_exit = True
        await self._serving
        await self._stop_parts()

    async def _stop_parts(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if hasattr(self, "gateway"):
            self.gateway.stop()
        await self.link.stop()
        await self.authenticator.stop()
        self.passwords.close()
        await self.database.stop()

    @property
    def http_url(self) -> str:
        """Where the console is."""
        scheme = "https" if self.settings.https else "http"
        return f"{scheme}://{_reachable(self.settings.host)}:{self.http_port}"

    def ready(self) -> dict[str, object]:
        """What `--ready-file` says; `mqtts` only when there is TLS."""
        host = _reachable(self.settings.host)
        mqtt, ws = self.mqtt_port, self.mqtt_ws_port
        return {
            "pid": os.getpid(),
            "http": self.http_url,
            "mqtt": f"mqtt://{host}:{mqtt}" if mqtt else None,
            "mqttWs": f"ws://{host}:{ws}/mqtt" if ws else None,
        } | ({"mqtts": f"mqtts://{host}:{self.mqtts_port}"} if self.mqtts_port else {})


async def _every(seconds: float, work: Callable[[], None]) -> None:
    """Calls `work` at an interval, until cancelled; what goes wrong once is logged and does not end it."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        due = max(due + seconds, loop.time())
        await asyncio.sleep(due - loop.time())
        try:
            work()
        except Exception as error:
            log.error("background work failed", work=work.__qualname__, exc_info=error)


def _reachable(host: str) -> str:
    """An address to connect to, for one that is listened on."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    return f"[{host}]" if ":" in host else host


async def serve(settings: Settings, on_ready: Callable[[Hub, FirstAdmin | None], None]) -> None:
    """Runs a hub until SIGTERM or Ctrl-C; a second Ctrl-C ends the process at once with exit code 130.

    Args:
        on_ready: gets the admin that was made because there was none, to be told: the password is kept nowhere.

    Raises: see `Hub.__aenter__`.
    """
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def asked() -> None:
        if stop.is_set():
            os._exit(130)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked)
    async with Hub(settings) as hub:
        if settings.ready_file is not None:
            try:
                _write(settings.ready_file, orjson.dumps(hub.ready()))
            except OSError as error:
                raise ConfigError(f"--ready-file: {settings.ready_file} cannot be written: {error.strerror}") from None
        # last: of a start that fails, nobody would ever be told the password
        admin = await hub.make_first_admin()
        if hub.tokens.is_weak:
            log.warning("the secret of the tokens is short: whoever has a token can guess it; 32 characters are safe")
        log.info("hub ready", **hub.ready())
        on_ready(hub, admin)
        # what is there now stays: the collector need not look at it again while thousands of stations come
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_EVERY, 20, 20)
        await stop.wait()
        log.info("stopping")
    if settings.ready_file is not None:
        settings.ready_file.unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    """Writes a file that is whole from the moment it is there."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_bytes(content)
    scratch.replace(path)
