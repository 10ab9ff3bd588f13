"""`/audit`: who changed what, and when, for admins."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from bridge.http.accounts import AddressOf
from bridge.http.errors import responses
from bridge.http.identity import Admin
from bridge.http.paging import PRINTABLE, Limit, Offset
from devices.messages import Message
from hub.audit import Audit, Author
from hub.store.audit import AuditFilter
from hub.store.tables import AuditRow

__all__ = ["AuthorOf", "router"]

router = APIRouter(prefix="/audit", tags=["audit"])


async def audit_of(request: Request) -> Audit:
    """The audit that the application was made with."""
    audit: Audit = request.app.state.audit
    return audit


async def author_of(identity: Admin, address: AddressOf) -> Author:
    """The admin who asks, and where from."""
    return Author(identity, address)


AuditOf = Annotated[Audit, Depends(audit_of)]
AuthorOf = Annotated[Author, Depends(author_of)]
Text = Annotated[str, Field(max_length=128, pattern=PRINTABLE)] | SkipJsonSchema[None]
Millis = Annotated[int, Field(ge=0, le=2**53)] | SkipJsonSchema[None]


class AuditEntry(Message):
    """One change: `actor` is a user id; `at` is in milliseconds since 1970."""

    id: int
    at: int
    actor: str
    nickname: str
    address: str
    action: str
    target: str
    detail: dict[str, Any]


class AuditPage(Message):
    """Some of the entries, newest first."""

    items: list[AuditEntry]
    total: Annotated[int, Field(description="How many match in all.")]
    limit: int
    offset: int


@router.get("", responses=responses(400, 401, 403, 503))
async def list_audit(
    audit: AuditOf,
    _: Admin,
    actor: Text = None,
    action: Text = None,
    target: Text = None,
    since: Millis = None,
    until: Millis = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> AuditPage:
    """Changes of stations and users, newest first; `since` (included) and `until` (not) in milliseconds since 1970."""
    which = AuditFilter(actor=actor, action=action, target=target, since=since, until=until)
    rows, total = await audit.entries(which, limit=limit, offset=offset)
    return AuditPage(items=[_entry(row) for row in rows], total=total, limit=limit, offset=offset)


def _entry(row: AuditRow) -> AuditEntry:
    return AuditEntry(
        id=row.id,
        at=row.at,
        actor=row.actor,
        nickname=row.nickname,
        address=row.address,
        action=row.action,
        target=row.target,
        detail=row.detail,
    )
