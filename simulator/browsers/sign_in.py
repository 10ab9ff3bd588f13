"""How browsers come by a token: with one of the simulator's own, as guests, or with an account that they make."""

import asyncio
import hashlib
import urllib.error
import urllib.request
from base64 import urlsafe_b64decode
from http.client import HTTPException
from typing import Any, Final

import orjson

__all__ = ["SignInRefused", "role_of", "sign_in"]

WITHIN: Final = 10.0
"""Seconds that an HTTP request may take."""
LARGEST_ANSWER: Final = 64 * 1024


class SignInRefused(Exception):
    """The hub gave no token; `str()` says on which request, and its HTTP status."""


async def sign_in(http: str, user_id: str, how: str, seed: int) -> str:
    """An access token by `/auth/guest`, or by `/auth/register` and, where the account exists, `/auth/login`.

    Args:
        how: "guest" or "account".

    Raises:
        SignInRefused: the hub answers anything but a token.
        OSError: nobody answers.
    """
    if how == "guest":
        return await _token(http, "/auth/guest", {"nickname": user_id})
    account = {"email": f"{user_id}@simulate.invalid", "password": _password(user_id, seed)}
    try:
        return await _token(http, "/auth/register", account | {"nickname": user_id})
    except SignInRefused as refused:
        if refused.__cause__ is None or getattr(refused.__cause__, "code", 0) != 401:
            raise
    return await _token(http, "/auth/login", account)


def role_of(token: str) -> str | None:
    """The role that a token names, as far as it can be read; it is not verified."""
    try:
        body = token.split(".")[1]
        role = orjson.loads(urlsafe_b64decode(body + "=" * (-len(body) % 4))).get("role")
    except (IndexError, ValueError, AttributeError):
        return None
    return role if isinstance(role, str) else None


def _password(user_id: str, seed: int) -> str:
    """Always the same for a seed, so that a later run gets in; nobody else's account has such an address."""
    return hashlib.sha256(f"{seed}/{user_id}".encode()).hexdigest()[:32]


async def _token(http: str, path: str, body: dict[str, str]) -> str:
    return await asyncio.to_thread(_post, http.rstrip("/") + path, path, body)  # whose threads are few


def _post(url: str, path: str, body: dict[str, str]) -> str:
    request = urllib.request.Request(url, orjson.dumps(body), {"Content-Type": "application/json"}, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=WITHIN) as answer:
            found: Any = orjson.loads(answer.read(LARGEST_ANSWER))
            token = found["accessToken"]
    except urllib.error.HTTPError as error:
        error.close()
        hint = ": more logins than it allows (--login-burst, --login-rate)" if error.code == 429 else ""
        raise SignInRefused(f"POST {path} was answered with {error.code}{hint}") from error
    except urllib.error.URLError as error:
        raise error.reason if isinstance(error.reason, OSError) else OSError("nobody answers") from None
    except (ValueError, KeyError, TypeError, HTTPException) as error:
        raise SignInRefused(f"POST {path} was answered with something else than a token") from error
    if not isinstance(token, str):
        raise SignInRefused(f"POST {path} was answered with something else than a token")
    return token
