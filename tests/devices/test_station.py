"""The Station SDK against a real Mosquitto, watched and commanded by Mosquitto's own clients."""

import asyncio
import datetime
import ipaddress
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from devices import AccessRefused, Job, NotConnected, Signal, Station
from devices.client import Address
from devices.station import as_status
from tests.mosquitto import Mosquitto, free_port, mosquitto

pytestmark = pytest.mark.skipif(
    shutil.which("mosquitto_sub") is None, reason="mosquitto_sub is not installed (apt install mosquitto-clients)"
)
ROOT = Path(__file__).parents[2]
GUARD = 10.0


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    async with mosquitto(tmp_path) as running:
        yield running


@pytest.fixture(params=["mqtt", "ws"])
def url(request: pytest.FixtureRequest, broker: Mosquitto) -> str:
    return broker.url if request.param == "mqtt" else broker.ws_url


async def tell(broker: Mosquitto, topic: str, payload: dict[str, Any], *options: str) -> None:
    arguments = ["-p", str(broker.port), "-q", "1", "-t", topic, "-m", orjson.dumps(payload).decode(), *options]
    process = await asyncio.create_subprocess_exec("mosquitto_pub", *arguments)
    assert await process.wait() == 0


class Watcher:
    """mosquitto_sub on everything that stations say."""

    def __init__(self, output: asyncio.StreamReader) -> None:
        self._output = output

    async def next(self, kind: str, wanted: Callable[[dict[str, Any]], bool] = lambda _: True) -> dict[str, Any]:
        """The next message on `stations/st-1/{kind}` that is wanted."""
        async with asyncio.timeout(GUARD):
            while True:
                topic, _, payload = (await self._output.readline()).partition(b" ")
                assert topic, "mosquitto_sub ended"
                if topic == f"stations/st-1/{kind}".encode() and wanted(message := orjson.loads(payload)):
                    return message  # type: ignore[no-any-return]

    async def replies(self, last: str) -> list[dict[str, Any]]:
        """Replies up to the first with stage `last`."""
        found = [await self.next("reply")]
        while found[-1]["stage"] != last:
            found.append(await self.next("reply"))
        return found


