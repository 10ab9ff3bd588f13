"""The keys that an issuer of tokens publishes at a URL, kept up to date."""

import asyncio
import base64
import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from ipaddress import ip_address
from typing import Final
from urllib.parse import unquote, urlsplit

import structlog

from hub.keys import Key, KeyRefused, Keys, read_jwks

__all__ = ["COOLDOWN", "INTERVAL", "MAX_BODY", "TIMEOUT", "Jwks", "is_key_url"]

INTERVAL: Final = 300.0
"""Seconds between two fetches."""
COOLDOWN: Final = 10.0
"""Seconds from one fetch to the next, however many unknown keys are asked for."""
TIMEOUT: Final = 5.0
"""Seconds for a whole fetch."""
MAX_BODY: Final = 1_000_000
"""Bytes of a JWKS."""

log = structlog.get_logger(__name__)


def is_key_url(url: str) -> bool:
    """Whether keys may come from there: by https, or by http from this machine itself."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or port == 0 or parts.fragment or any(ord(char) <= 32 or ord(char) >= 127 for char in url):
        return False
    if parts.scheme == "https":
        return True
    try:
        return parts.scheme == "http" and (host == "localhost" or ip_address(host).is_loopback)
    except ValueError:
        return False


class Jwks:
    """Fetches the keys into `keys`, in a thread: at start, at an interval, and when a token names an unknown one.

    Keys that the issuer withdrew are gone with the next fetch; a fetch that fails changes nothing, and is logged once.

    Args:
        url: see `is_key_url`; a user and password in it are sent as Basic authorization, and never logged. Redirections are
            not followed, proxies not used.
        keys: where the keys go.
        interval, cooldown, timeout: seconds.
        context: of TLS; by default the machine's CAs are trusted.
        clock: seconds, monotonic.

    Raises:
        ValueError: keys may not come from that URL.
    """

    def __init__(
        self,
        url: str,
        keys: Keys,
        *,
        interval: float = INTERVAL,
        cooldown: float = COOLDOWN,
        timeout: float = TIMEOUT,
        context: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not is_key_url(url):
            raise ValueError("keys come from an https URL; http is taken from this machine only")
        self._url, self._keys = url, keys
        self._interval, self._cooldown, self._timeout = interval, cooldown, timeout
        self._context, self._clock = context, clock
        self._next = -float("inf")
        self._fetching: asyncio.Task[None] | None = None
        self._repeating: asyncio.Task[None] | None = None
        self._failing = self._stopped = False
        self.fetches = 0

    async def start(self) -> None:
        """Fetches for the first time, which may fail, and from then on at the interval."""
        await self.refresh()
        self._repeating = asyncio.create_task(self._repeat(), name="jwks")

    async def stop(self) -> None:
        """Ends what is under way; whoever waits for it goes on without new keys."""
        self._stopped = True
        tasks = [task for task in (self._repeating, self._fetching) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def refresh(self) -> None:
        """Looks whether there are new keys; at once over when that was done a moment ago. All who wait share one fetch."""
        if self._fetching is None:
            if self._stopped or self._clock() < self._next:
                return
            self._next = self._clock() + self._cooldown
            self._fetching = asyncio.create_task(self._fetch(), name="jwks fetch")
        # one who gives up does not end it for the others, and its end by `stop` is nobody's error
        await asyncio.wait([self._fetching])

    async def _repeat(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            await self.refresh()

    async def _fetch(self) -> None:
        self.fetches += 1
        try:
            keys = await _in_thread(_Request(self._url, self._timeout, self._context))
        except (OSError, RuntimeError, http.client.HTTPException, ValueError) as error:
            if not self._failing:
                log.warning(
                    "keys of tokens cannot be fetched", host=urlsplit(self._url).hostname, reason=_reason(error)
                )
            self._failing = True
        else:
            if self._keys.replace(keys) or self._failing:
                log.info("keys of tokens fetched", host=urlsplit(self._url).hostname, keys=len(keys))
            self._failing = False
        finally:
            self._fetching = None


class _Failed(ValueError):
    """A fetch failed for a reason that is safe to log."""


def _reason(error: Exception) -> str:
    """Why, in words of ours: a library's may quote what the server sent."""
    if isinstance(error, _Failed | KeyRefused):
        return str(error)
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or type(error).__name__}"
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else "not a JWKS"


class _Request:
    """One GET, to be run in a thread and given up from another."""

    def __init__(self, url: str, timeout: float, context: ssl.SSLContext | None) -> None:
        self.timeout = timeout
        self._url, self._context = urlsplit(url), context
        self._connection: http.client.HTTPConnection | None = None
        self._given_up = False

    def run(self) -> tuple[Key, ...]:
        """The keys. Raises OSError, HTTPException, ValueError."""
        url = self._url
        headers = {"Accept": "application/json", "User-Agent": "stationhub"}
        if url.username is not None:
            login = f"{unquote(url.username)}:{unquote(url.password or '')}"
            headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode("ascii")
        connection = self._connection = self._connect(url.hostname or "", url.port)
        try:
            connection.connect()
            if self._given_up:
                raise _Failed("given up")
            connection.request("GET", (url.path or "/") + (f"?{url.query}" if url.query else ""), headers=headers)
            response = connection.getresponse()
            if response.status != http.HTTPStatus.OK:
                raise _Failed(f"status {response.status}")
            body = response.read(MAX_BODY + 1)
        finally:
            connection.close()
        if len(body) > MAX_BODY:
            raise _Failed(f"more than {MAX_BODY} bytes")
        try:
            return read_jwks(json.loads(body))
        except (RecursionError, ValueError) as error:
            raise error if isinstance(error, KeyRefused) else _Failed("not JSON") from None

    def _connect(self, host: str, port: int | None) -> http.client.HTTPConnection:
        if self._url.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=self.timeout)
        # here, in the thread: reading the machine's CAs takes a while
        context = self._context or ssl.create_default_context()
        return http.client.HTTPSConnection(host, port, timeout=self.timeout, context=context)

    def give_up(self) -> None:
        """Ends a read that waits: its timeout is of one read, and a server may send a byte at a time."""
        self._given_up = True
        connected = self._connection.sock if self._connection is not None else None
        if connected is not None:
            with contextlib.suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)


async def _in_thread(request: _Request) -> tuple[Key, ...]:
    """Runs a request in a thread that holds up neither the loop nor the end of the process. Raises as `_Request.run`."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[tuple[Key, ...]] = loop.create_future()

    def settle(keys: tuple[Key, ...], error: Exception | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(keys)
        else:
            done.set_exception(error)

    def run() -> None:
        keys, failure = tuple[Key, ...](), None
        try:
            keys = request.run()
        except Exception as error:
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, keys, failure)

    threading.Thread(target=run, name="jwks", daemon=True).start()
    try:
        async with asyncio.timeout(request.timeout):
            return await done
    except TimeoutError:
        raise _Failed(f"no answer within {request.timeout:g} s") from None
    finally:
        request.give_up()
