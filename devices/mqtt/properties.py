"""MQTT's data types (MQTT 5, 1.5) and the properties of version 5 (2.2.2): one table says what each is and where it may stand.

Readers take the bytes, where to start and where to end, and return the value and where it ended. They raise MqttError alone.
"""

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any, Final, NamedTuple

from devices.mqtt.codes import MalformedPacket, PacketType, ProtocolError, Reason

__all__ = [
    "ALLOWED",
    "WILL",
    "Properties",
    "Property",
    "binary",
    "decode_properties",
    "encode_properties",
    "read_binary",
    "read_text",
    "remaining_length",
    "text",
]

MAX_VARIABLE: Final = 268_435_455
"""The largest variable byte integer. MQTT 5, 1.5.5."""


class Property(IntEnum):
    """The identifiers of MQTT 5, 2.2.2.2."""

    PAYLOAD_FORMAT = 1
    MESSAGE_EXPIRY = 2
    CONTENT_TYPE = 3
    RESPONSE_TOPIC = 8
    CORRELATION_DATA = 9
    SUBSCRIPTION_IDENTIFIER = 11
    SESSION_EXPIRY = 17
    ASSIGNED_CLIENT_ID = 18
    SERVER_KEEP_ALIVE = 19
    AUTHENTICATION_METHOD = 21
    AUTHENTICATION_DATA = 22
    REQUEST_PROBLEM_INFORMATION = 23
    WILL_DELAY = 24
    REQUEST_RESPONSE_INFORMATION = 25
    RESPONSE_INFORMATION = 26
    SERVER_REFERENCE = 28
    REASON_STRING = 31
    RECEIVE_MAXIMUM = 33
    TOPIC_ALIAS_MAXIMUM = 34
    TOPIC_ALIAS = 35
    MAXIMUM_QOS = 36
    RETAIN_AVAILABLE = 37
    USER_PROPERTY = 38
    MAXIMUM_PACKET_SIZE = 39
    WILDCARD_AVAILABLE = 40
    SUBSCRIPTION_IDENTIFIERS_AVAILABLE = 41
    SHARED_AVAILABLE = 42


Properties = dict[Property, Any]
"""int, str or bytes; USER_PROPERTY: list[tuple[str, str]] in order; SUBSCRIPTION_IDENTIFIER: list[int]. Durations: seconds."""


def remaining_length(n: int) -> bytes:
    """A variable byte integer: at most four bytes, as few as will do [MQTT-1.5.5-1]. Raises ValueError."""
    if 0 <= n < 128:
        return bytes((n,))
    if 0 < n < 16_384:  # most packets
        return bytes((n & 127 | 128, n >> 7))
    if not 0 <= n <= MAX_VARIABLE:
        raise ValueError("a variable byte integer lies between 0 and 268,435,455")
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def binary(value: bytes) -> bytes:
    """Two bytes of length, then the data. Raises ValueError beyond 65,535 bytes."""
    if len(value) > 65_535:
        raise ValueError("a text or binary field has at most 65,535 bytes")
    return len(value).to_bytes(2, "big") + value


def text(value: str) -> bytes:
    """Two bytes of length, then UTF-8. Raises ValueError: too long, U+0000 or half of a surrogate pair [MQTT-1.5.4-1]."""
    if "\0" in value:
        raise ValueError("a text must not contain U+0000")  # [MQTT-1.5.4-2]
    return binary(value.encode())


