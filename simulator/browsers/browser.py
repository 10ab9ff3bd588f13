"""A simulated browser: an operator who watches stations, acts (see `behaviour`), loses connections, and comes again."""

import asyncio
import logging
from functools import partial
from typing import Any, Final

from devices.door import DoorClient, OperatorError, Refused
from devices.operator import Operator
from devices.page import Page
from devices.session import Backoff
from simulator.browsers.behaviour import Behaviour
from simulator.browsers.requests import Requests
from simulator.browsers.sign_in import SignInRefused, role_of, sign_in
from simulator.browsers.talks import Talk
from simulator.browsers.watching import Watching, window_of
from simulator.fleet.schedule import Timer
from simulator.plan import TOKEN_LIFE, spread
from simulator.texts import plain
from simulator.world import World

__all__ = ["SimulatedBrowser"]

CONNECT_WITHIN: Final = 10.0
LEAVE_WITHIN: Final = 5.0
EXPIRY_TOLERANCE: Final = 30.0
"""Seconds after a token's expiry in which the hub closes the connection (contract.md section 2)."""
LONGEST_WAIT: Final = 5.0
"""Seconds between two tries to connect, as Socket.IO's client has it."""
SIP: Final = 1.0
"""Seconds between two looks of a slow reader at its socket."""
SWALLOW: Final = 0.01
"""Seconds that each look lasts."""
POLL: Final = 0.05
NEW_LOGIN: Final = "NEW_LOGIN"
"""Why a hub sends a browser away whose user logged in elsewhere."""

log = logging.getLogger(__name__)


