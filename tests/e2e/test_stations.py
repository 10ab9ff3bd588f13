"""A browser on WebSocket and a station on MQTT or WebSocket, over both brokers: every event of the contract."""

import asyncio
from typing import Any

import pytest

from devices.messages import Signal
from devices.operator import Operator, RequestFailed
from devices.station import Job
from tests.e2e.conftest import World
from tests.e2e.waiting import until

CONNECTED = ("station-connected", {"stationId": "st-1"})
DISCONNECTED = ("station-disconnected", {"stationId": "st-1"})


async def push(operator: Operator, *events: str) -> tuple[str, Any]:
    """The next push, of one of `events`; statuses are passed over when none is named."""
    async with asyncio.timeout(15):
        while True:
            found = await operator.next_push(*events)
            if events or found[0] != "batch-station-status-update":
                return found


async def test_presence_and_statuses(world: World) -> None:
    """A station comes, reports and says goodbye; each change is told once to every browser, statuses come in batches."""
    browsers = [await world.operator(), await world.operator("viewer")]
    station = await world.connect(world.station())
    for browser in browsers:
        assert await push(browser) == CONNECTED
        _, batch = await push(browser, "batch-station-status-update")
        assert batch[0]["stationId"] == "st-1"
        assert batch[0]["summary"] == {"online": 1, "offline": 0, "warning": 0, "error": 0}
        assert batch[0]["devices"][0]["metrics"] == {"temp": 31}
    late = await world.operator()
    _, batch = await push(late, "batch-station-status-update")
    assert [status["stationId"] for status in batch] == ["st-1"]
    assert await late.request("get-online-stations") == {"stations": ["st-1"]}
    await station.close()
    for browser in browsers:
        assert await push(browser) == DISCONNECTED
    assert await late.request("get-online-stations") == {"stations": []}


async def test_request_status(world: World) -> None:
    """The answer comes to the requester alone, at once."""
    await world.connect(world.station(status_interval=60))
    asker, other = await world.operator(), await world.operator("viewer")
    assert await asker.request("station-request-status", {"stationId": "st-1"}) == {"via": "mqtt"}
    _, status = await push(asker, "station-status-update")
    assert status["stationId"] == "st-1"
    assert all(event != "station-status-update" for event, _ in other.waiting())
    with pytest.raises(RequestFailed, match="STATION_UNREACHABLE: Station unreachable"):
        await asker.request("station-request-status", {"stationId": "st-9"})


async def test_command(world: World) -> None:
    """A gate opens once; its result, its error and its silence come back as the ack."""
    station = world.station()
    opened = []

    @station.on("open-gate")
    async def open_gate(job: Job) -> dict[str, Any]:
        opened.append(job.params)
        job.progress({"percent": 50})
        return {"opened": True}

    @station.on("break")
    def broken(job: Job) -> None:
        raise RuntimeError("jwt unauthorized 401")

    @station.on("sleep")
    async def sleep(job: Job) -> None:
        await asyncio.Event().wait()

    await world.connect(station)
    browser, viewer = await world.operator(), await world.operator("viewer")
    await push(browser, "station-connected", "batch-station-status-update")
    done = await browser.request("station-command", {"stationId": "st-1", "type": "open-gate", "params": {"lane": 2}})
    assert (done["stage"], done["result"], opened) == ("done", {"opened": True}, [{"lane": 2}])
    assert 0 <= done["ms"] < 15_000
    with pytest.raises(RequestFailed) as failed:
        await browser.request("station-command", {"stationId": "st-1", "type": "break"})
    assert failed.value.error == "STATION_ERROR: The station reported an error"
    assert "unauthorized" in str(failed.value.detail)
    with pytest.raises(RequestFailed, match="STATION_ERROR"):
        await browser.request("station-command", {"stationId": "st-1", "type": "no-such-command"})
    with pytest.raises(RequestFailed, match=r"STATION_TIMEOUT: .*delivered=true"):
        await browser.request("station-command", {"stationId": "st-1", "type": "sleep", "timeoutMs": 300})
    with pytest.raises(RequestFailed, match="FORBIDDEN: "):
        await viewer.request("station-command", {"stationId": "st-1", "type": "open-gate"})
    assert len(opened) == 1


