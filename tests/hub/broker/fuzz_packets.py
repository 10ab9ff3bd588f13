"""Random packets and what damages them, for `fuzz`: fast, from a seed, every type in both versions."""

from random import Random
from typing import Any, Final, TypeVar

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

__all__ = ["ACKS", "CLIENT_IDS", "Pool", "damage", "pick"]

T = TypeVar("T")

ACKS: Final = (PacketType.PUBACK, PacketType.PUBREC, PacketType.PUBREL, PacketType.PUBCOMP)
CLIENT_IDS: Final = ("", "c0", "c0", "c1", "c1", "c2", "ö")
_LEVELS: Final = ("a", "a", "b", "b", "c", "", "$x", "é€")
_TOPICS: Final = ("a", "a", "a/b", "a/b", "a/b", "a/b/c", "a/b/c", "b", "wait/a")
_BAD_TOPICS: Final = ("$SYS/x", "denied/a", "a/b/c/a/b/c", "a/b/c/a/b/c", "fail/a")
_FILTERS: Final = (
    *("a", "a", "a/b", "a/b", "#", "#", "+", "a/#", "a/#", "a/+", "a/b/#", "+/b", "a/b/c", "wait/#", "+/+"),
    *("$share/g/a/#", "$share/g/a/b", "$share/g/a/b", "$share/h/+/b", "$share/g/#", "$share/h/a"),
)
_BAD_FILTERS: Final = (
    *("denied/#", "$SYS/#", "$share/g", "$share//a", "$share/+/a", "a#", "a/#/b", "/", "a/b/c/a/b/c/#"),
    *("$share/g/$share/h/a", "fail/a", "$share/g/", "$share/g/$SYS/#", "a+/b"),
)
_USERS: Final = (None, None, None, None, None, None, None, None, None, "u", "u", "wait", "wait", "no", "brief", "fail")
_TEXTS: Final = ("", "x", "a/b", "text/plain", "ü" * 9, "y" * 90)


def pick(rng: Random, some: "list[T] | tuple[T, ...]") -> T:
    """One of some; quicker than `choice`."""
    return some[int(rng.random() * len(some))]


def topic(rng: Random) -> str:
    """A topic: most are few, so that clients meet."""
    chance = rng.random()
    if chance < 0.93:
        return pick(rng, _TOPICS if chance < 0.9 else _BAD_TOPICS)
    return "/".join(pick(rng, _LEVELS) for _ in range(rng.randrange(1, 5))) or "a"


def topic_filter(rng: Random) -> str:
    """A filter, good or bad."""
    chance = rng.random()
    if chance < 0.95:
        return pick(rng, _FILTERS if chance < 0.85 else _BAD_FILTERS)
    return "/".join(pick(rng, (*_LEVELS, "+", "+", "#")) for _ in range(rng.randrange(1, 5))) or "a"


def payload(rng: Random) -> bytes:
    """Mostly short; now and then none, or one that fills a small buffer."""
    chance = rng.random()
    if chance < 0.15:
        return b""
    return rng.randbytes(rng.randrange(1, 12) if chance < 0.9 else rng.randrange(100, 300))


def value(rng: Random, key: Property) -> Any:
    """What a property may hold."""
    kind, _, lowest = RULES[key]
    if kind is PAIR:
        return pick(rng, _TEXTS), pick(rng, _TEXTS)
    if kind is BINARY:
        return payload(rng)
    if kind.highest is None:
        return "a/b" if key is Property.RESPONSE_TOPIC else pick(rng, _TEXTS)
    if key is Property.MAXIMUM_PACKET_SIZE:
        return rng.randrange(20, 200)
    highest = kind.highest if rng.random() < 0.1 else min(kind.highest, 5)
    return rng.randrange(lowest, highest + 1)


def properties(rng: Random, carrier: int, version: int, often: tuple[Property, ...] = ()) -> Properties:
    """Some that the packet may carry, those of `often` with even chances."""
    found: Properties = {}
    if version < 5 or not ALLOWED[carrier] or rng.random() < 0.3:
        return found
    keys = [key for key in often if rng.random() < 0.5]
    if rng.random() < 0.3:
        keys += {pick(rng, sorted(ALLOWED[carrier])) for _ in range(rng.randrange(1, 3))}
    for key in sorted(keys):
        if key is Property.AUTHENTICATION_DATA or (key is Property.AUTHENTICATION_METHOD and rng.random() < 0.8):
            continue
        count = 1 if key is Property.SUBSCRIPTION_IDENTIFIER else rng.randrange(1, 3)
        found[key] = [value(rng, key) for _ in range(count)] if key in REPEATED else value(rng, key)
    return found


