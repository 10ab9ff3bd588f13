"""The simulator's MQTT connection: bytes on a fake transport, and a real Mosquitto by TCP, TLS and WebSocket."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from devices.client import Address
from devices.mqtt.codec import encode
from devices.mqtt.codes import PacketType
from devices.mqtt.packets import (
    Ack,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Publish,
    Suback,
    Subscribe,
)
from devices.mqtt.stream import PacketStream
from devices.session import Publish as Message
from simulator.fleet.mqtt import ANSWER_WITHIN, MOST_IN_FLIGHT, Connection, Question, connect_packet, open_connection
from simulator.fleet.schedule import Schedule
from tests.devices.test_station import make_certificate
from tests.mosquitto import free_port, mosquitto

GUARD = 10.0
KEEP_ALIVE = 30
WILL = Message("stations/st-1/offline", b"{}")


class Owner:
    """Notes what it is told; on a loop, `heard` gets it, too."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.answers: list[tuple[str, float, bool]] = []
        self.news = asyncio.Event()

    def _note(self, *what: Any) -> None:
        self.told.append(what)
        self.news.set()

    def answered(self, _: Connection, question: Question, *, joining: bool) -> None:
        self.answers.append((question.answer, question.asked, joining))

    def accepted(self, _: Connection) -> None:
        self._note("accepted")

    def refused(self, _: Connection, code: int) -> None:
        self._note("refused", code)

    def subscribed(self, _: Connection, codes: bytes) -> None:
        self._note("subscribed", codes)

    def message(self, _: Connection, topic: str, payload: bytes, retained: bool) -> None:
        self._note("message", topic, payload, retained)

    def ended(self, _: Connection, cause: str) -> None:
        self._note("ended", cause)

    async def hears(self, what: str) -> tuple[Any, ...]:
        """Waits for the first of that kind."""
        async with asyncio.timeout(GUARD):
            while True:
                if found := [each for each in self.told if each[0] == what]:
                    return found[0]
                self.news.clear()
                await self.news.wait()


class Wire:
    """Stands for a transport: `said` holds the packets."""

    def __init__(self) -> None:
        self.protocol: Connection
        self._stream = PacketStream(4)
        self.said: list[Packet] = []
        self.reading, self.aborted, self.closed = True, False, False

    def write(self, data: bytes) -> None:
        assert not self.is_closing()
        self.said += self._stream.feed(data)

    def is_closing(self) -> bool:
        return self.aborted or self.closed

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None:
        self.closed = True

    def get_extra_info(self, _: str) -> None:
        return None

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Bench:
    """A connection on a fake wire, and time that passes when told to."""

    def __init__(self, keep_alive: int = KEEP_ALIVE, *, accept: bool = True, ask_every: float = float("inf")) -> None:
        self.time = 0.0
        self.schedule, self.owner, self.wire = Schedule(lambda: self.time, lambda: 0.0), Owner(), Wire()
        first = connect_packet("st-1", "user", "secret", keep_alive, WILL)
        self.connection = Connection(self.owner, self.schedule, first, ask_every)
        self.connection.connection_made(cast("Any", self.wire))
        if accept:
            self.hear(Connack(0))
            self.wire.said.clear()

    def hear(self, *packets: Packet) -> None:
        self.connection.data_received(b"".join(encode(each, 4) for each in packets))

    def wait(self, seconds: float, step: float = 1.0) -> None:
        until = self.time + seconds
        while self.time < until:
            self.time += step
            self.schedule.run()


def status(qos: int = 0) -> Message:
    return Message("stations/st-1/status", b"{}", qos)


# ---- what it says


async def test_connect_carries_the_login_and_the_will() -> None:
    """A clean session of MQTT 3.1.1."""
    bench = Bench(accept=False)
    [connect] = bench.wire.said
    assert isinstance(connect, Connect)
    assert (connect.client_id, connect.username, connect.password) == ("st-1", "user", b"secret")
    assert (connect.version, connect.clean, connect.keep_alive) == (4, True, KEEP_ALIVE)
    assert connect.will is not None
    assert (connect.will.topic, connect.will.payload, connect.will.qos) == (WILL.topic, b"{}", 1)
    bench.hear(Connack(0))
    assert bench.owner.told == [("accepted",)]