def _read_variable(data: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    for here in range(at, min(at + 4, end)):
        byte = data[here]
        value |= (byte & 127) << shift
        if byte < 128:
            if not byte and shift:
                raise MalformedPacket("a variable byte integer has more bytes than it needs")  # [MQTT-1.5.5-1]
            return value, here + 1
        shift += 7
    raise MalformedPacket("a variable byte integer does not end where it must")


def read_binary(data: bytes, at: int, end: int) -> tuple[bytes, int]:
    """Two bytes of length, then data."""
    start = at + 2
    if start > end or (stop := start + (data[at] << 8 | data[at + 1])) > end:
        raise MalformedPacket("a text or binary field is longer than its packet")
    return data[start:stop], stop


def read_text(data: bytes, at: int, end: int) -> tuple[str, int]:
    """Two bytes of length, then UTF-8 without surrogates and U+0000 [MQTT-1.5.4-1] [MQTT-1.5.4-2]."""
    start = at + 2
    if start > end or (stop := start + (data[at] << 8 | data[at + 1])) > end:
        raise MalformedPacket("a text or binary field is longer than its packet")
    try:
        value = str(data[start:stop], "utf-8")
    except UnicodeDecodeError:
        raise MalformedPacket("a text is not UTF-8") from None
    if "\0" in value:
        raise MalformedPacket("a text contains U+0000")
    return value, stop


def _read_byte(data: bytes, at: int, end: int) -> tuple[int, int]:
    if at >= end:
        raise MalformedPacket("a property is cut off")
    return data[at], at + 1


def _read_two(data: bytes, at: int, end: int) -> tuple[int, int]:
    if at + 2 > end:
        raise MalformedPacket("a property is cut off")
    return data[at] << 8 | data[at + 1], at + 2


def _read_four(data: bytes, at: int, end: int) -> tuple[int, int]:
    if at + 4 > end:
        raise MalformedPacket("a property is cut off")
    return int.from_bytes(data[at : at + 4], "big"), at + 4


def _read_pair(data: bytes, at: int, end: int) -> tuple[tuple[str, str], int]:
    name, at = read_text(data, at, end)
    value, at = read_text(data, at, end)
    return (name, value), at


class Kind(NamedTuple):
    """A data type: how it is read and written; the largest value of an integer, None for other types."""

    read: Callable[[bytes, int, int], tuple[Any, int]]
    write: Callable[[Any], bytes]
    highest: int | None = None


BYTE: Final = Kind(_read_byte, lambda value: value.to_bytes(1, "big"), 1)  # every one-byte property is 0 or 1
TWO: Final = Kind(_read_two, lambda value: value.to_bytes(2, "big"), 65_535)
FOUR: Final = Kind(_read_four, lambda value: value.to_bytes(4, "big"), 4_294_967_295)
VARIABLE: Final = Kind(_read_variable, remaining_length, MAX_VARIABLE)
TEXT: Final = Kind(read_text, text)
BINARY: Final = Kind(read_binary, binary)
PAIR: Final = Kind(_read_pair, lambda pair: text(pair[0]) + text(pair[1]))

WILL: Final = 0
"""Stands for the will's properties where others have a PacketType."""
P = PacketType
_MESSAGE: Final = (P.PUBLISH, WILL)
_OPENING: Final = (P.CONNECT, P.CONNACK)
_ACKS: Final = (P.PUBACK, P.PUBREC, P.PUBREL, P.PUBCOMP)
_ANSWERS: Final = (P.CONNACK, *_ACKS, P.SUBACK, P.UNSUBACK, P.DISCONNECT, P.AUTH)
_ALL: Final = (*_ANSWERS, P.CONNECT, WILL, P.PUBLISH, P.SUBSCRIBE, P.UNSUBSCRIBE)


class Rule(NamedTuple):
    """What a property is, which packets carry it, and the lowest value of an integer."""

    kind: Kind
    carriers: tuple[int, ...]
    lowest: int = 0


RULES: Final[dict[Property, Rule]] = {
    Property.PAYLOAD_FORMAT: Rule(BYTE, _MESSAGE),
    Property.MESSAGE_EXPIRY: Rule(FOUR, _MESSAGE),
    Property.CONTENT_TYPE: Rule(TEXT, _MESSAGE),
    Property.RESPONSE_TOPIC: Rule(TEXT, _MESSAGE),
    Property.CORRELATION_DATA: Rule(BINARY, _MESSAGE),
    Property.SUBSCRIPTION_IDENTIFIER: Rule(VARIABLE, (P.PUBLISH, P.SUBSCRIBE), 1),
    Property.SESSION_EXPIRY: Rule(FOUR, (*_OPENING, P.DISCONNECT)),
    Property.ASSIGNED_CLIENT_ID: Rule(TEXT, (P.CONNACK,)),
    Property.SERVER_KEEP_ALIVE: Rule(TWO, (P.CONNACK,)),
    Property.AUTHENTICATION_METHOD: Rule(TEXT, (*_OPENING, P.AUTH)),
    Property.AUTHENTICATION_DATA: Rule(BINARY, (*_OPENING, P.AUTH)),
    Property.REQUEST_PROBLEM_INFORMATION: Rule(BYTE, (P.CONNECT,)),
    Property.WILL_DELAY: Rule(FOUR, (WILL,)),
    Property.REQUEST_RESPONSE_INFORMATION: Rule(BYTE, (P.CONNECT,)),
    Property.RESPONSE_INFORMATION: Rule(TEXT, (P.CONNACK,)),
    Property.SERVER_REFERENCE: Rule(TEXT, (P.CONNACK, P.DISCONNECT)),
    Property.REASON_STRING: Rule(TEXT, _ANSWERS),
    Property.RECEIVE_MAXIMUM: Rule(TWO, _OPENING, 1),
    Property.TOPIC_ALIAS_MAXIMUM: Rule(TWO, _OPENING),
    Property.TOPIC_ALIAS: Rule(TWO, (P.PUBLISH,), 1),
    Property.MAXIMUM_QOS: Rule(BYTE, (P.CONNACK,)),
    Property.RETAIN_AVAILABLE: Rule(BYTE, (P.CONNACK,)),
    Property.USER_PROPERTY: Rule(PAIR, _ALL),
    Property.MAXIMUM_PACKET_SIZE: Rule(FOUR, _OPENING, 1),
    Property.WILDCARD_AVAILABLE: Rule(BYTE, (P.CONNACK,)),
    Property.SUBSCRIPTION_IDENTIFIERS_AVAILABLE: Rule(BYTE, (P.CONNACK,)),
    Property.SHARED_AVAILABLE: Rule(BYTE, (P.CONNACK,)),
}
ALLOWED: Final[dict[int, frozenset[Property]]] = {
    carrier: frozenset(key for key, rule in RULES.items() if carrier in rule.carriers)
    for carrier in (WILL, *PacketType)
}
"""The properties of each packet type, and of the will."""
REPEATED: Final = frozenset({Property.USER_PROPERTY, Property.SUBSCRIPTION_IDENTIFIER})
"""Kept as lists: a PUBLISH may carry several."""
# One dict look-up for each property read: making a Property of an int costs more than the rest of it.
_READ: Final = {int(key): (key, rule.kind.read, rule.lowest, rule.kind.highest) for key, rule in RULES.items()}


def encode_properties(properties: Mapping[Property, Any]) -> bytes:
    """The properties with their length in front. Raises ValueError for a value outside its range."""
    if not properties:
        return b"\0"
    parts: list[bytes] = []
    for key, value in properties.items():
        kind, _, lowest = RULES[key]
        for one in value if key in REPEATED else (value,):
            if kind.highest is not None and not lowest <= one <= kind.highest:
                raise ValueError(f"{Property(key).name} must lie between {lowest} and {kind.highest}")
            parts.append(bytes((key,)) + kind.write(one))
    body = b"".join(parts)
    return remaining_length(len(body)) + body


def decode_properties(data: bytes, at: int, end: int, allowed: frozenset[Property]) -> tuple[Properties, int]:
    """Reads the length at `at` and the properties behind it; returns them and where they end, `end` at most.

    Raises MalformedPacket for bytes that are no properties and those outside `allowed` (MQTT 5, 2.2.2.2), ProtocolError for a
    property given twice and for values the standard forbids.
    """
    if at < end and not data[at]:
        return {}, at + 1
    length, at = _read_variable(data, at, end)
    stop = at + length
    if stop > end:
        raise MalformedPacket("the properties are longer than their packet")
    properties: Properties = {}
    while at < stop:
        known = _READ.get(data[at])  # an identifier is a variable byte integer, but all that exist have one byte
        if known is None or known[0] not in allowed:
            raise MalformedPacket("a property that this packet cannot have")
        key, read, lowest, highest = known
        value, at = read(data, at + 1, stop)
        if highest is not None and not lowest <= value <= highest:
            reason = Reason.TOPIC_ALIAS_INVALID if key is Property.TOPIC_ALIAS else Reason.PROTOCOL_ERROR
            raise ProtocolError(f"{key.name} must lie between {lowest} and {highest}", reason)
        if key in REPEATED:
            properties.setdefault(key, []).append(value)
        elif key in properties:
            raise ProtocolError(f"{key.name} is given twice")
        else:
            properties[key] = value
    _check(properties)
    return properties, stop


def _check(properties: Properties) -> None:
    """The rules that look at more than one integer."""
    topic = properties.get(Property.RESPONSE_TOPIC)
    if topic is not None and (not topic or "#" in topic or "+" in topic):
        raise ProtocolError("RESPONSE_TOPIC must be a topic without wildcards")  # [MQTT-3.3.2-14] [MQTT-4.7.3-1]
    if Property.AUTHENTICATION_DATA in properties and Property.AUTHENTICATION_METHOD not in properties:
        raise ProtocolError("AUTHENTICATION_DATA without AUTHENTICATION_METHOD")  # MQTT 5, 3.1.2.11.10
