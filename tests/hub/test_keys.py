"""Which key may prove which token (RFC 7515, 7517, 8725)."""

import base64
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from hub.auth import KeyUnknown, TokenRefused, Tokens
from hub.keys import MAX_KEYS, Key, KeyRefused, Keys, read_jwks, read_pem
from tests.fakes import FakeClock

SECRET = "a secret of the tests, long enough"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
RSA_OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
ED448 = ed448.Ed448PrivateKey.generate()
KINDS = [("RS256", RSA), ("ES256", EC), ("EdDSA", ED), ("EdDSA", ED448)]
NAMES = ["rsa", "p-256", "ed25519", "ed448"]
every_kind = pytest.mark.parametrize(("algorithm", "private"), KINDS, ids=NAMES)


def pem(private: Any) -> bytes:
    found: bytes = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return found


def jwk(private: Any, **more: Any) -> dict[str, Any]:
    """The public key as the issuer publishes it; `...` leaves a field out."""
    kinds: list[tuple[type, Any]] = [
        (rsa.RSAPrivateKey, jwt.algorithms.RSAAlgorithm),
        (ec.EllipticCurvePrivateKey, jwt.algorithms.ECAlgorithm),
        (object, jwt.algorithms.OKPAlgorithm),
    ]
    maker = next(maker for kind, maker in kinds if isinstance(private, kind))
    fields = maker.to_jwk(private.public_key(), as_dict=True)
    fields.pop("key_ops", None)
    return {name: value for name, value in (fields | more).items() if value is not ...}


def token(key: Any, algorithm: str, kid: Any = None, **claims: Any) -> str:
    now = FakeClock().wall // 1000
    base = {"userId": "u1", "sessionId": "s1", "type": "registered", "iat": now, "exp": now + 60}
    return jwt.encode(base | claims, key, algorithm, headers={"kid": kid} if kid is not None else None)


def raw_token(header: dict[str, Any], signature: str = "AAAA") -> str:
    payload = token(SECRET, "HS256").split(".")[1]
    return f"{base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b'=').decode()}.{payload}.{signature}"


def tokens(keys: Keys | None = None, **options: Any) -> Tokens:
    clock = FakeClock()
    return Tokens(SECRET, keys=keys, clock=lambda: clock.wall / 1000, **options)


def published(*jwks: Any) -> Keys:
    keys = Keys(published=True)
    keys.replace(read_jwks({"keys": list(jwks)}))
    return keys


def refusal(hub: Tokens, shown: str) -> type[TokenRefused]:
    with pytest.raises(TokenRefused) as caught:
        hub.verify(shown)
    assert str(caught.value) == "Unauthorized"
    return caught.type


# ---- one key, PEM


@every_kind
def test_pem(algorithm: str, private: Any) -> None:
    """A key of each kind proves the tokens of its one algorithm, and the hub's own secret goes on to work."""
    hub = tokens(Keys(read_pem(pem(private))))
    identity = hub.verify(token(private, algorithm, kid="any"))
    assert (identity.user_id, identity.issuer_is_us) == ("u1", False)
    assert hub.verify(hub.mint_user("u2")).issuer_is_us


@every_kind
def test_pem_as_secret(algorithm: str, private: Any) -> None:
    """The public key, which everybody has, is no HS256 secret. [RFC 8725, 2.1]"""
    hub = tokens(Keys(read_pem(pem(private))))
    header = {"alg": "HS256", "typ": "JWT"}
    head = raw_token(header).rpartition(".")[0]
    for content in (pem(private), pem(private).strip(), read_pem(pem(private)).der):
        signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(head.encode(), content)
        forged = f"{head}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
        assert refusal(hub, forged) is TokenRefused


@every_kind
@pytest.mark.parametrize(
    "header",
    ["none", "None", "NONE", "", None, 7, ["RS256"], {"RS256": 1}, "HS512", "RS512", "PS256", "ES384", "rs256"],
)
def test_other_algorithms(algorithm: str, private: Any, header: Any) -> None:
    """What a token's header says makes no key good for anything but its own algorithm."""
    hub = tokens(Keys(read_pem(pem(private))))
    good = token(private, algorithm).rpartition(".")[2]
    for signature in ("", good):
        assert refusal(hub, raw_token({"alg": header}, signature)) is TokenRefused


@every_kind
def test_a_key_of_another_kind(algorithm: str, private: Any) -> None:
    for other, signer in KINDS:
        if signer is not private:
            assert refusal(tokens(Keys(read_pem(pem(private)))), token(signer, other)) is TokenRefused


def test_another_key_of_the_kind() -> None:
    assert refusal(tokens(Keys(read_pem(pem(RSA)))), token(RSA_OTHER, "RS256")) is TokenRefused


def test_without_public_keys() -> None:
    """Nothing may come, so nobody waits for it."""
    assert refusal(tokens(), token(RSA, "RS256", kid="a")) is TokenRefused


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not PEM",
        b"\xff" * 100,
        pem(ec.generate_private_key(ec.SECP384R1())),
        pem(ec.generate_private_key(ec.SECP256K1())),
        pem(rsa.generate_private_key(public_exponent=65537, key_size=1024)),
        RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        pem(RSA)[:200],
    ],
    ids=["empty", "text", "bytes", "P-384", "secp256k1", "RSA 1024", "private", "half"],
)
def test_pem_refused(content: bytes) -> None:
    with pytest.raises(KeyRefused, match="RSA of 2048"):
        read_pem(content)


