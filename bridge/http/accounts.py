"""What `/auth` and `/users` share: the accounts, the caller's address, and what is answered when something cannot be done."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Final

from fastapi import Depends, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from pydantic import Field

from hub.account_rules import (
    EMAIL,
    EMAIL_MAX,
    NICKNAME,
    NICKNAME_MAX,
    PASSWORD_MAX,
    PASSWORD_MIN,
    Account,
    EmailTaken,
    LastAdmin,
    Malformed,
    NoSuchAccount,
    NotOffered,
    WrongLogin,
    identity_of_account,
)
from hub.accounts import Accounts, Also, Session
from hub.audit import Audit
from hub.auth import Identity
from hub.passwords import Busy
from hub.throttle import Throttled

__all__ = [
    "TAKEN",
    "WRONG",
    "AccountsOf",
    "AddressOf",
    "Email",
    "Nickname",
    "Password",
    "noted",
    "refusals",
    "unauthorized",
]

WRONG: Final = "该用户不存在或密码错误"
TAKEN: Final = "该用户已注册，请前往登录"

Email = Annotated[str, Field(max_length=EMAIL_MAX, pattern=EMAIL, examples=["ann@example.com"])]
Nickname = Annotated[str, Field(min_length=1, max_length=NICKNAME_MAX, pattern=NICKNAME)]
Password = Annotated[str, Field(min_length=PASSWORD_MIN, max_length=PASSWORD_MAX)]


async def accounts_of(request: Request) -> Accounts:
    """The accounts that the application was made with."""
    accounts: Accounts = request.app.state.accounts
    return accounts


async def address_of(request: Request) -> str:
    """Where the caller is; behind a trusted proxy, what that says."""
    return request.client.host if request.client is not None else ""


AccountsOf = Annotated[Accounts, Depends(accounts_of)]
AddressOf = Annotated[str, Depends(address_of)]


def unauthorized(message: str = "Unauthorized") -> HTTPException:
    """401."""
    return HTTPException(401, message, {"WWW-Authenticate": "Bearer"})


def noted(request: Request, identity: Identity | None, address: str, action: str, detail: Mapping[str, Any]) -> Also:
    """Writes a change to the audit, in the transaction of the change. `identity` None: the owner of the account did it."""
    audit: Audit = request.app.state.audit

    async def note(session: Session, account: Account) -> None:
        by = identity or identity_of_account(account)
        await audit.record(by, address, action, account.user_id, {"email": account.email, **detail}, session=session)

    return note


@contextmanager
def refusals(*, taken: int = 409) -> Iterator[None]:
    """What the accounts refuse, as an HTTP error.

    Args:
        taken: the status of an email that has an account; the old system said 401.
    """
    try:
        yield
    except WrongLogin:
        raise unauthorized(WRONG) from None
    except EmailTaken:
        raise HTTPException(taken, TAKEN, {"WWW-Authenticate": "Bearer"} if taken == 401 else None) from None
    except NotOffered as error:
        raise HTTPException(403, f"This hub takes no {error}") from None
    except NoSuchAccount:
        raise HTTPException(404, "There is no such user") from None
    except LastAdmin:
        raise HTTPException(409, "The last admin cannot be deleted, demoted or disabled") from None
    except Malformed as error:
        field, _, why = str(error).partition(": ")
        raise RequestValidationError([{"type": "value_error", "loc": ("body", field), "msg": why}]) from None
    except Throttled as error:
        raise HTTPException(429, "Too many attempts", {"Retry-After": str(math.ceil(error.seconds))}) from None
    except Busy as error:
        raise HTTPException(503, "Too many log in now", {"Retry-After": str(math.ceil(error.seconds))}) from None
