"""Who is there: two sources, one verdict (architecture.md section 5), as a pure state machine.

A station has two legs, MQTT and WebSocket; it is online while either is. One leg goes through:

    ABSENT  --birth, fresh status-->  PRESENT
    PRESENT --final will, goodbye, silence-->  ABSENT
    PRESENT --will that may be a takeover's-->  SUSPECT      (the station is asked; nothing is published)
    PRESENT --hub restarted, link was down-->  UNKNOWN       (the same)
    SUSPECT, UNKNOWN --any newer sign of life-->  PRESENT
    SUSPECT, UNKNOWN --silence-->  ABSENT

Only a change between "some leg not ABSENT" and "all ABSENT" is a verdict, so nothing flaps and nothing is told twice. Session
ids are opaque: the newer session is the one whose birth arrived later; a will of a superseded one is counted and ignored.

Times are seconds of any monotonic clock, given by the caller.
"""

import heapq
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

__all__ = ["AskStatus", "Change", "Effect", "Presence", "Reason", "Via"]

Via = Literal["mqtt", "websocket"]
Reason = Literal["birth", "status", "will", "goodbye", "silence"]


class Leg(Enum):
    """Where one way to a station stands."""

    ABSENT = "absent"
    PRESENT = "present"
    SUSPECT = "suspect"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Change:
    """The verdict on a station changed: publish and push it."""

    station_id: str
    online: bool
    session_id: str | None
    via: Via
    reason: Reason


@dataclass(frozen=True, slots=True)
class AskStatus:
    """Ask the station to report: it is suspect or unknown. `delay` in seconds spreads a fleet's answers."""

    station_id: str
    delay: float = 0.0


Effect = Change | AskStatus


@dataclass(slots=True)
class _Way:
    leg: Leg = Leg.ABSENT
    session_id: str | None = None
    deadline: float | None = None
    queued: float | None = None
    """The time of this leg's one live entry in the heap; any other entry of it is void."""


@dataclass(slots=True)
class _Station:
    mqtt: _Way = field(default_factory=_Way)
    websocket: _Way = field(default_factory=_Way)
    interval: float | None = None
    announced: bool = False
    last_status: float | None = None

    def way(self, via: Via) -> _Way:
        return self.mqtt if via == "mqtt" else self.websocket

    @property
    def online(self) -> bool:
        return self.mqtt.leg is not Leg.ABSENT or self.websocket.leg is not Leg.ABSENT


