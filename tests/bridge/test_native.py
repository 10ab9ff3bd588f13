"""`bridge.native` on a socket without a network: a login that takes a while."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from bridge.door import Handshake
from bridge.errors import ConnectRefused
from bridge.native import NativeDoor
from hub.auth import Identity, Tokens
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


def introduce(socket: FakeSocket, bench: Bench, **data: Any) -> NativeDoor:
    """A client logs in by its first frame."""
    door = NativeDoor(bench.gateway, Handshake(path="/ws", query={}, headers={}, client=""))
    door.opened(socket)
    door.received(orjson.dumps({"id": 7, "event": "auth", "data": data}).decode())
    return door


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


STATUSES, STATES = "batch-station-status-update", "batch-station-state-update"


class TestAuthFrame:
    """What stands beside the token."""

    @pytest.fixture
    def bench(self) -> Bench:
        bench = Bench()
        for station_id in ("st-1", "st-2"):
            bench.say(station_id, "status", {"devices": []})
        return bench

    def heard(self, bench: Bench, **data: Any) -> list[tuple[str, Any]]:
        """What a browser that logs in so gets after its welcome: ids, of a batch."""
        socket = FakeSocket()
        introduce(socket, bench, token=bench.tokens.mint_user(f"u{len(bench.gateway.peers)}"), **data)
        welcome, *frames = socket.take()
        assert welcome["event"] == "welcome"
        assert socket.closed is None
        return [
            (frame["event"], [item["stationId"] for item in frame["data"]]) if "event" in frame else ("", frame)
            for frame in frames
        ]

    async def test_what_is_watched(self, bench: Bench) -> None:
        """The first batch holds that alone; without `watch` all, as ever."""
        every = ["st-1", "st-2"]
        assert self.heard(bench) == self.heard(bench, watch=None) == [(STATUSES, every)]
        assert self.heard(bench, watch=["st-2", "st-9"]) == [(STATUSES, ["st-2"])]
        assert self.heard(bench, watch=[]) == []
        assert self.heard(bench, watch=[], states=True) == [(STATES, every)]
        assert self.heard(bench, watch=["st-1"], states=True) == [(STATES, every), (STATUSES, ["st-1"])]
        assert self.heard(bench, states=True) == [(STATES, every), (STATUSES, every)]

    @pytest.mark.parametrize(
        ("wrong", "field"),
        [
            ({"watch": "st-1"}, "watch"),
            ({"watch": ["a/b"]}, "watch"),
            ({"watch": [7]}, "watch"),
            ({"watch": {"st-1": 1}}, "watch"),
            ({"watch": ["st-1"], "states": 1}, "states"),
            ({"states": None}, "states"),
        ],
    )
    async def test_malformed(self, bench: Bench, wrong: dict[str, Any], field: str) -> None:
        """It is let in, told what is wrong, and watches nothing."""
        ((event, error),) = self.heard(bench, **wrong)
        assert event == ""
        assert error["id"] == 7
        assert error["error"].startswith(f"INVALID_ARGUMENT: {field}: ")
        (peer,) = bench.gateway.browsers()
        assert (peer.watch, peer.states) == (frozenset(), False)

    async def test_a_bad_token_is_refused_whatever_stands_beside_it(self, bench: Bench) -> None:
        socket = FakeSocket()
        introduce(socket, bench, token="bad", watch=7)
        assert socket.take() == []
        assert socket.closed == (4401, "UNAUTHORIZED: Unauthorized")

    async def test_beside_the_token_of_a_station(self, bench: Bench) -> None:
        socket = FakeSocket()
        introduce(socket, bench, token=bench.tokens.mint_station("ws-1"), watch=["st-1"], states=True)
        assert [frame["event"] for frame in socket.take()] == ["welcome"]


async def test_welcome() -> None:
    """It says who one is to the hub."""
    bench, socket = Bench(), FakeSocket()
    introduce(socket, bench, token=bench.tokens.mint_user("u1", role="operator", nickname="Ann"))
    (welcome,) = socket.take()
    (peer_id,) = bench.gateway.peers
    assert welcome == {
        "event": "welcome",
        "data": {"peerId": peer_id, "heartbeat": 25, "role": "operator", "userId": "u1", "nickname": "Ann"},
    }


async def test_welcome_of_a_name_that_is_no_text(slow: SlowLogin) -> None:
    """Half a surrogate pair, in a token issued elsewhere."""
    slow.answer(identity(nickname="a\ud800"))
    (welcome,) = slow.socket.take()
    assert welcome["data"]["nickname"] == "a?"


async def test_welcome_says_what_one_may() -> None:
    """Under `--open-registration` who has no role is an operator."""
    socket, bench = FakeSocket(), Bench()
    tokens = Tokens("a secret of the tests, long enough", open_registration=True, clock=lambda: bench.clock.wall / 1000)
    bench.gateway.authenticator.tokens = tokens
    introduce(socket, bench, token=tokens.mint_user("u1", role=None))
    assert socket.take()[0]["data"]["role"] == "operator"
