"""`bridge.native` on a socket without a network: a login that takes a while."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from bridge.door import Handshake
from bridge.errors import ConnectRefused
from bridge.native import NativeDoor
from hub.auth import Identity
from tests.bridge.fakes import Bench, FakeWire, identity

Done = Callable[[Identity | ConnectRefused], None]


class FakeSocket(FakeWire):
    """Remembers whether it is read from."""

    reading = True

    def send_text(self, text: bytes) -> None:
        self.send_frame(text)

    def pause(self) -> None:
        self.reading = False

    def resume(self) -> None:
        self.reading = True

    def abort(self) -> None:
        self.closed = self.closed or (1006, "")

    def take(self) -> list[Any]:
        """What was sent since the last call; every frame is a short one."""
        taken = [orjson.loads(frame[2 if frame[1] < 126 else 4 :]) for frame in self.frames]
        self.frames.clear()
        return taken


class SlowLogin:
    """A door whose gateway answers a login when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bench, self.socket = Bench(), FakeSocket()
        self.asked: list[tuple[str | None, Done]] = []
        monkeypatch.setattr(self.bench.gateway, "login", lambda token, done: self.asked.append((token, done)))
        handshake = Handshake(path="/ws", query={"token": "t"}, headers={}, client="")
        self.door = NativeDoor(self.bench.gateway, handshake)
        self.door.opened(self.socket)

    def answer(self, who: Identity | ConnectRefused) -> None:
        ((token, done),) = self.asked
        assert token == "t"
        done(who)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> SlowLogin:
    return SlowLogin(monkeypatch)


def test_what_comes_during_a_login_is_answered_after_the_welcome(slow: SlowLogin) -> None:
    """The rest of the read waits, in order, and nothing more is read until then."""
    slow.door.received('{"id":1,"event":"ping"}')
    slow.door.received("{")
    assert not slow.socket.reading
    assert slow.socket.take() == []
    slow.answer(identity())
    welcome, ack, error = slow.socket.take()
    assert welcome["event"] == "welcome"
    assert ack["id"] == 1
    assert error["error"].startswith("INVALID_ARGUMENT")
    assert slow.socket.reading
    slow.door.received('{"id":2,"event":"ping"}')
    assert slow.socket.take()[0]["id"] == 2


def test_a_login_that_fails_late_is_refused(slow: SlowLogin) -> None:
    """4401 with the reason; what waited is not looked at."""
    slow.door.received('{"id":1,"event":"ping"}')
    slow.answer(ConnectRefused("UNAUTHORIZED: Unauthorized"))
    assert slow.socket.take() == []
    assert slow.socket.closed == (4401, "UNAUTHORIZED: Unauthorized")


def test_one_that_left_during_its_login_is_nobody(slow: SlowLogin) -> None:
    """No peer is made for a socket that is gone."""
    slow.door.closed(1006)
    slow.answer(identity())
    assert slow.socket.take() == []
    assert slow.bench.gateway.peers == {}
