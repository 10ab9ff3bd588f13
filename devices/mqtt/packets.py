"""MQTT's packets as plain values, for both versions: what 3.1.1 does not have is left at its default and not written there."""

from dataclasses import dataclass, field

from devices.mqtt.codes import PacketType, Reason
from devices.mqtt.properties import Properties

__all__ = [
    "Ack",
    "Auth",
    "Connack",
    "Connect",
    "Disconnect",
    "Packet",
    "Pingreq",
    "Pingresp",
    "Publish",
    "Suback",
    "Subscribe",
    "SubscribeFilter",
    "Unsuback",
    "Unsubscribe",
    "Will",
]


@dataclass(slots=True)
class Will:
    """The message the broker sends for a client that vanished. MQTT 5, 3.1.2.5."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: Properties = field(default_factory=dict)


@dataclass(slots=True)
class Connect:
    """Opens a session. MQTT 5, 3.1.

    Attributes:
        version: 3 (MQTT 3.1), 4 (3.1.1) or 5.
        clean: Clean Session in 3.1.1, Clean Start in 5.
        keep_alive: seconds; 0: none.
    """

    client_id: str
    version: int = 4
    clean: bool = True
    keep_alive: int = 0
    username: str | None = None
    password: bytes | None = field(default=None, repr=False)  # so that no log can hold it
    will: Will | None = None
    properties: Properties = field(default_factory=dict)


@dataclass(slots=True)
class Connack:
    """Answers a CONNECT. MQTT 5, 3.2. `code` is a Reason, or a return code from 0 to 5 in 3.1.1."""

    code: int
    session_present: bool = False
    properties: Properties = field(default_factory=dict)


@dataclass(slots=True)
class Publish:
    """A message. MQTT 5, 3.3. `packet_id` is None exactly for QoS 0; an empty topic needs a TOPIC_ALIAS."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    dup: bool = False
    packet_id: int | None = None
    properties: Properties = field(default_factory=dict)


@dataclass(slots=True)
class Ack:
    """PUBACK, PUBREC, PUBREL or PUBCOMP. MQTT 5, 3.4 to 3.7."""

    type: PacketType
    packet_id: int
    reason: Reason = Reason.SUCCESS
    properties: Properties = field(default_factory=dict)


@dataclass(slots=True)
class SubscribeFilter:
    """One subscription and its options. MQTT 5, 3.8.3.1; 3.1.1 has the QoS alone."""

    filter: str
    qos: int = 0
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0


@dataclass(slots=True)
class Subscribe:
    """Asks for messages. MQTT 5, 3.8. At least one filter [MQTT-3.8.3-2]."""

    packet_id: int
    filters: list[SubscribeFilter]
    properties: Properties = field(default_factory=dict)


@dataclass(slots=True)
class Suback:
    """One code for each filter of the SUBSCRIBE, in its order. MQTT 5, 3.9."""

    packet_id: int
    codes: bytes
    properties: Properties = field(default_factory=dict)


@dataclass(slots=True)
class Unsubscribe:
    """Ends subscriptions. MQTT 5, 3.10. At least one filter [MQTT-3.10.3-2]."""

    packet_id: int
    filters: list[str]
    properties: Properties = field(default_factory=dict)


@dataclass(slots=True)
class Unsuback:
    """One code for each filter of the UNSUBSCRIBE; none in 3.1.1. MQTT 5, 3.11."""

    packet_id: int
    codes: bytes = b""
    properties: Properties = field(default_factory=dict)


@dataclass(slots=True)
class Pingreq:
    """Keeps a connection alive. MQTT 5, 3.12."""


@dataclass(slots=True)
class Pingresp:
    """Answers a PINGREQ. MQTT 5, 3.13."""


@dataclass(slots=True)
class Disconnect:
    """The last packet. MQTT 5, 3.14. In 3.1.1 only clients send it, without a reason."""

    reason: Reason = Reason.SUCCESS
    properties: Properties = field(default_factory=dict)


@dataclass(slots=True)
class Auth:
    """A step of an extended authentication. MQTT 5, 3.15."""

    reason: Reason = Reason.SUCCESS
    properties: Properties = field(default_factory=dict)


Packet = (
    Connect
    | Connack
    | Publish
    | Ack
    | Subscribe
    | Suback
    | Unsubscribe
    | Unsuback
    | Pingreq
    | Pingresp
    | Disconnect
    | Auth
)
