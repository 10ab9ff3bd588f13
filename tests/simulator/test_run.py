"""Whole runs: against a hub, against a broker alone, and against nobody; what they write and what they refuse."""

import asyncio
import errno
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from devices.client import Address
from devices.operator import Operator
from hub.config import load as load_settings
from hub.serve import Hub
from simulator.crew import Inline, OnSnapshot
from simulator.options import Options
from simulator.plan import Credentials, Target
from simulator.run import Run, conduct, keep_running
from simulator.scenario import SimulationError, load
from tests.mosquitto import free_port, mosquitto

GUARD = 40.0
SECRET = "a secret of the tests, long enough"
NOBODY = Credentials(lambda *_: "", lambda *_: "")


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    """A sound hub."""
    ports = {"port": 0, "mqtt_port": 0, "mqtt_ws_port": 0}
    async with Hub(load_settings({**ports, "data_dir": tmp_path / "hub", "jwt_secret": SECRET})) as running:
        yield running


def credentials(hub: Hub) -> Credentials:
    return Credentials(
        lambda station, seconds: hub.tokens.mint_station(station, lifetime=seconds),
        lambda user, seconds: hub.tokens.mint_user(user, role="operator", lifetime=seconds),
    )


def small(hub: Hub, name: str | None = None, rules: tuple[str, ...] = (), **given: Any) -> Run:
    """A run of a few stations and browsers."""
    flags = {"stations": 10, "browsers": 2, "duration": "4", "interval": "1"} | given
    target = {"mqtt": f"mqtt://127.0.0.1:{hub.mqtt_port}", "http": hub.http_url, "quiet": True}
    return Run.prepare(name, Options.parse(target | flags), rules)


async def conducted(run: Run, tokens: Credentials) -> int:
    async with asyncio.timeout(GUARD):
        return await conduct(run, tokens, Inline(run.plan, tokens))


