"""Who gets what: subscriptions by filter, and for each topic the route that was worked out once. Pure.

Filters without wildcards stand in a dictionary, the others in a trie by level. A `Route` holds who subscribed to what
matches one topic; it is worked out when the topic is first used and again when a subscription that matters changed:

* a filter without wildcards makes one route stale,
* one with two literal levels in front (`stations/st-1/#`) those of that prefix,
* any other all, by one number.

So publishing costs the same for one filter and for a million, and so do subscribing and leaving.
"""

from collections.abc import Callable, Hashable
from typing import Any, Final, Generic, TypeVar

__all__ = ["Route", "Router"]

S = TypeVar("S")
R = TypeVar("R", bound="Route")

MAX_ROUTES: Final = 100_000
_STALE: Final = -1


class _Node(Generic[S]):
    """A level of the filters that have wildcards."""

    __slots__ = ("children", "subscribers")

    def __init__(self) -> None:
        self.children: dict[str, _Node[S]] = {}
        self.subscribers: dict[Hashable, S] = {}


class Route:
    """What stands for one topic; `generation` is the router's while it holds true."""

    __slots__ = ("generation", "topic")

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.generation = _STALE


class Router(Generic[S, R]):
    """Subscriptions and routes.

    Args:
        make: makes the route of a topic.
        fill: works out a route from all subscriptions that match, given as (subscriber's key, subscription).

    Attributes:
        generation: a route with another number is stale.
        misses: routes that had to be worked out.
    """

    def __init__(self, make: Callable[[str], R], fill: Callable[[R, list[tuple[Any, S]]], None]) -> None:
        self._make, self._fill = make, fill
        self._exact: dict[str, dict[Hashable, S]] = {}
        self._root: _Node[S] = _Node()
        self._routes: dict[str, R] = {}
        self._by_prefix: dict[str, list[R]] | None = None
        self.generation = 0
        self.subscriptions = 0
        self.misses = 0

    @property
    def routes(self) -> int:
        """How many topics have a route."""
        return len(self._routes)

    @property
    def filters(self) -> dict[str, dict[Hashable, S]]:
        """All subscriptions by filter: for inspection, costs what it holds."""
        found = {name: dict(subscribers) for name, subscribers in self._exact.items()}
        todo = [("", self._root)]
        while todo:
            name, node = todo.pop()
            if node.subscribers:
                found[name[1:]] = dict(node.subscribers)
            todo += [(f"{name}/{level}", child) for level, child in node.children.items()]
        return found

    def add(self, topic_filter: str, key: Hashable, subscription: S) -> bool:
        """Sets the one subscription of `key` to a filter. True: there was none before."""
        if "+" not in topic_filter and "#" not in topic_filter:
            subscribers = self._exact.get(topic_filter)
            if subscribers is None:
                subscribers = self._exact[topic_filter] = {}
        else:
            node = self._root
            for level in topic_filter.split("/"):
                child = node.children.get(level)
                if child is None:
                    child = node.children[level] = _Node()
                node = child
            subscribers = node.subscribers
        new = key not in subscribers
        subscribers[key] = subscription
        self.subscriptions += new
        self.changed(topic_filter)
        return new

    def remove(self, topic_filter: str, key: Hashable) -> bool:
        """Ends the subscription of `key` to a filter. False: there was none."""
        if "+" not in topic_filter and "#" not in topic_filter:
            subscribers = self._exact.get(topic_filter)
            if subscribers is None or subscribers.pop(key, None) is None:
                return False
            if not subscribers:
                del self._exact[topic_filter]
        else:
            path: list[tuple[_Node[S], str]] = []
            node: _Node[S] | None = self._root
            for level in topic_filter.split("/"):
                assert node is not None
                path.append((node, level))
                node = node.children.get(level)
                if node is None:
                    return False
            if node is None or node.subscribers.pop(key, None) is None:
                return False
            while path and not node.subscribers and not node.children:
                node, level = path.pop()
                del node.children[level]
        self.subscriptions -= 1
        self.changed(topic_filter)
        return True

    def changed(self, topic_filter: str) -> None:
        """Who subscribed to this filter, or how, is different now."""
        if "+" not in topic_filter and "#" not in topic_filter:
            route = self._routes.get(topic_filter)
            if route is not None:
                route.generation = _STALE
            return
        first, _, rest = topic_filter.partition("/")
        second, more, _ = rest.partition("/")
        if not more or first in ("+", "#") or second in ("+", "#"):
            self.generation += 1
            return
        if self._by_prefix is None:
            self._by_prefix = {}
            for route in self._routes.values():
                self._by_prefix.setdefault(_prefix(route.topic), []).append(route)
        for route in self._by_prefix.get(f"{first}/{second}", ()):
            route.generation = _STALE

    def route(self, topic: str) -> R:
        """The route of a topic, as it is now."""
        route = self._routes.get(topic)
        if route is None:
            if len(self._routes) >= MAX_ROUTES:
                # topics of long ago make room; whoever still holds a route of them asks again
                self._routes.clear()
                self._by_prefix = None
                self.generation += 1
            route = self._routes[topic] = self._make(topic)
            if self._by_prefix is not None:
                self._by_prefix.setdefault(_prefix(topic), []).append(route)
        if route.generation != self.generation:
            self.misses += 1
            self._fill(route, self.match(topic))
            route.generation = self.generation
        return route

    def match(self, topic: str) -> list[tuple[Any, S]]:
        """All subscriptions that a topic matches, as (key, subscription)."""
        subscribers = self._exact.get(topic)
        found: list[tuple[Any, S]] = list(subscribers.items()) if subscribers else []
        root = self._root.children
        if not root:
            return found
        levels = topic.split("/")
        nodes: list[_Node[S]] = []
        # a topic of the server's own is not for wildcards in front [MQTT-4.7.2-1]
        wild = () if topic.startswith("$") else ("+",)
        if wild and "#" in root:
            found += root["#"].subscribers.items()
        for name in (levels[0], *wild):
            node = root.get(name)
            if node is not None and name != "#":
                nodes.append(node)
        for level in levels[1:]:
            following = []
            for node in nodes:
                children = node.children
                if not children:
                    continue
                for name in (level, "+"):
                    child = children.get(name)
                    if child is not None:
                        following.append(child)
                rest = children.get("#")
                if rest is not None:
                    found += rest.subscribers.items()
            nodes = following
            if not nodes:
                return found
        for node in nodes:
            found += node.subscribers.items()
            rest = node.children.get("#")  # "a/#" matches "a" too [MQTT-4.7.1-2]
            if rest is not None:
                found += rest.subscribers.items()
        return found


def _prefix(topic: str) -> str:
    first, _, rest = topic.partition("/")
    return f"{first}/{rest.partition('/')[0]}"
