"""Packets that no client may send, and how a stream is read, clause by clause; 3.1.1's numbers, and 5's behind a slash.

| clause | test |
|---|---|
| 1.5.3-1, -2 / 1.5.4-1, -2 | test_text_that_is_not_utf8_ends_the_connection |
| 1.5.3-3 / 1.5.4-3 | test_a_byte_order_mark_is_part_of_the_text |
| 2.2.2-1, -2 / 2.1.3-1 | test_reserved_flags_end_the_connection, test_auth_is_reserved_in_3_1_1 |
| 2.2.3 / 1.5.5-1, 2.1.4 | test_a_length_of_five_bytes_ends_the_connection, test_a_length_longer_than_needed |
| 2.3.1-1 / 2.2.1-3 | test_a_packet_identifier_of_0_ends_the_connection |
| 3.3.1-2, -4, 3.3.2-1, -2, 4.7.1-1, 4.7.3-1, -2 / the same, 4.7.0-1 | test_a_publish_that_is_none_ends_the_connection |
| 3.6.1-1, 3.8.1-1, 3.10.1-1, 3.14.1-1 | test_reserved_flags_end_the_connection |
| 3.8.3-1, 3.10.3-1 | test_text_that_is_not_utf8_ends_the_connection |
| 3.8.3-3, 3-8.3-4, 3.10.3-2 / 3.8.3-2, -5, 3.10.3-2 | test_a_subscription_that_is_none_ends_the_connection |
| 3.3.5-2 / 3.3.4-1 | test_the_payload_of_a_refused_publish_is_never_looked_at |
| 3.12.4-1 | test_pingreq_is_answered |
| 3.14.4-2 | test_nothing_behind_disconnect_is_looked_at |
| 4.2 (a stream) | test_packets_cut_anywhere, test_packets_cut_everywhere, test_many_packets_in_one_read |
| 4.8.0-1 / 4.13.1-1 | test_packets_of_a_server_end_the_connection, test_an_error_ends_what_came_with_it |
"""

from collections.abc import Callable

import pytest

from devices.mqtt.codec import encode, text
from devices.mqtt.codes import PacketType, Reason
from devices.mqtt.packets import (
    Ack,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Publish,
    Suback,
    Subscribe,
    SubscribeFilter,
    Unsuback,
    Unsubscribe,
    Will,
)
from tests.hub.broker.raw import BAD_TEXT, MALFORMED, PROTOCOL, VERSIONS, frame, none, opened
from tests.hub.broker.world import World


@VERSIONS
@pytest.mark.parametrize(
    ("first", "body"),
    [
        (0x41, b"\0\1"),
        (0x52, b"\0\1"),
        (0x60, b"\0\1"),
        (0x63, b"\0\1"),
        (0x72, b"\0\1"),
        (0x80, b"subscribe"),
        (0x8A, b"subscribe"),
        (0xA0, b"unsubscribe"),
        (0xC1, b""),
        (0xC8, b""),
        (0xE1, b""),
        (0x00, b""),
        (0xF1, b""),
    ],
)
def test_reserved_flags_end_the_connection(version: int, first: int, body: bytes) -> None:
    """[MQTT-2.2.2-1, -2] [5: MQTT-2.1.3-1] [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1] [MQTT-3.14.1-1] And do nothing."""
    world, _, watcher = opened(version)
    client = world.connect("flags", version=version, will=Will("will", b""))
    client.subscribe("kept")
    body = {
        b"subscribe": b"\0\1" + none(version) + text("b") + b"\0",
        b"unsubscribe": b"\0\1" + none(version) + text("kept"),
    }.get(body, body)
    session = world.engine.sessions["", "flags"]
    client.raw(frame(first, body))
    assert client.ended(MALFORMED)
    assert [one.topic for one in watcher.publishes] == ["will"]  # a goodbye with wrong flags is none
    assert set(session.subscriptions) <= {"kept"}