def connect(rng: Random, version: int) -> Connect:
    """CONNECT of one of few clients, so that sessions are resumed and taken over."""
    will = None
    if rng.random() < 0.4:
        given = properties(rng, WILL, version, (Property.WILL_DELAY, Property.MESSAGE_EXPIRY))
        will = Will(topic(rng), payload(rng), rng.randrange(3), rng.random() < 0.4, given)
    often = (Property.SESSION_EXPIRY, Property.RECEIVE_MAXIMUM, Property.TOPIC_ALIAS_MAXIMUM)
    given = properties(rng, PacketType.CONNECT, version, often)
    user = pick(rng, _USERS)
    password = payload(rng) if user is not None and rng.random() < 0.3 else None
    level = 5 if version == 5 else 3 if rng.random() < 0.1 else 4
    keep_alive = pick(rng, (0, 0, 1, 10, 65_535))
    name, clean = pick(rng, CLIENT_IDS), rng.random() < 0.3
    if not name and version != 5:
        clean = clean or rng.random() < 0.8
    return Connect(name, level, clean, keep_alive, user, password, will, given)


def publish(rng: Random, version: int) -> Publish:
    """PUBLISH; in version 5 often with an alias that it sets."""
    qos = rng.randrange(3)
    given = properties(rng, PacketType.PUBLISH, version, (Property.TOPIC_ALIAS, Property.MESSAGE_EXPIRY))
    given.pop(Property.SUBSCRIPTION_IDENTIFIER, None)
    if Property.TOPIC_ALIAS in given and rng.random() < 0.95:
        given[Property.TOPIC_ALIAS] = rng.randrange(1, 4)
    name = topic(rng)
    dup = qos > 0 and rng.random() < 0.2
    return Publish(name, payload(rng), qos, rng.random() < 0.3, dup, rng.randrange(1, 7) if qos else None, given)


def subscribe(rng: Random, version: int) -> Subscribe:
    """SUBSCRIBE to one to three filters."""
    filters = []
    for _ in range(rng.randrange(1, 4)):
        name, five = topic_filter(rng), version == 5
        no_local = five and rng.random() < 0.2 and not name.startswith("$share/")
        handling = rng.randrange(3) if five else 0
        filters.append(SubscribeFilter(name, rng.randrange(3), no_local, five and rng.random() < 0.5, handling))
    given = properties(rng, PacketType.SUBSCRIBE, version, (Property.SUBSCRIPTION_IDENTIFIER,))
    return Subscribe(rng.randrange(1, 20), filters, given)


def other(rng: Random, version: int) -> Packet:
    """What a client seldom or never sends, and acknowledgements of anything."""
    kind = PacketType(rng.randrange(1, 16 if version == 5 else 15))
    packet_id, given = rng.randrange(1, 8), properties(rng, kind, version)
    codes = [*REASONS[kind].values()] if kind in REASONS else [Reason.SUCCESS]
    reason = pick(rng, codes) if rng.random() < 0.3 else codes[0]
    if kind in ACKS:
        return Ack(kind, packet_id, reason, given)
    several = bytes(pick(rng, codes) for _ in range(rng.randrange(1, 4)))
    table: dict[PacketType, Packet] = {
        PacketType.CONNACK: Connack(reason if version == 5 else 0, False, given),
        PacketType.SUBACK: Suback(packet_id, several if version == 5 else b"\1", given),
        PacketType.UNSUBACK: Unsuback(packet_id, several if version == 5 else b"", given),
        PacketType.PINGREQ: Pingreq(),
        PacketType.PINGRESP: Pingresp(),
        PacketType.DISCONNECT: Disconnect(reason, given),
        PacketType.AUTH: Auth(reason, given),
    }
    return table[kind] if kind in table else connect(rng, version)


