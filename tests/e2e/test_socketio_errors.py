"""What npm's socket.io-client may send, and should not: errors, hostile payloads, bytes, sizes, rates (contract.md section 1)."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.events import EVENTS
from bridge.payloads import Nothing
from hub.serve import Hub
from tests.e2e.conftest import settings
from tests.e2e.npm import Node
from tests.e2e.scene import (  # noqa: F401  # fixtures
    MODULE_LOOP,
    Scene,
    each_transport,
    scene,
    set_scene,
    stage,
    status,
)
from tests.e2e.waiting import until
from tests.mosquitto import mosquitto

pytestmark = MODULE_LOOP

NO_ROOM = "ROOM_NOT_FOUND: Room not found"
WITH_DATA = sorted(name for name, event in EVENTS.items() if event.data is not Nothing)
NO_OBJECTS: list[tuple[Any, ...]] = [(), (None,), (7,), (True,), ("x" * 10_000,), ([],), ([{"roomId": "x"}],)]
FIELDS = ("roomId", "to", "stationId", "stations", "cameraId", "requesterId", "type", "id", "devices")
VALUES: list[Any] = [None, 7, True, [], {}, "", "x" * 10_000, [None], {"$where": "1"}, "\x00"]


def unauthorized(message: str) -> bool:
    """Whether a page would take an error to mean "log in again"."""
    return any(word in message.lower() for word in ("unauthorized", "jwt", "401"))


def payloads() -> Iterator[dict[str, Any]]:
    """Objects in which one field, or all, are wrong."""
    for value in VALUES:
        yield dict.fromkeys(FIELDS, value)
    for field in FIELDS:
        yield {field: {"jwt": "401 unauthorized"}}


@each_transport
async def test_exception_and_no_ack(scene: Scene) -> None:  # noqa: F811
    """As the old pages rely on; with `auth.ackErrors` the ack has the error, after the exception; without an ack, too."""
    page, modern = await scene.browser(), await scene.browser(auth={"ackErrors": True})
    assert await page.refused("join-room", {"roomId": "00000000"}) == NO_ROOM
    page.emit("join-room", {"roomId": "00000000"})
    expected = ("exception", {"status": "error", "message": NO_ROOM})
    assert await page.push() == expected
    modern.log.clear()
    assert await modern.ack("join-room", {"roomId": "00000000"}) == [{"error": NO_ROOM}]
    assert modern.log == ["exception", "ack"]
    assert await modern.push() == expected
    assert await modern.ack("no-such-event") == [{"error": "NOT_FOUND: Unknown event"}]
    assert await modern.ack("leave-room", {"roomId": "00000000"}) == []
    truthy: Any
    for truthy in ("true", 1, {}):  # only true is true
        other = await scene.browser(auth={"ackErrors": truthy})
        assert await other.refused("join-room", {"roomId": "00000000"}) == NO_ROOM


@each_transport
async def test_unknown_events(scene: Scene) -> None:  # noqa: F811
    """Whatever their name; one answer for all."""
    page = await scene.browser()
    for event in (
        "nope",
        "",
        "message",
        "kicked",
        "exception",
        "peer-joined",
        "__proto__",
        "constructor",
        "0",
        "é\x00",
    ):
        arguments: tuple[Any, ...]
        for arguments in ((), ({},), (1, 2, 3)):
            assert await page.refused(event, *arguments) == "NOT_FOUND: Unknown event"
    assert (await page.request("ping"))["pong"] is True


@each_transport
@pytest.mark.parametrize("event", WITH_DATA)
async def test_malformed(scene: Scene, event: str) -> None:  # noqa: F811
    """Null, wrong types, missing and hostile fields: INVALID_ARGUMENT, nobody else hears of it, the socket stays open."""
    witness, page = await scene.browser("admin"), await scene.browser("admin")
    value: Any
    for arguments in NO_OBJECTS:
        assert await page.refused(event, *arguments) == "INVALID_ARGUMENT: data: not an object"
    model = EVENTS[event].data
    needed = [field.alias for field in model.model_fields.values() if field.is_required()]
    for field in needed[:1]:
        assert await page.refused(event, {}) == f"INVALID_ARGUMENT: {field}: Field required"
        for value in (None, [7], {}, 7.5, True):
            assert (await page.refused(event, {field: value})).startswith(f"INVALID_ARGUMENT: {field}: ")
    for payload in payloads():
        ack = page.emit_with_ack(event, payload)
        await page.ack("ping")
        if ack.done():  # this event does not look at what is wrong
            continue
        _, exception = await page.push("exception")
        code, _, why = exception["message"].partition(": ")
        assert code != "INTERNAL"
        assert not unauthorized(exception["message"])
        if code == "INVALID_ARGUMENT" or code.endswith("_INVALID"):
            assert why.partition(":")[0] in model.model_json_schema()["properties"]
            assert len(why) < 200
    assert scene.hub.gateway.counters.errors.get("INTERNAL", 0) == 0
    assert witness.waiting() == []


def bytes_of(data: bytes) -> dict[str, str]:
    """Bytes, for `Node`."""
    return {"$bytes": base64.b64encode(data).decode()}


@each_transport
async def test_binary(scene: Scene) -> None:  # noqa: F811
    """Bytes are taken where data is not looked at, and refused elsewhere, however deep; what comes after them is in order."""
    page, other = await scene.browser(), await scene.browser()
    room = await page.request("create-room", bytes_of(b"\x00\xff"))
    await other.ack("join-room", room)
    await page.push("peer-joined")
    for size in (0, 1, 100_000):
        data = bytes_of(b"\x04" * size)
        assert (await page.request("ping", data, {"more": [data, data]}))["pong"] is True
        assert (await page.refused("join-room", data)).startswith("INVALID_ARGUMENT: data")
        assert (await page.refused("join-room", {"roomId": data})).startswith("INVALID_ARGUMENT: ")
        assert (await page.refused("join-room", room | {"more": [{"data": data}]})).startswith("INVALID_ARGUMENT: data")
        offer = {"to": other.peer_id, "offer": {"sdp": data}}
        assert (await page.refused("offer", offer)).partition(":")[0] in ("INVALID_ARGUMENT", "SIGNAL_OFFER_INVALID")
        assert await page.refused("nope", data) == "NOT_FOUND: Unknown event"
    assert await page.ack("check-room", room) == [{"exists": True}]
    assert other.waiting() == []


@each_transport
async def test_sizes(scene: Scene) -> None:  # noqa: F811
    """A message of 1,000,000 bytes is taken; a larger one ends the connection, and no other's."""
    witness, page = await scene.browser(), await scene.browser()
    # over a WebSocket and over polling: 42, the ack's id, then the JSON
    head, tail = '421["ping","', '"]'
    text = "x" * (1_000_000 - len(head) - len(tail))
    assert (await page.request("ping", text))["pong"] is True
    page.emit_with_ack("ping", text + "x")
    reason, _ = await page.life("disconnect")
    # over polling, the POST that is refused and the poll that ends at once race
    assert reason in ("transport close", "transport error")
    bytes_too = await scene.browser()
    assert (await bytes_too.request("ping", bytes_of(b"x" * 700_000)))["pong"] is True
    bytes_too.emit("ping", bytes_of(b"x" * 1_000_001))
    await bytes_too.life("disconnect")
    assert (await witness.request("ping"))["pong"] is True
    assert page.peer_id not in scene.hub.gateway.peers


