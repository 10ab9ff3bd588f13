"""Passwords: hashed off the event loop, by a bounded number of threads; unknown users cost the same work."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest

from hub.passwords import Argon2, Busy, Passwords
from tests.hub.client import eventually


class FakeHasher:
    """Counts its work; can be held up."""

    nobody = "nobody"

    def __init__(self) -> None:
        self.verified: list[str] = []
        self.threads: set[int] = set()
        self.at_work = threading.Semaphore(0)
        self._go = threading.Event()
        self._go.set()

    def hash(self, password: str) -> str:
        return f"hash of {password}"

    def verify(self, kept: str, password: str) -> bool:
        self.at_work.release()
        self._go.wait(15)
        self.verified.append(kept)
        self.threads.add(threading.get_ident())
        return kept == f"hash of {password}"

    def is_outdated(self, kept: str) -> bool:
        return False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nothing is verified within."""
        self._go.clear()
        try:
            yield
        finally:
            self._go.set()


@pytest.fixture
def hasher() -> FakeHasher:
    return FakeHasher()


@pytest.fixture
async def passwords(hasher: FakeHasher) -> AsyncIterator[Passwords]:
    passwords = Passwords(hasher, workers=2, waiting=3)
    yield passwords
    passwords.close()


async def test_right_and_wrong(passwords: Passwords) -> None:
    kept = await passwords.hash("open sesame")
    assert await passwords.verify(kept, "open sesame")
    assert not await passwords.verify(kept, "open simsim")


async def test_nobody_costs_as_much(passwords: Passwords, hasher: FakeHasher) -> None:
    """Without a hash another one is verified, which nobody's password fits."""
    assert not await passwords.verify(None, "open sesame")
    assert hasher.verified == ["nobody"]
    hasher.nobody = "hash of open sesame"
    assert not await passwords.verify(None, "open sesame")


async def test_in_threads_of_its_own(passwords: Passwords, hasher: FakeHasher) -> None:
    await passwords.verify(None, "x")
    assert threading.get_ident() not in hasher.threads


async def test_places_for_who_comes_first(passwords: Passwords, hasher: FakeHasher) -> None:
    """When strangers have taken all others, one is left."""
    with hasher.held():
        waiting = [asyncio.create_task(passwords.verify(None, "x")) for _ in range(4)]
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await passwords.verify(None, "x")
        waiting.append(asyncio.create_task(passwords.verify(None, "x", first=True)))
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await passwords.verify(None, "x", first=True)
    assert await asyncio.gather(*waiting) == [False] * 5


async def test_too_many_wait(passwords: Passwords, hasher: FakeHasher) -> None:
    """Two at work and two waiting; the next is turned away, until one is done."""
    with hasher.held():
        waiting = [asyncio.create_task(passwords.verify(None, "x")) for _ in range(4)]
        await asyncio.sleep(0)
        for _ in range(3):
            with pytest.raises(Busy):
                await passwords.verify(None, "x")
    await asyncio.gather(*waiting)
    assert len(hasher.verified) == 4
    for _ in range(10):
        await passwords.verify(None, "x")


async def test_who_stops_waiting_frees_no_thread(passwords: Passwords, hasher: FakeHasher) -> None:
    """Connections that are made and dropped do not pile up work."""
    with hasher.held():
        waiting = [asyncio.create_task(passwords.verify(None, "x")) for _ in range(4)]
        for _ in range(2):
            assert await asyncio.to_thread(hasher.at_work.acquire, timeout=15)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        # those that waited are gone, those at work are not
        more = [asyncio.create_task(passwords.verify(None, "x")) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await passwords.verify(None, "x")
    await asyncio.gather(*more)
    await eventually(lambda: len(hasher.verified) == 4)


async def test_after_the_end(passwords: Passwords) -> None:
    passwords.close()
    with pytest.raises(Busy):
        await passwords.hash("x")


def test_argon2() -> None:
    hasher = Argon2.cheap()
    kept = hasher.hash("open sesame")
    assert kept.startswith("$argon2id$")
    assert kept != hasher.hash("open sesame")
    assert hasher.verify(kept, "open sesame")
    assert not hasher.verify(kept, "open simsim")
    assert not hasher.verify(hasher.nobody, "open sesame")


@pytest.mark.parametrize("kept", ["", "no hash", "$argon2id$", "$argon2id$v=19$m=8,t=1,p=1$AAAA$", "$2b$12$x", "é"])
def test_what_is_no_hash_is_nobodys(kept: str) -> None:
    hasher = Argon2.cheap()
    assert not hasher.verify(kept, "x")
    assert hasher.is_outdated(kept)


@pytest.mark.parametrize("password", ["\ud800", "a\x00b", "密码" * 100, "\U0001f600", ""])
def test_any_text_may_be_tried(password: str) -> None:
    hasher = Argon2.cheap()
    assert hasher.verify(hasher.hash(password), password)
    assert not hasher.verify(hasher.hash("a"), password)


def test_the_hash_of_nobody_is_like_any_other() -> None:
    """The same parameters and lengths: the same work."""
    hasher = Argon2()
    kept, nobody = hasher.hash("x"), hasher.nobody
    assert [len(part) for part in kept.split("$")] == [len(part) for part in nobody.split("$")]
    assert kept.split("$")[:4] == nobody.split("$")[:4]
    assert not hasher.is_outdated(nobody)
    assert "m=47104,t=1,p=1" in nobody


def test_other_parameters_are_outdated() -> None:
    assert Argon2().is_outdated(Argon2.cheap().nobody)
