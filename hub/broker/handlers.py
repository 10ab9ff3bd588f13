"""What each packet of a client does: CONNECT, acknowledgements, subscriptions, goodbye. PUBLISH is in `hub.broker.incoming`."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from devices.mqtt.codec import encode
from devices.mqtt.codes import MqttError, PacketType, ProtocolError, Reason
from devices.mqtt.packets import (
    Ack,
    Connect,
    Disconnect,
    Pingreq,
    Suback,
    Subscribe,
    SubscribeFilter,
    Unsuback,
    Unsubscribe,
)
from devices.mqtt.properties import Property
from devices.topics import valid_filter
from hub.broker.incoming import topic_name
from hub.broker.policy import Accepted, Login, Refused
from hub.broker.session import Subscription
from hub.broker.subscriptions import shared

if TYPE_CHECKING:
    from hub.broker.connection import Connection

__all__ = ["HANDLERS", "refusal"]

_PINGRESP: Final = b"\xd0\x00"
_UNACCEPTABLE_VERSION: Final = 1
_ID_REJECTED: Final = 2
_UNAVAILABLE: Final = 3
_BAD_CREDENTIALS: Final = 4
_NOT_AUTHORIZED: Final = 5
"""Return codes of CONNACK in 3.1.1 [MQTT-3.2.2-5]."""


def refusal(error: MqttError, data: bytes) -> bytes | None:
    """The CONNACK for a CONNECT that cannot be read, if it is one whose version is known. None: nothing is said."""
    if not data or data[0] != PacketType.CONNECT << 4:
        return None
    at = 1
    while at < min(len(data), 5) and data[at] > 127:
        at += 1
    body = data[at + 1 :]
    if body[:6] != b"\0\4MQTT" or len(body) < 7:
        return None
    if error.reason is Reason.UNSUPPORTED_PROTOCOL_VERSION and body[6] < 5:
        return b"\x20\x02\x00" + bytes([_UNACCEPTABLE_VERSION])  # [MQTT-3.1.2-2] of 3.1.1
    if body[6] >= 5:
        return b"\x20\x03\x00" + bytes([error.reason, 0])
    return None


def _connect(connection: "Connection", packet: Connect) -> None:
    if connection.version:
        raise ProtocolError("a second CONNECT")  # [MQTT-3.1.0-2]
    connection.version = 5 if packet.version == 5 else 4
    engine, limits = connection.engine, connection.engine.limits
    if engine.connections > limits.max_connections:
        connection.refuse(Reason.SERVER_BUSY if packet.version == 5 else _UNAVAILABLE)
        return
    if Property.AUTHENTICATION_METHOD in packet.properties:
        connection.refuse(Reason.BAD_AUTHENTICATION_METHOD)  # [MQTT-4.12.0-1]
        return
    if not packet.client_id and not packet.clean and packet.version != 5:
        connection.refuse(_ID_REJECTED)  # [MQTT-3.1.3-8] of 3.1.1
        return
    if packet.will is not None:
        if packet.will.topic.startswith("$"):
            connection.refuse(Reason.TOPIC_NAME_INVALID if packet.version == 5 else _NOT_AUTHORIZED)
            return
        topic_name(packet.will.topic.encode(), packet.version, limits)
    assigned = "" if packet.client_id else engine.new_client_id()
    packet.client_id = packet.client_id or assigned
    login = Login(packet, connection.wire.client, connection.wire.certificate, connection.wire)
    answer = engine.policy.authenticate(login)
    connection.decide(answer, lambda verdict: _authenticated(connection, packet, bool(assigned), verdict))


def _authenticated(connection: "Connection", packet: Connect, assigned: bool, verdict: Any) -> None:
    if isinstance(verdict, Accepted):
        connection.engine.attach(connection, packet, verdict, assigned)
        return
    reason = verdict.reason if isinstance(verdict, Refused) else Reason.NOT_AUTHORIZED
    if packet.version != 5:
        connection.refuse(_BAD_CREDENTIALS if reason is Reason.BAD_USER_NAME_OR_PASSWORD else _NOT_AUTHORIZED)
    else:
        connection.refuse(reason)


def _acknowledgement(connection: "Connection", packet: Ack) -> None:
    session, deliveries = connection.session, connection.engine.deliveries
    assert session is not None
    packet_id = packet.packet_id
    if packet.type is PacketType.PUBREL:
        known = packet_id in session.incoming
        if known:
            del session.incoming[packet_id]
            if session.durable and connection.engine.store is not None:
                connection.engine.store.released(session, packet_id)
        reason = Reason.SUCCESS if known else Reason.PACKET_IDENTIFIER_NOT_FOUND
        connection.promise(encode(Ack(PacketType.PUBCOMP, packet_id, reason), connection.version))
    elif packet.type is PacketType.PUBREC:
        if not deliveries.recorded(session, packet_id, packet.reason) and packet.reason < Reason.UNSPECIFIED_ERROR:
            # 3.1.1 has no reason: the client is told that it is done [MQTT-4.3.3-1]
            reason = Reason.PACKET_IDENTIFIER_NOT_FOUND
            connection.write(encode(Ack(PacketType.PUBREL, packet_id, reason), connection.version))
    else:
        deliveries.acknowledged(session, packet_id, 1 if packet.type is PacketType.PUBACK else 2)


def _subscribe(connection: "Connection", packet: Subscribe) -> None:
    session = connection.session
    assert session is not None
    policy, limits = connection.engine.policy, connection.engine.limits
    answers: list[Any] = []
    waits = False
    for wanted in packet.filters:
        try:
            inner = (shared(wanted.filter) or ("", wanted.filter))[1]
            good = (
                valid_filter(inner)
                and inner.count("/") < limits.topic_levels
                and len(wanted.filter.encode()) <= limits.topic_bytes
            )
        except ValueError:
            good = False
        if not good:
            answers.append(Reason.TOPIC_FILTER_INVALID)
        else:
            answer = policy.allows(session.principal, "subscribe", inner)
            waits = waits or not isinstance(answer, bool)
            answers.append(answer)
    if waits:
        connection.decide(_all(answers), lambda answers: _subscribed(connection, packet, answers))
    else:
        _subscribed(connection, packet, answers)


async def _all(answers: Sequence[Any]) -> list[Any]:
    return [await answer if isinstance(answer, Awaitable) else answer for answer in answers]


def _subscribed(connection: "Connection", packet: Subscribe, answers: Any) -> None:
    engine, session, version = connection.engine, connection.session, connection.version
    assert session is not None
    if not isinstance(answers, list):  # the policy failed
        answers = [False] * len(packet.filters)
    identifier = (packet.properties.get(Property.SUBSCRIPTION_IDENTIFIER) or [0])[0]
    codes, taken = bytearray(), []
    for wanted, answer in zip(packet.filters, answers, strict=True):
        reason = answer if isinstance(answer, Reason) else engine.policy.reason
        new = wanted.filter not in session.subscriptions
        if answer is True and new and len(session.subscriptions) >= engine.limits.subscriptions:
            answer, reason = False, Reason.QUOTA_EXCEEDED
        if answer is not True:
            engine.stats.denied["subscribe"] += 1
            codes.append(reason if version == 5 else Reason.UNSPECIFIED_ERROR)
            continue
        subscription = _subscription(wanted, identifier)
        engine.subscribe(session, subscription)
        codes.append(subscription.qos)
        # a shared subscription gets no retained messages [MQTT-5: 4.8.2]
        if subscription.group is None and (wanted.retain_handling == 0 or (wanted.retain_handling == 1 and new)):
            taken.append(subscription)
    connection.promise(encode(Suback(packet.packet_id, bytes(codes)), version))
    engine.send_retained(connection, taken)


def _subscription(wanted: SubscribeFilter, identifier: int) -> Subscription:
    return Subscription(
        wanted.filter,
        wanted.qos,
        wanted.no_local,
        wanted.retain_as_published,
        wanted.retain_handling,
        identifier,
    )


def _unsubscribe(connection: "Connection", packet: Unsubscribe) -> None:
    session = connection.session
    assert session is not None
    codes = bytes(
        Reason.SUCCESS if connection.engine.unsubscribe(session, one) else Reason.NO_SUBSCRIPTION_EXISTED
        for one in packet.filters
    )
    connection.promise(encode(Unsuback(packet.packet_id, codes), connection.version))


def _ping(connection: "Connection", _: Pingreq) -> None:
    connection.write(_PINGRESP)


def _disconnect(connection: "Connection", packet: Disconnect) -> None:
    session = connection.session
    assert session is not None
    expiry = packet.properties.get(Property.SESSION_EXPIRY)
    if expiry is not None:
        if expiry and not connection.wants_expiry:
            raise ProtocolError("a session expiry with DISCONNECT and none with CONNECT")  # [MQTT-3.14.2-2]
        session.expiry = connection.engine.bounded_expiry(expiry)
    connection.goodbye(will=packet.reason is not Reason.SUCCESS)


HANDLERS: Final[dict[int, Callable[["Connection", Any], None]]] = {
    PacketType.CONNECT: _connect,
    PacketType.PUBACK: _acknowledgement,
    PacketType.PUBREC: _acknowledgement,
    PacketType.PUBREL: _acknowledgement,
    PacketType.PUBCOMP: _acknowledgement,
    PacketType.SUBSCRIBE: _subscribe,
    PacketType.UNSUBSCRIBE: _unsubscribe,
    PacketType.PINGREQ: _ping,
    PacketType.DISCONNECT: _disconnect,
}
"""AUTH is not among them: no authentication method was agreed on [MQTT-5: 4.12]."""
