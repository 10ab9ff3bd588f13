"""The codecs of Engine.IO and Socket.IO: what is read, what is written, and what is refused."""

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.connection import text_frame
from bridge.socketio.engine_packets import BadPacket, decode_binary, decode_payload, encode_payload, open_frame
from bridge.socketio.packets import (
    ACK,
    CONNECT,
    CONNECT_ERROR,
    DISCONNECT,
    EVENT,
    MAX_ATTACHMENTS,
    RESERVED_EVENTS,
    Decoder,
    Packet,
    encode,
    has_binary,
    head,
)
from hub.broker.websocket import binary_frame
from tests.bridge.socketio_machine import contents

LIMIT = 1_000

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(codec="utf-8"), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc_", max_size=3), inner, max_size=4),
    max_leaves=12,
)
VALUES = st.recursive(
    JSON | st.binary(max_size=8), lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc"), inner)
)


def decode(*messages: str | bytes, limit: int = LIMIT) -> Packet | None:
    """The packet that the last message completes; no other may."""
    decoder = Decoder(limit)
    *first, last = messages
    assert all(decoder.add(message) is None for message in first)
    return decoder.add(last)


# ---- Engine.IO


def test_payload_from_frames() -> None:
    """A poll is answered with the packets of the frames that wait, a binary one in base64, whatever their length."""
    long, longer = "x" * 300, "y" * 70_000
    frames = [
        text_frame(b"2"),
        binary_frame(b"\1\2\3\4"),
        text_frame(b"4" + long.encode()),
        text_frame(longer.encode()),
    ]
    assert encode_payload(frames) == f"2\x1ebAQIDBA==\x1e4{long}\x1e{longer}".encode()
    big = binary_frame(bytes(70_000))
    assert encode_payload([big]) == b"b" + b64encode(bytes(70_000))


def test_payload_of_a_post() -> None:
    assert decode_payload("4hällo\x1e4\x1ebAQ==".encode(), 3) == ["4hällo", "4", "bAQ=="]


def test_payload_bounds() -> None:
    """No more packets than allowed, and UTF-8 alone."""
    assert len(decode_payload(b"3\x1e3\x1e3", 3)) == 3
    with pytest.raises(BadPacket):
        decode_payload(b"3\x1e3\x1e3\x1e3", 3)
    with pytest.raises(BadPacket):
        decode_payload(b"4\xff", 3)


@pytest.mark.parametrize("packet", ["bA", "b*", "bAQ", "bAQ==AQ==", "b AQ==", "bäöü=", "b=", "bAQ==\n"])
def test_bad_base64(packet: str) -> None:
    """Base64 is taken only as encoders write it."""
    with pytest.raises(BadPacket):
        decode_binary(packet)


def test_base64() -> None:
    assert decode_binary("bAQIDBA==") == b"\1\2\3\4"
    assert decode_binary("b") == b""


def test_open_packet() -> None:
    """Times are told in milliseconds."""
    opening = contents(open_frame("s", ["websocket"], 25.0, 20.0, 1_000_000))
    assert isinstance(opening, str)
    assert opening[0] == "0"
    assert json.loads(opening[1:]) == {
        "sid": "s",
        "upgrades": ["websocket"],
        "pingInterval": 25_000,
        "pingTimeout": 20_000,
        "maxPayload": 1_000_000,
    }


# ---- Socket.IO


@pytest.mark.parametrize(
    ("message", "packet"),
    [
        ("0", Packet(CONNECT, "/", "", None)),
        ("0{}", Packet(CONNECT, "/", "", {})),
        ('0{"token":"x"}', Packet(CONNECT, "/", "", {"token": "x"})),
        ("0/admin", Packet(CONNECT, "/admin", "", None)),
        ("0/admin,", Packet(CONNECT, "/admin", "", None)),
        ('0/admin,{"a":[","]}', Packet(CONNECT, "/admin", "", {"a": [","]})),
        ("1", Packet(DISCONNECT, "/", "", None)),
        ("1/admin,", Packet(DISCONNECT, "/admin", "", None)),
        ('2["a"]', Packet(EVENT, "/", "", ["a"])),
        ('2["a",{"b":"c"},1]', Packet(EVENT, "/", "", ["a", {"b": "c"}, 1])),
        ('20["a"]', Packet(EVENT, "/", "0", ["a"])),
        ('2123456789012345["a"]', Packet(EVENT, "/", "123456789012345", ["a"])),
        ('2/admin,7["a"]', Packet(EVENT, "/admin", "7", ["a"])),
        ("37[]", Packet(ACK, "/", "7", [])),
        ('3/admin,7[{"a":1}]', Packet(ACK, "/admin", "7", [{"a": 1}])),
        ('2["a",{"_placeholder":true,"num":0}]', Packet(EVENT, "/", "", ["a", {"_placeholder": True, "num": 0}])),
        ('2["a","\\ud83d"]', Packet(EVENT, "/", "", ["a", "\ud83d"])),
    ],
)
def test_text_packets(message: str, packet: Packet) -> None:
    """Whole packets without attachments; half of a surrogate pair is JSON, too."""
    assert decode(message) == packet


