"""MQTT 5, what 3.1.1 does not know: how long sessions last, and wills that wait and carry properties.

| clause | test |
|---|---|
| [MQTT-3.1.2-4] to 6, [MQTT-3.1.4-4], [MQTT-3.2.2-2], 3 | `test_clean_start_is_about_the_past_alone` |
| [MQTT-3.1.2-23], [MQTT-4.1.0-1], 2 | `test_a_session_ends_when_it_expires`, `test_without_an_expiry_a_session_ends_at_once` |
| 3.1.2.11.2, 3.2.2.3.2 | `test_the_expiry_is_bounded_and_told` |
| 3.1.2.11.2 | `test_each_connection_brings_its_own_expiry` |
| 3.14.2.2.2 | `test_disconnect_changes_the_expiry`, `test_disconnect_cannot_begin_an_expiry` |
| [MQTT-3.1.2-7], 8 | `test_a_will_waits`, `test_a_will_does_not_outlive_its_session` |
| [MQTT-3.1.2-10], [MQTT-3.14.4-3] | `test_disconnect_and_the_will` |
| [MQTT-3.1.2-14], 15 | `test_a_will_carries_its_properties`, `test_a_retained_will_expires` |
| [MQTT-3.1.3-9] | `test_a_client_that_is_back_in_time_keeps_its_will` |
| [MQTT-3.1.3-10] | `test_a_will_carries_its_properties` |
| [MQTT-3.1.4-3] | `test_a_takeover_and_the_will` |
| 3.1.3.2.2 | `test_a_clean_start_ends_the_session_and_publishes_its_will`, `test_disconnect_with_will_that_ends_the_session` |
| 3.1.2.5 | `test_a_silent_client_has_a_will_with_a_delay` |
"""

import pytest

from devices.mqtt.codes import Reason
from devices.mqtt.packets import Disconnect, Will
from devices.mqtt.properties import Properties, Property
from hub.broker.limits import Limits
from tests.hub.broker.world import Client, World

P = Property
FOREVER = 0xFFFF_FFFF


def come(world: World, *, clean: bool = False, expiry: int | None = None, will: Will | None = None) -> Client:
    """The client "x", version 5."""
    properties: Properties = {} if expiry is None else {P.SESSION_EXPIRY: expiry}
    return world.connect("x", version=5, clean=clean, properties=properties, will=will)


def present(world: World) -> bool:
    """Whether "x" finds a session."""
    return come(world).connack.session_present


def wills(world: World) -> Client:
    """Somebody who listens to wills."""
    listener = world.connect("listener", version=5)
    listener.subscribe("will", qos=2)
    return listener


def a_will(delay: int | None = None, **more: bool) -> Will:
    return Will("will", b"gone", 1, properties={} if delay is None else {P.WILL_DELAY: delay}, **more)


# sessions


def test_clean_start_is_about_the_past_alone() -> None:
    """[MQTT-3.1.2-4] [MQTT-3.1.2-5]: Clean Start ends what was before; the new session lasts as long as it says."""
    world = World()
    first = come(world, clean=True, expiry=100)
    assert not first.connack.session_present
    first.subscribe("t", qos=1)
    first.lose()
    second = come(world, expiry=100)
    assert second.connack.session_present
    second.lose()
    third = come(world, clean=True, expiry=100)
    assert not third.connack.session_present
    third.publish("t", b"1", 1)
    assert third.messages == []
    third.lose()
    assert present(world)


@pytest.mark.parametrize("expiry", [None, 0])
def test_without_an_expiry_a_session_ends_at_once(expiry: int | None) -> None:
    """3.1.2.11.2: 0, or none, ends the session with its connection, Clean Start or not [MQTT-4.1.0-2]."""
    world = World()
    client = come(world, expiry=expiry)
    assert P.SESSION_EXPIRY not in client.connack.properties
    client.subscribe("t", qos=1)
    client.lose()
    assert not world.engine.sessions
    assert not present(world)


def test_a_session_ends_when_it_expires() -> None:
    """[MQTT-3.1.2-23] [MQTT-4.1.0-1] [MQTT-4.1.0-2]: not while connected, not before its time, but then."""
    world = World()
    client = come(world, expiry=60)
    client.subscribe("t", qos=1)
    world.forward(100, step=1)
    client.lose()
    world.forward(59, step=1)
    back = come(world, expiry=60)
    assert back.connack.session_present
    back.lose()
    world.forward(61, step=1)
    assert not world.engine.sessions
    assert world.engine.gauges().subscriptions == 0
    assert not present(world)


