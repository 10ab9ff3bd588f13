"""Retained messages: the newest of each topic, found by filter at the cost of what matches. Pure."""

from collections import Counter
from collections.abc import Iterator

from hub.broker.message import Message

__all__ = ["Retained"]


class _Level:
    """One level of the topics that hold a message."""

    __slots__ = ("children", "topic")

    def __init__(self) -> None:
        self.children: dict[str, _Level] = {}
        self.topic: str | None = None


class Retained:
    """The retained messages.

    Attributes:
        size: bytes of all of them, about.
    """

    def __init__(self) -> None:
        self._messages: dict[str, Message] = {}
        self._root = _Level()
        self._owned: Counter[str] = Counter()
        self.size = 0

    def __len__(self) -> int:
        return len(self._messages)

    def __iter__(self) -> Iterator[Message]:
        return iter(self._messages.values())

    def __contains__(self, topic: str) -> bool:
        return topic in self._messages

    def get(self, topic: str) -> Message | None:
        """What is kept for a topic."""
        return self._messages.get(topic)

    def owned(self, owner: str | None) -> int:
        """How many messages of one owner there are."""
        return self._owned[owner] if owner is not None else 0

    def _count(self, message: Message, sign: int) -> None:
        self.size += sign * message.size
        if message.owner is not None:
            self._owned[message.owner] += sign
            if not self._owned[message.owner]:
                del self._owned[message.owner]

    def set(self, message: Message) -> None:
        """Keeps a message in place of what its topic held."""
        before = self._messages.get(message.topic)
        self._count(message, 1)
        if before is not None:
            self._count(before, -1)
        else:
            level = self._root
            for name in message.topic.split("/"):
                child = level.children.get(name)
                if child is None:
                    child = level.children[name] = _Level()
                level = child
            level.topic = message.topic
        self._messages[message.topic] = message

    def clear(self, topic: str) -> bool:
        """Forgets what a topic held. False: nothing."""
        message = self._messages.pop(topic, None)
        if message is None:
            return False
        self._count(message, -1)
        path = []
        level = self._root
        for name in topic.split("/"):
            path.append((level, name))
            level = level.children[name]
        level.topic = None
        while path and level.topic is None and not level.children:
            level, name = path.pop()
            del level.children[name]
        return True

    def match(self, topic_filter: str) -> list[str]:
        """The topics with a message that a filter matches; look each up when it is sent, it may have changed."""
        if "+" not in topic_filter and "#" not in topic_filter:
            return [topic_filter] if topic_filter in self._messages else []
        found: list[str] = []
        levels = [self._root]
        for depth, name in enumerate(topic_filter.split("/")):
            if name == "#":
                for level in levels:
                    _collect(level, found, depth == 0)
                return found
            if name == "+":
                # a topic of the server's own is not for wildcards in front [MQTT-4.7.2-1]
                levels = [
                    child
                    for level in levels
                    for key, child in level.children.items()
                    if depth or not key.startswith("$")
                ]
            else:
                levels = [child for level in levels if (child := level.children.get(name)) is not None]
        return found + [level.topic for level in levels if level.topic is not None]


def _collect(start: _Level, found: list[str], top: bool) -> None:
    todo = [start]
    while todo:
        level = todo.pop()
        if level.topic is not None:
            found.append(level.topic)
        todo += [child for key, child in level.children.items() if not (top and level is start and key.startswith("$"))]
