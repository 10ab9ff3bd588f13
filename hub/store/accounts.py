"""Questions to the table of accounts, each within the transaction of who asks."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from hub.account_rules import EmailTaken
from hub.store.tables import AccountRow

__all__ = ["SORTS", "Session", "add", "admins", "by_email", "by_id", "has_admin", "lock", "page"]

Session = AsyncSession
"""A transaction, for who has nothing else to do with SQLAlchemy."""
SORTS: Final[Mapping[str, InstrumentedAttribute[Any]]] = {
    "email": AccountRow.email,
    "nickname": AccountRow.nickname,
    "role": AccountRow.role,
    "createdAt": AccountRow.created_at,
}
"""What a list may be sorted by; with a `-` before it, downwards."""


async def add(session: AsyncSession, row: AccountRow) -> None:
    """A new account. Raises EmailTaken: somebody else was faster, and nothing more can be done in this transaction."""
    session.add(row)
    try:
        await session.flush()
    except IntegrityError:
        raise EmailTaken from None


async def by_email(session: AsyncSession, email: str) -> AccountRow | None:
    """The account of a normalised address."""
    return (await session.scalars(select(AccountRow).where(AccountRow.email == email))).one_or_none()


async def by_id(session: AsyncSession, user_id: str) -> AccountRow | None:
    """The account of that id."""
    return await session.get(AccountRow, user_id)


async def lock(session: AsyncSession, user_id: str) -> AccountRow | None:
    """As `by_id`; nobody else changes it before this transaction ends."""
    return await session.get(AccountRow, user_id, with_for_update=True, populate_existing=True)


async def has_admin(session: AsyncSession) -> bool:
    """Whether there is an admin at all, disabled or not."""
    return await session.scalar(select(AccountRow.id).where(AccountRow.role == "admin").limit(1)) is not None


async def admins(session: AsyncSession) -> list[str]:
    """Ids of the admins who may log in; none of them changes before this transaction ends.

    To be asked before any account is locked: always in this order, two transactions never wait for each other.
    """
    wanted = (AccountRow.role == "admin", AccountRow.disabled.is_(False))
    return list(await session.scalars(select(AccountRow.id).where(*wanted).order_by(AccountRow.id).with_for_update()))


async def page(
    session: AsyncSession, *, q: str | None, role: str | None, sort: str, limit: int, offset: int
) -> tuple[list[AccountRow], int]:
    """One page of accounts, and how many there are in all.

    Args:
        q: a part of the email or nickname.
        sort: one of `SORTS`, with or without `-`; those alike are in the order of their ids.
    """
    found = select(AccountRow)
    if q:
        found = found.where(
            or_(*(one.icontains(q, autoescape=True) for one in (AccountRow.email, AccountRow.nickname)))
        )
    if role:
        found = found.where(AccountRow.role == role)
    column = SORTS[sort.removeprefix("-")]
    order = column.desc() if sort.startswith("-") else column.asc()
    total = await session.scalar(select(func.count()).select_from(found.subquery()))
    rows = await session.scalars(found.order_by(order, AccountRow.id).limit(limit).offset(offset))
    return list(rows), total or 0
