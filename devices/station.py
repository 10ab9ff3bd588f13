"""The Station SDK: one station on an MQTT broker, `devices.session` on paho-mqtt, in asyncio, without a thread of its own.

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
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, NamedTuple, Self
from urllib.parse import urlsplit

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from pydantic import ValidationError

from devices.clock import Clock, SystemClock
from devices.messages import Command, Device, Signal, Status, StreamResponse, why
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

__all__ = ["AccessRefused", "Address", "Job", "NotConnected", "Station", "StationError", "as_status"]

TICK_SECONDS: Final = 1.0
"""How often paho looks at its keep-alive."""
GOODBYE_SECONDS: Final = 1.0
"""How long a goodbye may wait for its acknowledgement."""

StatusSource = Status | Mapping[str, Any] | Sequence[Device | Mapping[str, Any]] | None
Handler = Callable[["Job"], Any]

log = logging.getLogger(__name__)


class AccessRefused(StationError):
    """The broker refused the station's credentials."""


class Address(NamedTuple):
    """Where a broker listens."""

    host: str
    port: int
    tls: bool
    websocket: bool
    path: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Reads `mqtt://`, `mqtts://`, `ws://` or `wss://`; path of the last two: `/mqtt`. Raises ValueError for others."""
        parts = urlsplit(url)
        ports = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}
        if parts.scheme not in ports or not parts.hostname:
            raise ValueError("the broker's address must look like mqtt://host:1883, mqtts://, ws:// or wss://")
        path = (parts.path if parts.path not in ("", "/") else "/mqtt") + (f"?{parts.query}" if parts.query else "")
        websocket = parts.scheme.startswith("ws")
        port = parts.port or ports[parts.scheme]
        return cls(parts.hostname, port, parts.scheme.endswith("s") and parts.scheme != "ws", websocket, path)


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
        self._keepalive, self._connect_timeout = keepalive, connect_timeout
        self._max_inflight, self._max_queued = max_inflight, max_queued
        self._ssl_context, self._ca_file = ssl_context, ca_file
        self._clock: Clock = SystemClock()
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
        self._client: Client
        self._main: asyncio.Task[None]
        self._tasks: set[asyncio.Task[None]] = set()
        self._acks: dict[int, asyncio.Future[None]] = {}
        self._answer: asyncio.Future[ReasonCode] | None = None
        self._online = asyncio.Event()
        self._first_try = asyncio.Event()
        self._lost = asyncio.Event()
        self._error: StationError | None = None
        self._watched: int | None = None
        self._timer: asyncio.TimerHandle | None = None

    # ---- life

    async def __aenter__(self) -> Self:
        """Tries to connect; a broker out of reach is tried again in the background.

        Raises:
            AccessRefused: the broker does not take the station id and token.
        """
        self._client = self._make_client()
        self._main = asyncio.create_task(self._stay_connected(), name=f"station-{self.station_id}")
        await self._first_try.wait()
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
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        goodbye = self._apply(self.session.goodbye())
        if goodbye:
            await asyncio.wait(goodbye, timeout=GOODBYE_SECONDS)
            self._client.disconnect()
            self._client.loop_write()
        self._main.cancel()
        await asyncio.gather(self._main, return_exceptions=True)
        self._abort()
        self._online.set()
        for future in self._acks.values():
            future.cancel()

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
        try:
            await asyncio.gather(*self._apply(make()))
        except asyncio.CancelledError:
            if self._error is None:
                raise
            raise self._error from None
