"""Sending a command to a station, and what its end means: the same for a browser's event and for HTTP."""

import asyncio
from typing import Any, Final

from bridge.errors import RESERVED_COMMAND, STATION_ERROR, STATION_OFFLINE, TOO_MANY_COMMANDS, EventError
from bridge.gateway import Gateway
from hub.commands import Outcome

__all__ = ["check_command", "command_error", "send_command"]

HUB_COMMANDS: Final = frozenset({"report-status", "join-room", "start-stream"})


def check_command(gateway: Gateway, station_id: str, type: str) -> None:
    """Raises EventError when a command of this type cannot be sent to the station now."""
    if type in HUB_COMMANDS:
        raise EventError(*RESERVED_COMMAND)
    if not gateway.services.presence.online(station_id):
        raise EventError(*STATION_OFFLINE)


def send_command(
    gateway: Gateway,
    station_id: str,
    type: str,
    params: Any,
    timeout_ms: int,
    requester_id: str,
    command_id: str | None = None,
) -> tuple[str, asyncio.Future[Outcome]]:
    """Sends a command, by WebSocket first; gives its id and its outcome to come.

    Args:
        timeout_ms: milliseconds until its deadline.
        requester_id: who asks: a peer, or whoever else may have so many commands waiting.
        command_id: see `Services.command`.

    Raises:
        EventError: its type is the hub's own, the station is offline, too many commands wait.
        LinkDown: the broker is out of reach.
    """
    check_command(gateway, station_id, type)
    try:
        return gateway.services.command(
            station_id,
            type,
            params,
            timeout_ms / 1000,
            requester_id,
            lambda command: gateway.deliver(station_id, command),
            command_id=command_id,
        )
    except OverflowError:
        raise EventError(*TOO_MANY_COMMANDS) from None


def command_error(stage: str, delivered: bool | None, error: str | None) -> EventError | None:
    """What to tell of a command that ended at `stage`; None: it is done."""
    match stage:
        case "done":
            return None
        case "timeout":
            known = "true" if delivered else "false"
            return EventError("STATION_TIMEOUT", f"The station did not finish in time, delivered={known}")
        case "expired":
            return EventError("STATION_TIMEOUT", "The station got the command too late, delivered=true")
        case _:
            return EventError(*STATION_ERROR, detail=error)
