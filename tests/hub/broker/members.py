"""Members of shared subscriptions, for tests."""

from typing import Any

from devices.mqtt.properties import Properties, Property
from hub.broker.policy import Action
from tests.hub.broker.world import Client, OpenPolicy, World

__all__ = ["KEEP", "SHARE", "Rights", "back", "member", "payloads", "publish"]

P = Property
KEEP: Properties = {P.SESSION_EXPIRY: 100}
SHARE = "$share/g/t/#"


class Rights(OpenPolicy):
    """Denies (principal, action, topic)."""

    def __init__(self, *without: tuple[str, Action, str]) -> None:
        super().__init__()
        self.without = set(without)

    def allows(self, principal: Any, action: Action, topic: str) -> bool:
        return (principal, action, topic) not in self.without


def member(
    world: World,
    name: str,
    topic_filter: str = SHARE,
    *,
    qos: int = 0,
    version: int = 5,
    keep: bool = False,
    acknowledge: bool = True,
    properties: Properties | None = None,
) -> Client:
    """A client with a shared subscription; `keep`: its session outlives its connection."""
    given = (KEEP if keep else {}) | (properties or {}) if version == 5 else {}
    clean = not keep if version == 4 else True
    client = world.connect(name, version=version, clean=clean, username=name, properties=given, acknowledge=acknowledge)
    assert client.subscribe(topic_filter, qos=qos) == [qos]
    return client


def back(world: World, name: str, version: int = 5) -> Client:
    """A kept member returns."""
    properties = KEEP if version == 5 else {}
    client = world.connect(name, version=version, clean=False, username=name, properties=properties)
    assert client.connack.session_present
    return client


def payloads(client: Client) -> list[bytes]:
    return [one.payload for one in client.publishes]


def publish(world: World, count: int, qos: int = 0, topic: str = "t/1") -> list[bytes]:
    """Publishes messages that are numbered, from a client that is no member."""
    client = world.connect("publisher", version=5)
    sent = [b"%d" % number for number in range(count)]
    for payload in sent:
        client.publish(topic, payload, qos)
    return sent
