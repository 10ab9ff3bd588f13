"""Whether a token is good now: its signature and times, the one valid session of its user, what was revoked of a station.

Every door asks here: MQTT, both WebSocket doors, HTTP. What an admission changes (a newer login ends the older) goes to the
services, which tell the other nodes, and to the database, which remembers it over a restart.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Final, Literal

import structlog

from devices.messages import UserRecord
from hub.auth import CLOCK_TOLERANCE, DAY, Identity, KeyUnknown, Role, TokenRefused, Tokens, station_key
from hub.credentials import Credentials
from hub.jwks import Jwks
from hub.sessions import ENDED, Effect, PublishUser, Sessions
from hub.store.database import StoreDown
from hub.store.sessions import StoredSessions

__all__ = ["Authenticator"]

log = structlog.get_logger(__name__)

RETRY: Final = 1.0
"""Seconds until sessions are written again, when the database was out of reach; twice as long each time."""
MAX_RETRY: Final = 30.0


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, StoreDown) else type(error).__name__


class Authenticator:
    """Decides who is who.

    Args:
        tokens: checks signatures and times.
        sessions: the valid session of each user; shared with the services.
        credentials: device keys, and what was revoked.
        jwks: fetches keys that are not known yet; None: there is nowhere to ask.
        store: remembers sessions; None: they end with the process.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        tokens: Tokens,
        *,
        sessions: Sessions | None = None,
        credentials: Credentials | None = None,
        jwks: Jwks | None = None,
        store: StoredSessions | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.tokens, self.sessions = tokens, sessions or Sessions()
        self.credentials = credentials or Credentials()
        self._jwks, self._store, self._clock = jwks, store, clock
        self._changed: Callable[[Sequence[Effect]], None] | None = None
        self._early: list[Effect] = []
        self._unsaved: dict[str, UserRecord] = {}
        self._to_save = asyncio.Event()
        self._saving: asyncio.Task[None] | None = None

    # ---- life

    async def start(self) -> None:
        """Reads what is remembered. Raises StoreDown."""
        if self._store is not None:
            for user_id, record in (await self._store.load()).items():
                self.sessions.apply(user_id, record)
            self._saving = asyncio.create_task(self._save(), name="sessions")
        if self._jwks is not None:
            await self._jwks.start()

    async def stop(self) -> None:
        """Writes what is not written yet."""
        if self._jwks is not None:
            await self._jwks.stop()
        if self._saving is not None:
            self._saving.cancel()
            await asyncio.gather(self._saving, return_exceptions=True)
        if self._store is not None and self._unsaved:
            try:
                await self._store.save(self._unsaved)
            except Exception as error:  # what else there is to stop must still be stopped
                log.error("sessions not remembered", sessions=len(self._unsaved), reason=_reason(error))

    def watch(self, changed: Callable[[Sequence[Effect]], None]) -> None:
        """`changed` is told what an admission changes, also of those so far."""
        self._changed = changed
        early, self._early = self._early, []
        changed(early)

    # ---- who is who

    def authenticate(self, token: str | None) -> Identity:
        """The identity of a token that is good now.

        Raises:
            TokenRefused: none, bad, expired, revoked.
            KeyUnknown: a TokenRefused that `authenticate_waiting` might take.
            SessionMismatch: a newer login of its user exists.
        """
        identity = self.tokens.verify(token)
        if self.credentials.refuses(identity):
            raise TokenRefused("Unauthorized")
        effects = self.sessions.admit(identity)
        if effects:
            self._carry_out(effects)
        return identity

    async def authenticate_waiting(self, token: str | None) -> Identity:
        """As `authenticate`; asks the issuer for its keys when the token names one that is not known."""
        try:
            return self.authenticate(token)
        except KeyUnknown:
            if self._jwks is None:
                raise
            await self._jwks.refresh()
            return self.authenticate(token)

    def station_with_key(self, station_id: str, key: str) -> Identity | None:
        """The identity of a station that shows its device key; None: that is not its key.

        It is as old as the key: one that is being replaced may still be taken, but what it opened is cut off then.
        """
        valid_from = self.credentials.opened_by(station_id, key)
        return None if valid_from is None else self.station_named(station_id, issued_at=valid_from)

    def station_named(self, station_id: str, *, issued_at: float | None = None) -> Identity:
        """The identity of a station that has shown a certificate. `issued_at`: seconds since 1970; None: now."""
        return Identity(
            user_id=station_key(station_id),
            type="station",
            role="station",
            station_id=station_id,
            issued_at=self._clock() if issued_at is None else issued_at,
            issuer_is_us=True,
        )

    # ---- sessions

    async def sign_in(
        self,
        user_id: str,
        *,
        role: Role | None,
        type: Literal["guest", "registered"] = "registered",
        nickname: str = "",
        lifetime: float = DAY,
    ) -> str:
        """A token of a new session, which ends the user's older one. `lifetime` in seconds. Raises StoreDown."""
        session_id = secrets.token_hex(16)
        token = self.tokens.mint_user(
            user_id, role=role, type=type, nickname=nickname, lifetime=lifetime, session_id=session_id
        )
        if type == "registered":
            await self._begin(user_id, session_id)
        return token

    async def end_sessions(self, user_id: str) -> None:
        """Every token that the user has is no good from now on. Raises StoreDown."""
        await self._begin(user_id, ENDED + secrets.token_hex(16))

    async def _begin(self, user_id: str, session_id: str) -> None:
        """Makes a session the user's newest, whatever the clocks say that issued those before."""
        known = self.sessions.newest(user_id)
        after = 0.0 if known is None else known.issued_at
        while True:
            record = UserRecord(session_id=session_id, issued_at=round(max(self._clock(), after + 0.001), 3))
            # another node may have written a newer one, by a clock that is ahead
            standing = record if self._store is None else (await self._store.save({user_id: record}))[user_id]
            if standing == record:
                self._tell(self.sessions.replace(user_id, record))
                return
            after = standing.issued_at

    async def prune(self) -> None:
        """Forgets of guests who left that they did, once no token of theirs can be good any more. Raises StoreDown."""
        old = self.sessions.ended_guests(before=self._clock() - DAY - 2 * CLOCK_TOLERANCE)
        if old and self._store is not None:
            await self._store.forget(old)
        self._tell([effect for user_id in old for effect in self.sessions.forget(user_id)])

    def _carry_out(self, effects: Sequence[Effect]) -> None:
        """What an admission changed: to be written down, and told."""
        if self._store is not None:
            self._unsaved.update((one.user_id, one.record) for one in effects if isinstance(one, PublishUser))
            self._to_save.set()
        self._tell(effects)

    def _tell(self, effects: Sequence[Effect]) -> None:
        if self._changed is not None:
            self._changed(effects)
        else:
            self._early += effects

    async def _save(self) -> None:
        """Writes what was admitted, as it comes; what cannot be written waits."""
        assert self._store is not None
        wait = RETRY
        while True:
            await self._to_save.wait()
            self._to_save.clear()
            saving = dict(self._unsaved)
            try:
                await self._store.save(saving)
            except StoreDown:  # which the database has told
                self._to_save.set()
                await asyncio.sleep(wait)
                wait = min(2 * wait, MAX_RETRY)
                continue
            except Exception:
                # one of them is refused: it must not hold up the others
                for user_id, record in saving.items():
                    await self._save_one(self._store, user_id, record)
            wait = RETRY
            for user_id, record in saving.items():
                if self._unsaved.get(user_id) is record:
                    del self._unsaved[user_id]

    @staticmethod
    async def _save_one(store: StoredSessions, user_id: str, record: UserRecord) -> None:
        try:
            await store.save({user_id: record})
        except Exception as error:
            log.error("a session is not remembered over a restart", reason=type(error).__name__)
