"""What an account is, what may be in it, and what can go wrong with one. Pure.

AccountError
  WrongLogin       no such account, another password, or a disabled account: which, nobody is told
  EmailTaken       there is an account of that address
  NotOffered       this hub takes no guests, or no registrations
  NoSuchAccount    there is none of that id
  LastAdmin        the change would leave nobody to undo it
  Malformed        a value that cannot be; says which, and why
"""

import re
from dataclasses import dataclass, field
from typing import Final
from unicodedata import normalize

from hub.auth import Identity, Role

__all__ = [
    "EMAIL",
    "EMAIL_MAX",
    "NICKNAME",
    "NICKNAME_MAX",
    "PASSWORD_MAX",
    "PASSWORD_MIN",
    "Account",
    "AccountError",
    "EmailTaken",
    "LastAdmin",
    "Malformed",
    "NoSuchAccount",
    "NotOffered",
    "WrongLogin",
    "check_nickname",
    "check_password",
    "identity_of_account",
    "normal_email",
]

_HIDDEN: Final = (
    r"\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    r"\u2800\u3164\ufeff\uffa0\ufff9-\ufffb"
)
"""Control characters, and what cannot be seen or turns the text around it: names must not look like others."""
EMAIL: Final = rf"^[^@\s\u200c\u200d{_HIDDEN}]+@[^@\s\u200c\u200d{_HIDDEN}]+$"
NICKNAME: Final = rf"^[^{_HIDDEN}]*[^\s{_HIDDEN}][^{_HIDDEN}]*$"
EMAIL_MAX: Final = 254
NICKNAME_MAX: Final = 64
PASSWORD_MIN: Final = 8
PASSWORD_MAX: Final = 256
"""Characters; of passwords that are set. To log in anything may be tried."""
_EMAIL: Final = re.compile(EMAIL.removesuffix("$") + r"\Z")
_NICKNAME: Final = re.compile(NICKNAME.removesuffix("$") + r"\Z")


class AccountError(Exception):
    """Something about an account that cannot be done."""


class WrongLogin(AccountError):
    """Email and password are not those of an account that may log in."""


class EmailTaken(AccountError):
    """There is an account of that address."""


class NotOffered(AccountError):
    """The hub was started without it."""


class NoSuchAccount(AccountError):
    """There is no account of that id."""


class LastAdmin(AccountError):
    """The last admin who may log in can be neither deleted, demoted nor disabled."""


class Malformed(AccountError):
    """A value that cannot be; `str()` names it and says why, and does not repeat it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A person with a password.

    Attributes:
        email: as it is compared, in lower case.
        created_at, updated_at: milliseconds since 1970; no two versions of an account have the same `updated_at`.
    """

    user_id: str
    email: str
    nickname: str
    role: Role
    disabled: bool
    created_at: int
    updated_at: int
    password_hash: str = field(default="", repr=False, compare=False)


def identity_of_account(account: Account) -> Identity:
    """The owner of an account, as the audit knows it."""
    return Identity(user_id=account.user_id, type="registered", role=account.role, nickname=account.nickname)


def normal_email(email: str) -> str | None:
    """An address as it is compared: NFC, lower case; None for what is none."""
    if len(email) > EMAIL_MAX or not _is_text(email):
        return None
    normal = normalize("NFC", normalize("NFC", email).lower())
    return normal if len(normal) <= EMAIL_MAX and _EMAIL.match(normal) else None


def check_nickname(nickname: str) -> None:
    """Raises Malformed."""
    if len(nickname) > NICKNAME_MAX or not _is_text(nickname) or not _NICKNAME.match(nickname):
        raise Malformed(f"nickname: 1 to {NICKNAME_MAX} characters that can be seen")


def check_password(password: str) -> None:
    """Raises Malformed."""
    if not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
        raise Malformed(f"password: {PASSWORD_MIN} to {PASSWORD_MAX} characters")


def _is_text(value: str) -> bool:
    """Whether a database takes it: JSON can say NUL and half a surrogate pair."""
    return "\x00" not in value and not any("\ud800" <= letter <= "\udfff" for letter in value)
