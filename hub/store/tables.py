"""The tables, for SQLite and PostgreSQL alike. A change here is a new file in `hub/store/migrations/versions/`, too.

Times named `..._at` are milliseconds since 1970; `issued_at` and `valid_from` are seconds, as in tokens.
"""

from typing import Any, Final

from sqlalchemy import JSON, BigInteger, Double, Index, Integer, LargeBinary, MetaData, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = ["AccountRow", "AuditRow", "Base", "CommandRow", "CredentialRow", "SessionRow", "StationRow"]

NAMES: Final = {"ix": "ix_%(table_name)s_%(column_0_name)s", "uq": "uq_%(table_name)s_%(column_0_name)s"}


class Base(DeclarativeBase):
    """Base of all tables."""

    metadata = MetaData(naming_convention=NAMES)


class AccountRow(Base):
    """A person who logs in with a password."""

    __tablename__ = "accounts"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    email: Mapped[str] = mapped_column(String(254), unique=True)
    nickname: Mapped[str] = mapped_column(String(64))
    password_hash: Mapped[str] = mapped_column(String(256))
    role: Mapped[str] = mapped_column(String(16))
    disabled: Mapped[bool]
    created_at: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[int] = mapped_column(BigInteger)


class SessionRow(Base):
    """The one valid session of a user, whoever issued it; greater (issued_at, session_id) is newer."""

    __tablename__ = "sessions"

    user_id: Mapped[str] = mapped_column(String(128), primary_key=True)
    session_id: Mapped[str] = mapped_column(String(128))
    issued_at: Mapped[float] = mapped_column(Double)


class StationRow(Base):
    """A station that somebody entered."""

    __tablename__ = "stations"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(128))
    location: Mapped[str] = mapped_column(String(256))
    tags: Mapped[list[str]] = mapped_column(JSON)
    cameras: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    created_at: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[int] = mapped_column(BigInteger)


class CredentialRow(Base):
    """What a station logs in with; outlives the station's row, so that what was revoked stays revoked.

    `key_hash`: SHA-256 of the device key; None: it has none. `valid_from`: what was issued before is no good.
    """

    __tablename__ = "credentials"

    station_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    key_hash: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    valid_from: Mapped[float] = mapped_column(Double)


class CommandRow(Base):
    """A command that was sent over HTTP, and what came of it. `stage`: sent, done, error, timeout or expired."""

    __tablename__ = "commands"
    __table_args__ = (Index(None, "station_id", "created_at"), Index(None, "created_at"))

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    station_id: Mapped[str] = mapped_column(String(64))
    type: Mapped[str] = mapped_column(String(64))
    params: Mapped[Any] = mapped_column(JSON)
    requested_by: Mapped[str] = mapped_column(String(128))
    stage: Mapped[str] = mapped_column(String(16))
    delivered: Mapped[bool | None]
    result: Mapped[Any] = mapped_column(JSON)
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[int] = mapped_column(BigInteger)
    deadline_at: Mapped[int] = mapped_column(BigInteger)
    finished_at: Mapped[int | None] = mapped_column(BigInteger)


class AuditRow(Base):
    """Who changed what, and when; rows are only ever added, and old ones pruned."""

    __tablename__ = "audit"
    __table_args__ = (Index(None, "at"),)

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)
    at: Mapped[int] = mapped_column(BigInteger)
    actor: Mapped[str] = mapped_column(String(128))
    nickname: Mapped[str] = mapped_column(String(64))
    address: Mapped[str] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(32))
    target: Mapped[str] = mapped_column(String(128))
    detail: Mapped[dict[str, Any]] = mapped_column(JSON)
