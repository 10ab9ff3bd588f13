"""Accounts: people who log in with an email and a password, and what admins do about them (contract.md section 5).

What goes wrong is a `hub.account_rules.AccountError`, a `hub.throttle.Throttled`, a `hub.passwords.Busy` or a
`hub.store.database.StoreDown`.
"""

import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Final, NamedTuple
from unicodedata import normalize

from devices.clock import Clock
from hub.account_rules import (
    PASSWORD_MAX,
    Account,
    EmailTaken,
    LastAdmin,
    Malformed,
    NoSuchAccount,
    NotOffered,
    WrongLogin,
    check_nickname,
    check_password,
    normal_email,
)
from hub.auth import ROLES, Role
from hub.passwords import Busy, Passwords
from hub.store import accounts as query
from hub.store.accounts import Session
from hub.store.database import Database, StoreDown
from hub.store.tables import AccountRow
from hub.throttle import Attempt, Throttle

__all__ = ["Account", "Accounts", "Also", "FirstAdmin", "Session"]

FIRST_ADMIN: Final = "admin"

Also = Callable[[Session, Account], Awaitable[None]]
"""What else is done in the transaction of a change, for example to note it in the audit."""


class FirstAdmin(NamedTuple):
    """An account that was made because there was no admin."""

    email: str
    password: str


