"""Public keys of who issues tokens elsewhere: which key, and which one algorithm, may prove a token. Pure.

    KeyRefused
      (a key is of a kind that is not taken; says which are)

An algorithm belongs to its key: RS256 to RSA, ES256 to EC P-256, EdDSA to Ed25519 and Ed448. What a token's header says only
chooses among the keys, so a public key is never taken for an HS256 secret. [RFC 8725, 3.1]
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

__all__ = ["ASYMMETRIC", "Key", "KeyRefused", "Keys", "PublicKey", "read_jwks", "read_pem"]

ASYMMETRIC: Final = ("RS256", "ES256", "EdDSA")
"""The algorithms of public keys."""
MAX_KEYS: Final = 100
"""Keys of one JWKS; those after them are not looked at."""
MAX_TRIED: Final = 4
"""Keys tried for one token whose header does not name its own."""
RSA_BITS: Final = (2048, 8192)
"""A shorter key is weak, a longer one makes every forged token expensive."""
_TAKEN: Final = "RSA of 2048 to 8192 bits, EC P-256, Ed25519 or Ed448"
_PUBLIC: Final = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
"""What makes a public key of each type; a private part beside it is not even read."""
_OF_TYPE: Final = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey | Ed448PublicKey


class KeyRefused(ValueError):
    """A key cannot be used to check tokens."""


@dataclass(frozen=True, slots=True)
class Key:
    """One public key.

    Attributes:
        algorithm: the only one that it proves.
        kid: its name in a JWKS, None without one.
    """

    algorithm: str
    public: PublicKey = field(repr=False, compare=False)
    kid: str | None = None
    der: bytes = field(default=b"", repr=False)


def _key(public: object, kid: str | None = None) -> Key:
    """Raises KeyRefused."""
    match public:
        case RSAPublicKey() if RSA_BITS[0] <= public.key_size <= RSA_BITS[1]:
            algorithm = "RS256"
        case EllipticCurvePublicKey() if isinstance(public.curve, SECP256R1):
            algorithm = "ES256"
        case Ed25519PublicKey() | Ed448PublicKey():
            algorithm = "EdDSA"
        case _:
            raise KeyRefused(f"a public key is {_TAKEN}")
    return Key(algorithm, public, kid, public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def read_pem(content: bytes) -> Key:
    """The public key of a PEM file. Raises KeyRefused."""
    try:
        return _key(load_pem_public_key(content))
    except (ValueError, TypeError, UnsupportedAlgorithm):  # KeyRefused is a ValueError too
        raise KeyRefused(f"holds no public key in PEM that can be used: it is {_TAKEN}") from None


def read_jwks(document: object) -> tuple[Key, ...]:
    """The keys of a JWKS that can prove a token; others in it are passed over. [RFC 7517, 5]

    Raises:
        KeyRefused: it is no JWKS at all.
    """
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise KeyRefused("not a JWKS")
    read = (_read_jwk(jwk) for jwk in listed[:MAX_KEYS] if isinstance(jwk, dict))
    return tuple(key for key in read if key is not None)


def _read_jwk(jwk: Mapping[str, Any]) -> Key | None:
    kty, kid = jwk.get("kty"), jwk.get("kid")
    # secrets (`oct`) have no place in a public document
    if not isinstance(kty, str) or kty not in _OF_TYPE:
        return None
    algorithm = _OF_TYPE[kty]
    if jwk.get("alg", algorithm) != algorithm or jwk.get("use", "sig") != "sig":
        return None
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations or not isinstance(kid, str | None):
        return None
    try:
        parsed = jwt.PyJWK({"kty": kty} | {name: jwk.get(name) for name in _PUBLIC[kty]}, algorithm)
        return _key(parsed.key, kid)
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError, UnsupportedAlgorithm, OverflowError):
        return None


class Keys:
    """The public keys in force: one that was configured, and those that the issuer publishes.

    Args:
        pem: the configured one.
        published: more come from a JWKS (see `hub.jwks`); until then, and for a `kid` not among them, a token may be tried later.

    Attributes:
        version: another number whenever a key came or went.
    """

    def __init__(self, pem: Key | None = None, *, published: bool = False) -> None:
        self.pem, self.published = pem, published
        self.version = 0
        self._jwks: tuple[Key, ...] = ()

    def __bool__(self) -> bool:
        return self.pem is not None or self.published

    def __len__(self) -> int:
        return len(self._jwks) + (self.pem is not None)

    def replace(self, jwks: tuple[Key, ...]) -> bool:
        """The issuer publishes these keys, and no others any more; True: that is news."""
        if jwks == self._jwks:
            return False
        self._jwks = jwks
        self.version += 1
        return True

    def may_come(self, kid: object) -> bool:
        """Whether a token that no candidate proved may be signed with a key not fetched yet."""
        return self.published and (kid is None or all(key.kid != kid for key in self._jwks))

    def candidates(self, algorithm: object, kid: object) -> list[Key]:
        """The keys that a token may be signed with, by what its header says; few, as a forged token costs each of them."""
        found = [key for key in self._jwks if key.algorithm == algorithm and (kid is None or key.kid == kid)]
        if self.pem is not None and self.pem.algorithm == algorithm:
            found.insert(0, self.pem)
        return found[:MAX_TRIED]
