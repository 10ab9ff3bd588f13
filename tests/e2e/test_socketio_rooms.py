"""npm's socket.io-client in rooms: every row of contract.md section 2 about rooms and signaling, over every transport."""

import asyncio
import re
from typing import Any

from hub.rooms import MAX_ROOMS_OF_PEER
from tests.e2e.npm import Node
from tests.e2e.scene import MODULE_LOOP, Scene, each_transport, scene, stage  # noqa: F401  # fixtures

pytestmark = MODULE_LOOP

OFFER = {"type": "offer", "sdp": "v=0 o=1"}
ANSWER = {"type": "answer", "sdp": "v=0 o=2"}
CANDIDATE = {"candidate": "candidate:1 1 UDP 2122 192.0.2.1 4242 typ host", "sdpMid": "0", "sdpMLineIndex": 0}
NO_ROOM = "ROOM_NOT_FOUND: Room not found"
NO_PEER = "SIGNAL_PEER_NOT_FOUND: Peer not found"
STRANGER = "FORBIDDEN: You share no room and no stream request with this peer"


@each_transport
async def test_ping_and_create(scene: Scene) -> None:  # noqa: F811
    """Whatever is sent along is not looked at."""
    browser = await scene.browser("viewer")
    for arguments in ((), (None,), ({"any": [1]},), ("text", 7), ({"roomId": "mine"},)):
        pong = await browser.request("ping", *arguments)
        assert pong == {"pong": True, "ts": pong["ts"]}
        assert isinstance(pong["ts"], int)
        room = await browser.request("create-room", *arguments)
        assert list(room) == ["roomId"]
        assert re.fullmatch("[0-9a-z]{8}", room["roomId"])
        assert await browser.ack("check-room", room) == [{"exists": True}]
    assert await browser.ack("check-room", {"roomId": "00000000"}) == [{"exists": False}]
    assert browser.waiting() == []


@each_transport
async def test_join_and_leave(scene: Scene) -> None:  # noqa: F811
    """Peers are listed in join order; the others hear of each coming and going once, the one itself does not."""
    first, second, third = [await scene.browser("viewer") for _ in range(3)]
    room = await first.request("create-room")
    expected = {"roomId": room["roomId"], "peers": [first.peer_id]}
    assert await second.ack("join-room", room) == [expected]
    assert await third.ack("join-room", room) == [expected | {"peers": [first.peer_id, second.peer_id]}]
    assert await second.ack("join-room", room) == [expected | {"peers": [first.peer_id, third.peer_id]}]
    assert await first.push() == ("peer-joined", {"peerId": second.peer_id})
    assert await first.push() == ("peer-joined", {"peerId": third.peer_id})
    assert await second.push() == ("peer-joined", {"peerId": third.peer_id})
    assert await second.ack("leave-room", room) == []
    for other in (first, third):
        assert await other.push() == ("peer-left", {"peerId": second.peer_id})
        assert await other.push() == ("peer-disconnected", {"peerId": second.peer_id})
    outsider = await scene.browser("viewer")
    for away in (second, outsider):  # only a member's leave is announced
        assert await away.ack("leave-room", room) == []
    assert await first.refused("join-room", {"roomId": "00000000"}) == NO_ROOM
    for browser in (first, second, third, outsider):
        assert browser.waiting() == []


@each_transport
async def test_two_browsers_signal(scene: Scene) -> None:  # noqa: F811
    """Offer, answer and candidates, to a peer or to all others in the room; the acks are called with nothing."""
    caller, callee, third = [await scene.browser("viewer") for _ in range(3)]
    room = await caller.request("create-room")
    for browser in (callee, third):
        await browser.ack("join-room", room)
        await caller.push("peer-joined")
    await callee.push("peer-joined")
    assert await caller.ack("offer", {"to": callee.peer_id, "offer": OFFER}) == []
    assert await callee.push() == ("offer", {"from": caller.peer_id, "offer": OFFER})
    assert await callee.ack("answer", {"to": caller.peer_id, "answer": ANSWER}) == []
    assert await caller.push() == ("answer", {"from": callee.peer_id, "answer": ANSWER})
    for one, other in ((caller, callee), (callee, caller)):
        for candidate in (CANDIDATE, {}):
            assert await one.ack("ice-candidate", {"to": other.peer_id, "candidate": candidate}) == []
            assert await other.push() == ("ice-candidate", {"from": one.peer_id, "candidate": candidate})
    assert third.waiting() == []
    caller.emit("offer", {"to": room["roomId"], "offer": OFFER})
    assert await caller.ack("ice-candidate", {"to": room["roomId"], "candidate": CANDIDATE}) == []
    for other in (callee, third):
        assert await other.push() == ("offer", {"from": caller.peer_id, "offer": OFFER})
        assert await other.push() == ("ice-candidate", {"from": caller.peer_id, "candidate": CANDIDATE})
    assert caller.waiting() == []


