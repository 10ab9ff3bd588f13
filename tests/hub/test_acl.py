"""The access decision, row by row of contract.md section 6, and against arbitrary topics."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.topics import STATION_CMD, TOPICS, matches
from hub.acl import may_connect, may_publish, may_receive, may_subscribe
from hub.auth import ANONYMOUS, Identity

STATION = Identity(user_id="station:st-1", type="station", role="station", station_id="st-1")
SERVICE = Identity(user_id="svc", type="service", role="service")
ADMIN = Identity(user_id="root", type="registered", role="admin")
VIEWER = Identity(user_id="v", type="guest", role="viewer")
OPERATOR = Identity(user_id="o", type="registered", role="operator")

OWN = ["status", "online", "offline", "call", "reply", "stream", "room", "signal/out"]
HUB_ONLY = [
    "live/stations/st-1",
    "live/rooms/r",
    "peers/n/p",
    "broadcast/x",
    "x",
    "$SYS/x",
    "stations",
    "stations/st-1",
]


@pytest.mark.parametrize(
    ("identity", "username", "allowed"),
    [
        (STATION, "st-1", True),
        (STATION, "st-2", False),
        (STATION, None, False),
        (SERVICE, None, True),
        (ADMIN, "any", True),
        (ANONYMOUS, None, True),
        (VIEWER, "v", False),
        (OPERATOR, "o", False),
    ],
)
def test_who_may_connect(identity: Identity, username: str | None, allowed: bool) -> None:
    """A station under its own name, a service, an admin; no viewer, no operator."""
    assert may_connect(identity, username) is allowed


@pytest.mark.parametrize("level", OWN)
def test_a_station_publishes_its_own(level: str) -> None:
    """Everything of its own, nothing of another's; nobody else publishes for it."""
    assert may_publish(STATION, f"stations/st-1/{level}")
    assert may_publish(ANONYMOUS, f"stations/any/{level}")
    assert not may_publish(STATION, f"stations/st-2/{level}")
    assert not any(may_publish(other, f"stations/st-1/{level}") for other in (SERVICE, ADMIN, VIEWER, OPERATOR))


@pytest.mark.parametrize("level", ["cmd", "cmd/x", "signal/in", "signal/in/x", "signal/in/", "cmd/"])
def test_a_station_does_not_command(level: str) -> None:
    """What the hub says to a station, and below it, no station says."""
    assert not may_publish(STATION, f"stations/st-1/{level}")
    assert not may_publish(ANONYMOUS, f"stations/st-1/{level}")


def test_a_service_commands() -> None:
    """A service and an admin publish commands, and only those."""
    for identity in (SERVICE, ADMIN):
        assert may_publish(identity, "stations/st-1/cmd")
        assert not may_publish(identity, "stations/st-1/cmd/x")
        assert not may_publish(identity, "stations/st-1/signal/in")


@pytest.mark.parametrize(
    "topic", [*HUB_ONLY, "stations//status", "stations/+/status", "stations/st-1/#", "stations/a b/x", ""]
)
def test_the_rest_is_the_hubs(topic: str) -> None:
    """No client publishes elsewhere, nor to what is no topic."""
    assert not any(may_publish(one, topic) for one in (STATION, ANONYMOUS, SERVICE, ADMIN, VIEWER, OPERATOR))


def test_what_may_be_subscribed() -> None:
    """A station its three topics, by name; a service stations/ and live/; others nothing."""
    for own in ("stations/st-1/cmd", "stations/st-1/signal/in", "live/stations/st-1"):
        assert may_subscribe(STATION, own)
        assert may_subscribe(ANONYMOUS, own)
        assert not may_subscribe(VIEWER, own)
        assert not may_subscribe(STATION, own.replace("st-1", "st-2"))
        assert not may_subscribe(ANONYMOUS, own.replace("st-1", "+"))
    for everything in ("stations/#", "live/#", "stations/+/status", "live/stations/+"):
        assert may_subscribe(SERVICE, everything)
        assert may_subscribe(ADMIN, everything)
        assert not may_subscribe(STATION, everything)
    assert may_subscribe(SERVICE, "$SYS/broker/#")
    assert not any(may_subscribe(one, "$SYS/#") for one in (STATION, ANONYMOUS, VIEWER))
    for beyond in ("#", "+/#", "peers/#", "broadcast/#", "$share/g/stations/#", "stations/#/x", "stations"):
        assert not any(may_subscribe(one, beyond) for one in (STATION, ANONYMOUS, SERVICE, ADMIN, VIEWER))


@given(st.sampled_from(TOPICS), st.sampled_from(["st-1", "st-2", "x"]), st.sampled_from([STATION, SERVICE, VIEWER]))
def test_nobody_receives_what_it_may_not_ask_for(topic: object, name: str, identity: Identity) -> None:
    """Delivery follows the subscription rule, whatever was subscribed."""
    built = str(topic).split("'")[1].replace("{sid}", name).replace("{", "").replace("}", "")
    assert may_receive(identity, built) is may_subscribe(identity, built)


@given(st.text(max_size=40).map("stations/st-1/".__add__) | st.text(max_size=40))
def test_arbitrary_topics(topic: str) -> None:
    """Whatever the text, there is an answer, and a station stays under its own topics."""
    if may_publish(STATION, topic):
        assert matches("stations/st-1/#", topic)
        assert STATION_CMD.ids(topic) is None
    if may_subscribe(STATION, topic):
        assert "st-1" in topic
        assert not {"+", "#"} & set(topic.split("/"))
