"""Simulated browsers against a hub, and against servers that misbehave."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import orjson
import pytest
from websockets.asyncio.server import ServerConnection, serve

from devices.messages import Signal
from devices.operator import Operator
from devices.station import Job, Station
from hub.config import load
from hub.serve import Hub
from simulator.browsers.browser import SimulatedBrowser
from simulator.browsers.sign_in import role_of
from simulator.browsers.watching import window
from simulator.plan import spread
from simulator.world import World
from tests.simulator.stage import GUARD, Found, Notes, eventually, make_world, only

SECRET = "a secret of the tests, long enough"


class Fleet:
    """A hub, stations as the simulator's behave, and browsers."""

    def __init__(self, hub: Hub, stack: AsyncExitStack) -> None:
        self.hub, self._stack = hub, stack
        self.lifetime: float | None = None

    def token(self, user_id: str, life: float) -> str:
        return self.hub.tokens.mint_user(user_id, role="operator", lifetime=self.lifetime or life)

    async def stations(self, world: World, count: int) -> list[Station]:
        made = []
        for number in range(count):
            station_id = world.station_id(number)
            token = self.hub.tokens.mint_station(station_id)
            station = Station(f"mqtt://127.0.0.1:{self.hub.mqtt_port}", station_id, token=token, status_interval=0.2)
            _behave(station, world, number)
            made.append(await self._stack.enter_async_context(station))
        online = self.hub.services.presence.online_ids
        await eventually(lambda: len(online()) == count)
        return made

    async def browsers(self, world: World, count: int = 1) -> list[SimulatedBrowser]:
        """Started and connected."""
        world.schedule.start()
        self._stack.callback(world.schedule.stop)
        made = []
        for number in range(count):
            browser = world.browsers[number] = SimulatedBrowser(world, number)
            self._stack.callback(browser.drop)
            browser.start()
            made.append(browser)
        await eventually(lambda: all(browser.connected for browser in made))
        return made


def _behave(station: Station, world: World, number: int) -> None:
    async def join(job: Job) -> None:
        await station.join_room(job.command.room_id or "")

    async def stream(job: Job) -> None:
        camera = job.command.camera_id
        await station.stream_response(job.requester_id or "", "ready", url=f"rtsp://x/{camera}", camera_id=camera)

    async def signalled(signal: Signal) -> None:
        if signal.event == "offer":
            answer = {**signal.offer, "type": "answer"}
            await station.signal(Signal(event="answer", peer=signal.peer, room_id=signal.room_id, answer=answer))

    def gate(job: Job) -> dict[str, bool]:
        world.commands.executed(number, job.command.params["sim"], world.schedule.real())
        return {"open": True}

    station.on("open-gate")(gate)
    station.on("join-room")(join)
    station.on("start-stream")(stream)
    station.on_signal(signalled)


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    """A hub."""
    ports = {"port": 0, "mqtt_port": 0, "mqtt_ws_port": 0}
    async with Hub(load({**ports, "data_dir": tmp_path, "jwt_secret": SECRET})) as hub, AsyncExitStack() as stack:
        yield Fleet(hub, stack)


def notes(judge: Any) -> Notes:
    """A judge as what it is here."""
    return cast("Notes", judge)


def sound(world: World, found: Found) -> None:
    """Nothing was found."""
    names = [f"ack.{what}" for what in ("late", "missing", "wrong", "errors")]
    names += ["status.wrong", "browsers.refused", "browsers.disconnects", "browsers.kicked"]
    assert {name: found.evidence(name) for name in names if found[name]} == {}
    assert found.errors() == {}


