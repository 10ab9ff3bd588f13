"""Which pages of other origins may read an answer (CORS, WHATWG Fetch 3.2). Pure."""

import re
from collections.abc import Mapping
from typing import Final

from bridge.handshake import origin_allowed

__all__ = ["cors_headers", "is_preflight", "preflight_headers"]

METHODS: Final = "GET, HEAD, POST, PUT, PATCH, DELETE"
PREFLIGHT_SECONDS: Final = 600
"""How long a browser remembers the answer to a preflight."""
EXPOSED: Final = "Location, Retry-After, WWW-Authenticate"
_FIELD_NAMES: Final = re.compile(r"[A-Za-z0-9-]{1,64}( ?, ?[A-Za-z0-9-]{1,64}){0,31}")


def cors_headers(headers: Mapping[str, str], origins: frozenset[str] | None) -> dict[str, str]:
    """The headers of an answer to a request with these `headers`.

    Args:
        origins: those whose pages may read answers, with credentials, beside the hub's own. None: any, without credentials: a
            token is never a cookie, so a page can send only what it holds anyway.
    """
    if origins is None:
        return {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": EXPOSED}
    # a cache must not give one origin's answer to another
    vary = {"Vary": "Origin"}
    origin = headers.get("origin")
    if origin is None or not origin_allowed(headers, origins):
        return vary
    return vary | {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Expose-Headers": EXPOSED,
    }


def is_preflight(method: str, headers: Mapping[str, str]) -> bool:
    """Whether a browser asks what a page may send."""
    return method == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers


def preflight_headers(headers: Mapping[str, str], origins: frozenset[str] | None) -> dict[str, str] | None:
    """What to add to `cors_headers` in the answer to a preflight; None: pages of that origin may send nothing."""
    if not origin_allowed(headers, origins):
        return None
    asked = headers.get("access-control-request-headers", "").strip()
    # `*` would leave out Authorization; any other name is as harmless, for want of cookies
    names = asked if _FIELD_NAMES.fullmatch(asked) else "Authorization, Content-Type"
    return {
        "Access-Control-Allow-Methods": METHODS,
        "Access-Control-Allow-Headers": names,
        "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
    }
