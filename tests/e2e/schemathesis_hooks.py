"""What schemathesis loads beside its own checks: as whom it asks, and a note of what it was answered (see test_schemathesis.py).

Environment: TEST_TOKEN, a token that belongs to no account, so that nothing can end it but logging out; TEST_CALLS, a file that
gets a line `status METHOD path` for each request.
"""

import os
from typing import Any, Final, TypeAlias

import httpx
import schemathesis

__all__ = ["Asking", "note"]

Case: TypeAlias = schemathesis.Case[Any]
OF_SESSIONS: Final = {"/auth/logout", "/auth/refresh"}
"""Ends a session; needs a token that the hub gave somebody."""


@schemathesis.auth(refresh_interval=None)
class Asking:
    """Who asks: with TEST_TOKEN; but about sessions a guest, a new one each time."""

    def get(self, case: Case, _: schemathesis.AuthContext) -> str:
        """The token for a request."""
        if case.path not in OF_SESSIONS:
            return os.environ["TEST_TOKEN"]
        guest = httpx.post(f"{case.operation.schema.get_base_url().rstrip('/')}/auth/guest", trust_env=False)
        return str(guest.raise_for_status().json()["accessToken"])

    def set(self, case: Case, token: str, _: schemathesis.AuthContext) -> None:
        """Puts it in."""
        case.headers["Authorization"] = f"Bearer {token}"


@schemathesis.hook("after_call")
def note(_: schemathesis.HookContext, case: Case, response: schemathesis.Response) -> None:
    """Writes down what was answered."""
    with open(os.environ["TEST_CALLS"], "a") as calls:
        calls.write(f"{response.status_code} {case.method} {case.path}\n")