def test_without_a_token_there_is_no_password() -> None:
    """For a broker that lets everybody in."""
    first = connect_packet("st-1", "st-1", "", 30, None)
    assert (first.username, first.password, first.will) == ("st-1", None, None)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a/b", "stations/st-1/status", "ü"]),
            st.binary(max_size=300),
            st.sampled_from([0, 1]),
            st.booleans(),
        )
    )
)
async def test_what_is_published_can_be_read(messages: list[tuple[str, bytes, int, bool]]) -> None:
    """Whatever the order of topics and kinds; identifiers of QoS 1 differ."""
    bench = Bench()
    for topic, payload, qos, retain in messages:
        assert bench.connection.publish(Message(topic, payload, qos, retain))
    said = [packet for packet in bench.wire.said if isinstance(packet, Publish)]
    assert [(each.topic, each.payload, each.qos, each.retain) for each in said] == messages
    numbers = [each.packet_id for each in said if each.qos]
    assert len(set(numbers)) == len(numbers) == bench.connection.in_flight


async def test_a_large_message_has_its_length() -> None:
    """More than two bytes of remaining length."""
    bench = Bench()
    bench.connection.publish(Message("t", b"x" * 3_000_000))
    [large] = bench.wire.said
    assert isinstance(large, Publish)
    assert len(large.payload) == 3_000_000


async def test_identifiers_begin_anew_after_the_last() -> None:
    """0 is none. [MQTT-2.3.1-1]"""
    bench = Bench()
    for _ in range(65_536):
        bench.connection.publish(status(1))
        bench.hear(Ack(PacketType.PUBACK, 1))
    last = bench.wire.said[-2:]
    assert [each.packet_id for each in last if isinstance(each, Publish)] == [65_535, 1]


async def test_subscribing() -> None:
    """The codes are told; a first message may come with them in one piece."""
    bench = Bench()
    bench.connection.subscribe(("a", "b"), 1)
    [subscribe] = bench.wire.said
    assert isinstance(subscribe, Subscribe)
    assert [(each.filter, each.qos) for each in subscribe.filters] == [("a", 1), ("b", 1)]
    bench.hear(Suback(subscribe.packet_id, b"\x01\x80"), Publish("a", b"x", 1, packet_id=7, retain=True))
    assert bench.owner.told[1:] == [("subscribed", b"\x01\x80"), ("message", "a", b"x", True)]
    assert bench.wire.said[1:] == [Ack(PacketType.PUBACK, 7)]


@given(st.data())
async def test_pieces_of_any_size(data: st.DataObject) -> None:
    """The stream may be cut anywhere."""
    bench = Bench()
    packets: list[Packet] = [Publish("a", b"x" * number, packet_id=number + 1, qos=1) for number in range(5)]
    packets += [Pingresp(), Ack(PacketType.PUBACK, 1), Suback(1, b"\1")]
    stream = b"".join(encode(each, 4) for each in packets)
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        bench.connection.data_received(stream[:size])
        stream = stream[size:]
    assert [each[2] for each in bench.owner.told if each[0] == "message"] == [b"x" * number for number in range(5)]
    assert bench.owner.told[-1] == ("subscribed", b"\1")


# ---- its end


async def test_nobody_answers_connect() -> None:
    """Also when TCP is never made: told once, by name."""
    bench = Bench(accept=False)
    bench.wait(ANSWER_WITHIN + 1)
    assert bench.wire.aborted
    bench.connection.connection_lost(None)
    assert bench.owner.told == [("ended", "no CONNACK")]


@pytest.mark.parametrize("code", [1, 3, 4, 5])
async def test_refused(code: int) -> None:
    """The code is told before the end."""
    bench = Bench(accept=False)
    bench.hear(Connack(code))
    bench.connection.connection_lost(None)
    assert bench.owner.told == [("refused", code), ("ended", f"refused with code {code}")]


