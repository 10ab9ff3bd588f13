"""Hypothesis strategies for every MQTT packet that may be sent, in 3.1.1 (version 4) and 5; and for broken ones."""

from typing import Any

from hypothesis import strategies as st

from devices.mqtt.codec import REASONS, encode
from devices.mqtt.codes import PacketType, Reason
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
from devices.mqtt.properties import ALLOWED, BINARY, PAIR, REPEATED, RULES, WILL, Properties, Property

__all__ = ["ACKS", "VERSIONS", "broken", "filters", "framed", "packets", "packets_of", "properties", "texts", "topics"]

VERSIONS = (4, 5)
ACKS = (PacketType.PUBACK, PacketType.PUBREC, PacketType.PUBREL, PacketType.PUBCOMP)

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
topics = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0#+"), min_size=1, max_size=30)
payloads = st.binary(max_size=300)
identifiers = st.integers(1, 65_535)
qualities = st.integers(0, 2)
levels = st.sampled_from(["a", "b", "stöße", "+", "", "$x"])
filters = st.builds(
    lambda parts, rest: "/".join([*parts, *rest]),
    st.lists(levels, min_size=1, max_size=4),
    st.sampled_from([[], ["#"]]),
).filter(bool)


def value_of(key: Property) -> st.SearchStrategy[Any]:
    """What the property may hold."""
    kind, _, lowest = RULES[key]
    if kind.highest is not None:
        one: st.SearchStrategy[Any] = st.integers(lowest, kind.highest)
    elif kind is PAIR:
        one = st.tuples(texts, texts)
    else:
        one = st.binary(max_size=30) if kind is BINARY else topics if key is Property.RESPONSE_TOPIC else texts
    return st.lists(one, min_size=1, max_size=3) if key in REPEATED else one


def properties(carrier: int, version: int, need: frozenset[Property] = frozenset()) -> st.SearchStrategy[Properties]:
    """Properties that this packet type (or WILL) may carry, those of `need` always; none before version 5."""
    if version < 5:
        return st.just({})

    def legal(found: Properties) -> Properties:
        if Property.AUTHENTICATION_METHOD not in found:
            found.pop(Property.AUTHENTICATION_DATA, None)
        if carrier == PacketType.SUBSCRIBE and Property.SUBSCRIPTION_IDENTIFIER in found:
            del found[Property.SUBSCRIPTION_IDENTIFIER][1:]
        return found

    def chosen(keys: set[Property]) -> st.SearchStrategy[Properties]:
        return st.fixed_dictionaries({key: value_of(key) for key in sorted(keys | need)})

    return st.sets(st.sampled_from(sorted(ALLOWED[carrier])), max_size=5).flatmap(chosen).map(legal)


def connects(version: int) -> st.SearchStrategy[Connect]:
    """CONNECT, with and without will and credentials; 4 gives 3.1 too."""
    will = st.builds(Will, topics, payloads, qualities, st.booleans(), properties(WILL, version))
    return st.builds(
        Connect,
        client_id=texts,
        version=st.just(5) if version == 5 else st.sampled_from([3, 4]),
        clean=st.booleans(),
        keep_alive=st.integers(0, 65_535),
        username=st.none() | texts,
        password=st.none() | st.binary(max_size=30),
        will=st.none() | will,
        properties=properties(PacketType.CONNECT, version),
    ).filter(lambda packet: version == 5 or packet.username is not None or packet.password is None)


def connacks(version: int) -> st.SearchStrategy[Connack]:
    """CONNACK; a session is present only where the code is 0."""
    codes: st.SearchStrategy[int] = (
        st.integers(0, 5) if version < 5 else st.sampled_from([*REASONS[PacketType.CONNACK]])
    )
    return st.builds(
        lambda code, present, rest: Connack(code, present and not code, rest),
        codes,
        st.booleans(),
        properties(PacketType.CONNACK, version),
    )


def publishes(version: int) -> st.SearchStrategy[Publish]:
    """PUBLISH; an empty topic with an alias in version 5."""

    def make(
        topic: str, payload: bytes, qos: int, flags: tuple[bool, bool], packet_id: int, rest: Properties
    ) -> Publish:
        if Property.TOPIC_ALIAS in rest and len(topic) % 2:
            topic = ""
        return Publish(topic, payload, qos, flags[0], flags[1] and qos > 0, packet_id if qos else None, rest)

    flags = st.tuples(st.booleans(), st.booleans())
    return st.builds(make, topics, payloads, qualities, flags, identifiers, properties(PacketType.PUBLISH, version))


