"""Whole simulations: against a hub, against a broker alone, and against nobody."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from devices import topics
from devices.clock import SystemClock
from devices.messages import Command, Offline, RoomAction, Signal, Status, StreamResponse, decode, encode
from hub.cli import app
from hub.config import load
from hub.remote import RemoteLink
from hub.serve import Hub
from simulator import Credentials, Scenario, SimulationError, keep_running, simulate
from simulator.fleet import SimulatedStation
from simulator.stats import Stats
from tests.mosquitto import Mosquitto, free_port, mosquitto

GUARD = 15.0
SECRET = "a secret of the tests, long enough"
ANYBODY = Credentials(station=lambda _: "", browser=lambda _: "")


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """A simulation silences the stations' log, and the command line sets up all of it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("devices.station").setLevel(logging.NOTSET)


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    """A broker without a hub."""
    async with mosquitto(tmp_path) as running:
        yield running


class Hearing:
    """What a broker's clients say; subscribes before they come."""

    def __init__(self, link: RemoteLink) -> None:
        self.link = link
        self._heard: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()

    def listen(self, topic: topics.Topic) -> None:
        self.link.subscribe(topic.filter(), lambda name, payload, _: self._heard.put_nowait((name, payload)))

    async def next(self, name: str) -> bytes:
        """The next payload on that topic; others are skipped."""
        async with asyncio.timeout(GUARD):
            while True:
                topic, payload = await self._heard.get()
                if topic == name:
                    return payload


