"""Bad input over MQTT and the log it leaves: dropped and counted, nobody else touched, no traceback, no secret."""

import asyncio
import json
from typing import Any

import gmqtt
import httpx
from gmqtt.mqtt.constants import MQTTv311

from devices.operator import Operator
from tests.e2e.shell import Shell
from tests.e2e.waiting import GUARD

STATUSES: list[bytes] = [
    b"",
    b"not json",
    b"\xff\xfe\x00",
    b"null",
    b"[]",
    b"7",
    b'"text"',
    b'{"devices":7}',
    b'{"devices":[7]}',
    b'{"devices":[{"deviceId":"d","status":"on fire"}]}',
    b'{"updatedAt":"now"}',
    b'{"updatedAt":1,"devices":[]}',
    b'{"summary":[]}',
    b"[" * 100_000,
    b'{"deep":' + b"[" * 1_000 + b"]" * 1_000 + b"}",
    b'{"devices":[],"deep":' + b"[" * 250 + b"]" * 250 + b"}",
    b'{"updatedAt":1e999}',
    b'{"updatedAt":NaN}',
]
OTHERS: dict[str, list[bytes]] = {
    "online": [
        b"",
        b"{",
        b"{}",
        b'{"sessionId":7}',
        b'{"sessionId":"' + b"x" * 300 + b'"}',
        b'{"sessionId":"s","keepalive":-1}',
    ],
    "offline": [b"{", b"[]", b'{"sessionId":[]}', b'{"reason":"fun"}'],
    "reply": [b"", b"{}", b'{"id":"x","stage":"cooked"}', b'{"id":"nobody","stage":"done"}'],
    "stream": [b"{}", b'{"requesterId":"nobody","status":"ready"}', b'{"requesterId":[],"status":"ready"}'],
    "room": [b"{}", b'{"action":"join","roomId":"nowhere0"}', b'{"action":"burn","roomId":"x"}'],
    "signal/out": [b"{}", b'{"event":"offer","peer":"nobody","offer":{}}', b'{"event":"kicked","peer":"x"}'],
    "call": [b"[]", b'{"timestamp":"now"}'],
    "nothing": [b"{}"],
}


async def station(ready: dict[str, Any], station_id: str, token: str) -> gmqtt.Client:
    client = gmqtt.Client(station_id)
    client.set_auth_credentials(station_id, token)
    await client.connect("127.0.0.1", int(ready["mqtt"].rsplit(":", 1)[1]), version=MQTTv311)
    return client


async def test_nobody_else_is_touched(shell: Shell) -> None:
    """One station sends everything bad there is; the other's statuses go on, nothing is broadcast, the log stays clean."""
    process, ready = await shell.serve("--log-level", "debug")
    tokens = {name: (await shell.run("token", "--station", name))[1].strip() for name in ("bad-1", "good-1")}
    operator_token = (await shell.run("token", "--user", "me", "--role", "operator"))[1].strip()
    async with Operator(ready["http"], token=operator_token, timeout=GUARD) as browser, asyncio.timeout(60):
        good, bad = [await station(ready, name, tokens[name]) for name in ("good-1", "bad-1")]
        good.publish("stations/good-1/status", json.dumps({"devices": []}))
        assert (await browser.next_push("station-connected"))[1] == {"stationId": "good-1"}
        for payload in STATUSES:
            bad.publish("stations/bad-1/status", payload, qos=1)
        for leaf, payloads in OTHERS.items():
            for payload in payloads:
                bad.publish(f"stations/bad-1/{leaf}", payload, qos=1)
        for topic in (
            "stations/good-1/offline",
            "stations/good-1/status",
            "stations/+/status",
            "live/stations/good-1",
            "x",
        ):
            if "+" not in topic:
                bad.publish(topic, '{"devices":[],"forged":true}', qos=1)
        bad.publish("stations/bad-1/call", "{}", qos=1)
        assert (await browser.next_push("station-incoming-call"))[1]["stationId"] == "bad-1"
        for number in range(2):
            good.publish("stations/good-1/status", json.dumps({"devices": [], "number": number}))
            _, batch = await browser.next_push("batch-station-status-update")
            assert not any("forged" in status for status in batch)
        # its call was a good message: so it is there, but it never was online by any of the bad ones
        assert (await browser.request("get-online-stations"))["stations"] == ["bad-1", "good-1"]
        events = {event for event, _ in browser.waiting()}
        assert "station-disconnected" not in events
        async with httpx.AsyncClient(trust_env=False) as http:
            metrics = (await http.get(ready["http"] + "/metrics")).text
        dropped = {
            line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in metrics.splitlines() if line[:1] != "#"
        }
        assert dropped['stationhub_statuses_dropped_total{reason="invalid"}'] >= 10
        assert dropped["stationhub_mqtt_malformed_total"] >= 10
        for client in (good, bad):
            await client.disconnect()
        code, _, err = await process.interrupt()
    assert code == 0
    assert "Traceback" not in err
    for secret in (*tokens.values(), operator_token):
        assert secret not in err
        assert secret.rsplit(".", 1)[1] not in err
