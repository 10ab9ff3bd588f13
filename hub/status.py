"""From 10,000 status messages to one frame (architecture.md section 6), as a pure state machine.

A message costs one dictionary store on arrival. `flush` validates the newest of each station that somebody watches, drops
and counts what is stale or invalid, and encodes each station's JSON once. `read_ahead` does that for most of them before, a few
at a time, so that no flush keeps everybody waiting; what nobody watches it parses for the history alone, one status of each
station in five seconds.

Of each station that was read, the worst state of its devices is known as well; `moved` names those that changed it.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from devices.clock import Clock
from devices.messages import DeviceState, MessageError, Status, load, pack, why
from hub.history import EVERY, History

__all__ = ["AHEAD", "FUTURE_MS", "STALE_MS", "Counters", "Stale", "StatusBoard", "read_status"]

STALE_MS = 15_000
"""A status older than this is dropped and counted (contract.md section 4)."""
FUTURE_MS = 60_000
"""A status from further in the future than this gets the hub's time (contract.md section 4)."""
AHEAD: Final = 0.05
"""Seconds between two calls of `read_ahead`."""
_STEPS: Final = round(EVERY / AHEAD)


class Stale(MessageError):
    """A status that is older than `STALE_MS`."""


@dataclass(slots=True)
class Counters:
    """What became of the status messages, since the start."""

    received: int = 0
    stale: int = 0
    invalid: int = 0
    clamped: int = 0


def read_status(station_id: str, raw: bytes, arrived_ms: int, counters: Counters) -> tuple[bytes, Status]:
    """One station's status as the JSON that browsers get, and as the hub reads it.

    The topic's id wins over the payload's; a missing `updatedAt` becomes the hub's time, a missing `summary` is computed,
    extra fields pass through.

    Raises:
        Stale: older than `STALE_MS` when it arrived.
        MessageError: not JSON, not an object, too large, or fields of the wrong type.
    """
    value = load(raw)
    value.pop("hubRelay", None)
    value["stationId"] = station_id
    if value.get("updatedAt") is None:
        value["updatedAt"] = arrived_ms
    try:
        status = Status.model_validate(value)
    except ValidationError as error:
        raise MessageError(why(error)) from None
    assert status.updated_at is not None, "filled in above"
    if status.updated_at < arrived_ms - STALE_MS:
        raise Stale(f"updatedAt: older than {STALE_MS // 1000} s")
    if status.updated_at > arrived_ms + FUTURE_MS:
        value["updatedAt"] = arrived_ms
        counters.clamped += 1
    value.setdefault("devices", [])
    value["summary"] = status.summarized().model_dump()
    try:
        return pack(value), status
    except TypeError:  # orjson's own error is a TypeError
        raise MessageError("data: nested too deep") from None


class StatusBoard:
    """The newest status of every station.

    Args:
        history: gets the numbers of what is read; None: nobody does.
    """

    def __init__(self, clock: Clock, history: History | None = None) -> None:
        self._clock, self._history = clock, history
        self.counters = Counters()
        self._raw: dict[str, tuple[bytes, int]] = {}
        self._json: dict[str, bytes] = {}
        self._new: dict[str, None] = {}
        self._state: dict[str, DeviceState] = {}
        # what the state was when a window of `moved` began, of the stations whose state changed since
        self._before: dict[str, DeviceState | None] = {}
        # whose statuses the last flush was asked for, and which of them were read since
        self._watched: Collection[str] | None = ()
        self._ahead: set[str] = set()
        # the stations that are read for the history in these five seconds, and how far that is
        self._round: list[str] = []
        self._step = 0

    def __len__(self) -> int:
        """How many stations have ever sent a status."""
        return len(self._json.keys() | self._raw.keys())

    def arrived(self, station_id: str, raw: bytes) -> None:
        """Keeps a status: the newest of a station in a window wins whole. The hot path."""
        self.counters.received += 1
        self._raw[station_id] = (raw, self._clock.wall_ms())

    def read(self, station_id: str) -> bytes | None:
        """Validates what a station sent last, now; None when there is nothing new or it was no good (then counted)."""
        waiting = self._raw.pop(station_id, None)
        if waiting is None:
            return None
        try:
            encoded, status = read_status(station_id, *waiting, self.counters)
        except Stale:
            self.counters.stale += 1
            return None
        except MessageError:
            self.counters.invalid += 1
            return None
        self._json[station_id] = encoded
        self._new[station_id] = None
        if self._history is not None:
            waited = (self._clock.wall_ms() - waiting[1]) / 1000
            self._history.take(station_id, status.devices, self._clock.monotonic() - max(0.0, waited))
        before, state = self._state.get(station_id), status.worst()
        if state != before:
            self._before.setdefault(station_id, before)
            self._state[station_id] = state
        return encoded

    def forget(self, station_id: str) -> None:
        """The station was deleted."""
        for kept in (self._raw, self._json, self._new, self._state, self._before):
            kept.pop(station_id, None)
        if self._history is not None:
            self._history.forget(station_id)

    def read_ahead(self) -> None:
        """Reads a little of what waits: once in each window what the next flush will want, and some for the history."""
        for station_id in self._waiting(self._watched):
            if station_id not in self._ahead:  # one that says much is read twice in a window, not each time
                self._ahead.add(station_id)
                self.read(station_id)
        if self._history is not None:
            self._sample()

    def _sample(self) -> None:
        """Of all stations in five seconds, each at its turn."""
        if self._step == 0:
            self._round = [*self._json, *(station_id for station_id in self._raw if station_id not in self._json)]
        first, self._step = self._step, (self._step + 1) % _STEPS
        count = len(self._round)
        for station_id in self._round[count * first // _STEPS : count * (first + 1) // _STEPS]:
            self.read(station_id)

    def is_new(self, station_id: str) -> bool:
        """Whether the next `flush` names the station."""
        return station_id in self._new

    def flush(self, watched: Collection[str] | None) -> list[str]:
        """Ends a window.

        Args:
            watched: the stations that some browser watches; None: all. The others keep waiting, unparsed.

        Returns:
            the ids of the stations whose JSON is new since the last flush.
        """
        self._read_all(watched)
        self._watched = watched
        self._ahead.clear()
        new, self._new = list(self._new), {}
        return new

    def known(self, watched: Collection[str] | None) -> list[str]:
        """The ids of the stations watched (None: all) that have JSON, what waits for the flush included."""
        self._read_all(watched)
        return list(self._json) if watched is None else [sid for sid in watched if sid in self._json]

    def json(self, station_id: str) -> bytes:
        """The newest JSON of a station that `flush` or `known` named."""
        return self._json[station_id]

    def state(self, station_id: str) -> DeviceState:
        """The worst device state in the newest JSON of a station that `known` or `moved` named."""
        return self._state[station_id]

    def moved(self) -> list[str]:
        """Ends a window of its own: the ids of the stations that have another state than when it was called last."""
        before, self._before = self._before, {}
        return [station_id for station_id, old in before.items() if self._state[station_id] != old]

    def _read_all(self, watched: Collection[str] | None) -> None:
        for station_id in self._waiting(watched):
            self.read(station_id)

    def _waiting(self, watched: Collection[str] | None) -> list[str]:
        """The stations watched (None: all) that have something to be read; looks through the fewer of the two."""
        if watched is None:
            return list(self._raw)
        if len(self._raw) <= len(watched):
            return [station_id for station_id in self._raw if station_id in watched]
        return [station_id for station_id in watched if station_id in self._raw]