def acks(kind: PacketType, version: int) -> st.SearchStrategy[Ack]:
    """PUBACK, PUBREC, PUBREL or PUBCOMP."""
    reasons = st.sampled_from([*REASONS[kind].values()] if version == 5 else [Reason.SUCCESS])
    return st.builds(Ack, st.just(kind), identifiers, reasons, properties(kind, version))


def subscribes(version: int) -> st.SearchStrategy[Subscribe]:
    """SUBSCRIBE with one to four filters."""
    flag = st.booleans() if version == 5 else st.just(False)
    handling = st.integers(0, 2) if version == 5 else st.just(0)
    one = st.builds(SubscribeFilter, filters, qualities, flag, flag, handling)
    several = st.lists(one, min_size=1, max_size=4)
    return st.builds(Subscribe, identifiers, several, properties(PacketType.SUBSCRIBE, version))


def codes(kind: PacketType) -> st.SearchStrategy[bytes]:
    """One to four codes of this packet."""
    return st.lists(st.sampled_from([*REASONS[kind]]), min_size=1, max_size=4).map(bytes)


def subacks(version: int) -> st.SearchStrategy[Suback]:
    """SUBACK."""
    old = st.lists(st.sampled_from([0, 1, 2, 0x80]), min_size=1, max_size=4).map(bytes)
    rest = properties(PacketType.SUBACK, version)
    return st.builds(Suback, identifiers, codes(PacketType.SUBACK) if version == 5 else old, rest)


def unsubacks(version: int) -> st.SearchStrategy[Unsuback]:
    """UNSUBACK; without codes before version 5."""
    some = codes(PacketType.UNSUBACK) if version == 5 else st.just(b"")
    return st.builds(Unsuback, identifiers, some, properties(PacketType.UNSUBACK, version))


def disconnects(version: int) -> st.SearchStrategy[Disconnect]:
    """DISCONNECT; nothing in it before version 5."""
    reasons = st.sampled_from([*REASONS[PacketType.DISCONNECT].values()] if version == 5 else [Reason.SUCCESS])
    return st.builds(Disconnect, reasons, properties(PacketType.DISCONNECT, version))


def auths() -> st.SearchStrategy[Auth]:
    """AUTH: the empty one, or with its method."""
    need = frozenset({Property.AUTHENTICATION_METHOD})
    reasons = st.sampled_from([*REASONS[PacketType.AUTH].values()])
    return st.just(Auth()) | st.builds(Auth, reasons, properties(PacketType.AUTH, 5, need))


def packets_of(kind: PacketType, version: int) -> st.SearchStrategy[Packet]:
    """Packets of one type."""
    if kind in ACKS:
        return acks(kind, version)
    several = st.lists(filters, min_size=1, max_size=4)
    table: dict[PacketType, st.SearchStrategy[Packet]] = {
        PacketType.CONNECT: connects(version),
        PacketType.CONNACK: connacks(version),
        PacketType.PUBLISH: publishes(version),
        PacketType.SUBSCRIBE: subscribes(version),
        PacketType.SUBACK: subacks(version),
        PacketType.UNSUBSCRIBE: st.builds(
            Unsubscribe, identifiers, several, properties(PacketType.UNSUBSCRIBE, version)
        ),
        PacketType.UNSUBACK: unsubacks(version),
        PacketType.PINGREQ: st.just(Pingreq()),
        PacketType.PINGRESP: st.just(Pingresp()),
        PacketType.DISCONNECT: disconnects(version),
        PacketType.AUTH: auths(),
    }
    return table[kind]


def packets(version: int) -> st.SearchStrategy[Packet]:
    """Packets of every type that the version has."""
    kinds = [kind for kind in PacketType if version == 5 or kind is not PacketType.AUTH]
    return st.sampled_from(kinds).flatmap(lambda kind: packets_of(kind, version))


def framed(data: bytes) -> tuple[int, bytes]:
    """The first byte and the body of one encoded packet."""
    at = 1
    while data[at] > 127:
        at += 1
    return data[0], data[at + 1 :]


@st.composite
def broken(draw: st.DrawFn, version: int) -> tuple[int, bytes]:
    """The first byte and the body of a packet with up to four bytes changed, put in, taken out or cut off: most are malformed."""
    first, body = framed(encode(draw(packets(version)), version))
    damaged = bytearray(body)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(damaged)))
        how = draw(st.sampled_from(["change", "insert", "remove", "cut"]))
        if how == "cut":
            del damaged[at:]
        elif how == "insert":
            damaged.insert(at, draw(st.integers(0, 255)))
        elif at < len(damaged) and how == "change":
            damaged[at] = draw(st.integers(0, 255))
        elif at < len(damaged):
            del damaged[at]
    if draw(st.integers(0, 9)) == 0:
        first = draw(st.integers(0, 255))
    return first, bytes(damaged)
