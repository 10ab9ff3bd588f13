"""Who may publish and subscribe to what by MQTT (contract.md section 6): one synchronous decision, pure."""

from devices.topics import (
    ALL_LIVE,
    ALL_STATIONS,
    ALL_SYS,
    LIVE_STATION,
    SIGNAL_IN,
    STATION_CMD,
    is_station_id,
    valid_filter,
    valid_topic,
)
from hub.auth import Identity

__all__ = ["may_connect", "may_publish", "may_receive", "may_subscribe"]

_STATIONS = ALL_STATIONS.removesuffix("#")
_LIVE = ALL_LIVE.removesuffix("#")
_SYS = ALL_SYS.removesuffix("#")
_OWN = (STATION_CMD, SIGNAL_IN, LIVE_STATION)
"""What a station may hear."""


def _speaks_for(identity: Identity, station_id: str) -> bool:
    if identity.type == "anonymous":
        return is_station_id(station_id)
    return identity.speaks_for(station_id)


def _is_service(identity: Identity) -> bool:
    return identity.role in ("service", "admin")


def may_connect(identity: Identity, username: str | None) -> bool:
    """Whether a client may connect at all: a station under its own name, or a service account."""
    return (
        _is_service(identity)
        or identity.type == "anonymous"
        or (identity.station_id is not None and username == identity.station_id)
    )


def may_publish(identity: Identity, topic: str) -> bool:
    """Whether `identity` may publish to `topic`; a will obeys the same rule."""
    if not valid_topic(topic) or not topic.startswith(_STATIONS):
        return False
    if STATION_CMD.ids(topic) is not None:
        return _is_service(identity)
    levels = topic.split("/")
    if len(levels) < 3 or levels[2] == "cmd" or levels[2:4] == ["signal", "in"]:
        return False
    return _speaks_for(identity, levels[1])


def may_subscribe(identity: Identity, topic_filter: str) -> bool:
    """Whether `identity` may subscribe to `topic_filter`."""
    if not valid_filter(topic_filter):
        return False
    if _is_service(identity):
        return topic_filter.startswith((_STATIONS, _LIVE, _SYS))
    for topic in _OWN:
        ids = topic.ids(topic_filter)
        if ids is not None:
            return _speaks_for(identity, ids[0])
    return False


def may_receive(identity: Identity, topic: str) -> bool:
    """Whether a message on `topic` may reach `identity`, whatever it subscribed to."""
    return may_subscribe(identity, topic)
