"""For all tests."""

import gc
import signal

from hypothesis import settings

# time is only a guard against hanging: a machine that does other things fails no test by being slow
settings.register_profile("stationhub", deadline=None)
settings.load_profile("stationhub")


def pytest_collection_finish() -> None:
    """What was imported and collected stays: full garbage collections, which stop the event loop, need not look through it."""
    gc.collect()
    gc.freeze()


# a shell that runs the tests in the background has them ignore Ctrl-C, and with them all that they start
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