@each_transport
async def test_signals_refused(scene: Scene) -> None:  # noqa: F811
    """To nobody, to a stranger, to a room of others, and malformed; candidates for one who just left are dropped in silence."""
    browser, stranger = await scene.browser("viewer"), await scene.browser("viewer")
    room = await stranger.request("create-room")
    bad: Any
    kinds: dict[str, tuple[dict[str, Any], str]] = {
        "offer": ({"offer": OFFER}, "SIGNAL_OFFER_INVALID: offer:"),
        "answer": ({"answer": ANSWER}, "SIGNAL_ANSWER_INVALID: answer:"),
    }
    for event, (content, code) in kinds.items():
        assert await browser.refused(event, {"to": "nobody", **content}) == NO_PEER
        assert await browser.refused(event, {"to": stranger.peer_id, **content}) == STRANGER
        assert await browser.refused(event, {"to": room["roomId"], **content}) == STRANGER
        for bad in (None, 7, "v=0", [], {}):
            assert (await browser.refused(event, {"to": stranger.peer_id, event: bad})).startswith(code)
        assert (await browser.refused(event, {"to": stranger.peer_id})).startswith(code)
    for bad in (None, 7, "candidate:", []):
        refused = await browser.refused("ice-candidate", {"to": stranger.peer_id, "candidate": bad})
        assert refused.startswith("SIGNAL_ICE_INVALID: candidate:")
    assert await browser.ack("ice-candidate", {"to": "nobody", "candidate": CANDIDATE}) == []
    for event, (content, _) in (kinds | {"ice-candidate": ({"candidate": CANDIDATE}, "")}).items():
        for to in (None, 7, [], [stranger.peer_id], {"id": stranger.peer_id}, ""):
            assert (await browser.refused(event, {"to": to, **content})).startswith("INVALID_ARGUMENT: to:")
    assert stranger.waiting() == []


async def test_too_many_rooms(scene: Scene) -> None:  # noqa: F811
    """One page may be in so many."""
    browser = await scene.browser("viewer")
    for _ in range(MAX_ROOMS_OF_PEER):
        await browser.request("create-room")
    assert await browser.refused("create-room") == "RESOURCE_EXHAUSTED: Too many rooms"


@each_transport
async def test_with_a_native_client(scene: Scene) -> None:  # noqa: F811
    """A Socket.IO and a native client in one room: each hears the other, both ways."""
    page, native = await scene.browser("viewer"), await scene.operator("viewer")
    room = await page.request("create-room")
    assert await native.request("join-room", room) == {"roomId": room["roomId"], "peers": [page.peer_id]}
    assert await page.push() == ("peer-joined", {"peerId": native.peer_id})
    assert await page.ack("offer", {"to": native.peer_id, "offer": OFFER}) == []
    assert await native.next_push("offer") == ("offer", {"from": page.peer_id, "offer": OFFER})
    assert await native.request("answer", {"to": page.peer_id, "answer": ANSWER}) is None
    assert await page.push() == ("answer", {"from": native.peer_id, "answer": ANSWER})
    assert await page.ack("ice-candidate", {"to": room["roomId"], "candidate": CANDIDATE}) == []
    assert (await native.next_push("ice-candidate"))[1] == {"from": page.peer_id, "candidate": CANDIDATE}
    await native.request("ice-candidate", {"to": page.peer_id, "candidate": CANDIDATE})
    assert await page.push() == ("ice-candidate", {"from": native.peer_id, "candidate": CANDIDATE})
    await native.close()
    assert await page.push() == ("peer-left", {"peerId": native.peer_id})
    assert await page.push() == ("peer-disconnected", {"peerId": native.peer_id})
    other = await scene.operator("viewer")
    await other.request("join-room", room)
    page.close()
    async with asyncio.timeout(15):
        assert (await other.next_push("peer-disconnected"))[1] == {"peerId": page.peer_id}


@each_transport
async def test_one_that_dies(scene: Scene) -> None:  # noqa: F811
    """The others hear of a page that is gone without a word."""
    witness = await scene.browser("viewer")
    room = await witness.request("create-room")
    async with Node() as elsewhere:
        mine, scene.node = scene.node, elsewhere
        doomed = await scene.browser("viewer")
        scene.node = mine
        await doomed.ack("join-room", room)
        assert await witness.push() == ("peer-joined", {"peerId": doomed.peer_id})
        # its next poll was on its way before this, so that there is a connection to lose
        doomed.emit("offer", {"to": witness.peer_id, "offer": OFFER})
        await witness.push("offer")
    assert await witness.push() == ("peer-left", {"peerId": doomed.peer_id})
    assert await witness.push() == ("peer-disconnected", {"peerId": doomed.peer_id})