@pytest.mark.parametrize("socketio", [0.0, 0.5, 1.0])
async def test_browsers_do_all_they_can_and_find_nothing(fleet: Fleet, socketio: float) -> None:
    """By both doors, and from one to the other: whatever must lead to something does."""
    world = make_world(fleet.hub.http_url, token=fleet.token, socketio=socketio)
    found = Found(world.recorder)
    await fleet.stations(world, 3)
    browsers = await fleet.browsers(world, 4)
    exchanges = notes(world.exchanges)
    kinds = {"answer", "stream", "invite", "signal"}
    await eventually(lambda: {kind for kind, *_ in exchanges.of("met")} == kinds)
    await eventually(lambda: any(args[1][1:] == ("peer-left",) for args in exchanges.of("met")))
    events = ("ping", "station-command", "station-invite", "join-room", "offer", "ice-candidate", "leave-room")
    await eventually(lambda: all(found.timed(f"ack.{event}") for event in events))
    await asyncio.wait_for(asyncio.gather(*(browser.rest() for browser in browsers)), GUARD)
    expected = {(args[0], args[1]) for args in exchanges.of("expect")}
    assert {(args[0], args[1]) for args in exchanges.of("met")} == expected
    assert not exchanges.of("excuse")
    commands = notes(world.commands)
    issued = {args[0] for args in commands.of("issued")}
    assert issued == {args[0] for args in commands.of("acked") if args[1] == "done"}
    assert issued == {args[1] for args in commands.of("executed")}
    assert (found.timed("login"), found["browsers.started"]) == (4, 4)
    sound(world, found)
    await asyncio.gather(*(browser.stop() for browser in browsers))
    assert not any(browser.connected for browser in browsers)
    await eventually(lambda: not fleet.hub.gateway.peers)
    sound(world, found)


async def test_statuses_and_presence_reach_the_judges(fleet: Fleet) -> None:
    """Of this run's stations that it watches; what was kept from before is not judged."""
    world = make_world(fleet.hub.http_url, token=fleet.token, watch=2, stations=4)
    found = Found(world.recorder)
    clock = world.schedule

    def report(run: str, seq: int) -> dict[str, Any]:
        return {"devices": [], "sim": {"n": seq, "t": clock.wall_ms(clock.real()), "r": run}}

    async with AsyncExitStack() as stack:
        seq = 0

        async def station(number: int, run: str = world.run_id) -> None:
            nonlocal seq
            station_id = world.station_id(number)

            def status() -> dict[str, Any]:
                nonlocal seq
                seq += 1
                return report(run, seq)

            url, token = f"mqtt://127.0.0.1:{fleet.hub.mqtt_port}", fleet.hub.tokens.mint_station(station_id)
            await stack.enter_async_context(Station(url, station_id, token=token, status=status, status_interval=0.1))

        await station(0)
        await station(2)
        world.stations.clear()
        [browser] = await fleet.browsers(world)
        await eventually(lambda: notes(world.presence).of("watching"))
        assert notes(world.presence).of("watching")[0][:2] == (0, [0, 2])
        assert notes(world.statuses).of("watching")[0][:2] == (0, [0, 1])
        await station(1, "another run")
        await eventually(lambda: len(notes(world.statuses).of("batch")) >= 2)
        assert {args[:2] for args in notes(world.statuses).of("batch")} == {(0, 0)}
        assert all(intended <= now for *_, intended, now in notes(world.statuses).of("batch"))
        await eventually(lambda: any(args[:3] == (0, 1, True) for args in notes(world.presence).of("said")))
    await eventually(lambda: any(args[:3] == (0, 1, False) for args in notes(world.presence).of("said")))
    await browser.stop()
    sound(world, found)
    assert notes(world.presence).of("unwatch")
    assert notes(world.statuses).of("unwatch")


async def test_a_call_is_heard(fleet: Fleet) -> None:
    """By its station and timestamp."""
    world = make_world(fleet.hub.http_url, token=fleet.token, mix=only("ping"))
    [station, *_] = await fleet.stations(world, 1)
    await fleet.browsers(world)
    await station.call_center()
    await eventually(lambda: any(args[0] == "call" for args in notes(world.exchanges).of("met")))
    [(_, (station_id, timestamp), _)] = [args for args in notes(world.exchanges).of("met") if args[0] == "call"]
    assert station_id == "sim-00001"
    assert isinstance(timestamp, int)


