"""Who may connect, publish and subscribe on the embedded broker: contract.md section 6, as two amqtt plugins.

config["plugins"] = {"hub.broker.access.TokenAuth": {"access": access}, "hub.broker.access.TopicAccess": {"access": access}}
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from amqtt.contexts import Action
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import Session

from devices.topics import is_station_id
from hub.acl import may_connect, may_publish, may_receive, may_subscribe
from hub.auth import ANONYMOUS, Identity, TokenRefused, Tokens

__all__ = ["IDENTITY", "Access", "Denied", "TokenAuth", "TopicAccess"]

IDENTITY: Final = "stationhub.identity"
"""The key of a session's `Identity` in `session.attributes`."""
TELL_EVERY: Final = 10.0
"""Seconds between two lines at INFO about denials of one kind."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Denied:
    """How often something was refused since the start."""

    connects: int = 0
    publishes: int = 0
    subscribes: int = 0


class Access:
    """The decisions, and their counters; no socket, no broker.

    Args:
        tokens: proves who a client is.
        anonymous: a client without a password is a station under any name (contract.md section 6, for trials).
        clock: seconds of any monotonic clock, for the rate of the log.
    """

    def __init__(self, tokens: Tokens, *, anonymous: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self.denied = Denied()
        self._tokens, self._anonymous, self._clock = tokens, anonymous, clock
        self._next: dict[str, float] = {}

    def connect(
        self, username: str | None, password: str | None, will_topic: str | None, owner: Identity | None = None
    ) -> Identity | None:
        """The identity of a client, or None when it may not connect.

        Args:
            will_topic: None: it has no will.
            owner: of the kept session that it would continue.
        """
        try:
            identity = ANONYMOUS if self._anonymous and not password else self._tokens.verify(password)
        except TokenRefused:
            why = "its token is missing, expired or forged"
        else:
            if not may_connect(identity, username):
                why = "the token is not that station's, nor a service's"
            elif will_topic is not None and not may_publish(identity, will_topic):
                why = "its will is for a topic it may not publish to"
            elif owner is not None and owner.user_id != identity.user_id:
                why = "its client id belongs to a session of another"
            else:
                return identity
        self.denied.connects += 1
        # anything else in that field may be a token in the wrong place
        who = username if username and is_station_id(username) else "an MQTT client"
        log.log(self._level("connect"), "refused %s: %s", who, why)
        return None

    def allows(self, identity: Identity | None, action: Action | None, topic: str) -> bool:
        """Whether a client may do `action` with a topic or filter; None, one that was refused, may nothing."""
        if action == Action.RECEIVE:
            return identity is not None and may_receive(identity, topic)
        if action == Action.PUBLISH:
            if identity is not None and may_publish(identity, topic):
                return True
            self.denied.publishes += 1
            self._tell("publish", identity)
        else:
            if identity is not None and may_subscribe(identity, topic):
                return True
            self.denied.subscribes += 1
            self._tell("subscribe", identity)
        return False

    def _tell(self, what: Literal["publish", "subscribe"], identity: Identity | None) -> None:
        log.log(self._level(what), "%s denied to %s", what, identity.user_id or "anonymous" if identity else "nobody")

    def _level(self, kind: str) -> int:
        if self._clock() < self._next.get(kind, 0.0):
            return logging.DEBUG
        self._next[kind] = self._clock() + TELL_EVERY
        return logging.INFO


@dataclass
class _Config:
    access: Access


class TokenAuth(BaseAuthPlugin):  # type: ignore[misc]  # amqtt ships no types
    """Authentication: username is the station id, password its token."""

    Config = _Config

    async def authenticate(self, *, session: Session) -> bool:
        """Decides, and keeps the identity in the session."""
        will_topic = (session.will_topic or "") if session.will_flag else None
        # amqtt keeps sessions by client id alone: a kept one comes with the queue and subscriptions of its owner
        owner = session.attributes.get(IDENTITY)
        identity = self.config.access.connect(session.username, session.password, will_topic, owner)
        if identity is None:
            return False
        session.attributes[IDENTITY] = identity
        session.is_anonymous = identity is ANONYMOUS
        return True


class TopicAccess(BaseTopicPlugin):  # type: ignore[misc]  # amqtt ships no types
    """Topic filtering for PUBLISH, SUBSCRIBE and delivery."""

    Config = _Config

    async def topic_filtering(
        self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None
    ) -> bool:
        """Whether the session's identity may."""
        identity = session.attributes.get(IDENTITY) if session is not None else None
        access: Access = self.config.access
        return access.allows(identity, action, topic or "")
