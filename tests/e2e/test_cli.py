"""The `hub` command as a user runs it: processes, exit codes, one-line errors, signals."""

import asyncio
import json
import re
import signal
import socket
import stat
from pathlib import Path

import httpx
import pytest

from devices.operator import Operator
from tests.e2e.conftest import SECRET
from tests.e2e.shell import FREE, Shell
from tests.e2e.waiting import GUARD
from tests.mosquitto import mosquitto


def one_line(err: str) -> str:
    """The only line of an error."""
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    return err


async def test_serve(shell: Shell) -> None:
    """The ready file tells where everything listens; SIGTERM ends it in time, quietly, with 0."""
    process, ready = await shell.serve()
    assert set(ready) == {"pid", "http", "mqtt", "mqttWs"}
    assert ready["pid"] == process.process.pid
    for url in ready.values():
        if isinstance(url, str):
            host, port = url.split("/")[2].split(":")
            _, writer = await asyncio.open_connection(host, int(port))
            writer.close()
    kept = shell.directory / "hub-data" / "jwt-secret"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    code, token, _ = await shell.run("token", "--user", "me", "--role", "operator")
    assert code == 0
    async with Operator(ready["http"], token=token.strip(), timeout=GUARD) as operator:
        assert (await operator.request("ping"))["pong"] is True
        began = asyncio.get_running_loop().time()
        code, out, err = await process.interrupt()
        assert asyncio.get_running_loop().time() - began < 5.5
    assert code == 0
    # the first admin's password is told once, and not in the log
    email, password = re.fullmatch(r"Admin: +(\S+), password (\S+) \(not shown again: .*\)\n", out).groups()  # type: ignore[union-attr]  # it matches
    assert (email, password in err) == ("admin@localhost", False)
    assert "Traceback" not in err
    assert kept.read_text().strip() not in err
    assert operator.close_code == 1012
    assert not (shell.directory / "ready.json").exists()


async def test_the_log_keeps_secrets(shell: Shell) -> None:
    """At debug too: no password, hash, token or device key, whoever logs; a short secret is warned of."""
    process, ready = await shell.serve("--log-level", "debug", HUB_JWT_SECRET="ten letters")
    async with httpx.AsyncClient(base_url=ready["http"], trust_env=False) as http:
        ann = {"email": "ann@secret.example", "password": "open sesame", "nickname": "Ann"}
        token = (await http.post("/auth/register", json=ann)).json()["accessToken"]
        _, admin, _ = await shell.run("token", "--user", "root", "--role", "admin", HUB_JWT_SECRET="ten letters")
        headers = {"Authorization": f"Bearer {admin.strip()}"}
        key = (await http.post("/stations", json={"stationId": "st-1"}, headers=headers)).json()["key"]
        assert (await http.post("/auth/station", json={"stationId": "st-1", "key": key})).status_code == 201
    code, _, err = await process.interrupt()
    assert code == 0
    for secret in ("argon2", "open sesame", "ann@secret", "ten letters", token, admin.strip(), key):
        assert secret not in err, secret
    assert "secret of the tokens is short" in err


async def test_version(shell: Shell) -> None:
    code, out, _ = await shell.run("--version")
    assert code == 0
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", out)


async def test_a_token_of_another_hub(shell: Shell) -> None:
    """A refused token is explained by where its secret came from."""
    _, ready = await shell.serve()
    code, _, err = await shell.run("stations", "--http", ready["http"], "--jwt-secret", "another secret, long enough")
    assert code == 2
    assert "--jwt-secret" in one_line(err)