@pytest.mark.parametrize(
    ("error", "cause"), [(None, "closed by the broker"), (ConnectionResetError(), "ConnectionResetError")]
)
async def test_the_broker_ends_it(error: Exception | None, cause: str) -> None:
    """Named, and told once; whatever comes afterwards is nobody's."""
    bench = Bench()
    bench.connection.connection_lost(error)
    bench.connection.reset("again")
    bench.hear(Publish("a", b"x"))
    bench.wait(100)
    assert bench.owner.told[1:] == [("ended", cause)]
    assert bench.connection.over


async def test_what_is_no_mqtt_ends_it() -> None:
    """A broker that lost its mind."""
    bench = Bench()
    bench.connection.data_received(b"\x00\x00")
    assert bench.wire.aborted
    bench.connection.connection_lost(None)
    assert bench.owner.told[-1][1].startswith("the broker sent what is no MQTT")


async def test_given_up_before_it_was_made() -> None:
    """TCP that comes too late is closed."""
    owner, schedule, wire = Owner(), Schedule(), Wire()
    connection = Connection(owner, schedule, connect_packet("a", "a", "", 30, None))
    connection.reset("it stops")
    connection.connection_made(cast("Any", wire))
    assert wire.aborted
    assert not wire.said
    assert owner.told == [("ended", "it stops")]


# ---- keep-alive


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "reporting"])
async def test_it_asks_whether_the_broker_is_there(busy: bool) -> None:
    """Again and again, as long as it is answered; statuses that go out prove nothing of the broker."""
    bench = Bench()
    pings = 0
    for _ in range(300):
        if busy:
            bench.connection.publish(status())
        bench.wait(1.0)
        if Pingreq() in bench.wire.said:
            pings += 1
            bench.hear(Pingresp())
        bench.wire.said.clear()
    assert 6 <= pings <= 15
    assert not bench.wire.aborted


async def test_no_silence_is_longer_than_the_keep_alive() -> None:
    """[MQTT-3.1.2-23]"""
    bench = Bench()
    silent = longest = 0.0
    for second in range(400):
        if second % 70 == 0:
            bench.connection.publish(status())
        bench.wait(1.0)
        silent = 0.0 if bench.wire.said else silent + 1.0
        longest = max(longest, silent)
        if Pingreq() in bench.wire.said:
            bench.hear(Pingresp())
        bench.wire.said.clear()
    assert longest <= KEEP_ALIVE


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "reporting"])
async def test_a_ping_without_an_answer_ends_it(busy: bool) -> None:
    """Soon, and by name."""
    bench = Bench()
    for _ in range(KEEP_ALIVE * 2 + int(ANSWER_WITHIN) + 1):
        if bench.wire.aborted:
            break
        if busy:
            bench.connection.publish(status())
        bench.wait(1.0)
    assert bench.wire.aborted
    bench.connection.connection_lost(None)
    assert bench.owner.told[-1] == ("ended", "no PINGRESP")


async def test_without_a_keep_alive_nobody_asks() -> None:
    """0 turns it off."""
    bench = Bench(0)
    bench.wait(1_000, step=10)
    assert not bench.wire.said


async def test_who_reads_nothing_misses_no_answer() -> None:
    """A slow reader goes on asking, and does not take its own slowness for the broker's."""
    bench = Bench()
    bench.connection.hold()
    assert not bench.wire.reading
    bench.wait(200)
    assert bench.wire.said.count(Pingreq()) > 3
    assert not bench.wire.aborted
    bench.connection.release()
    assert bench.wire.reading


async def test_silence() -> None:
    """Half-open: it reads nothing, says nothing, asks nothing and stays."""
    bench = Bench()
    bench.connection.fall_silent()
    bench.connection.publish(status())
    bench.connection.subscribe(("a",), 1)
    bench.wait(500, step=10)
    assert not bench.wire.said
    assert not bench.wire.reading
    assert not bench.wire.is_closing()


# ---- questions