@pytest.mark.parametrize(("asked", "told"), [(99, None), (100, None), (101, 100), (FOREVER, 100)])
def test_the_expiry_is_bounded_and_told(asked: int, told: int | None) -> None:
    """3.2.2.3.2: an expiry longer than the server allows is shortened, and CONNACK says so; any other is the client's."""
    world = World(limits=Limits(session_expiry=100))
    client = come(world, expiry=asked)
    assert client.connack.properties.get(P.SESSION_EXPIRY) == told
    client.lose()
    world.forward(min(asked, 100) - 1, step=1)
    assert len(world.engine.sessions) == 1
    world.forward(2, step=1)
    assert not world.engine.sessions


def test_each_connection_brings_its_own_expiry() -> None:
    """3.1.2.11.2: the newest CONNECT counts, longer or shorter."""
    world = World()
    come(world, expiry=10).lose()
    world.forward(5)
    come(world, expiry=100).lose()
    world.forward(50, step=1)
    last = come(world)
    assert last.connack.session_present
    last.lose()
    assert not world.engine.sessions


@pytest.mark.parametrize(("changed", "lasts"), [(0, 0), (5, 5), (50, 50), (FOREVER, 100), (None, 20)])
def test_disconnect_changes_the_expiry(changed: int | None, lasts: int) -> None:
    """3.14.2.2.2: what DISCONNECT says counts, within the server's bound."""
    world = World(limits=Limits(session_expiry=100))
    client = come(world, expiry=20)
    client.disconnect(properties={} if changed is None else {P.SESSION_EXPIRY: changed})
    world.forward(max(lasts - 1, 0))
    assert len(world.engine.sessions) == (lasts > 0)
    world.forward(2)
    assert not world.engine.sessions


@pytest.mark.parametrize("asked", [None, 0])
def test_disconnect_cannot_begin_an_expiry(asked: int | None) -> None:
    """3.14.2.2.2: from 0 to anything else is a protocol error, and the will is published; from 0 to 0 is none."""
    world = World()
    listener = wills(world)
    client = come(world, expiry=asked, will=a_will())
    client.packet(Disconnect(properties={P.SESSION_EXPIRY: 10}))
    assert client.last(Disconnect).reason is Reason.PROTOCOL_ERROR
    assert client.closed
    assert len(listener.messages) == 1
    assert len(world.engine.sessions) == 1  # the listener's
    fine = come(world, expiry=asked, will=a_will())
    fine.packet(Disconnect(properties={P.SESSION_EXPIRY: 0}))
    assert fine.closed
    assert not fine.count(Disconnect)
    assert len(listener.messages) == 1


# wills


def test_a_will_waits() -> None:
    """[MQTT-3.1.2-8]: published when its delay has passed, not before, once."""
    world = World()
    listener = wills(world)
    come(world, expiry=100, will=a_will(10)).lose()
    world.forward(9.5)
    assert listener.messages == []
    world.forward(1)
    assert listener.messages == [("will", b"gone", 1, False)]
    world.forward(100, step=1)
    assert len(listener.messages) == 1


@pytest.mark.parametrize(("expiry", "at"), [(None, 0), (0, 0), (5, 5)])
def test_a_will_does_not_outlive_its_session(expiry: int | None, at: int) -> None:
    """[MQTT-3.1.2-8]: the session's end publishes it, whatever is left of its delay."""
    world = World()
    listener = wills(world)
    come(world, expiry=expiry, will=a_will(60)).lose()
    if at:
        world.forward(at - 0.5)
        assert listener.messages == []
        world.forward(1)
    assert listener.messages == [("will", b"gone", 1, False)]
    world.forward(100, step=1)
    assert len(listener.messages) == 1


def test_a_client_that_is_back_in_time_keeps_its_will() -> None:
    """[MQTT-3.1.3-9]: a new connection before the delay has passed: no will, neither then nor later."""
    world = World()
    listener = wills(world)
    come(world, expiry=100, will=a_will(10)).lose()
    world.forward(9)
    back = come(world, expiry=100)  # without a will
    world.forward(20)
    back.lose()
    world.forward(200, step=1)
    assert listener.messages == []