class Pool:
    """Encoded packets of one version to draw from.

    Attributes:
        tame: what a client sends that keeps to the standard, in whole exchanges (PUBREL follows its PUBLISH).
        wild: packets of all types in no order.
    """

    def __init__(self, rng: Random, version: int, size: int = 150) -> None:
        self.connects = [encode(connect(rng, version), version) for _ in range(size)]
        self.tame: list[bytes] = []
        self.wild: list[bytes] = []
        for _ in range(size):
            message = publish(rng, version)
            data = encode(message, version)
            if message.packet_id is not None and message.qos == 2:
                data += encode(Ack(PacketType.PUBREL, message.packet_id), version)
            if Property.TOPIC_ALIAS in message.properties:
                again = {Property.TOPIC_ALIAS: message.properties[Property.TOPIC_ALIAS]}
                data += encode(Publish("", payload(rng), 0, rng.random() < 0.2, False, None, again), version)
            self.tame.append(data)
        for _ in range(size // 2):
            self.tame.append(encode(subscribe(rng, version), version))
        for _ in range(size // 8):
            names = [topic_filter(rng) for _ in range(rng.randrange(1, 3))]
            given = properties(rng, PacketType.UNSUBSCRIBE, version)
            self.tame.append(encode(Unsubscribe(rng.randrange(1, 20), names, given), version))
        self.tame += [encode(Pingreq(), version)] * (size // 16)
        for _ in range(size // 4):
            self.wild.append(encode(other(rng, version), version))
        for _ in range(size):
            kind = pick(rng, ACKS)
            bad = version == 5 and kind in (PacketType.PUBACK, PacketType.PUBREC) and rng.random() < 0.3
            reason = Reason.QUOTA_EXCEEDED if bad else Reason.SUCCESS
            self.wild.append(encode(Ack(kind, rng.randrange(1, 8), reason), version))
        self.goodbyes = []
        for _ in range(size // 8):
            given = properties(rng, PacketType.DISCONNECT, version, (Property.SESSION_EXPIRY,))
            given.pop(Property.SERVER_REFERENCE, None)
            reason = Reason.DISCONNECT_WITH_WILL if rng.random() < 0.3 else Reason.SUCCESS
            self.goodbyes.append(encode(Disconnect(reason, given), version))


def damage(rng: Random, data: bytes, others: list[bytes]) -> bytes:
    """Changes a stream once: bits, bytes, lengths, order, pieces of other streams."""
    if not data:
        return rng.randbytes(3)
    at = int(rng.random() * len(data))
    how = int(rng.random() * 12)
    if how == 0:
        return data[:at] + bytes((data[at] ^ 1 << rng.randrange(8),)) + data[at + 1 :]
    if how == 1:
        return data[:at] + bytes((pick(rng, (0, 1, 2, 0x7F, 0x80, 0xFF, rng.randrange(256))),)) + data[at + 1 :]
    if how == 2:
        return data[:at] + rng.randbytes(rng.randrange(1, 4)) + data[at:]
    if how == 3:
        return data[:at] + data[at + rng.randrange(1, 5) :]
    if how == 4:
        return data[:at]
    if how == 5:  # a piece again
        stop = at + rng.randrange(1, 40)
        return data[:stop] + data[at:]
    if how == 6:  # another stream goes on from here
        one = pick(rng, others)
        return data[:at] + one[int(rng.random() * len(one)) :]
    if how == 7:
        return data[:at] + pick(rng, others) + data[at:]
    # the rest look for the start of a packet
    starts, here = [0], 0
    while here + 1 < len(data):
        size = data[here + 1]
        skip = 2 if size < 128 else 3
        if skip == 3 and here + 2 < len(data):
            size = size & 127 | data[here + 2] << 7
        here += skip + size
        if here < len(data):
            starts.append(here)
    here = pick(rng, starts)
    if here + 1 >= len(data):
        return data + data
    if how == 8:  # the length lies
        return data[: here + 1] + bytes((rng.randrange(128),)) + data[here + 2 :]
    if how == 9:  # the same length in more bytes than it needs
        if data[here + 1] > 127:
            return data[: here + 1] + b"\xff\xff\xff\x7f" + data[here + 2 :]
        return data[: here + 1] + bytes((data[here + 1] | 128, 0)) + data[here + 2 :]
    if how == 10:  # another type, or other flags
        return data[:here] + bytes((rng.randrange(256),)) + data[here + 1 :]
    return data[:here] + pick(rng, others) + data[here:]
