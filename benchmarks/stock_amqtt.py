"""amqtt's own broker alone in a process, anybody may connect: `python -m benchmarks.stock_amqtt --port P`."""

import argparse
import asyncio
import logging

import uvloop
from amqtt.broker import Broker

__all__ = ["main"]


async def _serve(port: int) -> None:
    logging.disable(logging.CRITICAL)
    config = {
        "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }
    await Broker(config).start()
    await asyncio.Event().wait()


def main() -> None:
    """The command line; runs until it is ended."""
    parser = argparse.ArgumentParser(prog="benchmarks.stock_amqtt", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(_serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
