"""The broken hub breaks what it is told to, and nothing else."""

import asyncio
import json
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect

from devices.messages import Signal
from devices.mqtt.codec import encode, remaining_length
from devices.mqtt.packets import Connect
from devices.operator import ConnectionLost, Operator, Refused, RequestFailed
from devices.station import AccessRefused, Job, Station
from devices.topics import ALL_STATIONS, STATION_OFFLINE, STATION_ONLINE, STATION_REPLY, STATION_STATUS
from hub.config import load
from hub.serve import Hub
from tests.e2e.pages import Page, PageRefused
from tests.e2e.waiting import GUARD, until
from tests.simulator.broken import Break, BrokenHub, broken
from tests.simulator.broken_acts import ACTS, TIMED
from tests.simulator.broken_wire import (
    Dialect,
    Event,
    cut_frames,
    cut_packets,
    read_event,
    text_frame,
    write_event,
)

SECRET = "a secret of the tests, long enough"
BATCH = "batch-station-status-update"
OFTEN = 0.05


class Scene:
    """A sound hub, a proxy that breaks it, and who is connected through the proxy.

    Attributes:
        opened: how often each station opened its gate.
    """

    def __init__(self, hub: Hub, proxy: BrokenHub, stack: AsyncExitStack) -> None:
        self.hub, self.proxy, self._stack = hub, proxy, stack
        self._users = 0
        self.opened: Counter[str] = Counter()
        self._reports: Counter[str] = Counter()

    async def station(self, station_id: str = "st-1", interval: float | None = None, **options: Any) -> Station:
        """Connects one; it numbers its statuses."""

        def status() -> dict[str, Any]:
            self._reports[station_id] += 1
            return {"devices": [], "sim": {"n": self._reports[station_id]}}

        defaults: dict[str, Any] = {
            "token": self.hub.tokens.mint_station(station_id),
            "status": status,
            "status_interval": interval,
            "retry_first": 60.0,
        }
        station = Station(self.proxy.mqtt_url, station_id, **defaults | options)

        @station.on("open-gate")
        def open_gate(job: Job) -> Any:
            self.opened[station_id] += 1
            return job.params

        return await self._stack.enter_async_context(station)

    async def known(self, station_id: str = "st-1", **options: Any) -> Station:
        """Connects one and waits until the hub knows it."""
        station = await self.station(station_id, **options)
        await until(lambda: self.online(station_id))
        return station

    def online(self, station_id: str = "st-1") -> bool:
        """Whether the hub believes so."""
        return self.hub.services.presence.online(station_id)

    def token(self) -> str:
        """Of an operator, somebody new each time."""
        self._users += 1
        return self.hub.tokens.mint_user(f"user-{self._users}", role="operator")

    async def browser(self, timeout: float = GUARD) -> Operator:
        """Connects one by the native door."""
        return await self._stack.enter_async_context(Operator(self.proxy.http_url, token=self.token(), timeout=timeout))

    async def page(self) -> Page:
        """Connects one by Socket.IO."""
        return await self._stack.enter_async_context(Page(self.proxy.http_url, self.token()))


