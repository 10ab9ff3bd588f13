"""The services on one link: the thin shell that feeds the pure machines and carries out what they say.

`Services` subscribes to what stations say, asks `Presence`, `StatusBoard`, `Commands` and `Streams`, publishes verdicts and
commands, and tells one `Listener` (the bridge) what browsers should hear. It owns the timers; the machines own the rules.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from devices import topics
from devices.messages import (
    Birth,
    Call,
    Command,
    CommandReply,
    MessageError,
    Offline,
    RoomAction,
    Signal,
    StreamResponse,
    Verdict,
    decode,
    encode,
)
from hub.commands import Commands, Outcome, Streams
from hub.link import Link, LinkDown
from hub.presence import AskStatus, Change, Effect, Presence
from hub.status import StatusBoard

__all__ = ["Counters", "Listener", "Services", "Unavailable"]

log = logging.getLogger(__name__)

ANSWER_WINDOW = 10.0
"""Seconds in which a status counts as the answer to a request."""
RETAINED_GRACE = 0.5
"""Seconds after the link came up in which retained verdicts of an external broker arrive."""


class Unavailable(Exception):
    """The broker cannot be reached, or its retained verdicts are still being read."""


class Listener(Protocol):
    """What the services tell the bridge. Calls come on the event loop and must not raise."""

    def station_changed(self, station_id: str, online: bool) -> None: ...
    def station_called(self, station_id: str, timestamp: int) -> None: ...
    def status_answered(self, station_id: str, status: bytes, requesters: list[str]) -> None: ...
    def stream_answered(self, station_id: str, response: StreamResponse) -> None: ...
    def station_signalled(self, station_id: str, signal: Signal) -> None: ...
    def station_room(self, station_id: str, action: RoomAction) -> None: ...


@dataclass(slots=True)
class Counters:
    """What came from stations, since the start."""

    messages: int = 0
    malformed: int = 0
    commands: int = 0


class Services:
    """Presence, status, commands and streams on one link.

    Args:
        link: the broker.
        now: seconds of a monotonic clock (the event loop's, so that timers agree).
        wall: seconds since 1970.
        silence, recovery: see `Presence`.
    """

    def __init__(
        self,
        link: Link,
        *,
        now: Callable[[], float] | None = None,
        wall: Callable[[], float] = time.time,
        silence: float = 15.0,
        recovery: float = 10.0,
    ) -> None:
        self.link = link
        self.presence = Presence(wills_are_final=link.wills_are_final, silence=silence, recovery=recovery)
        self.board = StatusBoard()
        self.commands = Commands()
        self.streams = Streams()
        self.counters = Counters()
        self._now = now or asyncio.get_running_loop().time
        self._wall = wall
        self._listener: Listener | None = None
        self._waiting: dict[str, asyncio.Future[Outcome]] = {}
        self._asked: dict[str, dict[str, float]] = {}
        self._held: list[tuple[Callable[[str, bytes], None], str, bytes]] | None = []
        self._retained: set[str] = set()
        self._revision = int(wall() * 1000)
        self._timer: asyncio.TimerHandle | None = None
        self._timers: set[asyncio.TimerHandle] = set()

    # -- life ---------------------------------------------------------------------------------------------------------

    def start(self, listener: Listener) -> None:
        """Subscribes to everything stations say; call after the link started."""
        self._listener = listener
        self.presence.freeze()
        self.link.subscribe(topics.LIVE_STATION.filter(), self._on_verdict)
        for topic, handler in (
            (topics.STATION_STATUS, self._on_status),
            (topics.STATION_ONLINE, self._on_birth),
            (topics.STATION_OFFLINE, self._on_offline),
            (topics.STATION_CALL, self._on_call),
            (topics.STATION_REPLY, self._on_reply),
            (topics.STATION_STREAM, self._on_stream),
            (topics.STATION_ROOM, self._on_room),
            (topics.SIGNAL_OUT, self._on_signal),
        ):
            self.link.subscribe(topic.filter(), self._guarded(topic, handler))
        self.link.watch_connection(self._on_connection)
        if self.link.connected:
            self._on_connection(True)

    def stop(self) -> None:
        """Ends all timers and answers commands that wait as UNAVAILABLE."""
        for timer in [*self._timers, *([self._timer] if self._timer else [])]:
            timer.cancel()
        self._timers.clear()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(Unavailable())
        self._waiting.clear()

    @property
    def available(self) -> bool:
        """Whether station events can be answered now."""
        return self.link.connected and self._held is None

    def require(self) -> None:
        """Raises Unavailable when station events cannot be answered now."""
        if not self.available:
            raise Unavailable

    @property
    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        return int(self._wall() * 1000)

    # -- what browsers ask --------------------------------------------------------------------------------------------

    def request_status(self, station_id: str, requester_id: str) -> None:
        """Asks a station on MQTT to report; the next status goes to the requester. Raises LinkDown."""
        self.expect_status(station_id, requester_id)
        self.send(station_id, Command(type="report-status", requester_id=requester_id))

    def expect_status(self, station_id: str, requester_id: str) -> None:
        """Notes that the next status of a station is an answer to this requester."""
        self._asked.setdefault(station_id, {})[requester_id] = self._now() + ANSWER_WINDOW

    def send(self, station_id: str, command: Command) -> None:
        """Publishes a command to a station on MQTT. Raises LinkDown."""
        self.counters.commands += 1
        self.link.publish(topics.STATION_CMD(station_id), encode(command))

    def send_signal(self, station_id: str, signal: Signal) -> None:
        """Publishes a signaling message to a station on MQTT. Raises LinkDown."""
        self.link.publish(topics.SIGNAL_IN(station_id), encode(signal))

    def command(
        self, station_id: str, type: str, params: Any, timeout: float, send: Callable[[Command], None]
    ) -> tuple[str, asyncio.Future[Outcome]]:
        """Sends a command by `send` and gives its id and the future of its outcome.

        Args:
            timeout: seconds until the command's deadline.

        Raises:
            OverflowError: too many commands wait already.
            LinkDown: `send` could not publish.
        """
        command_id = secrets.token_urlsafe(12)
        expires_at, ttl = self.now_ms + int(timeout * 1000), int(timeout * 1000)
        command = Command(type=type, id=command_id, params=params, expires_at=expires_at, ttl_ms=ttl)
        now = self._now()
        self.commands.open(command_id, station_id, now, now + timeout)
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting[command_id] = future
        future.add_done_callback(lambda _: self._waiting.pop(command_id, None))
        try:
            send(command)
        except Exception:
            future.cancel()
            raise
        self._schedule()
        return command_id, future

    # -- stations on WebSocket ----------------------------------------------------------------------------------------

    def websocket_birth(self, station_id: str, session_id: str) -> None:
        """A station registered on a WebSocket that this node holds: says so on the broker, like a station would."""
        birth = Birth(session_id=session_id, via="websocket")
        self.link.publish(topics.STATION_ONLINE(station_id), encode(birth))
        self._apply(self.presence.birth(station_id, session_id, self._now(), via="websocket"))

    def websocket_gone(self, station_id: str, session_id: str) -> None:
        """That WebSocket is closed."""
        self._apply(self.presence.left(station_id, session_id, self._now(), via="websocket"))
        offline = Offline(station_id=station_id, session_id=session_id, via="websocket")
        try:
            self.link.publish(topics.STATION_OFFLINE(station_id), encode(offline))
        except LinkDown:
            pass  # the verdict itself is published when the link is back

    def websocket_status(self, station_id: str, raw: bytes) -> None:
        """A status came over WebSocket; it was checked already, but for its age."""
        self.board.arrived(station_id, raw, self.now_ms)
        if station_id in self._asked:
            self._answer(station_id)

    def websocket_reply(self, station_id: str, reply: CommandReply) -> None:
        """A command reply came over WebSocket."""
        self._finish(self.commands.reply(station_id, reply, self._now()))

    # -- what stations say --------------------------------------------------------------------------------------------

    def _guarded(
        self, topic: topics.Topic, handler: Callable[[str, bytes], None]
    ) -> Callable[[str, bytes, bool], None]:
        """Wraps a handler: the id taken out of the topic, retained and malformed messages kept off, errors counted."""

        def on_message(name: str, payload: bytes, retained: bool) -> None:
            self.counters.messages += 1
            ids = topic.ids(name)
            if ids is None:
                self.counters.malformed += 1
            elif retained:
                return  # live state is never taken from what a station kept [architecture.md 5.1]
            elif self._held is not None:
                self._held.append((handler, ids[0], payload))
            else:
                self._handle(handler, ids[0], payload)

        return on_message

    def _handle(self, handler: Callable[[str, bytes], None], station_id: str, payload: bytes) -> None:
        try:
            handler(station_id, payload)
        except MessageError as error:
            self.counters.malformed += 1
            log.debug("station %s sent a malformed message: %s", station_id, error.reason)
        except LinkDown:
            log.debug("the link went down while a message of station %s was handled", station_id)

    def _on_status(self, station_id: str, payload: bytes) -> None:
        self.board.arrived(station_id, payload, self.now_ms)
        if (self.presence.settled(station_id) and station_id not in self._asked) or self._answer(station_id):
            self._apply(self.presence.status(station_id, self._now()))

    def _answer(self, station_id: str) -> bool:
        """Reads the newest status now; hands it to those who asked. False when it was stale or invalid."""
        status = self.board.read(station_id)
        if status is None:
            return False
        now = self._now()
        asked = [requester for requester, until in self._asked.pop(station_id, {}).items() if until > now]
        if asked and self._listener:
            self._listener.status_answered(station_id, status, asked)
        return True

    def _on_birth(self, station_id: str, payload: bytes) -> None:
        birth = decode(Birth, payload)
        if birth.via == "mqtt":  # the other is our own word, applied when it was said
            now = self._now()
            self._apply(self.presence.birth(station_id, birth.session_id, now, interval=birth.status_interval))

    def _on_offline(self, station_id: str, payload: bytes) -> None:
        offline = decode(Offline, payload)
        if offline.via == "mqtt":
            goodbye = offline.reason == "goodbye"
            self._apply(self.presence.left(station_id, offline.session_id, self._now(), goodbye=goodbye))

    def _on_call(self, station_id: str, payload: bytes) -> None:
        call = decode(Call, payload or b"{}")
        if self._listener:
            self._listener.station_called(station_id, call.timestamp or self.now_ms)

    def _on_reply(self, station_id: str, payload: bytes) -> None:
        self._finish(self.commands.reply(station_id, decode(CommandReply, payload), self._now()))

    def _on_stream(self, station_id: str, payload: bytes) -> None:
        if self._listener:
            self._listener.stream_answered(station_id, decode(StreamResponse, payload))

    def _on_room(self, station_id: str, payload: bytes) -> None:
        if self._listener:
            self._listener.station_room(station_id, decode(RoomAction, payload))

    def _on_signal(self, station_id: str, payload: bytes) -> None:
        if self._listener:
            self._listener.station_signalled(station_id, decode(Signal, payload))

    # -- verdicts -----------------------------------------------------------------------------------------------------

    def _apply(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, AskStatus):
                self._later(effect.delay, lambda sid=effect.station_id: self._ask(sid))  # type: ignore[misc]  # bound per loop
            else:
                self._publish_verdict(effect)
                if self._listener:
                    self._listener.station_changed(effect.station_id, effect.online)
        self._schedule()

    def _publish_verdict(self, change: Change) -> None:
        self._revision += 1
        verdict = Verdict(
            state="online" if change.online else "offline",
            session_id=change.session_id,
            since=self.now_ms,
            via=change.via,
            reason=change.reason,
            rev=self._revision,
        )
        try:
            self.link.publish(topics.LIVE_STATION(change.station_id), encode(verdict), retain=True)
            self._retained.add(change.station_id)
        except LinkDown:
            self._retained.discard(change.station_id)  # said again when the link is back

    def _ask(self, station_id: str) -> None:
        try:
            self.send(station_id, Command(type="report-status", requester_id="hub"))
        except LinkDown:
            pass  # asked again when the link is back

    def _on_verdict(self, name: str, payload: bytes, retained: bool) -> None:
        ids = topics.LIVE_STATION.ids(name)
        if ids is None or not retained or not payload:
            return  # our own echo
        try:
            verdict = decode(Verdict, payload)
        except MessageError:
            self.counters.malformed += 1
            return
        self._retained.add(ids[0])
        self._revision = max(self._revision, verdict.rev)
        if verdict.state == "online":
            self._apply(self.presence.load(ids[0], verdict.session_id, self._now()))

    def _on_connection(self, connected: bool) -> None:
        if not connected:
            log.warning("link to the broker lost: presence is frozen, station events are answered UNAVAILABLE")
            self.presence.freeze()
            self._held, self._retained = [], set()
            self._schedule()
            return
        if self._held is None:
            self._held = []
        # our own broker keeps no verdict that we do not know
        self._later(0.0 if self.link.wills_are_final else RETAINED_GRACE, self._resume)

    def _resume(self) -> None:
        held, self._held = self._held or [], None
        if not self.link.connected:
            self._held = held
            return
        self._apply(self.presence.resume(self._now()))
        for station_id in self.presence.stations():
            if station_id not in self._retained:
                via = "websocket" if self.presence.reachable(station_id, "websocket") else "mqtt"
                self._publish_verdict(Change(station_id, True, None, via, "birth"))  # type: ignore[arg-type]  # a Via
        for handler, station_id, payload in held:
            self._handle(handler, station_id, payload)

    # -- time ---------------------------------------------------------------------------------------------------------

    def _finish(self, outcome: Outcome | None) -> None:
        future = self._waiting.get(outcome.command_id) if outcome else None
        if outcome and future and not future.done():
            future.set_result(outcome)

    def _later(self, delay: float, call: Callable[[], None]) -> None:
        """Calls once after `delay` seconds, unless stopped before."""

        def run() -> None:
            self._timers.discard(handle)
            call()

        handle = asyncio.get_running_loop().call_later(delay, run)
        self._timers.add(handle)

    def _schedule(self) -> None:
        """One timer for the earliest deadline of all machines."""
        due = [at for at in (self.presence.next_deadline(), self.commands.next_deadline()) if at is not None]
        if self._timer is not None:
            if due and self._timer.when() <= min(due) and not self._timer.cancelled():
                return
            self._timer.cancel()
            self._timer = None
        if due:
            delay = max(0.0, min(due) - self._now())
            self._timer = asyncio.get_running_loop().call_later(delay, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = self._now()
        for outcome in self.commands.advance(now):
            self._finish(outcome)
        self._apply(self.presence.advance(now))

    def housekeeping(self) -> None:
        """Forgets what is over: stream requests, status requests nobody answered. To be called every few seconds."""
        now = self._now()
        self.streams.expire(now)
        for station_id, requesters in list(self._asked.items()):
            for requester in [requester for requester, until in requesters.items() if until <= now]:
                del requesters[requester]
            if not requesters:
                del self._asked[station_id]
