"""Pages on npm's socket.io-client, stations on it and on npm's mqtt: the rows of contract.md section 2 about stations."""

import asyncio
from pathlib import Path
from typing import Any

from hub.serve import Hub
from tests.e2e.conftest import settings
from tests.e2e.npm import TRANSPORTS, Node
from tests.e2e.scene import (  # noqa: F401  # fixtures
    MODULE_LOOP,
    Scene,
    each_transport,
    scene,
    set_scene,
    stage,
    status,
)

pytestmark = MODULE_LOOP

OFFLINE = "STATION_OFFLINE: Station offline"
BATCH = "batch-station-status-update"
OFFER = {"type": "offer", "sdp": "v=0 o=1"}
ANSWER = {"type": "answer", "sdp": "v=0 o=2"}


@each_transport
async def test_presence(scene: Scene) -> None:  # noqa: F811
    """Pages hear once that a station is there, and once that it is gone; stations hear nothing of each other."""
    pages = [await scene.browser("viewer"), await scene.browser("viewer")]
    mine, other = {"stationId": scene.station_id}, {"stationId": scene.other_id}
    station = await scene.socketio_station()
    assert await station.ack("station-register", mine | {"sessionId": "again"}) == [mine]
    box = await scene.mqtt_station(scene.other_id)
    for page in pages:
        assert await page.push() == ("station-connected", mine)
        assert await page.push() == ("station-connected", other)
        (online,) = await page.ack("get-online-stations")
        assert list(online) == ["stations"]
        assert online["stations"] == sorted(online["stations"])
        assert set(online["stations"]) >= {scene.station_id, scene.other_id}
    station.close()
    for page in pages:
        assert await page.push() == ("station-disconnected", mine)
    box.close()
    for page in pages:
        assert await page.push() == ("station-disconnected", other)
        assert scene.station_id not in (await page.request("get-online-stations"))["stations"]
        assert page.waiting() == []
    assert station.waiting() == []


@each_transport
async def test_registering(scene: Scene) -> None:  # noqa: F811
    """Only a token of that station may; of one identity the newest socket wins, and the older one's end changes nothing."""
    page, station = await scene.browser(), await scene.socketio_station()
    mine = {"stationId": scene.station_id}
    assert await page.push() == ("station-connected", mine)
    assert (await page.refused("station-register", mine)).startswith("FORBIDDEN: ")
    assert (await station.refused("station-register", {"stationId": scene.other_id})).startswith("FORBIDDEN: ")
    for bad in ("", "a/b", "+", "x" * 65, "a b", "é", "a\n"):
        refused = await station.refused("station-register", {"stationId": bad})
        assert refused.startswith("INVALID_ARGUMENT: stationId: ")
        assert bad == "" or bad not in refused.removeprefix("INVALID_ARGUMENT: stationId: String should match pattern")
    newer = await scene.socketio_station()
    station.close()
    await station.life("disconnect")
    assert await page.ack("station-request-status", mine) == [{"via": "websocket"}]
    assert await newer.push() == ("cmd-report-status", {"requesterId": page.peer_id})
    admin = await scene.browser("admin")
    assert await admin.refused("station-register", mine) == (
        "STATION_ALREADY_REGISTERED: Another identity holds this station"
    )
    assert page.waiting() == []


@each_transport
async def test_invite_of_a_socketio_station(scene: Scene) -> None:  # noqa: F811
    """It is invited, enters the room, and is a peer like any other; without an invitation it may not."""
    page, station = await scene.browser(), await scene.socketio_station()
    room = await page.request("create-room")
    assert (await station.refused("join-room", room)).startswith("FORBIDDEN: ")
    invitation = {"stationId": scene.station_id, **room}
    assert await page.ack("station-invite", invitation) == []
    assert await station.push() == ("station-cmd-join-room", {**room, "inviterId": page.peer_id})
    assert await station.ack("join-room", room) == [{**room, "peers": [page.peer_id]}]
    assert await page.push("peer-joined") == ("peer-joined", {"peerId": station.peer_id})
    assert await page.ack("offer", {"to": station.peer_id, "offer": OFFER}) == []
    assert await station.push() == ("offer", {"from": page.peer_id, "offer": OFFER})
    assert await station.ack("answer", {"to": page.peer_id, "answer": ANSWER}) == []
    assert await page.push("answer") == ("answer", {"from": station.peer_id, "answer": ANSWER})
    for refused, expected in (
        ({"stationId": scene.other_id, **room}, OFFLINE),
        ({"stationId": scene.station_id, "roomId": "00000000"}, "ROOM_NOT_FOUND: Room not found"),
    ):
        assert await page.refused("station-invite", refused) == expected
    viewer = await scene.browser("viewer")
    assert (await viewer.refused("station-invite", invitation)).startswith("FORBIDDEN: ")
    station.close()
    assert await page.push("peer-disconnected") == ("peer-disconnected", {"peerId": station.peer_id})


