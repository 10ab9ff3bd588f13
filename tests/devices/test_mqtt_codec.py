"""The MQTT codec: what is written is read back; what the standard forbids is refused with its reason; nothing else is raised."""

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from devices.mqtt.codec import REASONS, decode, encode, remaining_length, text
from devices.mqtt.codes import MalformedPacket, MqttError, PacketType, ProtocolError, Reason
from devices.mqtt.packets import (
    Ack,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Publish,
    Suback,
    Subscribe,
    SubscribeFilter,
    Unsuback,
    Will,
)
from devices.mqtt.properties import (
    ALLOWED,
    RULES,
    WILL,
    Properties,
    Property,
    binary,
    decode_properties,
    encode_properties,
)
from devices.mqtt.stream import PacketStream
from tests.devices.mqtt_strategies import VERSIONS, broken, framed, packets, packets_of

MALFORMED = MalformedPacket, Reason.MALFORMED_PACKET
PROTOCOL = ProtocolError, Reason.PROTOCOL_ERROR
TOPIC_NAME = ProtocolError, Reason.TOPIC_NAME_INVALID
ALIAS = ProtocolError, Reason.TOPIC_ALIAS_INVALID
VERSION = ProtocolError, Reason.UNSUPPORTED_PROTOCOL_VERSION

KINDS = [(version, kind) for version in VERSIONS for kind in PacketType if version == 5 or kind is not PacketType.AUTH]


@pytest.mark.parametrize(("version", "kind"), KINDS)
@given(data=st.data())
@settings(max_examples=40)
def test_what_is_written_is_read_back(version: int, kind: PacketType, data: st.DataObject) -> None:
    packet = data.draw(packets_of(kind, version))
    first, body = framed(encode(packet, version))
    assert decode(first, body, version) == packet
    assert first >> 4 == kind


GOLDEN: list[tuple[str, int, Packet, str]] = [
    ("3.1.1 CONNECT", 4, Connect("a", 4, True, 60), "10 0d 0004 4d515454 04 02 003c 0001 61"),
    ("3.1 CONNECT", 3, Connect("a", 3, False, 1), "10 0f 0006 4d5149736470 03 00 0001 0001 61"),
    (
        "3.1.1 CONNECT with everything",
        4,
        Connect("c", 4, False, 10, "u", b"\xff", Will("w", b"gone", 2, True)),
        "10 1c 0004 4d515454 04 f4 000a 0001 63 0001 77 0004 676f6e65 0001 75 0001 ff",
    ),
    (
        "5 CONNECT with will",
        5,
        Connect(
            "",
            5,
            True,
            0,
            None,
            b"p",
            Will("w", b"", 1, False, {Property.WILL_DELAY: 5}),
            {Property.SESSION_EXPIRY: 10},
        ),
        "10 20 0004 4d515454 05 4e 0000 05 11 0000000a 0000 05 18 00000005 0001 77 0000 0001 70",
    ),
    ("3.1.1 CONNACK", 4, Connack(5), "20 02 00 05"),
    ("5 CONNACK", 5, Connack(Reason.SUCCESS, True, {Property.RECEIVE_MAXIMUM: 20}), "20 06 01 00 03 21 0014"),
    ("3.1.1 PUBLISH", 4, Publish("a/b", b"hi", 1, True, True, 10), "3b 09 0003 612f62 000a 6869"),
    ("3.1.1 PUBLISH QoS 0", 4, Publish("a", b""), "30 03 0001 61"),
    (
        "5 PUBLISH with alias",
        5,
        Publish("", b"x", 2, False, False, 1, {Property.TOPIC_ALIAS: 3, Property.SUBSCRIPTION_IDENTIFIER: [1, 128]}),
        "34 0e 0000 0001 08 23 0003 0b 01 0b 8001 78",
    ),
    (
        "5 PUBLISH with user properties in order",
        5,
        Publish("a", b"", properties={Property.USER_PROPERTY: [("b", "1"), ("a", ""), ("b", "1")]}),
        "30 18 0001 61 14 26 0001 62 0001 31 26 0001 61 0000 26 0001 62 0001 31",
    ),
    ("3.1.1 PUBREL", 4, Ack(PacketType.PUBREL, 258), "62 02 0102"),
    ("5 PUBACK", 5, Ack(PacketType.PUBACK, 1, Reason.NO_MATCHING_SUBSCRIBERS), "40 03 0001 10"),
    ("5 PUBACK, reason and properties left out", 5, Ack(PacketType.PUBACK, 1), "40 02 0001"),
    (
        "3.1.1 SUBSCRIBE, the standard's example",
        4,
        Subscribe(10, [SubscribeFilter("a/b", 1), SubscribeFilter("c/d", 2)]),
        "82 0e 000a 0003 612f62 01 0003 632f64 02",
    ),
    ("5 SUBSCRIBE", 5, Subscribe(1, [SubscribeFilter("a", 1, True, True, 2)]), "82 07 0001 00 0001 61 2d"),
    ("3.1.1 SUBACK", 4, Suback(1, b"\x00\x80"), "90 04 0001 00 80"),
    ("5 UNSUBACK", 5, Unsuback(1, b"\x11"), "b0 04 0001 00 11"),
    ("3.1.1 UNSUBACK", 4, Unsuback(1), "b0 02 0001"),
    ("PINGREQ", 4, Pingreq(), "c0 00"),
    ("3.1.1 DISCONNECT", 4, Disconnect(), "e0 00"),
    ("5 DISCONNECT", 5, Disconnect(Reason.SESSION_TAKEN_OVER), "e0 01 8e"),
    (
        "5 AUTH",
        5,
        Auth(Reason.CONTINUE_AUTHENTICATION, {Property.AUTHENTICATION_METHOD: "m"}),
        "f0 06 18 04 15 0001 6d",
    ),
]


