"""One application message, and its bytes for each kind of subscriber, each made once."""

from typing import TYPE_CHECKING, Final

from devices.mqtt.codec import remaining_length, text

if TYPE_CHECKING:
    from hub.broker.session import Session

__all__ = ["Message", "extra_properties", "publish_as_4", "publish_as_5"]

_FIRST: Final = [bytes([first]) for first in range(0x30, 0x40)]
_EXPIRY: Final = b"\x02"
_ALIAS: Final = b"\x23"
_IDENTIFIER: Final = b"\x0b"


class Message:
    """An application message, as the broker keeps it.

    Attributes:
        properties: the MQTT 5 properties that are forwarded unchanged, encoded, without their length.
        expires: on the monotonic clock, seconds; None: never.
        head: the encoded topic, once it is needed.
        source: the session that published it; None for the hub's own.
        owner: whose retained message it is; None: the hub's own.
        id: in the storage; 0: it is not there. `holders` counts the deliveries that need it there.
    """

    __slots__ = (
        "_plain_4",
        "_plain_5",
        "expires",
        "head",
        "holders",
        "id",
        "owner",
        "payload",
        "properties",
        "qos",
        "retain",
        "source",
        "topic",
    )

    def __init__(
        self,
        topic: str,
        payload: bytes,
        qos: int = 0,
        retain: bool = False,
        properties: bytes = b"",
        expires: float | None = None,
        source: "Session | None" = None,
    ) -> None:
        self.topic, self.payload, self.qos, self.retain = topic, payload, qos, retain
        self.properties, self.expires, self.source = properties, expires, source
        self.id = self.holders = 0
        self.owner: str | None = None
        self._plain_4: bytes | None = None
        self._plain_5: bytes | None = None
        self.head: bytes | None = None

    @property
    def size(self) -> int:
        """Bytes that it holds in memory, about."""
        return len(self.topic) + len(self.payload) + len(self.properties)

    def slim(self) -> None:
        """Forgets the bytes made for subscribers: who keeps the message needs them no more."""
        self._plain_4 = self._plain_5 = None

    def expired(self, now: float) -> bool:
        """Whether its time is over; `now` on the monotonic clock."""
        return self.expires is not None and self.expires <= now

    def plain(self, version: int) -> bytes:
        """The whole QoS 0 packet without RETAIN for a subscriber of `version`, made once. Only for one that never expires."""
        if version == 5:
            if self._plain_5 is None:
                self._plain_5 = self.packet_5(0, None, b"")
            return self._plain_5
        if self._plain_4 is None:
            self._plain_4 = self.packet_4(0, None)
        return self._plain_4

    def packet_4(self, flags: int, packet_id: int | None) -> bytes:
        """The packet for version 3.1.1; `flags`: the four bits of the fixed header."""
        head = self.head
        if head is None:
            head = self.head = text(self.topic)
        payload = self.payload
        if packet_id is None:
            return b"".join((_FIRST[flags], remaining_length(len(head) + len(payload)), head, payload))
        size = remaining_length(len(head) + 2 + len(payload))
        return b"".join((_FIRST[flags], size, head, packet_id.to_bytes(2, "big"), payload))

    def packet_5(self, flags: int, packet_id: int | None, extra: bytes, topic: bytes | None = None) -> bytes:
        """The packet for version 5.

        Args:
            flags: the four bits of the fixed header.
            extra: properties for this subscriber alone, encoded (see `extra_properties`).
            topic: the encoded topic, when an alias stands in its place.
        """
        head = self.head
        if head is None:
            head = self.head = text(self.topic)
        if topic is not None:
            head = topic
        size = len(extra) + len(self.properties)
        parts = (
            head,
            b"" if packet_id is None else packet_id.to_bytes(2, "big"),
            remaining_length(size),
            extra,
            self.properties,
            self.payload,
        )
        return b"".join((_FIRST[flags], remaining_length(sum(map(len, parts))), *parts))


def extra_properties(remaining: float | None, identifiers: tuple[int, ...], alias: int | None) -> bytes:
    """Encodes what one delivery carries beside the publisher's properties.

    Args:
        remaining: seconds until the message expires [MQTT-3.3.2-6].
        identifiers: of the subscriptions that it matched [MQTT-3.3.4-3].
        alias: that stands for, or is given to, its topic.
    """
    extra = b""
    if remaining is not None:
        extra = _EXPIRY + max(0, int(remaining)).to_bytes(4, "big")
    if alias is not None:
        extra += _ALIAS + alias.to_bytes(2, "big")
    for identifier in identifiers:
        extra += _IDENTIFIER + remaining_length(identifier)
    return extra


def publish_as_5(packet: bytes, topic_end: int) -> bytes:
    """A QoS 0 PUBLISH of version 5 with no properties, from one of 3.1.1.

    Args:
        topic_end: where the topic ends, counted from the end.
    """
    at = len(packet) - topic_end
    start = _body(packet)
    return b"".join((b"\x30", remaining_length(len(packet) - start + 1), packet[start:at], b"\0", packet[at:]))


def publish_as_4(packet: bytes, topic_end: int) -> bytes:
    """A QoS 0 PUBLISH of 3.1.1, from one of version 5 with no properties; `topic_end` counted from the end."""
    at = len(packet) - topic_end
    start = _body(packet)
    return b"".join((b"\x30", remaining_length(len(packet) - start - 1), packet[start:at], packet[at + 1 :]))


def _body(packet: bytes) -> int:
    at = 1
    while packet[at] > 127:
        at += 1
    return at + 1
