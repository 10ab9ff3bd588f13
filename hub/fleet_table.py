"""`hub stations`: who is online, as a table that can follow."""

import asyncio
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from devices.operator import ConnectionLost, Operator, OperatorError, Refused
from hub.output import OutputError

__all__ = ["Fleet", "show"]


class Fleet:
    """What the pushes so far tell of the fleet."""

    def __init__(self, online: list[str]) -> None:
        self._online = set(online)
        self._status: dict[str, dict[str, Any]] = {}

    def apply(self, event: str, data: Any) -> bool:
        """Takes one push; True when the table changed."""
        match event:
            case "station-connected":
                self._online.add(data["stationId"])
            case "station-disconnected":
                self._online.discard(data["stationId"])
            case "batch-station-status-update":
                self._status.update({status["stationId"]: status for status in data})
            case _:
                return False
        return True

    def table(self) -> Table:
        """The stations online, one a row."""
        table = Table("Station", "Devices", "Warnings", "Errors", "Last status", caption=f"{len(self._online)} online")
        for station_id in sorted(self._online):
            status = self._status.get(station_id)
            if status is None:
                table.add_row(station_id, "", "", "", "")
                continue
            counts = status["summary"]
            at = datetime.fromtimestamp(status["updatedAt"] / 1000).strftime("%H:%M:%S")
            devices = f"{counts['online']} online, {counts['offline']} offline"
            table.add_row(station_id, devices, str(counts["warning"]), str(counts["error"]), at)
        return table


async def show(http: str, token: str, *, watch: bool) -> int:
    """Prints the table once, or follows until the hub closes the connection.

    Args:
        http: the hub's HTTP address.

    Raises:
        OperatorError: the hub cannot be reached, or refuses the token.
    """
    console = Console()
    try:
        async with Operator(http, token=token) as operator:
            fleet = Fleet((await operator.request("get-online-stations"))["stations"])
            # the batch with what is known already came before that answer
            for event, data in operator.waiting():
                fleet.apply(event, data)
            if not watch:
                console.print(fleet.table())
                return 0
            with Live(fleet.table(), console=console, auto_refresh=False) as live:
                try:
                    async for event, data in operator.pushes():
                        if fleet.apply(event, data):
                            live.update(fleet.table(), refresh=True)
                except asyncio.CancelledError:
                    return 0  # Ctrl-C is how one stops watching
            raise ConnectionLost("the hub closed the connection")
    except Refused as refused:
        hint = ": is --data-dir, or --jwt-secret, that hub's?" if "UNAUTHORIZED" in str(refused) else ""
        raise OperatorError(f"{http}: {refused}{hint}") from None
    except OutputError:
        raise
    except OSError:
        raise OperatorError(
            f"no hub answers at {http}: start one with `hub serve`, or give its address with --http"
        ) from None
