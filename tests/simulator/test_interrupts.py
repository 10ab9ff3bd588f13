"""Ctrl-C and SIGTERM: the first ends in order, the second at once."""

import asyncio
import os
import signal

import pytest

from simulator.interrupts import SIGNALS, Interrupts


async def waits(interrupts: Interrupts, *, before: asyncio.Event | None = None) -> str:
    """How a task ends that the first signal cancels."""
    task = asyncio.current_task()
    assert task is not None
    interrupts.cancels(task)
    if before is not None:
        before.set()
    try:
        async with asyncio.timeout(20):
            await asyncio.Event().wait()
    except asyncio.CancelledError:
        return "in order"
    return "never"


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_cancels_the_task(number: signal.Signals) -> None:
    """Whichever it is, and whether it comes while the task runs or before."""

    async def work(interrupts: Interrupts) -> str:
        waiting = asyncio.Event()
        task = asyncio.create_task(waits(interrupts, before=waiting))
        await waiting.wait()
        os.kill(os.getpid(), number)
        return await task

    with Interrupts() as interrupts:
        assert asyncio.run(work(interrupts)) == "in order"
    with Interrupts() as interrupts:
        os.kill(os.getpid(), number)
        assert asyncio.run(waits(interrupts)) == "in order"


def test_the_second_signal_ends_at_once() -> None:
    """Also where no event loop listens, as while a report is written; and of another kind than the first."""
    with Interrupts():
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_signal_when_all_is_over_does_no_harm() -> None:
    with Interrupts() as interrupts:

        async def quick() -> None:
            task = asyncio.current_task()
            assert task is not None
            interrupts.cancels(task)

        asyncio.run(quick())
        os.kill(os.getpid(), signal.SIGINT)


def test_what_was_before_is_after() -> None:
    """An ignored signal stays ignored: a shell starts `hub simulate &` that way."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        was = signal.getsignal(signal.SIGTERM)
        with Interrupts():
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) != was
        assert signal.getsignal(signal.SIGTERM) == was
    finally:
        signal.signal(signal.SIGINT, before)