async def test_a_sound_hub_passes(hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Everybody connects and acts, every report says the same, and the exit code is 0."""
    paths: dict[str, Any] = {name: tmp_path / f"out.{name}" for name in ("json", "report", "junit")}
    assert await conducted(small(hub, socketio=0.5, **paths), credentials(hub)) == 0
    report = json.loads(paths["json"].read_bytes())
    facts = report["facts"]
    assert report["verdict"]["passed"] is True
    assert report["interrupted"] is False
    assert facts["stations.connected"] == 10
    assert facts["browsers.connected"] == 2
    assert facts["status.sent"] >= 40
    assert facts["status.received"] >= 40
    assert facts["commands.executed"] == facts["commands.done"]
    for name in ("ack", "connect", "login", "status.delay", "presence.online", "presence.offline.goodbye"):
        assert 0 < facts[f"{name}.p50"] <= facts[f"{name}.p99"] <= facts[f"{name}.max"], name
    assert "PASSED" in capsys.readouterr().out
    assert paths["report"].read_text().startswith("<!doctype html>")
    suite = ElementTree.fromstring(paths["junit"].read_bytes())
    assert suite.find(".//failure") is None
    assert suite.find(".//testcase") is not None


async def test_a_missed_threshold_is_exit_code_1(hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Given beside the scenario's own; the sentence names rule and value."""
    run = small(hub, rules=("ack.p50 > 1us",), browsers=1, duration="2", junit=tmp_path / "out.xml")
    assert await conducted(run, credentials(hub)) == 1
    out = capsys.readouterr().out
    assert "FAILED" in out
    assert "ack.p50" in out
    failures = ElementTree.fromstring((tmp_path / "out.xml").read_bytes()).findall(".//failure")
    assert len(failures) == 1


async def test_a_report_that_fails_keeps_no_other_from_being_written(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor the table: all are attempted, and each failure is named."""
    for name in ("json", "junit"):
        (tmp_path / name).mkdir()
    paths: dict[str, Any] = {name: tmp_path / name / "out" for name in ("json", "junit")}
    run = small(hub, browsers=1, duration="1", **paths, report=tmp_path / "out")
    real = os.replace

    def replace(source: Any, target: Any) -> None:
        if Path(source).parent != tmp_path:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(SimulationError) as failed:
        await conducted(run, credentials(hub))
    told = [f"--{name}: {path} cannot be written: No space left on device" for name, path in paths.items()]
    assert str(failed.value) == "; ".join(told)
    assert (tmp_path / "out").read_text().startswith("<!doctype html>")
    assert "all" in capsys.readouterr().out


class LosesOne(Inline):
    """A crew of which one worker is gone in the end."""

    async def run(self, begin: float, on_snapshot: OnSnapshot) -> None:
        await super().run(begin, on_snapshot)
        self.lost.append("worker 2 of 2 ended without a word: was it killed, or out of memory?")


async def test_a_lost_worker_leaves_an_incomplete_report(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the others measured is written, and has not passed; the run could not be judged: no exit code of a verdict."""
    paths: dict[str, Any] = {name: tmp_path / f"out.{name}" for name in ("json", "report", "junit")}
    run = small(hub, browsers=1, duration="1", **paths)
    tokens = credentials(hub)
    async with asyncio.timeout(GUARD):
        with pytest.raises(SimulationError, match=r"^worker 2 of 2 ended without a word"):
            await conduct(run, tokens, LosesOne(run.plan, tokens))
    report = json.loads(paths["json"].read_bytes())
    assert report["facts"]["stations.connected"] == 10
    assert report["verdict"]["passed"] is False
    (failed,) = [check for check in report["verdict"]["checks"] if not check["passed"]]
    assert failed["rule"] == "workers.lost > 0"
    assert "worker 2 of 2 ended without a word" in capsys.readouterr().out
    assert "worker 2 of 2 ended without a word" in paths["report"].read_text()
    assert ElementTree.fromstring(paths["junit"].read_bytes()).find(".//failure") is not None


async def test_legacy_stations_pass_too(hub: Hub) -> None:
    """A hub keeps its word to old field software."""
    assert await conducted(small(hub, legacy=1.0), credentials(hub)) == 0


async def test_every_status_counts_at_a_broker_alone(tmp_path: Path) -> None:
    """Subscribers in the browsers' place; nothing may be superseded."""
    async with mosquitto(tmp_path) as server:
        flags = {"broker": server.url, "stations": 10, "browsers": 3, "watch": "4", "duration": "3", "interval": "0.2"}
        run = Run.prepare("steady", Options.parse(flags | {"json": tmp_path / "out.json", "quiet": True}))
        scenario = load("steady", {"stations": 10, "browsers": 3, "watch": 4, "duration": 3, "interval": 0.2})
        stages = [stage.model_copy(update={"duration": min(stage.duration, 3.0)}) for stage in scenario.stages]
        object.__setattr__(run.plan, "scenario", scenario.model_copy(update={"stages": stages}))
        assert await conducted(run, NOBODY) == 0
    facts = json.loads((tmp_path / "out.json").read_bytes())["facts"]
    assert facts["status.received"] > 100
    assert facts["status.lost"] == facts["status.superseded"] == 0
    assert facts["ack.count"] == 0


async def test_ctrl_c_reports_what_ran(hub: Hub, tmp_path: Path) -> None:
    """The first cancellation ends it in order: stations say goodbye, the report is written and says so."""
    run = small(hub, duration="0", json=tmp_path / "out.json")
    running = asyncio.create_task(conducted(run, credentials(hub)))
    async with Operator(hub.http_url, token=hub.tokens.mint_user("seer", role="operator"), timeout=GUARD) as seer:
        for _ in range(10):
            await seer.next_push("station-connected")
        await asyncio.sleep(1.0)  # so that there is something to report
        running.cancel()
        for _ in range(10):
            await seer.next_push("station-disconnected")
    assert await running == 0
    report = json.loads((tmp_path / "out.json").read_bytes())
    assert report["interrupted"] is True
    assert report["facts"]["presence.offline.goodbye.count"] == 20


async def test_ctrl_c_in_a_ramp_starts_nobody_more(hub: Hub, tmp_path: Path) -> None:
    """What the scenario had in mind for later does not happen while all leave."""
    run = small(hub, "soak", stations=200, browsers=1, duration="60", json=tmp_path / "out.json")
    running = asyncio.create_task(conducted(run, credentials(hub)))
    async with Operator(hub.http_url, token=hub.tokens.mint_user("seer", role="operator"), timeout=GUARD) as seer:
        await seer.next_push("station-connected")
        running.cancel()
        await running
    facts = json.loads((tmp_path / "out.json").read_bytes())["facts"]
    assert 1 <= facts["stations.started"] < 50


async def test_a_demo_fleet_runs_until_it_is_cancelled(hub: Hub) -> None:
    """As `hub demo` has it: nothing is judged, and it leaves with a goodbye."""
    scenario = load(None, {"stations": 3, "browsers": 0, "duration": 0})
    target = Target(Address.parse(f"mqtt://127.0.0.1:{hub.mqtt_port}"), hub.http_url)
    async with Operator(hub.http_url, token=hub.tokens.mint_user("seer", role="operator"), timeout=GUARD) as seer:
        running = asyncio.create_task(keep_running(scenario, target, "demo", credentials(hub)))
        came = {(await seer.next_push("station-connected"))[1]["stationId"] for _ in range(3)}
        assert came == {"demo-00001", "demo-00002", "demo-00003"}
        running.cancel()
        for _ in range(3):
            await seer.next_push("station-disconnected")
        await running


async def test_nobody_listens(hub: Hub) -> None:
    """One sentence that names the address."""
    port = free_port()
    with pytest.raises(SimulationError, match=f"no MQTT broker answers at 127.0.0.1:{port}"):
        await conducted(small(hub, mqtt=f"mqtt://127.0.0.1:{port}"), credentials(hub))
    with pytest.raises(SimulationError, match=f"http://127.0.0.1:{port}: no hub answers there"):
        await conducted(small(hub, http=f"http://127.0.0.1:{port}"), credentials(hub))


async def test_a_login_that_is_refused_is_said_at_once(hub: Hub) -> None:
    """Of a station, and of a browser."""
    good = credentials(hub)
    with pytest.raises(SimulationError, match=r"station sim-00001: .*refused.*another --data-dir or --jwt-secret"):
        await conducted(small(hub), Credentials(lambda *_: "nonsense", good.browser))
    with pytest.raises(SimulationError, match="browser sim-op-00000: UNAUTHORIZED"):
        await conducted(small(hub), Credentials(good.station, lambda *_: "nonsense"))


def test_what_cannot_be_written_is_said_before_the_start(tmp_path: Path) -> None:
    """By the name of the flag."""
    for flag in ("json", "report", "junit"):
        with pytest.raises(SimulationError, match=f"--{flag}: "):
            Run.prepare(None, Options.parse({flag: tmp_path / "nowhere" / "out"}))


def test_rules_on_browsers_are_left_out_where_there_are_none() -> None:
    """The scenario's own; one from the command line stays."""
    alone = Run.prepare("steady", Options.parse({"broker": "mqtt://127.0.0.1:1"}), ["login.p99 > 1s"])
    left_out = [rule.text for rule in alone.rules if rule.left_out]
    assert any(text.startswith("ack.p99") for text in left_out)
    assert "login.p99 > 1s" in {rule.text for rule in alone.rules} - {*left_out}
    assert not any(rule.left_out for rule in Run.prepare("steady", Options()).rules)
    unwatched = Run.prepare("steady", Options.parse({"browsers": 0}), ["ack.missing > 0"])
    asked = next(rule for rule in unwatched.rules if rule.fact == "ack.missing")
    assert (asked.left_out, asked.unmeasured) == (False, "no browsers")


@pytest.mark.parametrize(
    ("flags", "rules", "says"),
    [
        ({}, [""], "--fail-if: ''"),
        ({}, ["ack.p99 > -1"], "--fail-if: 'ack.p99 > -1'"),
        ({"json": "same", "report": "./same"}, [], "--report: same is the file of --json"),
        ({"login": "guest", "browser_token": "any"}, [], "--browser-token: browsers log in by guest"),
    ],
)
def test_what_is_refused_before_the_start(
    flags: dict[str, Any], rules: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line that begins with the flag."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SimulationError) as failed:
        Run.prepare(None, Options.parse(flags), rules)
    assert str(failed.value).startswith(says)
    assert "\n" not in str(failed.value)
