"""What is broken between a hub and its stations.

Each function gets the break, the link and what was said, and returns whether it took the message: then that is not passed on.
"""

import time
from collections.abc import Callable
from typing import Any

import orjson

from devices import topics
from devices.mqtt.codec import encode
from devices.mqtt.packets import Publish
from tests.simulator.broken_mqtt import MqttLink, Said
from tests.simulator.broken_runs import HUB_COMMANDS, Running

__all__ = [
    "commands",
    "delay_command",
    "delay_status",
    "drop_down",
    "drop_up",
    "duplicate_command",
    "duplicate_status",
    "late_command",
    "misroute_command",
    "only",
    "phantom_command",
    "reorder_commands",
    "reorder_status",
    "repeat_command",
]


def _hits(run: Running, said: Said) -> bool:
    return run.meant(said.what, said.station) and run.strikes(said.station)


def only(what: str, act: Callable[[Running, MqttLink, Said], bool]) -> Callable[[Running, MqttLink, Said], bool]:
    def of_this(run: Running, link: MqttLink, said: Said) -> bool:
        return said.what == what and act(run, link, said)

    return of_this


def commands(act: Callable[[Running, MqttLink, Said], bool]) -> Callable[[Running, MqttLink, Said], bool]:
    def of_commands(run: Running, link: MqttLink, said: Said) -> bool:
        return said.publish.topic.endswith("/cmd") and said.payload is not None and act(run, link, said)

    return of_commands


def drop_up(run: Running, link: MqttLink, said: Said) -> bool:
    if not _hits(run, said):
        return False
    link.acknowledge("up", said)
    return True


def drop_down(run: Running, link: MqttLink, said: Said) -> bool:
    if not _hits(run, said):
        return False
    link.acknowledge("down", said)
    return True


def duplicate_status(run: Running, link: MqttLink, said: Said) -> bool:
    if not _hits(run, said):
        return False
    link.send("up", said.raw + said.raw)
    return True


def delay_status(run: Running, link: MqttLink, said: Said) -> bool:
    if not _hits(run, said):
        return False
    link.later(run.of.seconds, "up", said.raw)
    return True


def reorder_status(run: Running, link: MqttLink, said: Said) -> bool:
    if (older := run.held.pop(link, None)) is not None:
        link.send("up", said.raw + older)
        return True
    if not _hits(run, said):
        return False
    run.held[link] = said.raw
    return True


def _payload(said: Said, **changes: Any) -> bytes:
    return orjson.dumps((said.payload or {}) | changes)


def duplicate_command(run: Running, link: MqttLink, said: Said) -> bool:
    if not _hits(run, said):
        return False
    link.send("down", said.raw + link.own(said.publish.topic, said.publish.payload))
    return True


def repeat_command(run: Running, link: MqttLink, said: Said) -> bool:
    """Once more under another id: the station cannot know it."""
    if not _hits(run, said):
        return False
    again = _payload(said, id=f"again-{run.stage.done[run.of.kind]}")
    link.send("down", said.raw + link.own(said.publish.topic, again))
    return True


def delay_command(run: Running, link: MqttLink, said: Said) -> bool:
    if not _hits(run, said):
        return False
    link.acknowledge("down", said)
    link.later(run.of.seconds, "down", link.own(said.publish.topic, said.publish.payload))
    return True


def late_command(run: Running, link: MqttLink, said: Said) -> bool:
    """Only after its deadline, which is forged, so that the station carries it out."""
    ttl = (said.payload or {}).get("ttlMs")
    if not isinstance(ttl, int) or said.what in HUB_COMMANDS or not _hits(run, said):
        return False
    link.acknowledge("down", said)
    seconds = ttl / 1000 + run.of.seconds
    expires = round((time.time() + seconds + 60.0) * 1000)
    forged = _payload(said, ttlMs=60_000, expiresAt=expires)
    link.later(seconds, "down", link.own(said.publish.topic, forged))
    return True


def reorder_commands(run: Running, link: MqttLink, said: Said) -> bool:
    """Waits for the next one of the same station and goes behind it."""
    if (older := run.held.pop(link, None)) is not None:
        link.send("down", said.raw + older)
        return True
    if not _hits(run, said):
        return False
    run.held[link] = said.raw
    return True


def misroute_command(run: Running, link: MqttLink, said: Said) -> bool:
    others = [other for other in run.stage.stations.values() if other is not link and other.ready]
    if not others or said.what in HUB_COMMANDS or not _hits(run, said):
        return False
    link.acknowledge("down", said)
    other = run.rng.choice(others)
    other.send("down", other.own(topics.STATION_CMD(other.name), said.publish.payload))
    return True


def phantom_command(run: Running, link: MqttLink, said: Said) -> bool:
    """Done, says the hub, and the station never heard of it."""
    command_id = (said.payload or {}).get("id")
    if command_id is None or said.what in HUB_COMMANDS or not _hits(run, said):
        return False
    link.acknowledge("down", said)
    done = orjson.dumps({"id": command_id, "stage": "done", "result": {"open": True}})
    link.send("up", encode(Publish(topics.STATION_REPLY(said.station), done), link.version))
    return True
