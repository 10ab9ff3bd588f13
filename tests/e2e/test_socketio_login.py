"""npm's socket.io-client at the door: tokens, refusals, namespaces, ids (contract.md section 1), over every transport."""

import json
from typing import Any

import jwt
import pytest

from tests.e2e.conftest import SECRET
from tests.e2e.npm import SocketIo
from tests.e2e.scene import MODULE_LOOP, Scene, each_transport, scene, stage  # noqa: F401  # fixtures
from tests.e2e.waiting import until

pytestmark = MODULE_LOOP

UNAUTHORIZED = "UNAUTHORIZED: Unauthorized"
NO_CLAIMS = "UNAUTHORIZED: invalid userId or sessionId"
CLAIMS = {"userId": "u", "sessionId": "s", "type": "registered", "role": "admin", "exp": 4_000_000_000}


def signed(*, key: str = SECRET, without: str = "", algorithm: str = "HS256", **claims: Any) -> str:
    """A token that somebody made by hand."""
    claims = {name: value for name, value in (CLAIMS | claims).items() if name != without}
    return jwt.encode(claims, key, algorithm=algorithm)


BAD = {
    "garbage": ("garbage", UNAUTHORIZED),
    "empty": ("", UNAUTHORIZED),
    "expired": (signed(exp=1_000), UNAUTHORIZED),
    "wrong key": (signed(key="some other secret, long enough too"), UNAUTHORIZED),
    "alg none": (signed(key="", algorithm="none"), UNAUTHORIZED),
    "no userId": (signed(without="userId"), NO_CLAIMS),
    "no sessionId": (signed(without="sessionId"), NO_CLAIMS),
    "a list for userId": (signed(userId=["u"]), NO_CLAIMS),
}


async def connect_error(client: SocketIo) -> str:
    """The message of `connect_error`; the client does not come again by itself, and is on no namespace."""
    message, data, active = await client.life("connect_error", "connect")
    assert (data, active, client.waiting()) == (None, False, [])
    return str(message)


@each_transport
async def test_refused(scene: Scene) -> None:  # noqa: F811
    """No token, and every bad one, is refused with the contract's text, on both namespaces."""
    for path in ("/", "/admin"):
        for token, expected in BAD.values():
            assert await connect_error(scene.knock(path, auth={"token": token})) == expected
        for auth in (None, {}, {"token": None}):
            assert await connect_error(scene.knock(path, auth=auth)) == UNAUTHORIZED
        odd: Any
        for odd in (7, True, [], {}, ["x"]):
            assert await connect_error(scene.knock(path, auth={"token": odd})) == UNAUTHORIZED
    assert await connect_error(scene.knock("/nobody", auth={"token": scene.token()})) == "Invalid namespace"
    assert await connect_error(scene.knock("/admin", auth={"token": scene.token()})) == "FORBIDDEN: Admins only"
    assert (await (await scene.browser()).request("ping"))["pong"] is True


@each_transport
async def test_older_session(scene: Scene) -> None:  # noqa: F811
    """A login older than the one that is known."""
    user = scene.new("user")
    old = signed(userId=user, sessionId="old", iat=1_000_000)
    await scene.connect_socketio(signed(userId=user, sessionId="new", iat=2_000_000))
    assert await connect_error(scene.knock(auth={"token": old})) == "UNAUTHORIZED: session mismatch detected"


@each_transport
async def test_where_the_token_is(scene: Scene) -> None:  # noqa: F811
    """`auth.token`, then the header, then the query; the first that is there wins, even if it is bad."""

    def ways(auth: str | None = None, header: str | None = None, query: str | None = None) -> dict[str, Any]:
        return {
            "auth": {} if auth is None else {"token": auth},
            "extraHeaders": {} if header is None else {"Authorization": header},
            "query": {} if query is None else {"token": query},
        }

    good, bearer = scene.token(), f"Bearer {scene.token()}"
    for let_in in (
        ways(auth=good),
        ways(header=bearer),
        ways(query=good),
        ways(auth=good, header="Bearer bad", query="bad"),
        ways(header=bearer, query="bad"),
    ):
        client = scene.knock(**let_in)
        assert (await client.connected(upgrades=scene.transport == "upgraded")).peer_id in scene.hub.gateway.peers
    for refused in (
        ways(auth="bad", header=bearer, query=good),
        ways(auth="", header=bearer, query=good),
        ways(header="Bearer bad", query=good),
        ways(header="Basic bad", query=good),
        ways(query="bad"),
    ):
        assert await connect_error(scene.knock(**refused)) == UNAUTHORIZED


