"""Tokens and identities (contract.md section 5)."""

import base64
import json
from typing import Any

import jwt
import pytest

from hub.auth import AuthError, Identity, TokenRefused, Tokens, user_key
from tests.fakes import FakeClock

SECRET = "a secret of the tests, long enough"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def tokens(clock: FakeClock) -> Tokens:
    return Tokens(SECRET, clock=lambda: clock.wall / 1000)


def signed(clock: FakeClock, secret: str = SECRET, **claims: Any) -> str:
    now = clock.wall // 1000
    base = {"userId": "u1", "sessionId": "s1", "type": "registered", "iat": now, "exp": now + 60}
    kept = {name: value for name, value in (base | claims).items() if value is not ...}
    return jwt.encode(kept, secret, algorithm="HS256")


def test_user(tokens: Tokens) -> None:
    identity = tokens.verify(tokens.mint_user("u1", role="operator", nickname="Ann"))
    assert (identity.user_id, identity.role, identity.nickname, identity.type) == (
        "u1",
        "operator",
        "Ann",
        "registered",
    )
    assert identity.has("viewer")
    assert identity.has("operator")
    assert not identity.has("admin")
    assert not identity.speaks_for("st-1")


def test_station(tokens: Tokens) -> None:
    """A station has the rights of its own id and none of people."""
    identity = tokens.verify(tokens.mint_station("st-1"))
    assert identity.speaks_for("st-1")
    assert not identity.speaks_for("st-2")
    assert not identity.has("viewer")


@pytest.mark.parametrize("bad", ["a/b", "+", "#", "a\0", "x" * 65, ""])
def test_no_station_id(tokens: Tokens, bad: str) -> None:
    with pytest.raises(AuthError, match="station id"):
        tokens.mint_station(bad)


def refusal(tokens: Tokens, token: str | None) -> str:
    with pytest.raises(TokenRefused) as caught:
        tokens.verify(token)
    return str(caught.value)


def test_no_token(tokens: Tokens, clock: FakeClock) -> None:
    other = signed(clock, "another secret, also long enough.")
    forged = signed(clock).rsplit(".", 1)[0] + ".AAAA"
    for token in (None, "", "garbage", "a.b.c", "ä.ö.ü", "x" * 10_000, other, forged):
        assert refusal(tokens, token) == "Unauthorized"


@pytest.mark.parametrize("algorithm", ["none", "HS512", "RS256"])
def test_other_algorithms(tokens: Tokens, clock: FakeClock, algorithm: str) -> None:
    """Only HS256 is believed, whatever the header says."""
    _, payload, signature = signed(clock).split(".")
    header = base64.urlsafe_b64encode(json.dumps({"alg": algorithm, "typ": "JWT"}).encode()).rstrip(b"=").decode()
    for tail in (signature, ""):
        assert refusal(tokens, f"{header}.{payload}.{tail}") == "Unauthorized"


def test_times(tokens: Tokens, clock: FakeClock) -> None:
    """30 s of difference between clocks are tolerated, more are not."""
    now = clock.wall // 1000
    assert tokens.verify(signed(clock, exp=now - 29))
    assert tokens.verify(signed(clock, iat=now + 29))
    assert refusal(tokens, signed(clock, exp=now - 31)) == "Unauthorized"
    assert refusal(tokens, signed(clock, iat=now + 31)) == "Unauthorized"
    assert refusal(tokens, signed(clock, nbf=now + 31)) == "Unauthorized"
    for bad in (..., None, "soon", True, 1e300):
        assert refusal(tokens, signed(clock, exp=bad)) == "Unauthorized"


@pytest.mark.parametrize(
    "claims",
    [
        {"userId": ...},
        {"userId": ""},
        {"userId": ["u1"]},
        {"userId": True},
        {"userId": "ü" * 128},
        {"sessionId": ...},
        {"sessionId": ""},
        {"sessionId": 7},
        {"type": "station", "stationId": ...},
        {"type": "station", "stationId": "a/b"},
        {"type": "station", "stationId": 7},
    ],
)
def test_missing_claims(tokens: Tokens, clock: FakeClock, claims: dict[str, Any]) -> None:
    assert refusal(tokens, signed(clock, **claims)) == "invalid userId or sessionId"


def test_foreign_claims(tokens: Tokens, clock: FakeClock) -> None:
    """Tokens made elsewhere with the same secret work: numeric ids, no role, unknown fields."""
    identity = tokens.verify(signed(clock, userId=17, role="root", extra={"a": 1}, iat=...))
    assert (identity.user_id, identity.role, identity.issued_at) == ("17", "viewer", 0.0)
    assert identity.claims["extra"] == {"a": 1}


def test_open_registration(clock: FakeClock) -> None:
    """Guests and accounts become operators; admins stay, stations do not change."""
    tokens = Tokens(SECRET, open_registration=True, clock=lambda: clock.wall / 1000)
    guest = tokens.mint_user("g", role=None, type="guest")
    assert tokens.verify(guest).role == "operator"
    assert tokens.verify(tokens.mint_user("a", role="admin")).role == "admin"
    assert tokens.verify(tokens.mint_station("st-1")).role == "station"
    assert Tokens(SECRET, clock=lambda: clock.wall / 1000).verify(guest).role == "viewer"


def test_sessions_are_new_each_time(tokens: Tokens, clock: FakeClock) -> None:
    one = tokens.verify(tokens.mint_user("u1"))
    clock.forward(0.005)
    other = tokens.verify(tokens.mint_user("u1"))
    assert one.session_id != other.session_id
    assert one.issued_at < other.issued_at


def test_no_secret_in_a_repr(tokens: Tokens) -> None:
    token = tokens.mint_user("u1")
    assert token not in repr(tokens.verify(token))
    assert SECRET not in repr(tokens)
    assert isinstance(tokens.verify(token), Identity)


def test_user_key() -> None:
    """Any user id is one topic level."""
    assert user_key("auth0|a/b+#") == "auth0|a%2Fb%2B%23"


def test_a_session_that_goes_on(tokens: Tokens, clock: FakeClock) -> None:
    """A new token of the same session, no newer than the session itself; it lives from now on."""
    first = tokens.verify(tokens.mint_user("u1", lifetime=60))
    clock.forward(50)
    token = tokens.mint_user("u1", session_id=first.session_id, issued_at=first.issued_at, lifetime=60)
    again = tokens.verify(token)
    assert (again.session_id, again.issued_at) == (first.session_id, first.issued_at)
    assert again.expires_at == first.expires_at + 50
    assert again.issuer_is_us


def test_huge_token(tokens: Tokens) -> None:
    """One that is too long to be one is not looked at, however good."""
    assert refusal(tokens, tokens.mint_user("u1", nickname="x" * 20_000)) == "Unauthorized"
