"""A station with two cameras: a test picture, and whatever address or file is given.

    pip install 'stationhub[video]'
    HUB_STATION_TOKEN=... python -m examples.camera mqtt://127.0.0.1:1883 st-1 rtsp://10.0.0.7/main

Arguments: the broker's address, the station id, a source. Watch it in the console, or call the station. Ends with Ctrl-C.
"""

import asyncio
import os
import sys

from devices import AccessRefused, Station
from devices.camera import TEST, Cameras, VideoMissing


async def main(url: str, station_id: str, source: str = TEST) -> None:
    sources = {"test": TEST, "lane": source}
    devices = [{"deviceId": camera, "name": camera, "type": "camera", "status": "online"} for camera in sources]
    station = Station(url, station_id, token=os.environ.get("HUB_STATION_TOKEN"), status=lambda: devices)
    async with Cameras.attach(station, sources), station:
        await station.wait_connected()
        print(f"{station_id} connected to {url}", flush=True)
        await station.run_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:]))
    except (AccessRefused, VideoMissing, TypeError) as error:
        sys.exit(__doc__ if isinstance(error, TypeError) else str(error))
    except KeyboardInterrupt:
        pass
