"""Engine.IO sessions without sockets: opening, heartbeat, polling, the upgrade, the end, and how many there may be."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from bridge.connection import text_frame
from bridge.socketio.parts import POLLING, WEBSOCKET, EngineError
from bridge.socketio.session import Session
from hub.broker.websocket import binary_frame
from tests.bridge.socketio_machine import Machine, PollingClient, shaken

INTERVAL, TIMEOUT = 25.0, 20.0


class Recorder:
    """Keeps what its session tells; echoes messages when asked to."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.messages: list[str | bytes] = []
        self.told: list[str] = []
        self.echo = True
        self.react: Callable[[str | bytes], None] = lambda _: None

    def message(self, message: str | bytes) -> None:
        self.messages.append(message)
        self.react(message)
        if self.echo:
            frame = binary_frame(message) if isinstance(message, bytes) else text_frame(b"4" + message.encode())
            self.session.send([frame])

    def writable(self) -> None:
        self.told.append("writable")

    def upgraded(self) -> None:
        self.told.append("upgraded")

    def closed(self) -> None:
        self.told.append("closed")


class World(Machine):
    """A machine whose sessions have recorders."""

    def __init__(self, **settings: Any) -> None:
        self.recorders: list[Recorder] = []
        super().__init__(handler=self._record, **settings)

    def _record(self, session: Session) -> Recorder:
        self.recorders.append(Recorder(session))
        return self.recorders[-1]

    @property
    def recorder(self) -> Recorder:
        return self.recorders[-1]

    @property
    def ended(self) -> dict[str, int]:
        return self.engine.counters.ended


@pytest.fixture
def world() -> World:
    return World()


def refused(call: Callable[..., Any], *arguments: Any) -> tuple[int, int]:
    """The HTTP status and the code that a request is refused with."""
    with pytest.raises(EngineError) as error:
        call(*arguments)
    return error.value.status, error.value.code


# ---- requests


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({}, 0),
        ({"EIO": "4"}, 0),
        ({"EIO": "4", "transport": "abc"}, 0),
        ({"EIO": "4", "transport": "webtransport"}, 0),
        ({"transport": "polling"}, 5),
        ({"EIO": "3", "transport": "polling"}, 5),
        ({"EIO": "abc", "transport": "polling"}, 5),
        ({"EIO": "4", "transport": "polling", "sid": "abc"}, 1),
        ({"EIO": "4", "transport": "polling", "sid": ""}, 1),
        ({"EIO": "4", "transport": "websocket"}, 3),
        ({"EIO": "4", "transport": "websocket", "sid": "sid-0"}, 3),
    ],
)
def test_bad_requests(world: World, query: dict[str, str], code: int) -> None:
    """Each is refused with the reference server's code, and opens nothing."""
    world.polling()
    assert refused(world.engine.session_of, query, POLLING) == (400, code)
    assert world.engine.sessions == {POLLING: 1, WEBSOCKET: 0}


def test_only_a_get_opens_a_session(world: World) -> None:
    with pytest.raises(EngineError) as error:
        world.engine.session_of({"EIO": "4", "transport": "polling"}, POLLING, opens=False)
    assert (error.value.status, error.value.code) == (400, 2)


# ---- a WebSocket from the start


def test_websocket_session(world: World) -> None:
    """It opens with its settings, and with nothing to upgrade to; text and binary come and go."""
    client = world.websocket()
    (opening,) = client.take()
    assert isinstance(opening, str)
    assert json.loads(opening[1:]) == {
        "sid": "sid-0",
        "upgrades": [],
        "pingInterval": 25_000,
        "pingTimeout": 20_000,
        "maxPayload": 1_000_000,
    }
    assert client.send("4hello", b"\1\2", "4", "bAQI=") == ["4hello", b"\1\2", "4", b"\1\2"]


@pytest.mark.parametrize("packet", ["", "abc", "0", "2", "2probe", "3x", "5", "7", "b*", "6x", "1x", "\x1e"])
def test_bad_packet_over_websocket(world: World, packet: str) -> None:
    """It closes the session; a ping too, which only servers send."""
    client = world.websocket()
    client.send(packet)
    assert client.code == 1002
    assert world.recorder.told == ["closed"]
    assert not world.known("sid-0")
    client.door.closed(1002)
    assert world.recorder.told == ["closed"]
    assert world.ended == {"bad packet": 1}


