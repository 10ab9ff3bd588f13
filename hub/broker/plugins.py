"""amqtt's plugins on this broker: the policy they are asked through, the sessions they see, the events they hear.

Built-in access alone is asked directly. With any other authentication or topic plugin every question is awaited, in order,
while the client's connection stands still. Supported and tested: AnonymousAuthPlugin, FileAuthPlugin, TopicTabooPlugin,
TopicAccessControlListPlugin, EventLoggerPlugin, the JWT plugins and UserAuthCertPlugin of amqtt.contrib, and plugins of users
with broker events. Packet events are not fired, `$SYS` is the broker's own, SessionDBPlugin has nothing to store.
"""

from collections.abc import Awaitable, Coroutine
from typing import Any, cast

from amqtt.contexts import Action as PluginAction
from amqtt.events import BrokerEvents
from amqtt.plugins.manager import PluginManager
from amqtt.session import ApplicationMessage
from amqtt.session import Session as AmqttSession

from devices.mqtt.codes import Reason
from hub.broker.access import TokenAuth, TopicAccess
from hub.broker.connection import Connection
from hub.broker.message import Message
from hub.broker.policy import Accepted, Action, Login, Policy, Refused
from hub.broker.session import Session, Subscription

__all__ = ["PluginEvents", "PluginPolicy", "PluginSession", "policy_of"]


class PluginSession(AmqttSession):  # type: ignore[misc]  # amqtt ships no types
    """A client as plugins see it: amqtt's fields, without its state machine and queues.

    Attributes:
        login: what it came with.
        accepted: what built-in access said, if it was asked.
    """

    def __init__(self, login: Login | None, client_id: str) -> None:
        # not super().__init__: it makes a state machine and queues, which cost more than everything else of a session
        self.login, self.accepted = login, None
        connect = login.connect if login is not None else None
        will = connect.will if connect is not None else None
        self.client_id = client_id
        self.remote_address, self.remote_port = (login.client if login is not None else ""), 0
        self.clean_session = connect.clean if connect is not None else False
        self.keep_alive = connect.keep_alive if connect is not None else 0
        self.username = connect.username if connect is not None else None
        password = connect.password if connect is not None else None
        self.password = password.decode(errors="replace") if password is not None else None
        self.will_flag = will is not None
        self.will_topic = will.topic if will is not None else None
        self.will_message = will.payload if will is not None else None
        self.will_qos = will.qos if will is not None else None
        self.will_retain = will.retain if will is not None else None
        self.ssl_object = getattr(login.wire, "ssl_object", None) if login is not None else None
        self.attributes: dict[str, Any] = {}
        self.is_anonymous = False
        self.parent = self.publish_retry_delay = 0
        self.last_connect_time = self.last_disconnect_time = None
        self.inflight_in: dict[int, Any] = {}
        self.inflight_out: dict[int, Any] = {}

    def __repr__(self) -> str:
        return f"PluginSession({self.client_id!r})"

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    @property
    def retained_messages_count(self) -> int:
        """What amqtt calls the messages that wait for a session."""
        return 0


def policy_of(manager: PluginManager[Any]) -> Policy:
    """Built-in access itself, if it is all that is configured; else every plugin is asked."""
    auth, topic = manager._auth_plugins, manager._topic_plugins
    if len(auth) == len(topic) == 1 and type(auth[0]) is TokenAuth and type(topic[0]) is TopicAccess:
        access = auth[0].config.access
        if topic[0].config.access is access:
            return cast("Policy", access)
    return PluginPolicy(manager)


