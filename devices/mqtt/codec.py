"""MQTT packets to bytes and back. `decode` raises MqttError and nothing else, whatever the bytes; `encode` raises ValueError.

Clauses are MQTT 5's where not said otherwise. MQTT 3.1 (version 3) is read and written like 3.1.1 (version 4) but for its name.
What 3.1.1 does not have (properties, most reasons, subscription options) is not written there.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from devices.mqtt.codes import MalformedPacket, PacketType, ProtocolError, Reason
from devices.mqtt.packets import (
    Ack,
    Auth,
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
from devices.mqtt.properties import (
    ALLOWED,
    WILL,
    Properties,
    Property,
    binary,
    decode_properties,
    encode_properties,
    read_binary,
    read_text,
    remaining_length,
    text,
)

__all__ = ["check_topic", "decode", "encode", "remaining_length", "text"]

_P = PacketType
_NAMES: Final = {3: "MQIsdp", 4: "MQTT", 5: "MQTT"}
"""The protocol name that belongs to each level [MQTT-3.1.2-1]."""
_SHARED: Final = "$share/"


def _reasons(codes: Iterable[int]) -> dict[int, Reason]:
    return {code: Reason(code) for code in codes}


_PUBLISHED: Final = _reasons((0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99))
_RELEASED: Final = _reasons((0x00, 0x92))
REASONS: Final[dict[int, dict[int, Reason]]] = {
    _P.CONNACK: _reasons(
        (0x00, *range(0x80, 0x8B), 0x8C, 0x90, 0x95, 0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F),
    ),
    _P.PUBACK: _PUBLISHED,
    _P.PUBREC: _PUBLISHED,
    _P.PUBREL: _RELEASED,
    _P.PUBCOMP: _RELEASED,
    _P.SUBACK: _reasons((0, 1, 2, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2)),
    _P.UNSUBACK: _reasons((0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91)),
    _P.DISCONNECT: _reasons(
        (0x00, 0x04, *range(0x80, 0x84), 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, *range(0x93, 0xA3)),
    ),
    _P.AUTH: _reasons((0x00, 0x18, 0x19)),
}
"""The reasons each packet may carry. MQTT 5, 2.4."""
SUBACK_311: Final = frozenset((0, 1, 2, 0x80))
"""3.1.1: [MQTT-3.9.3-2]."""


def _reason(kind: PacketType, code: int) -> Reason:
    try:
        return REASONS[kind][code]
    except KeyError:
        raise ProtocolError(f"{kind.name} cannot carry this reason code") from None


def _identifier(body: bytes) -> int:
    if len(body) < 2:
        raise MalformedPacket("the packet ends before its packet identifier")
    value = body[0] << 8 | body[1]
    if not value:
        raise MalformedPacket("the packet identifier is 0")  # [MQTT-2.2.1-3] [MQTT-2.2.1-4]
    return value


def check_topic(topic: str, version: int) -> None:
    """Raises for a topic name that is empty [MQTT-4.7.3-1] or has wildcards [MQTT-3.3.2-2]."""
    if topic and "#" not in topic and "+" not in topic:
        return
    problem = "a topic name must not be empty or contain wildcards"
    if version == 5:
        raise ProtocolError(problem, Reason.TOPIC_NAME_INVALID)
    raise MalformedPacket(problem)


# Decoding. Each reader gets the first byte, whose reserved bits `decode` has checked, the body and the version.


def _read_connect(_: int, body: bytes, __: int) -> Connect:
    end = len(body)
    name, at = read_text(body, 0, end)
    if at >= end:
        raise MalformedPacket("CONNECT ends before its protocol level")
    version = body[at]
    if _NAMES.get(version) != name:
        raise ProtocolError("not MQTT 3.1, 3.1.1 or 5", Reason.UNSUPPORTED_PROTOCOL_VERSION)  # [MQTT-3.1.2-2]
    if at + 4 > end:
        raise MalformedPacket("CONNECT ends before its keep-alive")
    flags, keep_alive = body[at + 1], body[at + 2] << 8 | body[at + 3]
    _check_flags(flags, version)
    properties: Properties = {}
    at += 4
    if version == 5:
        properties, at = decode_properties(body, at, end, ALLOWED[_P.CONNECT])
    client_id, at = read_text(body, at, end)
    packet = Connect(client_id, version, bool(flags & 2), keep_alive, properties=properties)
    if flags & 4:
        packet.will, at = _read_will(flags, body, at, version)
    if flags & 0x80:
        packet.username, at = read_text(body, at, end)
    if flags & 0x40:
        packet.password, at = read_binary(body, at, end)
    if at != end:
        raise MalformedPacket("CONNECT goes on behind its last field")
    return packet


def _check_flags(flags: int, version: int) -> None:
    if flags & 1:
        raise MalformedPacket("CONNECT sets its reserved flag")  # [MQTT-3.1.2-3]
    if flags & 0x18 == 0x18:
        raise MalformedPacket("the will has QoS 3")  # [MQTT-3.1.2-12]
    if not flags & 4 and flags & 0x38:
        raise MalformedPacket("CONNECT has a will's QoS or retain flag but no will")  # [MQTT-3.1.2-11] [MQTT-3.1.2-13]
    if version < 5 and flags & 0xC0 == 0x40:
        raise MalformedPacket("CONNECT has a password but no user name")  # 3.1.1: [MQTT-3.1.2-22]


def _read_will(flags: int, body: bytes, at: int, version: int) -> tuple[Will, int]:
    end = len(body)
    properties: Properties = {}
    if version == 5:
        properties, at = decode_properties(body, at, end, ALLOWED[WILL])
    topic, at = read_text(body, at, end)
    check_topic(topic, version)
    payload, at = read_binary(body, at, end)
    return Will(topic, payload, flags >> 3 & 3, bool(flags & 0x20), properties), at


def _read_connack(_: int, body: bytes, version: int) -> Connack:
    if len(body) < 2:
        raise MalformedPacket("CONNACK is too short")
    flags, code = body[0], body[1]
    if flags > 1:
        raise MalformedPacket("CONNACK sets reserved flags")  # [MQTT-3.2.2-1]
    properties: Properties = {}
    if version == 5:
        code = _reason(_P.CONNACK, code)
        properties = _read_rest(_P.CONNACK, body, 2)
    elif len(body) > 2:
        raise MalformedPacket("CONNACK is too long")
    elif code > 5:
        raise MalformedPacket("CONNACK has a reserved return code")  # 3.1.1, 3.2.2.3
    if flags and code:
        raise ProtocolError("CONNACK refuses a session and says it is present")  # [MQTT-3.2.2-6]
    return Connack(code, bool(flags), properties)


def _read_publish(first: int, body: bytes, version: int) -> Publish:
    qos = first >> 1 & 3
    if qos == 3:
        raise MalformedPacket("PUBLISH has QoS 3")  # [MQTT-3.3.1-4]
    if first & 8 and not qos:
        raise MalformedPacket("PUBLISH has QoS 0 and the DUP flag")  # [MQTT-3.3.1-2]
    end = len(body)
    topic, at = read_text(body, 0, end)
    packet_id: int | None = None
    if qos:
        packet_id = _identifier(body[at : at + 2])
        at += 2
    properties: Properties = {}
    if version == 5:
        properties, at = decode_properties(body, at, end, ALLOWED[_P.PUBLISH])
    if not topic and version == 5:
        if Property.TOPIC_ALIAS not in properties:
            raise ProtocolError("PUBLISH has neither a topic nor a topic alias")  # 3.3.2.1
    else:
        check_topic(topic, version)
    return Publish(topic, body[at:], qos, first & 1 == 1, first & 8 == 8, packet_id, properties)


def _read_ack(first: int, body: bytes, version: int) -> Ack:
    kind = PacketType(first >> 4)
    packet_id = _identifier(body)
    if len(body) == 2:
        return Ack(kind, packet_id)
    if version < 5:
        raise MalformedPacket(f"{kind.name} is too long")
    reason = _reason(kind, body[2])
    # "If the Remaining Length is less than 4 there is no Property Length": 3.4.2.2.1, 3.5.2.2.1, 3.6.2.2.1, 3.7.2.2.1
    return Ack(kind, packet_id, reason, _read_rest(kind, body, 3) if len(body) > 3 else {})


def _read_rest(kind: PacketType, body: bytes, at: int) -> Properties:
    """The properties that fill the rest of a packet."""
    properties, at = decode_properties(body, at, len(body), ALLOWED[kind])
    if at != len(body):
        raise MalformedPacket(f"{kind.name} goes on behind its properties")
    return properties


def _read_head(kind: PacketType, body: bytes, version: int) -> tuple[int, Properties, int]:
    """The packet identifier and, in version 5, the properties; and where they end."""
    packet_id = _identifier(body)
    if version < 5:
        return packet_id, {}, 2
    properties, at = decode_properties(body, 2, len(body), ALLOWED[kind])
    return packet_id, properties, at


def _read_filter(body: bytes, at: int) -> tuple[str, int]:
    value, at = read_text(body, at, len(body))
    if not value:
        raise MalformedPacket("a topic filter is empty")  # [MQTT-4.7.3-1]
    return value, at


def _read_subscribe(_: int, body: bytes, version: int) -> Subscribe:
    packet_id, properties, at = _read_head(_P.SUBSCRIBE, body, version)
    if len(properties.get(Property.SUBSCRIPTION_IDENTIFIER, ())) > 1:
        raise ProtocolError("SUBSCRIPTION_IDENTIFIER is given twice")  # 3.8.2.1.2
    filters: list[SubscribeFilter] = []
    end = len(body)
    while at < end:
        name, at = _read_filter(body, at)
        if at == end:
            raise MalformedPacket("SUBSCRIBE ends before its last options")
        filters.append(_read_options(name, body[at], version))
        at += 1
    if not filters:
        raise ProtocolError("SUBSCRIBE names no topic filter")  # [MQTT-3.8.3-2]; 3.1.1: [MQTT-3.8.3-3]
    return Subscribe(packet_id, filters, properties)


def _read_options(name: str, options: int, version: int) -> SubscribeFilter:
    qos = options & 3
    if qos == 3:
        if version == 5:
            raise ProtocolError("a subscription has QoS 3")  # 3.8.3.1
        raise MalformedPacket("a subscription has QoS 3")  # 3.1.1: [MQTT-3-8.3-4]
    if options & (0xC0 if version == 5 else 0xFC):
        raise MalformedPacket("a subscription sets reserved options")  # [MQTT-3.8.3-5]
    handling = options >> 4 & 3
    if handling == 3:
        raise ProtocolError("a subscription has Retain Handling 3")  # 3.8.3.1
    if options & 4 and name.startswith(_SHARED):
        raise ProtocolError("a shared subscription sets No Local")  # [MQTT-3.8.3-4]
    return SubscribeFilter(name, qos, options & 4 == 4, options & 8 == 8, handling)


def _read_suback(_: int, body: bytes, version: int) -> Suback:
    packet_id, properties, at = _read_head(_P.SUBACK, body, version)
    codes = body[at:]
    if not codes:
        raise MalformedPacket("SUBACK has no codes")
    if version < 5 and not SUBACK_311.issuperset(codes):
        raise MalformedPacket("SUBACK has a reserved return code")  # 3.1.1: [MQTT-3.9.3-2]
    if version == 5:
        for code in codes:
            _reason(_P.SUBACK, code)
    return Suback(packet_id, codes, properties)


def _read_unsubscribe(_: int, body: bytes, version: int) -> Unsubscribe:
    packet_id, properties, at = _read_head(_P.UNSUBSCRIBE, body, version)
    filters: list[str] = []
    while at < len(body):
        name, at = _read_filter(body, at)
        filters.append(name)
    if not filters:
        raise ProtocolError("UNSUBSCRIBE names no topic filter")  # [MQTT-3.10.3-2]
    return Unsubscribe(packet_id, filters, properties)


def _read_unsuback(_: int, body: bytes, version: int) -> Unsuback:
    packet_id, properties, at = _read_head(_P.UNSUBACK, body, version)
    codes = body[at:]
    if version < 5:
        if codes:
            raise MalformedPacket("UNSUBACK is too long")
    elif not codes:
        raise MalformedPacket("UNSUBACK has no codes")
    for code in codes:
        _reason(_P.UNSUBACK, code)
    return Unsuback(packet_id, codes, properties)


def _read_pingreq(_: int, body: bytes, __: int) -> Pingreq:
    if body:
        raise MalformedPacket("PINGREQ is too long")
    return Pingreq()


def _read_pingresp(_: int, body: bytes, __: int) -> Pingresp:
    if body:
        raise MalformedPacket("PINGRESP is too long")
    return Pingresp()


def _read_disconnect(_: int, body: bytes, version: int) -> Disconnect:
    if not body:
        return Disconnect()
    if version < 5:
        raise MalformedPacket("DISCONNECT is too long")
    reason = _reason(_P.DISCONNECT, body[0])
    # "If the Remaining Length is less than 2, a value of 0 is used" for the length of the properties: 3.14.2.2.1
    return Disconnect(reason, _read_rest(_P.DISCONNECT, body, 1) if len(body) > 1 else {})


def _read_auth(_: int, body: bytes, version: int) -> Auth:
    if version < 5:
        raise MalformedPacket("AUTH is reserved in this version")
    if not body:
        return Auth()
    reason = _reason(_P.AUTH, body[0])
    properties = _read_rest(_P.AUTH, body, 1)
    if Property.AUTHENTICATION_METHOD not in properties:
        raise ProtocolError("AUTH without AUTHENTICATION_METHOD")  # 3.15.2.2.2
    return Auth(reason, properties)


_READERS: Final[dict[int, Callable[[int, bytes, int], Packet]]] = {
    _P.CONNECT: _read_connect,
    _P.CONNACK: _read_connack,
    _P.PUBLISH: _read_publish,
    _P.PUBACK: _read_ack,
    _P.PUBREC: _read_ack,
    _P.PUBREL: _read_ack,
    _P.PUBCOMP: _read_ack,
    _P.SUBSCRIBE: _read_subscribe,
    _P.SUBACK: _read_suback,
    _P.UNSUBSCRIBE: _read_unsubscribe,
    _P.UNSUBACK: _read_unsuback,
    _P.PINGREQ: _read_pingreq,
    _P.PINGRESP: _read_pingresp,
    _P.DISCONNECT: _read_disconnect,
    _P.AUTH: _read_auth,
}
_FIRST: Final = {
    kind: kind << 4 | (2 if kind in (_P.PUBREL, _P.SUBSCRIBE, _P.UNSUBSCRIBE) else 0) for kind in PacketType
}
"""The first byte of each type with its prescribed flags [MQTT-2.1.3-1]; PUBLISH has flags of its own."""
_BY_FIRST: Final = {
    first: _READERS[kind]
    for kind in PacketType
    for first in (range(0x30, 0x40) if kind is _P.PUBLISH else (_FIRST[kind],))
}


def decode(first: int, body: bytes, version: int) -> Packet:
    """Reads one packet.

    Args:
        first: the fixed header's first byte; body: all behind the remaining length.
        version: of the connection: 3, 4 or 5. A CONNECT brings its own.

    Raises:
        MalformedPacket, ProtocolError: with the reason to send; an unknown protocol is UNSUPPORTED_PROTOCOL_VERSION.
    """
    reader = _BY_FIRST.get(first)
    if reader is None:
        raise MalformedPacket("the fixed header has a reserved type or reserved flags")
    return reader(first, body, version)


# Encoding. Each writer returns the first byte and the parts of the body.


def _two(value: int | None) -> bytes:
    if value is None or not 0 < value < 65_536:
        raise ValueError("a packet identifier lies between 1 and 65,535")
    return value.to_bytes(2, "big")


def _qos(value: int) -> int:
    if not 0 <= value <= 2:
        raise ValueError("the QoS is 0, 1 or 2")
    return value


def _block(properties: Properties, version: int) -> bytes:
    return encode_properties(properties) if version == 5 else b""


def _write_connect(packet: Connect, _: int) -> tuple[int, tuple[bytes, ...]]:
    version, will = packet.version, packet.will
    if version not in _NAMES:
        raise ValueError("the version is 3, 4 or 5")
    if not 0 <= packet.keep_alive < 65_536:
        raise ValueError("the keep-alive lies between 0 and 65,535 seconds")
    if version < 5 and packet.password is not None and packet.username is None:
        raise ValueError("a password needs a user name before MQTT 5")  # 3.1.1: [MQTT-3.1.2-22]
    flags = packet.clean << 1
    tail: list[bytes] = [text(packet.client_id)]
    if will is not None:
        flags |= 4 | _qos(will.qos) << 3 | will.retain << 5
        tail += (_block(will.properties, version), text(will.topic), binary(will.payload))
    if packet.username is not None:
        flags |= 0x80
        tail.append(text(packet.username))
    if packet.password is not None:
        flags |= 0x40
        tail.append(binary(packet.password))
    head = text(_NAMES[version]) + bytes((version, flags)) + packet.keep_alive.to_bytes(2, "big")
    return 0x10, (head, _block(packet.properties, version), *tail)


def _write_connack(packet: Connack, version: int) -> tuple[int, tuple[bytes, ...]]:
    if version < 5 and packet.code > 5:
        raise ValueError("a return code lies between 0 and 5 before MQTT 5")
    return 0x20, (bytes((packet.session_present, packet.code)), _block(packet.properties, version))


def _write_publish(packet: Publish, version: int) -> tuple[int, tuple[bytes, ...]]:
    qos = _qos(packet.qos)
    if not qos and (packet.dup or packet.packet_id is not None):
        raise ValueError("QoS 0 has no packet identifier and no DUP flag")  # [MQTT-2.2.1-2] [MQTT-3.3.1-2]
    first = 0x30 | packet.dup << 3 | qos << 1 | packet.retain
    packet_id = _two(packet.packet_id) if qos else b""
    return first, (text(packet.topic), packet_id, _block(packet.properties, version), packet.payload)


def _write_ack(packet: Ack, version: int) -> tuple[int, tuple[bytes, ...]]:
    first, packet_id = _FIRST[packet.type], _two(packet.packet_id)
    if version < 5 or not (packet.reason or packet.properties):
        return first, (packet_id,)
    return first, (
        packet_id,
        bytes((packet.reason,)),
        encode_properties(packet.properties) if packet.properties else b"",
    )


def _write_subscribe(packet: Subscribe, version: int) -> tuple[int, tuple[bytes, ...]]:
    parts = [_two(packet.packet_id), _block(packet.properties, version)]
    for one in packet.filters:
        options = _qos(one.qos)
        if version == 5:
            if not 0 <= one.retain_handling <= 2:
                raise ValueError("the retain handling is 0, 1 or 2")
            options |= one.no_local << 2 | one.retain_as_published << 3 | one.retain_handling << 4
        parts += (text(one.filter), bytes((options,)))
    return 0x82, tuple(parts)


def _write_suback(packet: Suback, version: int) -> tuple[int, tuple[bytes, ...]]:
    return 0x90, (_two(packet.packet_id), _block(packet.properties, version), packet.codes)


def _write_unsubscribe(packet: Unsubscribe, version: int) -> tuple[int, tuple[bytes, ...]]:
    head = _two(packet.packet_id), _block(packet.properties, version)
    return 0xA2, (*head, *map(text, packet.filters))


def _write_unsuback(packet: Unsuback, version: int) -> tuple[int, tuple[bytes, ...]]:
    return 0xB0, (_two(packet.packet_id), _block(packet.properties, version), packet.codes if version == 5 else b"")


def _write_pingreq(_: Pingreq, __: int) -> tuple[int, tuple[bytes, ...]]:
    return 0xC0, ()


def _write_pingresp(_: Pingresp, __: int) -> tuple[int, tuple[bytes, ...]]:
    return 0xD0, ()


def _write_disconnect(packet: Disconnect, version: int) -> tuple[int, tuple[bytes, ...]]:
    if version < 5 or not (packet.reason or packet.properties):
        return 0xE0, ()
    return 0xE0, (bytes((packet.reason,)), encode_properties(packet.properties) if packet.properties else b"")


def _write_auth(packet: Auth, version: int) -> tuple[int, tuple[bytes, ...]]:
    if version < 5:
        raise ValueError("AUTH exists since MQTT 5")
    if not (packet.reason or packet.properties):
        return 0xF0, ()
    return 0xF0, (bytes((packet.reason,)), encode_properties(packet.properties))


_WRITERS: Final[dict[type[Packet], Callable[[Any, int], tuple[int, tuple[bytes, ...]]]]] = {
    Connect: _write_connect,
    Connack: _write_connack,
    Publish: _write_publish,
    Ack: _write_ack,
    Subscribe: _write_subscribe,
    Suback: _write_suback,
    Unsubscribe: _write_unsubscribe,
    Unsuback: _write_unsuback,
    Pingreq: _write_pingreq,
    Pingresp: _write_pingresp,
    Disconnect: _write_disconnect,
    Auth: _write_auth,
}


def encode(packet: Packet, version: int) -> bytes:
    """Writes one packet for a connection of this version (3, 4 or 5; a CONNECT brings its own).

    Raises ValueError for what has no encoding: a text too long or with U+0000, a number outside its range. Whether the standard
    lets this packet be sent (a topic with wildcards, a property of another packet) is the caller's to know.
    """
    first, parts = _WRITERS[type(packet)](packet, version)
    body = b"".join(parts)
    return bytes((first,)) + remaining_length(len(body)) + body