@pytest.mark.parametrize(("version", "packet", "wire"), [pytest.param(*row[1:], id=row[0]) for row in GOLDEN])
def test_the_bytes_are_the_standards(version: int, packet: Packet, wire: str) -> None:
    """Bytes written by hand from the standard, so that reader and writer cannot be wrong together."""
    data = bytes.fromhex(wire)
    assert encode(packet, version) == data
    assert PacketStream(version).feed(data) == [packet]


@pytest.mark.parametrize(
    ("first", "body", "packet"),
    [
        (0x40, "0001 00 00", Ack(PacketType.PUBACK, 1)),
        (0x40, "0001 00", Ack(PacketType.PUBACK, 1)),
        (0xE0, "00", Disconnect()),
        (0xE0, "00 00", Disconnect()),
        (0xE0, "04", Disconnect(Reason.DISCONNECT_WITH_WILL)),
    ],
)
def test_long_forms_are_read(first: int, body: str, packet: Packet) -> None:
    """A reason or property length that could be left out may be there. MQTT 5, 3.4.2.1, 3.14.2.1."""
    assert decode(first, bytes.fromhex(body), 5) == packet


BAD: list[tuple[str, int, int, str, tuple[type[MqttError], Reason]]] = [
    # The fixed header
    ("MQTT-2.1.2 type 0", 4, 0x00, "", MALFORMED),
    ("MQTT-2.1.2 type 15 before 5", 4, 0xF0, "", MALFORMED),
    *(
        (f"MQTT-2.1.3-1 flags of {first:#04x}", 5, first, "0001 00 0001 61 00", MALFORMED)
        for first in (0x80, 0x83, 0x8A, 0xA0)
    ),
    *(
        (f"MQTT-2.1.3-1 flags of {first:#04x}", 4, first, "0001", MALFORMED)
        for first in (0x41, 0x52, 0x60, 0x63, 0x72, 0xB2)
    ),
    *((f"MQTT-2.1.3-1 flags of {first:#04x}", 4, first, "", MALFORMED) for first in (0xC1, 0xD8, 0xE2)),
    ("MQTT-2.1.3-1 flags of CONNECT", 4, 0x11, "0004 4d515454 04 02 003c 0001 61", MALFORMED),
    # CONNECT
    ("MQTT-3.1.2-1 protocol name", 4, 0x10, "0004 4d515455 04 02 003c 0001 61", VERSION),
    ("MQTT-3.1.2-2 level 6", 4, 0x10, "0004 4d515454 06 02 003c 0001 61", VERSION),
    ("MQTT-3.1.2-2 level 3 by the new name", 4, 0x10, "0004 4d515454 03 02 003c 0001 61", VERSION),
    ("MQTT-3.1.2-2 a bridge's level", 4, 0x10, "0004 4d515454 84 02 003c 0001 61", VERSION),
    ("MQTT-3.1.2-3 reserved flag", 4, 0x10, "0004 4d515454 04 03 003c 0001 61", MALFORMED),
    ("MQTT-3.1.2-11 will QoS without will", 4, 0x10, "0004 4d515454 04 0a 003c 0001 61", MALFORMED),
    ("MQTT-3.1.2-13 will retain without will", 5, 0x10, "0004 4d515454 05 22 003c 00 0001 61", MALFORMED),
    ("MQTT-3.1.2-12 will QoS 3", 4, 0x10, "0004 4d515454 04 1e 003c 0001 61 0001 77 0000", MALFORMED),
    ("MQTT-3.1.2-22 (3.1.1) password alone", 4, 0x10, "0004 4d515454 04 42 003c 0001 61 0001 70", MALFORMED),
    ("MQTT-3.1.3-1 user name missing", 4, 0x10, "0004 4d515454 04 82 003c 0001 61", MALFORMED),
    ("MQTT-3.1.3.6 cut in the password", 4, 0x10, "0004 4d515454 04 c2 003c 0001 61 0001 75 0002 70", MALFORMED),
    ("MQTT-3.1.3-3 client id missing", 4, 0x10, "0004 4d515454 04 02 003c", MALFORMED),
    ("MQTT-3.1.2 cut in the keep-alive", 4, 0x10, "0004 4d515454 04 02 00", MALFORMED),
    ("MQTT-3.1.2 cut behind the name", 4, 0x10, "0004 4d515454", MALFORMED),
    ("MQTT-3.1 empty", 4, 0x10, "", MALFORMED),
    ("MQTT-3.1.3 bytes behind the end", 4, 0x10, "0004 4d515454 04 02 003c 0001 61 00", MALFORMED),
    ("MQTT-3.1.3.3 will topic with wildcard", 4, 0x10, "0004 4d515454 04 06 003c 0001 61 0001 23 0000", MALFORMED),
    (
        "MQTT-3.1.3.3 will topic with wildcard, 5",
        5,
        0x10,
        "0004 4d515454 05 06 003c 00 0001 61 00 0001 2b 0000",
        TOPIC_NAME,
    ),
    ("MQTT-4.7.3-1 will topic empty", 4, 0x10, "0004 4d515454 04 06 003c 0001 61 0000 0000", MALFORMED),
    ("MQTT-1.5.4-1 client id with a surrogate", 4, 0x10, "0004 4d515454 04 02 003c 0003 eda080", MALFORMED),
    ("MQTT-1.5.4-2 client id with U+0000", 4, 0x10, "0004 4d515454 04 02 003c 0001 00", MALFORMED),
    ("MQTT-3.1.2.11.3 Receive Maximum 0", 5, 0x10, "0004 4d515454 05 02 003c 03 21 0000 0001 61", PROTOCOL),
    ("MQTT-3.1.2.11.4 Maximum Packet Size 0", 5, 0x10, "0004 4d515454 05 02 003c 05 27 00000000 0001 61", PROTOCOL),
    ("MQTT-3.1.2.11.7 Request Problem Information 2", 5, 0x10, "0004 4d515454 05 02 003c 02 17 02 0001 61", PROTOCOL),
    ("MQTT-3.1.2.11.2 twice", 5, 0x10, "0004 4d515454 05 02 003c 0a 11 00000000 11 00000000 0001 61", PROTOCOL),
    ("MQTT-3.1.2.11.10 data without method", 5, 0x10, "0004 4d515454 05 02 003c 04 16 0001 61 0001 61", PROTOCOL),
    ("MQTT-2.2.2.2 Will Delay outside the will", 5, 0x10, "0004 4d515454 05 02 003c 05 18 00000000 0001 61", MALFORMED),
    # CONNACK
    ("MQTT-3.2.2-1 reserved flags", 4, 0x20, "02 00", MALFORMED),
    ("MQTT-3.2.2.3 (3.1.1) reserved code", 4, 0x20, "00 06", MALFORMED),
    ("MQTT-3.2.2-6 present and refused", 4, 0x20, "01 05", PROTOCOL),
    ("MQTT-3.2.2 too short", 4, 0x20, "00", MALFORMED),
    ("MQTT-3.2.2 too long", 4, 0x20, "00 00 00", MALFORMED),
    ("MQTT-3.2.2-8 a code of others", 5, 0x20, "00 04 00", PROTOCOL),
    ("MQTT-3.2.2.3.4 Maximum QoS 2", 5, 0x20, "00 00 02 24 02", PROTOCOL),
    # PUBLISH
    ("MQTT-3.3.1-4 QoS 3", 4, 0x36, "0001 61 0001", MALFORMED),
    ("MQTT-3.3.1-2 DUP with QoS 0", 4, 0x38, "0001 61", MALFORMED),
    ("MQTT-2.2.1-3 packet identifier 0", 4, 0x32, "0001 61 0000", MALFORMED),
    ("MQTT-3.3.2 no packet identifier", 4, 0x32, "0001 61 00", MALFORMED),
    ("MQTT-3.3.2 cut in the topic's length", 4, 0x30, "00", MALFORMED),
    ("MQTT-3.3.2 cut in the topic", 4, 0x30, "0002 61", MALFORMED),
    ("MQTT-3.3.2-2 wildcard", 4, 0x30, "0003 612f2b", MALFORMED),
    ("MQTT-3.3.2-2 wildcard, 5", 5, 0x30, "0003 612f23 00", TOPIC_NAME),
    ("MQTT-1.5.4-2 topic with U+0000", 5, 0x30, "0003 610062 00", MALFORMED),
    ("MQTT-1.5.4-1 topic not UTF-8", 4, 0x30, "0002 c328", MALFORMED),
    ("MQTT-1.5.4-1 overlong UTF-8", 4, 0x30, "0002 c0af", MALFORMED),
    ("MQTT-4.7.3-1 empty topic", 4, 0x30, "0000", MALFORMED),
    ("MQTT-3.3.2.1 empty topic without alias", 5, 0x30, "0000 00", PROTOCOL),
    ("MQTT-3.3.2-8 alias 0", 5, 0x30, "0001 61 03 23 0000", ALIAS),
    ("MQTT-3.3.2.3.4 alias twice", 5, 0x30, "0001 61 06 23 0001 23 0001", PROTOCOL),
    ("MQTT-3.3.2-14 response topic with wildcard", 5, 0x30, "0001 61 04 08 0001 23", PROTOCOL),
    ("MQTT-3.3.2.3.2 Payload Format 2", 5, 0x30, "0001 61 02 01 02", PROTOCOL),
    ("MQTT-3.3.2.3.8 subscription identifier 0", 5, 0x30, "0001 61 02 0b 00", PROTOCOL),
    ("MQTT-1.5.5 five bytes", 5, 0x30, "0001 61 06 0b ffffffff01", MALFORMED),
    ("MQTT-1.5.5-1 more bytes than needed", 5, 0x30, "0001 61 03 0b 8100", MALFORMED),
    ("MQTT-2.2.2.2 a property of CONNECT", 5, 0x30, "0001 61 03 21 0001", MALFORMED),
    ("MQTT-2.2.2.2 an unknown property", 5, 0x30, "0001 61 02 04 01", MALFORMED),
    ("MQTT-2.2.2.1 no property length", 5, 0x30, "0001 61", MALFORMED),
    ("MQTT-2.2.2.1 length beyond the packet", 5, 0x30, "0001 61 03 01 01", MALFORMED),
    ("MQTT-2.2.2.1 one byte cut by the properties' end", 5, 0x30, "0001 61 01 01 00", MALFORMED),
    ("MQTT-2.2.2.1 two bytes cut by the properties' end", 5, 0x30, "0001 61 02 23 00 01", MALFORMED),
    ("MQTT-2.2.2.1 four bytes cut by the properties' end", 5, 0x30, "0001 61 03 02 0000 0000 00", MALFORMED),
    ("MQTT-2.2.2.1 a text cut by the properties' end", 5, 0x30, "0001 61 04 03 0002 61 62", MALFORMED),
    ("MQTT-2.2.2.1 data cut by the properties' end", 5, 0x30, "0001 61 04 09 0002 61 62", MALFORMED),
    ("MQTT-1.5.7 half a pair", 5, 0x30, "0001 61 04 26 0001 61", MALFORMED),
    ("MQTT-1.5.7 U+0000 in a pair", 5, 0x30, "0001 61 07 26 0001 61 0001 00", MALFORMED),
    # Acknowledgements
    ("MQTT-3.4.2 too short", 5, 0x40, "00", MALFORMED),
    ("MQTT-2.2.1-5 packet identifier 0", 5, 0x40, "0000", MALFORMED),
    ("MQTT-3.4.2 too long before 5", 4, 0x40, "0001 00", MALFORMED),
    ("MQTT-3.4.2-1 a reason of others", 5, 0x40, "0001 92", PROTOCOL),
    ("MQTT-3.6.2-1 a reason of others", 5, 0x62, "0001 10", PROTOCOL),
    ("MQTT-3.4.2 bytes behind the properties", 5, 0x40, "0001 00 00 00", MALFORMED),
    ("MQTT-3.4.2.2.2 reason string twice", 5, 0x40, "0001 00 06 1f 0000 1f 0000", PROTOCOL),
    # SUBSCRIBE and its answer
    ("MQTT-3.8.3-2 no filter", 5, 0x82, "0001 00", PROTOCOL),
    ("MQTT-3.8.3-3 (3.1.1) no filter", 4, 0x82, "0001", PROTOCOL),
    ("MQTT-2.2.1-3 packet identifier 0", 4, 0x82, "0000 0001 61 00", MALFORMED),
    ("MQTT-3.8.2 empty", 5, 0x82, "", MALFORMED),
    ("MQTT-4.7.3-1 empty filter", 4, 0x82, "0001 0000 00", MALFORMED),
    ("MQTT-3.8.3 no options", 4, 0x82, "0001 0001 61", MALFORMED),
    ("MQTT-3-8.3-4 (3.1.1) QoS 3", 4, 0x82, "0001 0001 61 03", MALFORMED),
    ("MQTT-3-8.3-4 (3.1.1) reserved options", 4, 0x82, "0001 0001 61 04", MALFORMED),
    ("MQTT-3.8.3.1 QoS 3", 5, 0x82, "0001 00 0001 61 03", PROTOCOL),
    ("MQTT-3.8.3-5 reserved options", 5, 0x82, "0001 00 0001 61 40", MALFORMED),
    ("MQTT-3.8.3.1 Retain Handling 3", 5, 0x82, "0001 00 0001 61 30", PROTOCOL),
    ("MQTT-3.8.3-4 No Local on a shared subscription", 5, 0x82, "0001 00 000a 2473686172652f672f61 04", PROTOCOL),
    ("MQTT-3.8.2.1.2 identifier 0", 5, 0x82, "0001 02 0b00 0001 61 00", PROTOCOL),
    ("MQTT-3.8.2.1.2 identifier twice", 5, 0x82, "0001 04 0b01 0b01 0001 61 00", PROTOCOL),
    ("MQTT-3.9.3-2 (3.1.1) reserved code", 4, 0x90, "0001 03", MALFORMED),
    ("MQTT-3.9.3-2 a reason of others", 5, 0x90, "0001 00 11", PROTOCOL),
    ("MQTT-3.9.3 no codes", 5, 0x90, "0001 00", MALFORMED),
    # UNSUBSCRIBE and its answer
    ("MQTT-3.10.3-2 no filter", 5, 0xA2, "0001 00", PROTOCOL),
    ("MQTT-4.7.3-1 empty filter", 5, 0xA2, "0001 00 0000", MALFORMED),
    ("MQTT-3.10.3 cut in a filter", 4, 0xA2, "0001 0002 61", MALFORMED),
    ("MQTT-3.11.3 no codes", 5, 0xB0, "0001 00", MALFORMED),
    ("MQTT-3.11.3 codes before 5", 4, 0xB0, "0001 00", MALFORMED),
    ("MQTT-3.11.3-2 a reason of others", 5, 0xB0, "0001 00 01", PROTOCOL),
    # The rest
    ("MQTT-3.12 PINGREQ with a body", 4, 0xC0, "00", MALFORMED),
    ("MQTT-3.13 PINGRESP with a body", 5, 0xD0, "00", MALFORMED),
    ("MQTT-3.14 DISCONNECT with a body before 5", 4, 0xE0, "00", MALFORMED),
    ("MQTT-3.14.2-1 a reason of others", 5, 0xE0, "01", PROTOCOL),
    ("MQTT-3.14.2 bytes behind the properties", 5, 0xE0, "00 00 00", MALFORMED),
    ("MQTT-3.15.2-1 a reason of others", 5, 0xF0, "80 04 15 0001 61", PROTOCOL),
    ("MQTT-3.15.2.2.2 no method", 5, 0xF0, "18 00", PROTOCOL),
]