class PluginPolicy:
    """Asks amqtt's plugins. A `hub.broker.policy.Policy`."""

    # a plugin says no without a reason
    reason = Reason.UNSPECIFIED_ERROR

    def __init__(self, manager: PluginManager[Any]) -> None:
        self._manager = manager
        self.waits = bool(manager._topic_plugins)

    async def authenticate(self, login: Login) -> Accepted | Refused:
        """All that have an opinion must agree, and one must have one; then the will's topic is asked for."""
        session = PluginSession(login, login.connect.client_id)
        answers = await self._manager.map_plugin_auth(session=session)
        given = [answer for answer in answers.values() if answer is not None]
        if not given or not all(given):
            return Refused()
        will = login.connect.will
        if will is not None and self.waits and not await self._ask(session, "publish", will.topic):
            return Refused()
        if session.accepted is not None:
            return Accepted(session, session.accepted.owner, session.accepted.expires_at)
        return Accepted(session, session.username or f"anonymous:{session.client_id}")

    def allows(self, principal: Any, action: Action, topic: str) -> bool | Awaitable[bool]:
        """All that have an opinion must agree; without a topic plugin everything is allowed, at once."""
        return self._ask(principal, action, topic) if self.waits else True

    async def _ask(self, principal: Any, action: Action, topic: str) -> bool:
        answers = await self._manager.map_plugin_topic(session=principal, topic=topic, action=PluginAction(action))
        return all(answer for answer in answers.values() if answer is not None)

    def remember(self, principal: Any) -> bytes:
        """Its user name."""
        return (principal.username or "").encode()

    def recall(self, stored: bytes, owner: str, client_id: str) -> Any:
        """A session that plugins can be asked about while its client is away."""
        session = PluginSession(None, client_id)
        session.username = stored.decode(errors="replace") or None
        return session


class PluginEvents:
    """Tells amqtt's plugins what happens to clients. A `hub.broker.engine.Watcher`."""

    def __init__(self, manager: PluginManager[Any]) -> None:
        self._manager = manager

    def wants(self, *events: BrokerEvents) -> bool:
        """Whether any plugin listens to one of these."""
        return any(self._manager._event_plugin_callbacks.get(event) for event in events)

    def _fire(self, event: BrokerEvents, **arguments: Any) -> None:
        if self.wants(event):
            _now(self._manager.fire_event(event, **arguments))

    def connected(self, session: Session, connection: Connection) -> None:
        """See `Watcher`."""
        self._fire(BrokerEvents.CLIENT_CONNECTED, client_id=session.client_id, client_session=view(session))

    def disconnected(self, session: Session, why: str) -> None:
        """See `Watcher`."""
        self._fire(BrokerEvents.CLIENT_DISCONNECTED, client_id=session.client_id, client_session=view(session))

    def subscribed(self, session: Session, subscription: Subscription) -> None:
        """See `Watcher`."""
        self._fire(
            BrokerEvents.CLIENT_SUBSCRIBED,
            client_id=session.client_id,
            topic=subscription.topic_filter,
            qos=subscription.qos,
        )

    def unsubscribed(self, session: Session, topic_filter: str) -> None:
        """See `Watcher`."""
        self._fire(BrokerEvents.CLIENT_UNSUBSCRIBED, client_id=session.client_id, topic=topic_filter)

    def published(self, session: Session, message: Message) -> None:
        """A client's message was taken, and may be distributed."""
        for event in (BrokerEvents.MESSAGE_RECEIVED, BrokerEvents.MESSAGE_BROADCAST):
            self._fire(event, client_id=session.client_id, message=application_message(message))
        if message.retain:
            self._fire(BrokerEvents.RETAINED_MESSAGE, client_id=None, retained_message=application_message(message))


def view(session: Session) -> PluginSession:
    """A session as plugins see it."""
    if isinstance(session.principal, PluginSession):
        return session.principal
    return PluginSession(None, session.client_id)


def application_message(message: Message) -> ApplicationMessage:
    """A message as plugins see it."""
    return ApplicationMessage(None, message.topic, message.qos, message.payload, message.retain)


def _now(work: Coroutine[Any, Any, None]) -> None:
    """Runs what never waits to its end: `fire_event` only starts tasks."""
    try:
        work.send(None)
    except StopIteration:
        return
    work.close()
    raise RuntimeError("a plugin event that is not waited for waited")
