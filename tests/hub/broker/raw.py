"""What the conformance tests share: packets as bytes, also those that no codec would write, and what a client got."""

import pytest

from devices.mqtt.codes import PacketType, Reason
from devices.mqtt.packets import Ack
from tests.hub.broker.world import Client, World

__all__ = [
    "BAD_TEXT",
    "MALFORMED",
    "PROTOCOL",
    "PUBACK",
    "PUBCOMP",
    "PUBREC",
    "PUBREL",
    "QOS",
    "VERSIONS",
    "acks",
    "connect_bytes",
    "finish",
    "frame",
    "none",
    "opened",
    "payloads",
    "with_will",
]

VERSIONS = pytest.mark.parametrize("version", [4, 5])
QOS = pytest.mark.parametrize("qos", [1, 2])
PUBACK, PUBREC, PUBREL, PUBCOMP = PacketType.PUBACK, PacketType.PUBREC, PacketType.PUBREL, PacketType.PUBCOMP
MALFORMED, PROTOCOL = Reason.MALFORMED_PACKET, Reason.PROTOCOL_ERROR

BAD_TEXT = {
    "not UTF-8": b"a\xff",
    "cut off": b"a\xe2\x82",
    "overlong": b"a\xc0\xaf",
    "surrogate [MQTT-1.5.3-1]": b"a\xed\xa0\x80",
    "U+0000 [MQTT-1.5.3-2]": b"a\0b",
}


def frame(first: int, body: bytes) -> bytes:
    """A packet of less than 128 bytes."""
    return bytes([first, len(body)]) + body


def connect_bytes(version: int, flags: int, *fields: bytes, name: bytes = b"MQTT", level: int | None = None) -> bytes:
    """A CONNECT, right or wrong; `fields` are written with their length."""
    head = b"\0" + bytes([len(name)]) + name + bytes([version if level is None else level, flags, 0, 0])
    properties = b"\0" if version == 5 else b""
    return frame(0x10, head + properties + b"".join(len(one).to_bytes(2, "big") + one for one in fields))


def with_will(version: int, topic: bytes = b"w", flags: int = 6) -> bytes:
    """A CONNECT with a will."""
    head = connect_bytes(version, flags, b"c")[2:]
    return frame(0x10, head + none(version) + len(topic).to_bytes(2, "big") + topic + b"\0\4gone")


def opened(version: int) -> tuple[World, Client, Client]:
    """A client, and another one that subscribed to everything."""
    world = World()
    watcher = world.connect("watcher", version=9 - version)
    watcher.subscribe("#", qos=2)
    return world, world.connect("client", version=version), watcher


def none(version: int) -> bytes:
    """The properties of a packet that has none."""
    return b"\0" if version == 5 else b""


def acks(client: Client) -> list[tuple[PacketType, int]]:
    """The acknowledgements that a client got."""
    return [(one.type, one.packet_id) for one in client.received if isinstance(one, Ack)]


def payloads(client: Client) -> list[bytes]:
    """What a client got."""
    return [one.payload for one in client.publishes]


def finish(client: Client, first: int = 0) -> None:
    """Answers all messages from `first` on, to the end."""
    for one in client.publishes[first:]:
        if one.packet_id is None:
            continue
        if one.qos == 1:
            client.packet(Ack(PUBACK, one.packet_id))
        else:
            client.packet(Ack(PUBREC, one.packet_id))
            client.packet(Ack(PUBCOMP, one.packet_id))
