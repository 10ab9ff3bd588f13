"""Passwords: hashed and checked by argon2id, in threads of their own, so that neither logins nor guesses hold up the hub.

Busy
  (too many wait for a thread)
"""

import asyncio
import base64
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Protocol, Self, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error

__all__ = ["Argon2", "Busy", "Hasher", "Passwords"]

WORKERS: Final = 2
WAITING: Final = 64
"""Passwords that may wait for a thread; at some 50 ms each, more would wait longer than anybody does."""
RESERVED: Final = 16
"""Of those, places for who comes first."""

Answer = TypeVar("Answer")


class Busy(Exception):
    """Too many passwords wait to be checked; nothing was done.

    Attributes:
        seconds: after which it is worth trying again.
    """

    seconds = 2.0


class Hasher(Protocol):
    """What turns a password into a text to keep; called in threads.

    Attributes:
        nobody: a hash that no password has, and that takes as long to check as any.
    """

    nobody: str

    def hash(self, password: str) -> str:
        """A new hash, with a salt of its own."""

    def verify(self, kept: str, password: str) -> bool:
        """Whether `password` is the one that `kept` was made of."""

    def is_outdated(self, kept: str) -> bool:
        """Whether `kept` was made with other parameters than are used now."""


class Argon2:
    """argon2id; the default is the first choice of OWASP's Password Storage Cheat Sheet.

    Args:
        memory: KiB a hash.
        passes: over that memory.
    """

    def __init__(self, memory: int = 47_104, passes: int = 1) -> None:
        # one lane: two threads of ours are two processors at most
        self._hasher = PasswordHasher(time_cost=passes, memory_cost=memory, parallelism=1)
        salt, digest = (
            base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=")
            for size in (self._hasher.salt_len, self._hasher.hash_len)
        )
        self.nobody = f"$argon2id$v=19$m={memory},t={passes},p=1${salt}${digest}"

    @classmethod
    def cheap(cls) -> Self:
        """For trials and tests: passwords that are not worth guarding, in no time."""
        return cls(memory=8)

    def hash(self, password: str) -> str:
        """A new hash."""
        return self._hasher.hash(_bytes(password))

    def verify(self, kept: str, password: str) -> bool:
        """Whether it is the password; False for a hash that is none."""
        try:
            return self._hasher.verify(kept, _bytes(password))
        except (Argon2Error, ValueError):
            return False

    def is_outdated(self, kept: str) -> bool:
        """Whether it was made with other parameters."""
        try:
            return self._hasher.check_needs_rehash(kept)
        except ValueError:
            return True


def _bytes(password: str) -> bytes:
    # JSON can say half a surrogate pair, which UTF-8 cannot
    return password.encode("utf-8", "surrogatepass")


class Passwords:
    """Hashes and checks passwords, two at a time.

    Args:
        hasher: how.
        waiting: passwords that may wait for a thread, before others are turned away; some places are kept for those that come
            first.
    """

    def __init__(self, hasher: Hasher | None = None, *, workers: int = WORKERS, waiting: int = WAITING) -> None:
        self._hasher: Hasher = hasher or Argon2()
        reserved = min(RESERVED, waiting // 2)
        self._places = threading.Semaphore(workers + waiting - reserved)
        self._reserved = threading.Semaphore(reserved)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="password")

    async def hash(self, password: str) -> str:
        """A text to keep for `password`. Raises Busy."""
        return await self._run(lambda: self._hasher.hash(password))

    async def verify(self, kept: str | None, password: str, *, first: bool = False) -> bool:
        """Whether `password` is the one that `kept` was made of; None, for nobody's, is the same work for a False.

        Args:
            first: it comes from where the right one has come from before: strangers, however many, do not keep it out.

        Raises:
            Busy: nothing was checked.
        """
        right = await self._run(
            lambda: self._hasher.verify(self._hasher.nobody if kept is None else kept, password), first=first
        )
        return right and kept is not None

    def is_outdated(self, kept: str) -> bool:
        """Whether a password that is right is to be hashed again, with the parameters of today."""
        return self._hasher.is_outdated(kept)

    def close(self) -> None:
        """Ends the threads; what waits is not done any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[[], Answer], *, first: bool = False) -> Answer:
        places = self._places
        if not places.acquire(blocking=False):
            places = self._reserved
            if not first or not places.acquire(blocking=False):
                raise Busy("too many passwords wait to be checked")
        try:
            future: Future[Answer] = self._threads.submit(work)
        except RuntimeError:
            places.release()
            raise Busy("the hub ends") from None
        # a place is free when the thread is, not when somebody stops waiting for it
        future.add_done_callback(lambda _: places.release())
        return await asyncio.wrap_future(future)