@VERSIONS
@pytest.mark.parametrize(
    "packet", [Connack(0), Suback(1, b"\0"), Unsuback(1, b"\0"), Pingresp()], ids=lambda packet: type(packet).__name__
)
def test_packets_of_a_server_end_the_connection(version: int, packet: Packet) -> None:
    """[MQTT-4.8.0-1] [5: MQTT-4.13.1-1] They are no client's to send."""
    _, client, _ = opened(version)
    client.packet(packet)
    assert client.ended(PROTOCOL)


def test_auth_is_reserved_in_3_1_1() -> None:
    """[MQTT-2.2.2-2] Type 15 is forbidden in 3.1.1."""
    _, client, _ = opened(4)
    client.raw(b"\xf0\0")
    assert client.ended(MALFORMED)


@VERSIONS
@pytest.mark.parametrize("kind", ["PUBLISH 1", "PUBLISH 2", "SUBSCRIBE", "UNSUBSCRIBE", "PUBREC", "PUBREL", "PUBCOMP"])
def test_a_packet_identifier_of_0_ends_the_connection(version: int, kind: str) -> None:
    """[MQTT-2.3.1-1] [5: MQTT-2.2.1-3] Where there is a packet identifier, it is not 0."""
    _, client, watcher = opened(version)
    head = b"\0\0" + none(version)
    packet = {
        "PUBLISH 1": frame(0x32, text("a") + head),
        "PUBLISH 2": frame(0x34, text("a") + head),
        "SUBSCRIBE": frame(0x82, head + text("a") + b"\0"),
        "UNSUBSCRIBE": frame(0xA2, head + text("a")),
        "PUBREC": b"\x50\2\0\0",
        "PUBREL": b"\x62\2\0\0",
        "PUBCOMP": b"\x70\2\0\0",
    }[kind]
    client.raw(packet)
    assert client.ended(MALFORMED)
    assert watcher.messages == []


_NO_TOPIC = Reason.TOPIC_NAME_INVALID
_PUBLISHES: dict[str, tuple[int, Callable[[int], bytes], Reason | None]] = {
    "QoS 3 [MQTT-3.3.1-4]": (0x36, lambda v: text("a") + b"\0\1" + none(v), MALFORMED),
    "QoS 0 with DUP [MQTT-3.3.1-2]": (0x38, lambda v: text("a") + none(v), MALFORMED),
    "a wildcard # [MQTT-3.3.2-2]": (0x30, lambda v: text("a/#") + none(v), _NO_TOPIC),
    "a wildcard + [MQTT-3.3.2-2]": (0x32, lambda v: text("a/+/b") + b"\0\1" + none(v), _NO_TOPIC),
    "a wildcard in a level [MQTT-4.7.1-1]": (0x30, lambda v: text("a+b") + none(v), _NO_TOPIC),
    "no topic [MQTT-4.7.3-1]": (0x30, lambda v: text("") + none(v), None),
    "U+0000 [MQTT-4.7.3-2]": (0x30, lambda v: b"\0\3a\0b" + none(v), MALFORMED),
    "an empty body": (0x30, lambda _: b"", MALFORMED),
    "half a length": (0x30, lambda _: b"\0", MALFORMED),
    "a topic longer than the packet": (0x30, lambda _: b"\0\x09a", MALFORMED),
    "no packet identifier": (0x32, lambda _: text("a"), MALFORMED),
    "half a packet identifier": (0x34, lambda _: text("a") + b"\0", MALFORMED),
}


@VERSIONS
@pytest.mark.parametrize("problem", _PUBLISHES)
def test_a_publish_that_is_none_ends_the_connection(version: int, problem: str) -> None:
    """[MQTT-3.3.1-2] [MQTT-3.3.1-4] [MQTT-3.3.2-1] [MQTT-3.3.2-2] [MQTT-4.7.1-1] [5: MQTT-4.7.0-1] [MQTT-4.7.3-1, -2]"""
    _, client, watcher = opened(version)
    first, body, reason = _PUBLISHES[problem]
    client.publish("a", b"before")  # its route is known by then: the wrong one must not pass as the same
    client.raw(frame(first, body(version)) + encode(Publish("a", b"after"), version))
    assert client.ended(reason or PROTOCOL)
    assert [one.payload for one in watcher.publishes] == [b"before"]