@asynccontextmanager
async def watch(broker: Mosquitto) -> AsyncIterator[Watcher]:
    await tell(broker, "test/ready", {}, "-r")
    process = await asyncio.create_subprocess_exec(
        *("mosquitto_sub", "-p", str(broker.port), "-v", "-t", "stations/#", "-t", "test/ready"),
        stdout=asyncio.subprocess.PIPE,
        limit=2_000_000,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(GUARD):
            while await process.stdout.readline() != b"test/ready {}\n":  # what was kept comes first
                pass
        yield Watcher(process.stdout)
    finally:
        process.kill()
        await process.wait()


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(GUARD):
        while not condition():  # noqa: ASYNC110 - the station tells nobody when it loses its connection
            await asyncio.sleep(0.01)


async def test_birth_status_and_goodbye(broker: Mosquitto, url: str) -> None:
    """Over MQTT and over WebSocket: announced, reported at once and at an interval, and a clean leave without a will."""
    async with watch(broker) as watcher:
        devices = [{"deviceId": "cam", "type": "camera", "status": "warning", "metrics": {"temp": 70}}]
        async with Station(
            url, "st-1", status=lambda: devices, status_interval=0.2, boot={"n": 1}, caps=["x"]
        ) as station:
            assert station.connected
            birth = await watcher.next("online")
            assert (birth["keepalive"], birth["statusInterval"], birth["boot"], birth["caps"]) == (
                30,
                0.2,
                {"n": 1},
                ["x"],
            )
            first, second = await watcher.next("status"), await watcher.next("status")
            assert first["summary"] == {"online": 0, "offline": 0, "warning": 1, "error": 0}
            assert 150 <= second["updatedAt"] - first["updatedAt"] <= 2000
        leave = await watcher.next("offline")
        assert leave == {"stationId": "st-1", "sessionId": birth["sessionId"], "reason": "goodbye"}
        await tell(broker, "stations/st-1/offline", {"last": True})
        assert await watcher.next("offline") == {"last": True}


async def test_a_handler_runs_and_replies(broker: Mosquitto, url: str) -> None:
    """received, progress, done; a duplicate and an expired one are refused and run nothing; a retained one neither."""
    ran: list[Any] = []
    station = Station(url, "st-1", status_interval=None)

    @station.on("open-gate")
    async def open_gate(job: Job) -> dict[str, Any]:
        ran.append((job.id, job.type, job.params, job.requester_id))
        job.progress({"percent": 50})
        await asyncio.sleep(0)
        return {"open": True}

    await tell(broker, "stations/st-1/cmd", {"type": "open-gate", "id": "kept"}, "-r")
    async with station, watch(broker) as watcher:
        command = {"type": "open-gate", "id": "c1", "params": {"lane": 2}, "requesterId": "p1", "ttlMs": 5000}
        await tell(broker, "stations/st-1/cmd", command)
        assert await watcher.replies("done") == [
            {"id": "c1", "stage": "received"},
            {"id": "c1", "stage": "progress", "result": {"percent": 50}},
            {"id": "c1", "stage": "done", "result": {"open": True}},
        ]
        await tell(broker, "stations/st-1/cmd", command)
        assert await watcher.next("reply") == {"id": "c1", "stage": "duplicate"}
        await tell(broker, "stations/st-1/cmd", {"type": "open-gate", "id": "c2", "expiresAt": 1})
        assert await watcher.next("reply") == {"id": "c2", "stage": "expired"}
        await tell(broker, "stations/st-1/cmd", {"type": "launch", "id": "c3"})
        assert await watcher.next("reply") == {"id": "c3", "stage": "error", "error": "unknown command"}
        assert ran == [("c1", "open-gate", {"lane": 2}, "p1")]


async def test_handlers_may_be_plain_and_may_fail(broker: Mosquitto, caplog: pytest.LogCaptureFixture) -> None:
    """A plain function's value is the result; an exception is the error, in short, and logged."""
    station = Station(broker.url, "st-1", status_interval=None)

    @station.on("double")
    def double(job: Job) -> int:
        return int(job.params) * 2

    async with station, watch(broker) as watcher:
        await tell(broker, "stations/st-1/cmd", {"type": "double", "id": "c1", "params": 21})
        assert (await watcher.replies("done"))[-1]["result"] == 42
        await tell(broker, "stations/st-1/cmd", {"type": "double", "id": "c2", "params": "x"})
        assert (await watcher.replies("error"))[-1]["error"].startswith("ValueError: invalid literal")
    assert "the handler of double failed" in caplog.text


async def test_closing_ends_handlers_that_run(broker: Mosquitto) -> None:
    """The hub is told before the goodbye."""
    station, started = Station(broker.url, "st-1", status_interval=None), asyncio.Event()

    @station.on("wait")
    async def wait(_job: Job) -> None:
        started.set()
        await asyncio.Event().wait()

    async with watch(broker) as watcher:
        async with station:
            await tell(broker, "stations/st-1/cmd", {"type": "wait", "id": "c1"})
            await asyncio.wait_for(started.wait(), GUARD)
        assert (await watcher.replies("error"))[-1]["error"] == "the station stops"
        assert (await watcher.next("offline"))["reason"] == "goodbye"


async def test_what_a_station_says(broker: Mosquitto, url: str) -> None:
    """Each call returns once the broker has it."""
    async with watch(broker) as watcher, Station(url, "st-1", status_interval=None) as station:
        await station.call_center()
        assert (await watcher.next("call"))["timestamp"] > 1_700_000_000_000
        await station.stream_response("p1", "ready", url="rtsp://x", camera_id="cam")
        assert await watcher.next("stream") == {
            "requesterId": "p1",
            "status": "ready",
            "url": "rtsp://x",
            "cameraId": "cam",
        }
        await station.join_room("r1")
        await station.leave_room("r1")
        assert [(await watcher.next("room"))["action"] for _ in range(2)] == ["join", "leave"]
        await station.signal(Signal(event="answer", peer="p1", answer={"sdp": "x" * 200_000}))
        assert len((await watcher.next("signal/out"))["answer"]["sdp"]) == 200_000
        await station.report()
        await watcher.next("status")
    with pytest.raises(NotConnected, match="st-1 is closed"):
        await station.call_center()


async def test_signals_arrive(broker: Mosquitto) -> None:
    """On `signal/in`, to the handler."""
    station, came = Station(broker.url, "st-1"), asyncio.Queue[Signal]()
    station.on_signal(came.put)
    async with station:
        await tell(broker, "stations/st-1/signal/in", {"event": "offer", "peer": "p1", "offer": {"sdp": "x"}})
        assert (await asyncio.wait_for(came.get(), GUARD)).offer == {"sdp": "x"}


async def test_a_stale_verdict_is_answered_with_a_birth(broker: Mosquitto) -> None:
    """The hub says offline, the station is here."""
    async with watch(broker) as watcher, Station(broker.url, "st-1", status_interval=None):
        birth = await watcher.next("online")
        await tell(broker, "live/stations/st-1", {"state": "offline", "sessionId": "old"}, "-r")
        assert await watcher.next("online") == birth


async def test_a_broken_status_function_does_not_end_the_station(
    broker: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    """It is reported without devices, and logged."""
    async with watch(broker) as watcher, Station(broker.url, "st-1", status=lambda: [{"deviceId": 1 // 0}]):
        assert (await watcher.next("status"))["devices"] == []
    assert "ZeroDivisionError" in caplog.text


async def test_it_comes_back_after_the_broker_did(broker: Mosquitto, url: str) -> None:
    """A new session each time; a command that ended meanwhile is told afterwards; commands work again."""
    finish, births = asyncio.Event(), set[str]()
    station = Station(url, "st-1", status_interval=0.1, retry_first=0.05, retry_cap=0.2)

    @station.on("slow")
    async def slow(_job: Job) -> str:
        await finish.wait()
        return "late"

    async with station:
        for attempt in range(3):
            async with watch(broker) as watcher:
                births.add(station.session.session_id)
                await tell(broker, "stations/st-1/cmd", {"type": "slow", "id": f"c{attempt}"})
                await watcher.next("reply", lambda reply, n=attempt: reply["id"] == f"c{n}")  # type: ignore[misc]
            await broker.stop()
            await eventually(lambda: not station.connected)
            await broker.start()
            async with asyncio.timeout(GUARD):
                await station.wait_connected()
        async with watch(broker) as watcher:
            finish.set()
            done = [await watcher.next("reply", lambda reply: reply["stage"] == "done") for _ in range(3)]
            assert {reply["id"] for reply in done} == {"c0", "c1", "c2"}
            await watcher.next("status")
    assert len(births) == 3


async def test_a_call_waits_for_the_connection(broker: Mosquitto) -> None:
    """Made while the broker is away, it is delivered when it is back."""
    async with Station(broker.url, "st-1", retry_first=0.05, retry_cap=0.1) as station:
        await broker.stop()
        await eventually(lambda: not station.connected)
        call = asyncio.create_task(station.call_center())
        await broker.start()
        await asyncio.wait_for(call, GUARD)


async def test_a_broker_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    """Entering does not fail: a device may boot before its network."""
    broker = Mosquitto(tmp_path)
    async with Station(broker.url, "st-1", retry_first=0.05, retry_cap=0.1) as station:
        assert not station.connected
        try:
            await broker.start()
            await asyncio.wait_for(station.wait_connected(), GUARD)
        finally:
            await broker.stop()


async def test_leaving_while_there_is_no_connection(broker: Mosquitto) -> None:
    """Ends at once, whoever waits is told."""
    async with Station(f"mqtt://127.0.0.1:{free_port()}", "st-1") as station:
        waiting = [asyncio.create_task(wait()) for wait in (station.wait_connected, station.call_center)]
        forever = asyncio.create_task(station.run_forever())
        await asyncio.sleep(0)
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(result, NotConnected) for result in results)
    await forever


async def test_a_server_that_never_answers_does_not_hang_it() -> None:
    """A socket that accepts and stays silent costs `connect_timeout`; over WebSocket the loop goes on meanwhile."""
    server = await asyncio.start_server(lambda _r, _w: asyncio.sleep(GUARD), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.01)
            turns += 1

    turning = asyncio.create_task(turn())
    for scheme in ("mqtt", "ws"):
        async with (
            asyncio.timeout(GUARD),
            Station(f"{scheme}://127.0.0.1:{port}", "st-1", connect_timeout=0.3) as station,
        ):
            assert not station.connected
    turning.cancel()
    server.close()
    assert turns > 20


async def test_refused_credentials(tmp_path: Path) -> None:
    """A wrong or missing token is a clear error on entering; the right one, here asked for by function, is let in."""
    passwords = tmp_path / "passwords"
    passwords.touch(mode=0o600)
    subprocess.run(["mosquitto_passwd", "-b", str(passwords), "st-1", "secret"], check=True)  # noqa: ASYNC221 - at once
    async with mosquitto(tmp_path, config=f"allow_anonymous false\npassword_file {passwords}") as broker:
        for url in (broker.url, broker.ws_url):
            for token in ("wrong", None):
                with pytest.raises(AccessRefused, match="refused the connection"):
                    async with Station(url, "st-1", token=token):
                        pytest.fail("was let in")
        async with Station(broker.url, "st-1", token=lambda: "secret") as station:
            assert station.connected


async def test_a_refusal_after_waiting_for_the_broker_is_told(tmp_path: Path) -> None:
    """When the broker was not there at first, who waits gets the error."""
    passwords = tmp_path / "passwords"
    passwords.touch(mode=0o600)
    broker = Mosquitto(tmp_path, config=f"allow_anonymous false\npassword_file {passwords}")
    async with Station(broker.url, "st-1", token="x", retry_first=0.05, retry_cap=0.1) as station:
        try:
            await broker.start()
            with pytest.raises(AccessRefused):
                await asyncio.wait_for(station.wait_connected(), GUARD)
            with pytest.raises(AccessRefused):
                await station.run_forever()
        finally:
            await broker.stop()


def make_certificate(directory: Path) -> None:
    """A certificate for 127.0.0.1 that is its own authority."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(True, None), True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (directory / "key.pem").write_bytes(secret)
    (directory / "cert.pem").write_bytes(certificate.public_bytes(pem))


@pytest.mark.parametrize("scheme", ["mqtts", "wss"])
async def test_tls(tmp_path: Path, scheme: str) -> None:
    """With the authority's file it connects and carries large messages; without it, it does not."""
    make_certificate(tmp_path)
    port, protocol = free_port(), "mqtt" if scheme == "mqtts" else "websockets"
    config = f"listener {port} 127.0.0.1\nprotocol {protocol}\n"
    config += f"certfile {tmp_path}/cert.pem\nkeyfile {tmp_path}/key.pem\n"
    async with mosquitto(tmp_path, config=config) as broker, watch(broker) as watcher:
        url, came = f"{scheme}://127.0.0.1:{port}", asyncio.Queue[Signal]()
        async with Station(url, "st-1") as station:
            assert not station.connected
        station = Station(url, "st-1", ca_file=str(tmp_path / "cert.pem"))
        station.on_signal(came.put)
        async with station:
            await asyncio.wait_for(station.wait_connected(), GUARD)
            await watcher.next("online")
            for size in (10, 100_000):
                message = {"event": "offer", "peer": "p1", "offer": "x" * size}
                await tell(broker, "stations/st-1/signal/in", message)
                assert len((await asyncio.wait_for(came.get(), GUARD)).offer) == size
                await station.signal(Signal.model_validate(message))
                assert len((await watcher.next("signal/out"))["offer"]) == size
        assert (await watcher.next("offline"))["reason"] == "goodbye"


async def run_example(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "examples.station", *arguments),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@pytest.mark.parametrize(("how", "reason"), [(signal.SIGKILL, "will"), (signal.SIGINT, "goodbye")])
async def test_the_example_opens_its_gate(broker: Mosquitto, how: signal.Signals, reason: str) -> None:
    """It connects, opens on command, leaves cleanly on Ctrl-C; killed, its will speaks for it."""
    async with watch(broker) as watcher:
        process = await run_example(broker.url, "st-1")
        try:
            assert process.stdout is not None
            line = await asyncio.wait_for(process.stdout.readline(), GUARD)
            assert line.decode() == f"st-1 connected to {broker.url}\n"
            birth = await watcher.next("online")
            await tell(broker, "stations/st-1/cmd", {"type": "open-gate", "id": "c1", "requesterId": "p1"})
            assert (await watcher.replies("done"))[-1]["result"] == {"open": True}
            assert await asyncio.wait_for(process.stdout.readline(), GUARD) == b"open-gate None for p1\n"
            process.send_signal(how)
            leave = await watcher.next("offline")
            assert (leave["reason"], leave["sessionId"]) == (reason, birth["sessionId"])
            _, errors = await asyncio.wait_for(process.communicate(), GUARD)
            assert errors == b""
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("mqtt://hub", Address("hub", 1883, False, False, "/mqtt")),
        ("mqtts://hub", Address("hub", 8883, True, False, "/mqtt")),
        ("ws://hub:8083", Address("hub", 8083, False, True, "/mqtt")),
        ("wss://hub/a/b?c=d", Address("hub", 443, True, True, "/a/b?c=d")),
        ("mqtt://[::1]:5", Address("::1", 5, False, False, "/mqtt")),
    ],
)
def test_addresses(url: str, address: Address) -> None:
    """The scheme says TLS and WebSocket, and gives the port."""
    assert Address.parse(url) == address


@pytest.mark.parametrize("url", ["", "hub:1883", "http://hub", "mqtt://", "mqtt://hub:99999"])
def test_bad_addresses(url: str) -> None:
    """An error at once, not when connecting."""
    with pytest.raises(ValueError):  # noqa: PT011 - the port's text is urllib's
        Station(url, "st-1")


def test_handlers_are_registered_once() -> None:
    """A second one for a type, or one for report-status, is a mistake."""
    station = Station("mqtt://hub", "st-1")
    station.on("x")(lambda job: None)
    for taken in ("x", "report-status"):
        with pytest.raises(ValueError, match="has its handler"):
            station.on(taken)


def test_a_status_may_be_devices_or_whole() -> None:
    """A list, a mapping, or nothing."""
    device = {"deviceId": "a", "status": "error"}
    assert as_status([device]).summarized().error == 1
    assert as_status({"devices": [device], "fw": "1"}).model_extra == {"fw": "1"}
    assert as_status(None).devices == []
    with pytest.raises(ValueError, match="deviceId"):
        as_status([{"name": "x"}])