@pytest.mark.parametrize(
    ("version", "first", "body", "expected"), [pytest.param(*row[1:], id=f"{row[0]}, v{row[1]}") for row in BAD]
)
def test_what_the_standard_forbids_is_refused(
    version: int, first: int, body: str, expected: tuple[type[MqttError], Reason]
) -> None:
    """Each row names its clause (MQTT 5's where not said otherwise) and is legal but for it."""
    with pytest.raises(expected[0]) as caught:
        decode(first, bytes.fromhex(body), version)
    assert caught.value.reason is expected[1]


@pytest.mark.parametrize("carrier", [WILL, *PacketType])
def test_each_property_has_its_packets(carrier: int) -> None:
    """A property passes where the table allows it and nowhere else. MQTT 5, 2.2.2.2."""
    samples: Properties = {
        key: [("n", "v")] if key is Property.USER_PROPERTY else [1] if key is Property.SUBSCRIPTION_IDENTIFIER else 1
        for key, rule in RULES.items()
        if rule.kind.highest is not None or key is Property.USER_PROPERTY
    }
    samples |= dict.fromkeys((Property.CORRELATION_DATA, Property.AUTHENTICATION_DATA), b"b")
    samples |= {key: "t" for key in Property if key not in samples}
    for key, value in samples.items():
        wanted: Properties = {key: value}
        if key is Property.AUTHENTICATION_DATA:
            wanted[Property.AUTHENTICATION_METHOD] = "m"
        data = encode_properties(wanted)
        if key in ALLOWED[carrier]:
            assert decode_properties(data, 0, len(data), ALLOWED[carrier]) == (wanted, len(data))
        else:
            with pytest.raises(MalformedPacket):
                decode_properties(data, 0, len(data), ALLOWED[carrier])


