"""A door without a socket: what a peer was sent, in order."""

from collections.abc import Sequence
from typing import Any

import orjson

from bridge.dispatch import dispatch
from bridge.errors import EventError
from bridge.gateway import Gateway
from bridge.payloads import Wanted
from bridge.peer import Peer
from hub.auth import Identity, Tokens
from hub.authentication import Authenticator
from hub.intake import Intake
from hub.limits import TokenBucket
from hub.services import Services
from tests.fakes import FakeBroker, FakeClock, FakeLink

__all__ = ["Bench", "FakePeer", "FakeWire", "identity"]


class FakeWire:
    """Keeps frames; `buffered` is what the test says the reader left unread."""

    def __init__(self, *, reads: bool = True) -> None:
        self.frames: list[bytes] = []
        self.buffered = 0
        self.held: list[float] = []
        self._reads = reads
        self.closed: tuple[int, str] | None = None

    def send_frame(self, frame: bytes) -> None:
        if self.closed is None:
            self.frames.append(frame)
            self.buffered += 0 if self._reads else len(frame)

    def trust(self) -> None:
        pass

    def hold(self, seconds: float) -> None:
        self.held.append(seconds)

    def send_text(self, text: bytes) -> None:
        self.send_frame(text)

    def close(self, code: int, reason: str = "") -> None:
        self.closed = self.closed or (code, reason)


class FakePeer(Peer):
    """A peer whose frames are plain JSON."""

    wire: FakeWire

    @staticmethod
    def frame(event: str, data: bytes) -> bytes:
        return orjson.dumps([event, orjson.Fragment(data)])

    def take(self) -> list[tuple[str, Any]]:
        """What it was sent since the last call, as (event, data)."""
        taken = [(event, data) for event, data in map(orjson.loads, self.wire.frames)]
        self.wire.frames.clear()
        return taken


def identity(user: str = "u1", role: str = "operator", *, station: str | None = None, **fields: Any) -> Identity:
    """Somebody with a role; with `station`, that station's token."""
    if station is not None:
        return Identity(user_id=f"station:{station}", type="station", role="station", station_id=station, **fields)
    fields = {"type": "registered", "session_id": f"{user}-session"} | fields
    return Identity(user_id=user, role=role, **fields)  # type: ignore[arg-type]  # a role by name


class Bench:
    """A gateway on a fake link, with peers to play with."""

    def __init__(
        self, *, nid: str = "aaaaaaaa", broker: FakeBroker | None = None, clock: FakeClock | None = None, **options: Any
    ) -> None:
        self.clock, self.link = clock or FakeClock(), FakeLink(broker)
        self.tokens = Tokens("a secret of the tests, long enough", clock=lambda: self.clock.wall / 1000)
        self.services = Services(self.link, self.clock, Authenticator(self.tokens), nid=nid)
        self.gateway = Gateway(self.services, **options)
        self.services.start(self.gateway)
        Intake(self.services).subscribe()
        assert not self.services.has_synced.is_set()
        self.link.settle()
        assert self.services.has_synced.is_set()

    def join(
        self,
        who: Identity | None = None,
        *,
        reads: bool = True,
        watch: Sequence[str] | None = None,
        states: bool = False,
    ) -> FakePeer:
        """A peer connects; `watch` and `states` as in a login."""
        bucket = TokenBucket(self.gateway.event_rate, self.gateway.event_burst)
        peer = FakePeer(
            self.gateway.new_peer_id(), who or identity(), FakeWire(reads=reads), bucket, self.clock.monotonic
        )
        self.gateway.connect(peer, Wanted(watch=None if watch is None else list(watch), states=states))
        return peer

    def call(self, peer: FakePeer, event: str, data: Any = None) -> Any:
        """Sends an event, gives its ack; raises the EventError it was answered with. What must wait gives `...`."""
        answers: list[tuple[bytes, EventError | None]] = []
        dispatch(self.gateway, peer, event, data, lambda ack, error: answers.append((ack, error)))
        self.link.settle()
        if not answers:
            return ...
        ((ack, error),) = answers
        if error is not None:
            raise error
        return orjson.loads(ack)

    def station(self, station_id: str = "st-1") -> None:
        """A station announces itself by MQTT."""
        self.say(station_id, "online", {"sessionId": "s1", "statusInterval": 5})

    def say(self, station_id: str, leaf: str, payload: Any) -> None:
        """A station publishes."""
        raw = payload if isinstance(payload, bytes) else orjson.dumps(payload)
        self.link.broker.route(f"stations/{station_id}/{leaf}", raw)
        self.link.settle()

    def commands(self, station_id: str = "st-1") -> list[Any]:
        """What was sent to the station by MQTT."""
        return [orjson.loads(raw) for raw in self.link.sent(f"stations/{station_id}/cmd")]