@each_transport
async def test_invite_of_an_mqtt_station(scene: Scene) -> None:  # noqa: F811
    """It hears the invitation as a command, enters by its topic, and answers an offer."""
    page, station = await scene.browser(), await scene.mqtt_station()
    room = await page.request("create-room")
    assert await page.ack("station-invite", {"stationId": scene.station_id, **room}) == []
    command = await station.hears("cmd")
    assert (command["type"], command["roomId"], command["inviterId"]) == ("join-room", room["roomId"], page.peer_id)
    station.say("room", {"action": "join", **room})
    peer_id = f"station:{scene.station_id}"
    assert await page.push("peer-joined") == ("peer-joined", {"peerId": peer_id})
    assert await page.ack("offer", {"to": peer_id, "offer": OFFER}) == []
    signal = await station.hears("signal/in")
    assert signal == {"event": "offer", "peer": page.peer_id, "offer": OFFER}
    for candidate in ({"candidate": "candidate:1"}, {}):
        assert await page.ack("ice-candidate", {"to": peer_id, "candidate": candidate}) == []
        assert (await station.hears("signal/in"))["candidate"] == candidate
    station.say("signal/out", {"event": "answer", "peer": page.peer_id, "answer": ANSWER})
    assert await page.push("answer") == ("answer", {"from": peer_id, "answer": ANSWER})
    station.say("room", {"action": "leave", **room})
    assert await page.push("peer-left") == ("peer-left", {"peerId": peer_id})
    assert await page.push("peer-disconnected") == ("peer-disconnected", {"peerId": peer_id})


@each_transport
async def test_stream(scene: Scene) -> None:  # noqa: F811
    """The request reaches the station, on either way; its answer the one who asked alone."""
    page = await scene.browser()
    station, box = await scene.socketio_station(), await scene.mqtt_station(scene.other_id)
    other = await scene.browser()
    ask = {"cameraId": "cam-1", "offer": OFFER}
    asked = {"requesterId": page.peer_id, "cameraId": "cam-1", "offer": OFFER}
    sent = [{"status": "request-sent"}]
    assert await page.ack("station-cmd-request-stream", {"stationId": scene.station_id} | ask) == sent
    assert await station.push() == ("station-cmd-start-stream", asked)
    good = {"requesterId": page.peer_id, "status": "ready", "url": "rtsp://192.0.2.1/cam", "answer": ANSWER}
    assert await station.ack("station-cmd-stream-response", good) == []
    expected = good | {"stationId": scene.station_id, "cameraId": "cam-1"}
    assert await page.push("station-stream-ready") == ("station-stream-ready", expected)
    # who asked for a stream may signal the station, and it may answer, without a room
    assert await page.ack("offer", {"to": station.peer_id, "offer": OFFER}) == []
    assert await station.push() == ("offer", {"from": page.peer_id, "offer": OFFER})
    assert await station.ack("answer", {"to": page.peer_id, "answer": ANSWER}) == []
    assert await page.push("answer") == ("answer", {"from": station.peer_id, "answer": ANSWER})
    assert (await other.refused("offer", {"to": station.peer_id, "offer": OFFER})).startswith("FORBIDDEN: ")
    assert await page.ack("station-cmd-request-stream", {"stationId": scene.other_id} | ask) == sent
    command = await box.hears("cmd")
    assert {"type": "start-stream"} | asked == {name: command[name] for name in ("type", *asked)}
    bad = {"requesterId": page.peer_id, "status": "error", "error": "no such camera", "cameraId": "cam-1"}
    box.say("stream", bad)
    assert await page.push("station-stream-ready") == ("station-stream-ready", bad | {"stationId": scene.other_id})
    for event, data, refused in (
        ("station-cmd-request-stream", ask | {"stationId": "nobody"}, OFFLINE + " or not found"),
        ("station-cmd-stream-response", good, "STATION_NOT_REGISTERED: This connection is not registered as a station"),
    ):
        assert await page.refused(event, data) == refused
    await other.request("ping")
    assert "station-stream-ready" not in other.log