def test_client_closes_a_websocket(world: World) -> None:
    client = world.websocket()
    client.send("6", "1")
    assert client.code == 1000
    assert world.recorder.told == ["closed"]
    assert world.ended == {"client close": 1}


def test_websocket_breaks(world: World) -> None:
    client = world.websocket()
    client.hang_up()
    assert world.recorder.told == ["closed"]
    assert world.engine.sessions == {POLLING: 0, WEBSOCKET: 0}
    world.forward(100)
    assert len(world.deadlines) == 0


# ---- heartbeat


def test_heartbeat(world: World) -> None:
    """The server pings every interval; who answers lives."""
    client = world.websocket()
    client.take()
    for _ in range(4):
        world.forward(INTERVAL - 0.5)
        assert client.take() == []
        world.forward(0.5)
        assert client.take() == ["2"]
        client.send("3")
    assert client.code is None


def test_no_pong(world: World) -> None:
    client = world.websocket()
    world.forward(INTERVAL + TIMEOUT - 0.5)
    assert client.code is None
    world.forward(0.5)
    assert client.code == 1011
    assert world.recorder.told == ["closed"]
    assert world.ended == {"ping timeout": 1}


def test_whoever_talks_is_alive(world: World) -> None:
    """A pong may be stuck behind a long upload: anything that comes after the ping counts."""
    client = world.websocket()
    world.forward(INTERVAL + 1)
    client.send("4x")
    world.forward(TIMEOUT + 3)
    assert client.code is None
    world.forward(INTERVAL + TIMEOUT)
    assert client.code == 1011


def test_what_came_before_the_ping_does_not_count(world: World) -> None:
    client = world.websocket()
    world.forward(INTERVAL - 1)
    client.send("4x", "3")
    world.forward(1 + TIMEOUT)
    assert client.code == 1011


def test_slow_reader_is_alive_when_it_reads(world: World) -> None:
    """While it did not read, it was not read from: its pong may wait there."""
    client = world.websocket()
    world.forward(INTERVAL + 1)
    client.door.writable()
    world.forward(TIMEOUT)
    assert client.code is None
    assert world.recorder.told == ["writable"]


def test_heartbeat_over_polling(world: World) -> None:
    client = world.polling()
    for _ in range(3):
        assert client.get() is None
        world.forward(INTERVAL)
        assert client.answer == "2"
        client.post("3")
    world.forward(INTERVAL + TIMEOUT)
    assert not world.known("sid-0")
    assert refused(world.find, "sid-0") == (400, 1)


# ---- polling


def test_polling_session(world: World) -> None:
    client = world.polling()
    opening = client.opening
    assert isinstance(opening, str)
    assert json.loads(opening[1:])["upgrades"] == ["websocket"]
    client.post("4hello", "bAQIDBA==", "6", "4")
    assert client.get() == "4hello\x1ebAQIDBA==\x1e4"
    assert client.get() is None
    client.post("4again")
    assert client.answer == "4again"


def test_poll_waits_for_what_is_sent(world: World) -> None:
    """One poll gets all that is sent until its answer is made."""
    client = world.polling()
    ready: list[None] = []
    client.session.poll(lambda: ready.append(None))
    world.recorder.session.send([text_frame(b"4a"), text_frame(b"4b")])
    assert ready == [None]
    assert client.session.take() == b"4a\x1e4b"


@pytest.mark.parametrize("body", ["abc", "", "4a\x1eabc", "4a\x1e", "2", "5", "b*"])
def test_bad_payload(world: World, body: str) -> None:
    """It ends the session, and the poll that waits is told so."""
    client = world.polling()
    world.recorder.echo = False
    client.get()
    client.session.post_begins()
    assert refused(client.session.post, body.encode()) == (400, 3)
    assert client.answer == "1"
    assert not world.known("sid-0")
    assert world.recorder.told[-1] == "closed"
    assert refused(client.get) == (400, 3)


def test_no_packet_after_a_bad_one_is_taken(world: World) -> None:
    client = world.polling()
    client.session.post_begins()
    refused(client.session.post, b"4a\x1ex\x1e4b")
    assert world.recorder.messages == ["a"]


