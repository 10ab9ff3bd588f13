"""Who is who: identities, roles, and the tokens that prove them (contract.md section 5).

AuthError
  TokenRefused    a token that is missing, expired, forged, or lacks a claim
    KeyUnknown    a token whose key is not known yet: the issuer may have published it since
"""

import contextlib
import math
import re
import secrets
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeGuard
from urllib.parse import quote

import jwt

from devices.topics import is_station_id
from hub.keys import ASYMMETRIC, Keys, PublicKey

__all__ = [
    "ANONYMOUS",
    "CLOCK_TOLERANCE",
    "DAY",
    "ROLES",
    "AuthError",
    "Identity",
    "KeyUnknown",
    "Role",
    "TokenRefused",
    "Tokens",
    "is_user_id",
    "new_secret",
    "station_key",
    "user_key",
]

Role = Literal["station", "viewer", "operator", "admin", "service"]
ROLES: Final[tuple[Role, ...]] = ("viewer", "operator", "admin")
"""The roles of people, each with all the rights of those before it."""

HMAC: Final = "HS256"
CLOCK_TOLERANCE: Final = 30.0
"""Seconds by which clocks may differ (contract.md section 1)."""
DAY: Final = 86_400.0
VERIFIED: Final = 20_000
"""Tokens whose signature is remembered."""
MAX_TOKEN: Final = 16_384
"""Characters of a token; a longer one is not looked at."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")

# a short secret is refused (`hub.config`) or warned of (`hub.serve`) once, at start; not at every token
warnings.filterwarnings("ignore", message=".*HMAC key.*")


class AuthError(Exception):
    """Something is wrong with who somebody says they are."""


class TokenRefused(AuthError):
    """A token does not prove anything; `str()` is the contract's text after `UNAUTHORIZED: `."""


class KeyUnknown(TokenRefused):
    """No key in force can tell; after `hub.jwks.Jwks.refresh` the token may be tried once more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who is on the other end of a connection.

    Attributes:
        type: "guest", "registered", "station", "service" or "anonymous".
        role: what it may do; "station" has the rights of `station_id` alone.
        issued_at, expires_at: seconds since 1970.
        issuer_is_us: the token is signed with the hub's own secret.
        claims: the token as it came, for GET /auth/profile.
    """

    user_id: str
    type: str
    role: Role
    nickname: str = ""
    session_id: str = ""
    station_id: str | None = None
    issued_at: float = 0.0
    expires_at: float = float("inf")
    issuer_is_us: bool = False
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def has(self, role: Role) -> bool:
        """Whether this person has at least `role`; stations and services have no rights of people."""
        return self.role in ROLES and role in ROLES and ROLES.index(self.role) >= ROLES.index(role)

    def speaks_for(self, station_id: str) -> bool:
        """Whether the token itself names that station."""
        return self.station_id == station_id


ANONYMOUS: Final = Identity(user_id="", type="anonymous", role="station")
"""An MQTT client under `--anonymous-mqtt`."""


def new_secret() -> str:
    """A secret for HS256: 256 random bits, as text."""
    return secrets.token_urlsafe(32)


def station_key(station_id: str) -> str:
    """The user id of a station."""
    return f"station:{station_id}"


def user_key(user_id: str) -> str:
    """A user id as one topic level."""
    return quote(user_id, safe="@|:")


