"""Who may connect, publish and subscribe on the embedded broker: contract.md section 6, as one synchronous decision.

`Access` decides. `TokenAuth` and `TopicAccess` give it to the broker as amqtt plugins:

    config["plugins"] = {"hub.broker.access.TokenAuth": {"access": access}, "hub.broker.access.TopicAccess": {"access": access}}
"""

import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from amqtt.contexts import Action as PluginAction
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import Session

from devices.mqtt.codes import Reason
from devices.topics import is_station_id
from hub.acl import may_connect, may_publish, may_receive, may_subscribe
from hub.auth import ANONYMOUS, Identity, KeyUnknown, TokenRefused
from hub.authentication import Authenticator
from hub.broker.policy import Accepted, Action, Login, Refused
from hub.credentials import KEY_LENGTH
from hub.sessions import SessionMismatch

__all__ = ["IDENTITY", "Access", "TokenAuth", "TopicAccess"]

IDENTITY: Final = "stationhub.identity"
"""The key of a session's `Identity` in `session.attributes`, for other plugins."""
TELL_EVERY: Final = 10.0
"""Seconds between two lines at INFO about denials of one kind."""

log = logging.getLogger(__name__)


class Access:
    """The decisions; no socket, no broker. A `hub.broker.policy.Policy`.

    Args:
        authenticator: knows who a client is.
        anonymous: a client without a password is a station under any name (contract.md section 6, for trials).
        clock: seconds of any monotonic clock, for the rate of the log.
    """

    reason = Reason.NOT_AUTHORIZED
    waits = False

    def __init__(
        self,
        authenticator: Authenticator,
        *,
        anonymous: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._authenticator, self._anonymous, self._clock = authenticator, anonymous, clock
        self._next: dict[str, float] = {}

    def authenticate(self, login: Login) -> Accepted | Refused | Awaitable[Accepted | Refused]:
        """Who a client is, by token, device key or certificate; refused also for a will that it may not publish."""
        try:
            return self._decide(login, self._identify(login))
        except KeyUnknown:
            return self._authenticate_waiting(login)
        except (TokenRefused, SessionMismatch, UnicodeDecodeError):
            return self._decide(login, None)

    async def _authenticate_waiting(self, login: Login) -> Accepted | Refused:
        password = login.connect.password or b""
        try:
            return self._decide(login, await self._authenticator.authenticate_waiting(password.decode()))
        except (TokenRefused, SessionMismatch):
            return self._decide(login, None)

    def _decide(self, login: Login, identity: Identity | None) -> Accepted | Refused:
        connect = login.connect
        username, will = connect.username, connect.will
        if identity is None:
            why = "its token or key is missing, wrong, expired or revoked"
        else:
            by_certificate = not connect.password and identity is not ANONYMOUS
            if not may_connect(identity, identity.station_id if by_certificate else username):
                why = "the token is not that station's, nor a service's"
            elif will is not None and not may_publish(identity, will.topic):
                why = "its will is for a topic it may not publish to"
            else:
                owner = f"anonymous:{username or connect.client_id}" if identity is ANONYMOUS else identity.user_id
                return Accepted(identity, owner, identity.expires_at)
        # anything else in that field may be a token or a device key in the wrong place
        who = username if username and is_station_id(username) and len(username) < KEY_LENGTH else "an MQTT client"
        log.log(self._level("connect"), "refused %s: %s", who, why)
        return Refused()

    def _identify(self, login: Login) -> Identity:
        username, password = login.connect.username, login.connect.password
        if password:
            secret = password.decode()
            station = self._authenticator.station_with_key(username, secret) if username else None
            return station or self._authenticator.authenticate(secret)
        for name in _names(login.certificate):
            # without a user name, the first name that can be a station's is meant
            if is_station_id(name) and username in (None, "", name):
                return self._authenticator.station_named(name)
        if self._anonymous:
            return ANONYMOUS
        raise TokenRefused("Unauthorized")

    def allows(self, principal: Identity, action: Action, topic: str) -> bool:
        """Whether a client may do `action` with a topic or filter."""
        if action == "receive":
            return may_receive(principal, topic)
        if may_publish(principal, topic) if action == "publish" else may_subscribe(principal, topic):
            return True
        log.log(self._level(action), "%s denied to %s", action, principal.user_id or "anonymous")
        return False

    def remember(self, principal: Identity) -> bytes:
        """What of an identity decides on its rights."""
        kept = (principal.user_id, principal.type, principal.role, principal.station_id)
        return json.dumps(kept).encode()

    def recall(self, stored: bytes, owner: str, client_id: str) -> Identity:
        """The identity of a kept session; one that cannot be read has no rights until its client is back."""
        try:
            user_id, kind, role, station_id = json.loads(stored)
        except ValueError:
            user_id, kind, role, station_id = owner, "station", "station", None
        if kind == ANONYMOUS.type:
            return ANONYMOUS
        return Identity(user_id=user_id, type=kind, role=role, station_id=station_id)

    def _level(self, kind: str) -> int:
        if self._clock() < self._next.get(kind, 0.0):
            return logging.DEBUG
        self._next[kind] = self._clock() + TELL_EVERY
        return logging.INFO


def _names(certificate: Mapping[str, Any] | None) -> list[str]:
    """The subject alternative names (DNS, URI: its last part) and common names of a verified client certificate."""
    if not certificate:
        return []
    names = [
        str(value).rsplit("/", 1)[-1] for kind, value in certificate.get("subjectAltName", ()) if kind in ("DNS", "URI")
    ]
    for part in certificate.get("subject", ()):
        names += [str(value) for key, value in part if key == "commonName"]
    return names


@dataclass
class _Config:
    access: Access


_ACTIONS: Final[dict[PluginAction, Literal["publish", "subscribe", "receive"]]] = {
    PluginAction.PUBLISH: "publish",
    PluginAction.SUBSCRIBE: "subscribe",
    PluginAction.RECEIVE: "receive",
}


class TokenAuth(BaseAuthPlugin):  # type: ignore[misc]  # amqtt ships no types
    """Authentication: username is the station id, password its token. Alone, the broker asks `access` directly."""

    Config = _Config

    async def authenticate(self, *, session: Session) -> bool:
        """Beside other plugins: decides, and keeps the identity in the session."""
        verdict = self.config.access.authenticate(session.login)
        if isinstance(verdict, Awaitable):
            verdict = await verdict
        if not isinstance(verdict, Accepted):
            return False
        session.attributes[IDENTITY] = verdict.principal
        session.is_anonymous = verdict.principal is ANONYMOUS
        session.accepted = verdict
        return True


class TopicAccess(BaseTopicPlugin):  # type: ignore[misc]  # amqtt ships no types
    """Topic filtering for PUBLISH, SUBSCRIBE and delivery. Alone, the broker asks `access` directly."""

    Config = _Config

    async def topic_filtering(
        self, *, session: Session | None = None, topic: str | None = None, action: PluginAction | None = None
    ) -> bool:
        """Beside other plugins: whether the session's identity may."""
        identity = session.attributes.get(IDENTITY) if session is not None else None
        access: Access = self.config.access
        return identity is not None and action is not None and access.allows(identity, _ACTIONS[action], topic or "")