def test_too_many_packets_in_a_payload() -> None:
    world = World(max_packets=3)
    client = world.polling()
    client.post("4a", "4b", "4c")
    client.session.post_begins()
    assert refused(client.session.post, b"4\x1e4\x1e4\x1e4") == (400, 3)
    assert world.recorder.messages == ["a", "b", "c"]
    assert not world.known("sid-0")


def test_second_poll_ends_the_session(world: World) -> None:
    """The one that waits gets `1`, the other is refused, and there is no third."""
    client = world.polling()
    assert client.get() is None
    assert refused(client.session.poll, lambda: None) == (400, 3)
    assert client.answer == "1"
    assert world.recorder.told == ["closed"]
    assert world.ended == {"overlapping requests": 1}
    assert refused(world.find, "sid-0") == (400, 1)


def test_second_poll_while_the_first_is_answered(world: World) -> None:
    """A poll lasts until its answer is written: who does not read gets no second one."""
    client = world.polling()
    client.post("4a")
    client.session.poll(lambda: None)
    client.session.take()
    assert refused(client.session.poll, lambda: None) == (400, 3)
    assert not world.known("sid-0")


def test_second_post_ends_the_session(world: World) -> None:
    client = world.polling()
    client.session.post_begins()
    assert refused(client.session.post_begins) == (400, 3)
    assert refused(client.session.post, b"4late") == (400, 3)
    assert world.recorder.messages == []
    assert world.recorder.told == ["closed"]


def test_post_that_never_comes(world: World) -> None:
    client = world.polling()
    client.session.post_begins()
    client.session.post_failed("payload not read")
    assert not world.known("sid-0")
    assert world.ended == {"payload not read": 1}


def test_client_leaves_while_it_polls(world: World) -> None:
    """With its poll the session is gone."""
    client = world.polling()
    client.session.poll(lambda: None)
    client.session.poll_done(lost=True)
    assert world.recorder.told == ["closed"]
    assert not world.known("sid-0")


@pytest.mark.parametrize("first", ["get", "post"])
def test_client_closes_while_it_polls(world: World, first: str) -> None:
    """Its poll gets a noop, whichever request came first; then the session is unknown."""
    client = world.polling()
    if first == "get":
        client.get()
    client.post("1", "4ignored")
    assert world.recorder.told == ["closed"]
    assert world.recorder.messages == []
    assert (client.answer or client.get()) == "6"
    assert not world.known("sid-0")


def test_outbox_tells_what_waits(world: World) -> None:
    """Who sends over polling sees what piles up, and hears when it is fetched."""
    client = world.polling()
    session = client.session
    session.send([text_frame(b"4" + b"x" * 70_000)])
    assert session.wire.buffered > 70_000
    assert world.recorder.told == []
    client.get()
    assert session.wire.buffered == 0
    assert world.recorder.told == ["writable"]


# ---- the server closes


def test_server_closes_a_websocket(world: World) -> None:
    client = world.websocket()
    world.recorder.session.send([text_frame(b"4last")])
    world.recorder.session.close(4403, "why")
    world.recorder.session.send([text_frame(b"4late")])
    assert client.take()[1:] == ["4last"]
    assert client.socket.ended == (4403, "why")
    assert world.recorder.told == ["closed"]


def test_server_closes_polling(world: World) -> None:
    """What was sent before, and that it is over, waits for a poll, which need not be there yet. What the client posts then, its
    own close above all, is no error, and does nothing."""
    client = world.polling()
    session = client.session
    session.send([text_frame(b"4last")])
    session.close(4403, "why")
    assert world.recorder.told == ["closed"]
    session.send([text_frame(b"4late")])
    client.post("4late")
    assert world.recorder.messages == []
    assert client.get() == "4last\x1e1"
    client.post("1")
    client.post("x")
    assert client.get() == "1"
    assert world.recorder.told == ["closed"]
    assert world.ended == {"server close": 1}
    world.forward(10)
    assert not world.known("sid-0")
    assert len(world.deadlines) == 0


def test_server_closes_polling_that_waits(world: World) -> None:
    client = world.polling()
    client.get()
    client.session.close(4403, "why")
    assert client.answer == "1"
    client.post("1")
    world.forward(10)
    assert not world.known("sid-0")