class Tokens:
    """Makes tokens signed with one HS256 secret; checks those, and tokens that others signed with a key of `keys`.

    Args:
        secret: the HS256 key; never logged.
        keys: public keys of who issues tokens elsewhere.
        issuer, audience: the `iss` and `aud` that every token must have, whoever signed it.
        open_registration: guests and accounts are operators (contract.md section 5).
        clock: seconds since 1970.
    """

    def __init__(
        self,
        secret: str,
        *,
        keys: Keys | None = None,
        issuer: str | None = None,
        audience: str | None = None,
        open_registration: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._secret = secret
        self._keys = keys if keys is not None else Keys()
        self._issuer, self._audience = issuer, audience
        self._open = open_registration
        self._clock = clock
        # a storm of reconnects shows the same tokens again: what costs is the signature, and it does not change
        self._verified: dict[str, Identity] = {}
        self._version = self._keys.version

    @property
    def is_weak(self) -> bool:
        """Whether the secret is shorter than what it signs with. [RFC 7518, 3.2]"""
        return len(self._secret.encode()) < 32

    def mint_user(
        self,
        user_id: str,
        *,
        role: Role | None = "viewer",
        type: Literal["guest", "registered"] = "registered",
        nickname: str = "",
        lifetime: float = 7 * DAY,
        session_id: str | None = None,
        issued_at: float | None = None,
    ) -> str:
        """A token of a person.

        Args:
            role: None leaves the role to the hub.
            lifetime: seconds.
            session_id: the session that goes on with this token; None begins a new one.
            issued_at: its `iat`, seconds since 1970, for a session that goes on; None: now.
        """
        claims = {"userId": user_id, "type": type, "nickname": nickname or user_id}
        claims["sessionId"] = secrets.token_hex(16) if session_id is None else session_id
        issued_at = self._clock() if issued_at is None else issued_at
        return self._sign(claims | ({"role": role} if role else {}), lifetime, issued_at)

    def mint_station(self, station_id: str, *, lifetime: float = 7 * DAY, generation: float | None = None) -> str:
        """A token of a station.

        Args:
            lifetime: seconds.
            generation: `valid_from` of the credential that it is given for (see `hub.credentials`): then that decides whether
                it was revoked, and no clock.

        Raises:
            AuthError: for what cannot be a station id.
        """
        if not is_station_id(station_id):
            raise AuthError("a station id is 1 to 64 of A-Z a-z 0-9 . _ -")
        claims: dict[str, Any] = {"type": "station", "stationId": station_id}
        claims |= {} if generation is None else {"generation": generation}
        return self._sign(claims, lifetime, self._clock())

    def _sign(self, claims: dict[str, Any], lifetime: float, issued_at: float) -> str:
        # iat in milliseconds: of two logins in one second, the second still counts as the newer. Never later than it is
        claims |= {"iat": math.floor(issued_at * 1_000) / 1_000, "exp": int(self._clock() + lifetime)}
        claims |= {"iss": self._issuer} if self._issuer is not None else {}
        claims |= {"aud": self._audience} if self._audience is not None else {}
        return jwt.encode(claims, self._secret, algorithm=HMAC)

    def verify(self, token: str | None) -> Identity:
        """The identity that a token proves.

        Raises:
            TokenRefused: "Unauthorized" for none, a bad or expired one; "invalid userId or sessionId" for lacking claims.
            KeyUnknown: "Unauthorized" likewise, so far.
        """
        if not token:
            raise TokenRefused("Unauthorized")
        if self._version != self._keys.version:
            self._version = self._keys.version
            self._verified.clear()
        identity = self._verified.get(token)
        if identity is None or identity.expires_at <= self._clock() - CLOCK_TOLERANCE:
            identity = self._verify(token)
            if len(self._verified) >= VERIFIED:
                self._verified.clear()
            self._verified[token] = identity
        return identity

    def _verify(self, token: str) -> Identity:
        try:
            if len(token) > MAX_TOKEN:
                raise jwt.InvalidTokenError
            header = jwt.get_unverified_header(token) if self._keys else {"alg": HMAC}
            if header.get("alg") not in ASYMMETRIC:
                return self._identity(self._decode(token, self._secret, HMAC), ours=True)
            for key in self._keys.candidates(header["alg"], header.get("kid")):
                with contextlib.suppress(jwt.InvalidSignatureError):
                    return self._identity(self._decode(token, key.public, key.algorithm), ours=False)
        except (jwt.InvalidTokenError, ValueError, RecursionError):
            raise TokenRefused("Unauthorized") from None
        raise (KeyUnknown if self._keys.may_come(header.get("kid")) else TokenRefused)("Unauthorized")

    def _decode(self, token: str, key: PublicKey | str, algorithm: str) -> dict[str, Any]:
        """The claims of a token signed with that key. Raises InvalidTokenError, ValueError."""
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            issuer=self._issuer,
            audience=self._audience,
            options={
                "require": ["exp"],
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
                "verify_iss": self._issuer is not None,
                "verify_aud": self._audience is not None,
                "verify_sub": False,
                "verify_jti": False,
            },
        )
        return claims

    def _identity(self, claims: dict[str, Any], *, ours: bool) -> Identity:
        # times are checked here, against the injected clock
        issued, expires = _number(claims.get("iat", 0)), _number(claims["exp"])
        earliest, now = _number(claims.get("nbf", 0)), self._clock()
        if expires <= now - CLOCK_TOLERANCE or max(issued, earliest) > now + CLOCK_TOLERANCE:
            raise TokenRefused("Unauthorized")
        kind, station_id, user_id = claims.get("type"), claims.get("stationId"), claims.get("userId")
        if kind == "station":
            if not isinstance(station_id, str) or not is_station_id(station_id):
                raise TokenRefused("invalid userId or sessionId")
            user_id = station_key(station_id)
        elif isinstance(user_id, int) and not isinstance(user_id, bool):
            user_id = str(user_id)
        session_id, nickname = claims.get("sessionId", "" if kind == "station" else None), claims.get("nickname")
        if (
            not is_user_id(user_id)
            or not isinstance(session_id, str)
            or (kind != "station" and not is_user_id(session_id))
        ):
            raise TokenRefused("invalid userId or sessionId")
        return Identity(
            user_id=user_id,
            type=kind if kind in ("guest", "station", "service") else "registered",
            role=self._role(kind, claims.get("role")),
            nickname=nickname if isinstance(nickname, str) else "",
            session_id=session_id,
            station_id=station_id if kind == "station" else None,
            issued_at=issued,
            expires_at=expires,
            issuer_is_us=ours,
            claims=claims,
        )

    def _role(self, kind: object, claimed: object) -> Role:
        if kind == "station":
            return "station"
        if kind == "service" or claimed == "service":
            return "service"
        role: Role = next((known for known in ROLES if known == claimed), "viewer")
        return "operator" if self._open and role == "viewer" else role


def _number(value: object) -> float:
    """Seconds since 1970. Raises TokenRefused for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12:
        raise TokenRefused("Unauthorized")
    return float(value)


def is_user_id(value: object) -> TypeGuard[str]:
    """Whether `value` may be a user or session id: text that fits one topic level, without control characters."""
    if not isinstance(value, str) or not value or _CONTROL.search(value):
        return False
    try:
        return len(user_key(value)) <= 128
    except UnicodeEncodeError:
        return False