async def test_a_taken_port(shell: Shell) -> None:
    """One line that names the port, exit code 2."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for option in ("--port", "--mqtt-port", "--mqtt-ws-port"):
            free = [
                word for name in ("--port", "--mqtt-port", "--mqtt-ws-port") if name != option for word in (name, "0")
            ]
            code, _, err = await shell.run("serve", option, str(port), *free)
            assert code == 2
            assert f"127.0.0.1:{port}" in one_line(err)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("serve", "--host", "0.0.0.0", "--anonymous-mqtt"), "--anonymous-mqtt-anywhere"),
        (("serve", "--broker", "http://x"), "mqtt://host:1883"),
        (("serve", "--broker", "mqtt://127.0.0.1:1", *FREE), "127.0.0.1:1"),
        (("serve", "--jwt-secret", "short"), "--jwt-secret"),
        (("serve", "--config", "nowhere.toml"), "nowhere.toml"),
        (("serve", "--data-dir", "/proc/nowhere", *FREE), "/proc/nowhere"),
        (("token",), "--user or --station"),
        (("token", "--user", "a", "--station", "b"), "--user or --station"),
        (("token", "--station", "a/b"), "station id"),
        (("token", "--station", "a", "--role", "admin"), "--role goes with --user"),
        (("serve", "--origins", "foo"), "--origins: an origin looks like"),
        (("serve", "--trusted-proxies", "foo"), "--trusted-proxies: a proxy is named"),
        (("serve", "--ready-file", "/nope/x", *FREE), "--ready-file: /nope/x"),
        (("stations", "--jwt-secret", SECRET, "--http", "127.0.0.1:1"), "http://host:3101"),
        (("token", "--user", "a", "--role", "king"), "--role"),
        (("token", "--user", "a", "--expires", "soon"), "--expires"),
        (("token", "--user", ""), "userId"),
        (("stations",), "no secret"),
        (("simulate", "--stations", "1"), "--station-token"),
        (("simulate", "--stations", "-1"), "--stations"),
        (("simulate", "stedy"), 'did you mean "steady"'),
        (("simulate", "steady", "storm"), "one scenario at a time"),
        (("simulate", "--fail-if", "ack.p99 > fast"), "ack.p99 > fast"),
        (("simulate", "--json", "/nowhere/out.json"), "--json: "),
        (("simulate", "--interval", "soon"), "--interval"),
        (("simulate", "compare", "a.json"), "two JSON reports"),
        (("simulate", "compare", "a.json", "b.json"), "a.json"),
        (("simulate", "--jwt-secret", SECRET, "--mqtt", "mqtt://127.0.0.1:1", "--browsers", "0"), "127.0.0.1:1"),
        (("simulate", "--stations", "1e3"), "--stations: must be a whole number from 0 to 50,000, not '1e3'"),
        (("simulate", "--workers", "0"), "--workers: must be a whole number from 1 to 64"),
        (("simulate", "--stations", "0", "--browsers", "0"), "give stations or browsers more than 0"),
        (("simulate", ""), "the scenario's name is empty"),
        (("simulate", "--json", ""), "--json: must not be empty"),
        (("simulate", "--fail-if", ""), "--fail-if: ''"),
        (("simulate", "--broker", "mqtt://127.0.0.1:1", "--data-dir", "x"), "leave out --data-dir"),
        (("simulate", "--nonsense"), "--nonsense"),
        (("serve", "--port", "many"), "--port: "),
        (("frob",), "No such command 'frob'"),
        (("stations", "--jwt-secret", SECRET, "--http", "http://127.0.0.1:1"), "127.0.0.1:1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
async def test_usage_errors(shell: Shell, arguments: tuple[str, ...], says: str) -> None:
    """What cannot run says why in one line, and exits with 2."""
    code, out, err = await shell.run(*arguments)
    assert (code, out) == (2, "")
    assert says in one_line(err)
    assert SECRET not in err


async def test_options_from_everywhere(shell: Shell) -> None:
    """File and environment are read like flags."""
    (shell.directory / "hub.toml").write_text('jwt-secret = "from the file, long enough"\nopen_registration = true\n')
    _, ready = await shell.serve(HUB_EVENT_RATE="1", HUB_EVENT_BURST="1")
    token = (await shell.run("token", "--user", "me"))[1].strip()
    async with Operator(ready["http"], token=token, timeout=GUARD) as operator:
        await operator.request("station-register", {"stationId": "st-1"})
        with pytest.raises(Exception, match="RESOURCE_EXHAUSTED"):
            await operator.request("ping")


async def test_token_alone(shell: Shell) -> None:
    """`hub token` prints the token and nothing else, before the hub's first start too, and the hub takes it."""
    code, out, err = await shell.run("token", "--station", "st-1", "--expires", "12h")
    assert code == 0
    assert len(out.split()) == 1
    assert "made a new secret in hub-data" in one_line(err)
    assert (await shell.run("token", "--station", "st-2"))[2] == ""
    _, ready = await shell.serve()
    async with Operator(ready["http"], token=out.strip(), timeout=GUARD) as station:
        assert await station.request("station-register", {"stationId": "st-1"}) == {"stationId": "st-1"}


async def test_stations_table(shell: Shell) -> None:
    """`hub stations` shows who is online; `--watch` follows until the hub ends."""
    process, ready = await shell.serve()
    token = (await shell.run("token", "--station", "st-7"))[1].strip()
    async with Operator(ready["http"], token=token, timeout=GUARD) as station:
        await station.request("station-register", {"stationId": "st-7"})
        await station.request("station-status-update", {"devices": [{"deviceId": "d", "status": "warning"}]})
        code, out, _ = await shell.run("stations", "--http", ready["http"])
        assert code == 0
        assert "st-7" in out
        assert "1 online" in out
        watching = await shell.start("stations", "--http", ready["http"], "--watch")
        async with httpx.AsyncClient(trust_env=False) as http, asyncio.timeout(GUARD):
            while "stationhub_browsers 1.0" not in (await http.get(ready["http"] + "/metrics")).text:
                pass
        await process.interrupt()
        code, out, err = await watching.end()
    assert code == 2
    assert "closed the connection" in one_line(err)


