"""An operator: watches one station, asks it for its status, opens its gate.

    HUB_TOKEN=$(hub token --user me --role operator) python -m examples.operator http://127.0.0.1:3101 gate-1

With -m, because a script called operator.py would hide Python's own module of that name from everything beside it.
"""

import asyncio
import os
import sys

from devices.operator import Operator, OperatorError


async def main(url: str, station_id: str) -> None:
    async with Operator(url, token=os.environ["HUB_TOKEN"]) as operator:
        online = (await operator.request("get-online-stations"))["stations"]
        print("online:", ", ".join(online))
        await operator.request("station-watch", {"stations": [station_id]})
        await operator.request("station-request-status", {"stationId": station_id})
        _, status = await operator.next_push("station-status-update")
        for device in status["devices"]:
            print(f"{device['name']}: {device['status']}")
        done = await operator.request(
            "station-command", {"stationId": station_id, "type": "open-gate", "params": {"lane": 1}}
        )
        print("gate:", done["result"])


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:3]))
    except (OperatorError, OSError) as error:
        sys.exit(f"operator: {error}")