async def test_each_answer_is_told_with_its_question() -> None:
    """What was asked before the subscriptions were there belongs to connecting."""
    bench = Bench(accept=False)
    bench.time = 1.0
    bench.hear(Connack(0))
    bench.connection.subscribe(("a",), 1)
    bench.connection.publish(status(1))
    bench.time = 2.0
    bench.hear(Suback(1, b"\x01"), Ack(PacketType.PUBACK, 2))
    bench.time = 3.0
    bench.connection.publish(status(1))
    bench.connection.publish(status())
    bench.connection.ping()
    bench.hear(Pingresp())
    bench.hear(Ack(PacketType.PUBACK, 3))
    assert bench.owner.answers == [
        ("connack", 0.0, True),
        ("suback", 1.0, True),
        ("puback", 1.0, True),
        ("pingresp", 3.0, False),
        ("puback", 3.0, False),
    ]
    bench.hear(Pingresp(), Ack(PacketType.PUBACK, 4))  # of nothing that was asked
    assert len(bench.owner.answers) == 5
    assert bench.connection.owed is None


@pytest.mark.parametrize("ask", ["publish", "subscribe", "ping"])
@pytest.mark.parametrize("busy", [False, True])
async def test_a_question_without_an_answer_ends_it(ask: str, busy: bool) -> None:
    """Within its limit, with what is owed; whatever else the broker says."""
    bench = Bench()
    bench.time = 7.0
    ways: dict[str, Callable[[], Any]] = {
        "publish": lambda: bench.connection.publish(status(1)),
        "subscribe": lambda: bench.connection.subscribe(("a",), 1),
        "ping": bench.connection.ping,
    }
    ways[ask]()
    answer = {"publish": "puback", "subscribe": "suback", "ping": "pingresp"}[ask]
    assert bench.connection.owed == (answer, 7.0)
    for _ in range(int(ANSWER_WITHIN) - 1):
        bench.wait(1.0)
        if busy:
            bench.hear(Publish("a", b"x"))
        assert not bench.wire.aborted
    bench.wait(2.0)
    assert bench.wire.aborted
    assert bench.connection.ending == "unanswered"
    assert bench.connection.unanswered == (answer, 7.0)
    bench.connection.connection_lost(None)
    assert bench.owner.told[-1] == ("ended", f"no {answer.upper()}")


async def test_a_connect_without_an_answer() -> None:
    """It is owed from when it could be said; where nobody took the connection, nobody was asked."""
    bench = Bench(accept=False)
    bench.wait(ANSWER_WITHIN + 1)
    assert (bench.connection.ending, bench.connection.unanswered) == ("unanswered", ("connack", 0.0))
    time, schedule = [0.0], None
    schedule = Schedule(lambda: time[0], lambda: 0.0)
    connection = Connection(Owner(), schedule, connect_packet("a", "a", "", 30, None))
    time[0] = ANSWER_WITHIN + 0.1
    schedule.run()
    assert connection.over
    assert (connection.ending, connection.unanswered) == ("unreachable", None)


async def test_it_asks_as_often_as_it_is_told() -> None:
    """Where nothing else was asked; an answer to anything is an answer."""
    bench = Bench(ask_every=4.0)
    pings = 0
    for second in range(60):
        if second >= 40:
            bench.connection.publish(status(1))
            bench.hear(Ack(PacketType.PUBACK, 1))
        bench.wait(1.0)
        if Pingreq() in bench.wire.said:
            assert second < 44
            pings += 1
            bench.hear(Pingresp())
        bench.wire.said.clear()
    assert 9 <= pings <= 11
    assert not bench.wire.aborted


async def test_who_reads_nothing_knows_nothing_of_the_broker() -> None:
    """What was asked before it read again is no question any more, late or unanswered; what is asked after that is."""
    bench = Bench()
    bench.connection.publish(status(1))
    bench.connection.hold()
    bench.wait(8.0)
    bench.connection.publish(status(1))
    assert bench.connection.owed is None
    bench.wait(4.0)
    bench.connection.release()
    assert bench.connection.owed is None
    bench.wait(2.0)
    bench.hear(Ack(PacketType.PUBACK, 1), Ack(PacketType.PUBACK, 2))
    assert [each[0] for each in bench.owner.answers] == ["connack"]
    bench.connection.publish(status(1))
    assert bench.connection.owed is not None
    bench.wait(ANSWER_WITHIN + 1)
    assert bench.wire.aborted


