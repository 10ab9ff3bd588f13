"""One station's behaviour as a sans-IO state machine (architecture.md sections 4, 5 and 7; contract.md sections 4 and 7).

Messages and calls in, effects out: the MQTT client around it carries them out. The clock and the session ids are injected.

StationError
  NotConnected    the call needs a connection, and there is none

Rules:
    every connection is a session with an id of its own; the will that names it is known before connecting;
    on connect: subscribe, birth, a status at once, then what had to wait for the connection;
    a status each interval, and when the hub asks; a missed interval is not made up for;
    a retained command is never acted on, nor a malformed one: a gate must not open from a kept message;
    a command id that was accepted before is `duplicate`, a command past its deadline `expired`: neither runs a handler;
    an accepted command is `received`, then `progress`, then once `done` or `error`, even after its deadline;
    a verdict `offline` about a station that is connected is stale: the birth is sent again, at most once a second;
    a clean leave says goodbye before it disconnects.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from devices import topics
from devices.clock import Clock
from devices.messages import (
    MAX_MESSAGE,
    Birth,
    Call,
    Command,
    CommandReply,
    MessageError,
    Offline,
    RoomAction,
    Signal,
    Status,
    StreamResponse,
    Verdict,
    decode,
    encode,
)

__all__ = [
    "Backoff",
    "Disconnect",
    "Effect",
    "Invoke",
    "NotConnected",
    "Publish",
    "Signalled",
    "StationError",
    "StationSession",
    "Subscribe",
]

REMEMBERED: Final = 1_000
REMEMBERED_SECONDS: Final = 600.0
MAX_RUNNING: Final = 100
"""Commands of one station that may run at a time."""
MAX_PENDING: Final = 100
"""Replies that wait for a connection; the oldest give way."""
REBIRTH_SECONDS: Final = 1.0
"""Between two births of one session, at least."""
REPORT_STATUS: Final = "report-status"
"""The one command that needs no handler."""

log = logging.getLogger(__name__)


class StationError(Exception):
    """Base of what goes wrong on a station's side."""


class NotConnected(StationError):
    """There is no connection to the broker."""


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Subscribe to these topics."""

    filters: tuple[str, ...]
    qos: int = 1


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish this; as a will: hand it to the broker on connecting."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Invoke:
    """Run the handler of this command, then call `done` or `failed` with this very object.

    Attributes:
        deadline: monotonic seconds until which the hub waits; None when it did not say.
    """

    command: Command
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class Signalled:
    """A peer sent a WebRTC offer, answer or candidate, or came or went."""

    signal: Signal


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Disconnect once everything before it is delivered."""


Effect = Subscribe | Publish | Invoke | Signalled | Disconnect