def test_the_will_and_pings_carry_what_the_standard_says() -> None:
    """Counts from the table of MQTT 5, 2.2.2.2, so that a wrong row cannot agree with itself."""
    sizes = {carrier: len(found) for carrier, found in ALLOWED.items()}
    acks = dict.fromkeys((*range(4, 8), PacketType.SUBACK, PacketType.UNSUBACK), 2)
    assert sizes == {
        **acks,
        WILL: 7,
        PacketType.CONNECT: 9,
        PacketType.CONNACK: 17,
        PacketType.PUBLISH: 8,
        PacketType.SUBSCRIBE: 2,
        PacketType.UNSUBSCRIBE: 1,
        PacketType.PINGREQ: 0,
        PacketType.PINGRESP: 0,
        PacketType.DISCONNECT: 4,
        PacketType.AUTH: 4,
    }


def test_every_reason_has_a_packet() -> None:
    """No reason code of the standard is unreachable."""
    assert {code for codes in REASONS.values() for code in codes} == {int(reason) for reason in Reason}


@pytest.mark.parametrize("version", VERSIONS)
@given(data=st.data())
@settings(max_examples=400)
def test_broken_packets_raise_mqtt_errors_alone(version: int, data: st.DataObject) -> None:
    """And what is read all the same is a packet that can be written and read again."""
    first, body = data.draw(broken(version))
    try:
        packet = decode(first, body, version)
    except MqttError:
        return
    version = packet.version if isinstance(packet, Connect) else version
    assert decode(*framed(encode(packet, version)), version) == packet