def test_a_clean_start_ends_the_session_and_publishes_its_will() -> None:
    """3.1.3.2.2: a new session in place of the old one is the old one's end [MQTT-3.1.2-8]."""
    world = World()
    listener = wills(world)
    come(world, expiry=100, will=a_will(10)).lose()
    come(world, clean=True, expiry=100)
    assert listener.messages == [("will", b"gone", 1, False)]
    world.forward(20)
    assert len(listener.messages) == 1


@pytest.mark.parametrize(
    ("clean", "delay", "published"),
    [
        pytest.param(False, None, True, id="no delay"),
        pytest.param(False, 10, False, id="a delay, and the session goes on"),
        pytest.param(True, 10, True, id="a delay, and the session ends"),
    ],
)
def test_a_takeover_and_the_will(clean: bool, delay: int | None, published: bool) -> None:
    """[MQTT-3.1.4-3] [MQTT-3.1.3-9]: a takeover is the end of a connection, and a new one at once."""
    world = World()
    listener = wills(world)
    old = come(world, expiry=100, will=a_will(delay))
    new = come(world, clean=clean, expiry=100)
    assert old.closed
    world.forward(30)
    assert len(listener.messages) == published
    assert new.ping()


@pytest.mark.parametrize(("reason", "published"), [(Reason.SUCCESS, 0), (Reason.DISCONNECT_WITH_WILL, 1)])
@pytest.mark.parametrize("delay", [None, 10])
def test_disconnect_and_the_will(reason: Reason, published: int, delay: int | None) -> None:
    """[MQTT-3.14.4-3] [MQTT-3.1.2-10]: 0x00 discards the will; 0x04 publishes it, after its delay."""
    world = World()
    listener = wills(world)
    come(world, expiry=100, will=a_will(delay)).disconnect(reason)
    if delay:
        world.forward(delay - 1)
        assert listener.messages == []
    world.forward(200, step=1)
    assert len(listener.messages) == published


def test_disconnect_with_will_that_ends_the_session() -> None:
    """3.14.2.2.2 [MQTT-3.1.2-8]: with its expiry set to 0 the session ends at once, and the will does not wait."""
    world = World()
    listener = wills(world)
    come(world, expiry=100, will=a_will(10)).disconnect(Reason.DISCONNECT_WITH_WILL, {P.SESSION_EXPIRY: 0})
    assert len(listener.messages) == 1
    assert not present(world)


def test_a_silent_client_has_a_will_with_a_delay() -> None:
    """3.1.2.5: the delay begins when the server closes the connection, here for want of a ping."""
    world = World()
    listener = wills(world)
    client = world.connect("x", version=5, keep_alive=10, will=a_will(10), properties={P.SESSION_EXPIRY: 100})
    world.forward(24)
    assert client.closed
    assert listener.messages == []
    world.forward(2.5)
    assert len(listener.messages) == 1


def test_a_will_carries_its_properties() -> None:
    """[MQTT-3.1.3-10]: user properties in order, all others of a message, no delay. Not retained [MQTT-3.1.2-14]."""
    world = World()
    listener = wills(world)
    given: Properties = {
        P.PAYLOAD_FORMAT: 1,
        P.MESSAGE_EXPIRY: 30,
        P.CONTENT_TYPE: "text/plain",
        P.RESPONSE_TOPIC: "answers",
        P.CORRELATION_DATA: b"\0\1",
        P.USER_PROPERTY: [("b", "1"), ("a", "2"), ("b", "0")],
    }
    come(world, expiry=100, will=Will("will", b"gone", 2, properties=given | {P.WILL_DELAY: 20})).lose()
    world.forward(20.25)
    # its expiry begins when it is published
    assert [one.properties for one in listener.publishes] == [given]
    assert listener.messages == [("will", b"gone", 2, False)]
    late = world.connect("late", version=5)
    late.subscribe("will")
    assert late.messages == []


def test_a_retained_will_expires() -> None:
    """[MQTT-3.1.2-15] 3.1.3.2.4: a will is retained when it says so, for as long as its message expiry says."""
    world = World()
    come(world, will=Will("will", b"gone", 1, True, {P.MESSAGE_EXPIRY: 30})).lose()
    world.forward(10)
    early = world.connect("early", version=5)
    early.subscribe("will")
    assert early.messages == [("will", b"gone", 0, True)]
    assert early.publishes[0].properties == {P.MESSAGE_EXPIRY: 20}
    world.forward(21)
    late = world.connect("late", version=5)
    late.subscribe("will")
    assert late.messages == []