async def test_invite_and_signaling(world: World) -> None:
    """A station on MQTT is invited, enters, gets an offer, answers, leaves."""
    station = world.station()
    invited: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    heard: asyncio.Queue[Signal] = asyncio.Queue()

    @station.on("join-room")
    def join(job: Job) -> None:
        invited.set_result(job.command.room_id or "")

    station.on_signal(heard.put_nowait)
    await world.connect(station)
    browser = await world.operator()
    room_id = (await browser.request("create-room"))["roomId"]
    assert await browser.request("station-invite", {"stationId": "st-1", "roomId": room_id}) is None
    assert await asyncio.wait_for(invited, 15) == room_id
    await station.join_room(room_id)
    assert await push(browser, "peer-joined") == ("peer-joined", {"peerId": "station:st-1"})
    await browser.request("offer", {"to": "station:st-1", "offer": {"type": "offer", "sdp": "v=0"}})
    offer = await asyncio.wait_for(heard.get(), 15)
    assert (offer.event, offer.peer, offer.offer) == ("offer", browser.peer_id, {"type": "offer", "sdp": "v=0"})
    await station.signal(Signal(event="answer", peer=browser.peer_id, answer={"type": "answer", "sdp": "v=1"}))
    answer = {"from": "station:st-1", "answer": {"type": "answer", "sdp": "v=1"}}
    assert await push(browser, "answer") == ("answer", answer)
    await station.leave_room(room_id)
    assert await push(browser, "peer-left") == ("peer-left", {"peerId": "station:st-1"})


async def test_stream(world: World) -> None:
    """A stream request reaches the station, its answer the requester alone."""
    station = world.station()

    @station.on("start-stream")
    async def start(job: Job) -> None:
        await station.stream_response(str(job.requester_id), "ready", url="rtsp://cam", camera_id=job.command.camera_id)

    await world.connect(station)
    asker, other = await world.operator(), await world.operator()
    ask = {"stationId": "st-1", "cameraId": "cam-1", "offer": {"sdp": "v=0"}}
    assert await asker.request("station-cmd-request-stream", ask) == {"status": "request-sent"}
    _, ready = await push(asker, "station-stream-ready")
    assert ready == {
        "stationId": "st-1",
        "requesterId": asker.peer_id,
        "status": "ready",
        "url": "rtsp://cam",
        "cameraId": "cam-1",
    }
    assert await other.request("ping") is not None
    assert all(event != "station-stream-ready" for event, _ in other.waiting())


async def test_call_center(world: World) -> None:
    """A station calls; every browser hears it, stations do not."""
    browsers, ws_station = [await world.operator(), await world.operator("viewer")], await world.ws_station("st-2")
    station = await world.connect(world.station())
    await station.call_center()
    await ws_station.request("station-call-center", {"stationId": "st-2"})
    for browser in browsers:
        calls = [await push(browser, "station-incoming-call") for _ in range(2)]
        assert {data["stationId"] for _, data in calls} == {"st-1", "st-2"}
        assert all(isinstance(data["timestamp"], int) for _, data in calls)
    assert ws_station.waiting() == []