@each_transport
async def test_request_status(scene: Scene) -> None:  # noqa: F811
    """On WebSocket when the station is registered there, else on MQTT; the answer comes to the one who asked, at once."""
    page, other = await scene.browser("viewer"), await scene.browser("viewer")
    station, box = await scene.socketio_station(), await scene.mqtt_station(scene.other_id)
    assert await page.ack("station-request-status", {"stationId": scene.station_id}) == [{"via": "websocket"}]
    assert await station.push() == ("cmd-report-status", {"requesterId": page.peer_id})
    assert await station.ack("station-status-update", status(number=1)) == []
    _, answer = await page.push("station-status-update")
    assert (answer["stationId"], answer["number"]) == (scene.station_id, 1)
    assert answer["devices"] == status()["devices"]
    assert answer["summary"] == {"online": 1, "offline": 0, "warning": 0, "error": 0}
    assert isinstance(answer["updatedAt"], int)
    assert await page.ack("station-request-status", {"stationId": scene.other_id}) == [{"via": "mqtt"}]
    command = await box.hears("cmd")
    assert (command["type"], command["requesterId"]) == ("report-status", page.peer_id)
    # the topic's id wins over the payload's
    box.say("status", status(stationId="someone-else", number=2), qos=0)
    _, answer = await page.push("station-status-update")
    assert (answer["stationId"], answer["number"]) == (scene.other_id, 2)
    unreachable = "STATION_UNREACHABLE: Station unreachable"
    assert await page.refused("station-request-status", {"stationId": "nobody"}) == unreachable
    not_registered = "STATION_NOT_REGISTERED: This connection is not registered as a station"
    assert await page.refused("station-status-update", status()) == not_registered
    await other.request("ping")
    assert "station-status-update" not in other.log


@each_transport
async def test_batches(scene: Scene) -> None:  # noqa: F811
    """One batch of the latest on connect, one after `station-watch`, before its ack; then only of what is watched."""
    station, box = await scene.socketio_station(), await scene.mqtt_station(scene.other_id)
    page = await scene.browser("viewer")

    async def batch_with(station_id: str) -> dict[str, Any]:
        while True:
            _, batch = await page.push(BATCH)
            for one in batch:
                if one["stationId"] == station_id:
                    return dict(one)

    first = await batch_with(scene.other_id)
    assert page.log.count(BATCH) == 1
    assert (first["devices"], first["summary"]["online"]) == (status()["devices"], 1)
    await station.ack("station-status-update", status(number=1))
    assert (await batch_with(scene.station_id))["number"] == 1
    page.log.clear()
    assert await page.ack("station-watch", {"stations": [scene.other_id]}) == [{"watching": 1}]
    assert page.log[:2] == [BATCH, "ack"]
    _, batch = await page.push(BATCH)
    assert [one["stationId"] for one in batch] == [scene.other_id]
    await station.ack("station-status-update", status(number=2))
    box.say("status", status(number=3), qos=0)
    _, batch = await page.push(BATCH)
    assert [(one["stationId"], one["number"]) for one in batch] == [(scene.other_id, 3)]
    assert await page.ack("station-watch", {"stations": []}) == [{"watching": 0}]
    assert await page.ack("station-watch", {"stations": [scene.station_id, scene.other_id]}) == [{"watching": 2}]
    assert {one["stationId"] for one in (await page.push(BATCH))[1]} == {scene.station_id, scene.other_id}
    assert await page.ack("station-unwatch", {"stations": [scene.other_id]}) == [{"watching": 1}]
    await station.ack("station-status-update", status(number=4))
    assert (await batch_with(scene.station_id))["number"] == 4
    assert (await page.request("station-unwatch", {}))["watching"] >= 2
    assert {one["stationId"] for one in (await page.push(BATCH))[1]} >= {scene.station_id, scene.other_id}


