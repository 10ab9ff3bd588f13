"""What both versions say of wills, clause by clause; 3.1.1's numbers, and 5's behind a slash.

| clause | test |
|---|---|
| 3.1.2-8 / 3.1.2-7, -8 | test_a_will_is_published, test_a_will_waits_for_who_is_away |
| 3.1.2-9 / 3.1.2-9 | test_a_will_is_a_message_like_any_other, test_a_will_of_any_bytes |
| 3.1.2-10 / 3.1.2-10 | test_a_will_is_published_once, test_a_will_is_replaced_with_its_connection |
| 3.1.2-12 | test_no_will_no_message |
| 3.1.2-14, -16, -17 / 3.1.2-12, -14, -15 | test_a_will_is_a_message_like_any_other |
| 3.14.4-3 | test_a_goodbye_takes_the_will_along |
| (3.1.4) | test_a_refused_client_has_no_will |
"""

from collections.abc import Callable

import pytest

from devices.mqtt.codec import encode
from devices.mqtt.codes import PacketType
from devices.mqtt.packets import Ack, Connect, Disconnect, Pingresp, Publish, Will
from hub.broker.limits import Limits
from tests.hub.broker.raw import VERSIONS
from tests.hub.broker.world import Client, World

WILL = Will("will", b"gone")


def _takeover(world: World, client: Client) -> None:
    world.connect("client", version=client.version)


def _silent(world: World, _: Client) -> None:
    world.forward(20)


def _cut_off(_: World, client: Client) -> None:
    client.raw(b"\x30\x09\0")
    client.lose()


def _slow(world: World, client: Client) -> None:
    client.subscribe("flood", qos=0)
    client.stuck = 3_000_000
    world.connect("other").publish("flood", b"x")
    client.packet(Ack(PacketType.PUBREL, 1))


_ENDS: dict[str, Callable[[World, Client], None]] = {
    "lost": lambda _, client: client.lose(),
    "lost in the middle of a packet": _cut_off,
    "silent": _silent,
    "taken over": _takeover,
    "malformed packet": lambda _, client: client.raw(b"\x00\x00"),
    "protocol error": lambda _, client: client.packet(Pingresp()),
    "second CONNECT": lambda _, client: client.packet(Connect("client", client.version)),
    "too large": lambda _, client: client.raw(b"\x30\xff\xff\xff\x7f"),
    "a goodbye with reserved flags": lambda _, client: client.raw(b"\xe1\0"),
    "a goodbye that goes on": lambda _, client: client.raw(b"\xe0\3\0\0\0"),
    "slow": _slow,
}


def _watched(version: int, limits: Limits | None = None) -> tuple[World, Client]:
    world = World(limits=limits)
    watcher = world.connect("watcher", version=9 - version)
    watcher.subscribe("will", qos=2)
    return world, watcher


@VERSIONS
@pytest.mark.parametrize("end", _ENDS)
def test_a_will_is_published(version: int, end: str) -> None:
    """[MQTT-3.1.2-8] [5: MQTT-3.1.2-7, -8] Whenever a connection ends without a goodbye, whoever ends it."""
    world, watcher = _watched(version, Limits(send_buffer=1_000, send_buffer_max=2_000_000))
    client = world.connect("client", version=version, keep_alive=10, will=WILL)
    assert watcher.messages == []
    _ENDS[end](world, client)
    assert watcher.messages == [("will", b"gone", 0, False)]
    assert client.closed or end.startswith("lost")


@VERSIONS
@pytest.mark.parametrize("end", ["lost", "silent", "taken over", "malformed packet"])
def test_no_will_no_message(version: int, end: str) -> None:
    """[MQTT-3.1.2-12]"""
    world, watcher = _watched(version)
    watcher.subscribe("#")
    _ENDS[end](world, world.connect("client", version=version, keep_alive=10))
    assert watcher.messages == []


@VERSIONS
@pytest.mark.parametrize("stay", [False, True])
def test_a_goodbye_takes_the_will_along(version: int, stay: bool) -> None:
    """[MQTT-3.14.4-3] [MQTT-3.1.2-10] After DISCONNECT it is never published: not when the network goes, nor the session."""
    world, watcher = _watched(version, Limits(session_expiry=100))
    client = (world.stay if stay else world.connect)("client", version=version, will=WILL)
    client.packet(Disconnect())
    assert client.closed
    client.lose()
    world.forward(200, 10)
    assert world.engine.sessions.keys() == {("", "watcher")}
    world.connect("client", version=version).lose()
    assert watcher.messages == []


@VERSIONS
def test_a_goodbye_in_the_same_read_as_what_went_before(version: int) -> None:
    """[MQTT-3.14.4-3] Also with CONNECT in front of it and garbage behind it."""
    world, watcher = _watched(version)
    client = world.client(version)
    client.raw(
        b"".join(
            (
                encode(Connect("client", version, will=WILL), version),
                encode(Publish("will", b"alive"), version),
                encode(Disconnect(), version),
                b"\0\0\0\0",
            )
        )
    )
    assert [one.payload for one in watcher.publishes] == [b"alive"]