async def test_ws_station(world: World) -> None:
    """A station on WebSocket alone: registers, reports, is asked, invited, commanded, and drops."""
    browser = await world.operator()
    station = await world.ws_station()
    assert await push(browser) == CONNECTED
    await station.request("station-status-update", {"devices": [{"deviceId": "d", "status": "warning"}]})
    _, batch = await push(browser, "batch-station-status-update")
    assert batch[0]["summary"]["warning"] == 1
    assert await browser.request("station-request-status", {"stationId": "st-1"}) == {"via": "websocket"}
    assert await push(station) == ("cmd-report-status", {"requesterId": browser.peer_id})
    await station.request("station-status-update", {"devices": [], "fresh": True})
    _, status = await push(browser, "station-status-update")
    assert status["fresh"] is True
    room_id = (await browser.request("create-room"))["roomId"]
    await browser.request("station-invite", {"stationId": "st-1", "roomId": room_id})
    assert await push(station) == ("station-cmd-join-room", {"roomId": room_id, "inviterId": browser.peer_id})
    joined = await station.request("join-room", {"roomId": room_id})
    assert joined == {"roomId": room_id, "peers": [browser.peer_id]}
    assert await push(browser, "peer-joined") == ("peer-joined", {"peerId": station.peer_id})
    asked = asyncio.create_task(browser.request("station-command", {"stationId": "st-1", "type": "open-gate"}))
    _, command = await push(station, "station-command")
    await station.request("station-command-reply", {"id": command["id"], "stage": "done", "result": 7})
    assert (await asked)["result"] == 7
    await browser.request("station-cmd-request-stream", {"stationId": "st-1", "cameraId": "c"})
    assert await push(station) == ("station-cmd-start-stream", {"requesterId": browser.peer_id, "cameraId": "c"})
    await station.request(
        "station-cmd-stream-response", {"requesterId": browser.peer_id, "status": "failed", "error": "no"}
    )
    _, answer = await push(browser, "station-stream-ready")
    assert (answer["status"], answer["error"], answer["cameraId"]) == ("failed", "no", "c")
    await station.close()
    gone = [await push(browser, "peer-disconnected", "station-disconnected") for _ in range(2)]
    assert DISCONNECTED in gone
    assert ("peer-disconnected", {"peerId": station.peer_id}) in gone


async def test_two_browsers_in_a_room(world: World) -> None:
    """Offer, answer and candidates between two browsers; pushes before the ack, the end of a socket told."""
    one, other = await world.operator(), await world.operator("viewer")
    room_id = (await one.request("create-room"))["roomId"]
    assert await other.request("join-room", {"roomId": room_id}) == {"roomId": room_id, "peers": [one.peer_id]}
    assert await push(one, "peer-joined") == ("peer-joined", {"peerId": other.peer_id})
    for event, field, sender, receiver in (
        ("offer", "offer", one, other),
        ("answer", "answer", other, one),
        ("ice-candidate", "candidate", one, other),
    ):
        assert await sender.request(event, {"to": receiver.peer_id, field: {"sdp": event}}) is None
        assert await push(receiver, event) == (event, {"from": sender.peer_id, field: {"sdp": event}})
    await one.request("offer", {"to": one.peer_id, "offer": {"sdp": "to myself"}})
    # what a request causes is there before its ack is
    assert ("offer", {"from": one.peer_id, "offer": {"sdp": "to myself"}}) in one.waiting()
    await other.close()
    assert await push(one, "peer-disconnected") == ("peer-disconnected", {"peerId": other.peer_id})


async def test_watch(world: World) -> None:
    """Each browser gets what it watches; the latest comes before the ack."""
    for station_id in ("st-1", "st-2"):
        await world.connect(world.station(station_id))
    all_of_them, one_of_them = await world.operator(), await world.operator()
    await until(lambda: len(world.hub.services.board) == 2)
    assert await one_of_them.request("station-watch", {"stations": ["st-2"]}) == {"watching": 1}
    batches = [data for event, data in one_of_them.waiting() if event == "batch-station-status-update"]
    assert [status["stationId"] for status in batches[-1]] == ["st-2"]
    seen = set[str]()
    while seen != {"st-1", "st-2"}:
        _, batch = await push(all_of_them, "batch-station-status-update")
        seen |= {status["stationId"] for status in batch}
    for _ in range(2):
        _, batch = await push(one_of_them, "batch-station-status-update")
        assert [status["stationId"] for status in batch] == ["st-2"]
