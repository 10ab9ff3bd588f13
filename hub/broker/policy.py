"""Who may connect, publish, subscribe and receive: what the broker asks, and in what form it takes the answer.

An answer is given at once, or is something to wait for: then the client's connection stands still until it is there.
"""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from devices.mqtt.codes import Reason
from devices.mqtt.packets import Connect

__all__ = ["FOREVER", "Accepted", "Action", "Login", "Policy", "Refused"]

Action = Literal["publish", "subscribe", "receive"]
FOREVER: Final = float("inf")


@dataclass(frozen=True, slots=True)
class Login:
    """A CONNECT to be decided on.

    Attributes:
        connect: the packet; its client id is the one assigned, if it came without one.
        client: address of the peer.
        certificate: of the client, if it gave one that was verified.
    """

    connect: Connect
    client: str
    certificate: Mapping[str, Any] | None
    wire: Any = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The client may connect.

    Attributes:
        principal: who it is; handed back with every later question.
        owner: its sessions are found under this name and the client id.
        expires_at: when its credentials end, seconds since 1970.
    """

    principal: Any
    owner: str
    expires_at: float = FOREVER


@dataclass(frozen=True, slots=True)
class Refused:
    """The client may not connect."""

    reason: Reason = Reason.NOT_AUTHORIZED


class Policy(Protocol):
    """The access policy.

    Attributes:
        reason: what a version 5 client is told when a PUBLISH or SUBSCRIBE is refused.
        waits: `allows` may give something to wait for, also for "receive".
    """

    reason: Reason
    waits: bool

    def authenticate(self, login: Login) -> Accepted | Refused | Awaitable[Accepted | Refused]:
        """Whether a client may connect; its will's topic is part of the question."""

    def allows(self, principal: Any, action: Action, topic: str) -> bool | Awaitable[bool]:
        """Whether a principal may do something with a topic, or filter."""

    def remember(self, principal: Any) -> bytes:
        """A principal for the storage."""

    def recall(self, stored: bytes, owner: str, client_id: str) -> Any:
        """The reverse of `remember`, for a session that is away."""