@VERSIONS
def test_a_topic_that_ends_in_the_next_packet(version: int) -> None:
    """[MQTT-3.3.2-1] A topic that is known, but only with the bytes of the packet behind it, is none."""
    _, client, watcher = opened(version)
    client.publish("abc", b"before")
    client.raw(b"\x30\x03\0\3a" + b"bc" + none(version) + b"\x30\0")
    assert client.ended(MALFORMED)
    assert [one.payload for one in watcher.publishes] == [b"before"]


_SUBSCRIPTIONS: dict[str, tuple[int, Callable[[int], bytes], Reason | None]] = {
    "no filter [MQTT-3.8.3-3] [5: MQTT-3.8.3-2]": (0x82, lambda _: b"", PROTOCOL),
    "no filter [MQTT-3.10.3-2]": (0xA2, lambda _: b"", PROTOCOL),
    "QoS 3 [MQTT-3-8.3-4]": (0x82, lambda _: text("a") + b"\3", None),
    "reserved bits [MQTT-3-8.3-4] [5: MQTT-3.8.3-5]": (0x82, lambda _: text("a") + b"\x40", MALFORMED),
    "no options": (0x82, lambda _: text("a"), MALFORMED),
    "the second without options": (0x82, lambda _: text("a") + b"\0" + text("b"), MALFORMED),
    "an empty filter [MQTT-4.7.3-1]": (0x82, lambda _: text("") + b"\0", MALFORMED),
    "an empty filter to end [MQTT-4.7.3-1]": (0xA2, lambda _: text(""), MALFORMED),
    "a filter longer than the packet": (0x82, lambda _: b"\0\x09a\0", MALFORMED),
}


@VERSIONS
@pytest.mark.parametrize("problem", _SUBSCRIPTIONS)
def test_a_subscription_that_is_none_ends_the_connection(version: int, problem: str) -> None:
    """[MQTT-3.8.3-3] [MQTT-3-8.3-4] [MQTT-3.10.3-2] [5: MQTT-3.8.3-2, -5] [MQTT-4.7.3-1] And nothing of it counts."""
    world, client, _ = opened(version)
    first, body, reason = _SUBSCRIPTIONS[problem]
    client.raw(frame(first, b"\0\1" + none(version) + body(version)))
    assert client.ended(reason or PROTOCOL)
    assert world.engine.gauges().subscriptions == 1


def test_options_of_version_5_are_reserved_in_3_1_1() -> None:
    """[MQTT-3-8.3-4] The upper six bits, each."""
    for bit in range(2, 8):
        world, client, _ = opened(4)
        client.raw(frame(0x82, b"\0\1" + text("a") + bytes([1 << bit])))
        assert client.ended(MALFORMED)
        assert world.engine.gauges().subscriptions == 1


@VERSIONS
@pytest.mark.parametrize("bad", BAD_TEXT)
@pytest.mark.parametrize("kind", ["PUBLISH", "SUBSCRIBE", "UNSUBSCRIBE"])
def test_text_that_is_not_utf8_ends_the_connection(version: int, bad: str, kind: str) -> None:
    """[MQTT-1.5.3-1, -2] [5: MQTT-1.5.4-1, -2] [MQTT-3.3.2-1] [MQTT-3.8.3-1] [MQTT-3.10.3-1]"""
    _, client, watcher = opened(version)
    name = b"\0" + bytes([len(BAD_TEXT[bad])]) + BAD_TEXT[bad]
    head = b"\0\1" + none(version)
    client.raw(
        {
            "PUBLISH": frame(0x30, name + none(version)),
            "SUBSCRIBE": frame(0x82, head + name + b"\0"),
            "UNSUBSCRIBE": frame(0xA2, head + name),
        }[kind]
    )
    assert client.ended(MALFORMED)
    assert watcher.messages == []