async def test_broker_is_away(stage: tuple[Hub, Node], tmp_path: Path) -> None:  # noqa: F811
    """What needs the broker is UNAVAILABLE while it is out of reach; rooms go on."""
    async with (
        mosquitto(tmp_path) as broker,
        Hub(settings(tmp_path, broker=broker.url)) as hub,
        set_scene(hub, stage[1], "upgraded") as scene,  # noqa: F811
    ):
        page, station = await scene.browser(), await scene.socketio_station()
        await page.push("station-connected")
        await broker.stop()
        await until(lambda: not hub.link.connected)
        unavailable = "UNAVAILABLE: The broker cannot be reached"
        assert await page.refused("get-online-stations") == unavailable
        assert await page.refused("station-request-status", {"stationId": scene.station_id}) == unavailable
        assert await station.refused("station-status-update", status()) == unavailable
        assert await page.ack("check-room", {"roomId": "00000000"}) == [{"exists": False}]


async def test_rate(stage: tuple[Hub, Node], tmp_path: Path) -> None:  # noqa: F811
    """More events than allowed are refused one by one; the socket stays, and others have a count of their own."""
    async with Hub(settings(tmp_path, event_rate=0.001, event_burst=3.0)) as hub:
        for transport in ("polling", "websocket", "upgraded"):
            async with set_scene(hub, stage[1], transport) as scene:
                page, other = await scene.browser(auth={"ackErrors": True}), await scene.browser()
                for _ in range(3):
                    assert (await page.request("ping"))["pong"] is True
                for event in ("ping", "create-room", "nope"):
                    expected = "RESOURCE_EXHAUSTED: Too many events"
                    assert await page.ack(event) == [{"error": expected}]
                    assert (await page.push())[1]["message"] == expected
                assert (await other.request("ping"))["pong"] is True
