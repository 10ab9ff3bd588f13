"""Subscriptions of sessions, shared ones among them, entered into the router and taken out of it. Pure."""

from typing import Any

from hub.broker.router import Route, Router
from hub.broker.session import Session, SharedGroup, Subscription

__all__ = ["Subscriptions", "shared"]


def shared(topic_filter: str) -> tuple[str, str] | None:
    """Share name and filter of `$share/name/filter`; None for any other. Raises ValueError for a bad one [MQTT-4.8.2-2]."""
    if not topic_filter.startswith("$share/"):
        return None
    _, name, inner = (*topic_filter.split("/", 2), "", "")[:3]
    if not name or "+" in name or "#" in name or not inner:
        raise ValueError("not a shared subscription")
    return name, inner


class Subscriptions:
    """All of them."""

    def __init__(self, router: "Router[Any, Any]") -> None:
        self._router: Router[Any, Route] = router
        self.groups: dict[tuple[str, str], SharedGroup] = {}

    @property
    def count(self) -> int:
        """How many there are."""
        return self._router.subscriptions + sum(len(group) - 1 for group in self.groups.values())

    def enter(self, session: Session, subscription: Subscription) -> None:
        """Adds a subscription to its session and the router, or replaces one [MQTT-3.8.4-3]."""
        share = shared(subscription.topic_filter)
        if share is None:
            self._router.add(subscription.topic_filter, session, subscription)
        else:
            group = self.groups.get(share)
            if group is None:
                group = self.groups[share] = SharedGroup(*share)
                self._router.add(group.topic_filter, group, group)
            group.join(session, subscription)
            subscription.group = group
        session.subscriptions[subscription.topic_filter] = subscription

    def leave(self, session: Session, topic_filter: str) -> None:
        """Takes out a subscription that the session has."""
        group = session.subscriptions.pop(topic_filter).group
        if group is None:
            self._router.remove(topic_filter, session)
            return
        group.leave(session)
        if not len(group):
            self._router.remove(group.topic_filter, group)
            del self.groups[group.name, group.topic_filter]
