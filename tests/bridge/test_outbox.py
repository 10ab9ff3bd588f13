"""The bounded outbox, batches, the rate limit and the native frames: pieces without sockets."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import protocol
from bridge.batches import BATCH_BYTES, EVENT, cut
from bridge.errors import EventError
from bridge.peer import HIGH_WATER, OUTBOX_BYTES, OUTBOX_SECONDS
from hub.limits import TokenBucket
from tests.bridge.fakes import Bench, FakePeer


@pytest.fixture
def bench() -> Bench:
    return Bench()


def batches(peer: FakePeer) -> list[str]:
    return [s["stationId"] for event, data in peer.take() if event == "batch-station-status-update" for s in data]


def test_one_frame_for_all_who_watch_the_same(bench: Bench) -> None:
    """A batch is framed once: the same bytes object goes to everybody."""
    one, other, apart = bench.join(), bench.join(), bench.join()
    bench.call(apart, "station-watch", {"stations": ["st-1"]})
    bench.say("st-1", "status", {"devices": []})
    bench.say("st-2", "status", {"devices": []})
    for peer in (one, other, apart):
        peer.take()
    bench.gateway.flush()
    assert one.wire.frames[0] is other.wire.frames[0]
    assert apart.wire.frames[0] is not one.wire.frames[0]


def test_slow_reader_skips_to_the_newest(bench: Bench) -> None:
    """One that does not read gets no history, delays nobody, and catches up with the newest when it reads again."""
    slow, quick = bench.join(), bench.join()
    slow.wire.buffered = HIGH_WATER + 1
    for number in range(3):
        bench.say("st-1", "status", {"devices": [], "n": number})
        bench.gateway.flush()
    bench.say("st-2", "status", {"devices": []})
    bench.gateway.flush()
    assert batches(quick) == ["st-1", "st-1", "st-1", "st-2"]
    assert batches(slow) == []
    slow.wire.buffered = 0
    slow.writable()
    bench.gateway.batches.catch_up(slow)
    batch = [status for event, data in slow.take() if event == EVENT for status in data]
    assert [(s["stationId"], s.get("n")) for s in batch] == [("st-1", 2), ("st-2", None)]
    assert slow.wire.closed is None


def test_a_deleted_station_is_owed_to_nobody(bench: Bench) -> None:
    """A slow reader that has not got its status yet never gets it; nor does one that connects."""
    slow = bench.join()
    slow.wire.buffered = HIGH_WATER + 1
    for station_id in ("st-1", "st-2"):
        bench.say(station_id, "status", {"devices": []})
    bench.gateway.flush()
    bench.say("st-1", "status", {"devices": [], "n": 2})
    bench.gateway.revoke_station("st-1", None, bench.clock.wall / 1000)
    slow.wire.buffered = 0
    slow.writable()
    bench.gateway.batches.catch_up(slow)
    bench.gateway.flush()
    assert batches(slow) == ["st-2"]
    assert batches(bench.join()) == ["st-2"]


def test_one_that_gets_slow_in_the_middle(bench: Bench) -> None:
    """Of a fleet in many frames it gets no more than it takes, and the rest when it reads: each once."""
    peer = bench.join(reads=False)
    for number in range(20):
        bench.say(f"st-{number}", "status", {"devices": [], "pad": "x" * 100_000})
    bench.gateway.flush()
    first = batches(peer)
    assert 0 < len(first) < 20
    while peer.pending:
        peer.wire.buffered = 0
        peer.writable()
        bench.gateway.batches.catch_up(peer)
    assert sorted(first + batches(peer)) == sorted(f"st-{number}" for number in range(20))


def test_a_newcomer_gets_everything_once(bench: Bench) -> None:
    """What is new when it connects comes at once, and not again with the flush; a status sent since does."""
    bench.say("st-1", "status", {"devices": [], "n": 1})
    bench.say("st-2", "status", {"devices": [], "n": 1})
    newcomer = bench.join()
    assert batches(newcomer) == ["st-1", "st-2"]
    bench.say("st-2", "status", {"devices": [], "n": 2})
    bench.gateway.flush()
    assert batches(newcomer) == ["st-2"]
    bench.gateway.flush()
    assert batches(newcomer) == []


def test_a_large_fleet_comes_as_fast_as_it_is_read(bench: Bench) -> None:
    """No more than one frame of statuses waits for a slow reader, however many stations there are."""
    for number in range(300):
        bench.say(f"st-{number:03}", "status", {"devices": [], "pad": "x" * 4_000})
    peer = bench.join(reads=False)
    got = []
    for _ in range(20):
        assert len(peer.wire.frames) <= 1
        got += batches(peer)
        peer.wire.buffered = 0
        bench.gateway.batches.catch_up(peer)
    assert sorted(got) == [f"st-{number:03}" for number in range(300)]


def test_what_may_not_be_dropped_overflows(bench: Bench) -> None:
    """An outbox over its size, or unread for too long, closes with 1013."""
    full, late = bench.join(), bench.join()
    full.wire.buffered = OUTBOX_BYTES + 1
    late.wire.buffered = HIGH_WATER + 1
    late.push("peer-joined", {})
    full.push("peer-joined", {})
    assert full.wire.closed is None
    full.push("offer", {"sdp": "x" * OUTBOX_BYTES})
    assert full.wire.closed == (1013, "Outbox overflow: read faster or watch fewer stations")
    bench.clock.forward(OUTBOX_SECONDS - 1)
    bench.say("st-1", "status", {"devices": []})
    bench.gateway.flush()
    assert late.wire.closed is None
    bench.clock.forward(2)
    bench.gateway.flush()
    assert late.wire.closed is not None
    assert late.wire.closed[0] == 1013


def test_a_reader_in_time_is_kept(bench: Bench) -> None:
    peer = bench.join()
    peer.wire.buffered = HIGH_WATER + 1
    peer.push("peer-joined", {})
    bench.clock.forward(OUTBOX_SECONDS - 1)
    peer.wire.buffered = 0
    peer.writable()
    bench.clock.forward(5)
    bench.gateway.flush()
    assert peer.wire.closed is None


@given(st.lists(st.integers(1, 700), max_size=60))
def test_cut(sizes: list[int]) -> None:
    """Every status is in exactly one group, in order, and no group's array is over the limit but for a single large one."""
    named = {f"st-{number}": size for number, size in enumerate(sizes)}
    groups = list(cut(named.items(), limit=500))
    assert [sid for group in groups for sid in group] == list(named)
    assert all(
        len(group) == 1 or len(b"[" + b",".join(b"x" * named[sid] for sid in group) + b"]") <= 500 for group in groups
    )


