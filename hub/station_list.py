"""Which stations a page of the list holds: those that were entered and those that were only heard of, as one list. Pure."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson

from devices.messages import Verdict
from hub.store.stations import Light

__all__ = ["SortKey", "StationFilter", "cut", "shown"]

SortKey = Literal["id", "name", "location", "createdAt", "lastSeen"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StationFilter:
    """Which stations, in which order; None: whatever.

    Attributes:
        q: somewhere in id, name or location, upper and lower case alike.
        sort: equal ones are in the order of their ids; who is online counts as seen last.
    """

    q: str | None = None
    tag: str | None = None
    online: bool | None = None
    registered: bool | None = None
    sort: SortKey = "id"
    descending: bool = False


def shown(station_id: str, verdict: Verdict | None, deleted: Collection[str]) -> bool:
    """Whether a station that nobody entered is in the list: it was heard of, and did not go with its being deleted."""
    return verdict is not None and (verdict.state == "online" or station_id not in deleted)


def cut(
    entered: list[Light],
    deleted: Collection[str],
    verdicts: Mapping[str, Verdict],
    which: StationFilter,
    *,
    limit: int,
    offset: int,
) -> tuple[list[str], int]:
    """The ids of a page, in order, and how many stations match in all.

    Args:
        entered: every station that somebody entered.
        deleted: those that somebody deleted.
        verdicts: the last verdict on each station that was heard of.
    """
    found: Iterable[Light] = entered if which.registered is not False else ()
    if which.registered is not True:
        known = {row.id for row in entered}
        found = [
            *found,
            *(
                Light(station_id, "", "", 0)
                for station_id, verdict in verdicts.items()
                if station_id not in known and shown(station_id, verdict, deleted)
            ),
        ]
    matching = [row for row in found if _matches(row, which, verdicts.get(row.id))]
    # sorting is stable: by id first, so that equal ones stay in that order
    matching.sort(key=lambda row: row.id, reverse=which.sort == "id" and which.descending)
    if which.sort != "id":
        matching.sort(key=_KEYS[which.sort](verdicts), reverse=which.descending)
    return [row.id for row in matching[offset : offset + limit]], len(matching)


def _matches(row: Light, which: StationFilter, verdict: Verdict | None) -> bool:
    if which.online is not None and which.online is not (verdict is not None and verdict.state == "online"):
        return False
    if which.tag is not None and which.tag not in orjson.loads(row.tags):
        return False
    needle = (which.q or "").casefold()
    return not needle or any(needle in text.casefold() for text in (row.id, row.name, row.location))


def _last_seen(verdicts: Mapping[str, Verdict]) -> Callable[[Light], float]:
    def key(row: Light) -> float:
        verdict = verdicts.get(row.id)
        if verdict is None:
            return 0.0
        return float("inf") if verdict.state == "online" else verdict.since

    return key


_KEYS: Final[dict[str, Callable[[Mapping[str, Verdict]], Callable[[Light], Any]]]] = {
    "name": lambda _: lambda row: row.name.casefold(),
    "location": lambda _: lambda row: row.location.casefold(),
    "createdAt": lambda _: lambda row: row.created_at,
    "lastSeen": _last_seen,
}
