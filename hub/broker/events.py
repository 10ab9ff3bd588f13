"""What amqtt tells of its clients, handed to the link: an amqtt plugin.

config["plugins"] = {"hub.broker.events.ClientEvents": {"receiver": link}}
"""

from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

from amqtt.broker import BrokerContext
from amqtt.mqtt.disconnect import DisconnectPacket
from amqtt.plugins.base import BasePlugin
from amqtt.session import ApplicationMessage, Session

__all__ = ["ClientEvents", "Receiver"]

_GOODBYE: Final = "stationhub.goodbye"


@runtime_checkable
class Receiver(Protocol):
    """Who wants to know."""

    def received(self, topic: str, payload: bytes) -> None:
        """A client published, and may, or its will was published."""

    async def send_retained(self, client_id: str, topic_filter: str, qos: int) -> None:
        """A client subscribed, and may: it is due what is kept."""


@dataclass
class _Config:
    receiver: Receiver


class ClientEvents(BasePlugin[BrokerContext]):  # type: ignore[misc]  # amqtt ships no types
    """amqtt runs each event as a task: in order, as long as none that hands on a message waits."""

    Config = _Config

    async def on_broker_message_broadcast(self, *, client_id: str, message: ApplicationMessage) -> None:
        """A client published, and may."""
        self.config.receiver.received(message.topic, bytes(message.data))

    async def on_mqtt_packet_received(self, *, packet: Any, session: Session | None = None) -> None:
        """Keeps in mind that a client said DISCONNECT: then its will is void. [MQTT-3.14.4-3]"""
        if session is not None and isinstance(packet, DisconnectPacket):
            session.attributes[_GOODBYE] = True

    async def on_broker_client_connected(self, *, client_id: str, client_session: Session) -> None:
        """A kept session begins anew."""
        client_session.attributes.pop(_GOODBYE, None)

    async def on_broker_client_disconnected(self, *, client_id: str, client_session: Session) -> None:
        """amqtt publishes a will without an event; this is where it did."""
        if client_session.will_flag and client_session.will_topic and _GOODBYE not in client_session.attributes:
            self.config.receiver.received(client_session.will_topic, bytes(client_session.will_message or b""))

    async def on_broker_client_subscribed(self, *, client_id: str, topic: str, qos: int) -> None:
        """What the hub keeps goes to this subscription alone. [MQTT-3.3.1-6]"""
        await self.config.receiver.send_retained(client_id, topic, qos)
