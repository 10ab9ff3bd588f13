"""Which stations are online: two sources, one verdict (architecture.md section 5). Pure: messages and time in, effects out.

Rules:
    a birth, or the first status of a station that never announces itself, makes it online; the later birth is the newer session;
    a goodbye of the current session makes it offline; a will too, at once where the broker knows its connections, else
        after a suspicion: the station is asked to report, and silence for max(will grace, one status interval) decides;
    a goodbye or will of a superseded session is counted and ignored;
    silence of 3 status intervals, 15 s at least, makes it offline; it is asked to report just before;
    a WebSocket of a station counts beside MQTT: online if either;
    after a restart or a lost link nothing is decided until the stations were asked and had time to answer;
    only the node that owns a station decides; the others follow its verdict;
    verdicts are published and told on a change only; `suspect` and `unknown` never are.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Literal

from devices.clock import Clock
from devices.messages import Birth, Offline, SocketRecord, Verdict

__all__ = ["MIN_SILENCE", "AskReport", "Changed", "ClearSocket", "Effect", "Presence", "PublishVerdict", "State"]

MIN_SILENCE: Final = 15.0
"""Seconds of silence that are always forgiven, and all that is without an announced interval (contract.md section 7)."""
MISSED_INTERVALS: Final = 3
ASK_SPREAD: Final = 3.0
"""Seconds over which a whole fleet is asked to report, so that it does not answer all at once."""


class State(Enum):
    """What the hub thinks of a station; only the first two are ever published."""

    ONLINE = "online"
    OFFLINE = "offline"
    SUSPECT = "suspect"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class PublishVerdict:
    """Write the station's retained record."""

    station_id: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class ClearSocket:
    """Take away the retained record of a socket whose node died."""

    station_id: str
    peer_id: str


@dataclass(frozen=True, slots=True)
class Changed:
    """The verdict changed: tell the browsers."""

    station_id: str
    online: bool


@dataclass(frozen=True, slots=True)
class AskReport:
    """Ask the station to report."""

    station_id: str


Effect = PublishVerdict | ClearSocket | Changed | AskReport


@dataclass(slots=True)
class _Station:
    """What is known of one station.

    `session` is the current MQTT session, None when it never announced one; `sockets` are the WebSockets that speak for it,
    oldest first; `deadline` is when silence decides, `ask_at` when it is asked before; `told` is what browsers heard last.
    """

    state: State = State.OFFLINE
    mqtt: bool = False
    session: str | None = None
    sockets: dict[str, SocketRecord] = field(default_factory=dict)
    interval: float | None = None
    announced: bool = False
    last_status: float | None = None
    deadline: float | None = None
    ask_at: float | None = None
    timer: float | None = None
    verdict: Verdict | None = None
    told: bool | None = None


