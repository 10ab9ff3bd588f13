"""The Station SDK: one station on an MQTT broker. The behaviour is `devices.session`, the wire `devices.client`.

StationError
  AccessRefused   the broker does not take this station id and token
  NotConnected    the station is closed

async with Station("mqtt://hub:1883", "st-1", token=token, status=read_devices) as station:

    @station.on("open-gate")
    async def open_gate(job: Job) -> dict[str, bool]:
        ...
        return {"open": True}

    await station.run_forever()
"""

import asyncio
import inspect
import logging
import random
import secrets
import ssl
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from devices.client import AccessRefused, Address, MqttClient
from devices.clock import SystemClock
from devices.messages import Command, Device, Signal, Status, StreamResponse
from devices.session import (
    REPORT_STATUS,
    Backoff,
    Disconnect,
    Effect,
    Invoke,
    NotConnected,
    Publish,
    Signalled,
    StationError,
    StationSession,
    Subscribe,
)

__all__ = ["AccessRefused", "Job", "NotConnected", "Station", "StationError", "as_status"]

GOODBYE_SECONDS: Final = 1.0
"""How long a goodbye may wait for its acknowledgement."""

StatusSource = Status | Mapping[str, Any] | Sequence[Device | Mapping[str, Any]] | None
Handler = Callable[["Job"], Any]

log = logging.getLogger(__name__)


def as_status(source: StatusSource) -> Status:
    """A status from a list of devices, or from a whole status; None: no devices. Raises ValueError for anything else."""
    if isinstance(source, Status):
        return source
    if source is None or isinstance(source, Mapping):
        return Status.model_validate(dict(source or {}))
    return Status.model_validate({"devices": [d if isinstance(d, Device) else dict(d) for d in source]})


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A command that is being carried out, as its handler gets it.

    Attributes:
        command: the whole of it.
        deadline: seconds, on the station's monotonic clock, until which the hub waits; None when it did not say.
    """

    command: Command
    deadline: float | None
    _progress: Callable[[Any], None]

    @property
    def id(self) -> str | None:
        """The command's id."""
        return self.command.id

    @property
    def type(self) -> str:
        """Such as `open-gate`."""
        return self.command.type

    @property
    def params(self) -> Any:
        """Any JSON value."""
        return self.command.params

    @property
    def requester_id(self) -> str | None:
        """The peer id of the browser that asked."""
        return self.command.requester_id

    def progress(self, result: Any = None) -> None:
        """Tells the hub how it goes, with any JSON value."""
        self._progress(result)


