"""The embedded broker.

To read in this order: `broker` (what amqtt sees), `engine` (the whole), `connection` (one client), `delivery` (one message).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from hub.broker.access import IDENTITY, Access, TokenAuth, TopicAccess
    from hub.broker.broker import HubBroker
    from hub.broker.limits import Limits

__all__ = ["IDENTITY", "Access", "HubBroker", "Limits", "TokenAuth", "TopicAccess"]

_HOMES: Final = {
    "IDENTITY": "access",
    "Access": "access",
    "HubBroker": "broker",
    "Limits": "limits",
    "TokenAuth": "access",
    "TopicAccess": "access",
}


def __getattr__(name: str) -> Any:
    """Loads what is asked for: options need only `limits`, and amqtt takes a third of a second to load."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
