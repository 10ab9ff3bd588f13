"""One valid session per user, as a pure state machine (contract.md section 5).

The first session id seen of a user is recorded; one with a later `iat` replaces it and kicks, one with an earlier is refused.
"""

from dataclasses import dataclass
from enum import Enum

__all__ = ["Admission", "Sessions"]


class Admission(Enum):
    """What becomes of a login."""

    CURRENT = "current"
    REPLACED = "replaced"
    """It is newer: sockets of the older session are to be kicked."""
    REFUSED = "refused"
    """A newer login exists."""


@dataclass(frozen=True, slots=True)
class _Session:
    session_id: str
    issued_at: float
    expires_at: float


class Sessions:
    """The one valid session of each user. Times are seconds since 1970, as in tokens."""

    def __init__(self) -> None:
        self._of_user: dict[str, _Session] = {}

    def __len__(self) -> int:
        return len(self._of_user)

    def admit(self, user_id: str, session_id: str, issued_at: float, expires_at: float) -> Admission:
        """Decides on a valid token of a user; equal times of issue: the one seen later is the newer."""
        known = self._of_user.get(user_id)
        if known is not None and known.session_id != session_id:
            if issued_at < known.issued_at:
                return Admission.REFUSED
            self._of_user[user_id] = _Session(session_id, issued_at, expires_at)
            return Admission.REPLACED
        if known is None or issued_at >= known.issued_at:
            self._of_user[user_id] = _Session(session_id, issued_at, expires_at)
        return Admission.CURRENT

    def current(self, user_id: str, session_id: str) -> bool:
        """Whether this is the user's valid session (or none is known)."""
        known = self._of_user.get(user_id)
        return known is None or known.session_id == session_id

    def expire(self, now: float) -> None:
        """Forgets users whose newest token is over: no older token of theirs can be valid then, but one issued earlier
        for longer; it is let in again only after this one ended."""
        for user_id in [uid for uid, session in self._of_user.items() if session.expires_at < now]:
            del self._of_user[user_id]
