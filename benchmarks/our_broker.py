"""The embedded broker alone in a process; prints "ready" once it listens.

python -m benchmarks.our_broker --port P --secret S [--no-auth] [--durability disk --data-dir D]
"""

import argparse
import asyncio
import gc
from pathlib import Path
from typing import Any

import uvloop

from hub.auth import Tokens
from hub.authentication import Authenticator
from hub.broker import Access, HubBroker
from hub.quiet import quieten

__all__ = ["main"]


def _plugins(options: argparse.Namespace) -> dict[str, Any]:
    if options.no_auth:
        return {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
    access = {"access": Access(Authenticator(Tokens(options.secret)))}
    return {"hub.broker.access.TokenAuth": access, "hub.broker.access.TopicAccess": access}


async def _serve(options: argparse.Namespace) -> None:
    quieten("amqtt")
    quieten("transitions")
    listeners = {"default": {"type": "tcp", "bind": f"127.0.0.1:{options.port}"}}
    storage = options.data_dir / "broker.sqlite3" if options.durability == "disk" else None
    broker = HubBroker({"listeners": listeners, "plugins": _plugins(options)}, storage=storage)
    await broker.start()
    gc.collect()
    gc.freeze()
    print("ready", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """The command line; runs until it is ended."""
    parser = argparse.ArgumentParser(prog="benchmarks.our_broker", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--secret", default="", help="signs the tokens")
    parser.add_argument("--no-auth", action="store_true", help="anybody may connect, publish and subscribe")
    parser.add_argument("--durability", choices=("memory", "disk"), default="memory")
    parser.add_argument("--data-dir", type=Path, help="for --durability disk")
    options = parser.parse_args()
    if options.durability == "disk" and options.data_dir is None:
        parser.error("--durability disk needs --data-dir")
    uvloop.run(_serve(options))


if __name__ == "__main__":
    main()
