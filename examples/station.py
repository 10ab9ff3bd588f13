"""A real station in thirty lines: two devices, and a gate that opens on command.

    HUB_STATION_TOKEN=... python -m examples.station mqtt://127.0.0.1:1883 st-1

Arguments: the broker's address, the station id, its token (or HUB_STATION_TOKEN). Ends with Ctrl-C.
"""

import asyncio
import os
import sys
from typing import Any

from devices import AccessRefused, Job, Station

gate = {"deviceId": "gate-1", "name": "Entrance gate", "type": "controller", "status": "online", "metrics": {"open": 0}}
camera = {"deviceId": "cam-1", "name": "Lane camera", "type": "camera", "status": "online", "metrics": {"temp": 41.5}}


async def main(url: str, station_id: str, token: str | None) -> None:
    station = Station(url, station_id, token=token, status=lambda: [gate, camera])

    @station.on("open-gate")
    async def open_gate(job: Job) -> Any:
        print(f"{job.type} {job.params} for {job.requester_id}", flush=True)
        gate["metrics"] = {"open": 1}
        await station.report()
        return {"open": True}

    async with station:
        await station.wait_connected()
        print(f"{station_id} connected to {url}", flush=True)
        await station.run_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1], sys.argv[2], (*sys.argv, os.environ.get("HUB_STATION_TOKEN"))[3]))
    except (AccessRefused, IndexError) as error:
        sys.exit(str(error) if isinstance(error, AccessRefused) else __doc__)
    except KeyboardInterrupt:
        pass