class Accounts:
    """All accounts, and the only way to them.

    Args:
        guests: anybody may sign in as a guest.
        registration: anybody may make an account.
    """

    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        throttle: Throttle,
        clock: Clock,
        *,
        guests: bool = True,
        registration: bool = True,
    ) -> None:
        self.guests, self.registration = guests, registration
        self._database, self._passwords, self._throttle, self._clock = database, passwords, throttle, clock

    # ---- coming in

    @contextmanager
    def attempt(self, address: str, subject: str | None = None) -> Iterator[Attempt]:
        """Counts what is done in it as one attempt to log in, before it is done.

        Args:
            address: where it comes from.
            subject: whose secret is tried; None: nobody's.

        Raises:
            Throttled: too many; the block is not run.
        """
        attempt = self._throttle.take(self._clock.monotonic(), address, subject)
        try:
            yield attempt
        except (StoreDown, Busy):
            attempt.undone()
            raise
        attempt.succeeded()

    def guest(self, address: str) -> None:
        """Somebody wants to be a guest. Raises NotOffered, Throttled."""
        if not self.guests:
            raise NotOffered("guests")
        with self.attempt(address):
            pass

    async def register(
        self, email: str, password: str, nickname: str, address: str, *, also: Also | None = None
    ) -> Account:
        """Makes an account with the rights of a viewer.

        Raises:
            NotOffered, Malformed, EmailTaken, Throttled, Busy, StoreDown.
        """
        if not self.registration:
            raise NotOffered("registration")
        with self.attempt(address):
            account = await self.add(email, password, nickname, "viewer", also=also)
        self._throttle.trust(address, account.email)
        return account

    async def login(self, email: str, password: str, address: str) -> Account:
        """The account of somebody who knows its password; the same work whether there is one or not.

        Before its answer is used to sign somebody in, see `still`.

        Raises:
            WrongLogin, Throttled, Busy, StoreDown.
        """
        normal = normal_email(email)
        with self.attempt(address, normal) as attempt:
            row = None
            if normal is not None:
                async with self._database.reading() as session:
                    row = await query.by_email(session, normal)
            return await self._prove(row, password, first=attempt.is_trusted)

    async def change_password(
        self, user_id: str, old: str, new: str, address: str, *, also: Also | None = None
    ) -> Account:
        """A person replaces their own password; their other sessions are the caller's to end.

        Raises:
            NoSuchAccount, Malformed, WrongLogin, Throttled, Busy, StoreDown.
        """
        check_password(new)
        email = (await self.by_id(user_id)).email
        with self.attempt(address, email):
            async with self._database.reading() as session:
                row = await query.by_id(session, user_id)
            await self._prove(row, old)
            assert row is not None  # proven
            return await self._set_password(row, await self._passwords.hash(new), also=also)

    async def _prove(self, row: AccountRow | None, password: str, *, first: bool = True) -> Account:
        """`first`: see `Passwords.verify`. Raises WrongLogin, Busy, StoreDown."""
        tried = password if len(password) <= PASSWORD_MAX else ""
        right = await self._passwords.verify(row.password_hash if row else None, tried, first=first)
        if row is None or not right or not tried or row.disabled:
            raise WrongLogin
        if self._passwords.is_outdated(row.password_hash):
            try:
                better = await self._passwords.hash(password)
            except Busy:
                return _account(row)  # another time
            return await self._set_password(row, better, renewed=True)
        return _account(row)

    async def _set_password(
        self, row: AccountRow, kept: str, *, renewed: bool = False, also: Also | None = None
    ) -> Account:
        """Replaces the hash that was proven, unless somebody did meanwhile. Raises WrongLogin.

        Args:
            renewed: it is the same password.
        """
        async with self._database.session() as session:
            now = await query.lock(session, row.id)
            if now is not None and now.password_hash == row.password_hash and not now.disabled:
                now.password_hash = kept
                if not renewed:
                    self._touch(now)
                await session.flush()
                if also is not None:
                    await also(session, _account(now))
                return _account(now)
        if renewed:
            return _account(row)
        raise WrongLogin

    async def still(self, account: Account) -> Account:
        """An account as it is now: to be asked after its owner was signed in with what was read.

        An admin who disables it meanwhile ends its sessions afterwards: either this sees the change, or that ends the session.

        Raises:
            WrongLogin: it is disabled, deleted, or has another password.
            StoreDown: the database cannot be reached.
        """
        try:
            now = await self.by_id(account.user_id)
        except NoSuchAccount:
            raise WrongLogin from None
        if now.disabled or now.password_hash != account.password_hash:
            raise WrongLogin
        return now

    # ---- what admins do

    async def by_id(self, user_id: str) -> Account:
        """The account of that id. Raises NoSuchAccount, StoreDown."""
        async with self._database.reading() as session:
            return _account(_there(await query.by_id(session, user_id)))

    async def list(
        self, *, q: str | None = None, role: Role | None = None, limit: int = 50, offset: int = 0, sort: str = "email"
    ) -> tuple[list[Account], int]:
        """One page of accounts, and how many there are in all; see `hub.store.accounts.page`. Raises StoreDown."""
        wanted = normalize("NFC", q) if q else None
        async with self._database.reading() as session:
            rows, total = await query.page(session, q=wanted, role=role, sort=sort, limit=limit, offset=offset)
        return [_account(row) for row in rows], total

    async def add(self, email: str, password: str, nickname: str, role: Role, *, also: Also | None = None) -> Account:
        """Makes an account.

        Raises:
            Malformed, EmailTaken, Busy, StoreDown.
        """
        normal = normal_email(email)
        if normal is None:
            raise Malformed("email: not an address that can be used")
        check_password(password)
        check_nickname(nickname)
        async with self._database.reading() as session:
            if await query.by_email(session, normal) is not None:
                raise EmailTaken
        kept = await self._passwords.hash(password)
        now = self._clock.wall_ms()
        row = AccountRow(
            id=f"u-{secrets.token_hex(8)}",
            email=normal,
            nickname=nickname,
            password_hash=kept,
            role=role,
            disabled=False,
            created_at=now,
            updated_at=now,
        )
        async with self._database.session() as session:
            await query.add(session, row)
            if also is not None:
                await also(session, _account(row))
        return _account(row)

    async def change(
        self,
        user_id: str,
        *,
        nickname: str | None = None,
        role: Role | None = None,
        disabled: bool | None = None,
        password: str | None = None,
        also: Also | None = None,
    ) -> Account:
        """Changes what is given; the sessions of who has another role or password are the caller's to end.

        Args:
            also: not called when everything is so already.

        Raises:
            NoSuchAccount, LastAdmin, Malformed, Busy, StoreDown.
        """
        if nickname is not None:
            check_nickname(nickname)
        kept = None
        if password is not None:
            check_password(password)
            await self.by_id(user_id)  # no work for nobody
            kept = await self._passwords.hash(password)
        lowers = role not in (None, "admin") or disabled is True
        async with self._database.session() as session:
            row = await self._locked(session, user_id, lowers=lowers)
            given = {"nickname": nickname, "role": role, "disabled": disabled, "password_hash": kept}
            changed = {
                name: value for name, value in given.items() if value is not None and value != getattr(row, name)
            }
            if not changed:
                return _account(row)
            for name, value in changed.items():
                setattr(row, name, value)
            self._touch(row)
            account = _account(row)
            await session.flush()
            if also is not None:
                await also(session, account)
        return account

    async def delete(self, user_id: str, *, also: Also | None = None) -> Account:
        """Forgets an account; gives what it was.

        Raises:
            NoSuchAccount, LastAdmin, StoreDown.
        """
        async with self._database.session() as session:
            row = await self._locked(session, user_id, lowers=True)
            account = _account(row)
            await session.delete(row)
            await session.flush()
            if also is not None:
                await also(session, account)
        return account

    async def first_admin(self, *, also: Also | None = None) -> FirstAdmin | None:
        """Makes an admin when there is none; gives the email and the password, which is kept nowhere. Raises StoreDown, Busy.

        Of several hubs that start at once, one makes it.
        """
        password = secrets.token_urlsafe(15)
        for number in count(1):
            async with self._database.reading() as session:
                if await query.has_admin(session):
                    return None
            try:
                # somebody who is no admin may have the name already
                email = f"{FIRST_ADMIN}{number if number > 1 else ''}@localhost"
                return FirstAdmin((await self.add(email, password, "Admin", "admin", also=also)).email, password)
            except EmailTaken:
                continue
        raise AssertionError

    async def _locked(self, session: Session, user_id: str, *, lowers: bool) -> AccountRow:
        """An account to be changed; `lowers`: it may be an admin's no more. Raises NoSuchAccount, LastAdmin."""
        admins = await query.admins(session) if lowers else []
        row = _there(await query.lock(session, user_id))
        if admins == [user_id]:
            raise LastAdmin
        return row

    def _touch(self, row: AccountRow) -> None:
        row.updated_at = max(self._clock.wall_ms(), row.updated_at + 1)


def _there(row: AccountRow | None) -> AccountRow:
    if row is None:
        raise NoSuchAccount
    return row


def _account(row: AccountRow) -> Account:
    return Account(
        user_id=row.id,
        email=row.email,
        nickname=row.nickname,
        role=next((role for role in ROLES if role == row.role), "viewer"),
        disabled=row.disabled,
        created_at=row.created_at,
        updated_at=row.updated_at,
        password_hash=row.password_hash,
    )