class SimulatedBrowser:
    """Browser `number` of the scenario.

    Attributes:
        requests, talks: what is open.
        since: the moment that it was started, or last lost its connection.
    """

    def __init__(self, world: World, number: int) -> None:
        self._world, self.number = world, number
        self._name = name = world.user_id(number)
        settings = world.scenario.browsers
        self._kind: type[DoorClient] = Page if spread(number, settings.socketio, 0.5) else Operator
        self._slow_until = float("inf") if spread(number, settings.slow) else float("-inf")
        self.requests, self.talks = Requests(world, name), set[Talk]()
        self._watching = Watching(world, number, self.requests, window_of(world, number))
        self._behaviour = Behaviour(world, self, self.requests, world.rng(name), world.numbers)
        self._backoff = Backoff(world.rng(f"{name}/backoff").random, cap=LONGEST_WAIT)
        self._client: DoorClient | None = None
        self._task: asyncio.Task[None] | None = None
        self._closing = set[asyncio.Task[None]]()
        self._token: str | None = None
        self._life, self._expires = TOKEN_LIFE, float("inf")
        self._announced, self._silent, self._acts = False, False, True
        self._back: float | None = None
        self._overdue: Timer | None = None
        self._due, self.since, self._reason, self._failed = 0.0, 0.0, "", False

    # ---- for the run

    def start(self) -> None:
        """Logs in, now, and stays connected until `stop`."""
        schedule = self._world.schedule
        self._world.recorder.count("browsers.started")
        self.since, self._due = schedule.now, schedule.now + self._world.scenario.settle
        self._task = asyncio.create_task(self._live(schedule.now), name="simulated browser")

    def missing(self, now: float) -> str | None:
        """That it should be connected, and is not, and why; None: all is as it should be."""
        if not self._failed or self._client is not None or now < self._due:
            return None
        return f"{self._name} has not been there since {self._world.at(self.since)}; last reason: {self._reason}"

    async def rest(self) -> None:
        """Acts no more, and waits for what is open."""
        self._acts = False
        self._behaviour.stop()
        while self._client is not None and (self.requests.undecided or self.talks or self._behaviour.waits):
            await self._until(self._world.schedule.real() + POLL)

    async def stop(self) -> None:
        """Leaves in order."""
        self._acts = False
        self._behaviour.stop()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        client = self._client
        if client is not None:
            self._over()
            try:
                async with asyncio.timeout(LEAVE_WITHIN):
                    await client.close()
            except (TimeoutError, OSError):
                client.abort()
        self.drop()

    def drop(self) -> None:
        """Is gone at once."""
        self._acts = False
        self._behaviour.stop()
        self.requests.close()
        for task in (self._task, *self._closing):
            if task is not None:
                task.cancel()
        if self._client is not None:
            client = self._client
            self._over()
            client.abort()

    @property
    def connected(self) -> bool:
        """Whether it is logged in, and there."""
        return self._client is not None and not self._silent

    @property
    def client(self) -> DoorClient | None:
        """Its connection, while it has one, and reads it."""
        return None if self._silent or self._behaviour.paused else self._client

    @property
    def available(self) -> bool:
        """Whether others may talk to it."""
        return self._acts and self.client is not None

    # ---- faults

    def abort(self, back: float) -> None:
        """Its connection is reset; it comes again after `back` seconds."""
        if self._client is not None:
            self._announced, self._back = True, back
            self._client.abort()

    def fall_silent(self, lasts: float) -> None:
        """Half-open: it neither reads nor answers pings, nor says anything; then it comes again."""
        client = self._client
        if client is None or self._silent:
            return
        self._announced = self._silent = True
        self._disturb(self._world.schedule.real() + lasts)
        self._watching.end()
        client.hold()
        self._world.schedule.at(self._world.schedule.now + lasts, partial(self._wake_up, client))

    def read_slowly(self, lasts: float) -> None:
        """Reads no more than a look at its socket each second; does nothing else."""
        self._slow_until = max(self._slow_until, self._world.schedule.now + lasts)
        if self._client is not None and not self._behaviour.paused:
            self._slow_down(self._client)

    def expire_token(self, life: float) -> None:
        """Logs in anew, with a token that is good for `life` seconds only."""
        if self._client is None:
            return
        self._token, self._life = None, life
        self._announced, self._back = True, 0.0
        task = asyncio.create_task(self._client.close(), name="simulated browser closes")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _wake_up(self, client: DoorClient) -> None:
        if self._client is client:
            self._back = 0.0
            client.abort()

    def _disturb(self, until: float) -> None:
        """Nothing that is open, or is asked until then, may be blamed on the hub."""
        self.requests.disturbed_until = max(self.requests.disturbed_until, until)
        self._behaviour.paused = True
        self._behaviour.lost()

    def _slow_down(self, client: DoorClient) -> None:
        until = self._slow_until
        self._disturb(until + SIP)
        self._world.presence.slow(self.number, until)
        self._world.statuses.slow(self.number, until)
        client.hold()
        self._world.schedule.at(self._world.schedule.now + SIP, partial(self._sip, client))

    def _sip(self, client: DoorClient) -> None:
        if self._client is not client or self._silent:
            return
        now, schedule = self._world.schedule.now, self._world.schedule
        client.release()
        if now >= self._slow_until:
            self._behaviour.paused = False
            return
        schedule.at(now + SWALLOW, partial(self._hold, client))
        schedule.at(now + SIP, partial(self._sip, client))

    def _hold(self, client: DoorClient) -> None:
        if self._client is client:
            client.hold()

    # ---- the connection

    async def _live(self, intended: float) -> None:
        schedule, again = self._world.schedule, False
        self._behaviour.start(intended)
        while True:
            held = 0.0
            client = await self._try_log_in(intended)
            if client is not None:
                if again:
                    self._world.recorder.count("browsers.reconnects")
                again, since = True, schedule.real()
                self._world.recorder.time("login", (since - intended) * 1000)
                self._begin(client)
                await client.wait_closed()
                held = schedule.real() - since
                self._ended(client)
            delay = self._backoff.delay(held) if self._back is None else self._back
            self._back = None
            intended = schedule.real() + delay
            await self._until(intended)

    async def _try_log_in(self, intended: float) -> DoorClient | None:
        """A connection, or None: it did not work, which was counted."""
        fresh = self._token is None or self._world.schedule.real() >= self._expires
        why, fact = "", "browsers.refused"
        try:
            if fresh:
                self._token = await self._new_token()
            return await self._connect(self._token or "")
        except SignInRefused as error:
            why = str(error)
        except Refused as error:
            self._token = None
            if not fresh:  # it was good once, and the hub forgot it, or its session: a page asks for a new one
                self._back = 0.0
                return None
            why = f"the hub refused its token: {plain(str(error))}"
        except OperatorError as error:
            why = plain(str(error))
        except OSError as error:
            fact, why = "browsers.unreachable", f"no hub answers at {self._world.target.http} ({type(error).__name__})"
        except Exception as error:
            log.debug("a simulated browser failed", exc_info=True)
            self._world.recorder.error(f"simulator: {type(error).__name__}")
            return None
        self._reason, self._failed = why, True
        if self._world.restarting_until <= self._world.schedule.real():
            self._world.recorder.found(fact, f"{self._name} at {self._world.at(intended)}: {why}")
        return None

    async def _new_token(self) -> str:
        """A new token, by the scenario's way to log in."""
        world, life = self._world, self._life
        how = world.scenario.browsers.login
        if how == "token":
            token = world.credentials.browser(self._name, life)
        else:
            token, life = await sign_in(world.target.http or "", self._name, how, world.scenario.seed), TOKEN_LIFE
        self._life, self._expires = TOKEN_LIFE, world.schedule.real() + life
        self._behaviour.may(role_of(token))
        return token

    async def _connect(self, token: str) -> DoorClient:
        client: DoorClient
        client = self._kind(
            self._world.target.http or "",
            token=token,
            timeout=CONNECT_WITHIN,
            heartbeat=None,  # a browser's WebSocket sends none
            on_push=self._heard,
            on_malformed=self._malformed,
        )
        return await client.__aenter__()

    def _begin(self, client: DoorClient) -> None:
        schedule = self._world.schedule
        self._client, self._announced, self._silent, self._failed = client, False, False, False
        self._behaviour.paused = False
        self._watching.begin(client)
        if schedule.real() < self._slow_until:
            self._slow_down(client)
        overdue = self._expires + EXPIRY_TOLERANCE + self._world.scenario.settle + 2.0
        self._overdue = schedule.at(overdue, partial(self._overstayed, client))

    def _overstayed(self, client: DoorClient) -> None:
        if self._client is client and not self._silent and not self._behaviour.paused:
            self._world.recorder.error("browsers: still connected, long after the token expired")

    def _over(self) -> None:
        """There is no connection any more."""
        self._behaviour.lost()
        self._watching.end()
        self._client = None
        if self._overdue is not None:
            self._overdue.cancel()

    def _ended(self, client: DoorClient) -> None:
        now, world = self._world.schedule.real(), self._world
        slow = now < self._slow_until + world.scenario.settle
        expired = now >= self._expires - 2.0  # whole seconds, in a token
        if expired:
            self._token = None
        caused = self._announced or slow or expired or client.kicked is not None
        if not caused and now > world.restarting_until:
            evidence = f"{self._name} lost its connection at {self._world.at(now)}, close code {client.close_code}"
            world.recorder.found("browsers.disconnects", evidence)
        self.since, self._due, self._reason = now, now, f"close code {client.close_code}"
        self._failed = not caused
        if caused or now <= world.restarting_until:
            back = LONGEST_WAIT if self._back is None else self._back
            self._due = max(now + back, world.restarting_until) + world.scenario.settle
        self._silent = self._announced = False
        self._over()

    # ---- pushes

    def _heard(self, event: str, data: Any) -> None:
        if self._silent or self._client is None:
            return
        now = self._world.schedule.real()
        try:
            match event:
                case "batch-station-status-update":
                    self._watching.batch(data, now)
                case "station-connected" | "station-disconnected":
                    self._watching.presence(data, now, online=event == "station-connected")
                case "station-incoming-call":
                    self._watching.called(data, now)
                case "kicked":
                    evidence = f"{self._name} at {self._world.at(now)}: {plain(str(data['reason'])[:64])}"
                    self._world.recorder.found("browsers.kicked", evidence)
                    if data["reason"] == NEW_LOGIN:
                        said = f"{self._name} was taken over by another login: {self._world.rival}"
                        self._world.recorder.hint("browsers.kicked", said)
                case "exception" | "station-call-answered":
                    pass  # the ack says it, too; nor does it matter here who answered a call
                case _:
                    self._behaviour.heard(event, data, now)
        except (KeyError, TypeError, AttributeError, ValueError):
            log.debug("a push that could not be read", exc_info=True)
            self._world.recorder.error(f"browsers: malformed push {plain(event[:50])}")
        except Exception as error:
            log.debug("a push that could not be judged", exc_info=True)
            self._world.recorder.error(f"simulator: {type(error).__name__}")

    def _malformed(self) -> None:
        self._world.recorder.error("browsers: a message that is not of the protocol")

    # ---- helpers

    async def _until(self, when: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        timer = self._world.schedule.at(when, partial(_wake, woken))
        try:
            await woken
        finally:
            timer.cancel()


def _wake(waiting: "asyncio.Future[None]") -> None:
    if not waiting.done():
        waiting.set_result(None)