class Presence:
    """The verdict on every station.

    Args:
        wills_are_final: a will proves the connection gone (the broker is ours); else it makes the station suspect.
        silence: seconds without status before a station that announced no interval is offline.
        suspicion: the least seconds that a suspect station has to answer.
        recovery: seconds that unknown stations have to answer after a restart or a lost link; their asking is spread over
            the first half.
    """

    def __init__(
        self, *, wills_are_final: bool, silence: float = 15.0, suspicion: float = 3.0, recovery: float = 10.0
    ) -> None:
        self.wills_are_final = wills_are_final
        self._silence, self._suspicion, self._recovery = silence, suspicion, recovery
        self._stations: dict[str, _Station] = {}
        self._heap: list[tuple[float, str, Via]] = []
        self._frozen = False
        self._online = 0
        self.ignored_wills = 0

    def __len__(self) -> int:
        """How many stations are online."""
        return self._online

    def online(self, station_id: str) -> bool:
        """Whether the standing verdict on a station is online."""
        station = self._stations.get(station_id)
        return station is not None and station.online

    def reachable(self, station_id: str, via: Via) -> bool:
        """Whether a station is there on one way."""
        station = self._stations.get(station_id)
        return station is not None and station.way(via).leg is not Leg.ABSENT

    def settled(self, station_id: str) -> bool:
        """Whether a status of this station needs no look at its age: its MQTT leg is plainly present."""
        station = self._stations.get(station_id)
        return station is not None and station.mqtt.leg is Leg.PRESENT

    def stations(self) -> list[str]:
        """The ids of all stations that are online, sorted."""
        return sorted(sid for sid, station in self._stations.items() if station.online)

    # -- signs of life ------------------------------------------------------------------------------------------------

    def birth(
        self, station_id: str, session_id: str, now: float, *, via: Via = "mqtt", interval: float | None = None
    ) -> list[Effect]:
        """A station announced itself; its session is now the newest.

        Args:
            interval: seconds between status messages, when announced.
        """
        station = self._stations.setdefault(station_id, _Station())
        if via == "mqtt":
            station.interval, station.announced, station.last_status = interval, interval is not None, None
        return self._alive(station_id, station, via, session_id, now, "birth")

    def status(self, station_id: str, now: float) -> list[Effect]:
        """A status that is not stale and not a retained message arrived by MQTT."""
        station = self._stations.setdefault(station_id, _Station())
        if station.last_status is not None and not station.announced:
            gap = min(now - station.last_status, _LONGEST_OBSERVED)
            station.interval = max(station.interval or 0.0, gap)
        station.last_status = now
        return self._alive(station_id, station, "mqtt", station.mqtt.session_id, now, "status")

    def _alive(
        self, station_id: str, station: _Station, via: Via, session_id: str | None, now: float, reason: Reason
    ) -> list[Effect]:
        was, way = station.online, station.way(via)
        way.leg, way.session_id = Leg.PRESENT, session_id
        # a WebSocket has pings of its own; silence counts only where an interval is announced or observed
        speaks = via == "mqtt" and (station.interval is not None or station.last_status is not None)
        self._arm(station_id, via, way, now + self._patience(station) if speaks else None)
        if was:
            return []
        self._online += 1
        return [Change(station_id, True, session_id, via, reason)]

    def _patience(self, station: _Station) -> float:
        return max(self._silence, 3 * (station.interval or 0.0))

    # -- signs of death -----------------------------------------------------------------------------------------------

    def left(
        self, station_id: str, session_id: str | None, now: float, *, via: Via = "mqtt", goodbye: bool = False
    ) -> list[Effect]:
        """A will (or, with `goodbye`, a clean leave) arrived for a station."""
        station = self._stations.get(station_id)
        if station is None:
            return []
        way = station.way(via)
        if way.leg is Leg.ABSENT:
            return []
        if session_id is not None and way.session_id is not None and session_id != way.session_id:
            self.ignored_wills += 1
            return []
        if goodbye or via == "websocket" or self.wills_are_final:
            return self._gone(station_id, station, via, "goodbye" if goodbye else "will")
        if way.leg is Leg.SUSPECT:
            return []
        way.leg = Leg.SUSPECT
        self._arm(station_id, via, way, now + max(self._suspicion, station.interval or 0.0))
        return [AskStatus(station_id)]

    def forget(self, station_id: str) -> list[Effect]:
        """Takes a station away at once, on both ways."""
        station = self._stations.get(station_id)
        if station is None:
            return []
        effects = [effect for via in _WAYS for effect in self._gone(station_id, station, via, "goodbye")]
        del self._stations[station_id]
        return effects

    def _gone(self, station_id: str, station: _Station, via: Via, reason: Reason) -> list[Effect]:
        way = station.way(via)
        if way.leg is Leg.ABSENT:
            return []
        session_id = way.session_id
        # the session id goes with the leg: a station that comes back without a birth has no known session
        way.leg, way.session_id, way.deadline = Leg.ABSENT, None, None
        if via == "mqtt" and reason != "silence":
            # after silence the observed interval stays: a station that reports each minute flaps once, not for ever
            station.interval = station.last_status = None
        if station.online:
            return []
        self._online -= 1
        return [Change(station_id, False, session_id, via, reason)]

    # -- time ---------------------------------------------------------------------------------------------------------

    def _arm(self, station_id: str, via: Via, way: _Way, deadline: float | None) -> None:
        # an entry that comes up too early is put back, so a status costs no heap operation
        way.deadline = deadline
        if deadline is not None and (way.queued is None or deadline < way.queued):
            way.queued = deadline
            heapq.heappush(self._heap, (deadline, station_id, via))

    def next_deadline(self) -> float | None:
        """When `advance` has something to do at the earliest; None: never."""
        return None if self._frozen or not self._heap else self._heap[0][0]

    def advance(self, now: float) -> list[Effect]:
        """Lets time pass: stations whose deadline is over go offline."""
        effects: list[Effect] = []
        while not self._frozen and self._heap and self._heap[0][0] <= now:
            at, station_id, via = heapq.heappop(self._heap)
            station = self._stations.get(station_id)
            way = station.way(via) if station is not None else None
            if station is None or way is None or way.queued != at:
                continue
            way.queued = None
            if way.deadline is not None and way.deadline <= now:
                effects += self._gone(station_id, station, via, "will" if way.leg is Leg.SUSPECT else "silence")
            else:
                self._arm(station_id, via, way, way.deadline)
        return effects

    # -- the hub's own link -------------------------------------------------------------------------------------------

    def load(self, station_id: str, session_id: str | None, now: float) -> list[Effect]:
        """A retained verdict from before the restart says online: so it stays, until the station was asked."""
        station = self._stations.setdefault(station_id, _Station())
        if station.online:
            return []
        self._online += 1
        station.mqtt.leg, station.mqtt.session_id = Leg.UNKNOWN, session_id
        if self._frozen:
            return []
        self._arm(station_id, "mqtt", station.mqtt, now + self._recovery)
        return [AskStatus(station_id)]

    def freeze(self) -> None:
        """The hub's link is down: no deadline runs, no verdict changes."""
        self._frozen = True

    def resume(self, now: float) -> list[Effect]:
        """The link is back (or retained verdicts are loaded): every MQTT leg is unknown and asked, in a spread order."""
        self._frozen = False
        unsure = [(sid, station) for sid, station in self._stations.items() if station.mqtt.leg is not Leg.ABSENT]
        for station_id, station in unsure:
            station.mqtt.leg = Leg.UNKNOWN
            wait = max(self._recovery, self._patience(station) if station.interval else 0.0)
            self._arm(station_id, "mqtt", station.mqtt, now + wait)
        spread = self._recovery / 2 / max(1, len(unsure))
        return [AskStatus(sid, delay=spread * at) for at, (sid, _) in enumerate(unsure)]


_LONGEST_OBSERVED = 300.0
_WAYS: tuple[Via, Via] = ("mqtt", "websocket")