async def test_a_tester_that_was_held_up_looks_once_more() -> None:
    """What came meanwhile has not been read yet."""
    bench = Bench()
    bench.connection.publish(status(1))
    bench.time += 60.0
    bench.schedule.run()
    assert not bench.wire.aborted
    bench.hear(Ack(PacketType.PUBACK, 1))
    bench.wait(3.0)
    assert not bench.wire.aborted


# ---- bounds


async def test_a_broker_that_reads_nothing_gets_no_more_statuses() -> None:
    """They would pile up here; what must arrive is sent all the same."""
    bench = Bench()
    bench.connection.pause_writing()
    assert not bench.connection.publish(status())
    assert bench.connection.publish(status(1))
    bench.connection.resume_writing()
    assert bench.connection.publish(status())
    assert [each.qos for each in bench.wire.said if isinstance(each, Publish)] == [1, 0]


async def test_a_broker_that_acknowledges_nothing_is_left() -> None:
    """Messages without an acknowledgement are bounded."""
    bench = Bench()
    for _ in range(MOST_IN_FLIGHT + 5):
        bench.connection.publish(status(1))
        if bench.wire.aborted:
            break
    bench.connection.connection_lost(None)
    assert len(bench.wire.said) == MOST_IN_FLIGHT
    assert bench.owner.told[-1] == ("ended", "1,000 messages without an acknowledgement")


async def test_waiting_for_acknowledgements() -> None:
    """Until the last came, or the end."""
    bench = Bench()
    await bench.connection.settled()
    for _ in range(2):
        bench.connection.publish(status(1))
    waiting = asyncio.create_task(bench.connection.settled())
    await asyncio.sleep(0)
    bench.hear(Ack(PacketType.PUBACK, 1))
    await asyncio.sleep(0)
    assert not waiting.done()
    bench.hear(Pingresp(), Ack(PacketType.PUBACK, 2))
    await asyncio.wait_for(waiting, GUARD)
    bench.connection.publish(status(1))
    waiting = asyncio.create_task(bench.connection.settled())
    await asyncio.sleep(0)
    bench.connection.connection_lost(None)
    await asyncio.wait_for(waiting, GUARD)


async def test_leaving_says_so() -> None:
    """DISCONNECT, then the end."""
    bench = Bench()
    bench.connection.disconnect()
    assert bench.wire.said == [Disconnect()]
    assert bench.wire.closed


# ---- on the network

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
"""Transports of the two are not the same, and both are used."""


def on(loop: str, work: Coroutine[Any, Any, None]) -> None:
    """Runs a test on that event loop."""
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(work)


@asynccontextmanager
async def listening(port: int) -> AsyncIterator[None]:
    """Mosquitto opens its listeners one by one: waits for this one."""
    async with asyncio.timeout(GUARD):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.01)
                continue
            writer.close()
            break
    yield


@asynccontextmanager
async def connected(url: str, context: ssl.SSLContext | None = None) -> AsyncIterator[tuple[Connection, Owner]]:
    """A connection that the broker accepted."""
    owner, schedule = Owner(), Schedule()
    schedule.start()
    first = connect_packet("st-1", "st-1", "", KEEP_ALIVE, WILL)
    connection, task = open_connection(Address.parse(url), owner, schedule, first, context)
    try:
        await owner.hears("accepted")
        yield connection, owner
    finally:
        if not connection.over:
            connection.reset("the test is over")
            await owner.hears("ended")
        schedule.stop()
        await task


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("scheme", ["mqtt", "ws", "mqtts", "wss"])
def test_a_real_broker(tmp_path: Path, scheme: str, loop: str) -> None:
    """Small and large messages come back whole; QoS 1 is acknowledged; it leaves in order."""
    on(loop, talk(tmp_path, scheme))