@pytest.mark.parametrize("version", VERSIONS)
@given(first=st.integers(0, 255), body=st.binary(max_size=64))
@settings(max_examples=400)
@example(first=0x10, body=b"")
@example(first=0x10, body=b"\x00\x04MQTT\x05\xff\x00\x00\xff\xff\xff\xff\xff")
def test_noise_raises_mqtt_errors_alone(version: int, first: int, body: bytes) -> None:
    try:
        decode(first, body, version)
    except MqttError:
        pass


@pytest.mark.parametrize("version", VERSIONS)
@given(data=st.data())
def test_a_cut_packet_never_passes_for_the_whole(version: int, data: st.DataObject) -> None:
    """Every packet whose last field says its own length is refused when its end is missing."""
    kind = data.draw(
        st.sampled_from([PacketType.CONNECT, PacketType.SUBSCRIBE, PacketType.UNSUBSCRIBE, PacketType.CONNACK])
    )
    packet = data.draw(packets_of(kind, version))
    first, body = framed(encode(packet, version))
    cut = data.draw(st.integers(0, len(body) - 1))
    try:
        assert decode(first, body[:cut], version) != packet
    except MqttError:
        pass


def test_errors_never_repeat_what_was_sent() -> None:
    """A password in a malformed CONNECT, a payload or a text that is not UTF-8 stays out of the error and its chain as shown."""
    body = text("MQTT") + bytes((4, 0xC2, 0, 0)) + text("id") + text("user") + binary(b"geheim") + b"geheim"
    for first, data in ((0x10, body), (0x30, b"\x00\x08geheim\xff\xff"), (0x30, b"\x00\x08geheim/#geheim")):
        with pytest.raises(MqttError) as caught:
            decode(first, data, 4)
        assert "geheim" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_password_is_not_shown() -> None:
    assert "geheim" not in repr(Connect("a", username="u", password=b"geheim"))


