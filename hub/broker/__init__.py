"""The embedded broker's parts: who may do what on it (`access`), and its sockets (`listeners`, `gate`)."""

from hub.broker.access import IDENTITY, Access, Denied, TokenAuth, TopicAccess
from hub.broker.events import ClientEvents
from hub.broker.gate import MAX_PACKET, Connect
from hub.broker.listeners import Listeners

__all__ = [
    "IDENTITY",
    "MAX_PACKET",
    "Access",
    "ClientEvents",
    "Connect",
    "Denied",
    "Listeners",
    "TokenAuth",
    "TopicAccess",
]
