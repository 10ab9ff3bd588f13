"""The embedded broker.

To read in this order: `broker` (what amqtt sees), `engine` (the whole), `connection` (one client), `delivery` (one message).
"""

from hub.broker.access import IDENTITY, Access, TokenAuth, TopicAccess
from hub.broker.broker import HubBroker
from hub.broker.limits import Limits

__all__ = ["IDENTITY", "Access", "HubBroker", "Limits", "TokenAuth", "TopicAccess"]