async def talk(tmp_path: Path, scheme: str) -> None:
    """The same on each loop."""
    make_certificate(tmp_path)
    port, protocol = free_port(), "mqtt" if "mqtt" in scheme else "websockets"
    config = f"listener {port} 127.0.0.1\nprotocol {protocol}\n"
    if scheme in ("mqtts", "wss"):
        config += f"certfile {tmp_path}/cert.pem\nkeyfile {tmp_path}/key.pem\n"
    context = ssl.create_default_context(cafile=str(tmp_path / "cert.pem")) if scheme in ("mqtts", "wss") else None
    async with (
        mosquitto(tmp_path, config=config),
        listening(port),
        connected(f"{scheme}://127.0.0.1:{port}", context) as (connection, owner),
    ):
        connection.subscribe(("a/#",), 1)
        assert (await owner.hears("subscribed"))[1] == b"\x01"
        for size in (0, 1, 300_000):
            connection.publish(Message(f"a/{size}", b"x" * size, 1))
        await asyncio.wait_for(connection.settled(), GUARD)
        async with asyncio.timeout(GUARD):
            while sum(each[0] == "message" for each in owner.told) < 3:
                owner.news.clear()
                await owner.news.wait()
        assert [len(each[2]) for each in owner.told if each[0] == "message"] == [0, 1, 300_000]
        connection.disconnect()
        await owner.hears("ended")


async def test_a_certificate_that_is_no_good(tmp_path: Path) -> None:
    """An end with a cause, not an exception."""
    make_certificate(tmp_path)
    port, owner, schedule = free_port(), Owner(), Schedule()
    config = f"listener {port} 127.0.0.1\ncertfile {tmp_path}/cert.pem\nkeyfile {tmp_path}/key.pem\n"
    async with mosquitto(tmp_path, config=config), listening(port):
        first = connect_packet("st-1", "st-1", "", KEEP_ALIVE, None)
        address = Address.parse(f"mqtts://127.0.0.1:{port}")
        _, task = open_connection(address, owner, schedule, first, ssl.create_default_context())
        assert (await owner.hears("ended"))[1].startswith("no connection")
        await task


@pytest.mark.parametrize("scheme", ["mqtt", "ws"])
async def test_nobody_listens(scheme: str) -> None:
    """An end with a cause."""
    owner, schedule = Owner(), Schedule()
    first = connect_packet("st-1", "st-1", "", KEEP_ALIVE, None)
    address = Address.parse(f"{scheme}://127.0.0.1:{free_port()}")
    _, task = open_connection(address, owner, schedule, first, None)
    assert (await owner.hears("ended"))[1].startswith("no connection")
    await task


async def test_a_web_server_that_speaks_no_mqtt() -> None:
    """Refused by name."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        owner, schedule = Owner(), Schedule()
        first = connect_packet("st-1", "st-1", "", KEEP_ALIVE, None)
        _, task = open_connection(Address.parse(f"ws://127.0.0.1:{port}"), owner, schedule, first, None)
        assert await owner.hears("ended") == ("ended", "the WebSocket was refused")
        await task


@pytest.mark.parametrize("loop", LOOPS)
def test_a_reset_is_one(loop: str) -> None:
    """The other side sees RST, not FIN."""
    on(loop, reset())


async def reset() -> None:
    """The same on each loop."""
    ended: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(encode(Connack(0), 4))
        try:
            while await reader.read(1_000):
                pass
            ended.set_result("FIN")
        except ConnectionResetError:
            ended.set_result("RST")
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1", 0, family=socket.AF_INET) as server:
        async with connected(f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}") as (connection, owner):
            connection.reset("abort")
            assert await owner.hears("ended") == ("ended", "abort")
        assert await asyncio.wait_for(ended, GUARD) == "RST"


@pytest.mark.parametrize("loop", LOOPS)
def test_who_holds_reads_nothing(loop: str) -> None:
    """What the broker sends then waits in TCP, and comes after the release."""
    on(loop, hold())


async def hold() -> None:
    """The same on each loop."""
    sent: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(encode(Connack(0), 4))
        sent.set_result(writer)

    async with await asyncio.start_server(accept, "127.0.0.1", 0, family=socket.AF_INET) as server:
        async with connected(f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}") as (connection, owner):
            writer = await sent
            connection.hold()
            writer.write(encode(Publish("a", b"x"), 4))
            await writer.drain()
            await asyncio.sleep(0.1)
            assert owner.told == [("accepted",)]
            connection.release()
            assert await owner.hears("message") == ("message", "a", b"x", False)
        writer.close()
