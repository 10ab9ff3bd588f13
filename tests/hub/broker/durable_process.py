"""A broker in a process of its own, to be killed: `python -m tests.hub.broker.durable_process FILE SYNCHRONOUS`.

Prints its port when it listens; ends in good order when its standard input ends.
"""

import asyncio
import sys
from pathlib import Path
from typing import cast

from hub.broker import HubBroker, Limits
from hub.broker.storage import Synchronous
from hub.quiet import quieten

if sys.platform != "win32":
    import uvloop

LIMITS = Limits(queue_messages=1_000_000, queue_bytes=1_000_000_000, sys_interval=0)
"""Nothing may overflow: every message counts."""


async def serve(path: Path, synchronous: Synchronous) -> None:
    """Serves until standard input ends."""
    quieten("amqtt")
    quieten("transitions")
    config = {
        "listeners": {"default": {"type": "tcp", "bind": "127.0.0.1:0"}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }
    broker = HubBroker(config, limits=LIMITS, storage=path, synchronous=synchronous)
    await broker.start()
    print(broker.ports["default"], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await broker.shutdown()


if __name__ == "__main__":
    if sys.platform != "win32":
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(serve(Path(sys.argv[1]), cast("Synchronous", sys.argv[2])))