def test_closed_polling_is_not_kept_for_ever(world: World) -> None:
    client = world.polling()
    client.session.close(4403, "why")
    world.forward(9.5)
    assert world.known("sid-0")
    world.forward(0.5)
    assert not world.known("sid-0")
    assert world.recorder.told == ["closed"]


def test_overload_throws_away_what_waits(world: World) -> None:
    client = world.polling()
    client.session.send([text_frame(b"4" + b"x" * 100)])
    client.session.close(1013, "overload")
    assert client.get() == "1"


def test_stop(world: World) -> None:
    """All sessions end so that clients come again; polls are answered; nobody is let in."""
    websocket, polling = world.websocket(), world.polling()
    polling.get()
    world.engine.stop()
    assert websocket.code == 1012
    assert polling.answer == "1"
    assert [recorder.told for recorder in world.recorders] == [["closed"], ["closed"]]
    assert refused(world.websocket)[0] == 503


def test_a_handler_that_fails_leaves_no_session(world: World) -> None:
    client = world.polling()

    def fails() -> None:
        raise ZeroDivisionError

    world.recorder.closed = fails  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        client.session.fail("test")
    assert not world.known("sid-0")
    assert len(world.deadlines) == 0


# ---- upgrade


def probed(world: World, client: PollingClient) -> Any:
    """A WebSocket for the client's session that was tried, and works."""
    websocket = world.upgrade(client.sid)
    assert websocket.send("2probe") == ["3probe"]
    return websocket


def test_upgrade(world: World) -> None:
    """The poll that waits is released, the session goes on over the WebSocket, and polling is refused but ends nothing."""
    client = world.polling()
    client.get()
    websocket = probed(world, client)
    assert client.answer == "6"
    assert client.get() == "6"
    assert websocket.send("5") == []
    assert world.recorder.told == ["upgraded"]
    assert websocket.send("4hello", b"x") == ["4hello", b"x"]
    assert refused(client.get) == (400, 3)
    assert refused(client.session.post_begins) == (400, 3)
    assert websocket.send("4still") == ["4still"]
    assert world.engine.sessions == {POLLING: 0, WEBSOCKET: 1}
    assert world.engine.counters.upgraded == 1
    websocket.hang_up()
    assert world.recorder.told == ["upgraded", "closed"]
    assert world.engine.sessions == {POLLING: 0, WEBSOCKET: 0}
    assert len(world.deadlines) == 0


def test_what_is_sent_during_the_upgrade(world: World) -> None:
    """Before the change it is fetched by poll, or waits for the WebSocket, in order."""
    client = world.polling()
    websocket = probed(world, client)
    world.recorder.session.send([text_frame(b"4a")])
    assert client.get() == "4a"
    world.recorder.session.send([text_frame(b"4b"), binary_frame(b"c")])
    assert websocket.take() == []
    assert websocket.send("5", "4d") == ["4b", b"c", "4d"]
    assert world.recorder.session.wire is websocket.socket
    told = len(world.recorder.told)
    websocket.door.writable()
    assert world.recorder.told[told:] == ["writable"]


def test_websocket_drains_during_the_upgrade(world: World) -> None:
    """It is none of the session's business yet."""
    probed(world, world.polling()).door.writable()
    assert world.recorder.told == []


def test_closed_twice(world: World) -> None:
    """The first end counts."""
    client = world.websocket()
    world.recorder.session.close(4403, "why")
    world.recorder.session.close(1012, "again")
    world.recorder.session.fail("test")
    client.hang_up()
    assert world.recorder.told == ["closed"]
    assert world.ended == {"server close": 1}


def test_upgrade_without_a_probe(world: World) -> None:
    """As the reference server, which does not insist on it; a poll that waits gets its noop then."""
    client = world.polling()
    client.get()
    websocket = world.upgrade(client.sid)
    assert websocket.send("5", "4x") == ["4x"]
    assert client.answer == "6"


def test_heartbeat_goes_on_over_the_websocket(world: World) -> None:
    client = world.polling()
    world.forward(INTERVAL)
    websocket = probed(world, client)
    assert websocket.send("5") == ["2"]
    websocket.send("3")
    world.forward(INTERVAL)
    assert websocket.take() == ["2"]
    world.forward(TIMEOUT)
    assert websocket.code == 1011


