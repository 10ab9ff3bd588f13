"""STUN and TURN servers for WebRTC, with credentials that expire (coturn's "TURN REST API"). Pure.

The TURN server and the hub share a secret (coturn: `use-auth-secret`, `static-auth-secret`); neither asks the other anything.
"""

import base64
import hmac
from collections.abc import Sequence
from typing import Any

__all__ = ["ice_servers", "turn_credential"]


def turn_credential(secret: str, username: str) -> str:
    """The password that belongs to `username`, `{seconds since 1970 at which it ends}:{user}`."""
    return base64.b64encode(hmac.digest(secret.encode(), username.encode(), "sha1")).decode("ascii")


def ice_servers(servers: Sequence[str], *, secret: str | None, user: str, expires: int) -> list[dict[str, Any]]:
    """What `new RTCPeerConnection({iceServers})` takes.

    Args:
        servers: URLs `stun:`, `stuns:`, `turn:`, `turns:`.
        secret: shared with the TURN servers; without one they are left out, as browsers refuse them without credentials.
        user: who asks; what the TURN server logs.
        expires: seconds since 1970 at which the credentials end.
    """
    stun = [url for url in servers if url.startswith(("stun:", "stuns:"))]
    turn = [url for url in servers if url.startswith(("turn:", "turns:"))]
    found: list[dict[str, Any]] = [{"urls": stun}] if stun else []
    if turn and secret is not None:
        username = f"{expires}:{user}"
        found.append({"urls": turn, "username": username, "credential": turn_credential(secret, username)})
    return found
