"""A policy that waits for its answers (amqtt's topic plugins): who may receive is asked before a message is routed, in order."""

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from hub.broker.delivery import Deliveries
from hub.broker.message import Message
from hub.broker.policy import Policy
from hub.broker.session import Session, Subscription

__all__ = ["Asking"]

log = logging.getLogger(__name__)


class Asking:
    """The questions that no connection waits for, and those that one does.

    Args:
        spawn: waits for something, see `Shell.spawn`.
        wake: called when something was published.
    """

    def __init__(
        self,
        policy: Policy,
        deliveries: Deliveries,
        spawn: Callable[[Awaitable[Any], Callable[[Any], None]], None],
        wake: Callable[[], None],
    ) -> None:
        self._policy, self._deliveries, self._spawn, self._wake = policy, deliveries, spawn, wake
        self._messages: deque[Message] = deque()
        self.busy = False

    async def permit(self, allowed: Awaitable[bool], message: Message) -> set[Session] | bool:
        """False, or the sessions that may have a client's message."""
        return await self._receivers(message) if await allowed else False

    async def receivable(
        self, session: Session, found: list[tuple[Subscription, list[str]]]
    ) -> list[tuple[Subscription, list[str]]]:
        """Of the retained topics that subscriptions match, those that the session may have."""
        return [
            (subscription, [topic for topic in topics if await self._may_receive(session.principal, topic)])
            for subscription, topics in found
        ]

    def publish(self, message: Message) -> None:
        """Publishes a message that no client waits for, after those before it."""
        self._messages.append(message)
        if not self.busy:
            self.busy = True
            self._spawn(self._drain(), lambda _: None)

    async def _drain(self) -> None:
        try:
            while self._messages:
                message = self._messages.popleft()
                try:
                    permitted = await self._receivers(message)
                except Exception as error:
                    log.error("a message is lost, a broker plugin failed: %s: %s", type(error).__name__, error)
                else:
                    self._deliveries.publish(message, permitted)
                message.source = None
                self._wake()
        finally:
            self.busy = False

    async def _receivers(self, message: Message) -> set[Session]:
        route = self._deliveries.router.route(message.topic)
        sessions = [target.session for target in route.targets]
        for group in route.groups:
            sessions += (session for session, _ in group.members())
        return {session for session in sessions if await self._may_receive(session.principal, message.topic)}

    async def _may_receive(self, principal: Any, topic: str) -> bool:
        answer = self._policy.allows(principal, "receive", topic)
        return bool(await answer if isinstance(answer, Awaitable) else answer)
