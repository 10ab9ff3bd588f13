"""What is broken between a hub and its browsers.

Each function gets the break, the link and what was said, and returns whether it took the message: then that is not passed on;
or the event that stands in its place, for the other breaks to see.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from tests.simulator.broken_runs import Running
from tests.simulator.broken_web import WebLink
from tests.simulator.broken_wire import Event

__all__ = [
    "ack",
    "alter_ack",
    "batches",
    "delay",
    "drop",
    "drop_batched",
    "drop_request",
    "duplicate",
    "duplicate_batched",
    "freeze_batched",
    "invert_presence",
    "misname_batched",
    "push",
    "refuse_ack",
    "reorder_batched",
    "repeat_request",
    "replay_batched",
]

BATCH: Final = "batch-station-status-update"
PRESENCE: Final = {
    "station-connected": "station-disconnected",
    "station-disconnected": "station-connected",
}


def _about(event: Event) -> str | None:
    found = event.data.get("stationId") if isinstance(event.data, dict) else None
    return found if isinstance(found, str) else None


def _strikes(run: Running, link: WebLink, event: Event) -> bool:
    station = _about(event)
    return run.meant(event.event, station) and run.strikes(station or link.name)


def drop_request(run: Running, link: WebLink, event: Event) -> bool:
    return _strikes(run, link, event)


def repeat_request(run: Running, link: WebLink, event: Event) -> bool:
    if not _strikes(run, link, event):
        return False
    frame = link.frame("up", event)
    link.send("up", frame + frame)
    return True


def ack(act: Callable[[Running, WebLink, Event], None]) -> Callable[[Running, WebLink, Event], bool]:
    def of_acks(run: Running, link: WebLink, event: Event) -> bool:
        if event.kind == "event" or event.id is None or not _strikes(run, link, event):
            return False
        act(run, link, event)
        return True

    return of_acks


def push(act: Callable[[Running, WebLink, Event], None]) -> Callable[[Running, WebLink, Event], bool]:
    def of_pushes(run: Running, link: WebLink, event: Event) -> bool:
        if event.kind != "event" or not _strikes(run, link, event):
            return False
        act(run, link, event)
        return True

    return of_pushes


def drop(_: Running, __: WebLink, ___: Event) -> None:
    pass


def duplicate(_: Running, link: WebLink, event: Event) -> None:
    frame = link.frame("down", event)
    link.send("down", frame + frame)


def delay(run: Running, link: WebLink, event: Event) -> None:
    link.later(run.of.seconds, "down", link.frame("down", event))


def alter_ack(run: Running, link: WebLink, event: Event) -> None:
    value = {"altered": True} if run.of.value is None else run.of.value
    link.send("down", link.frame("down", event.but(kind="ack", data=value)))


def refuse_ack(run: Running, link: WebLink, event: Event) -> None:
    error = run.of.value or "INTERNAL: Internal error"
    link.send("down", link.frame("down", event.but(kind="error", data=error)))


def invert_presence(run: Running, link: WebLink, event: Event) -> bool:
    if event.kind != "event" or event.event not in PRESENCE or not _strikes(run, link, event):
        return False
    link.push(PRESENCE[event.event], event.data)
    return True


# ---- batches of statuses: each status is looked at by itself


def batches(
    act: Callable[[Running, WebLink, dict[str, Any]], Iterable[dict[str, Any]] | None],
) -> Callable[[Running, WebLink, Event], bool | Event]:
    """Rewrites batches: `act` gives what stands in place of one status; None: the status, as it is."""

    def of_batches(run: Running, link: WebLink, event: Event) -> bool | Event:
        if event.kind != "event" or event.event != BATCH or not isinstance(event.data, list):
            return False
        made, changed = list[dict[str, Any]](), False
        for status in event.data:
            instead = act(run, link, status) if run.meant(BATCH, status["stationId"]) else None
            changed |= instead is not None
            made += [status] if instead is None else instead
        return event.but(data=made) if changed and made else changed

    return of_batches


def drop_batched(run: Running, _: WebLink, status: dict[str, Any]) -> list[dict[str, Any]] | None:
    return [] if run.strikes(status["stationId"]) else None


def duplicate_batched(run: Running, _: WebLink, status: dict[str, Any]) -> list[dict[str, Any]] | None:
    return [status, status] if run.strikes(status["stationId"]) else None


def reorder_batched(run: Running, link: WebLink, status: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Waits for the next one of its station and goes behind it."""
    key = link, status["stationId"]
    if (older := run.held.pop(key, None)) is not None:
        return [status, older]
    if not run.strikes(status["stationId"]):
        return None
    run.held[key] = status
    return []


def freeze_batched(run: Running, _: WebLink, status: dict[str, Any]) -> list[dict[str, Any]] | None:
    """From now on nothing comes of the first station that it meets, or the one named."""
    if run.held.setdefault("frozen", status["stationId"]) != status["stationId"]:
        return None
    return [] if run.strikes(status["stationId"]) else None


def replay_batched(run: Running, link: WebLink, status: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The first status of a station again and again, in place of its newer ones."""
    key = link, status["stationId"]
    if key not in run.held:
        run.held[key] = status
        return None
    return [run.held[key]] if run.strikes(status["stationId"]) else None


def misname_batched(run: Running, _: WebLink, status: dict[str, Any]) -> list[dict[str, Any]] | None:
    """A status under another connected station's name."""
    others = [name for name in run.stage.stations if name != status["stationId"]]
    if not others or not run.strikes(status["stationId"]):
        return None
    return [status | {"stationId": run.rng.choice(others)}]
