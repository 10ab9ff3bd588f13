"""Who asked a link for what: filters to callbacks, one dictionary look-up a message, errors contained."""

import logging
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Final

from devices.topics import matches, valid_filter
from hub.link import OnConnected, OnMessage

__all__ = ["Dispatch", "Subscription", "join", "overlap"]

CACHED_TOPICS: Final = 50_000

log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class Subscription:
    """One call of `Link.subscribe`. `kept` holds the topics whose retained message it has had."""

    topic_filter: str
    on_message: OnMessage
    kept: set[str] = field(default_factory=set)

    def tell(self, topic: str, payload: bytes, retained: bool) -> None:
        """Calls back; what the callback raises is logged and goes no further."""
        try:
            self.on_message(topic, payload, retained)
        except Exception as error:
            log.error("a subscriber of %s failed: %s: %s", self.topic_filter, type(error).__name__, error)
            log.debug("where it failed", exc_info=error)


class Dispatch:
    """The subscriptions and connection watchers of one link."""

    def __init__(self) -> None:
        self.subscriptions: list[Subscription] = []
        self._watchers: list[OnConnected] = []
        self._cache: dict[str, tuple[Subscription, ...]] = {}

    @staticmethod
    def subscription(topic_filter: str, on_message: OnMessage) -> Subscription:
        """A subscription that is not yet active. Raises ValueError for what is no topic filter."""
        if not valid_filter(topic_filter):
            raise ValueError(f"not a topic filter: {topic_filter!r}")
        return Subscription(topic_filter, on_message)

    def add(self, subscription: Subscription) -> None:
        """Makes a subscription active."""
        self.subscriptions.append(subscription)
        self._cache.clear()

    def matching(self, topic: str) -> tuple[Subscription, ...]:
        """The active subscriptions that `topic` matches."""
        found = self._cache.get(topic)
        if found is None:
            if len(self._cache) >= CACHED_TOPICS:
                self._cache.clear()
            found = self._cache[topic] = tuple(
                subscription for subscription in self.subscriptions if matches(subscription.topic_filter, topic)
            )
        return found

    def deliver(self, topic: str, payload: bytes) -> None:
        """Hands a live message to all who asked for it."""
        for subscription in self.matching(topic):
            subscription.tell(topic, payload, False)

    def watch(self, on_connected: OnConnected) -> None:
        """Adds a watcher of the connection."""
        self._watchers.append(on_connected)

    def tell_connected(self, connected: bool) -> None:
        """Calls every watcher; what one raises is logged and goes no further."""
        for watcher in self._watchers:
            try:
                watcher(connected)
            except Exception as error:
                log.error("a watcher of the connection failed: %s: %s", type(error).__name__, error)
                log.debug("where it failed", exc_info=error)


def overlap(one: str, other: str) -> bool:
    """Whether some topic matches both filters."""
    for mine, theirs in zip_longest(one.split("/"), other.split("/")):
        if "#" in (mine, theirs):
            return True
        if mine != theirs and "+" not in (mine, theirs):
            return False
        if mine is None or theirs is None:
            return False
    return True


def join(one: str, other: str) -> str:
    """The narrowest filter that matches all that two overlapping filters match."""
    levels = []
    for mine, theirs in zip_longest(one.split("/"), other.split("/"), fillvalue="#"):
        levels.append("#" if "#" in (mine, theirs) else mine if mine == theirs else "+")
        if levels[-1] == "#":
            break
    return "/".join(levels)