@pytest.mark.parametrize("message", ["4x", "3", "2", "2probe5", "", b"2probe", "1"])
def test_something_else_than_a_probe(world: World, message: str | bytes) -> None:
    """The WebSocket is closed; the session stays with polling, and may try again."""
    client = world.polling()
    websocket = world.upgrade(client.sid)
    websocket.send(message)
    assert websocket.code == 1008
    assert world.recorder.messages == []
    client.post("4x")
    assert client.get() == "4x"
    assert probed(world, client).send("5") == []


def test_upgrade_takes_too_long(world: World) -> None:
    """Polls are not released any more, either."""
    client = world.polling()
    websocket = probed(world, client)
    world.forward(10)
    assert websocket.code == 1008
    websocket.door.closed(1008)
    assert client.get() is None
    assert world.known("sid-0")


def test_websocket_breaks_during_the_upgrade(world: World) -> None:
    client = world.polling()
    probed(world, client).hang_up()
    assert client.get() is None
    client.post("4x")
    assert client.answer == "4x"
    assert world.recorder.told == ["writable"]


def test_one_websocket_a_session(world: World) -> None:
    """A second one is closed, during the upgrade and after it; the session does not mind."""
    client = world.polling()
    first = probed(world, client)
    second = world.upgrade(client.sid)
    assert second.code == 1008
    second.door.closed(1008)
    first.send("5")
    third = world.upgrade(client.sid)
    assert third.code == 1008
    third.door.closed(1008)
    assert first.send("4x") == ["4x"]
    own = world.websocket()
    assert world.upgrade("sid-1").code == 1008
    assert own.code is None


def test_session_ends_during_the_upgrade(world: World) -> None:
    client = world.polling()
    websocket = probed(world, client)
    client.session.fail("test")
    assert websocket.code == 1008
    websocket.door.closed(1008)
    assert len(world.deadlines) == 0


def test_server_closes_during_the_upgrade(world: World) -> None:
    """The client does not poll any more: what was sent last reaches it over the WebSocket."""
    client = world.polling()
    websocket = probed(world, client)
    client.session.send([text_frame(b"4last")])
    client.session.close(4403, "why")
    assert websocket.send("5") == ["4last"]
    assert websocket.code == 1000
    websocket.door.closed(1000)
    assert not world.known("sid-0")
    assert world.recorder.told == ["closed"]
    assert world.engine.sessions == {POLLING: 0, WEBSOCKET: 0}
    assert len(world.deadlines) == 0


def test_post_that_is_late_for_the_upgrade(world: World) -> None:
    """What a POST brings when the session is on the WebSocket already is not taken: it would be out of order."""
    client = world.polling()
    client.session.post_begins()
    websocket = probed(world, client)
    websocket.send("5")
    assert refused(client.session.post, b"4late") == (400, 3)
    client.session.post_failed("test")
    assert world.recorder.messages == []
    assert websocket.send("4x") == ["4x"]


# ---- how many


def test_most_sessions() -> None:
    world = World(max_sessions=2)
    world.polling()
    client = world.websocket()
    assert refused(world.polling) == (503, 4)
    assert refused(world.websocket) == (503, 4)
    assert world.engine.counters.refused == 2
    client.hang_up()
    world.polling()


def test_most_strangers() -> None:
    """Of sessions that belong to nobody the oldest ends, of one network or of all; those that belong to somebody stay."""
    world = World(max_strangers=3, max_strangers_per_client=2)
    here, there = shaken(client="2001:db8::1"), shaken(client="192.0.2.2")
    first, second = world.websocket(here), world.websocket(shaken(client="2001:db8::2"))
    third = world.websocket(here)
    assert (first.code, second.code, third.code) == (1008, None, None)
    fourth, fifth = world.websocket(there), world.websocket(there)
    assert (second.code, third.code, fourth.code, fifth.code) == (1008, None, None, None)
    world.recorder.session.vouch()
    world.recorder.session.vouch()
    world.websocket(there)
    world.websocket(there)
    assert (third.code, fourth.code, fifth.code) == (None, 1008, None)
    world.recorder.session.vouch(known=False)
    assert world.engine.counters.refused == 0


def test_all_is_counted(world: World) -> None:
    world.websocket()
    world.polling()
    assert world.engine.counters.opened == {POLLING: 1, WEBSOCKET: 1}
    assert world.engine.sessions == {POLLING: 1, WEBSOCKET: 1}
