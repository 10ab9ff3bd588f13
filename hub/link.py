"""`Link`: all that the hub's services know of a broker.

    LinkError
      LinkDown      publish while the broker cannot be reached
      ListenError   a port cannot be listened on

Two implementations: `hub.embedded.EmbeddedLink` (the broker in this process: a call, no socket, no copy) and
`hub.remote.RemoteLink` (an MQTT client of an existing broker).
"""

from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["Link", "LinkDown", "LinkError", "ListenError", "OnConnected", "OnMessage"]

OnMessage = Callable[[str, bytes, bool], None]
"""Called with (topic, payload, retained). `retained` is True only for a message that was kept before the subscription."""

OnConnected = Callable[[bool], None]
"""Called with True when the broker can be reached (again) and every subscription stands, with False when it is lost."""


class LinkError(Exception):
    """Something went wrong between the hub and its broker."""


class LinkDown(LinkError):
    """The broker cannot be reached now: nothing was published."""


class ListenError(LinkError):
    """A port cannot be listened on; `str()` names host and port."""

    def __init__(self, host: str, port: int, why: str) -> None:
        super().__init__(
            f"cannot listen on {host}:{port} ({why}): choose another address or port, or stop what uses it"
        )
        self.host, self.port = host, port


class Link(Protocol):
    """A broker, as the services see it. Callbacks run on the event loop, in per-topic order, never inside `publish`."""

    @property
    def connected(self) -> bool:
        """Whether the broker can be reached now."""

    @property
    def wills_are_final(self) -> bool:
        """True when a will proves the connection gone: the broker is ours and knows its connections."""

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Hands one message to the broker; own subscriptions see it too. An empty retained payload clears the topic.

        Raises:
            LinkDown: there is no broker to take it.
        """

    def subscribe(self, topic_filter: str, on_message: OnMessage) -> None:
        """Asks for all that matches, now and after every reconnect; retained messages first. QoS 1."""

    def cut(self, owner: str, refused: Callable[[Any], bool], *, end: bool) -> None:
        """Cuts the connections of a user or station that `refused` says no to; a broker that is not ours cannot be told.

        Args:
            owner: their user id.
            refused: given what the access policy knows of a connection.
            end: ends the sessions that they leave, too.
        """

    def watch_connection(self, on_connected: OnConnected) -> None:
        """Asks to be told of every change of `connected`."""