class Station:
    """One station.

    Args:
        url: `mqtt://host[:1883]`, `mqtts://host[:8883]`, `ws://host[:80][/mqtt]` or `wss://host[:443][/mqtt]`.
        station_id: 1 to 64 of `A-Z a-z 0-9 . _ -`; the user name, too.
        token: the password; a function is asked at each connection.
        status: gives the devices, or a whole status, as it is now; called often, must be quick.
        status_interval: seconds between two status messages; None: only when the hub asks.
        keepalive: seconds without traffic until the two sides look for each other.
        boot, caps: any JSON values for the birth message.
        right_clock: False when the wall clock may be wrong; commands then expire by their duration alone.
        retry_first, retry_cap: seconds that the first wait, and any wait, for a reconnection takes at most.
        connect_timeout: seconds for a connection to be made and accepted.
        max_inflight, max_queued: messages that wait for an acknowledgement, and that wait at all.
        ssl_context, ca_file: for TLS; without them the system's authorities decide.

    Raises:
        ValueError: not such an address or id.
    """

    def __init__(
        self,
        url: str,
        station_id: str,
        *,
        token: str | Callable[[], str] | None = None,
        status: Callable[[], StatusSource] | None = None,
        status_interval: float | None = 5.0,
        keepalive: int = 30,
        boot: Any = None,
        caps: Any = None,
        right_clock: bool = True,
        retry_first: float = 0.5,
        retry_cap: float = 30.0,
        connect_timeout: float = 10.0,
        max_inflight: int = 20,
        max_queued: int = 1000,
        ssl_context: ssl.SSLContext | None = None,
        ca_file: str | None = None,
    ) -> None:
        self.station_id, self._address = station_id, Address.parse(url)
        self._token, self._status = token, status
        self._client_options: dict[str, Any] = {
            "keepalive": keepalive,
            "connect_timeout": connect_timeout,
            "max_inflight": max_inflight,
            "max_queued": max_queued,
        }
        self._ssl_context, self._ca_file = ssl_context, ca_file
        self._clock = SystemClock()
        self._backoff = Backoff(random.random, first=retry_first, cap=retry_cap)
        self._handlers: dict[str, Handler] = {}
        self._signal_handler: Callable[[Signal], Any] | None = None
        self.session = StationSession(
            station_id,
            self._clock,
            new_session_id=lambda: secrets.token_urlsafe(9),
            status=self._read_status,
            handles=self._handlers.__contains__,
            status_interval=status_interval,
            keepalive=keepalive,
            boot=boot,
            caps=caps,
            right_clock=right_clock,
        )
        self._client: MqttClient
        self._main: asyncio.Task[None]
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._tried = asyncio.Event()
        self._online = asyncio.Event()
        self._error: StationError | None = None

    # ---- life

    async def __aenter__(self) -> Self:
        """Tries to connect; a broker out of reach is tried again in the background.

        Raises:
            AccessRefused: the broker does not take the station id and token.
        """
        context = self._ssl_context
        if self._ca_file is not None:
            context = ssl.create_default_context(cafile=self._ca_file)
        self._client = MqttClient(
            self._address, self.station_id, on_message=self._received, ssl_context=context, **self._client_options
        )
        self._main = asyncio.create_task(self._stay_connected(), name=f"station-{self.station_id}")
        try:
            await self._tried.wait()
        except asyncio.CancelledError:
            await self.close()
            raise
        if self._error is not None:
            await self.close()
            raise self._error
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Cancels the handlers that run, says goodbye and disconnects. The second time it does nothing."""
        self._error = self._error or NotConnected(f"{self.station_id} is closed")
        tasks = self._tasks - {asyncio.current_task()}  # a handler may close its station
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        acks = self._apply(self.session.goodbye())
        if acks:
            await asyncio.wait(acks, timeout=GOODBYE_SECONDS)
            self._client.disconnect()
        self._main.cancel()
        await asyncio.gather(self._main, return_exceptions=True)
        self._client.abort()
        self._client.give_up()
        self._online.set()  # wakes who waits, to find the error

    async def wait_connected(self) -> None:
        """Waits until there is a connection.

        Raises:
            AccessRefused: the broker does not take the station id and token.
            NotConnected: the station was closed.
        """
        await self._online.wait()
        if self._error is not None:
            raise self._error

    async def run_forever(self) -> None:
        """Waits until the station is closed. Raises AccessRefused when the very first connection is refused."""
        await asyncio.wait([self._main])
        if isinstance(self._error, AccessRefused):
            raise self._error

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._online.is_set() and self._error is None

    # ---- what a station does

    def on(self, command_type: str) -> Callable[[Handler], Handler]:
        """Registers the handler of a command type: `handler(job)`, async, or plain and quick.

        What it returns, any JSON value, is the command's result; an exception is its error. It never runs for an expired
        or duplicate command.

        Raises:
            ValueError: there is one already, or the type is `report-status`, which needs none.
        """
        if command_type == REPORT_STATUS or command_type in self._handlers:
            raise ValueError(f"{command_type} has its handler")

        def register(handler: Handler) -> Handler:
            self._handlers[command_type] = handler
            return handler

        return register

    def on_signal(self, handler: Callable[[Signal], Any]) -> Callable[[Signal], Any]:
        """Registers the handler of WebRTC signals from peers: async, or plain and quick."""
        self._signal_handler = handler
        return handler

    async def report(self) -> None:
        """Sends the status now. Waits for a connection first, like all of these; raises NotConnected once closed."""
        await self._say(self.session.report)

    async def call_center(self) -> None:
        """Calls the centre. Like what follows, it returns when the broker has it.

        Raises:
            StationError: too much waits for the broker already, or the message is too large.
        """
        await self._say(self.session.call_center)

    async def stream_response(
        self,
        requester_id: str,
        status: str,
        *,
        url: str | None = None,
        answer: Any = None,
        error: str | None = None,
        camera_id: str | None = None,
    ) -> None:
        """Answers `start-stream`."""
        response = StreamResponse(
            requester_id=requester_id, status=status, url=url, answer=answer, error=error, camera_id=camera_id
        )
        await self._say(lambda: self.session.stream_response(response))

    async def join_room(self, room_id: str) -> None:
        """Enters a room that the station was invited to."""
        await self._say(lambda: self.session.join_room(room_id))

    async def leave_room(self, room_id: str) -> None:
        """Leaves a room."""
        await self._say(lambda: self.session.leave_room(room_id))

    async def signal(self, signal: Signal) -> None:
        """Sends a WebRTC offer, answer or candidate to a peer."""
        await self._say(lambda: self.session.signal(signal))

    async def _say(self, make: Callable[[], list[Effect]]) -> None:
        await self.wait_connected()
        for effect in make():
            if isinstance(effect, Publish) and (ack := self._client.publish(effect)) is not None:
                await ack

    # ---- the connection

    async def _stay_connected(self) -> None:
        ever = False
        while True:
            held, since = 0.0, self._clock.monotonic()
            try:
                await self._connect()
                ever, since = True, self._clock.monotonic()
                await self._connected()
                held = self._clock.monotonic() - since
            except AccessRefused as error:
                if not ever:
                    self._error = error
                    self._online.set()
                    return
                log.warning("%s: %s", self.station_id, error)
            except OSError as error:
                log.warning("%s: no connection to %s:%d: %s", self.station_id, *self._address[:2], error or "timeout")
            except Exception:
                log.exception("%s: connecting failed", self.station_id)  # the token function, for one
            finally:
                self._tried.set()
            await asyncio.sleep(self._backoff.delay(held))

    async def _connect(self) -> None:
        token = self._token() if callable(self._token) else self._token
        await self._client.connect(self.station_id, token, self.session.next_session())

    async def _connected(self) -> None:
        """From the accepted connection to its end."""
        log.info("%s: connected to %s:%d", self.station_id, *self._address[:2])
        try:
            first, *_ = self._apply(self.session.connected())
            self._tick()
            await first  # connected means subscribed: no command is missed from here on
            if not self._client.closed.is_set():
                self._online.set()
            self._tried.set()
            await self._client.closed.wait()
        finally:
            self._online.clear()
            self.session.disconnected()
            if self._timer is not None:
                self._timer.cancel()
        log.warning("%s: connection to %s:%d lost", self.station_id, *self._address[:2])

    def _tick(self) -> None:
        self._apply(self.session.tick())
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        at = self.session.next_tick()
        if at is not None:
            delay = max(0.0, at - self._clock.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._tick)

    def _received(self, topic: str, payload: bytes, retained: bool) -> None:
        if self._error is not None:  # no command starts while the station says goodbye
            return
        self._apply(self.session.received(topic, payload, retained=retained))
        self._set_timer()

    # ---- what the machine wants

    def _apply(self, effects: list[Effect]) -> "list[asyncio.Future[None]]":
        """Carries out effects; gives the acknowledgements to come."""
        acks = []
        for effect in effects:
            match effect:
                case Subscribe(filters, qos):
                    acks.append(self._client.subscribe(filters, qos))
                case Publish():
                    try:
                        if (ack := self._client.publish(effect)) is not None:
                            acks.append(ack)
                    except StationError as error:
                        log.warning("%s: %s", self.station_id, error)
                case Invoke():
                    self._start(self._run(effect), effect.command.type)
                case Signalled(signal) if self._signal_handler is not None:
                    self._start(self._run_signal(self._signal_handler, signal), "signal")
                case Signalled() | Disconnect():
                    pass  # nobody listens; `close` disconnects once the goodbye is acknowledged
        return acks

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=f"station-{self.station_id}-{name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, invoke: Invoke) -> None:
        command = invoke.command

        def progress(result: Any) -> None:
            self._apply(self.session.progress(invoke, result))

        try:
            result = self._handlers[command.type](Job(command, invoke.deadline, progress))
            if inspect.isawaitable(result):
                result = await result
        except asyncio.CancelledError:
            self._apply(self.session.failed(invoke, "the station stops"))
            raise
        except Exception as error:
            log.exception("%s: the handler of %s failed", self.station_id, command.type)
            self._apply(self.session.failed(invoke, f"{type(error).__name__}: {error}"))
        else:
            self._apply(self.session.done(invoke, result))

    async def _run_signal(self, handler: Callable[[Signal], Any], signal: Signal) -> None:
        try:
            result = handler(signal)
            if inspect.isawaitable(result):
                await result
        except Exception:
            log.exception("%s: the handler of signals failed", self.station_id)

    def _read_status(self) -> Status:
        """The status as the user's function gives it; a station whose function fails is still there, and says so."""
        try:
            return as_status(None if self._status is None else self._status())
        except Exception:
            log.exception("%s: the status could not be read: reported without devices", self.station_id)
            return Status()