def test_a_byte_order_mark_stays() -> None:
    """U+FEFF is a character like others [MQTT-1.5.4-3]."""
    assert decode(0x30, text("\ufeffa"), 4) == Publish("\ufeffa", b"")


@pytest.mark.parametrize(
    ("n", "wire"),
    [
        (0, "00"),
        (127, "7f"),
        (128, "8001"),
        (16_383, "ff7f"),
        (16_384, "808001"),
        (2_097_152, "80808001"),
        (268_435_455, "ffffff7f"),
    ],
)
def test_remaining_length(n: int, wire: str) -> None:
    """MQTT 5, 1.5.5, table 1-1."""
    assert remaining_length(n) == bytes.fromhex(wire)


@pytest.mark.parametrize("n", [-1, 268_435_456])
def test_remaining_length_has_bounds(n: int) -> None:
    with pytest.raises(ValueError, match="between"):
        remaining_length(n)


CONNECT = Connect("a", 5)
PUBLISH = Publish("a", b"", 1, packet_id=1)


@pytest.mark.parametrize(
    ("packet", "version"),
    [
        (replace(CONNECT, client_id="x" * 65_536), 5),
        (replace(CONNECT, client_id="\0"), 5),
        (replace(CONNECT, client_id="\ud800"), 5),
        (replace(CONNECT, keep_alive=65_536), 5),
        (replace(CONNECT, version=6), 5),
        (replace(CONNECT, version=4, password=b"p"), 4),
        (replace(CONNECT, will=Will("a", b"x" * 65_536)), 5),
        (replace(CONNECT, will=Will("a", b"", 3)), 5),
        (replace(CONNECT, properties={Property.RECEIVE_MAXIMUM: 0}), 5),
        (Connack(0x87), 4),
        (Connack(256), 5),
        (replace(PUBLISH, packet_id=None), 4),
        (replace(PUBLISH, packet_id=0), 4),
        (replace(PUBLISH, packet_id=65_536), 4),
        (replace(PUBLISH, qos=3), 4),
        (replace(PUBLISH, qos=-1), 4),
        (replace(PUBLISH, qos=0), 4),
        (Publish("a", b"", dup=True), 4),
        (replace(PUBLISH, properties={Property.TOPIC_ALIAS: 65_536}), 5),
        (replace(PUBLISH, properties={Property.MESSAGE_EXPIRY: -1}), 5),
        (replace(PUBLISH, properties={Property.SUBSCRIPTION_IDENTIFIER: [268_435_456]}), 5),
        (Ack(PacketType.PUBACK, 0), 4),
        (Subscribe(1, [SubscribeFilter("a", 3)]), 4),
        (Subscribe(1, [SubscribeFilter("a", retain_handling=3)]), 5),
        (Auth(), 4),
    ],
)
def test_what_has_no_encoding_is_a_value_error(packet: Packet, version: int) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the text is for people
        encode(packet, version)