@pytest.mark.parametrize(
    "message",
    [
        *("", "7", "8", "9", "a", "abc", "-", "²", "²[]", " 2"),
        *("0[]", "0null", "01", "0{", '0"x"', "01{}", "0/admin,1", "0/" + "n" * 200),
        *("1{}", "1[]", "11", "1/admin,[]"),
        *(
            "2",
            "2{}",
            "2[]",
            "2null",
            "2[1]",
            "2[null]",
            "2[[]]",
            '2"x"',
            '2["a"',
            '2["a"]]',
            "2/admin",
            '2/admin["a"]',
        ),
        *('2abc["a"]', '2-1["a"]', '21.5["a"]', '2²["a"]', '2٣["a"]', '21234567890123456["a"]', "2" + "9" * 10_000),
        *('2["a",NaN]', '2["a","\\u00"]', '2["\\u0041",NaN]', "2" + "[" * 100_000, '2["\\u0041",' + "[" * 100_000),
        *("3", "3[]", "31", "31{}", "31null"),
        *("4", '4{"message":"x"}', '4"x"'),
        *("5", "5-", '5["a"]', '5-["a"]', '50-["a"]', '511-["a"]', '5-1-["a"]', '5²-["a"]', '51000-["a"]', '51-["a"'),
        *("6", "61-", "61-[]", '61-["a"]', "61-7{}"),
        *(f'2["{name}"]' for name in sorted(RESERVED_EVENTS)),
        *(f'21["{name}",1]' for name in sorted(RESERVED_EVENTS)),
    ],
)
def test_bad_text_packets(message: str) -> None:
    """What is no packet, or none that a client sends, is refused without a word of it."""
    with pytest.raises(BadPacket) as refused:
        decode(message)
    assert len(str(refused.value)) < 60


def test_attachments() -> None:
    """Each placeholder becomes its attachment, wherever it is."""
    text = '52-/admin,7["a",{"x":[{"_placeholder":true,"num":1}]},{"_placeholder":true,"num":0}]'
    packet = decode(text, b"one", b"two")
    assert packet == Packet(EVENT, "/admin", "7", ["a", {"x": [b"two"]}, b"one"], binary=True)
    ack = decode('61-3[{"_placeholder":true,"num":0}]', b"")
    assert ack == Packet(ACK, "/", "3", [b""], binary=True)


@pytest.mark.parametrize(
    "number",
    ["1", "-1", "0.0", "true", "null", '"0"', "1e400", "10000000000000000000000"],
    ids=lambda number: number[:8],
)
def test_bad_placeholders(number: str) -> None:
    with pytest.raises(BadPacket):
        decode('51-["a",{"_placeholder":true,"num":' + number + "}]", b"x")


@pytest.mark.parametrize(
    "arguments",
    ['{"_placeholder":true}', '{"_placeholder":1,"num":0}', "1", '{"_placeholder":true,"num":0},' * 2 + "1"],
)
def test_attachments_and_placeholders_are_one_to_one(arguments: str) -> None:
    """Not one attachment without a place, nor one in two places: what is sent on would grow."""
    with pytest.raises(BadPacket):
        decode(f'51-["a",{arguments}]', b"x")


