"""`$SYS/broker/...`: what the broker says of itself, as retained messages for those who may read them."""

from collections.abc import Iterator
from importlib.metadata import version

from devices.topics import SYS
from hub.broker.engine import Engine
from hub.broker.message import Message

__all__ = ["SysTopics"]


class SysTopics:
    """Publishes the counters at an interval; only what has changed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._every = engine.limits.sys_interval
        self._started = engine.now
        self._next = engine.now
        self._said: dict[str, str] = {}

    def tick(self, now: float) -> None:
        """Time has passed; `now` in monotonic seconds."""
        if not self._every or now < self._next:
            return
        self._next = now + self._every
        for name, value in self._values(now):
            text = str(value)
            if self._said.get(name) != text:
                self._said[name] = text
                self._engine.publish(Message(SYS + name, text.encode(), 0, True))

    def _values(self, now: float) -> Iterator[tuple[str, object]]:
        gauges, stats = self._engine.gauges(), self._engine.stats
        yield "version", f"StationHub {version('stationhub')}"
        yield "uptime", int(now - self._started)
        yield "clients/connected", gauges.connections
        yield "clients/total", gauges.sessions
        yield "subscriptions/count", gauges.subscriptions
        yield "retained messages/count", gauges.retained
        yield "messages/received", stats.messages_received
        yield "messages/sent", stats.messages_sent
        yield "messages/queued", gauges.queued
        yield "messages/inflight", gauges.inflight
        yield "messages/dropped", stats.dropped.total()
        yield "routes/hits", gauges.route_hits
        yield "routes/misses", gauges.route_misses
        yield "bytes/received", stats.bytes_received
        yield "bytes/sent", stats.bytes_sent
        for reason, count in stats.dropped.items():
            yield f"dropped/{reason}", count