@pytest.mark.parametrize("socketio", [0.0, 1.0])
async def test_faults_are_no_findings(fleet: Fleet, socketio: float) -> None:
    """A reset, silence, slow reading, a short token: each is behind it after a while, and it is there again."""
    world = make_world(fleet.hub.http_url, token=fleet.token, socketio=socketio, stations=2)
    found = Found(world.recorder)
    await fleet.stations(world, 2)
    [browser, other] = await fleet.browsers(world, 2)
    browser.abort(0.1)
    await eventually(lambda: found["browsers.reconnects"] == 1 and browser.connected)
    browser.fall_silent(0.3)
    assert not browser.connected
    await eventually(lambda: found["browsers.reconnects"] == 2 and browser.connected)
    browser.read_slowly(1.5)
    assert browser.connected
    assert not browser.available
    await eventually(lambda: browser.available)
    assert found["browsers.reconnects"] == 2
    browser.expire_token(60.0)
    await eventually(lambda: found["browsers.reconnects"] == 3 and browser.connected)
    before = found.timed("ack")
    await eventually(lambda: found.timed("ack") > before + 20)
    await asyncio.gather(browser.rest(), other.rest())
    sound(world, found)


async def test_an_expired_token_is_renewed(fleet: Fleet) -> None:
    """The hub closes; that has a cause."""
    world = make_world(fleet.hub.http_url, token=fleet.token, mix=only("ping"))
    found = Found(world.recorder)
    fleet.lifetime = -25.0  # within the tolerance, so it gets in; the hub then closes 5 s later
    [browser] = await fleet.browsers(world)
    browser._expires = world.schedule.real() - 25.0
    fleet.lifetime = None
    await eventually(lambda: found["browsers.reconnects"] == 1 and browser.connected)
    assert browser._expires > world.schedule.real() + 1_000
    sound(world, found)


async def test_a_newer_login_elsewhere_is_a_kick(fleet: Fleet) -> None:
    """And no disconnect beside; it logs in anew."""
    world = make_world(fleet.hub.http_url, token=fleet.token, mix=only("ping"))
    found = Found(world.recorder)
    [browser] = await fleet.browsers(world)
    newer = fleet.token("sim-op-00001", 60.0)
    async with Operator(fleet.hub.http_url, token=newer, timeout=GUARD):
        await eventually(lambda: found["browsers.reconnects"] == 1 and browser.connected)
    assert found["browsers.kicked"] == 1
    assert "NEW_LOGIN" in found.evidence("browsers.kicked")[0]
    assert (found["browsers.disconnects"], found["browsers.refused"]) == (0, 0)


@pytest.mark.parametrize("login", ["guest", "account"])
async def test_guests_and_accounts(fleet: Fleet, login: str) -> None:
    """They log in by HTTP, an account a second time with its password, and do what viewers may."""
    world = make_world(fleet.hub.http_url, login=login, stations=0, token=lambda *_: pytest.fail("not asked for"))
    found = Found(world.recorder)
    [browser] = await fleet.browsers(world)
    assert role_of(browser._token or "") == "viewer"
    browser.expire_token(60.0)
    await eventually(lambda: found["browsers.reconnects"] == 1 and browser.connected)
    await eventually(lambda: found.timed("ack.ping") > 5)
    sound(world, found)


