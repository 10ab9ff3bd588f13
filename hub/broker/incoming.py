"""A PUBLISH from a client: read, checked, allowed, routed, acknowledged."""

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Final

from devices.mqtt.codec import encode
from devices.mqtt.codes import MalformedPacket, PacketType, ProtocolError, Reason
from devices.mqtt.packets import Ack
from devices.mqtt.properties import ALLOWED, Properties, Property, decode_properties, encode_properties
from hub.broker.limits import Limits
from hub.broker.message import Message
from hub.broker.session import Session

if TYPE_CHECKING:
    from hub.broker.connection import Connection

__all__ = ["forwarded", "publish", "topic_name"]

_FORWARDED: Final = (
    Property.PAYLOAD_FORMAT,
    Property.CONTENT_TYPE,
    Property.RESPONSE_TOPIC,
    Property.CORRELATION_DATA,
    Property.USER_PROPERTY,
)
"""Sent on as they came [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-20]."""
_PUBLISH: Final = ALLOWED[PacketType.PUBLISH] - {Property.SUBSCRIPTION_IDENTIFIER}
_PUBACK: Final = b"\x40\x02"


def publish(connection: "Connection", first: int, data: bytes, at: int, stop: int) -> None:
    """Handles one PUBLISH, whose body is `data[at:stop]`. Raises MqttError for what no client may send."""
    qos = first >> 1 & 3
    if qos == 3:
        raise MalformedPacket("a PUBLISH of QoS 3")  # [MQTT-3.3.1-4]
    if first & 8 and not qos:
        raise MalformedPacket("a PUBLISH of QoS 0 marked as sent again")  # [MQTT-3.3.1-2]
    topic_end = at + 2
    if topic_end <= stop:
        topic_end += data[at] << 8 | data[at + 1]
    end = topic_end + 2 if qos else topic_end
    if end > stop:
        raise MalformedPacket("a PUBLISH that is too short")
    topic = data[at + 2 : topic_end]
    packet_id = 0
    if qos:
        packet_id = data[topic_end] << 8 | data[topic_end + 1]
        if not packet_id:
            raise MalformedPacket("a packet identifier of 0")  # [MQTT-2.2.1-3]
    properties, expires = b"", None
    if connection.version == 5:
        if end < stop and not data[end]:
            end += 1
        else:
            given, end = decode_properties(data, end, stop, _PUBLISH)
            alias = given.get(Property.TOPIC_ALIAS)
            if alias is not None:
                topic = connection.alias(alias, topic)
            properties, expires = forwarded(given, connection.engine.clock.monotonic())
        if not topic:
            raise ProtocolError("a PUBLISH without topic and alias")
    message = Message("", data[end:stop], qos, bool(first & 1), properties, expires, connection.session)
    if topic_end > at + 2:
        message.head = data[at:topic_end]
    route = connection.topics.get(topic)
    router = connection.engine.deliveries.router
    if route is not None:
        message.topic = route.topic
        if route.generation != router.generation:
            # another one may stand for the topic by now
            connection.topics[topic] = router.route(route.topic)
        _take(connection, message, packet_id)
        return
    message.topic = topic_name(topic, connection.version, connection.engine.limits)
    if message.topic.startswith("$"):
        _refuse(connection, message, packet_id, Reason.TOPIC_NAME_INVALID)
        return
    policy, session = connection.engine.policy, connection.session
    assert session is not None
    answer = policy.allows(session.principal, "publish", message.topic)
    if answer is True:
        if connection.engine.on_published is None:  # else every message is asked about
            connection.remember(topic, router.route(message.topic))
        _take(connection, message, packet_id)
    elif isinstance(answer, Awaitable):
        waits = connection.engine.asking.permit(answer, message) if policy.waits else answer
        connection.decide(waits, lambda answer: _decided(connection, message, packet_id, answer))
    else:
        _refuse(connection, message, packet_id, policy.reason)


def _decided(connection: "Connection", message: Message, packet_id: int, answer: object) -> None:
    """The policy has an answer: False, True, or the sessions that may have the message."""
    if isinstance(answer, set):
        _take(connection, message, packet_id, answer)
    elif answer is True:
        _take(connection, message, packet_id)
    else:
        _refuse(connection, message, packet_id, connection.engine.policy.reason)


