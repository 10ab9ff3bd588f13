"""The embedded broker's parts: who may do what on it (`access`), and its sockets (`listeners`)."""

from hub.broker.access import Access, Denied, TokenAuth, TopicAccess
from hub.broker.events import ClientEvents
from hub.broker.listeners import MAX_PACKET, Listeners

__all__ = ["MAX_PACKET", "Access", "ClientEvents", "Denied", "Listeners", "TokenAuth", "TopicAccess"]