@VERSIONS
def test_a_byte_order_mark_is_part_of_the_text(version: int) -> None:
    """[MQTT-1.5.3-3] [5: MQTT-1.5.4-3] U+FEFF is never skipped, wherever it stands."""
    _, client, watcher = opened(version)
    client.subscribe("a")
    client.publish("\ufeffa", b"1")
    client.publish("a\ufeff", b"2")
    assert client.messages == []
    assert [one.topic for one in watcher.publishes] == ["\ufeffa", "a\ufeff"]


@VERSIONS
def test_pingreq_is_answered(version: int) -> None:
    """[MQTT-3.12.4-1] Each with one PINGRESP; a PINGREQ has no body."""
    _, client, _ = opened(version)
    client.packet(Pingreq(), Pingreq())
    assert client.count(Pingresp) == 2
    client.raw(b"\xc0\1x")
    assert client.ended(MALFORMED)


@VERSIONS
def test_nothing_behind_disconnect_is_looked_at(version: int) -> None:
    """[MQTT-3.14.4-2] A client sends nothing more: what it does send is dropped."""
    _, client, watcher = opened(version)
    client.packet(Publish("a", b"before"), Disconnect(), Publish("a", b"after"), Pingreq())
    client.packet(Publish("a", b"later"))
    assert client.closed
    assert client.count(Pingresp) == client.count(Disconnect) == 0
    assert [one.payload for one in watcher.publishes] == [b"before"]


@VERSIONS
def test_an_error_ends_what_came_with_it(version: int) -> None:
    """[MQTT-4.8.0-1] [5: MQTT-4.13.1-1] Packets in front of a bad one count and are answered, those behind do not."""
    _, client, watcher = opened(version)
    good, bad = Publish("a", b"before", 1, packet_id=1), b"\x80\0"
    client.raw(encode(good, version) + bad + encode(Publish("a", b"after", 1, packet_id=2), version))
    client.packet(Publish("a", b"later"))
    assert client.ended(MALFORMED)
    assert [one.packet_id for one in client.received if isinstance(one, Ack)] == [1]
    assert [one.payload for one in watcher.publishes] == [b"before"]


# framing


def _conversation(version: int) -> bytes:
    packets: list[Packet] = [
        Connect("client", version, will=Will("w", b"gone", 1), keep_alive=60, username="u"),
        Subscribe(1, [SubscribeFilter("a/+", 2), SubscribeFilter("b", 1)]),
        Publish("a/b", b"0"),
        Publish("a/b", b"00"),
        Publish("a/b", b"1", 1, packet_id=2),
        Publish("a/b", b"2" * 130, 2, packet_id=3),
        Ack(PacketType.PUBREL, 3),
        Publish("a/b", b"0" * 200),
        Unsubscribe(4, ["b"]),
        Pingreq(),
        Disconnect(),
    ]
    return b"".join(encode(one, version) for one in packets)


def _talk(version: int, pieces: list[bytes]) -> tuple[list[str], list[tuple[str, bytes, int, bool]], bool]:
    world = World()
    watcher = world.connect("watcher", version=9 - version)
    watcher.subscribe("#", qos=2)
    client = world.client(version, acknowledge=False)
    for piece in pieces:
        client.raw(piece)
    return list(map(repr, client.received)), watcher.messages, client.closed


@VERSIONS
def test_packets_cut_anywhere(version: int) -> None:
    """A stream has no borders: cut in two at any byte, it means the same as in one piece."""
    stream = _conversation(version)
    whole = _talk(version, [stream])
    assert [payload for _, payload, _, _ in whole[1]] == [b"0", b"00", b"1", b"2" * 130, b"0" * 200]
    assert len(whole[0]) == 12
    assert whole[2]
    for at in range(1, len(stream)):
        assert _talk(version, [stream[:at], stream[at:]]) == whole


@VERSIONS
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_packets_cut_everywhere(version: int, size: int) -> None:
    """Byte by byte, and in other small pieces."""
    stream = _conversation(version)
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert _talk(version, pieces) == _talk(version, [stream])


