"""What a CONNECT asks for, and how much of it is granted. Pure."""

from typing import TYPE_CHECKING, Any, Final

from devices.mqtt.codec import encode
from devices.mqtt.codes import Reason
from devices.mqtt.packets import Connack, Connect
from devices.mqtt.properties import Property
from hub.broker.incoming import forwarded
from hub.broker.message import Message
from hub.broker.policy import FOREVER, Accepted
from hub.broker.session import Session, Will

if TYPE_CHECKING:
    from hub.broker.connection import Connection
    from hub.broker.engine import Engine

__all__ = ["SLACK", "agree", "connack"]

SLACK: Final = 0.5
"""Seconds added to a keep-alive: `Engine.now`, which says when a client spoke, is so much behind at most."""


def agree(engine: "Engine", connection: "Connection", session: Session, packet: Connect, verdict: Accepted) -> None:
    """Sets what CONNECT asked for, as far as it is granted."""
    limits, given = engine.limits, packet.properties
    five = packet.version == 5
    session.expiry = _expiry(engine, packet)
    keep_alive = packet.keep_alive
    if five and limits.keep_alive_max and not 0 < keep_alive <= limits.keep_alive_max:
        keep_alive = limits.keep_alive_max
    connection.wants_expiry = given.get(Property.SESSION_EXPIRY, 0) > 0
    connection.carried = len(session.incoming)
    connection.keep_alive = keep_alive * 1.5 + SLACK if keep_alive else 0.0
    connection.last_seen = engine.now
    if verdict.expires_at != FOREVER:
        left = verdict.expires_at - engine.clock.wall_ms() / 1000
        connection.expires = engine.clock.monotonic() + left + limits.token_grace
    connection.window = min(limits.inflight, given.get(Property.RECEIVE_MAXIMUM, limits.inflight))
    connection.aliases_max = min(limits.topic_aliases, given.get(Property.TOPIC_ALIAS_MAXIMUM, 0))
    connection.accepts = given.get(Property.MAXIMUM_PACKET_SIZE)
    connection.details = bool(given.get(Property.REQUEST_PROBLEM_INFORMATION, 1))
    connection.plain = 0 if connection.aliases_max or connection.accepts is not None else connection.version
    session.will = _will(packet)


def _expiry(engine: "Engine", packet: Connect) -> float:
    wanted = (
        packet.properties.get(Property.SESSION_EXPIRY, 0) if packet.version == 5 else 0 if packet.clean else FOREVER
    )
    return engine.bounded_expiry(wanted)


def _will(packet: Connect) -> Will | None:
    will = packet.will
    if will is None:
        return None
    properties, _ = forwarded(will.properties, 0.0)
    message = Message(will.topic, will.payload, will.qos, will.retain, properties)
    expiry = will.properties.get(Property.MESSAGE_EXPIRY)
    return Will(message, will.properties.get(Property.WILL_DELAY, 0), expiry)


def connack(engine: "Engine", packet: Connect, present: bool, assigned: bool) -> bytes:
    """The CONNACK of a client that was let in."""
    if packet.version != 5:
        return b"\x20\x02\x01\x00" if present else b"\x20\x02\x00\x00"
    limits = engine.limits
    given: dict[Property, Any] = {
        Property.RECEIVE_MAXIMUM: limits.receive_maximum,
        Property.MAXIMUM_PACKET_SIZE: limits.max_packet,
    }
    if limits.topic_aliases:
        given[Property.TOPIC_ALIAS_MAXIMUM] = limits.topic_aliases
    if assigned:
        given[Property.ASSIGNED_CLIENT_ID] = packet.client_id
    if limits.keep_alive_max and not 0 < packet.keep_alive <= limits.keep_alive_max:
        given[Property.SERVER_KEEP_ALIVE] = limits.keep_alive_max
    expiry = _expiry(engine, packet)
    if expiry != packet.properties.get(Property.SESSION_EXPIRY, 0):
        given[Property.SESSION_EXPIRY] = int(expiry)
    return encode(Connack(Reason.SUCCESS, present, given), 5)