# ---- published keys


@every_kind
def test_jwks(algorithm: str, private: Any) -> None:
    """A token names its key; one that names none is tried with those of its algorithm."""
    hub = tokens(published(*(jwk(key, kid=name) for name, (_, key) in zip(NAMES, KINDS, strict=True))))
    name = NAMES[[key for _, key in KINDS].index(private)]
    assert hub.verify(token(private, algorithm, kid=name)).user_id == "u1"
    assert hub.verify(token(private, algorithm)).user_id == "u1"


def test_pem_beside_jwks() -> None:
    keys = Keys(read_pem(pem(RSA)), published=True)
    keys.replace(read_jwks({"keys": [jwk(RSA_OTHER, kid="other"), jwk(EC, kid="ec")]}))
    hub = tokens(keys)
    assert hub.verify(token(RSA, "RS256"))
    assert hub.verify(token(RSA, "RS256", kid="own"))
    assert hub.verify(token(RSA_OTHER, "RS256", kid="other"))
    assert hub.verify(token(EC, "ES256", kid="ec"))


def test_unknown_keys() -> None:
    """A key that is not there yet may come; one that is there decides."""
    assert refusal(tokens(Keys(published=True)), token(RSA, "RS256", kid="a")) is KeyUnknown
    hub = tokens(published(jwk(RSA, kid="a"), jwk(EC, kid="e")))
    assert refusal(hub, token(RSA_OTHER, "RS256", kid="b")) is KeyUnknown
    assert refusal(hub, token(RSA_OTHER, "RS256")) is KeyUnknown
    assert refusal(hub, token(RSA_OTHER, "RS256", kid="a")) is TokenRefused
    assert refusal(hub, token(EC, "ES256", kid="a")) is TokenRefused, "a kid of another type"
    assert refusal(hub, token("x" * 32, "HS256", kid="b")) is TokenRefused, "secrets are not published"
    assert refusal(hub, token(RSA, "RS512", kid="b")) is TokenRefused


@pytest.mark.parametrize("kid", [7, None, ["a"], {"a": 1}, True])
def test_a_kid_that_is_no_text(kid: Any) -> None:
    hub = tokens(published(jwk(RSA, kid="a")))
    signature = token(RSA_OTHER, "RS256").rpartition(".")[2]
    assert issubclass(refusal(hub, raw_token({"alg": "RS256", "kid": kid}, signature)), TokenRefused)


@pytest.mark.parametrize(
    "unusable",
    [
        {"kty": "oct", "k": base64.urlsafe_b64encode(SECRET.encode()).decode(), "kid": "a"},
        {"kty": "oct", "k": "AAAA", "kid": "a", "alg": "RS256"},
        jwk(RSA, kid="a", use="enc"),
        jwk(RSA, kid="a", alg="RS512"),
        jwk(RSA, kid="a", alg="HS256"),
        jwk(RSA, kid="a", alg=None),
        jwk(RSA, kid="a", key_ops=["encrypt"]),
        jwk(RSA, kid="a", key_ops="verify"),
        jwk(RSA, kid=7),
        jwk(RSA, kid="a", kty="EC"),
        jwk(RSA, kid="a", kty=["RSA"]),
        jwk(RSA, kid="a", n=...),
        jwk(RSA, kid="a", n=7),
        jwk(RSA, kid="a", n="AQAB"),
        jwk(RSA, kid="a", n="!" * 400),
        jwk(RSA, kid="a", e="AA"),
        jwk(RSA, kid="a", e=None),
        jwk(RSA, kid="a", n="_" * 5_000),
        jwk(EC, kid="a", crv="P-384"),
        jwk(EC, kid="a", crv=["P-256"]),
        jwk(EC, kid="a", x=jwk(EC)["y"]),
        jwk(EC, kid="a", x="AA"),
        jwk(ED, kid="a", crv="X25519"),
        jwk(ED, kid="a", x="AA"),
        jwk(rsa.generate_private_key(public_exponent=65537, key_size=1024), kid="a"),
        jwk(ec.generate_private_key(ec.SECP384R1()), kid="a"),
        {},
        {"kty": None},
        None,
        "key",
        ["kty"],
    ],
)
def test_unusable_jwks(unusable: Any) -> None:
    """A key that must not or cannot prove a token is passed over; those beside it work."""
    keys = read_jwks({"keys": [unusable, jwk(EC, kid="good")]})
    assert [key.kid for key in keys] == ["good"]


def test_a_private_jwk() -> None:
    """Of a private key that somebody published by mistake, only the public part is read."""
    fields = jwt.algorithms.RSAAlgorithm.to_jwk(RSA, as_dict=True)
    fields.pop("key_ops", None)
    (key,) = read_jwks({"keys": [fields]})
    assert key == read_pem(pem(RSA))
    assert isinstance(key.public, rsa.RSAPublicKey)