@each_transport
async def test_ids(scene: Scene) -> None:  # noqa: F811
    """`peerId` is `socket.id`; the id of the Engine.IO session is another, and nobody else ever sees it."""
    one, other, admin = await scene.browser(), await scene.browser(), await scene.browser("admin", path="/admin")
    room = await one.request("create-room")
    joined = await other.request("join-room", room)
    assert joined["peers"] == [one.peer_id]
    pushed = await one.push("peer-joined")
    assert pushed[1] == {"peerId": other.peer_id}
    assert len({one.peer_id, other.peer_id, admin.peer_id, one.engine_id, other.engine_id, admin.engine_id}) == 6
    _, update = await admin.push("monitor-update")
    told = json.dumps([joined, pushed, update])
    for client in (one, other, admin):
        assert client.engine_id not in told
        assert client.engine_id not in scene.hub.gateway.peers


@each_transport
async def test_two_namespaces_of_one_connection(scene: Scene) -> None:  # noqa: F811
    """A page is on both namespaces over one connection; leaving one leaves the other as it is."""
    token = scene.token("admin")
    main = await scene.connect_socketio(token)
    admin = await scene.node.beside(main, "/admin", {"token": token}).connected()
    assert main.engine_id == admin.engine_id
    assert main.peer_id != admin.peer_id
    assert (await admin.push())[0] == "monitor-update"
    assert await admin.refused("create-room") == "NOT_FOUND: Unknown event"
    admin.close()
    assert await admin.life("disconnect") == ["io client disconnect", False]
    await until(lambda: admin.peer_id not in scene.hub.gateway.peers)
    assert (await main.request("ping"))["pong"] is True
    main.close()
    assert await main.life("disconnect") == ["io client disconnect", False]
    await until(lambda: main.peer_id not in scene.hub.gateway.peers)


@each_transport
async def test_admin(scene: Scene) -> None:  # noqa: F811
    """Admins get `monitor-update` at once and every 2 s; pages hear nothing of it."""
    page = await scene.browser("admin")
    room = await page.request("create-room")
    admin = await scene.browser("admin", path="/admin")
    await admin.request("ping")
    assert [name for name in admin.log if name != "upgrade"][:3] == ["connect", "monitor-update", "ack"]
    updates = [(await admin.push())[1] for _ in range(3)]
    old = {"timestamp", "rooms", "stats", "onlineUsers", "roomCount"}
    assert set(updates[0]) == old | {"stations", "mqtt", "bridge", "broker"}
    for update in updates:
        assert set(update["stats"]) == {"memory", "cpu", "disk", "uptime"}
        assert set(update["stats"]["memory"]) == {"used", "total", "percentage"}
        assert set(update["stats"]["cpu"]) == {"usage", "cores"}
        assert set(update["stats"]["disk"]) == {"readPerSec", "writePerSec", "activePercent"}
        mine = next(one for one in update["rooms"] if one["roomId"] == room["roomId"])
        assert (mine["users"], mine["userCount"]) == ([page.peer_id], 1)
        assert 0 <= update["timestamp"] - mine["createdAt"] < 60_000
        assert update["roomCount"] == len(update["rooms"])
        assert update["onlineUsers"] >= 1
    assert 1_500 < updates[2]["timestamp"] - updates[1]["timestamp"] < 10_000
    assert (await admin.request("ping"))["pong"] is True
    assert page.waiting() == []


@each_transport
@pytest.mark.parametrize("role", ["viewer", "operator"])
async def test_not_an_admin(scene: Scene, role: str) -> None:  # noqa: F811
    """On a connection that is let in on `/`, too."""
    token = scene.token(role)
    main = await scene.connect_socketio(token)
    admin = scene.node.beside(main, "/admin", {"token": token})
    assert await connect_error(admin) == "FORBIDDEN: Admins only"
    assert (await main.request("ping"))["pong"] is True