async def test_external_broker(shell: Shell, tmp_path: Path) -> None:
    """The same services on a Mosquitto; the ready file has no MQTT address of its own."""
    async with mosquitto(tmp_path) as broker:
        process, ready = await shell.serve("--broker", broker.url)
        assert (ready["mqtt"], ready["mqttWs"]) == (None, None)
        code, _, err = await process.interrupt(signal.SIGINT)
        assert code == 0
        assert "Traceback" not in err


async def test_demo(shell: Shell) -> None:
    """`hub demo` prints an address that signs in; a taken port is replaced and said so; nothing is left behind."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = await shell.start(
            "demo", "--stations", "3", "--port", str(port), "--mqtt-port", "0", "--mqtt-ws-port", "0"
        )
        lines: list[str] = []
        assert process.process.stdout is not None
        async with asyncio.timeout(30):
            while not any(line.startswith("Login") for line in lines):
                lines.append((await process.process.stdout.readline()).decode())
    assert f"Port {port} is taken" in lines[0]
    url, token = next(line for line in lines if line.startswith("Console")).split()[1].split("/#token=")
    async with Operator(url, token=token, timeout=GUARD) as operator:
        online: list[str] = []
        async with asyncio.timeout(30):
            while len(online) < 3:
                online = (await operator.request("get-online-stations"))["stations"]
                await asyncio.sleep(0.05)
        done = await operator.request("station-command", {"stationId": online[0], "type": "open-gate"})
        assert done["stage"] == "done"
        code, _, err = await process.interrupt(signal.SIGINT)
    assert code == 0
    assert "Traceback" not in err
    assert list(shell.directory.iterdir()) == []


async def test_simulate(shell: Shell) -> None:
    """A small fleet of two processes against a hub: a table, a report, exit code 0; then a threshold that is missed, 1."""
    _, ready = await shell.serve()
    hub = ("--mqtt", ready["mqtt"], "--http", ready["http"])
    few = ("--stations", "20", "--browsers", "4", "--duration", "2", "--interval", "1", "--workers", "2")
    code, out, err = await shell.run("simulate", *few, *hub, "--json", "report.json", "--report", "report.html")
    assert (code, err) == (0, "")
    report = json.loads((shell.directory / "report.json").read_text())
    assert report["facts"]["stations.connected"] == 20
    assert report["machine"]["workers"] == 2
    assert "PASSED" in out
    assert (shell.directory / "report.html").stat().st_size > 10_000
    code, out, err = await shell.run("simulate", *few, *hub, "--json", "after.json", "--fail-if", "connect.count > 19")
    assert (code, err) == (1, "")
    assert "connect.count" in out
    code, out, err = await shell.run("simulate", "compare", "report.json", "after.json")
    assert (code, err) == (0, "")
    assert "FAILED" in out.upper()


async def test_simulate_ends_gracefully(shell: Shell) -> None:
    """Ctrl-C, which all processes of a terminal get: what ran is judged and reported."""
    _, ready = await shell.serve()
    flags = ("--stations", "5", "--browsers", "1", "--duration", "0", "--prometheus", "0", "--json", "report.json")
    process = await shell.start("simulate", *flags, "--mqtt", ready["mqtt"], "--http", ready["http"])
    assert process.process.stderr is not None
    told = (await process.process.stderr.readline()).decode()
    figures = re.fullmatch(r"Prometheus: (http://127\.0\.0\.1:\d+/metrics)\n", told)
    assert figures, told
    async with httpx.AsyncClient(trust_env=False) as http, asyncio.timeout(GUARD):
        while "stationhub_simulate_stations_connected 5.0" not in (await http.get(figures[1])).text:  # noqa: ASYNC110  # a scrape
            await asyncio.sleep(0.2)
    code, out, err = await process.interrupt(signal.SIGINT)
    assert (code, "Traceback" in err) == (0, False)
    assert "interrupted" in out
    assert json.loads((shell.directory / "report.json").read_text())["interrupted"] is True


async def test_simulate_lists_its_scenarios(shell: Shell) -> None:
    """Name and description, one a line."""
    code, out, err = await shell.run("simulate", "--list")
    assert (code, err) == (0, "")
    names = [line.split()[0] for line in out.splitlines()]
    assert names == ["smoke", "steady", "morning-rush", "storm", "flaky-network", "soak", "browsers"]