def test_use_and_alg_that_fit() -> None:
    (key,) = read_jwks({"keys": [jwk(RSA, kid="a", use="sig", alg="RS256", key_ops=["verify"], x5t="x", unknown=[1])]})
    assert (key.kid, key.algorithm) == ("a", "RS256")


@pytest.mark.parametrize("document", [None, [], "x", 7, {}, {"keys": None}, {"keys": {}}, {"Keys": []}])
def test_no_jwks(document: Any) -> None:
    with pytest.raises(KeyRefused, match="not a JWKS"):
        read_jwks(document)


def test_too_many_keys() -> None:
    keys = read_jwks({"keys": [jwk(ED, kid=str(number)) for number in range(MAX_KEYS + 50)]})
    assert len(keys) == MAX_KEYS


def test_one_kid_twice() -> None:
    """Two keys of one name, of two kinds or of one: the algorithm, then the signature, tells which."""
    hub = tokens(published(jwk(EC, kid="a"), jwk(RSA_OTHER, kid="a"), jwk(RSA, kid="a")))
    assert hub.verify(token(RSA, "RS256", kid="a"))
    assert hub.verify(token(EC, "ES256", kid="a"))


def test_few_keys_are_tried() -> None:
    """A forged token without a name does not cost a signature check of every key."""
    keys = published(*(jwk(RSA_OTHER, kid=str(number)) for number in range(50)))
    assert len(keys.candidates("RS256", None)) <= 4


# ---- rotation


def test_rotation() -> None:
    """A key that comes works at once; one that goes takes its tokens with it, those seen before too."""
    keys = published(jwk(RSA, kid="a"))
    hub = tokens(keys)
    old, new = token(RSA, "RS256", kid="a"), token(EC, "ES256", kid="b")
    assert hub.verify(old)
    assert refusal(hub, new) is KeyUnknown
    assert keys.replace(read_jwks({"keys": [jwk(RSA, kid="a"), jwk(EC, kid="b")]}))
    assert hub.verify(old)
    assert hub.verify(new)
    assert keys.replace(read_jwks({"keys": [jwk(EC, kid="b")]}))
    assert hub.verify(new)
    assert refusal(hub, old) is KeyUnknown
    assert keys.replace(read_jwks({"keys": [jwk(RSA_OTHER, kid="b")]})), "another key under the same name"
    assert refusal(hub, new) is TokenRefused
    assert keys.replace(())
    assert refusal(hub, new) is KeyUnknown


def test_no_news() -> None:
    """The same keys again change nothing: what was verified stays so."""
    keys = published(jwk(RSA, kid="a"))
    before = keys.version
    assert not keys.replace(read_jwks({"keys": [jwk(RSA, kid="a")]}))
    assert keys.version == before


# ---- issuer and audience


@pytest.mark.parametrize(
    ("claims", "good"),
    [
        ({"iss": "https://id.example", "aud": "hub"}, True),
        ({"iss": "https://id.example", "aud": ["other", "hub"]}, True),
        ({"iss": "https://id.example", "aud": "other"}, False),
        ({"iss": "https://id.example", "aud": []}, False),
        ({"iss": "https://id.example", "aud": {"hub": 1}}, False),
        ({"iss": "https://id.example", "aud": [7, "hub"]}, False),
        ({"iss": "https://id.example"}, False),
        ({"iss": "https://id.example/", "aud": "hub"}, False),
        ({"iss": ["https://id.example"], "aud": "hub"}, False),
        ({"iss": None, "aud": "hub"}, False),
        ({"aud": "hub"}, False),
    ],
)
@pytest.mark.parametrize("signer", ["hub", "issuer"])
def test_issuer_and_audience(claims: dict[str, Any], good: bool, signer: str) -> None:
    """Whoever signed a token: it must come from the configured issuer, for the configured audience."""
    hub = tokens(Keys(read_pem(pem(RSA))), issuer="https://id.example", audience="hub")
    key, algorithm = (SECRET, "HS256") if signer == "hub" else (RSA, "RS256")
    # the library refuses to write some of what it must refuse to read
    payload = jwt.PyJWS().encode(
        json.dumps(jwt.decode(token(SECRET, "HS256"), options={"verify_signature": False}) | claims).encode(),
        key,
        algorithm,
    )
    if good:
        assert hub.verify(payload).user_id == "u1"
    else:
        assert refusal(hub, payload) is TokenRefused


def test_own_tokens_name_them() -> None:
    hub = tokens(issuer="https://id.example", audience="hub")
    for minted in (hub.mint_user("u1"), hub.mint_station("st-1")):
        assert hub.verify(minted).claims["iss"] == "https://id.example"
    assert refusal(hub, tokens().mint_user("u1")) is TokenRefused
    assert tokens().verify(hub.mint_user("u1")), "a hub that expects none does not mind"


def test_a_key_shows_nothing() -> None:
    assert "modulus" not in repr(read_pem(pem(RSA))).lower()
    assert isinstance(read_pem(pem(RSA)), Key)
