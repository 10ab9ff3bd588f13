"""The native door: login, refusals, limits, kicks, admins, bad input (contract.md section 1)."""

import asyncio
import json
from typing import Any

import jwt
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from devices.operator import Operator, RequestFailed
from tests.e2e.conftest import SECRET, World
from tests.e2e.waiting import until


def address(world: World, query: str = "", path: str = "/ws") -> str:
    return world.hub.http_url.replace("http", "ws") + path + query


async def ending(socket: ClientConnection) -> tuple[int, str]:
    """How the hub closes a connection: code and reason."""
    async with asyncio.timeout(15):
        try:
            while True:
                await socket.recv()
        except ConnectionClosed as closed:
            return (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")


async def call(socket: ClientConnection, frame: Any) -> Any:
    """Sends one frame, gives the next that is no push."""
    await socket.send(frame if isinstance(frame, str | bytes) else json.dumps(frame))
    async with asyncio.timeout(15):
        while True:
            answer = json.loads(await socket.recv())
            if "event" not in answer:
                return answer


def bad_tokens() -> dict[str, str]:
    claims = {"userId": "u", "sessionId": "s", "type": "registered", "role": "admin", "exp": 4_000_000_000}
    return {
        "garbage": "garbage",
        "empty": "",
        "expired": jwt.encode(claims | {"exp": 1_000}, SECRET, algorithm="HS256"),
        "wrong key": jwt.encode(claims, "some other secret, long enough too", algorithm="HS256"),
        "alg none": jwt.encode(claims, "", algorithm="none"),
    }


@pytest.mark.parametrize("name", sorted(bad_tokens()))
@pytest.mark.parametrize("how", ["query", "header", "frame"])
async def test_bad_tokens(world: World, name: str, how: str) -> None:
    """Every bad token is refused with 4401 and the contract's string, however it comes."""
    token = bad_tokens()[name]
    query = f"?token={token}" if how == "query" else ""
    headers = {"Authorization": f"Bearer {token}"} if how == "header" else {}
    async with connect(address(world, query), additional_headers=headers) as socket:
        if how == "frame":
            await socket.send(json.dumps({"event": "auth", "data": {"token": token}}))
        assert await ending(socket) == (4401, "UNAUTHORIZED: Unauthorized")


async def test_missing_claims(world: World) -> None:
    token = jwt.encode({"type": "registered", "exp": 4_000_000_000}, SECRET, algorithm="HS256")
    async with connect(address(world, f"?token={token}")) as socket:
        assert await ending(socket) == (4401, "UNAUTHORIZED: invalid userId or sessionId")


@pytest.mark.parametrize(
    "first", ["{", "[]", '{"event":"ping"}', '{"event":"auth"}', '{"event":"auth","data":{"token":7}}', b"\x00"]
)
async def test_first_frame_is_no_login(world: World, first: str | bytes) -> None:
    async with connect(address(world)) as socket:
        await socket.send(first)
        assert await ending(socket) == (4401, "UNAUTHORIZED: Unauthorized")


async def test_no_first_frame(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that connects and says nothing is refused after a while."""
    monkeypatch.setattr("bridge.native.AUTH_WITHIN", 0.1)
    async with connect(address(world)) as socket:
        assert await ending(socket) == (4401, "UNAUTHORIZED: Unauthorized")


@pytest.mark.parametrize("how", ["query", "header", "frame"])
async def test_login(world: World, how: str) -> None:
    """The welcome comes first, with the peer id; the first token present wins."""
    token = world.hub.tokens.mint_user("u1", role="viewer")
    query = {"query": f"?token={token}", "header": "?token=bad", "frame": ""}[how]
    headers = {"Authorization": f"Bearer {token}"} if how == "header" else {}
    async with connect(address(world, query), additional_headers=headers) as socket:
        if how == "frame":
            await socket.send(json.dumps({"event": "auth", "data": {"token": token}}))
        welcome = json.loads(await socket.recv())
        assert welcome["event"] == "welcome"
        assert welcome["data"]["heartbeat"] == 25
        assert welcome["data"]["peerId"] in world.hub.gateway.peers
        assert await call(socket, {"id": 7, "event": "ping"}) == {
            "id": 7,
            "ack": {"pong": True, "ts": pytest.approx(0, abs=1e15)},
        }


async def test_bad_header_wins_over_a_good_query(world: World) -> None:
    token = world.hub.tokens.mint_user("u1")
    async with connect(address(world, f"?token={token}"), additional_headers={"Authorization": "Basic x"}) as socket:
        assert (await ending(socket))[0] == 4401


async def test_frames(world: World) -> None:
    """Acks carry the request's id, errors too; without an id there is no ack, but errors still."""
    token = world.hub.tokens.mint_user("u1")
    async with connect(address(world, f"?token={token}")) as socket:
        assert await call(socket, {"id": "a", "event": "leave-room", "data": {"roomId": "x"}}) == {
            "id": "a",
            "ack": None,
        }
        unknown = await call(socket, {"id": 1, "event": "join-room", "data": {"roomId": "x"}})
        assert unknown == {"id": 1, "error": "ROOM_NOT_FOUND: Room not found"}
        assert await call(socket, {"event": "nope"}) == {"error": "NOT_FOUND: Unknown event"}
        await socket.send(json.dumps({"event": "ping"}))
        assert (await call(socket, {"id": 2, "event": "ping"}))["id"] == 2


async def test_bad_frames_leave_the_socket_open(world: World) -> None:
    """Broken JSON, binary frames, deep nesting: an error, and nobody else is touched."""
    witness = await world.operator()
    token = world.hub.tokens.mint_user("bad")
    async with connect(address(world, f"?token={token}")) as socket:
        for frame in (
            "{",
            "[]",
            "nil",
            b"\x00\xff",
            "[" * 1_000 + "]" * 1_000,
            '{"event":7}',
            '{"event":"x","id":{}}',
            "",
        ):
            assert (await call(socket, frame))["error"].startswith("INVALID_ARGUMENT: ")
        deep = '{"id":1,"event":"offer","data":{"to":"x","offer":{"a":' + "[" * 1_000 + "]" * 1_000 + "}}}"
        assert (await call(socket, deep))["error"].startswith(("SIGNAL_OFFER_INVALID: ", "INVALID_ARGUMENT: "))
        assert (await call(socket, {"id": 2, "event": "ping"}))["ack"]["pong"] is True
    assert [event for event, _ in witness.waiting()] == []


async def test_size_limit(world: World) -> None:
    """1,000,000 bytes are taken, one more closes with 1009; others go on."""
    witness = await world.operator()
    token = world.hub.tokens.mint_user("big")
    async with connect(address(world, f"?token={token}"), max_size=None) as socket:
        head, tail = '{"id":1,"event":"ping","data":"', '"}'
        await socket.send(head + "x" * (1_000_000 - len(head) - len(tail)) + tail)
        await socket.recv()
        assert json.loads(await socket.recv())["id"] == 1
        await socket.send(head + "x" * (1_000_001 - len(head) - len(tail)) + tail)
        assert (await ending(socket))[0] == 1009
    assert (await witness.request("ping"))["pong"] is True


@pytest.mark.parametrize("options", [{"event_rate": 1.0, "event_burst": 3.0}])
async def test_rate_limit(world: World) -> None:
    operator = await world.operator()
    for _ in range(3):
        await operator.request("ping")
    with pytest.raises(RequestFailed, match="RESOURCE_EXHAUSTED: Too many events"):
        await operator.request("ping")


async def test_kicked_by_a_newer_login(world: World) -> None:
    """The older socket hears why, is closed with 4403, and its token is no good any more."""
    tokens = world.hub.tokens
    first = tokens.mint_user("u1")
    old = await world.operator(token=first)
    await asyncio.sleep(0.002)  # tokens carry milliseconds
    new = await world.operator(token=tokens.mint_user("u1"))
    assert [push async for push in old.pushes()][-1] == ("kicked", {"reason": "NEW_LOGIN"})
    assert old.close_code == 4403
    async with connect(address(world, f"?token={first}")) as socket:
        assert await ending(socket) == (4401, "UNAUTHORIZED: session mismatch detected")
    assert (await new.request("ping"))["pong"] is True


async def test_two_tabs_of_one_login(world: World) -> None:
    token = world.hub.tokens.mint_user("u1")
    one, other = await world.operator(token=token), await world.operator(token=token)
    assert (await one.request("ping"))["pong"] is True
    assert one.peer_id != other.peer_id


async def test_admin(world: World) -> None:
    """Admins get monitor-update at once and again; others are refused; browsers see none of it."""
    browser = await world.operator()
    room_id = (await browser.request("create-room"))["roomId"]
    admin = await world.operator("admin", path="/ws/admin")
    for _ in range(2):
        event, update = await admin.next_push()
        assert event == "monitor-update"
    assert set(update) >= {"timestamp", "rooms", "stats", "onlineUsers", "roomCount", "stations", "mqtt", "bridge"}
    assert set(update["stats"]) == {"memory", "cpu", "disk", "uptime"}
    (room,) = update["rooms"]
    assert (room["roomId"], room["users"], room["userCount"]) == (room_id, [browser.peer_id], 1)
    assert (update["roomCount"], update["onlineUsers"]) == (1, 1)
    assert (await admin.request("ping"))["pong"] is True
    with pytest.raises(RequestFailed, match="NOT_FOUND: Unknown event"):
        await admin.request("create-room")
    assert [event for event, _ in browser.waiting()] == []
    token = world.hub.tokens.mint_user("nosy", role="operator")
    async with connect(address(world, f"?token={token}", "/ws/admin")) as socket:
        assert await ending(socket) == (4401, "FORBIDDEN: Admins only")


async def test_a_peer_is_forgotten(world: World) -> None:
    operator = await world.operator()
    await operator.close()
    await until(lambda: operator.peer_id not in world.hub.gateway.peers)


async def test_a_slow_browser_slows_nobody(world: World) -> None:
    """One that never reads is closed or skipped; the others' acks go on."""
    token = world.hub.tokens.mint_user("slow")
    slow = await connect(address(world, f"?token={token}"), max_queue=1)
    quick = await world.operator()
    station = await world.ws_station()
    big = {"devices": [], "pad": "x" * 200_000}
    for _ in range(100):
        await station.request("station-status-update", big)
        await quick.request("ping")
        world.hub.gateway.flush()
    peer = next(peer for peer in world.hub.gateway.peers.values() if peer.identity.user_id == "slow")
    assert peer.skipped > 0
    assert peer.wire.buffered < 4_000_000
    assert (await quick.request("ping"))["pong"] is True
    slow.transport.abort()


@pytest.mark.parametrize("options", [{"event_rate": 0.0}])
async def test_an_outbox_that_overflows(world: World) -> None:
    """A browser that does not read what may not be dropped is closed; who sends to it goes on at full speed."""
    token = world.hub.tokens.mint_user("deaf", role="operator")
    deaf = await connect(address(world, f"?token={token}"), max_queue=1)
    peer_id = json.loads(await deaf.recv())["data"]["peerId"]
    sender = await world.operator()
    room_id = (await sender.request("create-room"))["roomId"]
    await deaf.send(json.dumps({"event": "join-room", "data": {"roomId": room_id}}))
    assert (await sender.next_push("peer-joined"))[1] == {"peerId": peer_id}
    offer = {"to": peer_id, "offer": {"sdp": "x" * 500_000}}
    sent = 0
    while peer_id in world.hub.gateway.peers:
        await sender.send("offer", offer)
        await sender.request("ping")
        sent += 1
        assert sent < 200
    assert sent * 500_000 > 16_000_000
    async with asyncio.timeout(15):
        assert await sender.next_push("peer-disconnected") == ("peer-disconnected", {"peerId": peer_id})
    deaf.transport.abort()


async def test_refused_by_the_operator_client(world: World) -> None:
    """The client says what the hub said."""
    from devices.operator import Refused

    with pytest.raises(Refused, match="UNAUTHORIZED: Unauthorized"):
        async with Operator(world.hub.http_url, token="bad"):
            pass


async def test_what_is_watched_from_the_start(world: World) -> None:
    """A console that says so with its token gets no more than that, and how all the others are in one word."""
    stations = [await world.ws_station(f"st-{number}") for number in range(3)]
    for number, station in enumerate(stations):
        devices = [{"deviceId": "d", "status": ("online", "warning", "error")[number]}]
        await station.request("station-status-update", {"devices": devices})
    await until(lambda: len(world.hub.services.board) == 3)
    token = world.hub.tokens.mint_user("u1", role="viewer")
    async with Operator(world.hub.http_url, token=token, watch=["st-1"], states=True) as console:
        event, states = await console.next_push()
        assert event == "batch-station-state-update"
        assert {item["stationId"]: item["state"] for item in states} == {
            "st-0": "online",
            "st-1": "warning",
            "st-2": "error",
        }
        event, statuses = await console.next_push()
        assert (event, [status["stationId"] for status in statuses]) == ("batch-station-status-update", ["st-1"])
        await stations[2].request("station-status-update", {"devices": []})
        assert await console.next_push() == ("batch-station-state-update", [{"stationId": "st-2", "state": "online"}])