class Presence:
    """The presence of every station.

    Args:
        nid: the own node.
        owns: whether the own node decides for a station.
        wills_are_final: `Link.wills_are_final`.
        will_grace: seconds a suspect has to answer, at least.
        jitter: a random number of [0, 1).
    """

    def __init__(
        self,
        nid: str,
        clock: Clock,
        *,
        owns: Callable[[str], bool],
        jitter: Callable[[], float],
        wills_are_final: bool = False,
        will_grace: float = 3.0,
    ) -> None:
        self._nid, self._clock, self._owns, self._jitter = nid, clock, owns, jitter
        self._wills_are_final, self._grace = wills_are_final, will_grace
        self._stations: dict[str, _Station] = {}
        self._station_of: dict[str, str] = {}
        self._timers: list[tuple[float, str]] = []
        self._frozen = False
        self.ignored_wills = 0

    # ---- what is known

    def online(self, station_id: str) -> bool:
        """Whether the last verdict is online."""
        station = self._stations.get(station_id)
        return station is not None and station.verdict is not None and station.verdict.state == "online"

    def online_ids(self) -> list[str]:
        """Ids of the stations online, sorted."""
        return sorted(sid for sid, s in self._stations.items() if s.verdict is not None and s.verdict.state == "online")

    def ids(self) -> list[str]:
        """Ids of all stations ever heard of."""
        return list(self._stations)

    def socket(self, station_id: str) -> str | None:
        """The peer id of the newest WebSocket that speaks for the station."""
        station = self._stations.get(station_id)
        return next(reversed(station.sockets)) if station and station.sockets else None

    def holder(self, station_id: str) -> str | None:
        """The user id of the newest WebSocket that speaks for the station."""
        station = self._stations.get(station_id)
        return next(reversed(station.sockets.values())).user_id if station and station.sockets else None

    def station_of(self, peer_id: str) -> str | None:
        """The station that a WebSocket, of whatever node, speaks for."""
        return self._station_of.get(peer_id)

    def sockets(self) -> list[tuple[str, str, SocketRecord]]:
        """Every WebSocket of a station: station id, peer id, record."""
        return [(sid, peer_id, self._stations[sid].sockets[peer_id]) for peer_id, sid in self._station_of.items()]

    def knows(self, station_id: str) -> bool:
        """Whether the station was ever heard of."""
        return station_id in self._stations

    def any_judged(self) -> str | None:
        """Some station that has a verdict."""
        return next((station_id for station_id, station in self._stations.items() if station.verdict), None)

    def judged(self, station_id: str) -> Verdict | None:
        """The last verdict; None: there is none."""
        station = self._stations.get(station_id)
        return station.verdict if station else None

    def settled(self, station_id: str) -> bool:
        """Whether the station is plainly there by MQTT: one more message is no news."""
        station = self._stations.get(station_id)
        return station is not None and station.mqtt and station.state is State.ONLINE

    def state(self, station_id: str) -> State:
        """What the hub thinks; OFFLINE for a station never heard of."""
        station = self._stations.get(station_id)
        return station.state if station else State.OFFLINE

    def __len__(self) -> int:
        return len(self._stations)

    # ---- what is heard

    def birth(self, station_id: str, birth: Birth) -> list[Effect]:
        """A station announced itself: this is the newest session."""
        station = self._station(station_id)
        station.mqtt, station.session = True, birth.session_id
        station.interval, station.announced = birth.status_interval, birth.status_interval is not None
        station.last_status = None
        self._extend(station_id, station)
        return self._decide(station_id, station, State.ONLINE, "birth")

    def heard(self, station_id: str, *, status: bool = False) -> list[Effect]:
        """A message of the station's MQTT side, neither retained nor a leave: it is alive. A status alone brings it online.

        The hot path: one look-up and one comparison for a station that is plainly there.
        """
        station = self._stations.get(station_id)
        if not status and (station is None or not (station.mqtt or station.state is State.UNKNOWN)):
            return []
        station = station or self._station(station_id)
        if status and not station.announced:
            now = self._clock.monotonic()
            if station.last_status is not None:
                # an answer to report-status comes between two regular ones: forget the longer gap only slowly
                station.interval = max(now - station.last_status, 0.9 * (station.interval or 0.0))
            station.last_status = now
        station.mqtt = True
        self._extend(station_id, station)
        if station.state is State.ONLINE:
            return []
        return self._decide(station_id, station, State.ONLINE, "status" if status else "message")

    def socket_opened(self, station_id: str, peer_id: str, record: SocketRecord) -> list[Effect]:
        """A WebSocket speaks for the station; the latest is the newest."""
        station = self._station(station_id)
        station.sockets.pop(peer_id, None)
        station.sockets[peer_id] = record
        self._station_of[peer_id] = station_id
        return self._decide(station_id, station, State.ONLINE, "socket")

    def socket_closed(self, station_id: str, peer_id: str) -> list[Effect]:
        """It does not any more."""
        station = self._stations.get(station_id)
        if station is None or station.sockets.pop(peer_id, None) is None:
            return []
        if self._station_of.get(peer_id) == station_id:  # else it speaks for another by now
            del self._station_of[peer_id]
        return self._left(station_id, station, "socket closed")

    def offline(self, station_id: str, leave: Offline) -> list[Effect]:
        """A will or a goodbye."""
        station = self._stations.get(station_id)
        if station is None:
            return []
        if leave.session_id is not None and station.session is not None and leave.session_id != station.session:
            self.ignored_wills += 1
            return []
        if leave.reason == "goodbye" or self._wills_are_final:
            station.mqtt = False
            return self._left(station_id, station, leave.reason)
        if station.sockets:
            station.mqtt = False
            return []
        if station.state is State.OFFLINE or not self._owns(station_id):
            return []
        station.state = State.SUSPECT
        self._set_deadline(station_id, station, max(self._grace, station.interval or 0.0))
        return [AskReport(station_id)]

    def verdict(self, station_id: str, verdict: Verdict, *, retained: bool) -> list[Effect]:
        """Another node's verdict, or one kept from before this node's start."""
        if not retained and verdict.nid == self._nid and station_id not in self._stations:
            return []  # the echo of what was forgotten since
        station = self._station(station_id)
        if station.verdict is not None and verdict.version <= station.verdict.version:
            older = verdict.nid != self._nid == station.verdict.nid and verdict.version < station.verdict.version
            return [PublishVerdict(station_id, station.verdict)] if older else []  # somebody wrote over a newer record
        first, station.verdict = station.verdict is None, verdict
        online = verdict.state == "online"
        if retained and self._owns(station_id):
            if station.state is State.ONLINE:  # it showed itself before this was read
                return self._decide(station_id, station, State.ONLINE, "heard")
            station.session = station.session or verdict.session_id
            if online:
                self._doubt(station_id, station)
        else:
            station.state = State.ONLINE if online else State.OFFLINE
        if not online:
            station.deadline = station.ask_at = None
        if first and (retained or not online):
            station.told = online  # what was so before anybody asked is no news
        return self._tell(station_id, station, online)

    def forget(self, station_id: str) -> list[Effect]:
        """The station was deleted: nothing is known of it any more."""
        station = self._stations.pop(station_id, None)
        if station is None:
            return []
        for peer_id in station.sockets:
            self._station_of.pop(peer_id, None)
        return self._tell(station_id, station, False) if station.told else []

    def cleared(self, station_id: str) -> list[Effect]:
        """The station's record is gone: some node heard that it was deleted. What this node decided since stands."""
        station = self._stations.get(station_id)
        if station is None or station.verdict is None:
            return []
        if station.verdict.nid == self._nid:
            return [PublishVerdict(station_id, station.verdict)]
        return self.forget(station_id)

    # ---- the link, the nodes, and time

    def link_down(self) -> None:
        """The broker is out of reach: nothing is decided."""
        self._frozen = True

    def resync(self, *, link_was_lost: bool) -> None:
        """The link is back, or the set of nodes changed: whoever is ours to judge and thought online must show itself."""
        self._frozen = False
        for station_id, station in self._stations.items():
            mine = station.verdict is not None and station.verdict.nid == self._nid
            by_socket_only = station.sockets and not station.mqtt
            if station.state is State.OFFLINE or by_socket_only or (mine and not link_was_lost):
                continue
            if self._owns(station_id):
                self._doubt(station_id, station)

    def republish(self) -> list[Effect]:
        """The link is back: write again what this node decided, for the broker may have forgotten."""
        return [
            PublishVerdict(station_id, station.verdict)
            for station_id, station in self._stations.items()
            if station.verdict is not None and station.verdict.nid == self._nid
        ]

    def sockets_gone(self, belongs: Callable[[str], bool]) -> list[Effect]:
        """A node died with its sockets; `belongs` tells its peer ids."""
        effects: list[Effect] = []
        for peer_id, station_id in [item for item in self._station_of.items() if belongs(item[0])]:
            if self._owns(station_id):
                effects.append(ClearSocket(station_id, peer_id))
            effects += self.socket_closed(station_id, peer_id)
        return effects

    def tick(self) -> list[Effect]:
        """Time passed: who was to be asked, who was silent for too long."""
        if self._frozen:
            return []
        now, effects = self._clock.monotonic(), list[Effect]()
        while self._timers and self._timers[0][0] <= now:
            at, station_id = heapq.heappop(self._timers)
            station = self._stations.get(station_id)
            if station is None or station.timer != at:
                continue
            station.timer = None
            if station.deadline is None:
                continue
            if station.deadline <= now:
                why = "will" if station.state is State.SUSPECT else "silence"
                station.deadline = station.ask_at = None
                station.mqtt = False
                effects += self._left(station_id, station, why)
                continue
            if station.ask_at is not None and station.ask_at <= now:
                station.ask_at = None
                if self._owns(station_id):
                    effects.append(AskReport(station_id))
            self._schedule(station_id, station)
        return effects

    # ---- inside

    def _station(self, station_id: str) -> _Station:
        station = self._stations.get(station_id)
        if station is None:
            station = self._stations[station_id] = _Station()
        return station

    def _extend(self, station_id: str, station: _Station) -> None:
        """The station was heard: silence counts from now, where it is known to report at all."""
        if station.interval is None and station.last_status is None:
            station.deadline = station.ask_at = None
        else:
            patience = max(MIN_SILENCE, MISSED_INTERVALS * (station.interval or 0.0))
            self._set_deadline(station_id, station, patience, ask_in=max(patience / 2, patience - self._grace))

    def _doubt(self, station_id: str, station: _Station) -> None:
        """Nobody knows any more: the station is asked, and has time to answer."""
        station.state = State.UNKNOWN
        spread = ASK_SPREAD * self._jitter()
        patience = max(MIN_SILENCE, MISSED_INTERVALS * (station.interval or 0.0))
        self._set_deadline(station_id, station, spread + patience, ask_in=spread)

    def _set_deadline(self, station_id: str, station: _Station, patience: float, ask_in: float | None = None) -> None:
        now = self._clock.monotonic()
        station.deadline, station.ask_at = now + patience, None if ask_in is None else now + ask_in
        self._schedule(station_id, station)

    def _schedule(self, station_id: str, station: _Station) -> None:
        """One live timer a station; one that became late is moved when it fires, not when it is put off."""
        assert station.deadline is not None
        at = station.deadline if station.ask_at is None else min(station.ask_at, station.deadline)
        if station.timer is None or at < station.timer:
            station.timer = at
            heapq.heappush(self._timers, (at, station_id))
            # of timers that were moved earlier, the later entries lie about
            if len(self._timers) > 2 * len(self._stations) + 64:
                live = [(other.timer, sid) for sid, other in self._stations.items() if other.timer is not None]
                self._timers = live
                heapq.heapify(live)

    def _left(self, station_id: str, station: _Station, why: str) -> list[Effect]:
        """One way to the station is gone: offline when it was the last."""
        if station.mqtt:
            return []
        if station.sockets:
            station.state = State.ONLINE
            return []
        station.deadline = station.ask_at = None
        effects = self._decide(station_id, station, State.OFFLINE, why)
        # one that comes back without a birth has no known session; the observed interval stays after a mere silence
        station.session = None
        if why != "silence":
            station.interval, station.announced, station.last_status = None, False, None
        return effects

    def _decide(
        self, station_id: str, station: _Station, state: Literal[State.ONLINE, State.OFFLINE], why: str
    ) -> list[Effect]:
        if not self._owns(station_id):
            return []
        station.state = state
        before = station.verdict
        session = next(reversed(station.sockets.values())).session_id if station.sockets else station.session
        same = before is not None and before.state == state.value
        if same and before is not None and (before.session_id == session or state is State.OFFLINE):
            return []
        if before is None and state is State.OFFLINE:
            return []  # never heard of, and gone already
        station.verdict = Verdict(
            state="online" if state is State.ONLINE else "offline",
            session_id=session,
            since=before.since if same and before is not None else self._clock.wall_ms(),
            via=("websocket" if station.sockets else "mqtt") if state is State.ONLINE else None,
            reason=why,
            nid=self._nid,
            epoch=0 if before is None else before.epoch + (before.nid != self._nid),
            rev=0 if before is None else before.rev + 1,
        )
        return [PublishVerdict(station_id, station.verdict), *self._tell(station_id, station, state is State.ONLINE)]

    def _tell(self, station_id: str, station: _Station, online: bool) -> list[Effect]:
        """News for the browsers, never the same twice in a row."""
        if station.told is online:
            return []
        station.told = online
        return [Changed(station_id, online)]