async def test_a_fleet_loads_a_hub_without_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Everyone connects, statuses come in batches, requests are answered, and the two reports agree."""
    ports = {"port": 0, "mqtt_port": 0, "mqtt_ws_port": 0}
    async with Hub(load({**ports, "data_dir": tmp_path, "jwt_secret": SECRET})) as hub:
        plan = Scenario(
            stations=20,
            browsers=2,
            duration=3.0,
            mqtt=f"mqtt://127.0.0.1:{hub.mqtt_port}",
            http=hub.http_url,
            json_file=tmp_path / "report.json",
        )
        tokens = Credentials(hub.tokens.mint_station, lambda user: hub.tokens.mint_user(user, role="operator"))
        code = await simulate(plan, tokens)
    report = json.loads((tmp_path / "report.json").read_bytes())
    assert report["errors"] == {}
    assert code == 0
    assert (report["stationsConnected"], report["browsersConnected"]) == (20, 2)
    assert report["sent"] >= 40
    assert report["received"] >= 40
    for key in ("batchDelayMs", "ackMs", "answerMs"):
        assert 0 < report[key]["p50"] <= report[key]["p99"]
    assert "20 of 20" in capsys.readouterr().out


async def test_a_simulated_station_behaves_like_a_real_one(broker: Mosquitto) -> None:
    """It reports drifting devices, opens its gate, joins a room and leaves it when deserted, streams, says goodbye."""
    plan = Scenario(stations=1, browsers=0, rate=20.0, mqtt=broker.url)
    async with RemoteLink(broker.url) as link:
        hearing = Hearing(link)
        said = (topics.STATION_STATUS, topics.STATION_OFFLINE, topics.STATION_ROOM, topics.STATION_STREAM)
        for topic in said:
            hearing.listen(topic)
        running = asyncio.create_task(keep_running(plan, ANYBODY))

        def command(type_: str, **fields: str) -> None:
            expires = SystemClock().wall_ms() + 5_000
            order = {"type": type_, "id": f"id-{type_}", "expiresAt": expires, **fields}
            link.publish(topics.STATION_CMD("sim-00001"), encode(Command.model_validate(order)))

        async def status() -> Status:
            return decode(Status, await hearing.next(topics.STATION_STATUS("sim-00001")))

        first, second = await status(), await status()
        assert len(first.devices) == 4
        assert first.devices != second.devices
        command("open-gate")
        async with asyncio.timeout(GUARD):
            while not any(device.metrics.get("open") for device in (await status()).devices):
                pass
        command("join-room", roomId="room-1")
        entered = decode(RoomAction, await hearing.next(topics.STATION_ROOM("sim-00001")))
        assert entered == RoomAction(action="join", room_id="room-1")
        gone = Signal(event="peer-left", peer="p", room_id="room-1")
        link.publish(topics.SIGNAL_IN("sim-00001"), encode(gone))
        left = decode(RoomAction, await hearing.next(topics.STATION_ROOM("sim-00001")))
        assert left == RoomAction(action="leave", room_id="room-1")
        command("start-stream", requesterId="peer-1", cameraId="cam-1")
        stream = decode(StreamResponse, await hearing.next(topics.STATION_STREAM("sim-00001")))
        assert (stream.requester_id, stream.status, stream.camera_id) == ("peer-1", "ready", "cam-1")
        running.cancel()
        await asyncio.wait({running}, timeout=GUARD)
        goodbye = decode(Offline, await hearing.next(topics.STATION_OFFLINE("sim-00001")))
        assert goodbye.reason == "goodbye"


async def test_the_same_seed_gives_the_same_devices() -> None:
    """And another station of the same fleet has others."""

    def metrics(number: int) -> list[dict[str, float]]:
        station = SimulatedStation(Scenario(seed=7), number, ANYBODY.station, Stats())
        return [dict(device.metrics) for device in station._devices]

    assert metrics(1) == metrics(1)
    assert metrics(1) != metrics(2)


async def test_cancelling_ends_early_with_the_report(broker: Mosquitto, tmp_path: Path) -> None:
    """Ctrl-C loses nothing of what was measured; no duration means until then."""
    out = tmp_path / "report.json"
    plan = Scenario(stations=3, browsers=0, duration=None, mqtt=broker.url, json_file=out)
    async with RemoteLink(broker.url) as link:
        hearing = Hearing(link)
        hearing.listen(topics.STATION_STATUS)
        task = asyncio.create_task(simulate(plan, ANYBODY))
        for _ in range(3):  # the third one of the last to come: all are connected
            await hearing.next(topics.STATION_STATUS("sim-00003"))
        task.cancel()
        assert await asyncio.wait_for(task, GUARD) == 0
    assert json.loads(out.read_bytes())["stationsConnected"] == 3


async def test_a_lost_fleet_is_an_error(broker: Mosquitto, tmp_path: Path) -> None:
    """Stations that lose the broker make the run fail."""
    out = tmp_path / "report.json"
    task = asyncio.create_task(
        simulate(Scenario(stations=2, browsers=0, duration=2.0, mqtt=broker.url, json_file=out), ANYBODY)
    )
    async with RemoteLink(broker.url) as link:
        hearing = Hearing(link)
        hearing.listen(topics.STATION_STATUS)
        for _ in range(2):
            await hearing.next(topics.STATION_STATUS("sim-00002"))
    await broker.stop()
    assert await asyncio.wait_for(task, GUARD) == 1
    assert json.loads(out.read_bytes())["errors"]["station: not connected"] == 2


async def test_a_report_that_cannot_be_written_is_told_at_once(tmp_path: Path) -> None:
    """Not after all was measured."""
    with pytest.raises(SimulationError, match="--json"):
        await simulate(Scenario(json_file=tmp_path / "no" / "x.json"), ANYBODY)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ([], "no secret"),
        (["--jwt-secret", SECRET, "--stations", "3"], "no MQTT broker answers at mqtt://127.0.0.1:{port}"),
        (["--jwt-secret", SECRET, "--stations", "0"], "http://127.0.0.1:{port}: no hub answers there"),
        (["--jwt-secret", SECRET, "--rate", "0"], "--rate: "),
    ],
)
def test_what_cannot_run_is_one_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], line: str
) -> None:
    """No secret, nobody there, a wrong option."""
    monkeypatch.chdir(tmp_path)
    port = free_port()
    nobody = ["--mqtt", f"mqtt://127.0.0.1:{port}", "--http", f"http://127.0.0.1:{port}"]
    result = CliRunner().invoke(app, ["simulate", *nobody, *options])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert line.format(port=port) in result.stderr