def test_311_leaves_out_what_it_does_not_have() -> None:
    """A broker may give one packet to clients of both versions."""
    more: Properties = {Property.USER_PROPERTY: [("a", "b")]}
    assert encode(replace(PUBLISH, properties=more), 4) == encode(PUBLISH, 4)
    assert encode(Ack(PacketType.PUBACK, 1, Reason.NOT_AUTHORIZED, more), 4) == bytes.fromhex("40020001")
    assert encode(Disconnect(Reason.SERVER_BUSY, more), 4) == bytes.fromhex("e000")
    assert encode(Unsuback(1, b"\x11", more), 4) == bytes.fromhex("b0020001")


@pytest.mark.parametrize("version", VERSIONS)
@given(data=st.data())
def test_a_stream_may_be_cut_anywhere(version: int, data: st.DataObject) -> None:
    sent = data.draw(st.lists(packets(version).filter(lambda packet: not isinstance(packet, Connect)), max_size=5))
    wire = b"".join(encode(packet, version) for packet in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    stream = PacketStream(version)
    got: list[Packet] = []
    for start, stop in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        got += stream.feed(wire[start:stop])
        assert stream.waits is (len(b"".join(encode(packet, version) for packet in got)) < stop)
    assert got == sent
    assert not stream.waits


def test_a_stream_follows_the_connects_version() -> None:
    publish = Publish("a", b"", properties={Property.TOPIC_ALIAS: 1})
    assert PacketStream(4).feed(encode(CONNECT, 5) + encode(publish, 5)) == [CONNECT, publish]


def test_a_large_packet_is_refused_from_its_header() -> None:
    """Without waiting for it, and one of just the allowed size is not [MQTT-3.1.2-24]."""
    stream = PacketStream(4, max_size=130)
    whole = encode(Publish("a", b"x" * 124), 4)
    assert len(whole) == 129
    assert len(stream.feed(whole)) == 1
    assert stream.feed(b"\x30\x7f") == []
    stream = PacketStream(4, max_size=130)
    with pytest.raises(ProtocolError) as caught:
        stream.feed(b"\x30\x80\x01")
    assert caught.value.reason is Reason.PACKET_TOO_LARGE


@pytest.mark.parametrize(
    ("version", "head", "wrong"), [(4, "30ffffff", "ff"), (4, "c0808080", "80"), (5, "c080", "00"), (5, "c08080", "00")]
)
def test_a_bad_remaining_length_is_malformed(version: int, head: str, wrong: str) -> None:
    """More than four bytes (2.1.4), or in version 5 more than it takes [MQTT-1.5.5-1]; found at the byte that is wrong."""
    stream = PacketStream(version)
    assert stream.feed(bytes.fromhex(head)) == []
    with pytest.raises(MalformedPacket):
        stream.feed(bytes.fromhex(wrong))


def test_packets_do_not_share_their_properties() -> None:
    """Each has a dict of its own, however it was made."""
    made: list[Any] = [Disconnect(), Disconnect(), decode(0xE0, b"", 5), decode(0xE0, b"", 5)]
    assert len({id(packet.properties) for packet in made}) == len(made)
    assert {one.name for one in fields(Disconnect)} == {"reason", "properties"}