def test_batches_are_cut(bench: Bench) -> None:
    """A large fleet comes in several frames, each under the limit."""
    peer = bench.join()
    for number in range(200):
        bench.say(f"st-{number:03}", "status", {"devices": [], "pad": "x" * 4_000})
    peer.take()
    bench.gateway.flush()
    assert len(peer.wire.frames) > 1
    assert all(len(frame) < BATCH_BYTES + 100 for frame in peer.wire.frames)
    assert len(batches(peer)) == 200


def test_token_bucket() -> None:
    bucket = TokenBucket(rate=10, burst=3)
    assert [bucket.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert bucket.take(0.1)
    assert not bucket.take(0.1)
    assert all(TokenBucket(0, 1).take(0.0) for _ in range(1_000))


def test_frames() -> None:
    assert protocol.parse('{"id":7,"event":"ping","data":{"a":1}}') == (7, "ping", {"a": 1})
    assert protocol.parse('{"event":"ping"}') == (None, "ping", None)
    assert protocol.ack(7, b"null") == b'{"id":7,"ack":null}'
    assert protocol.push("a-b", b"[1]") == b'{"event":"a-b","data":[1]}'
    error = EventError("CODE", "text", "what a station said")
    assert orjson.loads(protocol.failure("x", error)) == {
        "id": "x",
        "error": "CODE: text",
        "detail": "what a station said",
    }


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("{", "message: not valid JSON"),
        ("[]", "message: not an object"),
        ("[" * 1_000 + "]" * 1_000, "message: not an object"),
        ("[" * 100_000, "message: not valid JSON"),
        (b"{}", "message: binary frames are not taken"),
        ("{}", "event: not a text"),
        ('{"event":7}', "event: not a text"),
        ('{"event":"x","id":[]}', "id: not a number or a text"),
        ('{"event":"x","id":true}', "id: not a number or a text"),
        ('{"event":"x","id":"' + "y" * 129 + '"}', "id: longer than 128 characters"),
    ],
)
def test_bad_frames(message: str | bytes, reason: str) -> None:
    with pytest.raises(EventError) as caught:
        protocol.parse(message)
    assert str(caught.value) == f"INVALID_ARGUMENT: {reason}"


def test_a_bad_frame_with_an_id_is_answered_by_it() -> None:
    with pytest.raises(EventError) as caught:
        protocol.parse('{"id":7,"event":null}')
    assert orjson.loads(protocol.failure(None, caught.value))["id"] == 7
