"""The one valid session of each user (contract.md sections 1 and 5). Pure: messages in, effects out.

Rules:
    the first session seen of a user is recorded; of two, the one issued later is valid (of two issued at once, the greater id);
    a valid newer one replaces the older, whose sockets are kicked; an older one is refused;
    guests, stations and services have no record: each of their logins stands for itself; but that a guest has left is one.
"""

from dataclasses import dataclass
from typing import Final

from devices.messages import UserRecord
from hub.auth import Identity

__all__ = ["ENDED", "GUEST", "ClearUser", "Effect", "Kick", "PublishUser", "SessionMismatch", "Sessions"]

ENDED: Final = "ended-"
"""How the id of a session begins that nobody has: it only ends those before it."""
GUEST: Final = "guest-"
"""How the ids of the hub's guests begin."""


class SessionMismatch(Exception):
    """A newer login of this user exists."""


@dataclass(frozen=True, slots=True)
class PublishUser:
    """Write the user's retained record."""

    user_id: str
    record: UserRecord


@dataclass(frozen=True, slots=True)
class Kick:
    """Close every connection of the user but those of this session."""

    user_id: str
    session_id: str

    def ends(self, identity: Identity) -> bool:
        """Whether a connection of the user is one of those."""
        return identity.session_id != self.session_id


@dataclass(frozen=True, slots=True)
class ClearUser:
    """Take the user's retained record away."""

    user_id: str


Effect = PublishUser | Kick | ClearUser


class Sessions:
    """The newest session of every user seen."""

    def __init__(self) -> None:
        self._newest: dict[str, UserRecord] = {}

    def __len__(self) -> int:
        return len(self._newest)

    def admit(self, identity: Identity) -> list[Effect]:
        """Somebody comes with a good token.

        Raises:
            SessionMismatch: a newer login exists.
        """
        if identity.type == "guest":
            ended = self._newest.get(identity.user_id)
            if ended is not None and identity.issued_at <= ended.issued_at:
                raise SessionMismatch(identity.user_id)
        if identity.type != "registered":
            return []
        mine = UserRecord(session_id=identity.session_id, issued_at=identity.issued_at)
        known = self._newest.get(identity.user_id)
        if known is not None:
            if known.session_id == mine.session_id:
                return []
            if _age(mine) < _age(known):
                raise SessionMismatch(identity.user_id)
        self._newest[identity.user_id] = mine
        effects: list[Effect] = [PublishUser(identity.user_id, mine)]
        if known is not None:
            effects.append(Kick(identity.user_id, mine.session_id))
        return effects

    def newest(self, user_id: str) -> UserRecord | None:
        """The valid session; None: none was ever seen."""
        return self._newest.get(user_id)

    def replace(self, user_id: str, record: UserRecord) -> list[Effect]:
        """This node ends a user's session, for a newer one."""
        known = self._newest.get(user_id)
        if known is not None and _age(record) <= _age(known):
            return []
        self._newest[user_id] = record
        return [PublishUser(user_id, record), Kick(user_id, record.session_id)]

    def apply(self, user_id: str, record: UserRecord) -> list[Effect]:
        """A record was written, by this node or another."""
        known = self._newest.get(user_id)
        if known is not None and _age(record) <= _age(known):
            # somebody wrote over a newer record
            return [PublishUser(user_id, known)] if _age(record) < _age(known) else []
        self._newest[user_id] = record
        return [Kick(user_id, record.session_id)]

    def ended_guests(self, before: float) -> list[str]:
        """Guests who left before that time, seconds since 1970."""
        return [
            user_id
            for user_id, record in self._newest.items()
            if record.issued_at < before and record.session_id.startswith(ENDED) and user_id.startswith(GUEST)
        ]

    def forget(self, user_id: str) -> list[Effect]:
        """A user is of no interest any more."""
        return [ClearUser(user_id)] if self._newest.pop(user_id, None) else []

    def republish(self) -> list[Effect]:
        """The link is back: write again what is known."""
        return [PublishUser(user_id, record) for user_id, record in self._newest.items()]


def _age(record: UserRecord) -> tuple[float, str]:
    return record.issued_at, record.session_id