@VERSIONS
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("granted", [0, 1, 2])
@pytest.mark.parametrize("retain", [False, True])
def test_a_will_is_a_message_like_any_other(version: int, qos: int, granted: int, retain: bool) -> None:
    """[MQTT-3.1.2-9, -14, -16, -17] [5: MQTT-3.1.2-9, -12, -14, -15] At the lower QoS, and retained if it says so."""
    world = World()
    watcher, denied = world.connect("watcher", version=9 - version), world.connect("denied", version=version)
    watcher.subscribe("w/#", qos=granted)
    denied.subscribe("v/#")
    world.connect("client", version=version, will=Will("w/c", b"gone", qos, retain)).lose()
    assert watcher.messages == [("w/c", b"gone", min(qos, granted), False)]
    assert denied.messages == []
    late = world.connect("late", version=version)
    late.subscribe("#", qos=granted)
    assert late.messages == ([("w/c", b"gone", min(qos, granted), True)] if retain else [])


@VERSIONS
@pytest.mark.parametrize("payload", [b"", b"\0\xff\xfe", b"x" * 65_535], ids=len)
def test_a_will_of_any_bytes(version: int, payload: bytes) -> None:
    """[MQTT-3.1.2-9] 3.1.3.3: 0 to 65,535 bytes of anything."""
    world, watcher = _watched(version)
    world.connect("client", version=version, will=Will("will", payload)).lose()
    assert watcher.messages == [("will", payload, 0, False)]


@VERSIONS
def test_an_empty_retained_will_clears(version: int) -> None:
    """[MQTT-3.1.2-17] [MQTT-3.3.1-10] [5: MQTT-3.1.2-15, MQTT-3.3.1-6] It is treated as the PUBLISH it is."""
    world, watcher = _watched(version)
    watcher.publish("will", b"kept", retain=True)
    world.connect("client", version=version, will=Will("will", b"", 0, True)).lose()
    late = world.connect("late")
    late.subscribe("#")
    assert late.messages == []


@VERSIONS
def test_a_will_is_published_once(version: int) -> None:
    """[MQTT-3.1.2-10] It leaves the session with its message, which lives on without one."""
    world, watcher = _watched(version, Limits(session_expiry=100))
    world.stay("client", version=version, will=WILL).lose()
    assert len(watcher.messages) == 1
    world.stay("client", version=version).lose()
    world.forward(200, 10)
    world.connect("client", version=version).lose()
    assert world.engine.sessions.keys() == {("", "watcher")}
    assert len(watcher.messages) == 1


@VERSIONS
def test_a_will_is_replaced_with_its_connection(version: int) -> None:
    """[MQTT-3.1.2-10] Each CONNECT brings its own: a takeover publishes the old one, and keeps the new one."""
    world, watcher = _watched(version)
    world.stay("client", version=version, will=Will("will", b"first"))
    client = world.stay("client", version=version, will=Will("will", b"second"))
    assert [one.payload for one in watcher.publishes] == [b"first"]
    client.lose()
    assert [one.payload for one in watcher.publishes] == [b"first", b"second"]


@VERSIONS
def test_a_will_waits_for_who_is_away(version: int) -> None:
    """[MQTT-3.1.2-8] [5: MQTT-3.1.2-8] Who is away gets it later; the client itself, too, when its session stays."""
    world = World()
    watcher = world.stay("watcher", version=9 - version)
    watcher.subscribe("will", qos=1)
    watcher.lose()
    client = world.stay("client", version=version, will=Will("will", b"gone", 1))
    client.subscribe("will", qos=1)
    client.lose()
    for name in ("watcher", "client"):
        assert [one.payload for one in world.stay(name, version=version).publishes] == [b"gone"]


@VERSIONS
def test_a_will_comes_behind_what_its_client_sent(version: int) -> None:
    """[MQTT-4.6.0-6] It is the client's last word, also when all came in one read."""
    world, watcher = _watched(version)
    client = world.client(version)
    words = [encode(Publish("will", b"%d" % one), version) for one in range(3)]
    client.raw(encode(Connect("client", version, will=WILL), version) + b"".join(words) + b"\0\0")
    assert [one.payload for one in watcher.publishes] == [b"0", b"1", b"2", b"gone"]


@VERSIONS
def test_a_refused_client_has_no_will(version: int) -> None:
    """3.1.4: a will is stored with an accepted connection only [MQTT-3.1.2-8]."""
    world, watcher = _watched(version)
    world.connect("client", version=version, username="u", password=b"wrong", will=WILL).lose()
    client = world.client(version)
    client.raw(encode(Connect("client", version, will=WILL), version)[:-1])
    client.lose()
    world.forward(20)
    assert watcher.messages == []


@VERSIONS
def test_the_network_of_an_older_connection_goes_later(version: int) -> None:
    """[MQTT-3.1.2-8] The end of a connection that was taken over does not touch the newer one's will."""
    world, watcher = _watched(version)
    old = world.stay("client", version=version)
    new = world.stay("client", version=version, will=WILL)
    old.lose()
    assert watcher.messages == []
    new.disconnect()
    assert watcher.messages == []