@VERSIONS
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_many_packets_in_one_read(version: int, qos: int) -> None:
    """All are done, in order."""
    _, client, watcher = opened(version)
    client.packet(*(Publish("a", b"%d" % one, qos, packet_id=one if qos else None) for one in range(1, 301)))
    assert [one.payload for one in watcher.publishes] == [b"%d" % one for one in range(1, 301)]
    assert client.count(Ack) == (300 if qos else 0) * qos  # QoS 2 is completed by the client


@VERSIONS
@pytest.mark.parametrize("begun", [False, True])
def test_a_length_of_five_bytes_ends_the_connection(version: int, begun: bool) -> None:
    """2.2.3 [5: 1.5.5] A remaining length has four bytes at most; of CONNECT's too, and before its end."""
    _, client, _ = opened(version)
    stranger = World().client(version)
    one = client if begun else stranger
    one.raw(b"\x30\x80\x80\x80\x80" if begun else b"\x10\x80\x80\x80\x80")
    assert one.closed
    if begun:
        assert one.ended(MALFORMED)


@VERSIONS
def test_a_length_longer_than_needed(version: int) -> None:
    """[5: MQTT-1.5.5-1] Malformed in 5; 3.1.1 does not forbid it, but no subscriber may get to see it."""
    world, client, watcher = opened(version)
    other = world.connect("other", version=version)
    other.subscribe("a")
    client.publish("a", b"x")
    sent: list[bytes] = []
    other.send = sent.append  # type: ignore[method-assign,assignment]
    client.raw(b"\x30" + bytes([(4 + (version == 5)) | 0x80, 0]) + text("a") + none(version) + b"y")
    if version == 5:
        assert client.ended(MALFORMED)
    else:
        assert client.ping()
    assert [one.payload for one in watcher.publishes] == [b"x", b"y"][: 1 if version == 5 else 2]
    assert b"".join(sent) == (b"" if version == 5 else encode(Publish("a", b"y"), 4))


# smuggling


def _smuggled(version: int, qos: int) -> bytes:
    """A PUBLISH whose payload is packets."""
    inner = encode(Publish("smuggled", b"x"), version) * 3 + encode(Disconnect(), version) + b"\xc0\0" * 3
    return encode(Publish("denied", inner, qos, packet_id=9 if qos else None), version)


@VERSIONS
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_the_payload_of_a_refused_publish_is_never_looked_at(version: int, qos: int) -> None:
    """A denied PUBLISH is dropped whole, cut at any byte; 3.1.1 acknowledges it [MQTT-3.3.5-2], 5 says why [MQTT-3.3.4-1]."""
    packet = _smuggled(version, qos)
    for at in range(len(packet)):
        world, client, watcher = opened(version)
        world.policy.denied.add(("publish", "denied"))
        for piece in (packet[:at], packet[at:]):
            client.raw(piece)
        assert watcher.messages == []
        assert client.ping()
        assert client.count(Pingresp) == 1
        assert world.engine.stats.denied["publish"] == 1
        answer = [one for one in client.received if isinstance(one, Ack)]
        if not qos:
            assert answer == []
        else:
            reason = Reason.NOT_AUTHORIZED if version == 5 else Reason.SUCCESS
            assert answer[0] == Ack(PacketType.PUBACK if qos == 1 else PacketType.PUBREC, 9, reason)


@VERSIONS
def test_the_payload_of_a_packet_that_ends_the_connection_is_never_looked_at(version: int) -> None:
    """Neither what stands in a PUBLISH to a wildcard, nor in one before CONNECT."""
    world, client, watcher = opened(version)
    inner = encode(Connect("in", version), version) + encode(Publish("smuggled", b"x"), version)
    packet = encode(Publish("a/#", inner), version)
    stranger = world.client(version)
    client.raw(packet)
    stranger.raw(packet)
    for at in range(len(packet)):
        client.raw(packet[at:])
        stranger.raw(packet[at:])
    assert client.closed
    assert stranger.closed
    assert watcher.messages == []
    assert set(world.engine.sessions) == {("", "watcher")}