Start = Callable[..., Awaitable[Scene]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts a hub, broken in the ways given."""
    ports = {"port": 0, "mqtt_port": 0, "mqtt_ws_port": 0, "durability": "memory"}
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(
            Hub(load({**ports, "data_dir": tmp_path, "jwt_secret": SECRET, "will_grace": 0.05}))
        )

        async def scene(*breaks: Break) -> Scene:
            return Scene(hub, await stack.enter_async_context(broken(hub, *breaks)), stack)

        yield scene


async def push(browser: Operator, *events: str) -> Any:
    """The payload of the next push of one of these."""
    async with asyncio.timeout(GUARD):
        return (await browser.next_push(*events))[1]


async def batched(browser: Operator, enough: int) -> list[dict[str, Any]]:
    """The statuses of the next batches, until there are so many."""
    found: list[dict[str, Any]] = []
    while len(found) < enough:
        found += await push(browser, BATCH)
    return found


async def command(browser: Operator, station: str = "st-1", timeout_ms: int = 5_000, **params: Any) -> Any:
    """Opens a gate."""
    return await browser.request(
        "station-command",
        {"stationId": station, "type": "open-gate", "params": params, "timeoutMs": timeout_ms},
    )


# ---- nothing broken


async def test_without_a_break_all_passes(start: Start) -> None:
    """Stations, browsers of both doors and HTTP do what they do with the hub itself."""
    scene = await start()
    browser, page = await scene.browser(), await scene.page()
    station = await scene.known(interval=0.1)
    assert await push(browser, "station-connected") == {"stationId": "st-1"}
    assert [status["stationId"] for status in await batched(browser, 1)] == ["st-1"]
    assert (await command(browser, token="x"))["result"] == {"token": "x"}
    asked = {"stationId": "st-1", "type": "open-gate", "params": "y"}
    assert (await page.request("station-command", asked))["result"] == "y"
    assert scene.opened == {"st-1": 2}
    big = "x" * 300_000
    assert (await command(browser, big=big))["result"] == {"big": big}
    with pytest.raises(RequestFailed, match="ROOM_NOT_FOUND"):
        await browser.request("join-room", {"roomId": "nowhere"})
    await station.close()
    assert await push(browser, "station-disconnected") == {"stationId": "st-1"}
    await until(lambda: ("station-disconnected", {"stationId": "st-1"}) in page.pushes)
    assert page.pushes[0] == ("station-connected", {"stationId": "st-1"})
    assert not scene.proxy.done


async def test_http_passes(start: Start) -> None:
    """Requests that are no WebSocket reach the hub, several on a connection."""
    scene = await start()

    def ask() -> Any:
        request = urllib.request.Request(
            f"{scene.proxy.http_url}/auth/guest", b"{}", {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=GUARD) as answer:
            return json.load(answer)

    assert (await asyncio.to_thread(ask))["user"]["type"] == "guest"


async def test_ends_are_told_on(start: Start) -> None:
    """A client that goes is gone at the hub, and the other way round."""
    scene = await start()
    browser = await scene.browser()
    await until(lambda: len(scene.proxy.browsers) == 1)
    await browser.close()
    await until(lambda: not scene.proxy.browsers)
    async with asyncio.timeout(GUARD):
        with pytest.raises(Refused, match="UNAUTHORIZED"):
            await Operator(scene.proxy.http_url, token="no token").__aenter__()


async def test_bytes_pass_unchanged() -> None:
    """What is no message that is looked into passes as it came, wherever it is cut."""
    heard, over = bytearray(), asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            heard.extend(data)
        over.set()
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    class Fake:
        http_port = mqtt_port = port

    status = b"\x00\x14stations/st-1/status"
    said = b"".join(
        (
            b"\x30\x18" + status + b"{}",
            b"\x30\x98\x80\x00" + status + b"{}",  # a length in more bytes than it needs
            b"\x32\x04\x00\x01a\x00",  # no packet id
            b"\xc0\x00\xff\xff\xff\xff\xff and no packets any more",
        )
    )
    async with server, broken(Fake(), Break("drop-status", most=0)) as proxy:
        _, writer = await asyncio.open_connection("127.0.0.1", int(proxy.mqtt_url.rpartition(":")[2]))
        for at in range(len(said)):
            writer.write(said[at : at + 1])
            await asyncio.sleep(0)
        writer.close()
        async with asyncio.timeout(GUARD):
            await over.wait()
    assert bytes(heard) == said


async def test_an_unknown_break_is_refused(start: Start) -> None:
    """The others go on."""
    scene = await start(Break("alter-ack"))
    with pytest.raises(ValueError, match="no break drop-everything"):
        scene.proxy.set(Break("drop-everything"))
    assert await (await scene.browser()).request("ping") == {"altered": True}


# ---- stations to hub


async def test_a_share_of_statuses_is_dropped(start: Start) -> None:
    """The share is kept to, the seed decides, and only statuses are lost."""
    scene = await start(Break("drop-status", share=0.5))
    station = await scene.known()
    for _ in range(100):
        await station.report()
    counters, dropped = scene.hub.services.board.counters, scene.proxy.done
    await until(lambda: counters.received + dropped["drop-status"] == 101)
    assert 30 < dropped["drop-status"] < 70
    assert set(scene.proxy.victims["drop-status"]) == {"st-1"}
    assert scene.online()


async def test_statuses_of_one_station_are_dropped(start: Start) -> None:
    scene = await start(Break("drop-status", station="st-1"))
    browser = await scene.browser()
    await scene.known("st-1", interval=0.1)
    await scene.known("st-2", interval=0.1)
    assert {status["stationId"] for status in await batched(browser, 2)} == {"st-2"}


async def test_statuses_are_delayed_or_reordered(start: Start) -> None:
    """An older one comes behind a newer one: the hub's board then holds the older."""
    scene = await start()
    browser, station = await scene.browser(), await scene.known()
    assert (await batched(browser, 1))[0]["sim"]["n"] == 1
    scene.proxy.set(Break("reorder-status", most=1))
    await station.report()
    await station.report()
    assert (await batched(browser, 1))[-1]["sim"]["n"] == 2
    scene.proxy.set(Break("delay-status", seconds=0.2))
    heard, before = scene.hub.services.board.counters.received, time.monotonic()
    await station.report()
    await until(lambda: scene.hub.services.board.counters.received == heard + 1)
    assert time.monotonic() - before >= 0.2
    assert (await batched(browser, 1))[0]["sim"]["n"] == 4


async def test_statuses_are_duplicated(start: Start) -> None:
    scene = await start(Break("duplicate-status"))
    await scene.known()
    await until(lambda: scene.hub.services.board.counters.received == 2)


async def test_births_goodbyes_calls_and_replies_are_dropped(start: Start) -> None:
    """Stations are told that they arrived."""
    scene = await start(Break("drop-reply"), Break("drop-call"))
    browser, station = await scene.browser(), await scene.known()
    await station.call_center()
    with pytest.raises(RequestFailed, match="STATION_TIMEOUT"):
        await command(browser, timeout_ms=200)
    assert scene.opened == {"st-1": 1}
    assert "station-incoming-call" not in dict(browser.waiting())
    assert scene.proxy.done == {"drop-reply": 2, "drop-call": 1}
    scene.proxy.set(Break("drop-from-station", what="call"))
    await station.call_center()
    assert scene.proxy.done["drop-from-station"] == 1
    await browser.request("ping")
    assert "station-incoming-call" not in dict(browser.waiting())
    scene.proxy.set(Break("drop-goodbye"), Break("drop-birth"))
    heard: list[str] = []
    scene.hub.link.subscribe(ALL_STATIONS, lambda topic, _payload, _retained: heard.append(topic))
    await station.report()
    await until(lambda: STATION_STATUS("st-1") in heard)
    await station.close()
    await scene.station("st-2")
    await until(lambda: STATION_STATUS("st-2") in heard)
    assert not {STATION_OFFLINE("st-1"), STATION_ONLINE("st-2")} & {*heard}
    assert scene.proxy.done["drop-birth"] == scene.proxy.done["drop-goodbye"] == 1


# ---- hub to stations


async def test_commands_are_dropped(start: Start) -> None:
    scene = await start(Break("drop-command", what="open-gate", most=1))
    browser, _ = await scene.browser(), await scene.known()
    with pytest.raises(RequestFailed, match="delivered=false"):
        await command(browser, timeout_ms=200)
    await command(browser)
    assert scene.opened == {"st-1": 1}
    assert scene.proxy.victims == {"drop-command": ["st-1"]}


async def test_a_duplicate_command_is_refused_by_the_station(start: Start) -> None:
    """The same id comes twice, under two packet ids; the hub sees one PUBACK alone."""
    scene = await start(Break("duplicate-command", what="open-gate"))
    browser, _ = await scene.browser(), await scene.known()
    refused: list[bytes] = []
    scene.hub.link.subscribe(
        STATION_REPLY("st-1"),
        lambda _topic, payload, _retained: refused.append(payload) if b'"duplicate"' in payload else None,
    )
    for _ in range(3):
        await command(browser)
    await until(lambda: len(refused) == 3)
    assert scene.opened == {"st-1": 3}
    assert scene.proxy.done["duplicate-command"] == 3


async def test_a_repeated_command_is_carried_out_twice(start: Start) -> None:
    scene = await start(Break("repeat-command", what="open-gate"))
    browser, _ = await scene.browser(), await scene.known()
    await command(browser)
    await until(lambda: scene.opened == {"st-1": 2})


async def test_commands_are_delayed(start: Start) -> None:
    """Within its deadline it is carried out, later than that not."""
    scene = await start(Break("delay-command", what="open-gate", seconds=0.4))
    browser, _ = await scene.browser(), await scene.known()
    assert (await command(browser))["ms"] >= 390
    with pytest.raises(RequestFailed, match="STATION_TIMEOUT"):
        await command(browser, timeout_ms=150)
    await asyncio.sleep(0.5)  # nothing tells that nothing happens
    assert scene.opened == {"st-1": 1}


async def test_a_late_command_is_carried_out_after_its_deadline(start: Start) -> None:
    scene = await start(Break("late-command", seconds=0.6))
    browser, _ = await scene.browser(), await scene.known()
    before = time.monotonic()
    with pytest.raises(RequestFailed, match="STATION_TIMEOUT"):
        await command(browser, timeout_ms=300)
    assert not scene.opened
    await until(lambda: scene.opened == {"st-1": 1})
    assert time.monotonic() - before >= 0.9


async def test_commands_are_reordered(start: Start) -> None:
    scene = await start(Break("reorder-commands", what="open-gate", most=1))
    browser, station = await scene.browser(), await scene.known()
    ran = []

    @station.on("close-gate")
    def close_gate(job: Job) -> None:
        ran.append(scene.opened["st-1"])

    first = asyncio.create_task(command(browser))
    await until(lambda: scene.proxy.done["reorder-commands"] == 1)
    await browser.request("station-command", {"stationId": "st-1", "type": "close-gate"})
    await first
    assert ran == [0]


async def test_a_command_goes_to_another_station(start: Start) -> None:
    scene = await start(Break("misroute-command"))
    browser, _, _ = await scene.browser(), await scene.known("st-1"), await scene.known("st-2")
    with pytest.raises(RequestFailed, match="STATION_TIMEOUT"):
        await command(browser, timeout_ms=300)
    assert scene.opened == {"st-2": 1}


async def test_a_phantom_command_is_done_and_never_carried_out(start: Start) -> None:
    scene = await start(Break("phantom-command"))
    browser, _ = await scene.browser(), await scene.known()
    assert (await command(browser))["result"] == {"open": True}
    assert not scene.opened
    assert await browser.request("station-request-status", {"stationId": "st-1"}) == {"via": "mqtt"}
    await push(browser, "station-status-update")  # the hub's own commands pass


async def test_signals_to_and_from_stations_are_dropped(start: Start) -> None:
    scene = await start(Break("drop-to-station", what="signal/in"))
    browser, station = await scene.browser(), await scene.known()
    heard: list[Signal] = []
    station.on_signal(heard.append)
    await browser.request("station-cmd-request-stream", {"stationId": "st-1", "cameraId": "c"})
    await browser.request("offer", {"to": "station:st-1", "offer": {"sdp": "x"}})
    await until(lambda: scene.proxy.done["drop-to-station"] == 1)
    scene.proxy.set()
    await browser.request("offer", {"to": "station:st-1", "offer": {"sdp": "y"}})
    await until(lambda: bool(heard))
    assert heard[0].offer == {"sdp": "y"}


# ---- logins and connections


async def test_logins_are_refused(start: Start) -> None:
    """As the hub would; the next ones are let in."""
    scene = await start(Break("refuse-station", most=1), Break("refuse-browser", most=2))
    with pytest.raises(AccessRefused):
        await scene.station()
    with pytest.raises(Refused, match="UNAUTHORIZED: Unauthorized"):
        await scene.browser()
    with pytest.raises(PageRefused, match="UNAUTHORIZED: Unauthorized"):
        await scene.page()
    await scene.known()
    await (await scene.browser()).request("ping")
    assert await (await scene.page()).request("check-room", {"roomId": "x"}) == {"exists": False}


@pytest.mark.parametrize("how", ["reset", "end"])
async def test_connections_are_killed(start: Start, how: str) -> None:
    """Both sides hear of it, and the hub tells of the station by its will."""
    scene = await start()
    watching, browser = await scene.browser(), await scene.browser()
    station = await scene.known()
    scene.proxy.set(Break(f"{how}-station", most=1, seconds=OFTEN))
    assert await push(watching, "station-disconnected") == {"stationId": "st-1"}
    await until(lambda: not station.connected)
    scene.proxy.set(Break(f"{how}-browser", most=2, seconds=OFTEN))
    for each in (watching, browser):
        with pytest.raises(ConnectionLost):
            await push(each, "never")
    assert scene.proxy.done == {f"{how}-station": 1, f"{how}-browser": 2}


async def test_half_open_connections(start: Start) -> None:
    """Nobody is told; what is said is lost; the hub finds out by its keep-alive."""
    scene = await start()
    browser, station = await scene.browser(), await scene.known(keepalive=1)
    scene.proxy.set(Break("half-open-station", most=1, seconds=OFTEN))
    await until(lambda: scene.proxy.done["half-open-station"] == 1)
    assert station.connected
    assert scene.online()
    assert await push(browser, "station-disconnected") == {"stationId": "st-1"}
    scene.proxy.set(Break("half-open-browser", most=1, seconds=OFTEN))
    await until(lambda: scene.proxy.done["half-open-browser"] == 1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await browser.request("ping")
    assert browser.close_code is None
    for link in [*scene.proxy.browsers]:
        link.cut(reset=True)


async def test_everything_is_delayed(start: Start) -> None:
    """There and back, in order."""
    scene = await start()
    browser, station = await scene.browser(), await scene.known()
    scene.proxy.set(Break("delay-all", seconds=0.1))
    before = time.monotonic()
    pongs = await asyncio.gather(*(browser.request("ping") for _ in range(50)))
    assert time.monotonic() - before >= 0.2
    assert [pong["ts"] for pong in pongs] == sorted(pong["ts"] for pong in pongs)
    before = time.monotonic()
    await command(browser)
    assert time.monotonic() - before >= 0.4
    await station.close()
    assert await push(browser, "station-disconnected") == {"stationId": "st-1"}


# ---- hub to browsers: answers


async def test_answers_on_the_native_door(start: Start) -> None:
    """Each break meets the event named, and only that."""
    scene = await start(Break("drop-ack", what="check-room"), Break("alter-ack", what="ping"))
    browser = await scene.browser()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await browser.request("check-room", {"roomId": "x"})
    assert await browser.request("ping") == {"altered": True}
    assert "roomId" in await browser.request("create-room")
    assert scene.proxy.done == {"drop-ack": 1, "alter-ack": 1}
    scene.proxy.set(Break("refuse-ack", what="ping"), Break("delay-ack", what="check-room", seconds=0.2))
    with pytest.raises(RequestFailed, match="INTERNAL: Internal error"):
        await browser.request("ping")
    before = time.monotonic()
    assert await browser.request("check-room", {"roomId": "x"}) == {"exists": False}
    assert time.monotonic() - before >= 0.2
    scene.proxy.set(Break("drop-request", what="ping", most=1))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await browser.request("ping")
    await browser.request("ping")


async def test_answers_on_the_socketio_door(start: Start) -> None:
    scene = await start(Break("alter-ack", what="check-room", value={"exists": 7}), Break("refuse-ack", what="ping"))
    page = await scene.page()
    assert await page.request("check-room", {"roomId": "x"}) == {"exists": 7}
    assert await page.request("ping") == {"error": "INTERNAL: Internal error"}
    assert "roomId" in await page.request("create-room")
    scene.proxy.set(Break("drop-ack", what="ping"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await page.request("ping")


async def test_a_repeated_request_is_a_second_one_for_the_hub(start: Start) -> None:
    scene = await start(Break("repeat-request", what="station-command"))
    browser, _ = await scene.browser(), await scene.known()
    await command(browser)
    await until(lambda: scene.opened == {"st-1": 2})


async def test_answers_and_pushes_come_twice(start: Start) -> None:
    """Seen on the wire, as clients do not tell of the second ack."""
    scene = await start(Break("duplicate-ack", what="ping", most=1), Break("duplicate-push", what="peer-joined"))
    url = scene.proxy.http_url.replace("http", "ws", 1)
    async with connect(f"{url}/ws?token={scene.token()}") as socket:
        assert b"welcome" in await socket.recv(decode=False)
        for number in (1, 2):
            await socket.send(json.dumps({"id": number, "event": "ping"}))
        async with asyncio.timeout(GUARD):
            assert [json.loads(await socket.recv())["id"] for _ in range(3)] == [1, 1, 2]
    browser, other = await scene.browser(), await scene.browser()
    await other.request("join-room", await browser.request("create-room"))
    assert await push(browser, "peer-joined") == await push(browser, "peer-joined") == {"peerId": other.peer_id}
    assert scene.proxy.done == {"duplicate-ack": 1, "duplicate-push": 1}


# ---- hub to browsers: pushes


async def test_pushes_are_dropped(start: Start) -> None:
    """By name: presence, calls, streams, signals."""
    kinds = ("station-connected", "station-incoming-call", "station-stream-ready", "offer", "peer-joined")
    scene = await start(*(Break("drop-push", what=kind) for kind in kinds))
    browser, other = await scene.browser(), await scene.browser()
    station = await scene.known()
    await station.call_center()
    await browser.request("station-cmd-request-stream", {"stationId": "st-1", "cameraId": "c"})
    await station.stream_response(browser.peer_id, "ready", url="rtsp://x.invalid", camera_id="c")
    room = await browser.request("create-room")
    await other.request("join-room", room)
    await other.request("offer", {"to": browser.peer_id, "offer": {"sdp": "x"}})
    await other.request("ice-candidate", {"to": browser.peer_id, "candidate": {}})
    await push(browser, "ice-candidate")
    await until(lambda: scene.proxy.done["drop-push"] == 2 + 2 + 1 + 1 + 1)
    assert not {event for event, _ in browser.waiting() + other.waiting()} & {*kinds}


async def test_presence_is_inverted_and_repeated(start: Start) -> None:
    scene = await start(Break("invert-presence", most=2), Break("duplicate-push", what="station-disconnected", most=2))
    browser, page = await scene.browser(), await scene.page()
    station = await scene.known()
    assert await push(browser, "station-connected", "station-disconnected") == {"stationId": "st-1"}
    await until(lambda: page.pushes == [("station-disconnected", {"stationId": "st-1"})])
    await station.close()
    for _ in range(2):
        await push(browser, "station-disconnected")
    await until(lambda: page.pushes == [("station-disconnected", {"stationId": "st-1"})] * 3)


async def test_presence_is_delayed(start: Start) -> None:
    scene = await start(Break("delay-push", what="station-connected", seconds=0.3))
    browser, before = await scene.browser(), time.monotonic()
    await scene.known()
    await push(browser, "station-connected")
    assert time.monotonic() - before >= 0.3


async def test_presence_is_forged(start: Start) -> None:
    """Of a station that is there, and of one that is gone, to all browsers."""
    scene = await start()
    browser, page, station = await scene.browser(), await scene.page(), await scene.known()
    await push(browser, "station-connected")
    scene.proxy.set(Break("forge-disconnected", most=1, seconds=OFTEN))
    assert await push(browser, "station-disconnected") == {"stationId": "st-1"}
    assert scene.online()
    await until(lambda: ("station-disconnected", {"stationId": "st-1"}) in page.pushes)
    await station.close()
    await push(browser, "station-disconnected")
    scene.proxy.set(Break("forge-connected", most=1, seconds=OFTEN))
    assert await push(browser, "station-connected") == {"stationId": "st-1"}
    assert not scene.online()


# ---- hub to browsers: the statuses in batches


async def test_batched_statuses_are_dropped_and_duplicated(start: Start) -> None:
    """One of a batch, and the others stay."""
    scene = await start(Break("drop-batched", station="st-1"), Break("duplicate-batched", station="st-2", most=1))
    browser = await scene.browser()
    for name in ("st-1", "st-2"):
        await scene.known(name, interval=0.1)
    statuses = await batched(browser, 4)
    assert {status["stationId"] for status in statuses} == {"st-2"}
    numbers = [status["sim"]["n"] for status in statuses]
    assert len(numbers) - len({*numbers}) == 1


async def test_batched_statuses_are_reordered(start: Start) -> None:
    scene = await start(Break("reorder-batched", most=1))
    browser = await scene.browser()
    await scene.known(interval=0.1)
    first, second = (status["sim"]["n"] for status in (await batched(browser, 2))[:2])
    assert second < first


async def test_a_station_freezes(start: Start) -> None:
    """Nothing comes of the one any more, or its first status again and again."""
    scene = await start(Break("freeze-batched", station="st-1"), Break("replay-batched", station="st-2"))
    browser = await scene.browser()
    for name in ("st-1", "st-2"):
        await scene.known(name, interval=0.1)
    statuses = await batched(browser, 3)
    assert {(status["stationId"], status["sim"]["n"]) for status in statuses} == {
        ("st-2", statuses[0]["sim"]["n"]),
    }


async def test_a_status_gets_another_name(start: Start) -> None:
    scene = await start(Break("misname-batched", station="st-1"))
    browser = await scene.browser()
    await scene.known("st-2")
    await scene.known("st-1", interval=0.1)
    statuses = await batched(browser, 4)
    assert {status["stationId"] for status in statuses} == {"st-2"}


# ---- all of them


def test_every_break_has_its_test() -> None:
    """Each kind stands in this file, beside the table's own names."""
    text = Path(__file__).read_text()
    dynamic = {f"{how}-{who}" for how in ("reset", "end") for who in ("station", "browser")}
    assert {kind for kind in (*ACTS, *TIMED, "delay-all") if f'"{kind}"' not in text} <= dynamic


async def test_many_pass_at_a_time(start: Start) -> None:
    """A hundred stations and five browsers, looked into by breaks that take nothing."""
    scene = await start(*(Break(kind, most=0) for kind in ("drop-status", "drop-command", "drop-ack", "drop-batched")))
    browsers = [await scene.browser() for _ in range(5)]
    names = [f"st-{number}" for number in range(100)]
    await asyncio.gather(*(scene.station(name, interval=0.2) for name in names))
    for browser in browsers:
        seen: set[str] = set()
        while len(seen) < len(names):
            seen |= {status["stationId"] for status in await push(browser, BATCH)}
    await asyncio.gather(*(command(browsers[n % 5], name) for n, name in enumerate(names)))
    assert scene.opened == dict.fromkeys(names, 1)
    assert not scene.proxy.done


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("reset", [True, False])
def test_a_cut_connection_ends_by_rst_or_fin(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], reset: bool
) -> None:
    """The client sees what was meant, and so does the hub, on both kinds of event loop."""

    async def ending(reader: asyncio.StreamReader) -> str:
        try:
            async with asyncio.timeout(GUARD):
                while await reader.read(100):
                    pass
        except ConnectionResetError:
            return "reset"
        return "end"

    async def check() -> None:
        told = asyncio.get_running_loop().create_future()

        async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(100)
            writer.write(b"\xd0\x00")
            told.set_result(await ending(reader))
            writer.close()

        server = await asyncio.start_server(listen, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]

        class Fake:
            http_port = mqtt_port = port

        async with server, broken(Fake()) as proxy:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(proxy.mqtt_url.rpartition(":")[2]))
            writer.write(encode(Connect("st-1"), 4))
            await reader.readexactly(2)
            proxy.stations["st-1"].cut(reset=reset)
            assert (await ending(reader), await told) == (("reset",) * 2 if reset else ("end",) * 2)
            writer.close()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(check())


# ---- the wire

JSON = st.recursive(st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(), st.lists, max_leaves=5)


@given(
    st.lists(st.tuples(st.sampled_from([b"", b"x", b"y" * 126, b"z" * 70_000]), st.booleans()), max_size=5),
    st.integers(0, 9),
)
def test_frames_are_cut_anywhere(texts: list[tuple[bytes, bool]], left: int) -> None:
    """Whole frames come out with all their bytes, masked or not; the rest waits."""
    frames = [text_frame(text, masked=masked) for text, masked in texts]
    data = b"".join(frames)
    cut = len(data) - min(left, len(data))
    first, rest = cut_frames(data[:cut])
    second, rest = cut_frames(rest + data[cut:])
    assert [frame.raw for frame in first + second] == frames
    assert [frame.body for frame in first + second] == [text for text, _ in texts]
    assert rest == b""


@given(st.lists(st.sampled_from([0, 1, 127, 128, 20_000]), max_size=5), st.integers(0, 9))
def test_packets_are_cut_anywhere(sizes: list[int], left: int) -> None:
    packets = [b"\x30" + remaining_length(size) + b"x" * size for size in sizes]
    data = b"".join(packets)
    cut = len(data) - min(left, len(data))
    first, rest = cut_packets(data[:cut])
    second, rest = cut_packets(rest + data[cut:])
    assert [packet.raw for packet in first + second] == packets
    assert [len(packet.body) for packet in first + second] == sizes
    assert rest == b""


@given(
    st.sampled_from(["native", "socketio"]),
    st.sampled_from(["event", "ack", "error"]),
    st.integers(0, 99),
    JSON,
    st.sampled_from(["", "/admin,"]),
)
def test_events_are_read_as_written(dialect: Dialect, kind: Any, number: int, data: Any, namespace: str) -> None:
    """On both doors."""
    event = Event(kind, number, "ping" if kind == "event" else "", data, namespace if dialect == "socketio" else "")
    assert read_event(dialect, write_event(dialect, event)) == event


@given(
    st.sampled_from(["native", "socketio"]),
    st.binary()
    | st.sampled_from([b"2", b"42", b"43[", b"[]", b"1", b"42{}", b"42[7]", b'{"event":[]}', b'{"id":[],"event":"x"}']),
)
def test_what_is_no_event_is_none(dialect: Dialect, text: bytes) -> None:
    """And no error."""
    event = read_event(dialect, text)
    assert event is None or isinstance(event.event, str)
