"""Fakes that stand in for the world: a clock that is turned by hand, and a link without a broker."""

from collections.abc import Callable
from typing import Any

from devices.topics import matches
from hub.link import LinkDown, OnConnected, OnMessage

__all__ = ["FakeBroker", "FakeClock", "FakeLink"]


class FakeClock:
    """Time stands still until it is moved."""

    def __init__(self, wall_ms: int = 1_700_000_000_000) -> None:
        self.seconds = 1_000.0
        self.wall = wall_ms

    def monotonic(self) -> float:
        return self.seconds

    def wall_ms(self) -> int:
        return self.wall

    def forward(self, seconds: float) -> None:
        """Moves both clocks."""
        self.seconds += seconds
        self.wall += round(seconds * 1000)


class FakeBroker:
    """What the links of several nodes share: retained messages, and who is there."""

    def __init__(self) -> None:
        self.retained: dict[str, bytes] = {}
        self.links: list[FakeLink] = []
        self._queue: list[Callable[[], None]] = []

    def route(self, topic: str, payload: bytes, retain: bool = False) -> None:
        """A message for all links, delivered by `settle`, in order."""
        if retain and payload:
            self.retained[topic] = payload
        elif retain:
            self.retained.pop(topic, None)
        self._queue += [lambda link=link: link.receive(topic, payload) for link in self.links]  # type: ignore[misc]

    def settle(self, deliveries: int | None = None) -> None:
        """Delivers until nothing new comes of it, or so many times to one link."""
        while self._queue and deliveries != 0:
            self._queue.pop(0)()
            deliveries = None if deliveries is None else deliveries - 1


class FakeLink:
    """A broker in a dictionary: delivers when asked to settle, keeps retained messages, can be taken down.

    Attributes:
        published: every message handed over, as (topic, payload, qos, retain).
        cuts: every (owner, end) of `cut`.
    """

    def __init__(self, broker: FakeBroker | None = None, *, wills_are_final: bool = False) -> None:
        self.broker = broker or FakeBroker()
        self.broker.links.append(self)
        self.connected = True
        self.wills_are_final = wills_are_final
        self.published: list[tuple[str, bytes, int, bool]] = []
        self.cuts: list[tuple[str, bool]] = []
        self._subscriptions: list[tuple[str, OnMessage]] = []
        self._watchers: list[OnConnected] = []

    @property
    def retained(self) -> dict[str, bytes]:
        return self.broker.retained

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        if not self.connected:
            raise LinkDown("the broker is out of reach")
        self.published.append((topic, payload, qos, retain))
        self.broker.route(topic, payload, retain)

    def subscribe(self, topic_filter: str, on_message: OnMessage) -> None:
        self._subscriptions.append((topic_filter, on_message))
        for topic, payload in list(self.retained.items()):
            if matches(topic_filter, topic):
                on_message(topic, payload, True)

    def cut(self, owner: str, refused: Callable[[Any], bool], *, end: bool) -> None:
        """Whom the services cut off."""
        self.cuts.append((owner, end))

    def watch_connection(self, on_connected: OnConnected) -> None:
        self._watchers.append(on_connected)

    def receive(self, topic: str, payload: bytes, *, retained: bool = False) -> None:
        """A message arrives from the broker."""
        for topic_filter, on_message in self._subscriptions:
            if self.connected and matches(topic_filter, topic):
                on_message(topic, payload, retained)

    def settle(self) -> None:
        """Delivers what was published, own messages too, as a broker does."""
        self.broker.settle()

    def down(self) -> None:
        """The broker goes out of reach."""
        self.connected = False
        for watcher in self._watchers:
            watcher(False)

    def up(self) -> None:
        """The broker is back; what it kept comes again."""
        self.connected = True
        for topic, payload in list(self.retained.items()):
            self.receive(topic, payload, retained=True)
        for watcher in self._watchers:
            watcher(True)

    def sent(self, topic: str) -> list[bytes]:
        """Payloads published to one topic."""
        return [payload for name, payload, _, _ in self.published if name == topic]