class Script:
    """A native hub that does as told: `greet` says hello and answers all, but `instead` may do otherwise."""

    def __init__(self, instead: Callable[[ServerConnection, dict[str, Any]], Awaitable[bool]] | None = None) -> None:
        self._instead = instead
        self.sockets: list[ServerConnection] = []

    async def __call__(self, socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send('{"event":"welcome","data":{"peerId":"me","heartbeat":25}}')
        self.sockets.append(socket)
        async for message in socket:
            frame = orjson.loads(message)
            if self._instead is None or not await self._instead(socket, frame):
                await socket.send(orjson.dumps({"id": frame["id"], "ack": _ack(frame)}).decode())


def _ack(frame: dict[str, Any]) -> Any:
    match frame["event"]:
        case "get-online-stations":
            return {"stations": ["sim-00001"]}
        case "station-watch":
            return {"watching": len(frame["data"]["stations"])}
        case _:
            return {"pong": True, "ts": 1}


@asynccontextmanager
async def against(script: Script, **settings: Any) -> AsyncIterator[tuple[World, SimulatedBrowser, Found]]:
    """A browser, connected to a scripted hub."""
    async with serve(script, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        world = make_world(f"http://127.0.0.1:{port}", **({"mix": only("ping")} | settings))
        found = Found(world.recorder)
        world.schedule.start()
        browser = SimulatedBrowser(world, 0)
        try:
            browser.start()
            await eventually(lambda: browser.connected)
            yield world, browser, found
        finally:
            browser.drop()
            world.schedule.stop()


def status(number: int, world: World, **more: Any) -> dict[str, Any]:
    """Of a station, just now."""
    sim = {"n": 7, "t": world.schedule.wall_ms(world.schedule.real()), "r": "run1"}
    return {"stationId": f"sim-0000{number}", "sim": sim | more}


async def test_broken_pushes_are_counted_and_end_nothing() -> None:
    """Of whatever kind; what is right among them is judged."""
    script = Script()
    async with against(script, watch=1) as (world, browser, found):
        await eventually(lambda: notes(world.statuses).of("watching") and notes(world.presence).of("watching"))
        broken: list[tuple[str, Any]] = [
            ("batch-station-status-update", {"a": 1}),
            ("batch-station-status-update", None),
            ("station-connected", None),
            ("station-disconnected", []),
            ("station-connected", {"stationId": ["x"]}),
            ("station-incoming-call", {"stationId": "sim-00001"}),
            ("station-stream-ready", {}),
            ("offer", 7),
            ("kicked", []),
        ]
        socket = script.sockets[0]
        for event, data in broken:
            await socket.send(orjson.dumps({"event": event, "data": data}).decode())
        await socket.send("nonsense")
        await socket.send('{"event":"offer","data":{"from":"x","offer":{"sdp":"of nobody"}}}')
        await socket.send('{"event":"from-the-future","data":1}')
        batch = [7, None, {}, {"stationId": 7}, status(2, world), status(1, world, n="x"), status(1, world, t=None)]
        batch += [status(1, world, r="earlier"), status(1, world)]
        await socket.send(orjson.dumps({"event": "batch-station-status-update", "data": batch}).decode())
        await eventually(lambda: notes(world.statuses).of("batch"))
        assert [args[:3] for args in notes(world.statuses).of("batch")] == [(0, 0, 7)]
        assert found["status.wrong"] == 7
        errors = found.errors()
        assert errors.pop("browsers: a message that is not of the protocol") == 1
        assert errors.pop("browsers: offer from nobody") == 1
        assert errors.pop("browsers: unexpected push from-the-future") == 1
        assert sum(errors.values()) == len(broken)
        assert all(kind.startswith("browsers: malformed push ") for kind in errors)
        assert browser.connected


async def test_a_lost_connection_is_a_finding() -> None:
    """With the close code; it comes again."""
    script = Script()
    async with against(script) as (world, browser, found):
        await script.sockets[0].close(1011)
        await eventually(lambda: found["browsers.reconnects"] == 1 and browser.connected)
        assert found["browsers.disconnects"] == 1
        assert "close code 1011" in found.evidence("browsers.disconnects")[0]
        world.restarting_until = world.schedule.real() + 60.0
        await script.sockets[1].close(1012)
        await eventually(lambda: found["browsers.reconnects"] == 2)
        assert found["browsers.disconnects"] == 1


async def test_a_hub_that_answers_wrongly() -> None:
    """What it says of watching is asked once more; no browser dies of it."""
    asked: list[str] = []

    async def instead(socket: ServerConnection, frame: dict[str, Any]) -> bool:
        asked.append(frame["event"])
        if frame["event"] in ("station-watch", "get-online-stations") and asked.count(frame["event"]) == 1:
            await socket.send(orjson.dumps({"id": frame["id"], "error": "INTERNAL: x"}).decode())
            return True
        if frame["event"] == "get-online-stations" and asked.count(frame["event"]) == 2:
            await socket.send(orjson.dumps({"id": frame["id"], "ack": {"stations": [7, None, {}]}}).decode())
            return True
        return False

    async with against(Script(instead), watch=1) as (world, browser, found):
        await eventually(lambda: notes(world.statuses).of("watching") and notes(world.presence).of("watching"))
        assert (found["ack.errors"], found["ack.wrong"]) == (2, 1)
        assert browser.connected


@pytest.mark.parametrize(
    ("token", "why"),
    [(lambda *_: "", "connection closed|UNAUTHORIZED"), (lambda *_: 1 / 0, "simulator: ZeroDivisionError")],
)
async def test_who_is_refused_tries_again(fleet: Fleet, token: Any, why: str) -> None:
    """Refusals are findings; a broken function of tokens is an error, and kills nobody."""
    world = make_world(fleet.hub.http_url, token=token)
    found = Found(world.recorder)
    world.schedule.start()
    browser = SimulatedBrowser(world, 0)
    try:
        browser.start()
        if why.startswith("simulator"):
            await eventually(lambda: found.errors().get(why, 0) >= 2)
        else:
            await eventually(lambda: found["browsers.refused"] >= 2)
            assert "UNAUTHORIZED: Unauthorized" in found.evidence("browsers.refused")[0]
    finally:
        browser.drop()
        world.schedule.stop()


async def http_server(status_line: str, body: str) -> asyncio.Server:
    """Answers everything so."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 {status_line}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write((head + body).encode())
        await writer.drain()
        writer.close()

    return await asyncio.start_server(answer, "127.0.0.1", 0)


@pytest.mark.parametrize(
    ("line", "body", "why"),
    [
        ("429 Too Many Requests", "{}", "POST /auth/guest was answered with 429: more logins than it allows"),
        ("403 Forbidden", "{}", "POST /auth/guest was answered with 403"),
        ("201 Created", "[]", "something else than a token"),
        ("201 Created", '{"accessToken":7}', "something else than a token"),
        ("201 Created", "{", "something else than a token"),
    ],
)
async def test_a_login_that_gives_no_token_says_why(line: str, body: str, why: str) -> None:
    """In the evidence."""
    server = await http_server(line, body)
    async with server:
        world = make_world(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", login="guest")
        found = Found(world.recorder)
        world.schedule.start()
        browser = SimulatedBrowser(world, 0)
        browser.start()
        try:
            await eventually(lambda: found["browsers.refused"])
            assert why in found.evidence("browsers.refused")[0]
        finally:
            browser.drop()
            world.schedule.stop()


def test_windows_cover_all_stations_evenly() -> None:
    """Ten of a thousand for each of two hundred: each station has two."""
    watched = [number for browser in range(200) for number in window(range(1, 2_000, 2), browser, 200, 10)]
    counts = {number: watched.count(number) for number in set(watched)}
    assert set(counts) == set(range(1, 2_000, 2))
    assert set(counts.values()) == {2}
    assert window(range(3), 0, 1, 50) == [0, 1, 2]
    assert window(range(0), 0, 1, 50) == []


def test_a_share_lies_evenly() -> None:
    """A third of nine is every third; none and all are none and all."""
    assert [number for number in range(9) if spread(number, 1 / 3 + 1e-9)] == [2, 5, 8]
    assert not any(spread(number, 0.0) or spread(number, 0.0, 0.5) for number in range(100))
    assert all(spread(number, 1.0) and spread(number, 1.0, 0.5) for number in range(100))


@pytest.fixture(autouse=True)
def _quiet() -> None:
    """The stations say a lot."""
    logging.getLogger("devices.station").setLevel(logging.ERROR)
