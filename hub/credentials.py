"""What stations log in with beside tokens, and what of it was revoked. Pure.

A device key is random enough that a plain SHA-256 of it may be kept, and is looked up without waiting: a storm of reconnects is
one dictionary look-up and one hash each.
"""

import hashlib
import hmac
import secrets
from typing import Final, NamedTuple

from hub.auth import CLOCK_TOLERANCE, Identity

__all__ = ["KEY_LENGTH", "Credential", "Credentials", "hash_key", "new_key"]


KEY_LENGTH: Final = 43
"""Characters of a device key."""


class Credential(NamedTuple):
    """Of one station.

    Attributes:
        key_hash: of its device key; None: it has none.
        valid_from: tokens issued before, and connections made before, are no good; seconds since 1970.
    """

    key_hash: bytes | None = None
    valid_from: float = 0.0

    def opened_by(self, key: str) -> float | None:
        """`valid_from` when `key` is the device key; None: it is not."""
        if self.key_hash is None or not hmac.compare_digest(self.key_hash, hash_key(key)):
            return None
        return self.valid_from


_NONE = Credential()


def new_key() -> str:
    """A device key: 256 random bits, as text that is no token."""
    return secrets.token_urlsafe(32)


def hash_key(key: str) -> bytes:
    """What is kept of a device key."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).digest()


class Credentials:
    """Those of all stations that were entered, or revoked."""

    def __init__(self) -> None:
        self._known: dict[str, Credential] = {}

    def set(self, station_id: str, key_hash: bytes | None, valid_from: float) -> None:
        """A station was entered, got another key, or was deleted; of two such words the one of the later time counts."""
        if valid_from >= self._known.get(station_id, _NONE).valid_from:
            self._known[station_id] = Credential(key_hash, valid_from)

    def revoke(self, station_id: str, valid_from: float) -> bool:
        """Another node revoked what was issued before `valid_from`; False when that is known."""
        if valid_from <= self._known.get(station_id, _NONE).valid_from:
            return False
        self._known[station_id] = Credential(None, valid_from)
        return True

    def revoked(self) -> list[tuple[str, float]]:
        """Every station of which something was revoked, and up to when."""
        return [(station_id, one.valid_from) for station_id, one in self._known.items() if one.valid_from]

    def opened_by(self, station_id: str, key: str) -> float | None:
        """Since when `key` is the station's device key, see `Credential.valid_from`; None: it is not."""
        return self._known.get(station_id, _NONE).opened_by(key)

    def refuses(self, identity: Identity) -> bool:
        """Whether what an identity shows was revoked since it was issued."""
        if identity.station_id is None:
            return False
        known = self._known.get(identity.station_id)
        if known is None:
            return False
        generation = identity.claims.get("generation")
        if identity.issuer_is_us and isinstance(generation, int | float):
            return generation < known.valid_from
        # another issuer's clock may be ahead
        return identity.issued_at - (0.0 if identity.issuer_is_us else CLOCK_TOLERANCE) < known.valid_from
