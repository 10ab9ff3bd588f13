"""`/users`: accounts, for admins. What takes away rights ends the user's sessions, on every door."""

from typing import Annotated, Literal, Self

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel

from bridge.http.accounts import AccountsOf, AddressOf, Email, Nickname, Password, noted, refusals
from bridge.http.auth import Body
from bridge.http.errors import responses
from bridge.http.identity import Admin, GatewayOf
from bridge.http.paging import PRINTABLE, Limit, Offset
from hub.account_rules import Account

__all__ = ["router"]

router = APIRouter(prefix="/users", tags=["users"])

UserRole = Literal["viewer", "operator", "admin"]
Sort = Literal["email", "-email", "nickname", "-nickname", "role", "-role", "createdAt", "-createdAt"]
UserId = Annotated[str, Path(pattern=r"^[A-Za-z0-9-]{1,64}$", examples=["u-0123456789abcdef"])]


class User(BaseModel):
    """An account; times are milliseconds since 1970."""

    id: str
    email: str
    nickname: str
    role: str
    disabled: bool
    createdAt: int
    updatedAt: int

    @classmethod
    def of(cls, account: Account) -> Self:
        return cls(
            id=account.user_id,
            email=account.email,
            nickname=account.nickname,
            role=account.role,
            disabled=account.disabled,
            createdAt=account.created_at,
            updatedAt=account.updated_at,
        )


class Users(BaseModel):
    """One page; `total` counts all that match."""

    items: list[User]
    total: int
    limit: int
    offset: int


class NewUser(Body):
    """An account that an admin makes."""

    email: Email
    password: Password
    nickname: Nickname
    role: UserRole = "viewer"


class UserChange(Body):
    """What is to change; null, as what is not there, leaves it as it is."""

    nickname: Nickname | None = None
    role: UserRole | None = None
    disabled: bool | None = None
    password: Password | None = None


@router.get("", responses=responses(400, 401, 403, 503))
async def list_users(
    accounts: AccountsOf,
    _: Admin,
    q: Annotated[
        str | None, Query(max_length=254, pattern=PRINTABLE, description="A part of the email or nickname.")
    ] = None,
    role: UserRole | None = None,
    limit: Limit = 50,
    offset: Offset = 0,
    sort: Sort = "email",
) -> Users:
    """Accounts, a page at a time."""
    found, total = await accounts.list(q=q, role=role, limit=limit, offset=offset, sort=sort)
    return Users(items=[User.of(account) for account in found], total=total, limit=limit, offset=offset)


@router.post("", status_code=201, responses=responses(400, 401, 403, 409, 503))
async def create_user(request: Request, accounts: AccountsOf, address: AddressOf, who: Admin, body: NewUser) -> User:
    """Makes an account."""
    note = noted(request, who, address, "user.create", {"role": body.role})
    with refusals():
        return User.of(await accounts.add(body.email, body.password, body.nickname, body.role, also=note))


@router.get("/{user_id}", responses=responses(400, 401, 403, 404, 503))
async def read_user(accounts: AccountsOf, _: Admin, user_id: UserId) -> User:
    """One account."""
    with refusals():
        return User.of(await accounts.by_id(user_id))


@router.patch("/{user_id}", responses=responses(400, 401, 403, 404, 409, 503))
async def change_user(
    request: Request,
    gateway: GatewayOf,
    accounts: AccountsOf,
    address: AddressOf,
    who: Admin,
    user_id: UserId,
    body: UserChange,
) -> User:
    """Changes an account. A role, a password, or `disabled: true` ends the user's sessions.

    Also when it was so before: what failed half-way can be sent again.
    """
    given = body.model_dump(exclude_none=True)
    # that there is another password, never which
    told = {name: value if name != "password" else True for name, value in given.items()}
    note = noted(request, who, address, "user.change", told)
    with refusals():
        account = await accounts.change(user_id, **given, also=note)
    if body.role or body.password or body.disabled:
        await gateway.authenticator.end_sessions(user_id)
    return User.of(account)


@router.delete("/{user_id}", responses=responses(400, 401, 403, 404, 409, 503))
async def delete_user(
    request: Request, gateway: GatewayOf, accounts: AccountsOf, address: AddressOf, who: Admin, user_id: UserId
) -> User:
    """Forgets an account; answers what it was."""
    with refusals():
        was = await accounts.by_id(user_id)
        # nobody signs in between the end of its sessions and its own; and what fails half-way can be sent again
        note = noted(request, who, address, "user.change", {"disabled": True})
        await accounts.change(user_id, disabled=True, also=note)
        await gateway.authenticator.end_sessions(user_id)
        await accounts.delete(user_id, also=noted(request, who, address, "user.delete", {}))
    return User.of(was)