class StationSession:
    """One station.

    Args:
        station_id: 1 to 64 of `A-Z a-z 0-9 . _ -`.
        clock: time.
        new_session_id: gives an id that nobody had before.
        status: the devices as they are now; `station_id` and a missing `updated_at` and `summary` are filled in here. Or the
            whole message as bytes, which goes out as it is.
        handles: whether there is a handler for a command type.
        status_interval: seconds between two status messages; None: only when asked.
        keepalive: the MQTT keep-alive in seconds, for the birth.
        boot: anything about this start, for the birth.
        caps: what the station can do, for the birth.
        right_clock: False when the wall clock may be wrong: a command's `ttlMs` then counts alone, from its arrival.

    Attributes:
        malformed: messages that could not be read.
        retained_commands: retained commands that were ignored.
        duplicates: commands that were refused, as they had come before.
        session_id: of the current or coming connection.

    Raises:
        ValueError: not a station id.
    """

    __slots__ = (  # a simulation has ten thousand of these
        *("_accepted", "_birth", "_born_at", "_clock", "_cmd", "_connected", "_handles", "_interval", "_live"),
        *(
            "_new_session_id",
            "_next_status",
            "_pending",
            "_rebirth_at",
            "_right_clock",
            "_running",
            "_sid",
            "_signal_in",
        ),
        *("_status", "_status_topic", "duplicates", "malformed", "retained_commands", "session_id"),
    )

    def __init__(
        self,
        station_id: str,
        clock: Clock,
        *,
        new_session_id: Callable[[], str],
        status: Callable[[], Status | bytes] = Status,
        handles: Callable[[str], bool] = lambda _: False,
        status_interval: float | None = 5.0,
        keepalive: float | None = None,
        boot: Any = None,
        caps: Any = None,
        right_clock: bool = True,
    ) -> None:
        self._cmd, self._signal_in = topics.STATION_CMD(station_id), topics.SIGNAL_IN(station_id)
        self._live, self._status_topic = topics.LIVE_STATION(station_id), topics.STATION_STATUS(station_id)
        self._sid, self._clock, self._new_session_id = station_id, clock, new_session_id
        self._status, self._handles, self._right_clock = status, handles, right_clock
        self._interval = status_interval
        self._birth = Birth(
            session_id="-", boot=boot, caps=caps, keepalive=keepalive or None, status_interval=status_interval
        )
        self._connected = False
        self._accepted: dict[str, float] = {}  # in the order they came
        self._running: list[Invoke] = []
        self._pending: list[Publish] = []
        self._next_status: float | None = None
        self._rebirth_at: float | None = None
        self._born_at = 0.0
        self.session_id = ""
        self.malformed = self.retained_commands = self.duplicates = 0

    # ---- the connection

    def next_session(self) -> Publish:
        """A connection is about to be tried: gives the will to connect with, which names a new session."""
        self.session_id = self._new_session_id()
        return self._message(topics.STATION_OFFLINE, Offline(station_id=self._sid, session_id=self.session_id))

    def connected(self) -> list[Effect]:
        """The broker accepted the connection that `next_session` was called for."""
        now = self._clock.monotonic()
        self._connected = True
        self._next_status = None if self._interval is None else now + self._interval
        effects: list[Effect] = [Subscribe((self._cmd, self._signal_in, self._live)), self._announce(now)]
        effects += self.report()
        effects += self._pending
        self._pending.clear()
        return effects

    def disconnected(self) -> None:
        """The connection is gone; commands that run go on, and their ends wait for the next one."""
        self._connected = False
        self._next_status = self._rebirth_at = None

    def goodbye(self) -> list[Effect]:
        """The station leaves on purpose."""
        if not self._connected:
            return []
        leave = Offline(station_id=self._sid, session_id=self.session_id, reason="goodbye")
        self.disconnected()
        return [self._message(topics.STATION_OFFLINE, leave), Disconnect()]

    # ---- time

    def next_tick(self) -> float | None:
        """Monotonic seconds at which `tick` has something to do; None: never, as things are."""
        if self._rebirth_at is None or self._next_status is None:
            return self._next_status if self._rebirth_at is None else self._rebirth_at
        return min(self._next_status, self._rebirth_at)

    def tick(self) -> list[Effect]:
        """Time passed."""
        now, effects = self._clock.monotonic(), list[Effect]()
        if self._rebirth_at is not None and self._rebirth_at <= now:
            effects.append(self._announce(now))
        if self._interval is not None and self._next_status is not None and self._next_status <= now:
            self._next_status += self._interval
            if self._next_status <= now:
                self._next_status = now + self._interval
            effects += self.report()
        return effects

    def report_every(self, seconds: float | None, *, within: float | None = None) -> None:
        """Another status interval, from the next status on; the same one changes nothing.

        Args:
            seconds: the interval; None: only when asked.
            within: seconds until the next status, at most; None: the interval.
        """
        if seconds == self._interval:
            return
        self._interval = seconds
        if seconds is None:
            self._next_status = None
        elif self._connected:
            soon = self._clock.monotonic() + (seconds if within is None else within)
            self._next_status = soon if self._next_status is None else min(self._next_status, soon)

    # ---- what the hub says

    def received(
        self, topic: str, payload: bytes, *, retained: bool = False, arrived: float | None = None
    ) -> list[Effect]:
        """A message came.

        Args:
            retained: its RETAIN flag: the broker kept it from before.
            arrived: monotonic seconds when it came, if that was not just now.
        """
        try:
            if topic == self._live:
                self._heard_verdict(decode(Verdict, payload) if payload else None)
            elif topic == self._cmd and retained:
                self.retained_commands += 1
            elif topic == self._cmd:
                return self._commanded(decode(Command, payload), arrived)
            elif topic == self._signal_in and not retained:
                return [Signalled(decode(Signal, payload))]
        except MessageError as error:
            self.malformed += 1
            log.debug("%s: malformed message ignored: %s", self._sid, error.reason)
        return []

    def _heard_verdict(self, verdict: Verdict | None) -> None:
        if verdict is None or not self._connected:
            return
        # right after the birth the verdict on the last session is still on its way: the hub has a second to correct it
        self._rebirth_at = None if verdict.state == "online" else self._born_at + REBIRTH_SECONDS

    def _commanded(self, command: Command, arrived: float | None) -> list[Effect]:
        now = self._clock.monotonic()
        self._forget(now)
        if command.id in self._accepted:
            self.duplicates += 1
            return self._reply(command, "duplicate")
        deadline = self._deadline(command, now, now if arrived is None else arrived)
        if deadline is not None and deadline <= now:
            return self._reply(command, "expired")
        if command.type == REPORT_STATUS:
            return [*self.report(), *self._reply(command, "done")]
        if not self._handles(command.type):
            return self._reply(command, "error", error="unknown command")
        if len(self._running) >= MAX_RUNNING:
            return self._reply(command, "error", error="too many commands at a time")
        if command.id is not None:
            if len(self._accepted) >= REMEMBERED:
                del self._accepted[next(iter(self._accepted))]
            self._accepted[command.id] = now
        invoke = Invoke(command, deadline)
        self._running.append(invoke)
        return [*self._reply(command, "received"), invoke]

    def _forget(self, now: float) -> None:
        """What was accepted so long ago may come again."""
        while self._accepted and self._accepted[oldest := next(iter(self._accepted))] <= now - REMEMBERED_SECONDS:
            del self._accepted[oldest]

    def _deadline(self, command: Command, now: float, arrived: float) -> float | None:
        ends = []
        if command.ttl_ms is not None:
            ends.append(arrived + command.ttl_ms / 1000)
        if command.expires_at is not None and (self._right_clock or not ends):
            ends.append(now + (command.expires_at - self._clock.wall_ms()) / 1000)
        return min(ends, default=None)

    # ---- how a command goes

    def progress(self, invoke: Invoke, result: Any = None) -> list[Effect]:
        """A command goes on; `result` is any JSON value. Nothing once it ended."""
        return self._reply(invoke.command, "progress", result=result) if invoke in self._running else []

    def done(self, invoke: Invoke, result: Any = None) -> list[Effect]:
        """A command succeeded; a `result` that is no JSON value, or too large, is reported as an error."""
        return self._end(invoke, "done", result=result)

    def failed(self, invoke: Invoke, error: str) -> list[Effect]:
        """A command failed; of `error` the first 4,096 characters are sent."""
        return self._end(invoke, "error", error=error[:4096])

    def _end(self, invoke: Invoke, stage: str, **fields: Any) -> list[Effect]:
        if invoke not in self._running:
            return []
        self._running.remove(invoke)
        return self._reply(invoke.command, stage, **fields)

    def _reply(self, command: Command, stage: str, **fields: Any) -> list[Effect]:
        if command.id is None:
            return []
        try:
            reply = CommandReply.model_validate({"id": command.id, "stage": stage, **fields})
        except ValidationError:
            log.warning("%s: the result of %s is not JSON: not sent", self._sid, command.type)
            reply = CommandReply(id=command.id, stage="error", error="the result is not JSON")
        message = self._message(topics.STATION_REPLY, reply)
        if len(message.payload) > MAX_MESSAGE:
            reply = CommandReply(id=command.id, stage="error", error="the result is too large")
            message = self._message(topics.STATION_REPLY, reply)
        if self._connected:
            return [message]
        self._pending = [*self._pending, message][-MAX_PENDING:]
        return []

    # ---- what the station says

    def report(self) -> list[Effect]:
        """The status, now. Nothing while not connected: it would be stale."""
        if not self._connected:
            return []
        status = self._status()
        if isinstance(status, bytes):
            return self._report(status)
        updated = self._clock.wall_ms() if status.updated_at is None else status.updated_at
        fields = {"station_id": self._sid, "updated_at": updated, "summary": status.summarized()}
        return self._report(encode(status.model_copy(update=fields)))

    def _report(self, payload: bytes) -> list[Effect]:
        if len(payload) > MAX_MESSAGE:
            log.warning("%s: the status is larger than %d bytes: not sent", self._sid, MAX_MESSAGE)
            return []
        return [Publish(self._status_topic, payload, qos=0)]

    def call_center(self) -> list[Effect]:
        """Calls the centre. Raises NotConnected, like all of these."""
        return self._say(topics.STATION_CALL, Call(timestamp=self._clock.wall_ms()))

    def stream_response(self, response: StreamResponse) -> list[Effect]:
        """Answers `start-stream`."""
        return self._say(topics.STATION_STREAM, response)

    def join_room(self, room_id: str) -> list[Effect]:
        """Enters a room that the station was invited to."""
        return self._say(topics.STATION_ROOM, RoomAction(action="join", room_id=room_id))

    def leave_room(self, room_id: str) -> list[Effect]:
        """Leaves a room."""
        return self._say(topics.STATION_ROOM, RoomAction(action="leave", room_id=room_id))

    def signal(self, signal: Signal) -> list[Effect]:
        """Sends a WebRTC offer, answer or candidate to a peer."""
        return self._say(topics.SIGNAL_OUT, signal)

    def _say(self, topic: topics.Topic, message: BaseModel) -> list[Effect]:
        if not self._connected:
            raise NotConnected(f"{self._sid} is not connected: not sent")
        publish = self._message(topic, message)
        if len(publish.payload) > MAX_MESSAGE:
            raise StationError(f"larger than {MAX_MESSAGE} bytes: not sent")
        return [publish]

    def _announce(self, now: float) -> Publish:
        self._born_at, self._rebirth_at = now, None
        return self._message(topics.STATION_ONLINE, self._birth.model_copy(update={"session_id": self.session_id}))

    def _message(self, topic: topics.Topic, message: BaseModel) -> Publish:
        return Publish(topic(self._sid), encode(message))


class Backoff:
    """How long to wait before the next connection: doubling, jittered, the first one soon.

    Args:
        random: gives a number in [0, 1).
        first: seconds that the first wait takes at most.
        cap: seconds that any wait takes at most.
        stable: seconds that a connection must have held to start anew.
    """

    def __init__(
        self, random: Callable[[], float], *, first: float = 0.5, cap: float = 30.0, stable: float = 10.0
    ) -> None:
        self._random, self._first, self._cap, self._stable = random, first, cap, stable
        self._failures = 0

    def delay(self, held: float = 0.0) -> float:
        """Seconds to wait, between half and all of first x 2^failures, `cap` at most.

        Args:
            held: seconds that the last connection held; 0 when there was none.
        """
        if held >= self._stable:
            self._failures = 0
        longest = min(self._cap, self._first * 2.0 ** min(self._failures, 32))
        self._failures += 1
        return longest * (0.5 + self._random() / 2)
