"""Every MQTT topic of StationHub: build, parse, filter. No other module spells a topic.

Each topic is a `Topic` of the table below; `{...}` levels are ids. Build with a call, match with `parse`:

    >>> STATION_STATUS("st-1")
    'stations/st-1/status'
    >>> STATION_STATUS.filter()
    'stations/+/status'
    >>> parse("stations/st-1/status")
    Parsed(topic=Topic('stations/{sid}/status'), ids=('st-1',))
"""

import re
from typing import Final, NamedTuple

__all__ = [
    "ALL_LIVE",
    "ALL_STATIONS",
    "ALL_SYS",
    "LIVE_MEMBER",
    "LIVE_NODE",
    "LIVE_REVOKED",
    "LIVE_ROOM",
    "LIVE_SOCKET",
    "LIVE_STATION",
    "LIVE_USER",
    "PEER",
    "SIGNAL_IN",
    "SIGNAL_OUT",
    "STATION_CALL",
    "STATION_CMD",
    "STATION_ID",
    "STATION_OFFLINE",
    "STATION_ONLINE",
    "STATION_REPLY",
    "STATION_ROOM",
    "STATION_STATUS",
    "STATION_STREAM",
    "SYS",
    "TOPICS",
    "Parsed",
    "Topic",
    "is_station_id",
    "matches",
    "parse",
    "valid_filter",
    "valid_topic",
]

STATION_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""What a station id looks like (contract.md section 2, `station-register`)."""

_OTHER_ID = re.compile(r"[^/+#\x00\ud800-\udfff]{1,128}")


def is_station_id(value: str) -> bool:
    """Whether `value` may name a station: 1 to 64 of `A-Z a-z 0-9 . _ -`."""
    return STATION_ID.fullmatch(value) is not None


class Topic:
    """One topic of the table, with its `{id}` levels open.

    Args:
        template: the levels, ids in braces; `{sid}` is a station id, any other name an opaque id of up to 128 characters.
    """

    __slots__ = ("_levels", "_rules", "template")

    def __init__(self, template: str) -> None:
        self.template = template
        self._levels = template.split("/")
        self._rules = [
            (at, STATION_ID if level == "{sid}" else _OTHER_ID)
            for at, level in enumerate(self._levels)
            if level.startswith("{")
        ]

    def __repr__(self) -> str:
        return f"Topic({self.template!r})"

    def __call__(self, *ids: str) -> str:
        """The topic name with `ids` put in, in order. Raises ValueError for a wrong count or an id that is none."""
        if len(ids) != len(self._rules):
            raise ValueError(f"{self.template} takes {len(self._rules)} ids, got {len(ids)}")
        levels = self._levels.copy()
        for (at, rule), value in zip(self._rules, ids, strict=True):
            if rule.fullmatch(value) is None:
                raise ValueError(f"not an id for {levels[at]} of {self.template}")
            levels[at] = value
        return "/".join(levels)

    def filter(self, *ids: str) -> str:
        """The topic filter: the first ids put in, `+` for those not given."""
        wanted = iter(ids)
        return "/".join(next(wanted, "+") if level.startswith("{") else level for level in self._levels)

    def ids(self, name: str) -> tuple[str, ...] | None:
        """The ids in topic `name`, or None when it is not of this topic."""
        levels = name.split("/")
        if len(levels) != len(self._levels):
            return None
        found = []
        for mine, theirs in zip(self._levels, levels, strict=True):
            if mine.startswith("{"):
                rule = STATION_ID if mine == "{sid}" else _OTHER_ID
                if rule.fullmatch(theirs) is None:
                    return None
                found.append(theirs)
            elif mine != theirs:
                return None
        return tuple(found)


STATION_STATUS = Topic("stations/{sid}/status")
STATION_ONLINE = Topic("stations/{sid}/online")
STATION_OFFLINE = Topic("stations/{sid}/offline")
STATION_CALL = Topic("stations/{sid}/call")
STATION_CMD = Topic("stations/{sid}/cmd")
STATION_REPLY = Topic("stations/{sid}/reply")
STATION_STREAM = Topic("stations/{sid}/stream")
STATION_ROOM = Topic("stations/{sid}/room")
SIGNAL_IN = Topic("stations/{sid}/signal/in")
SIGNAL_OUT = Topic("stations/{sid}/signal/out")
LIVE_STATION = Topic("live/stations/{sid}")
LIVE_ROOM = Topic("live/rooms/{rid}")
LIVE_MEMBER = Topic("live/rooms/{rid}/{pid}")
LIVE_SOCKET = Topic("live/sockets/{sid}/{pid}")
LIVE_USER = Topic("live/users/{uid}")
LIVE_REVOKED = Topic("live/revoked/{sid}")
LIVE_NODE = Topic("live/nodes/{nid}")
PEER = Topic("peers/{nid}/{pid}")

ALL_STATIONS: Final = "stations/#"
ALL_LIVE: Final = "live/#"
ALL_SYS: Final = "$SYS/#"
SYS: Final = "$SYS/broker/"
"""In front of what the embedded broker says of itself; what follows has as many levels as it likes."""

TOPICS: Final = (
    STATION_STATUS,
    STATION_ONLINE,
    STATION_OFFLINE,
    STATION_CALL,
    STATION_CMD,
    STATION_REPLY,
    STATION_STREAM,
    STATION_ROOM,
    SIGNAL_IN,
    SIGNAL_OUT,
    LIVE_STATION,
    LIVE_ROOM,
    LIVE_MEMBER,
    LIVE_SOCKET,
    LIVE_USER,
    LIVE_REVOKED,
    LIVE_NODE,
    PEER,
)


class Parsed(NamedTuple):
    """A topic name taken apart: which topic of the table, and its ids in order."""

    topic: Topic
    ids: tuple[str, ...]


def parse(name: str) -> Parsed | None:
    """Which topic of the table `name` is, with its ids; None for any other topic."""
    for topic in TOPICS:
        ids = topic.ids(name)
        if ids is not None:
            return Parsed(topic, ids)
    return None


def valid_topic(name: str) -> bool:
    """Whether `name` may be published to: not empty, no wildcard, no NUL, at most 65,535 bytes. [MQTT-3.3.2-2]"""
    if not name or "+" in name or "#" in name or "\0" in name:
        return False
    return len(name.encode(errors="replace")) <= 65_535


def valid_filter(value: str) -> bool:
    """Whether `value` is a topic filter: wildcards take a whole level, `#` only the last. [MQTT-4.7.1-2] [MQTT-4.7.1-3]"""
    if not value or "\0" in value or len(value.encode(errors="replace")) > 65_535:
        return False
    levels = value.split("/")
    return all(
        level == "+" or (level == "#" and at == len(levels) - 1) or ("+" not in level and "#" not in level)
        for at, level in enumerate(levels)
    )


def matches(topic_filter: str, name: str) -> bool:
    """Whether topic `name` is one that `topic_filter` asks for. [MQTT-4.7.1-2] [MQTT-4.7.2-1]"""
    if topic_filter == name:
        return True
    if name.startswith("$") and topic_filter[:1] in "+#":
        return False
    wanted, levels = topic_filter.split("/"), name.split("/")
    for at, level in enumerate(wanted):
        if level == "#":
            return True
        if at >= len(levels) or level not in ("+", levels[at]):
            return False
    return len(wanted) == len(levels)