def test_order_of_attachments() -> None:
    """Binary comes only when it is due, and then nothing else does."""
    with pytest.raises(BadPacket):
        decode(b"x")
    placeholder = '51-["a",{"_placeholder":true,"num":0}]'
    with pytest.raises(BadPacket):
        decode(placeholder, '2["a"]')
    decoder = Decoder(LIMIT)
    decoder.add(placeholder)
    assert decoder.waiting
    decoder.add(b"x")
    assert not decoder.waiting
    with pytest.raises(BadPacket):
        decoder.add(b"x")


def test_size_of_attachments() -> None:
    """The sum counts, not each."""
    text = '52-["a",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]'
    room = LIMIT - len(text)
    assert decode(text, bytes(room - 1), b"x") is not None
    with pytest.raises(BadPacket) as refused:
        decode(text, bytes(room), b"x")
    assert refused.value.too_big


def test_most_attachments() -> None:
    def packet(count: int) -> str:
        places = ",".join(f'{{"_placeholder":true,"num":{number}}}' for number in range(count))
        return f'5{count}-["a",{places}]'

    assert decode(packet(MAX_ATTACHMENTS), *[b"x"] * MAX_ATTACHMENTS) is not None
    with pytest.raises(BadPacket):
        decode(packet(MAX_ATTACHMENTS + 1))


def test_deep_nesting_is_no_recursion() -> None:
    """As deep as the JSON decoder goes, attachments are put in; deeper, it is no packet."""
    deep = "[" * 1_000 + '{"_placeholder":true,"num":0}' + "]" * 1_000
    packet = decode(f'51-["a",{deep}]', b"x", limit=10_000)
    assert packet is not None
    assert has_binary(packet.data)


@pytest.mark.parametrize(
    ("frames", "messages"),
    [
        (encode(CONNECT, "/", data={"sid": "x"}), ['40{"sid":"x"}']),
        (encode(CONNECT, "/admin", data={"sid": "x"}), ['40/admin,{"sid":"x"}']),
        (encode(DISCONNECT, "/"), ["41"]),
        (encode(DISCONNECT, "/admin"), ["41/admin,"]),
        (encode(CONNECT_ERROR, "/x", data={"message": "no"}), ['44/x,{"message":"no"}']),
        (encode(EVENT, "/", data=["a", 1]), ['42["a",1]']),
        (encode(ACK, "/", "7", []), ["437[]"]),
        (encode(ACK, "/admin", "7", [{"a": 1}]), ['43/admin,7[{"a":1}]']),
        (encode(EVENT, "/", data=["a", {"b": b"x"}]), ['451-["a",{"b":{"_placeholder":true,"num":0}}]', b"x"]),
        (encode(ACK, "/", "7", [b"x"]), ['461-7[{"_placeholder":true,"num":0}]', b"x"]),
    ],
)
def test_written_packets(frames: list[bytes], messages: list[str | bytes]) -> None:
    assert [contents(frame) for frame in frames] == messages


def test_only_json_and_bytes_are_written() -> None:
    with pytest.raises(TypeError):
        encode(EVENT, "/", data=["a", object()])


def test_head() -> None:
    assert (head(ACK, "/", "7"), head(EVENT, "/admin")) == (b"437", b"42/admin,")


@given(arguments=st.lists(VALUES, max_size=4), ack_id=st.sampled_from(["", "0", "99"]))
def test_what_is_written_is_read_again(arguments: list[Any], ack_id: str) -> None:
    """An event with bytes anywhere comes back as it was; what looks like a placeholder beside bytes is refused."""
    messages = [contents(frame) for frame in encode(EVENT, "/", ack_id, ["name", *arguments])]
    messages[0] = str(messages[0])[1:]
    if len(messages) - 1 > MAX_ATTACHMENTS:
        with pytest.raises(BadPacket):
            decode(*messages)
        return
    packet = decode(*messages, limit=100_000)
    assert packet == Packet(EVENT, "/", ack_id, ["name", *arguments], binary=len(messages) > 1)
    assert packet is not None
    assert has_binary(packet.data) == (len(messages) > 1)


@given(st.lists(st.text('0123456789-/,[]{}"ab:\\u٣²', max_size=12) | st.binary(max_size=4), min_size=1, max_size=6))
def test_anything_is_a_packet_or_bad(messages: list[str | bytes]) -> None:
    """Nothing else is raised."""
    decoder = Decoder(20)
    try:
        for message in messages:
            decoder.add(message)
    except BadPacket:
        pass