def forwarded(given: Properties, now: float) -> tuple[bytes, float | None]:
    """What of a message's properties is sent on, encoded without its length; and when the message expires, monotonic."""
    if not given:
        return b"", None
    kept: Properties = {key: given[key] for key in _FORWARDED if key in given}
    body = b""
    if kept:
        body = encode_properties(kept)
        at = 0
        while body[at] > 127:
            at += 1
        body = body[at + 1 :]
    expiry = given.get(Property.MESSAGE_EXPIRY)
    return body, None if expiry is None else now + expiry


def topic_name(raw: bytes, version: int, limits: Limits) -> str:
    """The topic that bytes name. Raises MqttError for what is none [MQTT-3.3.2-1] [MQTT-3.3.2-2], or too large."""
    try:
        topic = raw.decode()
    except UnicodeDecodeError:
        raise MalformedPacket("a topic that is not UTF-8") from None
    if "\0" in topic:
        raise MalformedPacket("a topic with U+0000")  # [MQTT-1.5.4-2]
    if (
        not topic
        or "#" in topic
        or "+" in topic
        or topic.count("/") >= limits.topic_levels
        or len(raw) > limits.topic_bytes
    ):
        problem = "a topic that is empty, has wildcards, or is too long or too deep"
        if version == 5:
            raise ProtocolError(problem, Reason.TOPIC_NAME_INVALID)
        raise MalformedPacket(problem)
    return topic


def _take(connection: "Connection", message: Message, packet_id: int, permitted: "set[Session] | None" = None) -> None:
    """The message is allowed."""
    engine = connection.engine
    session, store = connection.session, engine.store
    assert session is not None
    deliveries, qos = engine.deliveries, message.qos
    if qos == 2 and packet_id in session.incoming:
        # sent again: it was taken the first time [MQTT-4.3.3-10]
        connection.promise(encode(Ack(PacketType.PUBREC, packet_id), connection.version))
        return
    waiting, most = len(session.incoming), engine.limits.receive_maximum
    # what an earlier connection left open is not this one's; a 3.1.1 client knows no maximum, but there is an end to everything
    too_many = qos and connection.version == 5 and waiting - connection.carried + connection.owed >= most
    if too_many or (qos == 2 and waiting >= 4 * most):
        raise ProtocolError("more messages than the receive maximum", Reason.RECEIVE_MAXIMUM_EXCEEDED)
    before = store.notes if store is not None else 0
    if message.retain and not deliveries.retain(message) and qos and connection.version == 5:
        # a client that can be told is; for the others, those who are there get the message all the same
        _refuse(connection, message, packet_id, Reason.QUOTA_EXCEEDED)
        return
    if qos == 2:
        session.incoming[packet_id] = None
        if store is not None and session.durable:
            store.incoming(session, packet_id)
    if engine.on_published is not None:
        engine.on_published(session, message)
    wanted = deliveries.publish(message, permitted)
    message.source = None  # a queue may keep the message longer than this session lives
    if message.retain:
        message.slim()
    if not qos:
        return
    if qos == 1 and connection.version == 4:
        packet = _PUBACK + packet_id.to_bytes(2, "big")
    else:
        kind = PacketType.PUBACK if qos == 1 else PacketType.PUBREC
        reason = Reason.SUCCESS if wanted else Reason.NO_MATCHING_SUBSCRIBERS
        packet = encode(Ack(kind, packet_id, reason), connection.version)
    if store is None or (store.notes == before and not connection.held):
        connection.write(packet)
    else:
        engine.commits.hold(connection, packet, puback=qos == 1)


def _refuse(connection: "Connection", message: Message, packet_id: int, reason: Reason) -> None:
    """The message is dropped. 3.1.1 knows no way to say so: it is acknowledged [MQTT-3.3.5-2 of 3.1.1]."""
    connection.engine.stats.denied["publish"] += 1
    if not message.qos:
        return
    kind = PacketType.PUBACK if message.qos == 1 else PacketType.PUBREC
    connection.promise(encode(Ack(kind, packet_id, reason), connection.version))