@each_transport
async def test_command(scene: Scene) -> None:  # noqa: F811
    """A command waits for the station's word: done, an error with what the station said beside it, or nothing."""
    page = await scene.browser()
    station, box = await scene.socketio_station(), await scene.mqtt_station(scene.other_id)
    ask = {"type": "open-gate", "params": {"lane": 2}}
    asked = page.emit_with_ack("station-command", {"stationId": scene.station_id} | ask)
    _, command = await station.push("station-command")
    assert (command["type"], command["params"]) == ("open-gate", {"lane": 2})
    reply = {"id": command["id"], "stage": "done", "result": {"opened": True}}
    assert await station.ack("station-command-reply", reply) == []
    (done,) = await asyncio.wait_for(asked, 15)
    assert done == reply | {"ms": done["ms"]}
    asked = page.emit_with_ack("station-command", {"stationId": scene.other_id} | ask)
    command = await box.hears("cmd")
    box.say("reply", {"id": command["id"], "stage": "error", "error": "jwt 401 unauthorized"})
    _, exception = await page.push("exception")
    assert exception["message"] == "STATION_ERROR: The station reported an error"
    assert exception["detail"] == "jwt 401 unauthorized"
    assert not asked.done()
    modern = await scene.browser(auth={"ackErrors": True})
    refused = modern.emit_with_ack("station-command", {"stationId": scene.other_id} | ask)
    box.say("reply", {"id": (await box.hears("cmd"))["id"], "stage": "error", "error": "stuck"})
    expected = {"error": "STATION_ERROR: The station reported an error", "detail": "stuck"}
    assert await asyncio.wait_for(refused, 15) == [expected]
    silent = {"stationId": scene.other_id, "timeoutMs": 200}
    timed_out = "STATION_TIMEOUT: The station did not finish in time, delivered="
    assert await page.refused("station-command", silent | ask) == f"{timed_out}false"
    await box.hears("cmd")
    asked = page.emit_with_ack("station-command", silent | ask | {"timeoutMs": 1_000})
    box.say("reply", {"id": (await box.hears("cmd"))["id"], "stage": "received"})
    assert (await page.push("exception"))[1]["message"] == f"{timed_out}true"
    assert not asked.done()
    assert await page.refused("station-command", {"stationId": "nobody"} | ask) == OFFLINE
    viewer = await scene.browser("viewer")
    assert (await viewer.refused("station-command", {"stationId": scene.station_id} | ask)).startswith("FORBIDDEN: ")


@each_transport
async def test_call_center(scene: Scene) -> None:  # noqa: F811
    """Every page hears a station's call, no station does; nobody calls in another's name."""
    pages = [await scene.browser("viewer"), await scene.browser("viewer")]
    stranger = await scene.connect_socketio(scene.hub.tokens.mint_station(scene.new("st")))
    station, box = await scene.socketio_station(), await scene.mqtt_station(scene.other_id)
    mine, other = {"stationId": scene.station_id}, {"stationId": scene.other_id}
    assert await station.ack("station-call-center", mine) == []
    for page in pages:
        _, call = await page.push("station-incoming-call")
        assert call == mine | {"timestamp": call["timestamp"]}
        assert isinstance(call["timestamp"], int)
    box.say("call", {"timestamp": 1_700_000_000_000})
    for page in pages:
        assert (await page.push("station-incoming-call"))[1]["stationId"] == scene.other_id
    for someone, station_id in ((pages[0], mine), (station, other)):
        assert (await someone.refused("station-call-center", station_id)).startswith("FORBIDDEN: ")
    assert (await stranger.refused("station-call-center", mine)).startswith("FORBIDDEN: ")
    assert station.waiting() == stranger.waiting() == []


async def test_open_registration(stage: tuple[Hub, Node], tmp_path: Path) -> None:  # noqa: F811
    """As in the old system: a guest's page may be a station, another guest's may ask it for anything."""
    async with Hub(settings(tmp_path, open_registration=True)) as hub:
        for transport in sorted(TRANSPORTS):
            async with set_scene(hub, stage[1], transport) as scene:
                edge, page = [
                    await scene.connect_socketio(hub.tokens.mint_user(scene.new("guest"), role=None, type="guest"))
                    for _ in range(2)
                ]
                mine = {"stationId": scene.station_id}
                assert await edge.ack("station-register", mine | {"sessionId": "s-1"}) == [mine]
                assert await page.push() == ("station-connected", mine)
                room = await page.request("create-room")
                assert await page.ack("station-invite", mine | room) == []
                assert await edge.push() == ("station-cmd-join-room", {**room, "inviterId": page.peer_id})
                assert await edge.ack("join-room", room) == [{**room, "peers": [page.peer_id]}]
                assert await edge.ack("station-call-center", mine) == []
                assert (await page.push("station-incoming-call"))[1]["stationId"] == scene.station_id
                assert await page.ack("station-request-status", mine) == [{"via": "websocket"}]
                assert await edge.push() == ("cmd-report-status", {"requesterId": page.peer_id})
                edge.close()
                assert await page.push("station-disconnected") == ("station-disconnected", mine)
